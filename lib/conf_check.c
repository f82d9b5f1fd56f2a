/* The rules that hold between options, or that a type can't tell. Every rule holds for every program, but for
 * the files that only one of them reads: those are asked for by that one alone. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "account.h"
#include "buf_room.h"
#include "cidr.h"
#include "conf_priv.h"
#include "imap_caps.h"
#include "migration_rules.h"
#include "window.h"
#include "xalloc.h"

enum { SECRET_MAX = 1024, NAME_MAX_LEN = 64, DOMAIN_MAX = 253 };

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

static struct conf_place place(const char *section, const char *title, const char *option)
{
    return (struct conf_place){section, title, option, 0};
}

/* Letters, digits and "._-": what may be part of a key in the store, of a log line and of another name. */
bool conf_check_is_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n <= NAME_MAX_LEN && strspn(s, LETTERS DIGITS "._-") == n;
}

static bool is_readable(const char *file)
{
    return access(file, R_OK) == 0;
}

static bool check_readable(const struct conf_source *src, struct conf_place at, const char *file)
{
    if (is_readable(file))
        return true;
    return conf_fail(src, at, "\"%s\" cannot be read: %s", file, strerror(errno));
}

/* --- files with a password --- */

static const char *secret_fault(const struct buf *secret)
{
    struct span s = buf_span(secret);

    if (s.len == 0)
        return "holds no password";
    if (s.len > SECRET_MAX)
        return "is larger than 1 KiB; expected the password in its only line";
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < ' ' || s.p[i] == 0x7f)
            return "holds control characters or more than one line; expected the password in its only line";
    return NULL;
}

static bool read_secret(const char *file, struct buf *out)
{
    uint8_t block[SECRET_MAX + 2];
    ssize_t n = 1;
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && out->len <= SECRET_MAX + 1 && n != 0) {
        n = read(fd, block, sizeof(block));
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0) {
            buf_room(out, (size_t)n);
            buf_add(out, block, (size_t)n);
        }
    }
    int saved = errno;
    if (fd >= 0)
        close(fd);
    wipe(block, sizeof(block));
    errno = saved;
    return fd >= 0 && n >= 0;
}

/* NULL: told. */
static char *secret_of(const struct conf_source *src, struct conf_place at, const char *file)
{
    struct buf secret = {0};
    char *text = NULL;

    if (!read_secret(file, &secret)) {
        int saved = errno;
        buf_wipe(&secret);
        conf_fail(src, at, "\"%s\" cannot be read: %s", file, strerror(saved));
        return NULL;
    }
    if (secret.len && secret.mem[secret.off + secret.len - 1] == '\n')
        secret.len--;
    const char *fault = secret_fault(&secret);
    if (fault)
        conf_fail(src, at, "\"%s\" %s", file, fault);
    else
        text = xsecret(buf_span(&secret));
    buf_wipe(&secret);
    return text;
}

/* --- addresses --- */

static const char *const redis_prefixes[] = {"redis://",     "rediss://",  "unix://",     "sentinel://",
                                             "sentinels://", "cluster://", "clusters://", NULL};

/* A password is given once: in the URL, or in a file. */
static bool load_redis_password(const struct conf_source *src, const char *option, const char *file,
                                char **password)
{
    struct conf_place at = place("redis", NULL, option);

    if (!*file)
        return true;
    if (*password)
        return conf_fail(src, at, "\"%s\" is of no use, since the url holds a password; take that out", file);
    *password = secret_of(src, at, file);
    return *password != NULL;
}

static bool load_redis_passwords(struct conf_redis *r, const struct conf_source *src, size_t nth)
{
    struct conf_place at = place("redis", NULL, "url");
    struct address *a = &r->addresses[nth];
    bool ok = load_redis_password(src, "password_file", r->password_file, &a->password);

    if (*r->sentinel_password_file && !address_has_sentinels(a))
        return conf_fail(src, place("redis", NULL, "sentinel_password_file"), "the url names no Sentinels");
    ok = load_redis_password(src, "sentinel_password_file", r->sentinel_password_file,
                             &a->sentinel_password) &&
         ok;
    at.nth = a->partition ? 0 : nth;
    if (ok && ((a->user && !a->password) || (a->sentinel_user && !a->sentinel_password)))
        return conf_fail(src, at,
                         "it names a user and no password: write \":password\" behind the user, or give %s",
                         a->user && !a->password ? "password_file" : "sentinel_password_file");
    return ok;
}

static bool check_pins(const struct conf_list *pins, const struct conf_source *src, struct conf_place at)
{
    uint8_t pin[CONF_PIN_SIZE];
    bool ok = true;

    for (at.nth = 0; at.nth < pins->n; at.nth++)
        if (!conf_pin(pins->items[at.nth], pin))
            ok = conf_fail(src, at, "\"%s\" is not \"sha256//\" and the base64 of a SHA-256 hash",
                           pins->items[at.nth]);
    return ok;
}

static bool check_redis_file(const struct conf_source *src, const char *option, const char *file)
{
    return !*file || check_readable(src, place("redis", NULL, option), file);
}

static bool check_redis_tls(const struct conf_redis *r, const struct conf_source *src)
{
    bool ok = check_pins(&r->pin, src, place("redis", NULL, "pin"));

    if (strspn(r->tls_name, LETTERS DIGITS "._-:") != strlen(r->tls_name))
        ok =
            conf_fail(src, place("redis", NULL, "tls_name"), "\"%s\" is not the name of a host", r->tls_name);
    if (!*r->tls_cert != !*r->tls_key)
        ok = conf_fail(src, place("redis", NULL, *r->tls_cert ? "tls_cert" : "tls_key"), "needs %s",
                       *r->tls_cert ? "tls_key" : "tls_cert");
    ok = check_redis_file(src, "ca_file", r->ca_file) && ok;
    ok = check_redis_file(src, "tls_cert", r->tls_cert) && ok;
    return check_redis_file(src, "tls_key", r->tls_key) && ok;
}

/* Who gives one of them believes that the connection is encrypted. */
static bool check_redis_plain(const struct conf_redis *r, const struct conf_source *src)
{
    const char *option = *r->ca_file    ? "ca_file"
                         : r->pin.n > 0 ? "pin"
                         : *r->tls_name ? "tls_name"
                         : *r->tls_cert ? "tls_cert"
                         : *r->tls_key  ? "tls_key"
                                        : NULL;

    return !option ||
           conf_fail(
               src, place("redis", NULL, option),
               "is of no use without TLS: url has to begin with rediss://, sentinels:// or clusters://");
}

char *conf_store_prefix(const struct conf_redis *r, const struct address *a)
{
    return a->partition ? xasprintf("%s{%02u}", r->prefix, (unsigned)a->partition) : xstrdup(r->prefix);
}

bool conf_redis_has_tls(const struct conf_redis *r)
{
    for (size_t i = 0; i < r->n_stores; i++)
        if (address_has_tls(&r->addresses[i]))
            return true;
    return false;
}

static bool check_redis_url(struct conf_redis *r, const struct conf_source *src, struct conf_place at)
{
    struct address *a = &r->addresses[at.nth];
    const char *url = r->urls.items[at.nth];

    if (!conf_take_address(src, at, url, redis_prefixes, "an address of a Redis",
                           "redis://host[:port][/db], rediss://host[:port][/db], unix:///path[?db=N], "
                           "sentinel://host[:port],host[:port]/NAME, sentinels://..., "
                           "cluster://host[:port],host[:port]?partitions=N or clusters://...",
                           a))
        return false;
    bool unusable = a->host && a->port == 0;
    for (size_t i = 0; i < a->n_hosts; i++)
        unusable = unusable || a->hosts[i].port == 0;
    if (address_has_cluster(a) && r->urls.n > 1)
        return conf_fail(src, at, "a cluster is the only url: its partitions are the stores of the site");
    for (size_t i = 0; i < at.nth; i++)
        if (!strcmp(url, r->urls.items[i]))
            return conf_fail(src, at, "two stores have one url: each needs a Redis of its own");
    return !unusable || conf_fail(src, at, "port 0 cannot be connected to");
}

/* Each partition of a cluster is a store with an address of its own. */
static void make_partitions(struct conf_redis *r)
{
    char *why = NULL;
    bool ok = true;

    if (!address_has_cluster(&r->addresses[0]))
        return;
    r->n_stores = r->addresses[0].partitions;
    r->addresses = xreallocarray(r->addresses, r->n_stores, sizeof(*r->addresses));
    for (size_t i = 0; i < r->n_stores; i++) {
        ok = (i == 0 || address_parse(r->urls.items[0], &r->addresses[i], &why)) && ok;
        r->addresses[i].partition = (uint32_t)i + 1;
    }
    assert(ok); /* the first one was understood */
}

static bool check_redis_urls(struct conf_redis *r, const struct conf_source *src)
{
    struct conf_place at = place("redis", NULL, "url");
    bool ok = true;

    if (r->urls.n == 0)
        return conf_fail(src, at, "names no Redis");
    if (r->urls.n > SITE_STORES_MAX)
        return conf_fail(src, at, "names %zu stores; expected %d at most", r->urls.n, SITE_STORES_MAX);
    r->addresses = xcalloc(r->urls.n, sizeof(*r->addresses));
    r->n_stores = r->urls.n;
    for (; at.nth < r->urls.n; at.nth++)
        ok = check_redis_url(r, src, at) && ok;
    if (ok)
        make_partitions(r);
    for (size_t i = 0; ok && i < r->n_stores; i++)
        ok = load_redis_passwords(r, src, i);
    return ok;
}

static bool check_redis(struct conf *c, const struct conf_source *src)
{
    struct conf_redis *r = &c->redis;
    struct conf_place at = place("redis", NULL, "prefix");
    size_t n = strlen(r->prefix);

    bool ok = check_redis_urls(r, src);
    if (ok)
        ok = conf_redis_has_tls(r) ? check_redis_tls(r, src) : check_redis_plain(r, src);
    if (n == 0 || n > NAME_MAX_LEN || strspn(r->prefix, LETTERS DIGITS "._-:") != n ||
        r->prefix[n - 1] == ':')
        return conf_fail(src, at,
                         "\"%s\" is not 1 to 64 letters, digits and \"._-:\", without \":\" at its end",
                         r->prefix);
    return ok;
}

/* --- backends --- */

/* %u once, %m once at most, something between them, and nothing next to %u that names are full of: the
 * character that stands there is the one that login names may not hold (account.h). */
static const char *pattern_fault(const char *p)
{
    unsigned u = 0, m = 0;

    for (const char *s = p; *s; s++) {
        if ((unsigned char)*s < ' ' || (unsigned char)*s > '~')
            return "holds something other than printable ASCII";
        if (*s != '%')
            continue;
        s++;
        u += *s == 'u';
        m += *s == 'm';
        if (*s != 'u' && *s != 'm')
            return "has a \"%\" that is followed by neither u nor m";
        if (s[1] == '%' && (s[2] == 'u' || s[2] == 'm'))
            return "has nothing between %u and %m";
    }
    if (u != 1 || m > 1)
        return "does not hold %u once, and %m once at most";
    const char *at = strstr(p, "%u");
    if ((at > p && strchr(LETTERS DIGITS "@.%", at[-1])) || (at[2] && strchr(LETTERS DIGITS "@.%", at[2])))
        return "has a character next to %u that occurs in login names";
    return NULL;
}

static bool check_master(const struct conf_backend *b, const struct conf_source *src)
{
    const struct {
        const char *option, *value;
    } of_no_use[] = {{"master_password_file", b->master_password_file},
                     {"master_login", b->master_login},
                     {"check_user", b->check_user}};
    bool ok = true;

    if (*b->master_user && !*b->master_password_file)
        ok = conf_fail(src, place("backend", b->name, "master_user"), "\"%s\" needs master_password_file",
                       b->master_user);
    for (size_t i = 0; i < COUNTOF(of_no_use) && !*b->master_user; i++)
        if (*of_no_use[i].value)
            ok = conf_fail(src, place("backend", b->name, of_no_use[i].option),
                           "\"%s\" is of no use without master_user", of_no_use[i].value);
    return ok;
}

static bool check_sign_in(const struct conf_backend *b, const struct conf_source *src)
{
    static const char *const words[] = {"passthrough", "master", "proxyauth"};
    const char *fault = *b->master_login ? pattern_fault(b->master_login) : NULL;
    bool ok = true;

    if (b->sign_in != SIGN_IN_PASSTHROUGH && !*b->master_user)
        ok = conf_fail(src, place("backend", b->name, "sign_in"),
                       "\"%s\" needs master_user and master_password_file", words[b->sign_in]);
    if (fault)
        ok = conf_fail(src, place("backend", b->name, "master_login"),
                       "\"%s\" %s; expected such as \"%%u*%%m\"", b->master_login, fault);
    return check_master(b, src) && ok;
}

static bool check_auth_backend(const struct conf *c, const struct conf_backend *b,
                               const struct conf_source *src)
{
    struct conf_place at = place("backend", b->name, "auth_backend");

    if (!*b->auth_backend)
        return true;
    const struct conf_backend *other = conf_backend(c, b->auth_backend);
    if (!other || other == b)
        return conf_fail(src, at, "\"%s\" is not the name of another backend", b->auth_backend);
    if (*other->auth_backend)
        return conf_fail(src, at, "\"%s\" has an auth_backend itself; name the one that checks passwords",
                         b->auth_backend);
    return true;
}

/* Only the migrator signs in as master, and a proxy where another backend has checked the password. */
static bool load_secret(struct conf_backend *b, const struct conf_source *src)
{
    if (*b->master_password_file)
        b->master_password =
            secret_of(src, place("backend", b->name, "master_password_file"), b->master_password_file);
    return !*b->master_password_file || b->master_password;
}

/* --- backends: how they are told the numbers of mailboxes --- */

static bool check_doveadm(const struct conf_backend *b, const struct conf_source *src)
{
    struct conf_place url = place("backend", b->name, "doveadm_url");
    const char *fault = *b->doveadm_url ? conf_url_fault(b->doveadm_url) : NULL;

    if (fault)
        return conf_fail(src, url, "the URL can't be used: %s", fault);
    if (*b->doveadm_url && !*b->doveadm_key_file)
        return conf_fail(src, url, "needs doveadm_key_file");
    if (*b->doveadm_key_file && !*b->doveadm_url)
        return conf_fail(src, place("backend", b->name, "doveadm_key_file"),
                         "\"%s\" is of no use without doveadm_url", b->doveadm_key_file);
    return true;
}

static bool check_numbers(const struct conf_backend *b, const struct conf_source *src)
{
    struct conf_place at = place("backend", b->name, "numbers");

    if (b->numbers == TELL_DOVEADM && !*b->doveadm_url)
        return conf_fail(src, at, "\"doveadm\" needs doveadm_url and doveadm_key_file");
    if (b->numbers == TELL_CYRUS && !*b->master_user)
        return conf_fail(src, at, "\"cyrus\" needs master_user and master_password_file");
    return true;
}

static bool load_doveadm_key(struct conf_backend *b, const struct conf_source *src)
{
    if (*b->doveadm_key_file)
        b->doveadm_key = secret_of(src, place("backend", b->name, "doveadm_key_file"), b->doveadm_key_file);
    return !*b->doveadm_key_file || b->doveadm_key;
}

static bool check_capabilities(const struct conf_backend *b, const struct conf_source *src)
{
    struct imap_caps caps = {0};
    const char *bad = imap_caps_override(&caps, b->capabilities.items, b->capabilities.n);

    return bad ? conf_fail(src, place("backend", b->name, "capabilities"),
                           "\"%s\" is no capability that imapferry asks for", bad)
               : true;
}

static bool check_backend_pins(const struct conf_backend *b, const struct conf_source *src)
{
    bool ok = check_pins(&b->pin, src, place("backend", b->name, "pin"));

    if (b->pin.n > 0 && !backend_has_tls(b))
        ok = conf_fail(src, place("backend", b->name, "pin"), "is of no use without TLS");
    return ok;
}

static bool check_backend(struct conf *c, struct conf_backend *b, const struct conf_source *src,
                          enum conf_role role)
{
    bool ok = true, by_master = b->sign_in != SIGN_IN_PASSTHROUGH || *b->auth_backend;

    if (!conf_check_is_name(b->name))
        ok = conf_fail(src, place("backend", b->name, NULL),
                       "its name is not 1 to 64 letters, digits and \"._-\"");
    ok = conf_check_addresses(b, src) && ok;
    ok = check_sign_in(b, src) && ok;
    ok = check_auth_backend(c, b, src) && ok;
    ok = check_capabilities(b, src) && ok;
    ok = check_backend_pins(b, src) && ok;
    ok = check_doveadm(b, src) && check_numbers(b, src) && ok;
    if (role == CONF_CTL)
        return ok;
    if (*b->ca_file)
        ok = check_readable(src, place("backend", b->name, "ca_file"), b->ca_file) && ok;
    ok = (role == CONF_MIGRATOR ? load_doveadm_key(b, src) : true) && ok;
    return (role == CONF_MIGRATOR || by_master ? load_secret(b, src) : true) && ok;
}

/* --- proxy --- */

static bool check_listen(const struct conf *c, const struct conf_source *src, size_t nth, struct address *_r)
{
    struct conf_place at = {"proxy", NULL, "listen", nth};

    return conf_take_listen_address(src, at, c->proxy.listen.items[nth], _r);
}

/* Whoever comes by POP3 has to be let in wherever the account lives. */
static bool check_listen_pop3(const struct conf *c, const struct conf_source *src, const struct address *a,
                              size_t nth)
{
    if (!scheme_is_pop3(a->scheme))
        return true;
    for (size_t i = 0; i < c->n_backends; i++)
        if (!*c->backends[i].pop3_url && !c->backends[i].retired)
            return conf_fail(src, (struct conf_place){"proxy", NULL, "listen", nth},
                             "\"%s\" needs the option pop3 of each backend, and \"%s\" has none",
                             c->proxy.listen.items[nth], c->backends[i].name);
    return true;
}

/* resolve: names are looked up, as a start does; else only what is spelled alike is told. */
static bool check_listen_twins(const struct conf *c, const struct conf_source *src, const struct address *all,
                               size_t nth, bool resolve)
{
    struct conf_place at = {"proxy", NULL, "listen", nth};
    char *const *urls = c->proxy.listen.items;

    for (size_t i = 0; i < nth; i++) {
        if (!all[i].host && !all[i].path)
            continue;
        switch (conf_listen_meets(&all[i], &all[nth], resolve)) {
        case LISTEN_APART:
            break;
        case LISTEN_SAME:
            return strcmp(urls[i], urls[nth])
                       ? conf_fail(
                             src, at,
                             "\"%s\" is the same address and port as \"%s\": each would get some of the connections",
                             urls[nth], urls[i])
                       : conf_fail(src, at, "\"%s\" is given twice", urls[nth]);
        case LISTEN_OVERLAP:
            return conf_fail(src, at,
                             "\"%s\" and \"%s\" overlap: on one port, all addresses speak one of them",
                             urls[nth], urls[i]);
        }
    }
    return true;
}

bool conf_check_networks(const struct conf_source *src, struct conf_place at,
                         const struct conf_list *networks)
{
    struct cidr network;
    const char *why;
    bool ok = true;

    for (at.nth = 0; at.nth < networks->n; at.nth++)
        if (!cidr_parse(networks->items[at.nth], &network, &why))
            ok = conf_fail(src, at, "\"%s\" %s", networks->items[at.nth], why);
    return ok;
}

/* Somebody has to be let in who sends the header. */
static bool check_listen_trusts(const struct conf *c, const struct conf_source *src, const struct address *a,
                                size_t nth)
{
    if (!a->proxy_protocol || a->path || c->proxy.trusted.n > 0)
        return true;
    return conf_fail(src, (struct conf_place){"proxy", NULL, "listen", nth},
                     "\"%s\" takes connections from networks in trusted alone, and that is empty",
                     c->proxy.listen.items[nth]);
}

static bool check_listen_all(const struct conf *c, const struct conf_source *src, bool resolve, bool *tls)
{
    size_t n = c->proxy.listen.n;
    struct address *all = xcalloc(n + 1, sizeof(*all));
    bool ok = true;

    for (size_t i = 0; i < n; i++) {
        if (!check_listen(c, src, i, &all[i])) {
            all[i] = (struct address){0};
            ok = false;
            continue;
        }
        *tls = *tls || address_has_tls(&all[i]);
        ok = check_listen_pop3(c, src, &all[i], i) && ok;
        ok = check_listen_twins(c, src, all, i, resolve) && ok;
        ok = check_listen_trusts(c, src, &all[i], i) && ok;
    }
    for (size_t i = 0; i < n; i++)
        address_free(&all[i]);
    free(all);
    return ok;
}

static bool check_certificates(const struct conf_proxy *p, const struct conf_source *src)
{
    char *files[2];
    bool ok = true;

    for (size_t i = 0; conf_certificate(p, i, &files[0], &files[1]); i++)
        for (size_t k = 0; k < 2; k++) {
            struct conf_place at = place("proxy", NULL, NULL);
            at.option = conf_certificate_option(i, k == 1, &at.nth);
            if (*files[k] || i > 0)
                ok = check_readable(src, at, files[k]) && ok;
            free(files[k]);
        }
    return ok;
}

static bool is_listener(const struct conf_proxy *p, const char *url)
{
    for (size_t i = 0; i < p->listen.n; i++)
        if (strcmp(p->listen.items[i], url) == 0)
            return true;
    return false;
}

static bool check_clients(const struct conf_proxy *p, const struct conf_source *src)
{
    bool ok = true;

    if (*p->tls_client_ca)
        ok = check_readable(src, place("proxy", NULL, "tls_client_ca"), p->tls_client_ca);
    else if (p->tls_client_required)
        ok = conf_fail(src, place("proxy", NULL, "tls_client_required"), "needs tls_client_ca");
    for (size_t i = 0; i < p->tls_client_listen.n; i++)
        if (!is_listener(p, p->tls_client_listen.items[i]))
            ok = conf_fail(src, (struct conf_place){"proxy", NULL, "tls_client_listen", i},
                           "\"%s\" does not stand in listen", p->tls_client_listen.items[i]);
    return ok;
}

static bool check_listeners(const struct conf *c, const struct conf_source *src, enum conf_role role)
{
    struct conf_place cert = place("proxy", NULL, "tls_cert"), key = place("proxy", NULL, "tls_key");
    const struct conf_proxy *p = &c->proxy;
    bool tls = false, ok = check_listen_all(c, src, role == CONF_PROXY, &tls);

    if (role != CONF_PROXY)
        return ok;
    if (p->listen.n == 0)
        return conf_fail(src, place("proxy", NULL, "listen"),
                         "must be given; expected such as {\"imaps://[::]:993\"}");
    if (!tls)
        return ok;
    if (!*p->tls_cert)
        ok = conf_fail(
            src, cert,
            "must be given for listeners with TLS (imaps://, imap+starttls://, pop3s://, pop3+starttls://)");
    if (!*p->tls_key)
        ok = conf_fail(
            src, key,
            "must be given for listeners with TLS (imaps://, imap+starttls://, pop3s://, pop3+starttls://)");
    for (size_t i = 0; i < p->tls_ticket_files.n; i++)
        ok = check_readable(src, (struct conf_place){"proxy", NULL, "tls_ticket_files", i},
                            p->tls_ticket_files.items[i]) &&
             ok;
    ok = check_clients(p, src) && ok;
    return check_certificates(p, src) && ok;
}

static bool check_metrics_listen(const struct conf_source *src, const char *section, const char *text)
{
    static const char *const prefixes[] = {"http://", "http+unix://", NULL};
    struct address a = {0};
    bool ok =
        !*text || conf_take_address(src, place(section, NULL, "metrics_listen"), text, prefixes,
                                    "an address for metrics", "http://host:port or http+unix:///path", &a);

    address_free(&a);
    return ok;
}

static bool check_proxy(const struct conf *c, const struct conf_source *src, enum conf_role role)
{
    const struct conf_proxy *p = &c->proxy;
    bool ok = true;

    if (*p->id && !conf_check_is_name(p->id))
        ok = conf_fail(src, place("proxy", NULL, "id"), "\"%s\" is not 1 to 64 letters, digits and \"._-\"",
                       p->id);
    if (*p->upgrade_socket && p->upgrade_socket[0] != '/')
        ok = conf_fail(src, place("proxy", NULL, "upgrade_socket"), "\"%s\" is not an absolute path",
                       p->upgrade_socket);
    ok = check_metrics_listen(src, "proxy", p->metrics_listen) && ok;
    if (p->lease_long_ms < p->lease_ms)
        ok = conf_fail(src, place("proxy", NULL, "lease_long"), "is shorter than lease");
    ok = conf_check_networks(src, place("proxy", NULL, "trusted"), &p->trusted) && ok;
    ok = conf_check_sasl(c, src) && ok;
    return check_listeners(c, src, role) && ok;
}

/* --- the rest --- */

static bool check_migrator(const struct conf *c, const struct conf_source *src)
{
    const struct conf_migrator *m = &c->migrator;
    bool ok = true;

    if (*m->id && !conf_check_is_name(m->id))
        ok = conf_fail(src, place("migrator", NULL, "id"),
                       "\"%s\" is not 1 to 64 letters, digits and \"._-\"", m->id);
    if (m->journal_dir[0] != '/')
        ok = conf_fail(src, place("migrator", NULL, "journal_dir"), "\"%s\" is not an absolute path",
                       m->journal_dir);
    ok = check_metrics_listen(src, "migrator", m->metrics_listen) && ok;
    if (m->retry_max_ms < m->retry_min_ms)
        return conf_fail(src, place("migrator", NULL, "retry_max"), "is shorter than retry_min");
    return ok;
}

static bool check_seal_key(const struct conf_source *src, struct conf_place at, const char *file)
{
    if (is_readable(file))
        return true;
    return conf_fail(
        src, at,
        "\"%s\" cannot be read: %s; make the keys with \"imapferryctl seal-key\", or delete the section seal where both "
        "backends have a master_user",
        file, strerror(errno));
}

static bool check_seal(const struct conf *c, const struct conf_source *src, enum conf_role role)
{
    const struct conf_seal *s = &c->seal;
    bool ok = true;

    for (size_t i = 0; i < s->private_key_files.n; i++) {
        struct conf_place at = {"seal", NULL, "private_key_files", i};
        if (!*s->private_key_files.items[i])
            ok = conf_fail(src, at, "\"\" is not the name of a file");
        else if (role == CONF_MIGRATOR)
            ok = check_seal_key(src, at, s->private_key_files.items[i]) && ok;
    }
    if (role == CONF_PROXY && *s->public_key_file)
        ok = check_seal_key(src, place("seal", NULL, "public_key_file"), s->public_key_file) && ok;
    return ok;
}

/* Has one of them an address of the other? */
static bool share_address(const struct conf_backend *x, const struct conf_backend *y)
{
    const struct address *a, *b;

    for (size_t i = 0; (a = backend_address(x, i)); i++)
        for (size_t k = 0; (b = backend_address(y, k)); k++)
            if (conf_same_server(a, b))
                return true;
    return false;
}

/* at: of the section; its option is set here. */
static bool check_pair(const struct conf *c, const struct conf_source *src, struct conf_place at,
                       const char *source, const char *target)
{
    bool ok = true;

    at.option = "source";
    if (!conf_backend(c, source))
        ok = conf_fail(src, at, "\"%s\" is not the name of a backend", source);
    at.option = "target";
    if (!conf_backend(c, target))
        ok = conf_fail(src, at, "\"%s\" is not the name of a backend", target);
    if (!ok)
        return false;
    if (!strcmp(source, target))
        return conf_fail(src, at, "is the same backend as source");
    if (share_address(conf_backend(c, source), conf_backend(c, target)))
        return conf_fail(
            src, at, "\"%s\" has the same address as \"%s\": an account can't move from a server to itself",
            target, source);
    return true;
}

/* A pattern is compared with keys (account.h), which hold neither capitals nor what is percent-encoded there.
 */
bool conf_check_pattern(const struct conf_source *src, struct conf_place at, char *pattern)
{
    size_t good = strspn(pattern, LETTERS DIGITS "@._-+=%*?");

    if (!*pattern)
        return conf_fail(src, at, "its pattern is empty; expected such as \"*@example.org\"");
    if (pattern[good])
        return conf_fail(
            src, at,
            "no account holds the byte 0x%02X of its pattern: it is written as \"%%%02X\" in accounts",
            (uint8_t)pattern[good], (uint8_t)pattern[good]);
    for (char *p = pattern; *p; p++)
        if (*p == '%' && p[1] && p[2]) /* hex digits are capitals */
            p += 2;
        else if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return true;
}

static bool check_rule(const struct conf *c, struct conf_rule *r, const struct conf_source *src)
{
    struct conf_place at = place("rule", r->pattern, NULL);

    if (!conf_check_pattern(src, at, r->pattern))
        return false;
    return check_pair(c, src, at, r->source, r->target);
}

static void tell_rule(void *owner, const char *option, const char *value, size_t nth, const char *why)
{
    conf_fail(owner, (struct conf_place){"migration", NULL, option, nth}, "\"%s\" %s", value, why);
}

static bool check_rules(struct conf *c, const struct conf_source *src)
{
    return migration_rules_load(&c->migration, tell_rule, (void *)(uintptr_t)src);
}

static bool check_windows(const struct conf *c, const struct conf_source *src)
{
    const struct conf_migration *m = &c->migration;
    struct window w;
    const char *why;
    bool ok = true;

    for (size_t i = 0; i < m->window.n; i++)
        if (!window_parse(m->window.items[i], &w, &why))
            ok = conf_fail(src, (struct conf_place){"migration", NULL, "window", i}, "\"%s\" %s",
                           m->window.items[i], why);
    if (m->cutover == CUTOVER_WINDOW && m->window.n == 0)
        ok = conf_fail(src, place("migration", NULL, "cutover"), "\"window\" needs the option window");
    return ok;
}

static void tell_alias(void *owner, size_t nth, const char *text)
{
    conf_fail(owner, (struct conf_place){"migration", NULL, "aliases", nth}, "%s", text);
}

static bool check_hooks(const struct conf *c, const struct conf_source *src, enum conf_role role)
{
    const struct conf_migration *m = &c->migration;

    if (role != CONF_MIGRATOR)
        return true;
    bool ok = conf_check_hook(src, place("migration", NULL, "hook_freeze"), &m->hook_freeze);
    ok = conf_check_hook(src, place("migration", NULL, "hook_flip"), &m->hook_flip) && ok;
    ok = conf_check_hook(src, place("migration", NULL, "hook_settle"), &m->hook_settle) && ok;
    ok = conf_check_hook(src, place("migration", NULL, "hook_kick"), &m->hook_kick) && ok;
    for (size_t i = 0; i < c->n_backends; i++)
        ok = conf_check_provision(c, &c->backends[i], src) && ok;
    return ok;
}

static bool check_migration(struct conf *c, const struct conf_source *src)
{
    const char *domain = c->migration.default_domain;
    size_t n = strlen(domain);

    bool ok = check_pair(c, src, place("migration", NULL, NULL), c->migration.source, c->migration.target);
    for (size_t i = 0; i < c->n_rules; i++)
        ok = check_rule(c, &c->rules[i], src) && ok;
    ok = check_windows(c, src) && ok;
    if (n > DOMAIN_MAX || strspn(domain, LETTERS DIGITS ".-") != n ||
        (n && (*domain == '.' || domain[n - 1] == '.')))
        ok = conf_fail(src, place("migration", NULL, "default_domain"), "\"%s\" is not the name of a domain",
                       domain);
    ok = account_load_aliases(c, tell_alias, (void *)(uintptr_t)src) && ok;
    ok = conf_check_waves(c, src) && ok;
    return check_rules(c, src) && ok;
}

bool conf_check(struct conf *c, const struct conf_source *src, enum conf_role role)
{
    bool ok = check_redis(c, src);

    for (size_t i = 0; i < c->n_backends; i++)
        ok = check_backend(c, &c->backends[i], src, role) && ok;
    ok = check_proxy(c, src, role) && ok;
    ok = check_migrator(c, src) && ok;
    ok = check_seal(c, src, role) && ok;
    ok = conf_check_admin(c, src, role) && ok;
    ok = check_migration(c, src) && ok;
    ok = conf_check_delivery(c, src) && ok;
    ok = conf_check_lmtp(c, src) && ok;
    return check_hooks(c, src, role) && ok;
}
