/* ctl_plan: `imapferryctl plan NAME` (planning.h), for people or as JSON. */
#ifndef IMAPFERRY_CTL_PLAN_H
#define IMAPFERRY_CTL_PLAN_H

#include <jansson.h>

#include "lib/buf.h"
#include "lib/conf.h"

/* conf: loaded for CONF_MIGRATOR. An exit status (enum action_rc): 0 also where the account would be blocked.
 */
int ctl_plan(const struct conf *conf, const char *login, bool json);

#endif
