#include <stdlib.h>

#include "lib/imap_code.h"
#include "lib/xalloc.h"

#include "imap_client_priv.h"

enum {
    LINE_MAX_BYTES = 1024 * 1024,
    RESPONSE_LITERALS = 1000,
    TREE_DEPTH = 64,
    TREE_VALUES = 50 * 1000,
    TREE_BYTES = 1024 * 1024
};
#define BODY_MAX (UINT64_C(1) << 40)

/* --- memory --- */

static void imapc_release(struct imapc *c)
{
    struct imapc_queued *cmd;
    while ((cmd = TAILQ_FIRST(&c->commands)))
        imapc_remove_command(c, cmd);
    imap_line_wipe(&c->line);
    imap_tree_free(&c->tree);
    buf_free(&c->collected);
    buf_free(&c->raw);
    free(c->name);
    free(c->error);
    free(c->bye);
    free(c);
}

static void imapc_enter(struct imapc *c)
{
    c->busy++;
}

/* False: c is gone. */
static bool imapc_leave(struct imapc *c)
{
    bool gone = --c->busy == 0 && c->freed;
    if (gone)
        imapc_release(c);
    return !gone;
}

/* --- what the loop calls --- */

static void imapc_on_stream(struct stream *s, enum stream_event ev, void *owner)
{
    struct imapc *c = owner;
    imapc_enter(c);
    if (imapc_beyond_fence(c)) {
        imapc_leave(c);
        return;
    }
    switch (ev) {
    case STREAM_DATA:
        imapc_receive(c);
        break;
    case STREAM_DRAINED:
        imapc_tell_drained(c);
        break;
    case STREAM_EOF:
        imapc_broken(c, "%s", c->bye ? c->bye : "the server closed the connection");
        break;
    case STREAM_ERROR:
        imapc_broken(c, "%s", c->bye ? c->bye : stream_error(s));
        break;
    default:
        break;
    }
    imapc_leave(c);
}

static void imapc_on_task(struct loop_task *task)
{
    struct imapc *c = CONTAINER_OF(task, struct imapc, task);
    imapc_enter(c);
    imapc_uncork(c);
    while (imapc_can_receive(c) && c->quoted != QUOTED_NONE)
        imapc_step_quoted(c);
    if (!c->freed && c->phase == READY)
        imapc_end_unsendable(c);
    if (!c->freed && (c->phase == BROKEN || c->phase == FAILED))
        imapc_end_all(c);
    imapc_leave(c);
}

/* Is something up to the peer, or are we the ones who keep it waiting? */
static bool peer_owes(const struct imapc *c)
{
    const struct imapc_queued *oldest = TAILQ_FIRST(&c->commands);
    if (c->paused || c->slowed || !oldest)
        return false;
    return oldest != c->sending || c->waiting || stream_unsent(c->stream) > 0;
}

static void imapc_on_tick(void *owner)
{
    struct imapc *c = owner;
    uint64_t now = clock_boot_ms(), left = c->put - stream_unsent(c->stream);
    if (!peer_owes(c) || left != c->put_seen)
        c->stamp_ms = now;
    c->put_seen = left;
    if (now - c->stamp_ms >= c->timeout_ms)
        imapc_broken(c, "no answer for %llu s", (unsigned long long)(c->timeout_ms / 1000));
    else if (!TAILQ_EMPTY(&c->commands))
        timer_start(c->timer, c->timeout_ms / IMAPC_TICKS);
}

/* What the pace held up, goes on. */
static void on_pace(void *owner)
{
    struct imapc *c = owner;
    uint64_t ms = pace_wait_ms(c->pace, clock_boot_ms());
    imapc_enter(c);
    if (c->slowed && ms > 0) {
        imapc_wait_for_pace(c, ms); /* others were faster */
    } else if (c->slowed) {
        c->slowed = false;
        imapc_read_on(c);
    }
    imapc_pump(c);
    imapc_tell_drained(c);
    imapc_leave(c);
}

/* What the kernel holds goes when the time is over, not when the next byte does. Until then, a peer that is
 * slow is given its time. */
static void on_fence(void *owner)
{
    struct imapc *c = owner;
    uint64_t now = clock_boot_ms(), left = *c->fence > now ? *c->fence - now : 0, third = c->silence_ms / 3;
    imapc_enter(c);
    if (!imapc_beyond_fence(c)) {
        stream_still_mine(c->stream);
        timer_start(c->fence_timer, third > 0 && third < left ? third : left);
    }
    imapc_leave(c);
}

static void imapc_on_login(void *owner, const struct login_result *result)
{
    struct imapc *c = owner;
    c->login = NULL;
    c->login_rc = result->rc;
    if (result->rc != LOGIN_OK) {
        char *why = xasprintf("%s: %s", result->phase, result->detail);
        imapc_set_broken(c, FAILED, why);
        free(why);
        return;
    }
    c->stream = result->stream;
    c->caps = result->caps;
    c->phase = READY;
    stream_set_owner(c->stream, imapc_on_stream, c);
    stream_without_secrets(c->stream);
    imapc_enter(c);
    if (c->fence) {
        stream_set_fence(c->stream, c->fence);
        on_fence(c);
    }
    if (c->phase == READY)
        imapc_emit(c, IMAPC_READY);
    if (!c->freed && c->phase == READY) {
        imapc_pump(c);
        c->stamp_ms = clock_boot_ms();
        if (!TAILQ_EMPTY(&c->commands))
            imapc_start_clock(c);
    }
    imapc_leave(c);
}

/* --- the rest --- */

static bool says_later(struct span text)
{
    static const char *const texts[] = {"[THROTTLED]", "Rate limit hit", "Suggested Backoff Time"};
    for (size_t i = 0; i < COUNTOF(texts); i++)
        if (text.len > 0 && memmem(text.p, text.len, texts[i], strlen(texts[i])))
            return true;
    return false;
}

bool imapc_end_temporary(const struct imapc_end *end)
{
    const struct imap_code *code = imap_code_find(end->code);
    return (code && code->temporary) || says_later(end->text);
}

bool imapc_end_is_limit(const struct imapc_end *end)
{
    return imap_code_is(end->code, "LIMIT", NULL) && !says_later(end->text);
}

char *imapc_end_text(const struct imapc_end *end)
{
    struct buf out = {0};
    if (end->code.len > 0) {
        buf_add_str(&out, "[");
        imap_write_text(&out, end->code);
        buf_add_str(&out, "] ");
    }
    imap_write_text(&out, end->text);
    char *text = xstrdup(buf_str(&out));
    buf_free(&out);
    return text;
}

struct imapc *imapc_new(struct loop *l, const struct login_request *login, uint64_t command_timeout_ms,
                        imapc_event_fn fn, imapc_data_fn news, void *owner)
{
    static const struct imap_line_limits line = {
        .line = LINE_MAX_BYTES, .parts = RESPONSE_LITERALS, .literal = BODY_MAX};
    static const struct imap_tree_limits tree = {TREE_DEPTH, TREE_VALUES, TREE_BYTES, .lenient = true};
    struct imapc *c = xcalloc(1, sizeof *c);
    c->loop = l;
    c->fn = fn;
    c->news = news;
    c->owner = owner;
    c->timeout_ms = command_timeout_ms;
    c->task.fn = imapc_on_task;
    c->error = xstrdup("");
    c->name = xstrdup(login->backend->name ? login->backend->name : "the server");
    TAILQ_INIT(&c->commands);
    imap_line_init(&c->line, LINE_RESPONSES, &line);
    c->tree = imap_tree_new(&tree);
    c->timer = timer_new(l, imapc_on_tick, c);
    c->pace_timer = timer_new(l, on_pace, c);
    c->fence_timer = timer_new(l, on_fence, c);
    c->silence_ms = login->limits.silence_ms;
    c->login = backend_login_start(l, login, imapc_on_login, c);
    return c;
}

void imapc_free(struct imapc **cp)
{
    struct imapc *c = *cp;
    if (!c)
        return;
    *cp = NULL;
    bool polite = c->phase == READY && TAILQ_EMPTY(&c->commands) && stream_unsent(c->stream) == 0;
    if (polite)
        imapc_put(c, span_str("bye LOGOUT\r\n"));
    imapc_uncork(c);
    backend_login_cancel(&c->login);
    stream_close(&c->stream, polite);
    loop_undefer(c->loop, &c->task);
    timer_free(&c->timer);
    timer_free(&c->pace_timer);
    timer_free(&c->fence_timer);
    c->freed = true;
    if (c->busy == 0)
        imapc_release(c);
}

void imapc_abort(struct imapc *c, const char *why)
{
    imapc_broken(c, "%s", why);
}

uint64_t imapc_timeout_ms(const struct imapc *c)
{
    return c->timeout_ms;
}

void imapc_set_timeout(struct imapc *c, uint64_t command_timeout_ms)
{
    c->timeout_ms = command_timeout_ms;
}

const struct imap_caps *imapc_caps(const struct imapc *c)
{
    return &c->caps;
}

void imapc_set_fence(struct imapc *c, const uint64_t *until_ms)
{
    c->fence = until_ms;
}

void imapc_note_needs_select(struct imapc *c)
{
    c->needs_select = true;
}

void imapc_set_pace(struct imapc *c, struct pace *pace)
{
    c->pace = pace;
}

void imapc_on_odd(struct imapc *c, imapc_odd_fn fn, void *owner)
{
    c->odd = fn;
    c->odd_owner = owner;
}

bool imapc_is_garbled(const struct imapc *c)
{
    return c->garbled;
}

bool imapc_needs_select(const struct imapc *c)
{
    return c->needs_select;
}

enum imap_literals imapc_literals(const struct imapc *c)
{
    return imap_literals_of(&c->caps);
}

const char *imapc_peer(const struct imapc *c)
{
    return c->stream ? stream_peer(c->stream) : "";
}

enum login_rc imapc_login_rc(const struct imapc *c)
{
    return c->login_rc;
}

const char *imapc_error(const struct imapc *c)
{
    return c->error;
}

void imapc_pause(struct imapc *c)
{
    c->paused = true;
    if (c->stream)
        stream_pause(c->stream);
}

void imapc_resume(struct imapc *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    imapc_read_on(c);
}

void imapc_watch(struct imapc *c, imapc_event_fn fn, imapc_data_fn news, imapc_odd_fn odd, void *owner)
{
    c->watch.fn = fn;
    c->watch.news = news;
    c->watch.odd = odd;
    c->watch.owner = owner;
}

size_t imapc_pending(const struct imapc *c)
{
    size_t n = 0;
    const struct imapc_queued *cmd;
    TAILQ_FOREACH(cmd, &c->commands, link)
    n += !cmd->answered;
    return n;
}

void imapc_forget(struct imapc *c, void *owner)
{
    struct imapc_queued *cmd;
    if (c->append && c->append->cb.owner == owner)
        imapc_abort(c, "given up inside of an APPEND");
    TAILQ_FOREACH(cmd, &c->commands, link)
    if (cmd->cb.owner == owner) {
        cmd->cb = (struct imapc_command){0};
        if (c->body_of == cmd)
            c->body_of = NULL;
    }
    if (c->watch.owner == owner)
        imapc_watch(c, NULL, NULL, NULL, NULL);
}
