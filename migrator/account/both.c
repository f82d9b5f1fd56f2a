#include <stdlib.h>

#include "lib/xalloc.h"

#include "both.h"

struct both {
    both_fn fn;
    void *owner;
    struct mailboxes_read *reading[2];
    struct mailboxes *lists[2]; /* owned */
};

void both_cancel(struct both **bp)
{
    struct both *b = *bp;

    *bp = NULL;
    if (!b)
        return;
    for (int side = BOTH_SOURCE; side <= BOTH_TARGET; side++) {
        mailboxes_read_cancel(&b->reading[side]);
        mailboxes_free(&b->lists[side]);
    }
    free(b);
}

static void both_finish(struct both *b, const struct both_result *result)
{
    both_fn fn = b->fn;
    void *owner = b->owner;

    both_cancel(&b);
    fn(owner, result);
}

static void both_take(struct both *b, enum both_side side, enum mailboxes_rc rc, struct mailboxes *m,
                      const char *why)
{
    struct both_result r = {.rc = rc, .failed = side, .why = why};

    b->reading[side] = NULL;
    if (rc != MAILBOXES_OK) {
        both_finish(b, &r);
        return;
    }
    b->lists[side] = m;
    if (!b->lists[!side])
        return;
    r.source = b->lists[BOTH_SOURCE];
    r.target = b->lists[BOTH_TARGET];
    b->lists[BOTH_SOURCE] = b->lists[BOTH_TARGET] = NULL;
    both_finish(b, &r);
}

static void both_on_source(void *owner, enum mailboxes_rc rc, struct mailboxes *m, const char *why)
{
    both_take(owner, BOTH_SOURCE, rc, m, why);
}

static void both_on_target(void *owner, enum mailboxes_rc rc, struct mailboxes *m, const char *why)
{
    both_take(owner, BOTH_TARGET, rc, m, why);
}

struct both *both_read(const struct lane *lane, enum mailboxes_ask source, enum mailboxes_ask target,
                       both_fn fn, void *owner)
{
    struct both *b = xcalloc(1, sizeof(*b));

    b->fn = fn;
    b->owner = owner;
    b->reading[BOTH_SOURCE] = mailboxes_read(lane->source, source, both_on_source, b);
    b->reading[BOTH_TARGET] = mailboxes_read(lane->target, target, both_on_target, b);
    return b;
}
