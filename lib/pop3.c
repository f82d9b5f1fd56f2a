#include "pop3.h"
#include "buf_room.h"

/* ---- lines ---- */

/* The whole line, as it came; NULL: it can be read. */
static const char *pop3_line_fault(struct span line)
{
    if (line.len == 0 || line.p[line.len - 1] != '\r')
        return "a line without CRLF at its end";
    if (memchr(line.p, '\r', line.len - 1))
        return "a bare CR";
    return memchr(line.p, '\0', line.len) ? "NUL" : NULL;
}

/* With room, nothing moves, so nothing is left behind. */
static void pop3_line_keep(struct pop3_line *l, struct span data)
{
    if (data.len == 0)
        return;
    buf_room(&l->part, data.len);
    buf_add_span(&l->part, data);
}

enum pop3_line_rc pop3_line_feed(struct pop3_line *l, struct span data, size_t *used, struct span *line,
                                 const char **why)
{
    if (l->given)
        pop3_line_wipe(l);
    const uint8_t *lf = data.len > 0 ? memchr(data.p, '\n', data.len) : NULL;
    size_t n = lf ? (size_t)(lf - data.p) : data.len;
    *used = lf ? n + 1 : n;
    if (l->part.len + n > l->max + 1) {
        *why = "a line that is too long";
        return POP3_BAD;
    }
    if (!lf || l->part.len > 0)
        pop3_line_keep(l, span_of(data.p, n));
    if (!lf)
        return POP3_MORE;
    l->given = true;
    *line = l->part.len > 0 ? buf_span(&l->part) : span_of(data.p, n);
    *why = pop3_line_fault(*line);
    if (*why)
        return POP3_BAD;
    line->len--;
    return POP3_WHOLE;
}

void pop3_line_wipe(struct pop3_line *l)
{
    buf_wipe(&l->part);
    l->given = false;
}

/* ---- commands ---- */

/* least, most: how many numbers a command for mail has; most < least: it is none. */
static const struct pop3_row {
    const char *name;
    unsigned least, most;
    const char *expected;
} pop3_rows[] = {
    [POP3_UNKNOWN] = {"", 1, 0, NULL},
    [POP3_USER] = {"USER", 1, 0, NULL},
    [POP3_PASS] = {"PASS", 1, 0, NULL},
    [POP3_APOP] = {"APOP", 1, 0, NULL},
    [POP3_AUTH] = {"AUTH", 1, 0, NULL},
    [POP3_STLS] = {"STLS", 1, 0, NULL},
    [POP3_CAPA] = {"CAPA", 1, 0, NULL},
    [POP3_QUIT] = {"QUIT", 0, 0, "QUIT has no arguments"},
    [POP3_STAT] = {"STAT", 0, 0, "STAT has no arguments"},
    [POP3_LIST] = {"LIST", 0, 1, "Expected LIST with one number or none"},
    [POP3_RETR] = {"RETR", 1, 1, "Expected RETR with a number"},
    [POP3_DELE] = {"DELE", 1, 1, "Expected DELE with a number"},
    [POP3_NOOP] = {"NOOP", 0, 0, "NOOP has no arguments"},
    [POP3_RSET] = {"RSET", 0, 0, "RSET has no arguments"},
    [POP3_TOP] = {"TOP", 2, 2, "Expected TOP with two numbers"},
    [POP3_UIDL] = {"UIDL", 0, 1, "Expected UIDL with one number or none"},
};

struct pop3_cmd pop3_parse(struct span line)
{
    const uint8_t *blank = line.len > 0 ? memchr(line.p, ' ', line.len) : NULL;
    size_t n = blank ? (size_t)(blank - line.p) : line.len, rest = blank ? n + 1 : n;
    struct pop3_cmd c = {POP3_UNKNOWN, span_of(line.p + rest, line.len - rest)};
    for (size_t i = 1; i < COUNTOF(pop3_rows); i++)
        if (span_is_ci(span_of(line.p, n), pop3_rows[i].name))
            c.verb = (enum pop3_verb)i;
    return c;
}

const char *pop3_verb_name(enum pop3_verb verb)
{
    return pop3_rows[verb].name;
}

/* How many numbers stand there, with one blank between each two. */
static unsigned pop3_count_numbers(struct span args)
{
    enum { DIGITS_MAX = 10, NO_NUMBERS = 99 };
    unsigned n = 0, digits = 0;
    for (size_t i = 0; i < args.len; i++) {
        bool digit = args.p[i] >= '0' && args.p[i] <= '9';
        if (!digit && (args.p[i] != ' ' || digits == 0))
            return NO_NUMBERS;
        n += digit && digits == 0;
        digits = digit ? digits + 1 : 0;
        if (digits > DIGITS_MAX || n > 2)
            return NO_NUMBERS;
    }
    return args.len > 0 && digits == 0 ? NO_NUMBERS : n;
}

bool pop3_is_for_mail(const struct pop3_cmd *c, const char **expected)
{
    const struct pop3_row *row = &pop3_rows[c->verb];
    unsigned n = pop3_count_numbers(c->args);
    *expected = row->expected ? row->expected : "Unknown command";
    return row->least <= row->most && n >= row->least && n <= row->most;
}

bool pop3_is_long(const struct pop3_cmd *c)
{
    bool all = c->args.len == 0;
    return c->verb == POP3_RETR || c->verb == POP3_TOP || c->verb == POP3_CAPA ||
           (all && (c->verb == POP3_LIST || c->verb == POP3_UIDL));
}

/* ---- answers ---- */

static struct span pop3_code_in(struct span text)
{
    const uint8_t *end = text.len > 0 && text.p[0] == '[' ? memchr(text.p, ']', text.len) : NULL;
    return end ? span_of(text.p + 1, (size_t)(end - text.p) - 1) : span_of(NULL, 0);
}

bool pop3_parse_status(struct span line, struct pop3_status *_r)
{
    const uint8_t *blank = line.len > 0 ? memchr(line.p, ' ', line.len) : NULL;
    size_t n = blank ? (size_t)(blank - line.p) : line.len, rest = blank ? n + 1 : n;
    bool ok = span_is_ci(span_of(line.p, n), "+OK");
    if (!ok && !span_is_ci(span_of(line.p, n), "-ERR"))
        return false;
    struct span text = span_of(line.p + rest, line.len - rest);
    *_r = (struct pop3_status){.ok = ok, .code = pop3_code_in(text), .text = text};
    return true;
}

static const char pop3_end[] = "\r\n.\r\n";

void pop3_body_begin(struct pop3_body *b)
{
    b->seen = 2;
}

/* The end may begin anew at the byte that did not fit. */
static unsigned pop3_body_next(unsigned seen, uint8_t c)
{
    if (c == (uint8_t)pop3_end[seen])
        return seen + 1;
    return c == '\r';
}

size_t pop3_body_feed(struct pop3_body *b, struct span data, bool *ended)
{
    size_t i = 0;
    *ended = false;
    while (i < data.len && !*ended) {
        const uint8_t *cr = b->seen == 0 ? memchr(data.p + i, '\r', data.len - i) : data.p + i;
        if (!cr)
            return data.len;
        i = (size_t)(cr - data.p);
        b->seen = pop3_body_next(b->seen, data.p[i++]);
        *ended = pop3_end[b->seen] == '\0';
    }
    return i;
}

/* ---- codes ---- */

static const struct {
    const char *pop3, *imap;
} pop3_codes[] = {
    {"AUTH", "AUTHENTICATIONFAILED"}, {"IN-USE", "INUSE"},          {"LOGIN-DELAY", "LIMIT"},
    {"SYS/TEMP", "UNAVAILABLE"},      {"SYS/PERM", "CONTACTADMIN"},
};

const char *pop3_code_to_imap(struct span code)
{
    for (size_t i = 0; i < COUNTOF(pop3_codes); i++)
        if (span_is_ci(code, pop3_codes[i].pop3))
            return pop3_codes[i].imap;
    return "";
}

const char *pop3_code_of_imap(const char *code)
{
    static const struct {
        const char *imap, *said;
    } rows[] = {
        {"AUTHENTICATIONFAILED", "[AUTH] "},
        {"AUTHORIZATIONFAILED", "[AUTH] "},
        {"EXPIRED", "[AUTH] "},
        {"INUSE", "[IN-USE] "},
        {"CONTACTADMIN", "[SYS/PERM] "},
        {"UNAVAILABLE", "[SYS/TEMP] "},
        {"SERVERBUG", "[SYS/TEMP] "},
        {"LIMIT", "[SYS/TEMP] "},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        if (strcmp(code, rows[i].imap) == 0)
            return rows[i].said;
    return "";
}
