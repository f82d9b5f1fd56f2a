/* crowd: the connections of a thread that have not signed in, by the network they come from: an IPv4 address
 * (also where it is written as one of IPv6, ::ffff:192.0.2.1), or a /64 of IPv6, since that is what one
 * customer gets. Such connections cost nothing to whoever opens them, so how many there may be follows from
 * the descriptors that there are:
 *
 *   the thread's sockets   n, of which a sixteenth is kept for hand-overs (a second connection to a backend)
 *   the crowd              a quarter of n. Each of them is counted twice, for the connection to the backend that it
 *                          will need: so who has got in can sign in too
 *   one network            as many as would be left to others: one alone half of the crowd, two a third each
 *
 * A connection that comes when there is no room takes the place of the one that has been idle for longest: of
 * the same network, where that has too many, else of all. A connection is idle while no login of it is being
 * tried (it may wait for its turn, throttle.h, or for its NO). The one that loses its place is told BYE [UNAVAILABLE]; where none is idle, the new one is told that.
 * Where signed-in sessions hold all sockets, clients wait in the kernel's queue (listener.h). The log tells
 * of all this once in ten seconds, with numbers. */
#ifndef IMAPFERRY_CROWD_H
#define IMAPFERRY_CROWD_H

#include <sys/queue.h>

#include <uthash.h>

#include "lib/loop.h"

#include "penalty.h"

enum {
    /* connections of a thread that have not signed in, whatever there is room for */
    CROWD_MAX = 10000,
    CROWD_FDS_KEPT = 64,        /* descriptors that clients never get */
    CROWD_ACCEPTS_A_ROUND = 64, /* connections that a thread takes in a round of its loop */
    CROWD_LONG_IDS = 64,        /* connections of a thread whose ID may be as long as a line after login */
};

struct session;
TAILQ_HEAD(crowd_list, session);

struct network {
    uint8_t key[NETWORK_KEY_SIZE]; /* 4 or 6, then the address or the first 8 bytes of it; 0: a UNIX socket */
    size_t n;
    struct crowd_list members; /* the oldest first */
    struct turn_line line;     /* what they wait in */
    UT_hash_handle hh;
};

struct crowd {
    struct network *networks; /* owned */
    struct crowd_list all;    /* the oldest first */
    size_t n, max;
    struct timer *quiet;     /* owned; set: what happens is counted ... */
    uint64_t ended, refused; /* ... and logged when it has passed */
    unsigned thread;
};

/* sockets: what the thread may have. */
void crowd_init(struct crowd *c, struct loop *l, unsigned thread, size_t sockets);
void crowd_free(struct crowd *c);

/* Of struct network: of an address, or "" for a UNIX socket. */
void crowd_network_key(const char *ip, uint8_t key[NETWORK_KEY_SIZE]);

/* Takes the session in, by its peer_ip ("": a UNIX socket), and has its client's stream wait in its network's
 * line; may end another session. False: no room; it is in no crowd. */
bool crowd_enter(struct crowd *c, struct session *s) MUST_CHECK;
/* Out of the crowd and its line. Nothing where it is in none. */
void crowd_leave(struct crowd *c, struct session *s);
/* Ends the one that has been idle for longest, of the network or (NULL) of all. False: nobody is idle. */
bool crowd_end_one(struct crowd *c, struct network *of);

#endif
