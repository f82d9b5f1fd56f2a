#include "lib/imap_id.h"

#include "unit.h"

/* "name=value;" of what is kept, or "bad". */
static char *kept_of(const char *args)
{
    static const struct imap_tree_limits limits = {.depth = 3, .values = 100, .bytes = 65536};
    struct imap_tree *t = imap_tree_new(&limits);
    struct buf pairs = {0};
    const char *why;
    bool good = imap_tree_text(t, span_str(args), &why) && imap_tree_done(t, &why) &&
                imap_id_read(imap_tree_first(t), &pairs);
    char *text = xstrdup(good ? "" : "bad");
    bool name = true;
    for (struct span p = buf_span(&pairs); good && p.len > 0; name = !name) {
        char *longer = xasprintf("%s%s%c", text, (const char *)p.p, name ? '=' : ';');
        size_t n = strlen((const char *)p.p) + 1;
        p = span_of(p.p + n, p.len - n);
        free(text);
        text = longer;
    }
    buf_free(&pairs);
    imap_tree_free(&t);
    return text;
}

static void keeps(const char *args, const char *wanted)
{
    char *text = kept_of(args);
    assert_string_equal(text, wanted);
    free(text);
}

static void test_what_is_kept(void **state)
{
    (void)state;
    keeps("NIL", "");
    keeps("()", "");
    keeps("(\"name\" \"Mail\" \"os\" NIL vendor x)", "name=Mail;vendor=x;");
    keeps("(\"x-originating-ip\" \"192.0.2.1\" \"X-Session-Id\" \"1\" \"name\" \"Mail\")", "name=Mail;");
    keeps("(\"name\" \"a\nb\" \"os\" \"\xc3\xa4\" \"\" \"v\")", "os=\xc3\xa4;");
    keeps("", "bad");
    keeps("NIL NIL", "bad");
    keeps("name", "bad");
    keeps("(\"name\")", "bad");
    keeps("(\"name\" (\"x\"))", "bad");
    keeps("((\"name\" \"x\"))", "bad");
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        int pairs, name, value;
        bool good;
    } rows[] = {{30, 30, 1024, true}, {31, 5, 5, false}, {1, 31, 5, false}, {1, 5, 1025, false}};
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct buf args = {0};
        for (int n = 0; n < rows[i].pairs; n++)
            buf_printf(&args, "%s\"%0*d\" \"%0*d\"", n ? " " : "(", rows[i].name, n, rows[i].value, n);
        buf_add_str(&args, ")");
        char *text = kept_of(buf_str(&args));
        assert_int_equal(strcmp(text, "bad") != 0, rows[i].good);
        if (rows[i].good)
            assert_int_equal(strlen(text), rows[i].pairs * (rows[i].name + rows[i].value + 2));
        free(text);
        buf_free(&args);
    }
}

static void writes(struct span pairs, const char *wanted)
{
    struct imap_writer w;
    imap_writer_init(&w, LITERALS_PLUS);
    imap_id_write(&w, pairs);
    assert_string_equal(buf_str(&w.out), wanted);
    assert_false(w.bad);
    assert_int_equal(w.n_waits, 0);
    imap_writer_wipe(&w);
}

static void test_writing(void **state)
{
    (void)state;
    static const char pairs[] = "name\0A \"b\"\0os\0\xc3\xa4\0v\0";
    writes(span_of(NULL, 0), "ID NIL");
    writes(span_of(pairs, sizeof pairs), "ID (\"name\" \"A \\\"b\\\"\" \"os\" \"\xc3\xa4\" \"v\" \"\")");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests_name("imap_id", tests, NULL, NULL);
}
