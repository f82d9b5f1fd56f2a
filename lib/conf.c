#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "account.h"
#include "account_names.h"
#include "buf_room.h"
#include "conf_priv.h"
#include "migration_rules.h"
#include "xalloc.h"

/* --- errors --- */

static unsigned conf_line_of(const struct scan *scan, struct conf_place at)
{
    for (size_t i = 0; i < scan->n; i++) {
        const struct scan_section *s = &scan->sections[i];
        if (strcmp(s->name, at.section) || (at.title && (!s->title || strcmp(s->title, at.title))))
            continue;
        const struct scan_option *o = at.option ? conf_scan_option(s, at.option) : NULL;
        if (!o)
            return s->line;
        return at.nth < o->n ? o->values[at.nth].line : o->line;
    }
    return scan->last_line;
}

/* One is enough for each option, and each value of a list: a second is mostly what the first leads to. */
static bool is_told(const struct conf_source *src, struct conf_place at)
{
    char *key = xasprintf("\n%s\t%s\t%s\t%zu\n", at.section, at.title ? at.title : "",
                          at.option ? at.option : "", at.nth);
    bool told = strstr(buf_str(src->told), key);

    if (!told)
        buf_add_str(src->told, key);
    free(key);
    return told;
}

static void add_error(const struct conf_source *src, const char *place, const char *text)
{
    char *before = *src->error;

    *src->error = before ? xasprintf("%s\n%s%s", before, place, text) : xasprintf("%s%s", place, text);
    free(before);
}

static void fail_at(const struct conf_source *src, struct conf_place at, const char *fmt, va_list ap)
    PRINTF_LIKE(3, 0);
static void fail_at(const struct conf_source *src, struct conf_place at, const char *fmt, va_list ap)
{
    struct buf b = {0}, text = {0};

    if (is_told(src, at))
        return;
    buf_printf(&b, "%s:%u: %s", src->file, conf_line_of(&src->scan, at), at.section);
    if (at.title)
        buf_printf(&b, " \"%s\"", at.title);
    buf_add_str(&b, ": ");
    if (at.option)
        buf_printf(&b, "%s: ", at.option);
    buf_vprintf(&text, fmt, ap);
    add_error(src, buf_str(&b), buf_str(&text));
    buf_free(&b);
    buf_free(&text);
}

bool conf_fail(const struct conf_source *src, struct conf_place at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_at(src, at, fmt, ap);
    va_end(ap);
    return false;
}

void conf_object(struct conf_source *src, const char *section, const char *title, const char *option,
                 size_t nth, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_at(src, (struct conf_place){section, title, option, nth}, fmt, ap);
    va_end(ap);
}

/* --- the file's names against the table --- */

const struct section *conf_section(const char *name)
{
    for (size_t i = 0; i < n_sections; i++)
        if (!strcmp(sections[i].name, name))
            return &sections[i];
    return NULL;
}

static const struct option *find_option(const char *section, const char *name)
{
    for (size_t i = 0; i < n_options; i++)
        if (!strcmp(options[i].section, section) && !strcmp(options[i].name, name))
            return &options[i];
    return NULL;
}

/* The names that would be right, for a message; to free. */
static char *known_names(const char *section)
{
    struct buf b = {0};

    for (size_t i = 0; !section && i < n_sections; i++)
        buf_printf(&b, "%s%s", b.len ? ", " : "", sections[i].name);
    for (size_t i = 0; section && i < n_options; i++)
        if (!strcmp(options[i].section, section))
            buf_printf(&b, "%s%s", b.len ? ", " : "", options[i].name);
    char *names = xstrdup(buf_str(&b));
    buf_free(&b);
    return names;
}

/* What libconfuse would not take is kept from it, so that all else can be looked at. */
static bool drop_option(struct conf_source *src, struct scan_option *o)
{
    o->unusable = true;
    conf_scan_blank(&src->scan, o->place);
    return false;
}

static bool drop_section(struct conf_source *src, struct scan_section *s)
{
    s->unusable = true;
    conf_scan_blank(&src->scan, s->place);
    return false;
}

static bool check_option_name(struct conf_source *src, const struct scan_section *s, struct scan_option *o)
{
    struct conf_place at = {s->name, s->title, o->name, SIZE_MAX};
    const struct option *known = find_option(s->name, o->name);

    if (!known) {
        char *names = known_names(s->name);
        conf_fail(src, at, "no such option; this section has: %s", names);
        free(names);
        return drop_option(src, o);
    }
    at.nth = 0;
    if (o->braces && known->type != OPTION_LIST) {
        conf_fail(src, at, "is a list; expected one value without braces");
        return drop_option(src, o);
    }
    return true;
}

static bool check_section_name(struct conf_source *src, struct scan_section *s)
{
    struct conf_place at = {s->name, s->title, NULL, 0};
    const struct section *known = conf_section(s->name);

    if (!known) {
        char *names = known_names(NULL);
        conf_fail(src, at, "no such section; there are: %s", names);
        free(names);
        return drop_section(src, s);
    }
    if (known->titles && !s->title) {
        conf_fail(src, at, "has no name; expected %s \"name\" { ... }", s->name);
        return drop_section(src, s);
    }
    if (!known->titles && s->title) {
        conf_fail(src, at, "takes no name; expected %s { ... }", s->name);
        return drop_section(src, s);
    }
    bool ok = true;
    for (size_t i = 0; i < s->n; i++)
        ok = check_option_name(src, s, &s->options[i]) && ok;
    return ok;
}

/* --- libconfuse --- */

/* libconfuse's description of the table. */
struct parser {
    cfg_opt_t *sections; /* owned */
    cfg_opt_t **options; /* owned; one array a section */
    cfg_t *cfg;          /* owned */
};

static cfg_opt_t *make_options(const char *section)
{
    cfg_opt_t *opts = xcalloc(n_options + 1, sizeof(*opts));
    size_t n = 0;

    for (size_t i = 0; i < n_options; i++) {
        if (strcmp(options[i].section, section))
            continue;
        if (options[i].type == OPTION_LIST)
            opts[n++] = (cfg_opt_t)CFG_STR_LIST(options[i].name, NULL, CFGF_NODEFAULT);
        else
            opts[n++] = (cfg_opt_t)CFG_STR(options[i].name, NULL, CFGF_NODEFAULT);
    }
    opts[n] = (cfg_opt_t)CFG_END();
    return opts;
}

/* What the scan let pass libconfuse has no objection to; if it has, conf_load() says so. */
static void on_parser_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    (void)cfg, (void)fmt, (void)ap;
}

static bool parser_start(struct parser *p, const char *text)
{
    p->sections = xcalloc(n_sections + 1, sizeof(*p->sections));
    p->options = xcalloc(n_sections, sizeof(*p->options));
    for (size_t i = 0; i < n_sections; i++) {
        cfg_flag_t flags = sections[i].titles ? CFGF_TITLE | CFGF_MULTI : CFGF_NODEFAULT;
        p->options[i] = make_options(sections[i].name);
        p->sections[i] = (cfg_opt_t)CFG_SEC(sections[i].name, p->options[i], flags);
    }
    p->sections[n_sections] = (cfg_opt_t)CFG_END();
    p->cfg = cfg_init(p->sections, CFGF_NONE);
    cfg_set_error_function(p->cfg, on_parser_error);
    return cfg_parse_buf(p->cfg, text) == CFG_SUCCESS;
}

static void parser_end(struct parser *p)
{
    if (p->cfg)
        cfg_free(p->cfg);
    for (size_t i = 0; p->options && i < n_sections; i++)
        free(p->options[i]);
    free(p->options);
    free(p->sections);
}

/* --- values --- */

static void *field_of(void *section, const struct option *o)
{
    return (char *)section + o->offset;
}

bool conf_read_duration(const char *text, uint64_t *_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = strspn(text, "0123456789");
    uint64_t n;

    if (!span_u64(span_of(text, digits), UINT32_MAX, &n))
        return false;
    for (size_t i = 0; i < COUNTOF(units); i++)
        if (!strcmp(text + digits, units[i].unit)) {
            *_ms = n * units[i].ms;
            return true;
        }
    return false;
}

void conf_write_duration(struct buf *out, uint64_t ms)
{
    if (ms % 1000 || ms == 0)
        buf_printf(out, "%" PRIu64 "%s", ms, ms ? "ms" : "s");
    else if (ms % 60000)
        buf_printf(out, "%" PRIu64 "s", ms / 1000);
    else if (ms % 3600000)
        buf_printf(out, "%" PRIu64 "m", ms / 60000);
    else if (ms % 86400000)
        buf_printf(out, "%" PRIu64 "h", ms / 3600000);
    else
        buf_printf(out, "%" PRIu64 "d", ms / 86400000);
}

static bool set_duration(const struct conf_source *src, struct conf_place at, const struct option *o,
                         uint64_t *field, const char *text)
{
    uint64_t ms;

    if (conf_read_duration(text, &ms) && ms >= o->min && ms <= o->max) {
        *field = ms;
        return true;
    }
    struct buf b = {0};
    conf_write_duration(&b, o->min);
    buf_add_str(&b, " to ");
    conf_write_duration(&b, o->max);
    conf_fail(src, at, "\"%s\" is not a duration from %s; expected such as 500ms, 10s, 10m, 24h, 7d", text,
              buf_str(&b));
    buf_free(&b);
    return false;
}

/* One that somebody may have meant. */
static bool is_number(const char *text)
{
    text += *text == '-' || *text == '+';
    return *text && text[strspn(text, "0123456789")] == '\0';
}

static bool conf_set_number(const struct conf_source *src, struct conf_place at, const struct option *o,
                            uint32_t *field, const char *text)
{
    uint64_t n;

    if (!span_u64(span_str(text), o->max, &n) || n < o->min)
        return conf_fail(src, at, "\"%s\" is %s; expected one from %" PRIu64 " to %" PRIu64, text,
                         is_number(text) ? "out of range" : "not a number", o->min, o->max);
    *field = (uint32_t)n;
    return true;
}

static bool set_bool(const struct conf_source *src, struct conf_place at, bool *field, const char *text)
{
    bool yes = !strcmp(text, "true") || !strcmp(text, "yes") || !strcmp(text, "on");

    if (!yes && strcmp(text, "false") && strcmp(text, "no") && strcmp(text, "off"))
        return conf_fail(src, at, "\"%s\" is neither true nor false", text);
    *field = yes;
    return true;
}

static bool set_word(const struct conf_source *src, struct conf_place at, const struct option *o,
                     unsigned *field, const char *text)
{
    struct buf b = {0};

    for (unsigned i = 0; o->words[i]; i++) {
        if (!strcmp(o->words[i], text)) {
            *field = i;
            buf_free(&b);
            return true;
        }
        buf_printf(&b, "%s%s", i ? ", " : "", o->words[i]);
    }
    conf_fail(src, at, "\"%s\" is unknown; expected one of: %s", text, buf_str(&b));
    buf_free(&b);
    return false;
}

static void conf_add_item(struct conf_list *list, const char *text)
{
    list->items = xreallocarray(list->items, list->n + 1, sizeof(*list->items));
    list->items[list->n++] = xstrdup(text);
}

/* Takes one value (of a list: the next) into its place. */
static bool set_value(const struct conf_source *src, struct conf_place at, const struct option *o,
                      void *section, const char *text)
{
    void *field = field_of(section, o);

    switch (o->type) {
    case OPTION_STRING:
        *(char **)field = xstrdup(text);
        return true;
    case OPTION_LIST:
        conf_add_item(field, text);
        return true;
    case OPTION_BOOL:
        return set_bool(src, at, field, text);
    case OPTION_NUMBER:
        return conf_set_number(src, at, o, field, text);
    case OPTION_DURATION:
        return set_duration(src, at, o, field, text);
    case OPTION_ENUM:
        return set_word(src, at, o, field, text);
    }
    return false;
}

/* A list as it is written in a file, without a backslash in it. */
static void set_default_list(struct conf_list *list, const char *def)
{
    for (const char *at = strchr(def, '"'); at; at = strchr(at, '"')) {
        size_t n = strcspn(++at, "\"");
        char *item = xspandup(span_of(at, n));
        conf_add_item(list, item);
        free(item);
        at += n + 1;
    }
}

static bool set_default(const struct conf_source *src, struct conf_place at, const struct option *o,
                        void *section)
{
    if (!o->def)
        return conf_fail(src, at, "must be given");
    if (o->type == OPTION_LIST) {
        set_default_list(field_of(section, o), o->def);
        return true;
    }
    return set_value(src, at, o, section, o->def);
}

/* What libconfuse read must be what stands in the file; if it is not, nothing of it is to be trusted. */
static bool set_option(const struct conf_source *src, const struct option *o, void *section,
                       const struct scan_section *scanned, cfg_t *parsed)
{
    struct conf_place at = {o->section, scanned ? scanned->title : NULL, o->name, 0};
    const struct scan_option *given = scanned ? conf_scan_option(scanned, o->name) : NULL;

    if (given && given->unusable)
        return false; /* told */
    if (!given && !o->def && src->scan.cut)
        return false; /* it may stand in what could not be read */
    if (!given)
        return set_default(src, at, o, section);
    cfg_opt_t *opt = parsed ? cfg_getopt(parsed, o->name) : NULL;
    if (!opt || cfg_opt_size(opt) != given->n)
        return conf_fail(src, at, "was not understood");
    for (at.nth = 0; at.nth < given->n; at.nth++) {
        const char *text = cfg_opt_getnstr(opt, (unsigned)at.nth);
        if (!text || strcmp(text, given->values[at.nth].text))
            return conf_fail(src, at, "was not understood");
        if (!set_value(src, at, o, section, text))
            return false;
    }
    return true;
}

/* What can't be used is as if it were not given, so that the rest can be looked at. */
static void set_something(const struct conf_source *src, const struct option *o, void *section)
{
    struct conf_place at = {o->section, NULL, o->name, 0};
    char **field = field_of(section, o);

    if (o->type == OPTION_STRING && !*field)
        *field = xstrdup("");
    else if (o->type != OPTION_STRING && o->type != OPTION_LIST && o->def &&
             !set_value(src, at, o, section, o->def))
        abort(); /* a default is right */
}

static bool set_section(const struct conf_source *src, const struct section *s, void *section,
                        const struct scan_section *scanned, cfg_t *parsed)
{
    bool ok = true;

    for (size_t i = 0; i < n_options; i++)
        if (!strcmp(options[i].section, s->name) && !set_option(src, &options[i], section, scanned, parsed)) {
            set_something(src, &options[i], section);
            ok = false;
        }
    return ok;
}

static const struct scan_section *find_scanned(const struct scan *scan, const char *name)
{
    for (size_t i = 0; i < scan->n; i++)
        if (!strcmp(scan->sections[i].name, name) && !scan->sections[i].unusable)
            return &scan->sections[i];
    return NULL;
}

size_t conf_titled_count(const struct conf *c, const struct section *s)
{
    return *(const size_t *)((const char *)c + s->count);
}

/* The array of a titled section: a pointer of whatever type. */
static char *titled_array(const struct conf *c, const struct section *s)
{
    char *array;

    memcpy(&array, (const char *)c + s->offset, sizeof(array));
    return array;
}

void *conf_titled(const struct conf *c, const struct section *s, size_t i)
{
    return titled_array(c, s) + i * s->size;
}

/* A further one, with nothing in it. */
static void *add_titled(struct conf *c, const struct section *s, const char *title)
{
    size_t *n = (size_t *)((char *)c + s->count);
    char *array = xreallocarray(titled_array(c, s), *n + 1, s->size), *item = array + *n * s->size;

    memcpy((char *)c + s->offset, &array, sizeof(array));
    (*n)++;
    memset(item, 0, s->size);
    *(char **)item = xstrdup(title);
    return item;
}

static bool set_titled(struct conf *c, const struct conf_source *src, const struct section *s, cfg_t *cfg)
{
    bool ok = true;

    for (size_t i = 0; i < src->scan.n; i++) {
        const struct scan_section *scanned = &src->scan.sections[i];
        if (strcmp(scanned->name, s->name) || scanned->unusable)
            continue;
        void *item = add_titled(c, s, scanned->title);
        ok = set_section(src, s, item, scanned, cfg_gettsec(cfg, s->name, scanned->title)) && ok;
    }
    return ok;
}

static bool set_all(struct conf *c, const struct conf_source *src, cfg_t *cfg)
{
    bool ok = true;

    for (size_t i = 0; i < n_sections; i++) {
        const struct section *s = &sections[i];
        const struct scan_section *scanned = find_scanned(&src->scan, s->name);
        bool good = s->titles ? set_titled(c, src, s, cfg)
                              : set_section(src, s, (char *)c + s->offset, scanned,
                                            scanned ? cfg_getsec(cfg, s->name) : NULL);
        ok = ok && good;
    }
    return ok;
}

/* --- loading --- */

static bool read_all(int fd, struct buf *out)
{
    uint8_t block[65536];
    ssize_t n;

    do {
        n = read(fd, block, sizeof(block));
        if (n > 0) {
            buf_room(out, (size_t)n);
            buf_add(out, block, (size_t)n);
        }
    } while ((n > 0 && out->len <= CONF_SCAN_FILE_MAX) || (n < 0 && errno == EINTR));
    int saved = errno;
    wipe(block, sizeof(block));
    errno = saved;
    return n >= 0;
}

static bool read_file(const char *file, struct buf *out, char **error)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read_all(fd, out);

    if (!ok)
        *error = xasprintf("%s: cannot be read: %s", file, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

static void tell_faults(const struct conf_source *src)
{
    for (size_t i = 0; i < src->scan.n_faults; i++) {
        char *place = xasprintf("%s:%u: ", src->file, src->scan.faults[i].line);
        add_error(src, place, src->scan.faults[i].text);
        free(place);
    }
}

/* Each step looks at what the ones before it could use. Where a part of the file could not be read, what is
 * there is looked at value by value, and not whether it is whole and fits together. */
static bool load_scanned(struct conf *c, struct conf_source *src, enum conf_role role, conf_trial_fn trial,
                         bool checking)
{
    struct parser p = {0};
    bool ok = false;

    tell_faults(src);
    for (size_t i = 0; i < src->scan.n; i++)
        check_section_name(src, &src->scan.sections[i]);
    if (src->scan.plain && !parser_start(&p, src->scan.plain))
        conf_fail(src, (struct conf_place){.section = "the file"}, "was not understood");
    else if (src->scan.plain)
        ok = set_all(c, src, p.cfg);
    if (p.cfg && !src->scan.cut) {
        ok = conf_check(c, src, role) && ok;
        if (trial)
            trial(c, src, checking);
    }
    parser_end(&p);
    return ok && !*src->error;
}

struct conf *conf_load(const char *file, enum conf_role role, char **error)
{
    return conf_load_tried(file, role, NULL, false, error);
}

struct conf *conf_load_tried(const char *file, enum conf_role role, conf_trial_fn trial, bool checking,
                             char **error)
{
    struct conf *c = xcalloc(1, sizeof(*c));
    struct buf text = {0}, told = {0};
    struct conf_source src = {.file = file, .error = error, .told = &told};

    *error = NULL;
    c->file = xstrdup(file);
    bool ok = read_file(file, &text, error);
    if (ok && !conf_scan(buf_span(&text), &src.scan))
        ok = false;
    if (src.scan.last_line > 0)
        ok = load_scanned(c, &src, role, trial, checking) && ok;
    conf_scan_free(&src.scan);
    buf_free(&told);
    buf_wipe(&text);
    if (!ok)
        conf_free(&c);
    return c;
}

static void free_section(const char *name, void *section)
{
    for (size_t i = 0; i < n_options; i++) {
        if (strcmp(options[i].section, name))
            continue;
        void *field = field_of(section, &options[i]);
        if (options[i].type == OPTION_STRING)
            wipe_free(field);
        if (options[i].type == OPTION_LIST) {
            struct conf_list *list = field;
            for (size_t k = 0; k < list->n; k++)
                free(list->items[k]);
            free(list->items);
        }
    }
}

static void free_titled(struct conf *c, const struct section *s)
{
    for (size_t i = 0; i < conf_titled_count(c, s); i++) {
        free_section(s->name, conf_titled(c, s, i));
        free(*(char **)conf_titled(c, s, i));
    }
    free(titled_array(c, s));
}

void conf_free(struct conf **_c)
{
    struct conf *c = *_c;

    if (!c)
        return;
    *_c = NULL;
    account_free_aliases(c);
    migration_rules_free(&c->migration);
    for (size_t i = 0; i < c->n_waves; i++)
        account_names_free(&c->waves[i].listed);
    for (size_t i = 0; c->redis.addresses && i < c->redis.n_stores; i++)
        address_free(&c->redis.addresses[i]);
    free(c->redis.addresses);
    for (size_t i = 0; i < c->n_backends; i++) {
        conf_free_addresses(&c->backends[i]);
        wipe_free(&c->backends[i].master_password);
        wipe_free(&c->backends[i].doveadm_key);
    }
    for (size_t i = 0; i < n_sections; i++)
        if (sections[i].titles)
            free_titled(c, &sections[i]);
        else
            free_section(sections[i].name, (char *)c + sections[i].offset);
    free(c->file);
    free(c);
}

const struct conf_backend *conf_backend(const struct conf *c, const char *name)
{
    for (size_t i = 0; i < c->n_backends; i++)
        if (!strcmp(c->backends[i].name, name))
            return &c->backends[i];
    return NULL;
}

/* "*": any characters; "?": one. Where a "*" took too few, the last one takes one more. */
bool conf_fits(const char *pattern, const char *text)
{
    const char *star = NULL, *after = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            after = text;
        } else if (*pattern && (*pattern == '?' || *pattern == *text)) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++after;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

const struct conf_rule *conf_rule_of(const struct conf *c, const char *user)
{
    for (size_t i = 0; i < c->n_rules; i++)
        if (conf_fits(c->rules[i].pattern, user))
            return &c->rules[i];
    return NULL;
}

struct conf_pair conf_pair_of(const struct conf *c, const char *user)
{
    const struct conf_rule *rule = conf_rule_of(c, user);

    if (rule)
        return (struct conf_pair){rule->source, rule->target};
    return (struct conf_pair){c->migration.source, c->migration.target};
}
