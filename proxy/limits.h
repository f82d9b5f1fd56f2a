/* limits: every number that a client may not exceed, and the count of those who have not signed in yet.
 *
 * Connections that have not signed in are cheap for whoever opens them, so they are counted: all of a thread,
 * and those of one address (of one /64 for IPv6, since that is what one customer gets). Who has signed in is
 * not counted. */
#ifndef IMAPFERRY_LIMITS_H
#define IMAPFERRY_LIMITS_H

#include <uthash.h>

#include "lib/imap_line.h"
#include "lib/stream.h"

enum {
    LIMIT_LINE = 8 * 1024,             /* a line before login, bytes */
    LIMIT_LITERAL = 8 * 1024,          /* a literal before login */
    LIMIT_NONSYNC = 4096,              /* {n+} before login: LITERAL- (RFC 7888 section 5) */
    LIMIT_PARTS = 64,                  /* literals in one command; ID has at most 60 strings */
    LIMIT_PASSWORD = 4096,             /* bytes */
    LIMIT_BAD_LINES = 3,               /* invalid commands in a row before login */
    LIMIT_CROWD = 10000,               /* connections of a thread that have not signed in */
    LIMIT_CROWD_OF_ADDRESS = 1000,     /* ... from one address */
    LIMIT_HOPS = 5,                    /* proxies between a client and its mail */
    LIMIT_PIPELINED = 1000,            /* commands under way in a session */
    LIMIT_AGAIN = 20,                  /* how often a login may find its route changed */
    LIMIT_RELAY_LINE = 64 * 1024,      /* a line of a command after login */
    LIMIT_RESPONSE = 16 * 1024 * 1024, /* a line of a response: SEARCH in a mailbox of two million messages */
    LIMIT_UNSENT = 24 * 1024 * 1024,   /* must hold one such line */
    LIMIT_HIGH_WATER = 64 * 1024,      /* where a reader counts as slow */
    LIMIT_OWN_WORDS = 16 * 1024,       /* answers of ours that wait for a response to end */
    LIMIT_FDS_KEPT = 64,               /* descriptors that clients never get */
};

/* For imap_line: what a client may send before and after login. nonsync: of the capabilities shown after
 * login. */
extern const struct imap_line_limits limits_before_login;
struct imap_line_limits limits_after_login(uint64_t nonsync);
extern const struct imap_line_limits limits_of_backend;
extern const struct stream_limits limits_of_stream; /* flush_ms: of the configuration */

/* The connections of one address that have not signed in. */
struct crowd_address {
    uint8_t key[9]; /* 4 or 6, then the address or the first 8 bytes of it */
    unsigned n;
    UT_hash_handle hh;
};

struct crowd {
    struct crowd_address *addresses; /* owned */
    unsigned total;
};

/* Counts one more. ip as stream_peer_ip() says it; "" (a UNIX socket) is only counted in the total. False:
 * too many; nothing was counted. _r: for crowd_leave(), NULL where there is no address. */
bool crowd_enter(struct crowd *c, const char *ip, struct crowd_address **_r) MUST_CHECK;
void crowd_leave(struct crowd *c, struct crowd_address **a);
void crowd_free(struct crowd *c);

#endif
