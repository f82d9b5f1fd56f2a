/* The rules of the sections delivery and socketmap, and of what backends say of delivery. */
#include <stdlib.h>

#include "conf_priv.h"

enum { DELIVERY_MAX = 512 };

static struct conf_place delivery_place(const char *section, const char *option)
{
    return (struct conf_place){section, NULL, option, 0};
}

/* Postfix takes "transport:nexthop"; others may take other words, so no more is asked for than that it can stand in one
 * line of an answer. */
static const char *delivery_fault(const char *s)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ' || (unsigned char)s[i] > '~')
            return "holds something other than printable ASCII";
    if (n > DELIVERY_MAX)
        return "is longer than 512 bytes";
    if (s[0] == ' ' || s[n - 1] == ' ')
        return "begins or ends with a blank";
    return s[0] == ':' || !strchr(s, ':') ? "is not \"transport:nexthop\"" : NULL;
}

static bool delivery_check_backend(const struct conf_backend *b, const struct conf_source *src)
{
    const char *fault = *b->delivery ? delivery_fault(b->delivery) : NULL;

    return fault ? conf_fail(src, (struct conf_place){"backend", b->name, "delivery", 0},
                             "\"%s\" %s; expected such as \"lmtp:inet:%s.example.org:24\"", b->delivery,
                             fault, b->name)
                 : true;
}

static bool delivery_check_domains(struct conf *c, const struct conf_source *src)
{
    struct conf_place at = delivery_place("delivery", "domains");
    bool ok = true;

    for (; at.nth < c->delivery.domains.n; at.nth++) {
        char *domain = c->delivery.domains.items[at.nth];
        if (strchr(domain, '@') || *domain == '.')
            ok = conf_fail(src, at,
                           "\"%s\" is not a domain; expected such as \"example.org\" or \"*.example.org\"",
                           domain);
        else
            ok = conf_check_pattern(src, at, domain) && ok;
    }
    return ok;
}

/* What is no delimiter anywhere would split every address. */
static bool delivery_check_delimiter(const struct conf *c, const struct conf_source *src)
{
    const char *s = c->delivery.recipient_delimiter;

    for (; *s; s++)
        if (!strchr("!#$%&'*+-/=?^_`{|}~.", *s))
            return conf_fail(src, delivery_place("delivery", "recipient_delimiter"),
                             "\"%s\" holds something that delimits no extension; expected such as \"+\"",
                             c->delivery.recipient_delimiter);
    return true;
}

static const char *const delivery_prefixes[] = {"inet://", "unix://", NULL};

static bool socketmap_check_listen(const struct conf *c, const struct conf_source *src)
{
    struct conf_place at = delivery_place("socketmap", "listen");
    bool ok = true;

    for (; at.nth < c->socketmap.listen.n; at.nth++) {
        const char *text = c->socketmap.listen.items[at.nth];
        struct address a = {0};
        bool good = conf_take_address(src, at, text, delivery_prefixes, "an address to listen on",
                                      "inet://host:port or unix:///path", &a);
        if (good && (a.password || a.db))
            good = conf_fail(
                src, at, "\"%s\" is an address of Redis; expected inet://host:port or unix:///path", text);
        for (size_t i = 0; good && i < at.nth; i++)
            if (!strcmp(c->socketmap.listen.items[i], text))
                good = conf_fail(src, at, "\"%s\" is given twice", text);
        address_free(&a);
        ok = ok && good;
    }
    return ok;
}

/* An answer has to be there wherever an account may live. */
static bool socketmap_check_answers(const struct conf *c, const struct conf_source *src)
{
    bool ok = true;

    if (c->delivery.domains.n == 0 && !*c->migration.default_domain)
        ok = conf_fail(
            src, delivery_place("delivery", "domains"),
            "must be given for the section socketmap, where there is no default_domain: else all mail would be "
            "delivered to accounts here");
    for (size_t i = 0; i < c->n_backends; i++) {
        const struct conf_backend *b = &c->backends[i];
        if (!*b->delivery && !b->retired)
            ok = conf_fail(
                src, (struct conf_place){"backend", b->name, "delivery", 0},
                "must be given for the section socketmap; expected such as \"lmtp:inet:%s.example.org:24\"",
                b->name);
    }
    return ok;
}

bool conf_check_delivery(struct conf *c, const struct conf_source *src)
{
    bool ok = delivery_check_domains(c, src);

    ok = delivery_check_delimiter(c, src) && ok;
    for (size_t i = 0; i < c->n_backends; i++)
        ok = delivery_check_backend(&c->backends[i], src) && ok;
    if (c->socketmap.listen.n == 0)
        return ok;
    ok = conf_check_networks(src, delivery_place("socketmap", "trusted"), &c->socketmap.trusted) && ok;
    ok = socketmap_check_listen(c, src) && ok;
    return socketmap_check_answers(c, src) && ok;
}
