#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <curl/curl.h>
#include <jansson.h>
#include <uv.h>

#include "lib/imap_write.h"
#include "lib/xalloc.h"

#include "hook_http.h"

enum {
    SAID_MAX = 1000,        /* bytes of the answer that are kept */
    ANSWER_MAX = 64 * 1024, /* ... and that are read */
};

struct hook_http {
    struct loop *loop;
    hook_fn fn;
    void *owner;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    struct timer *deadline, *timer; /* ours, and curl's */
    struct loop_task over;          /* curl has ended, or could not begin */
    TAILQ_HEAD(, sock) socks;
    bool late, too_long;
    CURLcode result;
    char said[SAID_MAX];
    size_t n_said, n_read;
    char error[CURL_ERROR_SIZE];
};

/* A socket of curl's while it is watched. */
struct sock {
    TAILQ_ENTRY(sock) link;
    struct hook_http *hook;
    uv_poll_t poll;
    curl_socket_t fd;
};

/* ---- the end */

static void on_sock_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void hook_http_unwatch(struct sock *s)
{
    TAILQ_REMOVE(&s->hook->socks, s, link);
    s->hook = NULL;
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, on_sock_closed);
}

/* Curl takes its sockets back by on_socket() while it is cleaned up. */
static void hook_free(struct hook_http *h)
{
    struct sock *s;

    loop_undefer(h->loop, &h->over);
    curl_multi_remove_handle(h->multi, h->easy);
    curl_easy_cleanup(h->easy);
    curl_multi_cleanup(h->multi);
    curl_slist_free_all(h->headers);
    while ((s = TAILQ_FIRST(&h->socks)))
        hook_http_unwatch(s);
    timer_free(&h->deadline);
    timer_free(&h->timer);
    free(h);
}

static void hook_http_write_error(const struct hook_http *h, struct buf *out)
{
    long status = 0;

    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    if (h->late)
        buf_add_str(out, "took too long");
    else if (h->too_long)
        buf_add_str(out, "answered more than can be read");
    else if (h->result != CURLE_OK)
        buf_printf(out, "failed: %s", *h->error ? h->error : curl_easy_strerror(h->result));
    else if (status < 200 || status > 299)
        buf_printf(out, "was answered with status %ld", status);
    else
        return;
    if (h->n_said > 0 && !h->late) {
        const char *feed = memchr(h->said, '\n', h->n_said);
        buf_add_str(out, ": ");
        imap_write_text(out, span_of(h->said, feed ? (size_t)(feed - h->said) : h->n_said));
    }
}

static void hook_http_tell(struct loop_task *task)
{
    struct hook_http *h = CONTAINER_OF(task, struct hook_http, over);
    struct buf error = {0};
    hook_fn fn = h->fn;
    void *owner = h->owner;

    hook_http_write_error(h, &error);
    hook_free(h);
    fn(owner, error.len ? buf_str(&error) : NULL);
    buf_free(&error);
}

void hook_http_cancel(struct hook_http **hp)
{
    struct hook_http *h = *hp;

    *hp = NULL;
    if (h)
        hook_free(h);
}

static void hook_http_on_deadline(void *owner)
{
    struct hook_http *h = owner;

    h->late = true;
    loop_defer(h->loop, &h->over);
}

/* ---- curl on the loop */

static void hook_http_end_if_over(struct hook_http *h)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(h->multi, &left)))
        if (m->msg == CURLMSG_DONE) {
            h->result = m->data.result;
            loop_defer(h->loop, &h->over);
        }
}

static void hook_http_act(struct hook_http *h, curl_socket_t fd, int events)
{
    int running;

    if (curl_multi_socket_action(h->multi, fd, events, &running) != CURLM_OK) {
        h->result = CURLE_FAILED_INIT;
        loop_defer(h->loop, &h->over);
        return;
    }
    hook_http_end_if_over(h);
}

static void hook_http_on_poll(uv_poll_t *poll, int status, int events)
{
    struct sock *s = poll->data;

    hook_http_act(s->hook, s->fd,
                  status < 0 ? CURL_CSELECT_ERR
                             : (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                                   (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0));
}

static void hook_http_on_timer(void *owner)
{
    hook_http_act(owner, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long ms, void *owner)
{
    struct hook_http *h = owner;

    (void)multi;
    if (ms < 0)
        timer_stop(h->timer);
    else
        timer_start(h->timer, (uint64_t)ms);
    return 0;
}

static struct sock *hook_http_watch(struct hook_http *h, curl_socket_t fd)
{
    struct sock *s = xcalloc(1, sizeof(*s));

    s->hook = h;
    s->fd = fd;
    if (uv_poll_init_socket(&h->loop->uv, &s->poll, fd)) {
        free(s);
        return NULL;
    }
    s->poll.data = s;
    TAILQ_INSERT_TAIL(&h->socks, s, link);
    curl_multi_assign(h->multi, fd, s);
    return s;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *known)
{
    struct hook_http *h = owner;
    struct sock *s = known;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s)
            hook_http_unwatch(s);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    if (!s && !(s = hook_http_watch(h, fd)))
        return -1;
    uv_poll_start(&s->poll,
                  (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
                  hook_http_on_poll);
    return 0;
}

/* No command of a hook inherits it. */
static curl_socket_t on_open_socket(void *owner, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)owner;
    (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t hook_http_on_answer(char *bytes, size_t one, size_t n, void *owner)
{
    struct hook_http *h = owner;
    size_t room = SAID_MAX - h->n_said, take = n < room ? n : room;

    (void)one;
    memcpy(h->said + h->n_said, bytes, take);
    h->n_said += take;
    h->n_read += n;
    h->too_long = h->n_read > ANSWER_MAX;
    return h->too_long ? 0 : n;
}

/* ---- the start */

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

static void set_options(struct hook_http *h, const struct conf_list *url)
{
    CURL *e = h->easy;

    h->headers = curl_slist_append(NULL, "Content-Type: application/json");
    h->headers = curl_slist_append(h->headers, "Expect:");
    curl_easy_setopt(e, CURLOPT_URL, url->items[0]);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, h->headers);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "imapferry/" IMAPFERRY_VERSION);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* no waiting for the resolver's thread */
#endif
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (url->n > 1)
        curl_easy_setopt(e, CURLOPT_CAINFO, url->items[1]);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, h->error);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, hook_http_on_answer);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, h);
}

static void set_multi(struct hook_http *h)
{
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
}

struct hook_http *hook_http_start(struct loop *l, const struct hook_call *call, hook_fn fn, void *owner)
{
    struct hook_http *h = xcalloc(1, sizeof(*h));
    char *body = write_body(call);

    h->loop = l;
    h->fn = fn;
    h->owner = owner;
    h->over.fn = hook_http_tell;
    h->deadline = timer_new(l, hook_http_on_deadline, h);
    h->timer = timer_new(l, hook_http_on_timer, h);
    TAILQ_INIT(&h->socks);
    h->easy = curl_easy_init();
    h->multi = curl_multi_init();
    if (!h->easy || !h->multi || !body)
        abort(); /* out of memory */
    set_options(h, call->command);
    curl_easy_setopt(h->easy, CURLOPT_COPYPOSTFIELDS, body);
    free(body);
    set_multi(h);
    timer_start(h->deadline, call->timeout_ms);
    if (curl_multi_add_handle(h->multi, h->easy) != CURLM_OK) {
        h->result = CURLE_FAILED_INIT;
        loop_defer(l, &h->over);
    }
    return h;
}
