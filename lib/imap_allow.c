/* The allow-list of what may stand in commands. Between the parts of a command no more is remembered than how
 * many strings a SEARCH key, or arguments the command, still takes; else a part behind a literal is taken as
 * the usual rest of its command. */
#include <limits.h>
#include <strings.h>

#include "imap_cmd.h"

enum { DEPTH_MAX = 100 };

static const char *const UNBALANCED = "Unbalanced parenthesis";

static bool allow_refuse(const char **why, const char *text)
{
    *why = text;
    return false;
}

/* ---- words of a line part ---- */

enum word_kind { WORD_END, WORD_ATOM, WORD_QUOTED, WORD_LITERAL, WORD_OPEN, WORD_CLOSE };

struct word {
    enum word_kind kind;
    struct span text; /* as it stands in the line */
    struct span name; /* WORD_ATOM: without its section */
};

/* A walk over the words of one line part, as far as they concern the allow-list. */
struct walk {
    struct span part;
    size_t at;
    int depth;    /* of parentheses, those of the parts before counted */
    int section;  /* the same, within the section under way */
    bool literal; /* the part ends in a literal */
    bool first;
    bool sections;  /* BODY[...] is one word */
    bool literal8;  /* may stand here (RFC 3516 4.4, RFC 5464 5) */
    unsigned due;   /* strings that the SEARCH key before still takes, or arguments that the command does */
    bool condstore; /* a word of CONDSTORE (RFC 7162) was let in */
    const struct imap_caps *shown;
    const char **why;
};

/* Is part, from at on, a literal marker, with or without "~"? */
static bool is_marker(struct span part, size_t at)
{
    if (part.p[at] == '~')
        at++;
    if (at >= part.len || part.p[at] != '{' || part.p[part.len - 1] != '}')
        return false;
    struct span digits = span_of(part.p + at + 1, part.len - at - 2);
    if (digits.len > 0 && digits.p[digits.len - 1] == '+')
        digits.len--;
    uint64_t size;
    return span_u64(digits, UINT64_MAX, &size);
}

static bool ends_in_marker(struct span part)
{
    const uint8_t *brace = part.len > 0 ? memrchr(part.p, '{', part.len) : NULL;
    return brace && is_marker(part, (size_t)(brace - part.p));
}

/* Is the byte at i one of these? */
static bool is_one_of(const struct walk *w, size_t i, const char *these)
{
    return i < w->part.len && w->part.p[i] != '\0' && strchr(these, w->part.p[i]);
}

/* behind: what may follow the string. */
static bool allow_read_quoted(struct walk *w, const char *behind)
{
    for (size_t i = w->at + 1; i < w->part.len; i++) {
        if (w->part.p[i] == '\\')
            i++;
        else if (w->part.p[i] == '"') {
            w->at = i + 1;
            bool ends = w->at == w->part.len || is_one_of(w, w->at, behind);
            return ends || allow_refuse(w->why, "No blank behind a quoted string");
        }
    }
    return allow_refuse(w->why, "Unclosed quoted string");
}

static bool read_atom_byte(struct walk *w)
{
    uint8_t c = w->part.p[w->at];
    if (c < 0x20 || c >= 0x7f || c == '"' || c == '{')
        return allow_refuse(w->why, "Invalid character in a word");
    w->at++;
    return true;
}

/* To behind the "]" and a "<0.100>", or to the end of a part that ends in the literal of a header field's
 * name. Words are cut in there as elsewhere, so that no quote hides a literal that the server would see. */
static bool skip_section(struct walk *w)
{
    bool begins = false; /* a word may begin here */
    while (w->at < w->part.len && w->part.p[w->at] != ']') {
        uint8_t c = w->part.p[w->at];
        if (begins && c == '{' && w->section == 1 && is_marker(w->part, w->at)) {
            w->at = w->part.len;
            w->literal = true;
            return true;
        }
        w->section += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (w->section < 0 || w->section > 1)
            return allow_refuse(w->why, UNBALANCED);
        if (begins && c == '"' ? !allow_read_quoted(w, " )]") : !read_atom_byte(w))
            return false;
        begins = is_one_of(w, w->at - 1, " ([");
    }
    if (w->at == w->part.len)
        return allow_refuse(w->why, "Unclosed section");
    if (w->section > 0)
        return allow_refuse(w->why, UNBALANCED);
    do
        w->at++;
    while (is_one_of(w, w->at, "<0123456789.>"));
    return w->at == w->part.len || is_one_of(w, w->at, " )") ||
           allow_refuse(w->why, "Invalid character behind a section");
}

/* All items that have one begin with a letter; in a set a bracket hides nothing of what stands behind it. */
static bool may_have_section(const struct walk *w, size_t begin)
{
    uint8_t c = w->part.p[begin] | 0x20;
    return w->sections && c >= 'a' && c <= 'z';
}

static bool allow_read_atom(struct walk *w, struct span *_name)
{
    size_t begin = w->at;
    *_name = span_of(NULL, 0);
    while (w->at < w->part.len && !is_one_of(w, w->at, " ()")) {
        if (w->part.p[w->at] != '[' || !may_have_section(w, begin) || _name->p) {
            if (!read_atom_byte(w))
                return false;
            continue;
        }
        *_name = span_of(w->part.p + begin, w->at - begin);
        if (!skip_section(w))
            return false;
    }
    if (!_name->p)
        *_name = span_of(w->part.p + begin, w->at - begin);
    return !is_one_of(w, w->at, "(") || allow_refuse(w->why, "No blank before a parenthesis");
}

static bool read_bracket(struct walk *w, bool opens)
{
    w->depth += opens ? 1 : -1;
    w->at++;
    if (w->depth < 0)
        return allow_refuse(w->why, UNBALANCED);
    if (w->depth > DEPTH_MAX)
        return allow_refuse(w->why, "Too many open parentheses");
    bool ends = w->at == w->part.len || is_one_of(w, w->at, " ()");
    return opens || ends || allow_refuse(w->why, "No blank behind a parenthesis");
}

/* False: the part is not well-formed. At its end the kind is WORD_END. */
static bool allow_next_word(struct walk *w, struct word *_r)
{
    while (w->at < w->part.len && w->part.p[w->at] == ' ')
        w->at++;
    *_r = (struct word){.kind = WORD_END};
    if (w->at == w->part.len)
        return true;
    size_t begin = w->at;
    bool ok = true;
    if (w->part.p[begin] == '(' || w->part.p[begin] == ')') {
        _r->kind = w->part.p[begin] == '(' ? WORD_OPEN : WORD_CLOSE;
        ok = read_bracket(w, _r->kind == WORD_OPEN);
    } else if (w->part.p[begin] == '"') {
        _r->kind = WORD_QUOTED;
        ok = allow_read_quoted(w, " )");
    } else if (is_marker(w->part, begin)) {
        _r->kind = WORD_LITERAL;
        w->at = w->part.len;
        w->literal = true;
    } else {
        _r->kind = WORD_ATOM;
        ok = allow_read_atom(w, &_r->name);
    }
    _r->text = span_of(w->part.p + begin, w->at - begin);
    return ok;
}

/* The next word without going on to it. */
static enum word_kind peek_kind(const struct walk *w)
{
    size_t i = w->at;
    while (i < w->part.len && w->part.p[i] == ' ')
        i++;
    return i == w->part.len ? WORD_END : w->part.p[i] == '(' ? WORD_OPEN : WORD_ATOM;
}

/* _depth, _section: what is open at the end of the part. */
static bool check_words(struct walk w, int *_depth, int *_section)
{
    struct word word;
    do {
        if (!allow_next_word(&w, &word))
            return false;
        if (word.kind == WORD_LITERAL && word.text.p[0] == '~' && !w.literal8)
            return allow_refuse(w.why, "Binary literal not allowed here");
    } while (word.kind != WORD_END);
    *_depth = w.depth;
    *_section = w.section;
    return w.depth == 0 || w.literal || allow_refuse(w.why, UNBALANCED);
}

/* ---- what may stand in arguments ---- */

enum { TO_END = INT_MIN };
enum {
    SETS_SEEN = 1 << 0,
    SETS_SEEN_SECTION = 1 << 1,
    TAKES_SECTION = 1 << 2,
    TAKES_SET = 1 << 3,
    TAKES_ENTRY = 1 << 4, /* two more strings, where the first is in quotes (RFC 7162 3.1.5) */
    TAKES_NUMBERS = 1 << 5
};
enum { ENTRY_ARGS = 3 };

struct item {
    const char *name;
    enum imap_cap needs;
    unsigned args; /* SEARCH: strings that follow; modifiers: whether a MODSEQ follows */
    unsigned flags;
};

static const struct item fetch_items[] = {
    {"ALL", CAP_NONE, 0, 0},
    {"FAST", CAP_NONE, 0, 0},
    {"FULL", CAP_NONE, 0, 0},
    {"UID", CAP_NONE, 0, 0},
    {"FLAGS", CAP_NONE, 0, 0},
    {"ENVELOPE", CAP_NONE, 0, 0},
    {"INTERNALDATE", CAP_NONE, 0, 0},
    {"BODYSTRUCTURE", CAP_NONE, 0, 0},
    {"BODY", CAP_NONE, 0, SETS_SEEN_SECTION | TAKES_SECTION},
    {"BODY.PEEK", CAP_NONE, 0, TAKES_SECTION},
    {"RFC822", CAP_NONE, 0, SETS_SEEN},
    {"RFC822.TEXT", CAP_NONE, 0, SETS_SEEN},
    {"RFC822.HEADER", CAP_NONE, 0, 0},
    {"RFC822.SIZE", CAP_NONE, 0, 0},
    {"BINARY", CAP_BINARY, 0, SETS_SEEN | TAKES_SECTION},
    {"BINARY.PEEK", CAP_BINARY, 0, TAKES_SECTION},
    {"BINARY.SIZE", CAP_BINARY, 0, TAKES_SECTION},
    {"SAVEDATE", CAP_SAVEDATE, 0, 0},
    {"PREVIEW", CAP_PREVIEW, 0, 0},
    {"LAZY", CAP_PREVIEW, 0, 0}, /* PREVIEW (LAZY) */
    {"SNIPPET", CAP_SNIPPET, 0, 0},
    {"FUZZY", CAP_SNIPPET, 0, 0}, /* SNIPPET (LAZY=FUZZY) */
    {"LAZY=FUZZY", CAP_SNIPPET, 0, 0},
    {"MODSEQ", CAP_CONDSTORE, 0, 0},
};

static const struct item fetch_modifiers[] = {
    {"CHANGEDSINCE", CAP_CONDSTORE, 1, 0},
    {"VANISHED", CAP_QRESYNC, 0, 0},
};

static const struct item store_modifiers[] = {
    {"UNCHANGEDSINCE", CAP_CONDSTORE, 1, 0},
};

static const struct item select_params[] = {
    {"CONDSTORE", CAP_CONDSTORE, 0, 0},
    {"QRESYNC", CAP_QRESYNC, 0, TAKES_NUMBERS},
};

static const struct item status_items[] = {
    {"MESSAGES", CAP_NONE, 0, 0},
    {"RECENT", CAP_NONE, 0, 0},
    {"UIDNEXT", CAP_NONE, 0, 0},
    {"UIDVALIDITY", CAP_NONE, 0, 0},
    {"UNSEEN", CAP_NONE, 0, 0},
    {"SIZE", CAP_STATUS_SIZE, 0, 0},
    {"APPENDLIMIT", CAP_APPENDLIMIT, 0, 0},
    {"DELETED", CAP_QUOTA_MESSAGE, 0, 0}, /* RFC 9208 4.1.4 */
    {"DELETED-STORAGE", CAP_QUOTA_STORAGE, 0, 0},
    {"HIGHESTMODSEQ", CAP_CONDSTORE, 0, 0},
};

static const struct item store_items[] = {
    {"FLAGS", CAP_NONE, 0, 0},        {"+FLAGS", CAP_NONE, 0, 0},        {"-FLAGS", CAP_NONE, 0, 0},
    {"FLAGS.SILENT", CAP_NONE, 0, 0}, {"+FLAGS.SILENT", CAP_NONE, 0, 0}, {"-FLAGS.SILENT", CAP_NONE, 0, 0},
};

static const struct item list_selects[] = {
    {"SUBSCRIBED", CAP_LIST_EXTENDED, 0, 0},
    {"REMOTE", CAP_LIST_EXTENDED, 0, 0},
    {"RECURSIVEMATCH", CAP_LIST_EXTENDED, 0, 0},
    {"SPECIAL-USE", CAP_SPECIAL_USE, 0, 0},
};

static const struct item list_returns[] = {
    {"SUBSCRIBED", CAP_LIST_EXTENDED, 0, 0},
    {"CHILDREN", CAP_LIST_EXTENDED, 0, 0},
    {"SPECIAL-USE", CAP_SPECIAL_USE, 0, 0},
    {"STATUS", CAP_LIST_STATUS, 0, 0},
};

static const struct item create_items[] = {
    {"USE", CAP_CREATE_SPECIAL_USE, 0, 0},
};

static const struct item search_returns[] = {
    {"MIN", CAP_ESEARCH, 0, 0},
    {"MAX", CAP_ESEARCH, 0, 0},
    {"ALL", CAP_ESEARCH, 0, 0},
    {"COUNT", CAP_ESEARCH, 0, 0},
    {"RELEVANCY", CAP_SEARCH_FUZZY, 0, 0},
};

static const struct item sort_criteria[] = {
    {"ARRIVAL", CAP_NONE, 0, 0},
    {"CC", CAP_NONE, 0, 0},
    {"DATE", CAP_NONE, 0, 0},
    {"FROM", CAP_NONE, 0, 0},
    {"REVERSE", CAP_NONE, 0, 0},
    {"SIZE", CAP_NONE, 0, 0},
    {"SUBJECT", CAP_NONE, 0, 0},
    {"TO", CAP_NONE, 0, 0},
    {"DISPLAYFROM", CAP_SORT_DISPLAY, 0, 0},
    {"DISPLAYTO", CAP_SORT_DISPLAY, 0, 0},
    {"RELEVANCY", CAP_SEARCH_FUZZY, 0, 0},
};

static const struct item thread_algorithms[] = {
    {"ORDEREDSUBJECT", CAP_THREAD_ORDEREDSUBJECT, 0, 0},
    {"REFERENCES", CAP_THREAD_REFERENCES, 0, 0},
    {"REFS", CAP_THREAD_REFS, 0, 0},
};

static const struct item search_keys[] = {
    {"ALL", CAP_NONE, 0, 0},
    {"ANSWERED", CAP_NONE, 0, 0},
    {"BCC", CAP_NONE, 1, 0},
    {"BEFORE", CAP_NONE, 1, 0},
    {"BODY", CAP_NONE, 1, 0},
    {"CC", CAP_NONE, 1, 0},
    {"CHARSET", CAP_NONE, 1, 0}, /* in front of the keys */
    {"DELETED", CAP_NONE, 0, 0},
    {"DRAFT", CAP_NONE, 0, 0},
    {"FLAGGED", CAP_NONE, 0, 0},
    {"FROM", CAP_NONE, 1, 0},
    {"HEADER", CAP_NONE, 2, 0},
    {"KEYWORD", CAP_NONE, 1, 0},
    {"LARGER", CAP_NONE, 1, 0},
    {"NEW", CAP_NONE, 0, 0},
    {"NOT", CAP_NONE, 0, 0},
    {"OLD", CAP_NONE, 0, 0},
    {"ON", CAP_NONE, 1, 0},
    {"OR", CAP_NONE, 0, 0},
    {"RECENT", CAP_NONE, 0, 0},
    {"SEEN", CAP_NONE, 0, 0},
    {"SENTBEFORE", CAP_NONE, 1, 0},
    {"SENTON", CAP_NONE, 1, 0},
    {"SENTSINCE", CAP_NONE, 1, 0},
    {"SINCE", CAP_NONE, 1, 0},
    {"SMALLER", CAP_NONE, 1, 0},
    {"SUBJECT", CAP_NONE, 1, 0},
    {"TEXT", CAP_NONE, 1, 0},
    {"TO", CAP_NONE, 1, 0},
    {"UID", CAP_NONE, 1, TAKES_SET},
    {"UNANSWERED", CAP_NONE, 0, 0},
    {"UNDELETED", CAP_NONE, 0, 0},
    {"UNDRAFT", CAP_NONE, 0, 0},
    {"UNFLAGGED", CAP_NONE, 0, 0},
    {"UNKEYWORD", CAP_NONE, 1, 0},
    {"UNSEEN", CAP_NONE, 0, 0},
    {"OLDER", CAP_WITHIN, 1, 0},
    {"YOUNGER", CAP_WITHIN, 1, 0},
    {"SAVEDBEFORE", CAP_SAVEDATE, 1, 0},
    {"SAVEDON", CAP_SAVEDATE, 1, 0},
    {"SAVEDSINCE", CAP_SAVEDATE, 1, 0},
    {"SAVEDATESUPPORTED", CAP_SAVEDATE, 0, 0},
    {"FUZZY", CAP_SEARCH_FUZZY, 0, 0},
    {"MODSEQ", CAP_CONDSTORE, 1, TAKES_ENTRY},
};

/* Hidden words with a text of their own, which clients show to people. */
#define HIDDEN(word)                                                                                         \
    {                                                                                                        \
        word, word " is not offered here"                                                                    \
    }
static const struct {
    const char *word, *why;
} hidden[] = {
    HIDDEN("MODSEQ"),
    HIDDEN("CHANGEDSINCE"),
    HIDDEN("UNCHANGEDSINCE"),
    HIDDEN("VANISHED"),
    HIDDEN("CONDSTORE"),
    HIDDEN("QRESYNC"),
    HIDDEN("HIGHESTMODSEQ"),
    HIDDEN("EMAILID"),
    HIDDEN("THREADID"),
    HIDDEN("MAILBOXID"),
    HIDDEN("SAVE"),
    HIDDEN("PARTIAL"),
    HIDDEN("CONTEXT"),
    HIDDEN("UPDATE"),
    HIDDEN("ANNOTATION"),
    HIDDEN("ANNOTATE"),
    HIDDEN("CATENATE"),
    HIDDEN("UTF8"),
    HIDDEN("FILTER"),
    HIDDEN("UIDAFTER"),
    HIDDEN("UIDBEFORE"),
    HIDDEN("MYRIGHTS"),
    HIDDEN("METADATA"),
    HIDDEN("X-GUID"),
    HIDDEN("X-REAL-UID"),
    HIDDEN("X-MAILBOX"),
    HIDDEN("X-GM-MSGID"),
    HIDDEN("X-GM-THRID"),
    HIDDEN("X-GM-LABELS"),
    HIDDEN("X-GM-RAW"),
    HIDDEN("$"),
    HIDDEN("BINARY"),
    HIDDEN("RETURN"),
    HIDDEN("STATUS"),
};
#undef HIDDEN

static const char *hidden_text(struct span word)
{
    for (size_t i = 0; i < COUNTOF(hidden); i++)
        if (span_is_ci(word, hidden[i].word))
            return hidden[i].why;
    return NULL;
}

static bool refuse_word(struct walk *w, struct span word, const char *otherwise)
{
    const char *text = hidden_text(word);
    return allow_refuse(w->why, text ? text : otherwise);
}

static bool is_shown(const struct walk *w, enum imap_cap cap)
{
    return cap == CAP_NONE || imap_caps_has(w->shown, cap);
}

static const struct item *find_item(const struct item *items, size_t n, struct span name)
{
    for (size_t i = 0; i < n; i++)
        if (span_is_ci(name, items[i].name))
            return &items[i];
    return NULL;
}

/* Refuses an atom that is not in the table, or not shown. */
static const struct item *allow_item(struct walk *w, const struct item *items, size_t n, struct span name,
                                     const char *otherwise)
{
    const struct item *item = find_item(items, n, name);
    if (item && is_shown(w, item->needs)) {
        w->condstore |= item->needs == CAP_CONDSTORE;
        return item;
    }
    refuse_word(w, name, otherwise);
    return NULL;
}

/* An atom of the table, with a section where it may have one. Strings are not looked into, so there may be
 * none. */
static bool allow_word(struct walk *w, const struct item *items, size_t n, const struct word *word,
                       const char *otherwise)
{
    if (word->kind != WORD_ATOM)
        return allow_refuse(w->why, otherwise);
    const struct item *item = allow_item(w, items, n, word->name, otherwise);
    bool section = word->name.len < word->text.len;
    return item && (!section || (item->flags & TAKES_SECTION) || allow_refuse(w->why, otherwise));
}

/* All words up to the end of the part, or to the parenthesis that closes the level down_to, must be in the
 * table. */
static bool allow_all(struct walk *w, const struct item *items, size_t n, int down_to, const char *otherwise)
{
    struct word word;
    do {
        if (!allow_next_word(w, &word))
            return false;
        bool is_text = word.kind == WORD_ATOM || word.kind == WORD_QUOTED || word.kind == WORD_LITERAL;
        if (is_text && !allow_word(w, items, n, &word, otherwise))
            return false;
    } while (word.kind != WORD_END && !(word.kind == WORD_CLOSE && w->depth == down_to));
    return true;
}

/* To the end of a list whose "(" was just read. */
static bool skip_list(struct walk *w)
{
    struct word word;
    int down_to = w->depth - 1;
    do {
        if (!allow_next_word(w, &word))
            return false;
    } while (word.kind != WORD_END && !(word.kind == WORD_CLOSE && w->depth == down_to));
    return true;
}

/* Flags, in a list whose "(" was just read: atoms alone. Dovecot 2.3 waits for ever where APPEND has a
 * literal among them. */
static bool skip_flags(struct walk *w)
{
    struct word word;
    do {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind != WORD_ATOM && word.kind != WORD_CLOSE)
            return allow_refuse(w->why, word.kind == WORD_END ? UNBALANCED : "Invalid flag");
    } while (word.kind != WORD_CLOSE);
    return true;
}

/* Flags without a list around them (RFC 3501 9 store-att-flags), or one list. */
static bool check_flags(struct walk *w)
{
    struct word word;
    do {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind == WORD_OPEN && !skip_flags(w))
            return false;
        if (word.kind == WORD_QUOTED || word.kind == WORD_LITERAL)
            return allow_refuse(w->why, "Invalid flag");
    } while (word.kind != WORD_END);
    return true;
}

/* A MODSEQ, or 0 (RFC 7162 7): up to 63 bits. */
static bool allow_modseq(struct walk *w)
{
    struct word word;
    uint64_t modseq;
    if (!allow_next_word(w, &word))
        return false;
    return (word.kind == WORD_ATOM && span_u64(word.text, INT64_MAX, &modseq)) ||
           allow_refuse(w->why, "Invalid MODSEQ");
}

/* A list of numbers and sets, with lists in it, to its end. */
static bool allow_numbers(struct walk *w, const char *otherwise)
{
    struct word word;
    int down_to = w->depth;
    if (peek_kind(w) != WORD_OPEN)
        return allow_refuse(w->why, otherwise);
    do {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind == WORD_QUOTED || word.kind == WORD_LITERAL || word.kind == WORD_END)
            return allow_refuse(w->why, otherwise);
        for (size_t i = 0; word.kind == WORD_ATOM && i < word.text.len; i++)
            if (!strchr("0123456789:,", word.text.p[i]))
                return allow_refuse(w->why, otherwise);
    } while (w->depth > down_to);
    return true;
}

/* What an item of a list of modifiers or parameters takes. */
static bool allow_argument(struct walk *w, const struct item *item, const char *otherwise)
{
    if (item->args > 0 && !allow_modseq(w))
        return false;
    return !(item->flags & TAKES_NUMBERS) || allow_numbers(w, otherwise);
}

/* Modifiers of STORE, parameters of SELECT (RFC 4466), to the end of the list whose "(" was just read. */
static bool allow_modifiers(struct walk *w, const struct item *items, size_t n, const char *otherwise)
{
    struct word word;
    int down_to = w->depth - 1;
    for (;;) {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind == WORD_CLOSE && w->depth == down_to)
            return true;
        if (word.kind == WORD_END)
            return allow_refuse(w->why, UNBALANCED);
        if (!allow_word(w, items, n, &word, otherwise) ||
            !allow_argument(w, find_item(items, n, word.text), otherwise))
            return false;
    }
}

/* ---- one function a kind of command; each sees one line part ---- */

/* The message set that begins the arguments. */
static bool check_set(struct walk *w)
{
    struct word word;
    if (!w->first)
        return true;
    if (!allow_next_word(w, &word))
        return false;
    if (span_is(word.text, "$"))
        return refuse_word(w, word.text, NULL);
    return word.kind == WORD_ATOM || word.kind == WORD_END || allow_refuse(w->why, "Invalid message set");
}

/* No more than the command takes: Dovecot 2.3 leaves the rest unread, and takes the body of a literal there
 * for commands. */
static bool check_args(struct walk *w)
{
    struct word word;
    for (;; w->due--) {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind == WORD_END)
            return true;
        if (w->due == 0)
            return allow_refuse(w->why, "Too many arguments");
        if (word.kind == WORD_OPEN && !skip_list(w))
            return false;
    }
}

static bool check_set_and_args(struct walk *w)
{
    return check_set(w) && check_args(w);
}

static bool check_fetch_modifiers(struct walk *w, const char *otherwise)
{
    struct word word;
    do {
        if (!allow_next_word(w, &word))
            return false;
        const struct item *item =
            word.kind == WORD_ATOM ? find_item(fetch_modifiers, COUNTOF(fetch_modifiers), word.text) : NULL;
        const struct item *items = item ? fetch_modifiers : fetch_items;
        size_t n = item ? COUNTOF(fetch_modifiers) : COUNTOF(fetch_items);
        bool is_text = word.kind == WORD_ATOM || word.kind == WORD_QUOTED || word.kind == WORD_LITERAL;
        if (is_text && !allow_word(w, items, n, &word, otherwise))
            return false;
        if (item && !allow_argument(w, item, otherwise))
            return false;
    } while (word.kind != WORD_END && w->depth > 0);
    return true;
}

/* A list behind the items has modifiers, or belongs to the one before it (PREVIEW). Of a part behind a
 * literal, what is not in a list is the end of the only item. */
static bool check_fetch(struct walk *w)
{
    static const char unknown[] = "Unknown FETCH item";
    bool has_items = !w->first && w->depth == 0;
    struct word word;
    if (!check_set(w))
        return false;
    for (;;) {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind == WORD_END)
            return true;
        bool is_text = word.kind == WORD_ATOM || word.kind == WORD_QUOTED || word.kind == WORD_LITERAL;
        if (is_text && !allow_word(w, fetch_items, COUNTOF(fetch_items), &word, unknown))
            return false;
        if (word.kind == WORD_OPEN && w->depth == 1 && has_items && !check_fetch_modifiers(w, unknown))
            return false;
        has_items |= w->depth == 0;
    }
}

static bool allow_check_store(struct walk *w)
{
    struct word word;
    if (!w->first)
        return true;
    if (!check_set(w) || !allow_next_word(w, &word))
        return false;
    if (word.kind == WORD_OPEN) {
        if (!allow_modifiers(w, store_modifiers, COUNTOF(store_modifiers), "Unknown STORE modifier") ||
            !allow_next_word(w, &word))
            return false;
    }
    return word.kind == WORD_END ||
           (allow_word(w, store_items, COUNTOF(store_items), &word, "Unknown STORE item") && check_flags(w));
}

/* Steps over the mailbox name, which may be any word. */
static bool skip_mailbox(struct walk *w)
{
    struct word word;
    return !w->first || allow_next_word(w, &word);
}

static bool check_select(struct walk *w)
{
    static const char unknown[] = "Unknown SELECT parameter";
    struct word word;
    if (!skip_mailbox(w) || !allow_next_word(w, &word))
        return false;
    if (word.kind == WORD_OPEN) {
        if (!allow_modifiers(w, select_params, COUNTOF(select_params), unknown) || !allow_next_word(w, &word))
            return false;
    }
    return word.kind == WORD_END || refuse_word(w, word.text, unknown);
}

static bool check_status(struct walk *w)
{
    return skip_mailbox(w) &&
           allow_all(w, status_items, COUNTOF(status_items), TO_END, "Unknown STATUS item");
}

static bool check_create(struct walk *w)
{
    struct word word;
    if (!skip_mailbox(w))
        return false;
    int base = w->depth;
    do {
        if (!allow_next_word(w, &word))
            return false;
        bool is_text = word.kind == WORD_ATOM || word.kind == WORD_QUOTED || word.kind == WORD_LITERAL;
        if (is_text && !allow_word(w, create_items, COUNTOF(create_items), &word, "Unknown CREATE parameter"))
            return false;
        if (word.kind == WORD_OPEN && w->depth == base + 2 && !skip_flags(w)) /* USE ( \Sent ) */
            return false;
    } while (word.kind != WORD_END);
    return true;
}

/* Behind the mailbox come flags in parentheses, a quoted date and literals, nothing else. */
static bool check_append(struct walk *w)
{
    struct word word;
    if (!skip_mailbox(w))
        return false;
    do {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind == WORD_OPEN && !skip_flags(w))
            return false;
        if (word.kind == WORD_ATOM)
            return refuse_word(w, word.text, "Unknown APPEND argument");
        if (word.kind == WORD_LITERAL && word.text.p[0] == '~' && !is_shown(w, CAP_BINARY))
            return refuse_word(w, span_str("BINARY"), NULL);
    } while (word.kind != WORD_END);
    return true;
}

/* Behind RETURN, whose "(" is next. */
static bool check_list_return(struct walk *w)
{
    struct word word;
    int down_to = w->depth;
    bool status = false;
    do {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind == WORD_OPEN && status &&
            !allow_all(w, status_items, COUNTOF(status_items), w->depth - 1, "Unknown STATUS item"))
            return false;
        if (word.kind == WORD_QUOTED || word.kind == WORD_LITERAL)
            return allow_refuse(w->why, "Unknown LIST option");
        if (word.kind == WORD_ATOM &&
            !allow_item(w, list_returns, COUNTOF(list_returns), word.text, "Unknown LIST option"))
            return false;
        status = word.kind == WORD_ATOM && span_is_ci(word.text, "STATUS");
    } while (word.kind != WORD_END && !(word.kind == WORD_CLOSE && w->depth == down_to));
    return true;
}

/* LIST [(options)] reference pattern-or-patterns [RETURN (options)]; a mailbox may be called RETURN. */
static bool allow_check_list(struct walk *w)
{
    struct word word;
    size_t args = w->first ? 0 : 2;
    if (w->first && peek_kind(w) == WORD_OPEN) {
        if (!allow_next_word(w, &word) ||
            !allow_all(w, list_selects, COUNTOF(list_selects), 0, "Unknown LIST option"))
            return false;
    }
    do {
        if (!allow_next_word(w, &word))
            return false;
        bool is_return = word.kind == WORD_ATOM && span_is_ci(word.text, "RETURN") && args >= 2;
        if (is_return && peek_kind(w) == WORD_OPEN && !check_list_return(w))
            return false;
        if (word.kind == WORD_OPEN && !skip_list(w))
            return false;
        args++;
    } while (word.kind != WORD_END);
    return true;
}

/* Sets begin like this; no key does. */
static bool allow_is_set(struct span s)
{
    return s.len > 0 && ((s.p[0] >= '0' && s.p[0] <= '9') || s.p[0] == '*');
}

/* The argument of the UID key: a set, also in quotes; what is in a literal can't be seen. */
static bool is_shown_set(const struct word *word)
{
    struct span set = word->text;
    if (word->kind == WORD_QUOTED)
        set = span_of(set.p + 1, set.len - 2);
    return word->kind != WORD_LITERAL && allow_is_set(set);
}

/* How many strings a key takes that was just read. */
static unsigned args_of_key(const struct walk *w, const struct item *key)
{
    size_t i = w->at;
    while (is_one_of(w, i, " "))
        i++;
    return (key->flags & TAKES_ENTRY) && is_one_of(w, i, "\"") ? ENTRY_ARGS : key->args;
}

/* One word, where a key or the string of one is due. *key: the key before, NULL for none in this part. */
static bool check_key(struct walk *w, const struct word *word, const struct item **key)
{
    bool bracket = word->kind == WORD_OPEN || word->kind == WORD_CLOSE;
    if (w->due > 0) {
        w->due--;
        if (*key && ((*key)->flags & TAKES_SET) && !is_shown_set(word))
            return refuse_word(w, word->text, "Invalid message set");
        return !bracket || allow_refuse(w->why, "Argument of a SEARCH key missing");
    }
    *key = NULL;
    if (bracket || (word->kind == WORD_ATOM && allow_is_set(word->text)))
        return true;
    if (!allow_word(w, search_keys, COUNTOF(search_keys), word, "Unknown SEARCH key"))
        return false;
    *key = find_item(search_keys, COUNTOF(search_keys), word->text);
    w->due = args_of_key(w, *key);
    return true;
}

static bool check_keys(struct walk *w)
{
    struct word word;
    const struct item *key = NULL;
    for (;;) {
        if (!allow_next_word(w, &word))
            return false;
        if (word.kind == WORD_END)
            return true;
        if (!check_key(w, &word, &key))
            return false;
    }
}

/* Eats RETURN ( ... ) where it stands next. */
static bool check_search_return(struct walk *w)
{
    struct walk ahead = *w;
    struct word word;
    if (!allow_next_word(&ahead, &word))
        return false;
    if (!span_is_ci(word.text, "RETURN"))
        return true;
    if (!is_shown(w, CAP_ESEARCH))
        return refuse_word(w, word.text, NULL);
    *w = ahead;
    if (peek_kind(w) != WORD_OPEN || !allow_next_word(w, &word))
        return allow_refuse(w->why, "List missing behind RETURN");
    return allow_all(w, search_returns, COUNTOF(search_returns), 0, "Unknown RETURN option");
}

static bool check_search(struct walk *w)
{
    if (w->first && !check_search_return(w))
        return false;
    return check_keys(w);
}

/* SORT (criteria) charset keys */
static bool check_sort(struct walk *w)
{
    struct word word;
    if (!w->first)
        return check_keys(w);
    if (!allow_next_word(w, &word))
        return false;
    if (word.kind != WORD_OPEN) /* RETURN of ESORT */
        return refuse_word(w, word.text, "SORT criteria missing");
    if (!allow_all(w, sort_criteria, COUNTOF(sort_criteria), 0, "Unknown SORT criterion"))
        return false;
    return allow_next_word(w, &word) && check_keys(w);
}

/* THREAD algorithm charset keys */
static bool check_thread(struct walk *w)
{
    struct word word;
    if (!w->first)
        return check_keys(w);
    if (!allow_next_word(w, &word))
        return false;
    if (!allow_item(w, thread_algorithms, COUNTOF(thread_algorithms), word.text, "Unknown THREAD algorithm"))
        return false;
    return allow_next_word(w, &word) && check_keys(w);
}

/* Verbs without a row: nothing in their arguments can belong to a hidden extension. */
static const struct {
    bool (*check)(struct walk *w);
    unsigned args; /* for check_args() */
} checks[VERB_COUNT] = {
    [VERB_CAPABILITY] = {check_args, 0},
    [VERB_NOOP] = {check_args, 0},
    [VERB_LOGOUT] = {check_args, 0},
    [VERB_NAMESPACE] = {check_args, 0},
    [VERB_IDLE] = {check_args, 0},
    [VERB_CHECK] = {check_args, 0},
    [VERB_CLOSE] = {check_args, 0},
    [VERB_UNSELECT] = {check_args, 0},
    [VERB_EXPUNGE] = {check_args, 0},
    [VERB_SELECT] = {check_select, 0},
    [VERB_EXAMINE] = {check_select, 0},
    [VERB_CREATE] = {check_create, 0},
    [VERB_DELETE] = {check_args, 1},
    [VERB_RENAME] = {check_args, 2},
    [VERB_SUBSCRIBE] = {check_args, 1},
    [VERB_UNSUBSCRIBE] = {check_args, 1},
    [VERB_LIST] = {allow_check_list, 0},
    [VERB_LSUB] = {check_args, 2},
    [VERB_STATUS] = {check_status, 0},
    [VERB_APPEND] = {check_append, 0},
    [VERB_SEARCH] = {check_search, 0},
    [VERB_FETCH] = {check_fetch, 0},
    [VERB_STORE] = {allow_check_store, 0},
    [VERB_COPY] = {check_set_and_args, 1},
    [VERB_MOVE] = {check_set_and_args, 1},
    [VERB_SORT] = {check_sort, 0},
    [VERB_THREAD] = {check_thread, 0},
    [VERB_UID_EXPUNGE] = {check_set_and_args, 0},
    [VERB_UID_SEARCH] = {check_search, 0},
    [VERB_UID_FETCH] = {check_fetch, 0},
    [VERB_UID_STORE] = {allow_check_store, 0},
    [VERB_UID_COPY] = {check_set_and_args, 1},
    [VERB_UID_MOVE] = {check_set_and_args, 1},
    [VERB_UID_SORT] = {check_sort, 0},
    [VERB_UID_THREAD] = {check_thread, 0},
    [VERB_GETQUOTA] = {check_args, 1},
    [VERB_GETQUOTAROOT] = {check_args, 1},
    [VERB_SETQUOTA] = {check_args, 2},
    [VERB_GETACL] = {check_args, 1},
    [VERB_SETACL] = {check_args, 3},
    [VERB_DELETEACL] = {check_args, 2},
    [VERB_LISTRIGHTS] = {check_args, 2},
    [VERB_MYRIGHTS] = {check_args, 1},
};

static bool allow_is_fetch(const struct imap_cmd *cmd)
{
    return cmd->verb == VERB_FETCH || cmd->verb == VERB_UID_FETCH;
}

static bool verb_shown(enum imap_verb verb, const struct imap_caps *shown)
{
    switch (verb) {
    case VERB_THREAD:
    case VERB_UID_THREAD:
        return imap_caps_has(shown, CAP_THREAD_REFERENCES) || imap_caps_has(shown, CAP_THREAD_REFS) ||
               imap_caps_has(shown, CAP_THREAD_ORDEREDSUBJECT);
    case VERB_GETMETADATA:
    case VERB_SETMETADATA:
        return imap_caps_has(shown, CAP_METADATA) || imap_caps_has(shown, CAP_METADATA_SERVER);
    default:
        return imap_verbs[verb].needs == CAP_NONE || imap_caps_has(shown, imap_verbs[verb].needs);
    }
}

static bool check_verb(enum imap_verb verb, const struct imap_caps *shown, const char **why)
{
    if (verb == VERB_UNKNOWN)
        return allow_refuse(why, "Unknown command");
    if (verb == VERB_LOGIN || verb == VERB_AUTHENTICATE || verb == VERB_STARTTLS)
        return allow_refuse(why, "Already logged in");
    return verb_shown(verb, shown) || allow_refuse(why, "This command is not offered here");
}

static struct walk begin_walk(const struct imap_cmd *cmd, struct span part, bool first)
{
    size_t at = first && cmd->args < part.len ? cmd->args : first ? part.len : 0;
    struct walk w = {.part = part, .at = at, .first = first, .sections = allow_is_fetch(cmd)};
    w.literal8 = cmd->verb == VERB_APPEND || cmd->verb == VERB_SETMETADATA;
    return w;
}

bool imap_cmd_allowed(struct imap_cmd *cmd, struct span part, bool first, const struct imap_caps *shown,
                      const char **why)
{
    if (!check_verb(cmd->verb, shown, why))
        return false;
    struct walk w = begin_walk(cmd, part, first);
    w.shown = shown;
    w.why = why;
    w.due = first ? checks[cmd->verb].args : cmd->due;
    w.depth = first ? 0 : cmd->depth;
    w.section = first ? 0 : cmd->section;
    if (!first && part.len > 0 && !is_one_of(&w, 0, " )"))
        return allow_refuse(why, "No blank behind a literal");
    /* A part of FETCH behind a literal begins within a section: nothing else in FETCH can be a literal. */
    if (!first && allow_is_fetch(cmd) && !skip_section(&w))
        return false;
    bool ok = check_words(w, &cmd->depth, &cmd->section) &&
              (!checks[cmd->verb].check || checks[cmd->verb].check(&w));
    cmd->due = w.due;
    cmd->condstore = (!first && cmd->condstore) || w.condstore;
    return ok;
}

bool imap_cmd_search_key(struct span word, unsigned *_args, bool *_set)
{
    const struct item *key = find_item(search_keys, COUNTOF(search_keys), word);
    if (!key)
        return false;
    *_args = key->args;
    *_set = key->flags & TAKES_SET;
    return true;
}

bool imap_cmd_reads(const struct imap_cmd *cmd, struct span line)
{
    const char *why;
    struct word word;
    if (cmd->verb == VERB_UNKNOWN || !allow_is_fetch(cmd))
        return cmd->verb != VERB_UNKNOWN && (imap_verbs[cmd->verb].flags & VERB_READS);
    struct walk w = begin_walk(cmd, line, true);
    w.why = &why;
    if (ends_in_marker(line) || !allow_next_word(&w, &word)) /* the set */
        return false;
    while (allow_next_word(&w, &word)) {
        if (word.kind == WORD_END)
            return true;
        if (word.kind != WORD_ATOM)
            continue;
        const struct item *item = find_item(fetch_items, COUNTOF(fetch_items), word.name);
        const struct item *modifier = find_item(fetch_modifiers, COUNTOF(fetch_modifiers), word.name);
        if (modifier && !(modifier->args > 0 && !allow_next_word(&w, &word)))
            continue;
        bool section = word.name.len < word.text.len;
        if (!item || (item->flags & SETS_SEEN) || (section && (item->flags & SETS_SEEN_SECTION)))
            return false;
    }
    return false;
}

/* Of all messages, and so of none by its number, "1:*" too. */
static bool is_set_of_some(struct span word)
{
    return allow_is_set(word) && !span_is(word, "1:*");
}

/* A set that is not the argument of the key before it. */
static bool searches_by_number(const struct imap_cmd *cmd, struct span line)
{
    const char *why;
    struct walk w = begin_walk(cmd, line, true);
    struct word word;
    unsigned args = 0;
    w.why = &why;
    while (allow_next_word(&w, &word) && word.kind != WORD_END) {
        const struct item *key = word.kind == WORD_ATOM && args == 0
                                     ? find_item(search_keys, COUNTOF(search_keys), word.text)
                                     : NULL;
        if (args == 0 && word.kind == WORD_ATOM && is_set_of_some(word.text))
            return true;
        args = key ? args_of_key(&w, key) : args > 0 ? args - 1 : 0;
    }
    return false;
}

bool imap_cmd_uses_numbers(const struct imap_cmd *cmd, struct span line)
{
    switch (cmd->verb) {
    case VERB_FETCH:
    case VERB_STORE:
    case VERB_COPY:
    case VERB_MOVE:
    case VERB_SEARCH:
    case VERB_SORT:
    case VERB_THREAD:
        return true;
    case VERB_UID_SEARCH:
    case VERB_UID_SORT:
    case VERB_UID_THREAD:
        return searches_by_number(cmd, line);
    default:
        return false;
    }
}

/* What can be enabled at all (RFC 5161 3.1, 7162 3.1.8 and 3.2.3, 9755 3, 9051 6.3.1). */
static const struct item enable_names[] = {
    {"CONDSTORE", CAP_CONDSTORE, 0, 0},
    {"QRESYNC", CAP_QRESYNC, 0, 0},
    {"UTF8=ACCEPT", CAP_UTF8_ACCEPT, 0, 0},
    {"IMAP4rev2", CAP_IMAP4REV2, 0, 0},
};

void imap_cmd_filter_enable(struct buf *out, struct span args, const struct imap_caps *shown)
{
    const char *why, *blank = "";
    struct walk w = {.part = args, .why = &why};
    struct word word;
    uint64_t taken = 0;
    while (allow_next_word(&w, &word) && word.kind != WORD_END) {
        const struct item *item = find_item(enable_names, COUNTOF(enable_names), word.text);
        uint64_t bit = item ? UINT64_C(1) << (item - enable_names) : 0;
        if (!item || (taken & bit) || !imap_caps_has(shown, item->needs))
            continue;
        taken |= bit;
        buf_printf(out, "%s%s", blank, item->name);
        blank = " ";
    }
}
