/* A proxy's lease. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "registry.h"
#include "xalloc.h"

enum { RETRY_MIN_MS = 50, RETRY_MAX_MS = 500 };

/* One of the two terms. */
struct term {
    uint64_t length_ms;
    uint64_t ends_ms; /* by clock_boot_ms(); 0 before the first renewal */
    uint64_t lapses;
    bool valid; /* until ends_ms; false once a lapse was counted */
};

struct lease {
    struct store *s;
    char *incarnation; /* owned */
    char host[256];
    uint64_t lease_ms, counter, generation, masters;
    uint64_t forgotten; /* when staff declared it dead, by Redis' clock, as was heard last; 0 = never */
    struct term brief, wide;
    lease_fn fn;
    void *owner; /* borrowed */
    struct timer *renewal, *lapse;
    bool started; /* a renewal was answered */
    bool ended;
    unsigned busy;
    bool gone;
};

/* A renewal under way. */
struct renewal {
    struct lease *l;
    uint64_t sent_ms;
};

static void lease_leave_callback(struct lease *l)
{
    if (--l->busy > 0 || !l->gone)
        return;
    free(l->incarnation);
    free(l);
}

/* False: the owner freed the lease. */
static bool lease_tell(struct lease *l, enum lease_event ev)
{
    l->fn(l->owner, ev);
    return !l->gone;
}

/* ---- terms ---- */

static bool term_holds(const struct term *t, uint64_t now)
{
    return t->valid && now < t->ends_ms;
}

/* Counts a lapse where the term ended and nobody noticed yet. True: it has just been counted. */
static bool term_lapse(struct term *t, uint64_t now)
{
    if (!t->valid || now < t->ends_ms)
        return false;
    t->valid = false;
    t->lapses++;
    return true;
}

/* Valid from before sending, less a tenth. A later answer to an earlier renewal changes nothing. */
static void term_renew(struct term *t, uint64_t sent_ms, uint64_t now)
{
    uint64_t ends = sent_ms + t->length_ms - t->length_ms / 10;
    if (ends > t->ends_ms)
        t->ends_ms = ends;
    t->valid = now < t->ends_ms;
}

/* It ends now, whatever the clock says. */
static void term_drop(struct term *t)
{
    t->lapses += t->valid;
    t->valid = false;
}

static void on_lapse(void *owner)
{
    struct lease *l = owner;
    uint64_t now = clock_boot_ms();

    term_lapse(&l->wide, now);
    if (!l->brief.valid)
        return;
    if (now < l->brief.ends_ms) {
        timer_start(l->lapse, l->brief.ends_ms - now);
        return;
    }
    term_lapse(&l->brief, now);
    LOG(WARN, "lease_lapsed", LOG_S("incarnation", l->incarnation));
    l->busy++;
    lease_tell(l, LEASE_LAPSED);
    lease_leave_callback(l);
}

bool lease_is_valid(const struct lease *l, bool engaged)
{
    return !l->ended && term_holds(engaged ? &l->brief : &l->wide, clock_boot_ms());
}

uint64_t lease_left_ms(const struct lease *l, bool engaged)
{
    const struct term *t = engaged ? &l->brief : &l->wide;
    uint64_t now = clock_boot_ms();
    return !l->ended && term_holds(t, now) ? t->ends_ms - now : 0;
}

uint64_t lease_lapses(const struct lease *l, bool engaged)
{
    const struct term *t = engaged ? &l->brief : &l->wide;
    /* One that nobody has noticed yet counts already. */
    return t->lapses + (t->valid && clock_boot_ms() >= t->ends_ms);
}

uint64_t lease_generation(const struct lease *l)
{
    return l->generation;
}

uint64_t lease_masters(const struct lease *l)
{
    return l->masters;
}

/* ---- renewals ---- */

static void send_renewal(struct lease *l);

static void on_renewal_time(void *owner)
{
    send_renewal(owner);
}

/* Staff declared us dead (imapferryctl proxy forget), and our registrations are gone, or going: nobody waits
 * for these sessions any more, so both terms have ended, however long they would have been valid. True: the
 * short one was valid until now. */
static bool take_forgotten(struct lease *l, uint64_t forgotten)
{
    bool was = l->brief.valid;

    if (forgotten == l->forgotten)
        return false;
    l->forgotten = forgotten;
    LOG(WARN, "lease_forgotten", LOG_S("incarnation", l->incarnation),
        LOG_S("effect", "each session asks whether it may go on"));
    term_drop(&l->brief);
    term_drop(&l->wide);
    return was;
}

static void renewed(struct lease *l, uint64_t sent_ms, uint64_t generation, bool unknown, uint64_t forgotten)
{
    uint64_t now = clock_boot_ms();
    bool lapsed_now = term_lapse(&l->brief, now);
    bool news = forgotten != l->forgotten;
    lapsed_now = take_forgotten(l, forgotten) || lapsed_now;
    bool first = !l->brief.valid, master = l->started && (generation != l->generation || (unknown && !news));

    term_lapse(&l->wide, now);
    term_renew(&l->wide, sent_ms, now);
    term_renew(&l->brief, sent_ms, now);
    l->generation = generation;
    l->started = true;
    store_heard(l->s, generation);
    timer_start(l->renewal, l->lease_ms / 3);
    if (l->brief.valid)
        timer_start(l->lapse, l->brief.ends_ms - now);
    if (lapsed_now && !lease_tell(l, LEASE_LAPSED))
        return;
    l->masters += master;
    if (master && !lease_tell(l, LEASE_NEW_MASTER))
        return;
    if (first && l->brief.valid)
        lease_tell(l, LEASE_RENEWED);
}

static void on_renewed(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct renewal n = *(struct renewal *)owner;
    uint64_t generation = 0;
    struct lease *l = n.l;

    free(owner);
    if (l->ended)
        return;
    l->busy++;
    if (rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "ok") &&
        span_u64(reply_str(reply_at(r, 1)), UINT64_MAX, &generation)) {
        int64_t forgotten = reply_int(reply_at(r, 3));
        renewed(l, n.sent_ms, generation, span_is(reply_str(reply_at(r, 2)), "1"),
                forgotten > 0 ? (uint64_t)forgotten : 0);
    } else {
        uint64_t soon = l->lease_ms / 20;
        timer_start(l->renewal, soon < RETRY_MIN_MS   ? RETRY_MIN_MS
                                : soon > RETRY_MAX_MS ? RETRY_MAX_MS
                                                      : soon);
    }
    lease_leave_callback(l);
}

static void send_renewal(struct lease *l)
{
    char counter[24], brief[24], wide[24];
    struct renewal *n = xcalloc(1, sizeof(*n));
    *n = (struct renewal){.l = l, .sent_ms = clock_boot_ms()};
    snprintf(counter, sizeof(counter), "%" PRIu64, ++l->counter);
    snprintf(brief, sizeof(brief), "%" PRIu64, l->brief.length_ms);
    snprintf(wide, sizeof(wide), "%" PRIu64, l->wide.length_ms);
    struct span args[] = {span_str(l->incarnation), span_str(counter), span_str(IMAPFERRY_VERSION),
                          span_str(l->host),        span_str(brief),   span_str(wide)};
    timer_start(l->renewal, l->lease_ms / 3);
    store_script_for(l->s, l, "renew", args, COUNTOF(args), on_renewed, n, free);
}

void lease_renew(struct lease *l)
{
    if (!l->ended)
        send_renewal(l);
}

/* ---- life ---- */

/* An incarnation is a word of session names and of lists that are parsed. */
static char *name_incarnation(const char *id)
{
    char random[17];
    char *name = NULL, *safe = xstrdup(id);
    for (char *p = safe; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p))
            *p = '_';
    random_hex(random, 8);
    name = xasprintf("%s-%s", safe, random);
    free(safe);
    return name;
}

struct lease *lease_new(struct store *s, const char *id, uint64_t lease_ms, uint64_t long_ms, lease_fn fn,
                        void *owner)
{
    char *name = name_incarnation(id);
    struct lease *l = lease_new_as(s, name, lease_ms, long_ms, fn, owner);
    free(name);
    return l;
}

struct lease *lease_new_as(struct store *s, const char *incarnation, uint64_t lease_ms, uint64_t long_ms,
                           lease_fn fn, void *owner)
{
    struct lease *l = xcalloc(1, sizeof(*l));
    struct loop *loop = store_loop(s);
    l->s = s;
    l->fn = fn;
    l->owner = owner;
    l->lease_ms = lease_ms;
    l->brief.length_ms = lease_ms;
    l->wide.length_ms = long_ms < lease_ms ? lease_ms : long_ms;
    l->incarnation = xstrdup(incarnation);
    if (gethostname(l->host, sizeof(l->host) - 1) != 0)
        l->host[0] = '\0';
    /* Scripts compare as doubles: below 2^53 for as long as anything runs. */
    l->counter = random_u64() >> 24;
    l->renewal = timer_new(loop, on_renewal_time, l);
    l->lapse = timer_new(loop, on_lapse, l);
    timer_start(l->renewal, 0);
    return l;
}

const char *lease_incarnation(const struct lease *l)
{
    return l->incarnation;
}

void lease_end(struct lease *l)
{
    char *key = store_key(l->s, "proxies");
    struct span argv[] = {span_str("HDEL"), span_str(key), span_str(l->incarnation)};
    l->ended = true;
    timer_stop(l->renewal);
    timer_stop(l->lapse);
    store_command_for(l->s, l, argv, COUNTOF(argv), NULL, NULL, NULL);
    free(key);
}

void lease_free(struct lease **lp)
{
    struct lease *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    l->gone = true;
    store_forget(l->s, l);
    timer_free(&l->renewal);
    timer_free(&l->lapse);
    l->busy++;
    lease_leave_callback(l);
}
