#include "lib/route.h"
#include "lib/view_list.h"
#include "lib/view_record.h"
#include "proxy/busy.h"
#include "proxy/freeze.h"
#include "proxy/handover.h"
#include "proxy/parting.h"
#include "proxy/prepare.h"
#include "proxy/session_login.h"
#include "proxy/views.h"
#include "session_unit.h"

/* ---- what the hand-over asks others for ---- */

static struct {
    struct bench *b;
    bool prepared;     /* prepare_take() has a connection */
    const char *unfit; /* ... or says why there never was one */
    bool knows_id, id_is_heard, lacks;
    enum views_state views;
    const struct view_record *record; /* of INBOX; NULL: there is none */
    bool alike;
    struct view *view;   /* made of these when it is asked for */
    const char *counted; /* by tally_add() */
    const char *flags;   /* what the source says of them */
    unsigned dialled, settled;
    backend_login_fn fn;
    void *owner;
} world;

struct stream *prepare_take(struct session *s, const struct conf_backend *at, const char **unfit)
{
    (void)s;
    assert_string_equal(at->name, "new");
    *unfit = world.unfit;
    return world.prepared ? bench_connect(world.b, &world.b->next) : NULL;
}

void prepare_drop(struct session *s)
{
    (void)s;
}

bool prepare_knows_id(const struct session *s)
{
    (void)s;
    return world.knows_id;
}

struct backend_login *session_login_again(struct session *s, const struct conf_backend *at,
                                          backend_login_fn fn, void *owner)
{
    (void)s, (void)at;
    world.dialled++;
    world.fn = fn;
    world.owner = owner;
    return NULL;
}

bool session_login_has_what_is_shown(const struct session *s, const struct imap_caps *caps)
{
    (void)s, (void)caps;
    return !world.lacks;
}

void parting_add(struct parting *p, struct stream **stream)
{
    (void)p;
    stream_close(stream, false);
}

void freeze_session(struct session *s)
{
    (void)s;
    world.settled++;
}

void tally_add(struct tally *t, enum tally_of what, const char *why)
{
    (void)t;
    assert_int_equal(what, TALLY_HANDOVERS);
    world.counted = why;
}

void registration_ask(struct session *s)
{
    (void)s;
}

/* ---- ... and what the relay and the rest do */

void route_frozen(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                  void *owner)
{
    (void)s, (void)user, (void)session, (void)epoch, (void)fn, (void)owner;
}

void store_forget(struct store *s, void *owner)
{
    (void)s, (void)owner;
}

bool registration_is_asked(const struct session *s)
{
    (void)s;
    return false;
}

struct imap_caps backends_caps(const struct backends *b, const struct conf_backend *backend)
{
    (void)b, (void)backend;
    return world.b->caps;
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
    return world.id_is_heard;
}

void client_id_said(struct session *s, struct buf *pairs)
{
    (void)s;
    buf_free(pairs);
}

/* ---- helpers ---- */

/* The numbers are the same on both sides. */
static struct view_run same_uids = {4, 4, 6};
static struct view_record same;

static int set_up(void **state)
{
    memset(&world, 0, sizeof world);
    bench_set_up(state);
    world.b = *state;
    world.prepared = world.alike = world.knows_id = true;
    same = (struct view_record){
        .source_uidvalidity = 7, .target_uidvalidity = 7, .source_uidnext = 10, .target_uidnext = 10};
    same.map.runs = &same_uids;
    same.map.n = 1;
    world.record = &same;
    world.b->account.state = ROUTE_READY;
    world.b->account.backend = (char *)"old";
    world.b->s.secret = (void *)world.b; /* there is one */
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    handover_drop(&b->s);
    rest_over(&b->s, "ended");
    return bench_tear_down(state);
}

static void wait_state(struct bench *b, enum session_state state)
{
    uint64_t end = clock_boot_ms() + IO_DEADLINE_MS;
    while (b->s.state != state && !b->ended && clock_boot_ms() < end)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_int_equal(b->s.state, state);
}

/* The source is asked for the list, and tells this; in the same breath for the flags that the client knows, and tells
 * world.flags; NULL: it refuses, and none are compared. */
static void old_list(struct bench *b, unsigned exists, const char *list)
{
    bool flags = !relay_opened(&b->s)->condstore;
    char want[32], tag[sizeof b->tag];
    snprintf(want, sizeof want, "FETCH 1:%u (UID)", exists);
    bench_gets_command(b, b->server, want);
    memcpy(tag, b->tag, sizeof tag);
    snprintf(want, sizeof want, "FETCH 1:%u (FLAGS)", exists);
    if (flags)
        bench_gets_command(b, b->server, want);
    char flags_tag[sizeof b->tag];
    memcpy(flags_tag, b->tag, sizeof flags_tag);
    memcpy(b->tag, tag, sizeof tag);
    bench_says(b, b->server, list);
    memcpy(b->tag, flags_tag, sizeof flags_tag);
    if (flags)
        bench_says(b, b->server, world.flags ? world.flags : "%T NO no flags\r\n");
}

/* INBOX is open with the UIDs 4, 5 and 9, by SELECT or EXAMINE, and the session stands still. */
static void rest_with_inbox(struct bench *b, const char *verb)
{
    char command[32];
    snprintf(command, sizeof command, "a1 %s INBOX\r\n", verb);
    bench_says(b, b->client, command);
    bench_gets(b, b->server, command);
    bench_says(b, b->server, "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\na1 OK in\r\n");
    bench_gets(b, b->client, "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\na1 OK in\r\n");
    b->account.state = ROUTE_FREEZING;
    relay_rest(&b->s, END_FREEZE);
    old_list(b, 3, "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n* 3 FETCH (UID 9)\r\n%T OK done\r\n");
    wait_state(b, IN_FROZEN);
}

static void rest_with_nothing(struct bench *b)
{
    b->account.state = ROUTE_FREEZING;
    relay_rest(&b->s, END_FREEZE);
    wait_state(b, IN_FROZEN);
}

/* What the migrator has recorded. */
static void record(struct bench *b)
{
    view_unref(&b->view);
    b->view = view_new(NULL);
    if (world.record)
        bench_record(b->view, *world.record, "INBOX", "INBOX");
    if (!world.alike)
        bench_record(b->view, (struct view_record){0}, "Sent", "Sent Items");
}

static void flip(struct bench *b)
{
    if (!b->rewrites)
        record(b);
    b->account.state = ROUTE_FLIPPED;
    b->account.backend = (char *)"new";
    handover_begin(&b->s);
}

/* The target answers SELECT or EXAMINE, and FETCH, with these lines; "%T" in them is the tag of the
 * command. */
static void target_answers(struct bench *b, const char *verb, const char *opened, const char *list)
{
    char want[32];
    snprintf(want, sizeof want, "%s INBOX", verb);
    bench_gets_command(b, b->next, want);
    char select_tag[sizeof b->tag];
    memcpy(select_tag, b->tag, sizeof select_tag);
    bench_gets_command(b, b->next, world.flags ? "FETCH 1:* (UID FLAGS)" : "FETCH 1:* (UID)");
    char list_tag[sizeof b->tag];
    memcpy(list_tag, b->tag, sizeof list_tag);
    memcpy(b->tag, select_tag, sizeof b->tag);
    bench_says(b, b->next, opened);
    memcpy(b->tag, list_tag, sizeof b->tag);
    bench_says(b, b->next, list);
}

#define OPENED "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 10] so\r\n%T OK [READ-WRITE] in\r\n"
#define LISTED "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n* 3 FETCH (UID 9)\r\n%T OK done\r\n"

static void fails(struct bench *b, const char *why)
{
    bench_ends(b, END_MOVED);
    assert_string_equal(world.counted, why);
    assert_string_equal(b->detail, why);
}

/* ---- tests ---- */

static void test_goes_on_with_nothing_open(void **state)
{
    struct bench *b = *state;
    rest_with_nothing(b);
    flip(b);
    assert_int_equal(b->s.state, IN_RELAY);
    assert_string_equal(b->s.at->name, "new");
    assert_string_equal(world.counted, "moved");
    assert_int_equal(world.settled, 1);
    bench_says(b, b->client, "a1 NOOP\r\n");
    bench_gets(b, b->next, "a1 NOOP\r\n");
}

static void test_goes_on_in_the_mailbox(void **state)
{
    struct bench *b = *state;
    rest_with_inbox(b, "SELECT");
    bench_says(b, b->client, "a2 NOOP\r\n"); /* said while it stands still */
    flip(b);
    assert_int_equal(b->s.state, IN_HANDOVER);
    target_answers(b, "SELECT", "* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS (\\*)] so\r\n" OPENED, LISTED);
    wait_state(b, IN_RELAY);
    bench_gets(b, b->client, "* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS (\\*)] so\r\n");
    bench_gets(b, b->next, "a2 NOOP\r\n");
    assert_string_equal(world.counted, "moved");
    assert_null(b->s.handover);
    assert_null(b->s.rest);
}

#define FLAGS_KNOWN                                                                                          \
    "* 1 FETCH (FLAGS (\\Seen $Junk))\r\n* 2 FETCH (FLAGS ())\r\n* 3 FETCH (FLAGS (\\Recent))\r\n%T OK done\r\n"

/* Flags that others have changed behind the list of the source: only those are told, and by their UIDs. */
static void test_flags_that_others_have_changed(void **state)
{
    struct bench *b = *state;
    world.flags = FLAGS_KNOWN;
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_answers(
        b, "SELECT",
        "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 12] so\r\n%T OK [READ-WRITE] in\r\n",
        "* 1 FETCH (UID 4 FLAGS ($junk \\SEEN))\r\n* 2 FETCH (UID 9 FLAGS (\\Flagged))\r\n"
        "* 3 FETCH (FLAGS () UID 11)\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 4 EXISTS\r\n");
    bench_says(b, b->client, "a2 NOOP\r\n");
    bench_gets(b, b->client, "* 2 EXPUNGE\r\n");
    bench_gets_command(b, b->next, "UID FETCH 9 (FLAGS)");
    bench_says(b, b->next, "* 2 FETCH (UID 9 FLAGS (\\Flagged))\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 2 FETCH (UID 9 FLAGS (\\Flagged))\r\n");
    bench_gets(b, b->next, "a2 NOOP\r\n");
}

/* Where nobody has, nothing is asked for. */
static void test_flags_that_nobody_has_changed(void **state)
{
    struct bench *b = *state;
    world.flags = FLAGS_KNOWN;
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_answers(b, "SELECT", OPENED,
                   "* 1 FETCH (UID 4 FLAGS ($Junk \\Seen))\r\n* 2 FETCH (UID 5 FLAGS ())\r\n"
                   "* 3 FETCH (UID 9 FLAGS ())\r\n%T OK done\r\n");
    wait_state(b, IN_RELAY);
    bench_says(b, b->client, "a2 NOOP\r\n");
    bench_gets(b, b->next, "a2 NOOP\r\n");
}

/* Courier does not say UIDNEXT of a mailbox that it opens. */
static void opens_without_uidnext(struct bench *b, const char *listed)
{
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_answers(b, "SELECT", "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n%T OK [READ-WRITE] in\r\n", listed);
    bench_gets_command(b, b->next, "STATUS INBOX (UIDNEXT)");
}

static void test_uidnext_by_status(void **state)
{
    struct bench *b = *state;
    opens_without_uidnext(b, LISTED);
    bench_says(b, b->next, "* STATUS \"INBOX\" (UIDNEXT 10)\r\n%T OK done\r\n");
    wait_state(b, IN_RELAY);
}

static void test_uidnext_by_status_is_too_low(void **state)
{
    struct bench *b = *state;
    opens_without_uidnext(b, LISTED);
    bench_says(b, b->next, "* STATUS INBOX (UIDNEXT 9)\r\n%T OK done\r\n");
    fails(b, "uidnext");
}

/* The last message that the client knows is there: the next one has a greater UID. */
static void test_uidnext_by_the_list(void **state)
{
    struct bench *b = *state;
    opens_without_uidnext(b, LISTED);
    bench_says(b, b->next, "%T NO it is open\r\n");
    wait_state(b, IN_RELAY);
}

static void test_uidnext_is_not_known(void **state)
{
    struct bench *b = *state;
    opens_without_uidnext(b, "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n* 3 FETCH (UID 8)\r\n%T OK done\r\n");
    bench_says(b, b->next, "* STATUS INBOX (MESSAGES 3)\r\n%T OK done\r\n");
    fails(b, "uidnext");
}

static void test_what_came_and_went(void **state)
{
    struct bench *b = *state;
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_answers(
        b, "SELECT",
        "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 12] so\r\n%T OK [READ-WRITE] in\r\n",
        "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 9)\r\n* 3 FETCH (UID 11)\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 4 EXISTS\r\n"); /* three that it knows of, one that came */
    bench_says(b, b->client, "a2 NOOP\r\n");
    bench_gets(b, b->client, "* 2 EXPUNGE\r\n");
    bench_gets(b, b->next, "a2 NOOP\r\n");
}

/* The session's state by RFC 7162, with what the client has enabled; the hand-over asks by this command for
 * it. */
static void enable(struct bench *b, const char *what)
{
    char line[80];
    bench_shows(b, "CONDSTORE QRESYNC ENABLE");
    snprintf(line, sizeof line, "e1 ENABLE %s\r\n", what);
    bench_says(b, b->client, line);
    bench_gets(b, b->server, line);
    snprintf(line, sizeof line, "* ENABLED %s\r\ne1 OK done\r\n", what);
    bench_says(b, b->server, line);
    bench_gets(b, b->client, line);
}

static void target_enables(struct bench *b, const char *what, const char *answer)
{
    char line[80];
    snprintf(line, sizeof line, "ENABLE %s", what);
    bench_gets_command(b, b->next, line);
    bench_says(b, b->next, answer);
}

static void test_what_is_enabled_goes_along(void **state)
{
    struct bench *b = *state;
    enable(b, "QRESYNC");
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_enables(b, "QRESYNC", "* ENABLED CONDSTORE QRESYNC\r\n%T OK done\r\n");
    target_answers(
        b, "SELECT",
        "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 12] so\r\n* OK [HIGHESTMODSEQ 99] so\r\n%T OK [READ-WRITE] in\r\n",
        "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 9)\r\n* 3 FETCH (UID 11)\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 4 EXISTS\r\n");
    bench_says(b, b->client, "a2 NOOP\r\n");
    bench_gets(b, b->client, "* VANISHED 5\r\n");
    bench_gets_command(b, b->next, "UID FETCH 1:* (FLAGS MODSEQ)"); /* what others have changed meanwhile */
    bench_says(b, b->next, "* 1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (98))\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (98))\r\n");
    bench_gets(b, b->next, "a2 NOOP\r\n");
    bench_says(b, b->next, "* VANISHED 4,9\r\na2 OK done\r\n");
    bench_gets(b, b->client, "* VANISHED 4,9\r\na2 OK done\r\n");
    assert_int_equal(relay_opened(&b->s)->exists, 1);
}

/* Half of the flags must not pass for all of them. */
static void test_flags_that_are_not_told(void **state)
{
    struct bench *b = *state;
    enable(b, "CONDSTORE");
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_enables(b, "CONDSTORE", "* ENABLED CONDSTORE\r\n%T OK done\r\n");
    target_answers(b, "SELECT", OPENED, LISTED);
    bench_gets_command(b, b->next, "UID FETCH 1:* (FLAGS MODSEQ)");
    bench_says(b, b->next, "%T NO not now\r\n");
    bench_ends(b, END_MOVED);
}

/* All messages are gone: there are no flags to be told, and nothing that the client's command could wait for. */
static void test_a_mailbox_that_is_empty_there(void **state)
{
    struct bench *b = *state;
    enable(b, "QRESYNC");
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_enables(b, "QRESYNC", "* ENABLED CONDSTORE QRESYNC\r\n%T OK done\r\n");
    target_answers(
        b, "SELECT",
        "* 0 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 10] so\r\n%T OK [READ-WRITE] in\r\n",
        "%T OK done\r\n");
    wait_state(b, IN_RELAY);
    bench_says(b, b->client, "a2 NOOP\r\n");
    bench_gets(b, b->client, "* VANISHED 4:5,9\r\n");
    bench_gets(b, b->next, "a2 NOOP\r\n");
    bench_says(b, b->next, "* 1 EXISTS\r\na2 OK done\r\n");
    bench_gets(b, b->client, "* 1 EXISTS\r\na2 OK done\r\n");
}

/* With no mailbox open, and where it is CONDSTORE alone, which a command has asked for. */
static void test_condstore_goes_along(void **state)
{
    struct bench *b = *state;
    bench_shows(b, "CONDSTORE QRESYNC ENABLE");
    bench_says(b, b->client, "a1 STATUS INBOX (HIGHESTMODSEQ)\r\n");
    bench_gets(b, b->server, "a1 STATUS INBOX (HIGHESTMODSEQ)\r\n");
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    rest_with_nothing(b);
    flip(b);
    target_enables(b, "CONDSTORE", "* ENABLED CONDSTORE\r\n%T OK done\r\n");
    wait_state(b, IN_RELAY);
}

/* Where there is no ENABLE, SELECT asks for it. */
static void test_condstore_without_enable(void **state)
{
    struct bench *b = *state;
    bench_shows(b, "CONDSTORE");
    bench_says(b, b->client, "a0 STATUS INBOX (HIGHESTMODSEQ)\r\n");
    bench_gets(b, b->server, "a0 STATUS INBOX (HIGHESTMODSEQ)\r\n");
    bench_says(b, b->server, "a0 OK done\r\n");
    bench_gets(b, b->client, "a0 OK done\r\n");
    rest_with_inbox(b, "SELECT");
    flip(b);
    bench_gets_command(b, b->next, "SELECT INBOX (CONDSTORE)");
}

/* A client that was shown CONDSTORE, and has not used it: nothing is enabled for it there. */
static void test_nothing_is_enabled_that_was_not(void **state)
{
    struct bench *b = *state;
    bench_shows(b, "CONDSTORE QRESYNC ENABLE");
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_answers(b, "SELECT", OPENED, LISTED);
    wait_state(b, IN_RELAY);
}

static void test_modseqs_that_do_not_go_on(void **state)
{
    struct bench *b = *state;
    enable(b, "CONDSTORE");
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_enables(b, "CONDSTORE", "* ENABLED\r\n%T OK done\r\n");
    fails(b, "modseqs");
}

static void test_modseqs_of_an_older_release(void **state)
{
    struct bench *b = *state;
    bench_shows(b, "CONDSTORE");
    b->no_modseqs = true;
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_answers(b, "SELECT", OPENED, LISTED);
    fails(b, "modseqs");
}

static void test_a_mailbox_without_modseqs(void **state)
{
    struct bench *b = *state;
    enable(b, "CONDSTORE");
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_enables(b, "CONDSTORE", "* ENABLED CONDSTORE\r\n%T OK done\r\n");
    target_answers(b, "SELECT", "* OK [NOMODSEQ] none\r\n" OPENED, LISTED);
    fails(b, "modseqs");
}

static void test_vanished_while_it_opens(void **state)
{
    struct bench *b = *state;
    enable(b, "QRESYNC");
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_enables(b, "QRESYNC", "* ENABLED QRESYNC\r\n%T OK done\r\n");
    target_answers(b, "SELECT", OPENED, "* VANISHED 4\r\n");
    fails(b, "unavailable");
}

/* Messages that come behind the list. */
static void test_more_exist_than_were_listed(void **state)
{
    struct bench *b = *state;
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_answers(
        b, "SELECT", OPENED,
        "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n* 3 FETCH (UID 9)\r\n* 5 EXISTS\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 5 EXISTS\r\n");
}

static void test_examined(void **state)
{
    struct bench *b = *state;
    rest_with_inbox(b, "EXAMINE");
    flip(b);
    target_answers(
        b, "EXAMINE",
        "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 10] so\r\n%T OK [READ-ONLY] in\r\n", LISTED);
    wait_state(b, IN_RELAY);
}

/* What the target says, and why that is no place to go on. */
static void test_cannot_go_on(void **state)
{
    (void)state;
    static const struct {
        const char *opened, *list, *why;
    } rows[] = {
        {"%T NO gone\r\n", "%T BAD what?\r\n", "mailbox"},
        {"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 10] so\r\n%T OK [READ-ONLY] in\r\n", LISTED,
         "read_only"},
        {"* 3 EXISTS\r\n* OK [UIDVALIDITY 8] so\r\n* OK [UIDNEXT 10] so\r\n%T OK in\r\n", LISTED,
         "uidvalidity"},
        {"* 3 EXISTS\r\n* OK [UIDNEXT 10] so\r\n%T OK in\r\n", LISTED, "uidvalidity"},
        {"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 9] so\r\n%T OK in\r\n", LISTED, "uidnext"},
        {OPENED, "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 6)\r\n* 3 FETCH (UID 9)\r\n%T OK done\r\n", "uids"},
        {"* 2 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 10] so\r\n%T OK in\r\n", LISTED, "uids"},
        {OPENED, "%T NO what?\r\n", "unavailable"},
        {OPENED, "* 1 EXPUNGE\r\n", "unavailable"},
        {OPENED, "* 2 EXISTS\r\n", "unavailable"},
        {OPENED, "* BYE down\r\n", "unavailable"},
        {OPENED, "x9 OK what?\r\n", "unavailable"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        rest_with_inbox(b, "SELECT");
        flip(b);
        target_answers(b, "SELECT", rows[i].opened, rows[i].list);
        fails(b, rows[i].why);
        bench_gets_nothing(b, b->client);
        tear_down(&own);
    }
}

static void test_records_of_the_migrator(void **state)
{
    (void)state;
    static struct view_run other_uids = {4, 5, 6};
    struct view_record void_map, other_map, higher;
    for (unsigned i = 0; i < 4; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        void_map = other_map = higher = same;
        void_map.target_uidvalidity = 8;
        other_map.map.runs = &other_uids;
        higher.source_uidnext = 11;
        world.record = i == 0 ? NULL : i == 1 ? &void_map : i == 2 ? &other_map : &higher;
        rest_with_inbox(b, "SELECT");
        flip(b);
        target_answers(b, "SELECT", OPENED, LISTED);
        fails(b, i == 0 ? "no_record" : i == 1 ? "uidvalidity" : i == 2 ? "uids" : "uidnext");
        tear_down(&own);
    }
}

static void test_waits_for_records_and_the_lease(void **state)
{
    struct bench *b = *state;
    b->views = VIEWS_READING;
    rest_with_inbox(b, "SELECT");
    flip(b);
    bench_settle(b);
    assert_int_equal(b->s.state, IN_HANDOVER);
    bench_gets_nothing(b, b->next); /* how the mailbox is called there is not known */
    b->views = VIEWS_READ;
    b->may_pass = false;
    handover_step(&b->s);
    target_answers(b, "SELECT", OPENED, LISTED);
    bench_settle(b);
    assert_int_equal(b->s.state, IN_HANDOVER);
    b->may_pass = true;
    handover_step(&b->s);
    assert_int_equal(b->s.state, IN_RELAY);
}

static void test_no_records(void **state)
{
    struct bench *b = *state;
    b->views = VIEWS_FAILED;
    rest_with_inbox(b, "SELECT");
    flip(b);
    fails(b, "unavailable");
}

static void test_could_not_be_prepared(void **state)
{
    struct bench *b = *state;
    world.prepared = false;
    world.unfit = "old_password";
    rest_with_nothing(b);
    flip(b);
    fails(b, "old_password");
    assert_int_equal(world.dialled, 0);
}

static void test_no_credentials(void **state)
{
    struct bench *b = *state;
    b->s.secret = NULL;
    rest_with_nothing(b);
    flip(b);
    fails(b, "no_credentials");
}

static void test_no_such_backend(void **state)
{
    struct bench *b = *state;
    rest_with_nothing(b);
    b->account.backend = (char *)"third";
    handover_begin(&b->s);
    fails(b, "no_such_backend");
}

/* The prepared connection is gone: it signs in anew. */
static void test_dials_anew(void **state)
{
    struct bench *b = *state;
    world.prepared = false;
    rest_with_nothing(b);
    flip(b);
    assert_int_equal(b->s.state, IN_HANDOVER);
    assert_int_equal(world.dialled, 1);
    struct login_result r = {
        .rc = LOGIN_OK, .caps = b->caps, .stream = bench_connect(b, &b->next), .code = "", .detail = ""};
    world.fn(world.owner, &r);
    assert_int_equal(b->s.state, IN_RELAY);
}

static void test_sign_in_fails(void **state)
{
    struct bench *b = *state;
    world.prepared = false;
    rest_with_nothing(b);
    flip(b);
    world.fn(world.owner, &(struct login_result){.rc = LOGIN_REFUSED, .code = "", .detail = "no"});
    fails(b, "refused");
}

static void test_lacks_what_is_shown(void **state)
{
    struct bench *b = *state;
    world.prepared = false;
    world.lacks = true;
    rest_with_nothing(b);
    flip(b);
    struct login_result r = {
        .rc = LOGIN_OK, .caps = b->caps, .stream = bench_connect(b, &b->next), .code = "", .detail = ""};
    world.fn(world.owner, &r);
    fails(b, "capabilities");
}

/* After a thaw: no records are asked for, the numbers are the source's own; and a failure has another
 * name. */
static void test_back_at_the_source(void **state)
{
    struct bench *b = *state;
    world.record = NULL;
    b->views = VIEWS_FAILED;
    rest_with_inbox(b, "SELECT");
    stream_close(&b->s.backend, false);
    b->account.state = ROUTE_READY;
    handover_begin(&b->s);
    assert_int_equal(world.dialled, 1);
    struct login_result r = {
        .rc = LOGIN_OK, .caps = b->caps, .stream = bench_connect(b, &b->next), .code = "", .detail = ""};
    world.fn(world.owner, &r);
    target_answers(b, "SELECT", OPENED, LISTED);
    wait_state(b, IN_RELAY);
    assert_string_equal(world.counted, "back_at_the_source");
}

/* The mailbox was made anew meanwhile. */
static void test_another_mailbox_at_the_source(void **state)
{
    struct bench *b = *state;
    rest_with_inbox(b, "SELECT");
    stream_close(&b->s.backend, false);
    b->account.state = ROUTE_READY;
    handover_begin(&b->s);
    struct login_result r = {
        .rc = LOGIN_OK, .caps = b->caps, .stream = bench_connect(b, &b->next), .code = "", .detail = ""};
    world.fn(world.owner, &r);
    target_answers(b, "SELECT", "* 3 EXISTS\r\n* OK [UIDVALIDITY 8] so\r\n%T OK in\r\n", LISTED);
    bench_ends(b, END_NOT_BACK);
    assert_string_equal(world.counted, "uidvalidity");
}

static void test_not_back(void **state)
{
    struct bench *b = *state;
    rest_with_nothing(b);
    stream_close(&b->s.backend, false);
    b->account.state = ROUTE_READY;
    handover_begin(&b->s);
    world.fn(world.owner, &(struct login_result){.rc = LOGIN_UNAVAILABLE, .code = "", .detail = "away"});
    bench_ends(b, END_NOT_BACK);
    assert_string_equal(world.counted, "unavailable");
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        world.alike = i != 1;
        bench_says(b, b->client, "a1 LIST \"\" *\r\n");
        bench_gets(b, b->server, "a1 LIST \"\" *\r\n");
        bench_says(b, b->server, "a1 OK done\r\n");
        bench_gets(b, b->client, "a1 OK done\r\n");
        b->account.state = ROUTE_FREEZING;
        relay_rest(&b->s, END_FREEZE);
        bench_gets_command(b, b->server, "NAMESPACE");
        bench_says(b, b->server, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n%T OK done\r\n");
        wait_state(b, IN_FROZEN);
        flip(b);
        bench_gets_command(b, b->next, "NAMESPACE");
        bench_says(b, b->next,
                   i == 2 ? "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n%T OK done\r\n"
                          : "* NAMESPACE ((\"\" \"/\")) ((\"x\" \"/\")) NIL\r\n%T OK done\r\n");
        if (i == 0)
            wait_state(b, IN_RELAY);
        else
            fails(b, "names");
        tear_down(&own);
    }
}

/* ---- names and numbers that differ ---- */

/* INBOX.Work is Work there, with UIDVALIDITY 70; its UIDs 4, 5, 9 and from 10 on are 1, 2, 3 and from 4
 * on. */
static void view_of_work(struct bench *b)
{
    struct view_record r = {.tier = VIEW_T2,
                            .source_uidvalidity = 7,
                            .target_uidvalidity = 70,
                            .source_uidnext = 10,
                            .target_uidnext = 4,
                            .highest_uidvalidity = 7};
    b->rewrites = true;
    b->account.view = (char *)"1:ab";
    view_unref(&b->view);
    b->view = view_new(NULL);
    assert_true(view_uid_add(&r.map, 4, 1) && view_uid_add(&r.map, 5, 2) && view_uid_add(&r.map, 9, 3));
    assert_true(view_uid_set_tail(&r.map, 10, 4));
    assert_true(view_take(b->view, span_str(""), span_str("1 client=.,INBOX. backend=/, avoid=")));
    bench_record(b->view, r, "INBOX.Work", "Work");
    view_uid_free(&r.map);
}

static void rest_with_work(struct bench *b)
{
    bench_says(b, b->client, "a1 SELECT INBOX.Work\r\n");
    bench_gets(b, b->server, "a1 SELECT INBOX.Work\r\n");
    bench_says(b, b->server, "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\na1 OK in\r\n");
    bench_gets(b, b->client, "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\na1 OK in\r\n");
    b->account.state = ROUTE_FREEZING;
    relay_rest(&b->s, END_FREEZE);
    bench_gets_command(b, b->server, "NAMESPACE");
    bench_says(b, b->server, "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n%T OK done\r\n");
    old_list(b, 3, "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n* 3 FETCH (UID 9)\r\n%T OK done\r\n");
    wait_state(b, IN_FROZEN);
}

/* What comes from fd: commands in this order; answered with these lines, and the list's. */
static void opens_work(struct bench *b, const char *name, const char *opened, const char *list)
{
    char want[32];
    snprintf(want, sizeof want, "SELECT %s", name);
    bench_gets_command(b, b->next, "NAMESPACE");
    bench_says(b, b->next, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n%T OK done\r\n");
    bench_gets_command(b, b->next, want);
    bench_says(b, b->next, opened);
    bench_gets_command(b, b->next, "FETCH 1:* (UID)");
    bench_says(b, b->next, list);
}

/* Nothing is open, and no name is known, but INBOX is to be another one there: the view is waited for. */
static void test_goes_on_with_nothing_open_by_a_view(void **state)
{
    struct bench *b = *state;
    view_of_work(b);
    b->views = VIEWS_READING;
    rest_with_nothing(b);
    flip(b);
    bench_settle(b);
    assert_int_equal(b->s.state, IN_HANDOVER);
    b->views = VIEWS_READ;
    handover_step(&b->s);
    assert_int_equal(b->s.state, IN_RELAY);
    bench_says(b, b->client, "a1 SELECT INBOX.Work\r\n");
    bench_gets(b, b->next, "a1 SELECT Work\r\n");
}

/* Where the route says that nothing is to be rewritten, such a session does not wait for records. */
static void test_goes_on_with_nothing_open_without_records(void **state)
{
    struct bench *b = *state;
    b->account.view = (char *)"1=:ab";
    b->views = VIEWS_READING;
    rest_with_nothing(b);
    flip(b);
    assert_int_equal(b->s.state, IN_RELAY);
}

static void test_goes_on_through_the_map(void **state)
{
    struct bench *b = *state;
    view_of_work(b);
    rest_with_work(b);
    bench_says(b, b->client, "a2 UID FETCH 9 (FLAGS)\r\n");
    flip(b);
    opens_work(b, "Work",
               "* 3 EXISTS\r\n* OK [UIDVALIDITY 70] so\r\n* OK [UIDNEXT 6] so\r\n%T OK [READ-WRITE] in\r\n",
               "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 3)\r\n* 3 FETCH (UID 5)\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 4 EXISTS\r\n* 2 EXPUNGE\r\n"); /* UID 11 has come, and UID 5 is gone */
    bench_gets(b, b->next, "a2 UID FETCH 3 (FLAGS)\r\n");
    bench_says(b, b->next, "* 2 FETCH (UID 3 FLAGS ())\r\na2 OK done\r\n");
    bench_gets(b, b->client, "* 2 FETCH (UID 9 FLAGS ())\r\na2 OK done\r\n");
    assert_string_equal(world.counted, "moved");
    assert_int_equal(relay_opened(&b->s)->uidvalidity, 7);
}

static void test_does_not_fit_through_the_map(void **state)
{
    (void)state;
    static const struct {
        const char *opened, *list, *why;
    } rows[] = {
        {"* 1 EXISTS\r\n* OK [UIDVALIDITY 71] so\r\n* OK [UIDNEXT 6] so\r\n%T OK in\r\n",
         "* 1 FETCH (UID 1)\r\n%T OK\r\n", "uidvalidity"},
        {"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 6] so\r\n%T OK in\r\n",
         "* 1 FETCH (UID 1)\r\n%T OK\r\n", "uidvalidity"},
        {"* 1 EXISTS\r\n* OK [UIDVALIDITY 70] so\r\n* OK [UIDNEXT 3] so\r\n%T OK in\r\n",
         "* 1 FETCH (UID 1)\r\n%T OK\r\n", "uidnext"},
        {"%T NO not there\r\n", "%T BAD\r\n", "mailbox"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        view_of_work(b);
        rest_with_work(b);
        flip(b);
        opens_work(b, "Work", rows[i].opened, rows[i].list);
        fails(b, rows[i].why);
        tear_down(&own);
    }
}

/* A message of the target's own that lies between the copies: the client can't know it, and counts without
 * it. */
static void test_a_message_in_no_run(void **state)
{
    struct bench *b = *state;
    struct view_record r = {.tier = VIEW_T2,
                            .source_uidvalidity = 7,
                            .target_uidvalidity = 70,
                            .source_uidnext = 10,
                            .target_uidnext = 5,
                            .highest_uidvalidity = 7};
    b->rewrites = true;
    b->view = view_new(NULL);
    assert_true(view_uid_add(&r.map, 4, 1) && view_uid_add(&r.map, 5, 3) && view_uid_add(&r.map, 9, 4));
    assert_true(view_uid_set_tail(&r.map, 10, 5));
    bench_record(b->view, r, "INBOX", "INBOX");
    view_uid_free(&r.map);
    rest_with_inbox(b, "SELECT");
    flip(b);
    target_answers(
        b, "SELECT",
        "* 4 EXISTS\r\n* OK [UIDVALIDITY 70] so\r\n* OK [UIDNEXT 5] so\r\n%T OK [READ-WRITE] in\r\n",
        "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\n%T OK done\r\n");
    fails(b, "uids");
}

/* The way back: the client knows the numbers of the server to which it returns. */
static void test_back_to_where_it_came_from(void **state)
{
    struct bench *b = *state;
    view_of_work(b);
    relay_set_view(&b->s, b->view, NULL);
    bench_says(b, b->client, "a1 SELECT INBOX.Work\r\n");
    bench_gets(b, b->server, "a1 SELECT Work\r\n");
    bench_says(b, b->server, "* 4 EXISTS\r\n* OK [UIDVALIDITY 70] so\r\n* OK [UIDNEXT 5] so\r\na1 OK in\r\n");
    bench_gets(
        b, b->client,
        "* 4 EXISTS\r\n* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 11] Predicted next UID\r\na1 OK in\r\n");
    b->account.state = ROUTE_FREEZING;
    relay_rest(&b->s, END_FREEZE);
    bench_gets_command(b, b->server, "NAMESPACE");
    bench_says(b, b->server, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n%T OK done\r\n");
    old_list(
        b, 4,
        "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\n%T OK done\r\n");
    wait_state(b, IN_FROZEN);
    b->rewrites = false;
    world.alike = true;
    struct view_record home = same;
    home.source_uidnext = home.target_uidnext = 11;
    view_unref(&b->view);
    b->view = view_new(NULL);
    bench_record(b->view, home, "INBOX.Work", "INBOX.Work");
    b->account.state = ROUTE_HELD;
    b->account.backend = (char *)"new";
    handover_begin(&b->s);
    bench_gets_command(b, b->next, "NAMESPACE");
    bench_says(b, b->next, "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n%T OK done\r\n");
    bench_gets_command(b, b->next, "SELECT INBOX.Work");
    bench_says(b, b->next,
               "* 4 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\n* OK [UIDNEXT 11] so\r\n%T OK [READ-WRITE] in\r\n");
    bench_gets_command(b, b->next, "FETCH 1:* (UID)");
    bench_says(
        b, b->next,
        "* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 5)\r\n* 3 FETCH (UID 9)\r\n* 4 FETCH (UID 10)\r\n%T OK done\r\n");
    wait_state(b, IN_RELAY);
    bench_says(b, b->client, "a2 UID FETCH 10 (FLAGS)\r\n");
    bench_gets(b, b->next, "a2 UID FETCH 10 (FLAGS)\r\n");
    const struct view_uid *map;
    assert_null(relay_view(&b->s, &map));
}

/* The source has closed the connection in a freeze: after the thaw it is dialled again, by the same view. */
static void test_a_thaw_keeps_the_view(void **state)
{
    struct bench *b = *state;
    view_of_work(b);
    relay_set_view(&b->s, b->view, NULL);
    bench_says(b, b->client, "a1 SELECT INBOX.Work\r\n");
    bench_gets(b, b->server, "a1 SELECT Work\r\n");
    bench_says(b, b->server, "* 1 EXISTS\r\n* OK [UIDVALIDITY 70] so\r\na1 OK in\r\n");
    bench_gets(b, b->client, "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] UIDs valid\r\na1 OK in\r\n");
    b->account.state = ROUTE_FREEZING;
    relay_rest(&b->s, END_FREEZE);
    bench_gets_command(b, b->server, "NAMESPACE");
    bench_says(b, b->server, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n%T OK done\r\n");
    old_list(b, 1, "* 1 FETCH (UID 3)\r\n%T OK done\r\n");
    wait_state(b, IN_FROZEN);
    stream_close(&b->s.backend, false);
    b->account.state = ROUTE_READY;
    handover_begin(&b->s);
    struct login_result r = {
        .rc = LOGIN_OK, .caps = b->caps, .stream = bench_connect(b, &b->next), .code = "", .detail = ""};
    world.fn(world.owner, &r);
    bench_gets_command(b, b->next, "SELECT Work");
    bench_says(b, b->next, "* 1 EXISTS\r\n* OK [UIDVALIDITY 70] so\r\n%T OK in\r\n");
    bench_gets_command(b, b->next, "FETCH 1:* (UID)");
    bench_says(b, b->next, "* 1 FETCH (UID 3)\r\n%T OK done\r\n");
    wait_state(b, IN_RELAY);
    bench_says(b, b->client, "a2 UID FETCH 9 (FLAGS)\r\n");
    bench_gets(b, b->next, "a2 UID FETCH 3 (FLAGS)\r\n");
}

/* The client has said another ID since the connection was opened. */
static void test_id_is_told(void **state)
{
    struct bench *b = *state;
    world.knows_id = false;
    world.id_is_heard = true;
    buf_add(&b->s.client_id, "name\0mutt", 10);
    rest_with_nothing(b);
    flip(b);
    bench_gets_command(b, b->next, "ID (\"name\" \"mutt\")");
    assert_int_equal(b->s.state, IN_HANDOVER);
    bench_says(b, b->next, "* ID NIL\r\n%T BAD what?\r\n"); /* of no interest */
    wait_state(b, IN_RELAY);
    buf_free(&b->s.client_id);
}

#define HANDOVER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HANDOVER_TEST(test_goes_on_with_nothing_open),
        HANDOVER_TEST(test_goes_on_in_the_mailbox),
        HANDOVER_TEST(test_flags_that_others_have_changed),
        HANDOVER_TEST(test_a_mailbox_that_is_empty_there),
        HANDOVER_TEST(test_flags_that_nobody_has_changed),
        HANDOVER_TEST(test_uidnext_by_status),
        HANDOVER_TEST(test_uidnext_by_status_is_too_low),
        HANDOVER_TEST(test_uidnext_by_the_list),
        HANDOVER_TEST(test_uidnext_is_not_known),
        HANDOVER_TEST(test_what_came_and_went),
        HANDOVER_TEST(test_what_is_enabled_goes_along),
        HANDOVER_TEST(test_flags_that_are_not_told),
        HANDOVER_TEST(test_condstore_goes_along),
        HANDOVER_TEST(test_condstore_without_enable),
        HANDOVER_TEST(test_nothing_is_enabled_that_was_not),
        HANDOVER_TEST(test_modseqs_that_do_not_go_on),
        HANDOVER_TEST(test_modseqs_of_an_older_release),
        HANDOVER_TEST(test_a_mailbox_without_modseqs),
        HANDOVER_TEST(test_vanished_while_it_opens),
        HANDOVER_TEST(test_more_exist_than_were_listed),
        HANDOVER_TEST(test_examined),
        cmocka_unit_test(test_cannot_go_on),
        cmocka_unit_test(test_records_of_the_migrator),
        HANDOVER_TEST(test_waits_for_records_and_the_lease),
        HANDOVER_TEST(test_no_records),
        HANDOVER_TEST(test_could_not_be_prepared),
        HANDOVER_TEST(test_no_credentials),
        HANDOVER_TEST(test_no_such_backend),
        HANDOVER_TEST(test_dials_anew),
        HANDOVER_TEST(test_sign_in_fails),
        HANDOVER_TEST(test_lacks_what_is_shown),
        HANDOVER_TEST(test_back_at_the_source),
        HANDOVER_TEST(test_another_mailbox_at_the_source),
        HANDOVER_TEST(test_not_back),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_does_not_fit_through_the_map),
        HANDOVER_TEST(test_goes_on_through_the_map),
        HANDOVER_TEST(test_goes_on_with_nothing_open_by_a_view),
        HANDOVER_TEST(test_goes_on_with_nothing_open_without_records),
        HANDOVER_TEST(test_a_message_in_no_run),
        HANDOVER_TEST(test_back_to_where_it_came_from),
        HANDOVER_TEST(test_a_thaw_keeps_the_view),
        HANDOVER_TEST(test_id_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
