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
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/privileges.h"
#include "lib/process.h"
#include "lib/sandbox.h"
#include "lib/signals.h"
#include "lib/trial.h"
#include "lib/watchdog.h"
#include "lib/xalloc.h"

#include "migrator/account/proof_file.h"
#include "migrator/api/api.h"
#include "migrator/branch.h"
#include "migrator/census.h"

enum {
    STORE_TIMEOUT_MS = 5000,
    STOP_MS = 8000, /* what can't be ended safely in this time is left to another migrator */
};

static const char usage[] =
    "usage: imapferry-migrator [-c FILE] [--check-conf] [--print-conf[=sample]] [--print-metrics] [--version]\n";

struct program {
    struct migrator m; /* what all branches share */
    struct conf *conf; /* owned, as all below */
    char *id;
    struct stores *stores;
    struct branch *branches; /* one a store, by their places */
    struct timer *stop;
    struct signals *signals;
    struct http_status status;
    struct http_server *metrics; /* NULL: metrics_listen is empty */
    struct census *census;       /* NULL: likewise */
    struct watchdog *watchdog;
    struct sandbox *sandbox; /* NULL: it is locked */
    bool ending;             /* a signal came, or another process has our id */
    bool is_ready;           /* work has begun */
    bool refused;
    struct api *api; /* NULL: none is wanted */
    unsigned parts;  /* that have not come to their end yet */
};

/* What hangs in the loop, hangs here. */
static bool migrator_is_alive(void *owner)
{
    (void)owner;
    return true;
}

/* ---- what monitoring is told */

/* Work on one store is work: those who ask for this take one that is not ready out of use. */
static const char *migrator_lacks_work(const struct program *g)
{
    for (size_t i = 0; i < g->stores->n; i++)
        if (!branch_lacks(&g->branches[i]))
            return NULL;
    return branch_lacks(&g->branches[0]);
}

static void migrator_lacks(void *owner, struct buf *out)
{
    const struct program *g = owner;
    const char *why = migrator_lacks_work(g);

    if (g->ending)
        buf_add_str(out, "the migrator is being stopped\n");
    if (why)
        buf_add_str(out, why);
}

static void migrator_refresh(void *owner)
{
    const struct program *g = owner;
    char number[24];

    for (size_t i = 0; i < g->stores->n; i++) {
        snprintf(number, sizeof(number), "%zu", i + 1);
        metric_set(METRIC_STORE_UP, store_state(g->stores->all[i]) == STORE_UP, number, NULL);
    }
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
    g->parts = 1 + (unsigned)g->stores->n + (g->api != NULL);
    timer_start(g->stop, STOP_MS);
    if (g->api)
        api_stop(g->api, migrator_on_part_ended, g);
    for (size_t i = 0; i < g->stores->n; i++)
        if (!branch_stop(&g->branches[i], migrator_on_part_ended, g))
            migrator_on_part_ended(g);
    migrator_on_part_ended(g);
}

/* ---- the branches */

static void migrator_say_ready(struct program *g)
{
    if (g->is_ready)
        return;
    g->is_ready = true;
    LOG(INFO, "ready", LOG_S("id", g->id), LOG_U("jobs", g->conf->migrator.jobs),
        LOG_S("journal", g->conf->migrator.journal_dir));
    process_notify("READY=1");
}

static void migrator_on_branch(void *owner, struct branch *b, enum branch_event ev)
{
    struct program *g = owner;

    (void)b;
    switch (ev) {
    case BRANCH_UP:
        if (g->census)
            census_look(g->census);
        break;
    case BRANCH_READY:
        migrator_say_ready(g);
        break;
    case BRANCH_REFUSED:
        g->refused = true;
        if (!g->ending)
            stop_working(g);
        break;
    }
}

static void migrator_on_store(void *owner, size_t place, enum store_state state, const char *detail)
{
    struct program *g = owner;

    branch_on_store(&g->branches[place], state, detail);
}

static void migrator_make_branches(struct program *g)
{
    char token[INSTANCE_TOKEN];

    instance_token(token);
    g->branches = xcalloc(g->conf->redis.n_stores, sizeof(*g->branches));
    g->stores = stores_new(g->m.loop, g->conf, STORE_TIMEOUT_MS, migrator_on_store, g);
    g->m.stores = g->stores;
    for (size_t i = 0; i < g->stores->n; i++) {
        g->m.store = g->stores->all[i];
        branch_begin(&g->branches[i], &g->m, token, migrator_on_branch, g);
    }
    if (g->metrics)
        g->census = census_new(g->stores);
}

static void migrator_end_branches(struct program *g)
{
    census_free(&g->census);
    for (size_t i = 0; g->stores && i < g->stores->n; i++)
        branch_end(&g->branches[i]);
    stores_free(&g->stores);
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
    if (before && r->seal) {
        g->m.seal = r->seal;
        r->seal = before;
    }
    for (size_t i = 0; i < g->stores->n; i++) {
        learner_again(g->branches[i].learner);
        g->branches[i].m.seal = g->m.seal;
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
    if (g->is_ready)
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
    migrator_make_branches(g);
    if (g->metrics && !http_server_start(g->metrics, error))
        return false;
    return !g->api || api_start(g->api, &g->branches[0].m, g->stores, error);
}

static struct program *migrator_program_new(struct conf *conf)
{
    struct program *g = xcalloc(1, sizeof(*g));

    g->conf = conf;
    g->id = name_of(conf);
    g->sandbox = sandbox_new(sandbox_kind_of(conf)); /* before the loop */
    g->m = (struct migrator){.loop = loop_new(), .conf = conf, .id = g->id};
    g->stop = timer_new(g->m.loop, migrator_end, g);
    g->status = (struct http_status){METRIC_OF_MIGRATOR, migrator_lacks, migrator_refresh, g};
    g->signals = signals_new(g->m.loop, migrator_on_signal, migrator_on_reload, g);
    g->watchdog = watchdog_new(g->m.loop, migrator_is_alive, g);
    return g;
}

static void migrator_program_free(struct program *g)
{
    struct migrator *m = &g->m;

    migrator_end_branches(g);
    api_free(&g->api);
    journal_free(&m->journal);
    backends_free(&m->backends);
    if (m->seal)
        seal_private_free(&m->seal);
    http_server_free(&g->metrics);
    timer_free(&g->stop);
    signals_free(&g->signals);
    watchdog_free(&g->watchdog);
    free(g->sandbox);
    loop_free(&m->loop);
    conf_free(&g->conf);
    free(g->branches);
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
