#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "lib/xalloc.h"

#include "ctl_screen.h"
#include "ctl_tty.h"

enum { STALL_MS = 200, LEAVE_MS = 2000 }; /* how long a frame waits for a terminal, and the last bytes do */

/* The alternate screen, without a cursor and without breaking of lines that are too long; and back. */
static const char enter_sequence[] = "\033[?1049h\033[?25l\033[?7l",
                  leave_sequence[] = "\033[?7h\033[?25h\033[?1049l";

static const int tty_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};

struct tty {
    struct loop *loop;
    tty_fn fn;
    void *owner;
    uv_poll_t poll;
    uv_signal_t signals[COUNTOF(tty_signals)];
    size_t open;   /* handles */
    size_t escape; /* bytes of an escape sequence that have come */
};

/* What has to be brought back, also by an exit() from anywhere. */
static struct termios tty_before;
static int tty_flags; /* of its descriptors, which the shell has too */
static bool tty_taken;

/* What a terminal does not take (Ctrl-S, a connection that stalls) is left out: the next frame has all of it. */
static void tty_write(const void *bytes, size_t len, int wait_ms)
{
    const char *p = bytes;

    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, p, len);
        if (n < 0 && errno == EAGAIN &&
            poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, wait_ms) <= 0)
            return;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return; /* it is gone */
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

static void tty_give_back(void)
{
    if (!tty_taken)
        return;
    tty_taken = false;
    tty_write(leave_sequence, sizeof(leave_sequence) - 1, LEAVE_MS);
    tcsetattr(STDIN_FILENO, TCSANOW, &tty_before); /* TCSADRAIN would wait for one that takes nothing */
    fcntl(STDIN_FILENO, F_SETFL, tty_flags);
}

/* Keys come one by one and are not shown; Ctrl-C and Ctrl-Z still are signals. */
static bool tty_take(void)
{
    struct termios raw;

    tty_flags = fcntl(STDIN_FILENO, F_GETFL);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tty_flags < 0 ||
        tcgetattr(STDIN_FILENO, &tty_before) != 0)
        return false;
    raw = tty_before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0)
        return false;
    fcntl(STDIN_FILENO, F_SETFL, tty_flags | O_NONBLOCK);
    tty_taken = true;
    tty_write(enter_sequence, sizeof(enter_sequence) - 1, STALL_MS);
    return true;
}

/* ---- keys */

/* ESC [ A and ESC O A; other sequences mean nothing, and no part of them is a key. */
static void tty_take_byte(struct tty *t, uint8_t c)
{
    if (c == 033) {
        t->escape = 1;
    } else if (t->escape == 1) {
        t->escape = c == '[' || c == 'O' ? 2 : 0;
    } else if (t->escape == 2) {
        if (c >= '@' && c <= '~')
            t->escape = 0;
        if (c == 'A' || c == 'B')
            t->fn(t->owner, TTY_KEY, c == 'A' ? TTY_UP : TTY_DOWN);
    } else {
        t->fn(t->owner, TTY_KEY, c);
    }
}

static void tty_on_readable(uv_poll_t *poll, int status, int events)
{
    struct tty *t = CONTAINER_OF(poll, struct tty, poll);
    uint8_t byte;

    (void)events;
    ssize_t n = status < 0 ? 0 : read(STDIN_FILENO, &byte, 1);
    if (n == 1)
        tty_take_byte(t, byte); /* the tty may be gone now */
    else if (n == 0 || (errno != EINTR && errno != EAGAIN))
        t->fn(t->owner, TTY_ENDED, SIGHUP);
}

/* ---- signals */

static void tty_on_signal(uv_signal_t *handle, int number)
{
    struct tty *t = handle->data;

    switch (number) {
    case SIGTSTP:
        tty_give_back();
        raise(SIGSTOP);
        break;
    case SIGCONT:
        if (!tty_taken)
            tty_take();
        t->fn(t->owner, TTY_RESIZED, 0);
        break;
    case SIGWINCH:
        t->fn(t->owner, TTY_RESIZED, 0);
        break;
    default:
        t->fn(t->owner, TTY_ENDED, number);
        break;
    }
}

void tty_die(int number)
{
    signal(number, SIG_DFL);
    raise(number);
    _exit(128 + number);
}

/* ---- life */

struct tty *tty_new(struct loop *l, tty_fn fn, void *owner)
{
    static bool registered;

    if (!tty_take())
        return NULL;
    if (!registered)
        atexit(tty_give_back);
    registered = true;
    struct tty *t = xcalloc(1, sizeof(*t));
    t->loop = l;
    t->fn = fn;
    t->owner = owner;
    uv_poll_init(&l->uv, &t->poll, STDIN_FILENO);
    uv_poll_start(&t->poll, UV_READABLE, tty_on_readable);
    for (size_t i = 0; i < COUNTOF(tty_signals); i++) {
        uv_signal_init(&l->uv, &t->signals[i]);
        t->signals[i].data = t;
        uv_signal_start(&t->signals[i], tty_on_signal, tty_signals[i]);
    }
    t->open = 1 + COUNTOF(tty_signals);
    return t;
}

static void tty_closed(struct tty *t)
{
    if (--t->open == 0)
        free(t);
}

static void tty_on_poll_closed(uv_handle_t *handle)
{
    tty_closed(CONTAINER_OF(handle, struct tty, poll));
}

static void tty_on_signal_closed(uv_handle_t *handle)
{
    tty_closed(handle->data);
}

void tty_free(struct tty **tp)
{
    struct tty *t = *tp;

    *tp = NULL;
    if (!t)
        return;
    tty_give_back();
    uv_close((uv_handle_t *)&t->poll, tty_on_poll_closed);
    for (size_t i = 0; i < COUNTOF(tty_signals); i++)
        uv_close((uv_handle_t *)&t->signals[i], tty_on_signal_closed);
}

void tty_draw(const struct tty *t, struct buf *lines)
{
    struct screen s = screen_look();
    struct buf out = {0};
    const char *line = buf_str(lines);

    (void)t;
    buf_add_str(&out, "\033[H");
    size_t rows = 0;
    for (; rows < s.rows && *line; rows++) {
        size_t len = strcspn(line, "\n");
        char *text = xasprintf("%.*s", (int)len, line);
        struct buf cut = {0};
        screen_cut(&cut, text, s.columns);
        buf_add_str(&out,
                    "\033[K"); /* behind a line as wide as the terminal it would take its last character */
        screen_render(&out, buf_span(&cut), s.colours);
        buf_add_str(&out, rows + 1 < s.rows ? "\r\n" : "");
        buf_free(&cut);
        free(text);
        line += len + (line[len] == '\n');
    }
    if (rows < s.rows)
        buf_add_str(&out, "\033[J");
    if (tty_taken)
        tty_write(buf_span(&out).p, out.len, STALL_MS);
    buf_free(&out);
}
