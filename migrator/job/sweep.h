/* sweep: removes what crashed proxies have left behind: their registrations, also of accounts that nobody
 * moves, and then their entries in `proxies`. It also has the accounts counted where a store comes from a
 * version that did not count them (route_recount.h), and notes each minute how far everything is
 * (route_index.h).
 *
 * An incarnation of a proxy is dead when we have watched its counter stand still, by our own clock, for the
 * long term of its lease and a tenth more. The term is the longer one of what the proxy told and what we are
 * configured for. A change of master ends every watch. Of a dead incarnation all accounts with sessions are
 * gone through, some hundreds at a time, and its entry in `proxies` goes last, so if a migrator dies in
 * between, the next one finds the entry and does the rest. A proxy that lives all the same, but was stopped
 * for so long, finds that its lease has run out and that its registrations are gone (resume.lua), and drops
 * these sessions.
 *
 * Every six long terms, and after a change of master, all accounts with sessions are searched for
 * registrations of incarnations that are in no list: of a proxy that ended while a `leave` was not answered,
 * or that was forgotten by hand. These incarnations are watched and swept in the same way. One of which this
 * Redis has only not heard yet, since it became the master a moment ago, moves its counter meanwhile. */
#ifndef IMAPFERRY_SWEEP_H
#define IMAPFERRY_SWEEP_H

#include "migrator/site/migrator.h"

struct sweep;

struct sweep *sweep_new(struct migrator *m);
/* NULL is fine. */
void sweep_free(struct sweep **s);

#endif
