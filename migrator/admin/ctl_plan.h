/* ctl_plan: `imapferryctl plan NAME`: what a migration of an account would do and what would stop it, found
 * as the migrator finds it, with nothing written anywhere: not at either server, not in Redis.
 *
 * imapferryctl signs in at both servers by itself, so it needs what a migrator needs: run it where the
 * configuration has the passwords of the master users, or the keys to users' sealed passwords. What only the
 * target's answer to CREATE or APPEND would tell is not in it. */
#ifndef IMAPFERRY_CTL_PLAN_H
#define IMAPFERRY_CTL_PLAN_H

#include <jansson.h>

#include "lib/conf.h"

/* conf: loaded for CONF_MIGRATOR. An exit status (enum action_rc): 0 also where the account would be blocked.
 */
int ctl_plan(const struct conf *conf, const char *login, bool json);
/* The same, for a survey: *_r is the object that json would print, or one with "error"; to decref. Nothing is printed. */
int ctl_plan_of(const struct conf *conf, const char *login, json_t **_r);

#endif
