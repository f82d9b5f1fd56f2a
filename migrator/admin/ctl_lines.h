/* ctl_lines: what was looked at, a line each, as `check` and others tell it, for people. */
#ifndef IMAPFERRY_CTL_LINES_H
#define IMAPFERRY_CTL_LINES_H

#include <jansson.h>

#include "lib/buf.h"

/* lines: objects with "of", "level" (ok, warning, error), "text", "advice". Behind them how many are errors and
 * warnings, and a text; "" none. Appends. */
void ctl_write_lines(struct buf *out, json_t *lines, const char *text);

#endif
