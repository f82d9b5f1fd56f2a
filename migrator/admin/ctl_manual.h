/* ctl_manual: the manual page imapferryctl(8), from the table of verbs. */
#ifndef IMAPFERRY_CTL_MANUAL_H
#define IMAPFERRY_CTL_MANUAL_H

#include "lib/buf.h"

/* page: one of ctl_pages. Appends. */
void ctl_write_manual(struct buf *out, const char *page);

#endif
