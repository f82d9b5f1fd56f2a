#include <stdio.h>
#include <stdlib.h>

#include "lib/loop.h"
#include "lib/xalloc.h"

#include "apart.h"
#include "restore.h"

enum { APART_MS = 5000 /* for which a url is known to Redis as that of this call */ };

struct apart {
    struct stores *stores;     /* borrowed */
    const struct flips *flips; /* borrowed; NULL: none is restored */
    apart_fn fn;
    void *owner;
    struct loop_task task;
    size_t at;
    char token[33];
};

void apart_cancel(struct apart **ap)
{
    struct apart *a = *ap;

    *ap = NULL;
    if (!a)
        return;
    for (size_t i = 0; i < a->stores->n; i++)
        store_forget(a->stores->all[i], a);
    loop_undefer(store_loop(a->stores->all[0]), &a->task);
    free(a);
}

/* Takes text. */
static void apart_end(struct apart *a, enum action_rc rc, char *text)
{
    apart_fn fn = a->fn;
    void *owner = a->owner;

    apart_cancel(&a);
    fn(owner, rc, text);
    free(text);
}

static void apart_refuse(struct apart *a, struct span detail)
{
    char *word = xspandup(detail);
    const char *why =
        !a->flips && span_is(detail, "restoring")
            ? "Redis holds half of a \"route restore\": do that one again, or take away all keys "
              "that begin with the prefix"
            : restore_refused(word);

    apart_end(a, ACTION_REFUSED,
              xasprintf("store %zu of %zu: %s. Nothing was changed", a->at + 1, a->stores->n, why));
    free(word);
}

static void apart_on_reserved(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct apart *a = owner;
    struct store *s = a->stores->all[a->at];
    struct span word = reply_str(reply_at(r, 0)), other = reply_str(reply_at(r, 1));

    if (rc == REDIS_OK && span_is(word, "ok")) {
        a->at++;
        loop_defer(store_loop(s), &a->task);
    } else if (rc == REDIS_OK && span_is(word, "taken")) {
        apart_end(a, ACTION_REFUSED,
                  xasprintf("urls %.*s and %zu of %zu lead to one Redis: nothing was changed", (int)other.len,
                            (const char *)other.p, a->at + 1, a->stores->n));
    } else if (rc == REDIS_OK && span_is(word, "refused")) {
        apart_refuse(a, other);
    } else {
        apart_end(a, ACTION_UNREACHABLE,
                  xasprintf("store %zu of %zu: %s", a->at + 1, a->stores->n, store_why(s)));
    }
}

static void apart_step(struct loop_task *task)
{
    struct apart *a = CONTAINER_OF(task, struct apart, task);
    char place[24], ms[24];

    if (a->at == a->stores->n) {
        apart_end(a, ACTION_DONE, xstrdup(""));
        return;
    }
    snprintf(place, sizeof(place), "%zu", a->at + 1);
    snprintf(ms, sizeof(ms), "%d", APART_MS);

    struct store *s = a->stores->all[a->at];
    char *of = a->flips ? restore_of(s, a->flips) : xstrdup("");
    struct span args[] = {span_str(a->token), span_str(place), span_str(ms), span_str(of)};
    store_script_for(s, a, "reserve", args, COUNTOF(args), apart_on_reserved, a, NULL);
    free(of);
}

struct apart *apart_look(struct stores *s, const struct flips *flips, apart_fn fn, void *owner)
{
    struct apart *a = xcalloc(1, sizeof(*a));

    *a = (struct apart){.stores = s, .flips = flips, .fn = fn, .owner = owner, .task.fn = apart_step};
    random_hex(a->token, 16);
    loop_defer(store_loop(s->all[0]), &a->task);
    return a;
}
