#include "lib/imap_line.h"

#include "unit.h"

static const struct imap_line_limits roomy = {.line = 200, .parts = 8, .literal = 1000, .nonsync_max = 4096};

struct row {
    const char *stream;
    size_t len;
    const char *trace;
};
#define ROW(stream, trace)                                                                                   \
    {                                                                                                        \
        stream, sizeof(stream) - 1, trace                                                                    \
    }

struct run {
    enum imap_line_side side;
    const struct imap_line_limits *limits;
    const char *trace;
};

/* One line of trace an item; the pieces of a literal are joined. */
static void note(struct buf *trace, bool *in_body, enum imap_line_rc rc, const struct imap_line_item *item)
{
    if (rc == LINE_TEXT) {
        buf_add_str(trace, item->first ? "line " : "more ");
        buf_add_str(trace, item->too_long ? "too long " : "");
        buf_add_span(trace, item->text);
        if (item->literal)
            buf_printf(trace, " -> %s%s%llu at %zu", item->binary ? "binary " : "", item->sync ? "sync " : "",
                       (unsigned long long)item->size, item->marker);
        buf_add_str(trace, "\n");
        assert_true(!item->too_long || item->marker == (item->literal ? item->text.len : 0));
    } else if (rc == LINE_LITERAL) {
        buf_add_str(trace, *in_body ? "" : "body ");
        buf_add_span(trace, item->text);
        *in_body = item->left > 0;
        if (item->left == 0)
            buf_add_str(trace, ".\n");
    } else {
        buf_printf(trace, "bad%s %s: ", item->refusable ? " refusable" : "", item->why);
        buf_add_span(trace, item->text);
        buf_add_str(trace, "\n");
    }
}

static bool feed_piece(struct imap_line *l, struct span piece, struct buf *trace, bool *in_body)
{
    struct imap_line_item item;
    for (size_t off = 0;;) {
        size_t used;
        enum imap_line_rc rc = imap_line_feed(l, piece.p + off, piece.len - off, &used, &item);
        off += used;
        assert_true(off <= piece.len);
        if (rc == LINE_MORE) {
            assert_int_equal(off, piece.len);
            return true;
        }
        note(trace, in_body, rc, &item);
        if (rc == LINE_BAD)
            return false;
    }
}

static void feed(const struct span *pieces, size_t n, void *arg)
{
    const struct run *run = arg;
    struct imap_line l;
    struct buf trace = {0};
    imap_line_init(&l, run->side, run->limits);
    bool good = true, in_body = false;
    for (size_t i = 0; i < n && good; i++)
        good = feed_piece(&l, pieces[i], &trace, &in_body);
    if (good && !imap_line_idle(&l))
        buf_add_str(&trace, "not idle\n");
    assert_string_equal(buf_str(&trace), run->trace);
    assert_true(l.part.cap <= 4096);
    buf_free(&trace);
    imap_line_wipe(&l);
}

static void check_rows(enum imap_line_side side, const struct imap_line_limits *limits,
                       const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct run run = {side, limits, rows[i].trace};
        unit_splits(span_of(rows[i].stream, rows[i].len), feed, &run);
    }
}

static void test_commands(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("a1 NOOP\r\n", "line a1 NOOP\n"),
        ROW("\r\n", "line \n"),
        ROW("DONE\r\na NOOP\r\nb NO", "line DONE\nline a NOOP\nnot idle\n"),
        ROW("a LOGIN {3}\r\nbob {4+}\r\npa\r\n\r\nb NOOP\r\n",
            "line a LOGIN {3} -> sync 3 at 8\nbody bob.\nmore  {4+} -> 4 at 1\nbody pa\r\n.\nmore \nline b "
            "NOOP\n"),
        ROW("a APPEND x (\\Seen) ~{3+}\r\n\r\r\n\r\n",
            "line a APPEND x (\\Seen) ~{3+} -> binary 3 at 19\nbody \r\r\n.\nmore \n"),
        ROW("a SEARCH SUBJECT \"x {5}\"\r\n", "line a SEARCH SUBJECT \"x {5}\"\n"),
        ROW("a SEARCH SUBJECT \"x {5}\r\n", "line a SEARCH SUBJECT \"x {5}\n"),
        ROW("a SEARCH SUBJECT \"x {05}\r\n", "line a SEARCH SUBJECT \"x {05}\n"),
        ROW("a SEARCH SUBJECT \"\\\" {5}\r\n", "line a SEARCH SUBJECT \"\\\" {5}\n"),
        ROW("a SEARCH SUBJECT \"\\\\\" ({1+}\r\nx)\r\n",
            "line a SEARCH SUBJECT \"\\\\\" ({1+} -> 1 at 23\nbody x.\nmore )\n"),
        ROW("a X \"abc\" {1+}\r\nx\r\n", "line a X \"abc\" {1+} -> 1 at 10\nbody x.\nmore \n"),
        ROW("a SEARCH SUBJECT {abc}\r\n", "line a SEARCH SUBJECT {abc}\n"),
        ROW("a X }\r\n", "line a X }\n"),
        ROW("}\r\n", "line }\n"),
        ROW("a X {5} \r\n", "line a X {5} \n"),
        ROW("\xff\xc3\xa4 \x01\x7f\r\n", "line \xff\xc3\xa4 \x01\x7f\n"),
        ROW("a X {5}", "not idle\n"),
        ROW("a X {2}\r\n1", "line a X {2} -> sync 2 at 4\nbody 1not idle\n"),
        ROW("a X {2}\r\n12", "line a X {2} -> sync 2 at 4\nbody 12.\nnot idle\n"),
        ROW("a X {1000}\r\n", "line a X {1000} -> sync 1000 at 4\nnot idle\n"),
    };
    check_rows(LINE_COMMANDS, &roomy, rows, COUNTOF(rows));
    /* FRONT-CASES 16: empty literals, at every split point. */
    static const struct row empty[] = {
        ROW("a LOGIN {0}\r\n {0+}\r\n\r\nb NOOP\r\n",
            "line a LOGIN {0} -> sync 0 at 8\nbody .\nmore  {0+} -> 0 at 1\nbody .\nmore \nline b NOOP\n"),
        ROW("a X ~{0}\r\n", "line a X ~{0} -> binary sync 0 at 4\nbody .\nnot idle\n"),
    };
    check_rows(LINE_COMMANDS, &roomy, empty, COUNTOF(empty));
}

/* FRONT-CASES 8, 24: the line rules; what a literal holds is not a line. */
static void test_line_faults(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("a NOOP\n", "bad LF without CR: \n"),
        ROW("\n", "bad LF without CR: \n"),
        ROW("a NO\rOP\r\n", "bad CR without LF: \n"),
        ROW("a NOOP\r\r\n", "bad CR without LF: \n"),
        ROW("a NOOP\r\r\r\n", "bad CR without LF: \n"),
        ROW("a NO\0OP\r\n", "bad NUL in a line: \n"),
        ROW("a NO\0\rOP\n", "bad NUL in a line: \n"),
        ROW("a NO\r\0OP\n", "bad CR without LF: \n"),
        ROW("a NOOP\0\r\n", "bad NUL in a line: \n"),
        ROW("a NOOP\r\0\n", "bad CR without LF: \n"),
        ROW("a X {4}\r\n\r\n\r\n\n", "line a X {4} -> sync 4 at 4\nbody \r\n\r\n.\nbad LF without CR: \n"),
    };
    static const struct row responses[] = {
        ROW("* 1 EXISTS\n", "bad LF without CR: \n"),
        ROW("\n", "bad LF without CR: \n"),
        ROW("* LIST () \"a\\\"\" b\n", "bad LF without CR: \n"),
        ROW("* LIST () \"\\\\\" b\n", "bad LF without CR: \n"),
        ROW("* 1 FETCH (X \"\" {1}\r\n\" Y\n\r\n",
            "line * 1 FETCH (X \"\" {1} -> 1 at 16\nbody \".\nbad LF without CR: \n"),
    };
    check_rows(LINE_COMMANDS, &roomy, rows, COUNTOF(rows));
    check_rows(LINE_RESPONSES, &roomy, responses, COUNTOF(responses));
}

/* FRONT-CASES 15, 25 */
static void test_malformed_markers(void **state)
{
    (void)state;
    static const char *const ends[] = {
        " {}",    " {+}",   " {-1}",  " { 5}", " {5 }",    " {05}",  " {00}",
        " {5++}", " {+5}",  " {5-}",  " {5x}", " {0x5}",   " {\t5}", "{5}",
        " a{5+}", " ~~{5}", " a~{5}", ")[{5}", " \"\"{5}", " {5{6}", " {1}{5}",
    };
    for (size_t i = 0; i < COUNTOF(ends); i++) {
        char *line = xasprintf("a1 SEARCH%s\r\nb NOOP\r\n", ends[i]);
        /* Whose sender may not wait for "+", nobody can go on behind. */
        bool waits = !strstr(ends[i], "+}") && !strstr(ends[i], "-}");
        char *trace = xasprintf("bad%s malformed literal: a1 SEARCH%s\n", waits ? " refusable" : "", ends[i]);
        struct run run = {LINE_COMMANDS, &roomy, trace};
        unit_splits(span_str(line), feed, &run);
        free(line);
        free(trace);
    }
    static const struct row rows[] = {
        ROW("{}\r\n", "bad refusable malformed literal: {}\n"),
        ROW("a X {09}\r\n", "bad refusable malformed literal: a X {09}\n"),
        ROW("{5}\r\n", "bad refusable malformed literal: {5}\n"),
        ROW("~{5}\r\n", "bad refusable malformed literal: ~{5}\n"),
        ROW("a X {1}\r\nx{1}\r\n",
            "line a X {1} -> sync 1 at 4\nbody x.\nbad refusable malformed literal: {1}\n"),
    };
    check_rows(LINE_COMMANDS, &roomy, rows, COUNTOF(rows));
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct imap_line_limits limits = {.line = 40, .parts = 2, .literal = 20, .nonsync_max = 5};
    static const struct row rows[] = {
        ROW("a X {21}\r\n", "bad refusable literal too large: a X {21}\n"),
        ROW("a X {4294967296}\r\n", "bad refusable literal too large: a X {4294967296}\n"),
        ROW("a X {18446744073709551616}\r\n",
            "bad refusable literal too large: a X {18446744073709551616}\n"),
        ROW("a X {99999999999999999999999999}\r\n",
            "bad refusable literal too large: a X {99999999999999999999999999}\n"),
        ROW("a X {6+}\r\n", "bad non-synchronizing literal too large: a X {6+}\n"),
        ROW("a X {18446744073709551616+}\r\n",
            "bad non-synchronizing literal too large: a X {18446744073709551616+}\n"),
        ROW("a X {1}\r\n1 {1}\r\n2 {1}\r\n", "line a X {1} -> sync 1 at 4\nbody 1.\nmore  {1} -> sync 1 at "
                                             "1\nbody 2.\nbad too many literals:  {1}\n"),
        ROW("a X {5+}\r\n12345 {1}\r\n2\r\nb {0}\r\n {0}\r\n\r\n",
            "line a X {5+} -> 5 at 4\nbody 12345.\nmore  {1} -> sync 1 at 1\nbody 2.\nmore \n"
            "line b {0} -> sync 0 at 2\nbody .\nmore  {0} -> sync 0 at 1\nbody .\nmore \n"),
    };
    check_rows(LINE_COMMANDS, &limits, rows, COUNTOF(rows));
    static const struct imap_line_limits no_cap = {
        .line = 40, .parts = 1, .literal = UINT64_MAX, .nonsync_max = UINT64_MAX};
    static const struct row large[] = {
        ROW("a X {18446744073709551615+}\r\nx",
            "line a X {18446744073709551615+} -> 18446744073709551615 at 4\n"
            "body xnot idle\n"),
        ROW("a X {18446744073709551616+}\r\n",
            "bad non-synchronizing literal too large: a X {18446744073709551616+}\n"),
    };
    check_rows(LINE_COMMANDS, &no_cap, large, COUNTOF(large));
}

/* A server without LITERAL+ takes what stands behind "{0+}" for a new command, whatever the limit. */
static void test_nonsync_without_literal_plus(void **state)
{
    (void)state;
    static const struct imap_line_limits limits = {.line = 60, .parts = 8, .literal = 20, .nonsync_max = 0};
    static const struct row rows[] = {
        ROW("a SETACL {0+}\r\n x EXPUNGE\r\n", "bad non-synchronizing literal too large: a SETACL {0+}\n"),
        ROW("a X {1+}\r\nx\r\n", "bad non-synchronizing literal too large: a X {1+}\n"),
        ROW("a X {0}\r\n\r\n", "line a X {0} -> sync 0 at 4\nbody .\nmore \n"),
    };
    check_rows(LINE_COMMANDS, &limits, rows, COUNTOF(rows));
    static const struct row response[] = {
        ROW("* X {1+}\r\nx\r\n", "line * X {1+} -> 1 at 4\nbody x.\nmore \n")};
    check_rows(LINE_RESPONSES, &limits, response, 1);
}

/* FRONT-CASES 14, 26, 32: a line part is at most limits.line bytes, and not a byte more is kept. */
static void test_long_lines(void **state)
{
    (void)state;
    static const struct imap_line_limits limits = {.line = 5, .parts = 2, .literal = 20, .nonsync_max = 5};
    static const struct row rows[] = {
        ROW("12345\r\n1234\r\n", "line 12345\nline 1234\n"),
        ROW("123456\r\n", "bad line too long: \n"),
        ROW("123456\n", "bad line too long: \n"),
        ROW("12345\n", "bad LF without CR: \n"),
        ROW("12345\rx", "bad CR without LF: \n"),
        ROW("12345\r", "not idle\n"),
        ROW("12345\r\r\n", "bad CR without LF: \n"),
        ROW("1234\r567890\r\n", "bad CR without LF: \n"),
        ROW("1234567\r8\r\n", "bad line too long: \n"),
        ROW("1234567\0\r\n", "bad line too long: \n"),
        ROW("12345\0\r\n", "bad NUL in a line: \n"),
        ROW("123456", "bad line too long: \n"),
        ROW("a {6}\r\n123456 {2}\r\n345678\r\n",
            "line a {6} -> sync 6 at 2\nbody 123456.\nmore  {2} -> sync 2 at 1\nbody 34.\nmore 5678\n"),
    };
    check_rows(LINE_COMMANDS, &limits, rows, COUNTOF(rows));
    static const struct row responses[] = {
        ROW("12345\r\n1234\r\n", "line 12345\nline 1234\n"),
        ROW("123456\r\n", "bad line too long: \n"),
        ROW("12345\n", "bad LF without CR: \n"),
        ROW("1234\r\r\n\r345\r\r\n", "line 1234\r\nline \r345\r\n"),
        ROW("12345\r\r\n", "bad line too long: \n"),
        ROW("12345\rx", "bad line too long: \n"),
        ROW("12\r\r5\r", "not idle\n"),
        ROW("1\r34567\r8\r\n", "bad line too long: \n"),
        ROW("\"234\n\r\n", "line \"234\n\n"),
        ROW("\"234\n6\r\n", "bad line too long: \n"),
        ROW("\"2\n\n56\n\r\n", "bad line too long: \n"),
    };
    check_rows(LINE_RESPONSES, &limits, responses, COUNTOF(responses));
}

/* A longer line is read over, and its literal is known all the same. */
static void test_skipped_lines(void **state)
{
    (void)state;
    static const struct imap_line_limits limits = {
        .line = 5, .skip = 30, .parts = 2, .literal = 20, .nonsync_max = 5};
    static const struct row rows[] = {
        ROW("12345\r\n123456\r\n12\r\n", "line 12345\nline too long 123456\nline 12\n"),
        ROW("123456\r", "not idle\n"),
        ROW("123456 {2+}\r\nab1234567\r\nc\r\n",
            "line too long 123456 {2+} -> 2 at 11\nbody ab.\nmore too long 1234567\nline c\n"),
        ROW("123456 (~{2}\r\nab)\r\n",
            "line too long 123456 (~{2} -> binary sync 2 at 12\nbody ab.\nmore )\n"),
        ROW("a X \"1234 {2}\r\nab\r\n", "line too long a X \"1234 {2}\nline ab\n"),
        ROW("a \"\\\"1\" {2}\r\nab\r\n", "line too long a \"\\\"1\" {2} -> sync 2 at 11\nbody ab.\nmore \n"),
        ROW("123456 {21}\r\n", "bad refusable literal too large: 123456 {21}\n"),
        ROW("123456 {6+}\r\n", "bad non-synchronizing literal too large: 123456 {6+}\n"),
        ROW("123456 {02}\r\n", "bad refusable malformed literal: 123456 {02}\n"),
        ROW("123456}\r\n", "bad malformed literal: 123456}\n"),
        ROW("123456\n", "bad LF without CR: \n"),
        ROW("123456\r7\r\n", "bad CR without LF: \n"),
        ROW("123456\0\r\n", "bad NUL in a line: \n"),
        ROW("1234567890123456789012345678901234\r5", "bad CR without LF: \n"),
        ROW("12345678901234567890123456789012345\r\n", "line too long 12345678901234567890123456789012345\n"),
        ROW("123456789012345678901234567890123456\r\n", "bad line too long: \n"),
        ROW("12345678901234567890123456789012345\r\r\n", "bad line too long: \n"),
    };
    check_rows(LINE_COMMANDS, &limits, rows, COUNTOF(rows));
    static const struct row response[] = {ROW("123456\r\n", "bad line too long: \n")};
    check_rows(LINE_RESPONSES, &limits, response, 1);
}

/* Its beginning is given out, and its end decides. */
static void test_ends_of_a_skipped_line(void **state)
{
    (void)state;
    enum { GIVEN = 128 };
    static const struct imap_line_limits limits = {
        .line = 100, .skip = 2000, .parts = 2, .literal = 20, .nonsync_max = 5};
    static const struct {
        const char *end, *literal, *behind;
    } rows[] = {{" {3+}", " -> 3 at ", "\nbody abc.\nmore \n"},
                {" FLAGS)", NULL, "\nline abc\n"},
                {" \"{3}", NULL, "\nline abc\n"},
                {" \"\" {3}", " -> sync 3 at ", "\nbody abc.\nmore \n"}};
    for (int n = 101; n < 300; n += 9)
        for (size_t i = 0; i < COUNTOF(rows); i++) {
            struct buf line = {0}, trace = {0};
            buf_printf(&line, "a1 FETCH %0*d%s", n, 7, rows[i].end);
            int given = line.len < GIVEN ? (int)line.len : GIVEN;
            buf_printf(&trace, "line too long %.*s", given, buf_str(&line));
            if (rows[i].literal)
                buf_printf(&trace, "%s%d", rows[i].literal, given);
            buf_add_str(&trace, rows[i].behind);
            buf_add_str(&line, "\r\nabc\r\n");
            struct run run = {LINE_COMMANDS, &limits, buf_str(&trace)};
            unit_splits(buf_span(&line), feed, &run);
            buf_free(&line);
            buf_free(&trace);
        }
}

/* Anybody could end a session by a mail: Courier sends the CR of "Subject: a\r b" within a quoted string. */
static void test_cr_in_response(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("* 1 FETCH (ENVELOPE (NIL \"a\r b\" NIL))\r\n* 2 EXISTS\r\n",
            "line * 1 FETCH (ENVELOPE (NIL \"a\r b\" NIL))\nline * 2 EXISTS\n"),
        ROW("* 1 FETCH (X \"\ra1 OK\r\" Y {1}\r\n\r)\r\n",
            "line * 1 FETCH (X \"\ra1 OK\r\" Y {1} -> 1 at 25\nbody \r.\nmore )\n"),
        ROW("* X {1}\r\r\n\r\r\n", "line * X {1}\r\nline \r\n"),
    };
    check_rows(LINE_RESPONSES, &roomy, rows, COUNTOF(rows));
}

/* The same for LF in a string, and for NUL: neither ends a line, so the mail's "a1 OK" is no answer. */
static void test_lf_in_response(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("* X \"a\nb\"\r\n* 2 EXISTS\r\n", "line * X \"a\nb\"\nline * 2 EXISTS\n"),
        ROW("* 1 FETCH (ENVELOPE (NIL \"a\na1 OK x\n\" NIL))\r\na1 OK y\r\n",
            "line * 1 FETCH (ENVELOPE (NIL \"a\na1 OK x\n\" NIL))\nline a1 OK y\n"),
        ROW("* X \"\n\n\\\"\n\\\\\" {1}\r\n\n \"\n\"\r\n",
            "line * X \"\n\n\\\"\n\\\\\" {1} -> 1 at 14\nbody \n.\nmore  \"\n\"\n"),
        ROW("* X \"\n{2}\r\nab\"\r\n", "line * X \"\n{2} -> 2 at 6\nbody ab.\nmore \"\n"),
        ROW("* X \"a\r\n\"b\"\r\n\"\n\"\r\n", "line * X \"a\nline \"b\"\nline \"\n\"\n"),
        ROW("* X \"a\n", "not idle\n"),
    };
    check_rows(LINE_RESPONSES, &roomy, rows, COUNTOF(rows));
    static const uint8_t nul[] = "* 1 FETCH (X \"a\0b\"\0)\r\n";
    for (size_t cut = 0; cut < sizeof nul; cut++) {
        struct imap_line l;
        struct imap_line_item item;
        size_t used;
        imap_line_init(&l, LINE_RESPONSES, &roomy);
        if (cut < sizeof nul - 1)
            assert_int_equal(imap_line_feed(&l, nul, cut, &used, &item), LINE_MORE);
        size_t from = cut < sizeof nul - 1 ? cut : 0;
        assert_int_equal(imap_line_feed(&l, nul + from, sizeof nul - 1 - from, &used, &item), LINE_TEXT);
        assert_int_equal(item.text.len, sizeof nul - 3);
        assert_memory_equal(item.text.p, nul, item.text.len);
        imap_line_wipe(&l);
    }
}

/* Each byte is looked at once, however many LFs there are. */
static void test_many_lfs(void **state)
{
    (void)state;
    enum { LINE = 4 << 20, PIECE = 64 << 10 };
    static const struct imap_line_limits limits = {.line = LINE, .parts = 2, .literal = 20, .nonsync_max = 5};
    struct imap_line l;
    struct imap_line_item item;
    size_t used;
    uint8_t *data = xmalloc(PIECE);
    memset(data, '\n', PIECE);
    imap_line_init(&l, LINE_RESPONSES, &limits);
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)"* X \"", 5, &used, &item), LINE_MORE);
    for (size_t n = PIECE + 5; n <= LINE; n += PIECE)
        assert_int_equal(imap_line_feed(&l, data, PIECE, &used, &item), LINE_MORE);
    assert_int_equal(imap_line_feed(&l, data, PIECE, &used, &item), LINE_BAD);
    free(data);
    imap_line_wipe(&l);
}

static void test_endless_line(void **state)
{
    (void)state;
    static const struct imap_line_limits limits = {.line = 8192, .parts = 2, .literal = 20, .nonsync_max = 5};
    struct imap_line l;
    struct imap_line_item item;
    imap_line_init(&l, LINE_COMMANDS, &limits);
    size_t used, fed = 0;
    static const uint8_t chunk[100] = "a AUTHENTICATE dGVzdHRlc3Q=";
    uint8_t data[27];
    memcpy(data, chunk, sizeof data);
    while (imap_line_feed(&l, data, sizeof data, &used, &item) == LINE_MORE) {
        fed += used;
        assert_true(l.part.cap <= 4 * 8192);
        assert_true(fed <= 8193);
    }
    assert_string_equal(item.why, "line too long");
    assert_int_equal(imap_line_feed(&l, data, sizeof data, &used, &item), LINE_BAD);
    assert_int_equal(used, 0);
    assert_false(imap_line_idle(&l));
    imap_line_wipe(&l);
}

static void test_responses(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("* 1 FETCH (BODY[] {5}\r\nhello UID 3)\r\n",
            "line * 1 FETCH (BODY[] {5} -> 5 at 18\nbody hello.\nmore  UID 3)\n"),
        ROW("* 1 FETCH (BODY[]{5}\r\nhello)\r\n",
            "line * 1 FETCH (BODY[]{5} -> 5 at 17\nbody hello.\nmore )\n"),
        ROW("* 1 FETCH (BINARY[1] ~{2}\r\n\r\n UID 3)\r\n",
            "line * 1 FETCH (BINARY[1] ~{2} -> binary 2 at 21\nbody \r\n.\nmore  UID 3)\n"),
        ROW("* 1 FETCH (X {0}\r\n Y {0}\r\n)\r\n",
            "line * 1 FETCH (X {0} -> 0 at 13\nbody .\nmore  Y {0} -> 0 at 3\nbody .\nmore )\n"),
        /* so that no body can be taken for responses */
        ROW("* LIST () \"\\\" {3}\r\na/b\r\n", "line * LIST () \"\\\" {3} -> 3 at 14\nbody a/b.\nmore \n"),
        ROW("* LIST () NIL {03}\r\na/b\r\n", "line * LIST () NIL {03} -> 3 at 14\nbody a/b.\nmore \n"),
        ROW("* LIST () NIL {000000000000000000000000000003}\r\na/b\r\n",
            "line * LIST () NIL {000000000000000000000000000003} -> 3 at 14\nbody a/b.\nmore \n"),
        ROW("* LIST () NIL {3+}\r\na/b\r\n", "line * LIST () NIL {3+} -> 3 at 14\nbody a/b.\nmore \n"),
        /* human text has no literals */
        ROW("* OK [ALERT] see {5}\r\n* ok {5}\r\n* BYE {5}\r\n* PREAUTH {5}\r\n+ {5}\r\n+{5}\r\n",
            "line * OK [ALERT] see {5}\nline * ok {5}\nline * BYE {5}\nline * PREAUTH {5}\nline + {5}\nline "
            "+{5}\n"),
        ROW("a1 OK {5}\r\na1 NO {5}\r\na1 BAD {5}\r\na1 bad {5}\r\n",
            "line a1 OK {5}\nline a1 NO {5}\nline a1 BAD {5}\nline a1 bad {5}\n"),
        ROW("* OKAY {1}\r\nx\r\n", "line * OKAY {1} -> 1 at 7\nbody x.\nmore \n"),
        /* ... but the second part of a response is never a status line */
        ROW("* X {1}\r\n* NO {1}\r\ny\r\n",
            "line * X {1} -> 1 at 4\nbody *.\nmore  NO {1} -> 1 at 4\nbody y.\nmore \n"),
        /* text, not markers */
        ROW("* X {}\r\n* X {-1}\r\n* X { 5}\r\n* X {5++}\r\n* X {a}\r\n",
            "line * X {}\nline * X {-1}\nline * X { 5}\nline * X {5++}\nline * X {a}\n"),
        ROW("* X {1001}\r\n", "bad literal too large: * X {1001}\n"),
        ROW("* X {18446744073709551616}\r\n", "bad literal too large: * X {18446744073709551616}\n"),
    };
    check_rows(LINE_RESPONSES, &roomy, rows, COUNTOF(rows));
}

/* The body of a literal is the caller's own memory, and so is a line that lies whole in it. */
static void test_no_copies(void **state)
{
    (void)state;
    static const char data[] = "* 1 FETCH (BODY[] {6}\r\nbo\0\r\ny)\r\n";
    struct imap_line l;
    struct imap_line_item item;
    size_t used, off = 0;
    imap_line_init(&l, LINE_RESPONSES, &roomy);
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)data, sizeof data - 1, &used, &item), LINE_TEXT);
    assert_ptr_equal(item.text.p, data);
    off += used;
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)data + off, 4, &used, &item), LINE_LITERAL);
    assert_ptr_equal(item.text.p, data + off);
    assert_int_equal(item.text.len, 4);
    assert_int_equal(item.left, 2);
    off += used;
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)data + off, 0, &used, &item), LINE_MORE);
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)data + off, sizeof data - 1 - off, &used, &item),
                     LINE_LITERAL);
    assert_ptr_equal(item.text.p, data + off);
    assert_int_equal(item.left, 0);
    off += used;
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)data + off, sizeof data - 1 - off, &used, &item),
                     LINE_TEXT);
    assert_ptr_equal(item.text.p, data + off);
    assert_false(item.first);
    assert_null(l.part.mem);
    imap_line_wipe(&l);
}

static enum imap_line_rc feed_text(struct imap_line *l, const char *s, struct imap_line_item *item)
{
    size_t used;
    return imap_line_feed(l, (const uint8_t *)s, strlen(s), &used, item);
}

static void test_refuse(void **state)
{
    (void)state;
    struct imap_line l;
    struct imap_line_item item;
    imap_line_init(&l, LINE_COMMANDS, &roomy);
    /* one that the owner refuses */
    assert_int_equal(feed_text(&l, "a X {10}\r\n", &item), LINE_TEXT);
    assert_false(imap_line_idle(&l));
    imap_line_refuse(&l);
    assert_true(imap_line_idle(&l));
    assert_int_equal(feed_text(&l, "b NOOP\r\n", &item), LINE_TEXT);
    assert_true(item.first);
    /* one over the limit, which came in pieces */
    assert_int_equal(feed_text(&l, "c X {10", &item), LINE_MORE);
    assert_int_equal(feed_text(&l, "01}\r\n", &item), LINE_BAD);
    assert_true(item.refusable);
    assert_true(item.sync);
    unit_same(item.text, "c X {1001}");
    assert_int_equal(feed_text(&l, "d NOOP\r\n", &item), LINE_BAD);
    imap_line_refuse(&l);
    assert_true(imap_line_idle(&l));
    assert_int_equal(feed_text(&l, "d NOOP\r\n", &item), LINE_TEXT);
    unit_same(item.text, "d NOOP");
    /* a broken stream stays broken */
    assert_int_equal(feed_text(&l, "e NOOP\n", &item), LINE_BAD);
    assert_false(item.refusable);
    imap_line_refuse(&l);
    assert_int_equal(feed_text(&l, "f NOOP\r\n", &item), LINE_BAD);
    assert_string_equal(item.why, "LF without CR");
    imap_line_wipe(&l);
}

/* A refused password lay in there until the client's next line. */
static void test_forget(void **state)
{
    (void)state;
    struct imap_line l;
    struct imap_line_item item;
    size_t used;
    imap_line_init(&l, LINE_COMMANDS, &roomy);
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)"a LOGIN x sec", 13, &used, &item), LINE_MORE);
    imap_line_forget(&l); /* not given out: stays */
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)"ret\r\nb", 6, &used, &item), LINE_TEXT);
    unit_same(item.text, "a LOGIN x secret");
    imap_line_forget(&l);
    for (size_t i = 0; i < l.part.cap; i++)
        assert_int_equal(l.part.mem[i], 0);
    assert_true(imap_line_idle(&l));
    assert_int_equal(imap_line_feed(&l, (const uint8_t *)" NOOP\r\n", 7, &used, &item), LINE_TEXT);
    unit_same(item.text, " NOOP");
    imap_line_wipe(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_line_faults),
        cmocka_unit_test(test_malformed_markers),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_nonsync_without_literal_plus),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_cr_in_response),
        cmocka_unit_test(test_lf_in_response),
        cmocka_unit_test(test_many_lfs),
        cmocka_unit_test(test_skipped_lines),
        cmocka_unit_test(test_ends_of_a_skipped_line),
        cmocka_unit_test(test_endless_line),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_no_copies),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
