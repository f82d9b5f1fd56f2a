/* reflag: the FLAGS step: UID STORE on the target where flags or keywords of a copy differ from its source
 * message, one command for all messages that get the same flags (touch.h has what goes before and behind them), then a look at
 * what has become of it. What the target can't keep is not tried. */
#ifndef IMAPFERRY_REFLAG_H
#define IMAPFERRY_REFLAG_H

#include "pair.h"

struct reflag;

struct reflag *reflag_start(struct pair *p, step_fn fn, void *owner);
void reflag_stop(struct reflag **r);

#endif
