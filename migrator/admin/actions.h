/* actions: what staff can do and ask, each verb once: imapferryctl and the HTTP API are two ways to say the
 * same. A struct goes in; a result code, a sentence and a JSON object come out. Who did what, and why, goes
 * to the audit stream by the scripts themselves. */
#ifndef IMAPFERRY_ACTIONS_H
#define IMAPFERRY_ACTIONS_H

#include <stdio.h>

#include <jansson.h>

#include "lib/route.h"
#include "lib/stores.h"

enum action_verb {              /* from MIGRATE on they change something */
                   ACTION_INIT, /* makes the store */
                   /* says where accounts without a record live (to, reason); without yes it only says what that means */
                   ACTION_SOURCE,
                   ACTION_STATUS,   /* the whole migration */
                   ACTION_RECOUNT,  /* counts the accounts for it anew (lib/route_recount.h) */
                   ACTION_USER,     /* one account; with report: what its last pass compared and found */
                   ACTION_SESSIONS, /* its sessions */
                   ACTION_LIST,     /* accounts by state and reason */
                   /* what a provider shows its customer, of one account or of all that are asked for (summary.h); with
                      out also a line of CSV for each */
                   ACTION_REPORT,
                   ACTION_PAGE, /* the same, page by page, without a look at all of them (lib/route_index.h) */
                   ACTION_GROUPS,  /* how many are under way or don't get on, by state and reason */
                   ACTION_EVENTS,  /* what changed of late, the newest first */
                   ACTION_HISTORY, /* how far everything was over time */
                   /* what has to be known of all after a loss of the store, as lines (migrator/site/flips.h) */
                   ACTION_EXPORT,
                   /* closes the store, and writes all that it knows of accounts to carry, for other stores */
                   ACTION_MOVE,
                   ACTION_REOPEN, /* takes that back */
                   ACTION_AUDIT,  /* who did what, of one account or of all */
                   /* may a backend (to) be switched off? all: keys are the accounts that lived there */
                   ACTION_RETIRE,
                   ACTION_DIRECT,       /* who would notice if there were no proxy */
                   ACTION_SHARING_LIST, /* all groups of accounts that share (lib/route_sharing.h) */
                   ACTION_SHARING,      /* one of them: group is its name, or a member */
                   ACTION_MIGRATE,      /* queues it; with now, it is cut over whatever the policy says */
                   ACTION_FLIP, /* without force: migrate now; with force the copy is skipped, not the freeze. Both also go
                    back */
                   ACTION_HOLD,
                   ACTION_RELEASE,
                   ACTION_RETRY, /* of one, or of all of a state */
                   ACTION_KICK,  /* ends its sessions */
                   ACTION_FORGET,
                   ACTION_WAIVE, /* accepts what was found: keys, and a reason; or takes that back */
                   ACTION_PAUSE, /* the brake of all migrations */
                   ACTION_RESUME,
                   ACTION_PROXY_FORGET, /* declares a proxy dead; without yes it only says what that would mean */
                   /* a group: keys are accounts */
                   ACTION_SHARING_MAKE,
                   ACTION_SHARING_ADD,
                   ACTION_SHARING_REMOVE,
                   ACTION_SHARING_DROP,
                   ACTION_SHARING_MOVE, /* all of it, forward or back; with now, whatever the policy says */
};

/* The exit codes of imapferryctl, too. */
enum action_rc {
    ACTION_DONE = 0,
    ACTION_FAILED = 1,
    ACTION_USAGE = 2,
    ACTION_NO_RECORD = 3,   /* user, sessions, audit, forget: the account has no route */
    ACTION_REFUSED = 4,     /* the state does not allow it */
    ACTION_UNREACHABLE = 5, /* also where replicas have not confirmed it: it may be repeated */
};
#define ACTION_NOT_KEPT                                                                                      \
    "but the replicas of Redis have not confirmed it, and a failover would undo it: say it again"

/* How far one is that goes through all accounts (retire, direct, report of many); set given_up to have it end soon, as one that failed. */
struct action_look {
    uint64_t accounts;
    bool given_up;
};

struct action {
    enum action_verb verb;
    const char *login; /* whom it is about, as a user would type it; "" = all (audit), none */
    const char *to;    /* backend; "" = the target that the configuration gives the account */
    const char *state; /* list, retry of all: "" = any */
    bool all;          /* retry, waive */
    bool
        yes; /* waive of all; proxy forget; flip by force: also where the user is not seen on the other server */
    FILE *out;                /* export, report; borrowed until the end */
    struct carry_file *carry; /* move; the same (carry_out.h) */
    bool force, now, report;
    bool remove; /* waive: the other way round */
    bool gone;   /* forget: also where it was switched over, since it is on no server any more */
    /* of waive, as typed (migrator/found/waiver.h); the proxy of proxy forget; copied */
    const char *const *keys;
    size_t n_keys;
    /* reason "": none was given; of list and page: the word that a reason begins with */
    const char *who, *reason;
    /* list, report, and retry and waive of all: which accounts, "" and 0: any; word: that their reason begins with */
    const char *word, *backend, *domain, *rule;
    uint64_t within_ms, beyond_ms; /* lib/route.h, struct route_filter */
    bool whole;                    /* list: all that is known of each */
    const char *cursor;            /* page: `next` of the one before, "" the first */
    unsigned count;                /* page, events, history: how many at most, 0: as many as is usual */
    uint64_t since_ms;             /* history: by Redis' clock */
    bool more;                     /* report: what is written to out goes on behind that of another store */
    bool goes_on;                  /* export: this is not all, so nothing says that it ends here */
    uint64_t before;               /* export: how many accounts of other stores stand before these */
    const json_t *sharing;         /* export: their groups, as of ACTION_SHARING_LIST; borrowed; NULL: none */
    const char *wave;              /* pause, resume: of this wave alone; "" = of all */
    const char *group;             /* of accounts that share */
    struct action_look *look;      /* borrowed until the end; NULL: nobody asks */
};

struct action_result {
    enum action_rc rc;
    const char *text; /* one sentence without full stop, "" = the data say it; borrowed */
    json_t *data;     /* an object; borrowed */
};
typedef void (*action_fn)(void *owner, const struct action_result *result);

/* What is about an account is done at the store that has it; what is about all, at each. A store that is concerned is
 * connected (for ACTION_INIT, ACTION_REOPEN and ACTION_SOURCE: STORE_FOREIGN or STORE_UP, else STORE_UP); where a site has several, one that
 * is not is named in the result, which has "stores" then, a list of store (its number), address and error.
 * Copies the action. Calls back once, not before it returned. s is borrowed until then. */
void action_run(struct stores *s, const struct action *a, action_fn fn, void *owner);
/* The JSON of an account, as of `user`. To decref. */
json_t *action_account(const struct store *s, const char *user, const struct route *r);
/* How much of the name of an incarnation, "ID.THREAD-RANDOM" (lib/registry.h, proxy.c), is the id. */
size_t action_proxy_id_length(const char *incarnation);
/* The kinds of findings that `waive` takes for a whole account: a list of kind and text. To decref. */
json_t *action_kinds(void);
/* Says that the configuration has no backend of this name. To free. */
char *action_no_backend(const struct conf *c, const char *name);

#endif
