#include "ahead.h"
#include "fillers.h"
#include "foreign_state.h"

enum {
    /* The source's connection is given away before all is read back only where that is soon done: what the next copy
     * asks for there waits for the target */
    GIVE_SOURCE_BYTES = 16 * 1024 * 1024,
};

/* Each mailbox of the target has a limit of its own (RFC 7889), which it is asked for when it is open. */
static bool has_own_limit(const struct pair *p)
{
    const struct imap_caps *caps = imapc_caps(p->target.imap);
    return imap_caps_has(caps, CAP_APPENDLIMIT) && caps->appendlimit == 0;
}

bool ahead_may_ask(const struct pair *p)
{
    uint32_t uidnext;
    size_t n;
    ledger_rows(p->ledger, &n);
    return n == 0 && p->source.list.listed > 0 && !p->late_from && !has_own_limit(p) &&
           !ledger_in_doubt(p->ledger, &uidnext) && ledger_resent(p->ledger)->n == 0 &&
           ledger_to_retake(p->ledger)->n == 0 && !fillers_may_be_there(p->ledger);
}

/* Of the source nothing is left to be read as a rule. */
void ahead_give_source(struct ahead *a, struct pair *p)
{
    if (!a->source_to_next || p->source.given || p->late_from || p->sample.mode == VERIFY_HEADERS ||
        ledger_resent(p->ledger)->n > 0 || p->counts.bytes_total > GIVE_SOURCE_BYTES)
        return;
    p->source.given = a->source_to_next(a->owner);
    a->source_to_next = NULL;
}

/* Nothing of the source is left to be read as a rule, and on the target nothing is left to be asked. Not where
 * more than that is to be expected. */
void ahead_give_both(struct ahead *a, struct pair *p)
{
    if (!a->over_to_next || p->target.given || p->late_from || has_own_limit(p) ||
        p->sample.mode == VERIFY_HEADERS || ledger_resent(p->ledger)->n > 0 ||
        (ledger_fillers(p->ledger)->sent.n > 0 && !pair_keeps_numbers(p)) || foreign_may_be_there(p))
        return;
    p->target.given = a->over_to_next(a->owner);
    p->source.given = p->source.given || p->target.given;
    a->over_to_next = NULL;
}
