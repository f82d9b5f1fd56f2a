#include <stdlib.h>

#include "lib/imap_write.h"
#include "lib/xalloc.h"

#include "answers.h"
#include "opened.h"
#include "proxy.h"
#include "relay.h"
#include "warm.h"

enum { TAG_BYTES = 8, UNTAGGED_MAX = 1000 };

enum step { OPEN, LEAVE };

struct warm {
    struct stream *stream; /* owned */
    struct imap_line line;
    struct imap_caps caps;
    enum step step;
    char tag[2 * TAG_BYTES + 3]; /* its last letter is the step's */
    size_t untagged;
    warm_fn fn;
    void *owner;
};

/* ---- the end ---- */

static void free_warm(struct warm *w)
{
    stream_close(&w->stream, false);
    imap_line_wipe(&w->line);
    free(w);
}

static void warm_end(struct warm *w, const char *lost)
{
    warm_fn fn = w->fn;
    void *owner = w->owner;
    struct stream *stream = lost ? NULL : w->stream;
    if (!lost) {
        stream_deadline(w->stream, 0);
        w->stream = NULL;
    }
    free_warm(w);
    fn(owner, stream, lost);
}

/* ---- what is sent ---- */

static void warm_begin_command(struct warm *w, struct imap_writer *out, enum step step)
{
    w->step = step;
    w->tag[2 * TAG_BYTES + 1] = (char)('a' + step);
    imap_write_raw(out, "%s ", w->tag);
}

/* False: not in one piece. */
static bool warm_send_open(struct warm *w, struct span name)
{
    struct imap_writer out;
    imap_writer_init(&out, imap_literals_of(&w->caps));
    warm_begin_command(w, &out, OPEN);
    imap_write_raw(&out, "EXAMINE ");
    imap_write_astring(&out, name);
    imap_write_raw(&out, "\r\n");
    bool whole = !out.bad && out.n_waits == 0;
    if (whole)
        stream_send(w->stream, buf_span(&out.out).p, out.out.len);
    imap_writer_wipe(&out);
    return whole;
}

static void send_leave(struct warm *w)
{
    struct imap_writer out;
    imap_writer_init(&out, LITERALS_SYNC);
    warm_begin_command(w, &out, LEAVE);
    imap_write_raw(&out, "%s\r\n", imap_caps_has(&w->caps, CAP_UNSELECT) ? "UNSELECT" : "CLOSE");
    stream_send(w->stream, buf_span(&out.out).p, out.out.len);
    imap_writer_wipe(&out);
}

/* ---- what is answered ---- */

static enum answers_rc warm_take_response(void *owner, const struct imap_resp *r, struct span line,
                                          const char **wrong)
{
    struct warm *w = owner;
    (void)line;
    if (r->kind != RESP_TAGGED && ++w->untagged > UNTAGGED_MAX)
        *wrong = "too many untagged responses";
    else if (r->kind == RESP_TAGGED && !span_is(r->tag, w->tag))
        *wrong = "an answer to a command that it was not sent";
    if (*wrong)
        return ANSWERS_WRONG;
    if (r->kind != RESP_TAGGED)
        return ANSWERS_MORE;
    if (w->step == LEAVE || r->status != STATUS_OK)
        return ANSWERS_DONE;
    send_leave(w);
    return ANSWERS_MORE;
}

static void warm_read_answers(struct warm *w)
{
    const char *wrong = NULL;
    enum answers_rc rc = answers_read(&w->line, w->stream, warm_take_response, w, &wrong);
    if (rc != ANSWERS_MORE)
        warm_end(w, wrong);
}

static void warm_stream_event(struct stream *stream, enum stream_event ev, void *owner)
{
    struct warm *w = owner;
    (void)stream;
    if (ev == STREAM_DATA)
        warm_read_answers(w);
    else if (ev == STREAM_EOF)
        warm_end(w, "it closed the connection");
    else if (ev == STREAM_TIMEOUT)
        warm_end(w, "no answer in time");
    else if (ev == STREAM_ERROR)
        warm_end(w, "the connection broke");
}

/* ---- life ---- */

struct warm *warm_start(struct session *s, const struct conf_backend *at, struct stream **stream, warm_fn fn,
                        void *owner)
{
    const struct opened *o = relay_opened(s);
    if (!o->selected)
        return NULL;
    struct warm *w = xcalloc(1, sizeof *w);
    *w = (struct warm){
        .stream = *stream, .caps = backends_caps(s->proxy->backends, at), .fn = fn, .owner = owner};
    w->tag[0] = 'W';
    random_hex(w->tag + 1, TAG_BYTES);
    imap_line_init(&w->line, LINE_RESPONSES, &limits_of_backend);
    *stream = NULL;
    stream_set_owner(w->stream, warm_stream_event, w);
    stream_deadline(w->stream, s->proxy->conf->proxy.backend_timeout_ms);
    if (warm_send_open(w, buf_span(&o->mailbox)))
        return w;
    *stream = w->stream;
    w->stream = NULL;
    stream_deadline(*stream, 0);
    free_warm(w);
    return NULL;
}

void warm_cancel(struct warm **w_)
{
    struct warm *w = *w_;
    *w_ = NULL;
    if (w)
        free_warm(w);
}
