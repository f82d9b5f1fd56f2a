#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "modseqs.h"
#include "tier.h"

/* So many changes may be made on the source while the account moves, until the MODSEQs that it gives out reach
 * those of the target. */
#define MODSEQ_MARGIN ((uint64_t)1 << 30)

/* ---- what is aimed at */

static bool tier_say(char *why, size_t size, const char *text)
{
    snprintf(why, size, "%s", text);
    return false;
}

static bool tier_is_numbered(const struct stamp_side *side)
{
    return side->uidvalidity > 0 && side->uidnext > 0;
}

/* Can UIDs come out equal? (Where the mailbox has given out UIDs before, the copy will tell.) */
static bool tier_is_new(const struct tier_facts *f, char *why, size_t size)
{
    bool same = f->target.uidvalidity == f->source.uidvalidity; /* it may have been told by a run before */

    if (!tier_is_numbered(&f->source))
        return tier_say(why, size, "the source tells no UIDVALIDITY and UIDNEXT");
    if (f->absent)
        return true;
    if (!tier_is_numbered(&f->target))
        return tier_say(why, size, "the target tells no UIDVALIDITY and UIDNEXT");
    if (f->target.messages > 0 && !same)
        return tier_say(why, size, "the target's mailbox is not empty");
    return true;
}

static bool tier_may_be_t0(const struct tier_facts *f, char *why, size_t size)
{
    if (!tier_is_new(f, why, size))
        return false;
    if (!f->absent && f->target.uidnext > 1 && f->target.uidvalidity != f->source.uidvalidity)
        return tier_say(why, size, "the target's mailbox has been used before");
    if (!f->uidplus)
        return tier_say(why, size, "the target has no UIDPLUS");
    if (!f->channel && f->target.uidvalidity != f->source.uidvalidity)
        return tier_say(why, size, f->no_channel);
    return true;
}

static void tier_aim_t0(const struct tier_facts *f, struct tier_aim *aim)
{
    bool same = !f->absent && f->target.uidvalidity == f->source.uidvalidity;
    bool above = f->source.modseq == 0 || f->target.modseq > f->source.modseq + MODSEQS_SLACK;

    aim->tier = VIEW_T0;
    aim->gaps = f->channel ? f->t0_max_gaps : f->t1_max_gaps;
    aim->modseq = f->source.modseq && f->source.modseq < MODSEQS_MAX - MODSEQ_MARGIN
                      ? f->source.modseq + MODSEQ_MARGIN
                      : 0;
    aim->set = f->channel && f->target.messages == 0 && !(same && above);
}

/* The target has messages already. */
static void tier_aim_beside(const struct tier_facts *f, struct tier_aim *aim)
{
    uint32_t n = f->target.messages;

    aim->tier = VIEW_T3;
    if (!f->uidplus)
        tier_say(aim->why, sizeof(aim->why),
                 "the target's mailbox has messages of its own, and they can't be moved without UIDPLUS");
    else if (n > f->foreign_max)
        snprintf(aim->why, sizeof(aim->why),
                 "the target's mailbox has %" PRIu32 " messages of its own, and foreign_max lets %" PRIu32
                 " be moved",
                 n, f->foreign_max);
    else
        aim->tier = VIEW_T2;
    if (aim->tier == VIEW_T2)
        tier_say(aim->why, sizeof(aim->why),
                 "the target's mailbox has messages of its own, which will be moved behind the copies");
}

void tier_choose(const struct tier_facts *f, struct tier_aim *aim)
{
    char lacks[100];

    *aim = (struct tier_aim){.tier = VIEW_T2};
    if (tier_may_be_t0(f, aim->why, sizeof(aim->why))) {
        tier_aim_t0(f, aim);
    } else if (!tier_is_numbered(&f->source)) {
        aim->tier = VIEW_T3;
    } else if (tier_is_new(f, lacks, sizeof(lacks)) && f->uidplus && f->t1_max_gaps > 0) {
        aim->tier = VIEW_T1;
        aim->gaps = f->t1_max_gaps;
    } else if (f->target.messages > 0) {
        tier_aim_beside(f, aim);
    }
}

/* ---- what came of it */

/* source_uidnext 0: nobody knows which UIDs the source has given out. */
bool tier_uids_fit(const struct tier_held *h, char *why, size_t size)
{
    if (h->source_uidnext == 0)
        return tier_say(why, size, "the source tells no UIDNEXT");
    for (size_t i = 0; i < h->n; i++)
        if (h->rows[i].source_uid != h->rows[i].target_uid) {
            snprintf(why, size, "UID %" PRIu32 " is UID %" PRIu32 " on the target", h->rows[i].source_uid,
                     h->rows[i].target_uid);
            return false;
        }
    if (h->first_foreign && h->first_foreign < h->source_uidnext) {
        snprintf(why, size, "the target has a message of its own under UID %" PRIu32, h->first_foreign);
        return false;
    }
    if (h->target_uidnext < h->source_uidnext) {
        snprintf(why, size, "the target goes on at UID %" PRIu32 ", the source at %" PRIu32,
                 h->target_uidnext, h->source_uidnext);
        return false;
    }
    return true;
}

/* A message that is no copy has to lie behind all copies: the tail begins there. */
static bool tier_make_map(const struct tier_held *h, struct view_uid *map, char *why, size_t size)
{
    uint32_t tail = h->first_foreign ? h->first_foreign : h->target_uidnext;

    for (size_t i = 0; i < h->n; i++)
        if (!view_uid_add(map, h->rows[i].source_uid, h->rows[i].target_uid))
            return tier_say(why, size, "the copies are not in the order of the source");
    if (h->source_uidnext == 0 || h->target_uidnext == 0)
        return tier_say(why, size, "the servers do not both tell UIDNEXT");
    if (!view_uid_set_tail(map, h->source_uidnext, tail)) {
        snprintf(why, size,
                 "the target has a message of its own, UID %" PRIu32 ", before copies of the source's", tail);
        return false;
    }
    return !view_uid_is_full(map, h->target_uidnext) ||
           tier_say(why, size, "the UIDs would not fit into 32 bits");
}

enum view_tier tier_of(const struct tier_held *h, struct view_uid *map, char *why, size_t size)
{
    char no_map[200];

    *why = '\0';
    if (!tier_make_map(h, map, no_map, sizeof(no_map)))
        view_uid_free(map);
    if (h->source_uidvalidity == 0 || h->target_uidvalidity == 0) {
        tier_say(why, size, "a server has no UIDVALIDITY");
        return VIEW_T3;
    }
    if (tier_uids_fit(h, why, size))
        return h->source_uidvalidity == h->target_uidvalidity ? VIEW_T0 : VIEW_T1;
    if (map->tail_client)
        return VIEW_T2;
    tier_say(why, size, no_map);
    return VIEW_T3;
}

uint32_t tier_fresh_uidvalidity(uint32_t source, uint32_t target, uint32_t shown, uint64_t now_s)
{
    uint64_t fresh = source > target ? source : target;

    fresh = (fresh > shown ? fresh : shown) + 1;
    fresh = fresh > now_s ? fresh : now_s;
    return fresh <= UINT32_MAX ? (uint32_t)fresh : 0;
}
