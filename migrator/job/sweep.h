/* sweep: takes away what crashed proxies have left behind: their registrations, also of accounts that nobody moves, and then
 * their entries in `proxies`. Besides, it sees to it that accounts are counted where a store comes from a version that did
 * not (route_recount.h).
 *
 * An incarnation is dead when its counter was watched without moving for the long term of its lease and a tenth, by our own
 * clock: the longer one of what it told and what we are configured for. A change of master ends every watch. All accounts
 * with sessions are gone through then, some hundreds at a time, and its entry goes last: whoever dies in between leaves it
 * to the next. One that lives all the same, and was stopped for so long, finds its lease run out and its registrations gone
 * (resume.lua), and drops these sessions.
 *
 * Six long terms apart, and after a change of master, all accounts with sessions are looked through for registrations of
 * incarnations that are in no list: of a proxy that ended while a `leave` was not answered, or that was forgotten by hand. These
 * are watched and swept in the same way: one that is only about to be heard of, since its Redis is another, moves meanwhile. */
#ifndef IMAPFERRY_SWEEP_H
#define IMAPFERRY_SWEEP_H

#include "migrator/site/migrator.h"

struct sweep;

struct sweep *sweep_new(struct migrator *m);
/* NULL is fine. */
void sweep_free(struct sweep **s);

#endif
