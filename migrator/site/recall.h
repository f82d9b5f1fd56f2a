/* recall: does the store know the flips that the journal of this host has? A store that does not is one that
 * was made anew after a loss, or has lost writes: it serves users who were moved from the server that they
 * have left. A flip stands in the journal only once Redis has its account in `flipping` (journal.h), and the
 * account's epoch only rises; so one that has no record, or a lower epoch, is one that the store does not
 * know, unless the audit says that staff have had it forgotten since (forget --gone). The newest RECALL_BYTES of the
 * journal are looked at, which are some thousand flips. */
#ifndef IMAPFERRY_RECALL_H
#define IMAPFERRY_RECALL_H

#include "lib/store.h"

enum { RECALL_BYTES = 1024 * 1024, RECALL_AT_ONCE = 500 /* questions without an answer */, RECALL_NAMED = 3 };

struct recall_result {
    bool answered;     /* false: Redis does not answer, or the journal can't be read (error) */
    const char *error; /* of the journal; "" = it was read, or there is none. Borrowed, as names */
    size_t asked, unknown;
    /* the first RECALL_NAMED of those that are unknown: "ann, bob and 78 more"; "" = none */
    const char *names;
};
/* The question is gone when this is called. */
typedef void (*recall_fn)(void *owner, const struct recall_result *result);

struct recall;
/* s: is up. folder: as of journal_open(). Never calls back before it returned. */
struct recall *recall_start(struct store *s, const char *folder, recall_fn fn, void *owner);
/* NULL is fine. */
void recall_cancel(struct recall **r);
/* What staff have to know and to do, as one sentence; to free. */
char *recall_text(const struct recall_result *result, const char *folder);

#endif
