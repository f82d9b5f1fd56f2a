#include "lib/imap_line.h"
#include "lib/imap_write.h"

#include "unit.h"

static void expect(struct imap_writer *w, const char *want)
{
    unit_same(buf_span(&w->out), want);
    imap_writer_wipe(w);
    assert_null(w->out.mem);
}

static void test_astrings(void **state)
{
    (void)state;
    static const struct {
        const char *s, *want;
    } rows[] = {
        {"INBOX", "INBOX"},
        {"a.b/c]+!#$&'-", "a.b/c]+!#$&'-"},
        {"", "\"\""},
        {"NIL", "\"NIL\""},
        {"nil", "\"nil\""},
        {"a b", "\"a b\""},
        {"a*", "\"a*\""},
        {"a%", "\"a%\""},
        {"a~b", "\"a~b\""}, /* Courier finds no such mailbox without the quotes */
        {"{5}", "\"{5}\""},
        {"(", "\"(\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"bob\" \"x", "\"bob\\\" \\\"x\""},
        {"\xc3\xa4", "{2}\r\n\xc3\xa4"},
        {"a\r\nX1 DELETE INBOX", "{18}\r\na\r\nX1 DELETE INBOX"}, /* FRONT-CASES 6 */
        {"\x01", "{1}\r\n\x01"},
        {"\x7f", "{1}\r\n\x7f"},
        {"\t", "{1}\r\n\t"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_writer w;
        imap_writer_init(&w, LITERALS_SYNC);
        imap_write_astring(&w, span_str(rows[i].s));
        assert_false(w.bad);
        expect(&w, rows[i].want);
    }
}

static void test_strings(void **state)
{
    (void)state;
    struct imap_writer w;
    imap_writer_init(&w, LITERALS_PLUS);
    imap_write_raw(&w, "a%d LOGIN ", 1);
    imap_write_string(&w, span_str("ann"));
    imap_write_raw(&w, " ");
    imap_write_secret(&w, span_str("pw"));
    imap_write_raw(&w, " ");
    imap_write_secret(&w, span_of(NULL, 0));
    imap_write_raw(&w, "\r\n");
    assert_int_equal(w.n_waits, 0);
    expect(&w, "a1 LOGIN \"ann\" {2+}\r\npw {0+}\r\n\r\n");
    /* a literal above the length that servers take in quotes */
    char s[514];
    memset(s, 'x', sizeof s);
    imap_writer_init(&w, LITERALS_PLUS);
    imap_write_astring(&w, span_of(s, 512));
    assert_int_equal(w.out.len, 512);
    buf_clear(&w.out);
    imap_write_string(&w, span_of(s, 512));
    assert_int_equal(w.out.len, 514);
    buf_clear(&w.out);
    imap_write_astring(&w, span_of(s, 513));
    assert_int_equal(w.out.len, 513 + strlen("{513+}\r\n"));
    imap_writer_wipe(&w);
}

/* FRONT-CASES 8 */
static void test_nul(void **state)
{
    (void)state;
    void (*const writes[])(struct imap_writer *, struct span) = {imap_write_astring, imap_write_string,
                                                                 imap_write_secret};
    for (size_t i = 0; i < COUNTOF(writes); i++) {
        struct imap_writer w;
        imap_writer_init(&w, LITERALS_SYNC);
        writes[i](&w, BYTES("pa\0ss12"));
        assert_true(w.bad);
        writes[i](&w, span_str("x")); /* it stays bad */
        assert_true(w.bad);
        imap_writer_wipe(&w);
        assert_false(w.bad);
    }
}

static void test_waits(void **state)
{
    (void)state;
    static const struct {
        enum imap_literals literals;
        uint64_t n;
        const char *want;
        bool wait;
    } rows[] = {
        {LITERALS_SYNC, 0, "x {0}\r\n", true},
        {LITERALS_SYNC, 4096, "x {4096}\r\n", true},
        {LITERALS_MINUS, 4096, "x {4096+}\r\n", false},
        {LITERALS_MINUS, 4097, "x {4097}\r\n", true},
        {LITERALS_PLUS, 4097, "x {4097+}\r\n", false},
        {LITERALS_PLUS, UINT64_MAX, "x {18446744073709551615+}\r\n", false},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_writer w;
        imap_writer_init(&w, rows[i].literals);
        imap_write_raw(&w, "x ");
        imap_write_literal_marker(&w, rows[i].n);
        assert_int_equal(w.n_waits, rows[i].wait ? 1 : 0);
        if (rows[i].wait)
            assert_int_equal(w.waits[0], strlen(rows[i].want));
        expect(&w, rows[i].want);
    }
    struct imap_writer w;
    imap_writer_init(&w, LITERALS_SYNC);
    imap_write_raw(&w, "a LOGIN ");
    imap_write_secret(&w, span_str("ann"));
    imap_write_raw(&w, " ");
    imap_write_secret(&w, span_str("pw"));
    imap_write_raw(&w, "\r\n");
    assert_int_equal(w.n_waits, 2);
    assert_int_equal(w.waits[0], strlen("a LOGIN {3}\r\n"));
    assert_int_equal(w.waits[1], strlen("a LOGIN {3}\r\nann {2}\r\n"));
    expect(&w, "a LOGIN {3}\r\nann {2}\r\npw\r\n");
}

/* What is written must be cut again into the same: every byte, in every kind of literal. */
static void test_read_again(void **state)
{
    (void)state;
    static const struct imap_line_limits limits = {
        .line = 2000, .parts = 9, .literal = 9999, .nonsync_max = 9999};
    for (int c = 1; c < 256; c++) {
        char s[] = {'u', (char)c, 'r', (char)c, '\0'};
        struct imap_writer w;
        imap_writer_init(&w, c % 2 ? LITERALS_SYNC : LITERALS_PLUS);
        imap_write_raw(&w, "a LOGIN ");
        imap_write_astring(&w, span_str(s));
        imap_write_raw(&w, "\r\n");
        struct imap_line l;
        struct imap_line_item item;
        imap_line_init(&l, LINE_COMMANDS, &limits);
        struct span left = buf_span(&w.out);
        enum imap_line_rc rc;
        unsigned commands = 0, bodies = 0;
        do {
            size_t used;
            rc = imap_line_feed(&l, left.p, left.len, &used, &item);
            left = span_of(left.p + used, left.len - used);
            assert_int_not_equal(rc, LINE_BAD);
            commands += rc == LINE_TEXT && item.first;
            if (rc == LINE_LITERAL) {
                unit_same(item.text, s);
                bodies++;
            }
        } while (rc != LINE_MORE);
        assert_int_equal(commands, 1);
        assert_int_equal(bodies, c < 0x20 || c >= 0x7f);
        assert_true(imap_line_idle(&l));
        imap_line_wipe(&l);
        imap_writer_wipe(&w);
    }
}

/* FRONT-CASES 33 */
static void test_text(void **state)
{
    (void)state;
    struct buf out = {0};
    imap_write_text(&out, BYTES("a\r\n\x1b[1m\0\xc3\xa4 z~\x7f"));
    assert_string_equal(buf_str(&out), "a???[1m??? z~?");
    buf_clear(&out);
    char s[300];
    memset(s, 'x', sizeof s);
    imap_write_text(&out, span_of(s, sizeof s));
    assert_int_equal(out.len, 200);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_astrings), cmocka_unit_test(test_strings),    cmocka_unit_test(test_nul),
        cmocka_unit_test(test_waits),    cmocka_unit_test(test_read_again), cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
