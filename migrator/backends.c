#include <assert.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "backends.h"

struct slot {
    struct tls_policy *tls; /* owned; NULL for schemes without TLS */
    uint32_t used;
    struct pace pace;
};

struct backends {
    struct loop *loop;
    const struct conf *conf;
    struct slot *slots; /* one a backend, in the order of conf; owned */
    TAILQ_HEAD(, pair_wait) waiting;
    struct loop_task task; /* serves the line */
};

static struct slot *slot_of(const struct backends *b, const struct conf_backend *backend)
{
    return &b->slots[backend - b->conf->backends];
}

static bool has_room(const struct backends *b, const struct conf_backend *backend)
{
    return slot_of(b, backend)->used < backend->max_connections;
}

static bool reserve(struct backends *b, const struct conf_backend *source, const struct conf_backend *target)
{
    if (!has_room(b, source) || !has_room(b, target))
        return false;
    slot_of(b, source)->used++;
    slot_of(b, target)->used++;
    return true;
}

/* In the order of the line: who comes later never takes what an earlier one waits for. */
static void serve_line(struct loop_task *task)
{
    struct backends *b = CONTAINER_OF(task, struct backends, task);
    struct pair_wait *w;

    while ((w = TAILQ_FIRST(&b->waiting)) && reserve(b, w->source, w->target)) {
        backends_unwait(b, w);
        w->fn(w);
    }
}

void backends_wait_pair(struct backends *b, struct pair_wait *w)
{
    assert(!w->waiting);
    w->waiting = true;
    TAILQ_INSERT_TAIL(&b->waiting, w, link);
    loop_defer(b->loop, &b->task);
}

void backends_unwait(struct backends *b, struct pair_wait *w)
{
    if (!w->waiting)
        return;
    w->waiting = false;
    TAILQ_REMOVE(&b->waiting, w, link);
    loop_defer(b->loop, &b->task);
}

bool backends_awaited(const struct backends *b)
{
    return !TAILQ_EMPTY(&b->waiting);
}

bool backends_try_pair(struct backends *b, const struct conf_backend *source,
                       const struct conf_backend *target)
{
    return TAILQ_EMPTY(&b->waiting) && reserve(b, source, target);
}

void backends_give_pair(struct backends *b, const struct conf_backend *source,
                        const struct conf_backend *target)
{
    assert(slot_of(b, source)->used > 0 && slot_of(b, target)->used > 0);
    slot_of(b, source)->used--;
    slot_of(b, target)->used--;
    loop_defer(b->loop, &b->task);
}

struct tls_policy *backends_tls(const struct backends *b, const struct conf_backend *backend)
{
    return slot_of(b, backend)->tls;
}

struct pace *backends_pace(const struct backends *b, const struct conf_backend *backend)
{
    return &slot_of(b, backend)->pace;
}

static bool wants_tls(const struct conf_backend *backend)
{
    return backend->address.scheme == ADDRESS_IMAPS || backend->address.scheme == ADDRESS_IMAP_STARTTLS;
}

struct backends *backends_new(struct loop *l, const struct conf *conf, char **error)
{
    struct backends *b = xcalloc(1, sizeof(*b));

    b->loop = l;
    b->conf = conf;
    b->task.fn = serve_line;
    TAILQ_INIT(&b->waiting);
    b->slots = xcalloc(conf->n_backends, sizeof(*b->slots));
    for (size_t i = 0; i < conf->n_backends; i++) {
        const struct conf_backend *c = &conf->backends[i];
        pace_init(&b->slots[i].pace, c->max_messages_per_second, c->max_bytes_per_second, clock_boot_ms());
        if (!wants_tls(c))
            continue;
        b->slots[i].tls = tls_policy_client(conf->backends[i].ca_file, error);
        if (!b->slots[i].tls) {
            backends_free(&b);
            return NULL;
        }
    }
    return b;
}

void backends_free(struct backends **bp)
{
    struct backends *b = *bp;

    *bp = NULL;
    if (!b)
        return;
    assert(TAILQ_EMPTY(&b->waiting));
    loop_undefer(b->loop, &b->task);
    for (size_t i = 0; i < b->conf->n_backends; i++) {
        assert(b->slots[i].used == 0);
        if (b->slots[i].tls)
            tls_policy_free(&b->slots[i].tls);
    }
    free(b->slots);
    free(b);
}
