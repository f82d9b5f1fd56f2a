/* ctl_text: values of the answers' JSON, as people read them. */
#ifndef IMAPFERRY_CTL_TEXT_H
#define IMAPFERRY_CTL_TEXT_H

#include <jansson.h>

#include "lib/buf.h"

/* Of an object: "" or 0 where there is none. */
const char *ctl_text_of(const json_t *o, const char *name);
uint64_t ctl_number_of(const json_t *o, const char *name);

/* The same on one line: a line feed in what a user, a server or Redis has said would begin a line that says what they want to be
 * read, so it is shown as "?", as all else is that is not printable (ctl_screen.h). The first: to free; the second: all texts of it
 * and all names in it; to decref. */
char *ctl_one_line(const char *text);
json_t *ctl_one_line_each(json_t *data);

enum { CTL_LABEL_WIDTH = 12 };
/* A label at the beginning of a line; a line, none where the value is empty: one that is too long for the terminal goes
 * on below itself. Append. */
void ctl_write_label(struct buf *out, const char *name);
void ctl_write_line(struct buf *out, const char *name, const char *value);
/* "2026-01-31T10:00:00Z (in 4 min)", by now_text where it is a time, else by our clock; "-" for what is no
 * time. Appends. */
void ctl_write_time(struct buf *out, const char *text, const char *now_text);

/* The name of an account's state, coloured by whether somebody has to look at it. Appends. */
void ctl_write_state(struct buf *out, const char *state);
/* A text in a style of ctl_screen.h. Appends. */
void ctl_write_styled(struct buf *out, const char *style, const char *text);

/* "[#####.....]": how much of it is done, width columns between the brackets. Appends. */
void ctl_write_bar(struct buf *out, uint64_t done, uint64_t total, size_t width);

/* "12.3 MiB", "3 min". Append. */
void ctl_write_bytes(struct buf *out, uint64_t bytes);
void ctl_write_duration(struct buf *out, uint64_t ms);
void ctl_write_number(struct buf *out, uint64_t n); /* 12,345 */

/* One paragraph, broken at blanks, with a line feed at its end. The first line begins behind what is there,
 * in the column indent; the others are indented so. Appends. */
void ctl_write_wrapped(struct buf *out, const char *text, int indent);

#endif
