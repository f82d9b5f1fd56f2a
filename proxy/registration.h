/* registration: that the store has this session on its list, under a lease that has not lapsed since. Only
 * while both are known may bytes pass, in either direction.
 *
 * `enter` registers a session at its login (routing.h). Two things put it in doubt:
 *
 *   a lapse        the lease ended for a while (registry.h): the account may have been moved meanwhile, and a migrator may
 *                  have taken the registration away. The store is asked by the script `resume`
 *   a new master   may never have heard of the registration: it is registered there once more, by `register`
 *
 * Until the answer nothing passes. Yes: the session goes on. "wait": the account is in a freeze, and the
 * session comes to rest. No: it ends with BYE; but one that has acknowledged a freeze (rest.h) may have been taken along
 * by the flip, and is asked for at the target once there is word of that. No answer: it is asked again. Many sessions
 * ask at once, so the calls are queued (queue.h). */
#ifndef IMAPFERRY_REGISTRATION_H
#define IMAPFERRY_REGISTRATION_H

#include "queue.h"

struct session;
struct conf_backend;

#define LAPSES_UNKNOWN UINT64_MAX

/* Embedded in the session. */
struct session_registration {
    bool may_exist;   /* the store may have a registration of this session */
    bool engaged;     /* the short term of the lease applies */
    bool unconfirmed; /* a new master may not know the registration: nothing passes */
    uint64_t lapses;  /* lease_lapses() when it was last known to be registered; LAPSES_UNKNOWN: has to ask */

    struct queued call;                    /* registration_ask() is queued, or under way ... */
    const struct conf_backend *asked_at;   /* ... for this backend */
    bool asked_engaged;                    /* ... for this term */
    uint64_t asked_lapses;                 /* ... after this lapse */
    uint64_t asked_masters;                /* ... under this master (lease_masters()) */
    const struct conf_backend *refused_at; /* it was not there; NULL: it was not asked for, or was */
};

void registration_init(struct session_registration *r);
/* The session ends: no answer is waited for, and the store is told that it leaves. */
void registration_drop(struct session *s);

/* Has the lease been there, for the term that applies (registry.h), since the session was known to be
 * registered? Read now. */
bool registration_is_leased(const struct session *s);
/* May bytes pass now, in either direction? Only then; and under a new master only once it is registered
 * there. */
bool registration_may_pass(const struct session *s);

/* The account is engaged from now on, or not any more: another term of the lease applies. A session that was
 * in doubt stays in doubt. */
void registration_engage(struct session *s, bool engaged);
/* The registration may have been taken away, as far as this thread knows; an answer that is on its way may be
 * older than that, and does not count. */
void registration_doubt(struct session *s);

/* There is a new master, which may never have heard of it. */
void registration_new_master(struct session *s);

/* Asks the store where the registration is in doubt and an answer would help; otherwise, and while asking,
 * nothing. */
void registration_ask(struct session *s);
/* Is it in the queue, or asking? */
bool registration_is_asked(const struct session *s);

#endif
