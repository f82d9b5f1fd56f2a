#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "lib/mutf7.h"
#include "lib/xalloc.h"

#include "waiver.h"

struct key {
    char *text; /* owned */
    UT_hash_handle hh;
};

struct waivers {
    struct key *keys; /* owned */
};

struct waivers *waivers_new(void)
{
    return xcalloc(1, sizeof(struct waivers));
}

void waivers_free(struct waivers **wp)
{
    struct waivers *w = *wp;
    struct key *k, *next;

    if (!w)
        return;
    *wp = NULL;
    HASH_ITER(hh, w->keys, k, next)
    {
        HASH_DEL(w->keys, k);
        free(k->text);
        free(k);
    }
    free(w);
}

size_t waivers_count(const struct waivers *w)
{
    return HASH_COUNT(w->keys);
}

static bool waiver_has(const struct waivers *w, const char *text)
{
    struct key *k;

    HASH_FIND_STR(w->keys, text, k);
    return k != NULL;
}

void waivers_add(struct waivers *w, struct span key)
{
    char *text = xspandup(key);

    if ((key.len > 0 && memchr(key.p, '\0', key.len)) || waiver_has(w, text)) {
        free(text);
        return;
    }
    struct key *k = xcalloc(1, sizeof(*k));
    k->text = text;
    HASH_ADD_KEYPTR(hh, w->keys, k->text, key.len, k);
}

static bool has_in(const struct waivers *w, const char *mailbox, const char *what)
{
    struct buf name = {0};
    char *key = xasprintf("%s:%s", mailbox, what);
    bool found = waiver_has(w, key);

    free(key);
    /* A server that sends plain UTF-8: what was typed in UTF-8 is kept as modified UTF-7. */
    if (!found && !mutf7_to_utf8(&name, span_str(mailbox)) && mutf7_from_utf8(&name, span_str(mailbox))) {
        key = xasprintf("%s:%s", buf_str(&name), what);
        found = waiver_has(w, key);
        free(key);
    }
    buf_free(&name);
    return found;
}

bool waivers_have_message(const struct waivers *w, const char *mailbox, uint32_t uidvalidity, uint32_t uid)
{
    char numbers[32];

    snprintf(numbers, sizeof(numbers), "%u/%u", uidvalidity, uid);
    return uid > 0 && uidvalidity > 0 && w->keys && has_in(w, mailbox, numbers);
}

bool waivers_have(const struct waivers *w, enum finding_kind kind, const char *mailbox, uint32_t uidvalidity,
                  uint32_t uid)
{
    if (!w->keys)
        return false;
    if (finding_is_waivable(kind) && waiver_has(w, finding_word(kind)))
        return true;
    if (finding_is_waivable_in_one(kind) && *mailbox && has_in(w, mailbox, finding_word(kind)))
        return true;
    return finding_class(kind) == FINDING_BLOCKS && waivers_have_message(w, mailbox, uidvalidity, uid);
}

/* ---- what a person typed */

static bool write_mailbox(struct buf *out, struct span name)
{
    struct buf utf8 = {0};
    bool wire = mutf7_to_utf8(&utf8, name);

    buf_free(&utf8);
    if (name.len == 5 && span_is_ci(name, "INBOX"))
        buf_add_str(out, "INBOX");
    else if (wire)
        buf_add_span(out, name);
    else
        return mutf7_from_utf8(out, name);
    return true;
}

/* UIDVALIDITY/UID */
static bool read_bound(struct span part, uint32_t *_uidvalidity, uint32_t *_uid)
{
    const uint8_t *slash = memchr(part.p, '/', part.len);
    size_t at = slash ? (size_t)(slash - part.p) : 0;

    return slash && span_u32(span_of(part.p, at), _uidvalidity) &&
           span_u32(span_of(slash + 1, part.len - at - 1), _uid) && *_uidvalidity > 0 && *_uid > 0;
}

/* Behind the last colon: a UID or a kind. */
static const char *write_part(struct buf *out, struct span part)
{
    enum finding_kind kind;
    uint32_t uid, uidvalidity;

    if (span_u32(part, &uid) && uid > 0)
        buf_printf(out, ":%u", uid);
    else if (read_bound(part, &uidvalidity, &uid))
        buf_printf(out, ":%u/%u", uidvalidity, uid);
    else if (!finding_parse(part, &kind))
        return "it ends neither in the UID of a message nor in a word for what may be waived";
    else if (!finding_is_waivable_in_one(kind))
        return "what it names can't be waived for all messages, only for one by its UID";
    else
        buf_printf(out, ":%s", finding_word(kind));
    return NULL;
}

char *waiver_key(struct span typed, const char **why)
{
    struct buf key = {0};
    enum finding_kind kind;
    size_t colon = typed.len;

    while (colon > 0 && typed.p[colon - 1] != ':')
        colon--;
    if (colon == 0) {
        bool parsed = finding_parse(typed, &kind);
        if (parsed && finding_is_waivable(kind))
            return xstrdup(finding_word(kind));
        *why = parsed && finding_is_waivable_in_one(kind)
                   ? "it can be waived for one mailbox at a time: MAILBOX:KIND"
                   : "it is neither MAILBOX:UID nor a word for what may be waived";
        return NULL;
    }
    struct span name = span_of(typed.p, colon - 1);
    if (name.len == 0 || !write_mailbox(&key, name))
        *why = "the mailbox before the colon is no valid name";
    else if (!(*why = write_part(&key, span_of(typed.p + colon, typed.len - colon)))) {
        char *text = xstrdup(buf_str(&key));
        buf_free(&key);
        return text;
    }
    buf_free(&key);
    return NULL;
}

/* What stands behind the last colon; NULL: there is none. */
static const char *part_of(const char *key)
{
    const char *colon = strrchr(key, ':');

    return colon ? colon + 1 : NULL;
}

bool waiver_is_unbound(const char *key)
{
    const char *part = part_of(key);
    uint32_t uid;

    return part && span_u32(span_str(part), &uid);
}

char *waiver_bind(const char *key, uint32_t uidvalidity)
{
    const char *part = part_of(key);

    return xasprintf("%.*s%u/%s", (int)(part - key), key, uidvalidity, part);
}

bool waiver_means(const char *key, struct span kept)
{
    char *text = xspandup(kept);
    const char *part = part_of(text), *slash = part ? strchr(part, '/') : NULL;
    bool means = !strcmp(key, text);

    if (!means && slash && waiver_is_unbound(key))
        means = waiver_same_mailbox(key, text) && !strcmp(part_of(key), slash + 1);
    free(text);
    return means;
}

bool waiver_same_mailbox(const char *key, const char *other)
{
    const char *a = part_of(key), *b = part_of(other);

    return a && b && a - key == b - other && !strncmp(key, other, (size_t)(a - key));
}
