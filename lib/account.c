#include <stdio.h>
#include <stdlib.h>

#include "account.h"
#include "buf.h"
#include "mutf7.h"
#include "percent.h"
#include "xalloc.h"

static bool account_is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c != '\0' && strchr("@._-+=", c));
}

/* Controls of ASCII, and those that UTF-8 writes as C2 80 to C2 9F. */
static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < ' ' || s.p[i] == 0x7f)
            return true;
        if (s.p[i] == 0xc2 && i + 1 < s.len && s.p[i + 1] < 0xa0)
            return true;
    }
    return false;
}

/* What a login name may be made of, whatever is configured. */
static const char *name_fault(struct span s)
{
    if (s.len == 0)
        return "the name is empty";
    if (s.len > ACCOUNT_LOGIN_MAX)
        return "the name is too long";
    if (has_control(s))
        return "the name holds control characters";
    if (!utf8_is_valid(s))
        return "the name is not valid UTF-8";
    if (s.p[0] == '@' || s.p[s.len - 1] == '@')
        return "the name begins or ends with \"@\"";
    return NULL;
}

/* Blanks around a name and the dot behind a domain name an account no server keeps apart from the one
 * without. */
static struct span trim(struct span s)
{
    while (s.len && s.p[0] == ' ') {
        s.p++;
        s.len--;
    }
    while (s.len && s.p[s.len - 1] == ' ')
        s.len--;
    if (s.len > 1 && s.p[s.len - 1] == '.' && !strchr("@. ", s.p[s.len - 2]) && memchr(s.p, '@', s.len))
        s.len--;
    return s;
}

/* A name that holds the character that stands next to the user's name in a master login would sign in as
 * another user, or as the master. */
static bool holds_separator(const struct conf_backend *b, struct span name)
{
    const char *u = b->master_login ? strstr(b->master_login, "%u") : NULL;

    if (!u)
        return false;
    if (u > b->master_login && memchr(name.p, u[-1], name.len))
        return true;
    return u[2] && memchr(name.p, u[2], name.len);
}

static void add_lower(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (uint8_t)(s.p[i] + 'a' - 'A') : s.p[i];
        buf_add(out, &c, 1);
    }
}

static void add_encoded(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (account_is_plain(s.p[i]))
            buf_add(out, &s.p[i], 1);
        else
            percent_write(out, s.p[i]);
    }
}

/* The key before aliases. */
static char *own_key(const struct conf *c, struct span login, const char **why)
{
    struct buf name = {0}, key = {0};
    char *result = NULL;

    if (login.len > ACCOUNT_LOGIN_MAX) {
        *why = name_fault(login);
        return NULL;
    }
    login = trim(login);
    add_lower(&name, login);
    if (c->migration.default_domain && *c->migration.default_domain && login.len &&
        !memchr(login.p, '@', login.len)) {
        buf_add_str(&name, "@");
        add_lower(&name, span_str(c->migration.default_domain));
    }
    struct span s = buf_span(&name);
    const char *fault = name_fault(s);
    for (size_t i = 0; i < c->n_backends && !fault; i++)
        if (holds_separator(&c->backends[i], s))
            fault = "the name holds the character that joins users and master users";
    if (fault) {
        *why = fault;
    } else {
        add_encoded(&key, s);
        result = xstrdup(buf_str(&key));
    }
    buf_free(&name);
    buf_free(&key);
    return result;
}

static int compare_alias(const void *a, const void *b)
{
    return strcmp(((const struct conf_alias *)a)->from, ((const struct conf_alias *)b)->from);
}

static const char *alias_of(const struct conf *c, const char *key)
{
    const struct conf_migration *m = &c->migration;
    struct conf_alias wanted = {.from = (char *)key};
    const struct conf_alias *found =
        m->n_alias_table ? bsearch(&wanted, m->alias_table, m->n_alias_table, sizeof(wanted), compare_alias)
                         : NULL;

    return found ? found->to : NULL;
}

char *account_key(const struct conf *c, struct span login, const char **why)
{
    char *key = own_key(c, login, why);
    const char *account = key ? alias_of(c, key) : NULL;

    if (account) {
        free(key);
        key = xstrdup(account);
    }
    return key;
}

bool account_is_alias(const struct conf *c, struct span login)
{
    const char *why;
    char *key = own_key(c, login, &why);
    bool is = key && alias_of(c, key);

    free(key);
    return is;
}

struct alias_load {
    struct conf *conf;
    account_fault_fn fn;
    void *owner;
    bool ok;
};

/* Takes the text. */
static void alias_fault(struct alias_load *l, size_t nth, char *text)
{
    l->ok = false;
    if (l->fn)
        l->fn(l->owner, nth, text);
    free(text);
}

static void add_alias(struct alias_load *l, size_t nth)
{
    struct conf_migration *m = &l->conf->migration;
    const char *text = m->aliases.items[nth], *eq = strchr(text, '='), *why = NULL;

    if (!eq) {
        alias_fault(l, nth, xasprintf("\"%s\" has no \"=\"; expected \"alias=account\"", text));
        return;
    }
    char *from = own_key(l->conf, span_of(text, (size_t)(eq - text)), &why);
    char *to = from ? own_key(l->conf, span_str(eq + 1), &why) : NULL;
    if (!to || !strcmp(from, to)) {
        alias_fault(l, nth, xasprintf("\"%s\": %s", text, to ? "both sides are the same account" : why));
        free(from);
        free(to);
        return;
    }
    m->alias_table[m->n_alias_table++] = (struct conf_alias){from, to, nth};
}

static void check_aliases(struct alias_load *l)
{
    const struct conf_migration *m = &l->conf->migration;
    const struct conf_alias *t = m->alias_table;

    for (size_t i = 0; i < m->n_alias_table; i++) {
        if (i > 0 && !strcmp(t[i - 1].from, t[i].from))
            alias_fault(l, t[i].nth > t[i - 1].nth ? t[i].nth : t[i - 1].nth,
                        xasprintf("\"%s\" is given twice", t[i].from));
        else if (alias_of(l->conf, t[i].to))
            alias_fault(l, t[i].nth,
                        xasprintf("\"%s=%s\": \"%s\" is an alias itself; name the account that it stands for",
                                  t[i].from, t[i].to, t[i].to));
    }
}

bool account_load_aliases(struct conf *c, account_fault_fn fn, void *owner)
{
    struct conf_migration *m = &c->migration;
    struct alias_load l = {.conf = c, .fn = fn, .owner = owner, .ok = true};

    account_free_aliases(c);
    if (m->aliases.n == 0)
        return true;
    m->alias_table = xcalloc(m->aliases.n, sizeof(*m->alias_table));
    for (size_t i = 0; i < m->aliases.n; i++)
        add_alias(&l, i);
    qsort(m->alias_table, m->n_alias_table, sizeof(*m->alias_table), compare_alias);
    check_aliases(&l);
    return l.ok;
}

void account_free_aliases(struct conf *c)
{
    struct conf_migration *m = &c->migration;

    for (size_t i = 0; i < m->n_alias_table; i++) {
        free(m->alias_table[i].from);
        free(m->alias_table[i].to);
    }
    free(m->alias_table);
    m->alias_table = NULL;
    m->n_alias_table = 0;
}

/* One byte of a key, as own_key() writes it: plain, or encoded because it is not plain and no capital. */
static bool account_take_byte(struct span *in, uint8_t *_r)
{
    bool escaped;

    if (!percent_take(in, HEX_CAPITALS, _r, &escaped))
        return false;
    return escaped ? !account_is_plain(*_r) && !(*_r >= 'A' && *_r <= 'Z') : account_is_plain(*_r);
}

char *account_login(const char *key)
{
    struct span rest = span_str(key);
    struct buf name = {0};
    uint8_t c;
    char *login = NULL;

    while (rest.len > 0 && name.len <= ACCOUNT_LOGIN_MAX && account_take_byte(&rest, &c))
        buf_add(&name, &c, 1);
    struct span s = buf_span(&name), t = trim(s);
    if (rest.len == 0 && !name_fault(s) && t.len == s.len)
        login = xspandup(s);
    buf_free(&name);
    return login;
}
