#include <stdlib.h>

#include "lib/metrics.h"
#include "lib/pop3.h"
#include "lib/xalloc.h"

#include "../busy.h"
#include "../proxy.h"
#include "pop3_preauth.h"
#include "pop3_relay.h"

enum { PATIENCE_MS = 3000 };

/* What the backend says next. */
enum pop3_phase {
    NOTHING, /* no command is under way */
    STATUS,
    BODY,
};

struct pop3_relay {
    struct pop3_line up, down;
    struct pop3_body body;
    enum pop3_phase phase;
    enum pop3_verb verb; /* under way */
    bool is_long;        /* ... its +OK has a body */
    bool fetched;        /* messages were: the server may write \Seen at the end of the session */
    bool marked;         /* messages may be, as deleted */
    bool parting;        /* QUIT is ours */
    bool backend_shut;
    enum session_end rest;  /* no new command passes, and then this is the end */
    struct timer *patience; /* in a freeze: for the command under way; owned */
    uint64_t moved_ms;      /* when bytes passed last, by the loop's clock */
};

/* ---- what passes ---- */

static void pop3_moved(struct session *s)
{
    s->pop3_relay->moved_ms = uv_now(&s->proxy->loop->uv);
}

static void pop3_pass_up(struct session *s, const void *bytes, size_t n)
{
    s->bytes_in += n;
    metric_add(METRIC_SESSION_BYTES, n, "in", NULL);
    stream_send(s->backend, bytes, n);
}

static void pop3_pass_down(struct session *s, struct span bytes)
{
    s->bytes_out += bytes.len;
    metric_add(METRIC_SESSION_BYTES, bytes.len, "out", NULL);
    stream_send(s->client, bytes.p, bytes.len);
    pop3_moved(s);
}

static void pop3_say_all(struct session *s, const char *text)
{
    session_say(s, "%s", text);
    s->bytes_out += strlen(text) + 2;
}

/* ---- commands ---- */

static void pop3_answer_capa(struct session *s)
{
    struct buf list = {0};
    buf_add_str(&list, "+OK These are\r\n");
    pop3_write_capabilities(s, &list, true);
    buf_add_str(&list, ".");
    pop3_say_all(s, buf_str(&list));
    buf_free(&list);
}

static void pop3_send_up(struct session *s, const struct pop3_cmd *c)
{
    struct pop3_relay *r = s->pop3_relay;
    struct buf line = {0};
    buf_add_str(&line, pop3_verb_name(c->verb));
    if (c->args.len > 0)
        buf_add_str(&line, " ");
    buf_add_span(&line, c->args);
    buf_add_str(&line, "\r\n");
    r->phase = STATUS;
    r->verb = c->verb;
    r->is_long = pop3_is_long(c);
    r->fetched = r->fetched || c->verb == POP3_RETR || c->verb == POP3_TOP;
    r->marked = r->marked || c->verb == POP3_DELE;
    if (c->verb != POP3_NOOP && c->verb != POP3_QUIT && c->verb != POP3_STAT)
        busy_note(s->account);
    pop3_pass_up(s, buf_span(&line).p, line.len);
    buf_free(&line);
}

static void pop3_take_command(struct session *s, struct span line)
{
    struct pop3_cmd c = pop3_parse(line);
    const char *expected;
    if (c.verb == POP3_CAPA && c.args.len == 0)
        pop3_answer_capa(s);
    else if (pop3_is_for_mail(&c, &expected))
        pop3_send_up(s, &c);
    else
        session_say(s, "-ERR %s", expected);
}

static bool pop3_may_take(const struct session *s)
{
    const struct pop3_relay *r = s->pop3_relay;
    return s->state == IN_RELAY && r->phase == NOTHING && r->rest == END_NONE && !stream_full(s->client) &&
           registration_may_pass(s);
}

/* Reads commands up to the first that is under way then. */
static void pop3_pump_up(struct session *s)
{
    struct pop3_relay *r = s->pop3_relay;
    for (unsigned n = 0; n < LIMIT_LINES_A_ROUND && pop3_may_take(s); n++) {
        struct span data = stream_peek(s->client), line;
        const char *why;
        size_t used;
        if (data.len == 0)
            return;
        enum pop3_line_rc rc = pop3_line_feed(&r->up, data, &used, &line, &why);
        stream_eat(s->client, used);
        pop3_moved(s);
        if (rc == POP3_WHOLE)
            pop3_take_command(s, line);
        else if (rc == POP3_BAD)
            session_close(s, END_BAD_LINE, why);
    }
    if (pop3_may_take(s))
        stream_again(s->client);
}

/* ---- answers ---- */

/* The answer is whole. */
static void pop3_answered(struct session *s)
{
    struct pop3_relay *r = s->pop3_relay;
    r->phase = NOTHING;
    if (r->patience)
        timer_stop(r->patience);
    if (r->verb == POP3_QUIT)
        session_close(s, r->parting ? r->rest : END_LOGOUT, NULL);
}

/* The server says something that nobody has asked for: mostly that it ends. */
static void pop3_take_unasked(struct session *s, struct span line)
{
    struct pop3_status st;
    if (pop3_parse_status(line, &st) && !st.ok)
        session_close(s, END_BACKEND_GONE, "it has said -ERR to nothing");
    else
        session_close(s, END_BACKEND_PROTOCOL, "an answer to nothing");
}

static void pop3_take_status(struct session *s, struct span line)
{
    struct pop3_relay *r = s->pop3_relay;
    struct pop3_status st;
    if (r->phase == NOTHING) {
        pop3_take_unasked(s, line);
        return;
    }
    if (!pop3_parse_status(line, &st)) {
        session_close(s, END_BACKEND_PROTOCOL, "an answer that is none");
        return;
    }
    if (r->parting) {
        pop3_answered(s);
        return;
    }
    pop3_pass_down(s, line);
    pop3_pass_down(s, span_str("\r\n"));
    if (st.ok && r->verb == POP3_RSET)
        r->marked = false;
    if (st.ok && r->is_long) {
        r->phase = BODY;
        pop3_body_begin(&r->body);
    } else {
        pop3_answered(s);
    }
}

static void pop3_take_body(struct session *s, struct span data)
{
    bool ended;
    size_t n = pop3_body_feed(&s->pop3_relay->body, data, &ended);
    pop3_pass_down(s, span_of(data.p, n));
    stream_eat(s->backend, n);
    if (ended)
        pop3_answered(s);
}

static void pop3_read_status(struct session *s, struct span data)
{
    struct span line;
    const char *why;
    size_t used;
    enum pop3_line_rc rc = pop3_line_feed(&s->pop3_relay->down, data, &used, &line, &why);
    stream_eat(s->backend, used);
    if (rc == POP3_WHOLE)
        pop3_take_status(s, line);
    else if (rc == POP3_BAD)
        session_close(s, END_BACKEND_PROTOCOL, why);
}

/* The clock is read behind the bytes, and before they pass. */
static void pop3_pump_down(struct session *s)
{
    while (s->state == IN_RELAY && !stream_full(s->client) && registration_may_pass(s)) {
        struct span data = stream_peek(s->backend);
        if (data.len == 0)
            return;
        if (s->pop3_relay->phase == BODY)
            pop3_take_body(s, data);
        else
            pop3_read_status(s, data);
    }
}

/* ---- flow ---- */

/* The client's stream stops by itself while bytes of it lie unread. */
void pop3_relay_flow(struct session *s)
{
    struct pop3_relay *r = s->pop3_relay;
    if (s->state != IN_RELAY)
        return;
    bool shut = stream_full(s->client) || !registration_may_pass(s);
    if (r->backend_shut == shut)
        return;
    r->backend_shut = shut;
    if (shut)
        stream_pause(s->backend);
    else
        stream_resume(s->backend);
}

/* Nothing that is under way here changes anything. */
static void pop3_on_impatience(void *owner)
{
    struct session *s = owner;
    struct pop3_relay *r = s->pop3_relay;
    session_close(s, r->rest, r->parting ? "no answer to QUIT in time" : "in the middle of an answer");
}

static void pop3_be_patient(struct session *s)
{
    struct pop3_relay *r = s->pop3_relay;
    if (!r->patience)
        r->patience = timer_new(s->proxy->loop, pop3_on_impatience, s);
    timer_start(r->patience, PATIENCE_MS);
}

/* Between two commands. What the server writes of its own at the end has to be there before the account moves. */
static void pop3_part(struct session *s, enum session_end end)
{
    struct pop3_relay *r = s->pop3_relay;
    if (!r->fetched || r->marked || !s->reg.engaged || !registration_may_pass(s)) {
        session_close(s, end, NULL);
        return;
    }
    r->rest = end;
    r->parting = true;
    pop3_be_patient(s);
    pop3_send_up(s, &(struct pop3_cmd){.verb = POP3_QUIT});
}

static void pop3_check_end(struct session *s)
{
    struct pop3_relay *r = s->pop3_relay;
    if (s->state != IN_RELAY || r->phase != NOTHING)
        return;
    if (r->rest != END_NONE)
        pop3_part(s, r->rest);
    else if (s->client_eof && stream_peek(s->client).len == 0)
        pop3_part(s, END_CLIENT_GONE);
}

void pop3_relay_settle(struct session *s)
{
    if (s->state == IN_RELAY)
        pop3_pump_up(s);
    pop3_check_end(s);
    pop3_relay_flow(s);
}

/* ---- the end ---- */

bool pop3_relay_at_boundary(const struct session *s)
{
    return s->pop3_relay->phase != BODY;
}

/* Many clients go without reading the answer to QUIT, which resets the connection. */
bool pop3_relay_has_to_finish(const struct session *s)
{
    return s->pop3_relay->phase != NOTHING && s->pop3_relay->verb == POP3_QUIT;
}

void pop3_relay_rest(struct session *s, enum session_end end)
{
    struct pop3_relay *r = s->pop3_relay;
    if (r->parting || r->rest == END_SHUTDOWN || r->rest == END_KICKED)
        return; /* a thaw does not take that back */
    bool was = r->rest == end;
    r->rest = end;
    if (end != END_FREEZE && r->patience)
        timer_stop(r->patience);
    else if (end == END_FREEZE && !was && r->phase != NOTHING && r->verb != POP3_QUIT)
        pop3_be_patient(s);
    pop3_relay_settle(s);
}

void pop3_relay_timeout(struct session *s)
{
    uint64_t limit = s->proxy->conf->proxy.idle_timeout_ms,
             idle = uv_now(&s->proxy->loop->uv) - s->pop3_relay->moved_ms;
    if (idle >= limit)
        session_close(s, END_IDLE, NULL);
    else
        timer_start(s->timer, limit - idle);
}

/* ---- events ---- */

void pop3_relay_client_event(struct session *s, enum stream_event ev)
{
    if (ev == STREAM_EOF)
        s->client_eof = true;
    if (ev == STREAM_DRAINED)
        pop3_pump_down(s);
    pop3_relay_settle(s);
}

/* The connection has ended, and all that came over it was looked at. */
static void pop3_backend_ended(struct session *s, enum stream_event ev)
{
    if (s->state != IN_RELAY || (ev != STREAM_EOF && ev != STREAM_ERROR))
        return;
    if (s->pop3_relay->parting)
        session_close(s, s->pop3_relay->rest, "the server closed without an answer to QUIT");
    else if (ev == STREAM_EOF)
        session_close(s, END_BACKEND_GONE, NULL);
    else
        session_close(s, END_BACKEND_BROKEN, stream_error(s->backend));
}

void pop3_relay_backend_event(struct session *s, enum stream_event ev)
{
    if (ev == STREAM_DATA)
        pop3_pump_down(s);
    pop3_backend_ended(s, ev);
    pop3_relay_settle(s);
}

/* ---- life ---- */

void pop3_relay_begin(struct session *s)
{
    struct pop3_relay *r = s->pop3_relay = xcalloc(1, sizeof *r);
    struct stream_limits limits = limits_of_stream;
    limits.flush_ms = s->proxy->conf->proxy.close_timeout_ms;
    stream_set_limits(s->client, &limits);
    r->up.max = POP3_LINE;
    r->down.max = POP3_STATUS_LINE;
    session_enter(s, IN_RELAY);
    pop3_moved(s);
    stream_without_secrets(s->client);
    stream_without_secrets(s->backend);
    stream_again(s->client); /* what was pipelined behind the login */
    stream_again(s->backend);
}

void pop3_relay_free(struct session *s)
{
    struct pop3_relay *r = s->pop3_relay;
    if (!r)
        return;
    s->pop3_relay = NULL;
    pop3_line_wipe(&r->up);
    pop3_line_wipe(&r->down);
    timer_free(&r->patience);
    free(r);
}
