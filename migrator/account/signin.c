#include <stdlib.h>

#include "lib/xalloc.h"

#include "signin.h"

struct signin {
    struct move *move;
    signin_fn fn;
    void *owner;
    struct loop_task task; /* tells that no password is needed */
};

static void signin_finish(struct signin *s, enum signin_rc rc, const struct credential *credential,
                          const char *why)
{
    signin_fn fn = s->fn;
    void *owner = s->owner;

    signin_cancel(&s);
    fn(owner, rc, credential, why);
}

static void open_sealed(struct signin *s, struct span sealed)
{
    struct buf secret = {0};
    const char *why = NULL;

    if (seal_open(&secret, s->move->m->seal, s->move->user, s->move->source->name, "login", clock_wall_ms(),
                  sealed, &why)) {
        struct credential credential = {
            .mechanism = SASL_PLAIN, .authcid = span_str(s->move->login), .secret = buf_span(&secret)};
        signin_finish(s, SIGNIN_OK, &credential, "");
    } else {
        struct buf text = {0};
        buf_printf(&text, "the password that the proxy sealed can't be opened: %s", why);
        signin_finish(s, SIGNIN_NONE, NULL, buf_str(&text));
        buf_free(&text);
    }
    buf_wipe(&secret);
}

static void on_sealed(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct signin *s = owner;

    if (rc != ROUTE_OK)
        signin_finish(s, SIGNIN_DOWN, NULL, "Redis does not answer");
    else if (n == 0)
        signin_finish(s, SIGNIN_NONE, NULL, "no password of the user is at hand; the next login brings one");
    else if (!s->move->m->seal)
        signin_finish(s, SIGNIN_NONE, NULL,
                      "no key to open the user's password with (seal: private_key_files)");
    else
        open_sealed(s, rows[0]);
}

static bool signin_has_master(const struct conf_backend *b)
{
    return b->master_user && *b->master_user;
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
    if (signin_has_master(move->source) && signin_has_master(move->target))
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
