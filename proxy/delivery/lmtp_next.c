#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/dial.h"
#include "lib/fault.h"
#include "lib/xalloc.h"

#include "lmtp_next.h"

enum { NEXT_HIGH_WATER = 256 * 1024, NEXT_QUEUE_MAX = 4 * 1024 * 1024, NEXT_WHY = 256 };

struct question {
    STAILQ_ENTRY(question) link;
    enum lmtp_asked asked;
    size_t nth;
    struct buf line; /* not sent yet; empty: it was */
};

struct lmtp_next {
    struct loop *loop;
    const struct conf *conf;
    size_t backend;
    const char *name;
    lmtp_next_fn fn;
    void *owner;

    struct dial *dial;     /* owned; while it is under way */
    struct stream *stream; /* owned; NULL: not yet, or not any more */
    struct loop_task late; /* tells that it is gone */
    STAILQ_HEAD(, question) questions;
    struct lmtp_reply reply;
    struct lmtp_caps caps;
    bool ready;
    bool in_callback, closed; /* the memory goes behind the callback */
    char why[NEXT_WHY];
};

static const struct stream_limits next_limits = {.high_water = NEXT_HIGH_WATER, .queue_max = NEXT_QUEUE_MAX};

/* ---- where to */

bool lmtp_next_address(const char *delivery, struct address *_r)
{
    static const char inet[] = "lmtp:inet:", path[] = "lmtp:unix:";
    bool is_inet = strncmp(delivery, inet, sizeof inet - 1) == 0,
         is_path = strncmp(delivery, path, sizeof path - 1) == 0;
    char *error = NULL;

    if (!is_inet && !is_path)
        return false;
    char *url = xasprintf(is_inet ? "imap://%s" : "imap+unix://%s", delivery + sizeof inet - 1);
    bool good = address_parse(url, _r, &error);
    free(url);
    free(error);
    return good;
}

/* ---- what becomes of it */

static void next_drop_questions(struct lmtp_next *n)
{
    struct question *q;

    while ((q = STAILQ_FIRST(&n->questions))) {
        STAILQ_REMOVE_HEAD(&n->questions, link);
        buf_free(&q->line);
        free(q);
    }
}

static void next_free(struct lmtp_next *n)
{
    next_drop_questions(n);
    lmtp_reply_free(&n->reply);
    free(n);
}

static void next_tell(struct lmtp_next *n, struct lmtp_news news)
{
    n->fn(n->owner, n, &news);
}

/* Around all that comes from the loop: the owner may close n anywhere in between. */
static void next_begin(struct lmtp_next *n)
{
    n->in_callback = true;
}

static void next_finish(struct lmtp_next *n)
{
    n->in_callback = false;
    if (n->closed)
        next_free(n);
}

static void next_stop(struct lmtp_next *n, bool flush)
{
    n->ready = false;
    dial_cancel(&n->dial);
    stream_close(&n->stream, flush);
}

/* r: what it said of it, or NULL. */
static void next_gone(struct lmtp_next *n, const char *why, const struct lmtp_reply *r)
{
    struct span said = r ? lmtp_reply_first(r) : span_of(NULL, 0);

    if (r)
        snprintf(n->why, sizeof n->why, "%s: %u %.*s", why, r->code, (int)(said.len > 150 ? 150 : said.len),
                 (const char *)said.p);
    else
        snprintf(n->why, sizeof n->why, "%s", why);
    next_stop(n, false);
    next_drop_questions(n);
    next_tell(n, (struct lmtp_news){.event = LMTP_NEXT_GONE, .reply = r});
}

static void next_on_late(struct loop_task *task)
{
    struct lmtp_next *n = CONTAINER_OF(task, struct lmtp_next, late);

    next_begin(n);
    next_gone(n, "the option delivery names no LMTP server", NULL);
    next_finish(n);
}

void lmtp_next_close(struct lmtp_next **np, bool politely)
{
    struct lmtp_next *n = *np;

    *np = NULL;
    if (!n)
        return;
    politely = politely && n->ready && STAILQ_EMPTY(&n->questions);
    if (politely)
        stream_send(n->stream, "QUIT\r\n", 6);
    loop_undefer(n->loop, &n->late);
    next_stop(n, politely);
    n->closed = true;
    if (!n->in_callback)
        next_free(n);
}

/* ---- asking */

static uint64_t next_patience(const struct lmtp_next *n, enum lmtp_asked asked)
{
    return asked == LMTP_ASKED_END ? n->conf->lmtp.final_timeout_ms : n->conf->lmtp.reply_timeout_ms;
}

static void next_set_deadline(struct lmtp_next *n)
{
    struct question *q = STAILQ_FIRST(&n->questions);
    stream_deadline(n->stream, q ? next_patience(n, q->asked) : 0);
}

/* Without PIPELINING one is sent when the one before is answered. */
static void next_send_some(struct lmtp_next *n)
{
    bool many = n->caps.has & LMTP_PIPELINING;
    struct question *q;

    STAILQ_FOREACH(q, &n->questions, link)
    {
        if (q->line.len > 0)
            stream_send(n->stream, buf_span(&q->line).p, q->line.len);
        buf_clear(&q->line);
        if (!many)
            break;
    }
    next_set_deadline(n);
}

void lmtp_next_cork(struct lmtp_next *n)
{
    if (n->stream)
        stream_cork(n->stream);
}

void lmtp_next_uncork(struct lmtp_next *n)
{
    if (n->stream)
        stream_uncork(n->stream);
}

static struct question *next_add(struct lmtp_next *n, enum lmtp_asked asked, size_t nth)
{
    struct question *q = xcalloc(1, sizeof *q);

    q->asked = asked;
    q->nth = nth;
    STAILQ_INSERT_TAIL(&n->questions, q, link);
    return q;
}

void lmtp_next_ask(struct lmtp_next *n, enum lmtp_asked asked, size_t nth, struct span line)
{
    if (!n->stream)
        return; /* that it is gone will be told, or was */
    buf_add_span(&next_add(n, asked, nth)->line, line);
    next_send_some(n);
}

void lmtp_next_body(struct lmtp_next *n, struct span bytes)
{
    if (!n->stream || bytes.len == 0)
        return;
    bool was_full = stream_full(n->stream);
    stream_send(n->stream, bytes.p, bytes.len);
    if (!was_full && stream_full(n->stream))
        stream_deadline(n->stream, n->conf->lmtp.data_timeout_ms);
}

bool lmtp_next_full(const struct lmtp_next *n)
{
    return n->stream && stream_full(n->stream);
}

void lmtp_next_end(struct lmtp_next *n, const size_t *recipients, size_t n_recipients)
{
    if (!n->stream)
        return;
    for (size_t i = 0; i < n_recipients; i++)
        next_add(n, LMTP_ASKED_END, recipients[i]);
    stream_send(n->stream, ".\r\n", 3);
    next_set_deadline(n);
}

/* ---- what it answers */

static void next_say_lhlo(struct lmtp_next *n)
{
    char *line = xasprintf("LHLO %s\r\n", n->name);

    lmtp_next_ask(n, LMTP_ASKED_LHLO, 0, span_str(line));
    free(line);
}

static void next_answered(struct lmtp_next *n, enum lmtp_asked asked, size_t nth)
{
    bool good = lmtp_reply_is(&n->reply, 2);

    switch (asked) {
    case LMTP_ASKED_GREETING:
        if (good)
            next_say_lhlo(n);
        else
            next_gone(n, "greets otherwise", &n->reply);
        break;
    case LMTP_ASKED_LHLO:
        if (!good) {
            next_gone(n, "refuses LHLO", &n->reply);
            break;
        }
        n->caps = lmtp_caps_read(&n->reply);
        n->ready = true;
        next_tell(n, (struct lmtp_news){.event = LMTP_NEXT_READY});
        break;
    default:
        next_tell(n, (struct lmtp_news){LMTP_NEXT_ANSWER, asked, nth, &n->reply});
    }
}

/* False: n may be gone. */
static bool next_take_answer(struct lmtp_next *n)
{
    struct question *q = STAILQ_FIRST(&n->questions);

    if (!q || q->line.len > 0) {
        next_gone(n, "says without being asked", &n->reply);
        return false;
    }
    enum lmtp_asked asked = q->asked;
    size_t nth = q->nth;
    STAILQ_REMOVE_HEAD(&n->questions, link);
    buf_free(&q->line);
    free(q);
    next_send_some(n);
    next_answered(n, asked, nth);
    return !n->closed && n->stream;
}

static void next_read(struct lmtp_next *n)
{
    enum lmtp_reply_rc rc = LMTP_REPLY_DONE;
    bool goes_on = true;

    while (goes_on && rc == LMTP_REPLY_DONE && stream_peek(n->stream).len > 0) {
        size_t used;
        rc = lmtp_reply_feed(&n->reply, stream_peek(n->stream), &used);
        stream_eat(n->stream, used);
        if (rc == LMTP_REPLY_BAD) {
            next_gone(n, "answers what is none", NULL);
            return;
        }
        if (rc == LMTP_REPLY_DONE)
            goes_on = next_take_answer(n);
    }
}

/* ---- the connection */

static void next_on_stream(struct stream *s, enum stream_event ev, void *owner)
{
    struct lmtp_next *n = owner;

    next_begin(n);
    switch (ev) {
    case STREAM_DATA:
        next_read(n);
        break;
    case STREAM_DRAINED:
        next_set_deadline(n);
        next_tell(n, (struct lmtp_news){.event = LMTP_NEXT_DRAINED});
        break;
    case STREAM_EOF:
        next_gone(n, "has closed the connection", NULL);
        break;
    case STREAM_TIMEOUT:
        next_gone(n, stream_full(s) ? "does not take the message" : "does not answer in time", NULL);
        break;
    case STREAM_ERROR:
        next_gone(n, stream_error(s), NULL);
        break;
    case STREAM_CONNECTED:
    case STREAM_SECURE:
        break;
    }
    next_finish(n);
}

static void next_on_dial(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct lmtp_next *n = owner;

    n->dial = NULL;
    next_begin(n);
    if (rc == DIAL_OK) {
        n->stream = s;
        stream_set_owner(s, next_on_stream, n);
        next_add(n, LMTP_ASKED_GREETING, 0);
        next_set_deadline(n);
    } else {
        next_gone(n, detail, NULL);
    }
    next_finish(n);
}

/* ---- life */

struct lmtp_next *lmtp_next_new(struct loop *l, const struct conf *conf, size_t backend, const char *name,
                                lmtp_next_fn fn, void *owner)
{
    struct lmtp_next *n = xcalloc(1, sizeof *n);
    struct address address;

    *n = (struct lmtp_next){
        .loop = l, .conf = conf, .backend = backend, .name = name, .fn = fn, .owner = owner};
    n->late.fn = next_on_late;
    STAILQ_INIT(&n->questions);
    if (!lmtp_next_address(conf->backends[backend].delivery, &address)) {
        loop_defer(l, &n->late);
        return n;
    }
    n->dial = dial_start(l, &address, NULL, &next_limits, conf->lmtp.connect_timeout_ms, next_on_dial, n);
    address_free(&address);
    return n;
}

bool lmtp_next_is_ready(const struct lmtp_next *n)
{
    return n->ready;
}

const struct lmtp_caps *lmtp_next_caps(const struct lmtp_next *n)
{
    return &n->caps;
}

const char *lmtp_next_why(const struct lmtp_next *n)
{
    return n->why;
}
