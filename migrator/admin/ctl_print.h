/* ctl_print: what imapferryctl shows people, made from the JSON that it would show programs. */
#ifndef IMAPFERRY_CTL_PRINT_H
#define IMAPFERRY_CTL_PRINT_H

#include <jansson.h>

#include "actions.h"
#include "ctl_text.h"

/* To standard output. columns: of list, see ctl_list.h. */
void ctl_print_result(const struct action *a, const char *columns, const struct action_result *result);
void ctl_print_json(json_t *data);
/* One line, to standard output. */
void ctl_print_text(const char *text);
/* One line to standard error, beside what is asked for. */
void ctl_print_note(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* What went wrong, and a second line with what helps (NULL: none): to standard error, or as JSON ("error",
 * "hint") to standard output. */
void ctl_print_error(bool json, const char *text, const char *hint);

#endif
