#include <stdlib.h>

#include <uthash.h>

#include "lib/account_names.h"
#include "lib/imap_write.h"
#include "lib/xalloc.h"

#include "bulk_list.h"
#include "naming.h"

enum { SHOWN = 80 /* bytes of a line that is no name */ };

struct seen {
    const char *key; /* of the list */
    size_t number;
    UT_hash_handle hh;
};

static struct bulk_line *add_line(struct bulk_line **lines, size_t *n)
{
    if ((*n & (*n - 1)) == 0)
        *lines = xreallocarray(*lines, *n ? 2 * *n : 1, sizeof(**lines));
    (*lines)[*n] = (struct bulk_line){0};
    return &(*lines)[(*n)++];
}

static char *bulk_list_shown(struct span s)
{
    struct buf out = {0};

    imap_write_text(&out, span_of(s.p, s.len < SHOWN ? s.len : SHOWN));
    if (s.len > SHOWN)
        buf_add_str(&out, "...");
    char *text = xstrdup(buf_str(&out));
    buf_free(&out);
    return text;
}

static struct bulk_line *bulk_list_add_problem(struct bulk_list *l, size_t number, char *text, char *why)
{
    struct bulk_line *p = add_line(&l->problems, &l->n_problems);

    p->number = number;
    p->text = text;
    p->why = why;
    return p;
}

/* Takes key and as_key. */
static void add_account(struct bulk_list *l, struct seen **seen, size_t number, char *key, char *as_key)
{
    struct seen *before;

    HASH_FIND_STR(*seen, key, before);
    if (before) {
        bulk_list_add_problem(l, number, key, xasprintf("is on line %zu already", before->number))->twice =
            true;
        free(as_key);
        return;
    }
    struct bulk_line *a = add_line(&l->accounts, &l->n_accounts);
    a->number = number;
    a->text = key;
    a->as_key = as_key;
    l->n_bare += strchr(key, '@') == NULL;
    before = xcalloc(1, sizeof(*before));
    before->key = key;
    before->number = number;
    HASH_ADD_KEYPTR(hh, *seen, before->key, strlen(before->key), before);
}

static char *as_other_key(const struct conf *c, struct span line, const char *key)
{
    char *text = xspandup(line), *as_key = naming_as_key(c, text);

    free(text);
    if (!as_key || strcmp(as_key, key))
        return as_key;
    free(as_key);
    return NULL;
}

static void bulk_list_read_line(struct bulk_list *l, const struct conf *c, struct seen **seen, size_t number,
                                struct span line)
{
    const char *why;
    char *key = account_names_key(c, &line, &why);

    if (key)
        add_account(l, seen, number, key, as_other_key(c, line, key));
    else if (why)
        bulk_list_add_problem(l, number, bulk_list_shown(line), xstrdup(why));
}

void bulk_list_read(struct bulk_list *l, const struct conf *c, struct span text)
{
    struct seen *seen = NULL, *one, *next;
    size_t number = 0;

    *l = (struct bulk_list){0};
    if (text.len >= 3 && !memcmp(text.p, "\xef\xbb\xbf", 3)) /* what some editors put in front */
        text = span_of(text.p + 3, text.len - 3);
    while (text.len) {
        const uint8_t *feed = memchr(text.p, '\n', text.len);
        size_t len = feed ? (size_t)(feed - text.p) : text.len;
        bulk_list_read_line(l, c, &seen, ++number, span_of(text.p, len));
        len += feed != NULL;
        text = span_of(text.p + len, text.len - len);
    }
    HASH_ITER(hh, seen, one, next)
    {
        HASH_DEL(seen, one);
        free(one);
    }
}

static void free_lines(struct bulk_line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(lines[i].text);
        free(lines[i].as_key);
        free(lines[i].why);
    }
    free(lines);
}

void bulk_list_free(struct bulk_list *l)
{
    free_lines(l->accounts, l->n_accounts);
    free_lines(l->problems, l->n_problems);
    *l = (struct bulk_list){0};
}
