/* lmtp_reply: answers of an LMTP server (RFC 5321 4.2, RFC 2034). Pure. A line is a code of three digits, "-" where more
 * lines follow, and a text; it ends with LF, with or without a CR before it. Controls in texts, and bytes that are no
 * ASCII, become "?": they go to a client and to the log. */
#ifndef IMAPFERRY_LMTP_REPLY_H
#define IMAPFERRY_LMTP_REPLY_H

#include "lib/buf.h"

enum {
    LMTP_REPLY_LINE =
        2048, /* bytes of a line with its end; a longer one is none (RFC 5321 4.5.3.1.5 has 512) */
    LMTP_REPLY_LINES = 128,
    LMTP_REPLY_TEXT = 400, /* what is passed on of the text of a line */
};

enum lmtp_reply_rc {
    LMTP_REPLY_MORE,
    LMTP_REPLY_DONE,
    LMTP_REPLY_BAD /* not an answer; there is no going on with this server */
};

struct lmtp_reply {
    unsigned code;
    struct buf text; /* the texts of its lines, each with an LF behind it; owned */
    size_t lines;
    struct buf line; /* one that is not there as a whole yet; owned */
    bool done;       /* the next byte begins another answer */
};

/* Takes bytes up to the end of the answer, which holds until the next call. *used: how many of them. */
enum lmtp_reply_rc lmtp_reply_feed(struct lmtp_reply *r, struct span in, size_t *used) MUST_CHECK;
void lmtp_reply_free(struct lmtp_reply *r);

/* Is the code 2yz, 4yz and so on? */
static inline bool lmtp_reply_is(const struct lmtp_reply *r, unsigned class)
{
    return r->code / 100 == class;
}
/* The first line of the text, without an end, borrowed: for a log. */
struct span lmtp_reply_first(const struct lmtp_reply *r);

/* Appends the answer as lines for a client, with this code, which may be another one than it came with. Each line gets an
 * enhanced status code (RFC 2034) where its text does not begin with one of the same class: otherwise, "4.3.0" say. */
void lmtp_reply_write(struct buf *out, const struct lmtp_reply *r, unsigned code, const char *otherwise);

#endif
