/* reflag: the FLAGS step. Where flags or keywords of a copy differ from those of its source message, it sends
 * UID STORE to the target, one command for all messages that get the same flags, and then lists what has
 * become of them. What the target can't keep is not tried. touch.h tells what goes before and behind these
 * commands. */
#ifndef IMAPFERRY_REFLAG_H
#define IMAPFERRY_REFLAG_H

#include "pair.h"

struct reflag;

struct reflag *reflag_start(struct pair *p, step_fn fn, void *owner);
void reflag_stop(struct reflag **r);

#endif
