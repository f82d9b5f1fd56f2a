#include "view_list.h"

void view_list_free(struct view_list *l)
{
    imap_seq_free(&l->uids);
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

/* The number behind the name UID on the outermost level. *alone: there is nothing else. */
static bool find_uid(struct span items, uint32_t *_r, bool *alone)
{
    size_t depth = 0;
    for (size_t i = 0; i < items.len; i++) {
        if (items.p[i] == '"') {
            i = skip_quoted(items, i) - 1;
        } else if (items.p[i] == '(' || items.p[i] == ')') {
            depth += items.p[i] == '(' ? 1 : (size_t)-1;
        } else if (depth == 1 && strchr("( ", items.p[i - 1]) && is_word_at(items, i, "UID ")) {
            size_t n = digits_at(items, i + 4);
            *alone = i == 1 && i + 4 + n + 1 == items.len;
            return span_u32(span_of(items.p + i + 4, n), _r) && *_r > 0;
        }
    }
    return false;
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
