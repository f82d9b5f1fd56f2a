/* recipient: whose mail an address is, and on which backend it has to be delivered at this moment. What socketmap
 * answers and what LMTP decides at RCPT comes from here, and from the same routes as logins.
 *
 * An address becomes an account key:
 *   - `Local.Part+ext@Dom.Ain`, as a mail server hands it on: without "<>" and source routes. The local part may be
 *     quoted (RFC 5321 4.1.2), or be as it is without its quotes; the domain begins behind the last "@" outside of
 *     quotes. One without "@" is taken for one of default_domain; without default_domain it is nobody's.
 *   - Its domain has to be one of `domains` of the section delivery (default_domain, where that list is empty). Any other
 *     address is not ours.
 *   - account_key() makes the key of it (small letters, aliases), or of its local part alone where `account` of that
 *     section is "local_part".
 *   - Where its local part holds a byte of `recipient_delimiter` (not as its first one), that is asked first as it stands: an
 *     account or an alias may be called so. If nothing is known of one, what begins with that byte is left off.
 * Nothing else is tried: never a domain alone, never a part of a name.
 *
 * An account without a route record lives where its login would go: on the source of the first rule that fits. */
#ifndef IMAPFERRY_RECIPIENT_H
#define IMAPFERRY_RECIPIENT_H

#include "lib/route.h"
#include "lib/stores.h"

enum {
    RECIPIENT_MAX = 512, /* bytes of an address; a longer one is not ours (RFC 5321 4.5.3.1.3 has 256) */
};

enum recipient_rc {
    RECIPIENT_FOUND,
    RECIPIENT_NOT_OURS, /* another domain, or no address at all: no account can have it */
    RECIPIENT_LOST,     /* the route names a backend that this configuration does not have */
    RECIPIENT_DOWN,     /* the store gave no answer in time, or is not ours: nobody knows. Try again later. */
};

/* Borrowed until the callback returns. backend is of the configuration and stays; what its strings are, a reload changes. */
struct recipient_answer {
    const char *key; /* of the account; "" unless RECIPIENT_FOUND or RECIPIENT_LOST */
    /* Where mail goes now, which is the source during a freeze; NULL unless RECIPIENT_FOUND. Its `delivery` may be "",
     * where the configuration does not tell how mail gets there. */
    const struct conf_backend *backend;
    size_t nth; /* backend is conf->backends[nth] */
    bool
        recorded; /* there is a route record; else nobody has heard of the account yet, which may not exist at all */
    enum route_state state;
    uint64_t epoch, generation; /* of the route and of the store, as they were read */
    /* The account stands still: it is in its freeze, or being flipped. What is delivered to backend now may miss the flip,
     * and is brought over by the late watch. left_ms: the freeze ends by then at the latest, at least 1; 0: it is being
     * flipped, which goes on until it is done. */
    bool frozen;
    uint64_t left_ms;
    const char *why; /* for a log: why it is not FOUND; "" where it is */
};

/* The question is over when this is called, and r of recipient_find() is no longer to be cancelled. */
typedef void (*recipient_fn)(void *owner, enum recipient_rc rc, const struct recipient_answer *a);

struct recipient;

/* Asks. It answers once, within deadline_ms, and never before it has returned. stores are those of this thread (p->stores);
 * its configuration is used, and has to stay where it is until the answer (a reload does that). */
struct recipient *recipient_find(const struct stores *stores, struct span address, uint64_t deadline_ms,
                                 recipient_fn fn, void *owner) MUST_CHECK;
/* Nulls *r; no callback comes after it. *r may be NULL. */
void recipient_cancel(struct recipient **r);

/* The account keys that an address may mean, in the order in which they are asked, each to be freed. How many: 0, where it
 * is not ours; *why is a fixed text then. Pure. */
enum { RECIPIENT_KEYS = 2 };
size_t recipient_keys(const struct conf *c, struct span address, char *keys[RECIPIENT_KEYS],
                      const char **why) MUST_CHECK;

#endif
