#include <stdio.h>

#include "manual.h"

enum { MANUAL_WIDTH = 72 /* of a line of the source */ };

/* What stands for a character that the language, or a terminal that is told of typographic quotes and hyphens, would
 * take for something else; NULL: itself. */
static const char *manual_escape_of(char c)
{
    switch (c) {
    case '\\':
        return "\\e";
    case '-':
        return "\\-";
    case '\'':
        return "\\(aq";
    case '`':
        return "\\(ga";
    case '^':
        return "\\(ha";
    case '~':
        return "\\(ti";
    case '"':
        return "\\(dq";
    default:
        return NULL;
    }
}

static void manual_escape(struct buf *out, const char *text, size_t len)
{
    if (len > 0 && *text == '.')
        buf_add_str(out, "\\&");
    for (size_t i = 0; i < len; i++) {
        const char *escaped = manual_escape_of(text[i]);
        if (escaped)
            buf_add_str(out, escaped);
        else
            buf_add(out, text + i, 1);
    }
}

/* Broken at blanks: a line that begins with a full stop would be a request, and is escaped. */
static void manual_fill(struct buf *out, const char *text)
{
    size_t column = 0;

    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        if (column > 0 && column + len > MANUAL_WIDTH) {
            buf_add_str(out, "\n");
            column = 0;
        } else if (column > 0) {
            buf_add_str(out, " ");
        }
        manual_escape(out, text, len);
        column += len + 1;
        text += len;
    }
    buf_add_str(out, "\n");
}

static void manual_request(struct buf *out, const char *request, const char *text)
{
    buf_printf(out, ".%s \"", request);
    manual_escape(out, text, strlen(text));
    buf_add_str(out, "\"\n");
}

void manual_begin(struct buf *out, const char *name, unsigned section, const char *purpose)
{
    buf_add_str(out, ".TH \"");
    manual_escape(out, name, strlen(name));
    buf_printf(out, "\" \"%u\" \"" IMAPFERRY_RELEASED "\" \"imapferry " IMAPFERRY_VERSION "\"\n", section);
    manual_section(out, "NAME");
    manual_escape(out, name, strlen(name));
    buf_add_str(out, " \\- ");
    manual_fill(out, purpose);
}

/* A heading begins a paragraph by itself, and one more is a mistake to those who check pages. */
static void manual_break(struct buf *out)
{
    struct span all = buf_span(out);
    size_t at = all.len > 0 ? all.len - 1 : 0;

    while (at > 0 && all.p[at - 1] != '\n')
        at--;
    if (all.len - at < 3 || (memcmp(all.p + at, ".SH", 3) != 0 && memcmp(all.p + at, ".SS", 3) != 0))
        buf_add_str(out, ".PP\n");
}

void manual_section(struct buf *out, const char *title)
{
    manual_request(out, "SH", title);
}

void manual_subsection(struct buf *out, const char *title)
{
    manual_request(out, "SS", title);
}

void manual_paragraph(struct buf *out, const char *text)
{
    manual_break(out);
    manual_fill(out, text);
}

static void manual_tag(struct buf *out, const char *tag, const char *follows)
{
    buf_add_str(out, "\\fB");
    manual_escape(out, tag, strlen(tag));
    buf_add_str(out, "\\fR");
    if (*follows) {
        buf_add_str(out, " \\fI");
        manual_escape(out, follows, strlen(follows));
        buf_add_str(out, "\\fR");
    }
    buf_add_str(out, "\n");
}

void manual_item(struct buf *out, const char *tag, const char *follows, const char *text)
{
    buf_add_str(out, ".TP\n");
    manual_tag(out, tag, follows);
    manual_fill(out, text);
}

void manual_item_more(struct buf *out, const char *text)
{
    buf_add_str(out, ".IP\n");
    manual_fill(out, text);
}

void manual_synopsis(struct buf *out, const char *command, const char *follows)
{
    manual_break(out);
    manual_tag(out, command, follows);
}

void manual_verbatim(struct buf *out, const char *text)
{
    manual_break(out);
    buf_add_str(out, ".RS 4\n.nf\n");
    while (*text) {
        size_t len = strcspn(text, "\n");
        manual_escape(out, text, len);
        buf_add_str(out, "\n");
        text += len + (text[len] == '\n');
    }
    buf_add_str(out, ".fi\n.RE\n");
}

void manual_see_also(struct buf *out, const char *text)
{
    manual_section(out, "SEE ALSO");
    manual_fill(out, text);
}
