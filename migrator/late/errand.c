#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "errand.h"

enum { HOOK_MS = 30000, TICK_MAX_MS = 1000, OTHERS_MAX = 4, N_WORDS = 5 };
enum word { EVENT, EPOCH, SOURCE, TARGET, USER };
enum errand_state { TAKE, RUN, DONE };

struct errand {
    TAILQ_ENTRY(errand) link;
    struct errands *all;
    enum errand_state state;
    bool asking;
    char *name; /* of the note; owned */
    char token[33];
};

struct errands {
    struct migrator *m;
    struct timer *tick;
    TAILQ_HEAD(, errand) list;
    size_t n;
    bool asking;
};

static const struct conf_list *command_of(const struct migrator *m, struct span event)
{
    if (span_is(event, "flip"))
        return &m->conf->migration.hook_flip;
    return span_is(event, "settle") ? &m->conf->migration.hook_settle : NULL;
}

uint64_t errand_lease_ms(const struct migrator *m, const char *event)
{
    return command_of(m, span_str(event))->n > 0 ? m->conf->migrator.job_lease_ms : 0;
}

/* ---- an errand, from its note to its end */

static void errand_free(struct errand *e)
{
    store_forget(e->all->m->store, e);
    TAILQ_REMOVE(&e->all->list, e, link);
    e->all->n--;
    free(e->name);
    free(e);
}

static void errand_on_done(void *owner, enum route_rc rc, const char *detail)
{
    struct errand *e = owner;

    (void)detail;
    e->asking = false; /* without an answer: the next tick tries again */
    if (rc == ROUTE_OK)
        errand_free(e);
}

static void tell_done(struct errand *e)
{
    e->state = DONE;
    e->asking = true;
    route_hook_done(e->all->m->store, e->name, errand_on_done, e);
}

static void errand_on_hook(void *owner, enum hook_rc rc, const char *error)
{
    (void)rc, (void)error; /* it is in the log */
    tell_done(owner);
}

static bool errand_split(const char *name, struct span words[N_WORDS])
{
    for (int i = 0; i < N_WORDS; i++) {
        const char *end = strchr(name, '\n');
        if (!end != (i == USER))
            return false;
        words[i] = span_of(name, end ? (size_t)(end - name) : strlen(name));
        name = end ? end + 1 : name;
    }
    return true;
}

static void errand_run_hook(struct errand *e)
{
    struct migrator *m = e->all->m;
    struct span words[N_WORDS];
    const struct conf_list *command = errand_split(e->name, words) ? command_of(m, words[EVENT]) : NULL;
    char *text[N_WORDS] = {NULL}, *login = NULL;

    e->state = RUN;
    if (!command || command->n == 0) { /* the site has it no more */
        tell_done(e);
        return;
    }
    for (int i = 0; i < N_WORDS; i++)
        text[i] = xspandup(words[i]);
    login = account_login(text[USER]);
    hooks_run(m->hooks,
              &(struct hook_call){.command = command,
                                  .event = span_is(words[EVENT], "flip") ? "flip" : "settle",
                                  .user = text[USER],
                                  .login = login ? login : "",
                                  .source = text[SOURCE],
                                  .target = text[TARGET],
                                  .timeout_ms = HOOK_MS},
              errand_on_hook, e);
    free(login);
    for (int i = 0; i < N_WORDS; i++)
        free(text[i]);
}

static void errand_on_taken(void *owner, enum route_rc rc, const char *detail)
{
    struct errand *e = owner;

    (void)detail;
    e->asking = false;
    if (rc == ROUTE_LOST) {
        errand_free(e);
    } else if (rc == ROUTE_OK) {
        struct span words[N_WORDS];
        if (errand_split(e->name, words))
            LOG(INFO, "hook_left_behind", LOG_SPAN("event_of", words[EVENT]), LOG_SPAN("user", words[USER]),
                LOG_SPAN("epoch", words[EPOCH]));
        errand_run_hook(e);
    }
}

/* A note that is another's by now changes nothing: the hook runs. */
static void errand_on_kept(void *owner, enum route_rc rc, const char *detail)
{
    struct errand *e = owner;

    (void)rc;
    (void)detail;
    if (e->state == RUN)
        e->asking = false;
}

static void errand_step(struct errand *e)
{
    struct store *s = e->all->m->store;
    uint64_t lease = e->all->m->conf->migrator.job_lease_ms;

    if (e->asking)
        return;
    e->asking = true;
    switch (e->state) {
    case TAKE:
        route_hook_take(s, e->name, e->token, lease, errand_on_taken, e);
        break;
    case RUN:
        route_hook_keep(s, e->name, e->token, lease, errand_on_kept, e);
        break;
    case DONE:
        tell_done(e);
        break;
    }
}

/* ---- all of them */

static struct errand *errand_add(struct errands *all, char *name, enum errand_state state)
{
    struct errand *e = xcalloc(1, sizeof(*e));

    e->all = all;
    e->name = name;
    e->state = state;
    TAILQ_INSERT_TAIL(&all->list, e, link);
    all->n++;
    return e;
}

static bool is_ours(const struct errands *all, struct span name)
{
    const struct errand *e;

    TAILQ_FOREACH(e, &all->list, link)
    if (span_is(name, e->name))
        return true;
    return false;
}

static void errand_on_list(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct errands *all = owner;

    all->asking = false;
    for (size_t i = 0; rc == ROUTE_OK && i < n && all->n < OTHERS_MAX; i++)
        if (!is_ours(all, rows[i])) {
            struct errand *e = errand_add(all, xspandup(rows[i]), TAKE);
            random_hex(e->token, 16);
            errand_step(e);
        }
}

static void errand_on_tick(void *owner)
{
    struct errands *all = owner;
    uint64_t third = all->m->conf->migrator.job_lease_ms / 3;
    struct errand *e, *next;

    timer_start(all->tick, third < TICK_MAX_MS ? third : TICK_MAX_MS);
    if (store_state(all->m->store) != STORE_UP)
        return;
    for (e = TAILQ_FIRST(&all->list); e; e = next) {
        next = TAILQ_NEXT(e, link);
        errand_step(e);
    }
    if (all->asking || all->n >= OTHERS_MAX)
        return;
    all->asking = true;
    route_hook_list(all->m->store, OTHERS_MAX, errand_on_list, all);
}

void errands_run(struct errands *all, const struct errand_call *c)
{
    if (errand_lease_ms(all->m, c->event) == 0)
        return;
    char *name = xasprintf("%s\n%" PRIu64 "\n%s\n%s\n%s", c->event, c->epoch, c->source, c->target, c->user);
    struct errand *e = errand_add(all, name, RUN);
    snprintf(e->token, sizeof(e->token), "%s", c->token);
    errand_run_hook(e);
}

struct errands *errands_new(struct migrator *m)
{
    struct errands *all = xcalloc(1, sizeof(*all));

    all->m = m;
    TAILQ_INIT(&all->list);
    all->tick = timer_new(m->loop, errand_on_tick, all);
    errand_on_tick(all);
    return all;
}

void errands_free(struct errands **ap)
{
    struct errands *all = *ap;
    struct errand *e;

    *ap = NULL;
    if (!all)
        return;
    hooks_free(&all->m->hooks); /* what runs calls back to us */
    while ((e = TAILQ_FIRST(&all->list)))
        errand_free(e);
    store_forget(all->m->store, all);
    timer_free(&all->tick);
    free(all);
}
