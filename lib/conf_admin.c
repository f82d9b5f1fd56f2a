/* The rules of the section admin. */
#include <arpa/inet.h>
#include <errno.h>
#include <strings.h>
#include <unistd.h>

#include "conf_priv.h"

static struct conf_place admin_place(const char *option)
{
    return (struct conf_place){"admin", NULL, option, 0};
}

bool conf_is_loopback(const char *host)
{
    struct in_addr four;
    struct in6_addr six;

    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six);
    return !strcasecmp(host, "localhost");
}

static bool admin_check_file(const struct conf_source *src, const char *option, const char *file)
{
    if (!*file)
        return conf_fail(src, admin_place(option), "is missing: listen needs it");
    if (access(file, R_OK) != 0)
        return conf_fail(src, admin_place(option), "\"%s\" cannot be read: %s", file, strerror(errno));
    return true;
}

static bool admin_check_listen(const struct conf_admin *a, const struct conf_source *src, enum conf_role role,
                               const struct address *at)
{
    bool ok = true;

    if (at->scheme == ADDRESS_HTTP && !conf_is_loopback(at->host))
        ok = conf_fail(
            src, admin_place("listen"),
            "\"%s\" is not on this host alone, so tokens would be read on their way: expected https://, or "
            "http://127.0.0.1:port",
            a->listen);
    if (role != CONF_MIGRATOR)
        return ok;
    ok = admin_check_file(src, "token_file", a->token_file) && ok;
    if (at->scheme == ADDRESS_HTTPS) {
        ok = admin_check_file(src, "tls_cert", a->tls_cert) && ok;
        ok = admin_check_file(src, "tls_key", a->tls_key) && ok;
    }
    return ok;
}

bool conf_check_admin(const struct conf *c, const struct conf_source *src, enum conf_role role)
{
    static const char *const prefixes[] = {"http://", "https://", "http+unix://", NULL};
    struct address at = {0};

    if (!*c->admin.listen)
        return true;
    if (!conf_take_address(src, admin_place("listen"), c->admin.listen, prefixes, "an address to listen on",
                           "http://127.0.0.1:port, https://host[:port] or http+unix:///path", &at))
        return false;
    bool ok = admin_check_listen(&c->admin, src, role, &at);
    address_free(&at);
    return ok;
}
