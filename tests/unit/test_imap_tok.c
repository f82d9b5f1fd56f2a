#include "lib/imap_line.h"
#include "lib/imap_tok.h"

#include "unit.h"

static const struct imap_tree_limits roomy = {.depth = 8, .values = 60, .bytes = 400};
static const struct imap_line_limits line_limits = {
    .line = 600, .parts = 9, .literal = 1000, .nonsync_max = 1000};
enum { COLLECT_MAX = 8 }; /* longer literals are streamed */

/* An atom as it is (in '' where it holds a blank or parenthesis), "quoted", <literal>, <#size> streamed,
 * (list). */
static void dump(struct buf *out, const struct imap_value *v)
{
    static const char *const marks[][2] = {[IMAP_ATOM] = {"", ""},
                                           [IMAP_QUOTED] = {"\"", "\""},
                                           [IMAP_LITERAL] = {"<", ">"},
                                           [IMAP_LIST] = {"(", ")"}};
    for (; v; v = v->next) {
        if (v->kind == IMAP_STREAMED) {
            buf_printf(out, "<#%llu>", (unsigned long long)v->size);
        } else {
            bool odd = v->kind == IMAP_ATOM &&
                       (memchr(v->text.p, ' ', v->text.len) || memchr(v->text.p, '(', v->text.len));
            buf_add_str(out, odd ? "'" : marks[v->kind][0]);
            if (v->kind == IMAP_LIST)
                dump(out, v->first);
            else
                buf_add_span(out, v->text);
            buf_add_str(out, odd ? "'" : marks[v->kind][1]);
        }
        if (v->next)
            buf_add_str(out, " ");
    }
}

struct reader {
    struct imap_line line;
    struct imap_tree *tree;
    struct buf body;
    bool collect, whole;
    const char *why;
};

/* Takes what imap_line cut into the tree, as the programs do. */
static bool take(struct reader *r, enum imap_line_rc rc, const struct imap_line_item *item)
{
    if (rc == LINE_BAD) {
        r->why = item->why;
        return false;
    }
    if (rc == LINE_TEXT) {
        struct span part = span_of(item->text.p, item->literal ? item->marker : item->text.len);
        if (!imap_tree_text(r->tree, part, &r->why))
            return false;
        r->whole = !item->literal;
        r->collect = item->literal && item->size <= COLLECT_MAX;
        if (r->whole)
            return imap_tree_done(r->tree, &r->why);
        return r->collect || imap_tree_stream(r->tree, item->size, &r->why);
    }
    if (!r->collect)
        return true;
    buf_add_span(&r->body, item->text);
    if (item->left > 0)
        return true;
    bool ok = imap_tree_literal(r->tree, buf_span(&r->body), &r->why);
    buf_clear(&r->body);
    return ok;
}

static bool read_piece(struct reader *r, struct span piece)
{
    struct imap_line_item item;
    for (size_t off = 0, used;; off += used) {
        enum imap_line_rc rc = imap_line_feed(&r->line, piece.p + off, piece.len - off, &used, &item);
        if (rc == LINE_MORE)
            return true;
        if (!take(r, rc, &item))
            return false;
    }
}

struct want {
    const struct imap_tree_limits *limits;
    const char *text;
};

static void feed(const struct span *pieces, size_t n, void *arg)
{
    const struct want *want = arg;
    struct reader r = {.tree = imap_tree_new(want->limits)};
    imap_line_init(&r.line, LINE_RESPONSES, &line_limits);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        ok = read_piece(&r, pieces[i]);
    struct buf out = {0};
    if (ok) {
        assert_true(r.whole);
        dump(&out, imap_tree_first(r.tree));
    } else {
        buf_printf(&out, "error: %s", r.why);
    }
    assert_string_equal(buf_str(&out), want->text);
    buf_free(&out);
    buf_free(&r.body);
    imap_line_wipe(&r.line);
    imap_tree_free(&r.tree);
    assert_null(r.tree);
}

static void check(const struct imap_tree_limits *limits, const char *line, const char *want)
{
    char *stream = xasprintf("%s\r\n", line);
    struct want w = {limits, want};
    unit_splits(span_str(stream), feed, &w);
    free(stream);
}

/* What is glued has a ~ before it. */
static void dump_glued(struct buf *out, const struct imap_value *v)
{
    for (; v; v = v->next) {
        buf_add_str(out, v->glued ? "~" : "");
        if (v->kind == IMAP_LIST) {
            buf_add_str(out, "(");
            dump_glued(out, v->first);
            buf_add_str(out, ")");
        } else {
            buf_printf(out, v->kind == IMAP_QUOTED ? "\"%.*s\"" : "%.*s", (int)v->text.len,
                       (const char *)v->text.p);
        }
        buf_add_str(out, v->next ? " " : "");
    }
}

/* The meaning is plain, or it is marked that it isn't. */
static void test_lenient(void **state)
{
    (void)state;
    static const struct imap_tree_limits lenient = {.depth = 8, .values = 60, .bytes = 400, .lenient = true};
    static const char *const rows[][2] = {
        {"(\\HasNoChildren) \"\\\" Archive", "(\\HasNoChildren) \"\\\" Archive"},
        {"() \"\\\" \"Arch ive\"", "() \"\\\" \"Arch ive\""},
        {"() \"\\\" \"(x\"", "() \"\\\" \"(x\""},
        {"((\"\" \"\\\"))", "((\"\" \"\\\"))"},
        {"\"\\\"", "\"\\\""},
        {"\"\\\\\" x", "\"\\\" x"},
        {"\"\\\" x\" y", "\"\" x\" y"}, /* an escape, since that comes out even */
        {"(\\Seen a(b)c d)", "(\\Seen ~a ~(b) ~c d)"},
        {"FLAGS(x)", "~FLAGS ~(x)"},
        {"((a)(b))", "((a) (b))"},
        {"a\001b\tc d\177", "a\001b\tc d\177"},
        {"\"/\"INBOX", "~\"/\" ~INBOX"},
        {"a\"b\" c", "~a ~\"b\" c"},
        {"(a)b", "(a) ~b"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_tree *t = imap_tree_new(&lenient);
        struct buf out = {0};
        const char *why = "";
        bool ok = imap_tree_text(t, span_str(rows[i][0]), &why) && imap_tree_done(t, &why);
        dump_glued(&out, imap_tree_first(t));
        if (!ok || strcmp(buf_str(&out), rows[i][1]) != 0)
            fail_msg("%s: %s %s, not %s", rows[i][0], why, buf_str(&out), rows[i][1]);
        buf_free(&out);
        imap_tree_free(&t);
    }
    struct imap_tree *t = imap_tree_new(&lenient);
    const char *why;
    assert_true(imap_tree_text(t, BYTES("a\0b c"), &why));
    assert_int_equal(imap_tree_first(t)->text.len, 3);
    imap_tree_clear(t);
    /* What came before a fault can be read. */
    assert_false(imap_tree_text(t, span_str("(UID 7 \"x"), &why));
    uint32_t uid;
    assert_true(imap_value_u32(imap_value_get(imap_tree_first(t), "UID"), &uid) && uid == 7);
    imap_tree_clear(t);
    assert_true(imap_tree_literal(t, span_str("name"), &why) && imap_tree_text(t, span_str("x y"), &why));
    assert_true(imap_tree_first(t)->glued && imap_tree_first(t)->next->glued && !imap_tree_last(t)->glued);
    imap_tree_free(&t);
}

static void test_words(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"   ", ""},
        {"a", "a"},
        {" a  b ", "a b"},
        {"* 3 EXISTS", "* 3 EXISTS"},
        {"(a b)", "(a b)"},
        {"()", "()"},
        {"( ( ) )", "(())"},
        {"((a b)(c))(d)", "((a b) (c)) (d)"},
        {"FLAGS(\\Seen $x)", "FLAGS (\\Seen $x)"},
        {"\"\"", "\"\""},
        {"\"a b\"", "\"a b\""},
        {"\"a\\\"b\\\\\"", "\"a\"b\\\""},
        {"\"\\a\"", "\"a\""},
        {"\"(\" \")\" \"[\"", "\"(\" \")\" \"[\""},
        {"(\"a\"(\"b\"))", "(\"a\" (\"b\"))"},
        {"\"\t\x01\" \"\xc3\xa4\"", "\"\t\x01\" \"\xc3\xa4\""},
        {"\xc3\xa4 %* a\\b", "\xc3\xa4 %* a\\b"},
        {"NIL nil", "NIL nil"},
        {"[Gmail]/All a[b c]d ]", "[Gmail]/All a[b c]d ]"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        check(&roomy, rows[i][0], rows[i][1]);
}

static void test_sections(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"BODY[]", "BODY[]"},
        {"(BODY[HEADER.FIELDS (DATE FROM)]<0.100> UID)", "('BODY[HEADER.FIELDS (DATE FROM)]<0.100>' UID)"},
        {"body.peek[a b] BINARY[(] binary.peek[a b]<5> BINARY.SIZE[a b]",
         "'body.peek[a b]' 'BINARY[(]' 'binary.peek[a b]<5>' 'BINARY.SIZE[a b]'"},
        {"BODY[a b][c d]", "'BODY[a b][c' d]"},
        {"body.peek[1.MIME] BINARY[1] binary.peek[2]<5> BINARY.SIZE[3]",
         "body.peek[1.MIME] BINARY[1] binary.peek[2]<5> BINARY.SIZE[3]"},
        {"BODY[HEADER.FIELDS (\"A]B\" \"C\\\"]\")] x", "'BODY[HEADER.FIELDS (\"A]B\" \"C\\\"]\")]' x"},
        {"BODY[] \"x\" BODY (y)", "BODY[] \"x\" BODY (y)"},
        {"BODY[](x)", "BODY[] (x)"},
        {"BODY[HEADER", "error: unclosed section"},
        {"BODY[HEADER.FIELDS (\"]\")", "error: unclosed section"},
        {"BODY[HEADER.FIELDS ({4}\r\nDATE)]", "error: unclosed section"},
        {"XBODY[a b]", "XBODY[a b]"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        check(&roomy, rows[i][0], rows[i][1]);
}

static void test_literals(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a {3}\r\nb c d", "a <b c> d"},
        {"a {0}\r\n", "a <>"},
        {"a ({0}\r\n {0}\r\n)", "a (<> <>)"},
        {"(BODY[] {10}\r\n(\"\\)\r\n) {} UID 3)", "(BODY[] <#10> UID 3)"},
        {"(BODY[]{3}\r\nxyz UID 3)", "(BODY[] <xyz> UID 3)"},
        {"(X ~{2}\r\n\r\n)", "(X <\r\n>)"},
        {"{8}\r\n12345678 {9}\r\n123456789", "<12345678> <#9>"},
        {"({1}\r\nx(y))", "(<x> (y))"},
        {"{1}\r\nxy", "error: no blank behind a literal"},
        {"{9}\r\n123456789\"y\"", "error: no blank behind a literal"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        check(&roomy, rows[i][0], rows[i][1]);
}

static void test_errors(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {")", "error: unbalanced parenthesis"},
        {"(a))", "error: unbalanced parenthesis"},
        {"(a", "error: unclosed parenthesis"},
        {"((a)", "error: unclosed parenthesis"},
        {"\"a", "error: unclosed quoted string"},
        {"\"a\\\"", "error: unclosed quoted string"},
        {"\"a\\", "error: unclosed quoted string"},
        {"\"", "error: unclosed quoted string"},
        {"\"a\"b", "error: no blank behind a quoted string"},
        {"\"a\"\"b\"", "error: no blank behind a quoted string"},
        {"* LIST () \"\\\" INBOX", "error: unclosed quoted string"},
        {"* LIST () \"\\\" \"INBOX\"", "error: no blank behind a quoted string"},
        {"a\"b\"", "error: quote inside a word"},
        {"(a)b", "error: no blank behind a parenthesis"},
        {"(a)\"b\"", "error: no blank behind a parenthesis"},
        {"a\tb", "error: control character"},
        {"a\x7f", "error: control character"},
        {"\x01", "error: control character"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        check(&roomy, rows[i][0], rows[i][1]);
    struct imap_tree *t = imap_tree_new(&roomy);
    const char *why;
    assert_false(imap_tree_text(t, BYTES("a\0b"), &why));
    assert_string_equal(why, "NUL in a line");
    imap_tree_free(&t);
}

/* FRONT-CASES 22 */
static void test_limits(void **state)
{
    (void)state;
    static const struct imap_tree_limits tight = {.depth = 3, .values = 5, .bytes = 10};
    static const char *const rows[][2] = {
        {"(((a)))", "(((a)))"},
        {"((((a))))", "error: too many open parentheses"},
        {"() () ()", "() () ()"},
        {"1 2 3 4 5", "1 2 3 4 5"},
        {"1 2 3 4 5 6", "error: too many words"},
        {"()()()()()", "() () () () ()"},
        {"()()()()()()", "error: too many words"},
        {"1 2 3 4 5 {1}\r\n6", "error: too many words"},
        {"1 2 3 4 5 {9}\r\n123456789", "error: too many words"},
        {"1 2 3 4 5 ()", "error: too many words"},
        {"12345 \"67890\"", "12345 \"67890\""},
        {"12345 \"678901\"", "error: words too long"},
        {"123 {8}\r\n12345678", "error: words too long"},
        {"12 {8}\r\n12345678", "12 <12345678>"},
        {"12345678901", "error: words too long"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        check(&tight, rows[i][0], rows[i][1]);
    /* what goes elsewhere does not count */
    char body[501];
    memset(body, 'x', 500);
    body[500] = '\0';
    char *line = xasprintf("1 {500}\r\n%s", body);
    check(&tight, line, "1 <#500>");
    free(line);
    static const struct imap_tree_limits none = {0};
    check(&none, "", "");
    check(&none, "(", "error: too many open parentheses");
    check(&none, "a", "error: words too long");
    check(&none, "\"\"", "error: too many words");
}

static void test_paren_bomb(void **state)
{
    (void)state;
    static const struct imap_tree_limits deep = {.depth = SIZE_MAX, .values = SIZE_MAX, .bytes = SIZE_MAX};
    char bomb[4000];
    memset(bomb, '(', sizeof bomb);
    struct imap_tree *t = imap_tree_new(&deep);
    const char *why;
    assert_false(imap_tree_text(t, span_of(bomb, sizeof bomb), &why));
    assert_string_equal(why, "too many open parentheses");
    imap_tree_clear(t);
    assert_true(imap_tree_text(t, span_of(bomb, 1024), &why));
    assert_false(imap_tree_done(t, &why));
    imap_tree_free(&t);
}

static void test_clear(void **state)
{
    (void)state;
    static const struct imap_tree_limits large = {.depth = 8, .values = 10000, .bytes = 100000};
    struct imap_tree *t = imap_tree_new(&large);
    const char *why;
    char *word = xmalloc(9000); /* more than a chunk */
    memset(word, 'w', 9000);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++)
            assert_true(imap_tree_text(t, span_str("(abcdefghi) "), &why));
        assert_true(imap_tree_text(t, span_of(word, 9000), &why));
        assert_true(imap_tree_text(t, span_str(" (open"), &why));
        const struct imap_value *v = imap_tree_first(t);
        for (int i = 0; i < 1000; i++, v = v->next)
            assert_true(imap_value_is(v->first, "abcdefghi"));
        assert_int_equal(v->text.len, 9000);
        assert_true(imap_value_is(imap_tree_last(t), "open"));
        imap_tree_clear(t);
        assert_null(imap_tree_first(t));
        assert_null(imap_tree_last(t));
        assert_true(imap_tree_done(t, &why));
    }
    free(word);
    imap_tree_free(&t);
    imap_tree_free(&t);
}

static void any_answer(struct span prefix)
{
    struct imap_tree *t = imap_tree_new(&roomy);
    const char *why = NULL;
    bool ok = imap_tree_text(t, prefix, &why) && imap_tree_done(t, &why);
    assert_int_equal(ok, why == NULL);
    imap_tree_free(&t);
}

static void test_prefixes(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "* 1 FETCH (UID 3 BODY[HEADER.FIELDS (\"A\\\"\" B)]<0.5> (\"x\\\\\" NIL) \\Seen)",
        "((a)(b))",
        "\"\\\"\" body[\"",
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        unit_prefixes(span_str(rows[i]), any_answer);
}

static void test_values(void **state)
{
    (void)state;
    struct imap_tree *t = imap_tree_new(&roomy);
    const char *why;
    uint32_t u32;
    uint64_t u64;
    struct span s;
    assert_true(imap_tree_text(
        t, span_str("* 3 FETCH (UID 4294967295 X 4294967296 FLAGS (UID \\Seen) BODY[]"), &why));
    assert_true(imap_value_is(imap_tree_last(t), "body[]"));
    assert_true(imap_tree_stream(t, 70000, &why));
    assert_int_equal(imap_tree_last(t)->size, 70000);
    assert_true(imap_tree_text(t, span_str(" \"UID\" 5 S \"q\" N Nil Q \"NIL\" TEXT "), &why));
    assert_true(imap_tree_literal(t, span_str("UID"), &why));
    assert_true(imap_tree_text(t, span_str(" ODD)"), &why));
    assert_true(imap_tree_done(t, &why));
    const struct imap_value *first = imap_tree_first(t), *items = imap_value_at(first, 3);
    assert_ptr_equal(imap_value_at(first, 0), first);
    assert_null(imap_value_at(first, 4));
    assert_null(imap_value_at(NULL, 0));
    assert_true(imap_value_u32(imap_value_at(first, 1), &u32) && u32 == 3);
    assert_false(imap_value_u32(imap_value_at(first, 2), &u32));
    assert_false(imap_value_u32(items, &u32));
    assert_false(imap_value_u32(NULL, &u32));
    assert_true(imap_value_u32(imap_value_get(items, "uid"), &u32) && u32 == UINT32_MAX);
    assert_false(imap_value_u32(imap_value_get(items, "X"), &u32));
    assert_true(imap_value_u64(imap_value_get(items, "X"), &u64) && u64 == 4294967296);
    assert_int_equal(imap_value_get(items, "FLAGS")->kind, IMAP_LIST);
    assert_int_equal(imap_value_get(items, "BODY[]")->kind, IMAP_STREAMED);
    assert_false(imap_value_string(imap_value_get(items, "BODY[]"), &s));
    assert_false(imap_value_string(imap_value_get(items, "FLAGS"), &s));
    assert_false(imap_value_string(NULL, &s));
    assert_true(imap_value_string(imap_value_get(items, "S"), &s));
    unit_same(s, "q");
    assert_true(imap_value_string(imap_value_get(items, "TEXT"), &s));
    unit_same(s, "UID");
    assert_true(imap_value_is_nil(imap_value_get(items, "N")));
    assert_false(imap_value_is_nil(imap_value_get(items, "Q"))); /* a string */
    assert_null(imap_value_get(items, "ODD"));                   /* a name without a value */
    assert_null(imap_value_get(items, "\\Seen"));
    assert_null(imap_value_get(first, "3"));
    assert_null(imap_value_get(NULL, "UID"));
    imap_tree_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lenient),    cmocka_unit_test(test_words),  cmocka_unit_test(test_sections),
        cmocka_unit_test(test_literals),   cmocka_unit_test(test_errors), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_paren_bomb), cmocka_unit_test(test_clear),  cmocka_unit_test(test_values),
        cmocka_unit_test(test_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
