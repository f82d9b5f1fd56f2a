/* backends: what each backend can do, and how to reach it: TLS policy, and the capabilities after sign-in, as
 * the store has them (lib/store_caps.h). Each sign-in here is compared with them; where nobody has signed in
 * yet, one thread of the proxy asks, as far as it may (lib/learner.h). What the store has is read anew each
 * ten seconds, so two proxies show different things for no longer than that. The first thread logs what is
 * not known (capabilities_unknown) and each change (capabilities, capabilities_changed).
 *
 * Which of its addresses don't answer each thread finds out for itself (lib/health.h). Where none does, the breaker
 * of the backend opens, and logins are refused at once; sessions that are open, and what goes on for them (prepare.h,
 * handover.h), are left alone. Its address of POP3 (option pop3) has a breaker of its own. Openings, and logins that were refused so, are summed in the tally. */
#ifndef IMAPFERRY_BACKENDS_H
#define IMAPFERRY_BACKENDS_H

#include "lib/conf.h"
#include "lib/health.h"
#include "lib/imap_caps.h"
#include "lib/store.h"
#include "lib/tls.h"

#include "tally.h"

struct backends;

/* Told once: something is known of each backend, or nothing more will be for now. */
typedef void (*backends_fn)(void *owner);

/* first: this thread is the one that asks and logs. NULL: *error to free. conf, loop and tally are borrowed. */
struct backends *backends_new(struct loop *l, const struct conf *conf, bool first, struct tally *tally,
                              backends_fn fn, void *owner, char **error) MUST_CHECK;
void backends_free(struct backends **b);
/* Reads what the store has, now and from now on; it is called whenever the store is there (again), also with another
 * store of the site where that one is out of reach. incarnation: as whom
 * it is told of open breakers; borrowed. */
void backends_read(struct backends *b, struct store *s, const char *incarnation);

/* What backends_fn tells. */
bool backends_settled(const struct backends *b);
/* Clients are let in from here on, whatever is known. */
void backends_wait_no_more(struct backends *b);
/* NULL where the scheme needs none. */
struct tls_policy *backends_tls(const struct backends *b, const struct conf_backend *backend);
/* Its connections from now on trust by fresh, which is taken; not where its scheme needs none, or none has
 * the name. */
void backends_renew(struct backends *b, const char *name, struct tls_policy **fresh);
/* What is known of its addresses, for a login_request. */
struct outage *backends_outage(const struct backends *b, const struct conf_backend *backend, bool pop3);
/* Has none of them answered for a while? Then a login is refused at once, and is counted as that. */
bool backends_refuses(struct backends *b, const struct conf_backend *backend, bool pop3);
/* All of them were: passwords of masters may be others now, and addresses. */
void backends_renewed(struct backends *b);
/* IMAP4rev1 alone where nothing is known. */
struct imap_caps backends_caps(const struct backends *b, const struct conf_backend *backend);
/* What a sign-in showed. */
void backends_learned(struct backends *b, const struct conf_backend *backend, const struct imap_caps *caps);
/* What a client at `at`, whose own sign-in showed own, is shown: what all users have there, and at the other
 * side of the move, so that it is the same before and after it. Where that side is not known yet, what the
 * client's own server can do. */
struct imap_caps backends_shown(const struct backends *b, const struct conf_backend *at,
                                const struct imap_caps *own, const struct conf_backend *other);

#endif
