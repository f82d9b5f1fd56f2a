/* lmtp_data: the bytes of a message behind DATA: where it ends, and whether somebody else may see it end before. Pure; it
 * keeps no byte of the message but a line's first dot, with the CR behind it, while what follows is not there yet.
 *
 * A message ends with CRLF "." CRLF and with nothing else (RFC 5321 4.1.1.4), and passes as it came, dots that are doubled
 * too. A server behind may be less strict, and take the LF or CR of a line end that is none for one, so that what follows
 * would be commands of somebody else to it (CVE-2023-51764 and its kind). So these make a message odd, which is to be
 * refused:
 *
 *   a dot behind an LF without CR, behind a CR without LF, or behind a NUL
 *   a dot that begins a line, with an LF, a NUL, or a CR without LF behind it
 *
 * Without such a dot there is nothing that any reader could take for an end; all other bytes, stray CRs and LFs among
 * them, reach the server as they would without us. */
#ifndef IMAPFERRY_LMTP_DATA_H
#define IMAPFERRY_LMTP_DATA_H

#include "lib/base.h"

struct lmtp_data {
    uint8_t last[2]; /* the bytes before what comes next */
    unsigned held;   /* of ".\r" at the beginning of a line, these were not given yet */
    bool odd;        /* nothing of it may be passed on any more; its end is found all the same */
};

struct lmtp_data_piece {
    struct span first; /* what was held; a constant */
    struct span rest;  /* borrowed from the input */
    bool end;          /* behind it comes ".\r\n", which is in neither */
};

/* Behind the CRLF of DATA. */
void lmtp_data_init(struct lmtp_data *d);
/* Takes bytes, and gives what of them is text of the message: first, then rest. Returns how many were taken: all, or up to
 * and with the end. */
size_t lmtp_data_feed(struct lmtp_data *d, struct span in, struct lmtp_data_piece *_r);

#endif
