/* errand: sees to it that hook_flip and hook_settle are run at least once. The script that flips an account,
 * or settles it, also notes that its hook has to be run, and that this migrator does it. The note is removed
 * when the hook has succeeded, or has failed at its last try (hook.h). If this migrator dies in between, or
 * stops, it does not renew the note any more: after a job_lease another one, or the next one on this host,
 * finds it and runs the hook, whatever has become of the account since. So a hook may be run twice, even
 * twice at the same time, and "flip" may be run after a later "settle" or "flip". The site's command has to
 * bear that. */
#ifndef IMAPFERRY_ERRAND_H
#define IMAPFERRY_ERRAND_H

#include "migrator/site/migrator.h"

struct errand_call {
    const char *event; /* "flip", "settle" */
    const char *user, *source, *target;
    const char *token; /* who has the note */
    uint64_t epoch;    /* of the account behind what has happened */
};

/* What the script is to be told: how long we have the note without a word from us; 0: the site has no such
 * hook. */
uint64_t errand_lease_ms(const struct migrator *m, const char *event);

struct errands;
/* Looks for what others have left, from now on. */
struct errands *errands_new(struct migrator *m);
/* What runs is killed; another migrator runs it again. NULL is fine. */
void errands_free(struct errands **e);
/* Runs what was noted with this token just now. The call is copied. */
void errands_run(struct errands *e, const struct errand_call *call);

#endif
