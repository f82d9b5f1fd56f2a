#include <stdio.h>
#include <stdlib.h>

#include "view.h"
#include "view_word.h"
#include "xalloc.h"

enum {
    RUNS_MAX = 1000000,
    RECORDS_MAX = 100000,
    GRAVE_BYTES = 128, /* of a record under a name that was given up, besides names */
    GRAVES_MAX = 4 * 1024 * 1024,
};

/* One mailbox; shared by the versions of a view, which differ in few of them. */
struct mailbox {
    unsigned refs;
    bool lent;   /* it is of the hash of another account */
    char *field; /* the client's name; owned */
    struct view_record record;
};

struct view {
    unsigned refs;
    struct view_spelling spelling;
    bool spelled;                       /* the hash said how */
    const struct view_renames *renames; /* borrowed; NULL: none */
    size_t n, cap;
    struct index {
        struct mailbox **by_client, **by_backend; /* owned, n of each */
        bool sorted;
        /* learned when they are asked first */
        enum { NOT_ASKED, YES, NO } alike, regular;
    } * index; /* owned; sorted when something is looked up first */
};

/* ---- spelling ---- */

void view_spelling_free(struct view_spelling *s)
{
    free(s->client_prefix);
    free(s->backend_prefix);
    free(s->avoid);
    view_spaces_free(&s->spaces);
    *s = (struct view_spelling){.spaces.inbox_by_user = VIEW_SIDES};
}

void view_spelling_encode(struct buf *out, const struct view_spelling *s)
{
    view_word_write(out, "1 client=", span_of(&s->client_separator, s->client_separator ? 1 : 0));
    view_word_write(out, ",", span_str(s->client_prefix));
    view_word_write(out, " backend=", span_of(&s->backend_separator, s->backend_separator ? 1 : 0));
    view_word_write(out, ",", span_str(s->backend_prefix));
    view_word_write(out, " avoid=", span_str(s->avoid));
    view_spaces_encode(out, &s->spaces);
}

static bool spelling_take_separator(struct span *in, const char *before, char *_r)
{
    char *text = view_word_take(in, before);
    bool ok = text && strlen(text) <= 1;

    if (ok)
        *_r = text[0];
    free(text);
    return ok;
}

static struct view_side client_side(const struct view_spelling *s)
{
    return (struct view_side){.separator = s->client_separator, .prefix = s->client_prefix};
}

static struct view_side backend_side(const struct view_spelling *s)
{
    return (struct view_side){
        .separator = s->backend_separator, .prefix = s->backend_prefix, .avoid = s->avoid};
}

static bool spelling_is_good(const struct view_spelling *s)
{
    struct view_side client = client_side(s), backend = backend_side(s);

    return !view_side_fault(&client) && !view_side_fault(&backend);
}

bool view_spelling_decode(struct span text, struct view_spelling *_r)
{
    struct view_spelling s = {.spaces.inbox_by_user = VIEW_SIDES};
    bool ok = spelling_take_separator(&text, "1 client=", &s.client_separator) &&
              (s.client_prefix = view_word_take(&text, ",")) &&
              spelling_take_separator(&text, " backend=", &s.backend_separator) &&
              (s.backend_prefix = view_word_take(&text, ",")) &&
              (s.avoid = view_word_take(&text, " avoid=")) && view_spaces_decode(text, &s.spaces) &&
              spelling_is_good(&s);

    if (ok)
        *_r = s;
    else
        view_spelling_free(&s);
    return ok;
}

/* ---- life ---- */

struct view *view_new(const struct view_renames *renames)
{
    struct view *v = xcalloc(1, sizeof *v);

    v->refs = 1;
    v->spelling.spaces.inbox_by_user = VIEW_SIDES;
    v->renames = renames;
    v->index = xcalloc(1, sizeof *v->index);
    return v;
}

struct view *view_ref(struct view *v)
{
    v->refs++;
    return v;
}

static void mailbox_unref(struct mailbox *m)
{
    if (--m->refs > 0)
        return;
    free(m->field);
    view_record_free(&m->record);
    free(m);
}

void view_unref(struct view **vp)
{
    struct view *v = *vp;

    *vp = NULL;
    if (!v || --v->refs > 0)
        return;
    for (size_t i = 0; i < v->n; i++)
        mailbox_unref(v->index->by_client[i]);
    free(v->index->by_client);
    free(v->index->by_backend);
    free(v->index);
    view_spelling_free(&v->spelling);
    free(v);
}

static void view_add(struct view *v, struct mailbox *m)
{
    struct index *index = v->index;

    if (v->n == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 16;
        index->by_client = xreallocarray(index->by_client, v->cap, sizeof *index->by_client);
        index->by_backend = xreallocarray(index->by_backend, v->cap, sizeof *index->by_backend);
    }
    index->by_client[v->n] = m;
    index->by_backend[v->n++] = m;
    index->sorted = false;
    index->alike = index->regular = NOT_ASKED;
}

/* NULL: it can't be read. */
static struct mailbox *mailbox_new(struct span field, struct span text)
{
    struct view_record r;

    if (field.len == 0 || field.len > VIEW_RECORD_NAME_MAX || memchr(field.p, '\0', field.len) ||
        !view_record_decode(text, RUNS_MAX, &r))
        return NULL;
    struct mailbox *m = xcalloc(1, sizeof *m);
    m->refs = 1;
    m->field = xspandup(field);
    m->record = r;
    return m;
}

bool view_take(struct view *v, struct span field, struct span text)
{
    if (field.len == 0) {
        struct view_spelling s;
        if (!view_spelling_decode(text, &s))
            return false;
        view_spelling_free(&v->spelling);
        v->spelling = s;
        v->spelled = true;
        v->index->alike = v->index->regular = NOT_ASKED;
        return true;
    }
    struct mailbox *m = v->n < RECORDS_MAX ? mailbox_new(field, text) : NULL;
    if (m)
        view_add(v, m);
    return m != NULL;
}

/* ---- lent ---- */

/* Of the owner's name what lies behind INBOX or the prefix; "INBOX" itself as that. False: it is not one of the owner's own. */
static bool lent_path(const char *name, const char *prefix, struct buf *out)
{
    size_t n = strlen(prefix);

    if (view_name_is_inbox(span_str(name)))
        buf_add_str(out, "INBOX");
    else if (strncmp(name, prefix, n) == 0 && name[n])
        buf_add_str(out, name + n);
    else
        return false;
    return true;
}

/* by_user: INBOX is called by the user alone. */
static char *lent_name(struct buf *before, struct buf *path, bool by_user)
{
    struct buf name = {0};
    size_t n = before->len;

    if (by_user && strcmp(buf_str(path), "INBOX") == 0)
        buf_add(&name, buf_str(before), n - 1);
    else
        buf_printf(&name, "%s%s", buf_str(before), buf_str(path));
    char *owned = xspandup(buf_span(&name));
    buf_free(&name);
    return owned;
}

static void lend_as(struct view *v, struct span text, struct buf before[VIEW_SIDES],
                    struct buf path[VIEW_SIDES], const bool by_user[VIEW_SIDES])
{
    char *client = lent_name(&before[VIEW_CLIENT], &path[VIEW_CLIENT], by_user[VIEW_CLIENT]);
    struct mailbox *m = mailbox_new(span_str(client), text);

    if (m) {
        m->lent = true;
        free(m->record.source_name);
        free(m->record.target_name);
        m->record.source_name = xstrdup(client);
        m->record.target_name = lent_name(&before[VIEW_BACKEND], &path[VIEW_BACKEND], by_user[VIEW_BACKEND]);
        view_add(v, m);
    }
    free(client);
}

bool view_lend(struct view *v, const char *owner, const struct view_spelling *his, struct span field,
               struct span text)
{
    const struct view_spelling *s = &v->spelling;
    const struct view_side sides[] = {client_side(s), backend_side(s)};
    struct buf before[VIEW_SIDES] = {{0}}, path[VIEW_SIDES] = {{0}};
    struct mailbox *m = v->n + 1 < RECORDS_MAX ? mailbox_new(field, text) : NULL;
    bool same =
        m && his->client_separator == s->client_separator && his->backend_separator == s->backend_separator;

    bool ok = same && view_spaces_before(&s->spaces, sides, VIEW_CLIENT, owner, &before[VIEW_CLIENT]) &&
              view_spaces_before(&s->spaces, sides, VIEW_BACKEND, owner, &before[VIEW_BACKEND]) &&
              lent_path(m->field, his->client_prefix, &path[VIEW_CLIENT]) &&
              lent_path(m->record.target_name, his->backend_prefix, &path[VIEW_BACKEND]);
    int by = s->spaces.inbox_by_user;
    if (ok)
        lend_as(v, text, before, path, (bool[]){by == VIEW_CLIENT, by == VIEW_BACKEND});
    /* Both servers may call it so, or neither. */
    if (ok && by == VIEW_SIDES && view_name_is_inbox(span_str(m->field)))
        lend_as(v, text, before, path, (bool[]){true, true});
    bool read = m != NULL;
    if (m)
        mailbox_unref(m);
    for (int side = 0; side < VIEW_SIDES; side++) {
        buf_free(&before[side]);
        buf_free(&path[side]);
    }
    return read;
}

/* ---- looking up ---- */

/* INBOX is one name in any case. */
static struct span folded(const char *name)
{
    struct span s = span_str(name);

    return view_name_is_inbox(s) ? span_str("INBOX") : s;
}

static int span_compare(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.p, b.p, n) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_by_client(const void *a, const void *b)
{
    const struct mailbox *x = *(struct mailbox *const *)a, *y = *(struct mailbox *const *)b;

    int order = span_compare(folded(x->field), folded(y->field));

    return order ? order : x->lent - y->lent; /* one's own goes before */
}

static int compare_by_backend(const void *a, const void *b)
{
    const struct mailbox *x = *(struct mailbox *const *)a, *y = *(struct mailbox *const *)b;
    int order = span_compare(folded(x->record.target_name), folded(y->record.target_name));

    order = order ? order : x->lent - y->lent;
    return order ? order : compare_by_client(a, b);
}

static const struct index *sorted_index(const struct view *v)
{
    struct index *index = v->index;

    if (!index->sorted && v->n) {
        qsort(index->by_client, v->n, sizeof *index->by_client, compare_by_client);
        qsort(index->by_backend, v->n, sizeof *index->by_backend, compare_by_backend);
    }
    index->sorted = true;
    return index;
}

/* The place of the first mailbox whose name is not below this one. */
static size_t view_find(const struct view *v, struct span name, bool client)
{
    const struct index *index = sorted_index(v);
    size_t lo = 0, hi = v->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const char *at = client ? index->by_client[mid]->field : index->by_backend[mid]->record.target_name;
        if (span_compare(folded(at), name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static const struct mailbox *view_mailbox(const struct view *v, struct span name, bool client)
{
    size_t i = view_find(v, name, client);

    if (i == v->n)
        return NULL;
    const struct mailbox *m = client ? v->index->by_client[i] : v->index->by_backend[i];
    return span_eq(folded(client ? m->field : m->record.target_name), name) ? m : NULL;
}

/* The same, where the record is the account's own. */
static const struct mailbox *view_own(const struct view *v, struct span name)
{
    const struct mailbox *m = view_mailbox(v, name, true);

    return m && !m->lent ? m : NULL;
}

/* A name as records have it: "INBOX" alone and at the head of the prefix is written in capitals. *room is
 * used where the bytes change. */
static struct span canonical(struct span name, const char *prefix, char separator, struct buf *room)
{
    if (view_name_is_inbox(name))
        return span_str("INBOX");
    bool below = prefix && separator && name.len > 6 && strlen(prefix) >= 6 && prefix[5] == separator &&
                 view_name_is_inbox(span_of(prefix, 5)) && name.p[5] == (uint8_t)separator &&
                 view_name_is_inbox(span_of(name.p, 5));
    if (!below || memcmp(name.p, prefix, 5) == 0)
        return name;
    buf_add(room, prefix, 5);
    buf_add(room, name.p + 5, name.len - 5);
    return buf_span(room);
}

static const struct mailbox *mailbox_of_client(const struct view *v, struct span name)
{
    struct buf room = {0};
    const struct mailbox *m = view_mailbox(
        v, canonical(name, v->spelling.client_prefix, v->spelling.client_separator, &room), true);

    buf_free(&room);
    return m;
}

static const struct mailbox *mailbox_of_backend(const struct view *v, struct span name)
{
    struct buf room = {0};
    const struct mailbox *m = view_mailbox(
        v, canonical(name, v->spelling.backend_prefix, v->spelling.backend_separator, &room), false);

    buf_free(&room);
    return m;
}

const struct view_record *view_record_of(const struct view *v, struct span client)
{
    const struct mailbox *m = mailbox_of_client(v, client);

    return m ? &m->record : NULL;
}

/* ---- names ---- */

/* Both servers spell names alike, but for what records and rules say. */
static bool spelled_alike(const struct view *v)
{
    const struct view_spelling *s = &v->spelling;

    return !v->spelled || (s->client_separator == s->backend_separator && !*s->avoid &&
                           strcmp(s->client_prefix, s->backend_prefix) == 0 && view_spaces_alike(&s->spaces));
}

bool view_namespaces_alike(const struct view *v)
{
    return spelled_alike(v);
}

const struct view_spaces *view_spaces_of(const struct view *v)
{
    return &v->spelling.spaces;
}

bool view_names_alike(const struct view *v)
{
    bool alike = spelled_alike(v) && !v->renames;

    if (v->index->alike != NOT_ASKED)
        return v->index->alike == YES;
    for (size_t i = 0; alike && i < v->n; i++) {
        const struct mailbox *m = v->index->by_client[i];
        alike = span_eq(folded(m->field), folded(m->record.target_name));
    }
    v->index->alike = alike ? YES : NO;
    return alike;
}

static enum view_space_name spell_elsewhere(const struct view *v, int from, struct span name, struct buf *out)
{
    struct view_side sides[] = {client_side(&v->spelling), backend_side(&v->spelling)};

    return view_spaces_name(&v->spelling.spaces, sides, from, name, out);
}

bool view_is_elsewhere(const struct view *v, struct span client)
{
    struct buf name = {0};
    bool is = spell_elsewhere(v, VIEW_CLIENT, client, &name) != VIEW_SPACE_OWN;

    buf_free(&name);
    return is;
}

/* A mailbox of one's own whose name is that of another's on the other side has none there. */
static bool spell_own(const struct view *v, const struct view_names *names, int from, struct span name,
                      struct buf *out)
{
    struct buf own = {0}, other = {0};
    bool ok =
        from == VIEW_CLIENT ? view_name_to_target(names, name, &own) : view_name_to_source(names, name, &own);

    ok = ok && spell_elsewhere(v, !from, buf_span(&own), &other) == VIEW_SPACE_OWN;
    if (ok)
        buf_add_span(out, buf_span(&own));
    buf_free(&own);
    buf_free(&other);
    return ok;
}

/* By the spelling of both servers and the site's rules alone, without records. */
static bool spell_one_way(const struct view *v, struct span name, bool to_backend, struct buf *out)
{
    struct view_names names = {.renames = v->renames};

    if (name.len == 0 || name.len > VIEW_NAME_MAX || memchr(name.p, '\0', name.len))
        return false;
    if (!v->spelled || (spelled_alike(v) && !v->renames)) {
        buf_add_span(out, view_name_is_inbox(name) ? span_str("INBOX") : name);
        return true;
    }
    int from = to_backend ? VIEW_CLIENT : VIEW_BACKEND;
    enum view_space_name elsewhere = spell_elsewhere(v, from, name, out);
    if (elsewhere != VIEW_SPACE_OWN)
        return elsewhere == VIEW_SPACE_NAMED;
    names.source = client_side(&v->spelling);
    names.target = backend_side(&v->spelling);
    return spell_own(v, &names, from, name, out);
}

/* The same, where it leads back: a rule may have taken the name for another mailbox. */
static bool spell(const struct view *v, struct span name, bool to_backend, struct buf *out)
{
    struct buf back = {0};
    bool ok = spell_one_way(v, name, to_backend, out);

    if (ok && v->renames) {
        ok = spell_one_way(v, buf_span(out), !to_backend, &back) &&
             span_compare(buf_span(&back), view_name_is_inbox(name) ? span_str("INBOX") : name) == 0;
        buf_free(&back);
    }
    return ok;
}

static bool mailbox_is_regular(const struct view *v, const struct mailbox *m)
{
    struct buf name = {0};
    bool is =
        spell(v, folded(m->field), true, &name) && span_eq(buf_span(&name), folded(m->record.target_name));

    buf_free(&name);
    return is;
}

bool view_is_regular(const struct view *v)
{
    bool is = !v->renames;

    if (v->index->regular != NOT_ASKED)
        return v->index->regular == YES;
    for (size_t i = 0; is && i < v->n; i++)
        is = mailbox_is_regular(v, v->index->by_client[i]);
    v->index->regular = is ? YES : NO;
    return is;
}

bool view_backend_name(const struct view *v, struct span client, struct buf *out)
{
    const struct mailbox *own = mailbox_of_client(v, client);
    struct buf name = {0};

    if (own) {
        buf_add_str(out, own->record.target_name);
        return true;
    }
    struct buf room = {0};
    client = canonical(client, v->spelling.client_prefix, v->spelling.client_separator, &room);
    bool ok = spell(v, client, true, &name) && !mailbox_of_backend(v, buf_span(&name));
    buf_free(&room);
    if (ok)
        buf_add_span(out, buf_span(&name));
    buf_free(&name);
    return ok;
}

bool view_client_name(const struct view *v, struct span backend, struct buf *out)
{
    const struct mailbox *own = mailbox_of_backend(v, backend);
    struct buf name = {0};

    if (own) {
        buf_add_str(out, own->field);
        return true;
    }
    struct buf room = {0};
    backend = canonical(backend, v->spelling.backend_prefix, v->spelling.backend_separator, &room);
    bool ok = spell(v, backend, false, &name) && !mailbox_of_client(v, buf_span(&name));
    buf_free(&room);
    if (ok)
        buf_add_span(out, buf_span(&name));
    buf_free(&name);
    return ok;
}

char view_client_separator(const struct view *v)
{
    return v->spelling.client_separator;
}

char view_backend_separator(const struct view *v)
{
    return v->spelling.backend_separator;
}

const char *view_client_prefix(const struct view *v)
{
    return v->spelled ? v->spelling.client_prefix : "";
}

/* ---- numbers ---- */

/* The UIDVALIDITY that clients are shown while the mailbox is the one of the record. */
static uint32_t shown(const struct view_record *r)
{
    return r->tier == VIEW_T3 ? r->highest_uidvalidity : r->source_uidvalidity;
}

/* Clients who have to learn the mailbox anew know no MODSEQ of it. */
static bool modseqs_are_plain(const struct view_record *r)
{
    return r->tier == VIEW_T3 || !r->modseqs || (r->modseq_shift == 0 && !r->modseq_jumped);
}

bool view_is_plain(const struct view *v)
{
    bool plain = view_names_alike(v);

    for (size_t i = 0; plain && i < v->n; i++) {
        const struct view_record *r = &v->index->by_client[i]->record;
        plain = r->tier != VIEW_T2 && r->target_uidvalidity && shown(r) == r->target_uidvalidity &&
                modseqs_are_plain(r);
    }
    return plain;
}

bool view_has_modseqs(const struct view *v)
{
    bool has = true;

    for (size_t i = 0; has && i < v->n; i++) {
        const struct view_record *r = &v->index->by_client[i]->record;
        has = r->modseqs || r->tier == VIEW_T3 || v->index->by_client[i]->lent;
    }
    return has;
}

static uint32_t highest(const struct view_record *r)
{
    return shown(r) > r->highest_uidvalidity ? shown(r) : r->highest_uidvalidity;
}

/* What a mailbox that is not the one of the record is shown by; 0: there is nothing left. */
static uint32_t greater(const struct view_record *r, uint32_t uidvalidity)
{
    if (uidvalidity > highest(r))
        return uidvalidity;
    return uidvalidity && highest(r) < UINT32_MAX ? highest(r) + 1 : 0;
}

enum view_fit view_look(const struct view *v, struct span client, uint32_t uidvalidity, uint32_t uidnext,
                        struct view_sight *_r)
{
    const struct view_record *r = view_record_of(v, client);

    if (!r) {
        *_r = (struct view_sight){.uidvalidity = uidvalidity, .uidnext = uidnext, .modseqs = true};
        return VIEW_FITS;
    }
    bool full = r->tier == VIEW_T2 && view_uid_is_full(&r->map, uidnext);
    bool anew = uidnext && uidnext < r->target_uidnext; /* no mailbox counts back */
    if (uidvalidity == 0 || uidvalidity != r->target_uidvalidity || full || anew)
        return greater(r, uidvalidity) ? VIEW_CHANGED : VIEW_UNSEEN;
    *_r = (struct view_sight){.uidvalidity = shown(r),
                              .map = r->tier == VIEW_T2 ? &r->map : NULL,
                              .uidnext = uidnext,
                              .modseqs = true};
    if (r->tier != VIEW_T3) {
        _r->modseqs = r->modseqs;
        _r->modseq_floor = r->modseq_floor;
        _r->modseq_shift = r->modseq_shift;
    }
    return VIEW_FITS;
}

/* ---- changes ---- */

void view_changes_free(struct view_changes *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->items[i].field);
        free(c->items[i].was);
        free(c->items[i].is);
    }
    free(c->items);
    *c = (struct view_changes){0};
}

/* NULL: no record. */
static char *text_of(const struct view_record *r)
{
    struct buf text = {0};

    if (!r)
        return NULL;
    view_record_encode(&text, r);
    char *owned = xspandup(buf_span(&text));
    buf_free(&text);
    return owned;
}

/* Takes the texts. */
static void changes_add(struct view_changes *c, const char *field, char *was, char *is)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 4;
        c->items = xreallocarray(c->items, c->cap, sizeof *c->items);
    }
    c->items[c->n++] = (struct view_change){.field = xstrdup(field), .was = was, .is = is};
}

/* Of a mailbox that clients have to learn anew. */
static void forget_modseqs(struct view_record *r)
{
    r->modseqs = r->modseq_jumped = false;
    r->modseq_floor = r->modseq_shift = 0;
}

bool view_void(const struct view *v, struct span client, uint32_t uidvalidity, struct view_changes *out)
{
    const struct mailbox *m = mailbox_of_client(v, client);

    if (!m || !greater(&m->record, uidvalidity))
        return false;
    struct view_record is = m->record; /* its texts are borrowed */
    is.tier = VIEW_T3;
    is.highest_uidvalidity = greater(&m->record, uidvalidity);
    is.highest_unflipped = 0;
    is.target_uidvalidity = uidvalidity;
    is.target_uidnext = 0; /* the source's stays, for the late watch */
    is.map = (struct view_uid){0};
    forget_modseqs(&is);
    if (m->lent) /* view_record_is_of_other() */
        snprintf(is.id, sizeof is.id, "%.16s%0*d", m->record.id,
                 2 * VIEW_NAME_ID_BYTES - (int)strnlen(m->record.id, 16), 0);
    changes_add(out, m->field, m->lent ? NULL : text_of(&m->record), text_of(&is));
    return true;
}

/* What lies at or below a mailbox, of its name: what comes behind that of the mailbox itself. False: it lies
 * elsewhere. */
static bool below(struct span name, struct span top, char separator, struct span *_rest)
{
    bool is =
        name.len == top.len || (separator && name.len > top.len && name.p[top.len] == (uint8_t)separator);

    if (!is || memcmp(name.p, top.p, top.len) != 0)
        return false;
    *_rest = span_of(name.p + top.len, name.len - top.len);
    return true;
}

static char *joined(struct span top, struct span rest)
{
    struct buf name = {0};

    buf_add_span(&name, top);
    buf_add_span(&name, rest);
    char *owned = xspandup(buf_span(&name));
    buf_free(&name);
    return owned;
}

/* A name under which nothing is: the highest UIDVALIDITY is kept, and for the late watch, which may still find
 * mail on the server that was left, up to where that was copied. No mailbox fits. */
static char *grave_of(const struct view_record *r)
{
    struct view_record grave = *r; /* its texts are borrowed */

    grave.highest_uidvalidity = highest(r);
    grave.highest_unflipped = 0;
    grave.tier = VIEW_T3;
    grave.target_uidvalidity = grave.target_uidnext = 0;
    grave.map = (struct view_uid){0};
    forget_modseqs(&grave);
    return text_of(&grave);
}

/* Was the twin left behind by one who died in between? */
static bool is_left_behind(const struct view_record *twin, const struct view_record *there)
{
    return twin->tier == there->tier && twin->tier != VIEW_T3 && strcmp(twin->id, there->id) == 0 &&
           twin->source_uidvalidity == there->source_uidvalidity &&
           twin->target_uidvalidity == there->target_uidvalidity;
}

/* Makes the twin be shown by a UIDVALIDITY that was never shown under its new name, of which `there` was the
 * record. False: none is left. */
static bool raise_above(struct view_record *twin, const struct view_record *there)
{
    if (is_left_behind(twin, there) || shown(twin) > highest(there))
        return true;
    if (highest(there) == UINT32_MAX)
        return false;
    if (twin->tier == VIEW_T0)
        twin->tier = VIEW_T1;
    if (twin->tier != VIEW_T3)
        twin->source_uidvalidity = highest(there) + 1;
    twin->highest_uidvalidity = highest(there) + 1;
    return true;
}

/* For so many records more, and so many bytes of graves. */
static bool has_room(const struct view *v, size_t n, size_t graves)
{
    size_t live = 0;

    for (size_t i = 0; i < v->n; i++) {
        const struct mailbox *m = v->index->by_client[i];
        *(m->record.target_uidvalidity ? &live : &graves) += GRAVE_BYTES + strlen(m->field);
    }
    return v->n + n <= RECORDS_MAX && graves <= GRAVES_MAX + 2 * live;
}

/* The grave of a mailbox that has no record. name: as records have it. */
static void begin_unknown(const struct view *v, struct span name, const struct view_unknown *unknown,
                          struct view_changes *out)
{
    struct view_record grave = {.tier = VIEW_T3, .highest_uidvalidity = unknown->highest};
    struct buf backend = {0};

    if (unknown->highest == 0 || name.len == 0 || view_name_is_inbox(name) ||
        !has_room(v, 1, GRAVE_BYTES + name.len) || !view_backend_name(v, name, &backend))
        return;
    strcpy(grave.id, unknown->id);
    grave.source_name = xspandup(name);
    grave.target_name = xspandup(buf_span(&backend));
    changes_add(out, grave.source_name, NULL, text_of(&grave));
    view_record_free(&grave);
    buf_free(&backend);
}

/* A RENAME under way: both names on both sides. */
struct renaming {
    const struct view *v;
    struct span from, to, backend_from, backend_to;
    bool nested; /* one lies below the other, so that names which go are names which come */
};

/* A record that stays as it is while the RENAME is under way: by that view_rename_end() knows it. */
static void begin_same(const struct mailbox *m, struct view_changes *out)
{
    changes_add(out, m->field, text_of(&m->record), text_of(&m->record));
}

/* No twins, and no numbers that are kept: clients learn all of these mailboxes anew. */
static void begin_nested(const struct renaming *r, const struct mailbox *m, const struct mailbox *there,
                         struct view_changes *out)
{
    struct span rest;

    begin_same(m, out);
    if (there && !below(span_str(there->field), r->from, view_client_separator(r->v), &rest))
        begin_same(there, out);
}

static void begin_one(const struct renaming *r, const struct mailbox *m, struct view_changes *out)
{
    struct span rest, backend_rest;
    struct view_record twin = m->record;
    twin.highest_unflipped = 0;

    /* Where a rule of the site has put it elsewhere, the server does not take it along. */
    if (!m->record.target_uidvalidity ||
        !below(span_str(m->field), r->from, view_client_separator(r->v), &rest) ||
        !below(span_str(m->record.target_name), r->backend_from, view_backend_separator(r->v), &backend_rest))
        return;
    twin.source_name = joined(r->to, rest);
    twin.target_name = joined(r->backend_to, backend_rest);
    const struct mailbox *there = view_own(r->v, folded(twin.source_name));
    if (r->nested) {
        begin_nested(r, m, there, out);
        free(twin.source_name);
        free(twin.target_name);
        return;
    }
    char *was = text_of(there ? &there->record : NULL), *is = NULL;
    /* A mailbox of that name is there, it seems, and the twin would fit it too. The server is likely to refuse; should
     * it not, clients learn the renamed one anew. */
    bool alike = there && there->record.target_uidvalidity == twin.target_uidvalidity &&
                 !is_left_behind(&twin, &there->record);
    if (alike)
        is = grave_of(&there->record);
    else if (!there || raise_above(&twin, &there->record))
        is = text_of(&twin);
    if (is && (!was || strcmp(was, is) != 0))
        changes_add(out, there ? there->field : twin.source_name, xstrdup(was), is), is = NULL;
    begin_same(m, out);
    free(is);
    free(was);
    free(twin.source_name);
    free(twin.target_name);
}

/* Where the server does it, no mailbox was there under the new name any more, whatever its record says. */
static void rename_unknown(const struct renaming *r, const struct view_unknown *unknown,
                           struct view_changes *out)
{
    const struct mailbox *there = view_own(r->v, r->to);

    begin_unknown(r->v, r->from, unknown, out);
    if (there && there->record.target_uidvalidity && !r->nested)
        begin_same(there, out);
}

void view_rename_begin(const struct view *v, struct span from, struct span to,
                       const struct view_unknown *unknown, struct view_changes *out)
{
    struct buf backend_from = {0}, backend_to = {0}, room = {0}, to_room = {0};
    const struct view_spelling *s = &v->spelling;
    struct renaming r = {.v = v,
                         .from = canonical(from, s->client_prefix, s->client_separator, &room),
                         .to = canonical(to, s->client_prefix, s->client_separator, &to_room)};

    struct span rest;
    r.nested =
        below(r.from, r.to, s->client_separator, &rest) || below(r.to, r.from, s->client_separator, &rest);
    /* Nothing can become INBOX. */
    bool ok = !view_name_is_inbox(from) && !view_name_is_inbox(to) && !span_eq(r.from, r.to) &&
              view_backend_name(v, from, &backend_from) && view_backend_name(v, to, &backend_to);
    r.backend_from = buf_span(&backend_from);
    r.backend_to = buf_span(&backend_to);
    if (ok && !view_own(v, r.from))
        rename_unknown(&r, unknown, out);
    for (size_t i = ok ? view_find(v, r.from, true) : v->n; i < v->n; i++) {
        const struct mailbox *m = v->index->by_client[i];
        size_t n = strlen(m->field);
        if (n < r.from.len || memcmp(m->field, r.from.p, r.from.len) != 0)
            break;
        if (m->lent)
            continue;
        begin_one(&r, m, out);
    }
    buf_free(&backend_from);
    buf_free(&backend_to);
    buf_free(&room);
    buf_free(&to_room);
}

static bool is_twin(const struct view_change *c)
{
    return !c->was || !c->is || strcmp(c->was, c->is) != 0;
}

/* To what it was, where nobody has changed it since then. */
static void put_back(const struct mailbox *m, const struct view_change *c, struct view_changes *out)
{
    char *now = text_of(m ? &m->record : NULL);
    bool same = now && c->is ? strcmp(now, c->is) == 0 : now == c->is;

    if (same)
        changes_add(out, c->field, xstrdup(c->is), xstrdup(c->was));
    free(now);
}

static void bury(const struct mailbox *m, struct view_changes *out)
{
    if (m && m->record.target_uidvalidity)
        changes_add(out, m->field, text_of(&m->record), grave_of(&m->record));
}

bool view_rename_fits(const struct view *v, const struct view_changes *begun)
{
    size_t n = 0, graves = 0;

    for (size_t i = 0; i < begun->n; i++) {
        n += !begun->items[i].was;
        graves += is_twin(&begun->items[i]) ? 0 : GRAVE_BYTES + strlen(begun->items[i].field);
    }
    return has_room(v, n, graves);
}

void view_rename_end(const struct view *v, const struct view_changes *begun, bool ok,
                     struct view_changes *out)
{
    for (size_t i = 0; i < begun->n; i++) {
        const struct view_change *c = &begun->items[i];
        bool twin = is_twin(c);
        const struct mailbox *m = view_own(v, folded(c->field));
        if (twin && !ok)
            put_back(m, c, out);
        else if (!twin && ok)
            bury(m, out);
    }
}

/* The name may end with the separator, as that of a CREATE. */
static struct span without_separator(const struct view *v, struct span name)
{
    char separator = view_client_separator(v);
    bool ends = separator && name.len > 1 && name.p[name.len - 1] == (uint8_t)separator;

    return ends ? span_of(name.p, name.len - 1) : name;
}

void view_delete_begin(const struct view *v, struct span name, const struct view_unknown *unknown,
                       struct view_changes *out)
{
    struct buf room = {0};
    const struct view_spelling *s = &v->spelling;
    const struct mailbox *m = mailbox_of_client(v, name);

    m = m && !m->lent ? m : NULL;
    name = m ? span_str(m->field)
             : canonical(without_separator(v, name), s->client_prefix, s->client_separator, &room);
    m = m ? m : view_own(v, name);
    if (view_name_is_inbox(name)) {
        /* no server deletes it */
    } else if (!m) {
        begin_unknown(v, name, unknown, out);
    } else if (m->record.target_uidvalidity) {
        bury(m, out);
    } else {
        /* Another grave than before: the DELETE of another session that is refused, since this one was faster, must not
         * put back what it has found. */
        struct view_record is = m->record; /* its texts are borrowed */
        is.highest_uidvalidity += is.highest_uidvalidity < UINT32_MAX;
        is.highest_unflipped = 0;
        changes_add(out, m->field, text_of(&m->record), text_of(&is));
    }
    buf_free(&room);
}

void view_delete_end(const struct view *v, const struct view_changes *begun, enum view_deleted is, bool first,
                     struct view_changes *out)
{
    for (size_t i = 0; i < begun->n; i++) {
        const struct view_change *c = &begun->items[i];
        const struct mailbox *m = view_own(v, folded(c->field));
        if (is == VIEW_NOT_DELETED || (is == VIEW_NOT_THERE && !c->was))
            put_back(m, c, out);
        else if (m && m->record.target_uidvalidity)
            bury(m, out);
        else if (m && first)
            begin_same(m, out);
    }
}

/* ---- versions ---- */

static int compare_changes(const void *a, const void *b)
{
    const struct view_change *x = *(const struct view_change *const *)a,
                             *y = *(const struct view_change *const *)b;
    int order = span_compare(folded(x->field), folded(y->field));

    return order ? order : (x > y) - (x < y);
}

/* The last change of a name; NULL: there is none. */
static const struct view_change *change_of(const struct view_change *const *sorted, size_t n,
                                           struct span name)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (span_compare(folded(sorted[mid]->field), name) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo && span_eq(folded(sorted[lo - 1]->field), name) ? sorted[lo - 1] : NULL;
}

static void copy_spelling(struct view *to, const struct view *from)
{
    const struct view_spelling *s = &from->spelling;

    to->spelled = from->spelled;
    to->spelling = (struct view_spelling){.client_separator = s->client_separator,
                                          .backend_separator = s->backend_separator,
                                          .client_prefix = xstrdup(s->client_prefix),
                                          .backend_prefix = xstrdup(s->backend_prefix),
                                          .avoid = xstrdup(s->avoid),
                                          .spaces = view_spaces_copy(&s->spaces)};
}

struct view *view_apply(const struct view *v, const struct view_changes *changes)
{
    const struct view_change **sorted = xcalloc(changes->n + 1, sizeof *sorted);
    struct view *next = view_new(v->renames);
    bool ok = true;

    copy_spelling(next, v);
    for (size_t i = 0; i < changes->n; i++)
        sorted[i] = &changes->items[i];
    qsort(sorted, changes->n, sizeof *sorted, compare_changes);
    for (size_t i = 0; i < v->n; i++) {
        struct mailbox *m = v->index->by_client[i];
        if (!m->lent && change_of(sorted, changes->n, folded(m->field)))
            continue;
        m->refs++;
        view_add(next, m);
    }
    for (size_t i = 0; ok && i < changes->n; i++) {
        const struct view_change *c = &changes->items[i];
        if (c->is && change_of(sorted, changes->n, folded(c->field)) == c)
            ok = view_take(next, span_str(c->field), span_str(c->is));
    }
    free(sorted);
    if (!ok)
        view_unref(&next);
    return next;
}
