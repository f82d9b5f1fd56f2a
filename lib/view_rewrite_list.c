/* LIST and LSUB, where names are not spelled alike. The backend is asked for more than the client wants, all
 * of the answers are kept, and with the tagged one the client gets what fits its patterns:
 *
 *   client    LIST "" INBOX.%            backend   LIST "" *
 *   client    LIST "" INBOX.Work.%       backend   LIST "" Work/\*
 *
 * Of one mailbox with its STATUS (RFC 5819), only names are asked for so, and then for its STATUS alone: else the backend
 * would tell that of all mailboxes, which may be looking into each of them.
 *
 * So each mailbox is compared by the client's name of it, parents that the backend does not keep can be shown,
 * and which mailbox has children is counted in the client's hierarchy. */
#include <stdlib.h>
#include <strings.h>

#include "view_rewrite_priv.h"
#include "xalloc.h"

/* Caps. Patterns: all together. */
enum {
    LIST_BYTES_MAX = 16 * 1024 * 1024,
    ROWS_MAX = 200000,
    PATTERN_BYTES_MAX = 4096,
    WILDS_MAX = 16,
    STATUS_MAX = 7000
};

enum row_flags {
    ROW_CHILDREN = 1 << 0, /* the backend says whether it has any */
    ROW_HAS_CHILDREN = 1 << 1,
    ROW_NO_INFERIORS = 1 << 2,
    ROW_FOUND = 1 << 3, /* by RECURSIVEMATCH: it is itself what was looked for */
    ROW_FITS = 1 << 4,  /* a pattern of the client's */
    ROW_NO_STATUS = 1 << 5,
};

struct list_row {
    char *name, *attributes, *more; /* owned; more: extended data, with a blank before, or "" */
    unsigned flags;
};

struct view_listing {
    bool lsub;
    bool selects;    /* only some of all mailboxes come: which have children can't be told */
    bool recursive;  /* RECURSIVEMATCH */
    char **patterns; /* behind the reference; owned */
    size_t n_patterns;
    struct matcher *matcher; /* of them, when it was needed first; owned */
    struct list_row *rows;   /* owned */
    size_t n, cap, bytes;
    struct buf statuses; /* owned */
    char *
        status; /* the command that asks for STATUS of the only mailbox, behind this one; owned, NULL: none */
    struct buf tagged; /* ... the client's tagged line meanwhile; owned */
    char separator;    /* the client's; '\0': none */
};

/* ---- patterns ---- */

static uint8_t small(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* How many bytes at the head of a name are INBOX, in any case: all of the name, or a level of it. */
static size_t inbox_head(struct span name, char separator)
{
    bool is = name.len >= 5 && view_name_is_inbox(span_of(name.p, 5)) &&
              (name.len == 5 || (separator && name.p[5] == (uint8_t)separator));

    return is ? 5 : 0;
}

/* RFC 3501 6.3.8: "*" is anything, "%" anything but the separator. All patterns are looked at together: bit i
 * of `now` says that what stands before the i-th byte of all of them, laid side by side with a place more for
 * the end of each, has matched what was seen of the name. So a byte of a name costs a step a 64 bytes of
 * patterns, whatever the client has made of both. */
struct matcher {
    size_t words;
    uint64_t *now;                    /* owned, and all that follow are in it */
    uint64_t *start, *star, *percent; /* where patterns begin; where these wildcards are */
    uint64_t *end, *parent_end;       /* ... ends of all, and of those by which parents are shown */
    uint64_t *bytes[256];             /* where this byte is; NULL: nowhere */
};

static void set_bit(uint64_t *bits, size_t i)
{
    bits[i / 64] |= UINT64_C(1) << i % 64;
}

static struct matcher *matcher_new(char *const *patterns, size_t n, bool lsub)
{
    struct matcher *m = xcalloc(1, sizeof *m);
    bool used[256] = {0};
    size_t states = 0, rows = 6, i = 0;

    for (size_t k = 0; k < n; k++) {
        states += strlen(patterns[k]) + 1;
        for (const char *p = patterns[k]; *p; p++)
            used[(uint8_t)*p] = true;
    }
    for (size_t c = 0; c < 256; c++)
        rows += used[c];
    m->words = states / 64 + 1;
    uint64_t *row = m->now = xcalloc(rows * m->words, sizeof *row);
    uint64_t **const others[] = {&m->start, &m->star, &m->percent, &m->end, &m->parent_end};
    for (size_t k = 0; k < COUNTOF(others); k++)
        *others[k] = row += m->words;
    for (size_t c = 0; c < 256; c++)
        m->bytes[c] = used[c] ? (row += m->words) : NULL;
    for (size_t k = 0; k < n; k++) {
        set_bit(m->start, i);
        for (const char *p = patterns[k]; *p; p++)
            set_bit(*p == '*' ? m->star : *p == '%' ? m->percent : m->bytes[(uint8_t)*p], i++);
        if (!lsub || strchr(patterns[k], '%'))
            set_bit(m->parent_end, i);
        set_bit(m->end, i++);
    }
    return m;
}

static void matcher_free(struct matcher *m)
{
    if (m)
        free(m->now);
    free(m);
}

/* A wildcard may be nothing. There are no two beside each other. */
static void matcher_step_over(struct matcher *m)
{
    uint64_t carry = 0;

    for (size_t i = 0; i < m->words; i++) {
        uint64_t wild = m->now[i] & (m->star[i] | m->percent[i]);
        m->now[i] |= wild << 1 | carry;
        carry = wild >> 63;
    }
}

static void matcher_begin(struct matcher *m)
{
    memcpy(m->now, m->start, m->words * sizeof *m->now);
    matcher_step_over(m);
}

/* False: no pattern can fit any more. */
static bool matcher_byte(struct matcher *m, uint8_t c, bool separates, bool any_case)
{
    bool letter = any_case && small(c) >= 'a' && small(c) <= 'z';
    const uint64_t *same = m->bytes[c], *other = letter ? m->bytes[c ^ 0x20] : NULL;
    uint64_t carry = 0, left = 0;

    for (size_t i = 0; i < m->words; i++) {
        uint64_t here = m->now[i] & ((same ? same[i] : 0) | (other ? other[i] : 0));
        uint64_t stays = m->now[i] & (m->star[i] | (separates ? 0 : m->percent[i]));
        m->now[i] = here << 1 | carry | stays;
        carry = here >> 63;
        left |= m->now[i];
    }
    if (left)
        matcher_step_over(m);
    return left != 0;
}

static bool matcher_is_at(const struct matcher *m, const uint64_t *ends)
{
    for (size_t i = 0; i < m->words; i++)
        if (m->now[i] & ends[i])
            return true;
    return false;
}

static struct matcher *list_matcher(struct view_listing *l)
{
    if (!l->matcher)
        l->matcher = matcher_new(l->patterns, l->n_patterns, l->lsub);
    matcher_begin(l->matcher);
    return l->matcher;
}

static bool list_fits(struct view_listing *l, struct span name)
{
    struct matcher *m = list_matcher(l);
    size_t inbox = inbox_head(name, l->separator);

    for (size_t i = 0; i < name.len; i++)
        if (!matcher_byte(m, name.p[i], l->separator && name.p[i] == (uint8_t)l->separator, i < inbox))
            return false;
    return matcher_is_at(m, m->end);
}

void view_listing_free(struct view_listing **lp)
{
    struct view_listing *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    for (size_t i = 0; i < l->n_patterns; i++)
        free(l->patterns[i]);
    for (size_t i = 0; i < l->n; i++) {
        free(l->rows[i].name);
        free(l->rows[i].attributes);
        free(l->rows[i].more);
    }
    free(l->patterns);
    matcher_free(l->matcher);
    free(l->rows);
    buf_free(&l->statuses);
    free(l->status);
    buf_free(&l->tagged);
    free(l);
}

/* Takes wildcards away that change nothing, so that no two are beside each other. False: there are too
 * many, or the pattern is too long. */
static bool add_pattern(struct view_listing *l, struct span reference, struct span pattern, size_t *bytes)
{
    struct buf all = {0}, short_one = {0};
    size_t wilds = 0;
    uint8_t last = 0;

    *bytes += reference.len + pattern.len;
    if (*bytes > PATTERN_BYTES_MAX)
        return false;
    buf_add_span(&all, reference);
    buf_add_span(&all, pattern);
    for (size_t i = 0; i < all.len; i++) {
        uint8_t c = all.mem[all.off + i];
        bool wild = c == '*' || c == '%';
        if (wild && (last == '*' || last == c))
            continue;
        if (c == '*' && last == '%')
            short_one.len--;
        else
            wilds += wild;
        buf_add(&short_one, &c, 1);
        last = wild ? c : 0;
    }
    bool ok = wilds <= WILDS_MAX && !memchr(buf_str(&short_one), '\0', short_one.len);
    if (ok) {
        l->patterns = xreallocarray(l->patterns, l->n_patterns + 1, sizeof *l->patterns);
        l->patterns[l->n_patterns++] = xspandup(buf_span(&short_one));
    }
    buf_free(&all);
    buf_free(&short_one);
    return ok;
}

/* ---- what the backend is asked for ---- */

/* Appends the backend's name of what lies below top; with its separator at the end. False: who knows. */
static bool ask_below(const struct view *v, struct span top, struct buf *out)
{
    struct buf child = {0}, name = {0};
    char separator = view_client_separator(v), there = view_backend_separator(v);

    buf_add_span(&child, top);
    buf_add(&child, &separator, 1);
    buf_add_str(&child, "x");
    bool ok = separator && there && view_backend_name(v, buf_span(&child), &name) && name.len > 2 &&
              name.mem[name.off + name.len - 1] == 'x' && name.mem[name.off + name.len - 2] == (uint8_t)there;
    if (ok)
        buf_add(out, name.mem + name.off, name.len - 1);
    buf_free(&child);
    buf_free(&name);
    return ok;
}

/* One mailbox, and what lies below it. */
static bool ask_name(const struct view *v, struct span name, struct buf *out)
{
    struct buf below = {0}, backend = {0};
    bool ok = view_backend_name(v, name, &backend) && ask_below(v, name, &below) &&
              below.len == backend.len + 1 && memcmp(below.mem, backend.mem, backend.len) == 0;

    if (ok) {
        buf_add_span(out, buf_span(&backend));
        buf_add_str(out, "*");
    }
    buf_free(&below);
    buf_free(&backend);
    return ok;
}

static bool ask_pattern(const struct view *v, struct span pattern, struct buf *out)
{
    size_t literal = 0, top = 0;
    char separator = view_client_separator(v);
    const char *prefix = view_client_prefix(v);

    while (literal < pattern.len && pattern.p[literal] != '*' && pattern.p[literal] != '%')
        if (pattern.p[literal++] == (uint8_t)separator && separator)
            top = literal;
    if (literal == pattern.len)
        return ask_name(v, pattern, out);
    if (top <= strlen(prefix) || top < 2 || !ask_below(v, span_of(pattern.p, top - 1), out))
        return false;
    buf_add_str(out, "*");
    return true;
}

/* A pattern for all that the client can want, and for all that lies below that. Below the client's INBOX there may
 * be all mailboxes; of those that were selected it is not told which have children, but by
 * RECURSIVEMATCH. */
static void ask(const struct view *v, const struct view_listing *l, struct buf *out)
{
    struct span only = l->n_patterns == 1 ? span_str(l->patterns[0]) : span_of(NULL, 0);

    if (view_name_is_inbox(only) && l->selects && !l->recursive)
        buf_add_str(out, "INBOX");
    else if (only.len == 0 || !view_is_regular(v) || !ask_pattern(v, only, out))
        buf_add_str(out, "*");
}

/* ---- the command ---- */

/* The arguments of LIST [(selection)] reference patterns [RETURN (options)] (RFC 5258). */
struct list_args {
    const struct imap_value *selection, *reference, *patterns, *behind;
};

static bool read_args(const struct imap_value *v, struct list_args *a)
{
    *a = (struct list_args){0};
    if (v && v->kind == IMAP_LIST) {
        a->selection = v;
        v = v->next;
    }
    a->reference = v;
    a->patterns = v ? v->next : NULL;
    a->behind = a->patterns ? a->patterns->next : NULL;
    struct span reference;
    return a->patterns && imap_value_string(a->reference, &reference);
}

static bool read_patterns(struct view_listing *l, const struct list_args *a)
{
    struct span reference, pattern;
    const struct imap_value *v = a->patterns->kind == IMAP_LIST ? a->patterns->first : a->patterns;
    size_t bytes = 0;

    if (!imap_value_string(a->reference, &reference))
        return false;
    for (; v; v = v->next) {
        if (!imap_value_string(v, &pattern) || !add_pattern(l, reference, pattern, &bytes))
            return false;
        if (a->patterns->kind != IMAP_LIST)
            break;
    }
    return true;
}

static void read_selection(struct view_listing *l, const struct imap_value *selection)
{
    for (const struct imap_value *v = selection ? selection->first : NULL; v; v = v->next) {
        l->recursive |= imap_value_is(v, "RECURSIVEMATCH");
        l->selects |= !imap_value_is(v, "REMOTE");
    }
}

/* One mailbox, by its name: the command that asks for its STATUS. False: it can't be asked for so. */
static bool ask_status(const struct view *v, struct view_listing *l, const struct imap_value *items,
                       bool *adds)
{
    struct span name = l && l->n_patterns == 1 ? span_str(l->patterns[0]) : span_of(NULL, 0);
    struct imap_writer text;
    struct buf backend = {0};

    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] == '*' || name.p[i] == '%')
            return false;
    bool ok = name.len && view_backend_name(v, name, &backend);
    imap_writer_init(&text, LITERALS_SYNC);
    imap_write_raw(&text, "STATUS ");
    imap_write_astring(&text, buf_span(&backend));
    imap_write_raw(&text, " ");
    *adds |= view_write_status_items(&text, items);
    ok = ok && !text.bad && text.n_waits == 0 && text.out.len <= STATUS_MAX;
    if (ok) {
        free(l->status);
        l->status = xspandup(buf_span(&text.out));
    }
    imap_writer_wipe(&text);
    buf_free(&backend);
    return ok;
}

/* The list behind RETURN, without parentheses. */
static void write_options(const struct view *v, struct view_listing *l, const struct imap_value *options,
                          struct imap_writer *out, bool *adds)
{
    const char *blank = "";

    for (const struct imap_value *e = options->first; e; e = e->next, blank = " ") {
        const struct imap_value *items =
            imap_value_is(e, "STATUS") && e->next && e->next->kind == IMAP_LIST ? e->next : NULL;
        if (items && ask_status(v, l, items, adds)) {
            e = items;
            continue;
        }
        buf_add_str(&out->out, blank);
        view_write_value(out, e);
        if (!items)
            continue;
        e = items;
        buf_add_str(&out->out, " ");
        *adds |= view_write_status_items(out, e);
    }
}

/* RETURN and its list. True: UIDVALIDITY was added to its STATUS. */
static bool write_behind(const struct view *v, struct view_listing *l, const struct imap_value *behind,
                         struct imap_writer *out)
{
    bool adds = false;

    for (; behind; behind = behind->next) {
        struct imap_writer options;
        const struct imap_value *list = behind->next && behind->next->kind == IMAP_LIST ? behind->next : NULL;
        if (!list) {
            buf_add_str(&out->out, " ");
            view_write_value(out, behind);
            continue;
        }
        imap_writer_init(&options, LITERALS_SYNC);
        write_options(v, l, list, &options, &adds);
        out->bad |= options.bad || options.n_waits > 0;
        if (options.out.len) {
            buf_add_str(&out->out, " ");
            view_write_value(out, behind);
            buf_add_str(&out->out, " (");
            buf_add_span(&out->out, buf_span(&options.out));
            buf_add_str(&out->out, ")");
        }
        imap_writer_wipe(&options);
        behind = list;
    }
    return adds;
}

/* Is it known how names are spelled? Else each line says its separator. */
static bool is_spelled(const struct view *v)
{
    return view_client_separator(v) || view_backend_separator(v);
}

/* RFC 3501 6.3.8: an empty pattern asks for the separator, and for the root; of LSUB nothing of the kind is said, and
 * nobody is subscribed to "". */
static enum view_becomes answer_root(const struct view *v, const struct imap_cmd *cmd, struct buf *answer)
{
    char separator = view_client_separator(v);

    if (cmd->verb == VERB_LSUB)
        return view_answer(answer, cmd, "OK Listed");
    buf_add_str(answer, "* LIST (\\Noselect) ");
    if (separator)
        buf_printf(answer, separator == '\\' ? "\"\\%c\"" : "\"%c\"", separator);
    else
        buf_add_str(answer, "NIL");
    buf_add_str(answer, " \"\"\r\n");
    return view_answer(answer, cmd, "OK Listed");
}

static void write_list(struct view_rewrite *w, const struct imap_cmd *cmd, const struct list_args *a,
                       struct view_command *c, struct imap_writer *out)
{
    struct buf wanted = {0};

    buf_printf(&out->out, "%s %s ", cmd->tag, imap_verbs[cmd->verb].name);
    if (a->selection) {
        view_write_value(out, a->selection);
        buf_add_str(&out->out, " ");
    }
    if (c->list) {
        ask(w->view, c->list, &wanted);
        buf_add_str(&out->out, "\"\" ");
        imap_write_string(out, buf_span(&wanted));
    } else {
        view_write_value(out, a->reference);
        buf_add_str(&out->out, " ");
        view_write_value(out, a->patterns);
    }
    c->adds = write_behind(w->view, c->list, a->behind, out);
    buf_free(&wanted);
}

enum view_becomes view_listing_command(struct view_rewrite *w, const struct imap_cmd *cmd,
                                       const struct imap_value *args, struct imap_writer *out,
                                       struct buf *answer, struct view_command **_c)
{
    struct list_args a;
    struct span pattern;

    if (!read_args(args, &a))
        return view_answer(answer, cmd, "BAD Invalid arguments");
    bool root = !a.selection && imap_value_string(a.patterns, &pattern) && pattern.len == 0;
    bool alike = view_names_alike(w->view);
    if (!alike && root && is_spelled(w->view))
        return answer_root(w->view, cmd, answer);
    struct view_command *c = view_command_new(w, cmd->verb);
    if (!alike && !root) {
        c->list = xcalloc(1, sizeof *c->list);
        c->list->lsub = cmd->verb == VERB_LSUB;
        c->list->selects = c->list->lsub;
        c->list->separator = view_client_separator(w->view);
        read_selection(c->list, a.selection);
        if (!read_patterns(c->list, &a)) {
            view_command_free(w, &c);
            return view_answer(answer, cmd, "NO [LIMIT] Patterns too long");
        }
    }
    write_list(w, cmd, &a, c, out);
    if (out->bad) {
        view_command_free(w, &c);
        return view_answer(answer, cmd, "BAD Invalid arguments");
    }
    *_c = c;
    return VIEW_WRITTEN;
}

/* ---- lines ---- */

static enum view_gives list_wrong(const char **wrong, const char *text)
{
    *wrong = text;
    return VIEW_WRONG;
}

/* Attributes (RFC 3501 7.2.2, 5258, 6154) but for those about children. */
static char *read_attributes(const struct imap_value *list, unsigned *flags)
{
    struct imap_writer text;
    const char *blank = "";

    imap_writer_init(&text, LITERALS_SYNC);
    for (const struct imap_value *v = list->first; v; v = v->next) {
        if (v->kind != IMAP_ATOM)
            continue;
        if (imap_value_is(v, "\\HasChildren"))
            *flags |= ROW_CHILDREN | ROW_HAS_CHILDREN;
        else if (imap_value_is(v, "\\HasNoChildren"))
            *flags |= ROW_CHILDREN;
        else if (imap_value_is(v, "\\NoInferiors"))
            *flags |= ROW_NO_INFERIORS;
        else {
            bool none = imap_value_is(v, "\\Noselect") || imap_value_is(v, "\\NonExistent");
            *flags |= (imap_value_is(v, "\\Subscribed") ? ROW_FOUND : 0) | (none ? ROW_NO_STATUS : 0);
            buf_add_str(&text.out, blank);
            buf_add_span(&text.out, v->text);
            blank = " ";
        }
    }
    char *owned = xspandup(buf_span(&text.out));
    imap_writer_wipe(&text);
    return owned;
}

/* Extended data (RFC 5258 6, 5465 5.4): OLDNAME has a name in it, CHILDINFO none; others are left out. */
static char *read_more(const struct view *v, const struct imap_value *list)
{
    struct imap_writer text;
    struct buf old = {0};
    const char *blank = " (";

    imap_writer_init(&text, LITERALS_SYNC);
    const struct imap_value *item = list && list->kind == IMAP_LIST ? list->first : NULL;
    for (; item && item->next; item = item->next->next) {
        struct span name, was;
        if (!imap_value_string(item, &name) || item->next->kind != IMAP_LIST)
            continue;
        bool oldname = span_is_ci(name, "OLDNAME");
        buf_clear(&old);
        if (!span_is_ci(name, "CHILDINFO") &&
            (!oldname || !imap_value_string(item->next->first, &was) || !view_client_name(v, was, &old)))
            continue;
        buf_add_str(&text.out, blank);
        blank = " ";
        imap_write_string(&text, name);
        buf_add_str(&text.out, oldname ? " (" : " ");
        if (oldname)
            imap_write_string(&text, buf_span(&old));
        else
            view_write_value(&text, item->next);
        buf_add_str(&text.out, oldname ? ")" : "");
    }
    buf_add_str(&text.out, text.out.len ? ")" : "");
    char *owned = xspandup(text.bad ? span_of(NULL, 0) : buf_span(&text.out));
    imap_writer_wipe(&text);
    buf_free(&old);
    return owned;
}

static void write_separator(struct buf *out, char separator)
{
    if (!separator)
        buf_add_str(out, "NIL ");
    else if (separator == '\\' || separator == '"')
        buf_printf(out, "\"\\%c\" ", separator);
    else
        buf_printf(out, "\"%c\" ", separator);
}

static void write_line(struct buf *out, bool lsub, const struct list_row *row, const char *children,
                       char separator)
{
    const char *blank = *row->attributes && *children ? " " : "";

    buf_printf(out, "* %s (%s%s%s) ", lsub ? "LSUB" : "LIST", row->attributes, blank, children);
    write_separator(out, separator);
    view_write_name(out, span_str(row->name));
    buf_add_str(out, row->more);
    buf_add_str(out, "\r\n");
}

/* What the backend says of children, where it can be said of the client's hierarchy too. */
static const char *said_children(const struct view *v, const struct list_row *row)
{
    /* A user whose INBOX has that name has other mailboxes beside it on the other server. */
    bool user = view_spaces_of(v)->inbox_by_user != VIEW_SIDES && view_is_elsewhere(v, span_str(row->name));

    if (view_name_is_inbox(span_str(row->name)) || user || !view_is_regular(v))
        return "";
    if (row->flags & ROW_NO_INFERIORS)
        return "\\NoInferiors";
    if (!(row->flags & ROW_CHILDREN))
        return "";
    return row->flags & ROW_HAS_CHILDREN ? "\\HasChildren" : "\\HasNoChildren";
}

static struct view_listing *list_under_way(const struct view_rewrite *w, bool lsub)
{
    struct view_command *c;

    TAILQ_FOREACH(c, &w->commands, link)
    if (c->list && c->list->lsub == lsub)
        return c->list;
    return NULL;
}

static void row_free(struct list_row *row)
{
    free(row->name);
    free(row->attributes);
    free(row->more);
}

static enum view_gives list_keep(struct view_listing *l, struct list_row *row, const char **wrong)
{
    l->bytes += sizeof *row + strlen(row->name) + strlen(row->attributes) + strlen(row->more);
    if (l->bytes > LIST_BYTES_MAX || l->n >= ROWS_MAX) {
        row_free(row);
        return list_wrong(wrong, "too many mailboxes");
    }
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->rows = xreallocarray(l->rows, l->cap, sizeof *l->rows);
    }
    l->rows[l->n++] = *row;
    return VIEW_NOTHING;
}

/* The client's separator; where nobody knows it, that of the line: names are spelled alike then. */
static char separator_of(const struct view_rewrite *w, const struct imap_value *said)
{
    char separator = view_client_separator(w->view);
    struct span text;

    if (is_spelled(w->view) || imap_value_is_nil(said))
        return separator;
    return imap_value_string(said, &text) && text.len == 1 && text.p[0] > ' ' && text.p[0] < 0x7f
               ? (char)text.p[0]
               : '\0';
}

enum view_gives view_listing_line(struct view_rewrite *w, const struct imap_resp *resp,
                                  const struct imap_value *data, struct buf *out, const char **wrong)
{
    const struct imap_value *said = imap_value_at(data, 1), *mailbox = imap_value_at(data, 2);
    bool lsub = span_is_ci(resp->word, "LSUB");
    struct view_listing *l = list_under_way(w, lsub);
    struct buf name = {0};
    struct span backend;

    if (!data || data->kind != IMAP_LIST || !imap_value_string(mailbox, &backend))
        return list_wrong(wrong, "a LIST that can't be read");
    /* The root has no name. */
    if (backend.len ? !view_client_name(w->view, backend, &name) : l || is_spelled(w->view))
        return VIEW_NOTHING;
    struct list_row row = {.name = xspandup(buf_span(&name))};
    buf_free(&name);
    row.attributes = read_attributes(data, &row.flags);
    row.more = read_more(w->view, imap_value_at(data, 3));
    if (l && separator_of(w, said))
        l->separator = separator_of(w, said);
    if (l)
        return list_keep(l, &row, wrong);
    write_line(out, lsub, &row, said_children(w->view, &row), separator_of(w, said));
    row_free(&row);
    return VIEW_LINES;
}

struct buf *view_listing_status(struct view_listing *l, struct span client_name)
{
    bool fits = list_fits(l, client_name) && l->statuses.len < LIST_BYTES_MAX;

    return fits ? &l->statuses : NULL;
}

/* ---- the end ---- */

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const struct list_row *)a)->name, ((const struct list_row *)b)->name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The first row whose name is not below this one. */
static size_t find_row(const struct view_listing *l, const char *name)
{
    size_t lo = 0, hi = l->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(l->rows[mid].name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool has_row(const struct view_listing *l, const char *name)
{
    size_t i = find_row(l, name);

    return i < l->n && strcmp(l->rows[i].name, name) == 0;
}

static bool has_children(const struct view_listing *l, const char *name)
{
    char *below = xasprintf("%s%c", name, l->separator);
    size_t i = l->separator ? find_row(l, below) : l->n;
    bool has = i < l->n && strncmp(l->rows[i].name, below, strlen(below)) == 0;

    free(below);
    return has;
}

#define CHILDINFO " (\"CHILDINFO\" (\"SUBSCRIBED\"))"

/* Has it children that were looked for, and that the client is not shown (RFC 5258 3.5)? The backend, which was asked for
 * all mailboxes, does not say so. Of those that it shows itself it may. */
static bool has_hidden_children(const struct view_listing *l, const struct list_row *row)
{
    char *below = xasprintf("%s%c", row->name, l->separator);
    bool has = false;

    for (size_t i = find_row(l, below);
         !has && i < l->n && strncmp(l->rows[i].name, below, strlen(below)) == 0; i++)
        has = (l->rows[i].flags & (ROW_FOUND | ROW_FITS)) == ROW_FOUND;
    free(below);
    return has;
}

static void add_childinfo(const struct view_listing *l, struct list_row *row)
{
    bool says = strstr(row->more, "CHILDINFO") != NULL;

    if (!l->recursive || !l->separator || says || *row->more || !has_hidden_children(l, row))
        return;
    free(row->more);
    row->more = xstrdup(CHILDINFO);
}

/* What can be said of its children. */
static const char *list_children(const struct view_listing *l, const struct list_row *row)
{
    if (l->selects)
        return "";
    if (has_children(l, row->name))
        return row->flags & ROW_CHILDREN ? "\\HasChildren" : "";
    if (row->flags & ROW_NO_INFERIORS)
        return "\\NoInferiors";
    return row->flags & ROW_CHILDREN ? "\\HasNoChildren" : "";
}

struct parents {
    char **names; /* owned */
    size_t n, cap, bytes;
};

static void add_parent(const struct view_listing *l, struct span name, struct parents *p)
{
    char *owned = xspandup(name);

    if (has_row(l, owned) || p->n >= ROWS_MAX || p->bytes > LIST_BYTES_MAX) {
        free(owned);
        return;
    }
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->names = xreallocarray(p->names, p->cap, sizeof *p->names);
    }
    p->names[p->n++] = owned;
    p->bytes += sizeof owned + name.len;
}

/* Those of its parents that the backend did not list, where a pattern shows them: one of LSUB only by "%"
 * (RFC 3501 6.3.9). before: the row before it, of which parents were added; rows are sorted, so what lies above
 * both is known. */
static void add_parents(struct view_listing *l, const struct list_row *row, const char *before,
                        struct parents *p)
{
    struct matcher *m = list_matcher(l);
    struct span name = span_str(row->name);
    size_t inbox = inbox_head(name, l->separator), known = 0;

    while (before && before[known] && before[known] == row->name[known])
        known++;
    for (size_t i = 0; i + 1 < name.len; i++) {
        bool separates = name.p[i] == (uint8_t)l->separator;
        if (separates && i > 0 && i >= known && matcher_is_at(m, m->parent_end))
            add_parent(l, span_of(name.p, i), p);
        if (!matcher_byte(m, name.p[i], separates, i < inbox))
            return;
    }
}

static void write_parent(const struct view_listing *l, char *name, struct buf *out)
{
    static char none[] = "", noselect[] = "\\Noselect", nonexistent[] = "\\NonExistent",
                childinfo[] = CHILDINFO;
    struct list_row row = {.name = name, .attributes = noselect, .more = l->recursive ? childinfo : none};

    if (l->recursive)
        row.attributes = view_name_is_inbox(span_str(name)) ? none : nonexistent;
    write_line(out, l->lsub, &row, l->selects ? "" : "\\HasChildren", l->separator);
}

/* Mailboxes that hold others and don't exist at the backend, as far as the client would be shown them. */
static void write_parents(struct view_listing *l, struct buf *out)
{
    struct parents p = {0};
    const char *before = NULL;

    for (size_t i = 0; i < l->n && l->separator; i++)
        if (!l->recursive || (l->rows[i].flags & ROW_FOUND)) {
            add_parents(l, &l->rows[i], before, &p);
            before = l->rows[i].name;
        }
    if (p.n)
        qsort(p.names, p.n, sizeof *p.names, compare_names);
    for (size_t i = 0; i < p.n; i++)
        if (i == 0 || strcmp(p.names[i - 1], p.names[i]) != 0)
            write_parent(l, p.names[i], out);
    for (size_t i = 0; i < p.n; i++)
        free(p.names[i]);
    free(p.names);
}

bool view_listing_asks(struct view_listing *l, struct buf *tagged)
{
    bool has = false;

    for (size_t i = 0; l->status && !has && i < l->n; i++)
        has = !(l->rows[i].flags & ROW_NO_STATUS) && list_fits(l, span_str(l->rows[i].name));
    if (has)
        buf_add_span(&l->tagged, buf_span(tagged));
    return has;
}

void view_listing_ask(const struct view_listing *l, struct buf *out)
{
    buf_add_str(out, l->status);
}

void view_listing_answered(struct view_listing *l, struct buf *out)
{
    view_listing_end(l, out);
    buf_add_span(out, buf_span(&l->tagged));
}

void view_listing_end(struct view_listing *l, struct buf *out)
{
    if (l->n)
        qsort(l->rows, l->n, sizeof *l->rows, compare_rows);
    for (size_t i = 0; i < l->n; i++)
        l->rows[i].flags |= list_fits(l, span_str(l->rows[i].name)) ? ROW_FITS : 0;
    for (size_t i = 0; i < l->n; i++) {
        struct list_row *row = &l->rows[i];
        if (!(row->flags & ROW_FITS))
            continue;
        add_childinfo(l, row);
        write_line(out, l->lsub, row, list_children(l, row), l->separator);
    }
    if (l->lsub || l->recursive || !l->selects)
        write_parents(l, out);
    buf_add_span(out, buf_span(&l->statuses));
}
