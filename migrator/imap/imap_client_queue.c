/* Commands: queued, sent as far as the peer and the pace let us, and ended in the order in which they were
 * sent. */

#include <assert.h>
#include <stdlib.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "imap_client_priv.h"

enum { CORK_MAX = 64 * 1024 /* bytes gathered before they go out */ };

static void answer_free(struct answer **ap)
{
    struct answer *a = *ap;
    *ap = NULL;
    if (!a)
        return;
    buf_free(&a->code);
    buf_free(&a->text);
    free(a);
}

static void command_free(struct imapc_queued *cmd)
{
    answer_free(&cmd->early);
    buf_wipe(&cmd->out);
    free(cmd->waits);
    free(cmd);
}

void imapc_remove_command(struct imapc *c, struct imapc_queued *cmd)
{
    if (c->sending == cmd)
        c->sending = TAILQ_NEXT(cmd, link);
    if (c->append == cmd)
        c->append = NULL;
    if (c->body_of == cmd)
        c->body_of = NULL;
    if (c->whole_of == cmd)
        c->whole_of = NULL;
    TAILQ_REMOVE(&c->commands, cmd, link);
    command_free(cmd);
}

void imapc_set_broken(struct imapc *c, enum imapc_phase phase, const char *why)
{
    if (c->phase == BROKEN || c->phase == FAILED)
        return;
    const struct imapc_queued *oldest = TAILQ_FIRST(&c->commands);
    free(c->error);
    c->error = oldest && phase == BROKEN ? xasprintf("%s, while %s", why, oldest->what) : xstrdup(why);
    c->phase = phase;
    c->corked = false;
    stream_close(&c->stream, false);
    timer_stop(c->timer);
    timer_stop(c->pace_timer);
    timer_stop(c->fence_timer);
    loop_defer(c->loop, &c->task);
}

void imapc_broken(struct imapc *c, const char *fmt, ...)
{
    struct buf why = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    imapc_set_broken(c, BROKEN, buf_str(&why));
    buf_free(&why);
}

/* Looked at before anything is sent and after anything was read: a process that stood still finds its sockets
 * ready before any of its timers run. */
bool imapc_beyond_fence(struct imapc *c)
{
    if (!c->fence || clock_boot_ms() < *c->fence)
        return false;
    imapc_broken(c, "the job is no longer this migrator's: it stood still, or Redis did not renew the job");
    return true;
}

/* What was gathered while the job was still ours may go out no more where it is not: it may be the end of an
 * APPEND. */
void imapc_uncork(struct imapc *c)
{
    bool corked = c->corked;
    c->corked = false;
    if (corked && c->stream && !imapc_beyond_fence(c))
        stream_uncork(c->stream);
}

void imapc_emit(struct imapc *c, enum imapc_event ev)
{
    if (c->watch.fn)
        c->watch.fn(c->watch.owner, ev);
    if (!c->freed)
        c->fn(c->owner, ev);
}

void imapc_end_command(struct imapc *c, struct imapc_queued *cmd, const struct imapc_end *end)
{
    struct imapc_command cb = cmd->cb;
    cmd->cb = (struct imapc_command){0};
    if (!cmd->open || c->phase != READY)
        imapc_remove_command(c, cmd);
    if (cb.end)
        cb.end(cb.owner, end);
}

/* After a connection broke: all commands end, then the owner hears of it. */
void imapc_end_all(struct imapc *c)
{
    struct imapc_queued *cmd;
    while (!c->freed && (cmd = TAILQ_FIRST(&c->commands))) {
        const struct imapc_end end = {.rc = IMAPC_DOWN, .text = span_str(c->error)};
        imapc_end_command(c, cmd, &end);
    }
    if (c->freed || c->told)
        return;
    c->told = true;
    imapc_emit(c, c->phase == FAILED ? IMAPC_FAILED : IMAPC_BROKEN);
}

/* --- the pace of the backend --- */

/* Comes back when the pace lets us go on. */
void imapc_wait_for_pace(struct imapc *c, uint64_t ms)
{
    if (!timer_is_set(c->pace_timer))
        timer_start(c->pace_timer, ms);
}

/* No new command in a rest that the server asked for. */
static bool must_rest(struct imapc *c)
{
    uint64_t ms = c->pace ? pace_throttle_left_ms(c->pace, clock_boot_ms()) : 0;
    if (ms > 0)
        imapc_wait_for_pace(c, ms);
    return ms > 0;
}

static void imapc_throttle(struct imapc *c, uint64_t ms, struct span text)
{
    ms = pace_throttle(c->pace, ms, clock_boot_ms());
    LOG(WARN, "throttled", LOG_S("peer", c->stream ? stream_peer(c->stream) : c->name), LOG_U("rest_ms", ms),
        LOG_SPAN("text", text));
}

void imapc_note_hint(struct imapc *c, struct span code, const struct imap_resp *resp)
{
    uint64_t ms;
    bool refused = resp->status != STATUS_OK && resp->status != STATUS_PREAUTH;
    if (c->pace && pace_hint(code, resp->text, refused, &ms))
        imapc_throttle(c, ms, resp->text);
}

void imapc_throttled(struct imapc *c, const char *text)
{
    if (c->pace)
        imapc_throttle(c, 0, span_str(text));
}

uint64_t imapc_take_pace(struct imapc *c, uint32_t messages, uint64_t bytes)
{
    if (!c->pace)
        return 0;
    pace_take(c->pace, messages, bytes, clock_boot_ms());
    return pace_wait_ms(c->pace, clock_boot_ms());
}

/* Of what was read. */
void imapc_keep_pace(struct imapc *c, uint32_t messages, uint64_t bytes)
{
    uint64_t ms = imapc_take_pace(c, messages, bytes);
    if (ms == 0 || c->freed || c->phase != READY)
        return;
    c->slowed = true;
    stream_pause(c->stream);
    imapc_wait_for_pace(c, ms);
}

/* --- sending --- */

void imapc_put(struct imapc *c, struct span bytes)
{
    if (imapc_beyond_fence(c))
        return;
    if (!c->corked) {
        stream_cork(c->stream);
        c->corked = true;
        loop_defer(c->loop, &c->task);
    }
    stream_send(c->stream, bytes.p, bytes.len);
    c->put += bytes.len;
    if (stream_unsent(c->stream) > CORK_MAX)
        imapc_uncork(c);
}

static void put_queued(struct imapc *c, struct imapc_queued *cmd, uint64_t until)
{
    size_t n = (size_t)(until - cmd->sent);
    if (n == 0)
        return;
    imapc_put(c, span_of(buf_span(&cmd->out).p, n));
    buf_eat(&cmd->out, n);
    cmd->sent = until;
}

/* Sends what may be sent. */
void imapc_pump(struct imapc *c)
{
    while (c->phase == READY && !c->waiting && c->sending) {
        struct imapc_queued *cmd = c->sending;
        if (cmd->unsendable || (cmd->sent == 0 && must_rest(c)))
            return;
        bool wait = cmd->next_wait < cmd->n_waits;
        put_queued(c, cmd, wait ? cmd->waits[cmd->next_wait] : cmd->sent + cmd->out.len);
        c->waiting = wait;
        if (wait || cmd->open)
            return;
        c->sending = TAILQ_NEXT(cmd, link);
        buf_free(&cmd->out);
        if (cmd->answered && !cmd->early)
            imapc_remove_command(c, cmd);
    }
}

void imapc_start_clock(struct imapc *c)
{
    if (c->phase != READY || timer_is_set(c->timer))
        return;
    timer_start(c->timer, c->timeout_ms / IMAPC_TICKS);
}

/* Takes w's bytes behind what the command has already, with its waits. */
void imapc_take_writer(struct imapc_queued *cmd, struct imap_writer *w)
{
    uint64_t at = cmd->sent + cmd->out.len;
    if (cmd->next_wait == cmd->n_waits)
        cmd->next_wait = cmd->n_waits = 0;
    if (w->n_waits > 0)
        cmd->waits = xreallocarray(cmd->waits, cmd->n_waits + w->n_waits, sizeof *cmd->waits);
    for (size_t i = 0; i < w->n_waits; i++)
        cmd->waits[cmd->n_waits++] = at + w->waits[i];
    buf_add_span(&cmd->out, buf_span(&w->out));
    cmd->unsendable = cmd->unsendable || w->bad;
    imap_writer_wipe(w);
}

/* The verb, for errors: never an argument. */
static void name_command(struct imapc_queued *cmd, struct span text)
{
    size_t n = 0, words = text.len > 4 && memcmp(text.p, "UID ", 4) == 0 ? 2 : 1;
    while (n < text.len && text.p[n] >= ' ' && n + 1 < sizeof cmd->what &&
           (text.p[n] != ' ' || --words > 0)) {
        cmd->what[n] = (char)text.p[n];
        n++;
    }
    cmd->what[n] = '\0';
}

struct imapc_queued *imapc_add_command(struct imapc *c, struct imap_writer *w, const struct imapc_command *cb)
{
    struct imapc_queued *cmd = xcalloc(1, sizeof *cmd);
    assert(cb->end);
    if (TAILQ_EMPTY(&c->commands))
        c->stamp_ms = clock_boot_ms();
    cmd->cb = *cb;
    cmd->tag = ++c->last_tag;
    name_command(cmd, buf_span(&w->out));
    FAULT_POINT("command", cmd->what, "sent");
    buf_printf(&cmd->out, "m%llu ", (unsigned long long)cmd->tag);
    imapc_take_writer(cmd, w);
    TAILQ_INSERT_TAIL(&c->commands, cmd, link);
    if (!c->sending)
        c->sending = cmd;
    if (c->phase == BROKEN || c->phase == FAILED || cmd->unsendable)
        loop_defer(c->loop, &c->task);
    return cmd;
}

void imapc_send(struct imapc *c, struct imap_writer *w, const struct imapc_command *cb)
{
    imap_write_raw(w, "\r\n");
    imapc_add_command(c, w, cb);
    imapc_pump(c);
    imapc_start_clock(c);
}

void imapc_send_named(struct imapc *c, const struct imapc_command *cb, const char *verb, const char *mailbox,
                      const char *behind)
{
    struct imap_writer w;
    imap_writer_init(&w, imap_literals_of(&c->caps));
    imap_write_raw(&w, "%s ", verb);
    imap_write_astring(&w, span_str(mailbox));
    imap_write_raw(&w, "%s", behind);
    imapc_send(c, &w, cb);
}

void imapc_sendf(struct imapc *c, const struct imapc_command *cb, const char *fmt, ...)
{
    struct imap_writer w;
    struct buf text = {0};
    va_list ap;
    imap_writer_init(&w, LITERALS_SYNC);
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    imap_write_raw(&w, "%s", buf_str(&text));
    buf_free(&text);
    imapc_send(c, &w, cb);
}

/* Commands that can't be written, wherever they stand in the queue. */
void imapc_end_unsendable(struct imapc *c)
{
    struct imapc_queued *cmd, *next;
    const struct imapc_end end = {.rc = IMAPC_BAD, .text = span_str("a name holds a NUL")};
    for (cmd = TAILQ_FIRST(&c->commands); cmd && !c->freed; cmd = next) {
        next = TAILQ_NEXT(cmd, link);
        if (!cmd->unsendable || cmd->open)
            continue;
        imapc_end_command(c, cmd, &end);
        next = TAILQ_FIRST(&c->commands);
    }
    if (!c->freed)
        imapc_pump(c);
}

/* --- answers --- */

struct imapc_queued *imapc_find_command(struct imapc *c, struct span tag)
{
    struct imapc_queued *cmd;
    uint64_t n;
    if (tag.len < 2 || tag.p[0] != 'm' || !span_u64(span_of(tag.p + 1, tag.len - 1), UINT64_MAX, &n))
        return NULL;
    TAILQ_FOREACH(cmd, &c->commands, link)
    if (cmd->tag == n && cmd->sent > 0 && !cmd->answered && !cmd->early)
        return cmd;
    return NULL;
}

/* The peer refused a command that isn't sent whole. */
void imapc_cut_short(struct imapc *c, struct imapc_queued *cmd)
{
    cmd->answered = cmd->open;
    if (!c->waiting)
        return;
    c->waiting = false;
    buf_clear(&cmd->out);
    cmd->next_wait = cmd->n_waits;
    cmd->swallow = cmd->over = true;
    if (!cmd->open)
        c->sending = TAILQ_NEXT(cmd, link);
}

/* A server may end commands in any order (RFC 3501 5.5); those who asked hear of it in the order in which
 * they asked. */
void imapc_keep_early(struct imapc_queued *cmd, const struct imapc_end *end)
{
    cmd->early = xcalloc(1, sizeof *cmd->early);
    cmd->early->rc = end->rc;
    buf_add_span(&cmd->early->code, end->code);
    buf_add_span(&cmd->early->text, end->text);
}

void imapc_end_early(struct imapc *c)
{
    struct imapc_queued *cmd;
    while (!c->freed && c->phase == READY && (cmd = TAILQ_FIRST(&c->commands)) && cmd->early) {
        struct answer *a = cmd->early;
        const struct imapc_end end = {.rc = a->rc, .code = buf_span(&a->code), .text = buf_span(&a->text)};
        cmd->early = NULL;
        imapc_end_command(c, cmd, &end);
        answer_free(&a);
    }
}
