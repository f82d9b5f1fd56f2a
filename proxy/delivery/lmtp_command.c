#include <strings.h>

#include "lmtp_command.h"

static const struct {
    const char *name;
    enum lmtp_verb verb;
    const char *path; /* what stands before its path */
    bool bare;        /* takes no argument */
} command_verbs[] = {
    {"LHLO", LMTP_LHLO, NULL, false}, {"MAIL", LMTP_MAIL, "FROM:", false}, {"RCPT", LMTP_RCPT, "TO:", false},
    {"DATA", LMTP_DATA, NULL, true},  {"RSET", LMTP_RSET, NULL, true},     {"NOOP", LMTP_NOOP, NULL, false},
    {"QUIT", LMTP_QUIT, NULL, true},  {"VRFY", LMTP_VRFY, NULL, false},    {"HELO", LMTP_HELO, NULL, false},
    {"EHLO", LMTP_HELO, NULL, false},
};

static const struct {
    const char *name;
    enum lmtp_extension extension;
} command_extensions[] = {
    {"8BITMIME", LMTP_8BITMIME}, {"SMTPUTF8", LMTP_SMTPUTF8},     {"SIZE", LMTP_SIZE},
    {"DSN", LMTP_DSN},           {"PIPELINING", LMTP_PIPELINING},
};

/* Values with words alone are checked here; the others are the server's to judge. */
static const struct {
    enum lmtp_verb verb;
    const char *name;
    enum lmtp_extension extension;
    bool valued;
} command_params[] = {
    {LMTP_MAIL, "BODY", LMTP_8BITMIME, true}, {LMTP_MAIL, "SMTPUTF8", LMTP_SMTPUTF8, false},
    {LMTP_MAIL, "SIZE", LMTP_SIZE, true},     {LMTP_MAIL, "RET", LMTP_DSN, true},
    {LMTP_MAIL, "ENVID", LMTP_DSN, true},     {LMTP_RCPT, "NOTIFY", LMTP_DSN, true},
    {LMTP_RCPT, "ORCPT", LMTP_DSN, true},
};

static struct span command_from(struct span s, size_t at)
{
    return span_of(s.p + at, s.len - at);
}

static struct span command_trim(struct span s)
{
    while (s.len > 0 && s.p[0] == ' ')
        s = command_from(s, 1);
    while (s.len > 0 && s.p[s.len - 1] == ' ')
        s.len--;
    return s;
}

/* Eats up to the next blank, and the blanks behind it. */
static struct span command_word(struct span *rest)
{
    const uint8_t *blank = rest->len > 0 ? memchr(rest->p, ' ', rest->len) : NULL;
    struct span word = span_of(rest->p, blank ? (size_t)(blank - rest->p) : rest->len);

    *rest = command_trim(command_from(*rest, word.len));
    return word;
}

/* ---- lines */

static bool line_is_clean(struct span line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.p[i] < ' ' || line.p[i] == 0x7f)
            return false;
    return true;
}

enum lmtp_line_rc lmtp_line(struct span in, size_t *len, bool *ended)
{
    const uint8_t *end = in.len > 0 ? memmem(in.p, in.len, "\r\n", 2) : NULL;

    *ended = end != NULL;
    *len = end ? (size_t)(end - in.p) + 2 : in.len;
    if (!end)
        return in.len < LMTP_LINE ? LMTP_LINE_MORE : LMTP_LINE_BAD;
    return *len <= LMTP_LINE && line_is_clean(span_of(in.p, *len - 2)) ? LMTP_LINE_DONE : LMTP_LINE_BAD;
}

/* ---- parameters */

static struct span param_name(struct span word)
{
    const uint8_t *is = memchr(word.p, '=', word.len);
    return span_of(word.p, is ? (size_t)(is - word.p) : word.len);
}

/* Of a word "NAME" or "NAME=VALUE": its row; COUNTOF(command_params): it is none. */
static size_t param_find(enum lmtp_verb verb, struct span word)
{
    struct span name = param_name(word);
    size_t i = 0;

    while (i < COUNTOF(command_params) &&
           (command_params[i].verb != verb || !span_is_ci(name, command_params[i].name)))
        i++;
    return i;
}

static bool param_fits(size_t row, struct span word)
{
    struct span name = param_name(word), value = span_of(word.p + word.len, 0);
    uint64_t n;

    if ((name.len < word.len) != command_params[row].valued)
        return false;
    if (command_params[row].valued)
        value = command_from(word, name.len + 1);
    if (command_params[row].valued && (value.len == 0 || memchr(value.p, '=', value.len)))
        return command_params[row].extension == LMTP_DSN && value.len > 0;
    if (command_params[row].extension == LMTP_SIZE)
        return span_u64(value, UINT64_MAX / 2, &n);
    return command_params[row].extension != LMTP_8BITMIME || span_is_ci(value, "7BIT") ||
           span_is_ci(value, "8BITMIME");
}

/* Each at most once, and no more than was offered. */
static bool command_read_params(struct lmtp_command *c, unsigned offered)
{
    struct span rest = c->params;
    unsigned seen = 0;

    for (unsigned n = 0; rest.len > 0; n++) {
        struct span word = command_word(&rest);
        size_t row = param_find(c->verb, word);
        if (n == LMTP_PARAMS || row == COUNTOF(command_params) || (seen & 1U << row) ||
            !(command_params[row].extension & offered) || !param_fits(row, word))
            return false;
        seen |= 1U << row;
        c->needs |= command_params[row].extension;
    }
    return true;
}

void lmtp_params_write(struct buf *out, struct span params, unsigned extensions)
{
    while (params.len > 0) {
        struct span word = command_word(&params);
        size_t row = param_find(LMTP_MAIL, word);
        if (row == COUNTOF(command_params))
            row = param_find(LMTP_RCPT, word);
        if (row < COUNTOF(command_params) && (command_params[row].extension & extensions)) {
            buf_add_str(out, " ");
            buf_add_span(out, word);
        }
    }
}

/* ---- paths */

/* "<" and all up to the ">" that is in no quotes; 0: there is no such thing. */
static size_t path_len(struct span s)
{
    bool quoted = false;

    if (s.len == 0 || s.p[0] != '<')
        return 0;
    for (size_t i = 1; i < s.len; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (!quoted && s.p[i] == '>')
            return i + 1;
        else if (!quoted && (s.p[i] == ' ' || s.p[i] == '<'))
            return 0;
    }
    return 0;
}

/* "@a.example,@b.example:ann@example.org" leads to ann (RFC 5321 4.1.1.3). */
static struct span path_without_route(struct span address)
{
    const uint8_t *colon =
        address.len > 0 && address.p[0] == '@' ? memchr(address.p, ':', address.len) : NULL;
    return colon ? command_from(address, (size_t)(colon - address.p) + 1) : address;
}

static enum lmtp_fault command_read_path(struct lmtp_command *c, struct span rest, const char *before,
                                         unsigned offered)
{
    size_t n = strlen(before);

    if (rest.len < n || strncasecmp((const char *)rest.p, before, n) != 0)
        return LMTP_BAD_ARGUMENTS;
    rest = command_trim(command_from(rest, n)); /* a blank there is none of the RFC's, and is often seen */
    n = path_len(rest);
    if (n == 0 || n > LMTP_PATH)
        return LMTP_BAD_PATH;
    c->path = span_of(rest.p, n);
    c->address = path_without_route(span_of(rest.p + 1, n - 2));
    if (c->verb == LMTP_RCPT && c->address.len == 0)
        return LMTP_BAD_PATH;
    rest = command_from(rest, n);
    if (rest.len > 0 && rest.p[0] != ' ')
        return LMTP_BAD_ARGUMENTS;
    c->params = command_trim(rest);
    return command_read_params(c, offered) ? LMTP_GOOD : LMTP_BAD_PARAMETER;
}

struct lmtp_command lmtp_command_read(struct span line, unsigned offered)
{
    struct span rest = line, word = command_word(&rest);
    struct lmtp_command c = {.verb = LMTP_UNKNOWN};

    for (size_t i = 0; i < COUNTOF(command_verbs); i++) {
        if (!span_is_ci(word, command_verbs[i].name))
            continue;
        c.verb = command_verbs[i].verb;
        c.argument = rest;
        if (command_verbs[i].path)
            c.fault = command_read_path(&c, rest, command_verbs[i].path, offered);
        else if ((command_verbs[i].bare && rest.len > 0) || (c.verb == LMTP_LHLO && rest.len == 0))
            c.fault = LMTP_BAD_ARGUMENTS;
    }
    return c;
}

/* ---- extensions */

static void caps_take(struct lmtp_caps *caps, struct span line)
{
    struct span word = command_word(&line);
    uint64_t size;

    for (size_t i = 0; i < COUNTOF(command_extensions); i++)
        if (span_is_ci(word, command_extensions[i].name))
            caps->has |= command_extensions[i].extension;
    if (span_is_ci(word, "SIZE") && span_u64(line, UINT64_MAX / 2, &size))
        caps->size = size;
}

struct lmtp_caps lmtp_caps_read(const struct lmtp_reply *lhlo)
{
    struct span rest = buf_span(&lhlo->text);
    struct lmtp_caps caps = {0};

    for (size_t i = 0; i < lhlo->lines; i++) {
        size_t n = (size_t)((const uint8_t *)memchr(rest.p, '\n', rest.len) - rest.p);
        if (i > 0) /* its name */
            caps_take(&caps, command_trim(span_of(rest.p, n)));
        rest = command_from(rest, n + 1);
    }
    return caps;
}

void lmtp_caps_meet(struct lmtp_caps *all, const struct lmtp_caps *other)
{
    all->has &= other->has;
    if (other->size > 0 && (all->size == 0 || other->size < all->size))
        all->size = other->size;
}

void lmtp_caps_names(struct buf *out, const struct lmtp_caps *caps)
{
    for (size_t i = 0; i < COUNTOF(command_extensions); i++)
        if (command_extensions[i].extension & caps->has)
            buf_printf(out, "%s%s", out->len > 0 ? " " : "", command_extensions[i].name);
    if (caps->size > 0)
        buf_printf(out, " %llu", (unsigned long long)caps->size);
}

void lmtp_caps_write(struct buf *out, const char *name, const struct lmtp_caps *caps)
{
    buf_printf(out, "250-%s\r\n250-PIPELINING\r\n", name);
    for (size_t i = 0; i < COUNTOF(command_extensions); i++) {
        if (!(command_extensions[i].extension & caps->has & LMTP_PASSED))
            continue;
        buf_printf(out, "250-%s", command_extensions[i].name);
        if (command_extensions[i].extension == LMTP_SIZE && caps->size > 0)
            buf_printf(out, " %llu", (unsigned long long)caps->size);
        buf_add_str(out, "\r\n");
    }
    buf_add_str(out, "250 ENHANCEDSTATUSCODES\r\n");
}
