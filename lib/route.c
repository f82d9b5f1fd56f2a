#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "route_priv.h"
#include "xalloc.h"

static const char *const state_names[] = {"resting",   "queued",   "copying",  "ready",
                                          "preparing", "freezing", "flipping", "flipped",
                                          "settled",   "backoff",  "blocked",  "held"};

const char *route_state_name(enum route_state s)
{
    return state_names[s];
}

bool route_state_parse(struct span name, enum route_state *_r)
{
    for (size_t i = 0; i < COUNTOF(state_names); i++) {
        if (span_is(name, state_names[i])) {
            *_r = (enum route_state)i;
            return true;
        }
    }
    return false;
}

bool route_is_engaged(enum route_state s)
{
    return (s >= ROUTE_QUEUED && s <= ROUTE_FLIPPED) || s == ROUTE_BACKOFF;
}

/* ---- arguments ---- */

void args_span(struct args *a, struct span s)
{
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 16;
        a->v = xreallocarray(a->v, a->cap, sizeof(*a->v));
    }
    a->v[a->n++] = s;
}

void args_text(struct args *a, const char *text)
{
    args_span(a, span_str(text));
}

void args_number(struct args *a, uint64_t n)
{
    assert(a->n_numbers < COUNTOF(a->numbers));
    char *text = a->numbers[a->n_numbers++];
    snprintf(text, sizeof(a->numbers[0]), "%" PRIu64, n);
    args_text(a, text);
}

void args_bool(struct args *a, bool b)
{
    args_text(a, b ? "1" : "0");
}

void args_job(struct args *a, const struct route_job *j)
{
    args_text(a, j->user);
    args_text(a, j->token);
    args_number(a, j->epoch);
}

/* ---- answers ---- */

static const struct {
    const char *word;
    enum route_rc rc;
} words[] = {{"ok", ROUTE_OK},         {"again", ROUTE_AGAIN},      {"wait", ROUTE_WAIT},
             {"full", ROUTE_FULL},     {"lost", ROUTE_LOST},        {"refused", ROUTE_REFUSED},
             {"paused", ROUTE_PAUSED}, {"busy", ROUTE_BUSY},        {"late", ROUTE_LATE},
             {"doubt", ROUTE_DOUBT},   {"nostore", ROUTE_NO_STORE}, {"quarantine", ROUTE_QUARANTINE}};

enum route_rc route_status(struct store *s, enum redis_rc rc, const struct reply *r)
{
    struct span word = reply_str(reply_at(r, 0));
    if (rc == REDIS_DOWN && store_state(s) == STORE_FOREIGN)
        return ROUTE_NO_STORE;
    if (rc != REDIS_OK)
        return ROUTE_DOWN;
    for (size_t i = 0; i < COUNTOF(words); i++)
        if (span_is(word, words[i].word))
            return words[i].rc;
    LOG(ERROR, "store_answer", LOG_SPAN("word", word));
    store_not_understood(s, "an answer of a script of another version");
    return ROUTE_DOWN;
}

const char *route_home(const struct store *s, const char *user)
{
    return conf_pair_of(store_conf(s), user).source;
}

struct done {
    struct store *s;
    route_done_fn fn;
    void *owner; /* borrowed */
};

static void on_done(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct done d = *(struct done *)owner;
    enum route_rc status = route_status(d.s, rc, r);
    char *detail = xspandup(reply_str(reply_at(r, 1)));
    free(owner);
    if (d.fn)
        d.fn(d.owner, status, detail);
    free(detail);
}

void route_run(struct store *s, const char *name, struct args *a, route_done_fn fn, void *owner)
{
    struct done *d = xcalloc(1, sizeof(*d));
    *d = (struct done){.s = s, .fn = fn, .owner = owner};
    store_script_for(s, owner, name, a->v, a->n, on_done, d, free);
    free(a->v);
}

/* ---- routes ---- */

void route_free(struct route *r)
{
    free(r->backend);
    free(r->source);
    free(r->target);
    free(r->home);
    free(r->left);
    free(r->forced);
    free(r->owner);
    free(r->reason);
    free(r->failed);
    free(r->died);
    free(r->held_from);
    free(r->view);
    free(r->proof);
    free(r->proof_at);
    free(r->wave);
    free(r->group);
    free(r->gather);
    *r = (struct route){0};
}

uint64_t route_left_ms(const struct route *r)
{
    if (r->deadline_ms == 0)
        return 0;
    return r->deadline_ms > r->now_ms ? r->deadline_ms - r->now_ms : 1;
}

enum field_type { FIELD_TEXT, FIELD_U64, FIELD_U32, FIELD_BOOL, FIELD_SET, FIELD_STATE, FIELD_TIERS };
static const struct {
    const char *name;
    enum field_type type;
    size_t offset;
} fields[] = {
    {"backend", FIELD_TEXT, offsetof(struct route, backend)},
    {"state", FIELD_STATE, offsetof(struct route, state)},
    {"epoch", FIELD_U64, offsetof(struct route, epoch)},
    {"engaged", FIELD_U64, offsetof(struct route, engaged)},
    {"source", FIELD_TEXT, offsetof(struct route, source)},
    {"target", FIELD_TEXT, offsetof(struct route, target)},
    {"left", FIELD_TEXT, offsetof(struct route, left)},
    {"forced", FIELD_TEXT, offsetof(struct route, forced)},
    {"home", FIELD_TEXT, offsetof(struct route, home)},
    {"owner", FIELD_TEXT, offsetof(struct route, owner)},
    {"deadline", FIELD_U64, offsetof(struct route, deadline_ms)},
    {"reason", FIELD_TEXT, offsetof(struct route, reason)},
    {"failed", FIELD_TEXT, offsetof(struct route, failed)},
    {"died", FIELD_TEXT, offsetof(struct route, died)},
    {"held_from", FIELD_TEXT, offsetof(struct route, held_from)},
    {"force", FIELD_BOOL, offsetof(struct route, force)},
    {"back", FIELD_BOOL, offsetof(struct route, back)},
    {"now", FIELD_BOOL, offsetof(struct route, now)},
    {"wave", FIELD_TEXT, offsetof(struct route, wave)},
    {"group", FIELD_TEXT, offsetof(struct route, group)},
    {"gather", FIELD_TEXT, offsetof(struct route, gather)},
    {"parked", FIELD_SET, offsetof(struct route, parked)},
    {"attempts", FIELD_U32, offsetof(struct route, attempts)},
    {"next_try", FIELD_U64, offsetof(struct route, next_try_ms)},
    {"view", FIELD_TEXT, offsetof(struct route, view)},
    {"proof", FIELD_TEXT, offsetof(struct route, proof)},
    {"proof_at", FIELD_TEXT, offsetof(struct route, proof_at)},
    {"waits", FIELD_U64, offsetof(struct route, waits_ms)},
    {"touching", FIELD_U64, offsetof(struct route, touching)},
    {"touch_ms", FIELD_U64, offsetof(struct route, touch_ms)},
    {"doubted", FIELD_BOOL, offsetof(struct route, doubted)},
    {"flipped_at", FIELD_U64, offsetof(struct route, flipped_ms)},
    {"mailboxes_done", FIELD_U64, offsetof(struct route, progress.mailboxes_done)},
    {"mailboxes_total", FIELD_U64, offsetof(struct route, progress.mailboxes_total)},
    {"messages_done", FIELD_U64, offsetof(struct route, progress.messages_done)},
    {"messages_total", FIELD_U64, offsetof(struct route, progress.messages_total)},
    {"messages_verified", FIELD_U64, offsetof(struct route, progress.messages_verified)},
    {"bytes_done", FIELD_U64, offsetof(struct route, progress.bytes_done)},
    {"bytes_total", FIELD_U64, offsetof(struct route, progress.bytes_total)},
    {"tiers", FIELD_TIERS, offsetof(struct route, progress.tiers)},
};

static void take_tiers(char *out, struct span v)
{
    size_t n = v.len < sizeof(((struct route_progress *)NULL)->tiers)
                   ? v.len
                   : sizeof(((struct route_progress *)NULL)->tiers) - 1;
    if (n > 0)
        memcpy(out, v.p, n);
    out[n] = '\0';
}

static bool take_field(struct route *r, size_t i, struct span v)
{
    void *place = (char *)r + fields[i].offset;
    switch (fields[i].type) {
    case FIELD_TEXT:
        *(char **)place = xspandup(v);
        return v.len == 0 || !memchr(v.p, '\0', v.len); /* a name with a NUL is none of ours */
    case FIELD_U64:
        return span_u64(v, UINT64_MAX, place);
    case FIELD_U32:
        return span_u32(v, place);
    case FIELD_BOOL:
        *(bool *)place = span_is(v, "1");
        return true;
    case FIELD_SET:
        *(bool *)place = v.len > 0;
        return true;
    case FIELD_STATE:
        return route_state_parse(v, place);
    case FIELD_TIERS:
        take_tiers(place, v);
        return true;
    }
    return false;
}

static char *or_empty(char *text)
{
    return text ? text : xstrdup("");
}

/* It stands in two fields (head.lua); the version before wrote it into one. */
static void join_proof(struct route *out)
{
    out->proof = or_empty(out->proof);
    out->proof_at = or_empty(out->proof_at);
    if (!*out->proof || !*out->proof_at || strchr(out->proof, ' '))
        return;
    char *whole = xasprintf("%s %s", out->proof, out->proof_at);
    free(out->proof);
    out->proof = whole;
}

/* What was not told is as it is without a record. */
static void fill_route(const struct store *s, const char *user, struct route *out)
{
    out->backend = out->backend ? out->backend : xstrdup(route_home(s, user));
    out->source = or_empty(out->source);
    out->target = or_empty(out->target);
    out->home = or_empty(out->home);
    out->left = or_empty(out->left);
    out->forced = or_empty(out->forced);
    out->owner = or_empty(out->owner);
    out->reason = or_empty(out->reason);
    out->failed = or_empty(out->failed);
    out->died = or_empty(out->died);
    out->held_from = or_empty(out->held_from);
    out->view = or_empty(out->view);
    join_proof(out);
    out->wave = or_empty(out->wave);
    out->group = or_empty(out->group);
    out->gather = or_empty(out->gather);
}

/* "ok", generation, now, then pairs: ours, unless somebody else wrote into this Redis. */
static bool take_route(const struct store *s, const char *user, const struct reply *r, struct route *out)
{
    bool good = span_u64(reply_str(reply_at(r, 1)), UINT64_MAX, &out->generation) &&
                span_u64(reply_str(reply_at(r, 2)), UINT64_MAX, &out->now_ms);
    for (size_t at = 3; good && at + 1 < reply_count(r); at += 2) {
        out->exists = true;
        for (size_t i = 0; i < COUNTOF(fields); i++) {
            bool twice = fields[i].type == FIELD_TEXT && *(char **)((char *)out + fields[i].offset);
            if (span_is(reply_str(reply_at(r, at)), fields[i].name) && !twice)
                good = good && take_field(out, i, reply_str(reply_at(r, at + 1)));
        }
    }
    good = good && (!out->exists || out->backend);
    fill_route(s, user, out);
    return good;
}

/* "HERE NETWORK GOOD"; nothing: nobody has failed. */
static bool take_failures(struct span text, struct route_failures *out)
{
    const uint8_t *first = text.len > 0 ? memchr(text.p, ' ', text.len) : NULL,
                  *last = first ? memrchr(text.p, ' ', text.len) : NULL;
    if (text.len == 0)
        return true;
    if (!first || first == last)
        return false;
    out->good = span_is(span_of(last + 1, text.len - (size_t)(last + 1 - text.p)), "1");
    return span_u64(span_of(text.p, (size_t)(first - text.p)), UINT64_MAX, &out->here) &&
           span_u64(span_of(first + 1, (size_t)(last - first - 1)), UINT64_MAX, &out->of_network);
}

/* "ok", generation, then nothing or these words; the deadline is ms from now. One word more tells of failures. */
static bool take_where(const struct store *s, const char *user, const struct reply *r, struct route *out)
{
    static const char *const names[] = {"backend", "state", "epoch", "source", "target", "deadline", "view"};
    bool good = span_u64(reply_str(reply_at(r, 1)), UINT64_MAX, &out->generation);
    out->exists = reply_count(r) > 3;
    good =
        good && take_failures(reply_str(reply_at(r, out->exists ? 2 + COUNTOF(names) : 2)), &out->failures);
    for (size_t k = 0; good && out->exists && k < COUNTOF(names); k++) {
        struct span word = reply_str(reply_at(r, 2 + k));
        size_t i = 0;
        while (strcmp(fields[i].name, names[k]) != 0)
            i++;
        good = take_field(out, i, word);
    }
    good = good && (!out->exists || *out->backend);
    fill_route(s, user, out);
    return good;
}

typedef bool (*take_fn)(const struct store *s, const char *user, const struct reply *r, struct route *out);

struct reading {
    struct store *s;
    take_fn take;
    char *user; /* owned; for the log */
    route_read_fn fn;
    void *owner; /* borrowed */
};

static void reading_drop(void *owner)
{
    struct reading *d = owner;
    free(d->user);
    free(d);
}

static void on_read(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct reading *d = owner;
    struct route route = {0};
    enum route_rc status = route_status(d->s, rc, r);
    route_read_fn fn = d->fn;
    void *who = d->owner;

    if (status == ROUTE_OK && !d->take(d->s, d->user, r, &route)) {
        LOG(ERROR, "route_unreadable", LOG_S("user", d->user));
        store_not_understood(d->s, "the route of this account");
        status = ROUTE_DOWN;
    }
    reading_drop(d);
    fn(who, status, status == ROUTE_OK ? &route : NULL);
    route_free(&route);
}

static void run_read(struct store *s, const char *name, struct args *a, const char *user, take_fn take,
                     route_read_fn fn, void *owner)
{
    struct reading *d = xcalloc(1, sizeof(*d));
    *d = (struct reading){.s = s, .take = take, .user = xstrdup(user), .fn = fn, .owner = owner};
    store_script_for(s, owner, name, a->v, a->n, on_read, d, reading_drop);
    free(a->v);
}

void route_run_read(struct store *s, const char *name, struct args *a, const char *user, route_read_fn fn,
                    void *owner)
{
    run_read(s, name, a, user, take_route, fn, owner);
}

void route_read(struct store *s, const char *user, route_read_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    route_run_read(s, "read", &a, user, fn, owner);
}

void route_where(struct store *s, const char *user, const struct route_trier *trier, route_read_fn fn,
                 void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_text(&a, trier ? trier->user : "");
    args_text(&a, trier ? trier->network : "");
    run_read(s, "where", &a, user, take_where, fn, owner);
}
