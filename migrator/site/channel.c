#include <stdarg.h>
#include <stdlib.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "channel_priv.h"

/* ---- which one */

static const struct channel_kind *channel_kind_of(const struct conf_backend *b, const struct imap_caps *caps,
                                                  const char **why)
{
    bool may_sync = b->master_user && *b->master_user && imap_caps_has(caps, CAP_X_REPLICATION);

    *why = "";
    switch (b->numbers) {
    case TELL_DOVEADM:
        return &channel_doveadm;
    case TELL_CYRUS:
        if (imap_caps_has(caps, CAP_X_REPLICATION))
            return &channel_cyrus;
        *why =
            "numbers = cyrus, but the target offers no X-REPLICATION, as a Cyrus does: say \"auto\" or \"doveadm\"";
        return NULL;
    case TELL_NOT:
        *why = "numbers = none";
        return NULL;
    case TELL_AUTO:
        break;
    }
    if (b->doveadm_url && *b->doveadm_url)
        return &channel_doveadm;
    if (may_sync)
        return &channel_cyrus;
    *why = "the target can't be told UIDVALIDITY (no doveadm_url, and it is no Cyrus with master_user)";
    return NULL;
}

const char *channel_of(const struct conf_backend *backend, const struct imap_caps *caps, const char **why)
{
    const struct channel_kind *kind = channel_kind_of(backend, caps, why);

    return kind ? kind->word : NULL;
}

const char *channel_word(const struct channel *c)
{
    return c->kind->word;
}

bool channel_may_come_back(const struct channel *c)
{
    return c->down && !c->barred;
}

/* ---- the end of an op */

static void channel_op_begin(struct channel_op *op);

/* Of messages, the one that was begun first has its turn. */
static void channel_next_put(struct channel *c)
{
    struct channel_op *op;

    TAILQ_FOREACH(op, &c->ops, link)
    if (!c->putting && op->giver) {
        c->putting = op;
        op->step = CHANNEL_ASKING;
        channel_op_begin(op);
    }
}

static void channel_op_free(struct channel_op *op)
{
    struct channel *c = op->c;

    TAILQ_REMOVE(&c->ops, op, link);
    if (c->putting == op)
        c->putting = NULL;
    free((char *)op->message.flags);
    free(op->partition);
    free((char *)op->want.mailbox);
    free(op->why);
    free(op->internal);
    buf_free(&op->apply);
    free(op);
}

uint64_t channel_deadline_ms(const struct channel *c)
{
    uint64_t timeout = c->m->conf->migrator.command_timeout_ms;

    return timeout < CHANNEL_MS ? timeout : CHANNEL_MS;
}

static void channel_note_down(struct channel *c, const char *why)
{
    if (c->down)
        return;
    c->down = xstrdup(why);
    LOG(WARN, "channel_down", LOG_S("user", c->user), LOG_S("backend", c->backend->name),
        LOG_S("channel", c->kind->word), LOG_S("detail", why));
}

void channel_op_ended(struct channel_op *op, enum channel_rc rc, const char *fmt, ...)
{
    struct buf why = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    op->ended = true;
    op->lost = op->lost || rc == CHANNEL_LOST;
    op->rc = rc == CHANNEL_DOWN && op->lost ? CHANNEL_LOST : rc;
    free(op->why);
    op->why = xasprintf("%s: %s", op->c->kind->word, buf_str(&why));
    buf_free(&why);
    loop_defer(op->c->m->loop, &op->c->task);
}

static void channel_op_begin(struct channel_op *op)
{
    struct channel *c = op->c;

    op->ended = false;
    op->tries++;
    if (c->down) {
        free(op->why);
        op->why = xstrdup(c->down);
        op->rc = op->lost ? CHANNEL_LOST : CHANNEL_DOWN;
        op->ended = true;
        loop_defer(c->m->loop, &c->task);
        return;
    }
    FAULT_POINT("channel", c->kind->word, "sent");
    c->kind->start(op);
}

static struct channel_op *channel_first_ended(struct channel *c)
{
    struct channel_op *op;

    TAILQ_FOREACH(op, &c->ops, link)
    if (op->ended)
        return op;
    return NULL;
}

/* A connection that breaks under a message says little of the channel. */
static bool channel_lost_first(struct channel_op *op)
{
    return op->giver && op->rc == CHANNEL_LOST && op->c->losses++ == 0;
}

static enum depot_rc channel_depot_rc(const struct channel_op *op);

/* The callback may free the channel. */
static void channel_tell_end(struct channel_op *op)
{
    struct channel *c = op->c;
    const struct depot_giver *giver = op->giver;
    enum depot_rc stored = channel_depot_rc(op);
    channel_fn fn = op->fn;
    void *owner = op->owner;
    enum channel_rc rc = op->rc;
    uint32_t uid = op->uid;
    char *why = op->why;

    op->why = NULL;
    if (giver)
        c->kind->stop(op);
    channel_op_free(op);
    channel_next_put(c);
    if (giver)
        giver->ended(owner, stored, uid, why);
    else if (fn)
        fn(owner, rc, why);
    free(why);
}

static void channel_settle(struct loop_task *task)
{
    struct channel *c = CONTAINER_OF(task, struct channel, task);
    struct channel_op *op = channel_first_ended(c);

    if (!op)
        return;
    loop_defer(c->m->loop, task); /* the callback may free the channel, which takes this back */
    bool useless = op->rc == CHANNEL_DOWN || op->rc == CHANNEL_LOST;
    if (useless && op->tries < CHANNEL_TRIES && !c->down) {
        channel_op_begin(op);
        return;
    }
    if (useless && !channel_lost_first(op))
        channel_note_down(c, op->why);
    FAULT_POINT("channel", c->kind->word, "answered");
    channel_tell_end(op);
}

/* ---- messages */

static enum depot_rc channel_depot_rc(const struct channel_op *op)
{
    switch (op->rc) {
    case CHANNEL_OK:
        return DEPOT_STORED;
    case CHANNEL_REFUSED:
        return DEPOT_REFUSED;
    case CHANNEL_DOWN:
        return op->c->barred ? DEPOT_REFUSED : DEPOT_CLOSED;
    case CHANNEL_LOST:
        break;
    }
    return DEPOT_LOST;
}

static void channel_depot_begin(void *owner, const struct depot_message *m, const struct depot_giver *giver,
                                void *whose)
{
    struct channel *c = owner;
    struct channel_op *op = xcalloc(1, sizeof(*op));

    op->c = c;
    op->want = (struct channel_want){.mailbox = xstrdup(m->mailbox), .was = m->uidvalidity};
    op->message = *m;
    op->message.mailbox = op->want.mailbox;
    op->message.flags = xstrdup(m->flags);
    op->giver = giver;
    op->owner = whose;
    TAILQ_INSERT_TAIL(&c->ops, op, link);
    channel_next_put(c);
}

static void channel_depot_bytes(void *owner, struct span bytes)
{
    struct channel *c = owner;

    c->kind->bytes(c->putting, bytes);
}

static bool channel_depot_full(const void *owner)
{
    const struct channel *c = owner;

    return c->kind->is_full(c->putting);
}

static void channel_depot_end(void *owner)
{
    struct channel *c = owner;

    c->kind->end(c->putting);
    FAULT_POINT("channel", c->kind->word, "given");
}

static void channel_depot_forget(void *owner, void *whose)
{
    channel_forget(owner, whose);
}

const struct depot *channel_depot(struct channel *c)
{
    return c->kind->bytes ? &c->depot : NULL;
}

/* ---- for the owner */

void channel_tell(struct channel *c, const struct channel_want *want, channel_fn fn, void *owner)
{
    struct channel_op *op = xcalloc(1, sizeof(*op));

    op->c = c;
    op->want = *want;
    op->want.mailbox = xstrdup(want->mailbox);
    op->fn = fn;
    op->owner = owner;
    TAILQ_INSERT_TAIL(&c->ops, op, link);
    channel_op_begin(op);
}

void channel_forget(struct channel *c, const void *owner)
{
    struct channel_op *op, *next;

    for (op = TAILQ_FIRST(&c->ops); op; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->owner != owner)
            continue;
        c->kind->stop(op);
        channel_op_free(op);
    }
    channel_next_put(c);
}

struct channel *channel_new(const struct channel_request *request, const char **why)
{
    const struct channel_kind *kind = channel_kind_of(request->backend, request->caps, why);

    if (!kind)
        return NULL;
    struct channel *c = xcalloc(1, sizeof(*c));
    c->kind = kind;
    c->m = request->m;
    c->backend = request->backend;
    c->user = xstrdup(request->user);
    c->login = xstrdup(request->login);
    c->prefix = xstrdup(request->prefix);
    c->separator = request->separator;
    c->until_ms = request->until_ms;
    c->task.fn = channel_settle;
    c->depot = (struct depot){.owner = c,
                              .begin = channel_depot_begin,
                              .bytes = channel_depot_bytes,
                              .full = channel_depot_full,
                              .end = channel_depot_end,
                              .forget = channel_depot_forget};
    TAILQ_INIT(&c->ops);
    return c;
}

void channel_free(struct channel **cp)
{
    struct channel *c = *cp;
    struct channel_op *op;

    *cp = NULL;
    if (!c)
        return;
    while ((op = TAILQ_FIRST(&c->ops))) {
        c->kind->stop(op);
        channel_op_free(op);
    }
    c->kind->close(c);
    loop_undefer(c->m->loop, &c->task);
    free(c->user);
    free(c->login);
    free(c->prefix);
    free(c->root);
    free(c->down);
    free(c);
}
