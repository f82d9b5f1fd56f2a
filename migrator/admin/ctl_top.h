/* ctl_top: `top`, a view of the whole migration that goes on until q. */
#ifndef IMAPFERRY_CTL_TOP_H
#define IMAPFERRY_CTL_TOP_H

#include "actions.h"

struct top;
/* number: the signal that ended it, 0: none. Gone when this is called. */
typedef void (*top_fn)(void *owner, int number);
/* The store is up, and may be away later: that is shown. NULL: standard input or output is no terminal. Never calls back
 * before it returned. */
struct top *top_start(struct stores *s, top_fn fn, void *owner);

#endif
