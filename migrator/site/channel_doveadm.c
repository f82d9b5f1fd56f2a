/* The HTTP API of doveadm: one mailboxUpdate a POST. What a server answers is
 *
 *   [["doveadmResponse",[],"tag"]]                           it is done
 *   [["error",{"type":"exitCode","exitCode":68},"tag"]]      it is not, by an exit status of doveadm */
#include <stdlib.h>

#include <jansson.h>

#include "lib/base64.h"
#include "lib/imap_write.h"
#include "lib/mutf7.h"
#include "lib/xalloc.h"

#include "channel_priv.h"

#define TAG "imapferry"

/* Exit statuses of doveadm, which are those of sysexits.h. */
static const char *doveadm_exit_text(json_int_t status)
{
    switch (status) {
    case 65:
        return "the mailbox can't be changed";
    case 67:
        return "no such user";
    case 68:
        return "no such mailbox";
    case 73:
        return "the mailbox can't be created";
    case 75:
        return "a fault for the moment";
    case 77:
        return "not permitted";
    default:
        return NULL;
    }
}

static void doveadm_error(struct channel_op *op, const json_t *error)
{
    const char *type = json_string_value(json_object_get(error, "type"));
    json_int_t status = json_integer_value(json_object_get(error, "exitCode"));
    struct buf text = {0};

    imap_write_text(&text, span_str(type ? type : "an error without a type"));
    op->c->barred = !type || strcmp(type, "exitCode") != 0;
    if (!op->c->barred) {
        buf_clear(&text);
        buf_printf(&text, "exit status %lld", (long long)status);
        if (doveadm_exit_text(status))
            buf_printf(&text, ", %s", doveadm_exit_text(status));
        channel_op_ended(op, status == 75 ? CHANNEL_DOWN : CHANNEL_REFUSED, "%s", buf_str(&text));
    } else {
        channel_op_ended(op, CHANNEL_DOWN, "%s", buf_str(&text));
    }
    buf_free(&text);
}

static void doveadm_read(struct channel_op *op, struct span answer)
{
    json_t *all = json_loadb((const char *)answer.p, answer.len, 0, NULL);
    const json_t *one = json_array_size(all) == 1 ? json_array_get(all, 0) : NULL;
    const char *what = json_string_value(json_array_get(one, 0));
    const char *tag = json_string_value(json_array_get(one, 2));

    op->c->barred = !what || !tag || strcmp(tag, TAG) != 0;
    if (op->c->barred)
        channel_op_ended(op, CHANNEL_DOWN, "answers what is not understood");
    else if (!strcmp(what, "doveadmResponse"))
        channel_op_ended(op, CHANNEL_OK, "done");
    else
        doveadm_error(op, json_array_get(one, 1));
    json_decref(all);
}

/* What to do about it, by what is said of it (http_post.c, curl); "" where nobody knows. */
static const char *doveadm_hint(const struct conf_backend *b, const char *error)
{
    bool tls = !strncmp(b->doveadm_url, "https:", 6);

    if (strstr(error, "status 401") || strstr(error, "status 403"))
        return "doveadm_key_file has to hold the doveadm_api_key of this server";
    if (strstr(error, "status 404"))
        return "doveadm_url has to end in /doveadm/v1";
    if (strstr(error, "certificate"))
        return "its certificate has to be of the host in doveadm_url, and signed by one of ca_file";
    if (strstr(error, "Empty reply") && !tls)
        return "see whether doveadm_url has to begin with https://";
    if (strstr(error, "wrong version number") && tls)
        return "see whether its inet_listener has \"ssl = yes\", or doveadm_url has to begin with http://";
    if (strstr(error, "HTTP/0.9") || strstr(error, "status 4"))
        return "doveadm_url has to be that of an inet_listener named http in its service doveadm";
    if (strstr(error, "connect") || strstr(error, "resolve"))
        return "see doveadm_url, the inet_listener in its service doveadm, and firewalls";
    return "";
}

static void doveadm_on_end(void *owner, const struct http_post_answer *answer)
{
    struct channel_op *op = owner;

    op->post = NULL;
    if (answer->error) {
        const char *hint = doveadm_hint(op->c->backend, answer->error);
        op->c->barred = answer->status > 0 && answer->status < 500;
        channel_op_ended(op, answer->lost ? CHANNEL_LOST : CHANNEL_DOWN, "%s%s%s", answer->error,
                         *hint ? "; " : "", hint);
    } else {
        doveadm_read(op, answer->body);
    }
}

/* NULL: it can't be written. */
static char *doveadm_write(const struct channel_op *op, const char *mailbox)
{
    const struct channel_want *w = &op->want;
    json_t *o = json_object();

    json_object_set_new(o, "user", json_string(op->c->login));
    json_object_set_new(o, "mailbox", json_string(mailbox));
    if (w->uidvalidity)
        json_object_set_new(o, "uidValidity", json_integer(w->uidvalidity));
    if (w->uidnext)
        json_object_set_new(o, "minNextUid", json_integer(w->uidnext));
    if (w->modseq)
        json_object_set_new(o, "minHighestModseq", json_integer((json_int_t)w->modseq));
    json_t *all = json_pack("[[s,o,s]]", "mailboxUpdate", o, TAG);
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}

static struct http_post *doveadm_post(struct loop *l, const struct conf_backend *b, const char *body,
                                      uint64_t timeout_ms, const uint64_t *until_ms, http_post_fn fn,
                                      void *owner)
{
    struct buf key = {0};

    buf_add_str(&key, "X-Dovecot-API ");
    base64_encode(&key, span_str(b->doveadm_key ? b->doveadm_key : ""));
    struct http_post *post =
        http_post_start(l,
                        &(struct http_post_request){.url = b->doveadm_url,
                                                    .ca_file = *b->ca_file ? b->ca_file : NULL,
                                                    .authorization = buf_str(&key),
                                                    .body = body,
                                                    .timeout_ms = timeout_ms,
                                                    .until_ms = until_ms},
                        fn, owner);
    buf_wipe(&key);
    return post;
}

static void doveadm_send(struct channel_op *op, const char *body)
{
    struct channel *c = op->c;

    if (clock_boot_ms() >= *c->until_ms) { /* it was stopped, and another owner may be at it */
        channel_op_ended(op, CHANNEL_DOWN, "the job is not ours any more");
        return;
    }
    op->post =
        doveadm_post(c->m->loop, c->backend, body, channel_deadline_ms(c), c->until_ms, doveadm_on_end, op);
}

static void doveadm_start(struct channel_op *op)
{
    struct buf name = {0};
    char *body = NULL;

    if (mutf7_to_utf8(&name, span_str(op->want.mailbox)))
        body = doveadm_write(op, buf_str(&name));
    if (body)
        doveadm_send(op, body);
    else
        channel_op_ended(op, CHANNEL_REFUSED, "the mailbox's name is no modified UTF-7");
    free(body);
    buf_free(&name);
}

static void doveadm_stop(struct channel_op *op)
{
    http_post_cancel(&op->post);
}

static void doveadm_close(struct channel *c)
{
    (void)c;
}

/* ---- is it there? */

struct channel_knock {
    const struct conf_backend *backend;
    channel_knock_fn fn;
    void *owner;
    struct http_post *post;
};

static void doveadm_on_knocked(void *owner, const struct http_post_answer *answer)
{
    struct channel_knock *k = owner;
    channel_knock_fn fn = k->fn;
    const char *hint = answer->error ? doveadm_hint(k->backend, answer->error) : "";
    bool odd = !answer->error && !span_is(answer->body, "[]");

    owner = k->owner;
    free(k);
    fn(owner, odd ? "answers what is not understood" : answer->error, hint, answer->date_s);
}

struct channel_knock *channel_knock_start(struct loop *l, const struct conf_backend *backend,
                                          uint64_t timeout_ms, channel_knock_fn fn, void *owner)
{
    struct channel_knock *k = xcalloc(1, sizeof(*k));

    *k = (struct channel_knock){.backend = backend, .fn = fn, .owner = owner};
    k->post = doveadm_post(l, backend, "[]", timeout_ms, NULL, doveadm_on_knocked, k);
    return k;
}

void channel_knock_cancel(struct channel_knock **kp)
{
    struct channel_knock *k = *kp;

    *kp = NULL;
    if (!k)
        return;
    http_post_cancel(&k->post);
    free(k);
}

const struct channel_kind channel_doveadm = {
    .word = "doveadm", .start = doveadm_start, .stop = doveadm_stop, .close = doveadm_close};
