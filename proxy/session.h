/* session: one client, from accept to the last byte. A state is a place: entering one moves the session to
 * that state's list and sets its deadline. Every state has a deadline and a way out:
 *
 * state    | waits for                            | deadline from              | leaves to
 * ---------+--------------------------------------+----------------------------+------------------------------
 * HEADER   | a PROXY header, on a listener that   | tls_timeout                | NEW, PREAUTH, CLOSING
 *          | wants one (peer.h)                   |                            |
 * NEW      | TLS handshake when implicit          | tls_timeout                | PREAUTH, CLOSING
 * PREAUTH  | a command                            | login_timeout (the whole   | SECURING, THROTTLED, ROUTING,
 *          |                                      | phase, not each command)   | SIGNIN, REFUSED, CLOSING
 * SECURING | STREAM_SECURE after STARTTLS         | tls_timeout                | PREAUTH, CLOSING
 * THROTTLED| its turn to be tried (throttle.h)    | store_timeout, then at most| ROUTING, SIGNIN, REFUSED,
 *          |                                      | what is left of            | CLOSING
 *          |                                      | login_timeout              |
 * ROUTING  | the route                            | store_timeout              | WAITING, SIGNIN, ENTERING
 *          |                                      |                            | (signed in already), REFUSED,
 *          |                                      |                            | PREAUTH, CLOSING
 * WAITING  | an event on this account, or a second| hold_max, all waits of a   | ROUTING, PREAUTH, CLOSING
 *          |                                      | login together             |
 * SIGNIN   | backend_login: dial and dialog       | connect_timeout, and       | ENTERING, REFUSED, PREAUTH,
 *          |                                      | backend_timeout each step  | CLOSING
 * ENTERING | the answer of `enter`                | store_timeout              | RELAY, ROUTING (again),
 *          |                                      |                            | WAITING (wait), PREAUTH,
 *          |                                      |                            | CLOSING
 * REFUSED  | a full second: how long the backend  | one to some seconds        | PREAUTH, CLOSING
 *          | thought it over is not for clients   |                            |
 * RELAY    | bytes; a freeze                      | idle_timeout; behind LOGOUT| FROZEN, CLOSING
 *          |                                      | close_timeout              |
 * FROZEN   | word from the store: the account was | 10 s behind the freeze's   | RELAY, HANDOVER, CLOSING
 *          | flipped, or thawed                   | deadline (rest.h)          |
 * HANDOVER | another connection to stand where    | connect_timeout and three  | RELAY, CLOSING
 *          | the client stands (handover.h)       | times backend_timeout      |
 * CLOSING  | the next turn of the loop; the last  | close_timeout              | freed
 *          | words go out without the session     |                            |
 *
 * A client may speak POP3 instead (protocol.h): it goes through the same states up to RELAY, and is never FROZEN nor in
 * HANDOVER: a freeze ends it.
 *
 * From THROTTLED to REFUSED a login is under way (routing.h): from there, what is not the user's fault goes
 * back to PREAUTH with NO [UNAVAILABLE], so that a client may try again, and the third failure ends the
 * session.
 *
 * session_close() is the one exit. It may be called from anywhere. The session stops at once, and its memory
 * is freed in the next turn of the loop; so whoever has called something that may close the session looks at
 * s->state afterwards. */
#ifndef IMAPFERRY_SESSION_H
#define IMAPFERRY_SESSION_H

#include "lib/conf.h"
#include "lib/stream.h"

#include "accounts.h"
#include "limits.h"
#include "registration.h"

struct listener;
struct protocol;
struct pop3_preauth;
struct pop3_relay;

enum session_state {
    IN_HEADER,
    IN_NEW,
    IN_PREAUTH,
    IN_SECURING,
    IN_THROTTLED,
    IN_ROUTING,
    IN_WAITING,
    IN_SIGNIN,
    IN_ENTERING,
    IN_REFUSED,
    IN_RELAY,
    IN_FROZEN,
    IN_HANDOVER,
    IN_CLOSING,
    IN_COUNT
};

/* Why a session ended; a row of the table in session.c each: word for the log, is it an error, what the
 * client is told (by POP3 with a code of that). */
enum session_end {
    END_NONE,
    END_LOGOUT,
    END_CLIENT_GONE,
    END_CLIENT_BROKEN,
    END_PROXY_HEADER,
    END_TLS_FAILED,
    END_TLS_TIMEOUT,
    END_STARTTLS_PLAINTEXT,
    END_LOGIN_TIMEOUT,
    END_LOGIN_TRIES,
    END_CROWD,
    END_BAD_COMMANDS,
    END_MANY_COMMANDS,
    END_BAD_LINE,
    END_BAD_PART,
    END_BEHIND_COMPRESS,
    END_IDLE,
    END_BACKEND_BYE,
    END_BACKEND_GONE,
    END_BACKEND_BROKEN,
    END_BACKEND_PROTOCOL,
    END_VIEW,
    END_VIEW_STORE,
    END_NOT_BACK,
    END_FREEZE,
    END_MOVED,
    END_LEASE_LOST,
    END_KICKED,
    END_SHUTDOWN,
    END_COUNT
};

/* How far a login is from being tried (throttle.h). */
enum throttle_phase {
    THROTTLE_NONE,
    THROTTLE_QUEUED,  /* behind others of the account */
    THROTTLE_CALLED,  /* ... of which one has ended */
    THROTTLE_ASKING,  /* Redis for how long to wait */
    THROTTLE_WAITING, /* so long */
    THROTTLE_TRYING,
    THROTTLE_IN_TURN, /* tried, too, and told to wait no more */
};

struct session {
    struct proxy *proxy; /* borrowed */
    enum session_state state;
    LIST_ENTRY(session) place;
    struct timer *timer;        /* deadline of the state; owned */
    struct loop_task task;      /* the end */
    char *name;                 /* "<incarnation>/<n>"; owned */
    enum address_scheme scheme; /* of the listener */
    bool asks; /* ... as which it asks for a certificate: stream_peer_certificate() of client */
    uint64_t opened_ms;

    const struct protocol *protocol; /* what it speaks, by the scheme */

    struct stream *client; /* owned */
    bool client_eof;       /* the client sends no more */
    char *peer,
        *peer_ip; /* the client's address, with its port and alone (peer.h); "" for a UNIX socket; owned */
    uint16_t peer_port; /* 0: there is none, or it is not known */
    const char *via;    /* where somebody else has connected for it: who; else ""; borrowed from client */
    struct proxyproto_end
        *came_to;            /* the address that it connected to, by a PROXY header; NULL: our own; owned */
    bool is_local;           /* it connected from this machine */
    bool is_trusted;         /* who has connected may say for whom */
    struct network *network; /* until it has signed in: of the crowd (crowd.h); borrowed */
    TAILQ_ENTRY(session) of_network, of_crowd;
    bool has_share; /* counts among those of its network who have signed in (share.h) */

    struct buf client_id; /* what it says of itself (client_id.h): pairs of imap_id.h; owned */
    bool said_id;         /* ... it has said something */
    unsigned ids;         /* ... so often */
    /* proxies that may still stand in the way, this one counted; 0: it went round (preauth.h) */
    unsigned hops;
    struct preauth *preauth; /* until RELAY; owned */
    struct login *login;     /* the login under way; owned */
    struct relay *relay;     /* from RELAY on; owned */
    /* the same two of a client that speaks POP3 (proxy/pop3/); owned */
    struct pop3_preauth *pop3_preauth;
    struct pop3_relay *pop3_relay;
    struct secret *secret;     /* from the login on, while it may have to sign in again; owned */
    struct rest *rest;         /* from a freeze on, until it is over; owned */
    struct handover *handover; /* HANDOVER; owned */
    /* from `preparing` on, until its connection is used or the attempt is over; owned */
    struct prepare *prepared;

    struct account *account; /* from ROUTING on */
    LIST_ENTRY(session) of_account;
    enum throttle_phase throttle; /* of the login under way ... */
    struct tries *tries; /* ... until it is known what the password is worth; NULL: there is none; borrowed */
    TAILQ_ENTRY(session) of_tries;
    struct stream *backend; /* signed in; owned */
    /* silence.h; owned, NULL: its bytes may wait in the kernel for as long as they like */
    struct timer *silence;
    const struct conf_backend *at;   /* what backend is */
    struct session_registration reg; /* in the store */

    bool told;                    /* that the proxy is being stopped */
    uint64_t bytes_in, bytes_out; /* relayed: from the client, to the client */
};

/* The next connection of a listener. */
void session_accept(struct listener *l);
/* The PROXY header was read: the client is who it says. */
void session_meet(struct session *s);
/* Moves it to the state's place and sets the deadline (session_states.h). */
void session_enter(struct session *s, enum session_state state);
/* Gives it a name that the store never heard. */
void session_rename(struct session *s);
/* The one exit. Tells the client and the store, logs; detail (may be NULL) is for the log alone. */
void session_close(struct session *s, enum session_end end, const char *detail);

/* A line to the client; the CRLF is added. Only before RELAY: from there on relay_say(). */
void session_say(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* May the client show a password: by TLS, on this machine, or because the site says so. */
bool session_may_login(const struct session *s);
/* What the client is shown in its TLS handshake, and asked for. */
struct tls_policy *session_tls(const struct session *s);
/* The handshake is done: tells the log who the client is by its certificate. */
void session_secured(const struct session *s);
/* Takes a signed-in stream as s->backend. */
void session_take_backend(struct session *s, struct stream *stream, const struct conf_backend *at);
/* After the login: in RELAY, FROZEN or HANDOVER. */
bool session_is_live(const struct session *s);
/* What kept bytes from passing may be over. */
void session_go_on(struct session *s);
/* In RELAY: the lease or the account's state has changed: goes on reading from both sides, or stops. */
void session_flow(struct session *s);
/* In RELAY: as relay_rest(). */
void session_rest(struct session *s, enum session_end end);
/* Is something under way that it has to see the end of (protocol.h)? */
bool session_has_to_finish(const struct session *s);

#endif
