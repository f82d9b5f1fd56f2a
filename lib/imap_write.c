#include <stdlib.h>

#include "buf_room.h"
#include "imap_caps.h"
#include "imap_write.h"

enum { QUOTED_MAX = 512, LITERAL_MINUS_MAX = 4096 /* RFC 7888 section 5 */, TEXT_MAX = 200 };

enum imap_literals imap_literals_of(const struct imap_caps *caps)
{
    if (imap_caps_has(caps, CAP_LITERAL_PLUS))
        return LITERALS_PLUS;
    return imap_caps_has(caps, CAP_LITERAL_MINUS) ? LITERALS_MINUS : LITERALS_SYNC;
}

void imap_writer_init(struct imap_writer *w, enum imap_literals literals)
{
    *w = (struct imap_writer){.literals = literals};
}

void imap_writer_wipe(struct imap_writer *w)
{
    buf_wipe(&w->out);
    free(w->waits);
    *w = (struct imap_writer){.literals = w->literals};
}

void imap_write_raw(struct imap_writer *w, const char *fmt, ...)
{
    struct buf raw = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&raw, fmt, ap);
    va_end(ap);
    buf_room(&w->out, raw.len);
    buf_add_span(&w->out, buf_span(&raw));
    buf_free(&raw);
}

static bool is_atom_char(uint8_t c)
{
    /* ']' may stand in an astring; so may '~', but Courier reads it only in quotes. */
    return c > 0x20 && c < 0x7f && !strchr("(){%*\"\\~", c);
}

bool imap_is_astring_atom(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_atom_char(s.p[i]))
            return false;
    /* NIL is a string here by the grammar, but not to every server. */
    return s.len > 0 && !span_is_ci(s, "NIL");
}

static bool is_quotable(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < 0x20 || s.p[i] >= 0x7f)
            return false;
    return s.len <= QUOTED_MAX;
}

static bool refuse_nul(struct imap_writer *w, struct span s)
{
    bool nul = s.len > 0 && memchr(s.p, '\0', s.len);
    w->bad = w->bad || nul;
    return nul;
}

static void write_quoted(struct imap_writer *w, struct span s)
{
    buf_room(&w->out, 2 * s.len + 2);
    buf_add(&w->out, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            buf_add(&w->out, "\\", 1);
        buf_add(&w->out, &s.p[i], 1);
    }
    buf_add(&w->out, "\"", 1);
}

static void write_literal(struct imap_writer *w, struct span s)
{
    imap_write_literal_marker(w, s.len);
    buf_room(&w->out, s.len);
    buf_add_span(&w->out, s);
}

void imap_write_literal_marker(struct imap_writer *w, uint64_t n)
{
    bool wait = w->literals == LITERALS_SYNC || (w->literals == LITERALS_MINUS && n > LITERAL_MINUS_MAX);
    imap_write_raw(w, "{%llu%s}\r\n", (unsigned long long)n, wait ? "" : "+");
    if (!wait)
        return;
    w->waits = xreallocarray(w->waits, w->n_waits + 1, sizeof *w->waits);
    w->waits[w->n_waits++] = w->out.len;
}

void imap_write_astring(struct imap_writer *w, struct span s)
{
    if (imap_is_astring_atom(s) && s.len <= QUOTED_MAX) {
        buf_room(&w->out, s.len);
        buf_add_span(&w->out, s);
    } else {
        imap_write_string(w, s);
    }
}

void imap_write_string(struct imap_writer *w, struct span s)
{
    if (refuse_nul(w, s))
        return;
    if (is_quotable(s))
        write_quoted(w, s);
    else
        write_literal(w, s);
}

void imap_write_quoted(struct imap_writer *w, struct span s)
{
    bool breaks = s.len > 0 && (memchr(s.p, '\r', s.len) || memchr(s.p, '\n', s.len));
    w->bad = w->bad || breaks;
    if (!breaks && !refuse_nul(w, s))
        write_quoted(w, s);
}

void imap_write_secret(struct imap_writer *w, struct span s)
{
    if (!refuse_nul(w, s))
        write_literal(w, s);
}

void imap_write_text(struct buf *out, struct span text)
{
    size_t n = text.len < TEXT_MAX ? text.len : TEXT_MAX;
    for (size_t i = 0; i < n; i++) {
        bool plain = text.p[i] >= 0x20 && text.p[i] < 0x7f;
        buf_add(out, plain ? (const void *)&text.p[i] : "?", 1);
    }
}
