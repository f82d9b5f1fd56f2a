#include <stdlib.h>

#include "percent.h"
#include "registry.h"
#include "registry_priv.h"
#include "xalloc.h"

/* ---- words of a registration ---- */

/* Decodes in place; a lone "%" is an empty word, a stray one is no word of ours. */
static bool registry_decode(uint8_t *p, size_t *len)
{
    struct span rest = span_of(p, *len);
    size_t n = 0;
    if (*len == 1 && p[0] == '%') {
        *len = 0;
        return true;
    }
    while (rest.len > 0) {
        uint8_t byte;
        bool escaped;
        if (!percent_take(&rest, HEX_CAPITALS, &byte, &escaped))
            return false;
        p[n++] = byte; /* never beyond what was taken */
    }
    *len = n;
    return true;
}

/* Cuts the next word off; the last ends with the text. */
static bool registry_next_word(struct span *rest, struct span *word)
{
    const uint8_t *blank = rest->len ? memchr(rest->p, ' ', rest->len) : NULL;
    size_t n = blank ? (size_t)(blank - rest->p) : rest->len;
    *word = span_of(rest->p, n);
    *rest = blank ? span_of(blank + 1, rest->len - n - 1) : span_of(NULL, 0);
    return n > 0;
}

static bool parse_mode(struct span word, enum session_mode *mode)
{
    static const char *const names[] = {"running", "prepared", "frozen"};
    for (size_t i = 0; i < COUNTOF(names); i++) {
        if (span_is(word, names[i])) {
            *mode = (enum session_mode)i;
            return true;
        }
    }
    return false;
}

bool registration_parse(struct span name, uint8_t *text, size_t len, struct registration *_r)
{
    struct registration r = {.session = name};
    struct span rest = span_of(text, len), epoch, mode, since;
    bool good = registry_next_word(&rest, &r.backend) && registry_next_word(&rest, &epoch) &&
                registry_next_word(&rest, &mode) && registry_next_word(&rest, &r.address) &&
                registry_next_word(&rest, &since) && rest.p == NULL &&
                span_u64(epoch, UINT64_MAX, &r.epoch) && parse_mode(mode, &r.mode) &&
                span_u64(since, UINT64_MAX, &r.since_ms) &&
                registry_decode((uint8_t *)(uintptr_t)r.backend.p, &r.backend.len) &&
                registry_decode((uint8_t *)(uintptr_t)r.address.p, &r.address.len);
    if (good)
        *_r = r;
    return good;
}

/* ---- the registrations of an account ---- */

/* One block with all values: they are decoded in place. */
static size_t parse_rows(const struct reply *flat, struct registration *rows, struct buf *texts)
{
    size_t n = reply_count(flat) / 2, at = 0;
    for (size_t i = 0; i < n; i++)
        buf_add_span(texts, reply_str(reply_at(flat, 2 * i + 1)));
    for (size_t i = 0; i < n; i++) {
        struct span name = reply_str(reply_at(flat, 2 * i));
        size_t len = reply_str(reply_at(flat, 2 * i + 1)).len;
        /* What can't be read counts as a session that runs and has seen nothing, as in the scripts. */
        if (!registration_parse(name, texts->mem + texts->off + at, len, &rows[i]))
            rows[i] = (struct registration){.session = name, .mode = SESSION_RUNNING};
        at += len;
    }
    return n;
}

struct listing {
    registry_fn fn;
    void *owner; /* borrowed */
};

static void registry_on_list(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct listing l = *(struct listing *)owner;
    const struct reply *flat = reply_at(r, 2);
    struct registration *rows = xcalloc(reply_count(flat) / 2 + 1, sizeof(*rows));
    struct buf texts = {0};

    free(owner);
    if (rc == REDIS_OK && !span_is(reply_str(reply_at(r, 0)), "ok"))
        rc = REDIS_ERROR_REPLY;
    size_t n = rc == REDIS_OK ? parse_rows(flat, rows, &texts) : 0;
    l.fn(l.owner, rc, rows, n);
    free(rows);
    buf_free(&texts);
}

void registry_list(struct store *s, const char *user, registry_fn fn, void *owner)
{
    struct listing *l = xcalloc(1, sizeof(*l));
    struct span args[] = {span_str(user)};
    *l = (struct listing){.fn = fn, .owner = owner};
    store_script_for(s, owner, "census", args, COUNTOF(args), registry_on_list, l, free);
}
