/* ctl_export: where an export goes: to a file beside the one that is named (or that a link there names), which then takes its place, so that a
 * backup is whole, or is the one before; straight to what is no file: a device, a pipe, standard output. */
#ifndef IMAPFERRY_CTL_EXPORT_H
#define IMAPFERRY_CTL_EXPORT_H

#include <stdio.h>

#include "lib/base.h"

struct ctl_export {
    char *path, *part; /* owned; part NULL: it goes straight there */
    FILE *f;           /* to be written; NULL: errno says why */
    bool to_stdout;
};

/* path "-": standard output. EBUSY: another export writes there now. */
void ctl_export_open(struct ctl_export *e, const char *path);
/* whole: all of it was written; else what was there stays. Also behind an open that failed. False: errno says why. */
bool ctl_export_finish(struct ctl_export *e, bool whole) MUST_CHECK;

#endif
