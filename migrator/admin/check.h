/* check: looks from this host for what would go wrong at a site before anything moves: it connects to each
 * backend, signs in there as its master, opens as many connections at once as a migrator would, and asks
 * Redis what it keeps. A backend that is retired is left alone. Everything is asked at the same time, and nothing waits for longer than CHECK_ALL_MS.
 * The capabilities that the sign-ins show are stored for the proxies.
 *
 * For one account: it finds out whether it is there on both servers, by signing in as master for it. */
#ifndef IMAPFERRY_CHECK_H
#define IMAPFERRY_CHECK_H

#include <jansson.h>

#include "lib/conf.h"
#include "lib/loop.h"

/* A sign-in on which a server sleeps takes the longest: Dovecot answers a wrong password after 2 to 15 s. */
enum { CHECK_CONNECT_MS = 8000, CHECK_ANSWER_MS = 20000, CHECK_STORE_MS = 5000, CHECK_ALL_MS = 45000 };
enum { CHECK_HOPS = 2 /* a backend that is a proxy of ours refuses it (x-proxy-site) */ };

struct check_request {
    struct loop *loop;
    const struct conf *conf; /* with the passwords of masters where they could be read */
    const char *login;       /* the account; NULL: the site */
    /* Of a site with several stores: which of them is looked at; but for an account that is the one which has it. Of any but the
     * first, it is looked at that store and at nothing else. */
    size_t store;
    bool doctor;  /* of the site: is what runs there well, too? */
    bool serving; /* a migrator asks that is at work: how many connections servers take is not tried */
};

/* data: "ok", "checks": a list of "of" (redis, certificate, a backend, clients), "level" (ok, warning,
 * error), "text", "advice"; of an account also "user" and, by backend, "exists" (null where that can't be
 * known). Borrowed. */
typedef void (*check_fn)(void *owner, bool ok, json_t *data);

struct check;
/* login is the name of an account, for account_key(). Never calls back before it returned; all but login is
 * borrowed. */
struct check *check_start(const struct check_request *request, check_fn fn, void *owner);
/* Ends what is under way; NULL is fine. To be called once it has called back, too. */
void check_free(struct check **c);

#endif
