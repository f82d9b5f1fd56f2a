/* policy: may a copied account be cut over now, by migration.cutover? */
#ifndef IMAPFERRY_POLICY_H
#define IMAPFERRY_POLICY_H

#include <time.h>

#include "lib/conf.h"

enum policy_rc {
    POLICY_GO,   /* yes */
    POLICY_WAIT, /* in *ms */
    POLICY_IDLE, /* once nobody uses it, which route_wait() tells */
    POLICY_STAFF /* when staff say so */
};
/* Goes by the local time at `now`, with its changes to and from summer time. */
enum policy_rc policy_ask(const struct conf_migration *m, time_t now, uint64_t *ms);

#endif
