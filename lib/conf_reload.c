/* A configuration that is in use: its copies, and what a file that was read anew changes in it. */
#include <assert.h>
#include <stdlib.h>

#include "account.h"
#include "account_names.h"
#include "conf_priv.h"
#include "log.h"
#include "migration_rules.h"
#include "xalloc.h"

/* --- copies --- */

static struct conf_list copy_list(const struct conf_list *from)
{
    struct conf_list to = {.n = from->n};

    if (from->n > 0)
        to.items = xcalloc(from->n, sizeof(*to.items));
    for (size_t i = 0; i < from->n; i++)
        to.items[i] = xstrdup(from->items[i]);
    return to;
}

/* What a section that was copied byte by byte points at. */
static void copy_strings(const char *section, void *fields)
{
    for (size_t i = 0; i < n_options; i++) {
        void *field = (char *)fields + options[i].offset;
        if (strcmp(options[i].section, section))
            continue;
        if (options[i].type == OPTION_STRING)
            *(char **)field = xstrdup(*(char **)field);
        if (options[i].type == OPTION_LIST)
            *(struct conf_list *)field = copy_list(field);
    }
}

static void copy_titled(struct conf *to, const struct section *s)
{
    size_t n = conf_titled_count(to, s);
    char *array = NULL;

    if (n > 0) {
        array = xcalloc(n, s->size);
        memcpy(array, conf_titled(to, s, 0), n * s->size);
    }
    for (size_t i = 0; i < n; i++) {
        char *item = array + i * s->size;
        *(char **)item = xstrdup(*(char **)item);
        copy_strings(s->name, item);
    }
    memcpy((char *)to + s->offset, &array, sizeof(array));
}

/* The text was understood when it was loaded, so it is now. */
static void parse_again(struct address *a, const char *url)
{
    char *why = NULL;
    bool ok = address_parse(url, a, &why);

    assert(ok);
}

/* It may be of a file. */
static void keep_password(char **password, const char *known)
{
    wipe_free(password);
    *password = known ? xsecret(span_str(known)) : NULL;
}

static void copy_stores(struct conf_redis *to, const struct conf_redis *from)
{
    to->addresses = xcalloc(to->n_stores, sizeof(*to->addresses));
    for (size_t i = 0; i < to->n_stores; i++) {
        bool cluster = from->addresses[i].partition > 0;
        parse_again(&to->addresses[i], to->urls.items[cluster ? 0 : i]);
        to->addresses[i].partition = from->addresses[i].partition;
        keep_password(&to->addresses[i].password, from->addresses[i].password);
        keep_password(&to->addresses[i].sentinel_password, from->addresses[i].sentinel_password);
    }
}

static void reload_derive(struct conf *c)
{
    c->migration.alias_table = NULL;
    c->migration.n_alias_table = 0;
    c->migration.rules = NULL;
    bool ok = account_load_aliases(c, NULL, NULL) && migration_rules_load(&c->migration, NULL, NULL);
    assert(ok);
}

struct conf *conf_copy(const struct conf *c)
{
    struct conf *to = xcalloc(1, sizeof(*to));

    *to = *c;
    to->file = xstrdup(c->file);
    for (size_t i = 0; i < n_sections; i++)
        if (sections[i].titles)
            copy_titled(to, &sections[i]);
        else
            copy_strings(sections[i].name, (char *)to + sections[i].offset);
    copy_stores(&to->redis, &c->redis);
    for (size_t i = 0; i < to->n_backends; i++) {
        conf_make_addresses(&to->backends[i]);
        to->backends[i].master_password = to->backends[i].doveadm_key = NULL;
        keep_password(&to->backends[i].master_password, c->backends[i].master_password);
        keep_password(&to->backends[i].doveadm_key, c->backends[i].doveadm_key);
    }
    for (size_t i = 0; i < to->n_waves; i++)
        account_names_keep(to->waves[i].listed);
    reload_derive(to);
    return to;
}

/* --- changes --- */

static bool lists_equal(const struct conf_list *x, const struct conf_list *y)
{
    for (size_t i = 0; i < x->n && i < y->n; i++)
        if (strcmp(x->items[i], y->items[i]))
            return false;
    return x->n == y->n;
}

static size_t reload_size_of(const struct option *o)
{
    switch (o->type) {
    case OPTION_STRING:
        return sizeof(char *);
    case OPTION_LIST:
        return sizeof(struct conf_list);
    case OPTION_BOOL:
        return sizeof(bool);
    case OPTION_NUMBER:
        return sizeof(uint32_t);
    case OPTION_DURATION:
        return sizeof(uint64_t);
    case OPTION_ENUM:
        return sizeof(unsigned);
    }
    abort();
}

static bool values_equal(const struct option *o, const void *x, const void *y)
{
    if (o->type == OPTION_STRING)
        return strcmp(*(char *const *)x, *(char *const *)y) == 0;
    if (o->type == OPTION_LIST)
        return lists_equal(x, y);
    return memcmp(x, y, reload_size_of(o)) == 0;
}

static bool reload_is_empty(const struct option *o, const void *x)
{
    return o->type == OPTION_STRING ? !**(char *const *)x : ((const struct conf_list *)x)->n == 0;
}

/* What is there of them, a policy of TLS say, goes by the scheme. */
static bool have_one_scheme(const struct conf_list *x, const struct conf_list *y)
{
    const char *end = x->n > 0 ? strstr(x->items[0], "://") : NULL;

    return end && y->n > 0 && !strncmp(x->items[0], y->items[0], (size_t)(end - x->items[0]) + 3);
}

static bool may_take(const struct option *o, const void *x, const void *y)
{
    if (o->reload == RELOAD_ADDRESSES)
        return have_one_scheme(x, y);
    return o->reload == RELOAD_YES ||
           (o->reload == RELOAD_FILE && reload_is_empty(o, x) == reload_is_empty(o, y));
}

static void exchange(void *x, void *y, size_t size)
{
    char between[sizeof(struct conf_list)];

    assert(size <= sizeof(between));
    memcpy(between, x, size);
    memcpy(x, y, size);
    memcpy(y, between, size);
}

struct change {
    conf_change_fn fn;
    void *owner;
};

static void reload_tell(const struct change *to, const char *section, const char *title, const char *option,
                        bool taken)
{
    if (to->fn)
        to->fn(to->owner, section, title, option, taken);
}

static void reload_section(const char *section, const char *title, void *fields, void *fresh,
                           const struct change *to)
{
    for (size_t i = 0; i < n_options; i++) {
        const struct option *o = &options[i];
        void *x = (char *)fields + o->offset, *y = (char *)fresh + o->offset;
        if (strcmp(o->section, section) || values_equal(o, x, y))
            continue;
        bool taken = may_take(o, x, y);
        if (taken)
            exchange(x, y, reload_size_of(o));
        reload_tell(to, section, title, o->name, taken);
    }
}

static void *find_titled(const struct conf *c, const struct section *s, const char *title)
{
    for (size_t i = 0; i < conf_titled_count(c, s); i++)
        if (!strcmp(*(char **)conf_titled(c, s, i), title))
            return conf_titled(c, s, i);
    return NULL;
}

/* Those that are in `with` and not in c. */
static void tell_missing(const struct conf *c, const struct conf *with, const struct section *s,
                         const struct change *to)
{
    for (size_t i = 0; i < conf_titled_count(with, s); i++) {
        const char *title = *(char **)conf_titled(with, s, i);
        if (!find_titled(c, s, title))
            reload_tell(to, s->name, title, NULL, false);
    }
}

/* By their names, wherever they stand; but that rules stand in another order is told of the first one that
 * moved. */
static void reload_titled(struct conf *c, struct conf *fresh, const struct section *s,
                          const struct change *to)
{
    bool ordered = !strcmp(s->name, "rule"), moved = false;

    tell_missing(c, fresh, s, to);
    tell_missing(fresh, c, s, to);
    for (size_t i = 0; i < conf_titled_count(c, s); i++) {
        void *item = conf_titled(c, s, i);
        const char *title = *(char **)item;
        void *other = find_titled(fresh, s, title);
        if (!other)
            continue;
        reload_section(s->name, title, item, other, to);
        if (ordered && !moved && conf_titled_count(c, s) == conf_titled_count(fresh, s) &&
            other != conf_titled(fresh, s, i)) {
            moved = true;
            reload_tell(to, s->name, title, NULL, false);
        }
    }
}

/* What is different of two of one name; a file may have others in it under the same name. */
static void tell_changes(const struct section *s, const void *item, const void *other,
                         const struct change *to)
{
    const char *title = *(char *const *)item;

    for (size_t i = 0; i < n_options; i++) {
        const struct option *o = &options[i];
        if (!strcmp(o->section, s->name) &&
            !values_equal(o, (const char *)item + o->offset, (const char *)other + o->offset))
            reload_tell(to, s->name, title, o->name, true);
    }
}

/* Those of a wave's files. */
static void tell_lists(const struct conf *c, const struct conf *fresh, const struct change *to)
{
    for (size_t i = 0; i < c->n_waves; i++) {
        const struct conf_wave *w = find_titled(fresh, conf_section("wave"), c->waves[i].name);
        if (w && lists_equal(&w->accounts, &c->waves[i].accounts) &&
            !account_names_equal(w->listed, c->waves[i].listed))
            reload_tell(to, "wave", w->name, "accounts", true);
    }
}

/* Of the first one that moved, where they are the same ones. */
static void tell_order(const struct conf *c, const struct conf *fresh, const struct section *s,
                       const struct change *to)
{
    size_t n = conf_titled_count(c, s);

    for (size_t i = 0; i < n; i++)
        if (!find_titled(fresh, s, *(char **)conf_titled(c, s, i)))
            return;
    for (size_t i = 0; i < n && n == conf_titled_count(fresh, s); i++)
        if (find_titled(fresh, s, *(char **)conf_titled(c, s, i)) != conf_titled(fresh, s, i)) {
            reload_tell(to, s->name, *(char **)conf_titled(c, s, i), NULL, true);
            return;
        }
}

/* All of them, as they are in fresh. */
static void reload_exchanged(struct conf *c, struct conf *fresh, const struct section *s,
                             const struct change *to)
{
    const struct conf *const both[] = {c, fresh};

    for (size_t k = 0; k < COUNTOF(both); k++)
        for (size_t i = 0; i < conf_titled_count(both[k], s); i++)
            if (!find_titled(both[1 - k], s, *(char **)conf_titled(both[k], s, i)))
                reload_tell(to, s->name, *(char **)conf_titled(both[k], s, i), NULL, true);
    for (size_t i = 0; i < conf_titled_count(c, s); i++) {
        const void *item = conf_titled(c, s, i), *other = find_titled(fresh, s, *(char *const *)item);
        if (other)
            tell_changes(s, item, other, to);
    }
    tell_lists(c, fresh, to);
    tell_order(c, fresh, s, to);
    exchange((char *)c + s->offset, (char *)fresh + s->offset, sizeof(void *));
    exchange((char *)c + s->count, (char *)fresh + s->count, sizeof(size_t));
}

static void reload_secret(const char *file, char **password, char **fresh)
{
    if (*file && *password && *fresh)
        exchange(password, fresh, sizeof(char *));
}

/* Made of what was exchanged. */
static void reload_addresses(struct conf *c)
{
    for (size_t i = 0; i < c->n_backends; i++) {
        if (c->backends[i].urls.n == 0)
            continue;
        conf_free_addresses(&c->backends[i]);
        conf_make_addresses(&c->backends[i]);
    }
}

/* The password of the file is read anew where the file is the same, too. */
static void reload_secrets(struct conf *c, struct conf *fresh)
{
    for (size_t i = 0; i < c->redis.n_stores && i < fresh->redis.n_stores; i++)
        reload_secret(c->redis.password_file, &c->redis.addresses[i].password,
                      &fresh->redis.addresses[i].password);
    for (size_t i = 0; i < c->n_backends; i++) {
        struct conf_backend *b = &c->backends[i];
        struct conf_backend *other = find_titled(fresh, conf_section("backend"), b->name);
        if (!other)
            continue;
        reload_secret(b->master_password_file, &b->master_password, &other->master_password);
        reload_secret(b->doveadm_key_file, &b->doveadm_key, &other->doveadm_key);
    }
}

void conf_reload(struct conf *c, struct conf *fresh, conf_change_fn fn, void *owner)
{
    const struct change to = {fn, owner};

    for (size_t i = 0; i < n_sections; i++) {
        const struct section *s = &sections[i];
        if (s->exchanged)
            reload_exchanged(c, fresh, s, &to);
        else if (s->titles)
            reload_titled(c, fresh, s, &to);
        else
            reload_section(s->name, NULL, (char *)c + s->offset, (char *)fresh + s->offset, &to);
    }
    reload_secrets(c, fresh);
    reload_addresses(c);
    reload_addresses(fresh);
}

/* --- what the log is told --- */

void conf_log_change(void *owner, const char *section, const char *title, const char *option, bool taken)
{
    (void)owner;
    if (taken)
        LOG(INFO, "option_reloaded", LOG_S("section", section), LOG_S("name", title),
            LOG_S("option", option));
    else
        LOG(WARN, "option_needs_restart", LOG_S("section", section), LOG_S("name", title),
            LOG_S("option", option), LOG_S("effect", "the running value stays until then"));
}

void conf_old_tls(const struct conf *c, enum conf_role role, conf_old_tls_fn fn, void *owner)
{
    if (role == CONF_PROXY && *c->proxy.tls_cert && c->proxy.tls_min < TLS_1_2)
        fn(owner, NULL, c->proxy.tls_min);
    for (size_t i = 0; i < c->n_backends; i++)
        if (backend_has_tls(&c->backends[i]) && c->backends[i].tls_min < TLS_1_2)
            fn(owner, c->backends[i].name, c->backends[i].tls_min);
}

static void log_old_tls(void *owner, const char *title, enum tls_version min)
{
    (void)owner;
    LOG(WARN, "old_tls", LOG_S("section", title ? "backend" : "proxy"), LOG_S("name", title),
        LOG_S("tls_min", tls_version_word(min)),
        LOG_S(
            "effect",
            "it can be attacked by who stands on the way, and passwords pass: raise it once nobody needs it"));
}

void conf_log_old_tls(const struct conf *c, enum conf_role role)
{
    conf_old_tls(c, role, log_old_tls, NULL);
}

void conf_log_refusal(const char *errors)
{
    for (const char *end; *errors; errors = *end ? end + 1 : end) {
        end = errors + strcspn(errors, "\n");
        LOG(ERROR, "reload_refused", LOG_SPAN("error", span_of(errors, (size_t)(end - errors))),
            LOG_S("effect", "all stays as it was"));
    }
}
