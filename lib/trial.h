/* trial: tries, before a start, what the start will do with the files and folders of the configuration, and
 * reports what fails with file and line: certificate and key (they fit, the key is not encrypted), CAs, keys
 * of seal, tokens of the API, the journal's folder. For --check-conf it also reports what does not keep the program from
 * starting, but harms the site: a certificate that has ended or not begun, a backend that the migrator has no
 * way into. */
#ifndef IMAPFERRY_TRIAL_H
#define IMAPFERRY_TRIAL_H

#include "conf.h"

/* Each of these functions is a conf_trial_fn. */
void trial_proxy(const struct conf *c, struct conf_source *src, bool checking);
/* For a reload of a proxy whose certificate is good: a new one that has ended or has not begun is an error,
 * since then everything had better stay as it is. A start takes such a certificate, for clients that look at
 * no dates. */
void trial_proxy_reload(const struct conf *c, struct conf_source *src, bool checking);
void trial_migrator(const struct conf *c, struct conf_source *src, bool checking);
/* Tries none of the daemons' files, which the machine of the staff may lack. For --check-conf only: are the files with which
 * Redis is reached good, and has the migrator a way into each backend? */
void trial_ctl(const struct conf *c, struct conf_source *src, bool checking);

#endif
