/* By what users may sign in at a proxy. */
#include <stdlib.h>

#include "account.h"
#include "conf_priv.h"
#include "sasl.h"

bool conf_offers(const struct conf_proxy *p, const struct sasl_mechanism *m)
{
    for (size_t i = 0; i < p->mechanisms.n; i++)
        if (sasl_find(span_str(p->mechanisms.items[i])) == m)
            return true;
    return false;
}

bool conf_takes_passwords(const struct conf_proxy *p)
{
    for (const struct sasl_mechanism *m = sasl_mechanisms; m->name; m++)
        if (m->kind == SASL_PASSWORD && conf_offers(p, m))
            return true;
    return false;
}

bool conf_is_master(const struct conf *c, const char *key)
{
    bool is = false;
    const char *why;
    for (size_t i = 0; i < c->proxy.masters.n && !is; i++) {
        char *master = account_key(c, span_str(c->proxy.masters.items[i]), &why);
        is = master && strcmp(master, key) == 0;
        free(master);
    }
    return is;
}

/* "PLAIN, LOGIN": what may stand there. */
static void write_mechanisms(struct buf *out)
{
    for (const struct sasl_mechanism *m = sasl_mechanisms; m->name; m++)
        buf_printf(out, "%s%s", m == sasl_mechanisms ? "" : ", ", m->name);
}

static bool check_mechanism(const struct conf_source *src, struct conf_place at, const char *name)
{
    struct buf known = {0};
    bool ok = sasl_find(span_str(name));
    if (!ok) {
        write_mechanisms(&known);
        conf_fail(src, at, "\"%s\" is unknown; expected some of: %s", name, buf_str(&known));
    }
    buf_free(&known);
    return ok;
}

static bool check_masters(const struct conf *c, const struct conf_source *src)
{
    const struct conf_list *all = &c->proxy.masters;
    const char *why = NULL;
    bool ok = true;
    for (size_t i = 0; i < all->n; i++) {
        char *key = account_key(c, span_str(all->items[i]), &why);
        if (!key)
            ok = conf_fail(src, (struct conf_place){"proxy", NULL, "masters", i},
                           "\"%s\" is no login name: %s", all->items[i], why);
        free(key);
    }
    return ok;
}

/* Nobody but a master can sign in for somebody who has shown nothing that a backend could check. */
static bool check_external(const struct conf *c, const struct conf_source *src)
{
    bool ok = true;
    if (!conf_offers(&c->proxy, sasl_find(span_str("EXTERNAL"))))
        return true;
    if (!*c->proxy.tls_client_ca)
        ok = conf_fail(src, (struct conf_place){"proxy", NULL, "mechanisms", 0},
                       "EXTERNAL needs tls_client_ca");
    for (size_t i = 0; i < c->n_backends; i++)
        if (c->backends[i].sign_in == SIGN_IN_PASSTHROUGH)
            ok = conf_fail(src, (struct conf_place){"backend", c->backends[i].name, "sign_in", 0},
                           "has to be \"master\" or \"proxyauth\" where mechanisms names EXTERNAL");
    return ok;
}

bool conf_check_sasl(const struct conf *c, const struct conf_source *src)
{
    const struct conf_list *all = &c->proxy.mechanisms;
    bool ok = true;
    for (size_t i = 0; i < all->n; i++)
        ok = check_mechanism(src, (struct conf_place){"proxy", NULL, "mechanisms", i}, all->items[i]) && ok;
    if (all->n == 0)
        ok = conf_fail(src, (struct conf_place){"proxy", NULL, "mechanisms", 0},
                       "is empty, so nobody could sign in");
    ok = check_external(c, src) && ok;
    return check_masters(c, src) && ok;
}
