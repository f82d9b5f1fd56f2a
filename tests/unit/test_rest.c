#include "lib/route.h"
#include "lib/view_list.h"
#include "proxy/busy.h"
#include "proxy/handover.h"
#include "session_unit.h"

/* ---- what the rest asks others for ---- */

static struct {
    unsigned n; /* acknowledgements */
    uint64_t epoch;
    route_done_fn fn;
    void *owner;
    bool asked; /* the registration is in doubt */
    unsigned handovers;
    char flags_tag[64]; /* of the command that asks for flags */
} store;

void route_frozen(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                  void *owner)
{
    (void)s;
    assert_string_equal(user, "ann");
    assert_string_equal(session, "p/1");
    store.n++;
    store.epoch = epoch;
    store.fn = fn;
    store.owner = owner;
}

void store_forget(struct store *s, void *owner)
{
    (void)s;
    if (store.owner == owner)
        store.fn = NULL;
}

bool registration_is_asked(const struct session *s)
{
    (void)s;
    return store.asked;
}

struct imap_caps backends_caps(const struct backends *b, const struct conf_backend *backend)
{
    (void)b;
    return CONTAINER_OF((void *)(uintptr_t)backend, struct bench, backends[0])->caps;
}

void handover_begin(struct session *s)
{
    (void)s;
    store.handovers++;
}

bool busy_counts(enum imap_verb verb)
{
    (void)verb;
    return false;
}

void busy_note(struct account *a)
{
    (void)a;
}

bool client_id_is_heard(const struct session *s, const struct conf_backend *at)
{
    (void)s, (void)at;
    return false;
}

void client_id_said(struct session *s, struct buf *pairs)
{
    (void)s;
    buf_free(pairs);
}

/* ---- helpers ---- */

static int set_up(void **state)
{
    memset(&store, 0, sizeof store);
    bench_set_up(state);
    struct bench *b = *state;
    b->account.state = ROUTE_READY;
    b->account.backend = (char *)"old";
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    rest_over(&b->s, "ended");
    return bench_tear_down(state);
}

/* INBOX is open, with so many messages. */
static void open_inbox(struct bench *b, unsigned exists)
{
    char answer[128];
    bench_says(b, b->client, "a1 SELECT INBOX\r\n");
    bench_gets(b, b->server, "a1 SELECT INBOX\r\n");
    snprintf(answer, sizeof answer, "* %u EXISTS\r\n* OK [UIDVALIDITY 7] so\r\na1 OK in\r\n", exists);
    bench_says(b, b->server, answer);
    bench_gets(b, b->client, answer);
}

static void freeze(struct bench *b)
{
    b->account.state = ROUTE_FREEZING;
    b->account.deadline_ms = clock_boot_ms() + 5000;
    relay_rest(&b->s, END_FREEZE);
}

static size_t listed(struct bench *b, bool *broken)
{
    const struct view_list *l = rest_list(&b->s, broken);
    return l ? l->n : 0;
}

static void wait_frozen(struct bench *b)
{
    uint64_t end = clock_boot_ms() + IO_DEADLINE_MS;
    while (b->s.state != IN_FROZEN && !b->ended && clock_boot_ms() < end)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_int_equal(b->s.state, IN_FROZEN);
}

/* The list is asked for, and before anything is answered the flags. The tag is that of the list. */
static void list_asked(struct bench *b, unsigned exists)
{
    char text[64], tag[sizeof b->tag];
    snprintf(text, sizeof text, "FETCH 1:%u (UID)", exists);
    bench_gets_command(b, b->server, text);
    memcpy(tag, b->tag, sizeof tag);
    snprintf(text, sizeof text, "FETCH 1:%u (FLAGS)", exists);
    bench_gets_command(b, b->server, text);
    memcpy(store.flags_tag, b->tag, sizeof store.flags_tag);
    memcpy(b->tag, tag, sizeof tag);
}

/* The answer to the second. */
static void flags_are(struct bench *b, const char *text)
{
    memcpy(b->tag, store.flags_tag, sizeof b->tag);
    bench_says(b, b->server, text);
}

/* Of which the client sees nothing. */
static void flags_listed(struct bench *b, unsigned exists)
{
    struct buf all = {0};
    for (unsigned i = 1; i <= exists; i++)
        buf_printf(&all, "* %u FETCH (FLAGS (\\Seen))\r\n", i);
    buf_add_str(&all, "%T OK done\r\n");
    flags_are(b, buf_str(&all));
    buf_free(&all);
}

/* ---- tests ---- */

static void test_nothing_open(void **state)
{
    struct bench *b = *state;
    bool broken;
    freeze(b);
    assert_int_equal(b->s.state, IN_FROZEN);
    assert_int_equal(store.n, 1);
    assert_int_equal(store.epoch, 7);
    assert_true(rest_is_acknowledged(&b->s));
    assert_null(rest_list(&b->s, &broken));
    assert_null(rest_namespaces(&b->s));
    bench_gets_nothing(b, b->server);
}

/* The list is asked for without the client seeing any of it. */
static void test_the_client_sees_nothing_of_the_list(void **state)
{
    struct bench *b = *state;
    bool broken;
    open_inbox(b, 3);
    freeze(b);
    list_asked(b, 3);
    assert_int_equal(store.n, 1); /* nothing that changes anything is under way */
    assert_int_equal(b->s.state, IN_RELAY);
    bench_says(b, b->client, "a2 NOOP\r\n");
    bench_says(b, b->server,
               "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n* 3 FETCH (UID 9)\r\n* OK hm\r\n%T OK done\r\n");
    flags_listed(b, 3);
    wait_frozen(b);
    assert_int_equal(listed(b, &broken), 3);
    assert_non_null(rest_list(&b->s, &broken)->flags);
    assert_false(broken);
    bench_gets(b, b->client, "* OK hm\r\n");
    bench_gets_nothing(b, b->server); /* the client's command waits */
    assert_int_equal(store.n, 1);
}

/* A server that begins with both commands before it answers one: what it then has to tell the client comes behind. */
static void test_flags_before_the_answer_to_the_list(void **state)
{
    struct bench *b = *state;
    bool broken;
    open_inbox(b, 2);
    freeze(b);
    list_asked(b, 2);
    bench_says(b, b->server,
               "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n* 1 FETCH (FLAGS ())\r\n* 2 FETCH (FLAGS ())\r\n"
               "* 2 FETCH (FLAGS (\\Seen))\r\n%T OK done\r\n");
    flags_are(b, "%T OK done\r\n");
    wait_frozen(b);
    assert_int_equal(listed(b, &broken), 2);
    assert_false(broken);
    assert_non_null(rest_list(&b->s, &broken)->flags);
    bench_gets(b, b->client, "* 2 FETCH (FLAGS (\\Seen))\r\n");
    bench_gets_nothing(b, b->client);
}

/* Flags in the same line are for the client: it is not ours alone. */
static void test_news_in_the_list_pass(void **state)
{
    struct bench *b = *state;
    bool broken;
    open_inbox(b, 1);
    freeze(b);
    list_asked(b, 1);
    bench_says(b, b->server, "* 1 FETCH (UID 4 FLAGS (\\Seen))\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 1 FETCH (UID 4 FLAGS (\\Seen))\r\n");
    flags_are(b, "* 1 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (FLAGS (\\Seen \\Deleted))\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 1 FETCH (FLAGS (\\Seen \\Deleted))\r\n");
    wait_frozen(b);
    assert_int_equal(listed(b, &broken), 1);
    assert_false(broken);
}

/* Half of the flags is none; nor are they asked for where the client will be told all by their MODSEQs. */
static void test_flags_that_are_not_listed(void **state)
{
    struct bench *b = *state;
    bool broken;
    open_inbox(b, 2);
    freeze(b);
    list_asked(b, 2);
    bench_says(b, b->server, "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n%T OK done\r\n");
    flags_are(b, "* 1 FETCH (FLAGS ())\r\n%T NO busy\r\n");
    wait_frozen(b);
    assert_int_equal(listed(b, &broken), 2);
    assert_false(broken);
    assert_null(rest_list(&b->s, &broken)->flags);
    bench_gets_nothing(b, b->client);
}

static void test_no_flags_for_one_that_goes_by_modseqs(void **state)
{
    struct bench *b = *state;
    bench_shows(b, "CONDSTORE ENABLE");
    bench_says(b, b->client, "e1 ENABLE CONDSTORE\r\n");
    bench_gets(b, b->server, "e1 ENABLE CONDSTORE\r\n");
    bench_says(b, b->server, "* ENABLED CONDSTORE\r\ne1 OK done\r\n");
    bench_gets(b, b->client, "* ENABLED CONDSTORE\r\ne1 OK done\r\n");
    open_inbox(b, 1);
    freeze(b);
    bench_gets_command(b, b->server, "FETCH 1:1 (UID)");
    bench_says(b, b->server, "* 1 FETCH (UID 4)\r\n%T OK done\r\n");
    wait_frozen(b);
    bench_gets_nothing(b, b->server);
}

/* What changes something is waited for before the word is given; what reads is not. */
static void test_a_change_is_waited_for(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 STORE 1 FLAGS ()\r\n");
    bench_gets(b, b->server, "a1 STORE 1 FLAGS ()\r\n");
    freeze(b);
    assert_int_equal(store.n, 0);
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    assert_int_equal(store.n, 1);
    assert_int_equal(b->s.state, IN_FROZEN);
}

static void test_a_reading_command_is_not(void **state)
{
    struct bench *b = *state;
    open_inbox(b, 1);
    bench_says(b, b->client, "a2 SEARCH ALL\r\n");
    bench_gets(b, b->server, "a2 SEARCH ALL\r\n");
    freeze(b);
    assert_int_equal(store.n, 1);
    assert_int_equal(b->s.state, IN_RELAY);
    bench_gets_nothing(b, b->server); /* the list is asked for behind it */
    bench_says(b, b->server, "* SEARCH 1\r\na2 OK done\r\n");
    bench_gets(b, b->client, "* SEARCH 1\r\na2 OK done\r\n");
    list_asked(b, 1);
    bench_says(b, b->server, "* 1 FETCH (UID 4)\r\n%T OK done\r\n");
    flags_listed(b, 1);
    wait_frozen(b);
    assert_int_equal(store.n, 1);
}

/* Only for a freeze that was heard of, and only once the registration is beyond doubt. */
static void test_no_word_too_early(void **state)
{
    struct bench *b = *state;
    store.asked = true;
    freeze(b);
    assert_int_equal(store.n, 0);
    store.asked = false;
    b->account.state = ROUTE_READY;
    rest_step(&b->s);
    assert_int_equal(store.n, 0);
    assert_false(rest_is_acknowledged(&b->s));
    b->account.state = ROUTE_FREEZING;
    rest_step(&b->s);
    rest_step(&b->s);
    assert_int_equal(store.n, 1);
    b->account.epoch = 8; /* another freeze */
    rest_step(&b->s);
    assert_int_equal(store.n, 2);
    assert_int_equal(store.epoch, 8);
}

/* Whether the word arrived is not known: it is given again. */
static void test_the_word_is_given_again(void **state)
{
    struct bench *b = *state;
    freeze(b);
    store.fn(store.owner, ROUTE_DOWN, NULL);
    rest_step(&b->s);
    assert_int_equal(store.n, 2);
    store.fn(store.owner, ROUTE_LOST, NULL); /* that freeze is over: the account will hear of it */
    rest_step(&b->s);
    assert_int_equal(store.n, 2);
}

static void test_namespaces_are_asked_for_where_names_are_known(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 LIST \"\" *\r\n");
    bench_gets(b, b->server, "a1 LIST \"\" *\r\n");
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    freeze(b);
    bench_gets_command(b, b->server, "NAMESPACE");
    bench_says(b, b->server, "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n%T OK done\r\n");
    wait_frozen(b);
    assert_string_equal(rest_namespaces(&b->s), "((\"INBOX.\" \".\"))");
    bench_gets_nothing(b, b->client);
}

/* Messages come while the list is asked for: the rest of it is asked for too. */
static void test_more_come_while_it_is_listed(void **state)
{
    struct bench *b = *state;
    bool broken;
    bench_says(b, b->client, "a0 STATUS x (MESSAGES)\r\n");
    bench_gets(b, b->server, "a0 STATUS x (MESSAGES)\r\n");
    bench_says(b, b->server, "a0 NO\r\n");
    bench_gets(b, b->client, "a0 NO\r\n");
    open_inbox(b, 1);
    b->account.state = ROUTE_READY; /* not heard of yet: what comes still goes to the client */
    relay_rest(&b->s, END_FREEZE);
    bench_gets_command(b, b->server, "NAMESPACE");
    char first[64];
    memcpy(first, b->tag, sizeof first);
    list_asked(b, 1);
    bench_says(b, b->server, "* 1 FETCH (UID 4)\r\n* 2 EXISTS\r\n%T OK done\r\n");
    bench_gets_command(b, b->server, "FETCH 2:2 (UID)");
    char second[64];
    memcpy(second, b->tag, sizeof second);
    flags_listed(b, 1); /* that of the second message is not known: it will be told */
    memcpy(b->tag, second, sizeof second);
    bench_says(b, b->server, "* 2 FETCH (UID 5)\r\n%T OK done\r\n");
    memcpy(b->tag, first, sizeof first);
    bench_says(b, b->server, "%T OK done\r\n");
    bench_gets(b, b->client, "* 2 EXISTS\r\n");
    wait_frozen(b);
    assert_int_equal(listed(b, &broken), 2);
    assert_false(broken);
}

static void test_a_list_that_is_refused(void **state)
{
    struct bench *b = *state;
    bool broken;
    open_inbox(b, 2);
    freeze(b);
    list_asked(b, 2);
    bench_says(b, b->server, "* 1 FETCH (UID 4)\r\n%T NO what?\r\n");
    flags_are(b, "%T NO what?\r\n");
    wait_frozen(b);
    listed(b, &broken);
    assert_true(broken);
}

/* An EXPUNGE meanwhile: the numbers before it are others. */
static void test_an_expunge_while_it_is_listed(void **state)
{
    struct bench *b = *state;
    bool broken;
    open_inbox(b, 2);
    freeze(b);
    list_asked(b, 2);
    bench_says(b, b->server, "* 1 FETCH (UID 4)\r\n* 1 EXPUNGE\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 1 EXPUNGE\r\n");
    flags_listed(b, 1);
    wait_frozen(b);
    listed(b, &broken);
    assert_true(broken);
}

/* After the word, the client hears of nothing that the other server may not have yet. */
static void test_new_messages_are_withheld(void **state)
{
    struct bench *b = *state;
    bool broken;
    open_inbox(b, 1);
    freeze(b);
    list_asked(b, 1);
    bench_says(b, b->server, "* 3 EXISTS\r\n* 2 FETCH (FLAGS ())\r\n* 1 FETCH (UID 4)\r\n%T OK done\r\n");
    flags_listed(b, 1);
    wait_frozen(b);
    bench_gets_nothing(b, b->client);
    assert_int_equal(rest_withheld(&b->s), 3);
    assert_int_equal(listed(b, &broken), 1);
    assert_false(broken);
    rest_over(&b->s, "ended");
    assert_int_equal(rest_withheld(&b->s), 0);
}

/* The source may close the connection that rests: that is no end. */
static void test_the_source_closes(void **state)
{
    struct bench *b = *state;
    freeze(b);
    shutdown(b->server, SHUT_WR);
    uint64_t end = clock_boot_ms() + IO_DEADLINE_MS;
    while (b->s.backend && clock_boot_ms() < end)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_null(b->s.backend);
    assert_false(b->ended);
    assert_int_equal(b->s.state, IN_FROZEN);
}

/* The flip was faster than a command that reads. */
static void test_flipped_before_it_stands_still(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 SEARCH ALL\r\n");
    bench_gets(b, b->server, "a1 SEARCH ALL\r\n");
    freeze(b);
    b->account.state = ROUTE_FLIPPED;
    b->account.backend = (char *)"new";
    assert_int_equal(store.handovers, 0);
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    assert_int_equal(store.handovers, 1);
}

static void test_how_long_word_is_waited_for(void **state)
{
    struct bench *b = *state;
    freeze(b);
    uint64_t ms = rest_wait_ms(&b->s);
    assert_true(ms > 14000 && ms <= 15000);
    b->account.deadline_ms = clock_boot_ms() - 1;
    assert_int_equal(rest_wait_ms(&b->s), 10000);
    b->account.state = ROUTE_FLIPPING;
    assert_int_equal(rest_wait_ms(&b->s), 60000);
}

#define REST_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REST_TEST(test_nothing_open),
        REST_TEST(test_the_client_sees_nothing_of_the_list),
        REST_TEST(test_flags_before_the_answer_to_the_list),
        REST_TEST(test_news_in_the_list_pass),
        REST_TEST(test_flags_that_are_not_listed),
        REST_TEST(test_no_flags_for_one_that_goes_by_modseqs),
        REST_TEST(test_a_change_is_waited_for),
        REST_TEST(test_a_reading_command_is_not),
        REST_TEST(test_no_word_too_early),
        REST_TEST(test_the_word_is_given_again),
        REST_TEST(test_namespaces_are_asked_for_where_names_are_known),
        REST_TEST(test_more_come_while_it_is_listed),
        REST_TEST(test_a_list_that_is_refused),
        REST_TEST(test_an_expunge_while_it_is_listed),
        REST_TEST(test_new_messages_are_withheld),
        REST_TEST(test_the_source_closes),
        REST_TEST(test_flipped_before_it_stands_still),
        REST_TEST(test_how_long_word_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
