/* imapferry-proxy: reads the configuration, binds the listeners, starts the threads (proxy.h), and waits for
 * signals. SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reads the configuration anew. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/conf_files.h"
#include "lib/http_status.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/privileges.h"
#include "lib/process.h"
#include "lib/sandbox.h"
#include "lib/signals.h"
#include "lib/tls_tickets.h"
#include "lib/trial.h"
#include "lib/watchdog.h"
#include "lib/xalloc.h"

#include "expiry.h"
#include "myself.h"
#include "proxy.h"
#include "session_states.h"
#include "upgrade.h"

static const char usage[] =
    "usage: imapferry-proxy [-c FILE] [--check-conf] [--print-conf[=sample]] [--print-metrics] [--version]\n";

struct worker {
    struct proxy *proxy; /* owned */
    pthread_t thread;
    bool started;
};

struct program {
    struct conf *conf; /* owned; the threads have copies */
    struct loop *loop;
    struct expiry_watch *expiry; /* owned */
    struct ticket_keys tickets;  /* those of this process; the threads have copies */
    struct timer *tickets_timer; /* ages them; owned */
    struct worker *workers;
    size_t n_workers;
    struct sockets *sockets;   /* owned, as all these */
    struct sandbox *sandbox;   /* NULL: it is locked */
    struct heir *heir;         /* NULL: there was no process before us */
    struct giver *giver;       /* NULL: no upgrade_socket, or not yet */
    struct watchdog *watchdog; /* NULL: nobody asks */
    struct signals *signals;
    struct http_status status;
    struct http_server *metrics; /* NULL: metrics_listen is empty */
    char token[INSTANCE_TOKEN];
    int upgrade_fd; /* for the giver; -1: it has it, or there is none */
    uv_async_t news;
    pthread_mutex_t lock; /* of the two below */
    size_t n_serving, n_ended;
    bool announced;
    bool ending;   /* a signal came, or another process has taken our place */
    bool followed; /* it has, and goes on with what we have */
    bool called_off;
    bool shared; /* another process has the sockets, too: their files are not ours to take away */
    bool listens_for_heirs;
};

static void program_end(struct program *g, enum proxy_order order)
{
    g->ending = true;
    giver_free(&g->giver);
    heir_free(&g->heir);
    sockets_close(g->sockets);
    if (g->followed) /* the next process is asked from now on */
        http_server_free(&g->metrics);
    for (size_t i = 0; i < g->n_workers; i++)
        proxy_give_order(g->workers[i].proxy, order);
}

/* ---- another process takes our place */

static void program_on_giver(void *owner, enum giver_event ev, const char *token)
{
    struct program *g = owner;
    switch (ev) {
    case GIVER_LENDS:
        proxy_lend_id(g->workers[0].proxy);
        break;
    case GIVER_OFF:
        proxy_claim_id(g->workers[0].proxy, token);
        break;
    case GIVER_DRAIN:
        g->followed = true;
        program_end(g, ORDER_DRAIN);
        break;
    }
}

static void await_heirs(struct program *g)
{
    heir_free(&g->heir);
    g->shared = false;
    g->listens_for_heirs = g->upgrade_fd >= 0;
    if (g->listens_for_heirs)
        g->giver = giver_new(g->loop, g->upgrade_fd, g->sockets, g->token, &g->tickets, program_on_giver, g);
    g->upgrade_fd = -1;
}

/* ---- we take another one's */

static void tell_manager_of(pid_t pid)
{
    char *text = xasprintf("MAINPID=%ld\nREADY=1", (long)pid);
    process_notify(text);
    free(text);
}

static void program_on_heir(void *owner, enum heir_event ev)
{
    struct program *g = owner;
    switch (ev) {
    case HEIR_ALONE:
        tell_manager_of(getpid());
        await_heirs(g);
        break;
    case HEIR_YOURS:
        tell_manager_of(getpid());
        break;
    case HEIR_DONE:
        LOG(INFO, "upgrade_done");
        await_heirs(g);
        break;
    case HEIR_OFF:
        LOG(ERROR, "upgrade_off", LOG_S("why", "the process before this one has called it off, and goes on"));
        tell_manager_of(heir_pid_before(g->heir)); /* else it takes our end for that of the service */
        g->called_off = g->followed = true;
        program_end(g, ORDER_DRAIN);
        break;
    }
}

/* ---- threads and what they tell ---- */

static void on_worker_news(void *owner, bool ended)
{
    struct program *g = owner;
    pthread_mutex_lock(&g->lock);
    if (ended)
        g->n_ended++;
    else
        g->n_serving++;
    pthread_mutex_unlock(&g->lock);
    uv_async_send(&g->news);
}

static void announce(struct program *g)
{
    g->announced = true;
    for (size_t i = 0; i < g->sockets->n; i++) {
        char *text = xasprintf("listening on %s", g->sockets->groups[i].text);
        LOG(INFO, "listening", LOG_S("text", text));
        free(text);
    }
    if (g->heir) {
        heir_serving(g->heir, g->loop, program_on_heir, g);
        return;
    }
    process_notify("READY=1");
    await_heirs(g);
}

static void program_on_news(uv_async_t *async)
{
    struct program *g = CONTAINER_OF(async, struct program, news);
    pthread_mutex_lock(&g->lock);
    bool all_serve = g->n_serving == g->n_workers, all_ended = g->n_ended == g->n_workers;
    pthread_mutex_unlock(&g->lock);
    if (all_serve && !g->announced && !g->ending)
        announce(g);
    if (all_ended)
        loop_stop(g->loop);
}

static void program_on_signal(void *owner, unsigned count)
{
    struct program *g = owner;
    if (!g->followed) /* else it knows another process */
        process_notify("STOPPING=1");
    program_end(g, count == 1 ? ORDER_DRAIN : ORDER_END);
}

/* ---- the configuration, read anew ---- */

static void watch_certificates(struct program *g, const struct tls_policy *server)
{
    if (server)
        expiry_watch_set(g->expiry, server);
}

static void program_age_tickets(void *owner)
{
    struct program *g = owner;
    ticket_keys_age(&g->tickets, clock_boot_ms());
    timer_start(g->tickets_timer, TICKET_AGE_MS);
}

/* One for each thread, or none. */
static struct renewal **make_renewals(struct program *g, const struct conf *fresh, char **error)
{
    struct renewal **all = xcalloc(g->n_workers, sizeof(struct renewal *));
    bool ok = true;
    ticket_keys_age(&g->tickets, clock_boot_ms());
    for (size_t t = 0; t < g->n_workers && ok; t++)
        ok = (all[t] = renewal_new(fresh, &g->tickets, error)) != NULL;
    if (ok)
        return all;
    for (size_t t = 0; t < g->n_workers; t++)
        renewal_free(&all[t]);
    free(all);
    return NULL;
}

static void hand_over(struct program *g, struct conf *fresh, struct renewal **all)
{
    conf_reload(g->conf, fresh, conf_log_change, NULL);
    if (g->workers[0].proxy->server_tls)
        watch_certificates(g, all[0]->server);
    for (size_t t = 0; t < g->n_workers; t++)
        proxy_renew(g->workers[t].proxy, all[t]);
    free(all);
    LOG(INFO, "reloaded", LOG_S("file", g->conf->file));
    conf_log_old_tls(g->conf, CONF_PROXY);
}

/* As trial_proxy(); for --check-conf also what a start finds when it has bound its listeners. */
static void program_try(const struct conf *c, struct conf_source *src, bool checking)
{
    trial_proxy(c, src, checking);
    if (checking)
        myself_try(c, src);
}

static void program_on_reload(void *owner)
{
    struct program *g = owner;
    char *error = NULL;
    if (g->ending)
        return;
    process_notify_reloading();
    conf_trial_fn trial = expiry_watch_is_good(g->expiry) ? trial_proxy_reload : trial_proxy;
    struct conf *fresh = conf_load_tried(g->conf->file, CONF_PROXY, trial, false, &error);
    struct renewal **all = fresh ? make_renewals(g, fresh, &error) : NULL;
    if (all)
        hand_over(g, fresh, all);
    else
        conf_log_refusal(error);
    conf_free(&fresh);
    free(error);
    if (g->announced)
        process_notify("READY=1");
}

/* Signals are for the main thread. */
static void *worker_main(void *arg)
{
    struct worker *w = arg;
    proxy_run(w->proxy);
    return NULL;
}

/* ---- what monitoring is told ---- */

static bool program_threads_all(const struct program *g, bool (*fn)(struct proxy *p))
{
    for (size_t t = 0; t < g->n_workers; t++)
        if (!fn(g->workers[t].proxy))
            return false;
    return true;
}

static void program_lacks(void *owner, struct buf *out)
{
    const struct program *g = owner;

    if (g->ending)
        buf_add_str(out, "the proxy is being stopped\n");
    else if (!program_threads_all(g, proxy_is_serving))
        buf_add_str(out, "listeners are not open yet\n");
    if (!program_threads_all(g, proxy_has_store))
        buf_add_str(out, "Redis does not answer, or does not hold the store of this site\n");
    if (!program_threads_all(g, proxy_is_leased))
        buf_add_str(out, "the lease is not held\n");
}

static void program_tell_stores(const struct program *g)
{
    char number[24];

    for (size_t i = 0; i < g->conf->redis.n_stores; i++) {
        bool up = true;
        for (size_t t = 0; t < g->n_workers; t++)
            up = up && proxy_has_store_at(g->workers[t].proxy, i);
        snprintf(number, sizeof(number), "%zu", i + 1);
        metric_set(METRIC_STORE_UP, up, number, NULL);
    }
}

static void program_refresh(void *owner)
{
    const struct program *g = owner;

    program_tell_stores(g);
    for (enum session_state in = 0; in < IN_CLOSING; in++) {
        uint64_t n = 0;
        for (size_t t = 0; t < g->n_workers; t++)
            n += atomic_load_explicit(&g->workers[t].proxy->n_in[in], memory_order_relaxed);
        metric_set(METRIC_SESSIONS, n, session_state_name(in), NULL);
    }
}

/* ---- start and end ---- */

static bool get_sockets(struct program *g, const struct identity *who, char **error)
{
    const char *path = g->conf->proxy.upgrade_socket;
    if (!sockets_take_held(g->sockets, error))
        return false;
    bool ok =
        !*path || heir_meet(path, who, g->token, g->sockets, &g->tickets, &g->upgrade_fd, &g->heir, error);
    g->shared = g->heir != NULL;
    return ok && sockets_bind(g->sockets, g->n_workers, error);
}

static bool make_worker(struct program *g, size_t thread, size_t sockets_max, char **error)
{
    struct proxy_share share = {.conf = g->conf,
                                .thread = (unsigned)thread,
                                .sockets_max = sockets_max,
                                .tickets = &g->tickets,
                                .token = g->token,
                                .instead = g->heir ? heir_token_before(g->heir) : ""};
    struct listen_socket *sockets = sockets_of_thread(g->sockets, thread, g->n_workers, &share.n_sockets);
    share.sockets = sockets;
    g->workers[thread].proxy = proxy_new(&share, on_worker_news, g, error);
    free(sockets);
    return g->workers[thread].proxy != NULL;
}

static bool make_workers(struct program *g, size_t descriptors, char **error)
{
    size_t room = descriptors > 2 * CROWD_FDS_KEPT + 16 * g->n_workers
                      ? descriptors - CROWD_FDS_KEPT - 16 * g->n_workers
                      : CROWD_FDS_KEPT;
    for (size_t t = 0; t < g->n_workers; t++)
        if (!make_worker(g, t, room / g->n_workers, error))
            return false;
    return true;
}

static bool start_threads(struct program *g, char **error)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = 0;
    for (size_t t = 0; t < g->n_workers && rc == 0; t++) {
        rc = pthread_create(&g->workers[t].thread, NULL, worker_main, &g->workers[t]);
        g->workers[t].started = rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        *error = xasprintf("can't start a thread: %s", strerror(rc));
    return rc == 0;
}

static size_t count_of_threads(const struct conf *c)
{
    if (c->proxy.threads > 0)
        return c->proxy.threads;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > 256 ? 256 : (size_t)cores;
}

static struct program *proxy_program_new(struct conf *conf)
{
    struct program *g = xcalloc(1, sizeof *g);
    g->conf = conf;
    g->sandbox = sandbox_new(conf->proxy.sandbox ? SANDBOX_TIGHT : SANDBOX_NONE);
    g->loop = loop_new();
    g->n_workers = count_of_threads(conf);
    g->workers = xcalloc(g->n_workers, sizeof *g->workers);
    g->sockets = sockets_new(&conf->proxy.listen);
    sockets_add(g->sockets, &conf->socketmap.listen);
    sockets_add(g->sockets, &conf->lmtp.listen);
    g->status = (struct http_status){METRIC_OF_PROXY, program_lacks, program_refresh, g};
    g->upgrade_fd = -1;
    instance_token(g->token);
    pthread_mutex_init(&g->lock, NULL);
    uv_async_init(&g->loop->uv, &g->news, program_on_news);
    g->expiry = expiry_watch_new(g->loop);
    ticket_keys_make(&g->tickets, clock_boot_ms());
    g->tickets_timer = timer_new(g->loop, program_age_tickets, g);
    timer_start(g->tickets_timer, TICKET_AGE_MS);
    g->signals = signals_new(g->loop, program_on_signal, program_on_reload, g);
    return g;
}

/* False: the proxy was not allowed to serve. */
static bool join_threads(struct program *g)
{
    bool allowed = !g->called_off;
    for (size_t t = 0; t < g->n_workers; t++) {
        if (g->workers[t].started)
            pthread_join(g->workers[t].thread, NULL);
        allowed = allowed && !(g->workers[t].proxy && g->workers[t].proxy->refused);
        proxy_free(&g->workers[t].proxy);
    }
    return allowed;
}

static void proxy_program_free(struct program *g)
{
    free(g->sandbox);
    heir_free(&g->heir);
    giver_free(&g->giver);
    watchdog_free(&g->watchdog);
    http_server_free(&g->metrics);
    uv_close((uv_handle_t *)&g->news, NULL);
    signals_free(&g->signals);
    expiry_watch_free(&g->expiry);
    timer_free(&g->tickets_timer);
    loop_free(&g->loop);
    sockets_free(&g->sockets, !g->followed && !g->shared);
    if (!g->followed && g->listens_for_heirs)
        upgrade_unlink(g->conf->proxy.upgrade_socket);
    if (g->upgrade_fd >= 0)
        close(g->upgrade_fd);
    pthread_mutex_destroy(&g->lock);
    wipe(&g->tickets, sizeof g->tickets);
    free(g->workers);
    free(g);
}

/* Clients of a UNIX socket are whom the user lets in. */
static bool give_sockets(const struct program *g, const struct identity *who, char **error)
{
    for (size_t i = 0; i < g->sockets->n; i++) {
        const struct sockets_group *group = &g->sockets->groups[i];
        const char *path = sockets_path(group);
        if (path && !privileges_give(who, path)) {
            *error = xasprintf("%s can't be given to %s: %s", group->text, who->user, strerror(errno));
            return false;
        }
    }
    return true;
}

static bool program_bind_metrics(struct program *g, const struct identity *who, char **error)
{
    const char *listen = g->conf->proxy.metrics_listen, *path = strstr(listen, "://");

    if (!http_status_listen(g->loop, listen, g->heir != NULL, &g->status, &g->metrics, error))
        return false;
    if (strncmp(listen, "http+unix", 9) == 0 && !privileges_give(who, path + 3)) {
        *error = xasprintf("%s can't be given to %s: %s", listen, who->user, strerror(errno));
        return false;
    }
    return true;
}

/* All is bound and read. No other thread is there yet. */
static bool program_drop_privileges(const struct program *g, const struct identity *who, char **error)
{
    if (!give_sockets(g, who, error) || !privileges_drop(who, error))
        return false;
    if (who->named)
        conf_log_unreadable(g->conf, CONF_PROXY, who->user);
    return true;
}

static void program_may_read(void *owner, const char *file)
{
    sandbox_read(owner, file);
}

/* No other thread is there yet. */
static void program_lock_sandbox(struct program *g)
{
    for (size_t i = 0; i < g->sockets->n; i++)
        if (sockets_path(&g->sockets->groups[i]))
            sandbox_remove(g->sandbox, sockets_path(&g->sockets->groups[i]));
    if (strncmp(g->conf->proxy.metrics_listen, "http+unix://", 12) == 0)
        sandbox_remove(g->sandbox, g->conf->proxy.metrics_listen + 12);
    if (*g->conf->proxy.upgrade_socket)
        sandbox_remove(g->sandbox, g->conf->proxy.upgrade_socket);
    conf_each_file(g->conf, CONF_PROXY, program_may_read, g->sandbox);
    sandbox_lock(&g->sandbox);
}

/* For the watchdog: one thread that hangs is enough. */
static bool program_is_alive(void *owner)
{
    struct program *g = owner;
    bool alive = true;
    for (size_t t = 0; t < g->n_workers; t++)
        alive = proxy_is_alive(g->workers[t].proxy) && alive;
    return alive;
}

static bool program_run(struct program *g, size_t descriptors, char **error)
{
    struct identity who;
    if (!privileges_find(g->conf->proxy.user, g->conf->proxy.group, &who, error) ||
        !get_sockets(g, &who, error) || !program_bind_metrics(g, &who, error) ||
        !myself_check(g->conf, g->sockets, error) || !make_workers(g, descriptors, error) ||
        !program_drop_privileges(g, &who, error))
        return false;
    program_lock_sandbox(g);
    watch_certificates(g, g->workers[0].proxy->server_tls); /* before it is its thread's */
    conf_log_old_tls(g->conf, CONF_PROXY);
    if ((g->metrics && !http_server_start(g->metrics, error)) || !start_threads(g, error))
        return false;
    g->watchdog = watchdog_new(g->loop, program_is_alive, g);
    loop_run(g->loop);
    return true;
}

int main(int argc, char **argv)
{
    const char *file;
    int status;
    char *error = NULL;
    process_hold_standard();
    process_keep_secrets();
    if (!conf_arguments(argc, argv, CONF_PROXY, program_try, usage, &file, &status))
        return status;
    struct conf *conf = conf_load_tried(file, CONF_PROXY, trial_proxy, false, &error);
    if (!conf) {
        conf_print_errors(CONF_PROXY, error);
        free(error);
        return 1;
    }
    log_set_format(conf->proxy.log_format);
    size_t descriptors = process_limit();
    struct program *g = proxy_program_new(conf);
    bool ok = program_run(g, descriptors, &error);
    if (!ok)
        fprintf(stderr, "imapferry-proxy: %s\n", error);
    /* A thread that did start, where another could not, has no way to end but with the process. */
    for (size_t t = 0; t < g->n_workers && !ok; t++)
        if (g->workers[t].started)
            _exit(1);
    ok = join_threads(g) && ok;
    proxy_program_free(g);
    conf_free(&conf);
    free(error);
    LOG(INFO, "stopped");
    return ok ? 0 : 1;
}
