#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/site/hook.h"
#include "provision.h"

struct provision {
    const struct move *move;
    provision_fn fn;
    void *owner;
    struct hook *hook;
    uint64_t began_ms;
};

bool provision_is_due(const struct conf_backend *target, const struct route *route)
{
    return target->provision.n > 0 && !route->force && route->waits_ms == 0;
}

bool provision_wants_password(const struct move *move)
{
    return move->provisions && move->target->provision_password;
}

static void provision_log_done(const struct provision *p)
{
    LOG(INFO, "provisioned", LOG_S("user", p->move->user), LOG_S("backend", p->move->target->name),
        LOG_U("took_ms", clock_boot_ms() - p->began_ms));
}

static void provision_on_hook(void *owner, enum hook_rc rc, const char *error)
{
    static const enum provision_rc means[] = {[HOOK_DONE] = PROVISION_DONE,
                                              [HOOK_FAILED] = PROVISION_FAILED,
                                              [HOOK_WANTS_LOGIN] = PROVISION_WANTS_LOGIN};
    struct provision *p = owner;
    struct buf why = {0};

    p->hook = NULL;
    if (rc == HOOK_DONE)
        provision_log_done(p);
    else
        buf_printf(&why, "%s: provision %s", p->move->target->name, error);
    p->fn(p->owner, means[rc], rc == HOOK_DONE ? NULL : buf_str(&why));
    buf_free(&why);
    free(p);
}

struct provision *provision_start(const struct move *move, const struct credential *credential,
                                  provision_fn fn, void *owner)
{
    const struct conf_backend *target = move->target;
    struct provision *p = xcalloc(1, sizeof(*p));
    const struct sasl_mechanism *by = credential ? credential->mechanism : NULL;
    struct hook_call call = {.command = &target->provision,
                             .event = "provision",
                             .user = move->user,
                             .login = move->login,
                             .source = move->source_name,
                             .target = move->target_name,
                             .timeout_ms = target->provision_timeout_ms};

    if (target->provision_password)
        call.mechanism = by ? by->name : "none";
    if (target->provision_password && by && by->kind == SASL_PASSWORD)
        call.password = credential->secret;
    p->move = move;
    p->fn = fn;
    p->owner = owner;
    p->began_ms = clock_boot_ms();
    p->hook = hook_start(move->m->loop, &call, provision_on_hook, p);
    return p;
}

void provision_cancel(struct provision **pp)
{
    struct provision *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    hook_cancel(&p->hook);
    free(p);
}
