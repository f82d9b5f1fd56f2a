#include <stdlib.h>

#include "lib/xalloc.h"

#include "renewal.h"

static bool renewal_make_keys(struct renewal *r, const struct ticket_keys *tickets, char **error)
{
    const struct conf *c = r->conf;

    if (conf_has_tls_listener(&c->proxy) && *c->proxy.tls_cert && *c->proxy.tls_key &&
        !(r->server = tls_policy_server(&c->proxy, tickets, error)))
        return false;
    if (r->server && *c->proxy.tls_client_ca && !(r->asking = tls_policy_server_asking(&c->proxy, error)))
        return false;
    if (*c->seal.public_key_file && !(r->seal = seal_public_load(c->seal.public_key_file, error)))
        return false;
    for (size_t i = 0; i < c->n_backends; i++)
        if (backend_has_tls(&c->backends[i]) && !(r->tls[i] = tls_policy_backend(&c->backends[i], error)))
            return false;
    return true;
}

struct renewal *renewal_new(const struct conf *fresh, const struct ticket_keys *tickets, char **error)
{
    struct renewal *r = xcalloc(1, sizeof *r);

    r->conf = conf_copy(fresh);
    r->tls = xcalloc(fresh->n_backends, sizeof(struct tls_policy *));
    if (!renewal_make_keys(r, tickets, error))
        renewal_free(&r);
    return r;
}

void renewal_free(struct renewal **rp)
{
    struct renewal *r = *rp;

    if (!r)
        return;
    *rp = NULL;
    for (size_t i = 0; i < r->conf->n_backends; i++)
        tls_policy_free(&r->tls[i]);
    tls_policy_free(&r->server);
    tls_policy_free(&r->asking);
    if (r->seal)
        seal_public_free(&r->seal);
    free(r->tls);
    conf_free(&r->conf);
    free(r);
}

void renewal_take(struct renewal *r, struct conf *conf, struct tls_policy *server, struct tls_policy *asking,
                  struct backends *backends, struct seal_public **seal)
{
    conf_reload(conf, r->conf, NULL, NULL);
    if (server && r->server)
        tls_policy_renew(server, &r->server);
    if (asking && r->asking)
        tls_policy_renew(asking, &r->asking);
    for (size_t i = 0; i < r->conf->n_backends; i++)
        if (r->tls[i])
            backends_renew(backends, r->conf->backends[i].name, &r->tls[i]);
    if (*seal && r->seal) {
        struct seal_public *before = *seal;
        *seal = r->seal;
        r->seal = before;
    }
}
