/* imap_id: what one end of a connection says of itself (RFC 2971), read and written. Pure.
 *
 * The pairs are kept as text: each name and each value with a NUL behind it. Some pairs are left out: those
 * that say nothing (NIL), those that hold NUL, CR or LF, and those whose name begins with "x-". By such names
 * proxies tell servers whose connection it is (x-originating-ip, x-session-id, x-proxy-ttl), and nobody else
 * may. */
#ifndef IMAPFERRY_IMAP_ID_H
#define IMAPFERRY_IMAP_ID_H

#include "imap_tok.h"
#include "imap_write.h"

/* The limits of RFC 2971 3.3, the last two in bytes. */
enum { IMAP_ID_PAIRS = 30, IMAP_ID_NAME = 30, IMAP_ID_VALUE = 1024 };

/* Appends the pairs from the arguments of ID: NIL, or a list. False: they are neither, or beyond the
 * limits. */
bool imap_id_read(const struct imap_value *args, struct buf *pairs) MUST_CHECK;
/* Writes ID with these pairs, and NIL where there are none. The command is one line without a literal, since
 * a server might take a literal's body for a command (RFC 7888 8). */
void imap_id_write(struct imap_writer *w, struct span pairs);

#endif
