/* thaw: ends freezes that nobody ends. An account in preparing or freezing has a deadline, and its migrator
 * may be asleep or gone. So the first thread of each proxy remembers every such account that it hears of,
 * whether it has sessions of it or not, and the others those that they have sessions of. Once the deadline
 * has passed it asks for the thaw (route_thaw), which compares by Redis' own clock. Nothing is asked before,
 * and each proxy waits a random time longer: the first one's thaw is heard by the others before theirs.
 *
 * What was missed: an account whose begin nobody heard of is thawed by the next login, by its next owner, or
 * by a proxy that reads it after the gap; where the end was missed, the one question is answered by the state
 * that it is in; where the deadline was moved, it is asked for again. */
#ifndef IMAPFERRY_THAW_H
#define IMAPFERRY_THAW_H

#include "lib/events.h"

struct thaws;

struct thaws *thaws_new(struct store *s);
void thaws_free(struct thaws **t);
/* The state of an account, from an event or a read; left_ms: until its deadline, 0 = not known. */
void thaws_heard(struct thaws *t, struct span user, enum route_state state, uint64_t left_ms);

#endif
