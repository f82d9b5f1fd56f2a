/* Writes files that conf_load() takes: the effective settings and the annotated sample, by the table. */

#include <inttypes.h>
#include <stdio.h>

#include "conf_priv.h"

enum { COLUMNS = 100 };

/* In single quotes where double ones would expand something. */
static void write_string(struct buf *out, const char *s)
{
    char quote = strstr(s, "${") ? '\'' : '"';

    buf_printf(out, "%c", quote);
    for (; *s; s++) {
        if (*s == quote || *s == '\\')
            buf_add_str(out, "\\");
        buf_add(out, s, 1);
    }
    buf_printf(out, "%c", quote);
}

/* "***" for the password of SCHEME://[USER]:PASSWORD@..., and of ...sentinel_auth=[USER]:PASSWORD. */
static void write_masked(struct buf *out, const char *s)
{
    static const char auth[] = "sentinel_auth=";
    const char *from = strstr(s, "://"), *at, *colon;
    struct buf text = {0};

    if (from && (at = memrchr(from + 3, '@', strcspn(from + 3, "/?"))) &&
        (colon = memchr(from + 3, ':', (size_t)(at - from - 3)))) {
        buf_printf(&text, "%.*s***", (int)(colon + 1 - s), s);
        s = at;
    }
    if ((from = strstr(s, auth)) && (colon = strchr(from, ':'))) {
        buf_printf(&text, "%.*s***", (int)(colon + 1 - s), s);
        s = colon + strcspn(colon, "&");
    }
    buf_add_str(&text, s);
    write_string(out, buf_str(&text));
    buf_wipe(&text);
}

static void write_text(struct buf *out, const struct option *o, const char *s)
{
    bool is_url = !strcmp(o->name, "url") || !strncmp(o->name, "hook_", 5) || !strcmp(o->name, "provision");

    if (is_url)
        write_masked(out, s);
    else
        write_string(out, s);
}

static void write_list(struct buf *out, const struct option *o, const struct conf_list *list)
{
    buf_add_str(out, "{");
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            buf_add_str(out, ", ");
        write_text(out, o, list->items[i]);
    }
    buf_add_str(out, "}");
}

static void write_value(struct buf *out, const struct option *o, const void *field)
{
    switch (o->type) {
    case OPTION_STRING:
        write_text(out, o, *(char *const *)field);
        break;
    case OPTION_LIST:
        write_list(out, o, field);
        break;
    case OPTION_BOOL:
        buf_add_str(out, *(const bool *)field ? "true" : "false");
        break;
    case OPTION_NUMBER:
        buf_printf(out, "%" PRIu32, *(const uint32_t *)field);
        break;
    case OPTION_DURATION:
        buf_add_str(out, "\"");
        conf_write_duration(out, *(const uint64_t *)field);
        buf_add_str(out, "\"");
        break;
    case OPTION_ENUM:
        write_string(out, o->words[*(const unsigned *)field]);
        break;
    }
}

static void print_section(struct buf *out, const struct section *s, const char *title, const void *fields)
{
    buf_printf(out, "%s%s", out->len ? "\n" : "", s->name);
    if (title) {
        buf_add_str(out, " ");
        write_string(out, title);
    }
    buf_add_str(out, " {\n");
    for (size_t i = 0; i < n_options; i++) {
        if (strcmp(options[i].section, s->name))
            continue;
        buf_printf(out, "    %s = ", options[i].name);
        write_value(out, &options[i], (const char *)fields + options[i].offset);
        buf_add_str(out, "\n");
    }
    buf_add_str(out, "}\n");
}

void conf_print(struct buf *out, const struct conf *c)
{
    for (size_t i = 0; i < n_sections; i++) {
        const struct section *s = &sections[i];
        if (!s->titles)
            print_section(out, s, NULL, (const char *)c + s->offset);
        for (size_t k = 0; s->titles && k < conf_titled_count(c, s); k++)
            print_section(out, s, *(char **)conf_titled(c, s, k), conf_titled(c, s, k));
    }
}

/* --- the sample --- */

/* Text as a comment, broken at blanks. */
static void write_comment(struct buf *out, const char *indent, const char *text)
{
    size_t width = COLUMNS - strlen(indent) - 2;

    while (*text) {
        size_t n = strlen(text), cut = n;
        if (n > width)
            for (cut = width; cut > 0 && text[cut] != ' ';)
                cut--;
        if (cut == 0)
            cut = n;
        buf_printf(out, "%s# %.*s\n", indent, (int)cut, text);
        text += cut + (text[cut] == ' ');
    }
}

/* As it would be written in a file. */
static void write_default(struct buf *out, const struct option *o)
{
    if (o->type == OPTION_LIST)
        buf_add_str(out, *o->def ? o->def : "{}");
    else if (o->type == OPTION_NUMBER || o->type == OPTION_BOOL)
        buf_add_str(out, o->def);
    else
        write_string(out, o->def);
}

void conf_write_bounds(struct buf *out, const struct option *o, bool always)
{
    if (o->type == OPTION_NUMBER)
        buf_printf(out, " From %" PRIu64 " to %" PRIu64 ".", o->min, o->max);
    if (o->type == OPTION_DURATION) {
        buf_add_str(out, " From ");
        conf_write_duration(out, o->min);
        buf_add_str(out, " to ");
        conf_write_duration(out, o->max);
        buf_add_str(out, ".");
    }
    if (!o->def) {
        buf_add_str(out, " Must be given.");
    } else if (always && *o->def) {
        buf_add_str(out, " Default: ");
        write_default(out, o);
        buf_add_str(out, ".");
    } else if (o->example || always) {
        buf_printf(out, " Default: %s.", *o->def ? o->def : "none");
    }
    if (o->reload != RELOAD_NO)
        buf_add_str(out, " [SIGHUP]");
}

/* The text, and what it does not tell: bounds and default. */
static void write_about(struct buf *out, const struct option *o)
{
    struct buf b = {0};

    buf_add_str(&b, o->text);
    conf_write_bounds(&b, o, false);
    write_comment(out, "    ", buf_str(&b));
    buf_free(&b);
}

/* "%s" stands for the title. */
static void write_example(struct buf *out, const char *example, const char *title)
{
    const char *at = strstr(example, "%s");

    if (!at || !title) {
        buf_add_str(out, example);
        return;
    }
    buf_printf(out, "%.*s%s%s", (int)(at - example), example, title, at + 2);
}

/* An option with its text, or alone for the second section of its kind. */
static void sample_option(struct buf *out, const struct option *o, const char *title, bool first,
                          bool topmost)
{
    bool shown = o->example;

    if (!first && !shown)
        return;
    if (first) {
        buf_add_str(out, topmost ? "" : "\n");
        write_about(out, o);
    }
    buf_printf(out, "    %s%s = ", shown ? "" : "#", o->name);
    if (shown)
        write_example(out, o->example, title);
    else
        write_default(out, o);
    buf_add_str(out, "\n");
}

/* Each line that is no comment becomes one. */
static void comment_out(struct buf *out, const struct buf *text)
{
    struct span s = buf_span(text);

    for (size_t i = 0, end; i < s.len; i = end) {
        const uint8_t *feed = memchr(s.p + i, '\n', s.len - i);
        end = feed ? (size_t)(feed - s.p) + 1 : s.len;
        size_t blanks = i;
        while (blanks < end && s.p[blanks] == ' ')
            blanks++;
        if (s.p[blanks] != '#' && s.p[blanks] != '\n')
            buf_printf(out, "%.*s#", (int)(blanks - i), (const char *)s.p + i);
        else
            blanks = i;
        buf_add(out, s.p + blanks, end - blanks);
    }
}

static void sample_options(struct buf *out, const struct section *s, const char *title, bool first)
{
    if (title)
        buf_printf(out, "%s \"%s\" {\n", s->name, title);
    else
        buf_printf(out, "%s {\n", s->name);
    if (!first)
        buf_add_str(out, "    # All options of the section above can stand here too.\n");
    size_t start = out->len;
    for (size_t i = 0; i < n_options; i++)
        if (!strcmp(options[i].section, s->name))
            sample_option(out, &options[i], title, first, out->len == start);
    buf_add_str(out, "}\n");
}

static void sample_section(struct buf *out, const struct section *s, const char *title, bool first)
{
    struct buf text = {0};

    buf_add_str(out, "\n");
    if (first)
        write_comment(out, "", s->text);
    sample_options(&text, s, title, first);
    if (s->optional)
        comment_out(out, &text);
    else
        buf_add(out, buf_span(&text).p, text.len);
    buf_free(&text);
}

static const char head[] =
    "# imapferry.conf: read by imapferry-proxy, imapferry-migrator and imapferryctl, the same file\n"
    "# on all hosts. Each program uses what concerns it.\n"
    "#\n"
    "# An option that is commented out shows its default. Durations: 500ms, 10s, 10m, 24h, 7d.\n"
    "# Check a file with \"imapferry-proxy -c FILE --check-conf\", and likewise for the migrator; see all\n"
    "# that applies with \"imapferryctl -c FILE --print-conf\".\n"
    "#\n"
    "# On SIGHUP, proxies and migrators read this file anew, and take what is marked [SIGHUP], and the\n"
    "# certificates, keys and passwords in the files named there, without a restart. What else was changed\n"
    "# is named in the log. Where the file has an error, all stays as it was.\n";

void conf_print_sample(struct buf *out)
{
    buf_add_str(out, head);
    for (size_t i = 0; i < n_sections; i++) {
        const struct section *s = &sections[i];
        if (!s->titles)
            sample_section(out, s, NULL, true);
        for (size_t k = 0; s->titles && s->titles[k]; k++)
            sample_section(out, s, s->titles[k], k == 0);
    }
}
