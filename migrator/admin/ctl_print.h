/* ctl_print: what imapferryctl shows people, made from the JSON that it would show programs. */
#ifndef IMAPFERRY_CTL_PRINT_H
#define IMAPFERRY_CTL_PRINT_H

#include <jansson.h>

#include "actions.h"

/* To standard output. */
void ctl_print_result(const struct action *a, const struct action_result *result);
void ctl_print_json(json_t *data);
/* What went wrong, and a second line with what helps (NULL: none): to standard error, or as JSON ("error", "hint") to
 * standard output. */
void ctl_print_error(bool json, const char *text, const char *hint);
/* One paragraph, broken at blanks, with a line feed at its end. The first line begins behind what is there, in the column
 * indent; the others are indented so. Appends. */
void ctl_write_wrapped(struct buf *out, const char *text, int indent);

/* What `user NAME --report` says. Appends. */
void ctl_write_report(struct buf *out, const json_t *data);

/* "12.3 MiB", "3 min", "2026-01-31T10:00:00Z (in 4 min)". Append. */
void ctl_write_bytes(struct buf *out, uint64_t bytes);
void ctl_write_duration(struct buf *out, uint64_t ms);
void ctl_write_number(struct buf *out, uint64_t n); /* 12,345 */

#endif
