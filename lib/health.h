/* health: looks after the addresses of one backend, of IMAP or of POP3, that don't answer, for one loop: keeps what is
 * known of them (outage.h), and when one is due connects to it, has TLS where the scheme has it, and reads the greeting, for
 * nobody. While all answer, it does nothing at all.
 *
 *   event=address_dead backend=old address=192.0.2.1:993 detail=... effect=...
 *   event=address_alive backend=old address=192.0.2.1:993
 *   event=breaker_open backend=old detail=... effect=...
 *   event=breaker_closed backend=old ms=4012 refused=37
 *
 * Of POP3 they say protocol=pop3 too. */
#ifndef IMAPFERRY_HEALTH_H
#define IMAPFERRY_HEALTH_H

#include "backend_login.h"

struct health;
/* The breaker has opened, or closed (health_is_open()). */
typedef void (*health_fn)(void *owner, const struct conf_backend *backend);

/* backend and tls (NULL where its schemes need none) are borrowed as long as it lives. fn NULL: there is no breaker. */
struct health *health_new(struct loop *l, const struct conf_backend *backend, bool is_pop3,
                          struct tls_policy *tls, health_fn fn, void *owner);
void health_free(struct health **h);
/* For a login_request. */
struct outage *health_outage(struct health *h);
/* Is the breaker open? Then a sign-in is to be refused at once, and is counted as that. */
bool health_refuses(struct health *h);
bool health_is_open(const struct health *h);
/* The configuration was read anew: nothing that was known holds, and all may be tried. */
void health_again(struct health *h);

#endif
