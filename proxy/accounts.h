/* accounts: the accounts that have sessions or logins in this thread, and what is known of their routes. What
 * the store says comes in two ways, as events and as answers, over two connections. So each event is counted,
 * and where an event may have overtaken an answer, the question is asked again. */
#ifndef IMAPFERRY_ACCOUNTS_H
#define IMAPFERRY_ACCOUNTS_H

#include <sys/queue.h>

#include <uthash.h>

#include "lib/events.h"
#include "lib/route.h"

#include "queue.h"

struct proxy;
struct branch;
struct session;
LIST_HEAD(session_list, session);

struct account {
    struct proxy *proxy;   /* borrowed */
    struct branch *branch; /* ... of the store that has it */
    char *key;
    struct session_list sessions;
    bool known; /* state, epoch and backend were heard */
    enum route_state state;
    uint64_t epoch, generation;
    char *backend;
    char *target;         /* of the move under way or done; NULL or "": none */
    char *view;           /* the text of the route's view (lib/route.h); NULL: not told yet */
    uint64_t deadline_ms; /* of preparing or freezing, by clock_boot_ms() */
    struct views *views;  /* what its clients go on seeing (views.h); owned */
    /* busy.h, by the loop's clock: last used, and when the store was told; 0 = not */
    uint64_t used_ms, marked_ms;
    uint64_t news;            /* counts events */
    struct queued read, seen; /* the calls of accounts_read() and accounts_seen_all() */
    uint64_t read_news;       /* news, when the route_where() under way was sent */
    bool unread;              /* ... the last one brought no answer: accounts_read_again() */
    UT_hash_handle hh;
};

/* Adds the session to its account. Makes the account where the thread does not have it yet. */
void accounts_attach(struct proxy *p, const char *key, struct session *s);
/* Takes the session from its account; does nothing where it has none. The account is freed with its last
 * session. */
void accounts_detach(struct session *s);

/* Something is known of the route: acts on it (freeze.h). */
struct account_news {
    enum route_state state;
    uint64_t epoch, generation; /* epochs rise within a generation of the store */
    const char *backend, *target;
    const char *view; /* NULL: it does not say */
    uint64_t left_ms; /* until the deadline, 0 = none */
};
void accounts_heard(struct account *a, const struct account_news *news);
/* Reads the route and acts on it. Queued (queue.h), as those below are; this one goes first. A read whose
 * answer is lost, or is a former master's, is repeated until there is one. */
void accounts_read(struct account *a);

/* Acts on an event of the follower (lib/events.h). */
void accounts_event(struct branch *b, const struct event *e);
/* Events were missed, or the connection that reads are sent over stands to another master now, and what was
 * read so far, by logins too, may be the word of one that is none any more: reads the routes of all accounts of the branch.
 * Events and reads change over to a new master each in their own time; whichever is last, all is read there. */
void accounts_read_all(struct branch *b);
/* Those whose last read brought no answer (proxy_resume_later()). */
void accounts_read_again(struct proxy *p);
/* Tells the store again what this thread has seen, before it asks to go on after a lapse. */
void accounts_seen_all(struct branch *b);

#endif
