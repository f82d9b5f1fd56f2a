#include <stdlib.h>

#include "lib/xalloc.h"

#include "views_home.h"

struct row {
    char *name, *text; /* owned; text NULL: there is none (any more) */
};

struct views_home {
    struct row *rows; /* owned */
    size_t n;
};

struct views_home *views_home_new(void)
{
    return xcalloc(1, sizeof(struct views_home));
}

void views_home_free(struct views_home **hp)
{
    struct views_home *h = *hp;
    *hp = NULL;
    for (size_t i = 0; h && i < h->n; i++) {
        free(h->rows[i].name);
        free(h->rows[i].text);
    }
    if (h)
        free(h->rows);
    free(h);
}

static struct row *home_row(const struct views_home *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (strcmp(h->rows[i].name, name) == 0)
            return &h->rows[i];
    return NULL;
}

/* Takes both. */
static void home_add(struct views_home *h, char *name, char *text)
{
    h->rows = xreallocarray(h->rows, h->n + 1, sizeof *h->rows);
    h->rows[h->n++] = (struct row){name, text};
}

/* Any number of runs: the store had them before. */
static bool home_decode(const char *text, struct view_record *_r)
{
    return view_record_decode(span_str(text), UINT32_MAX, _r);
}

static void set_name(char **name, const char *to)
{
    char *was = *name;
    *name = xstrdup(to);
    free(was);
}

/* ---- how records are seen ---- */

static void see_spaces(struct view_spaces *s)
{
    if (s->users[VIEW_CLIENT])
        set_name(&s->users[VIEW_BACKEND], s->users[VIEW_CLIENT]);
    if (s->shared[VIEW_CLIENT])
        set_name(&s->shared[VIEW_BACKEND], s->shared[VIEW_CLIENT]);
    free(s->domain);
    s->domain = NULL;
    s->inbox_by_user = VIEW_SIDES;
}

void views_home_spelling(struct view_spelling *s)
{
    s->backend_separator = s->client_separator;
    set_name(&s->backend_prefix, s->client_prefix);
    set_name(&s->avoid, "");
    see_spaces(&s->spaces);
}

static bool take_spelling(struct view *view, struct span text)
{
    struct view_spelling s;
    struct buf own = {0};
    if (!view_spelling_decode(text, &s))
        return false;
    views_home_spelling(&s);
    view_spelling_encode(&own, &s);
    bool good = view_take(view, span_of(NULL, 0), buf_span(&own));
    buf_free(&own);
    view_spelling_free(&s);
    return good;
}

static void see_record(struct view_record *r)
{
    view_uid_free(&r->map);
    set_name(&r->target_name, r->source_name);
    r->target_uidvalidity = r->source_uidvalidity;
    /* Of one that was made anew since then it says nothing. */
    r->target_uidnext = r->tier == VIEW_T3 ? 0 : r->source_uidnext;
    if (r->tier != VIEW_T3)
        r->tier = VIEW_T0;
}

bool views_home_see(struct span text, struct buf *out)
{
    struct view_record r;
    if (!view_record_decode(text, UINT32_MAX, &r))
        return false;
    see_record(&r);
    view_record_encode(out, &r);
    view_record_free(&r);
    return true;
}

bool views_home_take(struct views_home *h, struct view *view, struct span name, struct span text)
{
    struct buf seen = {0};
    if (name.len == 0)
        return take_spelling(view, text);
    bool good = views_home_see(text, &seen) && view_take(view, name, buf_span(&seen));
    buf_free(&seen);
    if (good)
        home_add(h, xspandup(name), xspandup(text));
    return good;
}

/* ---- how changes are kept ---- */

/* Without reading all of a record, which may have a long map. */
static bool home_has_id(const struct row *row, const char *id)
{
    static const char BEFORE[] = "1 id=";
    size_t n = strlen(id);
    const char *text = row->text;
    if (!text || strncmp(text, BEFORE, sizeof BEFORE - 1) != 0)
        return false;
    text += sizeof BEFORE - 1;
    return strncmp(text, id, n) == 0 && text[n] == ' ';
}

/* The record that a change comes from: that of its name, or one of the same id, which a RENAME carries along. */
static bool home_base(const struct views_home *h, const char *name, const char *id, struct view_record *_r)
{
    const struct row *own = home_row(h, name);
    if (own && home_has_id(own, id) && home_decode(own->text, _r))
        return true;
    for (size_t i = 0; i < h->n; i++)
        if (home_has_id(&h->rows[i], id) && home_decode(h->rows[i].text, _r))
            return true;
    return false;
}

/* seen: a record of the view, as it is to be. NULL: it can't be read. */
static char *home_text(const struct views_home *h, const char *name, const char *seen)
{
    struct view_record r, base;
    struct buf text = {0};
    if (!home_decode(seen, &r))
        return NULL;
    if (home_base(h, name, r.id, &base)) {
        set_name(&base.source_name, r.source_name);
        bool anew = base.tier != VIEW_T3 && r.tier == VIEW_T3; /* maybe under the same UIDVALIDITY */
        /* Another mailbox: nothing of it is there. */
        if (base.source_uidvalidity != r.target_uidvalidity || anew)
            view_uid_free(&base.map);
        base.source_uidvalidity = r.target_uidvalidity;
        base.source_uidnext = r.source_uidnext;
        base.highest_uidvalidity = r.highest_uidvalidity;
        base.highest_unflipped = 0;
        /* T2 needs its map, and what is not shown by the real UIDVALIDITY is T3 here. */
        if (r.tier != VIEW_T0 || (base.tier == VIEW_T2 && base.map.n == 0))
            base.tier = VIEW_T3;
        view_record_encode(&text, &base);
        view_record_free(&base);
    } else {
        view_record_encode(&text, &r);
    }
    view_record_free(&r);
    char *owned = xspandup(buf_span(&text));
    buf_free(&text);
    return owned;
}

void views_home_changes(const struct views_home *h, const struct view_changes *seen, struct view_changes *out)
{
    *out = (struct view_changes){.n = seen->n, .cap = seen->n};
    out->items = xcalloc(seen->n, sizeof *out->items);
    for (size_t i = 0; i < seen->n; i++) {
        const struct view_change *c = &seen->items[i];
        const struct row *row = home_row(h, c->field);
        bool same = c->was && c->is && strcmp(c->was, c->is) == 0;
        out->items[i].field = xstrdup(c->field);
        out->items[i].was = xstrdup(row ? row->text : NULL);
        out->items[i].is = same ? xstrdup(out->items[i].was) : c->is ? home_text(h, c->field, c->is) : NULL;
    }
}

void views_home_apply(struct views_home *h, const struct view_changes *made)
{
    for (size_t i = 0; i < made->n; i++) {
        struct row *row = home_row(h, made->items[i].field);
        char *text = xstrdup(made->items[i].is);
        if (row) {
            free(row->text);
            row->text = text;
        } else {
            home_add(h, xstrdup(made->items[i].field), text);
        }
    }
}
