#include <stdlib.h>

#include "lib/xalloc.h"

#include "name_scan.h"

struct name_scan {
    struct store *store;
    const char *kind, *domain; /* borrowed */
    char *cursor;              /* of SCAN; owned; NULL: it has not begun */
    name_scan_fn fn;
    name_scan_end_fn end;
    void *owner;
};

void name_scan_cancel(struct name_scan **wp)
{
    struct name_scan *w = *wp;

    *wp = NULL;
    if (!w)
        return;
    store_forget(w->store, w);
    free(w->cursor);
    free(w);
}

static void name_scan_end(struct name_scan *w, bool good)
{
    name_scan_end_fn end = w->end;
    void *owner = w->owner;

    name_scan_cancel(&w);
    end(owner, good);
}

static void name_scan_take(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct name_scan *w = owner;
    const struct reply *keys = reply_at(reply, 1);

    if (rc != REDIS_OK) {
        name_scan_end(w, false);
        return;
    }
    struct span *users = xcalloc(reply_count(keys) + 1, sizeof(*users));
    size_t n = store_names(w->store, w->kind, keys, users);
    free(w->cursor);
    w->cursor = xspandup(reply_str(reply_at(reply, 0)));
    w->fn(w->owner, users, n);
    free(users);
}

static void name_scan_on_here(void *owner, enum redis_rc rc, const struct reply *reply)
{
    (void)reply;
    name_scan_end(owner, rc == REDIS_OK);
}

/* Any node of a cluster answers SCAN, also one that has given the slot away meanwhile, or gives it away now, and tells what is left with it. It
 * says so where it is asked for a key that is not there (redis.c, redirection()). */
static void name_scan_ask_whether_here(struct name_scan *w)
{
    char *key = store_key(w->store, "scanned");
    struct span argv[] = {span_str("EXISTS"), span_str(key)};

    store_command(w->store, argv, COUNTOF(argv), name_scan_on_here, w);
    free(key);
}

/* Keys have nothing that means something in a pattern (account.h). */
void name_scan_on(struct name_scan *w)
{
    char *pattern = store_key(w->store, "%s:*%s%s", w->kind, *w->domain ? "@" : "", w->domain);
    struct span argv[] = {span_str("SCAN"),  span_str(w->cursor ? w->cursor : "0"),
                          span_str("MATCH"), span_str(pattern),
                          span_str("COUNT"), span_str("1000")};

    if (w->cursor && !strcmp(w->cursor, "0"))
        name_scan_ask_whether_here(w);
    else
        store_command(w->store, argv, COUNTOF(argv), name_scan_take, w);
    free(pattern);
}

struct name_scan *name_scan_start(struct store *s, const char *kind, const char *domain, name_scan_fn fn,
                                  name_scan_end_fn end, void *owner)
{
    struct name_scan *w = xcalloc(1, sizeof(*w));

    *w = (struct name_scan){.store = s, .kind = kind, .domain = domain, .fn = fn, .end = end, .owner = owner};
    name_scan_on(w);
    return w;
}
