/* ctl_text: values of the answers' JSON, as people read them. */
#ifndef IMAPFERRY_CTL_TEXT_H
#define IMAPFERRY_CTL_TEXT_H

#include <jansson.h>

#include "lib/buf.h"

/* Of an object: "" or 0 where there is none. */
const char *ctl_text_of(const json_t *o, const char *name);
uint64_t ctl_number_of(const json_t *o, const char *name);

enum { CTL_LABEL_WIDTH = 12 };
/* A label at the beginning of a line; a line, none where the value is empty. Append. */
void ctl_write_label(struct buf *out, const char *name);
void ctl_write_line(struct buf *out, const char *name, const char *value);
/* "2026-01-31T10:00:00Z (in 4 min)", by now_text where it is a time, else by our clock; "-" for what is no
 * time. Appends. */
void ctl_write_time(struct buf *out, const char *text, const char *now_text);

/* "12.3 MiB", "3 min". Append. */
void ctl_write_bytes(struct buf *out, uint64_t bytes);
void ctl_write_duration(struct buf *out, uint64_t ms);
void ctl_write_number(struct buf *out, uint64_t n); /* 12,345 */

/* One paragraph, broken at blanks, with a line feed at its end. The first line begins behind what is there,
 * in the column indent; the others are indented so. Appends. */
void ctl_write_wrapped(struct buf *out, const char *text, int indent);

/* What comes from servers and users goes to a terminal: control characters but line feeds are shown as
 * "?". */
void ctl_print_text(const struct buf *text);

#endif
