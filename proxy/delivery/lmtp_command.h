/* lmtp_command: commands of an LMTP client (RFC 2033, RFC 5321 4.1), and the extensions that their parameters belong to.
 * Pure. */
#ifndef IMAPFERRY_LMTP_COMMAND_H
#define IMAPFERRY_LMTP_COMMAND_H

#include "lmtp_reply.h"

enum {
    /* bytes of a line, with its CRLF: RFC 5321 4.5.3.1.4 has 512, and extensions add to it (RFC 1870, 3461, 6531) */
    LMTP_LINE = 2048,
    LMTP_PATH = 256, /* with its "<" and ">" (4.5.3.1.3) */
    LMTP_PARAMS = 16,
};

enum lmtp_verb {
    LMTP_LHLO,
    LMTP_MAIL,
    LMTP_RCPT,
    LMTP_DATA,
    LMTP_RSET,
    LMTP_NOOP,
    LMTP_QUIT,
    LMTP_VRFY,
    LMTP_HELO, /* HELO and EHLO, which LMTP does not have (RFC 2033 4.1) */
    LMTP_UNKNOWN
};

/* Extensions that are passed through, where all servers have them, and those that are between neighbours. */
enum lmtp_extension {
    LMTP_8BITMIME = 1, /* RFC 6152 */
    LMTP_SMTPUTF8 = 2, /* RFC 6531 */
    LMTP_SIZE = 4,     /* RFC 1870 */
    LMTP_DSN = 8,      /* RFC 3461 */
    LMTP_PASSED = LMTP_8BITMIME | LMTP_SMTPUTF8 | LMTP_SIZE | LMTP_DSN,
    LMTP_PIPELINING = 16, /* RFC 2920 */
};

struct lmtp_caps {
    unsigned has;  /* of enum lmtp_extension */
    uint64_t size; /* the largest message in bytes; 0: it is not told */
};

enum lmtp_fault {
    LMTP_GOOD,
    LMTP_BAD_ARGUMENTS, /* they can't be understood, or there are some where there must be none */
    LMTP_BAD_PATH,      /* no path, or a longer one than LMTP_PATH */
    LMTP_BAD_PARAMETER, /* one that belongs to no extension that was offered, or has a value that it can't have */
};

/* All spans are borrowed from the line. */
struct lmtp_command {
    enum lmtp_verb verb;
    enum lmtp_fault fault;
    struct span argument; /* of LHLO */
    struct span path;     /* of MAIL and RCPT, with "<" and ">" */
    struct span address;  /* what is in it, without a source route; empty: the null path */
    struct span params;   /* as they came: "SIZE=100 BODY=8BITMIME" */
    unsigned needs;       /* which extensions these belong to */
};

/* What the beginning of the bytes is. *len: how many bytes the line has, with its CRLF. LMTP_LINE_MORE: its end is not there
 * yet. A line that holds a CR or LF elsewhere, or another control, is LMTP_LINE_BAD as a whole; so is one that is longer
 * than LMTP_LINE, of which *len is as much as there is when the end is missing (*ended false). */
enum lmtp_line_rc { LMTP_LINE_MORE, LMTP_LINE_DONE, LMTP_LINE_BAD };
enum lmtp_line_rc lmtp_line(struct span in, size_t *len, bool *ended) MUST_CHECK;

/* Reads a line without its CRLF. offered: which extensions the client was told. */
struct lmtp_command lmtp_command_read(struct span line, unsigned offered);
/* Appends those of the parameters that belong to one of these extensions, each behind a blank. */
void lmtp_params_write(struct buf *out, struct span params, unsigned extensions);

/* What a server offers, by its answer to LHLO. */
struct lmtp_caps lmtp_caps_read(const struct lmtp_reply *lhlo);
/* Takes from all what the other does not have: *all may be said where both hold. */
void lmtp_caps_meet(struct lmtp_caps *all, const struct lmtp_caps *other);
/* Appends their names, for a log. */
void lmtp_caps_names(struct buf *out, const struct lmtp_caps *caps);
/* Appends the lines of our answer to LHLO: the name, what is ours, and these. */
void lmtp_caps_write(struct buf *out, const char *name, const struct lmtp_caps *caps);

#endif
