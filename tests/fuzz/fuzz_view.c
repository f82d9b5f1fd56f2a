/* The first byte: a mailbox name between two sides, a UID map, or a view record. */
#include "lib/view_name.h"
#include "lib/view_record.h"

#include "fuzz.h"

enum { MOST_RUNS = 1000 };

static const struct view_side sides[] = {
    {'/', "", ""},      {'.', "", ""},   {'.', "INBOX.", NULL}, {'/', "INBOX/", ""}, {'\0', "", ""},
    {'/', "Mail/", ""}, {'.', "", "%*"}, {'\\', "", "/"},       {'^', "#a^", "$~"},
};

static void there_and_back(const struct view_names *v, struct span name, bool to_target)
{
    struct buf there = {0}, back = {0};
    bool ok = to_target ? view_name_to_target(v, name, &there) : view_name_to_source(v, name, &there);
    MUST(ok == (there.len > 0));
    if (ok) {
        MUST(there.len <= VIEW_NAME_MAX);
        MUST(to_target ? view_name_to_source(v, buf_span(&there), &back)
                       : view_name_to_target(v, buf_span(&there), &back));
        const struct view_side *own = to_target ? &v->source : &v->target;
        size_t n = strlen(own->prefix);
        bool folded =
            view_name_is_inbox(name) || (n >= 6 && name.len >= n && view_name_is_inbox(span_of(name.p, 5)));
        if (folded) /* INBOX in any case is one mailbox, also at the head of a prefix */
            MUST(back.len == name.len &&
                 span_eq(span_of(back.mem + back.off + 5, back.len - 5), span_of(name.p + 5, name.len - 5)));
        else
            MUST(span_eq(buf_span(&back), name));
    }
    buf_free(&there);
    buf_free(&back);
}

static void fuzz_name(struct span in)
{
    uint8_t which = fuzz_byte(&in);
    struct view_names v = {.source = sides[which % COUNTOF(sides)],
                           .target = sides[which / COUNTOF(sides) % COUNTOF(sides)]};
    there_and_back(&v, in, true);
    there_and_back(&v, in, false);
}

static void check_uid(const struct view_uid *m, uint32_t uid)
{
    uint32_t there, back;
    if (view_uid_to_backend(m, uid, &there))
        MUST(view_uid_to_client(m, there, &back) && back == uid);
    if (view_uid_to_client(m, uid, &there))
        MUST(view_uid_to_backend(m, there, &back) && back == uid);
}

static void check_range(const struct view_uid *m, uint32_t first, uint32_t last)
{
    struct imap_range r;
    struct imap_seq client = {0}, backend = {0}, shown = {0};
    imap_seq_add(&client, first, last);
    if (client.n == 1 && view_uid_range_to_backend(m, client.ranges[0].first, client.ranges[0].last, &r)) {
        imap_seq_add(&backend, r.first, r.last);
        if (view_uid_set_to_client(m, &backend, MOST_RUNS, &shown))
            for (size_t i = 0; i < shown.n; i++)
                MUST(shown.ranges[i].first >= client.ranges[0].first &&
                     shown.ranges[i].last <= client.ranges[0].last);
    }
    imap_seq_free(&client);
    imap_seq_free(&backend);
    imap_seq_free(&shown);
}

static void check_map(const struct view_uid *m)
{
    uint64_t count = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct view_run *r = &m->runs[i];
        const uint32_t uids[] = {r->client - 1,
                                 r->client,
                                 r->client + r->length / 2,
                                 r->client + r->length,
                                 r->backend,
                                 r->backend - 1,
                                 r->backend + r->length,
                                 m->tail_client + (uint32_t)i,
                                 m->tail_backend - (uint32_t)i};
        for (size_t k = 0; k < COUNTOF(uids); k++) {
            check_uid(m, uids[k]);
            check_range(m, uids[0], uids[k]);
            check_range(m, uids[k], UINT32_MAX);
        }
        count += r->length;
    }
    MUST(count == view_uid_count(m));
}

static void fuzz_map(struct span in)
{
    struct view_uid m = {0};
    struct buf again = {0};
    if (!view_uid_decode(in, MOST_RUNS, &m)) {
        MUST(!m.runs);
        return;
    }
    view_uid_encode(&again, &m);
    MUST(span_eq(buf_span(&again), in));
    check_map(&m);
    buf_free(&again);
    view_uid_free(&m);
}

static void fuzz_record(struct span in)
{
    struct view_record r = {0};
    struct buf again = {0};
    if (!view_record_decode(in, MOST_RUNS, &r))
        return;
    view_record_encode(&again, &r);
    MUST(span_eq(buf_span(&again), in));
    MUST(*r.source_name && *r.target_name);
    check_map(&r.map);
    buf_free(&again);
    view_record_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *own = fuzz_copy(span_of(data, len));
    struct span in = span_of(own, len);
    switch (fuzz_byte(&in) % 3) {
    case 0:
        fuzz_name(in);
        break;
    case 1:
        fuzz_map(in);
        break;
    default:
        fuzz_record(in);
    }
    free(own);
    return 0;
}
