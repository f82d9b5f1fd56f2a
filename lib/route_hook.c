/* The scripts about hooks that are due. */
#include "route_priv.h"

void route_hook_list(struct store *s, uint32_t max, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_number(&a, max);
    route_run_rows(s, "hook_list", &a, fn, owner);
}

static void run_hook(struct store *s, const char *script, const char *name, const char *token,
                     uint64_t lease_ms, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, name);
    args_text(&a, token);
    args_number(&a, lease_ms);
    route_run(s, script, &a, fn, owner);
}

void route_hook_take(struct store *s, const char *name, const char *token, uint64_t lease_ms,
                     route_done_fn fn, void *owner)
{
    run_hook(s, "hook_take", name, token, lease_ms, fn, owner);
}

void route_hook_keep(struct store *s, const char *name, const char *token, uint64_t lease_ms,
                     route_done_fn fn, void *owner)
{
    run_hook(s, "hook_keep", name, token, lease_ms, fn, owner);
}

void route_hook_done(struct store *s, const char *name, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, name);
    route_run(s, "hook_done", &a, fn, owner);
}
