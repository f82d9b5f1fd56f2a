/* GET /api/v1/live: events as they come (HTML, 9.2). Every two seconds, while anybody listens, the same actions are run that
 * answer single calls; a part that is what it was is not sent again. What it costs does not grow with those who listen. */
#include <stdlib.h>

#include "lib/xalloc.h"

#include "api_priv.h"

enum { LIVE_MS = 2000, LIVE_EVENTS = 40, LIVE_JOBS = 40 };

static const struct live_row {
    const char *event;
    enum action_verb verb;
    const char *state;
    unsigned count;
} rows[] = {
    {"status", ACTION_STATUS, "", 0},
    {"groups", ACTION_GROUPS, "", 0},
    {"events", ACTION_EVENTS, "", LIVE_EVENTS},
    {"copying", ACTION_PAGE, "copying", LIVE_JOBS},
    {"preparing", ACTION_PAGE, "preparing", LIVE_JOBS},
    {"freezing", ACTION_PAGE, "freezing", LIVE_JOBS},
    {"flipping", ACTION_PAGE, "flipping", LIVE_JOBS},
};

struct live_listener {
    struct api_live *live;
    struct http_stream *stream;
    struct live_listener *next;
};

struct api_live {
    struct api *api; /* NULL: freed, and waits for the answers that are still to come */
    struct live_listener *listeners;
    char *sent[COUNTOF(rows)]; /* owned; what listeners were told last */
    size_t pending;
    struct timer *timer;
};

/* One question, and which row it is of. */
struct live_ask {
    struct api_live *live;
    size_t nth;
};

static void live_drop(struct api_live *l)
{
    for (size_t i = 0; i < COUNTOF(rows); i++)
        free(l->sent[i]);
    free(l);
}

/* ---- listeners */

static void live_unlink(struct live_listener *one)
{
    struct live_listener **at = &one->live->listeners;

    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    free(one);
}

static void live_on_gone(void *owner)
{
    live_unlink(owner);
}

/* One that does not take what is sent is better told to come again. */
static void live_send(struct live_listener *one, size_t nth)
{
    if (http_stream_send(one->stream, rows[nth].event, NULL, span_str(one->live->sent[nth])))
        return;
    http_stream_close(&one->stream);
    live_unlink(one);
}

static void live_send_all(struct api_live *l, size_t nth)
{
    for (struct live_listener *one = l->listeners, *next; one; one = next) {
        next = one->next;
        live_send(one, nth);
    }
}

/* ---- what is told */

static void live_on_answer(void *owner, const struct action_result *result)
{
    struct live_ask *ask = owner;
    struct api_live *l = ask->live;
    size_t nth = ask->nth;

    free(ask);
    l->pending--;
    if (!l->api) {
        if (l->pending == 0)
            live_drop(l);
        return;
    }
    char *text = json_dumps(result->data, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (text && (!l->sent[nth] || strcmp(l->sent[nth], text) != 0)) {
        free(l->sent[nth]);
        l->sent[nth] = text;
        text = NULL;
        live_send_all(l, nth);
    }
    free(text);
}

static void live_ask(struct api_live *l, size_t nth)
{
    struct live_ask *ask = xcalloc(1, sizeof(*ask));

    *ask = (struct live_ask){l, nth};
    l->pending++;
    api_run(l->api,
            &(struct action){.verb = rows[nth].verb,
                             .login = "",
                             .to = "",
                             .state = rows[nth].state,
                             .reason = "",
                             .count = rows[nth].count},
            live_on_answer, ask);
}

static void live_on_timer(void *owner)
{
    struct api_live *l = owner;

    if (!l->listeners)
        return;
    timer_start(l->timer, LIVE_MS);
    bool slow = l->pending > 0; /* the last round has not ended */
    for (size_t i = 0; !slow && i < COUNTOF(rows); i++)
        live_ask(l, i);
}

static void live_on_request(void *owner, struct http_request *r)
{
    struct api_live *l = owner;
    struct live_listener *one = xcalloc(1, sizeof(*one));
    struct api_who who;

    one->live = l;
    if (!api_gate(l->api, r, TOKEN_READ, &who) || !(one->stream = http_answer_stream(r, live_on_gone, one))) {
        free(one);
        return;
    }
    one->next = l->listeners;
    l->listeners = one;
    for (size_t i = 0; i < COUNTOF(rows) && l->listeners == one; i++)
        if (l->sent[i])
            live_send(one, i);
    if (!timer_is_set(l->timer))
        timer_start(l->timer, 0);
}

/* ---- the life of it */

struct api_live *api_live_new(struct api *a)
{
    struct api_live *l = xcalloc(1, sizeof(*l));

    l->api = a;
    l->timer = timer_new(a->loop, live_on_timer, l);
    return l;
}

void api_live_route(struct api_live *l)
{
    http_server_route(l->api->server, "GET", "/api/v1/live", live_on_request, l);
}

void api_live_free(struct api_live **lp)
{
    struct api_live *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    timer_free(&l->timer);
    l->api = NULL;
    if (l->pending == 0)
        live_drop(l);
}
