#include <stdlib.h>

#include "numbers.h"

enum {
    FILL_ALL_FROZEN = 500 /* fillers in the freeze, where a jump would do as well */
};

/* Has each copy that stays the UID of its message, and is nothing else there? */
static bool numbers_are_kept(struct pair *p)
{
    struct delta d = pair_delta(p);
    struct imap_seq foreign = {0};
    delta_foreign(&d, 1, &foreign);
    if (foreign.n > 0)
        pair_lose_numbers(p, "the target has messages of its own (UID %u)", foreign.ranges[0].first);
    imap_seq_free(&foreign);
    for (size_t i = 0; i < d.n_rows; i++)
        if (d.rows[i].source_uid != d.rows[i].target_uid && mbox_list_find(d.source, d.rows[i].source_uid))
            pair_lose_numbers(p, "UID %u was copied as UID %u", d.rows[i].source_uid, d.rows[i].target_uid);
    return pair_keeps_numbers(p);
}

static void fill_all_if_few(struct pair *p, const uint32_t *uids, size_t n)
{
    struct numbering *numbering = p->numbering;
    uint32_t next = selected_uidnext(&p->target);
    uint64_t fillers = numbering_need(uids, n, next, selected_uidnext(&p->source), false, 0).fillers;
    if (!numbering->jump || fillers > numbering->fill_all || fillers > numbering->gaps_left ||
        (p->last && fillers > FILL_ALL_FROZEN) || !ledger_gave_all(p->ledger, next))
        return;
    numbering->fill_all -= fillers;
    numbering->fill_max = UINT32_MAX;
}

/* Is what is missing to be had, from where the target is? Else no filler is sent for nothing. What an earlier
 * run has left out may be refused once more: only where it is taken now it has another number. */
static void numbers_foresee(struct pair *p)
{
    const struct numbering *numbering = p->numbering;
    size_t n, low = 0;
    uint32_t next = selected_uidnext(&p->target);
    uint32_t *uids = pair_missing(p, &n);
    while (ledger_sums(p->ledger)->rows > 0 && low < n && uids[low] < next)
        low++;
    fill_all_if_few(p, uids + low, n - low);
    struct numbering_need need = numbering_need(uids + low, n - low, next, selected_uidnext(&p->source),
                                                numbering->jump != NULL, numbering->fill_max);
    if (need.too_low)
        pair_lose_numbers(p, "the target's next UID is %u, above %u", next, need.too_low);
    else if (need.fillers + need.jumps > numbering->gaps_left)
        pair_lose_numbers(p, "%llu UIDs have no message and would have to be filled%s, of %llu allowed",
                          (unsigned long long)(need.fillers + need.jumps), need.jumps > 0 ? " or jumped" : "",
                          (unsigned long long)numbering->gaps_left);
    free(uids);
}

/* Without the source's UIDNEXT nobody knows whether a client has seen a UID above the highest that is there
 * now: it would be given out again, to another message. */
void numbers_begin(struct pair *p)
{
    if (!pair_keeps_numbers(p))
        return;
    if (!imap_caps_has(imapc_caps(p->target.imap), CAP_UIDPLUS))
        pair_lose_numbers(p, "the target has no UIDPLUS");
    else if (p->source.uidnext == 0)
        pair_lose_numbers(p, "the source does not tell its UIDNEXT");
    else if (p->target.uidnext == 0)
        pair_lose_numbers(p, "the target does not tell its UIDNEXT");
    else if (numbers_are_kept(p))
        numbers_foresee(p);
}

void numbers_judge(struct pair *p)
{
    uint32_t source = selected_uidnext(&p->source), target = selected_uidnext(&p->target);
    if (!pair_keeps_numbers(p) || !numbers_are_kept(p))
        return;
    if (target > source || (p->last && target < source))
        pair_lose_numbers(p, "the target's next UID is %u, the source's is %u", target, source);
}

struct numbers numbers_of(const struct pair *p)
{
    if (!p->numbering || !p->numbering->wanted)
        return (struct numbers){NUMBERS_NONE, ""};
    return (struct numbers){p->numbers_lost ? NUMBERS_LOST : NUMBERS_HELD,
                            p->numbers_lost ? p->numbers_lost : ""};
}
