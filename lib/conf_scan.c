#include <stdarg.h>
#include <stdlib.h>

#include "buf.h"
#include "conf_scan.h"
#include "xalloc.h"

enum token { T_END, T_WORD, T_STRING, T_OPEN, T_CLOSE, T_EQUALS, T_COMMA, T_BAD };

struct lexer {
    struct span text;
    size_t at;
    unsigned line;
    char *plain;       /* comments are blanked here */
    unsigned from;     /* line at which the token begins */
    struct buf value;  /* of T_WORD and T_STRING */
    struct scan *scan; /* where faults go */
    bool failed;       /* nothing is understood before scan_recover() */
};

/* Makes room for one more of an array's elements, zeroed. */
static void *grow(void *array, size_t n, size_t *cap, size_t size)
{
    if (n == *cap) {
        *cap = *cap ? 2 * *cap : 8;
        array = xreallocarray(array, *cap, size);
    }
    memset((char *)array + n * size, 0, size);
    return array;
}

static void scan_add_fault(struct scan *s, unsigned line, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);
static void scan_add_fault(struct scan *s, unsigned line, const char *fmt, va_list ap)
{
    struct buf b = {0};

    buf_vprintf(&b, fmt, ap);
    s->faults = grow(s->faults, s->n_faults, &s->cap_faults, sizeof(*s->faults));
    s->faults[s->n_faults++] = (struct scan_fault){line, xstrdup(buf_str(&b))};
    buf_free(&b);
}

/* An error that keeps nothing else from being read. */
static void scan_note(struct lexer *l, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void scan_note(struct lexer *l, unsigned line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    scan_add_fault(l->scan, line, fmt, ap);
    va_end(ap);
}

/* Records the first error behind which nothing is understood; always false. */
static bool scan_fail(struct lexer *l, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool scan_fail(struct lexer *l, unsigned line, const char *fmt, ...)
{
    va_list ap;

    if (l->failed)
        return false;
    l->failed = true;
    va_start(ap, fmt);
    scan_add_fault(l->scan, line, fmt, ap);
    va_end(ap);
    return false;
}

/* The next byte but n, or -1. */
static int peek(const struct lexer *l, size_t n)
{
    return n < l->text.len - l->at ? l->text.p[l->at + n] : -1;
}

static void blank(struct lexer *l)
{
    if (l->text.p[l->at] == '\n')
        l->line++;
    else
        l->plain[l->at] = ' ';
    l->at++;
}

static bool skip_block_comment(struct lexer *l)
{
    unsigned from = l->line;

    blank(l);
    blank(l);
    while (peek(l, 0) >= 0 && !(peek(l, 0) == '*' && peek(l, 1) == '/'))
        blank(l);
    if (peek(l, 0) < 0)
        return scan_fail(l, from, "the comment that begins here is not closed; expected \"*/\"");
    blank(l);
    blank(l);
    return true;
}

/* Blanks and comments; false after an error. */
static bool skip_space(struct lexer *l)
{
    for (;;) {
        int c = peek(l, 0);
        if (c == '\n')
            l->line++, l->at++;
        else if (c == ' ' || c == '\t' || c == '\r')
            l->at++;
        else if (c == '#' || (c == '/' && peek(l, 1) == '/'))
            while (peek(l, 0) >= 0 && peek(l, 0) != '\n')
                blank(l);
        else if (c != '/' || peek(l, 1) != '*')
            return true;
        else if (!skip_block_comment(l))
            return false;
    }
}

static bool scan_is_word(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static enum token read_word(struct lexer *l)
{
    for (; scan_is_word(peek(l, 0)); l->at++)
        buf_add(&l->value, l->text.p + l->at, 1);
    if (l->value.len <= CONF_SCAN_STRING_MAX)
        return T_WORD;
    scan_fail(l, l->from, "the word that begins here is too long");
    return T_BAD;
}

/* A byte inside a string that stands for itself or is escaped; false after an error. */
static bool take_string_byte(struct lexer *l, int quote)
{
    int c = peek(l, 0);

    if (c < 0 || c == '\n' || c == '\r')
        return scan_fail(l, l->from, "the string that begins here is not closed on its line; expected %c",
                         quote);
    if (c < ' ' || c == 0x7f)
        return scan_fail(l, l->line, "a control character (0x%02x) in a string", (unsigned)c);
    if (quote == '"' && c == '$' && peek(l, 1) == '{')
        return scan_fail(l, l->line,
                         "\"${\" is not expanded here; put the string in single quotes if it is meant so");
    if (c == '\\') {
        l->at++;
        c = peek(l, 0);
        if (c != quote && c != '\\')
            return scan_fail(
                l, l->line, "a backslash in a string stands before %c or \\ only; write \\\\ for one", quote);
    }
    uint8_t byte = (uint8_t)c;
    buf_add(&l->value, &byte, 1);
    l->at++;
    if (l->value.len > CONF_SCAN_STRING_MAX)
        return scan_fail(l, l->from, "the string that begins here is too long");
    return true;
}

static enum token read_string(struct lexer *l)
{
    int quote = peek(l, 0);

    l->at++;
    while (peek(l, 0) != quote)
        if (!take_string_byte(l, quote))
            return T_BAD;
    l->at++;
    return T_STRING;
}

static enum token scan_next(struct lexer *l)
{
    static const struct {
        char c;
        enum token token;
    } signs[] = {{'{', T_OPEN}, {'}', T_CLOSE}, {'=', T_EQUALS}, {',', T_COMMA}};

    buf_clear(&l->value);
    if (!skip_space(l))
        return T_BAD;
    l->from = l->line;
    int c = peek(l, 0);
    if (c < 0)
        return T_END;
    for (size_t i = 0; i < COUNTOF(signs); i++)
        if (c == signs[i].c) {
            l->at++;
            return signs[i].token;
        }
    if (scan_is_word(c))
        return read_word(l);
    if (c == '"' || c == '\'')
        return read_string(l);
    if (c > ' ' && c < 0x7f)
        scan_fail(l, l->line, "unexpected \"%c\"; values other than words and numbers stand in double quotes",
                  c);
    else
        scan_fail(l, l->line, "unexpected byte 0x%02x", (unsigned)c);
    return T_BAD;
}

/* Says what stands there instead; a string's text may be a secret. */
static bool expected(struct lexer *l, enum token found, const char *what)
{
    static const char *const names[] = {[T_END] = "the end of the file",
                                        [T_STRING] = "a string",
                                        [T_OPEN] = "\"{\"",
                                        [T_CLOSE] = "\"}\"",
                                        [T_EQUALS] = "\"=\"",
                                        [T_COMMA] = "\",\""};

    if (found == T_BAD)
        return false; /* has been told */
    if (found == T_WORD)
        return scan_fail(l, l->from, "found \"%.80s\"; expected %s", buf_str(&l->value), what);
    return scan_fail(l, l->from, "found %s; expected %s", names[found], what);
}

static void scan_add_value(struct lexer *l, struct scan_option *o)
{
    o->values = grow(o->values, o->n, &o->cap, sizeof(*o->values));
    o->values[o->n++] = (struct scan_value){xspandup(buf_span(&l->value)), l->from};
}

/* Behind the "{" of a list. */
static bool parse_list(struct lexer *l, struct scan_option *o)
{
    unsigned from = l->from;
    enum token t;

    o->braces = true;
    while ((t = scan_next(l)) == T_WORD || t == T_STRING) {
        scan_add_value(l, o);
        t = scan_next(l);
        if (t != T_COMMA)
            break;
    }
    if (t == T_END)
        return scan_fail(l, from, "the list that begins here is not closed; expected \"}\"");
    return t == T_CLOSE || expected(l, t, o->n ? "\",\" or \"}\"" : "a value or \"}\"");
}

/* Behind an option's name. */
static bool parse_option(struct lexer *l, struct scan_option *o)
{
    enum token t = scan_next(l);

    if (t != T_EQUALS)
        return expected(l, t, "\"=\" behind the name of an option");
    t = scan_next(l);
    if (t == T_OPEN)
        return parse_list(l, o);
    if (t != T_WORD && t != T_STRING)
        return expected(l, t, "a value");
    scan_add_value(l, o);
    return true;
}

static void scan_free_option(struct scan_option *o)
{
    for (size_t i = 0; i < o->n; i++)
        wipe_free(&o->values[i].text);
    free(o->values);
    free(o->name);
}

static void scan_free_section(struct scan_section *s)
{
    for (size_t i = 0; i < s->n; i++)
        scan_free_option(&s->options[i]);
    free(s->options);
    free(s->name);
    free(s->title);
}

/* The one that stands first counts. */
static void keep_option(struct lexer *l, struct scan_section *s, struct scan_option *o)
{
    const struct scan_option *twin = conf_scan_option(s, o->name);

    if (twin) {
        scan_note(l, o->line, "option \"%s\" is given twice; it stands at line %u already", twin->name,
                  twin->line);
        conf_scan_blank(l->scan, o->place);
        scan_free_option(o);
        return;
    }
    s->options = grow(s->options, s->n, &s->cap, sizeof(*s->options));
    s->options[s->n++] = *o;
}

static bool parse_section_body(struct lexer *l, struct scan_section *s)
{
    enum token t;

    while ((t = scan_next(l)) == T_WORD) {
        struct scan_option o = {
            .name = xspandup(buf_span(&l->value)), .line = l->from, .place.from = l->at - l->value.len};
        if (!parse_option(l, &o)) {
            scan_free_option(&o);
            return false;
        }
        o.place.to = l->at;
        keep_option(l, s, &o);
    }
    if (t == T_END)
        return scan_fail(l, s->line, "the section \"%s\" that begins here is not closed; expected \"}\"",
                         s->name);
    return t == T_CLOSE || expected(l, t, "the name of an option or \"}\"");
}

static const struct scan_section *find_section(const struct scan *s, const struct scan_section *like)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct scan_section *c = &s->sections[i];
        if (c != like && !strcmp(c->name, like->name) && !c->title == !like->title &&
            (!c->title || !strcmp(c->title, like->title)))
            return c;
    }
    return NULL;
}

/* Behind its name. */
static bool parse_section_rest(struct lexer *l, struct scan_section *s)
{
    enum token t = scan_next(l);

    if (t == T_STRING) {
        s->title = xspandup(buf_span(&l->value));
        t = scan_next(l);
    }
    if (t == T_EQUALS)
        return scan_fail(l, l->from,
                         "\"%s\" stands outside of any section; expected the name of a section and \"{\"",
                         s->name);
    if (t != T_OPEN)
        return expected(l, t, "\"{\" behind the name of a section");
    return parse_section_body(l, s);
}

/* Behind the name of a section, which is in l->value. Of twins the one that stands first counts. */
static bool parse_section(struct lexer *l, struct scan *scan)
{
    struct scan_section s = {
        .name = xspandup(buf_span(&l->value)), .line = l->from, .place.from = l->at - l->value.len};
    bool ok = parse_section_rest(l, &s);
    const struct scan_section *twin = find_section(scan, &s);

    s.place.to = l->at;
    if (ok && twin)
        scan_note(l, s.line, "section \"%s\"%s%s is given twice; it stands at line %u already", s.name,
                  s.title ? " " : "", s.title ? s.title : "", twin->line);
    if (!ok || twin) {
        conf_scan_blank(scan, s.place);
        scan_free_section(&s);
        return ok;
    }
    scan->sections = grow(scan->sections, scan->n, &scan->cap, sizeof(*scan->sections));
    scan->sections[scan->n++] = s;
    return true;
}

/* Goes on behind the next line that begins with "}", as a section mostly ends; all before it is left out.
 * False: there is none. */
static bool scan_recover(struct lexer *l, size_t from)
{
    struct scan_fault *last = &l->scan->faults[l->scan->n_faults - 1];
    const uint8_t *end = memmem(l->text.p + l->at, l->text.len - l->at, "\n}", 2);
    char *text =
        xasprintf("%s; %s", last->text,
                  end ? "the rest of this section was not read" : "what stands behind it was not read");

    free(last->text);
    last->text = text;
    l->scan->cut = true;
    size_t to = end ? (size_t)(end - l->text.p) + 2 : l->text.len;
    for (; l->at < to; l->at++)
        l->line += l->text.p[l->at] == '\n';
    conf_scan_blank(l->scan, (struct scan_place){from, to});
    l->failed = false;
    return end != NULL;
}

static void parse_file(struct lexer *l, struct scan *scan)
{
    enum token t = T_WORD;

    while (t != T_END) {
        size_t from = l->at;
        t = scan_next(l);
        bool good =
            t == T_WORD ? parse_section(l, scan) : t == T_END || expected(l, t, "the name of a section");
        if (!good && !scan_recover(l, from))
            return;
    }
}

static bool check_bytes(struct lexer *l)
{
    if (l->text.len > CONF_SCAN_FILE_MAX)
        return scan_fail(l, 1, "the file is larger than %d bytes", (int)CONF_SCAN_FILE_MAX);
    const uint8_t *nul = l->text.len ? memchr(l->text.p, '\0', l->text.len) : NULL;
    if (!nul)
        return true;
    unsigned line = 1;
    for (const uint8_t *p = l->text.p; p < nul; p++)
        line += *p == '\n';
    return scan_fail(l, line, "a NUL byte: this is no text, or it was damaged");
}

bool conf_scan(struct span text, struct scan *_r)
{
    struct lexer l = {.text = text, .line = 1, .scan = _r};

    *_r = (struct scan){0};
    if (check_bytes(&l)) {
        _r->plain = l.plain = xspandup(text);
        parse_file(&l, _r);
    } else {
        _r->cut = true;
    }
    _r->last_line = l.line;
    buf_wipe(&l.value);
    return _r->n_faults == 0;
}

void conf_scan_blank(struct scan *s, struct scan_place p)
{
    for (size_t i = p.from; i < p.to; i++)
        if (s->plain[i] != '\n')
            s->plain[i] = ' ';
}

void conf_scan_free(struct scan *s)
{
    for (size_t i = 0; i < s->n; i++)
        scan_free_section(&s->sections[i]);
    free(s->sections);
    for (size_t i = 0; i < s->n_faults; i++)
        free(s->faults[i].text);
    free(s->faults);
    wipe_free(&s->plain);
    memset(s, 0, sizeof(*s));
}

const struct scan_option *conf_scan_option(const struct scan_section *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->options[i].name, name))
            return &s->options[i];
    return NULL;
}
