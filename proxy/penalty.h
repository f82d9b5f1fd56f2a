/* penalty: failed logins make those who failed wait before the next password of theirs is tried. Who has not
 * failed never waits, and what is tried then is answered like everything else.
 *
 *   who                          waits before its next try
 *   an account, from a network   from the first failure there on: login_delay, and twice as long after each, up to
 *                                login_delay_max. Failures of the account from all networks together are taken where
 *                                those are more: who guesses from many networks waits at each that has failed, and
 *                                its owner does not
 *   a network                    from the eleventh failure on, at whatever accounts; but not an account that has
 *                                signed in from there within the last hour (six times login_delay_memory)
 *
 * A network is that of crowd.h. Tries take turns: each that waits makes the next one wait for longer, so
 * many connections at once are of no use; those of one network at different accounts stand login_delay
 * apart. A right password forgets the account's failures from that network. The same wrong password once
 * more is not counted: that is a mail program whose user has a new one.
 *
 * All proxies share what they know by Redis (lib/route/penalty.lua), which is asked by nobody who is not known to have
 * failed: a login without failures costs no call. What a thread knows is what failed at it, what it was told
 * then, and what it is told with a route that it reads for a login (route_where()). So a network that has failed elsewhere alone waits here
 * too, but at accounts whose routes the thread has read of late (lately.h): at these it may try THROTTLE_TRIES passwords
 * (throttle.h) without waiting, once. Where Redis does not answer, the thread goes by its own numbers. It keeps PENALTY_MAX of them, and Redis 100,000 (24 MB); those that would be forgotten
 * first make room. */
#ifndef IMAPFERRY_PENALTY_H
#define IMAPFERRY_PENALTY_H

#include "lib/route.h"

enum {
    PENALTY_MAX = 4096,   /* numbers of a thread, some 250 bytes each */
    PENALTY_FREE = 10,    /* failures that a network has for nothing */
    PENALTY_NAME = 110,   /* bytes of a name by which accounts are told apart here */
    PENALTY_GOOD = 6,     /* times login_delay_memory: how long it counts that an account has signed in */
    NETWORK_KEY_SIZE = 9, /* of struct network in crowd.h */
};

/* Borrowed for the call. */
struct penalty_who {
    const char *user;       /* an account's key */
    const uint8_t *network; /* NETWORK_KEY_SIZE bytes */
    bool many;              /* many people are known to come from there: only their accounts count */
};

struct penalty;

/* Both borrowed. */
struct penalty *penalty_new(struct store *s, const struct conf *conf);
void penalty_free(struct penalty **p);

/* Has it failed, so that it has to wait for its turn? */
bool penalty_knows(struct penalty *p, const struct penalty_who *w);
/* How often it has failed, at whichever proxy. */
void penalty_heard(struct penalty *p, const struct penalty_who *w, const struct route_failures *f);
/* Its network as Redis is told of it: hexadecimal digits. */
enum { PENALTY_NETWORK = 2 * NETWORK_KEY_SIZE + 1 };
void penalty_network(const struct penalty_who *w, char text[PENALTY_NETWORK]);
/* Asks Redis for its turn; store_forget(owner) has fn not called any more. What fn is told goes to penalty_told(),
 * with the same who and ahead_ms: how long to wait, in ms. PENALTY_LATE: that would be longer than ahead_ms. */
#define PENALTY_LATE UINT64_MAX
void penalty_turn(struct penalty *p, const struct penalty_who *w, uint64_t ahead_ms, route_penalty_fn fn,
                  void *owner);
uint64_t penalty_told(struct penalty *p, const struct penalty_who *w, uint64_t ahead_ms, enum route_rc rc,
                      const struct route_penalty *told);
/* The same where Redis has not answered in time: by the thread's own numbers. */
uint64_t penalty_turn_here(struct penalty *p, const struct penalty_who *w, uint64_t ahead_ms);

/* A server has refused this password. */
void penalty_failed(struct penalty *p, const struct penalty_who *w, struct span password);
/* A server has taken the password. */
void penalty_passed(struct penalty *p, const struct penalty_who *w);

#endif
