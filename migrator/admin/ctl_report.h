/* ctl_report: what `user NAME --report` says, for people. */
#ifndef IMAPFERRY_CTL_REPORT_H
#define IMAPFERRY_CTL_REPORT_H

#include <jansson.h>

#include "lib/buf.h"

/* data: what the verb answered. Appends. */
void ctl_write_report(struct buf *out, const json_t *data);

/* shares: a list as of a plan or of a report; nothing where it is empty. Appends. */
void ctl_write_shares(struct buf *out, json_t *shares);
/* Appends the option that leaves a namespace out, for who edits the configuration. */
void ctl_write_exclude(struct buf *out, const char *space);

#endif
