#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "ctl_screen.h"

enum { SCREEN_COLUMNS = 80, SCREEN_ROWS = 24, SCREEN_WIDEST = 160, STYLE_FIRST = 0xf8, STYLE_LAST = 0xfe };

/* What the terminal is told, in the order of the styles. */
static const char *const sgr[] = {"0", "1", "31", "32", "33", "36", "2"};

void screen_init(void)
{
    setlocale(LC_CTYPE, "C.UTF-8"); /* where there is none, each character counts as one column */
}

struct screen screen_look(void)
{
    struct screen s = {.terminal = isatty(STDOUT_FILENO), .columns = SCREEN_COLUMNS, .rows = SCREEN_ROWS};
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    struct winsize size;

    s.colours = s.terminal && term && *term && strcmp(term, "dumb") != 0 && !(no_color && *no_color);
    if (s.terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
        s.columns = size.ws_col;
        s.rows = size.ws_row;
    }
    return s;
}

size_t screen_text_width(void)
{
    struct screen s = screen_look();
    size_t columns = s.terminal ? s.columns : SCREEN_COLUMNS;

    return columns > SCREEN_WIDEST ? SCREEN_WIDEST : columns > 20 ? columns - 1 : 20;
}

/* ---- characters */

static bool screen_is_style(uint8_t c)
{
    return c >= STYLE_FIRST && c <= STYLE_LAST;
}

/* The code point that begins at p, and how many bytes it has; UINT32_MAX for what is no UTF-8, of one byte. */
static uint32_t screen_decode(const uint8_t *p, size_t len, size_t *_used)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : 2;
    uint32_t c = n == 1 ? p[0] : p[0] & (0xff >> (n + 1));

    *_used = 1;
    if (n == 1)
        return c;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len < n)
        return UINT32_MAX;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return UINT32_MAX;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c < 0xe000))
        return UINT32_MAX;
    *_used = n;
    return c;
}

/* Controls, and what has no shape of its own but changes that of others: marks of direction, joiners, tags. */
static bool screen_is_plain(uint32_t c)
{
    static const uint32_t refused[][2] = {
        {0, 0x1f},        {0x7f, 0x9f},       {0xad, 0xad},         {0x61c, 0x61c},   {0x180e, 0x180e},
        {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},     {0xfe00, 0xfe0f}, {0xfeff, 0xfeff},
        {0xfff0, 0xfffb}, {0xe0000, 0xe0fff}, {0xf0000, UINT32_MAX}};

    for (size_t i = 0; i < COUNTOF(refused); i++)
        if (c >= refused[i][0] && c <= refused[i][1])
            return false;
    return true;
}

static size_t screen_width_of(uint32_t c)
{
    int n = screen_is_plain(c) ? wcwidth((wchar_t)c) : 1;

    return n < 0 ? 1 : (size_t)n;
}

void screen_render(struct buf *out, struct span text, bool colours)
{
    for (size_t i = 0, used; i < text.len; i += used) {
        used = 1;
        if (screen_is_style(text.p[i])) {
            if (colours)
                buf_printf(out, "\033[%sm", sgr[text.p[i] - STYLE_FIRST]);
        } else if (text.p[i] == '\n') {
            buf_add_str(out, "\n");
        } else if (screen_is_plain(screen_decode(text.p + i, text.len - i, &used))) {
            buf_add(out, text.p + i, used);
        } else {
            buf_add_str(out, "?");
        }
    }
}

void screen_print(const struct buf *text)
{
    struct buf out = {0};

    screen_render(&out, buf_span(text), screen_look().colours);
    fputs(buf_str(&out), stdout);
    buf_free(&out);
}

size_t screen_width(const char *text)
{
    size_t columns = 0, len = strlen(text);

    for (size_t i = 0, used; i < len; i += used) {
        used = 1;
        if (!screen_is_style((uint8_t)text[i]))
            columns += screen_width_of(screen_decode((const uint8_t *)text + i, len - i, &used));
    }
    return columns;
}

/* Styles take no room, so they all stay: one that was begun has to end. */
void screen_cut(struct buf *out, const char *text, size_t columns)
{
    bool over = screen_width(text) > columns, said = false;
    size_t room = over && columns > 0 ? columns - 1 : columns, len = strlen(text);

    for (size_t i = 0, used; i < len; i += used) {
        used = 1;
        bool style = screen_is_style((uint8_t)text[i]);
        size_t width = style ? 0 : screen_width_of(screen_decode((const uint8_t *)text + i, len - i, &used));
        if (style || (!said && width <= room)) {
            buf_add(out, text + i, used);
            room -= width;
        } else if (!said) {
            buf_add_str(out, columns > 0 ? "~" : "");
            said = true;
        }
    }
}
