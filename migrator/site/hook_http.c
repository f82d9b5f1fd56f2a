#include <stdlib.h>

#include <jansson.h>

#include "lib/imap_write.h"
#include "lib/xalloc.h"

#include "hook_http.h"
#include "http_post.h"

struct hook_http {
    struct http_post *post;
    char *password, *spelled; /* that was sent, plain and as JSON; owned, NULL: none */
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

static void hook_http_set_password(json_t *o, struct span password)
{
    json_t *text = password.len ? json_stringn((const char *)password.p, password.len) : NULL;

    json_object_set_new(o, "password", text ? text : json_null());
}

static char *write_body(const struct hook_call *c)
{
    json_t *o = json_object();

    hook_http_set_text(o, "event", c->event);
    hook_http_set_text(o, "user", c->login);
    hook_http_set_text(o, "account", c->user);
    hook_http_set_text(o, "source", c->source);
    hook_http_set_text(o, "target", c->target);
    if (c->mechanism) {
        hook_http_set_text(o, "mechanism", c->mechanism);
        hook_http_set_password(o, c->password);
    }
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static void hook_http_keep_password(struct hook_http *h, struct span password)
{
    json_t *text = password.len ? json_stringn((const char *)password.p, password.len) : NULL;

    if (!text)
        return;
    h->password = xspandup(password);
    h->spelled = json_dumps(text, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(text);
}

static void hook_http_wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void hook_http_free(struct hook_http *h)
{
    hook_http_wipe(h->password);
    hook_http_wipe(h->spelled);
    free(h);
}

/* An answer may repeat what it was sent. */
static bool hook_http_tells_password(const struct hook_http *h, struct span said)
{
    return h->password && (memmem(said.p, said.len, h->password, strlen(h->password)) ||
                           (h->spelled && memmem(said.p, said.len, h->spelled, strlen(h->spelled))));
}

static void hook_http_on_end(void *owner, const struct http_post_answer *answer)
{
    struct hook_http *h = owner;
    struct buf plain = {0};
    const char *error = answer->error;

    if (error && hook_http_tells_password(h, answer->body)) {
        buf_printf(&plain, "was answered with status %ld (and the password, so that is not shown)",
                   answer->status);
        error = buf_str(&plain);
    }
    h->fn(h->owner, !error ? HOOK_DONE : answer->status == 401 ? HOOK_WANTS_LOGIN : HOOK_FAILED, error);
    hook_http_free(h);
    buf_free(&plain);
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
    hook_http_keep_password(h, call->password);
    h->post = http_post_start(l,
                              &(struct http_post_request){.url = url->items[0],
                                                          .ca_file = url->n > 1 ? url->items[1] : NULL,
                                                          .body = body,
                                                          .timeout_ms = call->timeout_ms},
                              hook_http_on_end, h);
    explicit_bzero(body, strlen(body));
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
    hook_http_free(h);
}
