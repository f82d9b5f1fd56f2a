#include <string.h>

#include "plain.h"

static bool plain_is_name(uint8_t b)
{
    return b > ' ' && b < 0x7f && b != ':';
}

/* Of the header: a line begins. */
static void plain_begin_line(struct plain *p, uint8_t b)
{
    bool first = p->place == PLAIN_FIRST;

    if (plain_is_name(b))
        p->place = PLAIN_NAME;
    else if (!first && (b == ' ' || b == '\t'))
        p->place = PLAIN_FIELD;
    else if (b != '\r')
        p->odd = true;
}

/* A line ends. An empty one is what it began with. */
static void plain_end_line(struct plain *p)
{
    p->odd = p->odd || !p->cr || p->place == PLAIN_NAME;
    if (p->place == PLAIN_FIELD)
        p->place = PLAIN_LINE;
    else
        p->place = PLAIN_BODY;
}

static void plain_add_byte(struct plain *p, uint8_t b)
{
    if (b == '\n')
        plain_end_line(p);
    else if (p->place == PLAIN_FIRST || p->place == PLAIN_LINE)
        plain_begin_line(p, b);
    else if (p->place == PLAIN_NAME && b == ':')
        p->place = PLAIN_FIELD;
    else if (p->place == PLAIN_NAME && !plain_is_name(b) && b != ' ' && b != '\t' && b != '\r')
        p->odd = true;
    p->odd = p->odd || b == '\0';
    p->cr = b == '\r';
}

/* By the library's searches, which are many times faster than a look at each byte. */
static void plain_add_body(struct plain *p, struct span bytes)
{
    const uint8_t *at = bytes.p, *end = bytes.p + bytes.len, *lf;

    p->odd = memchr(at, '\0', bytes.len) != NULL;
    while (!p->odd && at < end && (lf = memchr(at, '\n', (size_t)(end - at)))) {
        p->odd = lf > bytes.p ? lf[-1] != '\r' : !p->cr;
        at = lf + 1;
    }
    p->cr = bytes.p[bytes.len - 1] == '\r';
}

void plain_add(struct plain *p, struct span bytes)
{
    size_t i = 0;

    while (i < bytes.len && !p->odd && p->place != PLAIN_BODY)
        plain_add_byte(p, bytes.p[i++]);
    if (i < bytes.len && !p->odd)
        plain_add_body(p, span_of(bytes.p + i, bytes.len - i));
}

bool plain_is(const struct plain *p)
{
    return !p->odd && p->place != PLAIN_FIRST && p->place != PLAIN_NAME;
}
