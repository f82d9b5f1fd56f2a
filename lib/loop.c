#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "log.h"
#include "loop.h"
#include "xalloc.h"

enum { TURNS_MIN_NS = 4 * 1000 * 1000, TURNS_MAX_NS = 10 * 1000 * 1000 };

static NORETURN void loop_die(const char *what, const char *why)
{
    LOG(ERROR, "fatal", LOG_S("what", what), LOG_S("why", why));
    abort();
}

static void loop_must(int rc, const char *what)
{
    if (rc < 0)
        loop_die(what, uv_strerror(rc));
}

static void run_tasks(struct loop *l)
{
    /* A task that is queued meanwhile waits for the next round, so that reading and timers get their turn. */
    for (size_t n = l->n_tasks; n > 0 && !TAILQ_EMPTY(&l->tasks); n--) {
        struct loop_task *task = TAILQ_FIRST(&l->tasks);
        loop_undefer(l, task);
        task->fn(task);
    }
}

/* There is something to do that no descriptor will tell of: the loop does not sleep. */
static void loop_stay_awake(struct loop *l);

/* How long those who wait may take now: in proportion to what the others took since the last time. */
static uint64_t turns_time(const struct loop *l, uint64_t now)
{
    uint64_t half = (now - l->rested_ns) / 2;
    return half < TURNS_MIN_NS ? TURNS_MIN_NS : half > TURNS_MAX_NS ? TURNS_MAX_NS : half;
}

static void run_turns(struct loop *l)
{
    uint64_t now = uv_hrtime(), end = now + turns_time(l, now);
    while (now < end && turns_serve(&l->turns))
        now = uv_hrtime();
    l->rested_ns = now;
}

static void on_idle(uv_idle_t *idle)
{
    struct loop *l = CONTAINER_OF(idle, struct loop, idle);
    run_tasks(l);
    run_turns(l);
    loop_stay_awake(l);
}

static void loop_stay_awake(struct loop *l)
{
    bool awake = l->n_tasks > 0 || turns_ready(&l->turns);
    if (awake && !uv_is_active((const uv_handle_t *)&l->idle))
        uv_idle_start(&l->idle, on_idle);
    else if (!awake)
        uv_idle_stop(&l->idle);
}

static void on_prepare(uv_prepare_t *prepare)
{
    CONTAINER_OF(prepare, struct loop, prepare)->round++;
}

struct loop *loop_new(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    struct loop *l = xcalloc(1, sizeof(*l));
    loop_must(uv_loop_init(&l->uv), "uv_loop_init");
    l->uv.data = l;
    l->read_buf = xmalloc(LOOP_READ_SIZE);
    l->plain_buf = xmalloc(LOOP_READ_SIZE);
    l->unpack_buf = xmalloc(LOOP_READ_SIZE);
    TAILQ_INIT(&l->tasks);
    turns_init(&l->turns, LOOP_BEGINS_MAX);
    loop_must(uv_idle_init(&l->uv, &l->idle), "uv_idle_init");
    loop_must(uv_prepare_init(&l->uv, &l->prepare), "uv_prepare_init");
    loop_must(uv_prepare_start(&l->prepare, on_prepare), "uv_prepare_start");
    uv_unref((uv_handle_t *)&l->prepare);
    keepalives_init(&l->keepalives, &l->uv);
    return l;
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

static void must_be_closing(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        loop_die("loop_free: a handle is still open", uv_handle_type_name(h->type));
}

void loop_free(struct loop **lp)
{
    struct loop *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    while (l->n_closing > 0)
        uv_run(&l->uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    keepalives_close(&l->keepalives);
    uv_walk(&l->uv, must_be_closing, NULL);
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0) /* not 0 where a loop_stop() was still to be obeyed */
        ;
    loop_must(uv_loop_close(&l->uv), "uv_loop_close");
    wipe(l->read_buf, LOOP_READ_SIZE);
    wipe(l->plain_buf, LOOP_READ_SIZE);
    wipe(l->unpack_buf, LOOP_READ_SIZE);
    free(l->read_buf);
    free(l->plain_buf);
    free(l->unpack_buf);
    deflate_works_free(&l->deflate);
    buf_free(&l->cipher_buf);
    free(l);
}

void loop_defer(struct loop *l, struct loop_task *task)
{
    if (task->queued)
        return;
    task->queued = true;
    TAILQ_INSERT_TAIL(&l->tasks, task, link);
    l->n_tasks++;
    loop_stay_awake(l);
}

void loop_undefer(struct loop *l, struct loop_task *task)
{
    if (!task->queued)
        return;
    task->queued = false;
    TAILQ_REMOVE(&l->tasks, task, link);
    l->n_tasks--;
    loop_stay_awake(l);
}

void loop_wait(struct loop *l, struct turn *t, enum turn_kind kind)
{
    turns_wait(&l->turns, t, kind);
    loop_stay_awake(l);
}

void loop_turn_ended(struct loop *l, struct turn *t)
{
    turns_ended(&l->turns, t);
    loop_stay_awake(l);
}

void loop_turn_leave(struct loop *l, struct turn *t)
{
    turns_leave(&l->turns, t);
    loop_stay_awake(l);
}

static uint64_t clock_ms(clockid_t id)
{
    struct timespec ts;
    if (clock_gettime(id, &ts) != 0)
        loop_die("clock_gettime", strerror(errno));
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t clock_boot_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

uint64_t clock_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

struct timer {
    uv_timer_t uv;
    timer_fn fn;
    void *owner; /* borrowed */
};

struct timer *timer_new(struct loop *l, timer_fn fn, void *owner)
{
    struct timer *t = xcalloc(1, sizeof(*t));
    t->fn = fn;
    t->owner = owner;
    loop_must(uv_timer_init(&l->uv, &t->uv), "uv_timer_init");
    return t;
}

static void loop_on_timer(uv_timer_t *uv)
{
    struct timer *t = CONTAINER_OF(uv, struct timer, uv);
    t->fn(t->owner);
}

void timer_start(struct timer *t, uint64_t ms)
{
    uv_update_time(t->uv.loop); /* the loop's clock stands still during a callback */
    loop_must(uv_timer_start(&t->uv, loop_on_timer, ms, 0), "uv_timer_start");
}

void timer_stop(struct timer *t)
{
    uv_timer_stop(&t->uv);
}

uint64_t timer_left_ms(const struct timer *t)
{
    return uv_timer_get_due_in(&t->uv);
}

bool timer_is_set(const struct timer *t)
{
    return uv_is_active((const uv_handle_t *)&t->uv);
}

static void loop_on_timer_closed(uv_handle_t *h)
{
    free(CONTAINER_OF(h, struct timer, uv));
}

void timer_free(struct timer **t)
{
    if (!*t)
        return;
    uv_close((uv_handle_t *)&(*t)->uv, loop_on_timer_closed);
    *t = NULL;
}

void random_bytes(void *out, size_t n)
{
    uint8_t *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            loop_die("getrandom", strerror(errno));
        p += got;
        n -= (size_t)got;
    }
}

uint64_t random_u64(void)
{
    uint64_t v;
    random_bytes(&v, sizeof(v));
    return v;
}

void random_hex(char *out, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *bytes = (uint8_t *)out + n; /* the second half: each byte is read before it is overwritten */
    random_bytes(bytes, n);
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = bytes[i];
        out[2 * i] = digits[byte >> 4];
        out[2 * i + 1] = digits[byte & 15];
    }
    out[2 * n] = '\0';
}
