/* baggage: what a job brings along besides mailboxes and messages: in its first pass that gets so far, and once more in
 * each whole pass and each freeze, since what a user was told OK for by SETACL and SETMETADATA has to be there as well.
 *
 *   inspect  before a byte is copied: whose account is this (fingerprint), who else has rights on its mailboxes, and is
 *            there enough room on the target?
 *   bring    once the mailboxes are made: sets rights and annotations
 *
 * What it finds holds for the whole job, and counts in every pass. An account that returns to the server that
 * it came from is not inspected: that was done when it came. */
#ifndef IMAPFERRY_BAGGAGE_H
#define IMAPFERRY_BAGGAGE_H

#include "move.h"
#include "plan.h"
#include "shares.h"

enum baggage_rc { BAGGAGE_OK, BAGGAGE_DOWN, BAGGAGE_STORE, BAGGAGE_LOST };
/* why: for people, borrowed. */
typedef void (*baggage_fn)(void *owner, enum baggage_rc rc, const char *why);

/* only_look: nothing is written to the store. Then nobody asks whose account it is, since the answer is found
 * by a script that writes the fingerprint. */
struct baggage *baggage_new(const struct move *move, bool only_look);
void baggage_free(struct baggage **b); /* NULL is fine */

bool baggage_is_done(const struct baggage *b);
/* What both steps have found; owned by the baggage. */
const struct findings *baggage_findings(const struct baggage *b);

/* What the last inspection has found of who shares with whom, but for what excluded mailboxes say; owned by the baggage. */
const struct shares *baggage_shares(const struct baggage *b);

/* Has what was brought to be looked at again? Then it is not done any more, and baggage_inspect() follows, which reads rights,
 * annotations and room, but no fingerprint. Not where the source has neither rights nor annotations. */
bool baggage_renew(struct baggage *b);
/* Begins to read the fingerprint, which needs no plan: baggage_inspect() with the same lane goes on from
 * there. May be called again; nothing when it is done. */
void baggage_begin(struct baggage *b, struct lane *lane);
/* lane and plan must live until the end. Never calls back before it returned. waivers: borrowed while the
 * baggage lives; NULL: none. */
void baggage_inspect(struct baggage *b, struct lane *lane, const struct plan *plan,
                     const struct waivers *waivers, baggage_fn fn, void *owner);
/* Behind an inspection. Is nothing to be brought? Then it is done. Else baggage_bring() follows. */
bool baggage_has_nothing(struct baggage *b);
void baggage_bring(struct baggage *b, struct lane *lane, baggage_fn fn, void *owner);
/* Ends what is under way, without a callback. The caller then drops the lane, and may free the plan. */
void baggage_stop(struct baggage *b);

#endif
