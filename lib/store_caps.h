/* store_caps: what each backend can do, as sign-ins have shown it, for the proxies to show (hash
 * PREFIX:backends).
 *
 * Servers show their users different things (quota, ACL by the user's plugins), so a record is what all
 * sign-ins of the last hour have in common: what one of them lacks is dropped at once, and what all of them
 * have more is added when the hour is over. So two users who are shown different things don't change in turn
 * what everybody is shown, and a server that was set up anew is known after two hours at most. What a master
 * account is shown when it signs in for itself need not be what users are: it holds until the first user's
 * sign-in, and never against one.
 *
 * Written by compare-and-set (lib/route/caps.lua): of two processes that saw different things at once, one
 * looks again. */
#ifndef IMAPFERRY_STORE_CAPS_H
#define IMAPFERRY_STORE_CAPS_H

#include "imap_caps.h"
#include "store.h"

enum { CAPS_WINDOW_MS = 3600 * 1000 };

enum caps_by {
    CAPS_BY_MASTER, /* a master account that signed in for itself */
    CAPS_BY_USER    /* a user, or a master account for one */
};

struct caps_record {
    bool known;
    enum caps_by by;
    struct imap_caps caps;   /* what is counted on */
    struct imap_caps common; /* what all sign-ins since then have had */
    uint64_t since_ms;       /* by clock_wall_ms() */
};

/* What a sign-in showed. True: the record changed, and is to be written. Pure. */
bool caps_record_take(struct caps_record *r, const struct imap_caps *seen, enum caps_by by, uint64_t now_ms);
/* Has its hour passed? So has one of a clock that is ahead of ours. */
bool caps_record_is_old(const struct caps_record *r, uint64_t now_ms);
/* From an answer to HGETALL. What a version before has written without saying how it was learned is not
 * known. */
void caps_record_read(struct caps_record *r, const struct reply *hash, const char *backend);

/* Reads the record of a backend, takes what a sign-in showed, and writes what came of it, where that changes
 * something. stored: it stands there now. fn may be NULL; owner is whom store_forget() names. Nothing of it
 * matters to a login: what fails is seen by the next sign-in again. */
typedef void (*store_caps_fn)(void *owner, bool stored);
void store_caps_saw(struct store *s, const char *backend, const struct imap_caps *seen, enum caps_by by,
                    store_caps_fn fn, void *owner);
/* All records: HGETALL, for caps_record_read(). */
void store_caps_all(struct store *s, redis_fn fn, void *owner);

#endif
