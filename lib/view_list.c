#include <stdlib.h>

#include "view_list.h"
#include "xalloc.h"

void view_list_free(struct view_list *l)
{
    imap_seq_free(&l->uids);
    free(l->flags);
    *l = (struct view_list){0};
}

/* ---- drawing ---- */

/* Behind a quoted string that begins at i. */
static size_t skip_quoted(struct span s, size_t i)
{
    for (i++; i < s.len && s.p[i] != '"'; i++)
        i += s.p[i] == '\\';
    return i + 1;
}

static bool is_word_at(struct span s, size_t i, const char *word)
{
    size_t n = strlen(word);
    return s.len - i >= n && span_is_ci(span_of(s.p + i, n), word);
}

static size_t digits_at(struct span s, size_t i)
{
    size_t n = 0;
    while (i + n < s.len && s.p[i + n] >= '0' && s.p[i + n] <= '9')
        n++;
    return n;
}

/* Where the word is, on the outermost level; 0: nowhere. */
static size_t list_find_item(struct span items, const char *word)
{
    size_t depth = 0;
    for (size_t i = 0; i < items.len; i++) {
        if (items.p[i] == '"')
            i = skip_quoted(items, i) - 1;
        else if (items.p[i] == '(' || items.p[i] == ')')
            depth += items.p[i] == '(' ? 1 : (size_t)-1;
        else if (depth == 1 && strchr("( ", items.p[i - 1]) && is_word_at(items, i, word))
            return i;
    }
    return 0;
}

/* The number behind the name UID. *alone: there is nothing else. */
static bool find_uid(struct span items, uint32_t *_r, bool *alone)
{
    static const char name[] = "UID ";
    size_t i = list_find_item(items, name), at = i + sizeof name - 1;
    if (i == 0)
        return false;
    size_t n = digits_at(items, at);
    *alone = i == 1 && at + n + 1 == items.len;
    return span_u32(span_of(items.p + at, n), _r) && *_r > 0;
}

/* What stands in the list behind the name FLAGS. */
static bool find_flags(struct span items, struct span *_r, bool *alone)
{
    static const char name[] = "FLAGS (";
    size_t i = list_find_item(items, name), at = i + sizeof name - 1;
    const uint8_t *end = i > 0 ? memchr(items.p + at, ')', items.len - at) : NULL;
    if (!end)
        return false;
    *_r = span_of(items.p + at, (size_t)(end - items.p) - at);
    *alone = i == 1 && at + _r->len + 2 == items.len;
    return true;
}

static uint32_t last_uid(const struct view_list *l)
{
    return l->uids.n > 0 ? l->uids.ranges[l->uids.n - 1].last : 0;
}

enum view_list_line view_list_take(struct view_list *l, uint32_t number, struct span items)
{
    uint32_t uid;
    bool alone;
    if (!find_uid(items, &uid, &alone))
        return VIEW_LIST_OTHER;
    if (number == 0 || number <= l->n) /* news of a message that is on the list */
        return VIEW_LIST_OTHER;
    if (number != l->n + 1 || uid <= last_uid(l) || l->n >= VIEW_LIST_MAX)
        l->broken = true;
    if (!l->broken) {
        imap_seq_add(&l->uids, uid, uid);
        l->n++;
    }
    return alone ? VIEW_LIST_ALONE : VIEW_LIST_MORE;
}

/* ---- flags ---- */

/* FNV-1a, with letters folded: servers do not tell them apart. */
static uint32_t flag_digest(struct span flag)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < flag.len; i++) {
        uint8_t c = flag.p[i];
        h = (h ^ (c >= 'A' && c <= 'Z' ? c | 0x20 : c)) * 16777619u;
    }
    return h;
}

/* In any order. \Recent is of the session and not of the message. */
static uint32_t flags_digest(struct span flags)
{
    uint32_t sum = 1;
    while (flags.len > 0) {
        const uint8_t *blank = memchr(flags.p, ' ', flags.len);
        struct span flag = span_of(flags.p, blank ? (size_t)(blank - flags.p) : flags.len);
        if (flag.len > 0 && !span_is_ci(flag, "\\Recent"))
            sum += flag_digest(flag);
        flags = span_of(flags.p + flag.len + (blank != NULL), flags.len - flag.len - (blank != NULL));
    }
    return sum ? sum : 1;
}

static void flags_room(struct view_list *l, uint32_t n)
{
    uint32_t cap = l->flags_cap ? l->flags_cap : 64;
    if (n <= l->flags_cap)
        return;
    while (cap < n)
        cap *= 2;
    l->flags = xreallocarray(l->flags, cap, sizeof *l->flags);
    memset(l->flags + l->flags_cap, 0, (cap - l->flags_cap) * sizeof *l->flags);
    l->flags_cap = cap;
}

enum view_list_flags view_list_take_flags(struct view_list *l, uint32_t number, struct span items)
{
    struct span flags;
    bool alone;
    if (number == 0 || number > l->n || !find_flags(items, &flags, &alone))
        return VIEW_FLAGS_NONE;
    flags_room(l, number);
    bool first = l->flags[number - 1] == 0;
    l->flags[number - 1] = flags_digest(flags);
    return first && alone ? VIEW_FLAGS_FIRST : VIEW_FLAGS_NEWS;
}

void view_list_drop_flags(struct view_list *l)
{
    free(l->flags);
    l->flags = NULL;
    l->flags_cap = 0;
}

static uint32_t flags_of(const struct view_list *l, uint32_t number)
{
    return number <= l->flags_cap ? l->flags[number - 1] : 0;
}

/* What both ranges have; the numbers are those of their first UIDs. */
static void add_reflagged(const struct view_list *client, const struct view_list *now, struct imap_range a,
                          uint32_t a_number, struct imap_range b, uint32_t b_number, struct imap_seq *numbers)
{
    uint32_t first = a.first > b.first ? a.first : b.first, last = a.last < b.last ? a.last : b.last;
    for (uint32_t uid = first; uid <= last && uid >= first; uid++) {
        uint32_t was = flags_of(client, a_number + (uid - a.first)), n = b_number + (uid - b.first);
        if (was == 0 || was != flags_of(now, n))
            imap_seq_add(numbers, n, n);
    }
}

void view_list_reflagged(const struct view_list *client, const struct view_list *now,
                         struct imap_seq *numbers)
{
    uint32_t a_number = 1, b_number = 1;
    if (!client->flags || !now->flags)
        return;
    for (size_t i = 0, k = 0; i < client->uids.n && k < now->uids.n;) {
        struct imap_range a = client->uids.ranges[i], b = now->uids.ranges[k];
        add_reflagged(client, now, a, a_number, b, b_number, numbers);
        if (a.last <= b.last) {
            a_number += a.last - a.first + 1;
            i++;
        } else {
            b_number += b.last - b.first + 1;
            k++;
        }
    }
}

/* ---- comparing ---- */

/* Adds the numbers of the UIDs of one range of the client that the other list has not. number: of its first
 * UID. at: the first range of the other list that may reach into it. */
static void add_gone(struct imap_range r, uint32_t number, const struct imap_seq *now, size_t at,
                     struct imap_seq *gone)
{
    uint32_t uid = r.first;
    for (; at < now->n && now->ranges[at].first <= r.last; at++) {
        struct imap_range have = now->ranges[at];
        if (have.first > uid)
            imap_seq_add(gone, number + (uid - r.first), number + (have.first - 1 - r.first));
        if (have.last >= r.last)
            return;
        uid = have.last + 1;
    }
    imap_seq_add(gone, number + (uid - r.first), number + (r.last - r.first));
}

/* How many UIDs there are up to this one. */
static uint32_t count_to(const struct imap_seq *s, uint32_t uid)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s->n && s->ranges[i].first <= uid; i++)
        n += (s->ranges[i].last < uid ? s->ranges[i].last : uid) - s->ranges[i].first + 1;
    return n;
}

bool view_list_compare(const struct view_list *client, const struct view_list *now,
                       struct view_list_change *_r)
{
    struct view_list_change change = {0};
    uint32_t number = 1;
    size_t at = 0;
    if (client->broken || now->broken)
        return false;
    for (size_t i = 0; i < client->uids.n; i++) {
        struct imap_range r = client->uids.ranges[i];
        while (at < now->uids.n && now->uids.ranges[at].last < r.first)
            at++;
        add_gone(r, number, &now->uids, at, &change.gone);
        number += r.last - r.first + 1;
    }
    uint32_t common = client->n - (uint32_t)imap_seq_count(&change.gone);
    if (count_to(&now->uids, last_uid(client)) != common) {
        imap_seq_free(&change.gone);
        return false;
    }
    change.arrived = now->n - common;
    *_r = change;
    return true;
}

void view_list_uids(const struct view_list *l, const struct imap_seq *numbers, struct imap_seq *uids)
{
    uint32_t before = 0; /* messages on the ranges before */
    size_t at = 0;
    for (size_t i = 0; i < l->uids.n; i++) {
        struct imap_range r = l->uids.ranges[i];
        uint32_t last = before + (r.last - r.first) + 1;
        while (at < numbers->n && numbers->ranges[at].last <= before)
            at++;
        for (size_t k = at; k < numbers->n && numbers->ranges[k].first <= last; k++) {
            struct imap_range n = numbers->ranges[k];
            uint32_t from = n.first > before ? n.first : before + 1, to = n.last < last ? n.last : last;
            imap_seq_add(uids, r.first + (from - before - 1), r.first + (to - before - 1));
        }
        before = last;
    }
}
