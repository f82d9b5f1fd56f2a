#include "client_id.h"
#include "proxy.h"

bool client_id_wanted(const struct session *s)
{
    const struct conf *c = s->proxy->conf;

    for (size_t i = 0; i < c->n_backends; i++)
        if (c->backends[i].forward_id == FORWARD_ID_CLIENT)
            return true;
    return false;
}

void client_id_forget(struct session *s)
{
    buf_free(&s->client_id);
    s->said_id = false;
}

void client_id_said(struct session *s, struct buf *pairs)
{
    client_id_forget(s);
    if (!client_id_wanted(s)) {
        buf_free(pairs);
        return;
    }
    s->client_id = *pairs;
    s->said_id = true;
    s->ids++;
    *pairs = (struct buf){0};
}

void client_id_for(const struct session *s, struct login_request *request)
{
    request->for_client = true;
    request->said_id = s->said_id;
    request->client_id = buf_span(&s->client_id);
}

bool client_id_is_heard(const struct session *s, const struct conf_backend *at)
{
    struct imap_caps caps = backends_caps(s->proxy->backends, at);

    return at->forward_id == FORWARD_ID_CLIENT && imap_caps_has(&caps, CAP_ID);
}
