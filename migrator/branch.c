#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/branch.h"
#include "migrator/late/errand.h"

enum {
    RECHECK_MS = 5000,  /* whether the store is safe is looked at again after it */
    RECALL_MS = 60000,  /* while the store does not know flips of the journal, it is asked again after it */
    REPLICAS_MS = 1000, /* how often the replicas are counted */
};

/* ---- the store: does it keep what it is told? */

static void branch_start_work(struct branch *b)
{
    b->worker = worker_new(&b->m);
    b->schedule = schedule_new(&b->m);
    b->sweep = sweep_new(&b->m);
    b->m.errands = errands_new(&b->m);
    b->fn(b->owner, b, BRANCH_READY);
}

/* ---- does it know the flips of our journal? */

static void branch_on_paused(void *owner, enum route_rc rc, const char *detail)
{
    struct branch *b = owner;

    (void)detail;
    b->paused = rc == ROUTE_OK;
}

/* All migrators stop: what this journal knows of is likely not all that was lost. Staff resume, and are not
 * contradicted. */
static void branch_pause_all(struct branch *b)
{
    char *who = xasprintf("migrator %s", b->m.id);

    if (!b->paused)
        route_pause(b->m.store, true, who, b->unknown_flips, "", branch_on_paused, b);
    free(who);
}

static void branch_take_recall(struct branch *b, const struct recall_result *result)
{
    const char *folder = b->m.conf->migrator.journal_dir;
    bool had = b->unknown_flips != NULL;

    free(b->unknown_flips);
    b->unknown_flips = result->unknown > 0 ? recall_text(result, folder) : NULL;
    b->m.unknown_flips = b->unknown_flips;
    if (b->unknown_flips) {
        LOG(ERROR, "flips_unknown", LOG_U("accounts", result->unknown), LOG_S("names", result->names),
            LOG_S("journal", folder), LOG_S("effect", "no job is begun, and all migrations are paused"),
            LOG_S("detail", b->unknown_flips));
        branch_pause_all(b);
    } else if (had) {
        LOG(INFO, "flips_known", LOG_U("accounts", result->asked));
        b->paused = false;
    }
}

static void branch_on_recall(void *owner, const struct recall_result *result)
{
    struct branch *b = owner;

    b->recall = NULL;
    if (!result->answered && !*result->error)
        return; /* the next look at the store asks again */
    b->recalled = true;
    b->recalled_ms = clock_boot_ms();
    if (*result->error)
        LOG(ERROR, "journal_unreadable", LOG_S("why", result->error));
    else
        branch_take_recall(b, result);
    if (!b->worker && !b->ending && b->is_ours && !b->m.store_unsafe)
        branch_start_work(b);
}

/* Also of each new generation: a Redis that restarted, or another master, may have lost what the one before
 * knew. */
static void branch_recall(struct branch *b)
{
    uint64_t generation = store_generation(b->m.store);
    bool again = b->unknown_flips && clock_boot_ms() - b->recalled_ms >= RECALL_MS;

    if (b->recall || (b->recalled && b->recalled_of == generation && !again))
        return;
    b->recalled_of = generation;
    b->recall = recall_start(b->m.store, b->m.conf->migrator.journal_dir, branch_on_recall, b);
}

/* Once, and again where it is another thing. */
static void branch_tell_durability(struct branch *b, enum durability d, const char *detail)
{
    bool same = b->told && b->told_of == d && !strcmp(b->told, detail), unsafe = d == DURABILITY_UNSAFE;

    if (same && (b->worker || !unsafe))
        return;
    if (unsafe && !b->m.conf->redis.store_override)
        LOG(ERROR, "store_unsafe", LOG_S("detail", detail),
            LOG_S("effect", b->worker ? "no job is begun until it is safe, since a forgotten route loses mail"
                                      : "nothing is migrated, since a forgotten route loses mail"),
            LOG_S("override", "redis: store_override"));
    else if (unsafe)
        LOG(ERROR, "store_unsafe", LOG_S("detail", detail),
            LOG_S("effect",
                  "migrating all the same, as store_override says: routes may be lost, and mail with them"));
    else if (d == DURABILITY_WARN)
        LOG(WARN, "store_durability", LOG_S("detail", detail));
    if (!unsafe && b->told && b->told_of == DURABILITY_UNSAFE)
        LOG(INFO, "store_safe");
    free(b->told);
    b->told = xstrdup(detail);
    b->told_of = d;
}

static void branch_on_durability(void *owner, enum durability d, const char *detail)
{
    struct branch *b = owner;

    b->checking = false;
    timer_start(b->recheck, RECHECK_MS); /* its settings can be changed while it runs */
    if (d == DURABILITY_UNKNOWN)
        return;
    branch_tell_durability(b, d, detail);
    b->m.store_unsafe = d == DURABILITY_UNSAFE && !b->m.conf->redis.store_override;
    if (b->m.store_unsafe || b->ending || !b->is_ours)
        return;
    branch_recall(b);
}

static void branch_check_store(void *owner)
{
    struct branch *b = owner;

    if (b->checking || b->ending || store_state(b->m.store) != STORE_UP)
        return;
    b->checking = true;
    store_durability(b->m.store, branch_on_durability, b);
}

static void branch_on_replicas(void *owner)
{
    struct branch *b = owner;

    store_look_at_replicas(b->m.store);
    timer_start(b->replicas, REPLICAS_MS);
}

static void migrator_on_counts(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct branch *b = owner;

    if (rc == ROUTE_OK)
        route_log_unknown(b->m.store, rows, n);
}

void branch_on_store(struct branch *b, enum store_state state, const char *detail)
{
    static const char *const names[] = {[STORE_CONNECTING] = "connecting",
                                        [STORE_UP] = "up",
                                        [STORE_DOWN] = "down",
                                        [STORE_FOREIGN] = "foreign"};

    if (state == STORE_UP)
        LOG(INFO, "store", LOG_S("state", names[state]), LOG_S("detail", detail));
    else
        LOG(WARN, "store", LOG_S("state", names[state]), LOG_S("detail", detail));
    if (state == STORE_UP) {
        branch_check_store(b);
        route_counts_read(b->m.store, migrator_on_counts, b);
        b->fn(b->owner, b, BRANCH_UP);
        learner_look(b->learner);
    }
    if (b->worker)
        worker_store_changed(b->worker);
}

const char *branch_lacks(const struct branch *b)
{
    if (store_state(b->m.store) != STORE_UP)
        return "Redis does not answer, or does not hold the store of this site\n";
    if (!b->is_ours)
        return "it is not known yet whether another migrator has this id\n";
    if (b->m.store_unsafe)
        return "Redis may forget what it is told (store_unsafe in the log)\n";
    if (b->unknown_flips)
        return "Redis does not know switch-overs that this journal has (flips_unknown in the log)\n";
    return b->worker ? NULL : "it has not begun to work yet\n";
}

/* Two of one id would take each other's jobs for their own. */
static void migrator_on_instance(void *owner, enum instance_event ev, const char *where)
{
    struct branch *b = owner;

    if (ev == INSTANCE_OURS) {
        b->is_ours = true;
        branch_check_store(b);
        return;
    }
    LOG(ERROR, "id_taken", LOG_S("id", b->m.id), LOG_S("by", where),
        LOG_S("advice", "give each migrator an id of its own (migrator: id)"));
    b->fn(b->owner, b, BRANCH_REFUSED);
}

/* ---- life */

static struct tls_policy *branch_policy_of(void *owner, const struct conf_backend *backend)
{
    const struct branch *b = owner;

    return backends_tls(b->m.backends, backend);
}

void branch_begin(struct branch *b, const struct migrator *shared, const char *token, branch_fn fn,
                  void *owner)
{
    struct migrator *m = &b->m;

    *m = *shared;
    b->fn = fn;
    b->owner = owner;
    m->hooks = hooks_new(m->loop);
    m->sightings = sightings_new();
    b->recheck = timer_new(m->loop, branch_check_store, b);
    b->replicas = timer_new(m->loop, branch_on_replicas, b);
    store_sound_alarm(m->store);
    store_begin_with_a_look(m->store);
    b->learner = learner_new(m->store, branch_policy_of, NULL, b);
    store_set_silence(m->store, m->conf->migrator.job_lease_ms * SILENCE_TENTHS / 10);
    b->instance = instance_new(m->store, "migrator", m->id, token, "", migrator_on_instance, b);
    timer_start(b->replicas, REPLICAS_MS);
}

bool branch_stop(struct branch *b, void (*done)(void *owner), void *owner)
{
    b->ending = true;
    schedule_free(&b->schedule);
    sweep_free(&b->sweep);
    if (b->worker)
        worker_stop(b->worker, done, owner);
    return b->worker != NULL;
}

void branch_end(struct branch *b)
{
    struct migrator *m = &b->m;

    if (!m->loop)
        return;
    schedule_free(&b->schedule);
    sweep_free(&b->sweep);
    worker_free(&b->worker);
    errands_free(&m->errands);
    hooks_free(&m->hooks);
    learner_free(&b->learner);
    instance_free(&b->instance);
    recall_cancel(&b->recall);
    sightings_free(&m->sightings);
    timer_free(&b->recheck);
    timer_free(&b->replicas);
    free(b->told);
    free(b->unknown_flips);
}
