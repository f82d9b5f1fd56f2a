#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/route.h"
#include "lib/xalloc.h"

#include "handover.h"
#include "opened.h"
#include "proxy.h"
#include "relay.h"
#include "rest.h"

enum { AGAIN_MS = 300, WAIT_MS = 10 * 1000, FLIPPING_WAIT_MS = 60 * 1000, ASKED_MAX = 5, FLAGS_MAX = 100000 };

enum step { NOT_LISTED, LISTING, LISTED };
/* ASKED: behind a list, whose answer is still to come */
enum rest_flags { FLAGS_NOT_ASKED, FLAGS_ASKED, FLAGS_COMING, FLAGS_OVER };

struct rest {
    struct session *s; /* borrowed */
    bool acknowledged;
    uint64_t began_ms;
    uint64_t acknowledged_epoch, acknowledged_generation; /* 0: it is to be said again */
    enum step step;
    struct view_list list;
    unsigned asked;    /* FETCHes so far */
    uint32_t list_end; /* the last message that the newest of them asks for */
    enum rest_flags flags;
    uint32_t expunges;          /* of relay_opened(), when the list began */
    bool broken;                /* no whole list could be had */
    uint32_t withheld;          /* messages that the source has, 0: as many as the client knows of */
    char *namespaces;           /* owned */
    struct timer *again, *wait; /* owned */
};

/* ---- life ---- */

static void rest_on_again(void *owner)
{
    struct rest *re = owner;
    if (re->s->state == IN_RELAY)
        relay_settle(re->s);
    else
        rest_step(re->s);
}

static void on_no_end(void *owner)
{
    struct rest *re = owner;
    session_close(re->s, END_FREEZE, "no word of the store after the freeze");
}

uint64_t rest_wait_ms(const struct session *s)
{
    const struct account *a = s->account;
    uint64_t now = clock_boot_ms(), until = a->deadline_ms;
    if (a->state != ROUTE_FREEZING)
        return FLIPPING_WAIT_MS;
    return (until > now ? until - now : 0) + WAIT_MS;
}

static struct rest *rest_of(struct session *s)
{
    if (s->rest)
        return s->rest;
    struct rest *re = s->rest = xcalloc(1, sizeof *re);
    re->s = s;
    re->began_ms = clock_boot_ms();
    re->again = timer_new(s->proxy->loop, rest_on_again, re);
    re->wait = timer_new(s->proxy->loop, on_no_end, re);
    timer_start(re->wait, rest_wait_ms(s));
    return re;
}

void rest_over(struct session *s, const char *result)
{
    struct rest *re = s->rest;
    if (!re)
        return;
    s->rest = NULL;
    if (re->acknowledged)
        metric_observe(METRIC_SESSION_FREEZE, 1000 * (clock_boot_ms() - re->began_ms), result, NULL);
    store_forget(s->account->branch->store, re);
    timer_free(&re->again);
    timer_free(&re->wait);
    view_list_free(&re->list);
    free(re->namespaces);
    free(re);
}

bool rest_is_acknowledged(const struct session *s)
{
    return s->rest && s->rest->acknowledged;
}

void rest_wait_for_flip(struct session *s)
{
    if (s->rest)
        timer_start(s->rest->wait, rest_wait_ms(s));
    if (s->state == IN_FROZEN)
        session_enter(s, IN_FROZEN);
}

const struct view_list *rest_list(const struct session *s, bool *broken)
{
    *broken = !s->rest || s->rest->broken || s->rest->list.broken;
    return relay_opened(s)->selected && s->rest ? &s->rest->list : NULL;
}

const char *rest_namespaces(const struct session *s)
{
    return s->rest ? s->rest->namespaces : NULL;
}

/* ---- the acknowledgement ---- */

static void rest_on_frozen(void *owner, enum route_rc rc, const char *detail)
{
    struct rest *re = owner;
    (void)detail;
    if (rc == ROUTE_DOWN ||
        rc == ROUTE_NO_STORE) { /* whether it was done is not known: it may be said again */
        re->acknowledged_epoch = 0;
        timer_start(re->again, AGAIN_MS);
    }
    /* lost: the freeze is over, or another; the account hears of it */
}

/* An acknowledgement carries the epoch of the freezing that was heard of. */
static void rest_acknowledge(struct rest *re)
{
    struct session *s = re->s;
    const struct account *a = s->account;
    bool heard = a->known && a->state == ROUTE_FREEZING;
    bool said = re->acknowledged_epoch == a->epoch && re->acknowledged_generation == a->generation;
    if (!heard || registration_is_asked(s) || said)
        return;
    re->acknowledged = true;
    re->acknowledged_epoch = a->epoch;
    re->acknowledged_generation = a->generation;
    route_frozen(s->account->branch->store, a->key, s->name, a->epoch, rest_on_frozen, re);
}

/* ---- the list of messages ---- */

/* Of what the client knows of, and no more. */
static void ask_for_list(struct rest *re)
{
    uint32_t exists = relay_opened(re->s)->exists;
    char text[48];
    if (exists <= re->list.n)
        return;
    snprintf(text, sizeof text, "FETCH %" PRIu32 ":%" PRIu32 " (UID)", re->list.n + 1, exists);
    re->asked++;
    re->list_end = exists;
    relay_send_own(re->s, OWN_LIST, text);
}

/* In a command of its own behind the list: a server that tells flags here need not tell the client of them again, so
 * what has changed up to the list has to be told to the client before. And right behind it, since what changes between the
 * two is told to nobody. */
static void rest_ask_for_flags(struct rest *re, bool list_comes)
{
    const struct opened *o = relay_opened(re->s);
    char text[48];
    re->flags = list_comes ? FLAGS_ASKED : FLAGS_COMING;
    snprintf(text, sizeof text, "FETCH 1:%" PRIu32 " (FLAGS)", o->exists);
    relay_send_own(re->s, OWN_LIST_FLAGS, text);
}

/* One that goes by MODSEQs is told all of them in any case (handover.h). */
static bool wants_flags(const struct rest *re)
{
    const struct opened *o = relay_opened(re->s);
    return re->step == LISTING && re->flags == FLAGS_NOT_ASKED && !re->broken && o->selected &&
           !o->condstore && o->exists > 0 && o->exists <= FLAGS_MAX;
}

static void rest_list_begin(struct rest *re)
{
    struct session *s = re->s;
    const struct opened *o = relay_opened(s);
    struct imap_caps caps = backends_caps(s->proxy->backends, s->at);
    re->step = LISTING;
    if (o->names && imap_caps_has(&caps, CAP_NAMESPACE))
        relay_send_own(s, OWN_NAMESPACE, "NAMESPACE");
    if (o->selected && relay_owes_expunges(s))
        re->broken = true; /* by the client's numbers it can't be asked for */
    else if (o->selected)
        ask_for_list(re);
    if (wants_flags(re))
        rest_ask_for_flags(re, true);
}

/* ---- what comes meanwhile ---- */

bool rest_withholds(struct session *s, const struct imap_resp *r)
{
    struct rest *re = s->rest;
    uint32_t known = relay_opened(s)->exists;
    if (!re || !re->acknowledged || !relay_opened(s)->selected || !r->has_number)
        return false;
    if (span_is_ci(r->word, "EXISTS")) {
        re->withheld = r->number > known ? r->number : 0;
        return true;
    }
    if (span_is_ci(r->word, "EXPUNGE") && re->withheld > 0)
        re->withheld--;
    if (r->number <= known)
        return false;
    if (re->withheld <= known)
        re->withheld = 0;
    return true;
}

uint32_t rest_withheld(const struct session *s)
{
    return s->rest ? s->rest->withheld : 0;
}

/* Nobody waits for it any more: only hides it. */
static bool is_nothing_but_uid(const struct imap_resp *r, struct span items)
{
    struct view_list none = {.n = r->number - 1};
    bool alone = r->number > 0 && view_list_take(&none, r->number, items) == VIEW_LIST_ALONE;
    view_list_free(&none);
    return alone;
}

/* Servers may begin with the second command before the first has its answer (Dovecot does). */
static bool flags_come(const struct rest *re)
{
    return re->flags == FLAGS_COMING || (re->flags == FLAGS_ASKED && re->list.n == re->list_end);
}

static bool rest_takes_fetch(struct rest *re, const struct imap_resp *r, struct span items)
{
    if (!re || re->step != LISTING)
        return is_nothing_but_uid(r, items);
    if (flags_come(re))
        return view_list_take_flags(&re->list, r->number, items) == VIEW_FLAGS_FIRST;
    return view_list_take(&re->list, r->number, items) == VIEW_LIST_ALONE;
}

bool rest_takes(struct session *s, const struct imap_resp *r, struct span line)
{
    struct rest *re = s->rest;
    struct span items = span_of(line.p + r->rest, line.len - r->rest);
    if (re && re->step == LISTING && re->list.n == 0)
        re->expunges = relay_opened(s)->expunges;
    if (r->has_number && span_is_ci(r->word, "FETCH"))
        return rest_takes_fetch(re, r, items);
    if (!span_is_ci(r->word, "NAMESPACE"))
        return false;
    if (re && re->step == LISTING && !re->namespaces)
        re->namespaces = imap_personal_namespaces(line, r);
    return true;
}

/* Servers answer NO or BAD where there are no messages. */
static bool is_listed(const struct rest *re, enum imap_status status)
{
    const struct opened *o = relay_opened(re->s);
    bool same = re->list.n == 0 || re->expunges == o->expunges;
    return re->list.n == o->exists && same && !re->list.broken && (status == STATUS_OK || o->exists == 0);
}

/* Behind the answer too the source may have told the client of more, or that some are gone. */
static void list_what_came_behind(struct rest *re)
{
    const struct opened *o = relay_opened(re->s);
    if (re->step != LISTING || !o->selected || is_listed(re, STATUS_OK))
        return;
    if (!re->broken && re->list.n < o->exists && re->asked < ASKED_MAX)
        ask_for_list(re);
    else
        re->broken = true;
}

/* Half of them must not pass for all of them. */
static void rest_flags_are_listed(struct rest *re, enum imap_status status)
{
    re->flags = FLAGS_OVER;
    if (status != STATUS_OK)
        view_list_drop_flags(&re->list);
}

void rest_answered(struct session *s, enum relay_own own, enum imap_status status)
{
    struct rest *re = s->rest;
    if (re && own == OWN_LIST_FLAGS)
        rest_flags_are_listed(re, status);
    if (re && own == OWN_LIST && re->flags == FLAGS_ASKED)
        re->flags = FLAGS_COMING;
    if (!re || re->step != LISTING || own != OWN_LIST)
        return;
    bool arrived = status == STATUS_OK && !re->list.broken && re->list.n < relay_opened(s)->exists;
    if (arrived && re->asked < ASKED_MAX)
        ask_for_list(re); /* it has been told of more meanwhile */
    else
        re->broken = !is_listed(re, status);
}

/* ---- at rest ---- */

static void stand_still(struct session *s)
{
    session_enter(s, IN_FROZEN);
    relay_flow(s);
    if (s->account->backend && strcmp(s->account->backend, s->at->name) != 0)
        handover_begin(s);
}

void rest_step(struct session *s)
{
    struct rest *re = rest_of(s);
    if (relay_only_reads(s) && s->state != IN_HANDOVER)
        rest_acknowledge(re);
    if (s->state != IN_RELAY || !relay_is_quiet(s) || !registration_may_pass(s))
        return;
    if (re->step == NOT_LISTED)
        rest_list_begin(re);
    if (relay_is_quiet(s))
        list_what_came_behind(re);
    if (relay_is_quiet(s) && wants_flags(re))
        rest_ask_for_flags(re, false);
    if (!relay_is_quiet(s))
        return;
    re->step = LISTED;
    stand_still(s);
}

void rest_backend_event(struct session *s, enum stream_event ev)
{
    if (ev != STREAM_EOF && ev != STREAM_ERROR)
        return; /* what it says is read when the session goes on there */
    LOG(INFO, "source_closed", LOG_S("session", s->name), LOG_S("user", s->account->key),
        LOG_S("backend", s->at->name));
    stream_close(&s->backend, false);
}
