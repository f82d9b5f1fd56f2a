/* imapferry-migrator: reads the configuration, connects to the store, and works (worker.h) once the store is
 * known to keep what it is told. SIGTERM and SIGINT end it where that is safe, a second one at once; SIGHUP
 * reads the configuration anew. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/conf_files.h"
#include "lib/http_status.h"
#include "lib/instance.h"
#include "lib/learner.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/privileges.h"
#include "lib/process.h"
#include "lib/registry.h"
#include "lib/sandbox.h"
#include "lib/signals.h"
#include "lib/trial.h"
#include "lib/watchdog.h"
#include "lib/xalloc.h"

#include "migrator/account/proof_file.h"
#include "migrator/api/api.h"
#include "migrator/job/sweep.h"
#include "migrator/job/worker.h"
#include "migrator/late/errand.h"
#include "migrator/late/schedule.h"
#include "migrator/site/migrator.h"
#include "migrator/site/recall.h"

enum {
    STORE_TIMEOUT_MS = 5000,
    RECHECK_MS = 5000,  /* whether the store is safe is looked at again after it */
    RECALL_MS = 60000,  /* while the store does not know flips of the journal, it is asked again after it */
    CENSUS_MS = 15000,  /* how often accounts are counted for the metrics */
    REPLICAS_MS = 1000, /* how often the replicas are counted */
    STOP_MS = 8000,     /* what can't be ended safely in this time is left to another migrator */
};

static const char usage[] =
    "usage: imapferry-migrator [-c FILE] [--check-conf] [--print-conf[=sample]] [--print-metrics] [--version]\n";

struct program {
    struct migrator m;
    struct conf *conf; /* owned, as all below */
    char *id;
    struct schedule *schedule;
    struct sweep *sweep;
    struct worker *worker; /* NULL until the store was found to be safe */
    struct timer *recheck, *replicas, *stop;
    struct signals *signals;
    struct http_status status;
    struct http_server *metrics; /* NULL: metrics_listen is empty */
    struct timer *census;
    struct watchdog *watchdog;
    struct sandbox *sandbox; /* NULL: it is locked */
    struct instance *instance;
    struct learner *learner;
    bool ending; /* a signal came, or another process has our id */
    bool checking;
    bool is_ours; /* the id */
    bool refused;
    struct api *api; /* NULL: none is wanted */
    unsigned parts;  /* that have not come to their end yet */
    struct recall *recall;
    char *unknown_flips;               /* what m.unknown_flips says */
    bool recalled, paused;             /* for this generation; all migrations, for unknown flips */
    uint64_t recalled_of, recalled_ms; /* generation; clock_boot_ms() */
    char *told;                        /* of the store, and what; NULL: nothing yet */
    enum durability told_of;
};

/* ---- the store: is it there, and does it keep what it is told? */

static void start_work(struct program *g)
{
    g->worker = worker_new(&g->m);
    g->schedule = schedule_new(&g->m);
    g->sweep = sweep_new(&g->m);
    g->m.errands = errands_new(&g->m);
    LOG(INFO, "ready", LOG_S("id", g->id), LOG_U("jobs", g->conf->migrator.jobs),
        LOG_S("journal", g->conf->migrator.journal_dir));
    process_notify("READY=1");
}

/* What hangs in the loop, hangs here. */
static bool migrator_is_alive(void *owner)
{
    (void)owner;
    return true;
}

/* ---- does it know the flips of our journal? */

static void migrator_on_paused(void *owner, enum route_rc rc, const char *detail)
{
    struct program *g = owner;

    (void)detail;
    g->paused = rc == ROUTE_OK;
}

/* All migrators stop: what this journal knows of is likely not all that was lost. Staff resume, and are not
 * contradicted. */
static void migrator_pause_all(struct program *g)
{
    char *who = xasprintf("migrator %s", g->id);

    if (!g->paused)
        route_pause(g->m.store, true, who, g->unknown_flips, "", migrator_on_paused, g);
    free(who);
}

static void migrator_take_recall(struct program *g, const struct recall_result *result)
{
    const char *folder = g->conf->migrator.journal_dir;
    bool had = g->unknown_flips != NULL;

    free(g->unknown_flips);
    g->unknown_flips = result->unknown > 0 ? recall_text(result, folder) : NULL;
    g->m.unknown_flips = g->unknown_flips;
    if (g->unknown_flips) {
        LOG(ERROR, "flips_unknown", LOG_U("accounts", result->unknown), LOG_S("names", result->names),
            LOG_S("journal", folder), LOG_S("effect", "no job is begun, and all migrations are paused"),
            LOG_S("detail", g->unknown_flips));
        migrator_pause_all(g);
    } else if (had) {
        LOG(INFO, "flips_known", LOG_U("accounts", result->asked));
        g->paused = false;
    }
}

static void migrator_on_recall(void *owner, const struct recall_result *result)
{
    struct program *g = owner;

    g->recall = NULL;
    if (!result->answered && !*result->error)
        return; /* the next look at the store asks again */
    g->recalled = true;
    g->recalled_ms = clock_boot_ms();
    if (*result->error)
        LOG(ERROR, "journal_unreadable", LOG_S("why", result->error));
    else
        migrator_take_recall(g, result);
    if (!g->worker && !g->ending && g->is_ours && !g->m.store_unsafe)
        start_work(g);
}

/* Also of each new generation: a Redis that restarted, or another master, may have lost what the one before
 * knew. */
static void migrator_recall(struct program *g)
{
    uint64_t generation = store_generation(g->m.store);
    bool again = g->unknown_flips && clock_boot_ms() - g->recalled_ms >= RECALL_MS;

    if (g->recall || (g->recalled && g->recalled_of == generation && !again))
        return;
    g->recalled_of = generation;
    g->recall = recall_start(g->m.store, g->conf->migrator.journal_dir, migrator_on_recall, g);
}

/* Once, and again where it is another thing. */
static void tell_durability(struct program *g, enum durability d, const char *detail)
{
    bool same = g->told && g->told_of == d && !strcmp(g->told, detail), unsafe = d == DURABILITY_UNSAFE;

    if (same && (g->worker || !unsafe))
        return;
    if (unsafe && !g->conf->redis.store_override)
        LOG(ERROR, "store_unsafe", LOG_S("detail", detail),
            LOG_S("effect", g->worker ? "no job is begun until it is safe, since a forgotten route loses mail"
                                      : "nothing is migrated, since a forgotten route loses mail"),
            LOG_S("override", "redis: store_override"));
    else if (unsafe)
        LOG(ERROR, "store_unsafe", LOG_S("detail", detail),
            LOG_S("effect",
                  "migrating all the same, as store_override says: routes may be lost, and mail with them"));
    else if (d == DURABILITY_WARN)
        LOG(WARN, "store_durability", LOG_S("detail", detail));
    if (!unsafe && g->told && g->told_of == DURABILITY_UNSAFE)
        LOG(INFO, "store_safe");
    free(g->told);
    g->told = xstrdup(detail);
    g->told_of = d;
}

static void migrator_on_durability(void *owner, enum durability d, const char *detail)
{
    struct program *g = owner;

    g->checking = false;
    timer_start(g->recheck, RECHECK_MS); /* its settings can be changed while it runs */
    if (d == DURABILITY_UNKNOWN)
        return;
    tell_durability(g, d, detail);
    g->m.store_unsafe = d == DURABILITY_UNSAFE && !g->conf->redis.store_override;
    if (g->m.store_unsafe || g->ending || !g->is_ours)
        return;
    migrator_recall(g);
}

static void migrator_check_store(void *owner)
{
    struct program *g = owner;

    if (g->checking || g->ending || store_state(g->m.store) != STORE_UP)
        return;
    g->checking = true;
    store_durability(g->m.store, migrator_on_durability, g);
}

static void on_replicas_timer(void *owner)
{
    struct program *g = owner;

    store_look_at_replicas(g->m.store);
    timer_start(g->replicas, REPLICAS_MS);
}

static void migrator_take_census(void *owner);

static void migrator_on_counts(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct program *g = owner;

    if (rc == ROUTE_OK)
        route_log_unknown(g->m.store, rows, n);
}

static void migrator_on_store(void *owner, enum store_state state, const char *detail)
{
    static const char *const names[] = {[STORE_CONNECTING] = "connecting",
                                        [STORE_UP] = "up",
                                        [STORE_DOWN] = "down",
                                        [STORE_FOREIGN] = "foreign"};
    struct program *g = owner;

    if (state == STORE_UP)
        LOG(INFO, "store", LOG_S("state", names[state]), LOG_S("detail", detail));
    else
        LOG(WARN, "store", LOG_S("state", names[state]), LOG_S("detail", detail));
    if (state == STORE_UP) {
        migrator_check_store(g);
        route_counts_read(g->m.store, migrator_on_counts, g);
        if (g->metrics)
            migrator_take_census(g);
    }
    if (state == STORE_UP && g->learner)
        learner_look(g->learner);
    if (g->worker)
        worker_store_changed(g->worker);
}

/* ---- what monitoring is told */

static void migrator_lacks(void *owner, struct buf *out)
{
    const struct program *g = owner;

    if (g->ending)
        buf_add_str(out, "the migrator is being stopped\n");
    if (store_state(g->m.store) != STORE_UP)
        buf_add_str(out, "Redis does not answer, or does not hold the store of this site\n");
    else if (!g->is_ours)
        buf_add_str(out, "it is not known yet whether another migrator has this id\n");
    else if (g->m.store_unsafe)
        buf_add_str(out, "Redis may forget what it is told (store_unsafe in the log)\n");
    else if (g->unknown_flips)
        buf_add_str(out,
                    "Redis does not know switch-overs that this journal has (flips_unknown in the log)\n");
    else if (!g->worker)
        buf_add_str(out, "it has not begun to work yet\n");
}

static void migrator_refresh(void *owner)
{
    const struct program *g = owner;

    metric_set(METRIC_STORE_UP, store_state(g->m.store) == STORE_UP, NULL, NULL);
}

static void migrator_note_count(enum metric m, struct span name, const char *prefix, struct span number)
{
    size_t n = strlen(prefix);
    uint64_t count;

    if (name.len <= n || memcmp(name.p, prefix, n) != 0 || !span_u64(number, INT64_MAX, &count))
        return;
    char *value = xspandup(span_of(name.p + n, name.len - n));
    metric_set(m, count, value, NULL);
    free(value);
}

static void migrator_on_census(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    (void)owner;
    if (rc != ROUTE_OK)
        return;
    metric_clear(METRIC_ACCOUNTS);
    metric_clear(METRIC_ACCOUNTS_AT);
    for (int s = 0; s <= ROUTE_HELD; s++)
        metric_set(METRIC_ACCOUNTS, 0, route_state_name((enum route_state)s), NULL);
    for (size_t i = 1; i + 1 < n; i += 2) {
        migrator_note_count(METRIC_ACCOUNTS, rows[i], "state:", rows[i + 1]);
        migrator_note_count(METRIC_ACCOUNTS_AT, rows[i], "backend:", rows[i + 1]);
    }
}

static void migrator_on_control(void *owner, enum route_rc rc, const struct route_control *c)
{
    (void)owner;
    if (rc == ROUTE_OK)
        metric_set(METRIC_PAUSED, c->paused, NULL, NULL);
}

static void migrator_take_census(void *owner)
{
    struct program *g = owner;

    timer_start(g->census, CENSUS_MS);
    if (store_state(g->m.store) != STORE_UP)
        return;
    route_counts_read(g->m.store, migrator_on_census, g);
    route_control_read(g->m.store, migrator_on_control, g);
}

/* ---- the end */

static void migrator_end(void *owner)
{
    struct program *g = owner;

    loop_stop(g->m.loop);
}

static void migrator_on_part_ended(void *owner)
{
    struct program *g = owner;

    if (--g->parts == 0)
        migrator_end(g);
}

static void stop_working(struct program *g)
{
    g->ending = true;
    process_notify("STOPPING=1");
    g->parts = 1 + (g->worker != NULL) + (g->api != NULL);
    timer_start(g->stop, STOP_MS);
    if (g->api)
        api_stop(g->api, migrator_on_part_ended, g);
    schedule_free(&g->schedule);
    sweep_free(&g->sweep);
    if (g->worker)
        worker_stop(g->worker, migrator_on_part_ended, g);
    migrator_on_part_ended(g);
}

/* Two of one id would take each other's jobs for their own. */
static void migrator_on_instance(void *owner, enum instance_event ev, const char *where)
{
    struct program *g = owner;

    if (ev == INSTANCE_OURS) {
        g->is_ours = true;
        migrator_check_store(g);
        return;
    }
    LOG(ERROR, "id_taken", LOG_S("id", g->id), LOG_S("by", where),
        LOG_S("advice", "give each migrator an id of its own (migrator: id)"));
    g->refused = true;
    if (!g->ending)
        stop_working(g);
}

static void migrator_on_signal(void *owner, unsigned count)
{
    struct program *g = owner;

    if (count > 1)
        migrator_end(g);
    else if (!g->ending)
        stop_working(g);
}

/* ---- the configuration, read anew */

/* What is made of the files that it names. */
struct renewal {
    struct conf *conf;
    struct tls_policy **tls; /* one a backend of the running configuration, NULL: as it is */
    struct seal_private *seal;
};

static bool renewal_make(struct program *g, struct renewal *r, char **error)
{
    const struct conf_seal *seal;

    r->tls = xcalloc(g->conf->n_backends, sizeof(struct tls_policy *));
    r->conf = conf_load_tried(g->conf->file, CONF_MIGRATOR, trial_migrator, false, error);
    if (!r->conf)
        return false;
    for (size_t i = 0; i < g->conf->n_backends; i++) {
        const struct conf_backend *b = conf_backend(r->conf, g->conf->backends[i].name);
        if (b && backend_has_tls(b) && !(r->tls[i] = tls_policy_backend(b, error)))
            return false;
    }
    if (g->api && !api_renew(g->api, r->conf, error))
        return false;
    seal = &r->conf->seal;
    if (seal->private_key_files.n > 0)
        r->seal = seal_private_load(seal->private_key_files.items, seal->private_key_files.n, error);
    return seal->private_key_files.n == 0 || r->seal;
}

static void renewal_take(struct program *g, struct renewal *r)
{
    struct seal_private *before = g->m.seal;

    conf_reload(g->conf, r->conf, conf_log_change, NULL);
    if (g->api)
        api_renewed(g->api, true);
    backends_renew(g->m.backends, r->tls);
    learner_again(g->learner);
    if (before && r->seal) {
        g->m.seal = r->seal;
        r->seal = before;
    }
    LOG(INFO, "reloaded", LOG_S("file", g->conf->file));
    conf_log_old_tls(g->conf, CONF_MIGRATOR);
}

static void renewal_drop(struct program *g, struct renewal *r)
{
    for (size_t i = 0; i < g->conf->n_backends; i++)
        tls_policy_free(&r->tls[i]);
    free(r->tls);
    if (g->api)
        api_renewed(g->api, false);
    if (r->seal)
        seal_private_free(&r->seal);
    conf_free(&r->conf);
}

static void migrator_on_reload(void *owner)
{
    struct program *g = owner;
    struct renewal r = {0};
    char *error = NULL;

    if (g->ending)
        return;
    process_notify_reloading();
    if (renewal_make(g, &r, &error))
        renewal_take(g, &r);
    else
        conf_log_refusal(error);
    renewal_drop(g, &r);
    free(error);
    if (g->worker)
        process_notify("READY=1");
}

/* ---- start */

/* Passwords pass through: no core dumps, and no other process of the user may look in. */
static char *name_of(const struct conf *conf)
{
    char host[256] = "migrator";

    if (conf->migrator.id && *conf->migrator.id)
        return xstrdup(conf->migrator.id);
    gethostname(host, sizeof(host) - 1);
    return xstrdup(host);
}

static struct tls_policy *migrator_policy_of(void *owner, const struct conf_backend *backend)
{
    const struct program *g = owner;

    return backends_tls(g->m.backends, backend);
}

/* The files are read. A folder that is not there is made for whom we become. No other thread is there yet. */
static bool migrator_drop_privileges(const struct program *g, char **error)
{
    const struct conf_migrator *c = &g->conf->migrator;
    struct identity who;

    if (!privileges_find(c->user, c->group, &who, error))
        return false;
    if (mkdir(c->journal_dir, 0700) == 0 && !privileges_give(&who, c->journal_dir)) {
        *error = xasprintf("%s can't be given to %s: %s", c->journal_dir, who.user, strerror(errno));
        return false;
    }
    if (strncmp(c->metrics_listen, "http+unix://", 12) == 0 &&
        !privileges_give(&who, c->metrics_listen + 12)) {
        *error = xasprintf("%s can't be given to %s: %s", c->metrics_listen, who.user, strerror(errno));
        return false;
    }
    if (!privileges_drop(&who, error))
        return false;
    if (who.named)
        conf_log_unreadable(g->conf, CONF_MIGRATOR, who.user);
    return true;
}

static bool is_program(const struct conf_list *hook)
{
    return hook->n > 0 && !conf_hook_is_url(hook);
}

static enum sandbox_kind sandbox_kind_of(const struct conf *c)
{
    const struct conf_migration *m = &c->migration;
    bool programs = is_program(&m->hook_freeze) || is_program(&m->hook_flip) || is_program(&m->hook_settle) ||
                    is_program(&m->hook_kick);

    for (size_t i = 0; i < c->n_backends; i++)
        programs = programs || is_program(&c->backends[i].provision);
    return !c->migrator.sandbox ? SANDBOX_NONE : programs ? SANDBOX_HOOKS : SANDBOX_TIGHT;
}

static void migrator_may_read(void *owner, const char *file)
{
    sandbox_read(owner, file);
}

/* No other thread is there yet. */
static void migrator_lock_sandbox(struct program *g)
{
    conf_each_file(g->conf, CONF_MIGRATOR, migrator_may_read, g->sandbox);
    sandbox_write(g->sandbox, g->conf->migrator.journal_dir);
    char *proof = proof_path(g->conf->migrator.journal_dir, "", "");
    sandbox_remove(g->sandbox, proof);
    free(proof);
    if (g->api) {
        char *plans = api_folder_make(g->conf);
        sandbox_own(g->sandbox, plans);
        free(plans);
    }
    if (strncmp(g->conf->migrator.metrics_listen, "http+unix://", 12) == 0)
        sandbox_remove(g->sandbox, g->conf->migrator.metrics_listen + 12);
    if (strncmp(g->conf->admin.listen, "http+unix://", 12) == 0)
        sandbox_remove(g->sandbox, g->conf->admin.listen + 12);
    sandbox_lock(&g->sandbox);
}

static bool make_parts(struct program *g, char **error)
{
    const struct conf *c = g->conf;
    struct migrator *m = &g->m;

    m->backends = backends_new(m->loop, c, error);
    if (!m->backends)
        return false;
    if (c->seal.private_key_files.n > 0) {
        m->seal = seal_private_load(c->seal.private_key_files.items, c->seal.private_key_files.n, error);
        if (!m->seal)
            return false;
    }
    if (!http_status_listen(m->loop, c->migrator.metrics_listen, false, &g->status, &g->metrics, error))
        return false;
    g->api = api_new(m->loop, c, error);
    if (*error || !migrator_drop_privileges(g, error))
        return false;
    m->journal = journal_open(m->loop, c->migrator.journal_dir, error);
    if (!m->journal)
        return false;
    proof_folder_make(c->migrator.journal_dir);
    migrator_lock_sandbox(g);
    m->hooks = hooks_new(m->loop);
    m->sightings = sightings_new();
    m->store = store_new(m->loop, c, STORE_TIMEOUT_MS, migrator_on_store, g);
    store_sound_alarm(m->store);
    g->learner = learner_new(m->store, migrator_policy_of, NULL, g);
    store_set_silence(m->store, c->migrator.job_lease_ms * SILENCE_TENTHS / 10);
    char token[INSTANCE_TOKEN];
    instance_token(token);
    g->instance = instance_new(m->store, "migrator", g->id, token, "", migrator_on_instance, g);
    timer_start(g->replicas, REPLICAS_MS);
    if (g->metrics && !http_server_start(g->metrics, error))
        return false;
    return !g->api || api_start(g->api, m, m->store, error);
}

static struct program *migrator_program_new(struct conf *conf)
{
    struct program *g = xcalloc(1, sizeof(*g));

    g->conf = conf;
    g->id = name_of(conf);
    g->sandbox = sandbox_new(sandbox_kind_of(conf)); /* before the loop */
    g->m = (struct migrator){.loop = loop_new(), .conf = conf, .id = g->id};
    g->recheck = timer_new(g->m.loop, migrator_check_store, g);
    g->replicas = timer_new(g->m.loop, on_replicas_timer, g);
    g->stop = timer_new(g->m.loop, migrator_end, g);
    g->census = timer_new(g->m.loop, migrator_take_census, g);
    g->status = (struct http_status){METRIC_OF_MIGRATOR, migrator_lacks, migrator_refresh, g};
    g->signals = signals_new(g->m.loop, migrator_on_signal, migrator_on_reload, g);
    g->watchdog = watchdog_new(g->m.loop, migrator_is_alive, g);
    return g;
}

static void migrator_program_free(struct program *g)
{
    struct migrator *m = &g->m;

    schedule_free(&g->schedule);
    sweep_free(&g->sweep);
    worker_free(&g->worker);
    errands_free(&m->errands);
    learner_free(&g->learner);
    instance_free(&g->instance);
    recall_cancel(&g->recall);
    store_free(&m->store);
    api_free(&g->api);
    hooks_free(&m->hooks);
    sightings_free(&m->sightings);
    journal_free(&m->journal);
    backends_free(&m->backends);
    if (m->seal)
        seal_private_free(&m->seal);
    http_server_free(&g->metrics);
    timer_free(&g->census);
    timer_free(&g->recheck);
    timer_free(&g->replicas);
    timer_free(&g->stop);
    signals_free(&g->signals);
    watchdog_free(&g->watchdog);
    free(g->sandbox);
    loop_free(&m->loop);
    conf_free(&g->conf);
    free(g->told);
    free(g->unknown_flips);
    free(g->id);
    free(g);
}

int main(int argc, char **argv)
{
    const char *file;
    int status;
    char *error = NULL;

    process_hold_standard();
    process_keep_secrets();
    if (!conf_arguments(argc, argv, CONF_MIGRATOR, trial_migrator, usage, &file, &status))
        return status;
    process_limit();
    struct conf *conf = conf_load_tried(file, CONF_MIGRATOR, trial_migrator, false, &error);
    if (!conf) {
        conf_print_errors(CONF_MIGRATOR, error);
        free(error);
        return 1;
    }
    log_set_format(conf->migrator.log_format);
    struct program *g = migrator_program_new(conf);
    bool ok = make_parts(g, &error);
    if (ok)
        conf_log_old_tls(conf, CONF_MIGRATOR);
    if (ok)
        loop_run(g->m.loop);
    else
        fprintf(stderr, "imapferry-migrator: %s\n", error);
    ok = ok && !g->refused;
    migrator_program_free(g);
    free(error);
    LOG(INFO, "stopped");
    return ok ? 0 : 1;
}
