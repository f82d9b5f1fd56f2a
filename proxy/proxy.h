/* proxy: one thread that serves clients. It has everything of its own: loop, listening sockets, connections
 * to the stores, leases (so each thread is an incarnation of its own, "<id>.<thread>-<random>") and followers of
 * events (branch.h), TLS policies, sessions, and a copy of the configuration, which SIGHUP changes between two callbacks
 * of its loop (renewal.h). Threads share nothing.
 *
 *   STARTING   connects to the store; listens once the lease is there and something is known of each
 *              backend, at the latest after store_timeout: without a store clients get an answer too
 *   SERVING
 *   DRAINING   no new connections; each session gets its BYE, spread over drain_time
 *   ENDING     no sessions any more; the store is told, then the loop ends */
#ifndef IMAPFERRY_PROXY_H
#define IMAPFERRY_PROXY_H

#include <stdatomic.h>

#include "lib/seal.h"
#include "lib/stream.h"

#include "accounts.h"
#include "backends.h"
#include "branch.h"
#include "crowd.h"
#include "delivery/lmtp.h"
#include "delivery/socketmap.h"
#include "lately.h"
#include "limits.h"
#include "listener.h"
#include "noise.h"
#include "renewal.h"
#include "session.h"
#include "sockets.h"
#include "tally.h"

enum proxy_phase { PROXY_STARTING, PROXY_SERVING, PROXY_DRAINING, PROXY_ENDING };

/* What the main thread may ask of a thread; a larger number overrules a smaller one. */
enum proxy_order { ORDER_NONE, ORDER_DRAIN, ORDER_END };

/* What a thread is given at its start; borrowed for the call of proxy_new(). */
struct proxy_share {
    const struct conf *conf;
    unsigned thread;
    const struct listen_socket *sockets; /* which are taken */
    size_t n_sockets;
    size_t sockets_max;                /* of its connections */
    const struct ticket_keys *tickets; /* keys that all threads are given, copied */
    const char *token, *instead;       /* for instance_new() */
};

/* Told once when the thread serves, and once when it has ended; called in the thread. */
typedef void (*proxy_news_fn)(void *owner, bool ended);

struct proxy {
    struct conf *own;        /* owned: a copy for this thread alone */
    const struct conf *conf; /* the same, for all but the renewal */
    unsigned thread;
    size_t sockets_max; /* by descriptors */
    proxy_news_fn fn;
    void *owner;

    struct loop *loop; /* all below owned */
    enum proxy_phase phase;
    uv_async_t orders;
    atomic_int order;
    _Atomic(struct renewal *) renewal; /* owned; handed over and not taken yet */
    char token[INSTANCE_TOKEN], instead[INSTANCE_TOKEN];
    atomic_bool id_lent;
    _Atomic(char *) claim; /* owned; the id is to be taken back from this token */
    atomic_bool came_round;
    bool refused;               /* another proxy has the id */
    bool at_once;               /* the second signal came */
    struct timer *start_timer;  /* STARTING: how long to wait for the store */
    struct timer *drain_timer;  /* DRAINING: the next good-byes; ENDING: how long to wait for the store */
    struct timer *resume_timer; /* asks, and reads, again what has had no answer (proxy_resume_later()) */
    struct timer *room_timer;   /* looks again whether there is room for a connection that waits */
    struct loop_task accepting; /* goes on with those that wait for the next round */
    uint64_t accept_round;
    unsigned accepts; /* in that round */
    uint64_t drain_began_ms;
    size_t drain_total, drain_told;

    struct stores *stores;
    struct branch *branches; /* one a store, by their places */
    size_t n_branches;
    struct tls_policy *server_tls; /* NULL where no listener needs it */
    struct timer *tickets_timer;   /* ages its ticket keys */
    struct tls_policy *asking_tls; /* of listeners that ask clients for a certificate; NULL: there is none */
    struct vault *vault;
    struct parting *parting;
    struct seal_public *seal; /* NULL: do not seal */
    struct backends *backends;
    struct listener *listeners;
    size_t n_listeners;

    struct crowd crowd;
    size_t n_long_ids; /* of CROWD_LONG_IDS */
    struct account *accounts;
    struct lately *lately; /* owned */
    struct noise *noise;
    struct tries *tries; /* throttle.h; owned by the sessions in them */
    struct session_list places[IN_COUNT];
    atomic_uint n_in[IN_COUNT]; /* how many are there; read by the main thread, as the two below */
    atomic_int told_phase;      /* enum proxy_phase */
    size_t n_sessions;
    uint64_t last_session;
    struct tally *tally;
    struct socketmap *socketmap; /* owned */
    struct lmtp *lmtp;           /* owned */
};

/* Runs in the main thread, before the thread starts. NULL: *error to free (a certificate, a key). */
struct proxy *proxy_new(const struct proxy_share *share, proxy_news_fn fn, void *owner,
                        char **error) MUST_CHECK;
/* The whole life of the thread. */
void proxy_run(struct proxy *p);
/* After proxy_run(), or where it was never called. */
void proxy_free(struct proxy **p);
/* From any thread. */
void proxy_give_order(struct proxy *p, enum proxy_order order);
/* From any thread. Takes it; one that was handed over before and not looked at yet is dropped. */
void proxy_renew(struct proxy *p, struct renewal *r);
/* From any thread, of thread 0: the id is another process's for now (upgrade.h); and it is ours again, and taken
 * from that process's token. */
void proxy_lend_id(struct proxy *p);
void proxy_claim_id(struct proxy *p, const char *from);
/* From any thread: has it come round since the last time that this was asked? For a watchdog. */
bool proxy_is_alive(struct proxy *p);

/* From any thread: does it serve; is the store at that place there, is any; is a lease held in any? */
bool proxy_is_serving(struct proxy *p);
bool proxy_has_store_at(struct proxy *p, size_t place);
bool proxy_has_store(struct proxy *p);
bool proxy_is_leased(struct proxy *p);

/* The id of this proxy; to free. */
char *proxy_id(const struct proxy *p);
/* For the branches: there may be all that is needed to serve; the stores know that all sessions are gone. */
void proxy_serve_if_ready(struct proxy *p);
void proxy_left(struct proxy *p);
/* A session is gone. */
void proxy_session_ended(struct proxy *p);
/* Is there room for one more connection, by sockets? May end one of the crowd for it. Otherwise listeners are
 * told when to look again. */
bool proxy_has_room(struct proxy *p);
/* May one more be taken in this round of the loop? Otherwise listeners go on in the next. */
bool proxy_may_accept(struct proxy *p);
/* There are sessions whose lapse was not cleared, though the store may be there, or accounts whose route could not be
 * read: asks again soon. */
void proxy_resume_later(struct proxy *p);

#endif
