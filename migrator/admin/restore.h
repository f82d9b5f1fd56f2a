/* restore: makes the store of a site anew from journals and exports (migrator/site/flips.h), for
 * `imapferryctl route restore`. It writes all routes first and the store's own record last, so that no login
 * finds half of them. To do it again does no harm. */
#ifndef IMAPFERRY_RESTORE_H
#define IMAPFERRY_RESTORE_H

#include "migrator/site/flips.h"

#include "actions.h"

struct restore;
struct restore_request {
    struct store
        *store; /* is connected, and holds no store (STORE_FOREIGN); its accounts alone are restored */
    const struct flips *flips; /* borrowed */
    const char *const *files;  /* of which flips was read; for what they have beside; borrowed */
    size_t n_files;
    size_t by_journal; /* accounts that only the journal of this host knows */
    bool yes;          /* whatever may be missing */
};
/* Looks at everything first, and makes nothing (ACTION_REFUSED) where the files may not be all that was
 * written, name a backend that is not configured, or tell of no account. Calls back once, not before it
 * returned, and is gone then. The data of the result: made (whether the store is there now), restored, held, backends (accounts by backend),
 * in_doubt (names), groups (how many are there again), groups_apart and groups_unmade (names of those that are not, regroup.h), skipped (were never switched over nor held), unreadable, half (lines that a crash left),
 * by_journal, faults (file, line, error; the first ten) and problems (how many). An account where the clocks
 * contradict the epochs is held. */
struct restore *restore_start(const struct restore_request *q, action_fn fn, void *owner);
/* For which store of the site this would be, and from what; to free. It stands in the store while a restore of it is under way
 * or was ended early: over half of one no other may go on. */
char *restore_of(const struct store *s, const struct flips *flips);
/* Was that store, which is there, made before what the files tell of its accounts? Then they are of a store that went on since. */
bool restore_is_behind(const struct store *s, const struct flips *flips) MUST_CHECK;
/* What staff have to know where the store refuses with that word (restore.lua, reserve.lua); fixed. */
const char *restore_refused(const char *detail);
/* NULL is fine. */
void restore_cancel(struct restore **r);

#endif
