#include <stdlib.h>
#include <strings.h>

#include "lib/xalloc.h"

#include "annotations.h"

/* What begins so belongs to a server, or to CREATE. */
static const char *const not_the_users[] = {
    "/private/specialuse",
    "/shared/specialuse",
    "/shared/vendor/cmu/cyrus-imapd/",
    "/private/vendor/cmu/cyrus-imapd/",
    "/shared/vendor/vendor.dovecot/",
    "/private/vendor/vendor.dovecot/",
    "/shared/admin",
    "/shared/freespace",
    "/shared/motd",
    "/shared/shutdown",
    "/shared/squat",
};

static void free_item(struct annotation *x)
{
    free(x->entry);
    buf_free(&x->value);
}

void annotations_free(struct annotations *a)
{
    for (size_t i = 0; i < a->n; i++)
        free_item(&a->items[i]);
    free(a->items);
    *a = (struct annotations){0};
}

static bool is_the_users(const char *entry, bool of_server)
{
    bool is_private = !strncasecmp(entry, "/private/", 9), is_shared = !strncasecmp(entry, "/shared/", 8);

    if (!is_private && (!is_shared || of_server))
        return false;
    for (size_t i = 0; i < COUNTOF(not_the_users); i++)
        if (!strncasecmp(entry, not_the_users[i], strlen(not_the_users[i])))
            return false;
    return true;
}

/* prefix: "/private" or "/shared" for an entry of the draft. */
static void annotations_add(struct annotations *a, const char *prefix, struct span entry,
                            const struct imap_value *value, bool of_server)
{
    struct buf name = {0};
    struct span bytes;

    buf_add_str(&name, prefix);
    buf_add_span(&name, entry);
    bool wanted = !memchr(entry.p, '\0', entry.len) && is_the_users(buf_str(&name), of_server) &&
                  !imap_value_is_nil(value) && imap_value_string(value, &bytes) && a->n < ANNOTATIONS_MAX;
    if (wanted) {
        a->items = xreallocarray(a->items, a->n + 1, sizeof(*a->items));
        a->items[a->n] = (struct annotation){.entry = xstrdup(buf_str(&name))};
        buf_add_span(&a->items[a->n++].value, bytes);
    }
    buf_free(&name);
}

/* (entry value entry value ...) */
static bool take_metadata(struct annotations *a, const struct imap_value *list, bool of_server)
{
    struct span entry;

    if (!list || list->kind != IMAP_LIST)
        return false;
    for (const struct imap_value *v = list->first; v && v->next; v = v->next->next)
        if (imap_value_string(v, &entry) && entry.len > 0)
            annotations_add(a, "", entry, v->next, of_server);
    return true;
}

/* entry (value.priv value value.shared value ...), several one behind the other */
static bool take_annotation(struct annotations *a, const struct imap_value *v, bool of_server)
{
    struct span entry;

    for (; v && v->next && v->next->kind == IMAP_LIST; v = v->next->next) {
        if (!imap_value_string(v, &entry) || entry.len == 0)
            return false;
        for (const struct imap_value *x = v->next->first; x && x->next; x = x->next->next) {
            struct span name;
            if (imap_value_string(x, &name) && span_is_ci(name, "value.priv"))
                annotations_add(a, "/private", entry, x->next, of_server);
            else if (imap_value_string(x, &name) && span_is_ci(name, "value.shared"))
                annotations_add(a, "/shared", entry, x->next, of_server);
        }
    }
    return true;
}

bool annotations_take(struct annotations *a, const struct imap_resp *resp, const struct imap_value *data,
                      bool of_server)
{
    if (resp->kind != RESP_DATA || !data)
        return false;
    if (span_is_ci(resp->word, "METADATA"))
        return take_metadata(a, data->next, of_server);
    return span_is_ci(resp->word, "ANNOTATION") && take_annotation(a, data->next, of_server);
}

static int annotations_compare(const void *a, const void *b)
{
    return strcasecmp(((const struct annotation *)a)->entry, ((const struct annotation *)b)->entry);
}

void annotations_sort(struct annotations *a)
{
    size_t kept = 0;

    if (a->n > 1)
        qsort(a->items, a->n, sizeof(*a->items), annotations_compare);
    for (size_t i = 0; i < a->n; i++) {
        if (kept > 0 && annotations_compare(&a->items[kept - 1], &a->items[i]) == 0)
            free_item(&a->items[i]);
        else
            a->items[kept++] = a->items[i];
    }
    a->n = kept;
}

const struct annotation *annotations_find(const struct annotations *a, const char *entry)
{
    struct annotation key = {.entry = (char *)entry};

    return a->n ? bsearch(&key, a->items, a->n, sizeof(key), annotations_compare) : NULL;
}
