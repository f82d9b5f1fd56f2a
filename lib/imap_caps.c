/* The policy. What a client sees before and after the flip must be the same, and nothing may be offered that
 * carries an identifier which is not translated:
 *
 *   SHOW      shown after login where both backends have it: it carries no UID, UIDVALIDITY, MODSEQ or object
 *             id, or one that the view translates
 *   HIDE      not shown, and its commands and items are refused (imap_cmd)
 *   OURS      the proxy does it itself: what backends have of it is not asked, and never shown
 *   PRELOGIN  only means something before login, where the front door writes its own list
 *
 * Rows without a cap are there to say why a name is hidden; a name without a row is hidden as well. */
#include <strings.h>

#include "imap_caps.h"

enum show { SHOW, HIDE, OURS, PRELOGIN };

struct cap_row {
    const char *name; /* a "*" at the end stands for anything */
    enum imap_cap cap;
    enum show show;
};

/* A capability that has two names is written by the first. */
static const struct cap_row rows[] = {
    {"IMAP4rev1", CAP_IMAP4REV1, SHOW},
    {"STARTTLS", CAP_STARTTLS, PRELOGIN},
    {"LOGINDISABLED", CAP_LOGINDISABLED, PRELOGIN},
    {"SASL-IR", CAP_SASL_IR, PRELOGIN},
    {"AUTH=PLAIN", CAP_AUTH_PLAIN, PRELOGIN},
    {"AUTH=LOGIN", CAP_AUTH_LOGIN, PRELOGIN},
    {"AUTH=XOAUTH2", CAP_AUTH_XOAUTH2, PRELOGIN},
    {"AUTH=OAUTHBEARER", CAP_AUTH_OAUTHBEARER, PRELOGIN},
    {"AUTH=EXTERNAL", CAP_AUTH_EXTERNAL, PRELOGIN},
    {"AUTH=*", CAP_NONE, PRELOGIN},
    {"X-PROXYAUTH", CAP_PROXYAUTH, PRELOGIN}, /* for our own sign-in */
    {"XPROXYAUTH", CAP_PROXYAUTH, PRELOGIN},
    {"PROXYAUTH", CAP_PROXYAUTH, PRELOGIN},

    /* The view translates what these carry. */
    {"UIDPLUS", CAP_UIDPLUS, SHOW},
    {"MOVE", CAP_MOVE, SHOW},
    {"ESEARCH", CAP_ESEARCH, SHOW},
    {"SORT", CAP_SORT, SHOW},
    {"SORT=DISPLAY", CAP_SORT_DISPLAY, SHOW},
    {"THREAD=REFERENCES", CAP_THREAD_REFERENCES, SHOW},
    {"THREAD=ORDEREDSUBJECT", CAP_THREAD_ORDEREDSUBJECT, SHOW},
    {"THREAD=REFS", CAP_THREAD_REFS, SHOW},
    {"LIST-STATUS", CAP_LIST_STATUS, SHOW},
    {"MULTIAPPEND", CAP_MULTIAPPEND, SHOW},
    {"CONDSTORE", CAP_CONDSTORE, SHOW}, /* where the MODSEQs of the account go on: imap_caps_hide_modseqs() */
    {"QRESYNC", CAP_QRESYNC, SHOW},

    /* No identifiers in these. */
    {"IDLE", CAP_IDLE, SHOW},
    {"NAMESPACE", CAP_NAMESPACE, SHOW},
    {"ID", CAP_ID, SHOW},
    {"ENABLE", CAP_ENABLE, SHOW}, /* filtered, see imap_cmd_filter_enable() */
    {"UNSELECT", CAP_UNSELECT, SHOW},
    {"CHILDREN", CAP_CHILDREN, SHOW},
    {"LIST-EXTENDED", CAP_LIST_EXTENDED, SHOW},
    {"SPECIAL-USE", CAP_SPECIAL_USE, SHOW},
    {"CREATE-SPECIAL-USE", CAP_CREATE_SPECIAL_USE, SHOW},
    {"LITERAL+", CAP_LITERAL_PLUS, SHOW},
    {"LITERAL-", CAP_LITERAL_MINUS, SHOW},
    {"BINARY", CAP_BINARY, SHOW},
    {"QUOTA", CAP_QUOTA, SHOW},
    {"QUOTASET", CAP_QUOTASET, SHOW},
    {"QUOTA=RES-STORAGE", CAP_QUOTA_STORAGE, SHOW},
    {"QUOTA=RES-MESSAGE", CAP_QUOTA_MESSAGE, SHOW},
    {"QUOTA=RES-MAILBOX", CAP_QUOTA_MAILBOX, SHOW},
    {"QUOTA=RES-ANNOTATION-STORAGE", CAP_QUOTA_ANNOTATION, SHOW},
    {"ACL", CAP_ACL, SHOW},
    {"RIGHTS=tekx", CAP_RIGHTS, SHOW}, /* any order of at least these letters */
    {"METADATA", CAP_METADATA, SHOW},
    {"METADATA-SERVER", CAP_METADATA_SERVER, SHOW},
    {"WITHIN", CAP_WITHIN, SHOW},
    {"STATUS=SIZE", CAP_STATUS_SIZE, SHOW},
    {"SAVEDATE", CAP_SAVEDATE, SHOW},
    {"PREVIEW", CAP_PREVIEW, SHOW},
    {"APPENDLIMIT", CAP_APPENDLIMIT, SHOW},
    {"I18NLEVEL=1", CAP_I18NLEVEL_1, SHOW},
    {"I18NLEVEL=2", CAP_I18NLEVEL_1, SHOW}, /* has all of level 1 (RFC 5255 4.4); COMPARATOR is not offered */
    {"SNIPPET=FUZZY", CAP_SNIPPET, SHOW},
    {"INPROGRESS", CAP_INPROGRESS, SHOW},
    {"SEARCH=FUZZY", CAP_SEARCH_FUZZY, SHOW},

    {"SEARCHRES", CAP_SEARCHRES, HIDE}, /* until "$" is carried over the flip */
    {"NOTIFY", CAP_NOTIFY, HIDE},
    {"COMPRESS=DEFLATE", CAP_COMPRESS_DEFLATE, OURS}, /* between server and client it would blind the relay */
    {"UTF8=ACCEPT", CAP_UTF8_ACCEPT, HIDE},           /* until names are normalised */
    {"UTF8=ONLY", CAP_NONE, HIDE},
    {"OBJECTID", CAP_OBJECTID, HIDE},
    {"REPLACE", CAP_REPLACE, HIDE},
    {"CATENATE", CAP_CATENATE, HIDE},
    {"ESORT", CAP_ESORT, HIDE},
    {"CONTEXT=SEARCH", CAP_CONTEXT_SEARCH, HIDE},
    {"CONTEXT=*", CAP_NONE, HIDE},
    {"URLAUTH", CAP_URLAUTH, HIDE},
    {"URLAUTH*", CAP_NONE, HIDE},
    {"URL-PARTIAL", CAP_NONE, HIDE},
    {"BURL*", CAP_NONE, HIDE},
    {"MULTISEARCH", CAP_MULTISEARCH, HIDE},
    {"PARTIAL", CAP_PARTIAL, HIDE},
    {"UNAUTHENTICATE", CAP_UNAUTHENTICATE, HIDE}, /* another user under the same route */
    {"IMAP4rev2", CAP_IMAP4REV2, HIDE},           /* until its ESEARCH answers are translated */
    {"XLIST", CAP_XLIST, HIDE},
    {"ANNOTATEMORE", CAP_ANNOTATEMORE, HIDE},
    {"X-REPLICATION", CAP_X_REPLICATION, HIDE},
    {"IMAPSIEVE=*", CAP_IMAPSIEVE, HIDE}, /* of its own ManageSieve */
    {"ANNOTATE-*", CAP_NONE, HIDE},
    {"LOGIN-REFERRALS", CAP_NONE, HIDE},
    {"MAILBOX-REFERRALS", CAP_NONE, HIDE},
    {"UIDONLY", CAP_NONE, HIDE},
    {"MESSAGELIMIT=*", CAP_NONE, HIDE},
    {"CONVERT", CAP_NONE, HIDE},
    {"FILTERS", CAP_NONE, HIDE},
    {"JMAPACCESS", CAP_NONE, HIDE},
    {"LIST-METADATA", CAP_NONE, HIDE},
    {"LIST-MYRIGHTS", CAP_NONE, HIDE},
    {"XAPPLEPUSHSERVICE", CAP_NONE, HIDE}, /* registers at one server */
    {"X*", CAP_NONE, HIDE},
};

_Static_assert(CAP_COUNT <= 128, "struct imap_caps has 128 bits");

void imap_caps_add(struct imap_caps *c, enum imap_cap cap)
{
    c->bits[cap / 64] |= UINT64_C(1) << (cap % 64);
}

static void caps_take_out(struct imap_caps *c, enum imap_cap cap)
{
    c->bits[cap / 64] &= ~(UINT64_C(1) << (cap % 64));
}

bool imap_caps_has(const struct imap_caps *c, enum imap_cap cap)
{
    return (c->bits[cap / 64] >> (cap % 64)) & 1;
}

static bool begins_ci(struct span word, const char *head, size_t n)
{
    return word.len >= n && strncasecmp((const char *)word.p, head, n) == 0;
}

static const struct cap_row *find_row(struct span word)
{
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        size_t n = strlen(rows[i].name);
        bool any = rows[i].name[n - 1] == '*';
        if (any ? begins_ci(word, rows[i].name, n - 1) : span_is_ci(word, rows[i].name))
            return &rows[i];
    }
    return NULL;
}

/* RFC 4314 2.2: letters in any order. All four of today's or nothing, since the two backends' sets are cut.
 */
static bool has_rights(struct span word)
{
    if (!begins_ci(word, "RIGHTS=", 7))
        return false;
    for (const char *c = "tekx"; *c; c++)
        if (!memchr(word.p + 7, *c, word.len - 7))
            return false;
    return true;
}

/* CAP_NONE: nothing asks for it. *limit is set by "APPENDLIMIT=n" alone. */
static enum imap_cap cap_of(struct span word, uint64_t *limit)
{
    const struct cap_row *row = find_row(word);
    if (row && row->cap != CAP_NONE)
        return row->cap;
    if (has_rights(word))
        return CAP_RIGHTS;
    bool is_limit = begins_ci(word, "APPENDLIMIT=", 12) &&
                    span_u64(span_of(word.p + 12, word.len - 12), UINT64_MAX, limit);
    return is_limit ? CAP_APPENDLIMIT : CAP_NONE;
}

static void caps_add_word(struct imap_caps *c, struct span word)
{
    enum imap_cap cap = cap_of(word, &c->appendlimit);
    if (cap != CAP_NONE)
        imap_caps_add(c, cap);
}

void imap_caps_hide_modseqs(struct imap_caps *c)
{
    caps_take_out(c, CAP_CONDSTORE);
    caps_take_out(c, CAP_QRESYNC);
}

const char *imap_caps_override(struct imap_caps *c, char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool hide = words[i][0] == '-';
        uint64_t limit = 0;
        enum imap_cap cap = cap_of(span_str(words[i] + hide), &limit);
        if (cap == CAP_NONE)
            return words[i];
        if (cap == CAP_APPENDLIMIT)
            c->appendlimit = hide ? 0 : limit;
        if (hide && cap == CAP_CONDSTORE)
            imap_caps_hide_modseqs(c);
        else if (hide)
            caps_take_out(c, cap);
        else
            imap_caps_add(c, cap);
    }
    return NULL;
}

void imap_caps_parse(struct imap_caps *c, struct span words)
{
    *c = (struct imap_caps){0};
    for (size_t i = 0; i < words.len;) {
        size_t end = i;
        while (end < words.len && words.p[end] != ' ')
            end++;
        if (end > i)
            caps_add_word(c, span_of(words.p + i, end - i));
        i = end + 1;
    }
}

/* A server says only one of the two (RFC 7888 section 5); LITERAL+ takes all that LITERAL- allows. */
static void cut_literals(struct imap_caps *cut, const struct imap_caps *a, const struct imap_caps *b)
{
    bool some_a = imap_caps_has(a, CAP_LITERAL_PLUS) || imap_caps_has(a, CAP_LITERAL_MINUS);
    bool some_b = imap_caps_has(b, CAP_LITERAL_PLUS) || imap_caps_has(b, CAP_LITERAL_MINUS);
    caps_take_out(cut, CAP_LITERAL_MINUS);
    if (some_a && some_b && !imap_caps_has(cut, CAP_LITERAL_PLUS))
        imap_caps_add(cut, CAP_LITERAL_MINUS);
}

struct imap_caps imap_caps_common(const struct imap_caps *a, const struct imap_caps *b)
{
    struct imap_caps cut = {.bits = {a->bits[0] & b->bits[0], a->bits[1] & b->bits[1]}};
    cut_literals(&cut, a, b);
    if (imap_caps_has(&cut, CAP_APPENDLIMIT)) {
        bool a_rules = b->appendlimit == 0 || (a->appendlimit > 0 && a->appendlimit < b->appendlimit);
        cut.appendlimit = a_rules ? a->appendlimit : b->appendlimit;
    }
    return cut;
}

bool imap_caps_equal(const struct imap_caps *a, const struct imap_caps *b)
{
    return memcmp(a->bits, b->bits, sizeof a->bits) == 0 && a->appendlimit == b->appendlimit;
}

struct imap_caps imap_caps_without(const struct imap_caps *a, const struct imap_caps *b)
{
    struct imap_caps rest = {.bits = {a->bits[0] & ~b->bits[0], a->bits[1] & ~b->bits[1]}};
    if (imap_caps_has(a, CAP_APPENDLIMIT) && a->appendlimit != b->appendlimit)
        imap_caps_add(&rest, CAP_APPENDLIMIT);
    if (imap_caps_has(&rest, CAP_APPENDLIMIT))
        rest.appendlimit = a->appendlimit;
    return rest;
}

/* A server that has QRESYNC has CONDSTORE, whether it says so or not (RFC 7162 3.2.3). */
static struct imap_caps with_implied(const struct imap_caps *c)
{
    struct imap_caps all = *c;
    if (imap_caps_has(c, CAP_QRESYNC))
        imap_caps_add(&all, CAP_CONDSTORE);
    return all;
}

struct imap_caps imap_caps_shown(const struct imap_caps *a, const struct imap_caps *b)
{
    struct imap_caps all_a = with_implied(a), all_b = with_implied(b);
    struct imap_caps cut = imap_caps_common(&all_a, &all_b), shown = {0};
    imap_caps_add(&shown, CAP_IMAP4REV1);
    for (size_t i = 0; i < COUNTOF(rows); i++)
        if (rows[i].show == SHOW && imap_caps_has(&cut, rows[i].cap))
            imap_caps_add(&shown, rows[i].cap);
    shown.appendlimit = cut.appendlimit;
    if (!imap_caps_has(&shown, CAP_CONDSTORE) || !imap_caps_has(&shown, CAP_ENABLE))
        caps_take_out(&shown, CAP_QRESYNC);
    return shown;
}

void imap_caps_write(struct buf *out, const struct imap_caps *c)
{
    struct imap_caps left = *c;
    const char *blank = "";
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        if (rows[i].cap == CAP_NONE || !imap_caps_has(&left, rows[i].cap))
            continue;
        caps_take_out(&left, rows[i].cap);
        buf_printf(out, "%s%s", blank, rows[i].name);
        if (rows[i].cap == CAP_APPENDLIMIT && c->appendlimit > 0)
            buf_printf(out, "=%llu", (unsigned long long)c->appendlimit);
        blank = " ";
    }
}
