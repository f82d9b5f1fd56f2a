/* The scripts of the late watch: who looks at the server that an account has left. */
#include "route_priv.h"

void route_late_list(struct store *s, uint32_t max, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_number(&a, max);
    route_run_rows(s, "late_list", &a, fn, owner);
}

void route_late_claim(struct store *s, const char *user, const char *token, uint64_t lease_ms,
                      route_read_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_text(&a, token);
    args_number(&a, lease_ms);
    route_run_read(s, "late_claim", &a, user, fn, owner);
}

void route_late_aside(struct store *s, const char *user, uint64_t ms, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_number(&a, ms);
    route_run(s, "late_aside", &a, fn, owner);
}

void route_late_keep(struct store *s, const struct route_job *j, uint64_t lease_ms, route_done_fn fn,
                     void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_number(&a, lease_ms);
    route_run(s, "late_keep", &a, fn, owner);
}

void route_late_note(struct store *s, const struct route_job *j, const struct span *texts, size_t n,
                     route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    for (size_t i = 0; i < n; i++)
        args_span(&a, texts[i]);
    route_run(s, "late_note", &a, fn, owner);
}

void route_late_done(struct store *s, const struct route_job *j, uint64_t delay_ms, bool over, uint64_t found,
                     uint64_t hook_ms, bool saw_all, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_number(&a, delay_ms);
    args_bool(&a, over);
    args_number(&a, found);
    args_number(&a, hook_ms);
    args_bool(&a, saw_all);
    route_run(s, "late_done", &a, fn, owner);
}
