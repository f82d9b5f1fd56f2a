/* session_unit: a session after its login, between a client and a server that the test plays itself: sockets
 * of the loopback, one thread, no store. What the rest of the proxy would do about a session is written down
 * in the bench, or is as the test sets it. */
#ifndef IMAPFERRY_TEST_SESSION_UNIT_H
#define IMAPFERRY_TEST_SESSION_UNIT_H

#include <poll.h>

#include "io.h"
#include "proxy/client_id.h"
#include "proxy/opened.h"
#include "proxy/proxy.h"
#include "proxy/relay.h"
#include "proxy/rest.h"
#include "proxy/views.h"

struct bench {
    struct loop *loop;
    struct conf conf;
    struct conf_backend backends[2]; /* "old" and "new" */
    struct proxy proxy;
    struct account account;
    struct branch branch;
    struct session s;
    int client, server, next; /* what the test plays; next: the server that the session goes on at */
    char tag[64];             /* of the last command_of() */
    bool may_pass;
    bool ended;
    enum session_end end;
    char *detail;
    struct imap_caps caps; /* of both backends */
    /* The account's view, as views.h has it; a change that is asked for is kept, to be answered by
     * bench_changed(). */
    struct view *view;
    enum views_state views;
    bool rewrites, no_modseqs;
    bool asks; /* the store is asked whether it is still the same; answered by bench_told() */
    struct view_changes changes;
    unsigned n_changes, n_wanted, n_keeps;
    bool is_late; /* the replicas did not keep up a moment ago */
    route_done_fn change_fn;
    void *change_owner;
    void *more; /* the test's own */
};

static inline struct bench *bench_of(const struct session *s)
{
    return CONTAINER_OF((void *)(uintptr_t)s, struct bench, s);
}

/* ---- the session, as far as it is not under test ---- */

bool session_is_live(const struct session *s)
{
    return s->state == IN_RELAY || s->state == IN_FROZEN || s->state == IN_HANDOVER;
}

void session_enter(struct session *s, enum session_state state)
{
    s->state = state;
}

void session_close(struct session *s, enum session_end end, const char *detail)
{
    struct bench *b = bench_of(s);
    if (b->ended)
        return;
    b->ended = true;
    b->end = end;
    b->detail = xstrdup(detail);
    s->state = IN_CLOSING;
    stream_pause(s->client);
    if (s->backend)
        stream_pause(s->backend);
}

static inline void bench_server_event(struct stream *stream, enum stream_event ev, void *owner)
{
    struct session *s = owner;
    (void)stream;
    if (s->state == IN_RELAY)
        relay_backend_event(s, ev);
    else if (s->state == IN_FROZEN)
        rest_backend_event(s, ev);
}

static inline void bench_client_event(struct stream *stream, enum stream_event ev, void *owner)
{
    struct session *s = owner;
    (void)stream;
    if (s->state == IN_RELAY)
        relay_client_event(s, ev);
}

void session_take_backend(struct session *s, struct stream *stream, const struct conf_backend *at)
{
    s->backend = stream;
    s->at = at;
    stream_set_owner(stream, bench_server_event, s);
}

bool registration_may_pass(const struct session *s)
{
    return bench_of(s)->may_pass;
}

/* ---- the view ---- */

static inline struct bench *bench_of_account(const struct account *a)
{
    return CONTAINER_OF((void *)(uintptr_t)a, struct bench, account);
}

void views_want(struct account *a, const char *backend, const char *text, bool all)
{
    (void)backend, (void)text, (void)all;
    bench_of_account(a)->n_wanted++;
}

void views_try_again(struct account *a)
{
    bench_of_account(a)->n_wanted++;
}

enum views_state views_state(const struct account *a)
{
    return bench_of_account(a)->views;
}

bool views_is_current(const struct account *a, const char *backend)
{
    (void)backend;
    return bench_of_account(a)->views == VIEWS_READ;
}

struct view *views_view(const struct account *a)
{
    return bench_of_account(a)->view;
}

bool views_has_records(const struct account *a)
{
    return bench_of_account(a)->view != NULL;
}

bool views_has_modseqs(const struct account *a)
{
    return !bench_of_account(a)->no_modseqs;
}

bool views_rewrites(const struct account *a)
{
    return bench_of_account(a)->rewrites;
}

bool views_change(struct account *a, const char *backend, const struct view_changes *changes,
                  route_done_fn fn, void *owner)
{
    struct bench *b = bench_of_account(a);
    (void)backend;
    b->n_changes++;
    b->change_fn = fn;
    b->change_owner = owner;
    view_changes_free(&b->changes);
    b->changes.items = xcalloc(changes->n, sizeof *changes->items);
    b->changes.n = b->changes.cap = changes->n;
    for (size_t i = 0; i < changes->n; i++)
        b->changes.items[i] = (struct view_change){
            xstrdup(changes->items[i].field), xstrdup(changes->items[i].was), xstrdup(changes->items[i].is)};
    return true;
}

bool views_ask(struct account *a, const char *backend, route_done_fn fn, void *owner)
{
    struct bench *b = bench_of_account(a);
    (void)backend;
    if (!b->asks)
        return false;
    b->change_fn = fn;
    b->change_owner = owner;
    return true;
}

bool views_keep(struct account *a, route_done_fn fn, void *owner)
{
    struct bench *b = bench_of_account(a);
    b->n_keeps++;
    b->change_fn = fn;
    b->change_owner = owner;
    return !b->is_late;
}

void views_forget(struct account *a, void *owner)
{
    struct bench *b = bench_of_account(a);
    if (b->change_owner == owner)
        b->change_fn = NULL;
}

static inline void bench_told(struct bench *b, enum route_rc rc)
{
    route_done_fn fn = b->change_fn;
    b->change_fn = NULL;
    assert_non_null(fn);
    fn(b->change_owner, rc, "");
}

/* The store answers. */
static inline void bench_changed(struct bench *b, enum route_rc rc)
{
    route_done_fn fn = b->change_fn;
    b->change_fn = NULL;
    assert_non_null(fn);
    if (rc == ROUTE_OK) {
        struct view *now = view_apply(b->view, &b->changes);
        assert_non_null(now);
        view_unref(&b->view);
        b->view = now;
    }
    fn(b->change_owner, rc, "why");
}

/* A record under the client's name, with the backend's. */
static inline void bench_record(struct view *view, struct view_record r, const char *source,
                                const char *target)
{
    struct buf text = {0};
    if (!r.id[0])
        strcpy(r.id, "a1");
    r.source_name = (char *)source;
    r.target_name = (char *)target;
    view_record_encode(&text, &r);
    assert_true(view_take(view, span_str(source), buf_span(&text)));
    buf_free(&text);
}

/* ---- the two ends ---- */

static inline void bench_connected(struct stream *stream, enum stream_event ev, void *owner)
{
    (void)stream;
    assert_int_equal(ev, STREAM_CONNECTED);
    *(bool *)owner = true;
}

/* A connected stream, and in *fd the end that the test plays. */
static inline struct stream *bench_connect(struct bench *b, int *fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct stream_limits limits = {.high_water = LIMIT_HIGH_WATER, .queue_max = 1 << 24};
    uint16_t port;
    bool done = false;
    int listener = io_listen(&port);
    at.sin_port = htons(port);
    struct stream *s = stream_connect(b->loop, (struct sockaddr *)&at, &limits, bench_connected, &done);
    io_wait(b->loop, &done);
    *fd = accept(listener, NULL, NULL);
    assert_true(*fd >= 0);
    close(listener);
    return s;
}

/* Text with "%T" for the tag of the last command. */
static inline void bench_says(struct bench *b, int fd, const char *text)
{
    struct buf out = {0};
    for (const char *at; (at = strstr(text, "%T")); text = at + 2) {
        buf_add(&out, text, (size_t)(at - text));
        buf_add_str(&out, b->tag);
    }
    buf_add_str(&out, text);
    assert_int_equal(send(fd, out.mem + out.off, out.len, MSG_NOSIGNAL), out.len);
    buf_free(&out);
}

/* More than sockets hold: runs the loop until all of it is sent. */
static inline void bench_pours(struct bench *b, int fd, struct span all)
{
    uint64_t end = clock_boot_ms() + IO_DEADLINE_MS;
    while (all.len > 0 && clock_boot_ms() < end) {
        ssize_t n = send(fd, all.p, all.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            all = span_of(all.p + n, all.len - (size_t)n);
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(all.len, 0);
}

/* One byte that came to fd; runs the loop until there is one. */
static inline bool bench_byte(struct bench *b, int fd, char *c)
{
    uint64_t end = clock_boot_ms() + IO_DEADLINE_MS;
    while (clock_boot_ms() < end) {
        ssize_t n = recv(fd, c, 1, MSG_DONTWAIT);
        if (n >= 0)
            return n == 1;
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    }
    return false;
}

/* These bytes come to fd, and nothing came before them. */
static inline void bench_gets(struct bench *b, int fd, const char *text)
{
    struct buf got = {0};
    char c;
    while (got.len < strlen(text) && bench_byte(b, fd, &c)) {
        buf_add(&got, &c, 1);
        if (c != text[got.len - 1]) /* shows the rest of the line */
            while (c != '\n' && bench_byte(b, fd, &c))
                buf_add(&got, &c, 1);
    }
    assert_string_equal(buf_str(&got), text);
    buf_free(&got);
}

/* A command of ours comes to fd: its tag is kept. */
static inline void bench_gets_command(struct bench *b, int fd, const char *text)
{
    struct buf line = {0};
    char c = 0;
    while (c != '\n' && bench_byte(b, fd, &c))
        buf_add(&line, &c, 1);
    const char *all = buf_str(&line);
    size_t n = strcspn(all, " ");
    snprintf(b->tag, sizeof b->tag, "%.*s", (int)n, all);
    assert_true(line.len > n + 2);
    char *rest = xspandup(span_of(all + n + 1, line.len - n - 3));
    assert_string_equal(rest, text);
    free(rest);
    buf_free(&line);
}

/* Runs the loop until what was sent has been looked at. */
static inline void bench_settle(struct bench *b)
{
    for (int i = 0; i < 20; i++)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
}

/* Nothing comes to fd. What should not pass is shown best by what comes next; this is for where nothing
 * does. */
static inline void bench_gets_nothing(struct bench *b, int fd)
{
    char c;
    bench_settle(b);
    assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
}

static inline void bench_ends(struct bench *b, enum session_end end)
{
    uint64_t limit = clock_boot_ms() + IO_DEADLINE_MS;
    while (!b->ended && clock_boot_ms() < limit)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_true(b->ended);
    assert_int_equal(b->end, end);
}

/* ---- life ---- */

static inline int bench_set_up(void **state)
{
    struct bench *b = xcalloc(1, sizeof *b);
    b->loop = loop_new();
    b->backends[0].name = (char *)"old";
    b->backends[1].name = (char *)"new";
    b->conf.backends = b->backends;
    b->conf.n_backends = 2;
    b->conf.proxy.idle_timeout_ms = b->conf.proxy.backend_timeout_ms = b->conf.proxy.close_timeout_ms =
        b->conf.proxy.connect_timeout_ms = b->conf.proxy.store_timeout_ms = 60 * 1000;
    b->conf.proxy.compress = true;
    b->proxy.loop = b->loop;
    b->proxy.conf = &b->conf;
    b->account = (struct account){
        .proxy = &b->proxy, .branch = &b->branch, .key = (char *)"ann", .known = true, .epoch = 7};
    b->may_pass = true;
    b->views = VIEWS_READ;
    imap_caps_parse(&b->caps, span_str("IMAP4rev1 IDLE LITERAL+ NAMESPACE UIDPLUS UNSELECT ENABLE ID"));
    b->s = (struct session){.proxy = &b->proxy, .account = &b->account, .name = (char *)"p/1"};
    b->s.client = bench_connect(b, &b->client);
    stream_set_owner(b->s.client, bench_client_event, &b->s);
    struct stream *server = bench_connect(b, &b->server);
    session_take_backend(&b->s, server, &b->backends[0]);
    b->s.timer = timer_new(b->loop, NULL, NULL);
    b->next = -1;
    struct imap_caps shown = imap_caps_shown(&b->caps, &b->caps);
    relay_begin(&b->s, &shown, NULL);
    *state = b;
    return 0;
}

/* The client is shown these capabilities, from its login on. */
static inline void bench_shows(struct bench *b, const char *words)
{
    struct imap_caps shown;
    imap_caps_parse(&shown, span_str(words));
    relay_free(&b->s.relay);
    relay_begin(&b->s, &shown, NULL);
}

static inline int bench_tear_down(void **state)
{
    struct bench *b = *state;
    relay_free(&b->s.relay);
    timer_free(&b->s.timer);
    stream_close(&b->s.client, false);
    stream_close(&b->s.backend, false);
    close(b->client);
    close(b->server);
    if (b->next >= 0)
        close(b->next);
    free(b->detail);
    buf_free(&b->s.client_id);
    view_unref(&b->view);
    view_changes_free(&b->changes);
    loop_free(&b->loop);
    free(b);
    return 0;
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_set_up, bench_tear_down)

#endif
