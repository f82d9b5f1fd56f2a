#include <stdlib.h>

#include "lib/xalloc.h"

#include "provision.h"
#include "signin.h"

struct signin {
    struct move *move;
    signin_fn fn;
    void *owner;
    struct loop_task task; /* tells that no password is needed */
};

static bool signin_has_master(const struct conf_backend *b)
{
    return b->master_user && *b->master_user;
}

bool signin_is_by_masters(const struct move *move)
{
    return signin_has_master(move->source) && signin_has_master(move->target);
}

static void signin_finish(struct signin *s, enum signin_rc rc, const struct credential *credential,
                          const char *why)
{
    signin_fn fn = s->fn;
    void *owner = s->owner;

    signin_cancel(&s);
    fn(owner, rc, credential, why);
}

/* There is none that can be used: who signs in as master goes on without. */
static void signin_without(struct signin *s, const char *why)
{
    signin_finish(s, signin_is_by_masters(s->move) ? SIGNIN_OK : SIGNIN_NONE, NULL, why);
}

/* By what it was sealed for it is known what it is. False: *why, where one trial tells more than the others (it has
 * expired) that. */
static bool open_as_any(struct signin *s, struct span sealed, struct buf *secret,
                        const struct sasl_mechanism **by, const char **why)
{
    *why = NULL;
    for (const struct sasl_mechanism *m = sasl_mechanisms; m->name; m++) {
        const char *one;
        if (!m->purpose)
            continue;
        *by = m;
        if (seal_open(secret, s->move->m->seal, s->move->user, s->move->source->name, m->purpose,
                      clock_wall_ms(), sealed, &one))
            return true;
        if (!*why || one != seal_not_this)
            *why = one;
    }
    return false;
}

static void open_sealed(struct signin *s, struct span sealed)
{
    struct buf secret = {0};
    const struct sasl_mechanism *by;
    const char *why;

    if (open_as_any(s, sealed, &secret, &by, &why)) {
        struct credential credential = {
            .mechanism = by, .authcid = span_str(s->move->login), .secret = buf_span(&secret)};
        signin_finish(s, SIGNIN_OK, &credential, "");
    } else {
        struct buf text = {0};
        buf_printf(&text, "the password or token that the proxy sealed can't be opened: %s", why);
        signin_without(s, buf_str(&text));
        buf_free(&text);
    }
    buf_wipe(&secret);
}

/* By which credential the move is tried. */
static void signin_note(struct move *m, const struct span *rows, size_t n)
{
    struct span head = n == 0 ? span_str("-") : rows[0];
    size_t len = head.len < sizeof(m->sealed) ? head.len : sizeof(m->sealed) - 1;

    memcpy(m->sealed, head.p, len);
    m->sealed[len] = '\0';
}

static void on_sealed(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct signin *s = owner;

    if (rc == ROUTE_OK)
        signin_note(s->move, rows, n);

    if (rc != ROUTE_OK)
        signin_finish(s, SIGNIN_DOWN, NULL, "Redis does not answer");
    else if (n == 0)
        signin_without(s, "no password or token of the user is at hand; the next login brings one");
    else if (!s->move->m->seal)
        signin_without(s, "no key to open the user's password or token with (seal: private_key_files)");
    else
        open_sealed(s, rows[0]);
}

static void none_needed(struct loop_task *task)
{
    signin_finish(CONTAINER_OF(task, struct signin, task), SIGNIN_OK, NULL, "");
}

struct signin *signin_start(struct move *move, signin_fn fn, void *owner)
{
    struct signin *s = xcalloc(1, sizeof(*s));

    s->move = move;
    s->fn = fn;
    s->owner = owner;
    s->task.fn = none_needed;
    if (signin_is_by_masters(move) && !provision_wants_password(move))
        loop_defer(move->m->loop, &s->task);
    else
        route_secret_read(move->m->store, move->user, on_sealed, s);
    return s;
}

void signin_cancel(struct signin **sp)
{
    struct signin *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    loop_undefer(s->move->m->loop, &s->task);
    store_forget(s->move->m->store, s);
    free(s);
}
