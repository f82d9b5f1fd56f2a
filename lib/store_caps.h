/* store_caps: the capabilities of each backend, as sign-ins have shown them, kept in the store so that the
 * proxies can show them (hash PREFIX:backends).
 *
 * Servers show their users different things (quota, ACL by the user's plugins), so a record is what all
 * sign-ins of the last hour have in common. What one of them lacks is dropped at once, and what all of them
 * have beyond the record is added when the hour is over. So two users who are shown different things don't
 * change in turn what everybody is shown, and a server that was set up anew is known after two hours at most.
 * What a master account is shown when it signs in for itself need not be what users are shown: it holds until
 * the first user's sign-in, and never against one.
 *
 * Records are written by compare-and-set (lib/route/caps.lua): of two processes that saw different things at
 * once, one reads the record again. */
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
    struct imap_caps common; /* what all sign-ins since since_ms have had in common */
    uint64_t since_ms;       /* when the hour of the record began, by clock_wall_ms() */
};

/* Puts into a record what a sign-in showed. True: the record changed, and is to be written. Pure. */
bool caps_record_take(struct caps_record *r, const struct imap_caps *seen, enum caps_by by, uint64_t now_ms);
/* Has the record's hour passed? A record that was written by a clock ahead of ours counts as old too. */
bool caps_record_is_old(const struct caps_record *r, uint64_t now_ms);
/* Reads the record of a backend from an answer to HGETALL. A record that an earlier version has written,
 * without how it was learned, counts as not known. */
void caps_record_read(struct caps_record *r, const struct reply *hash, const char *backend);

/* Reads the record of a backend, puts into it what a sign-in showed, and writes it where that changes
 * something. stored: the store has it now. fn may be NULL; owner is whom store_forget() names. No login
 * depends on any of this: where it fails, the next sign-in does it again. */
typedef void (*store_caps_fn)(void *owner, bool stored);
void store_caps_saw(struct store *s, const char *backend, const struct imap_caps *seen, enum caps_by by,
                    store_caps_fn fn, void *owner);
/* All records: HGETALL, for caps_record_read(). */
void store_caps_all(struct store *s, redis_fn fn, void *owner);

#endif
