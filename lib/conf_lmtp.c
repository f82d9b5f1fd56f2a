/* The rules of the section lmtp. */
#include <stdlib.h>

#include "conf_priv.h"
#include "xalloc.h"

static const char *const lmtp_prefixes[] = {"inet://", "unix://", NULL};

static struct conf_place lmtp_place(const char *option, size_t nth)
{
    return (struct conf_place){"lmtp", NULL, option, nth};
}

/* Other listeners speak something else. */
static bool lmtp_check_twin(const struct conf_source *src, struct conf_place at, const struct address *a,
                            const char *text, const struct conf_list *others, size_t n)
{
    bool ok = true;

    for (size_t i = 0; i < n && ok; i++) {
        struct address b;
        char *error = NULL;
        if (!address_parse(others->items[i], &b, &error)) { /* told where it stands */
            free(error);
            continue;
        }
        if (conf_listen_meets(a, &b, false) != LISTEN_APART)
            ok = conf_fail(src, at, "\"%s\" takes the connections of \"%s\"", text, others->items[i]);
        address_free(&b);
    }
    return ok;
}

static bool lmtp_check_listen(const struct conf *c, const struct conf_source *src, size_t nth)
{
    const char *text = c->lmtp.listen.items[nth];
    struct conf_place at = lmtp_place("listen", nth);
    struct address a = {0};
    bool ok = conf_take_address(src, at, text, lmtp_prefixes, "an address to listen on",
                                "inet://host:port or unix:///path", &a);

    if (ok && (a.password || a.db))
        ok = conf_fail(src, at, "\"%s\" is an address of Redis; expected inet://host:port or unix:///path",
                       text);
    ok = ok && lmtp_check_twin(src, at, &a, text, &c->lmtp.listen, nth) &&
         lmtp_check_twin(src, at, &a, text, &c->socketmap.listen, c->socketmap.listen.n) &&
         lmtp_check_twin(src, at, &a, text, &c->proxy.listen, c->proxy.listen.n);
    address_free(&a);
    return ok;
}

static bool lmtp_check_backend(const struct conf_backend *b, const struct conf_source *src)
{
    if (b->retired || !strncmp(b->delivery, "lmtp:inet:", 10) || !strncmp(b->delivery, "lmtp:unix:/", 11))
        return true;
    return conf_fail(src, (struct conf_place){"backend", b->name, "delivery", 0},
                     "must be lmtp:inet:host:port or lmtp:unix:/path for the section lmtp; expected such as "
                     "\"lmtp:inet:%s.example.org:24\"",
                     b->name);
}

bool conf_check_lmtp(const struct conf *c, const struct conf_source *src)
{
    bool ok = true;

    if (c->lmtp.listen.n == 0)
        return true;
    ok = conf_check_networks(src, lmtp_place("trusted", 0), &c->lmtp.trusted) && ok;
    for (size_t i = 0; i < c->lmtp.listen.n; i++)
        ok = lmtp_check_listen(c, src, i) && ok;
    for (size_t i = 0; i < c->n_backends; i++)
        ok = lmtp_check_backend(&c->backends[i], src) && ok;
    if (c->delivery.domains.n == 0 && !*c->migration.default_domain)
        ok = conf_fail(src, (struct conf_place){"delivery", NULL, "domains", 0},
                       "must be given for the section lmtp, where there is no default_domain");
    return ok;
}
