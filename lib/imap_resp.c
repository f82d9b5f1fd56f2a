#include "imap_resp.h"
#include "xalloc.h"

static const struct {
    const char *word;
    enum imap_status status;
} statuses[] = {{"OK", STATUS_OK},
                {"NO", STATUS_NO},
                {"BAD", STATUS_BAD},
                {"BYE", STATUS_BYE},
                {"PREAUTH", STATUS_PREAUTH}};

static enum imap_status status_of(struct span word)
{
    for (size_t i = 0; i < COUNTOF(statuses); i++)
        if (span_is_ci(word, statuses[i].word))
            return statuses[i].status;
    return STATUS_NONE;
}

/* Cuts the word at the front off *s, and the blanks behind it: one by RFC 3501, but there are gateways to
 * Exchange that send "*  3 EXISTS". */
static struct span resp_next_word(struct span *s)
{
    if (s->len == 0) /* p may be NULL */
        return *s;
    const uint8_t *blank = memchr(s->p, ' ', s->len);
    struct span word = span_of(s->p, blank ? (size_t)(blank - s->p) : s->len);
    size_t eaten = word.len;
    while (eaten < s->len && s->p[eaten] == ' ')
        eaten++;
    *s = span_of(s->p + eaten, s->len - eaten);
    return word;
}

/* Atom characters (RFC 3501 9), but for 8-bit, which no tag or response name has either. */
static bool resp_is_word(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("(){%*\"\\]", s.p[i]))
            return false;
    return s.len > 0;
}

static bool is_tag(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("(){%*\"\\+", s.p[i]))
            return false;
    return s.len > 0;
}

/* Where the code that begins at text.p[0] == '[' ends: the offset of its ']', or 0. Brackets may be nested
 * (an IPv6 address in a URL), hide in quoted strings, and be part of keywords in a list (PERMANENTFLAGS);
 * where that doesn't come out even, the first ']' it is. */
static size_t code_end(struct span text)
{
    size_t depth = 0, lists = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.p[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (quoted)
            continue;
        else if (c == '(')
            lists++;
        else if (c == ')' && lists > 0)
            lists--;
        else if (c == '[' && lists == 0)
            depth++;
        else if (c == ']' && lists == 0 && --depth == 0)
            return i;
    }
    const uint8_t *end = memchr(text.p, ']', text.len);
    return end ? (size_t)(end - text.p) : 0;
}

static void read_text(struct span text, struct imap_resp *r)
{
    r->text = text;
    if (text.len == 0 || text.p[0] != '[')
        return;
    size_t end = code_end(text);
    if (end == 0)
        return;
    r->code = span_of(text.p + 1, end - 1);
    size_t behind = end + 1;
    if (behind < text.len && text.p[behind] == ' ')
        behind++;
    r->text = span_of(text.p + behind, text.len - behind);
}

static bool parse_tagged(struct span tag, struct span rest, struct imap_resp *r, const char **why)
{
    enum imap_status status = status_of(resp_next_word(&rest));
    if (!is_tag(tag) || status == STATUS_NONE || status == STATUS_BYE || status == STATUS_PREAUTH) {
        *why = "not a response";
        return false;
    }
    *r = (struct imap_resp){.kind = RESP_TAGGED, .status = status, .tag = tag};
    read_text(rest, r);
    return true;
}

static bool parse_data(struct span line, struct span word, struct span rest, struct imap_resp *r,
                       const char **why)
{
    struct imap_resp data = {.kind = RESP_DATA};
    if (word.len > 0 && word.p[0] >= '0' && word.p[0] <= '9') {
        if (!span_u32(word, &data.number)) {
            *why = "bad number in a response";
            return false;
        }
        data.has_number = true;
        word = resp_next_word(&rest);
    }
    if (!resp_is_word(word)) {
        *why = "response without a name";
        return false;
    }
    data.word = word;
    data.rest = line.len - rest.len;
    *r = data;
    return true;
}

bool imap_resp_parse(struct span line, struct imap_resp *r, const char **why)
{
    if (line.len > 0 && line.p[0] == '+') {
        size_t behind = line.len > 1 && line.p[1] == ' ' ? 2 : 1;
        *r = (struct imap_resp){.kind = RESP_CONTINUE, .text = span_of(line.p + behind, line.len - behind)};
        return true;
    }
    struct span rest = line;
    struct span first = resp_next_word(&rest);
    if (!span_is(first, "*"))
        return parse_tagged(first, rest, r, why);
    struct span word = resp_next_word(&rest);
    enum imap_status status = status_of(word);
    if (status == STATUS_NONE)
        return parse_data(line, word, rest, r, why);
    *r = (struct imap_resp){.kind = RESP_STATUS, .status = status};
    read_text(rest, r);
    return true;
}

bool imap_resp_is_text(struct span line)
{
    if (line.len > 0 && line.p[0] == '+')
        return true;
    resp_next_word(&line);
    return status_of(resp_next_word(&line)) != STATUS_NONE;
}

bool imap_code_is(struct span code, const char *name, struct span *args)
{
    struct span rest = code;
    if (!span_is_ci(resp_next_word(&rest), name))
        return false;
    if (args)
        *args = rest;
    return true;
}

char *imap_personal_namespaces(struct span line, const struct imap_resp *r)
{
    size_t depth = 0, begin = r->rest;
    for (size_t i = begin; i < line.len; i++) {
        if (line.p[i] == '\0')
            break; /* not to be compared as a text */
        if (line.p[i] == '(')
            depth++;
        else if (line.p[i] == ')' && depth > 0 && --depth == 0)
            return xspandup(span_of(line.p + begin, i + 1 - begin));
        else if (depth == 0)
            break;
    }
    return NULL;
}
