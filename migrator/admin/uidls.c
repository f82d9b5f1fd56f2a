#include <stdlib.h>

#include "lib/pop3.h"
#include "lib/pop3_login.h"
#include "lib/xalloc.h"

#include "uidls.h"

enum {
    LIST_MAX = 100 * 1000, /* UIDLs that are looked at */
    STEP_MS = 20 * 1000,
    TIMEOUT_MS = 60 * 1000, /* of one server's list */
};

struct uidls {
    struct loop *loop; /* borrowed */
    char *login;       /* owned; NULL: check_user of each */
    struct uidls_side sides[2];
    unsigned at; /* the side that is looked at */
    struct pop3_login *dialog;
    struct stream *s;
    struct pop3_line line;
    bool listing; /* +OK was there */
    bool of_check_user;
    struct pop3_uidls seen;
    struct timer *soon; /* tells the end, which can't be told at once */
    uidls_fn fn;
    void *owner;
};

static void uidls_next(struct uidls *u);

/* Takes why. */
static void uidls_done(struct uidls *u, char *why)
{
    struct uidls_side *side = &u->sides[u->at];
    bool once_more = !why && u->seen.n == 0 && !u->of_check_user && *side->backend->check_user;
    side->why = why;
    side->n = u->seen.n;
    side->format = pop3_uidl_format(&u->seen);
    stream_close(&u->s, false);
    pop3_line_wipe(&u->line);
    u->at += !once_more;
    u->of_check_user = once_more || !u->login;
    uidls_next(u);
}

/* "number blank UIDL"; true: the list goes on. */
static bool uidls_take(struct uidls *u, struct span line)
{
    struct pop3_status st;
    const uint8_t *blank = line.len > 0 ? memchr(line.p, ' ', line.len) : NULL;
    if (!u->listing) {
        u->listing = pop3_parse_status(line, &st) && st.ok;
        if (!u->listing)
            uidls_done(u, xstrdup("it answers UIDL with an error"));
        return u->listing;
    }
    if (span_is(line, ".") || u->seen.n == LIST_MAX) {
        uidls_done(u, NULL);
        return false;
    }
    size_t n = blank ? (size_t)(blank - line.p) + 1 : line.len;
    struct pop3_numbers unknown = {0}, *numbers = u->of_check_user ? &unknown : &u->sides[u->at].numbers;
    pop3_uidl_take(&u->seen, numbers, span_of(line.p + n, line.len - n));
    return true;
}

static void uidls_read(struct uidls *u)
{
    struct span data, line;
    const char *why;
    size_t used;
    while ((data = stream_peek(u->s)).len > 0) {
        enum pop3_line_rc rc = pop3_line_feed(&u->line, data, &used, &line, &why);
        stream_eat(u->s, used);
        if (rc == POP3_BAD)
            uidls_done(u, xstrdup("its answer to UIDL can't be read"));
        if (rc == POP3_BAD || (rc == POP3_WHOLE && !uidls_take(u, line)))
            return;
    }
}

static void uidls_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct uidls *u = owner;
    (void)s;
    if (ev == STREAM_DATA)
        uidls_read(u);
    else if (ev == STREAM_EOF || ev == STREAM_ERROR || ev == STREAM_TIMEOUT)
        uidls_done(u,
                   xstrdup(ev == STREAM_TIMEOUT ? "no answer to UIDL in time" : "it closed the connection"));
}

static void uidls_on_signed_in(void *owner, const struct login_result *r)
{
    struct uidls *u = owner;
    u->dialog = NULL;
    if (r->rc != LOGIN_OK) {
        uidls_done(u, xasprintf("no sign-in by POP3 as master: %s", r->detail ? r->detail : ""));
        return;
    }
    u->s = r->stream;
    stream_set_owner(u->s, uidls_event, u);
    stream_deadline(u->s, TIMEOUT_MS);
    stream_send(u->s, "UIDL\r\n", 6);
}

/* The next side, or the end. */
static void uidls_next(struct uidls *u)
{
    if (u->at == 2) {
        timer_start(u->soon, 0);
        return;
    }
    const struct conf_backend *b = u->sides[u->at].backend;
    u->seen = (struct pop3_uidls){.fits = POP3_UIDL_ALL};
    u->line = (struct pop3_line){.max = POP3_STATUS_LINE};
    u->listing = false;
    struct login_request request = {.backend = b,
                                    .policy = u->sides[u->at].tls,
                                    .as = LOGIN_AS_MASTER,
                                    .user = u->of_check_user ? b->check_user : u->login,
                                    .limits = {.high_water = 64 * 1024, .queue_max = 64 * 1024},
                                    .connect_timeout_ms = STEP_MS,
                                    .step_timeout_ms = STEP_MS};
    u->dialog = pop3_login_start(u->loop, &request, uidls_on_signed_in, u);
}

static void uidls_on_end(void *owner)
{
    struct uidls *u = owner;
    u->fn(u->owner, u->sides);
}

struct uidls *uidls_start(struct loop *l, const char *login, const struct uidls_side sides[2], uidls_fn fn,
                          void *owner)
{
    struct uidls *u = xcalloc(1, sizeof *u);
    *u = (struct uidls){.loop = l,
                        .login = xstrdup(login),
                        .sides = {sides[0], sides[1]},
                        .of_check_user = !login,
                        .fn = fn,
                        .owner = owner};
    u->soon = timer_new(l, uidls_on_end, u);
    uidls_next(u);
    return u;
}

void uidls_cancel(struct uidls **up)
{
    struct uidls *u = *up;
    *up = NULL;
    if (!u)
        return;
    pop3_login_cancel(&u->dialog);
    stream_close(&u->s, false);
    pop3_line_wipe(&u->line);
    timer_free(&u->soon);
    free(u->sides[0].why);
    free(u->sides[1].why);
    free(u->login);
    free(u);
}

/* ---- for people ---- */

static char *uidls_say_unknown(const struct uidls_side *side)
{
    const char *name = side->backend->name;
    if (side->why)
        return xasprintf("not known: %s: %s", name, side->why);
    if (side->n == 0)
        return xasprintf(
            "not known: there is no message on %s to see by how it makes them (nor one of its check_user)",
            name);
    return xasprintf("%s makes them by no known format, so other ones are to be expected", name);
}

bool uidls_are_known(const struct uidls_side sides[2])
{
    return sides[0].format && sides[1].format;
}

char *uidls_say(const struct uidls_side sides[2], bool keeps, bool *same)
{
    *same = false;
    for (size_t i = 0; i < 2; i++)
        if (!sides[i].format)
            return uidls_say_unknown(&sides[i]);
    *same = keeps && strcmp(sides[0].format, sides[1].format) == 0;
    if (*same)
        return xasprintf("the same (%s on both)", sides[0].format);
    if (!keeps)
        return xstrdup("others: INBOX does not keep its UIDVALIDITY and UIDs, so clients download again");
    return xasprintf("others: %s on %s, and %s on %s, so clients download again; set one format",
                     sides[0].format, sides[0].backend->name, sides[1].format, sides[1].backend->name);
}
