/* What the lmtp*.c files share. */
#ifndef IMAPFERRY_LMTP_PRIV_H
#define IMAPFERRY_LMTP_PRIV_H

#include <sys/queue.h>

#include "lmtp.h"
#include "lmtp_data.h"
#include "lmtp_next.h"
#include "recipient.h"

enum {
    LMTP_HOLD_STEP_MS = 1000, /* who waits for the end of a freeze looks again after so long, at the latest */
    LMTP_BAD_COMMANDS = 20,   /* of a connection */
    LMTP_HIGH_WATER = 64 * 1024,
    LMTP_QUEUE_MAX = 8 * 1024 * 1024, /* answers for 1,000 recipients, of some lines each */
    LMTP_PROBE_MS = 5 * 1000,         /* how long LHLO waits to learn what servers offer ... */
    LMTP_PROBE_AGAIN_MS = 60 * 1000,  /* ... and how long a server that did not tell is left alone */
    LMTP_LINES_MS =
        10 * 1000,    /* of the log, that somebody else can cause as often as they like: in so long ... */
    LMTP_LINES = 100, /* ... so many of a kind */
    LMTP_KNOWN_MS =
        10 * 60 * 1000, /* what is known of one that nothing was sent to for so long is asked anew */
};

/* What a thread knows of the server of a backend. */
struct lmtp_known {
    struct lmtp *lmtp;
    size_t nth; /* of conf->backends */
    bool told;
    struct lmtp_caps caps;
    uint64_t told_ms, asked_ms; /* by clock_boot_ms(), 0: never */
    struct lmtp_next *probe;    /* owned; NULL: it is not being asked */
};

/* Lines of one kind in the log. */
struct lmtp_lines {
    uint64_t since_ms, n; /* by clock_boot_ms(); so many since then */
    uint64_t others;      /* that were not logged, and that no line has told of yet */
};

LIST_HEAD(lmtp_sessions, lmtp_session);

struct lmtp {
    struct loop *loop;
    const struct stores *stores;
    const struct conf *conf;
    unsigned thread;
    lmtp_idle_fn fn;
    void *owner;
    char name[256]; /* ours, in greetings */
    struct lmtp_sessions sessions;
    size_t n_sessions;
    uint64_t last_session;
    struct lmtp_known *known; /* one a backend; owned */
    struct timer *probe_timer;
    bool draining;
    struct lmtp_lines failed, ended; /* servers, and connections of mail servers */
};

/* state   | waits for                                       | deadline          | leaves to
 * --------+-------------------------------------------------+-------------------+--------------------------
 * COMMAND | a command                                       | command_timeout   | PROBE, RCPT, DATA, ENDED
 * PROBE   | what servers offer, to answer LHLO              | 5 s               | COMMAND
 * RCPT    | the route; the end of a freeze; MAIL and RCPT   | hold_max, that of | COMMAND
 *         | at a server                                     | each server       |
 * DATA    | 354 of each server                              | of each server    | BODY, COMMAND
 * BODY    | the message, up to its last dot; servers that   | data_timeout      | ROUTES, ENDED
 *         | take it                                         |                   |
 * ROUTES  | the routes again                                | store_timeout     | FINAL
 * FINAL   | the answers of servers                          | final_timeout     | COMMAND, ENDED
 * ENDED   | the next turn of the loop                       |                   | freed */
enum lmtp_state {
    LMTP_COMMAND,
    LMTP_PROBE,
    LMTP_IN_RCPT,
    LMTP_IN_DATA,
    LMTP_BODY,
    LMTP_ROUTES,
    LMTP_FINAL,
    LMTP_ENDED
};

/* A transaction at one server. */
enum lmtp_leg_phase {
    LEG_REST, /* there is none */
    LEG_MAIL, /* MAIL was sent */
    LEG_DATA, /* DATA was sent */
    LEG_BODY, /* it takes the message */
    LEG_END,  /* it has the last dot */
};

struct lmtp_leg {
    struct lmtp_session *session;
    size_t nth;             /* of conf->backends */
    struct lmtp_next *next; /* owned; NULL: no connection */
    enum lmtp_leg_phase phase;
    bool used;    /* has carried a transaction before this one */
    size_t taken; /* recipients of this transaction that it has taken and that have no other answer yet */
    const char *moved; /* why the last dot must not go there; NULL: it may; a constant */
};

/* One that a server has taken. */
struct lmtp_rcpt {
    struct lmtp_leg *leg;
    char *key;             /* its account; owned */
    struct buf address;    /* as RCPT had it, without "<>"; owned */
    struct buf answer;     /* to the message, as lines; owned */
    unsigned code;         /* of it, 0: there is none yet */
    struct recipient *ask; /* owned */
};

/* The recipient that RCPT is about at this moment. */
struct lmtp_asking {
    struct buf path, params, address; /* owned */
    unsigned needs;
    char *key;
    struct lmtp_leg *leg; /* NULL: the route is not known yet */
    struct recipient *ask;
    bool waits;            /* for the end of a freeze */
    uint64_t held_from_ms; /* 0: was never held */
    bool again;            /* a connection that was found to be gone was made anew */
    struct buf refusal;    /* MAIL was refused, as lines */
    unsigned refusal_code;
};

struct lmtp_session {
    struct lmtp *lmtp;
    LIST_ENTRY(lmtp_session) link;
    struct loop_task task;
    struct timer *timer;   /* RCPT: to look again; owned */
    struct stream *client; /* owned */
    char name[64];
    enum lmtp_state state;
    bool eof;      /* the client sends no more */
    bool skipping; /* a line that is too long */
    unsigned bad;
    struct lmtp_caps offered; /* has is 0 before LHLO ... */
    bool greeted;             /* ... which was said */

    /* the transaction */
    bool mail;
    struct buf from, from_params; /* owned */
    unsigned needs;               /* of enum lmtp_extension, by MAIL */
    uint64_t mail_ms;             /* when it began */
    uint64_t hold_until_ms;       /* of all its recipients together; 0: none was held */
    struct lmtp_asking asking;
    struct lmtp_rcpt **rcpts; /* owned, in the order of RCPT */
    size_t n_rcpts;
    size_t told;  /* so many have their answer */
    size_t asked; /* routes that were not answered yet */
    struct lmtp_data data;
    uint64_t bytes;

    struct lmtp_leg *legs; /* one a backend; owned */
};

/* ---- lmtp_session.c */

void lmtp_session_begin(struct lmtp *l, uv_stream_t *listener);
/* The one exit; say (may be NULL) is the last line for the client. It may be called from anywhere; the memory goes in the next
 * turn of the loop. */
void lmtp_session_end(struct lmtp_session *s, const char *why, const char *say);
void lmtp_session_enter(struct lmtp_session *s, enum lmtp_state state);
/* A line to the client; CRLF is added. */
void lmtp_session_say(struct lmtp_session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void lmtp_session_send(struct lmtp_session *s, const struct buf *lines);
/* What it waited for is over: takes the next command. */
void lmtp_session_go_on(struct lmtp_session *s);
/* What servers offer is known, or will not be. */
void lmtp_session_probed(struct lmtp_session *s);

/* ---- lmtp_mail.c */

void lmtp_mail_init(struct lmtp_session *s);
void lmtp_mail_from(struct lmtp_session *s, const struct lmtp_command *c);
void lmtp_mail_rcpt(struct lmtp_session *s, const struct lmtp_command *c);
void lmtp_mail_data(struct lmtp_session *s);
/* In BODY: bytes of the message are there. */
void lmtp_mail_body(struct lmtp_session *s);
/* In RCPT: looks again whether the freeze is over. */
void lmtp_mail_look_again(struct lmtp_session *s);
/* Ends the transaction, if there is one. */
void lmtp_mail_reset(struct lmtp_session *s);
/* The client goes: all connections to servers too. */
void lmtp_mail_free(struct lmtp_session *s);

/* ---- lmtp.c */

/* A session is gone. */
void lmtp_session_ended(struct lmtp *l);
/* A server has said what it offers. */
void lmtp_note_caps(struct lmtp *l, size_t backend, const struct lmtp_caps *caps);
/* Has all be asked of which nothing is known. False: somebody is being asked; lmtp_session_probed() comes. */
bool lmtp_probe(struct lmtp *l) MUST_CHECK;
/* What all servers have in common, as far as it is known. */
struct lmtp_caps lmtp_common_caps(const struct lmtp *l);
/* May one more line be logged at this moment (clock_boot_ms())? Then *_others is how many before it were not. */
bool lmtp_may_log(struct lmtp_lines *lines, uint64_t now_ms, uint64_t *_others) MUST_CHECK;
/* A server has failed, for the log. */
void lmtp_complain(struct lmtp *l, size_t backend, const char *session, const char *detail);

#endif
