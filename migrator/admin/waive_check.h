/* waive_check: is there such a message? Staff who waive MAILBOX:UID may have the wrong number, and would
 * otherwise learn of it only when something else is left behind. It asks what Redis has: the report of the
 * last pass, which names what that found, and the ledger, which has what was copied. Where these can't tell
 * (the pass did not come to the mailbox, or found more than it names), the message counts as there. */
#ifndef IMAPFERRY_WAIVE_CHECK_H
#define IMAPFERRY_WAIVE_CHECK_H

#include <jansson.h>

#include "lib/route.h"

/* key: NULL: all may be there; else the first one that is not; borrowed. The check is gone when this is
 * called. */
typedef void (*waive_check_fn)(void *owner, enum route_rc rc, const char *key);

/* keys: a list of keys as they are kept (migrator/found/waiver.h). Takes references to both. Not called from
 * inside. */
void waive_check(struct store *s, const char *user, json_t *report, json_t *keys, waive_check_fn fn,
                 void *owner);
/* The mailbox of the report that a key is of, NULL where there is none. Borrowed from report. */
json_t *waive_mailbox(const json_t *report, const char *key);

#endif
