#include <stdlib.h>

#include <jansson.h>

#include "lib/imap_write.h"
#include "lib/xalloc.h"

#include "hook_http.h"
#include "http_post.h"

struct hook_http {
    struct http_post *post;
    hook_fn fn;
    void *owner;
};

/* Names that are no UTF-8 become what can be printed of them. */
static void hook_http_set_text(json_t *o, const char *key, const char *value)
{
    json_t *text = json_string(value);

    if (!text) {
        struct buf plain = {0};
        imap_write_text(&plain, span_str(value));
        text = json_string(buf_str(&plain));
        buf_free(&plain);
    }
    json_object_set_new(o, key, text);
}

static char *write_body(const struct hook_call *c)
{
    json_t *o = json_object();

    hook_http_set_text(o, "event", c->event);
    hook_http_set_text(o, "user", c->login);
    hook_http_set_text(o, "account", c->user);
    hook_http_set_text(o, "source", c->source);
    hook_http_set_text(o, "target", c->target);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static void hook_http_on_end(void *owner, const struct http_post_answer *answer)
{
    struct hook_http *h = owner;

    h->fn(h->owner, answer->error);
    free(h);
}

struct hook_http *hook_http_start(struct loop *l, const struct hook_call *call, hook_fn fn, void *owner)
{
    struct hook_http *h = xcalloc(1, sizeof(*h));
    char *body = write_body(call);
    const struct conf_list *url = call->command;

    if (!body)
        abort(); /* out of memory */
    h->fn = fn;
    h->owner = owner;
    h->post = http_post_start(l,
                              &(struct http_post_request){.url = url->items[0],
                                                          .ca_file = url->n > 1 ? url->items[1] : NULL,
                                                          .body = body,
                                                          .timeout_ms = call->timeout_ms},
                              hook_http_on_end, h);
    free(body);
    return h;
}

void hook_http_cancel(struct hook_http **hp)
{
    struct hook_http *h = *hp;

    *hp = NULL;
    if (!h)
        return;
    http_post_cancel(&h->post);
    free(h);
}
