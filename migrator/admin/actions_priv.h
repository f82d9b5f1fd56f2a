/* For actions.c and actions_*.c alone: actions.c has the verbs, actions_run.c their end; all others stand
 * between. */
#ifndef IMAPFERRY_ACTIONS_PRIV_H
#define IMAPFERRY_ACTIONS_PRIV_H

#include "lib/xalloc.h"

#include "actions.h"
#include "carry_out.h"
#include "json_value.h"
#include "naming.h"
#include "walk.h"

/* An action under way. Ends with run_end(). */
struct run {
    struct store *store;
    struct stores *
        stores; /* borrowed; of one that goes through all of them itself: store is the one at hand; else NULL */
    struct action action; /* its strings are owned */
    char *user;           /* account key; owned; NULL where no account is meant */
    action_fn fn;
    void *owner;
    json_t *data; /* owned */
    struct loop_task task;
    struct walk *walk;       /* owned, while it goes on */
    struct carry_out *carry; /* the same */
    char *domain;            /* owned; as it stands in keys; NULL: any */
    /* owned; the account that the name means if it is written as a key is (naming.h); NULL: none */
    char *as_key;
    struct naming *naming;
    char *from;          /* owned; of a move: where it lives */
    char *note;          /* owned; what staff should know besides; NULL: nothing */
    size_t pending;      /* calls of a report that are not answered yet */
    uint64_t now_ms;     /* by Redis, once it was asked */
    char *wave;          /* owned; user: by which wave it was queued */
    json_t *wave_counts; /* owned; status: by wave, then by state; NULL: none */
    void (*go_on)(struct run *r);
    enum action_rc rc;
    char *text; /* owned; the result, while replicas are waited for, or of a failure at the start */
};

/* The strings of an action, copied, and freed. */
void action_copy(struct action *to, const struct action *from);
void action_free(struct action *a);
/* actions.c: at one store; the action is about an account that is there, or about all that are. */
void action_run_at(struct store *s, const struct action *a, action_fn fn, void *owner);

/* The same at all stores, from the first on, which the action goes through by itself. */
void action_run_through(struct stores *s, const struct action *a, action_fn fn, void *owner);
/* Goes on with the next store; false: that was the last one. */
bool run_next_store(struct run *r);

void run_end(struct run *r, enum action_rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* rc is neither ROUTE_OK nor about this verb: ends with what it means. */
void run_end_failed(struct run *r, enum route_rc rc, const char *detail);

/* So many accounts more were looked at. False: nobody wants to know more. */
bool run_looks(struct run *r, size_t n);

/* Goes on where the account is there on that backend, or nobody knows (noted); else ends. */
typedef void (*force_fn)(struct run *r);
void force_look(struct run *r, const char *to, force_fn go_on);
/* What is wrong with the keys, NULL = nothing; to be freed. */
char *waive_fault(const struct action *a);
void run_waive(struct run *r);
void report_of_pass(struct run *r);
/* Of a row of route_waivers_read(). To decref. */
json_t *waiver_json(struct span key, struct span value);
/* actions_summary.c: of many accounts, and of one. */
void report_summary(struct run *r);
void report_account(struct run *r);
void report_user(struct run *r);
void report_sessions(struct run *r);
void report_audit(struct run *r);
void report_status(struct run *r);
/* What is wrong with what says which accounts are meant, NULL = nothing; to be freed. Sets r->domain. */
char *list_fault(struct run *r);
/* Which accounts are meant. Borrowed of r. */
struct walk_filter run_filter(const struct run *r);
/* Sets "wave" of an account: by, by which a login has queued it, "" none; then goes on. */
void waves_of_user(struct run *r, const char *by, void (*go_on)(struct run *r));
/* "waves" of status: takes what counts_read.lua tells, and behind it what waves_read.lua does. */
void waves_take_count(struct run *r, struct span name, struct span number);
void waves_describe(struct run *r, enum route_rc rc, const struct span *rows, size_t n);
void run_pause_wave(struct run *r);
void run_retire(struct run *r);
void run_direct(struct run *r);
void report_list(struct run *r);
/* actions_index.c */
void report_page(struct run *r);
/* How many accounts a page has at most. */
unsigned page_count(const struct action *a);
void report_groups(struct run *r);
void report_events(struct run *r);
void report_history(struct run *r);
/* actions_all.c: of retry and waive; what is wrong with it beside that, NULL = nothing; to be freed. */
void run_all(struct run *r);
char *run_all_fault(const struct action *a);
void run_export(struct run *r);
void run_move(struct run *r);
void run_reopen(struct run *r);
void run_recount(struct run *r);
/* What an export says at its end; to free. */
char *export_text(long long accounts, size_t groups);
/* Puts all groups of the store into data as "sharing", and goes on; where they can't be read the action ends. */
void sharing_collect(struct run *r, void (*go_on)(struct run *r));
/* actions_sharing.c: what is wrong with it, NULL = nothing; to be freed. */
char *sharing_fault(const struct action *a);
void run_sharing(struct run *r);
/* Is it about one group? Then, where a site has several stores, it is done in the one that has the group, or the accounts. */
bool sharing_is_of_one(const struct action *a);
/* actions_seek.c */
void sharing_run_in_stores(struct stores *s, const struct action *a, action_fn fn, void *owner);
char *proxy_forget_fault(const struct action *a);
void run_proxy_forget(struct run *r);

#endif
