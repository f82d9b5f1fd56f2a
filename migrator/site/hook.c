#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <uv.h>

#include "lib/imap_write.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "hook.h"
#include "hook_http.h"

enum {
    SAID_MAX = 1000, /* bytes of standard error that are kept */
    TRIES = 4,
    RETRY_MS = 1000,  /* before the second try; four times as long before each further one */
    WANTS_LOGIN = 77, /* EX_NOPERM of sysexits.h */
    DYING_MS = 2000,  /* that a killed program has to be gone */
};

struct hook {
    struct loop *loop;
    hook_fn fn; /* NULL: cancelled, or told */
    void *owner;
    char *event;
    struct hook_http *http; /* a URL: it has all the rest, NULL = a program */
    struct timer *deadline;
    struct loop_task task; /* could not be started */
    uv_process_t process;
    uv_pipe_t err;
    unsigned handles; /* that are not closed yet */
    bool running, eof, late;
    bool cancelled; /* while it ran: who frees the loop waits until it is gone */
    bool stuck;     /* killed, and not gone */
    int64_t status;
    int signal;
    char said[SAID_MAX], block[4096];
    size_t n_said;
    int error;      /* of the start */
    char *password; /* that it was given; owned, NULL: none */
};

/* ---- arguments */

void hook_expand(struct buf *out, const struct hook_call *c, const char *s)
{
    for (; *s; s++) {
        const char *value = NULL;
        if (*s == '%')
            switch (s[1]) {
            case 'u':
                value = c->login;
                break;
            case 'k':
                value = c->user;
                break;
            case 's':
                value = c->source;
                break;
            case 't':
                value = c->target;
                break;
            case 'e':
                value = c->event;
                break;
            case '%':
                value = "%";
                break;
            }
        if (value) {
            buf_add_str(out, value);
            s++;
        } else {
            buf_add(out, s, 1);
        }
    }
}

static char **make_arguments(const struct hook_call *c)
{
    char **argv = xcalloc(c->command->n + 1, sizeof(*argv));

    for (size_t i = 0; i < c->command->n; i++) {
        struct buf b = {0};
        hook_expand(&b, c, c->command->items[i]);
        argv[i] = xstrdup(buf_str(&b));
        buf_free(&b);
    }
    return argv;
}

static char **make_environment(const struct hook_call *c)
{
    size_t n = 0;

    while (environ[n])
        n++;
    char **env = xcalloc(n + 6, sizeof(*env));
    for (size_t i = 0; i < n; i++)
        env[i] = xstrdup(environ[i]);
    env[n] = xasprintf("IMAPFERRY_EVENT=%s", c->event);
    env[n + 1] = xasprintf("IMAPFERRY_USER=%s", c->login);
    env[n + 2] = xasprintf("IMAPFERRY_ACCOUNT=%s", c->user);
    env[n + 3] = xasprintf("IMAPFERRY_SOURCE=%s", c->source);
    env[n + 4] = xasprintf("IMAPFERRY_TARGET=%s", c->target);
    return env;
}

static void free_texts(char **texts)
{
    for (size_t i = 0; texts[i]; i++)
        free(texts[i]);
    free(texts);
}

/* ---- the password */

static const char hidden[] = "(what it says is not shown, since the password is in it)";

/* Of what was cut off, the beginning may be there. */
static bool hook_tells_password(const struct hook *h, struct span said)
{
    size_t len = h->password ? strlen(h->password) : 0;

    if (len == 0)
        return false;
    if (memmem(said.p, said.len, h->password, len))
        return true;
    for (size_t n = 1; said.len >= SAID_MAX && n < len; n++)
        if (!memcmp(said.p + said.len - n, h->password, n))
            return true;
    return false;
}

static struct span hook_shown(const struct hook *h, struct span said)
{
    return hook_tells_password(h, said) ? span_str(hidden) : said;
}

/* A pipe that has all of it and is written to no more, or an error of libuv's. */
static int make_input(const struct hook_call *c)
{
    struct buf text = {0};
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return uv_translate_sys_error(errno);
    buf_printf(&text, "%s\n", c->mechanism);
    if (c->password.len > 0) {
        buf_add(&text, c->password.p, c->password.len);
        buf_add_str(&text, "\n");
    }
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    ssize_t n = write(ends[1], buf_str(&text), text.len);
    bool whole = n >= 0 && (size_t)n == text.len;
    buf_wipe(&text);
    close(ends[1]);
    if (whole)
        return ends[0];
    close(ends[0]);
    return UV_E2BIG;
}

static int hook_set_input(uv_stdio_container_t *to, const struct hook_call *c)
{
    int fd = c->mechanism ? make_input(c) : 0;

    if (!c->mechanism || fd < 0)
        return fd;
    to->flags = UV_INHERIT_FD;
    to->data.fd = fd;
    return 0;
}

/* ---- the end */

static void hook_release(struct hook *h)
{
    if (h->handles > 0)
        return;
    loop_undefer(h->loop, &h->task);
    if (h->password)
        explicit_bzero(h->password, strlen(h->password));
    free(h->password);
    free(h->event);
    free(h);
}

static void hook_on_closed(uv_handle_t *handle)
{
    struct hook *h = handle->data;

    h->handles--;
    hook_release(h);
}

static void hook_close_all(struct hook *h)
{
    timer_free(&h->deadline);
    if (h->process.type == UV_PROCESS && !uv_is_closing((uv_handle_t *)&h->process))
        uv_close((uv_handle_t *)&h->process, hook_on_closed);
    if (!uv_is_closing((uv_handle_t *)&h->err))
        uv_close((uv_handle_t *)&h->err, hook_on_closed);
}

static void kill_all(struct hook *h)
{
    if (h->running)
        kill(-h->process.pid, SIGKILL);
}

static void hook_write_error(const struct hook *h, struct buf *out)
{
    if (h->error)
        buf_printf(out, "could not be started: %s", uv_strerror(h->error));
    else if (h->late)
        buf_add_str(out, h->stuck ? "took too long, and could not be killed" : "took too long");
    else if (h->signal)
        buf_printf(out, "was ended by signal %d", h->signal);
    else if (h->status)
        buf_printf(out, "ended with status %d", (int)h->status);
    else
        return;
    struct span said = hook_shown(h, span_of(h->said, h->n_said));
    if (said.len > 0) {
        const uint8_t *feed = memchr(said.p, '\n', said.len);
        buf_add_str(out, ": ");
        imap_write_text(out, span_of(said.p, feed ? (size_t)(feed - said.p) : said.len));
    }
}

static enum hook_rc hook_result(const struct hook *h)
{
    bool ended = !h->error && !h->late && !h->signal;

    if (ended && h->status == 0)
        return HOOK_DONE;
    return ended && h->status == WANTS_LOGIN ? HOOK_WANTS_LOGIN : HOOK_FAILED;
}

static void hook_tell(struct hook *h)
{
    struct buf error = {0};
    hook_fn fn = h->fn;
    void *owner = h->owner;

    hook_write_error(h, &error);
    if (h->n_said > 0)
        LOG(INFO, "hook_said", LOG_S("event_of", h->event),
            LOG_SPAN("text", hook_shown(h, span_of(h->said, h->n_said))));
    enum hook_rc rc = hook_result(h);
    h->fn = NULL;
    hook_close_all(h);
    if (fn)
        fn(owner, rc, error.len ? buf_str(&error) : NULL);
    buf_free(&error);
}

/* Both are awaited: what it said last, and how it ended; but not what others said whom it left behind. */
static void hook_end_if_over(struct hook *h)
{
    if (!h->running && h->fn)
        hook_tell(h);
}

/* Nobody waits for it any more, but the loop: a handle that is closed reaps nobody. */
static void hook_bury(struct hook *h)
{
    h->loop->n_closing--;
    hook_close_all(h);
}

static void hook_on_ended(uv_process_t *process, int64_t status, int signal_number)
{
    struct hook *h = process->data;

    h->running = false;
    h->status = status;
    h->signal = signal_number;
    if (h->cancelled)
        hook_bury(h);
    else if (h->eof || h->late)
        hook_end_if_over(h);
    else
        timer_start(h->deadline, 100);
}

static void hook_on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct hook *h = handle->data;

    (void)size;
    *buf = uv_buf_init(h->block, sizeof(h->block));
}

static void hook_on_said(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct hook *h = stream->data;

    if (n > 0) {
        size_t room = SAID_MAX - h->n_said, take = (size_t)n < room ? (size_t)n : room;
        memcpy(h->said + h->n_said, buf->base, take);
        h->n_said += take;
    } else if (n < 0) {
        h->eof = true;
        uv_read_stop(stream);
        hook_end_if_over(h);
    }
}

static void hook_on_deadline(void *owner)
{
    struct hook *h = owner;

    if (h->cancelled) {
        hook_bury(h);
        return;
    }
    if (h->running && !h->late) {
        h->late = true;
        kill_all(h);
        timer_start(h->deadline, DYING_MS);
        return;
    }
    h->stuck = h->running;
    h->running = false;
    hook_end_if_over(h);
}

static void on_no_start(struct loop_task *task)
{
    hook_tell(CONTAINER_OF(task, struct hook, task));
}

/* ---- the start */

static void start_program(struct hook *h, const struct hook_call *call)
{
    char **argv = make_arguments(call), **env = make_environment(call);
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = 0}};
    uv_process_options_t spawn = {.exit_cb = hook_on_ended,
                                  .file = argv[0],
                                  .args = argv,
                                  .env = env,
                                  .flags = UV_PROCESS_DETACHED,
                                  .stdio_count = 3,
                                  .stdio = stdio};

    h->task.fn = on_no_start;
    h->deadline = timer_new(h->loop, hook_on_deadline, h);
    h->handles = 1;
    h->process.data = h->err.data = h;
    uv_pipe_init(&h->loop->uv, &h->err, 0);
    stdio[2].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
    stdio[2].data.stream = (uv_stream_t *)&h->err;
    h->error = hook_set_input(&stdio[0], call);
    if (!h->error) {
        h->handles++;
        h->error = uv_spawn(&h->loop->uv, &h->process, &spawn);
    }
    if (stdio[0].flags == UV_INHERIT_FD)
        close(stdio[0].data.fd);
    free_texts(argv);
    free_texts(env);
    if (h->error) {
        loop_defer(h->loop, &h->task);
        return;
    }
    h->running = true;
    uv_read_start((uv_stream_t *)&h->err, hook_on_alloc, hook_on_said);
    timer_start(h->deadline, call->timeout_ms);
}

static void on_http(void *owner, enum hook_rc rc, const char *error)
{
    struct hook *h = owner;
    hook_fn fn = h->fn;
    void *whose = h->owner;

    h->http = NULL;
    hook_release(h);
    fn(whose, rc, error);
}

struct hook *hook_start(struct loop *l, const struct hook_call *call, hook_fn fn, void *owner)
{
    struct hook *h = xcalloc(1, sizeof(*h));

    h->loop = l;
    h->fn = fn;
    h->owner = owner;
    h->event = xstrdup(call->event);
    if (conf_hook_is_url(call->command)) {
        h->http = hook_http_start(l, call, on_http, h);
        return h;
    }
    h->password = call->password.len ? xspandup(call->password) : NULL;
    start_program(h, call);
    return h;
}

void hook_cancel(struct hook **hp)
{
    struct hook *h = *hp;

    *hp = NULL;
    if (!h)
        return;
    if (h->http) {
        hook_http_cancel(&h->http);
        hook_release(h);
        return;
    }
    kill_all(h);
    h->fn = NULL;
    loop_undefer(h->loop, &h->task);
    if (!h->running) {
        hook_close_all(h);
        return;
    }
    h->cancelled = true;
    h->loop->n_closing++;
    timer_start(h->deadline, DYING_MS);
}

/* ---- hooks that nobody waits for */

struct hooks_entry {
    TAILQ_ENTRY(hooks_entry) link;
    hook_fn fn;
    void *owner;
    struct hooks *hooks;
    struct hook_call call; /* its strings are owned; the command is the configuration's */
    struct hook *hook;
    struct timer *retry;
    unsigned tries;
    uint64_t retry_ms;
};

struct hooks {
    struct loop *loop;
    TAILQ_HEAD(, hooks_entry) entries;
};

static void hook_entry_free(struct hooks_entry *e)
{
    hook_cancel(&e->hook);
    TAILQ_REMOVE(&e->hooks->entries, e, link);
    timer_free(&e->retry);
    free((char *)e->call.user);
    free((char *)e->call.login);
    free((char *)e->call.source);
    free((char *)e->call.target);
    free(e);
}

static void on_entry(void *owner, enum hook_rc rc, const char *error)
{
    struct hooks_entry *e = owner;

    e->hook = NULL;
    if (error)
        LOG(ERROR, "hook_failed", LOG_S("event_of", e->call.event), LOG_S("user", e->call.user),
            LOG_S("why", error), LOG_U("try", e->tries));
    if (!error || e->tries == TRIES) {
        hook_fn fn = e->fn;
        void *whose = e->owner;
        hook_entry_free(e);
        fn(whose, rc, error);
        return;
    }
    timer_start(e->retry, e->retry_ms);
    e->retry_ms *= 4;
}

static void try_entry(void *owner)
{
    struct hooks_entry *e = owner;

    e->tries++;
    e->hook = hook_start(e->hooks->loop, &e->call, on_entry, e);
}

void hooks_run(struct hooks *hooks, const struct hook_call *call, hook_fn fn, void *owner)
{
    struct hooks_entry *e = xcalloc(1, sizeof(*e));
    e->fn = fn;
    e->owner = owner;
    e->hooks = hooks;
    e->call = *call;
    e->call.user = xstrdup(call->user);
    e->call.login = xstrdup(call->login);
    e->call.source = xstrdup(call->source);
    e->call.target = xstrdup(call->target);
    e->retry_ms = RETRY_MS;
    e->retry = timer_new(hooks->loop, try_entry, e);
    TAILQ_INSERT_TAIL(&hooks->entries, e, link);
    try_entry(e);
}

struct hooks *hooks_new(struct loop *l)
{
    struct hooks *h = xcalloc(1, sizeof(*h));

    h->loop = l;
    TAILQ_INIT(&h->entries);
    return h;
}

void hooks_free(struct hooks **hp)
{
    struct hooks *h = *hp;
    struct hooks_entry *e;

    *hp = NULL;
    if (!h)
        return;
    while ((e = TAILQ_FIRST(&h->entries)))
        hook_entry_free(e);
    free(h);
}
