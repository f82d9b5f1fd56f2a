#include <stdlib.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "naming.h"

struct naming {
    struct store *store;
    char *key;             /* owned */
    struct naming **place; /* the owner's pointer to this; borrowed */
    naming_fn fn;
    void *owner;
    bool login_exists;
};

char *naming_as_key(const struct conf *c, const char *text)
{
    char *login = strchr(text, '%') ? account_login(text) : NULL;
    const char *why;
    char *key = login ? account_key(c, span_str(login), &why) : NULL;

    free(login);
    return key;
}

void naming_cancel(struct naming **np)
{
    struct naming *n = *np;

    *np = NULL;
    if (!n)
        return;
    store_forget(n->store, n);
    free(n->key);
    free(n);
}

static void naming_end(struct naming *n, enum naming_rc what, enum route_rc rc)
{
    naming_fn fn = n->fn;
    void *owner = n->owner;

    naming_cancel(n->place);
    fn(owner, what, rc);
}

static void naming_on_key(void *owner, enum route_rc rc, const struct route *r)
{
    struct naming *n = owner;

    if (rc != ROUTE_OK)
        naming_end(n, NAMING_FAILED, rc);
    else if (r->exists)
        naming_end(n, n->login_exists ? NAMING_BOTH : NAMING_KEY, rc);
    else
        naming_end(n, n->login_exists ? NAMING_LOGIN : NAMING_NEITHER, rc);
}

static void naming_on_login(void *owner, enum route_rc rc, const struct route *r)
{
    struct naming *n = owner;

    if (rc != ROUTE_OK) {
        naming_end(n, NAMING_FAILED, rc);
        return;
    }
    n->login_exists = r->exists;
    route_read(n->store, n->key, naming_on_key, n);
}

void naming_ask(struct store *s, const char *login, const char *key, struct naming **place, naming_fn fn,
                void *owner)
{
    struct naming *n = xcalloc(1, sizeof(*n));

    *n = (struct naming){.store = s, .key = xstrdup(key), .place = place, .fn = fn, .owner = owner};
    *place = n;
    route_read(s, login, naming_on_login, n);
}

char *naming_say_both(const char *text, const char *login, const char *key)
{
    char *name = account_login(key), *said;

    said = xasprintf(
        "\"%s\" may mean two accounts: say \"%s\" for the login name that holds the \"%%\", or \"%s\" for the one that is "
        "shown so",
        text, login, name ? name : key);
    free(name);
    return said;
}
