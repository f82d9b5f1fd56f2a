#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/un.h>

#include "address.h"
#include "buf.h"
#include "percent.h"
#include "xalloc.h"

struct scheme {
    const char *prefix;
    enum address_scheme scheme;
    uint16_t port; /* 0: a UNIX socket */
    const char *form;
};

static const struct scheme schemes[] = {
    {"imaps://", ADDRESS_IMAPS, 993, "imaps://host[:port]"},
    {"imap+starttls://", ADDRESS_IMAP_STARTTLS, 143, "imap+starttls://host[:port]"},
    {"imap://", ADDRESS_IMAP, 143, "imap://host[:port]"},
    {"imap+unix://", ADDRESS_IMAP_UNIX, 0, "imap+unix:///path"},
    {"pop3s://", ADDRESS_POP3S, 995, "pop3s://host[:port]"},
    {"pop3+starttls://", ADDRESS_POP3_STARTTLS, 110, "pop3+starttls://host[:port]"},
    {"pop3://", ADDRESS_POP3, 110, "pop3://host[:port]"},
    {"http://", ADDRESS_HTTP, 80, "http://host[:port]"},
    {"https://", ADDRESS_HTTPS, 443, "https://host[:port]"},
    {"http+unix://", ADDRESS_HTTP_UNIX, 0, "http+unix:///path"},
    {"inet://", ADDRESS_INET, 8026, "inet://host[:port]"},
    {"redis://", ADDRESS_REDIS, 6379, "redis://[[user]:password@]host[:port][/db]"},
    {"rediss://", ADDRESS_REDISS, 6379, "rediss://[[user]:password@]host[:port][/db]"},
    {"unix://", ADDRESS_REDIS_UNIX, 0, "unix://[[user]:password@]/path[?db=N]"},
    {"sentinel://", ADDRESS_SENTINEL, 26379,
     "sentinel://[[user]:password@]host[:port],host[:port]/NAME[/db][?sentinel_auth=[user]:password]"},
    {"sentinels://", ADDRESS_SENTINELS, 26379,
     "sentinels://[[user]:password@]host[:port],host[:port]/NAME[/db][?sentinel_auth=[user]:password]"},
    {"cluster://", ADDRESS_CLUSTER, 6379, "cluster://[[user]:password@]host[:port],host[:port]?partitions=N"},
    {"clusters://", ADDRESS_CLUSTERS, 6379,
     "clusters://[[user]:password@]host[:port],host[:port]?partitions=N"},
};

enum { HOST_MAX = 253, HOSTS_MAX = 32, USERINFO_MAX = 1024, DB_MAX = 65535 };

static const char sentinel_auth[] = "?sentinel_auth=";

/* What is being read: each step eats from the front of rest, or says what is wrong with it. */
struct parse {
    const struct scheme *scheme;
    struct span rest;
    const char *ends; /* what a host or a port ends at */
    const char *why;
};

static bool has_sentinels(enum address_scheme s)
{
    return s == ADDRESS_SENTINEL || s == ADDRESS_SENTINELS;
}

static bool has_cluster(enum address_scheme s)
{
    return s == ADDRESS_CLUSTER || s == ADDRESS_CLUSTERS;
}

static bool is_redis(enum address_scheme s)
{
    return s == ADDRESS_REDIS || s == ADDRESS_REDISS || s == ADDRESS_REDIS_UNIX || has_sentinels(s) ||
           has_cluster(s);
}

bool scheme_is_pop3(enum address_scheme s)
{
    return s == ADDRESS_POP3S || s == ADDRESS_POP3_STARTTLS || s == ADDRESS_POP3;
}

bool scheme_begins_with_tls(enum address_scheme s)
{
    return s == ADDRESS_IMAPS || s == ADDRESS_POP3S || s == ADDRESS_HTTPS || s == ADDRESS_REDISS ||
           s == ADDRESS_SENTINELS || s == ADDRESS_CLUSTERS;
}

bool scheme_turns_to_tls(enum address_scheme s)
{
    return s == ADDRESS_IMAP_STARTTLS || s == ADDRESS_POP3_STARTTLS;
}

/* Clients come in by it. */
static bool is_for_clients(enum address_scheme s)
{
    return s == ADDRESS_IMAPS || s == ADDRESS_IMAP_STARTTLS || s == ADDRESS_IMAP || s == ADDRESS_IMAP_UNIX ||
           scheme_is_pop3(s);
}

static bool address_fail(struct parse *p, const char *why)
{
    p->why = why;
    return false;
}

static struct span address_span_from(struct span s, size_t at)
{
    return span_of(s.p + at, s.len - at);
}

static const struct scheme *find_scheme(struct span text)
{
    for (size_t i = 0; i < COUNTOF(schemes); i++) {
        size_t n = strlen(schemes[i].prefix);
        if (text.len >= n && !memcmp(text.p, schemes[i].prefix, n))
            return &schemes[i];
    }
    return NULL;
}

/* "%40" becomes "@"; NULL for a stray "%" and for controls, NUL among them. */
static char *percent_decode(struct span s)
{
    char *out = xmalloc(s.len + 1);
    size_t n = 0;

    while (s.len > 0) {
        uint8_t c = 0;
        bool escaped;
        if (!percent_take(&s, HEX_BOTH, &c, &escaped) || c < ' ' || c == 0x7f) {
            wipe(out, n);
            free(out);
            return NULL;
        }
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return out;
}

/* "[user]:password", or a user whose password is elsewhere. */
static bool parse_credentials(struct parse *p, struct span info, char **_user, char **_password)
{
    const uint8_t *colon = info.len ? memchr(info.p, ':', info.len) : NULL;
    if (info.len == 0 || info.len > USERINFO_MAX)
        return address_fail(p, "has no user and no \":password\" where they are announced, or too long ones");
    struct span user = span_of(info.p, colon ? (size_t)(colon - info.p) : info.len);
    *_user = user.len ? percent_decode(user) : NULL;
    *_password = colon ? percent_decode(address_span_from(info, user.len + 1)) : NULL;
    if ((user.len && !*_user) || (colon && !*_password))
        return address_fail(
            p, "has a user or password with a stray \"%\" or a control; write \"%25\" for \"%\"");
    return !colon || **_password ? true : address_fail(p, "has an empty password");
}

/* "[user]:password@" or "user@" in front of a host or a path; it ends at the last "@" before the first "/". */
static bool parse_userinfo(struct parse *p, struct address *a)
{
    const uint8_t *slash = memchr(p->rest.p, '/', p->rest.len);
    size_t n = slash ? (size_t)(slash - p->rest.p) : p->rest.len;
    const uint8_t *at = n ? memrchr(p->rest.p, '@', n) : NULL;
    if (!at)
        return true;

    struct span info = span_of(p->rest.p, (size_t)(at - p->rest.p));
    if (!is_redis(p->scheme->scheme))
        return address_fail(p, "names a user, which belongs elsewhere");
    if (!parse_credentials(p, info, &a->user, &a->password))
        return false;
    p->rest = address_span_from(p->rest, info.len + 1);
    return true;
}

static bool is_host(const char *host, bool brackets)
{
    struct in6_addr v6;
    size_t n = strlen(host);

    if (brackets)
        return inet_pton(AF_INET6, host, &v6) == 1;
    return n > 0 && n <= HOST_MAX && host[0] != '-' && host[0] != '.' &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == n;
}

static bool parse_host(struct parse *p, struct address *a)
{
    struct span r = p->rest;
    bool brackets = r.len && r.p[0] == '[';
    size_t n = 0;

    if (brackets) {
        const uint8_t *end = memchr(r.p, ']', r.len);
        if (!end)
            return address_fail(p, "has \"[\" without \"]\"");
        n = (size_t)(end - r.p) - 1;
    } else {
        while (n < r.len && !strchr(p->ends, r.p[n]))
            n++;
    }
    a->host = xspandup(address_span_from(span_of(r.p, n + brackets), brackets));
    if (!is_host(a->host, brackets))
        return address_fail(p, brackets ? "has no IPv6 address between its brackets" : "names no valid host");
    p->rest = address_span_from(r, n + (brackets ? 2 : 0));
    return true;
}

static bool parse_port(struct parse *p, struct address *a)
{
    uint64_t port;

    a->port = p->scheme->port;
    if (!p->rest.len || p->rest.p[0] != ':')
        return true;
    size_t n = 1;
    while (n < p->rest.len && !strchr(p->ends, p->rest.p[n]))
        n++;
    if (!span_u64(span_of(p->rest.p + 1, n - 1), UINT16_MAX, &port))
        return address_fail(
            p, "has no port from 0 to 65535 behind the \":\" (IPv6 addresses stand in brackets)");
    a->port = (uint16_t)port;
    p->rest = address_span_from(p->rest, n);
    return true;
}

static bool parse_db(struct parse *p, struct address *a, struct span digits)
{
    uint64_t db;
    if (!span_u64(digits, DB_MAX, &db))
        return address_fail(p, "has no number of a database at its end");
    a->db = (uint32_t)db;
    p->rest.len = 0;
    return true;
}

static bool parse_network(struct parse *p, struct address *a)
{
    if (!parse_userinfo(p, a) || !parse_host(p, a) || !parse_port(p, a))
        return false;
    if (is_redis(p->scheme->scheme) && p->rest.len && p->rest.p[0] == '/')
        return parse_db(p, a, address_span_from(p->rest, 1));
    return p->rest.len ? address_fail(p, "has something behind host and port") : true;
}

/* The host and port that were read last become one of several. */
static void keep_host(struct address *a)
{
    a->hosts = xreallocarray(a->hosts, a->n_hosts + 1, sizeof *a->hosts);
    a->hosts[a->n_hosts++] = (struct address_host){a->host, a->port};
    a->host = NULL;
    a->port = 0;
}

static bool parse_hosts(struct parse *p, struct address *a)
{
    for (;;) {
        if (!parse_host(p, a) || !parse_port(p, a))
            return false;
        keep_host(a);
        if (!p->rest.len || p->rest.p[0] != ',')
            return true;
        if (a->n_hosts == HOSTS_MAX)
            return address_fail(p, "names too many hosts");
        p->rest = address_span_from(p->rest, 1);
    }
}

/* "/NAME[/db]": Sentinel takes letters, digits and ".-_" in names. */
static bool parse_master(struct parse *p, struct address *a)
{
    size_t n = 1;
    while (n < p->rest.len && p->rest.p[n] != '/')
        n++;
    a->master = p->rest.len ? xspandup(span_of(p->rest.p + 1, n - 1)) : xstrdup("");
    if (!is_host(a->master, false))
        return address_fail(p, "has no name of a master behind the Sentinels");
    p->rest = address_span_from(p->rest, n);
    return p->rest.len ? parse_db(p, a, address_span_from(p->rest, 1)) : true;
}

/* The query is cut off first: a password may hold everything but "%" and controls. */
static bool parse_sentinels(struct parse *p, struct address *a)
{
    if (!parse_userinfo(p, a))
        return false;
    const uint8_t *query = p->rest.len ? memchr(p->rest.p, '?', p->rest.len) : NULL;
    if (query) {
        size_t head = (size_t)(query - p->rest.p), n = sizeof sentinel_auth - 1;
        if (p->rest.len - head < n || memcmp(query, sentinel_auth, n) != 0)
            return address_fail(p, "has something other than \"?sentinel_auth=\" at its end");
        if (!parse_credentials(p, address_span_from(p->rest, head + n), &a->sentinel_user,
                               &a->sentinel_password))
            return false;
        p->rest.len = head;
    }
    return parse_hosts(p, a) && parse_master(p, a);
}

static bool parse_partitions(struct parse *p, struct address *a, struct span query)
{
    static const char option[] = "?partitions=";
    size_t n = sizeof option - 1;
    uint64_t partitions = 0;

    if (query.len < n || memcmp(query.p, option, n) != 0)
        return address_fail(p, "does not end with \"?partitions=\"");
    if (!span_u64(address_span_from(query, n), CLUSTER_PARTITIONS_MAX, &partitions) || partitions == 0)
        return address_fail(p, "has no number of partitions from 1 to 64 at its end");
    a->partitions = (uint32_t)partitions;
    return true;
}

static bool parse_cluster(struct parse *p, struct address *a)
{
    if (!parse_userinfo(p, a))
        return false;
    const uint8_t *mark = p->rest.len ? memchr(p->rest.p, '?', p->rest.len) : NULL;
    size_t head = mark ? (size_t)(mark - p->rest.p) : p->rest.len;
    struct span query = address_span_from(p->rest, head);
    p->rest.len = head;
    if (!parse_hosts(p, a))
        return false;
    return p->rest.len ? address_fail(p, "has something between the hosts and \"?partitions=\"")
                       : parse_partitions(p, a, query);
}

static bool parse_unix(struct parse *p, struct address *a)
{
    if (!parse_userinfo(p, a))
        return false;
    struct span path = p->rest;
    const uint8_t *query = p->scheme->scheme == ADDRESS_REDIS_UNIX ? memchr(path.p, '?', path.len) : NULL;
    if (query)
        path.len = (size_t)(query - path.p);
    if (path.len < 2 || path.p[0] != '/')
        return address_fail(p, "has no absolute path");
    if (path.len >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return address_fail(p, "has a path that is too long for a socket (107 bytes at most)");
    a->path = xspandup(path);
    if (!query)
        return true;
    struct span q = address_span_from(p->rest, path.len);
    return q.len > 4 && !memcmp(q.p, "?db=", 4)
               ? parse_db(p, a, address_span_from(q, 4))
               : address_fail(p, "has something other than \"?db=N\" at its end");
}

/* The text as a message may show it: without what stands between "://" and the last "@", nor what stands
 * behind "?sentinel_auth=". */
static char *masked(const char *text)
{
    const char *query = strstr(text, sentinel_auth);
    size_t n = query ? (size_t)(query - text) + sizeof sentinel_auth - 1 : strlen(text);
    const char *from = strstr(text, "://"), *at = memrchr(text, '@', n), *end = query ? "***" : "";

    if (!from || !at || at < from + 3)
        return xasprintf("%.*s%s", (int)n, text, end);
    return xasprintf("%.*s***%.*s%s", (int)(from + 3 - text), text, (int)(n - (size_t)(at - text)), at, end);
}

static char *address_describe(const char *text, const struct parse *p)
{
    char *shown = masked(text), *error;

    if (p->scheme) {
        error = xasprintf("\"%s\" %s; expected %s", shown, p->why, p->scheme->form);
    } else {
        struct buf b = {0};
        buf_printf(&b, "\"%s\" is not an address; expected ", shown);
        for (size_t i = 0; i < COUNTOF(schemes); i++)
            buf_printf(&b, "%s%s", i ? ", " : "", schemes[i].form);
        error = xstrdup(buf_str(&b));
        buf_free(&b);
    }
    wipe_free(&shown);
    return error;
}

/* Eats "?proxy_protocol" at the end. */
static bool take_proxy_protocol(struct parse *p)
{
    static const char option[] = "?proxy_protocol";
    size_t n = sizeof option - 1;
    if (!is_for_clients(p->scheme->scheme) || p->rest.len < n ||
        memcmp(p->rest.p + p->rest.len - n, option, n) != 0)
        return false;
    p->rest.len -= n;
    return true;
}

bool address_parse(const char *text, struct address *_r, char **error)
{
    struct address a = {0};
    struct parse p = {.scheme = find_scheme(span_str(text))};

    if (p.scheme) {
        p.rest = address_span_from(span_str(text), strlen(p.scheme->prefix));
        a.scheme = p.scheme->scheme;
        a.proxy_protocol = take_proxy_protocol(&p);
        p.ends = has_sentinels(a.scheme) || has_cluster(a.scheme) ? ":/," : ":/";
        if (has_sentinels(a.scheme) ? parse_sentinels(&p, &a)
            : has_cluster(a.scheme) ? parse_cluster(&p, &a)
            : p.scheme->port        ? parse_network(&p, &a)
                                    : parse_unix(&p, &a)) {
            *_r = a;
            return true;
        }
    }
    *error = address_describe(text, &p);
    address_free(&a);
    return false;
}

bool address_has_sentinels(const struct address *a)
{
    return has_sentinels(a->scheme);
}

bool address_has_cluster(const struct address *a)
{
    return has_cluster(a->scheme);
}

bool address_has_tls(const struct address *a)
{
    return scheme_begins_with_tls(a->scheme) || scheme_turns_to_tls(a->scheme);
}

void address_free(struct address *a)
{
    for (size_t i = 0; i < a->n_hosts; i++)
        free(a->hosts[i].host);
    free(a->hosts);
    free(a->master);
    free(a->host);
    free(a->path);
    free(a->user);
    wipe_free(&a->password);
    free(a->sentinel_user);
    wipe_free(&a->sentinel_password);
    memset(a, 0, sizeof(*a));
}

static void write_host(struct buf *b, const char *host, uint16_t port)
{
    buf_printf(b, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

char *address_text(const struct address *a)
{
    const struct scheme *s = &schemes[0];
    struct buf b = {0};

    for (size_t i = 0; i < COUNTOF(schemes); i++)
        if (schemes[i].scheme == a->scheme)
            s = &schemes[i];
    buf_add_str(&b, s->prefix);
    if (a->path) {
        buf_add_str(&b, a->path);
        if (a->db)
            buf_printf(&b, "?db=%u", a->db);
    } else if (a->host) {
        write_host(&b, a->host, a->port);
    }
    for (size_t i = 0; i < a->n_hosts; i++) {
        buf_add_str(&b, i ? "," : "");
        write_host(&b, a->hosts[i].host, a->hosts[i].port);
    }
    if (a->master)
        buf_printf(&b, "/%s", a->master);
    if (!a->path && a->db)
        buf_printf(&b, "/%u", a->db);
    if (a->partitions)
        buf_printf(&b, "?partitions=%u", a->partitions);
    if (a->partition)
        buf_printf(&b, " {%02u}", a->partition);
    char *text = xstrdup(buf_str(&b));
    buf_free(&b);
    return text;
}
