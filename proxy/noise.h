/* noise: lines of the log that strangers can cause as often as they like: that a login failed, that a connection
 * ended in an error. In ten seconds a thread logs NOISE_LINES of each kind, and half as many of one network;
 * what is above that is counted, and when the time is over one line says how many those were, and from which
 * networks most of them came:
 *
 *   event=noise thread=0 ends=0 logins=4711 worst="192.0.2.7 4200, 2001:db8:0:1::/64 311, 198.51.100.9 12"
 *
 * The numbers behind networks are of all that happened there, logged or not. NOISE_NETWORKS of them are known at a
 * time; a new one takes the place and the number of the one that has the least, so a number may be too
 * large, by what stands last at most, and who does most is always known. */
#ifndef IMAPFERRY_NOISE_H
#define IMAPFERRY_NOISE_H

#include "lib/loop.h"

enum {
    NOISE_MS = 10 * 1000,
    NOISE_LINES = 100,
    NOISE_NETWORKS = 64,
    NOISE_TOLD = 5, /* networks in the line */
};

enum noise_of { NOISE_ENDS, NOISE_LOGINS, NOISE_KINDS };

struct noise;

struct noise *noise_new(struct loop *l, unsigned thread);
/* Logs what was not logged yet. */
void noise_free(struct noise **n);
/* May one more line of this kind be logged, about a client of this address ("": a UNIX socket)? */
bool noise_may_log(struct noise *n, enum noise_of kind, const char *ip) MUST_CHECK;

#endif
