/* migrator: what all parts of the daemon are given: the one place where they meet. Made by main.c; lives
 * longer than everything that gets it. */
#ifndef IMAPFERRY_MIGRATOR_H
#define IMAPFERRY_MIGRATOR_H

#include "lib/conf.h"
#include "lib/seal.h"
#include "lib/store.h"

#include "backends.h"
#include "hook.h"
#include "journal.h"

struct errands;

struct migrator {
    struct loop *loop;
    const struct conf *conf;
    const char *id; /* the name of this migrator */
    struct store *store;
    struct backends *backends;
    struct journal *journal;
    struct hooks *hooks;
    struct errands *errands;
    struct seal_private *seal; /* NULL: no keys are configured */
};

#endif
