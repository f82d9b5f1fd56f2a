/* A login, from the name and the password to the OK. What it asks the store and the backends is written down,
 * and answered by the test. */
#include "lib/registry.h"
#include "lib/route.h"
#include "proxy/preauth.h"
#include "proxy/protocol.h"
#include "proxy/proxy.h"
#include "proxy/relay.h"
#include "proxy/routing.h"
#include "proxy/session_login.h"
#include "proxy/share.h"
#include "proxy/silence.h"
#include "proxy/throttle.h"
#include "proxy/vault.h"
#include "proxy/views.h"

#include "unit.h"

struct fixture {
    struct loop *loop;
    struct conf conf;
    struct conf_backend backends[3]; /* "old", "new" and "judge" */
    struct proxy proxy;
    struct account account;
    struct branch branch;
    struct session s;

    struct buf said; /* to the client */
    route_read_fn route_fn;
    unsigned reads, thaws, logins, entered, left, renamed, failed, relayed, wrong, right, throttled, heard;
    const char *at; /* of the last sign-in */
    enum login_as as;
    backend_login_fn login_fn;
    struct route_enter enter;
    route_enter_fn enter_fn;
    bool may_pass, lease, no_share, refuses;
    bool store_is_coming, store_is_empty;
    uint64_t generation, masters;
};
static struct fixture *f;

/* ---- what a login asks others for ---- */

void throttle_where(struct session *s, route_read_fn fn)
{
    assert_ptr_equal(s, &f->s);
    assert_string_equal(s->account->key, "ann");
    f->reads++;
    f->route_fn = fn;
}

bool throttle_heard(struct session *s, const struct route_failures *failures)
{
    assert_ptr_equal(s, &f->s);
    f->heard += failures->here;
    return failures->here > 0;
}

bool route_is_engaged(enum route_state state)
{
    return state != ROUTE_RESTING;
}

const char *route_state_name(enum route_state state)
{
    (void)state;
    return "state";
}

void route_thaw(struct store *s, const char *user, route_done_fn fn, void *owner)
{
    (void)s, (void)user, (void)fn, (void)owner;
    f->thaws++;
}

bool noise_may_log(struct noise *n, enum noise_of kind, const char *ip)
{
    (void)n, (void)kind, (void)ip;
    return true;
}

bool share_take(struct session *s)
{
    (void)s;
    return !f->no_share;
}

void share_give(struct session *s)
{
    (void)s;
}

void throttle_begin(struct session *s)
{
    f->throttled++;
    routing_try(s);
}

void throttle_failed(struct session *s)
{
    (void)s;
    f->wrong++;
}

void throttle_passed(struct session *s)
{
    (void)s;
    f->right++;
}

void throttle_end(struct session *s)
{
    (void)s;
}

void store_forget(struct store *s, void *owner)
{
    (void)s, (void)owner;
}

bool store_is_coming(const struct store *s)
{
    (void)s;
    return f->store_is_coming;
}

bool store_is_empty(const struct store *s)
{
    (void)s;
    return f->store_is_empty;
}

bool lease_is_valid(const struct lease *l, bool engaged)
{
    (void)l, (void)engaged;
    return f->lease;
}

uint64_t lease_lapses(const struct lease *l, bool engaged)
{
    (void)l;
    return engaged ? 10 : 20;
}

uint64_t lease_masters(const struct lease *l)
{
    (void)l;
    return f->masters;
}

uint64_t lease_generation(const struct lease *l)
{
    (void)l;
    return f->generation;
}

bool registration_may_pass(const struct session *s)
{
    (void)s;
    return f->may_pass;
}

struct backend_login *session_login_start(struct session *s, const struct conf_backend *at, enum login_as as,
                                          backend_login_fn fn, void *owner)
{
    assert_ptr_equal(owner, s);
    f->logins++;
    f->at = at->name;
    f->as = as;
    f->login_fn = fn;
    return NULL;
}

void backend_login_cancel(struct backend_login **b)
{
    *b = NULL;
}

bool backends_refuses(struct backends *b, const struct conf_backend *backend, bool pop3)
{
    (void)pop3;
    (void)b, (void)backend;
    return f->refuses;
}

void backends_learned(struct backends *b, const struct conf_backend *backend, const struct imap_caps *seen)
{
    (void)b, (void)backend, (void)seen;
}

struct imap_caps backends_shown(const struct backends *b, const struct conf_backend *at,
                                const struct imap_caps *own, const struct conf_backend *other)
{
    (void)b, (void)at, (void)other;
    return *own;
}

void doubts_enter(struct doubts *d, const struct route_enter *e, route_enter_fn fn, void *owner)
{
    (void)d;
    assert_ptr_equal(owner, &f->s);
    f->entered++;
    f->enter = *e;
    f->enter_fn = fn;
}

void doubts_forget(struct doubts *d, const void *owner)
{
    (void)d, (void)owner;
}

void doubts_leave(struct doubts *d, const char *user, const char *session)
{
    (void)d, (void)user, (void)session;
    f->left++;
}

void accounts_attach(struct proxy *p, const char *key, struct session *s)
{
    (void)p, (void)key;
    s->account = &f->account;
}

void accounts_detach(struct session *s)
{
    s->account = NULL;
}

void accounts_read(struct account *a)
{
    (void)a;
}

static struct {
    enum views_state state;
    const char *at; /* which backend it is of */
    unsigned wanted;
    char text[16];
    bool rewrites;
    struct view *view;
} view;

struct view *views_view(const struct account *a)
{
    (void)a;
    return view.view;
}

static bool no_modseqs;

bool views_has_modseqs(const struct account *a)
{
    (void)a;
    return !no_modseqs;
}

bool views_rewrites(const struct account *a)
{
    (void)a;
    return view.rewrites;
}

void views_want(struct account *a, const char *backend, const char *text, bool all)
{
    (void)a, (void)backend;
    assert_false(all);
    view.wanted++;
    snprintf(view.text, sizeof view.text, "%s", text);
}

enum views_state views_state(const struct account *a)
{
    (void)a;
    return view.state;
}

bool views_is_current(const struct account *a, const char *backend)
{
    (void)a;
    return view.state == VIEWS_READ && (!view.at || strcmp(view.at, backend) == 0);
}

void accounts_heard(struct account *a, const struct account_news *news)
{
    a->state = news->state;
}

void crowd_leave(struct crowd *c, struct session *s)
{
    (void)c, (void)s;
}

void preauth_free(struct session *s)
{
    (void)s;
}

void preauth_challenge(struct session *s, const char *why, const char *code, const char *text)
{
    session_say(s, "+ %s %s %s", why, code, text);
    s->state = IN_PREAUTH;
}

void preauth_login_failed(struct session *s)
{
    s->state = IN_PREAUTH;
    f->failed++;
}

static void play_no(struct session *s, const char *tag, const char *code, const char *text)
{
    session_say(s, "%s NO [%s] %s", tag, code, text);
}

static const struct protocol played = {.say_no = play_no,
                                       .login_failed = preauth_login_failed,
                                       .challenge = preauth_challenge,
                                       .forget = preauth_free};

void relay_begin(struct session *s, const struct imap_caps *shown, struct view *rewritten)
{
    (void)shown;
    assert_ptr_equal(rewritten, view.rewrites ? view.view : NULL);
    s->state = IN_RELAY;
    f->relayed++;
}

void silence_update(struct session *s)
{
    (void)s;
}

void session_enter(struct session *s, enum session_state state)
{
    s->state = state;
}

void session_rename(struct session *s)
{
    (void)s;
    f->renamed++;
}

void session_say(struct session *s, const char *fmt, ...)
{
    va_list ap;
    (void)s;
    va_start(ap, fmt);
    buf_vprintf(&f->said, fmt, ap);
    va_end(ap);
    buf_add_str(&f->said, "\n");
}

void session_take_backend(struct session *s, struct stream *stream, const struct conf_backend *at)
{
    s->backend = stream;
    s->at = at;
}

bool stream_is_secure(const struct stream *s)
{
    (void)s;
    return true;
}

void stream_close(struct stream **s, bool flush)
{
    (void)flush;
    *s = NULL;
}

/* ---- helpers ---- */

static int set_up(void **state)
{
    f = xcalloc(1, sizeof *f);
    f->loop = loop_new();
    static const char *const names[] = {"old", "new", "judge"};
    for (size_t i = 0; i < 3; i++) {
        f->backends[i].name = (char *)names[i];
        f->backends[i].auth_backend = f->backends[i].master_login = f->backends[i].master_user = (char *)"";
    }
    f->conf.backends = f->backends;
    f->conf.n_backends = 3;
    f->conf.migration.source = (char *)"old";
    f->conf.migration.target = (char *)"new";
    f->conf.migration.default_domain = (char *)"";
    f->conf.migration.trigger = TRIGGER_LOGIN;
    f->conf.proxy.hold_max_ms = 60000;
    f->proxy =
        (struct proxy){.loop = f->loop, .conf = &f->conf, .vault = vault_new(), .lately = lately_new()};
    f->account = (struct account){.proxy = &f->proxy, .branch = &f->branch, .key = (char *)"ann"};
    f->s = (struct session){.proxy = &f->proxy,
                            .name = (char *)"p/1",
                            .peer = (char *)"[::1]:9",
                            .via = "",
                            .protocol = &played,
                            .hops = LIMIT_HOPS,
                            .state = IN_PREAUTH,
                            .timer = timer_new(f->loop, NULL, NULL)};
    f->may_pass = f->lease = true;
    f->generation = 3;
    memset(&view, 0, sizeof view);
    view.state = VIEWS_READ;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    routing_cancel(&f->s, false);
    vault_drop(f->proxy.vault, &f->s.secret);
    vault_free(&f->proxy.vault);
    lately_free(&f->proxy.lately);
    timer_free(&f->s.timer);
    buf_free(&f->said);
    loop_free(&f->loop);
    free(f);
    return 0;
}

static void begin(void)
{
    struct credential c = credential_of_password("Ann", "secret");
    routing_begin(&f->s, "a1", &c);
}

static void route_is(const char *backend, enum route_state state)
{
    struct route r = {.backend = (char *)backend,
                      .state = state,
                      .epoch = 7,
                      .generation = 3,
                      .source = (char *)"old",
                      .target = (char *)"new",
                      .view = (char *)"1:ab"};
    f->route_fn(&f->s, ROUTE_OK, &r);
}

static char stream[1]; /* one that nobody looks into */

static void login_ends(enum login_rc rc, const char *code)
{
    struct login_result r = {.rc = rc, .code = code, .detail = "detail", .phase = "sign_in"};
    if (rc == LOGIN_OK)
        r.stream = (void *)stream;
    f->login_fn(&f->s, &r);
}

static void says(const char *text)
{
    assert_string_equal(buf_str(&f->said), text);
    buf_clear(&f->said);
}

#define UNAVAILABLE                                                                                          \
    "a1 NO [UNAVAILABLE] The mail server can't be reached at the moment, please try again later\n"

static void is_unavailable(void)
{
    says(UNAVAILABLE);
    assert_int_equal(f->failed, 1);
    assert_null(f->s.login);
    assert_null(f->s.secret);
    assert_null(f->s.backend);
}

/* ---- tests ---- */

static void test_a_login(void **state)
{
    (void)state;
    begin();
    assert_int_equal(f->s.state, IN_ROUTING);
    assert_int_equal(f->reads, 1);
    route_is("old", ROUTE_RESTING);
    assert_int_equal(f->s.state, IN_SIGNIN);
    assert_string_equal(f->at, "old");
    assert_int_equal(f->as, LOGIN_AS_USER);
    unit_same(secret_credential(f->s.secret).authcid, "Ann");
    login_ends(LOGIN_OK, "");
    assert_int_equal(f->s.state, IN_ENTERING);
    assert_string_equal(f->enter.user, "ann");
    assert_string_equal(f->enter.backend, "old");
    assert_int_equal(f->enter.epoch, 7);
    assert_int_equal(f->enter.generation, 3);
    assert_true(f->enter.enqueue);
    assert_int_equal(f->said.len, 0); /* no OK before the registration */
    assert_int_equal(f->right, 1);
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_QUEUED, 7);
    says("a1 OK [CAPABILITY ] Logged in\n");
    assert_int_equal(f->relayed, 1);
    assert_true(f->s.reg.may_exist);
    assert_true(f->s.reg.engaged);
    assert_int_equal(f->s.reg.lapses, 10);
    assert_non_null(f->s.secret); /* the account may be flipped */
    assert_null(f->s.login);
}

static void enter_with_view(enum views_state state)
{
    begin();
    route_is("new", ROUTE_FLIPPED);
    login_ends(LOGIN_OK, "");
    assert_string_equal(view.text, "1:ab");
    view.state = state;
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_FLIPPED, 7);
}

/* What the client is to see has to be known before it is let in. */
static void test_the_view_is_waited_for(void **state)
{
    (void)state;
    view.state = VIEWS_READING;
    begin();
    route_is("new", ROUTE_FLIPPED);
    assert_int_equal(view.wanted, 0); /* not before the password was found to be right */
    login_ends(LOGIN_OK, "");
    assert_int_equal(view.wanted, 1);
    routing_view_there(&f->s);
    view.state = VIEWS_READ; /* it was answered first */
    routing_view_there(&f->s);
    assert_int_equal(f->relayed, 0);
    view.state = VIEWS_READING;
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_FLIPPED, 7);
    assert_int_equal(f->s.state, IN_ENTERING);
    assert_int_equal(f->said.len, 0);
    view.state = VIEWS_READ;
    view.rewrites = true;
    view.view = (void *)&view;
    routing_view_there(&f->s);
    says("a1 OK [CAPABILITY ] Logged in\n");
    assert_int_equal(f->relayed, 1);
}

static void test_no_view_no_login(void **state)
{
    (void)state;
    enter_with_view(VIEWS_FAILED);
    is_unavailable();
    assert_int_equal(f->relayed, 0);
    assert_int_equal(f->left, 1);
}

/* The account was flipped in between. */
static void test_a_view_of_another_backend(void **state)
{
    (void)state;
    view.at = "old";
    enter_with_view(VIEWS_READ);
    assert_int_equal(f->s.state, IN_ROUTING);
    assert_int_equal(f->reads, 2);
}

/* Where there is no other side, nothing is kept of the login. */
static void test_nothing_is_kept_where_nothing_moves(void **state)
{
    (void)state;
    f->conf.migration.target = (char *)"old";
    begin();
    struct route r = {.backend = (char *)"old", .generation = 3, .source = (char *)"", .target = (char *)""};
    f->route_fn(&f->s, ROUTE_OK, &r);
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_RESTING, 0);
    assert_int_equal(f->relayed, 1);
    assert_int_equal(f->s.reg.lapses, 20); /* the long term */
    assert_null(f->s.secret);
}

static void test_flipped_accounts_are_not_queued(void **state)
{
    (void)state;
    begin();
    route_is("new", ROUTE_SETTLED);
    assert_string_equal(f->at, "new");
    login_ends(LOGIN_OK, "");
    assert_false(f->enter.enqueue);
}

/* The client hears of it at a full second, so that it learns nothing from the time. */
static void test_a_wrong_password(void **state)
{
    (void)state;
    static const struct {
        const char *code, *said;
    } rows[] = {
        {"", "a1 NO [AUTHENTICATIONFAILED] Authentication failed\n"},
        {"EXPIRED", "a1 NO [EXPIRED] The password has expired\n"},
        {"REFERRAL", "a1 NO [AUTHENTICATIONFAILED] Authentication failed\n"},
        {"THROTTLED", "a1 NO [AUTHENTICATIONFAILED] Authentication failed\n"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        lately_forget_all(f->proxy.lately);
        begin();
        route_is("old", ROUTE_RESTING);
        login_ends(LOGIN_REFUSED, rows[i].code);
        assert_int_equal(f->s.state, IN_REFUSED);
        assert_int_equal(f->said.len, 0);
        assert_true(timer_is_set(f->s.timer));
        routing_say_refused(&f->s);
        says(rows[i].said);
        assert_int_equal(f->s.state, IN_PREAUTH);
        assert_null(f->s.secret);
        assert_int_equal(f->failed, i + 1);
    }
    assert_int_equal(f->entered, 0);
    assert_int_equal(f->wrong, 3); /* THROTTLED says nothing of the password */
    assert_int_equal(f->right, 0);
}

/* A backend of which it is known that it does not answer: nobody connects, and the text is that of a failure. */
static void test_the_breaker(void **state)
{
    (void)state;
    f->refuses = true;
    begin();
    route_is("old", ROUTE_RESTING);
    is_unavailable();
    assert_int_equal(f->logins, 0);
    begin(); /* by the route that is remembered: it is read again, since that may be another one now */
    assert_int_equal(f->s.state, IN_ROUTING);
    route_is("old", ROUTE_RESTING);
    says(UNAVAILABLE);
    assert_int_equal(f->logins, 0);
    begin();
    f->refuses = false;
    route_is("new", ROUTE_FLIPPED);
    assert_int_equal(f->logins, 1);
    assert_string_equal(f->at, "new");
}

static void test_a_limit_of_ours(void **state)
{
    (void)state;
    begin();
    routing_limit(&f->s, "throttled", "why", "A text");
    assert_int_equal(f->s.state, IN_REFUSED);
    assert_int_equal(f->said.len, 0);
    routing_say_refused(&f->s);
    says("a1 NO [LIMIT] A text\n");
    assert_int_equal(f->wrong + f->right, 0);
}

static void test_an_account_or_network_is_full(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_FULL, ROUTE_RESTING, 0);
    assert_int_equal(f->s.state, IN_REFUSED);
    routing_say_refused(&f->s);
    says("a1 NO [LIMIT] Too many connections of this account, please close some\n");
    assert_int_equal(f->left, 0); /* it was never registered */
    f->no_share = true;
    begin();
    login_ends(LOGIN_OK, "");
    assert_int_equal(f->entered, 1);
    routing_say_refused(&f->s);
    says("a1 NO [LIMIT] Too many connections from your network, please close some\n");
}

static void test_a_name_that_is_none(void **state)
{
    (void)state;
    struct credential c = credential_of_password(" ", "x");
    routing_begin(&f->s, "a1", &c);
    assert_int_equal(f->s.state, IN_REFUSED); /* looks the same from outside */
    assert_int_equal(f->reads, 0);
    routing_say_refused(&f->s);
    says("a1 NO [AUTHORIZATIONFAILED] This account may not be used\n");
}

static void test_backend_is_down(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_UNAVAILABLE, "");
    is_unavailable();
    assert_int_equal(f->wrong + f->right, 0);
}

static void test_backend_has_a_limit(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_UNAVAILABLE, "LIMIT");
    says("a1 NO [LIMIT] A limit was reached, please try again later\n");
}

static void test_store_is_down(void **state)
{
    (void)state;
    begin();
    f->route_fn(&f->s, ROUTE_DOWN, NULL);
    is_unavailable();
}

/* Who comes while a restore is under way waits for its end, also where that is begun again; and for the first lease there. */
static void test_waits_for_a_store_that_is_being_made(void **state)
{
    (void)state;
    f->store_is_empty = f->store_is_coming = true;
    begin();
    f->route_fn(&f->s, ROUTE_DOWN, NULL);
    assert_int_equal(f->s.state, IN_WAITING);
    f->store_is_coming = false;
    routing_wake(&f->s);
    f->route_fn(&f->s, ROUTE_DOWN, NULL);
    assert_int_equal(f->s.state, IN_WAITING);
    f->store_is_empty = f->lease = false;
    routing_wake(&f->s);
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    assert_int_equal(f->s.state, IN_WAITING);
    f->lease = true;
    routing_wake(&f->s);
    route_is("old", ROUTE_RESTING);
    assert_int_equal(f->s.state, IN_ENTERING);
    assert_int_equal(f->said.len, 0);
}

static void test_store_that_is_empty_is_not_waited_for(void **state)
{
    (void)state;
    f->store_is_empty = true;
    begin();
    f->route_fn(&f->s, ROUTE_DOWN, NULL);
    is_unavailable();
}

static void test_backend_is_not_configured(void **state)
{
    (void)state;
    begin();
    route_is("third", ROUTE_RESTING);
    is_unavailable();
}

static void test_proxies_in_a_ring(void **state)
{
    (void)state;
    f->s.hops = 1;
    begin();
    is_unavailable();
    assert_int_equal(f->reads, 0);
}

static void test_no_lease(void **state)
{
    (void)state;
    f->lease = false;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    is_unavailable();
    assert_int_equal(f->entered, 0);
}

/* From `enter` on the store may have a registration: that it leaves is said, and the next login has another
 * name. */
static void test_the_lease_lapses_while_it_enters(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    f->may_pass = false;
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_RESTING, 7);
    is_unavailable();
    assert_int_equal(f->left, 1);
    assert_int_equal(f->renamed, 1);
    assert_false(f->s.reg.may_exist);
    assert_int_equal(f->relayed, 0);
}

static void test_an_old_master(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    f->generation = 4;
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_RESTING, 7);
    is_unavailable();
}

/* A new master came between: it enters once more. */
static void test_a_new_master(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    f->masters++;
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_RESTING, 7);
    assert_int_equal(f->s.state, IN_ROUTING);
    assert_int_equal(f->relayed, 0);
    route_is("old", ROUTE_RESTING);
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_RESTING, 7);
    assert_int_equal(f->relayed, 1);
    assert_int_equal(f->logins, 1);
}

/* The backend closes while the store is asked. */
static void test_backend_goes_while_it_enters(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    routing_backend_gone(&f->s);
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_RESTING, 7);
    is_unavailable();
}

/* The connection is used again where the account still lives there, and dropped where it does not. */
static void test_again(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_AGAIN, ROUTE_RESTING, 0);
    assert_int_equal(f->reads, 2);
    route_is("old", ROUTE_READY);
    assert_int_equal(f->logins, 1);
    assert_int_equal(f->entered, 2);
    f->enter_fn(&f->s, ROUTE_AGAIN, ROUTE_RESTING, 0);
    route_is("new", ROUTE_FLIPPED);
    assert_null(f->s.backend);
    assert_int_equal(f->logins, 2);
    assert_string_equal(f->at, "new");
}

static void test_not_again_for_ever(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    unsigned n = 0;
    for (; !f->failed && n < 100; n++) {
        f->enter_fn(&f->s, ROUTE_AGAIN, ROUTE_RESTING, 0);
        if (!f->failed)
            route_is("old", ROUTE_RESTING);
    }
    assert_int_equal(n, 21);
    is_unavailable();
}

/* In a freeze: the password is checked, and only then it waits. */
static void test_waits_for_a_freeze(void **state)
{
    (void)state;
    begin();
    route_is("old", ROUTE_FREEZING);
    assert_int_equal(f->thaws, 1); /* where its time is over */
    assert_int_equal(f->s.state, IN_SIGNIN);
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_WAIT, ROUTE_FREEZING, 0);
    assert_int_equal(f->s.state, IN_WAITING);
    assert_true(timer_is_set(f->s.timer));
    assert_false(f->s.reg.may_exist);
    routing_wake(&f->s);
    route_is("old", ROUTE_FLIPPING);
    assert_int_equal(f->s.state, IN_WAITING);
    assert_int_equal(f->logins, 1);
    routing_wake(&f->s);
    route_is("new", ROUTE_FLIPPED);
    assert_int_equal(f->logins, 2);
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_FLIPPED, 7);
    assert_int_equal(f->relayed, 1);
}

static void test_does_not_wait_for_ever(void **state)
{
    (void)state;
    f->conf.proxy.hold_max_ms = 0;
    begin();
    route_is("old", ROUTE_FREEZING);
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_WAIT, ROUTE_FREEZING, 0);
    is_unavailable();
}

/* The hook of the freeze may have closed the source to its users: then the target is asked. */
static void test_the_judge_in_a_closed_freeze(void **state)
{
    (void)state;
    f->conf.migration.hook_freeze.n = 1;
    begin();
    route_is("old", ROUTE_FREEZING);
    assert_string_equal(f->at, "new");
}

/* Another backend checks the password, and only then a master signs in. */
static void test_auth_backend(void **state)
{
    (void)state;
    f->backends[0].auth_backend = (char *)"judge";
    begin();
    route_is("old", ROUTE_RESTING);
    assert_string_equal(f->at, "judge");
    assert_int_equal(f->as, LOGIN_AS_USER);
    login_ends(LOGIN_OK, "");
    assert_string_equal(f->at, "old");
    assert_int_equal(f->as, LOGIN_AS_MASTER);
    login_ends(LOGIN_REFUSED, "AUTHENTICATIONFAILED"); /* of the master: the user's password is right */
    is_unavailable();
    assert_int_equal(f->right, 1);
    assert_int_equal(f->wrong, 0);
}

static void test_auth_backend_refuses(void **state)
{
    (void)state;
    f->backends[0].auth_backend = (char *)"judge";
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_REFUSED, "");
    assert_int_equal(f->s.state, IN_REFUSED);
    assert_int_equal(f->logins, 1);
}

/* What judge was asked for one backend says nothing for another. */
static void test_auth_backend_of_another(void **state)
{
    (void)state;
    f->backends[0].auth_backend = f->backends[1].auth_backend = (char *)"judge";
    begin();
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_AGAIN, ROUTE_RESTING, 0);
    route_is("new", ROUTE_FLIPPED);
    assert_string_equal(f->at, "judge");
    assert_int_equal(f->as, LOGIN_AS_USER);
}

/* It waits for a turn then, in which routing_try() begins once more. */
static void test_what_has_failed_elsewhere_is_heard_before_a_server_is_asked(void **state)
{
    (void)state;
    struct route r = {.backend = (char *)"old",
                      .source = (char *)"old",
                      .target = (char *)"new",
                      .view = (char *)"",
                      .failures = {.here = 2}};
    begin();
    f->route_fn(&f->s, ROUTE_OK, &r);
    assert_int_equal(f->heard, 2);
    assert_int_equal(f->logins, 0);
    routing_try(&f->s);
    assert_int_equal(f->reads, 1); /* it is remembered */
    assert_int_equal(f->logins, 1);
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_AGAIN, ROUTE_RESTING, 0);
    f->route_fn(&f->s, ROUTE_OK, &r); /* the password is known to be right */
    assert_int_equal(f->heard, 2);
    assert_int_equal(f->entered, 2);
}

static void test_cancelled(void **state)
{
    (void)state;
    begin();
    routing_cancel(&f->s, true);
    says("a1 NO [UNAVAILABLE] Please try again later\n");
    assert_null(f->s.login);
    assert_null(f->s.secret);
}

#define ROUTING_TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

/* What was shown is known to be right, so others who guess at the account keep nobody waiting. */
static void test_certificate_is_no_guess(void **state)
{
    (void)state;
    struct credential c = {.mechanism = sasl_find(span_str("EXTERNAL")), .authcid = span_str("ann")};
    routing_begin(&f->s, "a1", &c);
    assert_int_equal(f->throttled, 0);
    assert_int_equal(f->reads, 1);
    route_is("old", ROUTE_RESTING);
    login_ends(LOGIN_REFUSED, "AUTHENTICATIONFAILED");
    assert_int_equal(f->wrong, 0);
    assert_non_null(strstr(buf_str(&f->said), "a1 NO [UNAVAILABLE] "));
    begin();
    assert_int_equal(f->throttled, 1);
}

/* ---- routes that are remembered ---- */

/* A first login, which ends before it has entered; the next one begins. */
static void begin_remembered(enum route_state state)
{
    begin();
    route_is("old", state);
    login_ends(LOGIN_UNAVAILABLE, "");
    buf_clear(&f->said);
    f->failed = f->logins = 0;
    f->at = NULL;
    begin();
}

static void test_second_login_reads_no_route(void **state)
{
    (void)state;
    begin_remembered(ROUTE_RESTING);
    assert_int_equal(f->reads, 1);
    assert_int_equal(f->s.state, IN_SIGNIN);
    assert_string_equal(f->at, "old");
    login_ends(LOGIN_OK, "");
    assert_int_equal(f->enter.epoch, 7);
    assert_int_equal(f->enter.generation, 3);
    assert_string_equal(f->enter.view, "1:ab");
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_QUEUED, 7);
    says("a1 OK [CAPABILITY ] Logged in\n");
    assert_int_equal(f->reads, 1);
}

static void test_account_under_way_is_not_remembered(void **state)
{
    (void)state;
    begin_remembered(ROUTE_COPYING);
    assert_int_equal(f->s.state, IN_ROUTING);
    assert_int_equal(f->reads, 2);
}

static void test_account_has_moved_since(void **state)
{
    (void)state;
    begin_remembered(ROUTE_RESTING);
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_AGAIN, ROUTE_FLIPPED, 8);
    assert_int_equal(f->reads, 2);
    route_is("new", ROUTE_SETTLED);
    assert_string_equal(f->at, "new");
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_SETTLED, 7);
    says("a1 OK [CAPABILITY ] Logged in\n");
}

/* The server that was left may not know the user any more: that is no wrong password. */
static void test_server_that_was_left_refuses(void **state)
{
    (void)state;
    begin_remembered(ROUTE_RESTING);
    login_ends(LOGIN_REFUSED, "AUTHENTICATIONFAILED");
    assert_int_equal(f->said.len, 0);
    assert_int_equal(f->s.state, IN_ROUTING);
    route_is("new", ROUTE_SETTLED);
    assert_int_equal(f->s.state, IN_SIGNIN);
    assert_string_equal(f->at, "new");
    login_ends(LOGIN_OK, "");
    f->enter_fn(&f->s, ROUTE_OK, ROUTE_SETTLED, 7);
    says("a1 OK [CAPABILITY ] Logged in\n");
}

/* It is asked once: a wrong password counts once there too. */
static void test_right_server_refuses(void **state)
{
    (void)state;
    begin_remembered(ROUTE_RESTING);
    login_ends(LOGIN_REFUSED, "EXPIRED");
    route_is("old", ROUTE_RESTING);
    assert_int_equal(f->logins, 1);
    assert_int_equal(f->s.state, IN_REFUSED);
    routing_say_refused(&f->s);
    assert_non_null(strstr(buf_str(&f->said), "a1 NO [EXPIRED] "));
    assert_int_equal(f->failed, 1);
}

static void test_store_is_gone_when_it_refuses(void **state)
{
    (void)state;
    begin_remembered(ROUTE_RESTING);
    login_ends(LOGIN_REFUSED, "AUTHENTICATIONFAILED");
    f->route_fn(&f->s, ROUTE_DOWN, NULL);
    is_unavailable();
}

static void test_what_is_remembered_has_a_limit(void **state)
{
    (void)state;
    struct route r = {.backend = (char *)"old",
                      .state = ROUTE_SETTLED,
                      .epoch = 2,
                      .generation = 1,
                      .source = (char *)"a",
                      .target = (char *)"b",
                      .view = (char *)"1=:m"};
    struct lately *l = f->proxy.lately;
    char user[24];
    lately_read(l, "first", &r);
    for (int i = 0; i < LATELY_MAX; i++) {
        snprintf(user, sizeof user, "u%d", i);
        if (i == 1)
            assert_non_null(lately_find(l, "first")); /* used, and so not the oldest */
        lately_read(l, user, &r);
    }
    assert_null(lately_find(l, "u0"));
    const struct route *found = lately_find(l, "first");
    assert_non_null(found);
    assert_string_equal(found->backend, "old");
    assert_string_equal(found->source, "a");
    assert_string_equal(found->target, "b");
    assert_string_equal(found->view, "1=:m");
    assert_int_equal(found->epoch, 2);
    lately_forget(l, span_str("first"));
    lately_forget(l, span_str("nobody"));
    assert_null(lately_find(l, "first"));
    r.state = ROUTE_BLOCKED;
    lately_read(l, "u1", &r);
    assert_null(lately_find(l, "u1"));
    lately_forget_all(l);
    assert_null(lately_find(l, "u2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROUTING_TEST(test_a_login),
        ROUTING_TEST(test_certificate_is_no_guess),
        ROUTING_TEST(test_second_login_reads_no_route),
        ROUTING_TEST(test_account_under_way_is_not_remembered),
        ROUTING_TEST(test_account_has_moved_since),
        ROUTING_TEST(test_server_that_was_left_refuses),
        ROUTING_TEST(test_right_server_refuses),
        ROUTING_TEST(test_store_is_gone_when_it_refuses),
        ROUTING_TEST(test_what_is_remembered_has_a_limit),
        ROUTING_TEST(test_nothing_is_kept_where_nothing_moves),
        ROUTING_TEST(test_flipped_accounts_are_not_queued),
        ROUTING_TEST(test_the_view_is_waited_for),
        ROUTING_TEST(test_no_view_no_login),
        ROUTING_TEST(test_a_view_of_another_backend),
        ROUTING_TEST(test_a_wrong_password),
        ROUTING_TEST(test_a_name_that_is_none),
        ROUTING_TEST(test_backend_is_down),
        ROUTING_TEST(test_backend_has_a_limit),
        ROUTING_TEST(test_store_is_down),
        ROUTING_TEST(test_waits_for_a_store_that_is_being_made),
        ROUTING_TEST(test_store_that_is_empty_is_not_waited_for),
        ROUTING_TEST(test_backend_is_not_configured),
        ROUTING_TEST(test_proxies_in_a_ring),
        ROUTING_TEST(test_no_lease),
        ROUTING_TEST(test_the_lease_lapses_while_it_enters),
        ROUTING_TEST(test_an_old_master),
        ROUTING_TEST(test_a_new_master),
        ROUTING_TEST(test_backend_goes_while_it_enters),
        ROUTING_TEST(test_again),
        ROUTING_TEST(test_not_again_for_ever),
        ROUTING_TEST(test_waits_for_a_freeze),
        ROUTING_TEST(test_does_not_wait_for_ever),
        ROUTING_TEST(test_the_judge_in_a_closed_freeze),
        ROUTING_TEST(test_auth_backend),
        ROUTING_TEST(test_the_breaker),
        ROUTING_TEST(test_a_limit_of_ours),
        ROUTING_TEST(test_an_account_or_network_is_full),
        ROUTING_TEST(test_auth_backend_refuses),
        ROUTING_TEST(test_auth_backend_of_another),
        ROUTING_TEST(test_what_has_failed_elsewhere_is_heard_before_a_server_is_asked),
        ROUTING_TEST(test_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
