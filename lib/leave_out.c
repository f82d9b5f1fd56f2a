#include <stdlib.h>

#include "leave_out.h"
#include "xalloc.h"

struct rule {
    char *text;                   /* owned, as all below */
    struct view_pattern *pattern; /* NULL: every mailbox, or INBOX */
    bool inbox;
    bool by_size, by_age;
    uint64_t larger;
    int64_t older_s;
    char *flag; /* NULL: any */
};

struct leave_out {
    struct rule rules[LEAVE_OUT_MAX];
    unsigned n;
};

struct leave_out *leave_out_new(void)
{
    return xcalloc(1, sizeof(struct leave_out));
}

static void free_rule(struct rule *r)
{
    free(r->text);
    view_pattern_free(&r->pattern);
    free(r->flag);
    *r = (struct rule){0};
}

void leave_out_free(struct leave_out **lp)
{
    struct leave_out *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    for (unsigned i = 0; i < l->n; i++)
        free_rule(&l->rules[i]);
    free(l);
}

/* ---- conditions */

/* A number with one of the units behind it. */
static bool parse_number(struct span text, const char *units, const uint64_t *worth, uint64_t *_r)
{
    const char *unit = text.len ? strchr(units, text.p[text.len - 1]) : NULL;
    uint64_t n, times = unit && *unit ? worth[unit - units] : 1;
    size_t digits = text.len - (unit && *unit ? 1 : 0);

    if (!span_u64(span_of(text.p, digits), UINT64_MAX, &n) || n == 0 || n > INT64_MAX / times)
        return false;
    *_r = n * times;
    return true;
}

static const char *take_larger(struct rule *r, struct span value)
{
    static const uint64_t worth[] = {1u << 10, 1u << 20, 1u << 30};

    r->by_size = true;
    return parse_number(value, "KMG", worth, &r->larger) ? NULL : "has no size; expected such as larger:50M";
}

static const char *take_older(struct rule *r, struct span value)
{
    static const uint64_t worth[] = {3600, 86400};
    uint64_t s;
    bool unit = value.len > 0 && strchr("hd", value.p[value.len - 1]);

    r->by_age = true;
    if (!unit || !parse_number(value, "hd", worth, &s))
        return "has no age; expected such as older:365d";
    r->older_s = (int64_t)s;
    return NULL;
}

static const char *leave_out_take_flag(struct rule *r, struct span value)
{
    if (r->flag)
        return "has two flags";
    if (value.len < 2 && !(value.len == 1 && value.p[0] != '\\'))
        return "has no flag; expected such as flag:\\Deleted";
    r->flag = xspandup(value);
    return NULL;
}

static const struct {
    const char *name;
    const char *(*take)(struct rule *r, struct span value);
} conditions[] = {{"larger:", take_larger}, {"older:", take_older}, {"flag:", leave_out_take_flag}};

/* Takes a word for a condition; false: it is none. */
static bool take_condition(struct rule *r, struct span word, const char **why)
{
    for (size_t i = 0; i < COUNTOF(conditions); i++) {
        size_t len = strlen(conditions[i].name);
        if (word.len < len || memcmp(word.p, conditions[i].name, len))
            continue;
        *why = conditions[i].take(r, span_of(word.p + len, word.len - len));
        return true;
    }
    return false;
}

/* The last word of text, which is cut off. */
static struct span last_word(struct span *text)
{
    size_t end = text->len;

    while (end > 0 && text->p[end - 1] == ' ')
        end--;
    size_t start = end;
    while (start > 0 && text->p[start - 1] != ' ')
        start--;
    struct span word = span_of(text->p + start, end - start);
    text->len = start;
    return word;
}

static const char *leave_out_parse(struct rule *r, struct span text)
{
    const char *why = NULL;
    struct span rest = text;
    bool any = false;

    while (rest.len > 0) {
        struct span before = rest, word = last_word(&rest);
        if (!take_condition(r, word, &why)) {
            rest = before;
            break;
        }
        if (why)
            return why;
        any = true;
    }
    while (rest.len > 0 && rest.p[rest.len - 1] == ' ')
        rest.len--;
    if (!any)
        return "does not end with a condition; there are larger:, older: and flag:";
    r->inbox = span_is_ci(rest, "INBOX");
    if (rest.len > 0 && !r->inbox)
        r->pattern = view_pattern_new(rest, &why);
    return why;
}

bool leave_out_add(struct leave_out *l, const char *rule, const char **why)
{
    struct rule r = {0};

    *why = l->n == LEAVE_OUT_MAX ? "is one more than the 32 rules that there can be"
                                 : leave_out_parse(&r, span_str(rule));
    if (*why) {
        free_rule(&r);
        return false;
    }
    r.text = xstrdup(rule);
    l->rules[l->n++] = r;
    return true;
}

/* ---- what they mean */

uint32_t leave_out_rules_of(const struct leave_out *l, const struct view_place *mailbox)
{
    uint32_t bits = 0;

    for (unsigned i = 0; l && i < l->n; i++) {
        const struct rule *r = &l->rules[i];
        bool all = !r->pattern && !r->inbox;
        if (all || (r->inbox && span_is_ci(mailbox->name, "INBOX")) ||
            (r->pattern && view_pattern_means(r->pattern, mailbox)))
            bits |= 1u << i;
    }
    return bits;
}

static bool rule_means(const struct rule *r, const struct leave_out_message *m, int64_t now)
{
    if (r->by_size && m->size <= r->larger)
        return false;
    if (r->by_age && (!m->dated || m->instant >= now - r->older_s))
        return false;
    return !r->flag || m->has_flag(m, r->flag);
}

unsigned leave_out_means(const struct leave_out *l, uint32_t rules, const struct leave_out_message *m,
                         int64_t now)
{
    for (unsigned i = 0; l && rules >> i && i < l->n; i++)
        if ((rules & 1u << i) && rule_means(&l->rules[i], m, now))
            return i + 1;
    return 0;
}

const char *leave_out_rule(const struct leave_out *l, unsigned number)
{
    return l->rules[number - 1].text;
}
