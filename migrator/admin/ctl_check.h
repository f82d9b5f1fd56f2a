/* ctl_check: `imapferryctl check [NAME]`: runs check.h and prints a line for each thing that was looked
 * at. */
#ifndef IMAPFERRY_CTL_CHECK_H
#define IMAPFERRY_CTL_CHECK_H

#include "lib/conf.h"

/* login NULL: the site; doctor: with what runs there. fault: why the passwords of masters could not be read, NULL where conf was loaded for
 * CONF_MIGRATOR. An exit status (enum action_rc): done where nothing is an error. */
int ctl_check(const struct conf *conf, const char *login, bool doctor, const char *fault, bool json);

#endif
