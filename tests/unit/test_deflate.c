/* deflate, against zlib called directly, at every split point of what comes, and many connections in turn. */
#include <string.h>
#include <zlib.h>

#include "lib/deflate.h"
#include "unit.h"

static const char text[] =
    "* 1 FETCH (UID 7 BODY[] {5}\r\nabcde)\r\nm3 OK done\r\n* 1 FETCH (UID 7 BODY[] {5}\r\nabcde)\r\n";

/* What a server would send: raw deflate, a flush in the middle and one at the end. */
static struct span packed_text(uint8_t *out, size_t cap)
{
    z_stream z = {0};
    size_t half = sizeof text / 2;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = out;
    z.avail_out = (unsigned)cap;
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (unsigned)half;
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    z.avail_in = (unsigned)(sizeof text - 1 - half);
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    size_t len = cap - z.avail_out;
    deflateEnd(&z);
    return span_of(out, len);
}

static struct deflate_works *works;

static void unpack_all(struct deflate *d, struct span in, size_t room, struct buf *out)
{
    size_t len;
    do {
        uint8_t *plain = malloc(room);
        assert_int_equal(deflate_unpack(d, &in, plain, room, &len), DEFLATE_OK);
        buf_add(out, plain, len);
        free(plain);
    } while (in.len > 0 || len == room);
}

static void unpack_pieces(const struct span *pieces, size_t n, void *arg)
{
    const size_t *room = arg;
    struct deflate *d = deflate_new(&works);
    struct buf out = {0};
    for (size_t i = 0; i < n; i++)
        unpack_all(d, pieces[i], *room, &out);
    unit_same(buf_span(&out), text);
    buf_free(&out);
    deflate_free(&d);
}

static void test_every_split(void **state)
{
    (void)state;
    uint8_t mem[1000];
    struct span packed = packed_text(mem, sizeof mem);
    const size_t rooms[] = {1, 7, sizeof text - 1, 4096};
    for (size_t i = 0; i < COUNTOF(rooms); i++)
        unit_splits(packed, unpack_pieces, (void *)(uintptr_t)&rooms[i]);
}

/* The peer can read all that was packed, each time. */
static void test_every_piece_arrives(void **state)
{
    (void)state;
    struct deflate *d = deflate_new(&works);
    z_stream z = {0};
    uint8_t plain[70000];
    assert_int_equal(inflateInit2(&z, -15), Z_OK);
    static const size_t sizes[] = {0, 1, 5, 16 * 1024, 65536, 0, 3};
    for (size_t i = 0; i < COUNTOF(sizes); i++) {
        struct buf out = {0};
        uint8_t *in = malloc(sizes[i] + 1);
        for (size_t k = 0; k < sizes[i]; k++)
            in[k] = (uint8_t)((k * k + i) % 251);
        deflate_pack(d, span_of(in, sizes[i]), &out);
        z.next_in = (Bytef *)(uintptr_t)buf_span(&out).p;
        z.avail_in = (unsigned)out.len;
        z.next_out = plain;
        z.avail_out = sizeof plain;
        int rc = inflate(&z, Z_SYNC_FLUSH);
        assert_true(rc == Z_OK || rc == Z_BUF_ERROR);
        assert_int_equal(sizeof plain - z.avail_out, sizes[i]);
        assert_memory_equal(plain, in, sizes[i]);
        free(in);
        buf_free(&out);
    }
    inflateEnd(&z);
    deflate_free(&d);
    deflate_free(&d); /* NULL is fine */
}

/* ---- one loop's works for many ---- */

struct peer {
    struct deflate *d;
    z_stream out, in; /* its own */
    unsigned seed, flush;
    struct buf said, heard, got, told; /* to us: what it said, what came; from us */
};

static void peer_open(struct peer *p, unsigned seed, int flush)
{
    *p = (struct peer){.d = deflate_new(&works), .seed = seed, .flush = (unsigned)flush};
    assert_int_equal(deflateInit2(&p->out, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(inflateInit2(&p->in, -15), Z_OK);
}

static void peer_close(struct peer *p)
{
    unit_same(buf_span(&p->heard), buf_str(&p->said));
    unit_same(buf_span(&p->got), buf_str(&p->told));
    deflateEnd(&p->out);
    inflateEnd(&p->in);
    deflate_free(&p->d);
    buf_free(&p->said);
    buf_free(&p->heard);
    buf_free(&p->got);
    buf_free(&p->told);
}

/* Words that come again and again, each peer's in an order of its own. */
static void some_text(struct peer *p, struct buf *out, unsigned words)
{
    for (unsigned i = 0; i < words; i++) {
        p->seed = p->seed * 1103515245 + 12345;
        buf_printf(out, "UID FETCH %u (FLAGS) ", p->seed >> 22);
    }
}

static void peer_says(struct peer *p, unsigned words)
{
    struct buf more = {0};
    uint8_t packed[8192];
    some_text(p, &more, words);
    buf_add_span(&p->said, buf_span(&more));
    p->out.next_in = more.mem + more.off;
    p->out.avail_in = (unsigned)more.len;
    do {
        p->out.next_out = packed;
        p->out.avail_out = sizeof packed;
        deflate(&p->out, (int)p->flush);
        unpack_all(p->d, span_of(packed, sizeof packed - p->out.avail_out), 512, &p->heard);
    } while (p->out.avail_out == 0);
    buf_free(&more);
}

static void peer_gets(struct peer *p, struct span more, struct buf *packed)
{
    uint8_t plain[8192];
    buf_add_span(&p->told, more);
    deflate_pack(p->d, more, packed);
    p->in.next_in = packed->mem + packed->off;
    p->in.avail_in = (unsigned)packed->len;
    do {
        p->in.next_out = plain;
        p->in.avail_out = sizeof plain;
        int rc = inflate(&p->in, Z_SYNC_FLUSH);
        assert_true(rc == Z_OK || rc == Z_BUF_ERROR);
        buf_add(&p->got, plain, sizeof plain - p->in.avail_out);
    } while (p->in.avail_out == 0);
}

static void peer_is_told(struct peer *p, unsigned words)
{
    struct buf more = {0}, packed = {0};
    some_text(p, &more, words);
    peer_gets(p, buf_span(&more), &packed);
    buf_free(&more);
    buf_free(&packed);
}

/* What one remembers is nothing to the others, whether their pieces end between two blocks or within one. */
static void test_in_turn(void **state)
{
    (void)state;
    enum { PEERS = 5, TURNS = 300 };
    static const int flushes[PEERS] = {Z_SYNC_FLUSH, Z_PARTIAL_FLUSH, Z_NO_FLUSH, Z_FULL_FLUSH, Z_SYNC_FLUSH};
    struct peer peers[PEERS];
    for (unsigned i = 0; i < PEERS; i++)
        peer_open(&peers[i], i + 1, flushes[i]);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        struct peer *p = &peers[turn * 7 % PEERS];
        peer_says(p, turn % 13 == 0 ? 2000 : turn % 4);
        peer_is_told(p, turn % 11 == 0 ? 3000 : turn % 5);
    }
    for (unsigned i = 0; i < PEERS; i++) {
        peers[i].flush = Z_SYNC_FLUSH;
        peer_says(&peers[i], 1);
        peer_close(&peers[i]);
    }
}

/* Between two commands a connection keeps what the client has said, and no more than 32 KiB of that. */
static void test_kept(void **state)
{
    (void)state;
    struct peer p;
    peer_open(&p, 1, Z_SYNC_FLUSH);
    size_t least = deflate_kept(p.d);
    assert_true(least < DEFLATE_SENT + 200);
    peer_says(&p, 10);
    peer_is_told(&p, 10000);
    assert_int_equal(deflate_kept(p.d), least + p.said.len);
    peer_says(&p, 10000);
    assert_int_equal(deflate_kept(p.d), least + 32 * 1024);
    p.flush = Z_NO_FLUSH;
    peer_says(&p, 3000);
    assert_true(deflate_kept(p.d) > 40 * 1024 && deflate_kept(p.d) < 48 * 1024);
    p.flush = Z_SYNC_FLUSH;
    peer_says(&p, 1);
    assert_int_equal(deflate_kept(p.d), least + 32 * 1024);
    peer_close(&p);
}

/* What was sent before is pointed back at, as far as it is remembered. */
static void test_repeats_are_short(void **state)
{
    (void)state;
    struct deflate *d = deflate_new(&works);
    struct buf once = {0}, again = {0}, later = {0};
    char filler[DEFLATE_SENT];
    memset(filler, 'x', sizeof filler);
    deflate_pack(d, span_of(text, sizeof text / 2), &once);
    deflate_pack(d, span_of(text, sizeof text / 2), &again);
    assert_true(again.len < once.len / 2);
    buf_clear(&again);
    deflate_pack(d, span_of(filler, sizeof filler), &again);
    deflate_pack(d, span_of(text, sizeof text / 2), &later);
    assert_int_equal(later.len, once.len);
    buf_free(&once);
    buf_free(&again);
    buf_free(&later);
    deflate_free(&d);
}

/* Base64 of what can't become smaller, then text: each as small as may be, from the second large piece on. */
static void test_what_was_compressed_already(void **state)
{
    (void)state;
    enum { SIZE = 60000 };
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct peer p;
    uint64_t seed = 1;
    size_t sizes[6];
    peer_open(&p, 1, Z_SYNC_FLUSH);
    for (unsigned turn = 0; turn < COUNTOF(sizes); turn++) {
        struct buf more = {0}, packed = {0};
        for (size_t i = 0; turn < 3 && i < SIZE; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            buf_add(&more, &letters[seed >> 58], 1);
        }
        if (turn >= 3)
            some_text(&p, &more, SIZE / 22);
        peer_gets(&p, buf_span(&more), &packed);
        sizes[turn] = packed.len * 100 / more.len;
        buf_free(&more);
        buf_free(&packed);
    }
    for (unsigned turn = 0; turn < 3; turn++)
        assert_in_range(sizes[turn], 75, 79);
    assert_in_range(sizes[3], 40, 70); /* by its letters alone */
    assert_true(sizes[4] < 25 && sizes[5] < 25);
    peer_close(&p);
}

/* ---- what is none ---- */

static void expect_end(struct span in, enum deflate_rc end, size_t left)
{
    struct deflate *d = deflate_new(&works);
    uint8_t plain[4096];
    size_t len;
    enum deflate_rc rc = DEFLATE_OK;
    while (rc == DEFLATE_OK && in.len > 0)
        rc = deflate_unpack(d, &in, plain, sizeof plain, &len);
    assert_int_equal(rc, end);
    assert_int_equal(in.len, left);
    deflate_free(&d);
}

static void test_refused(void **state)
{
    (void)state;
    struct span plain = BYTES("* OK [CAPABILITY IMAP4rev1] plain text\r\n");
    struct deflate *d = deflate_new(&works);
    uint8_t out[4096];
    size_t len;
    assert_int_equal(deflate_unpack(d, &plain, out, sizeof out, &len), DEFLATE_BAD);
    deflate_free(&d);
    expect_end(BYTES("\x03\x00"), DEFLATE_ENDED, 0); /* an empty last block */
    expect_end(BYTES("\x03\x00more"), DEFLATE_ENDED, 4);
    expect_end(BYTES("\x03"), DEFLATE_OK, 0);
}

/* Lengths and distances that point nowhere, with and without anything before them. */
static void test_points_back_too_far(void **state)
{
    (void)state;
    static const uint8_t far_back[] = {0x4a, 0x04, 0x1e, 0x00, 0x00}; /* "a", then 3 from 16385 behind */
    for (unsigned before = 0; before < 3; before++) {
        struct peer p;
        struct span in = span_of(far_back, sizeof far_back);
        uint8_t out[512];
        size_t len;
        peer_open(&p, before, Z_SYNC_FLUSH);
        peer_says(&p, before * 20);
        enum deflate_rc rc = deflate_unpack(p.d, &in, out, sizeof out, &len);
        assert_int_equal(rc, DEFLATE_BAD);
        peer_close(&p);
    }
}

static int works_done(void **state)
{
    (void)state;
    deflate_works_free(&works);
    deflate_works_free(&works); /* NULL is fine */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),       cmocka_unit_test(test_every_piece_arrives),
        cmocka_unit_test(test_in_turn),           cmocka_unit_test(test_kept),
        cmocka_unit_test(test_repeats_are_short), cmocka_unit_test(test_what_was_compressed_already),
        cmocka_unit_test(test_refused),           cmocka_unit_test(test_points_back_too_far),
    };
    return cmocka_run_group_tests(tests, NULL, works_done);
}
