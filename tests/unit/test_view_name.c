#include "unit.h"

#include "lib/view_name.h"

static const struct view_side slash = {'/', "", ""}, dot = {'.', "", ""}, inbox_dot = {'.', "INBOX.", NULL},
                              inbox_slash = {'/', "INBOX/", ""}, flat = {'\0', "", ""},
                              mail = {'/', "Mail/", ""}, picky = {'.', "", "%*"}, backslash = {'\\', "", "/"};

/* "" where there is no name. */
static char *map(const struct view_names *v, const char *name, size_t len, bool to_target)
{
    struct buf out = {0};
    bool ok = to_target ? view_name_to_target(v, span_of(name, len), &out)
                        : view_name_to_source(v, span_of(name, len), &out);
    assert_true(ok == (out.len > 0));
    char *text = xstrdup(buf_str(&out));
    buf_free(&out);
    return text;
}

/* Both ways; wanted "" = there is none. */
static void pair(const struct view_side *source, const struct view_side *target, const char *name,
                 const char *wanted)
{
    struct view_names v = {.source = *source, .target = *target};
    char *there = map(&v, name, strlen(name), true);

    assert_string_equal(there, wanted);
    if (*wanted) {
        char *back = map(&v, there, strlen(there), false);
        assert_string_equal(back, name);
        free(back);
    }
    free(there);
}

/* EDGE-CASES 53 */
static void test_separators_and_prefixes(void **state)
{
    (void)state;
    pair(&inbox_dot, &slash, "INBOX.Work.Bills", "Work/Bills");
    pair(&slash, &inbox_dot, "Work/Bills", "INBOX.Work.Bills");
    pair(&inbox_dot, &mail, "INBOX.Work.Bills", "Mail/Work/Bills");
    pair(&slash, &dot, "a/b/c", "a.b.c");
    pair(&slash, &slash, "a/b.c", "a/b.c");
    pair(&inbox_dot, &inbox_dot, "INBOX.a.b", "INBOX.a.b");
    pair(&slash, &backslash, "a/b\\c", "a\\b=5Cc");
    pair(&backslash, &slash, "a\\b", "a/b");
    pair(&slash, &dot, "v1.2", "v1=2E2");
    pair(&dot, &slash, "a/b", "a=2Fb");
    pair(&dot, &slash, "Project a/b.x", "Project a=2Fb/x");
}

static void test_what_looks_escaped(void **state)
{
    (void)state;
    pair(&slash, &dot, "v1=2E2", "v1=3D2E2");
    pair(&slash, &dot, "v1=3D2E2", "v1=3D3D2E2");
    pair(&slash, &dot, "v1=2F2", "v1/2"); /* only a name from a server with "." looks so */
    pair(&slash, &dot, "=", "=");
    pair(&slash, &dot, "a=b", "a=b");
    pair(&slash, &dot, "a=3D", "a=3D");
    pair(&slash, &dot, "a=3Db=2e", "a=3Db=2e");
    pair(&slash, &dot, "a=2.", "a=2=2E");
    pair(&slash, &slash, "v1=2F2=2E", "v1=2F2=2E");
    pair(&slash, &picky, "50%*", "50=25=2A");
    pair(&slash, &picky, "=25", "=3D25");
    pair(&picky, &slash, "50%", "");
}

/* EDGE-CASES 54 */
static void test_inbox(void **state)
{
    struct view_names v = {.source = inbox_dot, .target = slash};
    static const char *const spelled[] = {"inbox", "Inbox", "INBOX", "iNbOx"};

    (void)state;
    for (size_t i = 0; i < COUNTOF(spelled); i++) {
        char *there = map(&v, spelled[i], 5, true), *back = map(&v, spelled[i], 5, false);
        assert_string_equal(there, "INBOX");
        assert_string_equal(back, "INBOX");
        free(there);
        free(back);
        assert_true(view_name_is_inbox(span_str(spelled[i])));
    }
    assert_false(view_name_is_inbox(span_str("INBOX.a")));
    assert_false(view_name_is_inbox(span_str("INBO")));
    char *there = map(&v, "inbox.a", 7, true);
    assert_string_equal(there, "a");
    free(there);
    pair(&inbox_dot, &slash, "INBOX.INBOX", "=49NBOX");
    pair(&inbox_dot, &slash, "INBOX.Inbox", "=49nbox");
    pair(&inbox_dot, &slash, "INBOX.inbox", "=69nbox");
    pair(&inbox_dot, &slash, "INBOX.=49NBOX", "=3D49NBOX");
    pair(&inbox_dot, &slash, "INBOX.INBOX.a", "INBOX/a");
    pair(&inbox_dot, &inbox_slash, "INBOX.INBOX", "INBOX/INBOX");
    pair(&slash, &inbox_dot, "INBOX/a", "INBOX.INBOX.a");
    pair(&slash, &inbox_dot, "Inbox/a", "INBOX.Inbox.a");
    pair(&slash, &inbox_dot, "INBOXES", "INBOX.INBOXES");
    pair(&slash, &inbox_dot, "=49NBOX", "INBOX.INBOX");
    pair(&slash, &slash, "=49NBOX", "=49NBOX");
    pair(&slash, &dot, "INBOX/INBOX", "INBOX.INBOX");
}

static void test_odd_names(void **state)
{
    (void)state;
    pair(&slash, &dot, "a//b", "a.=00.b");
    pair(&slash, &dot, "/a", "=00.a");
    pair(&slash, &dot, "a/", "a.=00");
    pair(&slash, &slash, "a//b", "a/=00/b");
    pair(&slash, &dot, "a/=00", "a.=3D00");
    pair(&slash, &dot, " a \" \\ % * ^ ~", " a \" \\ % * ^ ~");
    pair(&slash, &inbox_dot, "Entw&APw-rfe/x", "INBOX.Entw&APw-rfe.x"); /* EDGE-CASES 55 */
    pair(&slash, &inbox_dot, "Entw\xc3\xbcrfe & x\xff", "INBOX.Entw\xc3\xbcrfe & x\xff");
    pair(&flat, &slash, "a/b", "a=2Fb");
    pair(&slash, &flat, "ab", "ab");
    pair(&slash, &flat, "a/b", "");
    pair(&inbox_dot, &slash, "Public.a", "");
    pair(&inbox_dot, &slash, "INBOX.", "");
    pair(&inbox_dot, &slash, "INBOXxa", "");
    pair(&inbox_dot, &slash, "inboxes", "");
    pair(&mail, &slash, "mail/a", "");
    pair(&slash, &dot, "", "");
    pair(&slash, &dot, "a\rb", "");
    pair(&slash, &dot, "a\nb", "");
}

static void test_refused(void **state)
{
    struct view_names v = {.source = slash, .target = dot};
    struct buf out = {0};
    char *name = xmalloc(VIEW_NAME_MAX + 1);

    (void)state;
    buf_add_str(&out, "kept");
    assert_false(view_name_to_target(&v, BYTES("a\0b"), &out));
    assert_false(view_name_to_source(&v, BYTES("a..b"), &out)); /* a target's empty level */
    assert_false(view_name_to_source(&v, BYTES("a."), &out));
    memset(name, '/', VIEW_NAME_MAX + 1);
    assert_false(view_name_to_target(&v, span_of(name, VIEW_NAME_MAX + 1), &out));
    assert_string_equal(buf_str(&out), "kept");
    free(name);
    buf_free(&out);
}

/* It was taken to the target, and could not be taken back. */
static void test_name_that_gets_too_long(void **state)
{
    struct view_names v = {.source = slash, .target = dot};
    struct buf there = {0}, back = {0};
    char *name = xmalloc(VIEW_NAME_MAX);

    (void)state;
    memset(name, '.', VIEW_NAME_MAX);
    assert_true(view_name_to_target(&v, span_of(name, VIEW_NAME_MAX / 3), &there));
    assert_true(view_name_to_source(&v, buf_span(&there), &back));
    assert_true(span_eq(buf_span(&back), span_of(name, VIEW_NAME_MAX / 3)));
    buf_clear(&there);
    assert_false(view_name_to_target(&v, span_of(name, VIEW_NAME_MAX / 3 + 1), &there));
    assert_int_equal(there.len, 0);
    free(name);
    buf_free(&there);
    buf_free(&back);
}

static void test_side_faults(void **state)
{
    static const struct view_side good[] = {
        {'/', "", ""}, {'.', "INBOX.", NULL}, {'\0', "", "%"}, {'\\', "~\\", ""}, {'^', "", "#:"}};
    static const struct view_side bad[] = {{'=', "", ""},    {'-', "", ""},    {'&', "", ""},
                                           {',', "", ""},    {'+', "", ""},    {'a', "", ""},
                                           {' ', "", ""},    {'\x80', "", ""}, {'.', "INBOX/", ""},
                                           {'\0', "x/", ""}, {'/', "", "="},   {'/', "", "x"}};

    (void)state;
    for (size_t i = 0; i < COUNTOF(good); i++)
        assert_null(view_side_fault(&good[i]));
    for (size_t i = 0; i < COUNTOF(bad); i++)
        assert_non_null(view_side_fault(&bad[i]));
}

/* --- reversibility over many names --- */

/* There and back is the same name; *taken counts those that have a name there. */
static void there_and_back(const struct view_names *v, const char *name, bool to_target, size_t *taken)
{
    char *there = map(v, name, strlen(name), to_target);

    if (*there) {
        char *back = map(v, there, strlen(there), !to_target);
        if (strcmp(back, name) && !(view_name_is_inbox(span_str(name)) && !strcmp(back, "INBOX")))
            fail_msg("%s became %s and then %s (%d)", name, there, back, to_target);
        free(back);
        ++*taken;
    }
    free(there);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 16;
}

/* A name of up to seven pieces that mean something to somebody. */
static void make_name(uint32_t *seed, const struct view_side *side, struct buf *name)
{
    static const char *const pieces[] = {"=",    "3D", "=3D", "2E",    "2F",       "5C",  "25",    "00",
                                         "49",   "69", ".",   "/",     "\\",       "%",   "INBOX", "NBOX",
                                         "nbox", "i",  "a",   "&APw-", "\xc3\xbc", "=49", "=00",   "=2E"};

    buf_clear(name);
    buf_add_str(name, side->prefix);
    for (uint32_t n = 1 + next_random(seed) % 7; n > 0; n--)
        buf_add_str(name, pieces[next_random(seed) % COUNTOF(pieces)]);
}

static void test_random_names(void **state)
{
    const struct view_side *sides[] = {&slash, &dot,  &inbox_dot, &inbox_slash,
                                       &flat,  &mail, &picky,     &backslash};
    struct buf name = {0};
    uint32_t seed = 3;

    (void)state;
    for (size_t i = 0; i < COUNTOF(sides); i++)
        for (size_t k = 0; k < COUNTOF(sides); k++) {
            struct view_names v = {.source = *sides[i], .target = *sides[k]};
            size_t taken = 0, shown = 0;
            for (int round = 0; round < 1000; round++) {
                make_name(&seed, &v.source, &name);
                there_and_back(&v, buf_str(&name), true, &taken);
                make_name(&seed, &v.target, &name);
                there_and_back(&v, buf_str(&name), false, &shown);
            }
            assert_in_range(taken, 200, 1000);
            assert_in_range(shown, 200, 1000);
        }
    buf_free(&name);
}

/* Every name of up to five of these, from "/" to "." and back, and the other way round. */
static void test_all_short_names(void **state)
{
    static const char alphabet[] = "=3DE2F0/.";
    struct view_names v = {.source = slash, .target = dot};
    size_t taken = 0;

    (void)state;
    for (unsigned len = 1; len <= 5; len++) {
        unsigned total = 1;
        for (unsigned i = 0; i < len; i++)
            total *= sizeof(alphabet) - 1;
        for (unsigned n = 0; n < total; n++) {
            char name[6] = "";
            for (unsigned i = 0, rest = n; i < len; i++, rest /= sizeof(alphabet) - 1)
                name[i] = alphabet[rest % (sizeof(alphabet) - 1)];
            there_and_back(&v, name, true, &taken);
            there_and_back(&v, name, false, &taken);
        }
    }
    assert_in_range(taken, 70000, 140000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_separators_and_prefixes),
        cmocka_unit_test(test_what_looks_escaped),
        cmocka_unit_test(test_inbox),
        cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_name_that_gets_too_long),
        cmocka_unit_test(test_side_faults),
        cmocka_unit_test(test_random_names),
        cmocka_unit_test(test_all_short_names),
    };
    return cmocka_run_group_tests_name("view_name", tests, NULL, NULL);
}
