#include <stdlib.h>
#include <strings.h>

#include "lib/xalloc.h"

#include "rights.h"

void rights_free(struct rights *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->entries[i].who);
    free(r->entries);
    *r = (struct rights){0};
}

static void add_letter(char *letters, char c)
{
    size_t n = strlen(letters), at = 0;

    if (strchr(letters, c) || n + 1 >= RIGHTS_LETTERS_MAX)
        return;
    while (at < n && letters[at] < c)
        at++;
    memmove(letters + at + 1, letters + at, n - at + 1);
    letters[at] = c;
}

static void add_letters(char *letters, const char *more)
{
    for (; *more; more++)
        add_letter(letters, *more);
}

/* Only what can be a right: letters and digits. */
static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static void normalize(char *letters, struct span given, bool old)
{
    letters[0] = '\0';
    for (size_t i = 0; i < given.len; i++) {
        uint8_t c = given.p[i];
        if (c == 'c' || c == 'd') {
            if (old)
                add_letters(letters, c == 'c' ? "kx" : "te");
        } else if (is_letter(c)) {
            add_letter(letters, (char)c);
        }
    }
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct rights_entry *)a)->who, ((const struct rights_entry *)b)->who);
}

static struct rights_entry *rights_add_entry(struct rights *r, struct span who)
{
    r->entries = xreallocarray(r->entries, r->n + 1, sizeof(*r->entries));
    r->entries[r->n] = (struct rights_entry){.who = xspandup(who)};
    return &r->entries[r->n++];
}

bool rights_take(struct rights *r, const struct imap_value *data, bool old)
{
    struct span who, letters;

    rights_free(r);
    for (const struct imap_value *v = data ? data->next : NULL; v; v = v->next->next) {
        if (!imap_value_string(v, &who) || !imap_value_string(v->next, &letters) || who.len == 0 ||
            memchr(who.p, '\0', who.len) || r->n == RIGHTS_ENTRIES_MAX) {
            rights_free(r);
            return false;
        }
        normalize(rights_add_entry(r, who)->letters, letters, old);
    }
    if (r->n > 1)
        qsort(r->entries, r->n, sizeof(*r->entries), compare_entries);
    return data != NULL;
}

const struct rights_entry *rights_find(const struct rights *r, const char *who)
{
    struct rights_entry key = {.who = (char *)who};

    return r->n ? bsearch(&key, r->entries, r->n, sizeof(key), compare_entries) : NULL;
}

bool rights_is_grant(const struct rights_entry *e, const struct rights_self *self)
{
    static const char *const always[] = {"owner", "administrators", "group=administrators"};
    const char *who = e->who[0] == '-' ? e->who + 1 : e->who;

    if (!*e->letters || !strcmp(e->letters, "p"))
        return false;
    if (!strncasecmp(who, "user=", 5)) /* Courier's way to say a user */
        who += 5;
    for (size_t i = 0; i < COUNTOF(always); i++)
        if (!strcasecmp(who, always[i]))
            return false;
    for (size_t i = 0; i < COUNTOF(self->names) && self->names[i]; i++)
        if (!strcasecmp(who, self->names[i]))
            return false;
    return true;
}

void rights_map(struct rights *out, const struct rights *source, const struct rights_self *self,
                const struct view_renames *map)
{
    rights_free(out);
    for (size_t i = 0; i < source->n; i++) {
        const struct rights_entry *e = &source->entries[i];
        bool negative = e->who[0] == '-';
        struct buf who = {0};
        if (!rights_is_grant(e, self))
            continue;
        buf_add_str(&who, negative ? "-" : "");
        view_rename(map, &(struct view_place){.name = span_str(e->who + negative), .prefix = ""}, false,
                    &who);
        struct rights_entry *mapped = rights_add_entry(out, buf_span(&who));
        memcpy(mapped->letters, e->letters, sizeof(mapped->letters));
        buf_free(&who);
    }
    if (out->n > 1)
        qsort(out->entries, out->n, sizeof(*out->entries), compare_entries);
}

static bool has_all(const char *letters, const char *wanted)
{
    for (; *wanted; wanted++)
        if (!strchr(letters, *wanted))
            return false;
    return true;
}

void rights_write(struct buf *out, const char *letters, bool old, char *lost)
{
    bool create = has_all(letters, "kx"), expunge = has_all(letters, "te");

    lost[0] = '\0';
    for (const char *c = letters; *c; c++) {
        if (!old || !strchr("kxte", *c))
            buf_add(out, c, 1);
        else if (!(strchr("kx", *c) ? create : expunge))
            add_letter(lost, *c);
    }
    if (old && create)
        buf_add_str(out, "c");
    if (old && expunge)
        buf_add_str(out, "d");
}

void rights_missing(const char *wanted, const char *have, char *missing)
{
    missing[0] = '\0';
    for (; *wanted; wanted++)
        if (!strchr(have, *wanted))
            add_letter(missing, *wanted);
}

void rights_join(char *letters, const char *more)
{
    add_letters(letters, more);
}
