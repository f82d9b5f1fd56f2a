/* store_unit: a private redis-server on a UNIX socket, and a loop that is run until something happened, with
 * a deadline. */
#ifndef IMAPFERRY_STORE_UNIT_H
#define IMAPFERRY_STORE_UNIT_H

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/events.h"
#include "lib/registry.h"
#include "unit.h"

enum { UNIT_DEADLINE_MS = 20000 };

struct unit_redis {
    char folder[64], socket[96], log[96];
    const char *password; /* NULL = none */
    pid_t pid;
};

static inline void unit_redis_start(struct unit_redis *r)
{
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", r->socket, "--dir", r->folder,
               "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--logfile", r->log,
               "--requirepass", r->password ? r->password : "", (char *)NULL);
        _exit(127);
    }
}

static inline void unit_redis_make(struct unit_redis *r)
{
    strcpy(r->folder, "/tmp/ferry-store-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->socket, sizeof(r->socket), "%s/s", r->folder);
    snprintf(r->log, sizeof(r->log), "%s/log", r->folder);
}

/* It answers nothing more when this returns. */
static inline void unit_redis_stop(struct unit_redis *r)
{
    int status = 0;
    kill(r->pid, SIGSTOP);
    waitpid(r->pid, &status, WUNTRACED);
}

static inline void unit_redis_kill(struct unit_redis *r)
{
    int status = 0;
    if (r->pid <= 0)
        return;
    kill(r->pid, SIGKILL);
    waitpid(r->pid, &status, 0);
    r->pid = 0;
}

static inline void unit_redis_remove(struct unit_redis *r)
{
    pid_t rm;
    unit_redis_kill(r);
    if (strncmp(r->folder, "/tmp/ferry-store-", 17) != 0)
        return;
    rm = fork();
    if (rm == 0) {
        execlp("rm", "rm", "-rf", r->folder, (char *)NULL);
        _exit(127);
    }
    waitpid(rm, NULL, 0);
}

/* What the tests share. */
struct unit_store {
    struct unit_redis redis;
    struct conf conf;
    struct address address;
    struct store_site site;
    struct loop *loop;
    struct timer *tick;
    struct store *store;
    enum store_state state; /* as told */
    unsigned news;
    char detail[256];
};

static inline void unit_tick(void *owner)
{
    (void)owner;
}

/* Runs the loop until the condition holds. */
#define UNIT_UNTIL(u, condition)                                                                             \
    do {                                                                                                     \
        uint64_t unit_end = clock_boot_ms() + UNIT_DEADLINE_MS;                                              \
        while (!(condition)) {                                                                               \
            if (clock_boot_ms() > unit_end)                                                                  \
                fail_msg("never happened: %s", #condition);                                                  \
            timer_start((u)->tick, 20);                                                                      \
            uv_run(&(u)->loop->uv, UV_RUN_ONCE);                                                             \
        }                                                                                                    \
        timer_stop((u)->tick);                                                                               \
    } while (0)

static inline void unit_on_state(void *owner, enum store_state state, const char *detail)
{
    struct unit_store *u = owner;
    u->state = state;
    u->news++;
    snprintf(u->detail, sizeof(u->detail), "%s", detail);
}

/* The conf and a loop; no server and no store yet. */
static inline void unit_store_make(struct unit_store *u)
{
    *u = (struct unit_store){0};
    unit_redis_make(&u->redis);
    u->conf.redis.prefix = (char *)(uintptr_t) "unit";
    u->conf.redis.ca_file = u->conf.redis.tls_name = u->conf.redis.tls_cert = u->conf.redis.tls_key =
        (char *)(uintptr_t) "";
    u->address = (struct address){.scheme = ADDRESS_REDIS_UNIX, .path = u->redis.socket};
    u->conf.redis.addresses = &u->address;
    u->conf.redis.n_stores = 1;
    u->conf.migration.source = (char *)(uintptr_t) "old";
    u->conf.migration.target = (char *)(uintptr_t) "new";
    u->conf.proxy.lease_long_ms = 60000;
    u->conf.proxy.store_timeout_ms = 2000;
    u->loop = loop_new();
    u->tick = timer_new(u->loop, unit_tick, NULL);
}

static inline void unit_store_connect(struct unit_store *u)
{
    u->store = store_new(u->loop, &u->conf, 0, &u->site, 2000, unit_on_state, u);
}

/* The answer of a call. */
struct unit_answer {
    bool done;
    unsigned times;
    enum route_rc rc;
    char detail[256];
};

static inline void unit_on_done(void *owner, enum route_rc rc, const char *detail)
{
    struct unit_answer *a = owner;
    a->done = true;
    a->times++;
    a->rc = rc;
    snprintf(a->detail, sizeof(a->detail), "%s", detail);
}

/* Runs a call whose last two arguments are a route_done_fn and its owner, and waits for the answer. */
#define UNIT_DO(u, answer, call, ...)                                                                        \
    do {                                                                                                     \
        (answer) = (struct unit_answer){0};                                                                  \
        call((u)->store, ##__VA_ARGS__, unit_on_done, &(answer));                                            \
        assert_false((answer).done);                                                                         \
        UNIT_UNTIL(u, (answer).done);                                                                        \
    } while (0)

#define UNIT_DO_RC(u, want, call, ...)                                                                       \
    do {                                                                                                     \
        struct unit_answer unit_answer;                                                                      \
        UNIT_DO(u, unit_answer, call, ##__VA_ARGS__);                                                        \
        assert_int_equal(unit_answer.rc, want);                                                              \
    } while (0)

/* A server with a store, and a connection to it. */
static inline void unit_store_begin(struct unit_store *u)
{
    unit_store_make(u);
    unit_redis_start(&u->redis);
    unit_store_connect(u);
    UNIT_UNTIL(u, u->state == STORE_FOREIGN);
    UNIT_DO_RC(u, ROUTE_OK, route_init, 0, false);
    UNIT_UNTIL(u, u->state == STORE_UP);
}

static inline void unit_store_end(struct unit_store *u)
{
    store_free(&u->store);
    timer_free(&u->tick);
    loop_free(&u->loop);
    unit_redis_remove(&u->redis);
}

/* A command of the test's own, as words. */
struct unit_reply {
    bool done;
    enum redis_rc rc;
    int64_t number;
    char text[512];
};

static inline void unit_on_reply(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct unit_reply *a = owner;
    struct span s = reply_str(r);
    a->done = true;
    a->rc = rc;
    a->number = reply_int(r);
    snprintf(a->text, sizeof(a->text), "%.*s", (int)s.len, s.len ? (const char *)s.p : "");
}

static inline struct unit_reply unit_command(struct unit_store *u, const char *const *words)
{
    struct unit_reply a = {0};
    struct span argv[16];
    size_t n = 0;
    for (; words[n]; n++)
        argv[n] = span_str(words[n]);
    store_command(u->store, argv, n, unit_on_reply, &a);
    UNIT_UNTIL(u, a.done);
    return a;
}
/* How often a command was called, by INFO commandstats; scripts are "fcall". */
struct unit_stat {
    const char *name;
    bool done;
    uint64_t calls, usec;
};

static inline void unit_on_stat(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct unit_stat *s = owner;
    char *text = xspandup(reply_str(r)), *head = xasprintf("cmdstat_%s:", s->name), *at = strstr(text, head);
    unsigned long long calls = 0, usec = 0;
    assert_int_equal(rc, REDIS_OK);
    if (at)
        assert_int_equal(sscanf(at + strlen(head), "calls=%llu,usec=%llu", &calls, &usec), 2);
    s->calls = calls;
    s->usec = usec;
    s->done = true;
    free(head);
    free(text);
}

static inline struct unit_stat unit_stat(struct unit_store *u, const char *name)
{
    struct unit_stat s = {.name = name};
    struct span argv[] = {span_str("INFO"), span_str("commandstats")};
    store_command(u->store, argv, COUNTOF(argv), unit_on_stat, &s);
    UNIT_UNTIL(u, s.done);
    return s;
}

#define UNIT_COMMAND(u, ...) unit_command(u, (const char *const[]){__VA_ARGS__, NULL})

#endif
