/* reach: from a backend to a connection, by one of its addresses after the other.
 *
 * They are tried in the order of the configuration (with `spread`, from the one on that the user's name
 * chooses), those of a name in the order that the resolver tells. A name is looked up when its turn comes. The
 * places (outage.h) that are known to be dead come last, in the same order: where others are left, nobody waits for
 * them. One deadline stands over all connecting, and each place may take an equal share of what is left of it.
 *
 * A connection alone is no answer: a server that is ill may accept it and say nothing. So the owner tells what
 * came of it: reach_answered() once the server has greeted as one should (and TLS is there, where it is to be),
 * or else reach_next(), which goes on with the next place. Nothing secret may have been sent before that. */
#ifndef IMAPFERRY_REACH_H
#define IMAPFERRY_REACH_H

#include "dial.h"
#include "options.h"
#include "outage.h"

struct reach;

struct reach_request {
    const struct conf_backend *backend; /* borrowed for the call: a reload may change it */
    /* NULL: all addresses of the backend; else this alone, which speaks another protocol; borrowed for the call */
    const struct address *address;
    struct tls_policy *policy; /* NULL for schemes without TLS; it must live as long as the stream */
    struct outage *outage;     /* borrowed as long as the reach; NULL: nothing is known or kept */
    const char *user;          /* for spread; may be NULL */
    /* the only place to go to, as outage.h writes it, or the only one of the addresses as "host:port"; NULL: all */
    const char *place;
    struct span first; /* bytes that each connection begins with; copied */
    /* these name a client: a server that takes the connection and does not answer may mean that one alone (outage.h) */
    bool names_client;
    struct stream_limits limits;
    uint64_t connect_timeout_ms;
    uint64_t all_ms; /* after which no further place is begun with */
};

/* The callee takes s: it must set itself as owner at once, or close it. s is NULL unless rc is DIAL_OK; then all places
 * were tried, or it is too late for more. detail: for a log, borrowed. The reach stays. Never called from inside a
 * function of this file. */
typedef void (*reach_fn)(void *owner, enum dial_rc rc, struct stream *s, const char *detail);

struct reach *reach_start(struct loop *l, const struct reach_request *r, reach_fn fn, void *owner);
void reach_free(struct reach **r); /* *r may be NULL; no callback comes after it */

/* To be called once for a connection: the server at this place does what it should. */
void reach_answered(struct reach *r);
/* It does not: rc and detail say why, for the log and for what is told in the end. True: the next place is on its way,
 * and fn will be called. False: there is none, and *detail_r, to free, tells of all that failed. */
bool reach_next(struct reach *r, enum dial_rc rc, const char *detail, char **detail_r) MUST_CHECK;
/* Of all that failed: TLS where one of them failed by that. */
enum dial_rc reach_rc(const struct reach *r);
/* Would reach_next() find one that is not known to be dead? Then nobody should wait for long here. */
bool reach_has_more(const struct reach *r);
/* Which name the certificate of the connection has to have; borrowed. */
const char *reach_name(const struct reach *r);
/* The server says that the user's place is another address of its (RFC 2221): goes there alone, and fn will be called.
 * port 0: it said none. False: the backend has no such address, or it was referred to before. */
bool reach_refer(struct reach *r, const char *host, uint16_t port) MUST_CHECK;

#endif
