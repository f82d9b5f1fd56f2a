/* errand: hook_flip and hook_settle, run at least once. The script that flips an account, or settles it, notes in the same
 * breath that its hook has to be run, and that this migrator does. The note goes when the hook has succeeded, or failed
 * to the end (hook.h). A migrator that dies in between, or stops, renews it no more: after a job_lease another one, or the
 * next one on this host, finds it and runs the hook, whatever has become of the account since. So a hook may be run twice,
 * also side by side, and "flip" after a later "settle" or "flip": what it does must bear that. */
#ifndef IMAPFERRY_ERRAND_H
#define IMAPFERRY_ERRAND_H

#include "migrator/site/migrator.h"

struct errand_call {
    const char *event; /* "flip", "settle" */
    const char *user, *source, *target;
    const char *token; /* who has the note */
    uint64_t epoch;    /* of the account behind what has happened */
};

/* What the script is to be told: how long we have the note without a word from us; 0: the site has no such hook. */
uint64_t errand_lease_ms(const struct migrator *m, const char *event);

struct errands;
/* Looks for what others have left, from now on. */
struct errands *errands_new(struct migrator *m);
/* What runs is killed; another migrator runs it again. NULL is fine. */
void errands_free(struct errands **e);
/* Runs what was noted with this token just now. The call is copied. */
void errands_run(struct errands *e, const struct errand_call *call);

#endif
