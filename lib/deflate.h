/* deflate: both directions of COMPRESS=DEFLATE (RFC 4978): raw deflate without header, flushed so that the
 * peer can read all that was sent. For stream.c; the only file that includes zlib.
 *
 * What zlib works with is large, and what has to be remembered from one piece to the next is small. So the
 * works belong to a loop, which has them from the first need on (about 300 KiB), and each connection only
 * keeps:
 *
 *   sent  the last DEFLATE_SENT bytes that the peer was sent. Each piece is packed from a fresh start, and
 *         may point back at these.
 *   seen  what the peer has sent, up to 32 KiB: it may point back that far. Where its bytes end in the middle
 *         of a block, the connection keeps the unpacker itself (about 42 KiB) until the block has ended.
 *         Clients end their blocks with each command.
 *
 * In the quickest level, since mail is mostly base64, which more work hardly makes smaller; what was
 * compressed already is only told by its letters. */
#ifndef IMAPFERRY_DEFLATE_H
#define IMAPFERRY_DEFLATE_H

#include "buf.h"

enum { DEFLATE_SENT = 2048 };

/* NULL until they are needed; owned by the loop. */
struct deflate_works;
void deflate_works_free(struct deflate_works **works);

struct deflate;

/* works: where those of the loop are; borrowed, made where there are none yet. */
struct deflate *deflate_new(struct deflate_works **works);
/* Overwrites what it remembers of the bytes. *d may be NULL. */
void deflate_free(struct deflate **d);
/* Appends to *out what the peer needs to read all of plain. */
void deflate_pack(struct deflate *d, struct span plain, struct buf *out);

enum deflate_rc {
    DEFLATE_OK,
    DEFLATE_ENDED, /* the peer has ended its data, *len bytes came before that; what is left in *in is none */
    DEFLATE_BAD,   /* no such data */
};
/* Unpacks up to cap bytes into plain and eats from *in; *len is how many bytes came. Where that is cap, there
 * may be more to come, even if *in is empty. Not to be called again after DEFLATE_ENDED or DEFLATE_BAD. */
enum deflate_rc deflate_unpack(struct deflate *d, struct span *in, uint8_t *plain, size_t cap,
                               size_t *len) MUST_CHECK;
/* How many bytes of memory the connection keeps at this moment. */
size_t deflate_kept(const struct deflate *d);

#endif
