#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/fault.h"
#include "lib/imap_line.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "imap_client.h"

enum {
    LINE_MAX_BYTES = 1024 * 1024,
    RESPONSE_LITERALS = 1000,
    COLLECT_MAX = 64 * 1024,
    TREE_DEPTH = 64,
    TREE_VALUES = 50 * 1000,
    TREE_BYTES = 1024 * 1024,
    HOLD_MAX = 256 * 1024, /* bytes of an APPEND kept while it waits for "+" */
    CORK_MAX = 64 * 1024,  /* bytes gathered before they go out */
    TICKS = 4,             /* looks at the clock in one time-out */
    TURN_NS = 5 * 1000 * 1000, /* for what one server sent, before others have their turn */
    QUOTED_MAX = 150       /* bytes of an odd response that are told */
};
#define BODY_MAX (UINT64_C(1) << 40)

enum phase { SIGNING_IN, READY, FAILED, BROKEN };

/* A tagged answer that waits for its turn. */
struct answer {
    enum imapc_rc rc;
    struct buf code, text;
};

struct command {
    TAILQ_ENTRY(command) link;
    struct imapc_command cb; /* end is NULL once its owner is gone */
    uint64_t tag;
    char what[24];
    struct buf out;  /* not sent yet; owned */
    uint64_t sent;   /* bytes that went to the stream */
    uint64_t *waits; /* counted in bytes from the beginning: wait for "+" there; owned */
    size_t n_waits, next_wait;
    bool unsendable;
    /* an APPEND */
    bool open;     /* gets more bytes */
    bool answered; /* refused before its end: what is left goes out only as far as the peer must read it */
    bool swallow;  /* what the owner gives goes nowhere any more */
    bool over;     /* for the peer it has ended: not even a CRLF is due */
    uint64_t literal_left; /* of the message that is under way */
    struct answer *early;  /* came while a command before it had none; owned */
};
TAILQ_HEAD(commands, command);

/* A body that came as a quoted string is given in steps as well, since each may pause the connection. */
enum quoted_step { QUOTED_NONE, QUOTED_BEGIN, QUOTED_PIECE, QUOTED_END };

struct imapc {
    struct loop *loop;
    struct backend_login *login;
    struct stream *stream; /* owned; NULL before READY and once broken */
    enum phase phase;
    bool told; /* FAILED or BROKEN was reported */
    enum login_rc login_rc;
    struct imap_caps caps;
    const uint64_t *fence; /* borrowed; NULL: none */
    uint64_t silence_ms;
    struct timer *fence_timer;
    bool needs_select;
    char *error, *bye; /* owned */

    imapc_event_fn fn;
    imapc_data_fn news;
    void *owner;
    struct {
        imapc_event_fn fn;
        imapc_data_fn news;
        imapc_odd_fn odd;
        void *owner;
    } watch;
    imapc_odd_fn odd;
    void *odd_owner;
    char *name; /* of the backend; owned */
    bool garbled;
    int busy;   /* inside a callback of the loop: memory stays */
    bool freed; /* imapc_free() was called from inside */

    struct commands commands; /* in the order of sending */
    struct command *sending;  /* the first one that is not sent whole */
    struct command *append;   /* the one that is open */
    bool waiting;             /* for "+" */
    bool told_full, corked, paused;
    struct pace *pace; /* borrowed; NULL: none */
    struct timer *pace_timer;
    bool slowed; /* nothing is read until the pace lets us */
    uint64_t last_tag;
    struct loop_task task;

    struct imap_line line;
    struct imap_tree *tree;
    struct imap_resp head; /* of the response under way; its word is in `word` */
    char word[32];
    struct buf raw; /* how it begins, with its literals' markers in place of them */
    bool malformed; /* its words can't be told apart: what is left of it is passed over */
    bool streaming; /* the literal under way is a body */
    uint64_t literal_size;
    struct command *body_of; /* whose body it is; NULL: nobody's any more */
    struct command *whole_of; /* whose body the response under way had: the whole is for it first */
    struct buf collected;    /* another literal */
    enum quoted_step quoted;

    struct timer *timer;
    uint64_t timeout_ms, stamp_ms;
    uint64_t put, put_seen; /* bytes given to the stream; those that had left it at the last tick */
};

/* --- ends --- */

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

static void command_free(struct command *cmd)
{
    answer_free(&cmd->early);
    buf_wipe(&cmd->out);
    free(cmd->waits);
    free(cmd);
}

static void remove_command(struct imapc *c, struct command *cmd)
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

static void imapc_release(struct imapc *c)
{
    struct command *cmd;
    while ((cmd = TAILQ_FIRST(&c->commands)))
        remove_command(c, cmd);
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

static void set_broken(struct imapc *c, enum phase phase, const char *why)
{
    if (c->phase == BROKEN || c->phase == FAILED)
        return;
    const struct command *oldest = TAILQ_FIRST(&c->commands);
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

static void imapc_broken(struct imapc *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void imapc_broken(struct imapc *c, const char *fmt, ...)
{
    struct buf why = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    set_broken(c, BROKEN, buf_str(&why));
    buf_free(&why);
}

/* Looked at before anything is sent and after anything was read: a process that stood still finds its sockets
 * ready before any of its timers run. */
static bool imapc_beyond_fence(struct imapc *c)
{
    if (!c->fence || clock_boot_ms() < *c->fence)
        return false;
    imapc_broken(c, "this migrator stood still for too long");
    return true;
}

/* What was gathered while the job was still ours may go out no more where it is not: it may be the end of an APPEND. */
static void imapc_uncork(struct imapc *c)
{
    bool corked = c->corked;
    c->corked = false;
    if (corked && c->stream && !imapc_beyond_fence(c))
        stream_uncork(c->stream);
}

static void imapc_emit(struct imapc *c, enum imapc_event ev)
{
    if (c->watch.fn)
        c->watch.fn(c->watch.owner, ev);
    if (!c->freed)
        c->fn(c->owner, ev);
}

static void imapc_end_command(struct imapc *c, struct command *cmd, const struct imapc_end *end)
{
    struct imapc_command cb = cmd->cb;
    cmd->cb = (struct imapc_command){0};
    if (!cmd->open || c->phase != READY)
        remove_command(c, cmd);
    if (cb.end)
        cb.end(cb.owner, end);
}

/* After a connection broke: all commands end, then the owner hears of it. */
static void end_all(struct imapc *c)
{
    struct command *cmd;
    while (!c->freed && (cmd = TAILQ_FIRST(&c->commands))) {
        const struct imapc_end end = {.rc = IMAPC_DOWN, .text = span_str(c->error)};
        imapc_end_command(c, cmd, &end);
    }
    if (c->freed || c->told)
        return;
    c->told = true;
    imapc_emit(c, c->phase == FAILED ? IMAPC_FAILED : IMAPC_BROKEN);
}

/* --- sending --- */

static void imapc_put(struct imapc *c, struct span bytes)
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

static void put_queued(struct imapc *c, struct command *cmd, uint64_t until)
{
    size_t n = (size_t)(until - cmd->sent);
    if (n == 0)
        return;
    imapc_put(c, span_of(buf_span(&cmd->out).p, n));
    buf_eat(&cmd->out, n);
    cmd->sent = until;
}

/* Comes back when the pace lets us go on. */
static void wait_for_pace(struct imapc *c, uint64_t ms)
{
    if (!timer_is_set(c->pace_timer))
        timer_start(c->pace_timer, ms);
}

/* No new command in a rest that the server asked for. */
static bool must_rest(struct imapc *c)
{
    uint64_t ms = c->pace ? pace_throttle_left_ms(c->pace, clock_boot_ms()) : 0;
    if (ms > 0)
        wait_for_pace(c, ms);
    return ms > 0;
}

static void imapc_throttle(struct imapc *c, uint64_t ms, struct span text)
{
    ms = pace_throttle(c->pace, ms, clock_boot_ms());
    LOG(WARN, "throttled", LOG_S("peer", c->stream ? stream_peer(c->stream) : c->name), LOG_U("rest_ms", ms),
        LOG_SPAN("text", text));
}

static void note_hint(struct imapc *c, struct span code, const struct imap_resp *resp)
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

static uint64_t take_pace(struct imapc *c, uint32_t messages, uint64_t bytes)
{
    if (!c->pace)
        return 0;
    pace_take(c->pace, messages, bytes, clock_boot_ms());
    return pace_wait_ms(c->pace, clock_boot_ms());
}

/* Of what was read. */
static void keep_pace(struct imapc *c, uint32_t messages, uint64_t bytes)
{
    uint64_t ms = take_pace(c, messages, bytes);
    if (ms == 0 || c->freed || c->phase != READY)
        return;
    c->slowed = true;
    stream_pause(c->stream);
    wait_for_pace(c, ms);
}

/* Sends what may be sent. */
static void imapc_pump(struct imapc *c)
{
    while (c->phase == READY && !c->waiting && c->sending) {
        struct command *cmd = c->sending;
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
            remove_command(c, cmd);
    }
}

static void start_clock(struct imapc *c)
{
    if (c->phase != READY || timer_is_set(c->timer))
        return;
    timer_start(c->timer, c->timeout_ms / TICKS);
}

/* Takes w's bytes behind what the command has already, with its waits. */
static void take_writer(struct command *cmd, struct imap_writer *w)
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
static void name_command(struct command *cmd, struct span text)
{
    size_t n = 0, words = text.len > 4 && memcmp(text.p, "UID ", 4) == 0 ? 2 : 1;
    while (n < text.len && text.p[n] >= ' ' && n + 1 < sizeof cmd->what &&
           (text.p[n] != ' ' || --words > 0)) {
        cmd->what[n] = (char)text.p[n];
        n++;
    }
    cmd->what[n] = '\0';
}

static struct command *add_command(struct imapc *c, struct imap_writer *w, const struct imapc_command *cb)
{
    struct command *cmd = xcalloc(1, sizeof *cmd);
    assert(cb->end);
    if (TAILQ_EMPTY(&c->commands))
        c->stamp_ms = clock_boot_ms();
    cmd->cb = *cb;
    cmd->tag = ++c->last_tag;
    name_command(cmd, buf_span(&w->out));
    FAULT_POINT("command", cmd->what, "sent");
    buf_printf(&cmd->out, "m%llu ", (unsigned long long)cmd->tag);
    take_writer(cmd, w);
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
    add_command(c, w, cb);
    imapc_pump(c);
    start_clock(c);
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
static void end_unsendable(struct imapc *c)
{
    struct command *cmd, *next;
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

/* --- APPEND --- */

void imapc_append_begin(struct imapc *c, struct span mailbox, const struct imapc_command *cb)
{
    struct imap_writer w;
    assert(!c->append);
    imap_writer_init(&w, imapc_literals(c));
    imap_write_raw(&w, "APPEND ");
    imap_write_astring(&w, mailbox);
    c->append = add_command(c, &w, cb);
    c->append->open = true;
    c->append->swallow = c->append->unsendable;
    imapc_pump(c);
    start_clock(c);
}

void imapc_append_message(struct imapc *c, struct span flags, struct span date, uint64_t size)
{
    struct command *cmd = c->append;
    if (!cmd)
        return;
    assert(cmd->literal_left == 0);
    cmd->literal_left = size;
    cmd->swallow = cmd->swallow || cmd->answered;
    if (cmd->swallow)
        return;
    take_pace(c, 1, 0);
    struct imap_writer w;
    imap_writer_init(&w, imapc_literals(c));
    imap_write_raw(&w, " (%.*s) \"%.*s\" ", (int)flags.len, (const char *)flags.p, (int)date.len,
                   (const char *)date.p);
    imap_write_literal_marker(&w, size);
    take_writer(cmd, &w);
    imapc_pump(c);
}

void imapc_append_bytes(struct imapc *c, struct span bytes)
{
    struct command *cmd = c->append;
    if (!cmd)
        return;
    assert(bytes.len <= cmd->literal_left);
    cmd->literal_left -= bytes.len;
    if (cmd->swallow || c->phase != READY)
        return;
    take_pace(c, 0, bytes.len);
    if (cmd == c->sending && !c->waiting && cmd->out.len == 0 && cmd->sent > 0) {
        imapc_put(c, bytes);
        cmd->sent += bytes.len;
    } else {
        buf_add_span(&cmd->out, bytes);
    }
    FAULT_POINT("command", "APPEND", "body");
}

void imapc_append_end(struct imapc *c)
{
    struct command *cmd = c->append;
    if (!cmd)
        return;
    assert(cmd->literal_left == 0);
    cmd->open = false;
    c->append = NULL;
    if (!cmd->over)
        buf_add_str(&cmd->out, "\r\n");
    if (cmd->unsendable)
        loop_defer(c->loop, &c->task);
    imapc_pump(c);
    FAULT_POINT("command", "APPEND", "closed");
}

bool imapc_append_full(const struct imapc *c)
{
    struct imapc *mine = (struct imapc *)(uintptr_t)c; /* it only remembers that it was asked */
    uint64_t ms = c->pace ? pace_wait_ms(c->pace, clock_boot_ms()) : 0;
    bool full = ms > 0 || (c->append && c->append->out.len > HOLD_MAX) || (c->stream && stream_full(c->stream));
    if (ms > 0)
        wait_for_pace(mine, ms);
    if (full)
        mine->told_full = true;
    return full;
}

static void imapc_tell_drained(struct imapc *c)
{
    if (!c->told_full || c->freed || c->phase != READY)
        return;
    c->told_full = false;
    if (!imapc_append_full(c))
        imapc_emit(c, IMAPC_DRAINED);
}

/* --- receiving: what is odd --- */

static void note_raw(struct imapc *c, struct span part)
{
    size_t room = c->raw.len < QUOTED_MAX + 1 ? QUOTED_MAX + 1 - c->raw.len : 0;
    buf_add_span(&c->raw, span_of(part.p, part.len < room ? part.len : room));
}

/* \x is written \\x, so that nobody takes it for an escape. */
void imapc_escape(struct buf *out, struct span line, size_t max)
{
    for (size_t i = 0; i < line.len && i < max; i++) {
        uint8_t byte = line.p[i];
        bool like_escape = byte == '\\' && i + 1 < line.len && line.p[i + 1] == 'x';
        if (byte < ' ' || byte >= 0x7f)
            buf_printf(out, "\\x%02x", byte);
        else
            buf_printf(out, "%s%c", like_escape ? "\\" : "", byte);
    }
    if (line.len > max)
        buf_add_str(out, "...");
}

static bool imapc_is_fetch(const struct imapc *c)
{
    return c->head.kind == RESP_DATA && span_is_ci(c->head.word, "FETCH");
}

static uint32_t told_uid(const struct imapc *c)
{
    uint32_t uid = 0;
    const struct imap_value *items = imapc_is_fetch(c) ? imap_tree_first(c->tree) : NULL;
    return imap_value_u32(imap_value_get(items, "UID"), &uid) ? uid : 0;
}

/* cmd: whose answer it is; NULL: nobody's. */
static void tell_odd(struct imapc *c, const struct command *cmd)
{
    struct buf text = {0};
    buf_printf(&text, "%s answers %s by what can't be understood: ", c->name, cmd && *cmd->what ? cmd->what : "nothing");
    imapc_escape(&text, buf_span(&c->raw), QUOTED_MAX);
    LOG(WARN, "imap_odd", LOG_S("peer", stream_peer(c->stream)), LOG_S("text", buf_str(&text)));
    const struct imapc_odd odd = {cmd ? cmd->cb.mailbox : NULL, told_uid(c),
                                  imapc_is_fetch(c) ? c->head.number : 0, buf_str(&text)};
    if (cmd && cmd->cb.odd)
        cmd->cb.odd(cmd->cb.owner, &odd);
    else if (c->watch.odd)
        c->watch.odd(c->watch.owner, &odd);
    else if (c->odd)
        c->odd(c->odd_owner, &odd);
    buf_free(&text);
}

static struct command *who_asked(struct imapc *c)
{
    struct command *cmd;
    TAILQ_FOREACH(cmd, &c->commands, link)
    if (cmd->cb.data && cmd->sent > 0 && !cmd->early)
        return cmd;
    return NULL;
}

/* --- receiving: whole responses --- */

/* The one place where an untagged response is given to a reader. True: it was his. */
static bool imapc_hand(struct imapc *c, struct command *cmd, imapc_data_fn fn, void *owner,
                       const struct imap_resp *resp, const struct imap_value *data)
{
    enum imapc_taken taken = fn(owner, resp, data);
    if (taken == IMAPC_ODD && !c->freed && c->phase == READY)
        tell_odd(c, cmd);
    return taken != IMAPC_NOT_MINE || c->freed || c->phase != READY;
}

static void imapc_offer(struct imapc *c, const struct imap_resp *resp, const struct imap_value *data)
{
    struct command *cmd;
    TAILQ_FOREACH(cmd, &c->commands, link)
    {
        if (cmd->sent == 0)
            break; /* what wasn't asked yet isn't answered */
        if (cmd->cb.data && !cmd->early && imapc_hand(c, cmd, cmd->cb.data, cmd->cb.owner, resp, data))
            return;
    }
    if (c->watch.news && imapc_hand(c, NULL, c->watch.news, c->watch.owner, resp, data))
        return;
    if (c->news)
        imapc_hand(c, NULL, c->news, c->owner, resp, data);
}

/* Nobody knows where the next response begins. */
static void imapc_garbled(struct imapc *c, const char *why)
{
    c->garbled = true;
    tell_odd(c, who_asked(c));
    if (!c->freed)
        imapc_broken(c, "a response that is none: %s", why);
}

static void imapc_take_status(struct imapc *c, const struct imap_resp *resp)
{
    if (imap_code_is(resp->code, "ALERT", NULL))
        LOG(WARN, "imap_alert", LOG_S("peer", stream_peer(c->stream)), LOG_SPAN("text", resp->text));
    if (resp->status != STATUS_BYE)
        return;
    struct buf text = {0};
    imap_write_text(&text, resp->text);
    free(c->bye);
    c->bye = xasprintf("BYE %s", buf_str(&text));
    buf_free(&text);
}

static struct command *find_command(struct imapc *c, struct span tag)
{
    struct command *cmd;
    uint64_t n;
    if (tag.len < 2 || tag.p[0] != 'm' || !span_u64(span_of(tag.p + 1, tag.len - 1), UINT64_MAX, &n))
        return NULL;
    TAILQ_FOREACH(cmd, &c->commands, link)
    if (cmd->tag == n && cmd->sent > 0 && !cmd->answered && !cmd->early)
        return cmd;
    return NULL;
}

/* The peer refused a command that isn't sent whole. */
static void cut_short(struct imapc *c, struct command *cmd)
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

/* A server may end commands in any order (RFC 3501 5.5); those who asked hear of it in the order in which they asked. */
static void keep_early(struct command *cmd, const struct imapc_end *end)
{
    cmd->early = xcalloc(1, sizeof *cmd->early);
    cmd->early->rc = end->rc;
    buf_add_span(&cmd->early->code, end->code);
    buf_add_span(&cmd->early->text, end->text);
}

static void end_early(struct imapc *c)
{
    struct command *cmd;
    while (!c->freed && c->phase == READY && (cmd = TAILQ_FIRST(&c->commands)) && cmd->early) {
        struct answer *a = cmd->early;
        const struct imapc_end end = {.rc = a->rc, .code = buf_span(&a->code), .text = buf_span(&a->text)};
        cmd->early = NULL;
        imapc_end_command(c, cmd, &end);
        answer_free(&a);
    }
}

static void imapc_take_tagged(struct imapc *c, const struct imap_resp *resp)
{
    struct command *cmd = find_command(c, resp->tag);
    if (!cmd) {
        imapc_broken(c, "an answer to no command");
        return;
    }
    bool limit = !strcmp(cmd->what, "APPEND") && imap_code_is(resp->code, "LIMIT", NULL);
    imapc_take_status(c, resp);
    note_hint(c, limit ? (struct span){0} : resp->code, resp);
    if (cmd == c->sending && resp->status == STATUS_OK) {
        imapc_broken(c, "OK to a command that was not sent whole");
        return;
    }
    if (cmd == c->sending)
        cut_short(c, cmd);
    FAULT_POINT("command", cmd->what, "answered");
    struct imapc_end end = {.code = resp->code, .text = resp->text};
    end.rc = resp->status == STATUS_OK ? IMAPC_OK : resp->status == STATUS_NO ? IMAPC_NO : IMAPC_BAD;
    if (cmd == TAILQ_FIRST(&c->commands))
        imapc_end_command(c, cmd, &end);
    else
        keep_early(cmd, &end);
    end_early(c);
    if (c->freed)
        return;
    imapc_pump(c);
    imapc_tell_drained(c);
}

static void take_continue(struct imapc *c)
{
    if (!c->waiting)
        return; /* some servers say it to a literal that they did not have to allow */
    c->waiting = false;
    c->sending->next_wait++;
    imapc_pump(c);
    imapc_tell_drained(c);
}

/* --- receiving: bodies --- */

static bool is_body_name(const struct imap_value *v)
{
    return imap_value_is(v, "BODY[]") || imap_value_is(v, "BODY[HEADER]") || imap_value_is(v, "RFC822");
}

static struct command *body_command(struct imapc *c, const struct imap_value *name)
{
    bool header = imap_value_is(name, "BODY[HEADER]");
    struct command *cmd;
    TAILQ_FOREACH(cmd, &c->commands, link)
    if (cmd->cb.body && cmd->sent > 0 && !cmd->early && cmd->cb.body->header == header)
        return cmd;
    return NULL;
}

/* What is left of the response is passed over. */
static void give_up_response(struct imapc *c)
{
    c->malformed = true;
    buf_free(&c->collected);
}

static void imapc_body_begin(struct imapc *c, uint64_t size)
{
    uint32_t uid = 0;
    const struct imap_value *v = imap_value_get(imap_tree_first(c->tree), "UID");
    if (!imap_value_u32(v, &uid))
        uid = 0;
    if (c->body_of)
        c->body_of->cb.body->begin(c->body_of->cb.owner, c->head.number, uid, size);
    keep_pace(c, 1, 0);
}

/* The literal that begins: is it a body that streams? */
static void begin_literal(struct imapc *c, uint64_t size)
{
    bool fetch = span_is_ci(c->head.word, "FETCH") && !c->malformed;
    const struct imap_value *last = imap_tree_last(c->tree);
    c->literal_size = size;
    c->body_of = fetch && is_body_name(last) ? body_command(c, last) : NULL;
    c->streaming = c->body_of != NULL;
    if (c->streaming)
        imapc_body_begin(c, size);
    else if (size > COLLECT_MAX)
        give_up_response(c); /* nobody asked for so much */
}

static bool literal_piece(struct imapc *c, struct span bytes)
{
    if (!c->streaming && !c->malformed)
        buf_add_span(&c->collected, bytes);
    else if (c->body_of && bytes.len > 0)
        c->body_of->cb.body->piece(c->body_of->cb.owner, bytes);
    if (c->streaming)
        keep_pace(c, 0, bytes.len);
    return !c->freed && c->phase == READY;
}

static void end_literal(struct imapc *c)
{
    const char *why;
    bool ok;
    if (c->malformed)
        return;
    if (c->streaming) {
        if (c->body_of)
            c->body_of->cb.body->end(c->body_of->cb.owner);
        c->whole_of = c->body_of;
        if (c->freed || c->phase != READY)
            return;
        ok = imap_tree_stream(c->tree, c->literal_size, &why);
    } else {
        ok = imap_tree_literal(c->tree, buf_span(&c->collected), &why);
        buf_free(&c->collected);
    }
    c->streaming = false;
    if (!ok)
        give_up_response(c);
}

/* The name of a body that is a quoted string. */
static const struct imap_value *quoted_body(struct imapc *c)
{
    const struct imap_value *list = imap_tree_first(c->tree);
    const struct imap_value *v = list && list->kind == IMAP_LIST ? list->first : NULL;
    for (; v && v->next; v = v->next->next)
        if (is_body_name(v) && v->next->kind == IMAP_QUOTED)
            return v;
    return NULL;
}

static void end_response(struct imapc *c)
{
    struct command *cmd = c->whole_of;
    const struct imap_value *data = c->malformed ? NULL : imap_tree_first(c->tree);
    c->whole_of = NULL;
    /* Servers may answer commands in any order, so an older one might take what is not meant for it. */
    if (cmd && cmd->cb.data && imapc_hand(c, cmd, cmd->cb.data, cmd->cb.owner, &c->head, data))
        return;
    imapc_offer(c, &c->head, data);
}

/* One step of a body that came as a quoted string; then the response as a whole. */
static void step_quoted(struct imapc *c)
{
    struct span text = quoted_body(c)->next->text;
    struct command *cmd = c->body_of;
    switch (c->quoted++) {
    case QUOTED_BEGIN:
        imapc_body_begin(c, text.len);
        break;
    case QUOTED_PIECE:
        if (cmd && text.len > 0)
            cmd->cb.body->piece(cmd->cb.owner, text);
        keep_pace(c, 0, text.len);
        break;
    default:
        c->quoted = QUOTED_NONE;
        if (cmd)
            cmd->cb.body->end(cmd->cb.owner);
        c->whole_of = c->body_of;
        if (!c->freed && c->phase == READY)
            end_response(c);
    }
}

/* --- receiving: lines --- */

/* A part of a response with data: the words before its literal, or all of it. */
static void take_part(struct imapc *c, struct span part, const struct imap_line_item *item)
{
    const char *why;
    note_raw(c, part);
    if (!c->malformed && !imap_tree_text(c->tree, part, &why))
        give_up_response(c);
    if (item->literal) {
        note_raw(c, span_of(item->text.p + item->marker, item->text.len - item->marker));
        begin_literal(c, item->size);
        return;
    }
    if (!c->malformed && !imap_tree_done(c->tree, &why))
        give_up_response(c);
    bool fetch = span_is_ci(c->head.word, "FETCH") && !c->malformed;
    const struct imap_value *name = fetch ? quoted_body(c) : NULL;
    c->body_of = name ? body_command(c, name) : NULL;
    c->quoted = c->body_of ? QUOTED_BEGIN : QUOTED_NONE;
    if (!c->body_of)
        end_response(c);
}

static void imapc_take_data(struct imapc *c, const struct imap_resp *resp, const struct imap_line_item *item)
{
    c->head = *resp;
    snprintf(c->word, sizeof c->word, "%.*s", (int)resp->word.len, (const char *)resp->word.p);
    c->head.word = span_str(c->word); /* the line goes before the response ends */
    c->whole_of = NULL;
    imap_tree_clear(c->tree);
    size_t end = item->literal ? item->marker : item->text.len;
    size_t begin = resp->rest < end ? resp->rest : end;
    buf_clear(&c->raw);
    note_raw(c, span_of(item->text.p, begin));
    take_part(c, span_of(item->text.p + begin, end - begin), item);
}

/* An untagged line that has no name, or a number that is none, is one line all the same. */
static void take_no_response(struct imapc *c, const struct imap_line_item *item, const char *why)
{
    bool untagged = item->text.len >= 2 && item->text.p[0] == '*' && item->text.p[1] == ' ';
    c->head = (struct imap_resp){.kind = RESP_DATA};
    buf_clear(&c->raw);
    note_raw(c, item->text);
    if (!untagged || item->literal)
        imapc_garbled(c, why);
    else
        tell_odd(c, who_asked(c));
}

static void take_first(struct imapc *c, const struct imap_line_item *item)
{
    struct imap_resp resp;
    const char *why;
    c->malformed = false;
    if (!imap_resp_parse(item->text, &resp, &why)) {
        take_no_response(c, item, why);
        return;
    }
    switch (resp.kind) {
    case RESP_TAGGED:
        imapc_take_tagged(c, &resp);
        break;
    case RESP_STATUS:
        buf_clear(&c->raw);
        note_raw(c, item->text);
        imapc_take_status(c, &resp);
        note_hint(c, resp.code, &resp);
        imapc_offer(c, &resp, NULL);
        break;
    case RESP_CONTINUE:
        take_continue(c);
        break;
    case RESP_DATA:
        imapc_take_data(c, &resp, item);
        break;
    }
}

static void take_bad_line(struct imapc *c, const char *why)
{
    buf_clear(&c->raw);
    note_raw(c, buf_span(&c->line.part));
    imapc_garbled(c, why);
}

static void imapc_take_item(struct imapc *c, enum imap_line_rc rc, const struct imap_line_item *item)
{
    if (rc == LINE_BAD)
        take_bad_line(c, item->why);
    else if (rc == LINE_LITERAL && literal_piece(c, item->text) && item->left == 0)
        end_literal(c);
    else if (rc == LINE_TEXT && item->first)
        take_first(c, item);
    else if (rc == LINE_TEXT)
        take_part(c, span_of(item->text.p, item->literal ? item->marker : item->text.len), item);
}

static bool can_receive(const struct imapc *c)
{
    return c->phase == READY && !c->freed && !c->paused && !c->slowed;
}

static void imapc_receive(struct imapc *c)
{
    uint64_t began = uv_hrtime();
    c->stamp_ms = clock_boot_ms();
    while (can_receive(c)) {
        if (c->quoted != QUOTED_NONE) {
            step_quoted(c);
            continue;
        }
        struct span in = stream_peek(c->stream);
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&c->line, in.p, in.len, &used, &item);
        stream_eat(c->stream, used);
        if (rc == LINE_MORE)
            break;
        imapc_take_item(c, rc, &item);
        if (uv_hrtime() - began > TURN_NS && can_receive(c) && c->quoted == QUOTED_NONE) {
            stream_again(c->stream);
            break;
        }
    }
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
    while (can_receive(c) && c->quoted != QUOTED_NONE)
        step_quoted(c);
    if (!c->freed && c->phase == READY)
        end_unsendable(c);
    if (!c->freed && (c->phase == BROKEN || c->phase == FAILED))
        end_all(c);
    imapc_leave(c);
}

/* Is something up to the peer, or are we the ones who keep it waiting? */
static bool peer_owes(const struct imapc *c)
{
    const struct command *oldest = TAILQ_FIRST(&c->commands);
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
        timer_start(c->timer, c->timeout_ms / TICKS);
}

static void imapc_read_on(struct imapc *c)
{
    if (c->paused || c->slowed)
        return;
    c->stamp_ms = clock_boot_ms();
    if (c->quoted != QUOTED_NONE)
        loop_defer(c->loop, &c->task);
    if (c->stream)
        stream_resume(c->stream);
}

/* What the pace held up, goes on. */
static void on_pace(void *owner)
{
    struct imapc *c = owner;
    uint64_t ms = pace_wait_ms(c->pace, clock_boot_ms());
    imapc_enter(c);
    if (c->slowed && ms > 0) {
        wait_for_pace(c, ms); /* others were faster */
    } else if (c->slowed) {
        c->slowed = false;
        imapc_read_on(c);
    }
    imapc_pump(c);
    imapc_tell_drained(c);
    imapc_leave(c);
}

/* What the kernel holds goes when the time is over, not when the next byte does. Until then, a peer that is slow is given
 * its time. */
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
        set_broken(c, FAILED, why);
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
            start_clock(c);
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
    static const char *const codes[] = {"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "THROTTLED"};
    for (size_t i = 0; i < COUNTOF(codes); i++)
        if (imap_code_is(end->code, codes[i], NULL))
            return true;
    return says_later(end->text);
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
    static const struct imap_line_limits line = {LINE_MAX_BYTES, RESPONSE_LITERALS, BODY_MAX, .nonsync_max = 0};
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
    const struct command *cmd;
    TAILQ_FOREACH(cmd, &c->commands, link)
    n += !cmd->answered;
    return n;
}

void imapc_forget(struct imapc *c, void *owner)
{
    struct command *cmd;
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
