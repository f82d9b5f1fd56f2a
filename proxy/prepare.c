#include <stdlib.h>

#include "lib/log.h"
#include "lib/reasons.h"
#include "lib/route.h"
#include "lib/xalloc.h"

#include "prepare.h"
#include "protocol.h"
#include "proxy.h"
#include "session_login.h"
#include "vault.h"
#include "warm.h"

enum {
    AGAIN_MS = 500,
    ANSWERS_MAX = 3, /* a target that answers, but with a limit or a fault of its own, is asked so often */
};

enum step { SIGN_IN, CHECK, WARM, READY, UNFIT, REFUSED };

static const char *const step_names[] = {"sign_in", "check", "warm", "ready", "unfit", "refused"};

struct prepare {
    struct session *s; /* borrowed */
    const struct conf_backend *target;
    uint64_t epoch, generation;
    enum step step;
    unsigned ids;                 /* of the session (client_id.h), when it was signed in there */
    struct backend_login *dialog; /* owned */
    struct warm *warm;            /* WARM; owned */
    struct stream *stream;        /* READY; NULL once it is gone; owned */
    struct timer *again;          /* does the step once more; owned */
    unsigned answers;
    const char *unfit; /* a word */
    char *reason;      /* CHECK, REFUSED; owned */
};

static void prepare_enter(struct prepare *pr, enum step step);

/* ---- what the store is told ---- */

static void prepare_on_told(void *owner, enum route_rc rc, const char *detail)
{
    struct prepare *pr = owner;
    (void)detail;
    if (rc == ROUTE_DOWN || rc == ROUTE_NO_STORE)
        timer_start(pr->again, AGAIN_MS);
    /* else done, or the attempt is over, which the account hears of */
}

static void prepare_tell(struct prepare *pr)
{
    struct session *s = pr->s;
    if (pr->step == REFUSED)
        route_refuse(s->account->branch->store, s->account->key, s->name, pr->epoch, pr->reason,
                     prepare_on_told, pr);
    else
        route_prepared(s->account->branch->store, s->account->key, s->name, pr->epoch, prepare_on_told, pr);
}

/* ---- the end of a sign-in ---- */

static void prepare_unfit(struct prepare *pr, const char *why)
{
    pr->unfit = why;
    prepare_enter(pr, UNFIT);
}

static void prepare_again(struct prepare *pr, const struct login_result *r)
{
    LOG(INFO, "prepare_waits", LOG_S("session", pr->s->name), LOG_S("backend", pr->target->name),
        LOG_S("while", r->phase), LOG_S("detail", r->detail));
    pr->step = SIGN_IN;
    timer_start(pr->again, AGAIN_MS);
}

static void prepare_stream_event(struct stream *stream, enum stream_event ev, void *owner)
{
    struct prepare *pr = owner;
    (void)stream;
    if (ev == STREAM_EOF || ev == STREAM_ERROR)
        stream_close(&pr->stream, false); /* the hand-over dials anew */
    /* what it says is read by the hand-over */
}

static void take_stream(struct prepare *pr, const struct login_result *r)
{
    backends_learned(pr->s->proxy->backends, pr->target, &r->caps);
    if (!session_login_has_what_is_shown(pr->s, &r->caps)) {
        struct stream *useless = r->stream;
        stream_close(&useless, false);
        prepare_unfit(pr, "capabilities");
        return;
    }
    pr->stream = r->stream;
    prepare_enter(pr, WARM);
}

static void prepare_refused(struct prepare *pr, const struct login_result *r)
{
    struct credential c = secret_credential(pr->s->secret);
    char *who = c.authzid.len > 0
                    ? xasprintf("%.*s in as the user", (int)c.authcid.len, (const char *)c.authcid.p)
                    : xstrdup("the user in");
    free(pr->reason);
    pr->reason =
        xasprintf("%s: %s does not let %s: %s", why_word(WHY_REFUSED), pr->target->name, who, r->detail);
    free(who);
    prepare_enter(pr, session_login_is_by_master(pr->target) ? REFUSED : CHECK);
}

static void prepare_on_signed_in(void *owner, const struct login_result *r)
{
    struct prepare *pr = owner;
    pr->dialog = NULL;
    if (r->rc == LOGIN_OK)
        take_stream(pr, r);
    else if (r->rc == LOGIN_REFUSED || r->rc == LOGIN_NO_MECHANISM)
        prepare_refused(pr, r);
    else if (*r->code && ++pr->answers >= ANSWERS_MAX)
        prepare_unfit(pr, "limit");
    else
        prepare_again(pr, r);
}

static bool prepare_shows_token(const struct prepare *pr)
{
    return secret_credential(pr->s->secret).mechanism->kind == SASL_TOKEN;
}

static void prepare_on_checked(void *owner, const struct login_result *r)
{
    struct prepare *pr = owner;
    struct stream *shown = r->stream;
    pr->dialog = NULL;
    if (r->rc == LOGIN_OK)
        stream_close(&shown, false);
    if (r->rc == LOGIN_OK)
        prepare_enter(pr, REFUSED);
    else if (r->rc == LOGIN_REFUSED || r->rc == LOGIN_NO_MECHANISM)
        prepare_unfit(pr, prepare_shows_token(pr) ? "old_token" : "old_password");
    else
        prepare_again(pr, r);
}

/* ---- steps ---- */

static void prepare_ready(struct prepare *pr)
{
    if (pr->stream)
        stream_set_owner(pr->stream, prepare_stream_event, pr);
    prepare_enter(pr, READY);
}

static void on_warm(void *owner, struct stream *stream, const char *lost)
{
    struct prepare *pr = owner;
    pr->warm = NULL;
    pr->stream = stream;
    if (lost)
        LOG(INFO, "prepare_lost", LOG_S("session", pr->s->name), LOG_S("backend", pr->target->name),
            LOG_S("detail", lost));
    prepare_ready(pr);
}

static void prepare_warm(struct prepare *pr)
{
    pr->warm = warm_start(pr->s, pr->target, &pr->stream, on_warm, pr);
    if (!pr->warm)
        prepare_ready(pr);
}

static void prepare_check(struct prepare *pr)
{
    struct session *s = pr->s;
    const char *elsewhere = s->at->auth_backend;
    const struct conf_backend *at = *elsewhere ? conf_backend(s->proxy->conf, elsewhere) : s->at;
    pr->dialog = session_login_start(s, at, LOGIN_AS_USER, prepare_on_checked, pr);
}

static void prepare_enter(struct prepare *pr, enum step step)
{
    pr->step = step;
    LOG(INFO, "prepare", LOG_S("session", pr->s->name), LOG_S("user", pr->s->account->key),
        LOG_S("backend", pr->target->name), LOG_S("step", step_names[step]),
        LOG_S("why", step == UNFIT ? pr->unfit : NULL), LOG_S("reason", step == REFUSED ? pr->reason : NULL));
    if (step == SIGN_IN)
        pr->ids = pr->s->ids;
    if (step == SIGN_IN)
        pr->dialog = session_login_again(pr->s, pr->target, prepare_on_signed_in, pr);
    else if (step == CHECK)
        prepare_check(pr);
    else if (step == WARM)
        prepare_warm(pr);
    else
        prepare_tell(pr);
}

static void prepare_on_again(void *owner)
{
    struct prepare *pr = owner;
    if (pr->step <= CHECK)
        prepare_enter(pr, pr->step);
    else
        prepare_tell(pr);
}

/* ---- life ---- */

void prepare_begin(struct session *s)
{
    const struct account *a = s->account;
    const struct conf_backend *target = a->target ? conf_backend(s->proxy->conf, a->target) : NULL;
    if (s->prepared && s->prepared->epoch == a->epoch && s->prepared->generation == a->generation)
        return;
    prepare_drop(s);
    struct prepare *pr = s->prepared = xcalloc(1, sizeof *pr);
    *pr = (struct prepare){
        .s = s, .target = target ? target : s->at, .epoch = a->epoch, .generation = a->generation};
    pr->again = timer_new(s->proxy->loop, prepare_on_again, pr);
    if (s->protocol->is_pop3)
        prepare_unfit(pr, "pop3");
    else if (!target)
        prepare_unfit(pr, "no_such_backend");
    else if (!s->secret)
        prepare_unfit(pr, "no_credentials");
    else
        prepare_enter(pr, SIGN_IN);
}

void prepare_drop(struct session *s)
{
    struct prepare *pr = s->prepared;
    if (!pr)
        return;
    s->prepared = NULL;
    store_forget(s->account->branch->store, pr);
    backend_login_cancel(&pr->dialog);
    warm_cancel(&pr->warm);
    stream_close(&pr->stream, false);
    timer_free(&pr->again);
    free(pr->reason);
    free(pr);
}

bool prepare_knows_id(const struct session *s)
{
    return s->prepared && s->prepared->ids == s->ids;
}

struct stream *prepare_take(struct session *s, const struct conf_backend *at, const char **unfit_r)
{
    struct prepare *pr = s->prepared;
    *unfit_r = NULL;
    if (!pr || pr->target != at)
        return NULL;
    struct stream *stream = pr->stream;
    pr->stream = NULL;
    *unfit_r = pr->unfit;
    return stream;
}
