/* view_rewrite_quick() says what view_rewrite_response() says, or leaves the line to it. */
#include "lib/view_rewrite.h"
#include "lib/xalloc.h"
#include "unit.h"

static struct view *make_view(void)
{
    struct view *view = view_new(NULL);
    struct buf text = {0};
    struct view_record r = {.id = "a1",
                            .source_name = (char *)"INBOX",
                            .target_name = (char *)"INBOX",
                            .tier = VIEW_T2,
                            .source_uidvalidity = 7,
                            .target_uidvalidity = 70,
                            .source_uidnext = 1000,
                            .target_uidnext = 31,
                            .highest_uidvalidity = 7,
                            .modseqs = true,
                            .modseq_floor = 1000,
                            .modseq_shift = 1000};
    for (uint32_t i = 1; i <= 30; i++)
        if (i % 7 != 0)
            assert_true(view_uid_add(&r.map, 10 * i, i));
    assert_true(view_uid_set_tail(&r.map, 1000, 31));
    view_record_encode(&text, &r);
    assert_true(view_take(view, span_str("INBOX"), buf_span(&text)));
    view_uid_free(&r.map);
    buf_free(&text);
    return view;
}

static struct view_rewrite *make_rewrite(bool open)
{
    struct view *view = make_view();
    struct view_rewrite *w = view_rewrite_new(view);
    struct view_sight sight;
    assert_int_equal(view_look(view, span_str("INBOX"), 70, 0, &sight), VIEW_FITS);
    if (open)
        view_rewrite_selected(w, span_str("INBOX"), &sight);
    view_unref(&view);
    return w;
}

/* What the slow one makes of it; NULL: it is wrong. */
static const char *slow(struct view_rewrite *w, const char *line, struct buf *out)
{
    struct imap_resp resp;
    const char *why;
    if (!imap_resp_parse(span_str(line), &resp, &why))
        return NULL;
    buf_clear(out);
    switch (view_rewrite_response(w, &resp, span_str(line), false, out, &why)) {
    case VIEW_SAME:
        buf_add_str(out, line);
        buf_add_str(out, "\r\n");
        break;
    case VIEW_LINES:
        break;
    default:
        return NULL;
    }
    return buf_str(out);
}

static const struct {
    const char *line;
    bool quick;
} lines[] = {
    {"* 1 FETCH (UID 1 FLAGS (\\Seen))", true},
    {"* 1 FETCH (FLAGS (\\Seen $Junk a) UID 30)", true},
    {"* 12 FETCH (UID 31)", true},
    {"* 12 FETCH (uid 4000000)", true},
    {"* 12 FETCH (FLAGS ())", true},
    {"* 12 FETCH (RFC822.SIZE 44 UID 2 MODSEQ (7))", true},
    {"* 12 FETCH (MODSEQ (9223372036854774807) UID 2)", true},
    {"* 12 FETCH (FLAGS () modseq (12345678901) RFC822.SIZE 4)", true},
    {"* 12 FETCH (MODSEQ (0) UID 2)", false},
    {"* 12 FETCH (BODY NIL UID 3)", true},
    {"* 12 FETCH (MODSEQ (9223372036854774808) UID 2)", false},
    {"* 12 FETCH (MODSEQ (18446744073709551616) UID 2)", false},
    {"* 12 FETCH (MODSEQ (1) MODSEQ (2))", false},
    {"* 12 FETCH (MODSEQ 1)", false},
    {"* 12 FETCH (MODSEQ (1 2))", false},
    {"* 12 FETCH (MODSEQ () UID 1)", false},
    {"* 12 FETCH (MODSEQ (1", false},
    {"* 12 FETCH (MODSEQ ", false},
    {"* 12 FETCH (UID 7 FLAGS ())", false},
    {"* 12 FETCH (UID 0)", false},
    {"* 12 FETCH (UID 007)", false},
    {"* 12 FETCH (UID 99999999999)", false},
    {"* 12 FETCH (UID 4294967295)", false},
    {"* 12 FETCH (UID 1 UID 2)", false},
    {"* 12 FETCH (UID 1x)", false},
    {"* 12 FETCH (UID)", false},
    {"* 12 FETCH (UID )", false},
    {"* 12 FETCH ()", false},
    {"* 12 FETCH (FLAGS (UID 1)", false},
    {"* 12 FETCH (FLAGS (a (b) UID 1))", false},
    {"* 12 FETCH (FLAGS (a) UID 1) ", false},
    {"* 12 FETCH (FLAGS (a)UID 1)", false},
    {"* 12 FETCH (FLAGS  UID 1)", false},
    {"* 12 FETCH (INTERNALDATE \"1-Jan-2020 00:00:00 +0000\" UID 1)", false},
    {"* 12 FETCH (BODY[TEXT] NIL UID 1)", false},
    {"* 12 fetch (UID 1)", false},
    {"* 0 FETCH (UID 1)", false},
    {"* 12 EXISTS", false},
    {"* FETCH (UID 1)", false},
    {"12 FETCH (UID 1)", false},
    {"*", false},
    {"", false},
};

static void test_lines(void **state)
{
    (void)state;
    struct view_rewrite *w = make_rewrite(true);
    for (size_t i = 0; i < COUNTOF(lines); i++) {
        struct buf quick = {0}, other = {0};
        buf_add_str(&quick, "x");
        bool is = view_rewrite_quick(w, span_str(lines[i].line), &quick);
        if (is != lines[i].quick)
            fail_msg("%s", lines[i].line);
        const char *want = slow(w, lines[i].line, &other);
        if (is) {
            assert_non_null(want);
            assert_string_equal(buf_str(&quick) + 1, want);
        } else {
            assert_int_equal(quick.len, 1);
        }
        buf_free(&quick);
        buf_free(&other);
    }
    view_rewrite_free(&w);
}

/* Each UID, in any order. */
static void test_each_uid(void **state)
{
    (void)state;
    struct view_rewrite *w = make_rewrite(true);
    for (uint32_t i = 0; i < 400; i++) {
        struct buf quick = {0}, other = {0};
        char line[64];
        snprintf(line, sizeof line, "* 1 FETCH (UID %u)", i < 100 ? i : (i * 7919) % 50);
        bool is = view_rewrite_quick(w, span_str(line), &quick);
        const char *want = slow(w, line, &other);
        assert_int_equal(is, want != NULL);
        if (is)
            assert_string_equal(buf_str(&quick), want);
        buf_free(&quick);
        buf_free(&other);
    }
    view_rewrite_free(&w);
}

static void test_nothing_open(void **state)
{
    (void)state;
    struct view_rewrite *w = make_rewrite(false);
    struct buf out = {0};
    assert_false(view_rewrite_quick(w, span_str("* 1 FETCH (UID 1)"), &out));
    view_rewrite_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_each_uid),
        cmocka_unit_test(test_nothing_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
