/* trial: what a start does with the files and folders of the configuration, tried before it and told with
 * file and line: certificate and key (they fit, the key is not encrypted), CAs, keys of seal, the journal's
 * folder. For --check-conf also what a start gets over but a site doesn't: a certificate that has ended or
 * not begun, a backend that the migrator has no way into. */
#ifndef IMAPFERRY_TRIAL_H
#define IMAPFERRY_TRIAL_H

#include "conf.h"

/* Each a conf_trial_fn. */
void trial_proxy(const struct conf *c, struct conf_source *src, bool checking);
/* For a reload of a proxy whose certificate is good: one that has ended, or has not begun, is an error, since
 * all would stay as it is. A start takes it, for those who look at no dates. */
void trial_proxy_reload(const struct conf *c, struct conf_source *src, bool checking);
void trial_migrator(const struct conf *c, struct conf_source *src, bool checking);
/* The rest of the file alone: staff's machine may have none of the daemons' files. */
void trial_ctl(const struct conf *c, struct conf_source *src, bool checking);

#endif
