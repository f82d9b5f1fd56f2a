/* hook_freeze, hook_flip, hook_settle, hook_kick, provision, and other URLs: what they may be. A URL may hold a password, so it stands
 * in no message. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_priv.h"
#include "xalloc.h"

#define DIGITS "0123456789"

static const char *behind_scheme(const char *url)
{
    if (!strncasecmp(url, "http://", 7))
        return url + 7;
    return strncasecmp(url, "https://", 8) ? NULL : url + 8;
}

bool conf_hook_is_url(const struct conf_list *hook)
{
    return hook->n > 0 && behind_scheme(hook->items[0]);
}

/* ":8080" or nothing. */
static bool is_port(const char *s, size_t n)
{
    uint32_t port;

    return n == 0 || (*s == ':' && span_u32(span_of(s + 1, n - 1), &port) && port > 0 && port <= 65535);
}

/* What is wrong with "[USER:PASSWORD@]HOST[:PORT]"; NULL: nothing. */
static const char *fault_of_authority(const char *s, size_t n)
{
    const char *at = memrchr(s, '@', n);
    size_t host;

    if (at) {
        n -= (size_t)(at + 1 - s);
        s = at + 1;
    }
    if (n > 0 && *s == '[') {
        const char *end = memchr(s, ']', n);
        host = end ? (size_t)(end - s) + 1 : 0;
        if (host < 4 || strspn(s + 1, "0123456789abcdefABCDEF:.") != host - 2)
            return "its host is not an IPv6 address";
    } else {
        const char *colon = memchr(s, ':', n);
        host = colon ? (size_t)(colon - s) : n;
        if (host == 0)
            return "it has no host";
    }
    return is_port(s + host, n - host) ? NULL : "its port is not a number from 1 to 65535";
}

const char *conf_url_fault(const char *url)
{
    const char *s = behind_scheme(url);

    if (!s)
        return "it is neither http:// nor https://";
    for (const char *p = url; *p; p++)
        if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`{|}", *p))
            return "it has a character that has to be written as %XX";
    if (strchr(s, '#'))
        return "what stands behind # is sent to no server";
    return fault_of_authority(s, strcspn(s, "/?"));
}

/* What is wrong with a program; NULL: nothing. To free. What is no path and holds "://" may hold a
 * password. */
static char *fault_of_program(const char *path)
{
    struct stat st;

    if (path[0] != '/')
        return xasprintf("\"%s\" is neither the absolute path of a program nor a URL (http, https)",
                         strstr(path, "://") ? "..." : path);
    if (stat(path, &st) != 0)
        return xasprintf("\"%s\" can't be run: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return xasprintf("\"%s\" is a folder, not a program", path);
    if (!S_ISREG(st.st_mode))
        return xasprintf("\"%s\" is not a file", path);
    if (access(path, X_OK) != 0)
        return xasprintf("\"%s\" can't be run by this user: %s; see \"chmod +x\"", path, strerror(errno));
    return NULL;
}

static bool check_program(const struct conf_source *src, struct conf_place at, const char *path)
{
    char *fault = fault_of_program(path);
    bool ok = !fault || conf_fail(src, at, "%s", fault);

    free(fault);
    return ok;
}

bool conf_check_hook(const struct conf_source *src, struct conf_place at, const struct conf_list *hook)
{
    const char *fault;

    if (hook->n == 0)
        return true;
    if (!conf_hook_is_url(hook))
        return check_program(src, at, hook->items[0]);
    if ((fault = conf_url_fault(hook->items[0])))
        return conf_fail(src, at, "the URL can't be used: %s", fault);
    if (hook->n > 2)
        return conf_fail(src, at, "a URL takes no arguments, but for a file of CAs behind it");
    at.nth = 1;
    if (hook->n == 2 && access(hook->items[1], R_OK))
        return conf_fail(src, at, "\"%s\" cannot be read: %s", hook->items[1], strerror(errno));
    return true;
}

/* What is sent there goes over no network, or by TLS. */
static bool is_private(const char *url)
{
    const char *s = behind_scheme(url);
    size_t n = strcspn(s, "/?");
    const char *at = memrchr(s, '@', n);

    if (!strncasecmp(url, "https://", 8))
        return true;
    if (at) {
        n -= (size_t)(at + 1 - s);
        s = at + 1;
    }
    bool six = *s == '[';
    char *host = xspandup(span_of(s + six, strcspn(s + six, six ? "]" : ":/?")));
    bool is = conf_is_loopback(host);
    free(host);
    return is;
}

static bool check_provision_password(const struct conf *c, const struct conf_backend *b,
                                     const struct conf_source *src)
{
    struct conf_place at = {"backend", b->name, "provision_password", 0};

    if (!b->provision_password)
        return true;
    if (b->provision.n == 0)
        return conf_fail(src, at, "there is no provision to be given it");
    if (c->seal.private_key_files.n == 0)
        return conf_fail(
            src, at,
            "it needs private_key_files in the section seal, and the proxies public_key_file; see "
            "\"imapferryctl seal-key\"");
    if (conf_hook_is_url(&b->provision) && !is_private(b->provision.items[0]))
        return conf_fail(
            src, at,
            "passwords would be read on their way: the URL of provision has to be https://, or of this host");
    return true;
}

bool conf_check_provision(const struct conf *c, const struct conf_backend *b, const struct conf_source *src)
{
    bool ok = conf_check_hook(src, (struct conf_place){"backend", b->name, "provision", 0}, &b->provision);

    return check_provision_password(c, b, src) && ok;
}
