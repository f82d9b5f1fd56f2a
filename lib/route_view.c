/* The scripts by which proxies read what clients go on seeing of an account, and keep it in step with what
 * they do. */
#include <stdlib.h>

#include "route_priv.h"
#include "view.h"

bool route_view_is_needed(const char *view)
{
    return *view && strncmp(view, "1=:", 3) != 0;
}

bool route_view_has_modseqs(const char *view)
{
    return !*view || strncmp(view, "1=:m", 4) == 0;
}

void route_view_read(struct store *s, const char *user, bool all, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_bool(&a, all);
    route_run_rows(s, "view_read", &a, fn, owner);
}

void route_view_change(struct store *s, const char *user, const char *backend, uint64_t epoch,
                       const struct view_changes *changes, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_text(&a, backend);
    args_number(&a, epoch);
    for (size_t i = 0; i < changes->n; i++) {
        args_text(&a, changes->items[i].field);
        args_text(&a, changes->items[i].was);
        args_text(&a, changes->items[i].is);
    }
    route_run(s, "view_change", &a, fn, owner);
}
