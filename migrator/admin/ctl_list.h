/* ctl_list: what `list` says, for people. */
#ifndef IMAPFERRY_CTL_LIST_H
#define IMAPFERRY_CTL_LIST_H

#include <jansson.h>

#include "lib/buf.h"

/* data: what the verb answered. columns: names of ctl_columns with commas between; NULL: as usual. Appends. */
void ctl_write_list(struct buf *out, const json_t *data, const char *columns);

#endif
