/* What the files of a pass share: its state, and the mailboxes that it is about. From the bottom up, so that
 * no two call each other:
 *
 *   pass_fail       what each step may say: go on, or what failed
 *   pass_subscribe  subscriptions, beside COPY
 *   pass_items      the mailboxes, and how many lanes they want
 *   pass_report     the end: findings are judged and told
 *   pass_orphans    ORPHANS
 *   pass_copy       COPY, REMOVE; pass_glances: mailboxes that are looked at in the freeze
 *   pass_prepare    INSPECT, RECORDS, ARRANGE, BRING; what pass_copy can begin with meanwhile
 *   pass_lists      WAIVERS, LISTS, RENAMES
 *   pass            begins and ends a pass, and calls the step of its phase
 *
 * A step does what there is to do now, and is called again after each pass_step_soon(). */
#ifndef IMAPFERRY_PASS_PRIV_H
#define IMAPFERRY_PASS_PRIV_H

#include "migrator/account/arrange.h"
#include "migrator/account/baggage.h"
#include "migrator/account/both.h"
#include "migrator/account/plan.h"
#include "migrator/account/renames.h"
#include "migrator/found/finding.h"
#include "migrator/found/waiver.h"
#include "migrator/mailbox/glance.h"
#include "migrator/mailbox/orphan.h"
#include "pass.h"

enum {
    TRIES = 3,           /* of a mailbox whose connection broke */
    TRIES_THROTTLED = 6, /* each after a longer rest */
    ROUNDS = 20          /* of RENAMES */
};
/* What each does and where it leads stands in pass.h. From JUDGE on the pass is ending. */
enum pass_phase {
    WAIVERS,
    LISTS,
    RENAMES,
    INSPECT,
    RECORDS,
    ARRANGE,
    BRING,
    COPY,
    REMOVE,
    ORPHANS,
    JUDGE,
    REPORT,
    WRITE,
    DONE
};
enum { SOURCE, TARGET };

enum item_state {
    TODO,
    CLOSED,     /* in the freeze: was equal, and is so if the source is seen to be as it was */
    GLANCED_AT, /* ... which is being done */
    LOADING,    /* the ledger, or asking for numbers */
    COPYING,
    EQUAL,
    FOUND,    /* something that blocks */
    VANISHED, /* between listing and opening */
    FAILED
};

struct pass_item {
    struct pass *pass;
    const struct plan_item *plan;
    const struct mailbox *there; /* on the target; NULL: it was not listed */
    struct record *record;
    struct imap_seq removable;  /* of its source UIDs: gone before this pass */
    struct copy_counts changes; /* that this pass made; the other counts are not used */
    enum item_state state;
    struct lane *lane; /* lent while LOADING and COPYING */
    /* What uses the same lane: one whose copy only waits for answers (copy.h: over_to_next), and the one that has
     * begun behind it. Never more than these two */
    struct pass_item *partner;
    bool behind;       /* the partner's commands come before its own */
    bool target_waits; /* the partner has given it the source alone */
    bool unprepared;   /* ... and it may have to be given a UIDVALIDITY there first */
    bool untold;       /* the target is being told its numbers: only its source is read until then */
    bool spoiled;      /* the partner left something half done on the lane */
    bool alone;        /* it gave its lane away too early once, and does not do so again */
    struct copy *copy;
    unsigned tries;
};

/* Mailboxes that a lane looks at, in the freeze. */
struct lane_glance {
    struct pass *pass;
    struct lane *lane; /* lent; NULL: none is under way */
    struct glance *glance;
    struct glance_at *at;     /* owned */
    struct pass_item **items; /* owned; one for each of at */
    size_t n;
};

/* A record whose mailbox the source has no more. */
struct gone {
    struct record *record;
    const char *from, *to; /* names; the record's */
    bool tried;            /* its connection broke once */
};

struct pass {
    struct move *move;
    enum pass_kind kind;
    pass_fn fn;
    void *owner;
    uint64_t began_ms;
    enum pass_phase phase; /* set by pass_enter() alone */
    struct loop_task task; /* does what there is to do, outside of any callback */
    enum pass_rc rc;       /* the worst until now; a failure ends the pass only where pass_fail() says so */
    enum why why;          /* of the first failure, and its detail */
    struct buf detail;
    size_t n_failed;

    struct lane *lane;       /* lent in LISTS, RENAMES, INSPECT, ARRANGE, BRING and ORPHANS */
    struct pass_item *early; /* uses the lane beside ARRANGE; it is whose that is at it for longer */
    bool spoiled;            /* ... and left something half done there */
    unsigned tries;          /* of these */
    struct waivers *waivers; /* owned */
    struct both *both;
    struct mailboxes *mailboxes[2]; /* owned */
    struct plan *plan;              /* owned */
    struct renames *renames;
    unsigned rounds; /* of RENAMES */
    struct arrange *arrange;
    struct arrange *subscribing;   /* in COPY */
    struct lane *subscribing_lane; /* lent */
    bool subscribed;
    bool looks; /* at rights and annotations */

    struct pass_item *items; /* owned; the largest first */
    size_t n, next;          /* no TODO before next */
    size_t to_open;          /* when the items were made */
    size_t opened;
    struct lane_glance glances[CREW_MAX];
    unsigned glances_failed;

    struct gone *gone; /* owned; to be seen to in this pass */
    size_t n_gone, next_gone;
    uint64_t absent;     /* mailboxes that this pass misses for the first time */
    struct gone *trying; /* the one under way; NULL: none */
    struct orphan *orphan;
    bool dropped; /* records: to be written */

    struct findings *findings; /* of the account; at the end those of its mailboxes too; owned */
    bool reported;             /* the report is told, or lost */
};

/* pass_fail.c */

void pass_step_soon(struct pass *p);
/* Goes on with this phase, from the loop. A pass that is ending is judged once, and goes back to none of the
 * phases before that. */
void pass_enter(struct pass *p, enum pass_phase phase);
bool pass_is_ending(const struct pass *p);
bool pass_is_last(const struct pass *p);
/* Did a server ask to be used more slowly? Then what fails is for that. */
bool pass_is_throttled(const struct pass *p);
/* The rest goes on. The first failure is the pass's. */
void pass_note_failure(struct pass *p, enum why why, const char *detail);
/* No use to go on with the rest: notes the failure, and goes on with JUDGE. */
void pass_fail(struct pass *p, enum why why, const char *detail);
void pass_fail_by_store(struct pass *p, enum route_rc rc);

/* Of the phases. Where a file has a stop, it is for what may be under way there, at the end or in the
 * middle. */

void pass_read_waivers(struct pass *p);
void pass_step_lists(struct pass *p);
void pass_step_renames(struct pass *p);
void pass_stop_lists(struct pass *p);

/* Once there is a plan. Goes on with INSPECT, or RECORDS. */
void pass_prepare(struct pass *p);
void pass_step_inspect(struct pass *p);
void pass_step_arrange(struct pass *p);
void pass_step_bring(struct pass *p);
/* Of the job; made where there is none. */
struct baggage *pass_baggage(struct pass *p);
void pass_stop_prepare(struct pass *p);

/* Are there subscriptions to be made equal, which nobody does yet? */
bool pass_may_subscribe(const struct pass *p);
void pass_subscribe(struct pass *p, struct lane *lane);
void pass_stop_subscribing(struct pass *p);

void pass_step_copy(struct pass *p); /* REMOVE as well */
/* ARRANGE has sent all to the target of p->lane: begins with a mailbox that is there already, right behind that. */
void pass_copy_early(struct pass *p);
/* ARRANGE has ended: gives its lane back, or leaves it to what was begun early. */
void pass_leave_lane(struct pass *p, bool clean);
void pass_stop_copies(struct pass *p);
void pass_step_glances(struct pass *p);
void pass_stop_glances(struct pass *p);

void pass_step_orphans(struct pass *p);
void pass_stop_orphans(struct pass *p);

/* Once: gathers what was found; what is not waived stops the account, as a failure does. */
void pass_judge(struct pass *p);
/* A quick pass knows nothing of what it did not open: what was told before is better then. */
bool pass_must_report(const struct pass *p);
/* Once. The next step is when it is there, and pass_must_report() says no then. */
void pass_send_report(struct pass *p);

/* pass_items.c */

void pass_make_items(struct pass *p);
size_t pass_count_state(const struct pass *p, enum item_state state);
/* Those that are not done yet, whatever they wait for. */
size_t pass_count_open(const struct pass *p);
/* A lane for each of these, but one at least. */
void pass_want_lanes(struct pass *p);
void pass_tell_progress(struct pass *p);
/* The tier that it has reached until now. */
enum view_tier item_tier(const struct pass_item *i);
/* By the last pass. */
void item_fold(struct pass_item *i, const struct copy_result *last);
/* It is as it was when it was equal. */
void item_leave_closed(struct pass_item *i);

#endif
