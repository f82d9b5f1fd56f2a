#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "fnv.h"
#include "lookup.h"
#include "reach.h"
#include "xalloc.h"

enum {
    PLACE_SIZE = 300,  /* a name and its port, or a path */
    DETAIL_MAX = 600,  /* bytes, of all failures together */
    REFERRALS_MAX = 2, /* in one sign-in */
    LEAST_MS = 10,     /* with less left no place is begun with */
};

struct reach_place {
    struct sockaddr_storage at; /* not of a UNIX socket */
    bool tried;
    bool referred; /* it has sent us elsewhere */
};

/* One of the addresses of the backend. */
struct reach_target {
    struct address address; /* host, path: owned */
    bool known;             /* its places are */
    struct reach_place *places;
    size_t n;
};

struct reach {
    struct loop *loop;
    struct tls_policy *policy; /* borrowed */
    struct outage *outage;     /* borrowed; NULL: none */
    char *only;                /* owned; NULL: all may be gone to */
    struct buf first;
    struct stream_limits limits;
    uint64_t connect_ms;
    reach_fn fn;
    void *owner; /* borrowed */

    struct reach_target *targets; /* owned; in the order in which they are tried */
    size_t n;
    struct reach_target *target; /* where it is going, or is */
    struct reach_place *place;
    struct lookup *lookup; /* of target */
    struct dial *dial;
    struct timer *timer; /* NULL before the first name; the end of a lookup, or what can't be said at once */
    uint64_t ends_ms;    /* of connecting */
    uint64_t all_end_ms;
    bool names_client, connected; /* connected: with place */
    bool answered;                /* some place has */
    bool doubted;                 /* whether some place would answer another client is not known */
    unsigned referrals;

    enum dial_rc rc; /* of the failures: TLS_FAILED tells more than the others and stays */
    struct buf detail;
};

static bool reach_go(struct reach *r);

/* ---- texts ---- */

/* Of one of the addresses, as it is configured. */
static void target_text(const struct reach_target *t, char out[PLACE_SIZE])
{
    const struct address *a = &t->address;
    if (a->path)
        snprintf(out, PLACE_SIZE, "%s", a->path);
    else
        snprintf(out, PLACE_SIZE, strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host, a->port);
}

static void place_text(const struct reach_target *t, const struct reach_place *p, char out[PLACE_SIZE])
{
    if (t->address.path)
        target_text(t, out);
    else
        lookup_text(&p->at, out);
}

static bool has_one_place(const struct reach *r)
{
    return r->n == 1 && r->targets[0].n == 1;
}

static void reach_note(struct reach *r, enum dial_rc rc, const char *detail)
{
    if (rc == DIAL_TLS_FAILED || r->detail.len == 0 || r->rc != DIAL_TLS_FAILED)
        r->rc = rc;
    if (r->detail.len + strlen(detail) > DETAIL_MAX)
        return;
    buf_printf(&r->detail, "%s%s", r->detail.len > 0 ? "; " : "", detail);
}

/* ---- what is known to be dead ---- */

static bool target_is_dead(const struct reach *r, const struct reach_target *t)
{
    char text[PLACE_SIZE];
    if (!r->outage || r->outage->n == 0)
        return false;
    target_text(t, text);
    return outage_is_dead(r->outage, text);
}

static bool place_is_dead(const struct reach *r, const struct reach_target *t, const struct reach_place *p)
{
    char text[PLACE_SIZE];
    if (!r->outage || r->outage->n == 0)
        return false;
    place_text(t, p, text);
    return outage_is_dead(r->outage, text);
}

static void reach_keep_failure(struct reach *r, const char *place, const char *detail, bool doubted)
{
    doubted = doubted && !outage_is_dead(r->outage, place);
    r->doubted = r->doubted || doubted;
    (doubted ? outage_doubted : outage_failed)(r->outage, place, detail, clock_boot_ms());
}

static void target_failed(struct reach *r, struct reach_target *t, enum dial_rc rc, const char *detail)
{
    char text[PLACE_SIZE];
    t->known = true;
    reach_note(r, rc, detail);
    target_text(t, text);
    if (r->outage)
        reach_keep_failure(r, text, detail, rc == DIAL_OURS);
}

static void place_failed(struct reach *r, enum dial_rc rc, const char *detail)
{
    char text[PLACE_SIZE];
    reach_note(r, rc, detail);
    if (!r->outage)
        return;
    place_text(r->target, r->place, text);
    reach_keep_failure(r, text, detail, (r->names_client && r->connected) || rc == DIAL_OURS);
    target_text(r->target, text);
    if (!r->target->address.path &&
        !lookup_literal(r->target->address.host, 0, &(struct sockaddr_storage){0}))
        outage_forget(r->outage, text); /* the name has an address again */
}

void reach_answered(struct reach *r)
{
    char text[PLACE_SIZE] = "";
    r->answered = true;
    if (!r->outage)
        return;
    if (r->outage->n > 0) {
        target_text(r->target, text);
        if (outage_is_dead(r->outage, text))
            outage_answered(r->outage, text);
        place_text(r->target, r->place, text);
    }
    outage_answered(r->outage, text);
}

/* ---- which comes next ---- */

static bool reach_allows(const struct reach *r, const struct reach_target *t, const struct reach_place *p)
{
    char text[PLACE_SIZE];
    if (!r->only)
        return true;
    target_text(t, text);
    if (strcmp(r->only, text) == 0)
        return true;
    place_text(t, p, text);
    return strcmp(r->only, text) == 0;
}

static bool is_open(const struct reach *r, const struct reach_target *t, const struct reach_place *p,
                    bool dead)
{
    return !p->tried && reach_allows(r, t, p) && place_is_dead(r, t, p) == dead;
}

/* The next of those that are dead, or of the others: its target, and *place, NULL where that is to be looked up. NULL:
 * there is none. */
static struct reach_target *reach_choose(const struct reach *r, bool dead, struct reach_place **place)
{
    *place = NULL;
    for (size_t i = 0; i < r->n; i++) {
        struct reach_target *t = &r->targets[i];
        if (!t->known && target_is_dead(r, t) == dead)
            return t;
        for (size_t k = 0; k < t->n; k++)
            if (is_open(r, t, &t->places[k], dead)) {
                *place = &t->places[k];
                return t;
            }
    }
    return NULL;
}

bool reach_has_more(const struct reach *r)
{
    struct reach_place *place;
    return reach_choose(r, false, &place) != NULL;
}

/* Among how many the time is shared: all that are left, those that are dead together as one. */
static unsigned reach_shares(const struct reach *r)
{
    unsigned alive = 0, dead = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct reach_target *t = &r->targets[i];
        if (!t->known)
            alive++;
        for (size_t k = 0; k < t->n; k++) {
            alive += is_open(r, t, &t->places[k], false);
            dead += is_open(r, t, &t->places[k], true);
        }
    }
    return alive + (alive == 0 ? dead : dead > 0);
}

static uint64_t reach_left_ms(const struct reach *r)
{
    uint64_t now = clock_boot_ms(), end = r->ends_ms < r->all_end_ms ? r->ends_ms : r->all_end_ms;
    return end > now ? end - now : 0;
}

/* ---- going there ---- */

/* No place is left, or no time. */
static void reach_ended(struct reach *r)
{
    if (r->detail.len == 0)
        reach_note(r, DIAL_UNREACHABLE, "the backend has no such address");
    if (r->outage && !r->only && !r->answered && !r->doubted)
        outage_all_failed(r->outage, buf_str(&r->detail), clock_boot_ms());
}

static void reach_tell_end(struct reach *r)
{
    reach_ended(r);
    char *detail = xstrdup(buf_str(&r->detail));
    r->fn(r->owner, r->rc, NULL, detail);
    free(detail);
}

static void reach_dialled(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct reach *r = owner;
    r->dial = NULL;
    if (rc == DIAL_OK) {
        r->fn(r->owner, rc, s, "");
        return;
    }
    place_failed(r, rc, detail);
    if (!reach_go(r))
        reach_tell_end(r);
}

static void target_keep(struct reach_target *t, const struct sockaddr_storage *addrs, size_t n)
{
    t->known = true;
    t->n = n;
    t->places = xcalloc(n, sizeof *t->places);
    for (size_t i = 0; i < n; i++)
        t->places[i].at = addrs[i];
}

static void reach_unresolved(struct reach *r, enum dial_rc rc, char *detail)
{
    target_failed(r, r->target, rc, detail);
    free(detail);
}

static void reach_on_looked_up(void *owner, int status, const struct sockaddr_storage *addrs, size_t n)
{
    struct reach *r = owner;
    r->lookup = NULL;
    timer_stop(r->timer);
    if (n > 0)
        target_keep(r->target, addrs, n);
    else
        reach_unresolved(r, status == UV_EMFILE ? DIAL_OURS : DIAL_UNREACHABLE,
                         dial_unresolved_text(r->target->address.host, status));
    if (!reach_go(r))
        reach_tell_end(r);
}

static void reach_on_timer(void *owner)
{
    struct reach *r = owner;
    if (r->lookup) {
        lookup_cancel(&r->lookup);
        reach_unresolved(r, DIAL_TIMEOUT,
                         xasprintf("%s: the resolver gave no answer in time", r->target->address.host));
    }
    if (!reach_go(r))
        reach_tell_end(r);
}

/* Goes on by the loop, since it may not call back from here. */
static void reach_go_soon(struct reach *r, uint64_t ms)
{
    if (!r->timer)
        r->timer = timer_new(r->loop, reach_on_timer, r);
    timer_start(r->timer, ms);
}

static void reach_look_up(struct reach *r, uint64_t ms)
{
    const struct address *a = &r->target->address;
    int status;
    r->lookup = lookup_start(r->loop, a->host, a->port, reach_on_looked_up, r, &status);
    if (!r->lookup)
        reach_unresolved(r, DIAL_UNREACHABLE, xasprintf("%.100s: %s", a->host, uv_strerror(status)));
    reach_go_soon(r, r->lookup ? ms : 0);
}

static void reach_dial(struct reach *r, uint64_t ms)
{
    r->place->tried = true;
    r->connected = false;
    r->dial = dial_start_at(r->loop, &r->target->address, r->target->address.path ? NULL : &r->place->at,
                            r->policy, &r->limits, ms, reach_dialled, r);
    dial_note_connected(r->dial, &r->connected);
    if (r->first.len > 0)
        dial_begin_with(r->dial, buf_span(&r->first));
}

/* To the next place; false: there is none, or no time. */
static bool reach_go(struct reach *r)
{
    struct reach_place *place;
    uint64_t left = reach_left_ms(r);
    struct reach_target *t = reach_choose(r, false, &place);
    if (!t)
        t = reach_choose(r, true, &place);
    if (!t || (left < LEAST_MS && r->detail.len > 0))
        return false;
    uint64_t share = left / reach_shares(r);
    r->target = t;
    r->place = place;
    if (place)
        reach_dial(r, share > 0 ? share : 1);
    else
        reach_look_up(r, share > 0 ? share : 1);
    return true;
}

bool reach_next(struct reach *r, enum dial_rc rc, const char *detail, char **detail_r)
{
    char text[PLACE_SIZE] = "";
    if (!has_one_place(r))
        place_text(r->target, r->place, text);
    char *whole = xasprintf("%s%s%s", text, *text ? ": " : "", detail);
    place_failed(r, rc, whole);
    free(whole);
    r->ends_ms = clock_boot_ms() + r->connect_ms;
    if (reach_go(r))
        return true;
    reach_ended(r);
    *detail_r = xstrdup(buf_str(&r->detail));
    return false;
}

enum dial_rc reach_rc(const struct reach *r)
{
    return r->rc;
}

const char *reach_name(const struct reach *r)
{
    return r->target->address.host;
}

/* ---- referrals ---- */

/* Is it the address as it is configured? Where no port is said, any is meant: the scheme of referrals knows no TLS. */
static bool target_is_meant(const struct reach_target *t, const char *host, uint16_t port)
{
    return t->address.host && strcasecmp(t->address.host, host) == 0 &&
           (port == 0 || port == t->address.port);
}

/* ... or one that its name has? */
static bool place_is_meant(const struct reach_target *t, const struct reach_place *p, const char *host,
                           uint16_t port)
{
    struct sockaddr_storage at;
    char meant[LOOKUP_TEXT_SIZE], is[LOOKUP_TEXT_SIZE];
    if (t->address.path || (port != 0 && port != t->address.port) ||
        !lookup_literal(host, t->address.port, &at))
        return false;
    lookup_text(&at, meant);
    lookup_text(&p->at, is);
    return strcmp(meant, is) == 0;
}

/* Leaves open what is meant, and nothing else. False: nothing is left. */
static bool reach_narrow(struct reach *r, const char *host, uint16_t port)
{
    bool found = false;
    for (size_t i = 0; i < r->n; i++) {
        struct reach_target *t = &r->targets[i];
        bool whole = target_is_meant(t, host, port);
        found = found || (whole && !t->known);
        t->known = t->known || !whole;
        for (size_t k = 0; k < t->n; k++) {
            struct reach_place *p = &t->places[k];
            p->tried = p->referred || !(whole || place_is_meant(t, p, host, port));
            found = found || !p->tried;
        }
    }
    return found;
}

bool reach_refer(struct reach *r, const char *host, uint16_t port)
{
    r->place->referred = true;
    if (r->only || ++r->referrals > REFERRALS_MAX || !reach_narrow(r, host, port))
        return false;
    buf_free(&r->detail);
    r->ends_ms = clock_boot_ms() + r->connect_ms;
    return reach_left_ms(r) >= LEAST_MS && reach_go(r);
}

/* ---- life ---- */

/* The place of a user among n: the same wherever it is asked. */
static size_t reach_first_of(const char *user, size_t n)
{
    return (size_t)((fnv(FNV_BEGIN, span_str(user ? user : "")) >> 32) % n);
}

static void reach_take_addresses(struct reach *r, const struct reach_request *q)
{
    const struct conf_backend *b = q->backend;
    r->n = q->address ? 1 : 1 + b->n_others;
    r->targets = xcalloc(r->n, sizeof *r->targets);
    size_t first = b->spread ? reach_first_of(q->user, r->n) : 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct address *a = q->address ? q->address : backend_address(b, (first + i) % r->n);
        struct reach_target *t = &r->targets[i];
        struct sockaddr_storage at = {0};
        t->address = (struct address){
            .scheme = a->scheme, .host = xstrdup(a->host), .path = xstrdup(a->path), .port = a->port};
        if (a->path || lookup_literal(a->host, a->port, &at))
            target_keep(t, &at, 1);
    }
}

struct reach *reach_start(struct loop *l, const struct reach_request *q, reach_fn fn, void *owner)
{
    struct reach *r = xcalloc(1, sizeof *r);
    *r = (struct reach){.loop = l,
                        .policy = q->policy,
                        .outage = q->outage,
                        .only = xstrdup(q->place),
                        .limits = q->limits,
                        .names_client = q->names_client,
                        .connect_ms = q->connect_timeout_ms,
                        .fn = fn,
                        .owner = owner,
                        .ends_ms = clock_boot_ms() + q->connect_timeout_ms,
                        .rc = DIAL_UNREACHABLE};
    r->all_end_ms = r->ends_ms - q->connect_timeout_ms + q->all_ms;
    buf_add_span(&r->first, q->first);
    reach_take_addresses(r, q);
    if (!reach_go(r))
        reach_go_soon(r, 0);
    return r;
}

void reach_free(struct reach **rp)
{
    struct reach *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    lookup_cancel(&r->lookup);
    dial_cancel(&r->dial);
    timer_free(&r->timer);
    for (size_t i = 0; i < r->n; i++) {
        address_free(&r->targets[i].address);
        free(r->targets[i].places);
    }
    free(r->targets);
    free(r->only);
    buf_free(&r->first);
    buf_free(&r->detail);
    free(r);
}
