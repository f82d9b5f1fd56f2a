/* A byte for "*", then two sets with a line feed between. */
#include "lib/imap_seq.h"

#include "fuzz.h"

enum { MOST_RANGES = 200, MOST_NUMBERS = 1000 };

static void check_form(const struct imap_seq *s)
{
    for (size_t i = 0; i < s->n; i++) {
        MUST(s->ranges[i].first > 0 && s->ranges[i].first <= s->ranges[i].last);
        MUST(i == 0 || s->ranges[i - 1].last < s->ranges[i].first - 1);
        MUST(imap_seq_has(s, s->ranges[i].first) && imap_seq_has(s, s->ranges[i].last));
        MUST(!imap_seq_has(s, s->ranges[i].first - 1));
        MUST(s->ranges[i].last == UINT32_MAX || !imap_seq_has(s, s->ranges[i].last + 1));
    }
}

static bool same(const struct imap_seq *a, const struct imap_seq *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->ranges, b->ranges, a->n * sizeof *a->ranges) == 0);
}

static void check_spelling(const struct imap_seq *s)
{
    struct buf out = {0};
    struct imap_seq again = {0};
    imap_seq_write(&out, s);
    MUST(imap_seq_parse(&again, buf_span(&out), 0, s->n));
    MUST(same(s, &again));
    MUST(s->n == 1 || !imap_seq_parse(&again, buf_span(&out), 0, s->n - 1));
    imap_seq_free(&again);
    buf_free(&out);
}

struct each {
    const struct imap_seq *set;
    size_t n;
};

static void on_number(void *arg, uint32_t n)
{
    struct each *e = arg;
    MUST(imap_seq_has(e->set, n));
    e->n++;
}

static void check_each(struct span text, const struct imap_seq *set)
{
    struct each e = {set, 0};
    bool ok = imap_seq_each(text, MOST_NUMBERS, on_number, &e);
    MUST(ok ? e.n >= imap_seq_count(set) && e.n <= MOST_NUMBERS : e.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    uint32_t star = fuzz_byte(&in);
    struct span text[2] = {fuzz_cut(&in, '\n'), fuzz_cut(&in, '\n')};
    struct imap_seq set[2] = {{0}, {0}}, sum = {0}, mus = {0};
    for (size_t i = 0; i < 2; i++) {
        if (!imap_seq_parse(&set[i], text[i], star, MOST_RANGES)) {
            MUST(!set[i].ranges);
            continue;
        }
        check_form(&set[i]);
        check_spelling(&set[i]);
        if (!memchr(text[i].p, '*', text[i].len))
            check_each(text[i], &set[i]);
    }
    for (size_t i = 0; i < 2; i++) /* in both orders, and backwards */
        for (size_t k = 0; k < set[i].n; k++) {
            struct imap_range r = set[i].ranges[k], q = set[1 - i].n > k ? set[1 - i].ranges[k] : r;
            imap_seq_add(&sum, r.first, r.last);
            imap_seq_add(&mus, q.last, q.first);
        }
    for (size_t i = 2; i-- > 0;)
        for (size_t k = set[i].n; k-- > 0;)
            imap_seq_add(&mus, set[i].ranges[k].last, set[i].ranges[k].first);
    check_form(&sum);
    MUST(same(&sum, &mus));
    imap_seq_free(&set[0]);
    imap_seq_free(&set[1]);
    imap_seq_free(&sum);
    imap_seq_free(&mus);
    return 0;
}
