#include "route_index.h"
#include "route_priv.h"

void route_page(struct store *s, const char *state, const char *reason, const char *cursor, unsigned n,
                route_rows_fn fn, void *owner)
{
    struct args a = {0};

    args_text(&a, state);
    args_text(&a, reason);
    args_text(&a, cursor);
    args_number(&a, n);
    route_run_rows(s, "list_page", &a, fn, owner);
}

void route_groups_read(struct store *s, route_rows_fn fn, void *owner)
{
    struct args a = {0};

    route_run_rows(s, "groups_read", &a, fn, owner);
}

void route_sample(struct store *s, uint64_t keep_ms, route_done_fn fn, void *owner)
{
    struct args a = {0};

    args_number(&a, keep_ms);
    route_run(s, "sample", &a, fn, owner);
}

void route_history_read(struct store *s, uint64_t since_ms, unsigned n, route_rows_fn fn, void *owner)
{
    struct args a = {0};

    args_number(&a, since_ms);
    args_number(&a, n);
    route_run_rows(s, "history_read", &a, fn, owner);
}
