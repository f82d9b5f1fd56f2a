/* crew: the connections with which one job works. They come in lanes: a lane is a connection to the source
 * and one to the target, both signed in as the user. The crew opens the first lane when the backends have
 * room, and more of them as long as there is work and room for them; what it does not need it gives back.
 *
 * A further lane that can't be opened is no failure: the servers allow fewer connections than were asked for,
 * and the crew stays as large as it is. When no lane is left and none can be opened, the crew has failed. */
#ifndef IMAPFERRY_CREW_H
#define IMAPFERRY_CREW_H

#include "lib/reasons.h"

#include "migrator.h"
#include "migrator/found/oddity.h"
#include "migrator/imap/imap_client.h"

struct crew;
struct lane {
    struct imapc *source, *target;
};

/* Told from the loop alone. */
enum crew_event {
    CREW_READY,  /* a lane is free: crew_take() has one */
    CREW_FAILED, /* there is no lane and none could be opened: crew_why(), crew_error(). It stays so until
                    crew_want() */
};
typedef void (*crew_fn)(void *owner, enum crew_event ev);

struct crew_request {
    struct migrator *m;
    const char *user;                    /* for logs */
    const char *login;                   /* login name at both backends */
    const struct credential *credential; /* the user's, NULL = master sign-in at both sides is configured */
    const struct conf_backend *source, *target;
    bool quiet; /* leaves no trace in the store, and what it meets at a sign-in keeps no job from a backend */
    bool provisioned;         /* the site has said that the account is at the target */
    bool late;                /* for a late look: behind the jobs, see backends.h */
    const uint64_t *until_ms; /* how long the job is ours, see imapc_set_fence(); borrowed */
};

/* Copies the request. Opens nothing yet. */
struct crew *crew_new(const struct crew_request *request);
/* Closes all lanes, lent ones too: what works with them must have been cancelled. */
void crew_free(struct crew **c);

/* Up to n lanes are wanted from now on (at most CREW_MAX). Idle lanes beyond that are closed: at once where
 * another job waits for connections or n is 0, else after some seconds. */
enum { CREW_MAX = 6 };
void crew_want(struct crew *c, unsigned n);
void crew_want_at_least(struct crew *c, unsigned n);
/* A lane that is signed in, whole and free, lent until crew_give(); NULL: none now, CREW_READY will tell. */
struct lane *crew_take(struct crew *c);
/* May be called from callbacks of the lane's own connections: what has to be closed is closed later. */
void crew_give(struct crew *c, struct lane *lane);
/* Gives back a lane in which something was left half done: it is closed. */
void crew_drop(struct crew *c, struct lane *lane);
/* Who is told from now on; fn may be NULL. What happened before is told again where it still holds. */
void crew_set_owner(struct crew *c, crew_fn fn, void *owner);
/* When a lane was last dropped, or broke while it was lent, by clock_boot_ms(): a command of ours may have
 * been under way. 0 = never. */
uint64_t crew_broke_ms(const struct crew *c);
unsigned crew_lent(const struct crew *c);
/* How long the sign-in of a lane took at last; 0: none was signed in. */
uint64_t crew_sign_in_ms(const struct crew *c);
/* Is a lane being signed in? */
bool crew_is_opening(const struct crew *c);
enum why crew_why(const struct crew *c);
const char *crew_error(const struct crew *c);
/* Did a lane break for bytes that are no response? */
bool crew_is_garbled(const struct crew *c);
/* What servers have answered on any lane that was not understood, as far as whoever used the lane has not
 * named it (imapc_on_odd()). */
const struct oddities *crew_oddities(const struct crew *c);

#endif
