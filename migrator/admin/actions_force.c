/* `flip --force`: nothing is looked at before, so a user who is not there on the other server would be locked
 * out of both. A sign-in as master for them tells, before anything is changed. */
#include <stdlib.h>

#include "lib/account.h"
#include "lib/backend_login.h"
#include "lib/store.h"

#include "actions_priv.h"
#include "check.h"

struct force_look {
    struct run *run;
    force_fn go_on;
    const struct conf_backend *backend; /* borrowed */
    struct tls_policy *tls;             /* owned */
    struct backend_login *login;
    char *name; /* owned; the login name */
};

static void force_free(struct force_look *f)
{
    backend_login_cancel(&f->login);
    tls_policy_free(&f->tls);
    free(f->name);
    free(f);
}

static void force_refuse(struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void force_refuse(struct run *r, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    run_end(r, ACTION_REFUSED, "%s. To do it all the same: --yes", buf_str(&text));
    buf_free(&text);
}

static void force_on_login(void *owner, const struct login_result *result)
{
    struct force_look *f = owner;
    struct stream *stream = result->stream;
    struct run *r = f->run;
    force_fn go_on = f->go_on;
    bool says_no = result->rc == LOGIN_REFUSED || !strcmp(result->phase, "sign_in") ||
                   !strcmp(result->phase, "proxyauth");

    f->login = NULL;
    if (stream) {
        stream_send(stream, "z LOGOUT\r\n", 10);
        stream_close(&stream, true);
    }
    if (result->rc == LOGIN_OK)
        go_on(r);
    else if (says_no)
        force_refuse(
            r,
            "%s does not let master_user %s in for %s: %s. If they are not there, they could not log in any more: create "
            "the account there first",
            f->backend->name, f->backend->master_user, f->name, result->detail);
    else
        force_refuse(r, "whether %s is on %s can't be seen: %s (%s)", f->name, f->backend->name,
                     result->detail, result->phase);
    force_free(f);
}

static void force_ask(struct force_look *f)
{
    f->login =
        backend_login_start(store_loop(f->run->store),
                            &(struct login_request){.backend = f->backend,
                                                    .policy = f->tls,
                                                    .as = LOGIN_AS_MASTER,
                                                    .user = f->name,
                                                    .site = store_id(f->run->store),
                                                    .ttl = CHECK_HOPS,
                                                    .limits = {.high_water = 64 << 10, .queue_max = 1 << 20},
                                                    .connect_timeout_ms = CHECK_CONNECT_MS,
                                                    .step_timeout_ms = CHECK_ANSWER_MS},
                            force_on_login, f);
}

void force_look(struct run *r, const char *to, force_fn go_on)
{
    const struct conf_backend *b = conf_backend(store_conf(r->store), to);
    struct force_look *f;
    char *error = NULL;

    if (!*b->master_user) {
        r->note = xasprintf(
            "whether they are on %s at all is not known, since it has no master_user to ask with", to);
        go_on(r);
        return;
    }
    if (!b->master_password) {
        force_refuse(
            r,
            "whether %s is on %s can't be seen from here, where the password of its master_user can't be read: run it where "
            "a migrator runs",
            r->user, to);
        return;
    }
    f = xcalloc(1, sizeof(*f));
    *f = (struct force_look){.run = r, .go_on = go_on, .backend = b, .name = account_login(r->user)};
    if (address_has_tls(&b->address) && !(f->tls = tls_policy_backend(b, &error))) {
        force_refuse(r, "%s", error);
        force_free(f);
    } else if (!f->name) {
        force_refuse(r, "no login name leads to %s", r->user);
        force_free(f);
    } else {
        force_ask(f);
    }
    free(error);
}
