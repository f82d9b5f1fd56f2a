/* base64: bytes as RFC 4648 section 4 writes them. They may be a password, so no copy of them stays in memory
 * that was given back. Pure. */
#ifndef IMAPFERRY_BASE64_H
#define IMAPFERRY_BASE64_H

#include "buf.h"

/* Appends the bytes that text stands for. It is strict: the padding has to be there, no blanks are allowed,
 * and unused bits at the end have to be zero. False leaves *out as it was. */
bool base64_decode(struct buf *out, struct span text) MUST_CHECK;
/* Appends the text that stands for the bytes. */
void base64_encode(struct buf *out, struct span bytes);

#endif
