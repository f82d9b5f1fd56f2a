/* ctl_site: what a migrator has to sign in at servers (struct migrator, but for journal, hooks and errands), for a verb of imapferryctl
 * that looks at accounts by itself. It needs what a migrator needs: run it where the configuration has the passwords of the master
 * users, or the keys to users' sealed passwords. */
#ifndef IMAPFERRY_CTL_SITE_H
#define IMAPFERRY_CTL_SITE_H

#include "migrator/site/migrator.h"

#include "actions.h"

/* {.conf, .begin, .end, .owner}: conf is loaded for CONF_MIGRATOR. */
struct ctl_site {
    const struct conf *conf;
    void (*begin)(void *owner); /* the stores are there: m may be used; ends by loop_stop(m.loop) */
    void (*end)(void *owner);   /* what was begun is given up, and m is still whole */
    void *owner;
    struct migrator m;
    struct timer *reach;
    bool started;
    enum action_rc rc;
    char *error; /* owned; why begin was not called; NULL: it was */
};

/* Makes m, runs its loop until it is stopped, and takes m away. */
void ctl_site_run(struct ctl_site *s);

#endif
