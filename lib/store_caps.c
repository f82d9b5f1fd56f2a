#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store_caps.h"
#include "xalloc.h"

enum { TRIES = 3 };

/* ---- one record ---- */

bool caps_record_is_old(const struct caps_record *r, uint64_t now_ms)
{
    return now_ms >= r->since_ms + CAPS_WINDOW_MS || r->since_ms > now_ms + CAPS_WINDOW_MS;
}

static void caps_replace(struct caps_record *r, const struct imap_caps *seen, enum caps_by by,
                         uint64_t now_ms)
{
    *r = (struct caps_record){.known = true, .by = by, .caps = *seen, .common = *seen, .since_ms = now_ms};
}

bool caps_record_take(struct caps_record *r, const struct imap_caps *seen, enum caps_by by, uint64_t now_ms)
{
    struct imap_caps caps, common;
    bool old = caps_record_is_old(r, now_ms);

    if (r->known && r->by == CAPS_BY_USER && by == CAPS_BY_MASTER)
        return false;
    if (!r->known || r->by == CAPS_BY_MASTER) {
        if (r->known && r->by == by && !old && imap_caps_equal(&r->caps, seen))
            return false;
        caps_replace(r, seen, by, now_ms);
        return true;
    }
    common = imap_caps_common(&r->common, seen);
    caps = old ? common : imap_caps_common(&r->caps, seen);
    if (!old && imap_caps_equal(&caps, &r->caps) && imap_caps_equal(&common, &r->common))
        return false;
    r->caps = caps;
    r->common = old ? *seen : common;
    r->since_ms = old ? now_ms : r->since_ms;
    return true;
}

/* ---- in the store ---- */

static const char *const by_words[] = {[CAPS_BY_MASTER] = "master", [CAPS_BY_USER] = "user"};

/* caps: the field of the backend's own name, which the version before reads and writes too. */
static void caps_parse(struct caps_record *r, struct span caps, struct span common, struct span since,
                       struct span by)
{
    *r = (struct caps_record){0};
    r->known = caps.len > 0 && span_u64(since, UINT64_MAX, &r->since_ms);
    r->by = span_is(by, by_words[CAPS_BY_MASTER]) ? CAPS_BY_MASTER : CAPS_BY_USER;
    imap_caps_parse(&r->caps, caps);
    imap_caps_parse(&r->common, common);
}

static struct span caps_field(const struct reply *hash, const char *backend, const char *what)
{
    char name[128];

    snprintf(name, sizeof(name), "%s%s", backend, what);
    return reply_str(reply_get(hash, name));
}

void caps_record_read(struct caps_record *r, const struct reply *hash, const char *backend)
{
    caps_parse(r, caps_field(hash, backend, ""), caps_field(hash, backend, "/common"),
               caps_field(hash, backend, "/since"), caps_field(hash, backend, "/by"));
}

void store_caps_all(struct store *s, redis_fn fn, void *owner)
{
    char *key = store_key(s, "backends");
    struct span argv[] = {span_str("HGETALL"), span_str(key)};

    store_command(s, argv, COUNTOF(argv), fn, owner);
    free(key);
}

/* ---- read, take, write ---- */

struct caps_note {
    struct store *s;
    char *backend; /* owned */
    struct imap_caps seen;
    enum caps_by by;
    unsigned tries;
    store_caps_fn fn;
    void *owner; /* borrowed */
};

static void caps_drop(void *owner)
{
    struct caps_note *n = owner;

    free(n->backend);
    free(n);
}

static void caps_end(struct caps_note *n, bool stored)
{
    store_caps_fn fn = n->fn;
    void *owner = n->owner;

    caps_drop(n);
    if (fn)
        fn(owner, stored);
}

static void caps_look(struct caps_note *n);

static void on_caps_written(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct caps_note *n = owner;
    bool stored = rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "ok");

    if (rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "changed") && ++n->tries < TRIES)
        caps_look(n);
    else
        caps_end(n, stored);
}

/* was: the three fields as they were read. */
static void caps_write(struct caps_note *n, const struct reply *was, const struct caps_record *r)
{
    struct buf caps = {0}, common = {0};
    char since[24];

    imap_caps_write(&caps, &r->caps);
    imap_caps_write(&common, &r->common);
    snprintf(since, sizeof(since), "%" PRIu64, r->since_ms);
    struct span args[] = {span_str(n->backend),
                          reply_str(reply_at(was, 0)),
                          reply_str(reply_at(was, 1)),
                          reply_str(reply_at(was, 2)),
                          buf_span(&caps),
                          buf_span(&common),
                          span_str(since),
                          span_str(by_words[r->by])};
    store_script_for(n->s, n->owner, "caps", args, COUNTOF(args), on_caps_written, n, caps_drop);
    buf_free(&caps);
    buf_free(&common);
}

static void on_caps_read(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct caps_note *n = owner;
    struct caps_record record;

    if (rc != REDIS_OK) {
        caps_end(n, false);
        return;
    }
    caps_parse(&record, reply_str(reply_at(r, 0)), reply_str(reply_at(r, 1)), reply_str(reply_at(r, 2)),
               reply_str(reply_at(r, 3)));
    if (caps_record_take(&record, &n->seen, n->by, clock_wall_ms()))
        caps_write(n, r, &record);
    else
        caps_end(n, true);
}

static void caps_look(struct caps_note *n)
{
    char *key = store_key(n->s, "backends");
    char *common = xasprintf("%s/common", n->backend), *since = xasprintf("%s/since", n->backend),
         *by = xasprintf("%s/by", n->backend);
    struct span argv[] = {span_str("HMGET"), span_str(key),   span_str(n->backend),
                          span_str(common),  span_str(since), span_str(by)};

    store_command_for(n->s, n->owner, argv, COUNTOF(argv), on_caps_read, n, caps_drop);
    free(key);
    free(common);
    free(since);
    free(by);
}

void store_caps_saw(struct store *s, const char *backend, const struct imap_caps *seen, enum caps_by by,
                    store_caps_fn fn, void *owner)
{
    struct caps_note *n = xcalloc(1, sizeof(*n));

    *n = (struct caps_note){
        .s = s, .backend = xstrdup(backend), .seen = *seen, .by = by, .fn = fn, .owner = owner};
    caps_look(n);
}
