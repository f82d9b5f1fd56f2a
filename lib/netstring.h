/* netstring: "12:hello world!," (https://cr.yp.to/proto/netstrings.txt), which frames the questions and answers of
 * Postfix' socketmap. Pure. */
#ifndef IMAPFERRY_NETSTRING_H
#define IMAPFERRY_NETSTRING_H

#include "buf.h"

enum netstring_rc {
    NETSTRING_MORE, /* it is not all there */
    NETSTRING_DONE,
    NETSTRING_BAD, /* it is none, or longer than max: nothing that follows can be understood */
};

/* The netstring that in begins with. With NETSTRING_DONE *_text is what it holds, borrowed of in, and *_used how many bytes
 * of in it takes. max: bytes that it may hold; a longer one is told by its first bytes. */
enum netstring_rc netstring_take(struct span in, size_t max, struct span *_text, size_t *_used) MUST_CHECK;
/* Appends one. */
void netstring_write(struct buf *out, struct span text);

#endif
