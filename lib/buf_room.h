/* buf_room: makes room in a buf that may hold a password, without realloc(), which would leave the old bytes
 * behind in the heap. */
#ifndef IMAPFERRY_BUF_ROOM_H
#define IMAPFERRY_BUF_ROOM_H

#include "buf.h"
#include "xalloc.h"

/* Makes room for n more bytes; other functions of buf may then add up to n bytes without moving anything.
 * Where the bytes have to move, the old memory is overwritten. The memory doubles, but stays as large as it
 * is where at least half as many bytes as are unread were eaten at the front. */
static inline void buf_room(struct buf *b, size_t n)
{
    if (b->cap - b->off - b->len >= n)
        return;
    size_t want = b->cap ? b->cap : 256;
    while (want < b->len + n || (want == b->cap && b->off < b->len / 2))
        want *= 2;
    struct buf grown = {.mem = xmalloc(want), .cap = want};
    buf_add_span(&grown, buf_span(b));
    buf_wipe(b);
    *b = grown;
}

#endif
