/* What a peer sends as compressed: any bytes, cut in any pieces, unpacked into any room. The first byte says how
 * they are cut. Whatever comes, it is the same as zlib makes of it in one piece, and no more is kept than is
 * promised. */
#include <zlib.h>

#include "lib/deflate.h"

#include "fuzz.h"

enum { MOST = 1 << 20, KEPT_MAX = 48 * 1024 };

/* By zlib alone, up to MOST bytes. */
static enum deflate_rc plainly(struct span in, struct buf *out)
{
    z_stream z = {0};
    uint8_t plain[4096];
    int rc;
    MUST(inflateInit2(&z, -15) == Z_OK);
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (unsigned)in.len;
    do {
        z.next_out = plain;
        z.avail_out = sizeof plain;
        rc = inflate(&z, Z_SYNC_FLUSH);
        buf_add(out, plain, sizeof plain - z.avail_out);
    } while ((rc == Z_OK || rc == Z_BUF_ERROR) && z.avail_out == 0 && out->len < MOST);
    inflateEnd(&z);
    return rc == Z_STREAM_END ? DEFLATE_ENDED : rc == Z_OK || rc == Z_BUF_ERROR ? DEFLATE_OK : DEFLATE_BAD;
}

static enum deflate_rc piece(struct deflate *d, struct span in, size_t room, struct buf *out)
{
    enum deflate_rc rc;
    size_t len;
    do {
        uint8_t *plain = xmalloc(room);
        rc = deflate_unpack(d, &in, plain, room, &len);
        MUST(len <= room);
        MUST(deflate_kept(d) <= KEPT_MAX);
        if (rc == DEFLATE_OK)
            MUST(in.len == 0 || len == room);
        buf_add(out, plain, len);
        free(plain);
    } while (rc == DEFLATE_OK && (in.len > 0 || len == room) && out->len < MOST);
    return rc;
}

/* What was said of one connection is nothing to the next: some text goes through another one in between. */
static void another(struct deflate_works **works)
{
    struct deflate *d = deflate_new(works), *peer = deflate_new(works);
    struct buf packed = {0}, plain = {0};
    struct span text = span_str("a1 UID FETCH 1:* (UID FLAGS)\r\na2 UID FETCH 1:* (UID FLAGS)\r\n");
    deflate_pack(d, text, &packed);
    MUST(piece(peer, buf_span(&packed), 7, &plain) == DEFLATE_OK);
    MUST(span_eq(buf_span(&plain), text));
    buf_free(&packed);
    buf_free(&plain);
    deflate_free(&d);
    deflate_free(&peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    uint8_t how = fuzz_byte(&in);
    size_t at_once = 1 + how % 16, room = 1 + (size_t)(how / 16) * 97;
    struct deflate_works *works = NULL;
    struct deflate *d = deflate_new(&works);
    struct buf pieces = {0}, whole = {0};
    enum deflate_rc want = plainly(in, &whole), rc = DEFLATE_OK;
    for (size_t i = 0; rc == DEFLATE_OK && i < in.len && pieces.len < MOST; i += at_once) {
        size_t n = in.len - i < at_once ? in.len - i : at_once;
        uint8_t *own = fuzz_copy(span_of(in.p + i, n));
        rc = piece(d, span_of(own, n), room, &pieces);
        free(own);
        another(&works);
    }
    if (whole.len < MOST && pieces.len < MOST) {
        MUST(rc == want || (want == DEFLATE_BAD && rc == DEFLATE_OK));
        MUST(rc != want || want == DEFLATE_BAD || span_eq(buf_span(&pieces), buf_span(&whole)));
    }
    MUST(pieces.len <= whole.len || whole.len >= MOST);
    deflate_free(&d);
    deflate_works_free(&works);
    buf_free(&pieces);
    buf_free(&whole);
    return 0;
}
