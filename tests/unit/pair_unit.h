/* pair_unit: one mailbox on two scripted servers, opened and listed, with its ledger in a private Redis: what
 * the steps of a copy work on (migrator/mailbox/pair.h). All tests of a program share the Redis; each has an
 * account of its own. */
#ifndef IMAPFERRY_PAIR_UNIT_H
#define IMAPFERRY_PAIR_UNIT_H

#include "io.h"
#include "migrator/mailbox/pair.h"
#include "store_unit.h"

struct pair_world {
    struct unit_store u;
    unsigned tests;
    char user[32];
    struct route_job job;
    struct io_peer source, target;
    struct conf_backend backends[2];
    struct imapc *source_imap, *target_imap;
    struct pair p;
    struct findings *findings;
    unsigned answers, wanted; /* of whatever is waited for */
    enum copy_rc rc;
    char *why; /* owned */
    enum route_rc ledger_rc;
};

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
/* What both servers say until the mailbox is listed; then the listing, and PAIR_LISTED. */
#define PAIR_SIGN_IN(caps)                                                                                   \
    ">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN ann {6+}", "=secret",                             \
        ">%T OK [CAPABILITY IMAP4rev1 " caps "] in"
#define PAIR_OPEN(verb, exists, uidvalidity, uidnext)                                                        \
    "<" verb " INBOX", "<UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", ">* " exists " EXISTS",        \
        ">* OK [PERMANENTFLAGS (\\Seen \\Deleted \\*)] so", ">* OK [UIDVALIDITY " uidvalidity "] so",        \
        ">* OK [UIDNEXT " uidnext "] so", ">%P OK fine"
#define PAIR_MESSAGE(seq, uid, flags, size)                                                                  \
    ">* " seq " FETCH (UID " uid " FLAGS (" flags                                                            \
    ") INTERNALDATE \"21-Jan-2020 00:00:00 +0000\" RFC822.SIZE " size ")"
#define PAIR_LISTED                        ">%T OK listed"
#define PAIR_SOURCE(exists, uidnext)       PAIR_SIGN_IN(""), PAIR_OPEN("EXAMINE", exists, "7", uidnext)
#define PAIR_TARGET(caps, exists, uidnext) PAIR_SIGN_IN(caps), PAIR_OPEN("SELECT", exists, "9", uidnext)
#define PAIR_BYE                           "=bye LOGOUT"
/* A body of three bytes: `x` says which. */
#define PAIR_BODY(seq, uid, x) ">* " seq " FETCH (UID " uid " BODY[] {3}", "}" x "\r\n", ">)"

static inline void pair_unit_note(struct pair_world *w, enum copy_rc rc, const char *why)
{
    w->answers++;
    w->rc = rc;
    free(w->why);
    w->why = xstrdup(why);
}

/* A step_fn. */
static inline void pair_unit_on_step(void *owner, enum copy_rc rc, const char *why)
{
    pair_unit_note(owner, rc, why);
}

static inline void pair_unit_on_ledger(void *owner, enum route_rc rc)
{
    struct pair_world *w = owner;
    w->answers++;
    w->ledger_rc = rc;
}

static inline void pair_unit_on_event(void *owner, enum imapc_event ev)
{
    struct pair_world *w = owner;
    w->answers += ev == IMAPC_READY || ev == IMAPC_FAILED;
}

static inline enum imapc_taken pair_unit_on_source_news(void *owner, const struct imap_resp *resp,
                                                        const struct imap_value *data)
{
    struct pair_world *w = owner;
    return selected_data(&w->p.source, resp, data);
}

static inline enum imapc_taken pair_unit_on_target_news(void *owner, const struct imap_resp *resp,
                                                        const struct imap_value *data)
{
    struct pair_world *w = owner;
    return selected_data(&w->p.target, resp, data);
}

static inline void pair_unit_on_claimed(void *owner, enum route_rc rc, const struct route *r)
{
    struct pair_world *w = owner;
    assert_int_equal(rc, ROUTE_OK);
    w->job.epoch = r->epoch;
}

static inline void pair_unit_progress(struct pair *p)
{
    (void)p;
}

/* Runs the loop until n more answers came. */
static inline void pair_unit_await(struct pair_world *w, unsigned n)
{
    w->wanted = w->answers + n;
    UNIT_UNTIL(&w->u, w->answers >= w->wanted);
}

/* A write to the ledger, whose last two arguments are a ledger_fn and its owner. */
#define PAIR_LEDGER(w, call, ...)                                                                            \
    do {                                                                                                     \
        call((w)->p.ledger, ##__VA_ARGS__, pair_unit_on_ledger, w);                                          \
        pair_unit_await(w, 1);                                                                               \
        assert_int_equal((w)->ledger_rc, ROUTE_OK);                                                          \
    } while (0)

/* For cmocka: of the group, and of each test. */
static inline int pair_unit_begin(void **state)
{
    struct pair_world *w = xcalloc(1, sizeof *w);
    unit_store_begin(&w->u);
    *state = w;
    return 0;
}

static inline int pair_unit_end(void **state)
{
    struct pair_world *w = *state;
    unit_store_end(&w->u);
    free(w);
    return 0;
}

static inline int pair_unit_set_up(void **state)
{
    struct pair_world *w = *state;
    const struct route_staff staff = {.user = w->user, .who = "test", .reason = ""};
    snprintf(w->user, sizeof w->user, "ann%u@example.org", w->tests++);
    w->job = (struct route_job){.user = w->user, .token = "token"};
    UNIT_DO_RC(&w->u, ROUTE_OK, route_enqueue, &staff, "old", "new", false, false, false, false);
    route_claim(w->u.store, &(struct route_entry){.user = w->job.user}, w->job.token, "", "unit",
                pair_unit_on_claimed, w);
    UNIT_UNTIL(&w->u, w->job.epoch > 0);
    w->findings = findings_new(NULL);
    w->p.loop = w->u.loop;
    w->p.flags = flags_pool_new();
    w->p.findings = w->findings;
    w->p.progress = pair_unit_progress;
    w->p.ledger = ledger_load(w->u.store, &w->job, "0123456789abcdef", pair_unit_on_ledger, w);
    pair_unit_await(w, 1);
    PAIR_LEDGER(w, ledger_bind, 7, 9);
    return 0;
}

static inline struct imapc *pair_unit_dial(struct pair_world *w, struct io_peer *peer, struct conf_backend *b,
                                           const char *name, const char *const *script)
{
    io_peer_start(peer, script, NULL, NULL);
    *b = (struct conf_backend){
        .name = (char *)(uintptr_t)name,
        .address = {.scheme = ADDRESS_IMAP, .host = (char *)(uintptr_t) "127.0.0.1", .port = peer->port}};
    const struct login_request login = {.backend = b,
                                        .credential = credential_of_password("ann", "secret"),
                                        .limits = {.high_water = 65536, .queue_max = 1 << 20},
                                        .connect_timeout_ms = 15000,
                                        .step_timeout_ms = 15000};
    return imapc_new(w->u.loop, &login, 15000, pair_unit_on_event, NULL, w);
}

/* Signs in at both, opens and lists. */
static inline void pair_unit_open(struct pair_world *w, const char *const *source, const char *const *target)
{
    w->source_imap = pair_unit_dial(w, &w->source, &w->backends[0], "old", source);
    w->target_imap = pair_unit_dial(w, &w->target, &w->backends[1], "new", target);
    pair_unit_await(w, 2);
    selected_init(&w->p.source, w->source_imap, w->p.flags, "INBOX", "source", true);
    selected_init(&w->p.target, w->target_imap, w->p.flags, "INBOX", "target", false);
    imapc_watch(w->source_imap, NULL, pair_unit_on_source_news, NULL, w);
    imapc_watch(w->target_imap, NULL, pair_unit_on_target_news, NULL, w);
    selected_open(&w->p.source, NULL, pair_unit_on_step, w);
    selected_open(&w->p.target, NULL, pair_unit_on_step, w);
    pair_unit_await(w, 2);
    assert_int_equal(w->rc, COPY_EQUAL);
}

/* Both servers have to have heard all of their scripts. */
static inline void pair_unit_close(struct pair_world *w)
{
    selected_free(&w->p.source);
    selected_free(&w->p.target);
    imapc_free(&w->source_imap);
    imapc_free(&w->target_imap);
    uv_run(&w->u.loop->uv, UV_RUN_NOWAIT);
    io_peer_end(&w->source);
    io_peer_end(&w->target);
}

static inline int pair_unit_tear_down(void **state)
{
    struct pair_world *w = *state;
    ledger_free(&w->p.ledger);
    imap_seq_free(&w->p.named);
    imap_seq_free(&w->p.removable);
    imap_seq_free(&w->p.known);
    flags_pool_free(&w->p.flags);
    findings_free(&w->findings);
    free(w->why);
    w->why = NULL;
    w->p = (struct pair){0};
    return 0;
}

/* "1>11v 2>12; doubt 3": rows, with v where they are verified, and the source UIDs that are in doubt. */
static inline void pair_unit_expect(struct pair_world *w, const char *want)
{
    struct buf out = {0};
    struct imap_seq doubtful = {0};
    uint32_t uidnext;
    size_t n;
    const struct ledger_row *rows = ledger_rows(w->p.ledger, &n);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "%s%u>%u%s", i ? " " : "", rows[i].source_uid, rows[i].target_uid,
                   rows[i].verified ? "v" : "");
    if (ledger_in_doubt(w->p.ledger, &uidnext)) {
        buf_add_str(&out, "; doubt ");
        ledger_doubtful(w->p.ledger, &doubtful);
        imap_seq_write(&out, &doubtful);
    }
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
    imap_seq_free(&doubtful);
}

/* A test of a group that is run by pair_unit_begin() and pair_unit_end(). */
#define PAIR_TEST(name) cmocka_unit_test_setup_teardown(name, pair_unit_set_up, pair_unit_tear_down)

#endif
