/* route: where an account's mail is and what happens to it, as a hash in Redis, and every way to change it.
 * Each change is one Lua script of lib/route/: it compares state, epoch and owner, sets the new ones, and
 * appends the event, all atomically. A script that the same caller repeats with the same arguments returns
 * its first result.
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
 * owner is a random token, a new one for each claim. An account without a record is resting on the configured
 * source, with epoch 0. Only flipping→flipped changes backend. deadline is in milliseconds of Redis' own
 * TIME; only scripts compare it.
 *
 * Below, "a → b" means that the function takes the account from state a to state b. */
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
/* True from queued to flipped, both included, and in backoff: sessions of such an account go by the short
 * term of the lease (registry.h). */
bool route_is_engaged(enum route_state s);

/* Counters that the owner of a job writes and staff see. */
struct route_progress {
    uint64_t mailboxes_done, mailboxes_total;
    uint64_t messages_done, messages_total, messages_verified;
    uint64_t bytes_done, bytes_total;
    char tiers[64]; /* "T3:12" */
};

/* Failed passwords that are not forgotten (penalty.lua). */
struct route_failures {
    uint64_t here, of_network; /* of whoever tries, from the network; of all there */
    bool good;                 /* it has signed in from there of late */
};

struct route {
    bool exists;
    char *backend; /* never NULL: the configured source where there is no record */
    enum route_state state;
    uint64_t epoch;
    /* The epoch of the first claim since the account is engaged (route_is_engaged()): a session that has seen
     * this epoch or a later one goes by the short term of the lease. 0 = none. */
    uint64_t engaged;
    uint64_t generation;   /* of the store when this was read; route_enter() compares it */
    char *source, *target; /* of the migration under way or done; "" before */
    char *home;            /* the source of the first flip: clients know its names and numbers; "" before */
    char *left;            /* the server that it has left by its last flip; "" before */
    /* How that flip was forced: "copied" = what was copied before it is in the ledgers; "bare" = nothing was
     * copied; "" = it was not forced. */
    char *forced;
    char *owner;
    uint64_t deadline_ms; /* Redis time, 0 = none */
    /* "" or a text for people that begins with a word of the table in reasons.h. It says why the account is
     * in the state in which it is now. */
    char *reason;
    /* The reason why the last attempt was given up; "" = none was since the move was asked for. */
    char *failed;
    /* "TOKEN/NAME TOKEN/NAME": the migrators that were gone when the job was taken over from them, and that
     * had not given it away (route_give()); "" = none. */
    char *died;
    char *held_from;
    bool force;  /* the move under way skips the copy */
    bool back;   /* the move under way sends the account back: it will be held there */
    char *wave;  /* by which a login has queued it (waves.h); "" = by none */
    char *group; /* the group with which it is switched over (route_sharing.h); "" = none */
    /* What it does there: "in" = it is copied, and waits without an owner; "go" = it is called to be switched over; "" */
    char *gather;
    bool parked; /* it waits for the end of its wave's pause */
    bool now;    /* staff want the cut-over whatever the policy says: route_now() */
    uint32_t attempts;
    uint64_t next_try_ms; /* Redis time */
    /* Which view clients have of the account (route_view_read()): "" = there is none, they see the server as
     * it is. "1:DIGEST", with ":N" behind it once proxies have changed it N times; "1=:DIGEST" = there is
     * one, and nothing is to be rewritten; "1=:mDIGEST" = nor do MODSEQs need it (view_has_modseqs()); "1=+:DIGEST" = nothing
     * of its own, but it is shown mailboxes of others (view_lend()). */
    char *view;
    /* "SHA256 GENERATION.EPOCH MIGRATOR": of the proof of the last flip (migrator/account/proof.h), and where it lies; "" =
     * there is none. */
    char *proof;
    char *proof_at;      /* what is behind the hash; part of proof already */
    uint64_t waits_ms;   /* Redis time since when a copied account waits for its time, 0 = it does not */
    uint64_t touching;   /* how many changes of the target have no answer yet: route_touch() */
    uint64_t touch_ms;   /* how long the longest of these may take, in ms */
    bool doubted;        /* some changes of the target were never answered: route_calm() */
    uint64_t flipped_ms; /* Redis time of the last flip, 0 = none */
    uint64_t now_ms;     /* Redis time when this was read */
    struct route_progress progress;
    struct route_failures failures; /* by route_where() */
};
void route_free(struct route *r);
/* Milliseconds from now_ms to the deadline, at least 1; 0 = there is no deadline. */
uint64_t route_left_ms(const struct route *r);

enum route_rc {
    ROUTE_OK,
    ROUTE_AGAIN, /* route_enter(): the route has changed since it was read: read it again */
    /* route_enter(): the account is freezing or flipping: wait for an event. route_prepare(), route_freeze(), route_flip(): others of its
     * group are not as far; detail names them */
    ROUTE_WAIT,
    ROUTE_FULL,       /* route_enter(): the account has as many sessions as it may */
    ROUTE_LOST,       /* owner, epoch or registration is not ours any more: touch nothing */
    ROUTE_REFUSED,    /* the state does not allow it; detail names the state */
    ROUTE_PAUSED,     /* the emergency brake is on: route_pause() */
    ROUTE_QUARANTINE, /* the store is in the quarantine that follows a change of master (store.h) */
    /* route_flip(): some sessions have not come to rest; detail = how many. route_rested(): detail = whose */
    ROUTE_BUSY,
    ROUTE_LATE, /* the deadline has passed */
    /* route_prepare(), route_flip(): some changes of the target have no answer (route_touch()); detail = how
     * many */
    ROUTE_DOUBT,
    ROUTE_NO_STORE, /* the store is missing, or is another one */
    ROUTE_DOWN,     /* no answer: whether it was done is unknown */
};
/* detail is a text, borrowed; "" where there is nothing to say. */
typedef void (*route_done_fn)(void *owner, enum route_rc rc, const char *detail);
/* r is borrowed, NULL unless ROUTE_OK. */
typedef void (*route_read_fn)(void *owner, enum route_rc rc, const struct route *r);
/* The rows of a list or, for views and stamps, pairs: rows[2i] is a name, rows[2i+1] its record. They are
 * borrowed, and there are none unless rc is ROUTE_OK. */
typedef void (*route_rows_fn)(void *owner, enum route_rc rc, const struct span *rows, size_t n);

/* Reads a route and writes nothing, so user may be anything that somebody typed. */
void route_read(struct store *s, const char *user, route_read_fn fn, void *owner);
/* Who is about to try a password, and from which network, as a word. */
struct route_trier {
    const char *user, *network;
};
/* The same, but only what each login needs: backend, state, epoch, generation, source, target, view and
 * route_left_ms() are as read, and all else is as if there were no record (now_ms is 0, and the deadline is
 * in ms from it). Where trier is not NULL, it is told what has failed of it; copied. */
void route_where(struct store *s, const char *user, const struct route_trier *trier, route_read_fn fn,
                 void *owner);

/* ---- proxies ---- */

struct route_enter {
    const char *user;
    const char *session; /* "<incarnation>/<n>" */
    const char *backend; /* where the user has signed in; this, state, epoch, generation: as they were read */
    enum route_state state;
    uint64_t epoch, generation;
    const char *view;    /* as it was read too; NULL: does not matter */
    const char *address; /* of the client */
    /* With trigger = login: an account that is resting is queued (one in backoff for want of credentials is
     * queued in any case). */
    bool enqueue;
    const char *wave;            /* what wave_at_login() told; NULL or "": it is in none */
    const char *source, *target; /* of the migration that it would be queued for */
    struct span sealed;          /* the sealed credential to keep for sealed_ttl_ms, empty = none */
    uint64_t sealed_ttl_ms;
    uint32_t most; /* sessions that the account may have, at all proxies that are alive; 0: any number */
};
/* ROUTE_OK: the session is registered, and the client may be told OK; state is the account's state after
 * that, by which the caller knows the term of the lease. A session is never registered twice. A login that
 * finds the account preparing or freezing past its deadline thaws it first, and gets ROUTE_AGAIN. */
typedef void (*route_enter_fn)(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch);
void route_enter(struct store *s, const struct route_enter *e, route_enter_fn fn, void *owner);
/* Ends a registration, which is an event while the account is preparing or freezing. fn may be NULL. It need
 * not be repeated where it was lost: route_reconcile() or an eviction (watch_new()) then removes the
 * registration. */
void route_leave(struct store *s, const char *user, const char *session, route_done_fn fn, void *owner);
/* The proxy knows this epoch of the account: the account's sessions of this incarnation go by the short term
 * from now on. */
void route_seen(struct store *s, const char *user, const char *incarnation, uint64_t epoch, route_done_fn fn,
                void *owner);
/* The session has signed in at the target, or can't for reasons of its own and is not to be waited for.
 * ROUTE_LOST when the epoch is another, or the state is not preparing. */
void route_prepared(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                    void *owner);
/* preparing → ready, with this reason: the target refuses credentials that the source takes. ROUTE_LOST as
 * above. */
void route_refuse(struct store *s, const char *user, const char *session, uint64_t epoch, const char *reason,
                  route_done_fn fn, void *owner);
/* A client uses the account, which counts as in use for the next ms milliseconds. Detail 0: that was not
 * kept, since the account is not about to be switched over. */
void route_busy(struct store *s, const char *user, uint64_t ms, route_done_fn fn, void *owner);
/* What failed logins cost, for all proxies together (proxy/penalty.h; the account and the network may be whatever
 * somebody typed). FAILED counts one; PASSED forgets those of the account from this network; TURN tells how
 * long to wait before the next password is tried: ROUTE_LATE where that would be longer than ahead_ms. fn is
 * told after each of them what is counted now; *told is empty where rc is neither ROUTE_OK nor ROUTE_LATE. The
 * call is on behalf of who: store_forget(who) gives owner to drop (may be NULL) instead. */
enum penalty_what { PENALTY_FAILED, PENALTY_TURN, PENALTY_PASSED };
struct route_penalty_ask {
    const char *user, *network; /* an account's key; a word */
    bool many;                  /* many people come from this network: only their accounts count */
    uint64_t memory_ms, first_ms, longest_ms, ahead_ms;
    uint64_t free; /* failures that a network has for nothing */
};
struct route_penalty {
    uint64_t wait_ms;
    uint64_t of_account, of_network; /* failures of the account from this network; of the network */
};
typedef void (*route_penalty_fn)(void *owner, enum route_rc rc, const struct route_penalty *told);
void route_penalty(struct store *s, enum penalty_what what, const struct route_penalty_ask *ask,
                   route_penalty_fn fn, const void *who, void *owner, store_drop_fn drop);
/* The session rests. ROUTE_LOST when the epoch is another, or the state is not freezing. */
void route_frozen(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                  void *owner);
/* After a lapse of the lease: may the session go on? ROUTE_OK: the registration is there, with the same
 * backend and epoch; ROUTE_WAIT: the same, but the session has to rest (freezing, flipping); ROUTE_LOST: drop
 * the session. epoch is the last one that its proxy gave to route_enter() or route_seen(), whether that was
 * answered or not. */
void route_resume(struct store *s, const char *user, const char *session, const char *backend, uint64_t epoch,
                  route_done_fn fn, void *owner);
/* After LEASE_NEW_MASTER, for each session whose lease did not lapse (the others ask route_resume()): the new
 * master may have lost the registration. ROUTE_OK: the session is registered as running; ROUTE_WAIT: it is
 * registered and has to rest (freezing, flipping); ROUTE_LOST: drop the session. */
void route_register(struct store *s, const char *user, const char *session, const char *backend,
                    uint64_t epoch, const char *address, route_done_fn fn, void *owner);
/* Removes the registrations of this incarnation whose sessions are not in the list. The list also has to name
 * the sessions whose route_enter() is not answered yet. Registrations that were made during this very
 * `preparing` stay; detail is how many of these are not in the list. ROUTE_LOST when the epoch is another, or
 * the state is not preparing. */
void route_reconcile(struct store *s, const char *user, const char *incarnation, uint64_t epoch,
                     const char *const *sessions, size_t n, route_done_fn fn, void *owner);
/* preparing or freezing → ready, once its deadline has passed; anybody may ask for it. ROUTE_REFUSED where it
 * is not due. */
void route_thaw(struct store *s, const char *user, route_done_fn fn, void *owner);

/* ---- what clients go on seeing (view.h) ---- */

/* True where this text of the route's view says that a proxy has to read it. */
bool route_view_is_needed(const char *view);
/* Of a text by which nothing has to be read: is it known how the MODSEQs of the account go on
 * (view_has_modseqs())? "" (never moved) and "1=:mDIGEST" say so; older releases wrote "1=:DIGEST" in any
 * case. */
bool route_view_has_modseqs(const char *view);
/* Reads the view. The first three rows are its text, the backend that it belongs to, and the account's epoch;
 * the rest are pairs of a client's name and a record, where the text says that they are needed, or all is
 * set. ROUTE_WAIT: the account is flipping. */
void route_view_read(struct store *s, const char *user, bool all, route_rows_fn fn, void *owner);
/* Makes the changes, all or none. backend, epoch: as of route_view_read(). ROUTE_OK: detail is the view's new
 * text, and proxies are told by an event. ROUTE_AGAIN: something is another one now, so it has to be read
 * first. ROUTE_WAIT: freezing, flipping. ROUTE_REFUSED: a job is under way, and it is more than that clients are
 * shown a greater UIDVALIDITY. A repeat is done once. */
struct view_changes;
void route_view_change(struct store *s, const char *user, const char *backend, uint64_t epoch,
                       const struct view_changes *changes, route_done_fn fn, void *owner);

/* ---- the owner of a job ---- */

/* An entry of a stream of jobs: of PREFIX:jobs:bulk where bulk is set, else of PREFIX:jobs. */
struct route_entry {
    const char *user, *id;
    bool bulk;
};

/* Takes a job: queued → copying, with a new owner token and epoch+1. A job whose owner is gone (its entry was
 * taken over from the stream) goes from copying, ready, preparing, freezing → copying, and from flipping →
 * flipping, where there is only forward. The claimed route is in r. A repeat with the same token returns the
 * same. consumer is the migrator's name in the group.
 *
 * ROUTE_REFUSED: there is nothing to do, so the entry is to be dropped: the account is in backoff before
 * next_try, held, blocked, resting, flipped or settled, or it was queued anew and has another entry now.
 * ROUTE_PAUSED, ROUTE_QUARANTINE: put the entry back. ROUTE_LOST: the entry is another migrator's by now.
 *
 * An owner that is gone and had not given the job away (route_give()) may have died of it: route.died. After
 * the second such owner the account is blocked, with a reason that names both: ROUTE_REFUSED. */
void route_claim(struct store *s, const struct route_entry *e, const char *token, const char *group,
                 const char *consumer, route_read_fn fn, void *owner);

struct route_search {
    const char *group, *consumer;
    bool bulk;
    /* Only entries that nobody has claimed for so long, or for the term that their own migrator told, where
     * that is longer. */
    uint64_t lease_ms;
    uint64_t patience_ms;      /* entries of accounts in flipping are left to others for so much longer */
    uint32_t places, suspects; /* how many may be taken; how many of them a migrator may have died with */
    const char *after;         /* begin behind this id; "" = at the oldest entry */
    uint32_t max;              /* how many entries to look at */
};
/* The jobs of migrators that are gone become the consumer's; those of accounts in flipping need no place. The
 * first row is where to go on ("" = that was the end), then there are three rows for each entry: its id, its
 * user, and "plain", "suspect" (a migrator has died with it) or "forward" (the account is flipping). */
void route_orphans(struct store *s, const struct route_search *w, route_rows_fn fn, void *owner);
/* The consumer lives and works on these entries. The rows are the ids of those that are still its own. */
void route_keep(struct store *s, const char *group, const char *consumer, bool bulk, const struct span *ids,
                size_t n, route_rows_fn fn, void *owner);
/* The caller lives, and lets go of a job that has not ended: others find it at once. token is that of its
 * claim, "" if there was none. A job that was taken over meanwhile is left alone, but the caller is not
 * counted in route.died any more. */
void route_give(struct store *s, const struct route_entry *e, const char *token, const char *group,
                const char *consumer, uint64_t lease_ms, route_done_fn fn, void *owner);

/* For all functions below: user, token and epoch must be those of the route, else ROUTE_LOST. */
struct route_job {
    const char *user, *token;
    uint64_t epoch;
};
void route_progress(struct store *s, const struct route_job *j, const struct route_progress *p,
                    route_done_fn fn, void *owner);
/* copying → ready. Detail is how many migrators have died with the job, as far as they still count
 * (route.died). */
void route_ready(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);
/* ready → copying */
void route_recopy(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);
/* The job has ended: its entry in the stream of jobs is acknowledged and deleted. Detail 0: the route says
 * that the job has not ended, so the entry stays pending, and whoever takes it over goes on. */
void route_drop(struct store *s, const char *user, bool bulk, const char *id, const char *group,
                route_done_fn fn, void *owner);
/* The account stays ready without an owner, and is queued when delay_ms are over (0: when staff say so). With
 * until_idle it is queued when nobody uses it any more (route_busy()), and after delay_ms at the latest, for
 * another pass. ROUTE_AGAIN: it need not wait; detail is "now" (staff said so) or, with until_idle, "idle"
 * (nobody uses the account). */
void route_wait(struct store *s, const struct route_job *j, const char *reason, uint64_t delay_ms,
                bool until_idle, route_done_fn fn, void *owner);
/* For changes of the target that would undo what a client does there, were they executed late (STORE,
 * EXPUNGE). route_touch() writes the entry to the ledger of the record before such a command is sent; from
 * then on the command may take ms at most, both in the hands of its sender and at the server. Until each was
 * answered (route_touched()), or route_calm() was called, route_prepare() and route_flip() return
 * ROUTE_DOUBT, to another owner too, and with force too. */
void route_touch(struct store *s, const struct route_job *j, const char *record_id, uint64_t ms,
                 struct span entry, route_done_fn fn, void *owner);
void route_touched(struct store *s, const struct route_job *j, const char *record_id, struct span entry,
                   route_done_fn fn, void *owner);
/* None of the commands of route_touch() can be executed any more. Where some had no answer, `doubted` is set
 * in the route, until the late watch has seen everything at the end of its set time. */
void route_calm(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);
/* May one more account be cut over? ROUTE_LATE: all migrators together have cut over a_minute accounts in the
 * last minute (0 = any number); detail = ms to wait. */
void route_turn(struct store *s, const char *user, uint32_t a_minute, route_done_fn fn, void *owner);
/* How an attempt ended. Where more than share per cent of the last 20 failed, migrations are paused, and
 * detail begins with 1; or, of an account that a wave has queued, that wave is, by the last 20 of it, and detail is
 * "1 wave NAME". Releasing the brake forgets these attempts. */
void route_outcome(struct store *s, const struct route_job *j, bool good, uint32_t share, route_done_fn fn,
                   void *owner);
/* A member of a group is copied. ROUTE_OK: others are not; it stays ready, without an owner, until they are, and is queued then.
 * ROUTE_AGAIN: all are, and it goes on; detail "alone": it is in no group any more. idle: not while anybody uses one of them. Also
 * ROUTE_PAUSED, ROUTE_QUARANTINE. */
void route_gather(struct store *s, const struct route_job *j, bool idle, route_done_fn fn, void *owner);
/* ready → preparing, epoch+1 (detail = the new epoch), deadline = now + budget_ms. Also ROUTE_PAUSED,
 * ROUTE_QUARANTINE. Of a group all members, once each has asked: ROUTE_WAIT: ask again; the epoch may rise meanwhile; then detail = the new
 * epoch, a blank, and the ms that are left: the longest that any asked for, from when all had; 0: it was thawed since. ROUTE_AGAIN: one of
 * them can't be waited for here (route_gather()); detail names it. idle: only while nobody uses any of them. */
void route_prepare(struct store *s, const struct route_job *j, uint64_t budget_ms, bool idle,
                   route_done_fn fn, void *owner);
/* preparing → freezing. Of a group all members, once each has asked (ROUTE_WAIT: ask again); then detail = ms that are left. */
void route_freeze(struct store *s, const struct route_job *j, uint64_t budget_ms, route_done_fn fn,
                  void *owner);
/* Do the sessions of all members of its group rest? ROUTE_BUSY: not all. */
void route_rested(struct store *s, const struct route_job *j, route_done_fn fn, void *owner);
/* preparing, freezing → ready with a reason. Thaws all of its group. */
void route_abort(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn,
                 void *owner);
/* freezing → flipping, of a group all members, once each has asked (ROUTE_WAIT: ask again): before the deadline, with every registration frozen (or gone) at this epoch. view, proof: as in the
 * route from then on; NULL = "". */
void route_flip(struct store *s, const struct route_job *j, const char *view, const char *proof,
                route_done_fn fn, void *owner);
/* flipping → flipped: backend = target, epoch+1, force cleared; sessions that rest are registered at the
 * target. late_ms: when the late watch looks at the source for the first time, in ms from now; 0 = never.
 * hook_ms: the token holds the hook "flip" for so long, to run it (see route_hook_take()); 0 = there is no
 * such hook. */
void route_flipped(struct store *s, const struct route_job *j, uint64_t late_ms, uint64_t hook_ms,
                   route_done_fn fn, void *owner);
/* copying, ready: says what the job waits for at this moment, for people; "" = for nothing any more. */
void route_why(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn, void *owner);
/* route_backoff(): copying, ready → backoff, with next_try = now + delay_ms (0: at the next login only; or in a second,
 * where a login has brought another credential than the one that begins with sealed, by which this was tried: "-": by
 * none, "": no matter);
 * where delay_ms > 0 the account is put into `later`. attempt: attempts+1; false where no account is at
 * fault. route_block(): copying, ready → blocked. */
void route_backoff(struct store *s, const struct route_job *j, const char *reason, uint64_t delay_ms,
                   bool attempt, const char *sealed, route_done_fn fn, void *owner);
void route_block(struct store *s, const struct route_job *j, const char *reason, route_done_fn fn,
                 void *owner);

/* ---- what the owner of a job keeps: ledger, view records, stamps, credential, report ---- */

/* Appends entries to the ledger of one record, all or none: it is one script, so keep a batch below some
 * thousands. A ledger whose list ends in just these entries is left as it is (that is a repeat). record_id:
 * letters, digits, "-" and "_". */
void route_ledger_append(struct store *s, const struct route_job *j, const char *record_id,
                         const struct span *entries, size_t n, route_done_fn fn, void *owner);
/* Empties the ledger of one record, what was folded included. */
void route_ledger_drop(struct store *s, const struct route_job *j, const char *record_id, route_done_fn fn,
                       void *owner);
/* Folds a ledger: text takes the place of its list, in which only the entries of stay remain. Repeated, it is
 * done once. entries is how many the list had when it was read; ROUTE_AGAIN: it has another number now. */
struct route_fold {
    const char *source, *target; /* backends */
    struct span text;            /* no blank, no line feed */
    const struct span *stay;
    size_t n;
};
void route_ledger_fold(struct store *s, const struct route_job *j, const char *record_id, uint64_t entries,
                       const struct route_fold *f, route_done_fn fn, void *owner);
/* The rows are those of ids whose ledgers have entries in their lists. */
void route_ledger_unfolded(struct store *s, const char *user, const struct span *ids, size_t n,
                           route_rows_fn fn, void *owner);
/* Reads a ledger in pages; what was folded is its first entry. fn is called with each page that has rows,
 * then once with ROUTE_OK and n = 0. It may be called with another rc at any time, and that is the last
 * call. */
void route_ledger_read(struct store *s, const char *user, const char *record_id, route_rows_fn fn,
                       void *owner);
/* Keeps marks by which the account's mail is recognized, in place of those that the account had.
 * ROUTE_REFUSED: two of them are marks of another account, whose key is detail; nothing is kept then. */
void route_fingerprint(struct store *s, const struct route_job *j, const char *const *marks, size_t n,
                       route_done_fn fn, void *owner);
/* All view records of an account, in pairs, in one call. */
void route_views_read(struct store *s, const char *user, route_rows_fn fn, void *owner);
/* Drops names, then writes pairs (2 * n_pairs spans), as one script. */
void route_views_write(struct store *s, const struct route_job *j, const struct span *drop, size_t n_drop,
                       const struct span *pairs, size_t n_pairs, route_done_fn fn, void *owner);
/* Read and write in the same way what is kept beside the records, under their ids
 * (migrator/mailbox/stamp.h). */
void route_stamps_read(struct store *s, const char *user, route_rows_fn fn, void *owner);
void route_stamps_write(struct store *s, const struct route_job *j, const struct span *drop, size_t n_drop,
                        const struct span *pairs, size_t n_pairs, route_done_fn fn, void *owner);
/* Reads the sealed credential: one row, or none where there is none (any more). */
void route_secret_read(struct store *s, const char *user, route_rows_fn fn, void *owner);

/* What the last pass compared and found, as JSON; replaces the one before. */
void route_report_write(struct store *s, const struct route_job *j, struct span text, route_done_fn fn,
                        void *owner);
/* Reads it: one row, or none. */
void route_report_read(struct store *s, const char *user, route_rows_fn fn, void *owner);

/* ---- the late watch: who looks at the server that an account has left (migrator/late/schedule.h) ---- */

/* The rows are at most max accounts whose time for a look has come. */
void route_late_list(struct store *s, uint32_t max, route_rows_fn fn, void *owner);
/* Takes the look at an account: flipped, settled, held or resting after a flip, or a next move that is given
 * up for now (backoff, blocked). The token becomes the owner, and nothing else changes. Another token may
 * claim the look after lease_ms, and whatever else is done with the account takes the look away.
 * ROUTE_REFUSED: it is not due, or there is nothing to look at. */
void route_late_claim(struct store *s, const char *user, const char *token, uint64_t lease_ms,
                      route_read_fn fn, void *owner);
void route_late_keep(struct store *s, const struct route_job *j, uint64_t lease_ms, route_done_fn fn,
                     void *owner);
/* Nobody is to look at this account for the next ms milliseconds, since its scripts fail
 * (store_refuses()). */
void route_late_aside(struct store *s, const char *user, uint64_t ms, route_done_fn fn, void *owner);
/* Each text becomes an entry of the account's audit, once. */
void route_late_note(struct store *s, const struct route_job *j, const struct span *texts, size_t n,
                     route_done_fn fn, void *owner);
/* The look is over; the next one is in delay_ms, 0 = there is none. over: flipped → settled. found: how many
 * messages it brought. hook_ms: as for route_flipped(), of the hook "settle". saw_all: together with over it
 * ends `doubted`. Detail is the state. */
void route_late_done(struct store *s, const struct route_job *j, uint64_t delay_ms, bool over, uint64_t found,
                     uint64_t hook_ms, bool saw_all, route_done_fn fn, void *owner);

/* ---- hooks that have to be run (migrator/late/errand.h): the script that makes one due notes it ---- */

/* The rows are the names ("EVENT\nEPOCH\nSOURCE\nTARGET\nUSER") of the hooks that nobody runs at this moment.
 * A hook stays noted until route_hook_done(). */
void route_hook_list(struct store *s, uint32_t max, route_rows_fn fn, void *owner);
/* ROUTE_OK: the hook is the token's for lease_ms. ROUTE_LOST: another token has it, or it was run. */
void route_hook_take(struct store *s, const char *name, const char *token, uint64_t lease_ms,
                     route_done_fn fn, void *owner);
void route_hook_keep(struct store *s, const char *name, const char *token, uint64_t lease_ms,
                     route_done_fn fn, void *owner);
void route_hook_done(struct store *s, const char *name, route_done_fn fn, void *owner);

/* ---- staff and schedule; who and why go to the audit stream ---- */

struct route_staff {
    const char *user, *who, *reason;
};
/* resting, backoff, blocked, flipped, settled → queued, where the account is on source; with force also
 * queued, copying, ready → queued, and their owner loses the job. bulk: the account is queued behind the
 * logins. back: accounts come from this target, so the account will be held there. now: as route_now(). ROUTE_OK:
 * detail is the state; an account that is under way to the same target already stays as it is. */
void route_enqueue(struct store *s, const struct route_staff *a, const char *source, const char *target,
                   bool bulk, bool force, bool back, bool now, route_done_fn fn, void *owner);
/* resting, flipped, settled → queued, behind the logins: an account of a list is to be moved from where it
 * is. run names one run over the list; the audit has an entry of the list (route_note()), and none of each
 * account. ROUTE_OK: detail is queued, under_way or there (it is on the target). ROUTE_REFUSED: detail says what it is, also where
 * a server is retired. */
void route_bulk(struct store *s, const char *user, const char *run, const char *target, bool back,
                route_done_fn fn, void *owner);
/* How many accounts with a record are in each state and on each backend. rows[0] is "1" where all were
 * counted (else see route_recount.h); the rows behind it are pairs of "state:NAME" or "backend:NAME" and a
 * number. */
void route_counts_read(struct store *s, route_rows_fn fn, void *owner);
/* Looks in these rows of route_counts_read() for backends that the configuration does not name, whose users
 * can't sign in. Returns how many accounts live on them, as "61 on "new"", to free; NULL: none do. */
char *route_counts_unknown(const struct store *s, const struct span *rows, size_t n);
/* Logs an error (backend_unknown) where there are such accounts. */
void route_log_unknown(const struct store *s, const struct span *rows, size_t n);
/* Writes the audit entry of a run over a list. */
void route_note(struct store *s, const char *run, const char *who, const char *what, const char *reason,
                const char *after, route_done_fn fn, void *owner);
/* queued, copying, ready: the account is to be cut over as soon as it can be, whatever the policy says. Sets
 * `now`, with the event "now"; one that is ready may be waiting (route_wait()), so it is queued again. */
void route_now(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* Any state but preparing, freezing, flipping → held. A job under way loses its owner. */
void route_hold(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* Ends the sessions of the account at all proxies, which an event tells; detail is how many there were. ROUTE_REFUSED:
 * preparing, freezing, flipping. */
void route_kick(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* held → the state in which it was; an account that was engaged is queued again, and one that was sent back
 * stays on its backend, resting. */
void route_release(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner);
/* backoff, blocked → queued now. run is as for route_bulk() where this is one of many accounts, else "". */
void route_retry(struct store *s, const struct route_staff *a, const char *run, route_done_fn fn,
                 void *owner);
/* Which accounts are asked for: strings are "" and numbers 0 where it may be any. */
struct route_filter {
    const char *state, *reason; /* the word that it begins with */
    const char *backend;        /* where it lives */
    uint64_t within_ms;         /* a login is known that is no older (to the hour) */
    uint64_t beyond_ms;         /* no login is known that is younger */
};
/* Which of these users are so. rows[0] is Redis' time in ms; then ROUTE_LIST_FIELDS rows for each, as list.lua has
 * them. */
enum { ROUTE_LIST_FIELDS = 20 };
void route_list(struct store *s, const struct route_filter *f, const struct span *users, size_t n,
                route_rows_fn fn, void *owner);
/* What these accounts still have to do with a backend: three rows for each thing, as retire.lua has them, which
 * says what `what` may be, too. */
void route_retire(struct store *s, const char *backend, const char *what, const struct span *users, size_t n,
                  route_rows_fn fn, void *owner);
/* For whom do proxies rewrite something? target: where accounts go. The rows are pairs of a user and a kind, as direct.lua has
 * them. */
void route_direct(struct store *s, const char *target, const struct span *users, size_t n, route_rows_fn fn,
                  void *owner);
/* Removes the record of an account and all that belongs to it. gone: also one that was ever switched over, since no server has it any
 * more. ROUTE_OK: detail is the state that it had,
 * "none" without a record. ROUTE_REFUSED: detail is the rest of a sentence that begins with the account's
 * name ("is signed in ..."). */
void route_forget(struct store *s, const struct route_staff *a, bool gone, route_done_fn fn, void *owner);
/* Keeps what staff accept in this account: keys as in migrator/found/waiver.h. In any state; blocked → queued
 * now, and so is backoff for a difference. detail is the state. ROUTE_REFUSED: the account would have more
 * than 10,000 keys. */
void route_waive(struct store *s, const struct route_staff *a, const struct span *keys, size_t n,
                 route_done_fn fn, void *owner);
/* Takes keys back, spelled as they are kept. ROUTE_REFUSED while the account is in its cut-over; detail is
 * the state. */
void route_unwaive(struct store *s, const struct route_staff *a, const struct span *keys, size_t n,
                   route_done_fn fn, void *owner);
/* The rows are pairs of a key and JSON: "who", "when" (ms of Redis' clock, a text), "why". */
void route_waivers_read(struct store *s, const char *user, route_rows_fn fn, void *owner);
/* The rows are names and values of what is known of waves, as PREFIX:waves has them (head.lua): "NAME:today",
 * "NAME:paused" and so on; rows[0] is the time of Redis in ms. */
void route_waves_read(struct store *s, route_rows_fn fn, void *owner);
/* Puts the brake on or takes it off: no claim, prepare, freeze or flip begins while it is on; flipping →
 * flipped completes. wave: "" = for all; else for one wave, whose accounts that wait for a migrator are parked:
 * no login queues one, no claim or prepare begins, and what is being switched over is carried out. */
void route_pause(struct store *s, bool on, const char *who, const char *reason, const char *wave,
                 route_done_fn fn, void *owner);
struct route_control {
    bool paused;
    const char *by, *reason; /* of the last change; "" before */
    uint64_t since_ms;       /* wall clock of Redis, 0 before */
};
/* c is borrowed, NULL unless ROUTE_OK. */
typedef void (*route_control_fn)(void *owner, enum route_rc rc, const struct route_control *c);
void route_control_read(struct store *s, route_control_fn fn, void *owner);
/* Takes at most max accounts whose time has come from `later` to queued, and into the stream of jobs; detail
 * = how many. */
void route_due(struct store *s, uint32_t max, route_done_fn fn, void *owner);

/* Makes the store (imapferryctl init): id, generation (0 means 1), schema, run_id. restore: NULL, or the
 * token of the route_restore() that this ends; a quarantine begins then, since programs that used the store
 * that was lost may still be at work. ROUTE_REFUSED: the store is there already, or, where detail is
 * "restoring", somebody else's restore has not ended. */
void route_init(struct store *s, uint64_t generation, const char *restore, route_done_fn fn, void *owner);
/* Staff say on which backend accounts without a record live; detail is where they lived before. It is also
 * done while the store disagrees with this configuration about that (store_is_at_odds()). ROUTE_REFUSED: a
 * process is alive, which detail names. */
void route_source(struct store *s, const char *source, const char *who, const char *reason, route_done_fn fn,
                  void *owner);
/* Writes the routes of a store that was lost, before the store is made. texts: twelve for each account, as
 * restore.lua has them. generation: the one that the store will have. token: of this restore, the same in all
 * its calls and in the route_init() that ends it. Detail is how many were written; what was switched over
 * later stays as it is. ROUTE_REFUSED, by detail: "there", a store is there; "another" restore is at work;
 * "leftover", Redis holds records of a store that was made meanwhile, and anyway is false. */
void route_restore(struct store *s, uint64_t generation, const char *token, bool anyway,
                   const struct span *texts, size_t n, route_done_fn fn, void *owner);
/* Reads what has to be known of these users after a loss of the store, as far as there is anything: rows[0]
 * is the generation, then there are twelve rows for each account, as export.lua has them. */
void route_export(struct store *s, const struct span *users, size_t n, route_rows_fn fn, void *owner);

#endif
