/* deflate: both directions of COMPRESS=DEFLATE (RFC 4978): raw deflate without header, flushed so that the
 * peer can read all that was sent. For stream.c; the only file that includes zlib.
 *
 * About 300 KiB a connection: 15 bits of window and memLevel 8, as servers expect, at the quickest level,
 * since mail is mostly base64, which more work hardly makes smaller. */
#ifndef IMAPFERRY_DEFLATE_H
#define IMAPFERRY_DEFLATE_H

#include "buf.h"

struct deflate;

struct deflate *deflate_new(void);
/* NULL is fine. Overwrites what it remembers of the bytes. */
void deflate_free(struct deflate **d);
/* Appends to *out what the peer needs to read all of plain. */
void deflate_pack(struct deflate *d, struct span plain, struct buf *out);
/* Unpacks up to cap bytes into plain, eats from *in; *len is what came. Where *len is cap there may be more,
 * though
 * *in is empty. False: what the peer sent is no such data, or it ended them: fixed text in *why. */
bool deflate_unpack(struct deflate *d, struct span *in, uint8_t *plain, size_t cap, size_t *len,
                    const char **why) MUST_CHECK;

#endif
