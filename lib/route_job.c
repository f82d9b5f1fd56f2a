/* The scripts that the owner of a job runs. */
#include "route_priv.h"

void route_claim(struct store *s, const struct route_entry *e, const char *token, const char *group,
                 const char *consumer, route_read_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, e->user);
    args_text(&a, token);
    args_text(&a, consumer);
    args_bool(&a, e->bulk);
    args_text(&a, e->id);
    args_text(&a, group);
    route_run_read(s, "claim", &a, e->user, fn, owner);
}

void route_keep(struct store *s, const char *group, const char *consumer, bool bulk, const struct span *ids,
                size_t n, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, group);
    args_text(&a, consumer);
    args_bool(&a, bulk);
    for (size_t i = 0; i < n; i++)
        args_span(&a, ids[i]);
    route_run_rows(s, "keep", &a, fn, owner);
}

void route_orphans(struct store *s, const struct route_search *w, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, w->group);
    args_text(&a, w->consumer);
    args_bool(&a, w->bulk);
    args_number(&a, w->lease_ms);
    args_number(&a, w->places);
    args_number(&a, w->suspects);
    args_number(&a, w->patience_ms);
    args_text(&a, w->after);
    args_number(&a, w->max);
    route_run_rows(s, "orphans", &a, fn, owner);
}

void route_give(struct store *s, const struct route_entry *e, const char *token, const char *group,
                const char *consumer, uint64_t lease_ms, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, e->user);
    args_text(&a, token);
    args_bool(&a, e->bulk);
    args_text(&a, e->id);
    args_text(&a, group);
    args_text(&a, consumer);
    args_number(&a, lease_ms);
    route_run(s, "give", &a, fn, owner);
}

void route_progress(struct store *s, const struct route_job *j, const struct route_progress *p,
                    route_done_fn fn, void *owner)
{
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"mailboxes_done", p->mailboxes_done},
        {"mailboxes_total", p->mailboxes_total},
        {"messages_done", p->messages_done},
        {"messages_total", p->messages_total},
        {"messages_verified", p->messages_verified},
        {"bytes_done", p->bytes_done},
        {"bytes_total", p->bytes_total},
    };
    struct args a = {0};
    args_job(&a, j);
    for (size_t i = 0; i < COUNTOF(counters); i++) {
        args_text(&a, counters[i].name);
        args_number(&a, counters[i].value);
    }
    args_text(&a, "tiers");
    args_text(&a, p->tiers);
    route_run(s, "progress", &a, fn, owner);
}

static void run_job(struct store *s, const char *name, const struct route_job *j, const char *text,
                    const uint64_t *number, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    if (text)
        args_text(&a, text);
    if (number)
        args_number(&a, *number);
    route_run(s, name, &a, fn, owner);
}

void route_ready(struct store *s, const struct route_job *j, route_done_fn fn, void *owner)
{
    run_job(s, "ready", j, NULL, NULL, fn, owner);
}

void route_recopy(struct store *s, const struct route_job *j, route_done_fn fn, void *owner)
{
    run_job(s, "recopy", j, NULL, NULL, fn, owner);
}

void route_calm(struct store *s, const struct route_job *j, route_done_fn fn, void *owner)
{
    run_job(s, "calm", j, NULL, NULL, fn, owner);
}

void route_drop(struct store *s, const char *user, bool bulk, const char *id, const char *group,
                route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_bool(&a, bulk);
    args_text(&a, id);
    args_text(&a, group);
    route_run(s, "drop", &a, fn, owner);
}

void route_gather(struct store *s, const struct route_job *j, bool idle, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_bool(&a, idle);
    route_run(s, "gather", &a, fn, owner);
}

void route_prepare(struct store *s, const struct route_job *j, uint64_t budget_ms, bool idle,
                   route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_number(&a, budget_ms);
    args_bool(&a, idle);
    route_run(s, "prepare", &a, fn, owner);
}

void route_rested(struct store *s, const struct route_job *j, route_done_fn fn, void *owner)
{
    run_job(s, "rested", j, NULL, NULL, fn, owner);
}

void route_freeze(struct store *s, const struct route_job *j, uint64_t budget_ms, route_done_fn fn,
                  void *owner)
{
    run_job(s, "freeze", j, NULL, &budget_ms, fn, owner);
}

void route_abort(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn,
                 void *owner)
{
    run_job(s, "abort", j, reason, NULL, fn, owner);
}

void route_flip(struct store *s, const struct route_job *j, const char *view, const char *proof,
                route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_text(&a, view ? view : "");
    args_text(&a, proof ? proof : "");
    route_run(s, "flip", &a, fn, owner);
}

void route_flipped(struct store *s, const struct route_job *j, uint64_t late_ms, uint64_t hook_ms,
                   route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_number(&a, late_ms);
    args_number(&a, hook_ms);
    route_run(s, "flipped", &a, fn, owner);
}

void route_why(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn, void *owner)
{
    run_job(s, "why", j, reason, NULL, fn, owner);
}

void route_backoff(struct store *s, const struct route_job *j, const char *reason, uint64_t delay_ms,
                   bool attempt, const char *sealed, route_done_fn fn, void *owner)
{
    struct args a = {0};

    args_job(&a, j);
    args_text(&a, reason);
    args_number(&a, delay_ms);
    args_bool(&a, !attempt);
    args_text(&a, sealed);
    route_run(s, "backoff", &a, fn, owner);
}

void route_block(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn,
                 void *owner)
{
    run_job(s, "block", j, reason, NULL, fn, owner);
}

void route_wait(struct store *s, const struct route_job *j, const char *reason, uint64_t delay_ms,
                bool until_idle, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_text(&a, reason);
    args_number(&a, delay_ms);
    args_bool(&a, until_idle);
    route_run(s, "wait", &a, fn, owner);
}

void route_turn(struct store *s, const char *user, uint32_t a_minute, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_number(&a, a_minute);
    route_run(s, "turn", &a, fn, owner);
}

void route_outcome(struct store *s, const struct route_job *j, bool good, uint32_t share, route_done_fn fn,
                   void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_bool(&a, good);
    args_number(&a, share);
    route_run(s, "outcome", &a, fn, owner);
}
