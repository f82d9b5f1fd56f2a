#include "lib/buf.h"
#include "lib/buf_room.h"

#include "unit.h"

/* A queue that is never quite empty: bytes come in and go out for ever. */
static size_t run_queue(struct buf *b, bool with_room)
{
    uint8_t block[1000];
    size_t largest = 0;
    unsigned in = 0, out = 0;
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = 1 + round * 37 % sizeof block;
        for (size_t i = 0; i < n; i++)
            block[i] = (uint8_t)(in++ % 251);
        if (with_room)
            buf_room(b, n);
        buf_add(b, block, n);
        largest = b->cap > largest ? b->cap : largest;
        size_t eat = b->len > 5000 ? b->len - 4000 : b->len / 2;
        struct span s = buf_span(b);
        for (size_t i = 0; i < eat; i++)
            assert_int_equal(s.p[i], out++ % 251);
        buf_eat(b, eat);
    }
    return largest;
}

static void test_queue_stays_small(void **state)
{
    (void)state;
    for (int with_room = 0; with_room < 2; with_room++) {
        struct buf b = {0};
        assert_true(run_queue(&b, with_room) <= 32 * 1024);
        buf_free(&b);
    }
}

/* A full queue of which a byte goes out and one comes in must not move all others each time. */
static void test_full_queue_moves_little(void **state)
{
    (void)state;
    enum { LEN = 64 * 1024, ROUNDS = 200000 };
    for (int with_room = 0; with_room < 2; with_room++) {
        struct buf b = {0};
        uint8_t *block = xcalloc(1, LEN);
        buf_add(&b, block, LEN);
        unsigned moves = 0;
        for (unsigned round = 0; round < ROUNDS; round++) {
            buf_eat(&b, 1);
            size_t off = b.off;
            const uint8_t *mem = b.mem;
            if (with_room)
                buf_room(&b, 1);
            buf_add(&b, "x", 1);
            moves += b.off != off || b.mem != mem;
        }
        assert_int_equal(b.len, LEN);
        assert_true(b.cap <= 4 * LEN);
        assert_true(moves <= 2 * ROUNDS / (LEN / 2) + 4);
        free(block);
        buf_free(&b);
    }
}

/* The old memory was given back with a password in it, or the bytes got lost. */
static void test_room_keeps_bytes(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_room(&b, 0);
    assert_null(b.mem);
    buf_room(&b, 300);
    size_t cap = b.cap;
    assert_true(cap >= 300);
    const uint8_t *mem = b.mem;
    buf_add(&b, "secret", 6);
    buf_room(&b, cap - 6);
    assert_ptr_equal(b.mem, mem);
    buf_room(&b, cap - 5);
    assert_true(b.cap >= cap + 1);
    unit_same(buf_span(&b), "secret");
    buf_wipe(&b);
    assert_null(b.mem);
}

/* "old" and a NUL behind it was taken for "old". */
static void test_a_nul_shortens_no_string(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *copy;
    } rows[] = {
        {"", 0, ""},
        {"old", 3, "old"},
        {"\0", 1, "\x01"},
        {"old\0", 4, "old\x01"},
        {"old\0\0new", 8, "old\x01\x01new"},
        {"\0old\0", 5, "\x01old\x01"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        char *copy = xspandup(span_of(rows[i].bytes, rows[i].len));
        assert_string_equal(copy, rows[i].copy);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_stays_small),
        cmocka_unit_test(test_full_queue_moves_little),
        cmocka_unit_test(test_room_keeps_bytes),
        cmocka_unit_test(test_a_nul_shortens_no_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
