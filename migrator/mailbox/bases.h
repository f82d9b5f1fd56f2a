/* bases: what of a mailbox needs not be listed again, since both sides were equal once (stamp.h) and the ledger has a row for
 * each message of then: what selected_open() goes by. */
#ifndef IMAPFERRY_BASES_H
#define IMAPFERRY_BASES_H

#include "pair.h"

struct bases {
    struct stamp was;            /* how both sides were when they were equal; zeroed: they never were */
    struct imap_seq gone;        /* source UIDs that were gone then, and whose copies were left; owned */
    struct selected_base source; /* set by bases_make() */
    struct selected_base target;
    const struct ledger *ledger; /* the pair's, once they are set */
};

/* False: all messages are to be listed. Else source and target may be used as long as b and the ledger stay. */
bool bases_make(struct bases *b, const struct pair *p);

#endif
