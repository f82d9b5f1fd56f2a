/* The view of an account that is back at home, and what its changes are in the hash. */
#include <time.h>

#include "lib/xalloc.h"
#include "proxy/views_home.h"
#include "unit.h"

enum { FIELDS_MAX = 16 };

static const struct view_unknown no_grave = {0};

/* A hash as the store has it, and the view that is made of it. */
struct hash {
    char *names[FIELDS_MAX], *texts[FIELDS_MAX];
    size_t n;
    struct views_home *home;
    struct view *view;
};

static void put(struct hash *h, const char *name, const char *text)
{
    size_t i = 0;
    while (i < h->n && strcmp(h->names[i], name) != 0)
        i++;
    if (i == h->n)
        h->names[h->n++] = xstrdup(name);
    free(h->texts[i]);
    h->texts[i] = xstrdup(text);
}

static const char *get(const struct hash *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (strcmp(h->names[i], name) == 0)
            return h->texts[i];
    return NULL;
}

static void read_hash(struct hash *h)
{
    views_home_free(&h->home);
    view_unref(&h->view);
    h->home = views_home_new();
    h->view = view_new(NULL);
    for (size_t i = 0; i < h->n; i++)
        if (h->texts[i])
            assert_true(views_home_take(h->home, h->view, span_str(h->names[i]), span_str(h->texts[i])));
}

/* As the store and views.c do: compared, written, and the view goes on without being read. Frees the changes. */
static void change(struct hash *h, struct view_changes *seen)
{
    struct view_changes stored;
    views_home_changes(h->home, seen, &stored);
    for (size_t i = 0; i < stored.n; i++) {
        const char *is = get(h, stored.items[i].field);
        assert_int_equal(is != NULL, stored.items[i].was != NULL);
        if (is)
            assert_string_equal(is, stored.items[i].was);
    }
    for (size_t i = 0; i < stored.n; i++)
        put(h, stored.items[i].field, stored.items[i].is);
    struct view *now = view_apply(h->view, seen);
    assert_non_null(now);
    view_unref(&h->view);
    h->view = now;
    views_home_apply(h->home, &stored);
    view_changes_free(&stored);
    view_changes_free(seen);
}

static uint32_t shown(const struct hash *h, const char *name, uint32_t real)
{
    struct view_sight sight;
    assert_int_equal(view_look(h->view, span_str(name), real, 0, &sight), VIEW_FITS);
    assert_null(sight.map);
    return sight.uidvalidity;
}

static void put_record(struct hash *h, const char *name, const char *head, const char *tier)
{
    struct buf text = {0};
    buf_printf(&text, "1 %s tier=%s map=", head, tier);
    view_uid_encode(&text, &(struct view_uid){0});
    put(h, name, buf_str(&text));
    buf_free(&text);
}

static int set_up(void **state)
{
    struct hash *h = xcalloc(1, sizeof *h);
    put(h, "", "1 client=.,INBOX. backend=/, avoid=");
    put_record(h, "INBOX.A", "id=a1 source=INBOX.A target=A uidvalidity=100,200 uidnext=5,5 highest=201",
               "T3");
    put_record(h, "INBOX.A.b",
               "id=b1 source=INBOX.A.b target=A/b uidvalidity=101,200 uidnext=5,5 highest=101", "T0");
    read_hash(h);
    *state = h;
    return 0;
}

static int tear_down(void **state)
{
    struct hash *h = *state;
    for (size_t i = 0; i < h->n; i++) {
        free(h->names[i]);
        free(h->texts[i]);
    }
    views_home_free(&h->home);
    view_unref(&h->view);
    free(h);
    return 0;
}

static void test_what_is_seen(void **state)
{
    struct hash *h = *state;
    struct buf name = {0};
    assert_true(view_names_alike(h->view));
    assert_false(view_is_plain(h->view));
    assert_true(view_backend_name(h->view, span_str("INBOX.A.b"), &name));
    unit_same(buf_span(&name), "INBOX.A.b");
    assert_int_equal(view_client_separator(h->view), '.');
    assert_int_equal(view_backend_separator(h->view), '.');
    assert_int_equal(shown(h, "INBOX.A", 100), 201);
    assert_int_equal(shown(h, "INBOX.A.b", 101), 101);
    buf_free(&name);
}

/* A mailbox made anew is shown by a greater UIDVALIDITY, by all who read the hash. */
static void test_made_anew(void **state)
{
    struct hash *h = *state;
    struct view_changes seen = {0};
    assert_true(view_void(h->view, span_str("INBOX.A"), 150, &seen));
    change(h, &seen);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(shown(h, "INBOX.A", 150), 202);
        read_hash(h);
    }
    assert_true(view_void(h->view, span_str("INBOX.A"), 900, &seen));
    change(h, &seen);
    read_hash(h);
    assert_int_equal(shown(h, "INBOX.A", 900), 900);
    assert_non_null(strstr(get(h, "INBOX.A"), "target=A uidvalidity=900,200"));
}

/* Under the same UIDVALIDITY; and that it was made anew is found once. */
static void test_made_anew_with_the_same_uidvalidity(void **state)
{
    struct hash *h = *state;
    struct view_changes seen = {0};
    struct view_sight sight;
    struct span name = span_str("INBOX.A.b");
    assert_int_equal(view_look(h->view, name, 101, 5, &sight), VIEW_FITS);
    assert_int_equal(view_look(h->view, name, 101, 2, &sight), VIEW_CHANGED);
    assert_true(view_void(h->view, name, 101, &seen));
    change(h, &seen);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(view_look(h->view, name, 101, 2, &sight), VIEW_FITS);
        assert_int_equal(sight.uidvalidity, 102);
        read_hash(h);
    }
    assert_true(view_void(h->view, name, 900, &seen));
    change(h, &seen);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(view_look(h->view, name, 900, 1, &sight), VIEW_FITS);
        assert_int_equal(sight.uidvalidity, 900);
        read_hash(h);
    }
}

static void test_renamed(void **state)
{
    struct hash *h = *state;
    struct view_changes begun = {0}, copy = {0}, end = {0};
    view_rename_begin(h->view, span_str("INBOX.A"), span_str("INBOX.C"), &no_grave, &begun);
    view_rename_begin(h->view, span_str("INBOX.A"), span_str("INBOX.C"), &no_grave, &copy);
    change(h, &begun);
    view_rename_end(h->view, &copy, true, &end);
    view_changes_free(&copy);
    change(h, &end);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(shown(h, "INBOX.C", 100), 201);
        assert_int_equal(shown(h, "INBOX.C.b", 101), 101);
        read_hash(h);
    }
    struct view_sight sight;
    assert_int_equal(view_look(h->view, span_str("INBOX.A"), 100, 0, &sight), VIEW_CHANGED);
    assert_true(view_void(h->view, span_str("INBOX.A"), 170, &end));
    change(h, &end);
    read_hash(h);
    assert_int_equal(shown(h, "INBOX.A", 170), 202);
    assert_non_null(strstr(get(h, "INBOX.C"), "id=a1 source=INBOX.C target=A uidvalidity=100,200"));
}

static void test_unreadable(void **state)
{
    struct hash *h = *state;
    assert_false(views_home_take(h->home, h->view, span_str("INBOX.X"), span_str("what")));
    assert_false(views_home_take(h->home, h->view, span_str(""), span_str("what")));
}

#define HOME_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

/* The loop does nothing else meanwhile: the texts of long maps are not read again and again. */
static void test_a_large_tree_is_renamed(void **state)
{
    enum { N = 1000, RUNS = 1000, SECONDS_MAX = 3 };
    struct views_home *home = views_home_new();
    struct view *view = view_new(NULL);
    struct view_changes seen = {0}, stored;
    (void)state;
    assert_true(views_home_take(home, view, span_str(""), span_str("1 client=.,INBOX. backend=/, avoid=")));
    for (unsigned i = 0; i < N; i++) {
        struct view_record r = {.source_uidvalidity = 7, .target_uidvalidity = 100, .source_uidnext = 5000};
        struct buf text = {0};
        char *name = xasprintf("INBOX.x.m%u", i);
        r.tier = VIEW_T2;
        r.source_name = r.target_name = name;
        r.target_uidnext = r.highest_uidvalidity = 2000;
        snprintf(r.id, sizeof r.id, "%x", i + 1);
        for (uint32_t k = 1; k <= RUNS; k++)
            assert_true(view_uid_add(&r.map, k * 3, k));
        assert_true(view_uid_set_tail(&r.map, 5000, 2000));
        view_record_encode(&text, &r);
        assert_true(views_home_take(home, view, span_str(name), buf_span(&text)));
        buf_free(&text);
        view_uid_free(&r.map);
        free(name);
    }
    view_rename_begin(view, span_str("INBOX.x"), span_str("INBOX.y"), &no_grave, &seen);
    clock_t began = clock();
    views_home_changes(home, &seen, &stored);
    assert_true(clock() - began < (clock_t)SECONDS_MAX * CLOCKS_PER_SEC);
    assert_int_equal(stored.n, 2 * N);
    assert_true(strlen(stored.items[0].is) > RUNS);
    view_changes_free(&seen);
    view_changes_free(&stored);
    view_unref(&view);
    views_home_free(&home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOME_TEST(test_what_is_seen),
        HOME_TEST(test_made_anew),
        HOME_TEST(test_made_anew_with_the_same_uidvalidity),
        HOME_TEST(test_renamed),
        HOME_TEST(test_unreadable),
        cmocka_unit_test(test_a_large_tree_is_renamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
