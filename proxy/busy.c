#include <uv.h>

#include "busy.h"
#include "proxy.h"

enum { SHARES = 4 /* of idle_time: how often the store is told */, AGAIN_MS = 1000 };

bool busy_counts(enum imap_verb verb)
{
    switch (verb) {
    case VERB_UNKNOWN: /* a command of ours */
    case VERB_CAPABILITY:
    case VERB_NOOP:
    case VERB_LOGOUT:
    case VERB_ID:
    case VERB_ENABLE:
    case VERB_LIST:
    case VERB_LSUB:
    case VERB_STATUS:
    case VERB_NAMESPACE:
    case VERB_IDLE:
    case VERB_CHECK:
    case VERB_GETQUOTA:
    case VERB_GETQUOTAROOT:
        return false;
    default:
        return true;
    }
}

static bool waits_for_its_switch(const struct account *a)
{
    return a->known && route_is_engaged(a->state) && a->state != ROUTE_FLIPPING && a->state != ROUTE_FLIPPED;
}

/* Not kept: the next command tries again; where the store is ailing, not before a second has passed. */
static void on_marked(void *owner, enum route_rc rc, const char *detail)
{
    struct account *a = owner;

    uint64_t share = a->proxy->conf->migration.idle_time_ms / SHARES;

    if (rc != ROUTE_OK)
        a->marked_ms = a->used_ms - share + (share < AGAIN_MS ? share : AGAIN_MS);
    else if (strcmp(detail, "1") != 0)
        a->marked_ms = 0;
}

static void mark(struct account *a, uint64_t now)
{
    uint64_t idle_time = a->proxy->conf->migration.idle_time_ms, used = now - a->used_ms;

    a->marked_ms = now;
    route_busy(a->branch->store, a->key, idle_time + idle_time / SHARES - used, on_marked, a);
}

void busy_note(struct account *a)
{
    const struct conf_migration *m = &a->proxy->conf->migration;

    if (m->cutover != CUTOVER_IDLE)
        return;
    a->used_ms = uv_now(&a->proxy->loop->uv);
    if (waits_for_its_switch(a) && (!a->marked_ms || a->used_ms - a->marked_ms >= m->idle_time_ms / SHARES))
        mark(a, a->used_ms);
}

void busy_heard(struct account *a)
{
    const struct conf_migration *m = &a->proxy->conf->migration;
    uint64_t now = uv_now(&a->proxy->loop->uv);
    bool used = a->used_ms && now - a->used_ms < m->idle_time_ms;

    if (!waits_for_its_switch(a))
        a->marked_ms = 0;
    else if (used && !a->marked_ms)
        mark(a, now);
}
