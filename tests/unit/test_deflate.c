/* deflate, against zlib called directly, at every split point of what comes. */
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

static void unpack_all(struct deflate *d, struct span in, size_t room, struct buf *out)
{
    size_t len;
    do {
        uint8_t *plain = malloc(room);
        const char *why = NULL;
        assert_true(deflate_unpack(d, &in, plain, room, &len, &why));
        buf_add(out, plain, len);
        free(plain);
    } while (in.len > 0 || len == room);
}

static void unpack_pieces(const struct span *pieces, size_t n, void *arg)
{
    const size_t *room = arg;
    struct deflate *d = deflate_new();
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
    struct deflate *d = deflate_new();
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

static void expect_refused(struct span in, const char *text_of_error)
{
    struct deflate *d = deflate_new();
    uint8_t plain[4096];
    const char *why = NULL;
    size_t len;
    bool ok = true;
    while (ok && in.len > 0)
        ok = deflate_unpack(d, &in, plain, sizeof plain, &len, &why);
    assert_false(ok);
    assert_string_equal(why, text_of_error);
    deflate_free(&d);
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused(BYTES("* OK [CAPABILITY IMAP4rev1] plain text\r\n"),
                   "the peer sends damaged compressed data");
    expect_refused(BYTES("\xff\xff\xff\xff"), "the peer sends damaged compressed data");
    expect_refused(BYTES("\x03\x00"), "the peer ended its compressed data"); /* an empty last block */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_every_piece_arrives),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
