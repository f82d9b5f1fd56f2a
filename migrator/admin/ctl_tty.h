/* ctl_tty: the whole terminal for a view that goes on: keys come one by one, what is drawn takes the place of what was there, and
 * however the program ends, the terminal is as it was before: by q, by SIGINT, SIGTERM or SIGHUP, and while it is stopped
 * (SIGTSTP), too. */
#ifndef IMAPFERRY_CTL_TTY_H
#define IMAPFERRY_CTL_TTY_H

#include "lib/loop.h"

enum tty_event {
    TTY_KEY,     /* what: the character, or one of those below */
    TTY_RESIZED, /* it has another size, or has to be drawn anew */
    TTY_ENDED,   /* what: the signal; the owner ends it with tty_free(), and then itself with tty_die() */
};
enum { TTY_UP = 256, TTY_DOWN };

struct tty;
typedef void (*tty_fn)(void *owner, enum tty_event ev, int what);
/* NULL: standard input or output is no terminal. Never calls back before it returned. */
struct tty *tty_new(struct loop *l, tty_fn fn, void *owner);
/* NULL is fine. */
void tty_free(struct tty **t);
/* Draws lines, with styles (ctl_screen.h): each cut off at the terminal's width, and so many of them as it has rows. */
void tty_draw(const struct tty *t, struct buf *lines);
/* Ends the process as this signal would have. */
void tty_die(int number) NORETURN;

#endif
