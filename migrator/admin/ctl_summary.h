/* ctl_summary: what `report` says of many accounts, or of a survey, for people. */
#ifndef IMAPFERRY_CTL_SUMMARY_H
#define IMAPFERRY_CTL_SUMMARY_H

#include <jansson.h>

#include "lib/buf.h"

/* data: what the verb answered (summary.h). Appends. */
void ctl_write_summary(struct buf *out, const json_t *data);
/* The same of a survey (survey_sum.h). */
void ctl_write_survey(struct buf *out, const json_t *data);
/* What it would take to move a group that is too large (sharing.h): one line. */
void ctl_write_large(struct buf *out, const json_t *group, uint64_t limit);

#endif
