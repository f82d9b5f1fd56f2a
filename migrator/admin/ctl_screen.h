/* ctl_screen: what standard output is, and how what stands in a buffer gets there. A text for people is written with
 * styles in it, as bytes that no UTF-8 has; they become colours on a terminal that has them, and nothing anywhere
 * else. All else that is not printable, or would move what stands beside it, is shown as "?": names come from users
 * and servers. */
#ifndef IMAPFERRY_CTL_SCREEN_H
#define IMAPFERRY_CTL_SCREEN_H

#include "lib/buf.h"

#define STYLE_OFF    "\xf8"
#define STYLE_BOLD   "\xf9"
#define STYLE_RED    "\xfa"
#define STYLE_GREEN  "\xfb"
#define STYLE_YELLOW "\xfc"
#define STYLE_CYAN   "\xfd"
#define STYLE_DIM    "\xfe"

struct screen {
    bool terminal; /* else a pipe, a file ... */
    bool colours;  /* a terminal whose TERM is one, and NO_COLOR is not set */
    size_t columns, rows;
};
/* Standard output, as it is at this moment. */
struct screen screen_look(void);
/* How wide a text for people may be: the terminal's columns less one, 79 elsewhere. At most 160. */
size_t screen_text_width(void);

/* Appends text as it goes to a terminal, or elsewhere. Pure. */
void screen_render(struct buf *out, struct span text, bool colours);
/* Renders to standard output. */
void screen_print(const struct buf *text);

/* How many columns a text takes, styles not counted. Pure, but for the locale that screen_init() has set. */
size_t screen_width(const char *text);
/* Appends as much of text as fits into so many columns; where that is not all, the last one is "~". Pure. */
void screen_cut(struct buf *out, const char *text, size_t columns);
/* To be called once, before anything is measured. */
void screen_init(void);

#endif
