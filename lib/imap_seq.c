#include <stdlib.h>

#include "imap_seq.h"
#include "xalloc.h"

void imap_seq_free(struct imap_seq *s)
{
    free(s->ranges);
    *s = (struct imap_seq){0};
}

/* The first range that ends at n - 1 or later, where one that holds n could begin to be merged. */
static size_t seq_find(const struct imap_seq *s, uint32_t n)
{
    size_t lo = 0, hi = s->n;
    if (hi > 0 && s->ranges[hi - 1].last < n - 1)
        return hi; /* added in order, as nearly always */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->ranges[mid].last < n - 1)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void insert(struct imap_seq *s, size_t at, struct imap_range r)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 8;
        s->ranges = xreallocarray(s->ranges, s->cap, sizeof *s->ranges);
    }
    memmove(s->ranges + at + 1, s->ranges + at, (s->n - at) * sizeof *s->ranges);
    s->ranges[at] = r;
    s->n++;
}

void imap_seq_add(struct imap_seq *s, uint32_t first, uint32_t last)
{
    struct imap_range r = {first < last ? first : last, first < last ? last : first};
    if (r.last == 0)
        return;
    if (r.first == 0)
        r.first = 1;
    size_t at = seq_find(s, r.first), end = at;
    while (end < s->n && s->ranges[end].first - 1 <= r.last)
        end++;
    if (end == at) {
        insert(s, at, r);
        return;
    }
    if (s->ranges[at].first < r.first)
        r.first = s->ranges[at].first;
    if (s->ranges[end - 1].last > r.last)
        r.last = s->ranges[end - 1].last;
    s->ranges[at] = r;
    memmove(s->ranges + at + 1, s->ranges + end, (s->n - end) * sizeof *s->ranges);
    s->n -= end - at - 1;
}

void imap_seq_join(struct imap_seq *s, const struct imap_seq *other)
{
    for (size_t i = 0; i < other->n; i++)
        imap_seq_add(s, other->ranges[i].first, other->ranges[i].last);
}

static int seq_compare(const void *a, const void *b)
{
    const struct imap_range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

void imap_seq_push(struct imap_seq *s, uint32_t first, uint32_t last)
{
    struct imap_range *end = s->n ? &s->ranges[s->n - 1] : NULL;
    if (end && end->last < UINT32_MAX && first == end->last + 1)
        end->last = last;
    else
        insert(s, s->n, (struct imap_range){first, last});
}

void imap_seq_sort(struct imap_seq *s)
{
    struct imap_seq merged = {0};
    if (s->n)
        qsort(s->ranges, s->n, sizeof *s->ranges, seq_compare);
    for (size_t i = 0; i < s->n; i++)
        imap_seq_add(&merged, s->ranges[i].first, s->ranges[i].last);
    imap_seq_free(s);
    *s = merged;
}

void imap_seq_remove(struct imap_seq *s, uint32_t first, uint32_t last)
{
    struct imap_seq left = {0};
    for (size_t i = 0; i < s->n; i++) {
        struct imap_range r = s->ranges[i];
        if (r.first < first)
            imap_seq_add(&left, r.first, r.last < first ? r.last : first - 1);
        if (r.last > last)
            imap_seq_add(&left, r.first > last ? r.first : last + 1, r.last);
    }
    imap_seq_free(s);
    *s = left;
}

void imap_seq_coarsen(const struct imap_seq *s, size_t ranges, struct imap_seq *out)
{
    size_t each = (s->n + ranges - 1) / ranges;
    for (size_t i = 0; i < s->n; i += each) {
        size_t end = i + each < s->n ? i + each : s->n;
        imap_seq_add(out, s->ranges[i].first, s->ranges[end - 1].last);
    }
}

bool imap_seq_has(const struct imap_seq *s, uint32_t n)
{
    if (n == 0)
        return false;
    /* One that ends at n - 1 has no neighbour that begins at n: they would be one. */
    size_t i = seq_find(s, n);
    return i < s->n && s->ranges[i].first <= n && n <= s->ranges[i].last;
}

uint64_t imap_seq_count(const struct imap_seq *s)
{
    uint64_t count = 0;
    for (size_t i = 0; i < s->n; i++)
        count += (uint64_t)s->ranges[i].last - s->ranges[i].first + 1;
    return count;
}

void imap_seq_write(struct buf *out, const struct imap_seq *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct imap_range r = s->ranges[i];
        buf_printf(out, "%s%u", i > 0 ? "," : "", r.first);
        if (r.last > r.first)
            buf_printf(out, ":%u", r.last);
    }
}

static bool seq_read_number(struct span s, uint32_t star, uint32_t *_n)
{
    if (span_is(s, "*")) {
        *_n = star;
        return star > 0;
    }
    /* nz-number: no zero, and none in front (RFC 3501 9) */
    return s.len > 0 && s.p[0] != '0' && span_u32(s, _n);
}

/* Cuts the next element off *text. */
static bool read_range(struct span *text, uint32_t star, struct imap_range *_r)
{
    const uint8_t *comma = text->len > 0 ? memchr(text->p, ',', text->len) : NULL;
    struct span one = span_of(text->p, comma ? (size_t)(comma - text->p) : text->len);
    const uint8_t *colon = one.len > 0 ? memchr(one.p, ':', one.len) : NULL;
    struct span head = span_of(one.p, colon ? (size_t)(colon - one.p) : one.len);
    uint32_t a, b;
    if (!seq_read_number(head, star, &a))
        return false;
    b = a;
    if (colon && !seq_read_number(span_of(colon + 1, one.len - head.len - 1), star, &b))
        return false;
    *_r = (struct imap_range){a < b ? a : b, a < b ? b : a};
    if (!comma) {
        *text = span_of(NULL, 0);
        return true;
    }
    *text = span_of(comma + 1, text->len - one.len - 1);
    return text->len > 0; /* a comma at the end has nothing behind it */
}

bool imap_seq_parse(struct imap_seq *s, struct span text, uint32_t star, size_t max_ranges)
{
    struct imap_seq read = {0};
    bool ok = text.len > 0;
    while (ok && text.len > 0) {
        struct imap_range r;
        ok = read.n < max_ranges && read_range(&text, star, &r);
        if (ok)
            insert(&read, read.n, r);
    }
    if (ok) {
        imap_seq_free(s);
        imap_seq_sort(&read);
        *s = read;
        return true;
    }
    imap_seq_free(&read);
    return ok;
}

bool imap_seq_each(struct span text, size_t max, void (*fn)(void *arg, uint32_t n), void *arg)
{
    struct imap_range r;
    uint64_t count = 0;
    if (text.len == 0)
        return false;
    for (struct span rest = text; rest.len > 0;) {
        if (!read_range(&rest, 0, &r))
            return false;
        count += (uint64_t)r.last - r.first + 1;
        if (count > max)
            return false;
    }
    while (text.len > 0 && read_range(&text, 0, &r))
        for (uint64_t n = r.first; n <= r.last; n++)
            fn(arg, (uint32_t)n);
    return true;
}
