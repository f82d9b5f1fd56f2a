/* load: mail programs in their thousands, against a proxy. One thread, epoll; TLS 1.3 or 1.2 by OpenSSL.
 *
 *   load login PORT COUNT AT_ONCE SECURITY   COUNT logins, AT_ONCE of them at a time: connect, LOGIN, its OK, LOGOUT, its OK
 *   load small PORT COUNT 1 SECURITY         NOOP on one session, one behind the other
 *   load fetch PORT COUNT AT_ONCE SECURITY   COUNT messages of 1 MiB, from AT_ONCE sessions
 *   load append PORT COUNT AT_ONCE SECURITY  ... and to the server
 *   load idle PORT COUNT AT_ONCE SECURITY    COUNT sessions, which stay until standard input ends; "ready" when they are there
 *   load idling PORT COUNT AT_ONCE SECURITY  the same, all in IDLE, which is ended then: done is how many got its OK
 *
 * SECURITY: plain; tls (a handshake each); resumed (after one handshake all others resume its session). The users are
 * u0@example.org to u9999@example.org, by turns. Prints one line of JSON: seconds, done, errors, p50 and p99 in
 * microseconds (of a login, a NOOP, a message). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 256 * 1024, EVENTS = 256, BODY = 1 << 20, USERS = 10000, ADDRESSES = 200 };
enum step { CONNECTING, SECURING, GREETING, SIGNING_IN, WORKING, CONTINUING, LEAVING };

struct client {
    int fd;
    SSL *ssl;
    enum step step;
    double began;    /* of what is measured */
    const char *out; /* what is not sent yet */
    size_t out_len;
    char line[256]; /* the command */
    char tail[128]; /* of what came: its last line, as far as it has come */
    size_t tail_len;
    size_t place; /* in resting */
};

static enum { LOGIN, SMALLS, FETCH, APPEND, IDLE, IDLING } mode;
static enum { PLAIN, TLS, RESUMED } security;
static uint16_t port;
static size_t wanted, started, done, errors, open_now, at_once;
static double *times;
static int poller;
static SSL_CTX *context;
static SSL_SESSION *session;
static char *body;
static char *room;
static struct client **resting; /* those in IDLE */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void note(struct client *c)
{
    if (done < wanted)
        times[done++] = now() - c->began;
}

static void watch(struct client *c, unsigned events, int operation)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(poller, operation, c->fd, &e);
}

/* All clients at loopback's addresses, so that ports do not run out. */
static bool dial(struct client *c)
{
    static unsigned n;
    int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
    from.sin_addr.s_addr = htonl(0x7f000801 + n++ % ADDRESSES);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return c->fd >= 0 && bind(c->fd, (struct sockaddr *)&from, sizeof from) == 0 &&
           (connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
}

static bool start_one(void)
{
    struct client *c = calloc(1, sizeof *c);
    c->began = now();
    started++;
    if (!dial(c)) {
        perror("load: connect");
        free(c);
        errors++;
        return false;
    }
    open_now++;
    c->place = started - 1;
    if (mode == IDLING)
        resting[c->place] = c;
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
    return true;
}

static bool rests(void)
{
    return mode == IDLE || mode == IDLING;
}

static bool has_more(void)
{
    return started < (mode == FETCH || mode == APPEND || mode == SMALLS ? at_once : wanted);
}

static void end(struct client *c, bool good)
{
    errors += !good;
    if (!good)
        fprintf(stderr, "load: step %d failed behind: %.*s\n", c->step, (int)c->tail_len, c->tail);
    if (c->ssl) {
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN);
        SSL_free(c->ssl);
    }
    close(c->fd);
    if (mode == IDLING)
        resting[c->place] = NULL;
    free(c);
    open_now--;
}

/* 1: done; 0: later; -1: broken. */
static int push(struct client *c)
{
    while (c->out_len > 0) {
        ssize_t n;
        if (c->ssl) {
            ERR_clear_error();
            n = SSL_write(c->ssl, c->out, (int)(c->out_len > 65536 ? 65536 : c->out_len));
            if (n <= 0 && SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_WRITE)
                n = 0;
        } else {
            n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN)
                n = 0;
        }
        if (n < 0)
            return -1;
        if (n == 0) {
            watch(c, EPOLLOUT, EPOLL_CTL_MOD);
            return 0;
        }
        c->out += n;
        c->out_len -= (size_t)n;
    }
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
    return 1;
}

static int say(struct client *c, const char *bytes, size_t n, enum step next)
{
    c->step = next;
    c->out = bytes;
    c->out_len = n;
    c->tail_len = 0;
    return push(c);
}

static int command(struct client *c, const char *text, enum step next)
{
    int n = snprintf(c->line, sizeof c->line, "a %s\r\n", text);
    return say(c, c->line, (size_t)n, next);
}

static int work(struct client *c)
{
    static const char *const commands[] = {
        "LOGOUT", "NOOP", "UID FETCH 1 (BODY.PEEK[])", "APPEND INBOX {1048576}", "NOOP", "IDLE"};
    if (mode == IDLE) {
        c->step = WORKING;
        done++;
        return 1;
    }
    if (mode != LOGIN && mode != IDLING) {
        c->began = now();
        if (done >= wanted)
            return command(c, "LOGOUT", LEAVING);
    }
    return command(c, commands[mode],
                   mode == LOGIN                      ? LEAVING
                   : mode == APPEND || mode == IDLING ? CONTINUING
                                                      : WORKING);
}

static int rest(struct client *c)
{
    if (c->tail[0] != '+')
        return -1;
    c->step = WORKING;
    done++;
    return 1;
}

static void end_rest(void)
{
    static const char bye[] = "DONE\r\n";
    done = 0;
    for (size_t i = 0; i < wanted; i++)
        if (resting[i] && say(resting[i], bye, sizeof bye - 1, LEAVING) < 0)
            end(resting[i], false);
}

/* A whole line has come that answers what was said. 1: go on; 0: wait; -1: broken or at its end. */
static int on_answer(struct client *c)
{
    static unsigned user;
    char text[128];
    bool ok = strncmp(c->tail, "a OK", 4) == 0;
    switch (c->step) {
    case GREETING:
        snprintf(text, sizeof text, "LOGIN u%u@example.org secret", user++ % USERS);
        return command(c, text, SIGNING_IN);
    case SIGNING_IN:
        return ok ? work(c) : -1;
    case CONTINUING:
        if (mode == IDLING)
            return rest(c);
        return c->tail[0] == '+' ? say(c, body, BODY + 2, WORKING) : -1;
    case WORKING:
        note(c);
        return ok ? work(c) : -1;
    case LEAVING:
        if (mode == LOGIN || (mode == IDLING && ok))
            note(c);
        return -1;
    default:
        return -1;
    }
}

static bool is_answer(const struct client *c)
{
    return c->step == GREETING     ? c->tail[0] == '*'
           : c->step == CONTINUING ? c->tail[0] == '+' || strncmp(c->tail, "a ", 2) == 0
                                   : strncmp(c->tail, "a ", 2) == 0;
}

/* Keeps the last line alone. */
static int take(struct client *c, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        const char *lf = memchr(bytes + at, '\n', n - at);
        size_t len = (lf ? (size_t)(lf - bytes) + 1 : n) - at;
        size_t fits = sizeof c->tail - 1 - c->tail_len;
        memcpy(c->tail + c->tail_len, bytes + at, len < fits ? len : fits);
        c->tail_len += len < fits ? len : fits;
        c->tail[c->tail_len] = 0;
        at += len;
        if (!lf)
            break;
        if (is_answer(c)) {
            int rc = on_answer(c);
            if (rc < 0)
                return rc;
        } else {
            c->tail_len = 0;
        }
    }
    return 1;
}

static int pull(struct client *c)
{
    for (;;) {
        ssize_t n;
        if (c->ssl) {
            ERR_clear_error();
            n = SSL_read(c->ssl, room, ROOM);
            if (n <= 0)
                return SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ ? 0 : -1;
        } else {
            n = recv(c->fd, room, ROOM, 0);
            if (n <= 0)
                return n < 0 && errno == EAGAIN ? 0 : -1;
        }
        int rc = take(c, room, (size_t)n);
        if (rc < 0 || (!c->ssl && n < ROOM))
            return rc;
    }
}

static int secure(struct client *c)
{
    ERR_clear_error();
    int rc = SSL_connect(c->ssl);
    if (rc == 1) {
        c->step = GREETING;
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
        return pull(c);
    }
    int why = SSL_get_error(c->ssl, rc);
    watch(c, why == SSL_ERROR_WANT_WRITE ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static int on_connected(struct client *c)
{
    if (security == PLAIN) {
        c->step = GREETING;
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
        return 0;
    }
    c->step = SECURING;
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    if (security == RESUMED && session) {
        SSL_SESSION *again = SSL_SESSION_dup(session); /* OpenSSL uses one of TLS 1.3 once */
        SSL_set_session(c->ssl, again);
        SSL_SESSION_free(again);
    }
    return secure(c);
}

static void on_event(struct client *c, unsigned events)
{
    int rc;
    if (c->step == CONNECTING)
        rc = on_connected(c);
    else if (c->step == SECURING)
        rc = secure(c);
    else if (events & EPOLLOUT)
        rc = push(c);
    else
        rc = pull(c);
    if (rc < 0)
        end(c, c->step == LEAVING);
}

/* Each ticket is used for all: what the server has to do for it is the same. */
static int keep_session(SSL *ssl, SSL_SESSION *fresh)
{
    (void)ssl;
    if (session)
        return 0;
    session = fresh;
    return 1;
}

static void prepare_tls(void)
{
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (security == RESUMED)
        SSL_CTX_sess_set_new_cb(context, keep_session);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void tell(double began)
{
    double seconds = (now() - began) / 1e6;
    size_t n = rests() ? 0 : done;
    qsort(times, n, sizeof *times, by_size);
    printf("{\"seconds\": %.3f, \"done\": %zu, \"errors\": %zu, \"p50\": %.1f, \"p99\": %.1f}\n", seconds,
           done, errors, n ? times[n / 2] : 0, n ? times[n * 99 / 100] : 0);
    fflush(stdout);
}

static void loop(void)
{
    struct epoll_event found[EVENTS];
    bool told = false;
    for (;;) {
        while (has_more() &&
               (rests() ? started - done < at_once
                        : open_now < (security == RESUMED && !session ? 1 : at_once)) &&
               errors < 100)
            start_one();
        if (open_now == 0 || errors >= 100)
            return;
        if (rests() && done == wanted && !told) {
            told = true;
            printf("ready\n");
            fflush(stdout);
            struct epoll_event e = {.events = EPOLLIN};
            epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &e);
        }
        int n = epoll_wait(poller, found, EVENTS, told ? -1 : 60000);
        if (n == 0) {
            errors += open_now;
            return;
        }
        for (int i = 0; i < n; i++) {
            if (!found[i].data.ptr && mode == IDLE)
                return;
            if (!found[i].data.ptr) {
                epoll_ctl(poller, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
                end_rest();
                break; /* of the others in this round, some may be gone */
            }
            on_event(found[i].data.ptr, found[i].events);
        }
    }
}

static int choice(const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    fprintf(stderr, "load: %s: what is that\n", word);
    exit(2);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"login", "small", "fetch", "append", "idle", "idling", NULL};
    static const char *const securities[] = {"plain", "tls", "resumed", NULL};
    struct rlimit files;
    if (argc != 6)
        return 2;
    mode = (unsigned)choice(argv[1], modes);
    port = (uint16_t)atoi(argv[2]);
    wanted = (size_t)atol(argv[3]);
    at_once = (size_t)atol(argv[4]);
    security = (unsigned)choice(argv[5], securities);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    times = calloc(wanted + 1, sizeof *times);
    resting = calloc(wanted + 1, sizeof(struct client *));
    room = malloc(ROOM);
    body = malloc(BODY + 2);
    for (size_t i = 0; i < BODY; i++)
        body[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : 'x';
    memcpy(body + BODY, "\r\n", 2);
    poller = epoll_create1(EPOLL_CLOEXEC);
    prepare_tls();
    double began = now();
    loop();
    tell(began);
    return errors > 0;
}
