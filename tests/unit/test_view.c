#include "unit.h"

#include "lib/view.h"

static const char SPELLING[] = "1 client=.,INBOX. backend=/, avoid=%25";

/* No grave is made of a mailbox without a record. */
static const struct view_unknown no_grave = {0};

static struct view *view_of(const char *spelling, const struct view_renames *renames)
{
    struct view *v = view_new(renames);
    if (spelling)
        assert_true(view_take(v, span_str(""), span_str(spelling)));
    return v;
}

/* A record with the map 1-3:1-3, 7-8:4-5, 20..:6.. */
static char *record_text(const char *client, const char *backend, enum view_tier tier, uint32_t source,
                         uint32_t target, uint32_t highest)
{
    struct view_record r = {.id = "9f03",
                            .source_name = (char *)(uintptr_t)client,
                            .target_name = (char *)(uintptr_t)backend,
                            .source_uidvalidity = source,
                            .target_uidvalidity = target,
                            .source_uidnext = 20,
                            .target_uidnext = 6,
                            .highest_uidvalidity = highest,
                            .tier = tier};
    struct buf text = {0};
    for (uint32_t i = 1; i <= 5; i++)
        assert_true(view_uid_add(&r.map, i <= 3 ? i : i + 3, i));
    assert_true(view_uid_set_tail(&r.map, 20, 6));
    view_record_encode(&text, &r);
    view_uid_free(&r.map);
    char *owned = xspandup(buf_span(&text));
    buf_free(&text);
    return owned;
}

static void take(struct view *v, const char *client, const char *backend, enum view_tier tier,
                 uint32_t source, uint32_t target)
{
    char *text = record_text(client, backend, tier, source, target, source);
    assert_true(view_take(v, span_str(client), span_str(text)));
    free(text);
}

static void same_name(const struct view *v, const char *client, const char *backend)
{
    struct buf out = {0};
    assert_true(view_backend_name(v, span_str(client), &out));
    unit_same(buf_span(&out), backend);
    buf_clear(&out);
    assert_true(view_client_name(v, span_str(backend), &out));
    unit_same(buf_span(&out), client);
    buf_free(&out);
}

static void no_name(bool found, struct buf *out)
{
    assert_false(found);
    assert_int_equal(out->len, 0);
    buf_free(out);
}

static void test_spelling_has_one_text(void **state)
{
    static const char *const good[] = {
        SPELLING,
        "1 client=, backend=, avoid=",
        "1 client=., backend=., avoid=",
        "1 client=/,a%20b%2Cc/ backend=., avoid=~",
        "1 client=/, backend=/, avoid= users=u/,Other%20Users/,,",
        "1 client=/, backend=., avoid=~ users=u/,v.,cexample.org,b shared=s/,t.",
        "1 client=/, backend=/, avoid= shared=s/,t/"};
    static const char *const bad[] = {"",
                                      "1",
                                      "1 client=,, backend=, avoid=",
                                      "1 client=., backend=., avoid",
                                      "1 client=., backend=., avoid= ",
                                      "1 client=.,INBOX backend=., avoid=",
                                      "1 client=..,INBOX. backend=., avoid=",
                                      "1 client=%2E, backend=., avoid=",
                                      "1 client=a, backend=., avoid=",
                                      "1 client=., backend=., avoid=%41",
                                      "1 client=., backend=., avoid=%00",
                                      "1 client=., backend=.,\x80 avoid=",
                                      "2 client=., backend=., avoid=",
                                      "1 client=/, backend=/, avoid= users=u/,v/",
                                      "1 client=/, backend=/, avoid= users=,v/,,",
                                      "1 client=/, backend=/, avoid= users=u/,v/,,x",
                                      "1 client=/, backend=/, avoid= users=u/,v/,b,",
                                      "1 client=/, backend=/, avoid= users=u/,v/,, ",
                                      "1 client=/, backend=/, avoid= users=u/,v/,,,",
                                      "1 client=/, backend=/, avoid= users=u/,v/,,,ann,ann",
                                      "1 client=/, backend=/, avoid= shared=s/,t/ users=u/,v/,,",
                                      "1 client=/, backend=/, avoid= shared=s/"};
    (void)state;
    for (size_t i = 0; i < COUNTOF(good); i++) {
        struct view_spelling s;
        struct buf text = {0};
        assert_true(view_spelling_decode(span_str(good[i]), &s));
        view_spelling_encode(&text, &s);
        unit_same(buf_span(&text), good[i]);
        buf_free(&text);
        view_spelling_free(&s);
    }
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        struct view_spelling s;
        assert_false(view_spelling_decode(span_str(bad[i]), &s));
    }
}

/* view_spaces.h */
static void test_names_of_others(void **state)
{
    struct view *v = view_of("1 client=/, backend=/, avoid= users=shared/,Other%20Users/,bexample.org,b "
                             "shared=Public/,Shared%20Folders/",
                             NULL);
    struct buf out = {0};
    (void)state;
    assert_false(view_names_alike(v));
    assert_true(view_is_regular(v));
    same_name(v, "INBOX", "INBOX");
    same_name(v, "Work", "Work");
    same_name(v, "shared", "Other Users");
    same_name(v, "shared/ann.b@example.org/Work/x", "Other Users/ann.b/Work/x");
    same_name(v, "shared/ann@example.org/INBOX", "Other Users/ann");
    same_name(v, "shared/ann@other.org/INBOX", "Other Users/ann@other.org");
    same_name(v, "Public/news", "Shared Folders/news");
    same_name(v, "Public", "Shared Folders");
    no_name(view_backend_name(v, span_str("shared/ann@example.org/"), &out), &out);
    no_name(view_backend_name(v, span_str("Other Users/ann"), &out), &out);
    no_name(view_client_name(v, span_str("shared/x"), &out), &out);
    no_name(view_client_name(v, span_str("Other Users/ann/INBOX"), &out), &out);
    assert_true(view_is_elsewhere(v, span_str("shared/ann@example.org/Work")));
    assert_false(view_is_elsewhere(v, span_str("sharedx")));
    view_unref(&v);
    v = view_of("1 client=.,INBOX. backend=/, avoid= users=user.,shared/,cexample.org,c", NULL);
    same_name(v, "user.ann^b.v1=2E2", "shared/ann.b@example.org/v1.2");
    same_name(v, "user.ann^b", "shared/ann.b@example.org/INBOX");
    no_name(view_backend_name(v, span_str("INBOX.shared"), &out), &out);
    view_unref(&v);
    v = view_of("1 client=/, backend=/, avoid= users=u/,u/,,", NULL);
    assert_true(view_names_alike(v));
    assert_true(view_is_plain(v));
    view_unref(&v);
}

/* What is changed of them is kept as of a mailbox without a record. */
static void test_records_of_others(void **state)
{
    struct view *v = view_of(
        "1 client=/, backend=/, avoid= users=shared/,Other%20Users/,bexample.org,b,ann@example.org", NULL);
    struct view_spelling his;
    struct view *ann = view_of(SPELLING, NULL);
    struct view_changes changes = {0};
    struct view_sight sight;
    struct buf text = {0};
    (void)state;
    assert_true(view_spelling_decode(span_str("1 client=/, backend=/, avoid="), &his));
    take(ann, "x", "y", VIEW_T2, 7, 100);
    view_record_encode(&text, view_record_of(ann, span_str("x")));
    assert_true(view_lend(v, "ann@example.org", &his, span_str("Work"), buf_span(&text)));
    buf_clear(&text);
    take(ann, "INBOX", "INBOX", VIEW_T1, 9, 200);
    view_record_encode(&text, view_record_of(ann, span_str("INBOX")));
    assert_true(view_lend(v, "ann@example.org", &his, span_str("INBOX"), buf_span(&text)));
    assert_false(view_lend(v, "ann@example.org", &his, span_str("Work"), span_str("1")));
    same_name(v, "shared/ann@example.org/INBOX", "Other Users/ann");
    same_name(v, "shared/ann@example.org/Work", "Other Users/ann/y");
    assert_int_equal(view_look(v, span_str("shared/ann@example.org/INBOX"), 200, 50, &sight), VIEW_FITS);
    assert_int_equal(sight.uidvalidity, 9);
    assert_true(view_has_modseqs(v));

    assert_int_equal(view_look(v, span_str("shared/ann@example.org/INBOX"), 201, 50, &sight), VIEW_CHANGED);
    assert_true(view_void(v, span_str("shared/ann@example.org/INBOX"), 201, &changes));
    assert_null(changes.items[0].was);
    struct view *now = view_apply(v, &changes);
    assert_true(view_record_is_of_other(view_record_of(now, span_str("shared/ann@example.org/INBOX"))));
    assert_false(view_record_is_of_other(view_record_of(now, span_str("shared/ann@example.org/Work"))));
    assert_int_equal(view_look(now, span_str("shared/ann@example.org/INBOX"), 201, 50, &sight), VIEW_FITS);
    assert_int_equal(sight.uidvalidity, 201);
    same_name(now, "shared/ann@example.org/Plan", "Other Users/ann/Plan");
    view_changes_free(&changes);

    const struct view_unknown unknown = {.highest = 1000, .id = "77"};
    view_delete_begin(v, span_str("shared/ann@example.org/INBOX"), &unknown, &changes);
    assert_int_equal(changes.n, 1);
    assert_null(changes.items[0].was);
    view_changes_free(&changes);
    view_rename_begin(v, span_str("shared/ann@example.org/Work"), span_str("shared/ann@example.org/z"),
                      &unknown, &changes);
    assert_int_equal(changes.n, 1);
    assert_null(changes.items[0].was);
    view_changes_free(&changes);
    view_spelling_free(&his);
    buf_free(&text);
    view_unref(&now);
    view_unref(&ann);
    view_unref(&v);
}

static void test_names_by_spelling_and_record(void **state)
{
    struct view *v = view_of(SPELLING, NULL);
    struct buf out = {0};
    (void)state;
    take(v, "INBOX.Odd", "Elsewhere", VIEW_T2, 7, 100);
    assert_false(view_names_alike(v));
    assert_false(view_is_plain(v));
    same_name(v, "INBOX", "INBOX");
    same_name(v, "INBOX.Work.Bills", "Work/Bills");
    same_name(v, "INBOX.50%", "50=25");
    same_name(v, "INBOX.Odd", "Elsewhere");
    assert_int_equal(view_client_separator(v), '.');
    assert_int_equal(view_backend_separator(v), '/');
    assert_string_equal(view_client_prefix(v), "INBOX.");
    assert_true(view_backend_name(v, span_str("inBOX"), &out));
    unit_same(buf_span(&out), "INBOX");
    buf_clear(&out);
    assert_true(view_backend_name(v, span_str("inbox.Odd"), &out));
    unit_same(buf_span(&out), "Elsewhere");
    buf_clear(&out);
    no_name(view_backend_name(v, span_str("Work"), &out), &out);
    no_name(view_backend_name(v, span_str(""), &out), &out);
    no_name(view_backend_name(v, span_str("INBOX.Elsewhere"), &out), &out);
    no_name(view_client_name(v, span_str("Odd"), &out), &out);
    assert_null(view_record_of(v, span_str("INBOX.Elsewhere")));
    assert_non_null(view_record_of(v, span_str("Inbox.Odd")));
    view_unref(&v);
    assert_null(v);
}

static void test_names_by_rules(void **state)
{
    struct view_renames *rules = view_renames_new();
    const char *why;
    struct buf out = {0};
    (void)state;
    assert_true(view_renames_add(rules, "Sent Items=Sent", &why));
    struct view *v = view_of(SPELLING, rules);
    same_name(v, "INBOX.Sent Items", "Sent");
    same_name(v, "INBOX.Sent Items.1", "Sent/1");
    no_name(view_backend_name(v, span_str("INBOX.Sent"), &out), &out);
    no_name(view_client_name(v, span_str("Sent Items"), &out), &out);
    view_unref(&v);
    view_renames_free(&rules);
}

static void test_plain_and_alike(void **state)
{
    struct view *v = view_of("1 client=/, backend=/, avoid=", NULL), *none = view_new(NULL);
    (void)state;
    assert_true(view_names_alike(none) && view_is_plain(none));
    same_name(none, "any.thing", "any.thing");
    view_unref(&none);
    assert_true(view_is_plain(v));
    take(v, "INBOX", "INBOX", VIEW_T0, 7, 7);
    assert_true(view_is_plain(v));
    take(v, "a", "a", VIEW_T3, 7, 7);
    assert_true(view_is_plain(v));
    take(v, "b", "b", VIEW_T1, 7, 8);
    assert_true(view_names_alike(v));
    assert_false(view_is_plain(v));
    take(v, "c", "d", VIEW_T0, 7, 7);
    assert_false(view_names_alike(v));
    assert_false(view_take(v, span_str("e"), span_str("1 id=")));
    view_unref(&v);
}

static void test_sights(void **state)
{
    struct view *v = view_of(SPELLING, NULL);
    struct view_sight s;
    (void)state;
    take(v, "INBOX", "INBOX", VIEW_T2, 7, 100);
    take(v, "INBOX.one", "one", VIEW_T1, 8, 101);
    char *text = record_text("INBOX.three", "three", VIEW_T3, 9, 5, 10);
    assert_true(view_take(v, span_str("INBOX.three"), span_str(text)));
    free(text);
    text = record_text("INBOX.last", "last", VIEW_T1, 9, 5, UINT32_MAX);
    assert_true(view_take(v, span_str("INBOX.last"), span_str(text)));
    free(text);
    assert_int_equal(view_look(v, span_str("inbox"), 100, 9, &s), VIEW_FITS);
    assert_int_equal(s.uidvalidity, 7);
    assert_ptr_equal(s.map, &view_record_of(v, span_str("INBOX"))->map);
    assert_int_equal(view_look(v, span_str("INBOX.one"), 101, 0, &s), VIEW_FITS);
    assert_int_equal(s.uidvalidity, 8);
    assert_null(s.map);
    assert_int_equal(view_look(v, span_str("INBOX.three"), 5, 0, &s), VIEW_FITS);
    assert_int_equal(s.uidvalidity, 10);
    assert_null(s.map);
    assert_int_equal(view_look(v, span_str("INBOX.new"), 1234, 0, &s), VIEW_FITS);
    assert_int_equal(s.uidvalidity, 1234);
    assert_int_equal(view_look(v, span_str("INBOX.new"), 0, 0, &s), VIEW_FITS);
    assert_int_equal(view_look(v, span_str("INBOX"), 99, 9, &s), VIEW_CHANGED);
    assert_int_equal(view_look(v, span_str("INBOX"), 0, 9, &s), VIEW_UNSEEN);
    assert_int_equal(view_look(v, span_str("INBOX"), 100, UINT32_MAX, &s), VIEW_CHANGED);
    assert_int_equal(view_look(v, span_str("INBOX.last"), 6, 0, &s), VIEW_UNSEEN);
    /* Under the same UIDVALIDITY, but it was made anew. */
    assert_int_equal(view_look(v, span_str("INBOX"), 100, 6, &s), VIEW_FITS);
    assert_int_equal(view_look(v, span_str("INBOX"), 100, 5, &s), VIEW_CHANGED);
    assert_int_equal(view_look(v, span_str("INBOX.one"), 101, 1, &s), VIEW_CHANGED);
    view_unref(&v);
}

/* Takes a record with these words on MODSEQs between `highest` and `tier`. */
static void take_words(struct view *v, const char *name, const char *words, const char *tier)
{
    struct buf text = {0};
    buf_printf(&text,
               "1 id=9f03 source=%s target=%s uidvalidity=7,7 uidnext=20,6 highest=7%s tier=%s map=1AAA",
               name, name, words, tier);
    assert_true(view_take(v, span_str(name), buf_span(&text)));
    buf_free(&text);
}

static void test_modseqs(void **state)
{
    struct view *v = view_of("1 client=/, backend=/, avoid=", NULL);
    struct view_sight s;
    (void)state;
    assert_true(view_has_modseqs(v));
    take_words(v, "INBOX", " modseq=100,0", "T0");
    take_words(v, "anew", " modseq=100,100,j", "T3");
    take_words(v, "again", "", "T3");
    assert_true(view_has_modseqs(v) && view_is_plain(v));
    assert_int_equal(view_look(v, span_str("INBOX"), 7, 9, &s), VIEW_FITS);
    assert_true(s.modseqs && s.modseq_floor == 100 && s.modseq_shift == 0);
    assert_int_equal(view_look(v, span_str("anew"), 7, 9, &s), VIEW_FITS);
    assert_true(s.modseqs && s.modseq_floor == 0 && s.modseq_shift == 0);
    assert_int_equal(view_look(v, span_str("none"), 7, 9, &s), VIEW_FITS);
    assert_true(s.modseqs && s.modseq_floor == 0 && s.modseq_shift == 0);
    take_words(v, "shifted", " modseq=9223372036854775807,9223372036854775806", "T0");
    assert_int_equal(view_look(v, span_str("shifted"), 7, 9, &s), VIEW_FITS);
    assert_true(s.modseqs && s.modseq_floor == INT64_MAX && s.modseq_shift == INT64_MAX - 1);
    assert_true(view_has_modseqs(v));
    assert_false(view_is_plain(v));
    view_unref(&v);

    v = view_of("1 client=/, backend=/, avoid=", NULL);
    take_words(v, "jumped", " modseq=100,0,j", "T0");
    assert_true(view_has_modseqs(v));
    assert_false(view_is_plain(v));
    view_unref(&v);

    v = view_of("1 client=/, backend=/, avoid=", NULL);
    take_words(v, "older", "", "T0");
    assert_true(view_is_plain(v));
    assert_false(view_has_modseqs(v));
    assert_int_equal(view_look(v, span_str("older"), 7, 9, &s), VIEW_FITS);
    assert_false(s.modseqs);
    view_unref(&v);
}

/* Clients learn the mailbox anew; nothing of what they knew counts. */
static void test_void_forgets_modseqs(void **state)
{
    struct view *v = view_of("1 client=/, backend=/, avoid=", NULL);
    struct view_changes changes = {0};
    struct view_sight s;
    (void)state;
    take_words(v, "INBOX", " modseq=100,100,j", "T1");
    assert_true(view_void(v, span_str("INBOX"), 9, &changes));
    assert_null(strstr(changes.items[0].is, "modseq"));
    struct view *next = view_apply(v, &changes);
    assert_int_equal(view_look(next, span_str("INBOX"), 9, 1, &s), VIEW_FITS);
    assert_true(s.modseqs && s.modseq_floor == 0 && s.modseq_shift == 0);
    view_changes_free(&changes);
    view_unref(&next);
    view_unref(&v);
}

static void test_void_shows_a_greater_one(void **state)
{
    static const struct {
        uint32_t real, shown;
    } rows[] = {{99, 99}, {7, 8}, {6, 8}, {UINT32_MAX, UINT32_MAX}};
    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct view *v = view_of(SPELLING, NULL);
        struct view_changes c = {0};
        struct view_sight s;
        take(v, "INBOX", "INBOX", VIEW_T2, 7, 100);
        assert_false(view_void(v, span_str("INBOX.none"), 5, &c));
        assert_true(view_void(v, span_str("inbox"), rows[i].real, &c));
        struct view *next = view_apply(v, &c);
        assert_non_null(next);
        assert_int_equal(view_look(v, span_str("INBOX"), rows[i].real, 0, &s), VIEW_CHANGED);
        assert_int_equal(view_look(next, span_str("INBOX"), rows[i].real, 0, &s), VIEW_FITS);
        assert_int_equal(s.uidvalidity, rows[i].shown);
        assert_null(s.map);
        view_changes_free(&c);
        view_unref(&v);
        view_unref(&next);
    }
}

/* A session that keeps the older view keeps its map too. */
static void test_versions_share(void **state)
{
    struct view *v = view_of(SPELLING, NULL);
    struct view_sight s;
    struct view_changes c = {0};
    uint32_t uid = 0;
    (void)state;
    take(v, "INBOX", "INBOX", VIEW_T2, 7, 100);
    take(v, "INBOX.a", "a", VIEW_T2, 7, 100);
    struct view *kept = view_ref(v);
    assert_int_equal(view_look(kept, span_str("INBOX"), 100, 0, &s), VIEW_FITS);
    assert_true(view_void(v, span_str("INBOX"), 101, &c));
    struct view *next = view_apply(v, &c);
    assert_ptr_equal(view_record_of(next, span_str("INBOX.a")), view_record_of(v, span_str("INBOX.a")));
    view_unref(&v);
    assert_true(view_uid_to_client(s.map, 4, &uid));
    assert_int_equal(uid, 7);
    view_unref(&kept);
    assert_int_equal(view_look(next, span_str("INBOX.a"), 100, 0, &s), VIEW_FITS);
    view_unref(&next);
    free(c.items[0].is);
    c.items[0].is = xstrdup("nonsense");
    struct view *w = view_of(SPELLING, NULL);
    assert_null(view_apply(w, &c));
    view_unref(&w);
    view_changes_free(&c);
}

/* ---- RENAME ---- */

static struct view *applied(struct view *v, const struct view_changes *c)
{
    struct view *next = view_apply(v, c);
    assert_non_null(next);
    view_unref(&v);
    return next;
}

static uint32_t seen(const struct view *v, const char *client, uint32_t uidvalidity)
{
    struct view_sight s = {0};
    return view_look(v, span_str(client), uidvalidity, 6, &s) == VIEW_FITS ? s.uidvalidity : 0;
}

static struct view *tree(void)
{
    struct view *v = view_of(SPELLING, NULL);
    take(v, "INBOX.a", "a", VIEW_T2, 7, 100);
    take(v, "INBOX.a.b", "a/b", VIEW_T1, 8, 101);
    take(v, "INBOX.a.far", "far", VIEW_T1, 8, 102);
    take(v, "INBOX.ab", "ab", VIEW_T1, 9, 103);
    take(v, "INBOX.c", "c", VIEW_T0, 104, 104);
    return v;
}

static void test_rename_takes_all_below(void **state)
{
    struct view *v = tree();
    struct view_changes begun = {0}, end = {0};
    (void)state;
    view_rename_begin(v, span_str("INBOX.a"), span_str("INBOX.x.y"), &no_grave, &begun);
    v = applied(v, &begun);
    /* In between, only the one that is there fits: they have one UIDVALIDITY. */
    assert_int_equal(seen(v, "INBOX.a", 100), 7);
    assert_int_equal(seen(v, "INBOX.x.y", 100), 7);
    assert_int_equal(seen(v, "INBOX.x.y", 500), 0);
    assert_int_equal(seen(v, "INBOX.x.y.b", 101), 8);
    assert_null(view_record_of(v, span_str("INBOX.x.yb")));
    assert_null(view_record_of(v, span_str("INBOX.x.y.far")));
    view_rename_end(v, &begun, true, &end);
    v = applied(v, &end);
    same_name(v, "INBOX.x.y.b", "x/y/b");
    assert_int_equal(seen(v, "INBOX.x.y", 100), 7);
    assert_int_equal(seen(v, "INBOX.a.far", 102), 8);
    assert_int_equal(seen(v, "INBOX.ab", 103), 9);
    /* The old name is free, but for the UIDVALIDITYs that were shown under it. */
    assert_int_equal(seen(v, "INBOX.a", 100), 0);
    view_changes_free(&end);
    assert_true(view_void(v, span_str("INBOX.a"), 3, &end));
    v = applied(v, &end);
    assert_int_equal(seen(v, "INBOX.a", 3), 8);
    view_changes_free(&begun);
    view_changes_free(&end);
    view_unref(&v);
}

/* They are of the messages, which go along; what is left under the old name is nothing. */
static void test_rename_takes_modseqs(void **state)
{
    struct view *v = view_of("1 client=/, backend=/, avoid=", NULL);
    struct view_changes begun = {0}, ended = {0};
    struct view_sight s;
    (void)state;
    take_words(v, "a", " modseq=100,90,j", "T1");
    view_rename_begin(v, span_str("a"), span_str("b"), &no_grave, &begun);
    struct view *next = view_apply(v, &begun);
    view_rename_end(next, &begun, true, &ended);
    struct view *after = view_apply(next, &ended);
    assert_int_equal(view_look(after, span_str("b"), 7, 9, &s), VIEW_FITS);
    assert_true(s.modseqs && s.modseq_floor == 100 && s.modseq_shift == 90);
    assert_true(view_record_of(after, span_str("b"))->modseq_jumped);
    assert_false(view_record_of(after, span_str("a"))->modseqs);
    view_changes_free(&begun);
    view_changes_free(&ended);
    view_unref(&after);
    view_unref(&next);
    view_unref(&v);
}

static void test_rename_that_was_refused(void **state)
{
    struct view *v = tree();
    struct view_changes begun = {0}, end = {0};
    struct buf was = {0}, is = {0};
    (void)state;
    view_record_encode(&was, view_record_of(v, span_str("INBOX.c")));
    view_rename_begin(v, span_str("INBOX.a"), span_str("INBOX.c"), &no_grave, &begun);
    v = applied(v, &begun);
    assert_int_equal(seen(v, "INBOX.c", 100), 105); /* 7 was shown after 104: never */
    view_rename_end(v, &begun, false, &end);
    v = applied(v, &end);
    assert_null(view_record_of(v, span_str("INBOX.c.b")));
    view_record_encode(&is, view_record_of(v, span_str("INBOX.c")));
    unit_same(buf_span(&is), buf_str(&was));
    assert_int_equal(seen(v, "INBOX.a", 100), 7);
    buf_free(&was);
    buf_free(&is);
    view_changes_free(&begun);
    view_changes_free(&end);
    view_unref(&v);
}

static void test_rename_there_and_back(void **state)
{
    struct view *v = tree();
    uint32_t last = 0;
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct view_changes begun = {0}, end = {0};
        const char *from = i % 2 ? "INBOX.z" : "INBOX.a", *to = i % 2 ? "INBOX.a" : "INBOX.z";
        view_rename_begin(v, span_str(from), span_str(to), &no_grave, &begun);
        v = applied(v, &begun);
        view_rename_end(v, &begun, true, &end);
        v = applied(v, &end);
        assert_int_equal(seen(v, from, 100), 0);
        assert_true(seen(v, to, 100) >= last);
        last = seen(v, to, 100);
        assert_true(last >= 7);
        view_changes_free(&begun);
        view_changes_free(&end);
    }
    view_unref(&v);
}

/* One who died between the two changes has left a twin; the next RENAME finds it. */
static void test_rename_after_a_crash(void **state)
{
    struct view *v = tree();
    struct view_changes begun = {0}, again = {0}, end = {0};
    (void)state;
    view_rename_begin(v, span_str("INBOX.a"), span_str("INBOX.z"), &no_grave, &begun);
    v = applied(v, &begun);
    view_rename_begin(v, span_str("INBOX.a"), span_str("INBOX.z"), &no_grave, &again);
    v = applied(v, &again);
    assert_int_equal(seen(v, "INBOX.z", 100), 7);
    view_rename_end(v, &again, true, &end);
    v = applied(v, &end);
    assert_int_equal(seen(v, "INBOX.z", 100), 7);
    assert_int_equal(seen(v, "INBOX.a", 100), 0);
    view_changes_free(&begun);
    view_changes_free(&again);
    view_changes_free(&end);
    view_unref(&v);
}

/* Names that go are names that come: nothing of it is kept, and no UIDVALIDITY comes back. */
static void test_rename_below_itself(void **state)
{
    static const char *const names[][2] = {{"INBOX.a", "INBOX.a.b"}, {"INBOX.a.b", "INBOX.a"}};
    (void)state;
    for (size_t i = 0; i < COUNTOF(names); i++)
        for (int ok = 0; ok < 2; ok++) {
            struct view *v = tree();
            struct view_changes begun = {0}, end = {0};
            view_rename_begin(v, span_str(names[i][0]), span_str(names[i][1]), &no_grave, &begun);
            v = applied(v, &begun);
            assert_int_equal(seen(v, "INBOX.a", 100), 7);
            assert_int_equal(seen(v, "INBOX.a.b", 101), 8);
            view_rename_end(v, &begun, ok, &end);
            v = applied(v, &end);
            assert_int_equal(seen(v, "INBOX.a", 100), ok ? 0 : 7);
            assert_int_equal(seen(v, "INBOX.a.b", 101), ok ? 0 : 8);
            assert_int_equal(seen(v, "INBOX.a.b", 100), 0);
            view_changes_free(&begun);
            view_changes_free(&end);
            view_unref(&v);
        }
}

static void test_rename_of_nothing(void **state)
{
    struct view *v = tree();
    struct view_changes begun = {0};
    (void)state;
    view_rename_begin(v, span_str("inbox"), span_str("INBOX.z"), &no_grave, &begun);
    view_rename_begin(v, span_str("INBOX.a"), span_str("Inbox"), &no_grave, &begun);
    view_rename_begin(v, span_str("INBOX.nothing"), span_str("INBOX.z"), &no_grave, &begun);
    view_rename_begin(v, span_str("INBOX.a"), span_str("outside"), &no_grave, &begun);
    view_rename_begin(v, span_str("INBOX.a"), span_str("inbox.a"), &no_grave, &begun);
    assert_int_equal(begun.n, 0);
    view_unref(&v);
}

/* Of two mailboxes that were made in one second: until the server refuses the RENAME, none of the two maps may be taken
 * for the other's. */
static void test_rename_onto_its_like(void **state)
{
    (void)state;
    for (int ok = 0; ok < 2; ok++) {
        struct view *v = tree();
        struct view_changes begun = {0}, end = {0};
        take(v, "INBOX.like", "like", VIEW_T2, 9, 100);
        view_rename_begin(v, span_str("INBOX.a"), span_str("INBOX.like"), &no_grave, &begun);
        v = applied(v, &begun);
        assert_int_equal(seen(v, "INBOX.like", 100), 0);
        assert_int_equal(seen(v, "INBOX.a", 100), 7);
        view_rename_end(v, &begun, ok, &end);
        v = applied(v, &end);
        assert_int_equal(seen(v, "INBOX.like", 100), ok ? 0 : 9);
        assert_int_equal(seen(v, "INBOX.a", 100), ok ? 0 : 7);
        assert_int_equal(view_record_of(v, span_str("INBOX.like"))->highest_uidvalidity, 9);
        view_changes_free(&begun);
        view_changes_free(&end);
        view_unref(&v);
    }
}

/* ---- DELETE ---- */

static void voided(struct view **v, const char *name, uint32_t uidvalidity)
{
    struct view_changes c = {0};
    assert_true(view_void(*v, span_str(name), uidvalidity, &c));
    *v = applied(*v, &c);
    view_changes_free(&c);
}

static void test_delete(void **state)
{
    struct view *v = tree();
    struct view_changes begun = {0}, end = {0};
    (void)state;
    view_delete_begin(v, span_str("INBOX.a."), &no_grave, &begun);
    assert_int_equal(begun.n, 1);
    v = applied(v, &begun);
    assert_int_equal(seen(v, "INBOX.a", 100), 0);
    assert_int_equal(seen(v, "INBOX.a.b", 101), 8); /* what is below it stays */
    /* Another session has looked at it before it went: by a new record, which fits what is made anew. */
    voided(&v, "INBOX.a", 100);
    assert_int_equal(seen(v, "INBOX.a", 100), 100);
    view_delete_end(v, &begun, VIEW_DELETED, true, &end);
    v = applied(v, &end);
    assert_int_equal(seen(v, "INBOX.a", 100), 0);
    view_changes_free(&end);
    view_delete_end(v, &begun, VIEW_DELETED, false, &end);
    assert_int_equal(end.n, 0);
    voided(&v, "INBOX.a", 100);
    assert_int_equal(seen(v, "INBOX.a", 100), 101);
    view_changes_free(&begun);
    view_delete_begin(v, span_str("inbox"), &no_grave, &begun);
    view_delete_begin(v, span_str("INBOX.none"), &no_grave, &begun);
    view_delete_begin(v, span_str("."), &no_grave, &begun);
    assert_int_equal(begun.n, 0);
    view_unref(&v);
}

static void test_delete_that_was_refused(void **state)
{
    (void)state;
    for (int faster = 0; faster < 3; faster++) {
        struct view *v = tree();
        struct view_changes begun = {0}, other = {0}, end = {0};
        view_delete_begin(v, span_str("INBOX.a"), &no_grave, &begun);
        v = applied(v, &begun);
        if (faster == 1) /* the DELETE of another session, which is why this one is refused */
            view_delete_begin(v, span_str("INBOX.a"), &no_grave, &other);
        else if (faster == 2)
            assert_true(view_void(v, span_str("INBOX.a"), 100, &other));
        v = applied(v, &other);
        view_delete_end(v, &begun, VIEW_NOT_DELETED, true, &end);
        assert_int_equal(end.n, faster == 0);
        v = applied(v, &end);
        assert_int_equal(seen(v, "INBOX.a", 100), faster == 0 ? 7 : faster == 1 ? 0 : 100);
        view_changes_free(&begun);
        view_changes_free(&other);
        view_changes_free(&end);
        view_unref(&v);
    }
}

/* ---- mailboxes without a record: clients have made them behind the flip ---- */

static const struct view_unknown unknown = {.highest = 1000, .id = "0123456789abcdef01"};

/* Whatever the one made anew has, clients have not seen it under this name. */
static void test_delete_without_a_record(void **state)
{
    (void)state;
    for (int is = VIEW_DELETED; is <= VIEW_NOT_DELETED; is++) {
        struct view *v = tree();
        struct view_changes begun = {0}, end = {0};
        view_delete_begin(v, span_str("INBOX.new."), &unknown, &begun);
        assert_int_equal(begun.n, 1);
        assert_null(begun.items[0].was);
        assert_string_equal(begun.items[0].field, "INBOX.new");
        assert_string_equal(begun.items[0].is,
                            "1 id=0123456789abcdef01 source=INBOX.new target=new uidvalidity=0,0 "
                            "uidnext=0,0 highest=1000 tier=T3 map=1AAA");
        v = applied(v, &begun);
        same_name(v, "INBOX.new", "new");
        assert_int_equal(seen(v, "INBOX.new", 1000), 0);
        view_delete_end(v, &begun, (enum view_deleted)is, false, &end);
        assert_int_equal(end.n, is != VIEW_DELETED);
        v = applied(v, &end);
        if (is == VIEW_DELETED)
            voided(&v, "INBOX.new", 1000);
        assert_int_equal(seen(v, "INBOX.new", 1000), is == VIEW_DELETED ? 1001 : 1000);
        view_changes_free(&begun);
        view_changes_free(&end);
        view_delete_begin(v, span_str("inbox"), &unknown, &begun);
        assert_int_equal(begun.n, 0);
        view_unref(&v);
    }
}

static void test_rename_without_a_record(void **state)
{
    (void)state;
    for (int ok = 0; ok < 2; ok++) {
        struct view *v = tree();
        struct view_changes begun = {0}, end = {0};
        view_rename_begin(v, span_str("INBOX.new"), span_str("INBOX.c"), &unknown, &begun);
        v = applied(v, &begun);
        assert_int_equal(seen(v, "INBOX.new", 1000), 0);
        assert_int_equal(seen(v, "INBOX.c", 104), 104);
        view_rename_end(v, &begun, ok, &end);
        v = applied(v, &end);
        /* The server has done it: of what was there before nothing is left. */
        assert_int_equal(seen(v, "INBOX.c", 104), ok ? 0 : 104);
        assert_int_equal(seen(v, "INBOX.new", 1000), ok ? 0 : 1000);
        if (ok)
            voided(&v, "INBOX.c", 104), voided(&v, "INBOX.new", 1001);
        assert_int_equal(seen(v, "INBOX.c", 104), ok ? 105 : 104);
        assert_int_equal(seen(v, "INBOX.new", 1001), 1001);
        view_changes_free(&begun);
        view_changes_free(&end);
        view_unref(&v);
    }
}

/* Each name that was given up keeps a record: a client that renames for ever must not fill the store, nor make
 * more records than are read. */
static void test_rename_for_ever(void **state)
{
    struct view *v = tree();
    struct view_changes begun = {0};
    char *text = record_text("INBOX.gone", "gone", VIEW_T3, 7, 0, 8);
    (void)state;
    view_rename_begin(v, span_str("INBOX.a"), span_str("INBOX.z"), &no_grave, &begun);
    for (unsigned i = 0; i <= 25000; i++) {
        char *name = xasprintf("INBOX.%040u", i);
        if (i % 5000 == 0)
            assert_int_equal(view_rename_fits(v, &begun), i <= 20000);
        assert_true(view_take(v, span_str(name), span_str(text)));
        free(name);
    }
    free(text);
    view_changes_free(&begun);
    view_unref(&v);
}

static void test_many_records(void **state)
{
    enum { N = 5000 };
    struct view *v = view_of(SPELLING, NULL);
    (void)state;
    for (unsigned i = 0; i < N; i++) {
        char *client = xasprintf("INBOX.m%u", i * 7919 % N), *backend = xasprintf("other%u", i * 7919 % N);
        take(v, client, backend, VIEW_T1, 7, 100 + i);
        free(client);
        free(backend);
    }
    for (unsigned i = 0; i < N; i++) {
        char *client = xasprintf("INBOX.m%u", i), *backend = xasprintf("other%u", i);
        same_name(v, client, backend);
        free(client);
        free(backend);
    }
    view_unref(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spelling_has_one_text),
        cmocka_unit_test(test_names_of_others),
        cmocka_unit_test(test_records_of_others),
        cmocka_unit_test(test_names_by_spelling_and_record),
        cmocka_unit_test(test_names_by_rules),
        cmocka_unit_test(test_plain_and_alike),
        cmocka_unit_test(test_sights),
        cmocka_unit_test(test_modseqs),
        cmocka_unit_test(test_void_forgets_modseqs),
        cmocka_unit_test(test_rename_takes_modseqs),
        cmocka_unit_test(test_void_shows_a_greater_one),
        cmocka_unit_test(test_versions_share),
        cmocka_unit_test(test_rename_takes_all_below),
        cmocka_unit_test(test_rename_that_was_refused),
        cmocka_unit_test(test_rename_there_and_back),
        cmocka_unit_test(test_rename_after_a_crash),
        cmocka_unit_test(test_rename_below_itself),
        cmocka_unit_test(test_rename_of_nothing),
        cmocka_unit_test(test_rename_for_ever),
        cmocka_unit_test(test_rename_onto_its_like),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_delete_that_was_refused),
        cmocka_unit_test(test_delete_without_a_record),
        cmocka_unit_test(test_rename_without_a_record),
        cmocka_unit_test(test_many_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
