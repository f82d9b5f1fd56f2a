/* ctl_status: what `status` and `sessions` say, for people. */
#ifndef IMAPFERRY_CTL_STATUS_H
#define IMAPFERRY_CTL_STATUS_H

#include <jansson.h>

#include "lib/buf.h"

/* data: what the verb answered. All append. */
void ctl_write_status(struct buf *out, const json_t *data);
void ctl_write_sessions(struct buf *out, const json_t *data);

#endif
