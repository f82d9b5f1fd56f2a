/* upgrade: a new process of a proxy takes the place of the one that runs, with nobody refused. It takes the
 * listening sockets over, with who waits in their queues, and the id; both serve until the new one says that it
 * does, then the old one drains. Whichever dies on the way leaves the other serving.
 *
 * They speak over a UNIX socket of packets (proxy: upgrade_socket), at which the old one listens; the kernel
 * tells each who the other is: root, or the user that proxies run as.
 *
 *   new                              old
 *   hello 1 TOKEN               ->           its token for the id (instance.h)
 *                               <-   socket URL      with descriptors, as often as need be
 *                               <-   again           with the socket that they speak over
 *                               <-   tickets MS HEX  the keys that it has made for TLS sessions, and when the next one is due
 *                               <-   id TOKEN        the last one of these: it tells its id no more, and can take it back
 *   ... binds what is new, gives up privileges, connects to the store ...
 *   serving                     ->
 *                               <-   yours           from here on it does not call it off
 *   tells the service manager
 *   drain                       ->
 *                               <-   draining        and drains
 *
 * busy in place of the first answer: another one is on its way. off at any time before yours, or where drain does not
 * come: the old one goes on, and the new one ends. The end of the connection, without a word: the other one is
 * gone, and who is left goes on. */
#ifndef IMAPFERRY_UPGRADE_H
#define IMAPFERRY_UPGRADE_H

#include "lib/loop.h"
#include "lib/privileges.h"
#include "lib/tls_tickets.h"

#include "sockets.h"

enum { UPGRADE_TOKEN = 33 }; /* with its NUL */

/* ---- the new one */

struct heir;
enum heir_event {
    HEIR_ALONE, /* there is no other process (any more): the service manager may be told */
    HEIR_YOURS, /* the service manager is to be told that we are the one; the other drains after that */
    HEIR_DONE,  /* it drains */
    HEIR_OFF,   /* it goes on, and we have to end; the service manager is to be told, should it know of us */
};
typedef void (*heir_fn)(void *owner, enum heir_event ev);

/* Looks for a process at path, and takes over what it has: into s, and *_again, the socket for the next upgrade; and *tickets
 * become its own, so that clients go on with their TLS sessions.
 * Where there is none, *_heir is NULL, and *_again is bound at path, for who alone; where it has died since it gave all, *_heir is
 * NULL, too. Waits for some seconds at
 * most. Runs before the loop does. False: *error to free. */
bool heir_meet(const char *path, const struct identity *who, const char *token, struct sockets *s,
               struct ticket_keys *tickets, int *_again, struct heir **_heir, char **error) MUST_CHECK;
/* Takes the file away, at the end of a process that nobody follows. */
void upgrade_unlink(const char *path);
/* The other one's token: the id is taken from it. */
const char *heir_token_before(const struct heir *h);
/* Its process id. */
pid_t heir_pid_before(const struct heir *h);
/* We serve. fn is called from the loop, with HEIR_YOURS and then HEIR_DONE, or with one of the others. */
void heir_serving(struct heir *h, struct loop *l, heir_fn fn, void *owner);
/* NULL is fine. The other one takes it for our death, unless it drains. */
void heir_free(struct heir **h);

/* ---- the old one */

struct giver;
enum giver_event {
    GIVER_LENDS, /* the id is lent */
    GIVER_OFF,   /* all is ours as before; the id has to be taken back from the new one's token */
    GIVER_DRAIN, /* the new one serves */
};
/* token: the new one's; borrowed for the call. */
typedef void (*giver_fn)(void *owner, enum giver_event ev, const char *token);
/* Takes fd, which listens. s, token (ours), tickets: borrowed for as long. */
struct giver *giver_new(struct loop *l, int fd, const struct sockets *s, const char *token,
                        const struct ticket_keys *tickets, giver_fn fn, void *owner);
/* NULL is fine. A new one that is on its way takes it for our death, and serves. */
void giver_free(struct giver **g);

#endif
