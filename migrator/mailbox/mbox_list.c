#include <stdlib.h>

#include "lib/xalloc.h"

#include "mbox_list.h"

void mbox_list_init(struct mbox_list *l, struct flags_pool *pool)
{
    *l = (struct mbox_list){.pool = pool};
}

void mbox_list_free(struct mbox_list *l)
{
    free(l->msgs);
    *l = (struct mbox_list){.pool = l->pool};
}

void mbox_list_clear(struct mbox_list *l)
{
    mbox_list_free(l);
}

bool mbox_list_exists(struct mbox_list *l, uint32_t n)
{
    if (n > MBOX_MESSAGES_MAX)
        return false;
    l->n = n;
    if (l->told > n)
        l->told = n;
    if (l->listed > n)
        l->listed = n;
    return true;
}

void mbox_list_expunge(struct mbox_list *l, uint32_t seq)
{
    if (seq == 0 || seq > l->n)
        return;
    l->n--;
    if (seq <= l->listed)
        l->listed--;
    if (seq > l->told)
        return;
    memmove(l->msgs + seq - 1, l->msgs + seq, (l->told - seq) * sizeof *l->msgs);
    l->told--;
}

void mbox_list_room(struct mbox_list *l, size_t n)
{
    if (n <= l->told)
        return;
    if (n > l->cap) {
        size_t twice = n < 32 ? 64 : 2 * n;
        l->cap = twice < l->n ? twice : l->n;
        l->msgs = xreallocarray(l->msgs, l->cap, sizeof *l->msgs);
    }
    memset(l->msgs + l->told, 0, (n - l->told) * sizeof *l->msgs);
    l->told = n;
}

static bool fault(const char **why, const char *text)
{
    *why = text;
    return false;
}

static bool take_date(struct mbox_msg *m, const struct imap_value *v)
{
    struct span text;
    struct mail_date date;
    m->has |= MBOX_DATE;
    m->date_bad = !imap_value_string(v, &text) || !date_parse(text, &date);
    if (!m->date_bad) {
        m->instant = date.instant;
        m->zone = date.zone;
    }
    return true;
}

static bool take_size(struct mbox_msg *m, const struct imap_value *v, const char **why)
{
    uint64_t size = 0;
    bool ok = imap_value_u64(v, &size);
    m->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    m->has |= MBOX_SIZE;
    return ok || fault(why, "RFC822.SIZE that is no number");
}

static bool mbox_list_take_uid(struct mbox_list *l, struct mbox_msg *m, const struct imap_value *v,
                               const char **why)
{
    uint32_t uid;
    if (!imap_value_u32(v, &uid) || uid == 0)
        return fault(why, "a UID that is no UID");
    if ((m->has & MBOX_UID) && m->uid != uid) {
        l->contradicts = true;
        return fault(why, "a UID that is another one than before");
    }
    m->uid = uid;
    m->has |= MBOX_UID;
    return true;
}

static bool mbox_list_take_item(struct mbox_list *l, struct mbox_msg *m, const struct imap_value *name,
                                const char **why)
{
    const struct imap_value *value = name->next;
    if (imap_value_is(name, "UID"))
        return mbox_list_take_uid(l, m, value, why);
    if (imap_value_is(name, "RFC822.SIZE"))
        return take_size(m, value, why);
    if (imap_value_is(name, "INTERNALDATE"))
        return take_date(m, value);
    if (!imap_value_is(name, "FLAGS"))
        return true;
    m->has |= MBOX_FLAGS;
    return flags_add(l->pool, value, &m->flags, why);
}

bool mbox_list_fetch(struct mbox_list *l, uint32_t seq, const struct imap_value *items, const char **why)
{
    const char *what;
    if (!items || items->kind != IMAP_LIST)
        return fault(why, "FETCH without a list of items");
    bool whole = !items->next || fault(why, "FETCH with more than a list of items");
    struct mbox_msg none = {0}, *m = &none;
    if (seq > 0 && seq <= l->n) {
        mbox_list_room(l, seq);
        m = &l->msgs[seq - 1];
    }
    for (const struct imap_value *v = items->first; v; v = v->next ? v->next->next : NULL)
        if (v->kind != IMAP_ATOM || !v->next)
            whole = fault(why, "FETCH with an item that has no name or no value");
        else if (m != &none && !mbox_list_take_item(l, m, v, &what))
            whole = fault(why, what);
    return whole;
}

void mbox_list_forgo(struct mbox_list *l, uint32_t seq)
{
    struct mbox_msg *m = &l->msgs[seq - 1];
    unsigned lacking = MBOX_ALL & ~((unsigned)m->has | m->has >> MBOX_KEPT);
    if (lacking & MBOX_FLAGS)
        m->flags = 0;
    if (lacking & MBOX_DATE)
        m->date_bad = true;
    if (lacking & MBOX_SIZE)
        m->size = 0;
    m->has |= (uint8_t)(lacking & ~(unsigned)MBOX_UID);
}

bool mbox_list_uids(struct mbox_list *l, const struct imap_seq *uids)
{
    size_t at = 0;
    if (imap_seq_count(uids) != l->n)
        return false;
    mbox_list_room(l, l->n);
    for (size_t r = 0; r < uids->n; r++) {
        for (uint64_t uid = uids->ranges[r].first; uid <= uids->ranges[r].last; uid++) {
            struct mbox_msg *m = &l->msgs[at++];
            if ((m->has & MBOX_UID) && m->uid != uid)
                return false;
            m->uid = (uint32_t)uid;
            m->has |= MBOX_UID;
        }
    }
    return true;
}

void mbox_list_keep(struct mbox_list *l, mbox_known_fn known, void *owner, unsigned items)
{
    for (size_t i = 0; i < l->told; i++) {
        struct mbox_msg *m = &l->msgs[i];
        uint32_t size;
        if (!(m->has & MBOX_UID) || !known(owner, m->uid, &size))
            continue;
        unsigned kept = items & ~(unsigned)m->has & MBOX_ALL;
        if (kept & MBOX_SIZE)
            m->size = size;
        m->has |= (uint8_t)(kept << MBOX_KEPT);
    }
}

bool mbox_list_check(struct mbox_list *l, size_t n, const char **why, uint32_t *seq)
{
    uint32_t last = 0;
    for (size_t i = 0; i < n; i++) {
        *seq = (uint32_t)i + 1;
        if (!mbox_list_knows(l, *seq)) {
            *why = "the server did not list it";
            return false;
        }
        if (l->msgs[i].uid <= last) {
            *why = "its UID is not above the one before";
            return false;
        }
        last = l->msgs[i].uid;
    }
    l->listed = n;
    return true;
}

size_t mbox_list_from(const struct mbox_list *l, uint32_t uid)
{
    size_t lo = 0, hi = l->listed;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->msgs[mid].uid < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct mbox_msg *mbox_list_find(const struct mbox_list *l, uint32_t uid)
{
    size_t i = mbox_list_from(l, uid);
    return i < l->listed && l->msgs[i].uid == uid ? &l->msgs[i] : NULL;
}

bool mbox_list_knows(const struct mbox_list *l, uint32_t seq)
{
    const struct mbox_msg *m = mbox_list_at(l, seq);
    return m && ((m->has | m->has >> MBOX_KEPT) & MBOX_ALL) == MBOX_ALL;
}

const struct mbox_msg *mbox_list_at(const struct mbox_list *l, uint32_t seq)
{
    return seq > 0 && seq <= l->told ? &l->msgs[seq - 1] : NULL;
}

static uint64_t mbox_list_mix(uint64_t sum, uint8_t byte)
{
    return (sum ^ byte) * UINT64_C(1099511628211); /* FNV-1a */
}

uint64_t mbox_list_marks(const struct mbox_list *l, uint32_t below)
{
    uint64_t sum = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < l->told; i++) {
        const struct mbox_msg *m = &l->msgs[i];
        if (!(m->has & MBOX_UID) || m->uid >= below)
            continue;
        for (unsigned shift = 0; shift < 32; shift += 8)
            sum = mbox_list_mix(sum, (uint8_t)(m->uid >> shift));
        for (const char *p = flags_text(l->pool, m->flags);; p++) { /* with the NUL */
            sum = mbox_list_mix(sum, (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
            if (!*p)
                break;
        }
    }
    return sum;
}

int mbox_compare_sizes(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int mbox_compare_instants(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}
