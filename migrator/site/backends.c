#include <assert.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "backends.h"
#include "refusal.h"

struct backends_slot {
    struct tls_policy *tls; /* owned; NULL for schemes without TLS */
    struct health *health;  /* owned */
    uint32_t used, late;    /* late: of those used, by late looks */
    bool look_last;         /* the last one was reserved for a look */
    struct pace pace;
    struct refusal refusal;
    char *refused; /* owned; what the last refusal said, while it rests */
};

struct backends {
    struct loop *loop;
    const struct conf *conf;
    struct backends_slot *slots;             /* one a backend, in the order of conf; owned */
    TAILQ_HEAD(line, lane_wait) jobs, looks; /* who waits */
    struct loop_task task;                   /* serves the line */
};

static struct backends_slot *slot_of(const struct backends *b, const struct conf_backend *backend)
{
    return &b->slots[backend - b->conf->backends];
}

static bool backends_has_room(const struct backends *b, const struct conf_backend *backend, bool late)
{
    const struct backends_slot *s = slot_of(b, backend);
    uint32_t half = backend->max_connections / 2;

    return s->used < backend->max_connections && (!late || s->late < (half ? half : 1));
}

static bool backends_reserve(struct backends *b, const struct conf_backend *source,
                             const struct conf_backend *target, bool late)
{
    if (!backends_has_room(b, source, late) || !backends_has_room(b, target, late))
        return false;
    slot_of(b, source)->used++;
    slot_of(b, target)->used++;
    slot_of(b, source)->late += late;
    slot_of(b, target)->late += late;
    slot_of(b, source)->look_last = slot_of(b, target)->look_last = late;
    return true;
}

static bool is_awaited(const struct backends *b, const struct conf_backend *backend)
{
    const struct lane_wait *w;

    TAILQ_FOREACH(w, &b->jobs, link)
    if (w->source == backend || w->target == backend)
        return true;
    return false;
}

/* Jobs may wait for it all the time: one look at a time goes before them, and of a single connection every
 * second turn. */
static bool is_owed(const struct backends *b, const struct conf_backend *backend)
{
    const struct backends_slot *s = slot_of(b, backend);

    return s->late == 0 && (backend->max_connections > 1 || !s->look_last);
}

static bool look_may_have(const struct backends *b, const struct conf_backend *backend)
{
    return backends_has_room(b, backend, true) && (!is_awaited(b, backend) || is_owed(b, backend));
}

static struct lane_wait *first_look(const struct backends *b)
{
    struct lane_wait *w;

    TAILQ_FOREACH(w, &b->looks, link)
    if (look_may_have(b, w->source) && look_may_have(b, w->target))
        return w;
    return NULL;
}

/* Who waits next and can have what it waits for. Of jobs in the order of the line: who comes later never
 * takes what an earlier one waits for. */
static struct lane_wait *next_in_line(struct backends *b)
{
    struct lane_wait *w = first_look(b);

    if (w && backends_reserve(b, w->source, w->target, true))
        return w;
    w = TAILQ_FIRST(&b->jobs);
    return w && backends_reserve(b, w->source, w->target, false) ? w : NULL;
}

static void serve_line(struct loop_task *task)
{
    struct backends *b = CONTAINER_OF(task, struct backends, task);
    struct lane_wait *w;

    while ((w = next_in_line(b))) {
        backends_unwait(b, w);
        w->fn(w);
    }
}

static struct line *backends_line_of(struct backends *b, const struct lane_wait *w)
{
    return w->late ? &b->looks : &b->jobs;
}

void backends_wait_lane(struct backends *b, struct lane_wait *w)
{
    assert(!w->waiting);
    w->waiting = true;
    TAILQ_INSERT_TAIL(backends_line_of(b, w), w, link);
    loop_defer(b->loop, &b->task);
}

void backends_unwait(struct backends *b, struct lane_wait *w)
{
    if (!w->waiting)
        return;
    w->waiting = false;
    TAILQ_REMOVE(backends_line_of(b, w), w, link);
    loop_defer(b->loop, &b->task);
}

bool backends_awaited(const struct backends *b)
{
    return !TAILQ_EMPTY(&b->jobs) || !TAILQ_EMPTY(&b->looks);
}

bool backends_try_lane(struct backends *b, const struct conf_backend *source,
                       const struct conf_backend *target, bool late)
{
    return TAILQ_EMPTY(&b->jobs) && !first_look(b) && backends_reserve(b, source, target, late);
}

void backends_give_lane(struct backends *b, const struct conf_backend *source,
                        const struct conf_backend *target, bool late)
{
    struct backends_slot *s = slot_of(b, source), *t = slot_of(b, target);

    assert(s->used > 0 && t->used > 0 && s->late >= late && t->late >= late);
    s->used--;
    t->used--;
    s->late -= late;
    t->late -= late;
    loop_defer(b->loop, &b->task);
}

struct tls_policy *backends_tls(const struct backends *b, const struct conf_backend *backend)
{
    return slot_of(b, backend)->tls;
}

struct outage *backends_outage(const struct backends *b, const struct conf_backend *backend)
{
    return health_outage(slot_of(b, backend)->health);
}

struct pace *backends_pace(const struct backends *b, const struct conf_backend *backend)
{
    return &slot_of(b, backend)->pace;
}

/* ---- does it refuse us as such? */

bool backend_rests(const struct backends *b, const struct conf_backend *backend)
{
    return slot_of(b, backend)->refusal.kind != REFUSAL_NONE;
}

static void tell_rest(const struct conf_backend *backend, const struct backends_slot *s)
{
    static const char *const words[] = {
        [REFUSAL_TLS] = "tls", [REFUSAL_MASTER] = "master", [REFUSAL_SAME] = "same_server"};

    if (s->refusal.kind == REFUSAL_NONE)
        LOG(INFO, "backend_rest_over", LOG_S("backend", backend->name));
    else
        LOG(WARN, "backend_rests", LOG_S("backend", backend->name), LOG_S("why", words[s->refusal.kind]),
            LOG_S("detail", s->refused),
            LOG_S("effect", "no account is begun with it but one at a time, as a trial"));
}

static bool note_result(struct refusal *r, enum login_rc rc, bool as_master, const char *user)
{
    uint64_t now = clock_boot_ms();

    switch (rc) {
    case LOGIN_OK:
        return refusal_note(r, REFUSAL_NONE, as_master, user, now);
    case LOGIN_REFUSED:
        return as_master ? refusal_note(r, REFUSAL_MASTER, true, user, now) : refusal_past_tls(r);
    case LOGIN_INSECURE:
        return refusal_note(r, REFUSAL_TLS, as_master, user, now);
    case LOGIN_UNAVAILABLE: /* these say nothing of either */
    case LOGIN_NO_MECHANISM:
        break;
    }
    return false;
}

void backends_note_sign_in(struct backends *b, const struct conf_backend *backend, enum login_rc rc,
                           bool as_master, const char *user, const char *detail)
{
    struct backends_slot *s = slot_of(b, backend);
    bool news = note_result(&s->refusal, rc, as_master, user);

    if (rc == LOGIN_REFUSED || rc == LOGIN_INSECURE) {
        free(s->refused);
        s->refused = xstrdup(detail);
    }
    if (news)
        tell_rest(backend, s);
}

void backends_note_pair(struct backends *b, const struct conf_backend *source,
                        const struct conf_backend *target, const char *at)
{
    const struct conf_backend *pair[] = {source, target};

    for (size_t i = 0; i < COUNTOF(pair); i++) {
        struct backends_slot *s = slot_of(b, pair[i]);
        bool news = refusal_pair(&s->refusal, at != NULL, clock_boot_ms());
        if (at) {
            free(s->refused);
            s->refused = xasprintf("%s and %s lead to one server, %s: nothing can be moved from it to itself",
                                   source->name, target->name, at);
        }
        if (news)
            tell_rest(pair[i], s);
    }
}

uint64_t backends_wait_ms(const struct backends *b, const struct conf_backend *source,
                          const struct conf_backend *target)
{
    uint64_t now = clock_boot_ms(), source_ms = refusal_wait_ms(&slot_of(b, source)->refusal, now),
             target_ms = refusal_wait_ms(&slot_of(b, target)->refusal, now);

    return source_ms > target_ms ? source_ms : target_ms;
}

enum why backends_why(const struct backends *b, const struct conf_backend *source,
                      const struct conf_backend *target)
{
    enum refusal_kind s = slot_of(b, source)->refusal.kind, t = slot_of(b, target)->refusal.kind;

    if (s == REFUSAL_SAME || t == REFUSAL_SAME)
        return WHY_SAME_SERVER;
    return s == REFUSAL_TLS || t == REFUSAL_TLS ? WHY_TLS : WHY_REFUSED;
}

uint64_t backends_try(struct backends *b, const struct conf_backend *source,
                      const struct conf_backend *target)
{
    uint64_t now = clock_boot_ms(), ms = backends_wait_ms(b, source, target);

    if (ms > 0)
        return ms;
    refusal_try(&slot_of(b, source)->refusal, now);
    refusal_try(&slot_of(b, target)->refusal, now);
    return 0;
}

/* *ms: until a trial of it, 0 where it does not rest. */
static bool any_rests(const struct backends *b, const char *source, const char *target, uint64_t *ms)
{
    const struct conf_backend *pair[] = {conf_backend(b->conf, source), conf_backend(b->conf, target)};
    uint64_t now = clock_boot_ms();
    bool rests = false;

    *ms = 0;
    for (size_t i = 0; i < COUNTOF(pair); i++) {
        if (!pair[i] || !backend_rests(b, pair[i]))
            continue;
        uint64_t wait = refusal_wait_ms(&slot_of(b, pair[i])->refusal, now);
        *ms = wait > *ms ? wait : *ms;
        rests = true;
    }
    return rests;
}

bool backends_all_rest(const struct backends *b, uint64_t *ms)
{
    const struct conf *c = b->conf;
    uint64_t of_pair;

    if (!any_rests(b, c->migration.source, c->migration.target, ms))
        return false;
    for (size_t i = 0; i < c->n_rules; i++) {
        if (!any_rests(b, c->rules[i].source, c->rules[i].target, &of_pair))
            return false;
        *ms = of_pair < *ms ? of_pair : *ms;
    }
    return true;
}

static void write_rest(struct buf *out, const struct conf_backend *backend, const struct backends_slot *s)
{
    const char *between = out->len ? "; " : "";

    if (s->refusal.kind != REFUSAL_SAME)
        buf_printf(out, "%s%s refuses %s of each account: %s", between, backend->name,
                   s->refusal.kind == REFUSAL_TLS ? "the connection" : "the sign-in as master", s->refused);
    else if (!strstr(buf_str(out), s->refused)) /* both of the pair say so */
        buf_printf(out, "%s%s", between, s->refused);
}

void backends_write_rests(const struct backends *b, struct buf *out)
{
    for (size_t i = 0; i < b->conf->n_backends; i++)
        if (backend_rests(b, &b->conf->backends[i]))
            write_rest(out, &b->conf->backends[i], &b->slots[i]);
}

void backends_renew(struct backends *b, struct tls_policy **fresh)
{
    for (size_t i = 0; i < b->conf->n_backends; i++) {
        const struct conf_backend *c = &b->conf->backends[i];
        struct backends_slot *s = &b->slots[i];
        pace_set(&s->pace, c->max_messages_per_second, c->max_bytes_per_second);
        if (s->tls && fresh[i])
            tls_policy_renew(s->tls, &fresh[i]);
        refusal_again(&s->refusal);
        health_again(s->health);
    }
    loop_defer(b->loop, &b->task);
}

struct backends *backends_new(struct loop *l, const struct conf *conf, char **error)
{
    struct backends *b = xcalloc(1, sizeof(*b));

    b->loop = l;
    b->conf = conf;
    b->task.fn = serve_line;
    TAILQ_INIT(&b->jobs);
    TAILQ_INIT(&b->looks);
    b->slots = xcalloc(conf->n_backends, sizeof(*b->slots));
    for (size_t i = 0; i < conf->n_backends; i++) {
        const struct conf_backend *c = &conf->backends[i];
        pace_init(&b->slots[i].pace, c->max_messages_per_second, c->max_bytes_per_second, clock_boot_ms());
        if (backend_has_tls(c) && !(b->slots[i].tls = tls_policy_backend(c, error))) {
            backends_free(&b);
            return NULL;
        }
        b->slots[i].health = health_new(l, c, false, b->slots[i].tls, NULL, NULL);
    }
    return b;
}

void backends_free(struct backends **bp)
{
    struct backends *b = *bp;

    *bp = NULL;
    if (!b)
        return;
    assert(!backends_awaited(b));
    loop_undefer(b->loop, &b->task);
    for (size_t i = 0; i < b->conf->n_backends; i++) {
        assert(b->slots[i].used == 0);
        health_free(&b->slots[i].health);
        if (b->slots[i].tls)
            tls_policy_free(&b->slots[i].tls);
        free(b->slots[i].refused);
    }
    free(b->slots);
    free(b);
}
