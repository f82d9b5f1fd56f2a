#include <stdlib.h>
#include <strings.h>

#include <uthash.h>

#include "lib/mutf7.h"
#include "lib/xalloc.h"

#include "mailboxes.h"

/* While a list is read, names are looked up by hash. */
struct mailboxes_entry {
    struct mailbox mailbox;
    bool contradicts;
    UT_hash_handle hh;
};

/* A namespace of RFC 2342. */
struct space {
    char *prefix; /* owned */
    char separator;
    bool personal;
    bool of_users; /* of other users */
};

enum { SPACES_MAX = 64 };

/* The order in which NAMESPACE tells them. */
enum { SPACE_PERSONAL, SPACE_OF_USERS, SPACE_SHARED, SPACE_KINDS };

/* How LIST is asked. A server that refuses what it offers is asked again, with less. */
enum list_way { LIST_PLAIN, LIST_USES, LIST_STATUSES };

struct mailboxes_read {
    struct imapc *c;
    enum mailboxes_ask ask;
    enum list_way way;
    bool spaces_known;
    mailboxes_fn fn;
    void *owner;
    struct space spaces[SPACES_MAX];
    size_t n_spaces;
    bool no_spaces;                  /* the server tells of none */
    struct mailboxes *m;             /* owned */
    struct mailboxes_entry *entries; /* owned */
    size_t n_entries;
    size_t pending;  /* commands without an answer: LSUB or STATUS */
    const char *bad; /* the server sent what can't be taken */
    char *odd_name;  /* the mailbox that the odd line under way is about; owned; NULL: not known */
    char *odd_last;  /* text of the last odd line; owned */
};

static const struct {
    const char *name;
    unsigned bit;
} special_uses[] = {
    {"\\All", USE_ALL},         {"\\Archive", USE_ARCHIVE},     {"\\Drafts", USE_DRAFTS},
    {"\\Flagged", USE_FLAGGED}, {"\\Junk", USE_JUNK},           {"\\Sent", USE_SENT},
    {"\\Trash", USE_TRASH},     {"\\Important", USE_IMPORTANT},
};

void special_use_write(struct buf *out, unsigned special_use)
{
    const char *blank = "";

    for (size_t i = 0; i < COUNTOF(special_uses); i++) {
        if (special_use & special_uses[i].bit) {
            buf_printf(out, "%s%s", blank, special_uses[i].name);
            blank = " ";
        }
    }
}

void mailboxes_free(struct mailboxes **mp)
{
    struct mailboxes *m = *mp;

    *mp = NULL;
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        free(m->items[i].name);
    free(m->items);
    free(m->prefix);
    free(m->users);
    free(m->shared);
    for (size_t i = 0; i < m->n_elsewhere; i++) {
        free(m->elsewhere[i].name);
        free(m->elsewhere[i].owner);
        free(m->elsewhere[i].space);
    }
    free(m->elsewhere);
    oddities_free(&m->odd);
    oddities_free(&m->disagreeing);
    free(m);
}

static int mailboxes_compare_names(const char *a, const char *b)
{
    bool a_inbox = !strcmp(a, "INBOX"), b_inbox = !strcmp(b, "INBOX");

    return a_inbox != b_inbox ? (a_inbox ? -1 : 1) : strcmp(a, b);
}

static int mailboxes_compare(const void *a, const void *b)
{
    return mailboxes_compare_names(((const struct mailbox *)a)->name, ((const struct mailbox *)b)->name);
}

struct mailbox *mailboxes_find(const struct mailboxes *m, const char *name)
{
    struct mailbox wanted = {.name = (char *)name};

    return m->n ? bsearch(&wanted, m->items, m->n, sizeof(wanted), mailboxes_compare) : NULL;
}

/* ---- the end */

static void forget_entries(struct mailboxes_read *r)
{
    struct mailboxes_entry *e, *next;

    HASH_ITER(hh, r->entries, e, next)
    {
        HASH_DEL(r->entries, e);
        free(e->mailbox.name);
        free(e);
    }
}

static void mailboxes_read_free(struct mailboxes_read *r)
{
    forget_entries(r);
    for (size_t i = 0; i < r->n_spaces; i++)
        free(r->spaces[i].prefix);
    mailboxes_free(&r->m);
    free(r->odd_name);
    free(r->odd_last);
    free(r);
}

void mailboxes_read_cancel(struct mailboxes_read **rp)
{
    struct mailboxes_read *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    imapc_forget(r->c, r);
    mailboxes_read_free(r);
}

static void end_failed(struct mailboxes_read *r, enum mailboxes_rc rc, const char *why)
{
    imapc_forget(r->c, r);
    r->fn(r->owner, rc, NULL, why);
    mailboxes_read_free(r);
}

/* A tagged answer: true, go on; false: the reading is over. */
static bool mailboxes_answered(struct mailboxes_read *r, const struct imapc_end *end, const char *what)
{
    if (end->rc == IMAPC_OK && !r->bad)
        return true;
    struct buf why = {0};
    enum mailboxes_rc rc = end->rc == IMAPC_DOWN ? MAILBOXES_DOWN : MAILBOXES_REFUSED;
    if (end->rc == IMAPC_DOWN && imapc_is_garbled(r->c) && r->odd_last) {
        rc = MAILBOXES_GARBLED;
        buf_add_str(&why, r->odd_last);
    } else if (r->bad) {
        buf_printf(&why, "%s: %s", what, r->bad);
    } else if (end->rc == IMAPC_DOWN) {
        buf_printf(&why, "%s (%s)", imapc_error(r->c), what);
    } else {
        buf_printf(&why, "the server refuses %s: ", what);
        imap_write_text(&why, end->text);
    }
    end_failed(r, rc, buf_str(&why));
    buf_free(&why);
    return false;
}

/* The server has no such command; what is wrong for the moment alone is another thing. */
static bool is_not_there(const struct imapc_end *end)
{
    return end->rc == IMAPC_BAD || (end->rc == IMAPC_NO && !imapc_end_temporary(end));
}

static void take_entries(struct mailboxes_read *r)
{
    struct mailboxes *m = r->m;
    struct mailboxes_entry *e, *next;

    m->items = xcalloc(r->n_entries ? r->n_entries : 1, sizeof(*m->items));
    HASH_ITER(hh, r->entries, e, next)
    {
        m->items[m->n++] = e->mailbox;
        HASH_DEL(r->entries, e);
        free(e);
    }
    qsort(m->items, m->n, sizeof(*m->items), mailboxes_compare);
}

static void end_ok(struct mailboxes_read *r)
{
    take_entries(r);
    struct mailboxes *m = r->m;
    r->m = NULL;
    r->fn(r->owner, MAILBOXES_OK, m, "");
    mailboxes_read_free(r);
}

/* ---- what was not understood */

static void mailboxes_on_odd(void *owner, const struct imapc_odd *odd)
{
    struct mailboxes_read *r = owner;

    oddities_add(&r->m->odd, r->odd_name ? r->odd_name : odd->mailbox, odd->text);
    free(r->odd_name);
    r->odd_name = NULL;
    free(r->odd_last);
    r->odd_last = xstrdup(odd->text);
}

static enum imapc_taken odd_about(struct mailboxes_read *r, struct span name)
{
    free(r->odd_name);
    r->odd_name = name.len > 0 ? xspandup(name) : NULL;
    return IMAPC_ODD;
}

/* ---- STATUS */

static char *mailboxes_spelled(struct span name)
{
    return span_is_ci(name, "INBOX") ? xstrdup("INBOX") : xspandup(name);
}

static struct mailboxes_entry *mailboxes_find_entry(struct mailboxes_read *r, const char *name)
{
    struct mailboxes_entry *e;

    HASH_FIND_STR(r->entries, name, e);
    return e;
}

/* Numbers that a server does not tell stay 0. */
static void take_status_items(const struct mailboxes_read *r, struct mailbox *m,
                              const struct imap_value *items)
{
    struct stamp_side *s = &m->status;

    *s = (struct stamp_side){0};
    if (!imap_value_u32(imap_value_get(items, "MESSAGES"), &s->messages))
        return;
    m->flags |= MAILBOX_HAS_STATUS;
    stamp_side_take(s, items);
    if (!imap_caps_has(imapc_caps(r->c), CAP_CONDSTORE))
        s->modseq = 0;
    if (!imap_value_u64(imap_value_get(items, "SIZE"), &m->bytes))
        m->bytes = 0;
}

static enum imapc_taken mailboxes_on_status_data(void *owner, const struct imap_resp *resp,
                                                 const struct imap_value *data)
{
    struct mailboxes_read *r = owner;
    struct span name;

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "STATUS"))
        return IMAPC_NOT_MINE;
    const struct imap_value *items = imap_value_at(data, 1);
    if (!imap_value_string(data, &name) || !items || items->kind != IMAP_LIST)
        return IMAPC_ODD;
    char *key = mailboxes_spelled(name);
    struct mailboxes_entry *e = mailboxes_find_entry(r, key);
    free(key);
    if (e)
        take_status_items(r, &e->mailbox, items);
    return stamp_status_is_whole(data) ? IMAPC_TAKEN : odd_about(r, e ? name : (struct span){0});
}

/* A mailbox whose STATUS is refused is one whose size is not known: the copy will tell. */
static void on_status_end(void *owner, const struct imapc_end *end)
{
    struct mailboxes_read *r = owner;

    if (end->rc == IMAPC_DOWN) {
        mailboxes_answered(r, end, "STATUS");
        return;
    }
    if (--r->pending == 0)
        end_ok(r);
}

static void write_items(const struct mailboxes_read *r, struct imap_writer *w)
{
    const struct imap_caps *caps = imapc_caps(r->c);

    imap_write_raw(w, "(MESSAGES UIDNEXT UIDVALIDITY%s%s)",
                   imap_caps_has(caps, CAP_CONDSTORE) ? " HIGHESTMODSEQ" : "",
                   r->ask == MAILBOXES_SIZES && imap_caps_has(caps, CAP_STATUS_SIZE) ? " SIZE" : "");
}

static void mailboxes_send_status(struct mailboxes_read *r, const char *name)
{
    struct imapc_command c = {.data = mailboxes_on_status_data,
                              .end = on_status_end,
                              .owner = r,
                              .odd = mailboxes_on_odd,
                              .mailbox = name};
    struct imap_writer w;

    imap_writer_init(&w, imapc_literals(r->c));
    imap_write_raw(&w, "STATUS ");
    imap_write_astring(&w, span_str(name));
    imap_write_raw(&w, " ");
    write_items(r, &w);
    imapc_send(r->c, &w, &c);
    r->pending++;
}

/* Of all that LIST did not bring one of. */
static void ask_statuses(struct mailboxes_read *r)
{
    struct mailboxes_entry *e, *next;

    HASH_ITER(hh, r->entries, e, next)
    if (r->ask != MAILBOXES_NAMES &&
        (e->mailbox.flags & (MAILBOX_LISTED | MAILBOX_NO_SELECT | MAILBOX_HAS_STATUS)) == MAILBOX_LISTED)
        mailboxes_send_status(r, e->mailbox.name);
    if (r->pending == 0)
        end_ok(r);
}

/* ---- LIST and LSUB */

/* The namespace with the longest prefix that begins the name. INBOX is always the user's own. */
static const struct space *space_of(const struct mailboxes_read *r, const char *name)
{
    const struct space *best = NULL;

    for (size_t i = 0; i < r->n_spaces; i++) {
        const struct space *s = &r->spaces[i];
        size_t len = strlen(s->prefix);
        /* "INBOX." and "inbox." are one; the name of a namespace without its separator is in it too */
        bool within =
            !strncmp(name, s->prefix, len) ||
            (len == 6 && !strncasecmp(s->prefix, "INBOX", 5) && !strncasecmp(name, s->prefix, 6)) ||
            (len > 1 && s->separator && strlen(name) == len - 1 && !strncmp(name, s->prefix, len - 1));
        if (within && (!best || len > strlen(best->prefix)))
            best = s;
    }
    return best;
}

static bool is_personal(const struct mailboxes_read *r, const char *name)
{
    const struct space *s = space_of(r, name);

    if (r->no_spaces && name[0] == '#')
        return false;
    return !strcmp(name, "INBOX") || (s && s->personal);
}

/* False: it is none. */
static bool read_attribute(const struct imap_value *v, struct list_line *line)
{
    if (v->kind != IMAP_ATOM || v->glued)
        return false;
    if (imap_value_is(v, "\\Noselect") || imap_value_is(v, "\\NonExistent"))
        line->no_select = true;
    for (size_t i = 0; i < COUNTOF(special_uses); i++)
        if (imap_value_is(v, special_uses[i].name))
            line->special_use |= special_uses[i].bit;
    return true;
}

static bool read_separator(const struct imap_value *v, char *separator)
{
    struct span text;

    *separator = '\0';
    if (imap_value_is_nil(v))
        return true;
    if (!imap_value_string(v, &text) || text.len != 1)
        return false;
    *separator = (char)text.p[0];
    return true;
}

/* Behind the name comes nothing, or a list (RFC 5258). Domino sends names with blanks as they are: then the
 * first word may be another mailbox's name. A name without a byte is the root, where it is no mailbox. */
static bool mailboxes_is_name(const struct imap_value *v, bool no_select)
{
    struct span name;
    const struct imap_value *more = v ? v->next : NULL;

    return v && imap_value_string(v, &name) && (name.len > 0 || no_select) && name.len <= MAILBOX_NAME_MAX &&
           !(name.len > 0 && memchr(name.p, '\0', name.len)) &&
           (!more || (more->kind == IMAP_LIST && !more->glued && !more->next));
}

bool list_line_read(const struct imap_value *data, struct list_line *line)
{
    *line = (struct list_line){.whole = true};
    if (!data || data->kind != IMAP_LIST)
        return false;
    for (const struct imap_value *v = data->first; v; v = v->next)
        line->whole = read_attribute(v, line) && line->whole;
    line->whole = data->next && read_separator(data->next, &line->separator) && line->whole;
    if (!line->whole) {
        line->no_select = false; /* it may say something else */
        line->special_use = 0;
    }
    return mailboxes_is_name(imap_value_at(data, 2), line->no_select) &&
           imap_value_string(imap_value_at(data, 2), &line->name);
}

static struct mailboxes_entry *mailboxes_add_entry(struct mailboxes_read *r, const char *name)
{
    struct mailboxes_entry *e = mailboxes_find_entry(r, name);

    if (e)
        return e;
    if (r->n_entries >= MAILBOXES_MAX) {
        r->bad = "more mailboxes than can be handled";
        return NULL;
    }
    e = xcalloc(1, sizeof(*e));
    e->mailbox.name = xstrdup(name);
    HASH_ADD_KEYPTR(hh, r->entries, e->mailbox.name, strlen(e->mailbox.name), e);
    r->n_entries++;
    return e;
}

/* A level of a mailbox's name that is a user's name, in UTF-8; to free. Where a dot separates levels, Cyrus spells the dots of a user's
 * name as "^". */
static char *mailboxes_user(struct span level, char separator)
{
    struct buf text = {0};

    if (!mutf7_to_utf8(&text, level)) {
        buf_clear(&text);
        buf_add(&text, level.p, level.len);
    }
    char *user = xspandup(buf_span(&text));
    for (char *c = user; separator == '.' && *c; c++)
        *c = *c == '^' ? '.' : *c;
    buf_free(&text);
    return user;
}

static void place_elsewhere(const struct mailboxes_read *r, struct mailbox_elsewhere *m)
{
    const struct space *s = space_of(r, m->name);
    char separator[2] = {s ? s->separator : '\0'};
    size_t prefix = s ? strlen(s->prefix) : 0;
    const char *behind = strlen(m->name) > prefix ? m->name + prefix : "";
    size_t level = *separator ? strcspn(behind, separator) : strlen(behind);

    if (s && s->of_users && level > 0)
        m->owner = mailboxes_user(span_of(behind, level), *separator);
    m->space = prefix > 0 ? xstrdup(s->prefix) : xspandup(span_of(m->name, level));
}

static void add_elsewhere(struct mailboxes_read *r, const char *name)
{
    struct mailboxes *m = r->m;

    if (m->n_elsewhere >= MAILBOXES_MAX) {
        r->bad = "more mailboxes than can be handled";
        return;
    }
    m->elsewhere = xreallocarray(m->elsewhere, m->n_elsewhere + 1, sizeof(*m->elsewhere));
    m->elsewhere[m->n_elsewhere] = (struct mailbox_elsewhere){.name = xstrdup(name)};
    place_elsewhere(r, &m->elsewhere[m->n_elsewhere++]);
}

static void note_contradiction(struct mailboxes_read *r, struct mailboxes_entry *e)
{
    if (!e->contradicts)
        oddities_add(&r->m->disagreeing, e->mailbox.name,
                     "LIST says it twice, each time otherwise; it was tried");
    e->contradicts = true;
}

/* A mailbox that one line says holds no mail, or only shows that of others, and another line not, is
 * tried. */
static void take_listed(struct mailboxes_read *r, struct mailboxes_entry *e, const struct list_line *line)
{
    struct mailbox *m = &e->mailbox;
    unsigned no_select = line->no_select ? MAILBOX_NO_SELECT : 0;

    if (!(m->flags & MAILBOX_LISTED)) {
        m->flags |= MAILBOX_LISTED | no_select;
        m->special_use = line->special_use;
        m->separator = line->separator;
        return;
    }
    if ((m->flags & MAILBOX_NO_SELECT) != no_select || m->special_use != line->special_use)
        note_contradiction(r, e);
    m->flags &= ~(unsigned)MAILBOX_NO_SELECT | no_select;
    m->special_use &= line->special_use;
}

enum list_of { OF_LIST, OF_LSUB, OF_SUBSCRIBED };

static void mailboxes_take_line(struct mailboxes_read *r, const struct list_line *line, enum list_of of)
{
    /* In LSUB it says that only a mailbox below is subscribed (RFC 3501 6.3.9); Courier lists such for "*"
     * too. */
    if (line->name.len == 0 || (of == OF_LSUB && line->no_select))
        return;
    char *name = mailboxes_spelled(line->name);
    struct mailboxes_entry *e = is_personal(r, name) ? mailboxes_add_entry(r, name) : NULL;
    if (e && of != OF_LIST)
        e->mailbox.flags |= MAILBOX_SUBSCRIBED;
    else if (e)
        take_listed(r, e, line);
    else if (of == OF_LIST && !r->bad && !line->no_select)
        add_elsewhere(r, name);
    free(name);
}

static enum imapc_taken on_list_item(struct mailboxes_read *r, const struct imap_value *data, enum list_of of)
{
    struct list_line line;

    if (!list_line_read(data, &line))
        return odd_about(r, (struct span){0});
    mailboxes_take_line(r, &line, of);
    return line.whole ? IMAPC_TAKEN : odd_about(r, line.name);
}

static enum imapc_taken mailboxes_on_lsub_data(void *owner, const struct imap_resp *resp,
                                               const struct imap_value *data)
{
    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "LSUB"))
        return IMAPC_NOT_MINE;
    return on_list_item(owner, data, OF_LSUB);
}

static enum imapc_taken on_subscribed_data(void *owner, const struct imap_resp *resp,
                                           const struct imap_value *data)
{
    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "LIST"))
        return IMAPC_NOT_MINE;
    return on_list_item(owner, data, OF_SUBSCRIBED);
}

static void on_subscribed_end(void *owner, const struct imapc_end *end)
{
    struct mailboxes_read *r = owner;

    if (is_not_there(end))
        r->m->subscriptions_untold = true;
    else if (!mailboxes_answered(r, end, "LIST (SUBSCRIBED)"))
        return;
    ask_statuses(r);
}

static void on_lsub_end(void *owner, const struct imapc_end *end)
{
    struct mailboxes_read *r = owner;
    const struct imap_caps *caps = imapc_caps(r->c);
    bool extended = imap_caps_has(caps, CAP_LIST_EXTENDED) || imap_caps_has(caps, CAP_IMAP4REV2);

    if (is_not_there(end) && extended && !r->bad) {
        imapc_sendf(
            r->c,
            &(struct imapc_command){
                .data = on_subscribed_data, .end = on_subscribed_end, .owner = r, .odd = mailboxes_on_odd},
            "LIST (SUBSCRIBED) \"\" \"*\"");
        return;
    }
    if (is_not_there(end))
        r->m->subscriptions_untold = true;
    else if (!mailboxes_answered(r, end, "LSUB"))
        return;
    ask_statuses(r);
}

static void mailboxes_ask_list(struct mailboxes_read *r);

static enum imapc_taken mailboxes_on_list_data(void *owner, const struct imap_resp *resp,
                                               const struct imap_value *data)
{
    struct mailboxes_read *r = owner;

    if (resp->kind == RESP_DATA && r->way == LIST_STATUSES && span_is_ci(resp->word, "STATUS"))
        return mailboxes_on_status_data(r, resp, data);
    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "LIST"))
        return IMAPC_NOT_MINE;
    if (!r->spaces_known)
        r->bad = "the answers to commands come in another order than the commands";
    return on_list_item(r, data, OF_LIST);
}

/* What most mailboxes have; where LIST tells of none, NAMESPACE's. */
static char most_listed(const struct mailboxes_read *r, size_t *others)
{
    size_t counts[256] = {0}, most = 0;
    const struct mailboxes_entry *e;

    *others = 0;
    for (e = r->entries; e; e = e->hh.next)
        if (e->mailbox.separator && ++counts[(uint8_t)e->mailbox.separator] > counts[most])
            most = (uint8_t)e->mailbox.separator;
    for (size_t i = 1; i < COUNTOF(counts); i++)
        *others += i == most ? 0 : counts[i];
    return most ? (char)most : r->m->separator;
}

static void name_separator(struct buf *out, char separator)
{
    if (separator)
        buf_printf(out, "\"%c\"", separator);
    else
        buf_add_str(out, "NIL");
}

/* Names are mapped by what LIST says, each by its own. */
static void settle_separator(struct mailboxes_read *r)
{
    size_t others;
    char listed = most_listed(r, &others);
    struct buf text = {0};

    if (listed != r->m->separator || others > 0) {
        buf_add_str(&text, "NAMESPACE separates levels by ");
        name_separator(&text, r->m->separator);
        buf_add_str(&text, ", LIST by ");
        name_separator(&text, listed);
        if (others > 0)
            buf_printf(&text, ", and in %zu mailboxes by another", others);
        buf_add_str(&text, "; LIST's was taken");
        oddities_add(&r->m->disagreeing, "", buf_str(&text));
    }
    r->m->separator = listed;
    buf_free(&text);
}

static void on_list_end(void *owner, const struct imapc_end *end)
{
    struct mailboxes_read *r = owner;

    /* LSUB went out behind it and is for nothing then. */
    if ((end->rc == IMAPC_NO || end->rc == IMAPC_BAD) && r->way != LIST_PLAIN) {
        imapc_forget(r->c, r);
        r->way--;
        mailboxes_ask_list(r);
        return;
    }
    if (!mailboxes_answered(r, end, "LIST"))
        return;
    /* There is an INBOX, whether it is listed or not (RFC 3501 5.1). */
    struct mailboxes_entry *inbox = mailboxes_add_entry(r, "INBOX");
    if (inbox)
        inbox->mailbox.flags = (inbox->mailbox.flags | MAILBOX_LISTED) & ~(unsigned)MAILBOX_NO_SELECT;
    settle_separator(r);
}

static void mailboxes_ask_list(struct mailboxes_read *r)
{
    struct imap_writer w;

    imap_writer_init(&w, imapc_literals(r->c));
    imap_write_raw(&w, "LIST \"\" \"*\"");
    if (r->way == LIST_USES)
        imap_write_raw(&w, " RETURN (SPECIAL-USE)");
    if (r->way == LIST_STATUSES) {
        imap_write_raw(&w, " RETURN (%sSTATUS ",
                       imap_caps_has(imapc_caps(r->c), CAP_SPECIAL_USE) ? "SPECIAL-USE " : "");
        write_items(r, &w);
        imap_write_raw(&w, ")");
    }
    imapc_send(r->c, &w,
               &(struct imapc_command){
                   .data = mailboxes_on_list_data, .end = on_list_end, .owner = r, .odd = mailboxes_on_odd});
    imapc_sendf(r->c,
                &(struct imapc_command){
                    .data = mailboxes_on_lsub_data, .end = on_lsub_end, .owner = r, .odd = mailboxes_on_odd},
                "LSUB \"\" \"*\"");
}

static enum list_way way_of(const struct mailboxes_read *r)
{
    const struct imap_caps *caps = imapc_caps(r->c);

    if (!imap_caps_has(caps, CAP_LIST_EXTENDED))
        return LIST_PLAIN;
    if (r->ask != MAILBOXES_NAMES && imap_caps_has(caps, CAP_LIST_STATUS))
        return LIST_STATUSES;
    return imap_caps_has(caps, CAP_SPECIAL_USE) ? LIST_USES : LIST_PLAIN;
}

/* ---- NAMESPACE, or LIST "" "" where there is no such command */

/* False: it is none. */
static bool add_space(struct mailboxes_read *r, const struct imap_value *v, size_t kind)
{
    struct span prefix;
    char separator;
    const struct imap_value *second = v->kind == IMAP_LIST ? imap_value_at(v->first, 1) : NULL;

    if (!second || !imap_value_string(v->first, &prefix) || r->n_spaces == SPACES_MAX ||
        !read_separator(second, &separator) || prefix.len > MAILBOX_NAME_MAX ||
        (prefix.len > 0 && memchr(prefix.p, '\0', prefix.len)))
        return false;
    r->spaces[r->n_spaces++] = (struct space){.prefix = xspandup(prefix),
                                              .separator = separator,
                                              .personal = kind == SPACE_PERSONAL,
                                              .of_users = kind == SPACE_OF_USERS};
    return true;
}

/* ((prefix separator) ...), or NIL. */
static bool add_spaces(struct mailboxes_read *r, const struct imap_value *list, size_t kind)
{
    bool whole = list && (list->kind == IMAP_LIST || imap_value_is_nil(list));

    if (!whole || list->kind != IMAP_LIST)
        return whole;
    for (const struct imap_value *v = list->first; v; v = v->next)
        whole = add_space(r, v, kind) && whole;
    return whole;
}

static enum imapc_taken on_namespace_data(void *owner, const struct imap_resp *resp,
                                          const struct imap_value *data)
{
    struct mailboxes_read *r = owner;
    bool whole = !imap_value_at(data, 3);

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "NAMESPACE"))
        return IMAPC_NOT_MINE;
    for (size_t kind = 0; kind < SPACE_KINDS; kind++)
        whole = add_spaces(r, imap_value_at(data, kind), kind) && whole;
    return whole ? IMAPC_TAKEN : IMAPC_ODD;
}

static enum imapc_taken on_root_data(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct mailboxes_read *r = owner;
    char separator;

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "LIST"))
        return IMAPC_NOT_MINE;
    if (!data || !data->next || !read_separator(data->next, &separator))
        return IMAPC_ODD;
    if (r->n_spaces == 0 && separator)
        r->spaces[r->n_spaces++] =
            (struct space){.prefix = xstrdup(""), .separator = separator, .personal = true};
    return IMAPC_TAKEN;
}

/* The prefix of the only one of its kind; NULL: there is none, or it is not to be told from other names. */
static char *only_space(const struct mailboxes_read *r, bool of_users)
{
    const struct space *only = NULL;

    for (size_t i = 0; i < r->n_spaces; i++) {
        if (r->spaces[i].personal || r->spaces[i].of_users != of_users)
            continue;
        if (only)
            return NULL;
        only = &r->spaces[i];
    }
    bool fit = only && *only->prefix && only->separator == r->m->separator;
    return fit ? xstrdup(only->prefix) : NULL;
}

static void on_spaces_end(void *owner, const struct imapc_end *end)
{
    struct mailboxes_read *r = owner;
    size_t i = 0;

    if (!mailboxes_answered(r, end, "NAMESPACE"))
        return;
    while (i < r->n_spaces && !r->spaces[i].personal)
        i++;
    if (i == SPACES_MAX) {
        end_failed(r, MAILBOXES_REFUSED, "NAMESPACE: no personal namespace");
        return;
    }
    if (i == r->n_spaces) /* none told */
        r->spaces[r->n_spaces++] = (struct space){.prefix = xstrdup(""), .personal = true};
    r->no_spaces = !imap_caps_has(imapc_caps(r->c), CAP_NAMESPACE);
    r->m->prefix = xstrdup(r->spaces[i].prefix);
    r->m->separator = r->spaces[i].separator;
    r->m->users = only_space(r, true);
    r->m->shared = only_space(r, false);
    r->m->inbox_by_user = imap_caps_has(imapc_caps(r->c), CAP_X_REPLICATION); /* a Cyrus */
    r->spaces_known = true;
}

struct mailboxes_read *mailboxes_read(struct imapc *c, enum mailboxes_ask ask, mailboxes_fn fn, void *owner)
{
    struct mailboxes_read *r = xcalloc(1, sizeof(*r));
    struct imapc_command cmd = {
        .data = on_namespace_data, .end = on_spaces_end, .owner = r, .odd = mailboxes_on_odd};

    r->c = c;
    r->ask = ask;
    r->fn = fn;
    r->owner = owner;
    r->m = xcalloc(1, sizeof(*r->m));
    if (imap_caps_has(imapc_caps(c), CAP_NAMESPACE)) {
        imapc_sendf(c, &cmd, "NAMESPACE");
    } else {
        cmd.data = on_root_data;
        imapc_sendf(c, &cmd, "LIST \"\" \"\"");
    }
    r->way = way_of(r);
    mailboxes_ask_list(r);
    return r;
}
