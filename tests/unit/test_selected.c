#include "io.h"
#include "migrator/mailbox/selected.h"

/* A mailbox on a scripted server, opened and listed. */
struct world {
    struct loop *loop;
    struct conf_backend backend;
    struct io_peer peer;
    struct imapc *c;
    struct flags_pool *pool;
    struct selected box;
    bool done;
    enum copy_rc rc;
    char *why;
};

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define LOGIN(caps)                                                                                          \
    ">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN ann {6+}", "=secret",                             \
        ">%T OK [CAPABILITY IMAP4rev1" caps "] in"
#define CONDSTORE LOGIN(" CONDSTORE ESEARCH")
#define OPENED(exists, uidnext, modseq)                                                                      \
    ">* " exists " EXISTS", ">* OK [UIDVALIDITY 7] so", ">* OK [UIDNEXT " uidnext "] so",                    \
        ">* OK [HIGHESTMODSEQ " modseq "] so", ">m1 OK [READ-ONLY] fine"
#define ITEMS "(UID FLAGS INTERNALDATE RFC822.SIZE)"
#define MESSAGE(seq, uid, flags)                                                                             \
    ">* " seq " FETCH (UID " uid " FLAGS (" flags                                                            \
    ") INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" RFC822.SIZE 9)"

static bool knew(void *owner, uint32_t uid, uint32_t *size)
{
    (void)owner;
    *size = uid * 10;
    return uid == 2 || uid == 5 || uid == 8 || uid == 150000 || uid == 200000;
}

static const struct selected_base changes = {{7, 9, 3, 40}, true, knew, NULL};
static const struct selected_base flags_only = {{7, 9, 3, 0}, false, knew, NULL};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->loop = loop_new();
    w->pool = flags_pool_new();
    w->backend = (struct conf_backend){.name = (char *)"old",
                                       .address = {.scheme = ADDRESS_IMAP, .host = (char *)"127.0.0.1"}};
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    flags_pool_free(&w->pool);
    free(w->why);
    loop_free(&w->loop);
    free(w);
    return 0;
}

static void on_event(void *owner, enum imapc_event ev)
{
    struct world *w = owner;
    w->done = w->done || ev == IMAPC_READY;
}

static void on_step(void *owner, enum copy_rc rc, const char *why)
{
    struct world *w = owner;
    w->rc = rc;
    free(w->why);
    w->why = xstrdup(why);
    if (rc != COPY_EQUAL)
        print_message("%s\n", why);
    w->done = true;
}

static void wait_done(struct world *w)
{
    io_wait(w->loop, &w->done);
    w->done = false;
}

static void start(struct world *w, const char *const *script)
{
    io_peer_start(&w->peer, script, NULL, NULL);
    w->backend.address.port = w->peer.port;
    struct login_request login = {.backend = &w->backend,
                                  .credential = credential_of_password("ann", "secret"),
                                  .limits = {.high_water = 65536, .queue_max = 1 << 20},
                                  .connect_timeout_ms = 15000,
                                  .step_timeout_ms = 15000};
    w->c = imapc_new(w->loop, &login, 15000, on_event, NULL, w);
    wait_done(w);
    selected_init(&w->box, w->c, w->pool, "INBOX", "source", true);
}

static void open_box(struct world *w, const struct selected_base *base)
{
    selected_open(&w->box, base, on_step, w);
    wait_done(w);
}

static void end(struct world *w)
{
    selected_free(&w->box);
    imapc_free(&w->c);
    uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    io_peer_end(&w->peer);
}

/* "2:kept 5:\Seen" */
static void assert_list(const struct world *w, const char *want)
{
    struct buf out = {0};
    for (size_t i = 0; i < w->box.list.listed; i++) {
        const struct mbox_msg *m = &w->box.list.msgs[i];
        buf_printf(&out, "%s%u:%s", i ? " " : "", m->uid,
                   mbox_msg_kept(m, MBOX_FLAGS) ? "kept" : flags_text(w->pool, m->flags));
    }
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

/* The number of messages falls by EXPUNGE alone. */
static void test_fewer_without_expunge(void **state)
{
    struct world *w = *state;
    start(w, SCRIPT(LOGIN(""), "<EXAMINE INBOX", "<UID FETCH 1:* " ITEMS, OPENED("2", "9", "0"),
                    MESSAGE("1", "2", ""), MESSAGE("2", "5", ""), ">* 1 EXISTS", ">m2 OK so", "=bye LOGOUT"));
    open_box(w, NULL);
    assert_int_equal(w->rc, COPY_DIFFERS);
    assert_string_equal(w->why, "the source contradicts itself: fewer messages than before, and no EXPUNGE");
    assert_non_null(selected_wrong(&w->box));
    end(w);
}

/* One changed, one gone, one new: nothing of the others is listed but that they are there. */
static void test_changes(void **state)
{
    struct world *w = *state;
    start(w, SCRIPT(CONDSTORE, "<EXAMINE INBOX (CONDSTORE)", "<UID SEARCH RETURN (ALL) ALL",
                    "<UID FETCH 1:* " ITEMS " (CHANGEDSINCE 40)", OPENED("3", "12", "44"),
                    ">* ESEARCH (TAG \"m2\") UID ALL 2,8,11", ">m2 OK so", MESSAGE("2", "8", "\\Seen"),
                    MESSAGE("3", "11", ""), ">m3 OK so", "=bye LOGOUT"));
    open_box(w, &changes);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "2:kept 8:\\Seen 11:");
    assert_int_equal(w->box.list.msgs[0].size, 20);
    assert_int_equal(w->box.seen.modseq, 44);
    assert_int_equal(w->box.seen.uidnext, 12);
    assert_int_equal(w->box.seen.messages, 3);
    end(w);
}

/* Half a million messages, every other one gone, would be an answer of more than a line may have. */
static void test_many_are_searched_in_pieces(void **state)
{
    struct world *w = *state;
    static const struct selected_base many = {{7, 200001, 3, 40}, true, knew, NULL};
    start(w, SCRIPT(CONDSTORE, "<EXAMINE INBOX (CONDSTORE)", "<UID SEARCH RETURN (ALL) UID 1:100000",
                    "<UID SEARCH RETURN (ALL) UID 100001:200000", "<UID SEARCH RETURN (ALL) UID 200001:*",
                    "<UID FETCH 1:* " ITEMS " (CHANGEDSINCE 40)", OPENED("3", "200001", "44"),
                    ">* ESEARCH (TAG \"m2\") UID ALL 2", ">m2 OK so",
                    ">* ESEARCH (TAG \"m3\") UID ALL 150000,200000", ">m3 OK so",
                    ">* ESEARCH (TAG \"m4\") UID ALL 200000", ">m4 OK so", MESSAGE("2", "150000", "\\Seen"),
                    ">m5 OK so", "=bye LOGOUT"));
    open_box(w, &many);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "2:kept 150000:\\Seen 200000:kept");
    end(w);
}

/* EDGE 8: a SEARCH that finds nothing, or not as many as EXISTS says, makes nothing gone. */
static void test_search_that_finds_too_little(void **state)
{
    struct world *w = *state;
    static const char *const answers[] = {
        ">* ESEARCH (TAG \"m2\") UID", ">* ESEARCH (TAG \"m2\") UID ALL 2,8",
        ">* ESEARCH (TAG \"m2\") UID ALL 1:4000000000", ">* ESEARCH (TAG \"m2\") UID ALL x", ">* SEARCH 2 8"};
    for (size_t i = 0; i < COUNTOF(answers); i++) {
        start(w, SCRIPT(CONDSTORE, "<EXAMINE INBOX (CONDSTORE)", "<UID SEARCH RETURN (ALL) ALL",
                        "<UID FETCH 1:* " ITEMS " (CHANGEDSINCE 40)", OPENED("3", "9", "40"), answers[i],
                        ">m2 OK so", ">m3 OK so", "<NOOP", "<UID FETCH 1:4294967295 " ITEMS, ">m4 OK",
                        MESSAGE("1", "2", ""), MESSAGE("2", "5", "x"), MESSAGE("3", "8", ""), ">m5 OK so",
                        "=bye LOGOUT"));
        open_box(w, &changes);
        assert_int_equal(w->rc, COPY_EQUAL);
        assert_list(w, "2: 5:x 8:");
        end(w);
    }
}

/* What does not fit to what was known then, or is refused, is listed whole. */
static void test_base_that_does_not_fit(void **state)
{
    struct world *w = *state;
    static const struct selected_base bases[] = {{{6, 9, 3, 40}, true, knew, NULL},
                                                 {{7, 10, 3, 40}, true, knew, NULL},
                                                 {{7, 9, 3, 41}, true, knew, NULL}};
    static const char *const asked[] = {"<UID FETCH 1:* " ITEMS " (CHANGEDSINCE 40)",
                                        "<UID FETCH 1:* " ITEMS " (CHANGEDSINCE 40)",
                                        "<UID FETCH 1:* " ITEMS " (CHANGEDSINCE 41)"};
    for (size_t i = 0; i < COUNTOF(bases); i++) {
        start(w, SCRIPT(CONDSTORE, "<EXAMINE INBOX (CONDSTORE)", "<UID SEARCH RETURN (ALL) ALL", asked[i],
                        OPENED("1", "9", "40"), ">* ESEARCH (TAG \"m2\") UID ALL 2", ">m2 OK so", ">m3 OK so",
                        "<NOOP", "<UID FETCH 1:4294967295 " ITEMS, ">m4 OK", MESSAGE("1", "2", "x"),
                        ">m5 OK so", "=bye LOGOUT"));
        open_box(w, &bases[i]);
        assert_list(w, "2:x");
        end(w);
    }
    start(w, SCRIPT(CONDSTORE, "<EXAMINE INBOX (CONDSTORE)", "<UID SEARCH RETURN (ALL) ALL",
                    "<UID FETCH 1:* " ITEMS " (CHANGEDSINCE 40)", OPENED("1", "9", "40"),
                    ">* ESEARCH (TAG \"m2\") UID ALL 2", ">m2 OK so", ">m3 BAD no modseqs here", "<NOOP",
                    "<UID FETCH 1:4294967295 " ITEMS, ">m4 OK", MESSAGE("1", "2", "x"), ">m5 OK so",
                    "=bye LOGOUT"));
    open_box(w, &changes);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "2:x");
    end(w);
}

/* Without modseqs flags are listed, and dates of what is new. */
static void test_flags_only(void **state)
{
    struct world *w = *state;
    start(w, SCRIPT(LOGIN(""), "<EXAMINE INBOX", "<UID FETCH 1:* (UID FLAGS)", "<UID FETCH 9:* " ITEMS,
                    ">* 3 EXISTS", ">* OK [UIDVALIDITY 7] so", ">* OK [UIDNEXT 10] so",
                    ">* OK [HIGHESTMODSEQ 77] nobody asked", ">m1 OK [READ-ONLY] fine",
                    ">* 1 FETCH (UID 5 FLAGS ())", ">* 2 FETCH (UID 8 FLAGS (\\Seen))",
                    ">* 3 FETCH (UID 9 FLAGS ())", ">m2 OK so", MESSAGE("3", "9", "x"), ">m3 OK so",
                    "=bye LOGOUT"));
    open_box(w, &flags_only);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "5: 8:\\Seen 9:x");
    assert_true(mbox_msg_kept(&w->box.list.msgs[0], MBOX_DATE));
    assert_int_equal(w->box.seen.modseq, 0); /* not offered, so no proof */
    end(w);
}

/* After a change of ours: the numbers are those from before the list was read again. */
static void test_catch_up(void **state)
{
    struct world *w = *state;
    start(w, SCRIPT(CONDSTORE, "<EXAMINE INBOX (CONDSTORE)", "<UID FETCH 1:* " ITEMS, OPENED("1", "3", "40"),
                    MESSAGE("1", "2", ""), ">m2 OK so", "<NOOP",
                    "<STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)",
                    "<UID FETCH 1:2 " ITEMS " (CHANGEDSINCE 40)", "<UID FETCH 3:4294967295 " ITEMS,
                    ">* 2 EXISTS", ">m3 OK so",
                    ">* STATUS INBOX (MESSAGES 2 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 43)", ">m4 OK so",
                    ">m5 OK so", MESSAGE("2", "3", ""), ">m6 OK so", "<NOOP",
                    "<STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)",
                    "<UID FETCH 1:* " ITEMS " (CHANGEDSINCE 43)", ">m7 OK so", ">m8 NO not now", ">m9 OK so",
                    "=bye LOGOUT"));
    open_box(w, NULL);
    selected_catch_up(&w->box, 3, on_step, w);
    wait_done(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "2: 3:");
    assert_int_equal(w->box.seen.modseq, 43);
    assert_int_equal(w->box.seen.messages, 2);
    /* Refused: the list stands, and proves nothing about later. */
    selected_catch_up(&w->box, 0, on_step, w);
    wait_done(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_int_equal(w->box.seen.modseq, 0);
    end(w);
}

static enum imapc_taken taken_status(struct selected *s, const char *what)
{
    const struct imap_resp resp = {.kind = RESP_DATA, .word = span_str("STATUS")};
    struct imap_tree *t = imap_tree_new(&(struct imap_tree_limits){.depth = 3, .values = 20, .bytes = 1000});
    const char *why;

    assert_true(imap_tree_text(t, span_str(what), &why));
    enum imapc_taken taken = selected_data(s, &resp, imap_tree_first(t));
    imap_tree_free(&t);
    return taken;
}

/* Its connection has gone on to another mailbox while a FETCH of its own is not ended. */
static void test_status_of_another_mailbox(void **state)
{
    struct selected s = {.name = "INBOX", .uidnext = 3};

    (void)state;
    assert_int_equal(taken_status(&s, "Inbox (UIDNEXT 4)"), IMAPC_TAKEN);
    s.given = true;
    assert_int_equal(taken_status(&s, "Sent (UIDNEXT 9)"), IMAPC_NOT_MINE);
    assert_int_equal(s.uidnext, 4);
    assert_int_equal(taken_status(&s, "Inbox (UIDNEXT 5)"), IMAPC_TAKEN);
    assert_int_equal(s.uidnext, 5);
}

/* Each time that the list is read, one more has come. */
static void test_mail_that_comes_while_it_is_listed(void **state)
{
    struct world *w = *state;
    start(w,
          SCRIPT(CONDSTORE, "<EXAMINE INBOX (CONDSTORE)", "<UID FETCH 1:* " ITEMS, OPENED("1", "3", "40"),
                 MESSAGE("1", "1", ""), ">* 2 EXISTS", ">m2 OK so", "<NOOP", "<UID FETCH 2:4294967295 " ITEMS,
                 ">m3 OK so", MESSAGE("2", "2", ""), ">* 3 EXISTS", ">m4 OK so", "<NOOP",
                 "<UID FETCH 3:4294967295 " ITEMS, ">m5 OK so", MESSAGE("3", "3", ""), ">* 4 EXISTS",
                 ">m6 OK so", "<NOOP", "<UID FETCH 4:4294967295 " ITEMS, ">m7 OK so", MESSAGE("4", "4", ""),
                 ">* 5 EXISTS", ">m8 OK so", "<NOOP", "<UID FETCH 5:4294967295 " ITEMS, ">m9 OK so",
                 MESSAGE("5", "5", ""), ">m10 OK so", "=bye LOGOUT"));
    open_box(w, NULL);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "1: 2: 3: 4: 5:");
    end(w);
}

#define BROKEN(seq) ">* " seq " FETCH (FLAGS (a\"b) INTERNALDATE"
#define DATED(seq)  ">* " seq " FETCH (INTERNALDATE \"01-Jan-2020 00:00:00 +0000\")"

/* One of three has a flag that nobody can read: it is there without flags, and the others are untouched. */
static void test_line_that_is_broken_costs_one_item_of_one_message(void **state)
{
    struct world *w = *state;
    start(w, SCRIPT(LOGIN(""), "<EXAMINE INBOX", "<UID FETCH 1:* " ITEMS, OPENED("3", "9", "1"),
                    MESSAGE("1", "2", "x"), BROKEN("2"), MESSAGE("3", "8", ""), ">m2 OK so", "<FETCH 2 (UID)",
                    "<FETCH 2 (FLAGS)", "<FETCH 2 (INTERNALDATE)", "<FETCH 2 (RFC822.SIZE)",
                    ">* 2 FETCH (UID 5)", ">m3 OK so", BROKEN("2"), ">m4 OK so", DATED("2"), ">m5 OK so",
                    ">* 2 FETCH (RFC822.SIZE 7)", ">m6 OK so", "=bye LOGOUT"));
    open_box(w, NULL);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "2:x 5: 8:");
    assert_int_equal(w->box.list.msgs[1].size, 7);
    assert_false(w->box.list.msgs[1].date_bad);
    end(w);
}

/* Neither is known of it: a date that is none, which is named, and no size. */
static void test_date_and_size_that_can_not_be_had_are_none(void **state)
{
    struct world *w = *state;
    start(w, SCRIPT(LOGIN(""), "<EXAMINE INBOX", "<UID FETCH 1:* " ITEMS, OPENED("1", "9", "1"), BROKEN("1"),
                    ">m2 OK so", "<FETCH 1 (UID)", "<FETCH 1 (FLAGS)", "<FETCH 1 (INTERNALDATE)",
                    "<FETCH 1 (RFC822.SIZE)", ">* 1 FETCH (UID 5)", ">m3 OK so", ">* 1 FETCH (FLAGS (x))",
                    ">m4 OK so", BROKEN("1"), ">m5 OK so", ">m6 NO it is broken", "=bye LOGOUT"));
    open_box(w, NULL);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "5:x");
    assert_true(w->box.list.msgs[0].date_bad);
    assert_int_equal(w->box.list.msgs[0].size, 0);
    end(w);
}

/* All of it is there, so nothing is missing: it is asked for again, for the line to be named. */
static void test_broken_line_besides_a_whole_list_is_asked_for_again(void **state)
{
    struct world *w = *state;
    start(w,
          SCRIPT(LOGIN(""), "<EXAMINE INBOX", "<UID FETCH 1:* " ITEMS, OPENED("1", "9", "1"),
                 MESSAGE("1", "2", "x"), BROKEN("1"), ">m2 OK so", "<NOOP", "<UID FETCH 1:4294967295 " ITEMS,
                 ">m3 OK so", MESSAGE("1", "2", "x"), ">m4 OK so", "=bye LOGOUT"));
    open_box(w, NULL);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_list(w, "2:x");
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fewer_without_expunge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_are_searched_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_search_that_finds_too_little, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_base_that_does_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flags_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_catch_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_line_that_is_broken_costs_one_item_of_one_message, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_date_and_size_that_can_not_be_had_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_line_besides_a_whole_list_is_asked_for_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_mail_that_comes_while_it_is_listed, set_up, tear_down),
        cmocka_unit_test(test_status_of_another_mailbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
