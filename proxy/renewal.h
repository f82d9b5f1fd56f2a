/* renewal: what a thread is given at SIGHUP: the configuration that was read anew, and what was made of its
 * files (certificate, keys, CAs). All threads' are made before any gets one, so an error leaves everything as
 * it was. Made in the main thread and handed over (proxy_renew()); taken in the thread that uses it. */
#ifndef IMAPFERRY_RENEWAL_H
#define IMAPFERRY_RENEWAL_H

#include "lib/conf.h"
#include "lib/seal.h"
#include "lib/tls.h"

#include "backends.h"

struct renewal {
    struct conf *conf;         /* all owned */
    struct tls_policy *server; /* NULL where no listener needs one */
    struct tls_policy *asking; /* NULL without tls_client_ca */
    struct tls_policy **tls;   /* one a backend of conf, NULL without TLS */
    struct seal_public *seal;  /* NULL: no key is configured */
};

/* From a copy of fresh. tickets: keys of this process, copied; used where fresh names no files. NULL: *error to
 * free. */
struct renewal *renewal_new(const struct conf *fresh, const struct ticket_keys *tickets,
                            char **error) MUST_CHECK;
void renewal_free(struct renewal **r);
/* A renewal gives nothing to a thread that had none of it, and takes nothing away (RELOAD_FILE of options.h).
 * server, asking, seal: may be NULL. r is left with what was exchanged. */
void renewal_take(struct renewal *r, struct conf *conf, struct tls_policy *server, struct tls_policy *asking,
                  struct backends *backends, struct seal_public **seal);

#endif
