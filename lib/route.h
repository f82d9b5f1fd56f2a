/* route: where an account's mail is and what happens to it, as a hash in Redis, and every way to change it.
 * Each change is one Lua script of lib/route/ (a compare-and-set on state, epoch and owner that appends the
 * event in the same breath); a script repeated by the same caller with the same arguments returns its first
 * result.
 *
 * States, who moves them on, and what each side does on seeing them:
 *
 * state     | moved by                               | migrator                  | proxy
 * ----------+----------------------------------------+---------------------------+---------------------------------
 * resting   | enter (login), enqueue (staff) →queued | -                         | serves from backend
 * queued    | claim →copying                         | takes the job             | serves; writes the epoch it saw
 * copying   | owner →ready, backoff, blocked         | plans, copies, verifies   | serves
 * ready     | owner →copying, preparing; its time    | watches silent proxies;   | serves
 *           | or staff →queued                       | or waits for its time     |
 * preparing | owner →freezing; thaw, refuse →ready   | waits for "prepared"      | signs its sessions in at target
 * freezing  | owner →flipping; thaw →ready           | waits "frozen", last delta| rests sessions; logins wait
 * flipping  | owner →flipped, nothing else           | WAIT, journal, flips      | forwards nothing; logins wait
 * flipped   | (late watch →settled)                  | late watch                | hands sessions over; serves there
 * settled   | enqueue (sending back) →queued         | late watch, daily         | serves
 * backoff   | at next_try, staff, login →queued      | late watch, after a flip  | serves from the source
 * blocked   | staff (retry) →queued                  | late watch, after a flip  | serves from the source
 * held      | staff (release) →held_from or queued   | late watch, after a flip  | serves
 *
 * epoch rises at each claim, at each attempt to cut over (ready→preparing) and at each change of backend.
 * owner is a random token per claim. No record means resting on the configured source, epoch 0. Only
 * flipping→flipped changes backend. deadline is in milliseconds of Redis' own TIME; only scripts compare
 * it. */
#ifndef IMAPFERRY_ROUTE_H
#define IMAPFERRY_ROUTE_H

#include "store.h"

enum route_state {
    ROUTE_RESTING,
    ROUTE_QUEUED,
    ROUTE_COPYING,
    ROUTE_READY,
    ROUTE_PREPARING,
    ROUTE_FREEZING,
    ROUTE_FLIPPING,
    ROUTE_FLIPPED,
    ROUTE_SETTLED,
    ROUTE_BACKOFF,
    ROUTE_BLOCKED,
    ROUTE_HELD
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
    char *backend; /* never NULL: the configured source where there is no record */
    enum route_state state;
    uint64_t epoch;
    /* epoch of the first claim since the account is engaged: who has seen it or a later one goes by the short
     * lease term; 0 = none */
    uint64_t engaged;
    uint64_t generation;   /* the store's at the read: what route_enter() compares */
    char *source, *target; /* of the migration under way or done; "" before */
    char *home;            /* the source of the first flip: clients know its names and numbers; "" before */
    char *left;            /* the server that it has left by its last flip; "" before */
    /* that flip was by force: "copied", what was copied before is in the ledgers; "bare", nothing was; "" =
     * not by force */
    char *forced;
    char *owner;
    uint64_t deadline_ms; /* Redis time, 0 = none */
    /* "" or what a person can read; begins with the word of the table of reasons. It holds for the state that
     * it stands in, now */
    char *reason;
    /* the reason of the last attempt that was given up; "" = none since it was wanted */
    char *failed;
    /* "TOKEN/NAME TOKEN/NAME": migrators that were gone when the job was taken over, and that had not given
     * it away; "" = none */
    char *died;
    char *held_from;
    bool force; /* the flip under way skips the copy */
    bool back;  /* it sends the account back: it will be held there */
    bool now;   /* staff want the cut-over whatever the policy says: route_now() */
    uint32_t attempts;
    uint64_t next_try_ms; /* Redis time */
    char *view;
    uint64_t waits_ms;   /* Redis time since when the copied account waits for its time, 0 = it does not */
    uint64_t touching;   /* changes of the target under way, or without an answer: route_touch() */
    uint64_t touch_ms;   /* ms that the longest of them may take */
    bool doubted;        /* some were never answered: route_calm() */
    uint64_t flipped_ms; /* Redis time of the last flip, 0 = none */
    uint64_t now_ms;     /* Redis time of the read */
    struct route_progress progress;
};
void route_free(struct route *r);
/* From the read to the deadline, at least 1; 0 = none. */
uint64_t route_left_ms(const struct route *r);

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
    /* prepare, flip: changes of the target are not answered (route_touch()); detail = how many */
    ROUTE_DOUBT,
    ROUTE_NO_STORE, /* the store is missing or another one */
    ROUTE_DOWN,     /* no answer: whether it was done is unknown */
};
/* detail: a text, borrowed; "" where there is nothing to say. */
typedef void (*route_done_fn)(void *owner, enum route_rc rc, const char *detail);
/* r is borrowed, NULL unless ROUTE_OK. */
typedef void (*route_read_fn)(void *owner, enum route_rc rc, const struct route *r);
/* Rows of a list or, for views and stamps, pairs: rows[2i] is a name, rows[2i+1] its record. Borrowed; none
 * unless ROUTE_OK. */
typedef void (*route_rows_fn)(void *owner, enum route_rc rc, const struct span *rows, size_t n);

/* Reads; writes nothing (the name may be anything that was typed). */
void route_read(struct store *s, const char *user, route_read_fn fn, void *owner);
/* The same for what is done at each login: backend, state, epoch, generation, source, target and
 * route_left_ms() are as read, and all else as if there were no record (the deadline is told in ms from a
 * now_ms of 0). */
void route_where(struct store *s, const char *user, route_read_fn fn, void *owner);

/* ---- proxies ---- */

struct route_enter {
    const char *user;
    const char *session; /* "<incarnation>/<n>" */
    const char *backend; /* what the sign-in was done at, and the rest of what was read */
    enum route_state state;
    uint64_t epoch, generation;
    const char *address; /* of the client */
    /* trigger = login: a resting (or backed-off for want of credentials) account is queued */
    bool enqueue;
    const char *source, *target; /* of the migration it would be queued for */
    struct span sealed;          /* sealed credential to keep (with ttl), empty = none */
    uint64_t sealed_ttl_ms;
};
/* ROUTE_OK: registered; the client may be told OK. state = the state after it, for the lease term. Never
 * registers twice for the same session. A login while freezing or flipping past its deadline thaws first
 * (then AGAIN). */
typedef void (*route_enter_fn)(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch);
void route_enter(struct store *s, const struct route_enter *e, route_enter_fn fn, void *owner);
/* Ends a registration; an event while preparing or freezing. fn may be NULL; done at most once is enough: a
 * lost one is cleaned up by reconcile or evict. */
void route_leave(struct store *s, const char *user, const char *session, route_done_fn fn, void *owner);
/* The proxy knows the account's epoch: sessions of this incarnation now run on the short term. */
void route_seen(struct store *s, const char *user, const char *incarnation, uint64_t epoch, route_done_fn fn,
                void *owner);
/* The session has signed in at the target, or can't for reasons of its own and is not to be waited for.
 * ROUTE_LOST when the epoch or state (preparing) is another. */
void route_prepared(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                    void *owner);
/* The target refuses credentials that the source takes: preparing → ready with this reason. ROUTE_LOST as
 * before. */
void route_refuse(struct store *s, const char *user, const char *session, uint64_t epoch, const char *reason,
                  route_done_fn fn, void *owner);
/* A client uses the account: it counts as in use for so long. Detail 0: not kept, it is not to be switched
 * over. */
void route_busy(struct store *s, const char *user, uint64_t ms, route_done_fn fn, void *owner);
/* The session rests. ROUTE_LOST when the epoch or state (freezing) is another. */
void route_frozen(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                  void *owner);
/* After a lapse of the lease: may the session go on? ROUTE_OK: registration is there with the same backend
 * and epoch; ROUTE_WAIT: the same, but it has to rest (freezing, flipping); ROUTE_LOST: drop it. epoch: the
 * last one that its proxy gave to route_enter() or route_seen(), whether that was answered or not. */
void route_resume(struct store *s, const char *user, const char *session, const char *backend, uint64_t epoch,
                  route_done_fn fn, void *owner);
/* After LEASE_NEW_MASTER, for each session whose lease did not lapse (the others ask route_resume()): the new
 * master may have lost the registration. ROUTE_OK: registered as running; ROUTE_WAIT: it is there and has to
 * rest (freezing, flipping); ROUTE_LOST: drop it. */
void route_register(struct store *s, const char *user, const char *session, const char *backend,
                    uint64_t epoch, const char *address, route_done_fn fn, void *owner);
/* Removes registrations of this incarnation for which it has no session (not in the list, which has to name
 * those too whose route_enter() is not answered), but for those that came in this very `preparing`: detail is
 * how many of them are left. ROUTE_LOST when the epoch or state (preparing) is another. */
void route_reconcile(struct store *s, const char *user, const char *incarnation, uint64_t epoch,
                     const char *const *sessions, size_t n, route_done_fn fn, void *owner);
/* Ends a preparing or freezing whose deadline passed: →ready. By anybody. ROUTE_REFUSED when not due. */
void route_thaw(struct store *s, const char *user, route_done_fn fn, void *owner);

/* ---- the owner of a job ---- */

/* An entry of a stream of jobs: of PREFIX:jobs:bulk where that is said, else of PREFIX:jobs. */
struct route_entry {
    const char *user, *id;
    bool bulk;
};

/* queued → copying with a new owner token and epoch+1; a job whose owner is gone (taken over from the stream)
 * from copying, ready, preparing, freezing → copying, from flipping → flipping (only forward). The claimed
 * route is in r. A repeat with the same token returns the same. ROUTE_REFUSED: nothing to do (drop the stream
 * entry); ROUTE_PAUSED, ROUTE_QUARANTINE: put it back; ROUTE_LOST: the entry is another migrator's by now.
 * Backoff before next_try, held, blocked, resting, flipped, settled: REFUSED; so is an entry that is not the
 * account's any more, since it was queued anew. consumer: the migrator's name in the group. */
void route_claim(struct store *s, const struct route_entry *e, const char *token, const char *group,
                 const char *consumer, route_read_fn fn, void *owner);
/* Where the owner found had not given the job away (route_give()), it may have died of it: route.died. After
 * the second one the account is blocked, with a reason that names both: REFUSED. */

struct route_search {
    const char *group, *consumer;
    bool bulk;
    /* entries that nobody has claimed for so long, or for their own migrator's term */
    uint64_t lease_ms;
    uint64_t patience_ms;      /* those of accounts in flipping are left to others for so much longer */
    uint32_t places, suspects; /* how many may be taken; of those how many that a migrator has died with */
    const char *after;         /* go on behind this id; "" from the oldest on */
    uint32_t max;              /* entries to look at */
};
/* Jobs of migrators that are gone become the consumer's; those in flipping need no place. The first row is
 * where to go on ("" = that was the end), then three for each entry: id, user, and "plain", "suspect" or
 * "forward" (flipping). */
void route_orphans(struct store *s, const struct route_search *w, route_rows_fn fn, void *owner);
/* The consumer lives and works on these entries. The rows are the ids of those that are its own still. */
void route_keep(struct store *s, const char *group, const char *consumer, bool bulk, const struct span *ids,
                size_t n, route_rows_fn fn, void *owner);
/* The caller lives, and lets go of a job that has not ended: others find it at once. Token: of its claim, ""
 * if there was none; what was taken over meanwhile is not touched, but the caller is not taken for dead. */
void route_give(struct store *s, const struct route_entry *e, const char *token, const char *group,
                const char *consumer, uint64_t lease_ms, route_done_fn fn, void *owner);

/* All below: user, token and epoch must be the route's, else ROUTE_LOST. */
struct route_job {
    const char *user, *token;
    uint64_t epoch;
};
void route_progress(struct store *s, const struct route_job *j, const struct route_progress *p,
                    route_done_fn fn, void *owner);
/* copying → ready. Detail: how many migrators have died with it, and still count. */
void route_ready(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);
/* ready → copying */
void route_recopy(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);
/* The job has ended: its entry of the stream of jobs is acknowledged and deleted. detail: 0 where the route
 * says that it has not, so that the entry stays pending, and whoever takes it over goes on. */
void route_drop(struct store *s, const char *user, bool bulk, const char *id, const char *group,
                route_done_fn fn, void *owner);
/* ready, until delay is over (0: until staff say so): then →queued. ROUTE_AGAIN: "now", staff said so.
 * until_idle: until nobody uses the account (route_busy()), and the delay is when it is queued at the latest,
 * for a pass; ROUTE_AGAIN "idle": nobody does. */
void route_wait(struct store *s, const struct route_job *j, const char *reason, uint64_t delay_ms,
                bool until_idle, route_done_fn fn, void *owner);
/* Changes of the target that would undo what a client does there, were they executed late (STORE, EXPUNGE):
 * the entry goes to the ledger of the record before they are sent, and takes ms at most from then on, to
 * whoever sends them, and to the server. Until each is answered, or route_calm() was called, route_prepare()
 * and route_flip() say ROUTE_DOUBT, also to another owner, also by force. */
void route_touch(struct store *s, const struct route_job *j, const char *record_id, uint64_t ms,
                 struct span entry, route_done_fn fn, void *owner);
void route_touched(struct store *s, const struct route_job *j, const char *record_id, struct span entry,
                   route_done_fn fn, void *owner);
/* None of those is executed any more. Where there were any, the route says `doubted` from then on, until the
 * late watch has seen all at the end of its set time. */
void route_calm(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);
/* ROUTE_LATE: so many accounts were cut over in the last minute, by all migrators; detail = ms to wait. */
void route_turn(struct store *s, const char *user, uint32_t a_minute, route_done_fn fn, void *owner);
/* How an attempt ended. Where more than share per cent of the last 20 failed, migrations are paused, and the
 * detail is
 * 1. The brake's release forgets them. */
void route_outcome(struct store *s, const struct route_job *j, bool good, uint32_t share, route_done_fn fn,
                   void *owner);
/* ready → preparing, epoch+1 (detail = the new epoch), deadline = now + budget. PAUSED, QUARANTINE. */
void route_prepare(struct store *s, const struct route_job *j, uint64_t budget_ms, route_done_fn fn,
                   void *owner);
void route_freeze(struct store *s, const struct route_job *j, uint64_t budget_ms, route_done_fn fn,
                  void *owner);
/* preparing, freezing → ready with a reason. */
void route_abort(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn,
                 void *owner);
/* freezing → flipping: before the deadline, with every registration frozen (or gone) at this epoch. */
void route_flip(struct store *s, const struct route_job *j, const char *view, route_done_fn fn, void *owner);
/* flipping → flipped: backend = target, epoch+1, force cleared; sessions that rest are registered at the
 * target. late_ms: until the late watch looks at the source for the first time, 0 = never. hook_ms: the token
 * has the hook "flip" to run, for so long (see below); 0 = there is none. */
void route_flipped(struct store *s, const struct route_job *j, uint64_t late_ms, uint64_t hook_ms,
                   route_done_fn fn, void *owner);
/* copying, ready: what it waits for at this moment, for people; "" = nothing any more. */
void route_why(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn, void *owner);
/* copying, ready → backoff with next_try = now + delay (0: at the next login only), attempts+1 (not where
 * nobody's account is at fault); or → blocked. The account is put into `later` where delay > 0. */
void route_backoff(struct store *s, const struct route_job *j, const char *reason, uint64_t delay_ms,
                   bool attempt, route_done_fn fn, void *owner);
void route_block(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn,
                 void *owner);

/* ---- what the owner of a job keeps: ledger, view records, stamps, credential ---- */

/* Appends entries to the list of one record, all or none, as one script: keep a batch below some thousands. A
 * list that ends in just these entries is left as it is (a repeat). record_id: letters, digits, "-" and
 * "_". */
void route_ledger_append(struct store *s, const struct route_job *j, const char *record_id,
                         const struct span *entries, size_t n, route_done_fn fn, void *owner);
/* Empties it, what was folded too. */
void route_ledger_drop(struct store *s, const struct route_job *j, const char *record_id, route_done_fn fn,
                       void *owner);
/* Puts what is left of a ledger in the place of its list: text, and in the list only the entries that stay.
 * Repeated, it is done once. entries: how many the list had when it was read; ROUTE_AGAIN: it has not. */
struct route_fold {
    const char *source, *target; /* backends */
    struct span text;            /* no blank, no line feed */
    const struct span *stay;
    size_t n;
};
void route_ledger_fold(struct store *s, const struct route_job *j, const char *record_id, uint64_t entries,
                       const struct route_fold *f, route_done_fn fn, void *owner);
/* Which of these records have a ledger with entries in its list. */
void route_ledger_unfolded(struct store *s, const char *user, const struct span *ids, size_t n,
                           route_rows_fn fn, void *owner);
/* Reads a ledger, what was folded as its first entry, in pages: fn is called with each page that has rows,
 * then once with ROUTE_OK and n = 0; or with another rc at any time, which is the last call. */
void route_ledger_read(struct store *s, const char *user, const char *record_id, route_rows_fn fn,
                       void *owner);
/* Keeps marks by which the account is known again, in place of those that it had. ROUTE_REFUSED: two of them
 * are those of another account, whose key is detail; nothing is kept then. */
void route_fingerprint(struct store *s, const struct route_job *j, const char *const *marks, size_t n,
                       route_done_fn fn, void *owner);
/* All view records of an account, in pairs, in one call. */
void route_views_read(struct store *s, const char *user, route_rows_fn fn, void *owner);
/* Drops names, then writes pairs (2 * n_pairs spans), as one script. */
void route_views_write(struct store *s, const struct route_job *j, const struct span *drop, size_t n_drop,
                       const struct span *pairs, size_t n_pairs, route_done_fn fn, void *owner);
/* The same for what is kept beside the records, under their ids (migrator/mailbox/stamp.h). */
void route_stamps_read(struct store *s, const char *user, route_rows_fn fn, void *owner);
void route_stamps_write(struct store *s, const struct route_job *j, const struct span *drop, size_t n_drop,
                        const struct span *pairs, size_t n_pairs, route_done_fn fn, void *owner);
/* The sealed credential: one row, or none where there is none (any more). */
void route_secret_read(struct store *s, const char *user, route_rows_fn fn, void *owner);

/* What the last pass compared and found, as JSON; replaces the one before. */
void route_report_write(struct store *s, const struct route_job *j, struct span text, route_done_fn fn,
                        void *owner);
/* One row, or none. */
void route_report_read(struct store *s, const char *user, route_rows_fn fn, void *owner);

/* ---- the late watch: who looks at the server that an account has left (migrator/late/schedule.h) ---- */

/* Accounts whose time has come, as rows. */
void route_late_list(struct store *s, uint32_t max, route_rows_fn fn, void *owner);
/* flipped, settled, and held or resting after a flip, or while the next move is given up (backoff, blocked):
 * the token becomes the owner, nothing else changes; another may claim it after the lease, and whatever else
 * is done with the account takes it away. ROUTE_REFUSED: not due, or nothing to look at. */
void route_late_claim(struct store *s, const char *user, const char *token, uint64_t lease_ms,
                      route_read_fn fn, void *owner);
void route_late_keep(struct store *s, const struct route_job *j, uint64_t lease_ms, route_done_fn fn,
                     void *owner);
/* Not before ms from now: its scripts fail (store_refuses()). */
void route_late_aside(struct store *s, const char *user, uint64_t ms, route_done_fn fn, void *owner);
/* Each text becomes an entry of the account's audit, once. */
void route_late_note(struct store *s, const struct route_job *j, const struct span *texts, size_t n,
                     route_done_fn fn, void *owner);
/* delay_ms until the next look, 0 = none any more. over: flipped → settled. found: messages that were
 * brought. hook_ms: as for route_flipped(), of the hook "settle". saw_all: with over it ends `doubted`.
 * Detail: the state. */
void route_late_done(struct store *s, const struct route_job *j, uint64_t delay_ms, bool over, uint64_t found,
                     uint64_t hook_ms, bool saw_all, route_done_fn fn, void *owner);

/* ---- hooks that have to be run (migrator/late/errand.h): noted by the script that makes them due, until they were run ---- */

/* Their names ("EVENT\nEPOCH\nSOURCE\nTARGET\nUSER"), as rows: those that nobody runs at this moment. */
void route_hook_list(struct store *s, uint32_t max, route_rows_fn fn, void *owner);
/* ROUTE_OK: the token has it for the lease. ROUTE_LOST: another has, or it was run. */
void route_hook_take(struct store *s, const char *name, const char *token, uint64_t lease_ms,
                     route_done_fn fn, void *owner);
void route_hook_keep(struct store *s, const char *name, const char *token, uint64_t lease_ms,
                     route_done_fn fn, void *owner);
void route_hook_done(struct store *s, const char *name, route_done_fn fn, void *owner);

/* ---- staff and schedule; who and why go to the audit stream ---- */

struct route_staff {
    const char *user, *who, *reason;
};
/* resting, backoff, blocked, flipped, settled → queued, where source is where it is; with force also queued,
 * copying, ready (whose owner loses it). bulk: behind the logins. back: the target is where accounts come
 * from: it will be held there. ROUTE_OK: detail is the state; an account under way to the same target stays
 * as it is. */
void route_enqueue(struct store *s, const struct route_staff *a, const char *source, const char *target,
                   bool bulk, bool force, bool back, route_done_fn fn, void *owner);
/* An account of a list, to be moved from where it is behind the logins: resting, flipped, settled → queued.
 * run names one run over the list; it has no audit entry here. ROUTE_OK, detail: queued, under_way or
 * there. */
void route_bulk(struct store *s, const char *user, const char *run, const char *target, bool back,
                route_done_fn fn, void *owner);
/* How many accounts with a record are in each state and on each backend. rows[0] is "1" where all were
 * counted (else see route_recount.h); then pairs of "state:NAME" or "backend:NAME" and a number. */
void route_counts_read(struct store *s, route_rows_fn fn, void *owner);
/* Of these rows: on which backends that the configuration does not name accounts live, as "61 on "new"";
 * NULL: on none. Their users can't sign in. To free. */
char *route_counts_unknown(const struct store *s, const struct span *rows, size_t n);
/* Says it in the log, as an error (backend_unknown), where there are such accounts. */
void route_log_unknown(const struct store *s, const struct span *rows, size_t n);
/* The audit entry of the list. */
void route_note(struct store *s, const char *run, const char *who, const char *what, const char *reason,
                const char *after, route_done_fn fn, void *owner);
/* Cut over as soon as it can be, whatever the policy says: sets `now` in queued, copying, ready; event
 * "now". */
void route_now(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* Any state but preparing, freezing, flipping → held; a job under way loses its owner. */
void route_hold(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* held → where it was; an engaged one → queued again; one sent back stays on its backend, resting. */
void route_release(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* backoff, blocked → queued now. run: "", or of one of many accounts: as of route_bulk(). */
void route_retry(struct store *s, const struct route_staff *a, const char *run, route_done_fn fn,
                 void *owner);
/* Which of these accounts are in a state, and have a reason that begins with this word ("" any). Five rows
 * for each: user, state, backend, reason, time of the next try in ms. */
void route_list(struct store *s, const char *state, const char *reason, const struct span *users, size_t n,
                route_rows_fn fn, void *owner);
/* The account is known no more. ROUTE_OK: detail is what its state was, "none" without a record.
 * ROUTE_REFUSED: detail goes on behind its name ("is signed in ..."). */
void route_forget(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* What staff accept: keys as migrator/found/waiver.h has them. Any state; blocked, and backoff for a
 * difference, → queued now. detail is the state. ROUTE_REFUSED: there are 10,000 of them. */
void route_waive(struct store *s, const struct route_staff *a, const struct span *keys, size_t n,
                 route_done_fn fn, void *owner);
/* Takes that back: keys as they are kept. Not while it is in its cut-over: ROUTE_REFUSED, detail is the
 * state. */
void route_unwaive(struct store *s, const struct route_staff *a, const struct span *keys, size_t n,
                   route_done_fn fn, void *owner);
/* In pairs of key and JSON: "who", "when" (ms of Redis' clock, a text), "why". */
void route_waivers_read(struct store *s, const char *user, route_rows_fn fn, void *owner);
/* The brake: no claim, prepare, freeze or flip begins while it is on; flipping → flipped completes. */
void route_pause(struct store *s, bool on, const char *who, const char *reason, route_done_fn fn,
                 void *owner);
struct route_control {
    bool paused;
    const char *by, *reason; /* of the last change; "" before */
    uint64_t since_ms;       /* wall clock of Redis, 0 before */
};
/* c is borrowed, NULL unless ROUTE_OK. */
typedef void (*route_control_fn)(void *owner, enum route_rc rc, const struct route_control *c);
void route_control_read(struct store *s, route_control_fn fn, void *owner);
/* Moves accounts whose time has come (at most max) from `later` to queued and the jobs stream; detail = how
 * many. */
void route_due(struct store *s, uint32_t max, route_done_fn fn, void *owner);

/* Makes the store (imapferryctl init): id, generation (0: 1), schema, run_id. quarantine: begins now, since
 * programs of a store that was lost may still be at work. ROUTE_REFUSED when it is there already. */
void route_init(struct store *s, uint64_t generation, bool quarantine, route_done_fn fn, void *owner);
/* Staff say on which backend accounts without a record live; detail: where they lived before. Also while the
 * store is at odds with this configuration about it (store_is_at_odds()). */
void route_source(struct store *s, const char *source, const char *who, const char *reason, route_done_fn fn,
                  void *owner);
/* Routes of a store that was lost, before it is made. texts: eleven for each account, as restore.lua has
 * them. generation: that it will have. ROUTE_REFUSED: it is there. */
void route_restore(struct store *s, uint64_t generation, const struct span *texts, size_t n, route_done_fn fn,
                   void *owner);
/* What of these accounts has to be known after a loss, where there is anything: rows[0] is the generation,
 * then twelve for each, as export.lua has them. */
void route_export(struct store *s, const struct span *users, size_t n, route_rows_fn fn, void *owner);

#endif
