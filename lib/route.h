/* route: where an account's mail is and what happens to it, as a hash in Redis, and every way to change it. Each
 * change is one Lua script of lib/route/ (a compare-and-set on state, epoch and owner that appends the event in the
 * same breath); a script repeated by the same caller with the same arguments returns its first result.
 *
 * States, who moves them on, and what each side does on seeing them:
 *
 * state     | moved by                               | migrator                  | proxy
 * ----------+----------------------------------------+---------------------------+---------------------------------
 * resting   | enter (login), enqueue (staff) →queued | -                         | serves from backend
 * queued    | claim →copying                         | takes the job             | serves; writes the epoch it saw
 * copying   | owner →ready, backoff, blocked         | plans, copies, verifies   | serves
 * ready     | owner →copying, preparing              | watches silent proxies    | serves
 * preparing | owner →freezing; thaw →ready           | waits for "prepared"      | (issue cut-over: signs in at target)
 * freezing  | owner →flipping; thaw →ready           | waits "frozen", last delta| rests sessions; logins wait
 * flipping  | owner →flipped, nothing else           | WAIT, journal, flips      | forwards nothing; logins wait
 * flipped   | (late watch →settled)                  | late watch                | serves from the target
 * settled   | enqueue (sending back) →queued         | -                         | serves
 * backoff   | at next_try, staff, login →queued      | -                         | serves from the source
 * blocked   | staff (retry) →queued                  | -                         | serves from the source
 * held      | staff (release) →held_from or queued   | -                         | serves
 *
 * epoch rises at each claim, at each attempt to cut over (ready→preparing) and at each change of backend. owner is a
 * random token per claim. No record means resting on the configured source, epoch 0. Only flipping→flipped changes
 * backend. deadline is in milliseconds of Redis' own TIME; only scripts compare it. */
#ifndef IMAPFERRY_ROUTE_H
#define IMAPFERRY_ROUTE_H

#include "store.h"

enum route_state {
    ROUTE_RESTING, ROUTE_QUEUED, ROUTE_COPYING, ROUTE_READY, ROUTE_PREPARING, ROUTE_FREEZING, ROUTE_FLIPPING,
    ROUTE_FLIPPED, ROUTE_SETTLED, ROUTE_BACKOFF, ROUTE_BLOCKED, ROUTE_HELD
};
const char *route_state_name(enum route_state s);
bool route_state_parse(struct span name, enum route_state *_r) MUST_CHECK;
/* From queued to flipped, both included, and backoff: the short lease term applies. */
bool route_is_engaged(enum route_state s);

/* Counters that the owner of a job writes and staff see. */
struct route_progress {
    uint64_t mailboxes_done, mailboxes_total;
    uint64_t messages_done, messages_total, messages_verified;
    uint64_t bytes_done, bytes_total;
    char tiers[64]; /* "T3:12" */
};

struct route {
    bool exists;
    char *backend;          /* never NULL: the configured source where there is no record */
    enum route_state state;
    uint64_t epoch, generation;
    char *source, *target;  /* of the migration under way or done; "" before */
    char *owner;
    uint64_t deadline_ms;   /* Redis time, 0 = none */
    char *reason;           /* "" or what a person can read; begins with the word of the table of reasons */
    char *held_from;
    bool force;             /* the flip under way skips the copy */
    uint32_t attempts;
    uint64_t next_try_ms;   /* Redis time */
    char *view;
    struct route_progress progress;
};
void route_free(struct route *r);

enum route_rc {
    ROUTE_OK,
    ROUTE_AGAIN,      /* enter: the route is not what was read: read again */
    ROUTE_WAIT,       /* enter: freezing or flipping: wait for an event */
    ROUTE_LOST,       /* owner, epoch or registration is not ours any more: touch nothing */
    ROUTE_REFUSED,    /* the state does not allow it; detail names the state */
    ROUTE_PAUSED,     /* the emergency brake is on */
    ROUTE_QUARANTINE, /* after a change of master */
    ROUTE_BUSY,       /* flipping asked for while sessions have not come to rest; detail = how many */
    ROUTE_LATE,       /* deadline passed */
    ROUTE_NO_STORE,   /* the store is missing or another one */
    ROUTE_DOWN,       /* no answer: whether it was done is unknown */
};
/* detail: a text, borrowed; "" where there is nothing to say. */
typedef void (*route_done_fn)(void *owner, enum route_rc rc, const char *detail);
/* r is borrowed, NULL unless ROUTE_OK. */
typedef void (*route_read_fn)(void *owner, enum route_rc rc, const struct route *r);

/* Reads; writes nothing (the name may be anything that was typed). */
void route_read(struct store *s, const char *user, route_read_fn fn, void *owner);

/* ---- proxies ---- */

struct route_enter {
    const char *user;
    const char *session;  /* "<incarnation>/<n>" */
    const char *backend;  /* what the sign-in was done at, and the rest of what was read */
    enum route_state state;
    uint64_t epoch, generation;
    const char *address;  /* of the client */
    bool enqueue;         /* trigger = login: a resting (or backed-off for want of credentials) account is queued */
    const char *source, *target; /* of the migration it would be queued for */
    struct span sealed;   /* sealed credential to keep (with ttl), empty = none */
    uint64_t sealed_ttl_ms;
};
/* ROUTE_OK: registered; the client may be told OK. state = the state after it, for the lease term. Never registers
 * twice for the same session. A login while freezing or flipping past its deadline thaws first (then AGAIN). */
typedef void (*route_enter_fn)(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch);
void route_enter(struct store *s, const struct route_enter *e, route_enter_fn fn, void *owner);
/* Ends a registration; an event while preparing or freezing. fn may be NULL; done at most once is enough: a lost
 * one is cleaned up by reconcile or evict. */
void route_leave(struct store *s, const char *user, const char *session, route_done_fn fn, void *owner);
/* The proxy knows the account's epoch: sessions of this incarnation now run on the short term. */
void route_seen(struct store *s, const char *user, const char *incarnation, uint64_t epoch, route_done_fn fn,
                void *owner);
/* The session rests. ROUTE_LOST when the epoch or state (freezing) is another. */
void route_frozen(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                  void *owner);
/* After a lapse of the lease: may the session go on? ROUTE_OK: registration is there with the same backend and
 * epoch; ROUTE_WAIT: the same, but it has to rest (freezing, flipping); ROUTE_LOST: drop it. */
void route_resume(struct store *s, const char *user, const char *session, const char *backend, uint64_t epoch,
                  route_done_fn fn, void *owner);
/* Removes registrations of this incarnation for which it has no session (not in the list). */
void route_reconcile(struct store *s, const char *user, const char *incarnation, const char *const *sessions,
                     size_t n, route_done_fn fn, void *owner);
/* Ends a preparing or freezing whose deadline passed: →ready. By anybody. ROUTE_REFUSED when not due. */
void route_thaw(struct store *s, const char *user, route_done_fn fn, void *owner);

/* ---- the owner of a job ---- */

/* queued → copying with a new owner token and epoch+1; a job whose owner is gone (taken over from the stream) from
 * copying, ready, preparing, freezing → copying, from flipping → flipping (only forward). The claimed route is in r.
 * A repeat with the same token returns the same. ROUTE_REFUSED: nothing to do (drop the stream entry); ROUTE_PAUSED:
 * put it back. Backoff before next_try, held, blocked, resting, flipped, settled: REFUSED. */
void route_claim(struct store *s, const char *user, const char *token, route_read_fn fn, void *owner);
/* All below: user, token and epoch must be the route's, else ROUTE_LOST. */
struct route_job {
    const char *user, *token;
    uint64_t epoch;
};
void route_progress(struct store *s, const struct route_job *j, const struct route_progress *p, route_done_fn fn,
                    void *owner);
void route_ready(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);    /* copying → ready */
void route_recopy(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);   /* ready → copying */
/* ready → preparing, epoch+1 (detail = the new epoch), deadline = now + budget. PAUSED, QUARANTINE. */
void route_prepare(struct store *s, const struct route_job *j, uint64_t budget_ms, route_done_fn fn, void *owner);
void route_freeze(struct store *s, const struct route_job *j, uint64_t budget_ms, route_done_fn fn, void *owner);
/* preparing, freezing → ready with a reason. */
void route_abort(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn, void *owner);
/* freezing → flipping: before the deadline, with every registration frozen (or gone) at this epoch. */
void route_flip(struct store *s, const struct route_job *j, const char *view, route_done_fn fn, void *owner);
/* flipping → flipped: backend = target, epoch+1, registrations that stayed are taken away, force cleared. */
void route_flipped(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);
/* copying, ready → backoff with next_try = now + delay (0: at the next login only), attempts+1; or → blocked. The
 * account is put into `later` where delay > 0. */
void route_backoff(struct store *s, const struct route_job *j, const char *reason, uint64_t delay_ms,
                   route_done_fn fn, void *owner);
void route_block(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn, void *owner);

/* ---- staff and schedule; who and why go to the audit stream ---- */

struct route_staff {
    const char *user, *who, *reason;
};
/* resting, backoff, blocked, settled(no: until sending back is built) → queued. bulk: behind the logins. */
void route_enqueue(struct store *s, const struct route_staff *a, const char *source, const char *target, bool bulk,
                   bool force, route_done_fn fn, void *owner);
/* Any state but preparing, freezing, flipping → held; a job under way loses its owner. */
void route_hold(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* held → where it was; an engaged one → queued again; one sent back stays on its backend, resting. */
void route_release(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* backoff, blocked → queued now. */
void route_retry(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* The brake: no claim, prepare or flip begins while it is on; flipping → flipped completes. */
void route_pause(struct store *s, bool on, const char *who, const char *reason, route_done_fn fn, void *owner);
/* Moves accounts whose time has come (at most max) from `later` to queued and the jobs stream; detail = how many. */
void route_due(struct store *s, uint32_t max, route_done_fn fn, void *owner);

/* Makes the store (imapferryctl init): id, generation 1, schema, run_id. ROUTE_REFUSED when it is there already. */
void route_init(struct store *s, route_done_fn fn, void *owner);

#endif
