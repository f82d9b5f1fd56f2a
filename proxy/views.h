/* views: what the clients of an account go on seeing of it after it was moved (lib/view.h), held once for all
 * sessions of the account in this thread. The route says by a text which view that is
 * (route_view_is_needed()), and it is read anew whenever the text is another one: after a flip, and when a
 * session, here or at another proxy, has changed it (views_change()).
 *
 * state   | meaning                                                    | leaves to
 * --------+------------------------------------------------------------+---------------------------------
 * NONE    | nobody has asked                                           | READING, READ
 * READING | the store is asked; the view from before, if any, stays    | READ, FAILED
 * READ    | as the route said last                                     | READING
 * FAILED  | no answer, or records that can't be read; the view from    | READING, when asked once more
 *         | before, if any, stays                                      |
 *
 * When the store has answered, all sessions of the account hear of it: a login under way goes on
 * (routing_view_there()), a hand-over too (handover_step()), and relays go by the new view
 * (relay_view_is()). */
#ifndef IMAPFERRY_VIEWS_H
#define IMAPFERRY_VIEWS_H

#include "lib/route.h"
#include "lib/view.h"

#include "accounts.h"

struct views;

/* The view is wanted that the route has for this backend by this text. all: with its records, also where
 * nothing is to be rewritten. Does nothing where it is there, or under way. */
void views_want(struct account *a, const char *backend, const char *text, bool all);
/* Something was heard of the route (a->view, a->backend): reads the view anew if it is another one, and
 * somebody has wanted it before. */
void views_heard(struct account *a);
/* VIEWS_FAILED: asks once more for the same. */
void views_try_again(struct account *a);
void views_free(struct views **v);

enum views_state { VIEWS_NONE, VIEWS_READING, VIEWS_READ, VIEWS_FAILED };
enum views_state views_state(const struct account *a);
/* Is it that of this backend, and the one that was heard of last? */
bool views_is_current(const struct account *a, const char *backend);
/* The view; NULL where there is none; borrowed. */
struct view *views_view(const struct account *a);
/* The migrator has recorded a mailbox. */
bool views_has_records(const struct account *a);
/* May clients be shown CONDSTORE and QRESYNC, as the view that was read goes? True too where the account was
 * never moved; false for one that an older release has moved, which has not kept how MODSEQs go on. */
bool views_has_modseqs(const struct account *a);
/* Something is to be rewritten for clients. Else views_view() may have records all the same. */
bool views_rewrites(const struct account *a);

/* Makes the changes in the store, and in the view that all sessions here have; then calls fn, as
 * route_view_change() does: never from inside this call, and not after views_forget(). ROUTE_AGAIN: the view
 * is being read anew. False: what is there is not the view of this backend; fn is not called. */
bool views_change(struct account *a, const char *backend, const struct view_changes *changes,
                  route_done_fn fn, void *owner) MUST_CHECK;
/* Calls fn once the replicas of Redis have what was changed; then a failover loses none of it. ROUTE_DOWN: they don't keep
 * up. Never from inside this call, and not after views_forget(). False: they did not a moment ago, and fn is not called:
 * nothing else is executed for this thread while they are waited for. */
bool views_keep(struct account *a, route_done_fn fn, void *owner) MUST_CHECK;
/* Another proxy may have changed the view, and the event is still on its way: asks the store which view it is by now,
 * and reads it where it is another one. Then calls fn, never from inside this call, and not after views_forget();
 * ROUTE_OK: what views_state() says is of now. Where the store does not answer, that is as it was. False: what is there
 * is not the view of this backend, and fn is not called. */
bool views_ask(struct account *a, const char *backend, route_done_fn fn, void *owner) MUST_CHECK;
void views_forget(struct account *a, void *owner);

#endif
