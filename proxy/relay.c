#include <inttypes.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "busy.h"
#include "proxy.h"
#include "relay_priv.h"
#include "rest.h"

enum { OWN_TAG_BYTES = 8 };

/* ---- words of ours ---- */

bool relay_at_boundary(const struct session *s)
{
    return !s->relay->down.in_command;
}

void relay_say(struct session *s, struct span lines)
{
    struct relay *r = s->relay;
    if (relay_at_boundary(s) && r->own.len == 0) {
        s->bytes_out += lines.len;
        stream_send(s->client, lines.p, lines.len);
    } else {
        buf_add_span(&r->own, lines);
    }
}

void relay_say_own(struct session *s)
{
    struct buf *own = &s->relay->own;
    if (own->len == 0)
        return;
    s->bytes_out += own->len;
    stream_send(s->client, buf_span(own).p, own->len);
    buf_free(own);
}

void relay_sayf(struct session *s, const char *fmt, ...)
{
    struct buf line = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    buf_add_str(&line, "\r\n");
    relay_say(s, buf_span(&line));
    buf_free(&line);
}

void relay_tell_exists(struct session *s, uint32_t n)
{
    s->relay->opened.exists = n;
    buf_printf(&s->relay->own, "* %" PRIu32 " EXISTS\r\n", n); /* goes out once something may pass */
}

/* ---- commands under way ---- */

struct command *relay_command_add(struct relay *r, const char *tag, enum imap_verb verb)
{
    size_t n = strlen(tag) + 1;
    struct command *c = xcalloc(1, sizeof *c + n);
    c->verb = verb;
    memcpy(c->tag, tag, n);
    TAILQ_INSERT_TAIL(&r->commands, c, link);
    r->n_commands++;
    return c;
}

/* Of our own commands, one that the client waits for. */
static bool is_waited_for(const struct command *c)
{
    return c->own == OWN_FLAGS || c->own == OWN_VIEW;
}

void relay_command_remove(struct relay *r, struct command *c)
{
    TAILQ_REMOVE(&r->commands, c, link);
    r->n_commands--;
    if (r->waits == c)
        r->waits = NULL;
    if (r->current == c)
        r->current = NULL;
    r->n_own -= c->own != OWN_NONE && c->own != OWN_VIEW;
    if (is_waited_for(c))
        timer_stop(r->patience);
    buf_free(&c->name);
    free(c);
}

bool relay_is_sending(const struct relay *r)
{
    bool sends = r->fate == FATE_PASSES || r->fate == FATE_COLLECTS || r->fate == FATE_VIEW;
    return (r->up.in_command && sends && !r->holds) || (r->view && relay_view_sends(r));
}

/* Is there something under way that a BYE would cut off? An IDLE is not. */
static bool is_busy(const struct relay *r)
{
    if (relay_is_sending(r))
        return true;
    return r->n_commands > (r->mode == UP_IDLE && r->waits ? 1 : 0);
}

bool relay_only_reads(const struct session *s)
{
    const struct relay *r = s->relay;
    const struct command *c;
    if (relay_is_sending(r))
        return false;
    TAILQ_FOREACH(c, &r->commands, link)
    if (!c->reads)
        return false;
    return true;
}

bool relay_is_quiet(const struct session *s)
{
    const struct relay *r = s->relay;
    return !relay_is_sending(r) && r->n_commands == 0 && r->mode != UP_COMPRESS && relay_at_boundary(s);
}

/* The client stays in its IDLE: DONE is for the server alone. */
static void end_idle(struct session *s)
{
    struct relay *r = s->relay;
    if (r->mode != UP_IDLE || !r->waits || r->waits->ends_idle || !registration_may_pass(s))
        return;
    r->waits->ends_idle = true;
    stream_send(s->backend, "DONE\r\n", 6);
}

/* It has closed its side, and what is left of it is no whole line. */
static bool is_silent(const struct session *s)
{
    struct span left = stream_peek(s->client);
    return s->client_eof && (left.len == 0 || !memchr(left.p, '\n', left.len));
}

/* The client's end came in the middle of a command, which nobody can complete, and all ahead of it is answered. libuv tells a
 * reset as an end where there were bytes to read with it. */
static bool is_cut_off(const struct session *s)
{
    const struct relay *r = s->relay;
    return is_silent(s) && r->up.in_command && !r->holds && r->n_commands <= 1;
}

/* After anything that may have ended the last command. */
static void check_end(struct session *s)
{
    struct relay *r = s->relay;
    if (s->state == IN_RELAY)
        relay_compress(s);
    if (s->state != IN_RELAY)
        return;
    if (r->finished)
        session_close(s, END_LOGOUT, NULL);
    else if (is_cut_off(s) || (is_silent(s) && !is_busy(r) && !r->holds))
        session_close(s, END_CLIENT_GONE, NULL);
    else if (r->rest == END_FREEZE) {
        end_idle(s);
        rest_step(s);
    } else if (r->rest != END_NONE && !is_busy(r))
        session_close(s, r->rest, NULL);
}
/* ---- flow ---- */

static void set_shut(struct stream *stream, bool *shut, bool want)
{
    if (*shut == want)
        return;
    *shut = want;
    if (want)
        stream_pause(stream);
    else
        stream_resume(stream);
}

static void idle_again(struct session *s)
{
    struct relay *r = s->relay;
    struct command *c = relay_command_add(r, r->idled, VERB_IDLE);
    struct buf line = {0};
    c->reads = true;
    r->waits = c;
    r->mode = UP_IDLE_PLUS;
    r->own_plus = true; /* the client had its "+" */
    buf_printf(&line, "%s IDLE\r\n", r->idled);
    stream_send(s->backend, line.mem + line.off, line.len);
    buf_free(&line);
    free(r->idled);
    r->idled = NULL;
}

/* What is between some of them is asked for too, so that it is one command of a usual length. */
void relay_owe_flags(struct session *s, const struct imap_seq *uids, bool modseqs)
{
    enum { RANGES = 300 };
    struct relay *r = s->relay;
    struct imap_seq set = {0};
    struct buf text = {0};
    buf_add_str(&text, uids ? "UID FETCH " : "UID FETCH 1:*");
    if (uids)
        imap_seq_coarsen(uids, RANGES, &set);
    imap_seq_write(&text, &set);
    buf_add_str(&text, modseqs ? " (FLAGS MODSEQ)" : " (FLAGS)");
    free(r->owes_flags);
    r->owes_flags = xstrdup(buf_str(&text));
    buf_free(&text);
    imap_seq_free(&set);
}

/* By the client's numbers, so not as long as it counts messages that are gone. */
static void ask_for_flags(struct session *s)
{
    struct relay *r = s->relay;
    bool may = r->owes_flags && r->n_commands == 0 && !relay_is_sending(r) && !relay_owes_expunges(s);
    if (!may || !relay_at_boundary(s))
        return;
    if (r->opened.exists > 0)
        relay_send_own(s, OWN_FLAGS, r->owes_flags);
    free(r->owes_flags);
    r->owes_flags = NULL;
}

/* What a hand-over or a thaw has left to be said, once something may pass. */
static void relay_go_on(struct session *s)
{
    struct relay *r = s->relay;
    if (r->rest != END_NONE || !registration_may_pass(s))
        return;
    if (r->idled && relay_owes_expunges(s))
        relay_tell_gone(s); /* an IDLE is a command under way */
    if (relay_at_boundary(s))
        relay_say_own(s);
    ask_for_flags(s);
    if (r->idled && r->n_commands == 0)
        idle_again(s);
}

static void relay_heard(struct session *s)
{
    s->relay->heard_ms = uv_now(&s->proxy->loop->uv);
}

void relay_flow(struct session *s)
{
    struct relay *r = s->relay;
    if (s->state == IN_FROZEN) { /* the end of the server's connection is of interest still */
        set_shut(s->client, &r->client_shut, true);
        if (s->backend)
            set_shut(s->backend, &r->backend_shut, false);
    }
    if (s->state != IN_RELAY)
        return;
    relay_go_on(s);
    set_shut(s->client, &r->client_shut, !relay_up_open(s));
    bool shut = stream_full(s->client) || !registration_may_pass(s) || (r->view && relay_view_stops(r));
    if (r->backend_shut && !shut)
        relay_heard(s); /* what it has sent meanwhile is yet to be read */
    set_shut(s->backend, &r->backend_shut, shut);
}

static void relay_moved(struct session *s)
{
    s->relay->moved_ms = uv_now(&s->proxy->loop->uv);
}

/* Bytes came, and a command that counts is under way. */
static void note_use(struct session *s)
{
    const struct command *c;
    if (s->state != IN_RELAY)
        return;
    TAILQ_FOREACH(c, &s->relay->commands, link)
    if (c->own == OWN_NONE && busy_counts(c->verb)) {
        busy_note(s->account);
        return;
    }
}

/* After the client's bytes, and after those of the backend: each may have opened the way of the other. */
void relay_settle(struct session *s)
{
    if (s->state == IN_RELAY && s->relay->view && registration_may_pass(s))
        relay_view_go_on(s);
    if (s->state == IN_RELAY && relay_held_may_go(s))
        relay_pump_up(s);
    check_end(s);
    relay_flow(s);
}

void relay_rest(struct session *s, enum session_end end)
{
    struct relay *r = s->relay;
    if (r->rest == END_SHUTDOWN)
        return; /* a thaw does not take that back */
    r->rest = end;
    relay_settle(s);
}

static void relay_on_no_answer(void *owner)
{
    struct session *s = owner;
    struct relay *r = s->relay;
    const struct command *c = TAILQ_FIRST(&r->commands);
    uint64_t limit = s->proxy->conf->proxy.backend_timeout_ms;
    uint64_t idle = uv_now(&s->proxy->loop->uv) - r->heard_ms;
    while (c && !is_waited_for(c))
        c = TAILQ_NEXT(c, link);
    if (!c || s->state != IN_RELAY)
        return;
    if (r->backend_shut || idle < limit)
        timer_start(r->patience, r->backend_shut ? limit : limit - idle);
    else if (c->own == OWN_FLAGS)
        session_close(s, END_MOVED, "it does not answer with the flags");
    else
        session_close(s, END_VIEW, "the backend does not answer a command of ours");
}

struct command *relay_command_own(struct session *s, enum relay_own own, struct span text)
{
    struct relay *r = s->relay;
    struct buf line = {0};
    char tag[2 + 2 * OWN_TAG_BYTES] = "F";
    random_hex(tag + 1, OWN_TAG_BYTES);
    struct command *c = relay_command_add(r, tag, VERB_UNKNOWN);
    c->own = own;
    c->reads = true;
    r->n_own += own != OWN_VIEW;
    if (is_waited_for(c) && !r->patience)
        r->patience = timer_new(s->proxy->loop, relay_on_no_answer, s);
    if (is_waited_for(c))
        timer_start(r->patience, s->proxy->conf->proxy.backend_timeout_ms);
    buf_printf(&line, "%s ", tag);
    buf_add_span(&line, text);
    buf_add_str(&line, "\r\n");
    stream_send(s->backend, line.mem + line.off, line.len);
    buf_free(&line);
    return c;
}

void relay_send_own(struct session *s, enum relay_own own, const char *text)
{
    relay_command_own(s, own, span_str(text));
}

const struct opened *relay_opened(const struct session *s)
{
    return &s->relay->opened;
}

bool relay_owes_expunges(const struct session *s)
{
    return s->relay->gone.numbers.n > 0;
}

void relay_gone_free(struct relay_gone *g)
{
    imap_seq_free(&g->numbers);
    imap_seq_free(&g->uids);
}

void relay_attach(struct session *s, struct stream *stream, const struct conf_backend *at, struct span lines,
                  struct relay_gone *gone, uint32_t exists)
{
    struct relay *r = s->relay;
    stream_close(&s->backend, false);
    session_take_backend(s, stream, at);
    stream_without_secrets(stream);
    imap_line_wipe(&r->down);
    imap_line_init(&r->down, LINE_RESPONSES, &limits_of_backend);
    r->backend_shut = r->bye = r->hides = false;
    r->rest = END_NONE;
    r->opened.exists = exists;
    relay_gone_free(&r->gone);
    r->gone = *gone;
    *gone = (struct relay_gone){0};
    buf_add_span(&r->own, lines);
    session_enter(s, IN_RELAY);
    relay_moved(s);
    relay_heard(s);
    relay_settle(s);
}

void relay_client_event(struct session *s, enum stream_event ev)
{
    switch (ev) {
    case STREAM_DATA:
        relay_moved(s);
        relay_pump_up(s);
        note_use(s);
        break;
    case STREAM_EOF:
        s->client_eof = true;
        if (s->relay->mode == UP_IDLE) {
            session_close(s, END_CLIENT_GONE, NULL);
            return;
        }
        timer_start(s->timer, s->proxy->conf->proxy.backend_timeout_ms); /* for the answers still to come */
        break;
    case STREAM_DRAINED:
        break;
    default:
        return;
    }
    relay_settle(s);
}

void relay_backend_event(struct session *s, enum stream_event ev)
{
    struct relay *r = s->relay;
    switch (ev) {
    case STREAM_DATA:
        relay_moved(s);
        relay_heard(s);
        note_use(s);
        /* The clock is read after the bytes: what the backend did before it is covered by the lease. */
        if (registration_may_pass(s) && !relay_pump_down(s))
            return;
        break;
    case STREAM_EOF:
        session_close(s,
                      r->bye && r->logout ? END_LOGOUT
                      : r->bye            ? END_BACKEND_BYE
                                          : END_BACKEND_GONE,
                      NULL);
        return;
    case STREAM_ERROR:
        session_close(s, END_BACKEND_BROKEN, stream_error(s->backend));
        return;
    case STREAM_DRAINED:
        break;
    default:
        return;
    }
    relay_settle(s);
}

static const struct command *find_logout(const struct relay *r)
{
    const struct command *c;
    TAILQ_FOREACH(c, &r->commands, link)
    if (c->verb == VERB_LOGOUT)
        return c;
    return NULL;
}

/* A client that has said LOGOUT waits for nothing but the end, and a backend that owes it that is let go. */
static void logout_alone(struct session *s)
{
    const struct command *c = find_logout(s->relay);
    if (c && relay_at_boundary(s))
        relay_sayf(s, "%s%s OK Logout completed", s->relay->bye ? "" : "* BYE Logging out\r\n", c->tag);
    session_close(s, END_LOGOUT, "the backend did not answer");
}

/* For how long nothing may move. Behind a LOGOUT that is for the answers of the backend alone; commands
 * before it may take their time. */
static uint64_t silence_ms(const struct session *s)
{
    const struct conf_proxy *c = &s->proxy->conf->proxy;
    if (!s->relay->logout)
        return c->idle_timeout_ms;
    return s->relay->n_commands > 1 ? c->backend_timeout_ms : c->close_timeout_ms;
}

void relay_expect_end(struct session *s)
{
    timer_start(s->timer, s->proxy->conf->proxy.close_timeout_ms);
}

void relay_timeout(struct session *s)
{
    uint64_t limit = silence_ms(s);
    uint64_t idle = uv_now(&s->proxy->loop->uv) - s->relay->moved_ms;
    if (s->client_eof)
        session_close(s, END_CLIENT_GONE, "answers that did not come");
    else if (idle >= limit && s->relay->logout)
        logout_alone(s);
    else if (idle >= limit)
        session_close(s, END_IDLE, NULL);
    else
        timer_start(s->timer, limit - idle);
}

/* ---- life ---- */

void relay_write_capabilities(struct buf *out, const struct imap_caps *shown, bool compress)
{
    struct imap_caps all = *shown;
    if (compress)
        imap_caps_add(&all, CAP_COMPRESS_DEFLATE);
    imap_caps_write(out, &all);
}

void relay_begin(struct session *s, const struct imap_caps *shown, struct view *view)
{
    struct relay *r = s->relay = xcalloc(1, sizeof *r);
    bool plus = imap_caps_has(shown, CAP_LITERAL_PLUS), minus = imap_caps_has(shown, CAP_LITERAL_MINUS);
    struct stream_limits limits = limits_of_stream;
    limits.flush_ms = s->proxy->conf->proxy.close_timeout_ms;
    stream_set_limits(s->client, &limits);
    struct imap_line_limits up = limits_after_login(plus ? UINT64_MAX : minus ? LIMIT_NONSYNC : 0);
    imap_line_init(&r->up, LINE_COMMANDS, &up);
    imap_line_init(&r->down, LINE_RESPONSES, &limits_of_backend);
    TAILQ_INIT(&r->commands);
    r->shown = *shown;
    r->compression = s->proxy->conf->proxy.compress ? COMPRESS_OFFERED : COMPRESS_NEVER;
    relay_set_view(s, view, NULL);
    session_enter(s, IN_RELAY);
    relay_moved(s);
    relay_heard(s);
    if (s->client_eof)
        timer_start(s->timer, s->proxy->conf->proxy.backend_timeout_ms);
    stream_without_secrets(s->client);
    stream_without_secrets(s->backend);
    stream_again(s->client); /* what was pipelined behind the login */
    stream_again(s->backend);
}

const struct imap_caps *relay_shown(const struct session *s)
{
    return &s->relay->shown;
}

void relay_free(struct relay **rp)
{
    struct relay *r = *rp;
    if (!r)
        return;
    *rp = NULL;
    while (!TAILQ_EMPTY(&r->commands))
        relay_command_remove(r, TAILQ_FIRST(&r->commands));
    imap_line_wipe(&r->up);
    imap_line_wipe(&r->down);
    buf_free(&r->answer);
    relay_view_free(&r->view);
    imap_tree_free(&r->id);
    buf_free(&r->held);
    buf_free(&r->id_literal);
    buf_free(&r->own);
    opened_free(&r->opened);
    relay_gone_free(&r->gone);
    timer_free(&r->patience);
    free(r->idled);
    free(r->owes_flags);
    free(r);
}
