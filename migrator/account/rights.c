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

/* ---- from one server to the other */

enum rights_form rights_form(const struct rights *r, const struct rights_self *self)
{
    const char *full = self->names[0], *local = self->names[1];

    if (!full || !local || !strchr(full, '@'))
        return RIGHTS_FORM_UNKNOWN;
    for (size_t i = 0; i < r->n; i++) {
        if (!strcasecmp(r->entries[i].who, full))
            return RIGHTS_WITH_DOMAIN;
        if (!strcasecmp(r->entries[i].who, local))
            return RIGHTS_WITHOUT_DOMAIN;
    }
    return RIGHTS_FORM_UNKNOWN;
}

static bool rights_begins(const char **who, const char *with)
{
    size_t n = strlen(with);
    bool does = !strncasecmp(*who, with, n) && (*who)[n];

    if (does)
        *who += n;
    return does;
}

/* What a server takes an identity for. */
enum rights_meant { MEANS_USER, MEANS_ANYONE, MEANS_GROUP, MEANS_OTHERS };

/* *who: moved to the name of the user or group. */
static enum rights_meant rights_read_identity(const char **who, enum rights_speech speech)
{
    bool dovecot = speech == RIGHTS_OF_DOVECOT, cyrus = speech == RIGHTS_OF_CYRUS;

    if (!strcasecmp(*who, "anyone"))
        return MEANS_ANYONE;
    if (dovecot && (**who == '!' || **who == '#' || !strcasecmp(*who, "authenticated")))
        return MEANS_OTHERS;
    if (cyrus && !strcasecmp(*who, "anonymous"))
        return MEANS_OTHERS;
    if ((dovecot && rights_begins(who, "$")) || (cyrus && rights_begins(who, "group:")))
        return MEANS_GROUP;
    if (!dovecot && !cyrus && rights_begins(who, "group="))
        return MEANS_GROUP;
    if (!dovecot && !cyrus)
        rights_begins(who, "user=");
    return MEANS_USER;
}

bool rights_is_user(const char *who, enum rights_speech speech)
{
    who += who[0] == '-';
    return rights_read_identity(&who, speech) == MEANS_USER;
}

static void rights_write_user(struct buf *out, const char *name, const struct rights_self *self,
                              const struct rights_way *way)
{
    const char *domain = self->names[0] ? strchr(self->names[0], '@') : NULL, *at = strchr(name, '@');
    bool differ = domain && way->form_from != way->form_to && way->form_from != RIGHTS_FORM_UNKNOWN &&
                  way->form_to != RIGHTS_FORM_UNKNOWN;

    if (differ && at && way->form_to == RIGHTS_WITHOUT_DOMAIN && !strcasecmp(at, domain))
        buf_add(out, name, (size_t)(at - name));
    else
        buf_add_str(out, name);
    if (differ && !at && way->form_to == RIGHTS_WITH_DOMAIN)
        buf_add_str(out, domain);
}

/* False: the target has no such identity. */
static bool rights_translate(struct buf *out, const char *who, const struct rights_self *self,
                             const struct rights_way *way)
{
    const char *name = who;
    enum rights_meant meant = rights_read_identity(&name, way->from);

    if (meant == MEANS_USER) {
        rights_write_user(out, name, self, way);
        return way->from == way->to || rights_is_user(buf_str(out), way->to);
    }
    if (way->from == way->to || meant == MEANS_ANYONE) {
        buf_add_str(out, who);
        return true;
    }
    buf_printf(out, "%s%s", way->to == RIGHTS_OF_CYRUS ? "group:" : "$", name);
    return meant == MEANS_GROUP && way->to != RIGHTS_OF_OTHERS;
}

/* False: see rights_translate(). */
static bool rights_map_identity(struct buf *out, const char *who, const struct rights_self *self,
                                const struct rights_way *way)
{
    bool negative = who[0] == '-';
    struct buf name = {0};
    bool by_rule = view_rename(way->map, &(struct view_place){.name = span_str(who + negative), .prefix = ""},
                               false, &name) > 0;
    bool ok = true;

    buf_add_str(out, negative ? "-" : "");
    if (!by_rule) {
        buf_clear(&name);
        ok = rights_translate(&name, who + negative, self, way);
    }
    buf_add_span(out, buf_span(&name));
    buf_free(&name);
    return ok;
}

/* Two identities of the source may be one on the target. */
static void rights_sort(struct rights *r)
{
    size_t n = 0;

    if (r->n > 1)
        qsort(r->entries, r->n, sizeof(*r->entries), compare_entries);
    for (size_t i = 0; i < r->n; i++) {
        if (n > 0 && !strcmp(r->entries[n - 1].who, r->entries[i].who)) {
            add_letters(r->entries[n - 1].letters, r->entries[i].letters);
            free(r->entries[i].who);
        } else {
            r->entries[n++] = r->entries[i];
        }
    }
    r->n = n;
}

static void rights_add_copy(struct rights *r, struct span who, const char *letters)
{
    struct rights_entry *e = rights_add_entry(r, who);

    memcpy(e->letters, letters, sizeof(e->letters));
}

void rights_map(struct rights *out, const struct rights *source, const struct rights_self *self,
                const struct rights_way *way, struct rights *unsaid)
{
    rights_free(out);
    for (size_t i = 0; i < source->n; i++) {
        const struct rights_entry *e = &source->entries[i];
        char letters[RIGHTS_LETTERS_MAX];
        struct buf who = {0};
        if (!rights_is_grant(e, self))
            continue;
        rights_missing(e->letters, way->to == RIGHTS_OF_DOVECOT ? "n" : "", letters);
        if (rights_map_identity(&who, e->who, self, way))
            rights_add_copy(out, buf_span(&who), letters);
        else if (unsaid)
            rights_add_copy(unsaid, span_str(e->who), e->letters);
        buf_free(&who);
    }
    rights_sort(out);
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
