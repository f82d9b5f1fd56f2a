/* apart: before stores of a site are made, or restored: does each url lead to a Redis of its own, and could each be made? Two may be
 * one under two names; the second would be found to be made already, once the first is there. And where one can't be made (it was moved, or has
 * half of a restore), none is: users of those that were would be on the old server, and the next restore would leave these as they are. */
#ifndef IMAPFERRY_APART_H
#define IMAPFERRY_APART_H

#include "lib/stores.h"

#include "migrator/site/flips.h"

#include "actions.h"

struct apart;
/* rc: ACTION_DONE, they are apart, and can be made, and text is ""; else why not, borrowed. */
typedef void (*apart_fn)(void *owner, enum action_rc rc, const char *text);
/* All of s are connected (STORE_UP or STORE_FOREIGN). flips: of which they are restored, borrowed; NULL for init. Writes a key to each that goes within seconds. Calls back once, not before
 * it returned, and is gone then. */
struct apart *apart_look(struct stores *s, const struct flips *flips, apart_fn fn, void *owner);
/* NULL is fine. */
void apart_cancel(struct apart **a);

#endif
