/* backends: what each backend can do, and how to reach it: TLS policy, and the capabilities after sign-in, as
 * the store has them (hash "backends": name -> words). They are asked for once where nobody knows them
 * (before sign-in a server tells only a part), and replaced by what a sign-in shows, here or at a migrator.
 * Read anew each ten seconds. */
#ifndef IMAPFERRY_BACKENDS_H
#define IMAPFERRY_BACKENDS_H

#include "lib/conf.h"
#include "lib/imap_caps.h"
#include "lib/store.h"

struct backends;

/* Told when something was learned of each backend for the first time. */
typedef void (*backends_fn)(void *owner);

/* ask: this thread is the one that asks. NULL: *error to free. conf and loop are borrowed. */
struct backends *backends_new(struct loop *l, const struct conf *conf, bool ask, backends_fn fn, void *owner,
                              char **error) MUST_CHECK;
void backends_free(struct backends **b);
/* Reads what the store has, now and from now on; it is called whenever the store is there (again). */
void backends_read(struct backends *b, struct store *s);

/* Something is known of each. */
bool backends_known(const struct backends *b);
/* NULL where the scheme needs none. */
struct tls_policy *backends_tls(const struct backends *b, const struct conf_backend *backend);
/* Its connections from now on trust by fresh, which is taken; not where its scheme needs none, or none has the name. */
void backends_renew(struct backends *b, const char *name, struct tls_policy **fresh);
/* IMAP4rev1 alone where nothing is known. */
struct imap_caps backends_caps(const struct backends *b, const struct conf_backend *backend);
/* What a sign-in showed. */
void backends_learned(struct backends *b, const struct conf_backend *backend, const struct imap_caps *caps);

#endif
