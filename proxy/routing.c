#include <stdlib.h>

#include "lib/account.h"
#include "lib/imap_code.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/route.h"
#include "lib/waves.h"
#include "lib/xalloc.h"

#include "protocol.h"
#include "proxy.h"
#include "relay.h"
#include "routing.h"
#include "session_login.h"
#include "share.h"
#include "silence.h"
#include "throttle.h"
#include "vault.h"
#include "views.h"

enum {
    SEALED_TTL_MS = 24 * 3600 * 1000,
    REFUSAL_STEP_MS = 1000,
    WAIT_STEP_MS = 1000,
    AGAIN_MAX = 20, /* how often a login may find its route changed */
};

struct login {
    char *tag;
    char *key; /* the account */
    uint64_t began_ms;
    uint64_t hold_until_ms; /* 0: has not waited yet */
    unsigned again;

    struct backend_login *dialog; /* SIGNIN; owned */
    struct pop3_login *pop3;      /* ... of a client that speaks POP3; owned */
    bool checked;                 /* auth_backend took the password, for at ... */
    bool shown;                   /* ... or at did: it is known to be right */
    bool certified; /* ... by a certificate, which this proxy has checked: so it is, wherever it goes */

    const struct conf_backend *at,
        *other;   /* what was read: where the account lives, and the other side of its move */
    bool leaving; /* at is what the account leaves, or will leave */
    enum route_state state;
    uint64_t epoch, generation;
    char *view;            /* the text of the account's view; owned */
    struct imap_caps caps; /* of the backend, after sign-in */

    uint64_t news;                               /* at the sending of `enter`: account->news ... */
    uint64_t lapses_short, lapses_long, masters; /* ... and the lease's */
    bool entered;                                /* `enter` has answered OK; only the view is waited for */

    bool remembered;        /* what was read comes from lately.h */
    struct failure *failed; /* ... and so the sign-in there failed; owned */

    const char *refusal, *refusal_text; /* REFUSED: what the client will be told */
    char *challenge; /* ... and before it: why the server takes no token; owned; NULL, "": nothing */
};

/* A sign-in that failed, while it is looked at whether that was the right server. */
struct failure {
    enum login_rc rc;
    char *code, *phase, *detail; /* owned */
};

/* ---- answers ---- */

/* The name of somebody who signs in as the user; a field of a log line. */
static struct log_field routing_master(const struct session *s)
{
    struct credential c = secret_credential(s->secret);
    return (struct log_field)LOG_SPAN(c.authzid.len > 0 ? "master" : NULL, c.authcid);
}

/* The backend's code where clients may see it, else the one that fits the kind of failure. What a client is
 * told is ours; the backend's text is for its own administrators. */
static const struct imap_code *routing_code_of(const char *code, const char *otherwise)
{
    const struct imap_code *found = imap_code_find(span_str(code));
    return found && found->text ? found : imap_code_find(span_str(otherwise));
}

static void routing_count(const struct session *s, const char *result)
{
    metric_add(METRIC_LOGINS, 1, result, NULL);
    metric_observe(METRIC_LOGIN_DURATION, 1000 * (clock_boot_ms() - s->login->began_ms), result, NULL);
}

static void log_failed(const struct session *s, const char *code, const char *phase, const char *detail)
{
    const struct login *l = s->login;
    if (!noise_may_log(s->proxy->noise, NOISE_LOGINS, s->peer_ip))
        return;
    LOG(INFO, "login_failed",
        LOG_SPAN("user", l->key ? span_str(l->key) : secret_credential(s->secret).authcid),
        LOG_S("code", code), LOG_S("backend", l->at ? l->at->name : NULL), LOG_S("peer", s->peer),
        LOG_S("session", s->name), LOG_S("while", phase), LOG_S("detail", detail),
        LOG_U("ms", clock_boot_ms() - l->began_ms), routing_master(s), LOG_SET("via", s->via));
}

static void say_no(struct session *s, const char *code, const char *text)
{
    s->protocol->say_no(s, s->login->tag, code, text);
}

/* ---- life ---- */

static void failure_free(struct failure **f)
{
    if (!*f)
        return;
    free((*f)->code);
    free((*f)->phase);
    free((*f)->detail);
    free(*f);
    *f = NULL;
}

/* What is under way is dropped; the session stays. */
static void routing_drop_login(struct session *s)
{
    struct login *l = s->login;
    if (!l)
        return;
    s->login = NULL;
    throttle_end(s);
    backend_login_cancel(&l->dialog);
    pop3_login_cancel(&l->pop3);
    vault_drop(s->proxy->vault, &s->secret);
    free(l->tag);
    free(l->key);
    free(l->view);
    failure_free(&l->failed);
    free(l->challenge);
    free(l);
}

static void routing_forget(struct session *s)
{
    struct branch *b = s->account->branch;
    store_forget(b->store, s);
    doubts_forget(b->doubts, s);
    if (s->reg.may_exist)
        doubts_leave(b->doubts, s->account->key, s->name);
}

/* Back to where the session was before the login. */
static void routing_undo(struct session *s)
{
    throttle_end(s);
    if (s->account) /* else the name was none */
        routing_forget(s);
    accounts_detach(s);
    share_give(s);
    stream_close(&s->backend, false);
    s->at = NULL;
    routing_drop_login(s);
    if (s->reg.may_exist)
        session_rename(s); /* that `leave` may be executed late, and must not mean the next login */
    s->reg.may_exist = false;
}

static void routing_failed(struct session *s)
{
    routing_undo(s);
    s->protocol->login_failed(s);
}

/* Whatever is not the user's fault. */
static void routing_give_up(struct session *s, const char *code, const char *phase, const char *detail)
{
    const struct imap_code *r = routing_code_of(code, "UNAVAILABLE");
    routing_count(s, "unavailable");
    log_failed(s, r->name, phase, detail);
    say_no(s, r->name, r->text);
    routing_failed(s);
}

void routing_unavailable(struct session *s, const char *phase, const char *detail)
{
    routing_give_up(s, "UNAVAILABLE", phase, detail);
}

void routing_cancel(struct session *s, bool tell)
{
    if (s->login && s->state != IN_REFUSED)
        routing_count(s, tell ? "unavailable" : "gone");
    if (tell) {
        if (s->state != IN_REFUSED) /* that was logged */
            log_failed(s, "UNAVAILABLE", "closing", NULL);
        say_no(s, "UNAVAILABLE", "Please try again later");
    }
    routing_drop_login(s); /* session_close() does the rest */
}

/* The answer comes at a full second after the command, so that it does not tell how far the name came. */
static void routing_refuse_with(struct session *s, const char *code, const char *text, const char *phase,
                                const char *detail)
{
    struct login *l = s->login;
    l->refusal = code;
    l->refusal_text = text;
    routing_count(s, strcmp(code, "LIMIT") == 0 ? "limit" : "refused");
    log_failed(s, code, phase, detail);
    session_enter(s, IN_REFUSED);
    timer_start(s->timer, REFUSAL_STEP_MS - (clock_boot_ms() - l->began_ms) % REFUSAL_STEP_MS);
}

static void routing_refuse(struct session *s, const char *code, const char *phase, const char *detail)
{
    const struct imap_code *c = routing_code_of(code, "AUTHENTICATIONFAILED");
    routing_refuse_with(s, c->name, c->text, phase, detail);
}

void routing_limit(struct session *s, const char *phase, const char *detail, const char *text)
{
    routing_refuse_with(s, "LIMIT", text, phase, detail);
}

void routing_say_refused(struct session *s)
{
    struct login *l = s->login;
    if (l->challenge && *l->challenge) {
        const char *code = l->refusal, *text = l->refusal_text;
        char *challenge = l->challenge;
        l->challenge = NULL;
        routing_undo(s);
        s->protocol->challenge(s, challenge, code, text);
        free(challenge);
        return;
    }
    say_no(s, l->refusal, l->refusal_text);
    routing_failed(s);
}

static const char *routing_text_of(enum route_rc rc)
{
    return rc == ROUTE_NO_STORE ? "the store is missing or another one"
           : rc == ROUTE_DOWN   ? "no answer of the store"
                                : "the store refused";
}

/* ---- ROUTING ---- */

static void routing_on_route(void *owner, enum route_rc rc, const struct route *r);
static void routing_on_failure(struct session *s, enum login_rc rc, const char *code, const char *phase,
                               const char *detail);

static void ask_route(struct session *s)
{
    s->login->remembered = false;
    session_enter(s, IN_ROUTING);
    throttle_where(s, routing_on_route);
}

/* Holds the login back for a while; then the route is read again. */
static void routing_hold(struct session *s, const char *why)
{
    struct login *l = s->login;
    uint64_t now = clock_boot_ms();
    if (l->hold_until_ms == 0) {
        l->hold_until_ms = now + s->proxy->conf->proxy.hold_max_ms;
        LOG(INFO, "login_waits", LOG_S("user", l->key), LOG_S("session", s->name), LOG_S("why", why));
    }
    if (now >= l->hold_until_ms) {
        routing_unavailable(s, "waiting", why);
        return;
    }
    uint64_t left = l->hold_until_ms - now;
    session_enter(s, IN_WAITING);
    events_stay_awake(s->account->branch->events); /* one that says how the account goes on may lie there */
    timer_start(s->timer, left < WAIT_STEP_MS ? left : WAIT_STEP_MS);
}

void routing_wake(struct session *s)
{
    ask_route(s);
}

/* A restore is under way, or was when the login began to wait: it may be done again. */
static bool routing_may_wait(const struct session *s)
{
    const struct store *store = s->account->branch->store;
    return store_is_coming(store) || (s->login->hold_until_ms && store_is_empty(store));
}

/* The route changed while we looked at it. */
static void routing_again(struct session *s)
{
    if (++s->login->again > AGAIN_MAX)
        routing_unavailable(s, "entering", "the route changes all the time");
    else
        ask_route(s);
}

static const struct conf_backend *other_side(const struct conf *c, const char *user, const struct route *r,
                                             const struct conf_backend *at)
{
    struct conf_pair pair = conf_pair_of(c, user);
    const char *source = *r->source ? r->source : pair.source;
    const char *target = *r->target ? r->target : pair.target;
    const char *name = strcmp(at->name, source) == 0   ? target
                       : strcmp(at->name, target) == 0 ? source
                                                       : at->name;
    const struct conf_backend *other = conf_backend(c, name);
    return other ? other : at;
}

static void routing_sign_in(struct session *s);
static void routing_enter(struct session *s);

static bool is_frozen(enum route_state state)
{
    return state == ROUTE_FREEZING || state == ROUTE_FLIPPING;
}

/* Where the password is checked: where the account lives. In a freeze the site may have closed that server to
 * its users (hook_freeze), who would be told that their password is wrong: there the other one is asked,
 * which the account goes to and whose sign-in is of use after the flip. */
static const struct conf_backend *judge_of(const struct session *s, const struct route *r,
                                           const struct conf_backend *lives_at)
{
    const struct conf *c = s->proxy->conf;
    bool closed = is_frozen(r->state) && c->migration.hook_freeze.n > 0;
    return closed ? other_side(c, s->login->key, r, lives_at) : lives_at;
}

/* A freeze that is past its deadline is ended by whoever comes along. */
static void routing_on_thaw(void *owner, enum route_rc rc, const char *detail)
{
    (void)owner, (void)rc, (void)detail;
}

/* What was read, or is remembered: false where the login can't go on by it, and was told so. */
static bool routing_take_route(struct session *s, const struct route *r)
{
    struct login *l = s->login;
    const struct conf *c = s->proxy->conf;
    const struct conf_backend *was = l->at, *lives_at = conf_backend(c, r->backend);
    if (!lives_at) {
        routing_unavailable(s, "routing", "the route names a backend that is not configured");
        return false;
    }
    if (is_frozen(r->state))
        route_thaw(s->account->branch->store, l->key, routing_on_thaw, s);
    if (is_frozen(r->state) && l->shown) {
        routing_hold(s, "the account is being switched over");
        return false;
    }
    l->at = judge_of(s, r, lives_at);
    /* a master sign-in stands in for no password that another backend has to see */
    l->checked = l->certified || (l->checked && l->at == was);
    l->other = other_side(c, l->key, r, l->at);
    l->leaving =
        strcmp(l->at->name, r->source) == 0 || strcmp(l->at->name, conf_pair_of(c, l->key).source) == 0;
    l->state = r->state;
    l->epoch = r->epoch;
    l->generation = r->generation;
    free(l->view);
    l->view = xstrdup(r->view);
    return true;
}

/* The route is read because a sign-in by a remembered one failed: that stands where it was the right server. */
static bool routing_failure_stands(struct session *s, const struct conf_backend *tried)
{
    struct login *l = s->login;
    struct failure *f = l->failed;
    l->failed = NULL;
    if (!f)
        return false;
    bool stands = l->at == tried;
    if (stands)
        routing_on_failure(s, f->rc, f->code, f->phase, f->detail);
    failure_free(&f);
    return stands;
}

static void routing_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct session *s = owner;
    struct login *l = s->login;
    const struct conf_backend *tried = l->at;
    if (rc != ROUTE_OK && routing_may_wait(s)) {
        routing_hold(s, "the store is being made");
        return;
    }
    if (rc != ROUTE_OK) {
        routing_unavailable(s, "routing", routing_text_of(rc));
        return;
    }
    lately_read(s->proxy->lately, l->key, r);
    if (!l->shown && !l->failed && throttle_heard(s, &r->failures))
        return;
    if (!routing_take_route(s, r) || routing_failure_stands(s, tried))
        return;
    if (s->backend && s->at == l->at) {
        routing_enter(s);
        return;
    }
    routing_backend_gone(s);
    routing_sign_in(s);
}

/* The first try goes by what is remembered. */
void routing_try(struct session *s)
{
    const struct route *r = lately_find(s->proxy->lately, s->login->key);
    if (!r) {
        ask_route(s);
        return;
    }
    s->login->remembered = true;
    if (routing_take_route(s, r))
        routing_sign_in(s);
}

/* ---- SIGNIN ---- */

static const char *const login_words[] = {[LOGIN_OK] = "ok",
                                          [LOGIN_REFUSED] = "refused",
                                          [LOGIN_UNAVAILABLE] = "unavailable",
                                          [LOGIN_INSECURE] = "insecure",
                                          [LOGIN_NO_MECHANISM] = "no_mechanism"};

static void routing_on_failure(struct session *s, enum login_rc rc, const char *code, const char *phase,
                               const char *detail)
{
    struct login *l = s->login;
    bool by_master = l->certified || (l->checked && l->at->auth_backend[0]);
    if (rc == LOGIN_REFUSED && !by_master) {
        const struct imap_code *said = imap_code_find(span_str(code));
        if (!said || !said->temporary)
            throttle_failed(s);
        routing_refuse(s, code, phase, detail);
        return;
    }
    if (noise_may_log(s->proxy->noise, NOISE_LOGINS, s->peer_ip))
        LOG(WARN, "backend_failed", LOG_S("backend", l->at->name), LOG_S("how", login_words[rc]),
            LOG_S("while", phase), LOG_S("detail", detail));
    routing_give_up(s, l->checked ? "" : code, phase, detail);
}

/* The server may have been left since. */
static void routing_keep_failure(struct session *s, const struct login_result *r)
{
    struct failure *f = s->login->failed = xcalloc(1, sizeof *f);
    f->rc = r->rc;
    f->code = xstrdup(r->code);
    f->phase = xstrdup(r->phase);
    f->detail = r->detail ? xstrdup(r->detail) : NULL;
    ask_route(s);
}

static void routing_on_signed_in(void *owner, const struct login_result *r)
{
    struct session *s = owner;
    struct login *l = s->login;
    l->dialog = NULL;
    l->pop3 = NULL;
    free(l->challenge);
    l->challenge = xstrdup(r->challenge);
    if (r->rc != LOGIN_OK && l->remembered) {
        routing_keep_failure(s, r);
        return;
    }
    if (r->rc != LOGIN_OK) {
        routing_on_failure(s, r->rc, r->code, r->phase, r->detail);
        return;
    }
    if (*l->at->auth_backend && !l->checked) {
        struct stream *stream =
            r->stream; /* it has shown that the password is right, and was only for that */
        stream_close(&stream, false);
        l->checked = l->shown = true;
        throttle_passed(s);
        if (is_frozen(l->state))
            routing_enter(s); /* will have to wait */
        else
            routing_sign_in(s);
        return;
    }
    if (!l->shown)
        throttle_passed(s);
    l->shown = true;
    l->caps = r->caps;
    session_take_backend(s, r->stream, l->at);
    if (!s->protocol->is_pop3)
        backends_learned(s->proxy->backends, l->at, &l->caps);
    routing_enter(s);
}

/* Where the backend can't check the user's password (auth_backend), another does, and only then a master
 * sign-in follows: it never stands in for the password. */
static void routing_sign_in(struct session *s)
{
    struct login *l = s->login;
    const struct conf *c = s->proxy->conf;
    bool elsewhere = *l->at->auth_backend && !l->checked;
    const struct conf_backend *b = elsewhere ? conf_backend(c, l->at->auth_backend) : l->at;
    enum login_as as = l->checked ? LOGIN_AS_MASTER : LOGIN_AS_USER;
    session_enter(s, IN_SIGNIN);
    if (backends_refuses(s->proxy->backends, b, s->protocol->is_pop3)) {
        routing_on_signed_in(s,
                             &(struct login_result){.rc = LOGIN_UNAVAILABLE,
                                                    .code = "",
                                                    .challenge = "",
                                                    .detail = "none of its addresses answers (breaker_open)",
                                                    .phase = "dialing"});
        return;
    }
    if (s->protocol->is_pop3)
        l->pop3 = session_login_pop3(s, b, as, routing_on_signed_in, s);
    else
        l->dialog = session_login_start(s, b, as, routing_on_signed_in, s);
}

void routing_backend_gone(struct session *s)
{
    stream_close(&s->backend, false); /* the next ROUTING dials anew; ENTERING looks whether it is there */
    s->at = NULL;
}

/* ---- ENTERING ---- */

static void routing_on_entered(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch);

/* What somebody else has shown is not the user's. */
static void routing_seal(const struct session *s, struct buf *out)
{
    const struct login *l = s->login;
    struct credential c = secret_credential(s->secret);
    struct seal_context context = {.user = l->key,
                                   .backend = l->at->name,
                                   .purpose = c.mechanism->purpose,
                                   .expires_ms = clock_wall_ms() + SEALED_TTL_MS};
    if (s->proxy->seal && l->leaving && c.authzid.len == 0 && c.mechanism->purpose)
        seal_close(out, s->proxy->seal, &context, c.secret);
}

static void routing_enter(struct session *s)
{
    struct login *l = s->login;
    struct proxy *p = s->proxy;
    struct branch *b = s->account->branch;
    struct conf_pair pair = conf_pair_of(p->conf, l->key);
    if (!lease_is_valid(b->lease, true) && l->hold_until_ms && !b->has_lease) {
        routing_hold(s, "the store was made a moment ago");
        return;
    }
    if (!lease_is_valid(b->lease, true)) {
        routing_unavailable(s, "entering", "no valid lease");
        return;
    }
    if (!share_take(s)) {
        routing_limit(s, "entering", "the network has as many connections as it may",
                      "Too many connections from your network, please close some");
        return;
    }
    struct buf sealed = {0}, wave = {0};
    routing_seal(s, &sealed);
    bool begins = l->state == ROUTE_RESTING && strcmp(l->at->name, pair.source) == 0 &&
                  wave_at_login(p->conf, l->key, (time_t)(clock_wall_ms() / 1000), &wave);
    struct route_enter e = {
        .user = l->key,
        .session = s->name,
        .backend = l->at->name,
        .state = l->state,
        .epoch = l->epoch,
        .generation = l->generation,
        .view = l->view,
        .address = s->peer,
        .enqueue = begins,
        .wave = buf_str(&wave),
        .source = pair.source,
        .target = pair.target,
        .sealed = buf_span(&sealed),
        .sealed_ttl_ms = SEALED_TTL_MS,
        .most = p->conf->proxy.max_connections_per_account,
    };
    l->news = s->account->news;
    l->lapses_short = lease_lapses(b->lease, true);
    l->lapses_long = lease_lapses(b->lease, false);
    l->masters = lease_masters(b->lease);
    l->entered = false;
    session_enter(s, IN_ENTERING);
    s->reg.may_exist = true; /* from here on it may be, whatever the answer */
    doubts_enter(b->doubts, &e, routing_on_entered, s);
    if (!s->protocol->is_pop3)
        views_want(s->account, l->at->name, l->view,
                   false); /* on the same connection, so it is answered next */
    buf_free(&sealed);
    buf_free(&wave);
}

static void log_login(const struct session *s)
{
    const struct login *l = s->login;
    LOG(INFO, "login", LOG_S("user", l->key), LOG_S("backend", s->at->name), LOG_S("peer", s->peer),
        LOG_S("session", s->name), LOG_S("tls", stream_is_secure(s->client) ? "yes" : "no"),
        LOG_SET("protocol", s->protocol->is_pop3 ? "pop3" : ""), LOG_S("state", route_state_name(l->state)),
        LOG_U("ms", clock_boot_ms() - l->began_ms), routing_master(s), LOG_SET("via", s->via));
}

static void routing_begin_pop3(struct session *s)
{
    log_login(s);
    routing_count(s, "ok");
    routing_drop_login(s);
    crowd_leave(&s->proxy->crowd, s);
    s->protocol->begin(s);
}

/* The client is told OK, with the list of capabilities that holds before and after the flip. */
static void let_in(struct session *s)
{
    struct login *l = s->login;
    struct proxy *p = s->proxy;
    if (s->protocol->is_pop3) {
        routing_begin_pop3(s);
        return;
    }
    struct imap_caps shown = backends_shown(p->backends, l->at, &l->caps, l->other);
    if (!views_has_modseqs(s->account))
        imap_caps_hide_modseqs(&shown);
    struct buf words = {0};
    relay_write_capabilities(&words, &shown, p->conf->proxy.compress);
    session_say(s, "%s OK [CAPABILITY %s] Logged in", l->tag, buf_str(&words));
    buf_free(&words);
    log_login(s);
    routing_count(s, "ok");
    struct secret *kept = l->other != l->at ? s->secret : NULL; /* it may be flipped there */
    if (kept)
        s->secret = NULL;
    routing_drop_login(s);
    s->secret = kept;
    s->protocol->forget(s);
    crowd_leave(&p->crowd, s);
    relay_begin(s, &shown, views_rewrites(s->account) ? views_view(s->account) : NULL);
}

static void routing_go_in(struct session *s)
{
    struct login *l = s->login;
    struct account *a = s->account;
    enum route_state state = l->state;
    uint64_t epoch = l->epoch;
    bool overtaken = a->news != l->news;
    /* What was heard meanwhile may be later than the answer, and `seen` may have told it for this
     * registration too: then the store counts by the short term. */
    s->reg.engaged = overtaken || route_is_engaged(state);
    s->reg.lapses = s->reg.engaged ? l->lapses_short : l->lapses_long;
    s->reg.unconfirmed = l->masters != lease_masters(s->account->branch->lease);
    if (s->reg.unconfirmed) { /* it was registered at a master that is none any more, for all we know */
        routing_again(s);
        return;
    }
    if (!s->backend) {
        routing_unavailable(s, "entering", "the backend closed the connection");
        return;
    }
    if (l->generation < lease_generation(s->account->branch->lease)) {
        routing_unavailable(s, "entering", "that Redis is no longer the master");
        return;
    }
    if (!registration_may_pass(s)) {
        routing_unavailable(s, "entering", "the lease lapsed");
        return;
    }
    char *view = xstrdup(l->view);
    struct account_news news = {
        state, epoch, l->generation, s->at->name, l->other == l->at ? "" : l->other->name, view, 0};
    if (overtaken && !a->known)
        a->epoch = epoch; /* what the registration has seen */
    let_in(s);
    silence_update(s);
    if (overtaken)
        accounts_read(a);
    else
        accounts_heard(a, &news);
    free(view);
}

void routing_view_there(struct session *s)
{
    if (!s->login->entered || views_state(s->account) == VIEWS_READING)
        return;
    if (views_state(s->account) == VIEWS_FAILED)
        routing_unavailable(s, "entering", "the records of the account can't be read");
    else if (!views_is_current(s->account, s->login->at->name))
        routing_again(s);
    else
        routing_go_in(s);
}

static void routing_entered(struct session *s, enum route_state state, uint64_t epoch)
{
    s->login->entered = true;
    s->login->state = state;
    s->login->epoch = epoch;
    if (s->protocol->is_pop3) { /* names and numbers of IMAP are nothing to it */
        routing_go_in(s);
        return;
    }
    views_want(s->account, s->login->at->name, s->login->view,
               false); /* it may have failed for another login */
    routing_view_there(s);
}

static void routing_on_entered(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch)
{
    struct session *s = owner;
    switch (rc) {
    case ROUTE_OK:
        routing_entered(s, state, epoch);
        break;
    case ROUTE_AGAIN:
        s->reg.may_exist = false;
        routing_again(s);
        break;
    case ROUTE_WAIT:
        s->reg.may_exist = false;
        routing_hold(s, "the account is being switched over");
        break;
    case ROUTE_FULL:
        s->reg.may_exist = false;
        routing_limit(s, "entering", "the account has as many connections as it may",
                      "Too many connections of this account, please close some");
        break;
    default:
        routing_unavailable(s, "entering", routing_text_of(rc));
    }
}

/* ---- the outside ---- */

/* Whose account it is: l->key. c->authzid is left where somebody else signs in there. NULL, or why nobody does, with
 * *code. */
static const char *routing_take_name(struct login *l, const struct conf *conf, struct credential *c,
                                     const char **code)
{
    const char *why = NULL;
    *code = "AUTHORIZATIONFAILED";
    l->key = account_key(conf, c->authcid, &why);
    if (!l->key || c->authzid.len == 0)
        return why;
    char *other = account_key(conf, c->authzid, &why);
    if (other && strcmp(other, l->key) == 0) {
        c->authzid = span_of(NULL, 0); /* it said the same once more */
    } else if (!conf_is_master(conf, l->key)) {
        *code = "AUTHENTICATIONFAILED"; /* whether the password was right is not told */
        why = "an authorization identity of somebody else, by one who is not in masters";
    } else {
        free(l->key);
        l->key = other;
        return why;
    }
    free(other);
    return why;
}

void routing_begin(struct session *s, const char *tag, const struct credential *c)
{
    struct credential taken = *c;
    const char *code;
    struct login *l = s->login = xcalloc(1, sizeof *l);
    l->tag = xstrdup(tag);
    l->began_ms = clock_boot_ms();
    const char *why = routing_take_name(l, s->proxy->conf, &taken, &code);
    s->secret = vault_keep(s->proxy->vault, &taken);
    l->certified = l->shown = taken.mechanism->kind == SASL_CERTIFICATE;
    if (why) {
        routing_refuse(s, code, "reading the name", why);
        return;
    }
    if (s->hops <= 1) {
        if (noise_may_log(s->proxy->noise, NOISE_LOGINS, s->peer_ip))
            LOG(ERROR, "proxy_loop", LOG_S("peer", s->peer), LOG_S("session", s->name),
                LOG_SET("via", s->via),
                LOG_S("why",
                      s->hops == 0
                          ? "a proxy of this site signs in here: is a backend's address one of its own?"
                          : "too many proxies in a row"));
        routing_unavailable(s, "counting proxies", "proxies in a ring");
        return;
    }
    accounts_attach(s->proxy, l->key, s);
    if (l->certified)
        routing_try(s); /* it is no guess, and stands in no line with those who guess */
    else
        throttle_begin(s);
}
