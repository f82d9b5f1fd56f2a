#include "bases.h"
#include "fillers.h"
#include "foreign_state.h"

/* That of a bare one is not known: 0 counts for nothing. */
static bool bases_note_size(const struct ledger_row *row, uint32_t *size)
{
    if (row)
        *size = row->size < UINT32_MAX ? (uint32_t)row->size : UINT32_MAX;
    return row != NULL;
}

static bool bases_source_knew(void *owner, uint32_t uid, uint32_t *size)
{
    const struct bases *b = owner;
    return !imap_seq_has(&b->gone, uid) && bases_note_size(ledger_find(b->ledger, uid), size);
}

static bool bases_target_knew(void *owner, uint32_t uid, uint32_t *size)
{
    const struct bases *b = owner;
    return bases_note_size(ledger_find_target(b->ledger, uid), size);
}

static size_t bases_count_gone(const struct bases *b, const struct ledger_row *rows, size_t n)
{
    size_t gone = 0;
    for (size_t i = 0; b->gone.n > 0 && i < n; i++)
        gone += imap_seq_has(&b->gone, rows[i].source_uid);
    return gone;
}

/* What both sides were is known from the rows, if these were all that was there. */
static bool bases_rows_were_all(const struct bases *b, const struct pair *p)
{
    const struct stamp *was = &b->was;
    uint32_t source, target, uidnext;
    size_t n;
    const struct ledger_row *rows = ledger_rows(p->ledger, &n);
    return was->equal && was->source.uidnext > 0 && was->target.uidnext > 0 &&
           was->source.messages == n - bases_count_gone(b, rows, n) && was->target.messages == n &&
           ledger_bound(p->ledger, &source, &target) && source == was->source.uidvalidity &&
           target == was->target.uidvalidity && !ledger_in_doubt(p->ledger, &uidnext) &&
           ledger_resent(p->ledger)->n == 0 && ledger_to_retake(p->ledger)->n == 0 &&
           !fillers_may_be_there(p->ledger) && !foreign_is_there(p);
}

bool bases_make(struct bases *b, const struct pair *p)
{
    bool changes = b->was.source.modseq > 0 && b->was.target.modseq > 0 &&
                   imap_caps_has(imapc_caps(p->source.imap), CAP_CONDSTORE) &&
                   imap_caps_has(imapc_caps(p->target.imap), CAP_CONDSTORE);
    if (!bases_rows_were_all(b, p))
        return false;
    b->ledger = p->ledger;
    b->source = (struct selected_base){b->was.source, changes, bases_source_knew, b};
    b->target = (struct selected_base){b->was.target, changes, bases_target_knew, b};
    return true;
}
