/* base64: bytes as RFC 4648 section 4 writes them. What passes may be a password: no copy of it stays in
 * memory that was given back. Pure. */
#ifndef IMAPFERRY_BASE64_H
#define IMAPFERRY_BASE64_H

#include "buf.h"

/* Appends the bytes. Strict: padding has to be there, no blanks, no bits behind the end. False leaves *out as
 * it was. */
bool base64_decode(struct buf *out, struct span text) MUST_CHECK;
/* Appends the text. */
void base64_encode(struct buf *out, struct span bytes);

#endif
