/* The option address of a backend: one server or several that lead to the same mail. */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "conf_priv.h"
#include "xalloc.h"

enum { ADDRESSES_MAX = 16 };

/* Takes text for an address of one of the schemes; forms tells a person which. */
bool conf_take_address(const struct conf_source *src, struct conf_place at, const char *text,
                       const char *const *prefixes, const char *what, const char *forms, struct address *_r)
{
    size_t shown = strchr(text, '@') ? strcspn(text, ":") : strlen(text); /* it may hold a password */
    bool known = false;
    char *why = NULL;

    for (; *prefixes; prefixes++)
        known = known || !strncmp(text, *prefixes, strlen(*prefixes));
    if (known && address_parse(text, _r, &why))
        return true;
    if (known)
        conf_fail(src, at, "%s", why);
    else
        conf_fail(src, at, "\"%.*s%s\" is not %s; expected %s", (int)shown, text, text[shown] ? "..." : "",
                  what, forms);
    free(why);
    return false;
}

static const char *const imap_prefixes[] = {"imaps://", "imap+starttls://", "imap://", "imap+unix://", NULL};
#define IMAP_FORMS "imaps://host[:port], imap+starttls://host[:port], imap://host[:port] or imap+unix:///path"

bool conf_take_imap_address(const struct conf_source *src, struct conf_place at, const char *text,
                            const char *what, struct address *_r)
{
    return conf_take_address(src, at, text, imap_prefixes, what, IMAP_FORMS, _r);
}

static const char *const pop3_prefixes[] = {"pop3s://", "pop3+starttls://", "pop3://", NULL};
#define POP3_FORMS "pop3s://host[:port], pop3+starttls://host[:port] or pop3://host[:port]"

static const char *const listen_prefixes[] = {"imaps://", "imap+starttls://", "imap://", "imap+unix://",
                                              "pop3s://", "pop3+starttls://", "pop3://", NULL};

bool conf_take_listen_address(const struct conf_source *src, struct conf_place at, const char *text,
                              struct address *_r)
{
    return conf_take_address(src, at, text, listen_prefixes, "an address to listen on",
                             IMAP_FORMS ", or " POP3_FORMS, _r);
}

bool conf_same_server(const struct address *x, const struct address *y)
{
    if (x->path || y->path)
        return x->path && y->path && !strcmp(x->path, y->path);
    return x->host && y->host && !strcasecmp(x->host, y->host) && x->port == y->port;
}

/* ---- of a backend ---- */

static struct address *address_place(struct conf_backend *b, size_t nth)
{
    return nth == 0 ? &b->address : &b->others[nth - 1];
}

static void address_make_room(struct conf_backend *b)
{
    b->address = (struct address){0};
    b->n_others = b->urls.n > 0 ? b->urls.n - 1 : 0;
    b->others = b->n_others ? xcalloc(b->n_others, sizeof *b->others) : NULL;
}

void conf_free_addresses(struct conf_backend *b)
{
    address_free(&b->address);
    for (size_t i = 0; i < b->n_others; i++)
        address_free(&b->others[i]);
    address_free(&b->pop3);
    free(b->others);
    b->others = NULL;
    b->n_others = 0;
}

void conf_make_addresses(struct conf_backend *b)
{
    char *unused = NULL;
    address_make_room(b);
    b->pop3 = (struct address){0};
    if (*b->pop3_url && !address_parse(b->pop3_url, &b->pop3, &unused))
        assert(!"it was checked");
    for (size_t i = 0; i < b->urls.n; i++) {
        char *why = NULL;
        bool ok = address_parse(b->urls.items[i], address_place(b, i), &why);
        assert(ok);
    }
}

static bool check_address_alone(struct conf_backend *b, const struct conf_source *src, struct conf_place at)
{
    struct address *a = address_place(b, at.nth);

    if (!conf_take_imap_address(src, at, b->urls.items[at.nth], "a backend address", a))
        return false;
    if (!a->path && a->port == 0)
        return conf_fail(src, at, "port 0 cannot be connected to");
    if (a->proxy_protocol)
        return conf_fail(src, at,
                         "\"?proxy_protocol\" is for listeners; to send a PROXY header to this server, say "
                         "proxy_protocol = \"v2\"");
    return true;
}

/* One policy of TLS is for all of them. */
static bool check_address_beside(const struct conf_backend *b, const struct conf_source *src,
                                 struct conf_place at)
{
    const struct address *a = backend_address(b, at.nth);

    if ((b->address.host || b->address.path) && a->scheme != b->address.scheme)
        return conf_fail(src, at,
                         "\"%s\" has another scheme than \"%s\": a backend has one for all of its addresses",
                         b->urls.items[at.nth], b->urls.items[0]);
    for (size_t i = 0; i < at.nth; i++)
        if (conf_same_server(backend_address(b, i), a))
            return conf_fail(src, at, "\"%s\" is given twice", b->urls.items[at.nth]);
    return true;
}

static bool check_pop3(struct conf_backend *b, const struct conf_source *src)
{
    struct conf_place at = {"backend", b->name, "pop3", 0};

    if (!*b->pop3_url)
        return true;
    if (!conf_take_address(src, at, b->pop3_url, pop3_prefixes, "an address of POP3", POP3_FORMS, &b->pop3))
        return false;
    if (b->pop3.port == 0)
        return conf_fail(src, at, "port 0 cannot be connected to");
    return !b->pop3.proxy_protocol || conf_fail(src, at, "\"?proxy_protocol\" is for listeners");
}

bool conf_check_addresses(struct conf_backend *b, const struct conf_source *src)
{
    struct conf_place at = {"backend", b->name, "address", 0};
    bool ok = check_pop3(b, src);

    address_make_room(b);
    if (b->urls.n > ADDRESSES_MAX)
        return conf_fail(src, at, "names %zu addresses; expected %d at most", b->urls.n, ADDRESSES_MAX);
    if (b->urls.n == 0) /* where it is not given at all, that was told */
        return conf_fail(src, at, "names no address");
    for (; at.nth < b->urls.n; at.nth++)
        ok = check_address_alone(b, src, at) && check_address_beside(b, src, at) && ok;
    return ok;
}
