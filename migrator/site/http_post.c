#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <curl/curl.h>
#include <uv.h>

#include "lib/imap_write.h"
#include "lib/xalloc.h"

#include "http_post.h"

enum { ANSWER_MAX = 64 * 1024 /* bytes */ };

struct http_post {
    struct loop *loop;
    http_post_fn fn;
    void *owner;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    char *body;                     /* owned */
    struct timer *deadline, *timer; /* ours, and curl's */
    uint64_t ends_ms;               /* clock_boot_ms() of the deadline */
    const uint64_t *until_ms;       /* the same, and it may move; NULL: none */
    unsigned silence_ms;            /* for the kernel */
    struct loop_task over;          /* curl has ended, or could not begin */
    TAILQ_HEAD(, sock) socks;
    bool late, too_long;
    uint64_t date_s; /* of the answer's header; 0: none */
    CURLcode result;
    struct buf answer;
    char error[CURL_ERROR_SIZE];
};

/* A socket of curl's while it is watched. */
struct sock {
    TAILQ_ENTRY(sock) link;
    struct http_post *post;
    uv_poll_t poll;
    curl_socket_t fd;
};

/* ---- the end */

static void on_sock_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void http_post_unwatch(struct sock *s)
{
    TAILQ_REMOVE(&s->post->socks, s, link);
    s->post = NULL;
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, on_sock_closed);
}

/* Curl takes its sockets back by on_socket() while it is cleaned up. */
static void http_post_free(struct http_post *h)
{
    struct sock *s;

    loop_undefer(h->loop, &h->over);
    curl_multi_remove_handle(h->multi, h->easy);
    curl_easy_cleanup(h->easy);
    curl_multi_cleanup(h->multi);
    for (struct curl_slist *line = h->headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(h->headers);
    explicit_bzero(h->body, strlen(h->body));
    free(h->body);
    while ((s = TAILQ_FIRST(&h->socks)))
        http_post_unwatch(s);
    timer_free(&h->deadline);
    timer_free(&h->timer);
    buf_free(&h->answer);
    free(h);
}

static long http_post_status(const struct http_post *h)
{
    long status = 0;

    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static void http_post_write_error(const struct http_post *h, struct buf *out)
{
    long status = http_post_status(h);

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
    struct span said = buf_span(&h->answer);
    if (said.len > 0 && !h->late) {
        const uint8_t *feed = memchr(said.p, '\r', said.len);
        if (!feed)
            feed = memchr(said.p, '\n', said.len);
        buf_add_str(out, ": ");
        imap_write_text(out, span_of(said.p, feed ? (size_t)(feed - said.p) : said.len));
    }
}

static bool http_post_is_lost(const struct http_post *h)
{
    long sent = 0;

    curl_easy_getinfo(h->easy, CURLINFO_REQUEST_SIZE, &sent);
    return sent > 0 && !h->too_long && (h->late || h->result != CURLE_OK);
}

static void http_post_tell(struct loop_task *task)
{
    struct http_post *h = CONTAINER_OF(task, struct http_post, over);
    struct buf error = {0};
    http_post_fn fn = h->fn;
    void *owner = h->owner;
    struct buf answer = h->answer;

    http_post_write_error(h, &error);
    struct http_post_answer told = {.error = error.len ? buf_str(&error) : NULL,
                                    .status = http_post_status(h),
                                    .lost = http_post_is_lost(h),
                                    .date_s = h->date_s};
    h->answer = (struct buf){0};
    http_post_free(h);
    told.body = buf_span(&answer);
    fn(owner, &told);
    buf_free(&error);
    buf_free(&answer);
}

void http_post_cancel(struct http_post **hp)
{
    struct http_post *h = *hp;

    *hp = NULL;
    if (h)
        http_post_free(h);
}

/* In milliseconds; 0: it is too late. */
static uint64_t http_post_time_left(const struct http_post *h)
{
    uint64_t now = clock_boot_ms(),
             ends = h->until_ms && *h->until_ms < h->ends_ms ? *h->until_ms : h->ends_ms;

    return ends > now ? ends - now : 0;
}

static void http_post_on_deadline(void *owner)
{
    struct http_post *h = owner;
    uint64_t left = http_post_time_left(h);

    h->late = left == 0;
    if (h->late)
        loop_defer(h->loop, &h->over);
    else
        timer_start(h->deadline, left);
}

/* ---- curl on the loop */

static void http_post_end_if_over(struct http_post *h)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(h->multi, &left)))
        if (m->msg == CURLMSG_DONE) {
            h->result = m->data.result;
            loop_defer(h->loop, &h->over);
        }
}

/* The timer alone won't do: who was stopped for a while may find the socket ready before it. */
static void http_post_act(struct http_post *h, curl_socket_t fd, int events)
{
    int running;

    if (http_post_time_left(h) == 0) {
        http_post_on_deadline(h);
        return;
    }
    if (curl_multi_socket_action(h->multi, fd, events, &running) != CURLM_OK) {
        h->result = CURLE_FAILED_INIT;
        loop_defer(h->loop, &h->over);
        return;
    }
    http_post_end_if_over(h);
}

static void http_post_on_poll(uv_poll_t *poll, int status, int events)
{
    struct sock *s = poll->data;

    http_post_act(s->post, s->fd,
                  status < 0 ? CURL_CSELECT_ERR
                             : (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                                   (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0));
}

static void http_post_on_timer(void *owner)
{
    http_post_act(owner, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long ms, void *owner)
{
    struct http_post *h = owner;

    (void)multi;
    if (ms < 0)
        timer_stop(h->timer);
    else
        timer_start(h->timer, (uint64_t)ms);
    return 0;
}

static struct sock *http_post_watch(struct http_post *h, curl_socket_t fd)
{
    struct sock *s = xcalloc(1, sizeof(*s));

    s->post = h;
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
    struct http_post *h = owner;
    struct sock *s = known;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s)
            http_post_unwatch(s);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    if (!s && !(s = http_post_watch(h, fd)))
        return -1;
    uv_poll_start(&s->poll,
                  (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
                  http_post_on_poll);
    return 0;
}

/* No command of a hook inherits it. What lies in the kernel must not be delivered when this was given up: it ends
 * by reset, and a peer that confirms nothing is given up by the kernel too. */
static curl_socket_t on_open_socket(void *owner, curlsocktype purpose, struct curl_sockaddr *a)
{
    const struct http_post *h = owner;
    struct linger now = {.l_onoff = 1};
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);

    (void)purpose;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &h->silence_ms, sizeof(h->silence_ms));
    }
    return fd;
}

static size_t http_post_on_answer(char *bytes, size_t one, size_t n, void *owner)
{
    struct http_post *h = owner;

    (void)one;
    h->too_long = h->answer.len + n > ANSWER_MAX;
    if (h->too_long)
        return 0;
    buf_add(&h->answer, bytes, n);
    return n;
}

/* One line of the header at a time. */
static size_t http_post_on_header(char *bytes, size_t one, size_t n, void *owner)
{
    static const char name[] = "Date:";
    struct http_post *h = owner;

    (void)one;
    if (n < sizeof(name) || strncasecmp(bytes, name, sizeof(name) - 1) != 0)
        return n;
    char *date = xspandup(span_of(bytes + sizeof(name) - 1, n - sizeof(name) + 1));
    time_t t = curl_getdate(date, NULL);
    h->date_s = t > 0 ? (uint64_t)t : 0;
    free(date);
    return n;
}

/* ---- the start */

static void set_options(struct http_post *h, const struct http_post_request *request)
{
    CURL *e = h->easy;

    h->headers = curl_slist_append(NULL, "Content-Type: application/json");
    h->headers = curl_slist_append(h->headers, "Expect:");
    if (request->authorization) {
        char *line = xasprintf("Authorization: %s", request->authorization);
        h->headers = curl_slist_append(h->headers, line);
        explicit_bzero(line, strlen(line));
        free(line);
    }
    curl_easy_setopt(e, CURLOPT_URL, request->url);
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
    if (request->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, request->ca_file);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, h->error);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, h);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, http_post_on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, http_post_on_answer);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, h);
}

static void set_multi(struct http_post *h)
{
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
}

struct http_post *http_post_start(struct loop *l, const struct http_post_request *request, http_post_fn fn,
                                  void *owner)
{
    struct http_post *h = xcalloc(1, sizeof(*h));

    h->loop = l;
    h->fn = fn;
    h->owner = owner;
    h->over.fn = http_post_tell;
    h->until_ms = request->until_ms;
    h->ends_ms = clock_boot_ms() + request->timeout_ms;
    uint64_t left = http_post_time_left(h);
    h->silence_ms = left < INT_MAX ? (unsigned)left : INT_MAX;
    h->deadline = timer_new(l, http_post_on_deadline, h);
    h->timer = timer_new(l, http_post_on_timer, h);
    TAILQ_INIT(&h->socks);
    h->easy = curl_easy_init();
    h->multi = curl_multi_init();
    if (!h->easy || !h->multi)
        abort(); /* out of memory */
    set_options(h, request);
    h->body = xstrdup(request->body);
    curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, h->body);
    set_multi(h);
    timer_start(h->deadline, left);
    if (curl_multi_add_handle(h->multi, h->easy) != CURLM_OK) {
        h->result = CURLE_FAILED_INIT;
        loop_defer(l, &h->over);
    }
    return h;
}
