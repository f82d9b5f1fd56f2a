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
/* Overwrites what it remembers of the bytes. *d may be NULL. */
void deflate_free(struct deflate **d);
/* Appends to *out what the peer needs to read all of plain. */
void deflate_pack(struct deflate *d, struct span plain, struct buf *out);
/* Unpacks up to cap bytes into plain and eats from *in; *len is how many bytes came. Where that is cap, there
 * may be more to come, even if *in is empty. False: the peer's bytes are no such data, or the peer ended the
 * data; *why is a fixed text. */
bool deflate_unpack(struct deflate *d, struct span *in, uint8_t *plain, size_t cap, size_t *len,
                    const char **why) MUST_CHECK;

#endif
