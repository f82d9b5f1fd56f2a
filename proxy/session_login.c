#include <stdlib.h>

#include "lib/xalloc.h"

#include "client_id.h"
#include "peer.h"
#include "proxy.h"
#include "relay.h"
#include "session_login.h"
#include "vault.h"

/* What the request of the session has borrowed from nobody else. */
struct session_request {
    struct login_request request;
    struct proxyproto_ends ends;
    char *user; /* owned */
};

static void session_request(struct session *s, const struct conf_backend *at, enum login_as as, bool pop3,
                            struct session_request *r)
{
    const struct conf *c = s->proxy->conf;
    struct credential credential = secret_credential(s->secret);
    if (credential.mechanism->kind == SASL_CERTIFICATE)
        as = LOGIN_AS_MASTER; /* there is nothing that a server could be shown */
    r->user = xspandup(credential.authzid.len > 0 ? credential.authzid : credential.authcid);
    bool header = at->proxy_protocol != PROXY_PROTOCOL_NONE && peer_ends(s, &r->ends);
    r->request = (struct login_request){
        .backend = at,
        .policy = backends_tls(s->proxy->backends, at),
        .outage = backends_outage(s->proxy->backends, at, pop3),
        .as = as,
        .credential = credential,
        .user = r->user,
        .client_ip = *s->peer_ip ? s->peer_ip : NULL,
        .client_port = s->peer_port,
        .ends = header ? &r->ends : NULL,
        .session_id = s->name,
        .site = store_site_id(s->account->branch->store),
        .ttl = s->hops - 1,
        .pipelined = true,
        .limits = limits_of_stream,
        .connect_timeout_ms = c->proxy.connect_timeout_ms,
        .step_timeout_ms = c->proxy.backend_timeout_ms,
    };
    client_id_for(s, &r->request);
}

struct backend_login *session_login_start(struct session *s, const struct conf_backend *at, enum login_as as,
                                          backend_login_fn fn, void *owner)
{
    struct session_request r;
    session_request(s, at, as, false, &r);
    struct backend_login *dialog = backend_login_start(s->proxy->loop, &r.request, fn, owner);
    free(r.user);
    return dialog;
}

struct pop3_login *session_login_pop3(struct session *s, const struct conf_backend *at, enum login_as as,
                                      backend_login_fn fn, void *owner)
{
    struct session_request r;
    session_request(s, at, as, true, &r);
    struct pop3_login *dialog = pop3_login_start(s->proxy->loop, &r.request, fn, owner);
    free(r.user);
    return dialog;
}

bool session_login_is_by_master(const struct conf_backend *at)
{
    return at->sign_in != SIGN_IN_PASSTHROUGH || *at->auth_backend;
}

struct backend_login *session_login_again(struct session *s, const struct conf_backend *at,
                                          backend_login_fn fn, void *owner)
{
    return session_login_start(s, at, session_login_is_by_master(at) ? LOGIN_AS_MASTER : LOGIN_AS_USER, fn,
                               owner);
}

bool session_login_has_what_is_shown(const struct session *s, const struct imap_caps *caps)
{
    const struct imap_caps *shown = relay_shown(s);
    struct imap_caps both = imap_caps_shown(shown, caps);
    return both.bits[0] == shown->bits[0] && both.bits[1] == shown->bits[1];
}
