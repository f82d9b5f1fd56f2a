/* apart: before stores of a site are made, or restored: does each url lead to a Redis of its own? Two may be one under two
 * names; the second would be found to be made already, once the first is there. */
#ifndef IMAPFERRY_APART_H
#define IMAPFERRY_APART_H

#include "lib/stores.h"

#include "actions.h"

struct apart;
/* rc: ACTION_DONE, they are apart, and text is ""; else why not, borrowed. */
typedef void (*apart_fn)(void *owner, enum action_rc rc, const char *text);
/* All of s are connected (STORE_UP or STORE_FOREIGN). Writes a key to each that goes within seconds. Calls back once, not before
 * it returned, and is gone then. */
struct apart *apart_look(struct stores *s, apart_fn fn, void *owner);
/* NULL is fine. */
void apart_cancel(struct apart **a);

#endif
