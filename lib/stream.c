/* How it fits together.
 *
 * In: stream_on_read() has bytes in the loop's read_buf. Without TLS they are given to the owner from there;
 * with TLS they are decrypted into the loop's plain_buf and given from that. stream_give() lends a span; what
 * the owner leaves is copied to s->kept, and from then on everything goes through s->kept until that is
 * empty.
 *
 * With deflate_* between them and the owner, bytes are unpacked into the loop's unpack_buf and given from
 * that, as long as the owner takes them, and so many a round of the loop; what is still packed then waits in
 * s->packed, and nothing more is read. So a few bytes that unpack to very many cost as much memory as any
 * others, and no more of the loop's time.
 *
 * Out: wire_send() tries the kernel first; what it doesn't take is copied to s->queue, and start_write()
 * makes a struct write of the whole queue, which owns those bytes until libuv is done with them.
 *
 * A stream with a fence gives nothing to libuv: what the kernel doesn't take stays in s->queue, and a poll on
 * a descriptor of its own (epoll has one watcher for each) tells when it takes more.
 *
 * A stranger's stream (stream_wait_in()) is not read where libuv says that there is something, but for the
 * first few of a round: that only puts it in its line, and stream_on_turn() reads by itself. The engine of TLS
 * is made when the first bytes are there, so who never sends any costs none.
 *
 * Our own functions never call the owner: they set s->again or s->error and queue s->task, from which
 * stream_on_task() does. The owner may close the stream in any callback, so after stream_deliver() nothing is
 * touched unless it returned true. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf_room.h"
#include "deflate.h"
#include "stream.h"
#include "xalloc.h"

enum {
    /* a closing stream may take so long to get rid of its bytes (where no limit says so) ... */
    FLUSH_MS = 5000,
    LINGER_MS = 1000,        /* ... and waits so long for the peer's end after its own */
    SMALL = 16 * 1024,       /* buffers up to here are overwritten, secrets or not: it costs nothing */
    ENCRYPT_AT_ONCE = 65536, /* bytes; bounds the loop's cipher_buf */
    READS_A_ROUND = 4,       /* buffers; then it is the turn of others */
    /* bytes; and what counts for a piece that brings hardly any */
    UNPACKED_A_ROUND = READS_A_ROUND * LOOP_READ_SIZE,
    UNPACKED_LEAST = 4096,
    STRANGER_READ = 4096, /* bytes in a turn */
    STRANGERS_A_ROUND = 4 /* reads without a turn, while no stranger waits for one */
};

enum phase { CONNECTING, OPEN, FLUSHING, CLOSED };

/* Bytes on their way to the kernel. */
struct write {
    uv_write_t req;
    struct stream *s;
    struct buf bytes; /* owned */
};

/* Tells when the kernel takes more, on a descriptor of its own: epoll has one watcher for each. */
struct stream_poll {
    uv_poll_t uv;
    int fd;
    struct stream *s;
};

struct stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct timer *timer; /* of a deadline; owned; NULL without one */
    union {
        uv_connect_t connect;
        uv_shutdown_t shutdown;
    } req;
    unsigned open_handles;
    struct loop *loop;
    stream_fn fn;
    void *owner; /* borrowed */
    struct stream_limits limits;
    enum phase phase;
    struct loop_task task;

    struct tls *tls; /* owned; NULL without TLS, and in a server's handshake before the first bytes */
    struct tls_policy *policy; /* of a server, for it then; owned */
    bool handshaking;
    bool secrets;
    struct deflate *deflate; /* owned; NULL without compression */
    struct buf packed;       /* of the peer, not unpacked yet */
    bool unpack_more;        /* there may be more in the unpacker, though nothing is packed */
    bool packed_ended;       /* the peer has ended its data: no more may come */
    uint64_t unpack_round;
    size_t unpacked; /* bytes, in this round */

    struct span view; /* during a STREAM_DATA callback: the unread bytes */
    bool giving;
    struct buf kept; /* unread bytes between callbacks */
    bool again;      /* give s->kept from the task */
    bool paused;
    bool reading; /* libuv reads, or would tell that there is something */
    uint64_t round;
    unsigned reads; /* in this round */
    bool eof, eof_told;
    struct turn turn; /* stands in a line: a stranger */
    bool my_turn;

    struct buf gathered; /* plaintext: corked, or sent before the stream was ready */
    unsigned corks;
    struct buf queue; /* as it goes to the wire; waits for a write to end, or for the connection */
    unsigned writes;  /* in flight */
    bool was_full;

    /* bytes that libuv was given, and the kernel took where it is not asked to */
    uint64_t wired;
    /* those of them that the peer's took, and when there were last more of them */
    uint64_t acked, acked_ms;
    struct keepalive keepalive;
    bool resets;              /* close() resets the connection */
    const uint64_t *fence;    /* borrowed; NULL: none */
    struct stream_poll *poll; /* with a fence; owned */

    char *error; /* owned; NULL = none */
    bool error_is_tls, error_is_ours, error_told;
    char *peer, *peer_ip; /* owned */
    uint16_t peer_port;
};

static void stream_on_task(struct loop_task *task);
static void stream_on_turn(struct turn *t);
static void update_reading(struct stream *s);

/* --- the owner --- */

/* False: the owner closed the stream. */
static bool stream_deliver(struct stream *s, enum stream_event ev)
{
    s->fn(s, ev, s->owner);
    return s->phase < FLUSHING;
}

/* Takes text. The event comes from the task. */
static void fail_take(struct stream *s, char *text, bool is_tls)
{
    if (s->error || s->phase >= FLUSHING) {
        free(text);
        return;
    }
    s->error = text;
    s->error_is_tls = is_tls;
    update_reading(s);
    loop_defer(s->loop, &s->task);
}

static void stream_fail(struct stream *s, const char *text)
{
    fail_take(s, xstrdup(text), false);
}

static void fail_uv(struct stream *s, int rc)
{
    s->error_is_ours =
        !s->error && (rc == UV_EMFILE || rc == UV_ENFILE || rc == UV_ENOBUFS || rc == UV_ENOMEM);
    stream_fail(s, uv_strerror(rc));
}

static void fail_tls(struct stream *s)
{
    fail_take(s, xstrdup(tls_error(s->tls)), true);
}

/* --- buffers that may hold a secret --- */

static void buf_drop(struct stream *s, struct buf *b, bool plain)
{
    if (plain && (s->secrets || b->cap <= SMALL))
        buf_wipe(b);
    else
        buf_free(b);
}

static void buf_keep(struct stream *s, struct buf *b, struct span bytes)
{
    if (bytes.len == 0)
        return;
    if (s->secrets)
        buf_room(b, bytes.len);
    buf_add_span(b, bytes);
}

/* --- life and death --- */

static struct stream *stream_new(struct loop *l, const struct stream_limits *limits, stream_fn fn,
                                 void *owner, uv_handle_type type)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->fn = fn;
    s->owner = owner;
    s->limits = *limits;
    s->secrets = true;
    s->task.fn = stream_on_task;
    s->turn.fn = stream_on_turn;
    l->n_sockets++;
    s->peer = xstrdup(type == UV_NAMED_PIPE ? "unix" : "unknown");
    s->peer_ip = xstrdup("");
    int rc = type == UV_NAMED_PIPE ? uv_pipe_init(&l->uv, &s->uv.pipe, 0) : uv_tcp_init(&l->uv, &s->uv.tcp);
    assert(rc == 0); /* no socket is made yet, so nothing can fail */
    s->open_handles = 1;
    return s;
}

static void stream_free(struct stream *s)
{
    tls_free(&s->tls);
    tls_policy_free(&s->policy);
    deflate_free(&s->deflate);
    buf_drop(s, &s->packed, true);
    buf_drop(s, &s->kept, true);
    buf_drop(s, &s->gathered, true);
    buf_drop(s, &s->queue, true);
    free(s->error);
    free(s->peer);
    free(s->peer_ip);
    free(s->poll);
    free(s);
}

static void handle_closed(struct stream *s)
{
    if (--s->open_handles == 0)
        stream_free(s);
}

static void on_socket_closed(uv_handle_t *h)
{
    handle_closed(CONTAINER_OF(h, struct stream, uv));
}

static void on_poll_closed(uv_handle_t *h)
{
    struct stream_poll *p = CONTAINER_OF(h, struct stream_poll, uv);
    close(p->fd);
    handle_closed(p->s);
}

/* With the time 0, close() resets the connection. */
static void set_linger(struct stream *s, bool reset)
{
    const struct linger l = {.l_onoff = reset};
    int fd;
    if (reset == s->resets || s->uv.handle.type != UV_TCP || uv_fileno(&s->uv.handle, &fd) != 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    s->resets = reset;
}

static void close_handles(struct stream *s)
{
    if (s->phase == CLOSED)
        return;
    if (s->fence) {
        uv_close((uv_handle_t *)&s->poll->uv, on_poll_closed);
        s->fence = NULL;
    }
    if (s->phase == FLUSHING)
        s->loop->n_closing--;
    s->phase = CLOSED;
    s->loop->n_sockets--;
    loop_undefer(s->loop, &s->task);
    keepalive_off(&s->loop->keepalives, &s->keepalive, true);
    uv_close(&s->uv.handle, on_socket_closed);
    timer_free(&s->timer);
}

/* --- sending --- */

static bool nothing_waits(const struct stream *s)
{
    return s->phase != CONNECTING && s->writes == 0 && s->queue.len == 0;
}

static void write_done(struct write *w, int status);

static void on_write(uv_write_t *req, int status)
{
    write_done(CONTAINER_OF(req, struct write, req), status);
}

/* Hands the queue to libuv as one write. */
static void start_write(struct stream *s)
{
    struct write *w = xcalloc(1, sizeof(*w));
    w->s = s;
    w->bytes = s->queue;
    s->queue = (struct buf){0};
    struct span b = buf_span(&w->bytes);
    uv_buf_t bytes = uv_buf_init((char *)b.p, (unsigned)b.len);
    s->writes++;
    s->wired += b.len;
    int rc = uv_write(&w->req, &s->uv.stream, &bytes, 1, on_write);
    if (rc == 0)
        return;
    s->writes--;
    buf_drop(s, &w->bytes, s->tls == NULL);
    free(w);
    fail_uv(s, rc);
}

static void stream_push(struct stream *s);

static void start_write_if_idle(struct stream *s)
{
    if (s->phase == CONNECTING || s->writes > 0 || s->queue.len == 0)
        return;
    if (s->fence)
        stream_push(s);
    else
        start_write(s);
}

static void check_unsent(struct stream *s)
{
    size_t unsent = stream_unsent(s);
    if (unsent > s->limits.high_water)
        s->was_full = true;
    else if (s->was_full && s->writes == 0)
        loop_defer(s->loop, &s->task); /* gathered bytes went out at once: no write will end */
    if (unsent > s->limits.queue_max)
        fail_take(s, xasprintf("the peer reads too slowly: %zu bytes unsent", unsent), false);
}

/* False: the owner closed the stream. */
static bool stream_tell_drained(struct stream *s)
{
    if (s->phase == FLUSHING || s->error || !s->was_full || stream_unsent(s) > s->limits.high_water / 4)
        return true;
    s->was_full = false;
    return stream_deliver(s, STREAM_DRAINED);
}

static void write_done(struct write *w, int status)
{
    struct stream *s = w->s;
    s->writes--;
    buf_drop(s, &w->bytes, s->tls == NULL);
    free(w);
    if (s->phase == CLOSED)
        return;
    if (status < 0 && s->phase == FLUSHING) {
        close_handles(s);
    } else if (status < 0) {
        fail_uv(s, status);
    } else {
        start_write_if_idle(s);
        update_reading(s);
        stream_tell_drained(s);
    }
}

static bool stream_beyond_fence(struct stream *s)
{
    if (!s->fence || clock_boot_ms() < *s->fence)
        return false;
    stream_fail(s, "its time is over");
    return true;
}

/* Returns what the kernel does not take now. */
static struct span stream_write_now(struct stream *s, struct span bytes)
{
    uv_buf_t b = uv_buf_init((char *)bytes.p, (unsigned)(bytes.len < INT32_MAX ? bytes.len : INT32_MAX));
    if (stream_beyond_fence(s))
        return bytes;
    int n = uv_try_write(&s->uv.stream, &b, 1);
    if (n < 0 && n != UV_EAGAIN)
        fail_uv(s, n);
    if (n < 0)
        return bytes;
    s->wired += (uint64_t)n;
    return span_of(bytes.p + n, bytes.len - (size_t)n);
}

/* What the kernel takes now; the bytes behind that are the caller's to keep. */
static struct span try_now(struct stream *s, struct span bytes)
{
    return bytes.len == 0 || !nothing_waits(s) || s->error ? bytes : stream_write_now(s, bytes);
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
    struct stream *s = CONTAINER_OF(poll, struct stream_poll, uv)->s;
    (void)events;
    uv_poll_stop(poll);
    if (status < 0)
        fail_uv(s, status);
    else
        stream_push(s);
    if (!s->error)
        stream_tell_drained(s);
}

/* With a fence: as much of the queue as the kernel takes. */
static void stream_push(struct stream *s)
{
    if (s->error || s->queue.len == 0)
        return;
    struct span left = stream_write_now(s, buf_span(&s->queue));
    buf_eat(&s->queue, s->queue.len - left.len);
    if (s->queue.len == 0)
        buf_drop(s, &s->queue, s->tls == NULL);
    else if (!s->error)
        uv_poll_start(&s->poll->uv, UV_WRITABLE, on_writable);
}

static void wire_send(struct stream *s, struct span bytes)
{
    bytes = try_now(s, bytes);
    if (bytes.len == 0 || s->error)
        return;
    if (s->tls)
        buf_add_span(&s->queue, bytes);
    else
        buf_keep(s, &s->queue, bytes);
    start_write_if_idle(s);
}

/* Where TLS puts what it wants sent: behind what waits, or, where nothing does, into the loop's buffer, from
 * which the kernel gets it without another copy. */
static struct buf *cipher_out(struct stream *s)
{
    return nothing_waits(s) ? &s->loop->cipher_buf : &s->queue;
}

static void cipher_send(struct stream *s, struct buf *out)
{
    if (out != &s->queue) {
        wire_send(s, buf_span(out));
        buf_clear(out);
    }
    start_write_if_idle(s);
}

static void stream_encrypt(struct stream *s, struct span plain)
{
    while (plain.len > 0 && !s->error) {
        struct span part = span_of(plain.p, plain.len < ENCRYPT_AT_ONCE ? plain.len : ENCRYPT_AT_ONCE);
        struct buf *out = cipher_out(s);
        enum tls_rc rc = tls_write(s->tls, part, out);
        cipher_send(s, out);
        if (rc != TLS_OK)
            fail_tls(s);
        plain = span_of(plain.p + part.len, plain.len - part.len);
    }
}

static void pass_down(struct stream *s, struct span bytes)
{
    if (s->tls)
        stream_encrypt(s, bytes);
    else
        wire_send(s, bytes);
}

/* What the owner sends, on its way to the wire. */
static void send_plain(struct stream *s, struct span plain)
{
    struct buf packed = {0};
    if (!s->deflate) {
        pass_down(s, plain);
        return;
    }
    deflate_pack(s->deflate, plain, &packed);
    pass_down(s, buf_span(&packed));
    buf_drop(s, &packed, true);
}

/* Nothing of the owner's goes out before the connection is there and a handshake through. */
static bool must_gather(const struct stream *s)
{
    return s->corks > 0 || s->handshaking || s->phase == CONNECTING;
}

static void send_gathered(struct stream *s)
{
    if (s->gathered.len == 0 || must_gather(s))
        return;
    struct buf b = s->gathered;
    s->gathered = (struct buf){0};
    send_plain(s, buf_span(&b));
    buf_drop(s, &b, true);
    check_unsent(s);
}

void stream_send(struct stream *s, const void *bytes, size_t len)
{
    if (s->error)
        return;
    struct span plain = span_of(bytes, len);
    if (must_gather(s) || s->gathered.len > 0)
        buf_keep(s, &s->gathered, plain);
    else
        send_plain(s, plain);
    check_unsent(s);
}

void stream_cork(struct stream *s)
{
    s->corks++;
}

void stream_uncork(struct stream *s)
{
    assert(s->corks > 0);
    s->corks--;
    if (!s->error)
        send_gathered(s);
}

/* Those that are on their way to the wire. */
static size_t unsent_bytes(const struct stream *s)
{
    size_t in_flight = s->writes > 0 ? uv_stream_get_write_queue_size(&s->uv.stream) : 0;
    return in_flight + s->queue.len;
}

size_t stream_unsent(const struct stream *s)
{
    return unsent_bytes(s) + s->gathered.len;
}

bool stream_full(const struct stream *s)
{
    return stream_unsent(s) > s->limits.high_water;
}

/* --- receiving --- */

static bool is_packed(const struct stream *s)
{
    return s->packed.len > 0 || s->unpack_more;
}

/* A client can have TLS answer without a word of the owner (RFC 8446 section 4.6.3). A server is read on: it
 * may have to get rid of its own before it takes ours. */
static bool is_choked(const struct stream *s)
{
    return s->policy && !s->handshaking && unsent_bytes(s) > 2 * s->limits.high_water;
}

static bool wants_reading(const struct stream *s)
{
    if (s->phase == CONNECTING || s->phase == CLOSED || s->eof)
        return false;
    if (s->phase == FLUSHING)
        return true;
    if (is_packed(s) || s->turn.waits || is_choked(s))
        return false;
    return !s->error && (s->handshaking || (!s->paused && s->kept.len <= s->limits.high_water));
}

/* To wait takes libuv two system calls, and where hardly anybody comes nobody has to. */
static bool needs_no_turn(struct loop *l)
{
    if (l->strangers_round != l->round)
        l->strangers = 0;
    l->strangers_round = l->round;
    return !turns_ready(&l->turns) && l->strangers++ < STRANGERS_A_ROUND;
}

/* How much, in bytes. libuv reads on as long as there is something: a fast peer would keep the loop from all
 * others. */
static size_t may_read_now(struct stream *s)
{
    if (!wants_reading(s))
        return 0;
    if (s->turn.line)
        return !s->handshaking && needs_no_turn(s->loop) ? STRANGER_READ : 0;
    if (s->round != s->loop->round)
        s->reads = 0;
    s->round = s->loop->round;
    return s->reads++ < READS_A_ROUND ? LOOP_READ_SIZE : 0;
}

/* Without a buffer libuv asks again in the next round. */
static void stream_on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct stream *s = CONTAINER_OF(h, struct stream, uv);
    size_t n = may_read_now(s);
    *buf = uv_buf_init(n > 0 ? (char *)s->loop->read_buf : NULL, (unsigned)n);
}

static void stream_on_read(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf);

static void stop_reading(struct stream *s)
{
    uv_read_stop(&s->uv.stream);
    s->reading = false;
}

/* To stop and to begin again takes libuv two system calls, and most pauses are over before the peer says
 * anything. So where nothing is known to wait, libuv goes on, and stops when it asks for a buffer. */
static void update_reading(struct stream *s)
{
    bool want = wants_reading(s);
    if (want == s->reading)
        return;
    if (!want && (s->eof || s->error || s->turn.waits))
        stop_reading(s);
    if (!want)
        return;
    s->reading = true;
    int rc = uv_read_start(&s->uv.stream, stream_on_alloc, stream_on_read);
    if (rc == 0)
        return;
    s->reading = false;
    if (s->phase == FLUSHING)
        s->eof = true;
    else
        fail_uv(s, rc);
}

/* Lends bytes to the owner. False: it closed the stream. Afterwards s->view is what it left. */
static bool lend(struct stream *s, struct span bytes)
{
    s->view = bytes;
    s->giving = true;
    s->again = false;
    bool open = stream_deliver(s, STREAM_DATA);
    s->giving = false;
    return open;
}

/* What was eaten of s->kept may have been a password, with more behind it that nobody takes for a while. */
static void forget_eaten(struct stream *s, bool secrets)
{
    if (s->kept.len == 0)
        buf_drop(s, &s->kept, true);
    else if (secrets)
        wipe(s->kept.mem, s->kept.off);
}

static bool give_kept(struct stream *s)
{
    bool secrets = s->secrets;
    if (!lend(s, buf_span(&s->kept)))
        return false;
    buf_eat(&s->kept, s->kept.len - s->view.len);
    forget_eaten(s, secrets);
    return true;
}

/* Bytes that lie in a buffer of the loop. False: the owner closed the stream. */
static bool stream_give(struct stream *s, struct span bytes)
{
    if (s->error)
        return true;
    if (s->paused || s->kept.len > 0) {
        buf_keep(s, &s->kept, bytes);
        return s->paused || give_kept(s);
    }
    if (!lend(s, bytes))
        return false;
    buf_keep(s, &s->kept, s->view);
    return true;
}

/* However many reads and TLS records there are: few bytes can unpack to very many. */
static bool may_unpack_now(struct stream *s)
{
    if (s->unpack_round != s->loop->round)
        s->unpacked = 0;
    s->unpack_round = s->loop->round;
    return s->unpacked < UNPACKED_A_ROUND;
}

/* Unpacks a buffer full. False: nothing more can be unpacked. */
static bool unpack_next(struct stream *s, struct span *in, size_t *len)
{
    enum deflate_rc rc = DEFLATE_BAD;
    *len = 0;
    if (!s->packed_ended)
        rc = deflate_unpack(s->deflate, in, s->loop->unpack_buf, LOOP_READ_SIZE, len);
    s->unpacked += *len > UNPACKED_LEAST ? *len : UNPACKED_LEAST;
    s->unpack_more = rc == DEFLATE_OK && *len == LOOP_READ_SIZE;
    if (rc == DEFLATE_OK)
        return true;
    if (rc == DEFLATE_ENDED && in->len == 0) {
        s->packed_ended = s->eof = true; /* told by the task, behind these bytes */
        loop_defer(s->loop, &s->task);
        return *len > 0;
    }
    stream_fail(s, s->packed_ended || rc == DEFLATE_ENDED
                       ? "bytes behind the end of the peer's compressed data"
                       : "the peer sends damaged compressed data");
    return false;
}

/* Unpacks and gives from *in as long as the owner takes it. False: it closed the stream. */
static bool unpack(struct stream *s, struct span *in)
{
    uint8_t *plain = s->loop->unpack_buf;
    while ((in->len > 0 || s->unpack_more) && !s->paused && !s->error) {
        size_t len;
        if (s->kept.len > s->limits.high_water)
            break;
        if (!may_unpack_now(s)) {
            loop_defer(s->loop, &s->task);
            break;
        }
        if (!unpack_next(s, in, &len))
            break;
        bool open = len == 0 || stream_give(s, span_of(plain, len));
        if (s->secrets)
            wipe(plain, len);
        if (!open)
            return false;
    }
    return true;
}

static bool unpack_kept(struct stream *s)
{
    struct span in = buf_span(&s->packed);
    if (!s->deflate || !unpack(s, &in))
        return !s->deflate;
    buf_eat(&s->packed, s->packed.len - in.len);
    if (s->packed.len == 0)
        buf_drop(s, &s->packed, true);
    return true;
}

/* Bytes as the peer's program sent them, out of a buffer of the loop. False: the owner closed the stream. */
static bool stream_take(struct stream *s, struct span in)
{
    if (!s->deflate)
        return stream_give(s, in);
    if (s->packed.len > 0) {
        buf_keep(s, &s->packed, in);
        return unpack_kept(s);
    }
    if (!unpack(s, &in))
        return false;
    buf_keep(s, &s->packed, in);
    return true;
}

static void wait_for_turn(struct stream *s)
{
    loop_wait(s->loop, &s->turn, s->handshaking && !s->tls ? TURN_BEGIN : TURN_ON);
    update_reading(s);
}

static void begin_shaking(struct stream *s);

/* Gives what is due outside of a read: bytes kept and not given, then the end. */
static void give_due(struct stream *s)
{
    bool due = s->again && !s->paused && s->kept.len > 0;
    if (due && s->turn.line && !s->my_turn) {
        wait_for_turn(s);
        return;
    }
    if (due && s->handshaking) {
        begin_shaking(s);
        return;
    }
    if (due && !give_kept(s))
        return;
    if (is_packed(s) && !unpack_kept(s))
        return;
    if (is_packed(s) && !s->error) {
        update_reading(s);
        return;
    }
    bool asked_again = s->again && s->kept.len > 0;
    if (s->eof && !s->eof_told && !s->paused && !asked_again && !s->error) {
        s->eof_told = true;
        if (!stream_deliver(s, STREAM_EOF))
            return;
    }
    forget_eaten(s, s->secrets);
    update_reading(s);
}

static void stream_on_task(struct loop_task *task)
{
    struct stream *s = CONTAINER_OF(task, struct stream, task);
    if (!s->error) {
        if (stream_tell_drained(s))
            give_due(s);
    } else if (!s->error_told) {
        s->error_told = true;
        stream_deliver(s, STREAM_ERROR);
    }
}

static void got_eof(struct stream *s)
{
    s->eof = true;
    update_reading(s);
    give_due(s);
}

/* What ends the handshake, a server's tickets say, waits for the owner's first words and goes out with them. */
static bool shaken(struct stream *s, struct buf *out)
{
    s->handshaking = false;
    if (out != &s->queue) {
        buf_add_span(&s->queue, buf_span(out));
        buf_clear(out);
    }
    loop_turn_ended(s->loop, &s->turn);
    if (!stream_deliver(s, STREAM_SECURE))
        return false;
    send_gathered(s);
    start_write_if_idle(s);
    return true;
}

/* False: the owner closed the stream, or the handshake has not ended. */
static bool shake(struct stream *s, struct span *in)
{
    struct buf *out = cipher_out(s);
    enum tls_rc rc = tls_handshake(s->tls, in, out);
    if (rc != TLS_OK)
        cipher_send(s, out); /* an alert too */
    if (rc == TLS_WANT_MORE || s->error)
        return false;
    if (rc != TLS_OK) {
        fail_tls(s);
        return false;
    }
    return shaken(s, out);
}

static void take_tls(struct stream *s, struct span in)
{
    if (s->handshaking && !shake(s, &in))
        return;
    uint8_t *plain = s->loop->plain_buf;
    while (!s->error) {
        size_t len = 0;
        struct buf *out = cipher_out(s);
        enum tls_rc rc = tls_read(s->tls, &in, out, plain, LOOP_READ_SIZE, &len);
        cipher_send(s, out);
        if (rc == TLS_WANT_MORE)
            return;
        if (rc == TLS_FAILED) {
            fail_tls(s);
            return;
        }
        if (rc == TLS_CLOSED) {
            got_eof(s);
            return;
        }
        bool secrets = s->secrets;
        bool open = stream_take(s, span_of(plain, len));
        if (secrets)
            wipe(plain, len);
        if (!open)
            return;
    }
}

static void take_plain(struct stream *s, struct span in)
{
    bool secrets = s->secrets;
    stream_take(s, in);
    if (secrets)
        wipe((void *)in.p, in.len);
}

static void read_ended(struct stream *s, int rc)
{
    if (s->handshaking && s->tls)
        tls_was_left(s->tls);
    if (s->phase == FLUSHING)
        close_handles(s);
    else if (rc != UV_EOF)
        fail_uv(s, rc);
    else if (s->handshaking)
        fail_take(s, xstrdup("the peer closed the connection in the TLS handshake"), true);
    else
        got_eof(s);
}

/* The first bytes of a client's handshake are there; some may have come behind a PROXY header. */
static void begin_shaking(struct stream *s)
{
    struct buf early = s->kept;
    s->kept = (struct buf){0};
    s->again = false;
    s->tls = tls_new(s->policy, NULL);
    if (early.len > 0)
        take_tls(s, buf_span(&early));
    buf_free(&early);
}

/* n bytes are in the loop's buffer. */
static void take_read(struct stream *s, size_t n)
{
    struct loop *l = s->loop;
    assert(!l->buf_busy);
    l->buf_busy = true;
    struct span in = span_of(l->read_buf, n);
    if (s->handshaking && !s->tls)
        begin_shaking(s);
    if (s->phase == OPEN && s->tls)
        take_tls(s, in);
    else if (s->phase == OPEN)
        take_plain(s, in);
    l->buf_busy = false;
    if (s->phase == OPEN)
        update_reading(s);
}

static void stream_on_read(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf)
{
    struct stream *s = CONTAINER_OF(uv, struct stream, uv);
    (void)buf;
    if (n == UV_ENOBUFS) { /* ours */
        if (!wants_reading(s))
            stop_reading(s);
        else if (s->turn.line)
            wait_for_turn(s);
    } else if (n < 0) {
        read_ended(s, (int)n);
    } else if (n > 0 && s->phase != FLUSHING) {
        take_read(s, (size_t)n);
    }
}

static void read_by_hand(struct stream *s)
{
    uv_os_fd_t fd;
    ssize_t n = -1;
    if (uv_fileno(&s->uv.handle, &fd) != 0)
        return;
    do
        n = read(fd, s->loop->read_buf, STRANGER_READ);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        take_read(s, (size_t)n);
    else if (n == 0)
        read_ended(s, UV_EOF);
    else if (errno != EAGAIN)
        read_ended(s, uv_translate_sys_error(errno));
}

static void stream_on_turn(struct turn *t)
{
    struct stream *s = CONTAINER_OF(t, struct stream, turn);
    if (s->error)
        return;
    s->my_turn = true;
    if (s->again && !s->paused && s->kept.len > 0)
        give_due(s);
    else if (wants_reading(s))
        read_by_hand(s);
    s->my_turn = false;
    if (s->phase != OPEN)
        return;
    if (!s->tls) /* no handshake came of it */
        loop_turn_ended(s->loop, &s->turn);
    update_reading(s);
}

struct span stream_peek(const struct stream *s)
{
    return s->giving ? s->view : buf_span(&s->kept);
}

void stream_eat(struct stream *s, size_t n)
{
    if (s->giving) {
        assert(n <= s->view.len);
        s->view = span_of(s->view.p + n, s->view.len - n);
        return;
    }
    assert(n <= s->kept.len);
    buf_eat(&s->kept, n);
    loop_defer(s->loop, &s->task); /* reads on; frees an empty buffer when the caller is done with the span */
}

void stream_again(struct stream *s)
{
    s->again = true;
    loop_defer(s->loop, &s->task);
}

void stream_pause(struct stream *s)
{
    s->paused = true;
    update_reading(s);
}

void stream_resume(struct stream *s)
{
    s->paused = false;
    if (s->giving || s->kept.len > 0 || s->eof || is_packed(s))
        stream_again(s);
    update_reading(s);
}

/* --- connecting --- */

/* IPv4 that is mapped into IPv6 is IPv4. The port. */
static uint16_t stream_text_of(const struct sockaddr_storage *a, char ip[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
    if (a->ss_family == AF_INET)
        inet_ntop(AF_INET, &v4->sin_addr, ip, INET6_ADDRSTRLEN);
    else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ip, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, &v6->sin6_addr, ip, INET6_ADDRSTRLEN);
    return ntohs(a->ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
}

static void note_peer(struct stream *s, const struct sockaddr *addr)
{
    struct sockaddr_storage a = {0};
    char ip[INET6_ADDRSTRLEN];
    memcpy(&a, addr, addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    s->peer_port = stream_text_of(&a, ip);
    free(s->peer);
    free(s->peer_ip);
    s->peer_ip = xstrdup(ip);
    s->peer = xasprintf(strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, s->peer_port);
}

static void note_accepted_peer(struct stream *s)
{
    struct sockaddr_storage a;
    int len = sizeof(a);
    if (s->uv.handle.type == UV_TCP && uv_tcp_getpeername(&s->uv.tcp, (struct sockaddr *)&a, &len) == 0)
        note_peer(s, (struct sockaddr *)&a);
}

/* Not where the stream has a silence: with TCP_USER_TIMEOUT the kernel gives up at the first question that
 * was lost (tcp(7)), and who has bytes on the way needs none. */
static void set_keepalive(struct stream *s)
{
    int fd;
    if (s->uv.handle.type != UV_TCP || uv_fileno(&s->uv.handle, &fd) != 0)
        return;
    if (s->limits.silence_ms == 0)
        keepalive_later(&s->loop->keepalives, &s->keepalive, fd);
    else
        keepalive_off(&s->loop->keepalives, &s->keepalive, false);
}

static void opened(struct stream *s)
{
    s->phase = OPEN;
    if (s->limits.abortive)
        set_linger(s, true);
    s->acked_ms = clock_boot_ms();
    if (s->limits.silence_ms > 0)
        stream_set_silence(s, s->limits.silence_ms);
    else
        set_keepalive(s);
    update_reading(s);
}

struct stream *stream_accept(struct loop *l, uv_stream_t *listener, const struct stream_limits *limits,
                             stream_fn fn, void *owner)
{
    struct stream *s = stream_new(l, limits, fn, owner, listener->type);
    if (uv_accept(listener, &s->uv.stream) != 0) {
        close_handles(s);
        return NULL;
    }
    note_accepted_peer(s);
    opened(s);
    return s;
}

static void on_connect(uv_connect_t *req, int status)
{
    struct stream *s = CONTAINER_OF(req, struct stream, req.connect);
    if (s->phase == CLOSED)
        return;
    if (status < 0) {
        fail_uv(s, status);
        return;
    }
    if (s->uv.handle.type == UV_TCP)
        uv_tcp_nodelay(&s->uv.tcp, 1);
    opened(s);
    start_write_if_idle(s); /* a handshake that was begun before */
    if (!s->error && stream_deliver(s, STREAM_CONNECTED))
        send_gathered(s);
}

struct stream *stream_connect(struct loop *l, const struct sockaddr *addr, const struct stream_limits *limits,
                              stream_fn fn, void *owner)
{
    struct stream *s = stream_new(l, limits, fn, owner, UV_TCP);
    note_peer(s, addr);
    int rc = uv_tcp_connect(&s->req.connect, &s->uv.tcp, addr, on_connect);
    if (rc != 0)
        fail_uv(s, rc);
    return s;
}

struct stream *stream_connect_unix(struct loop *l, const char *path, const struct stream_limits *limits,
                                   stream_fn fn, void *owner)
{
    struct stream *s = stream_new(l, limits, fn, owner, UV_NAMED_PIPE);
    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) /* libuv would cut it off */
        fail_uv(s, UV_ENAMETOOLONG);
    else
        uv_pipe_connect(&s->req.connect, &s->uv.pipe, path, on_connect);
    return s;
}

void stream_secure(struct stream *s, struct tls_policy *policy, const char *name)
{
    assert(!s->tls);
    if (s->error)
        return;
    if (stream_peek(s).len > 0) {
        fail_take(s, xstrdup("plaintext before the TLS handshake"), true);
        return;
    }
    if (stream_unsent(s) > 0) {
        fail_take(s, xstrdup("unsent plaintext before the TLS handshake"), true);
        return;
    }
    if (!name) {
        stream_secure_behind(s, policy);
        return;
    }
    s->handshaking = true;
    s->tls = tls_new(policy, name);
    struct buf *out = cipher_out(s);
    struct span nothing = {0};
    enum tls_rc rc = tls_handshake(s->tls, &nothing, out);
    cipher_send(s, out);
    if (rc != TLS_WANT_MORE)
        fail_tls(s);
    update_reading(s);
}

/* The client speaks first. */
void stream_secure_behind(struct stream *s, struct tls_policy *policy)
{
    assert(!s->tls);
    if (s->error)
        return;
    s->handshaking = true;
    s->policy = tls_policy_hold(policy);
    if (stream_peek(s).len > 0)
        stream_again(s);
    update_reading(s);
}

void stream_compress(struct stream *s)
{
    assert(!s->deflate && s->phase == OPEN && !s->handshaking && s->gathered.len == 0);
    if (s->error)
        return;
    s->deflate = deflate_new(&s->loop->deflate);
    buf_keep(s, &s->packed, stream_peek(s));
    stream_eat(s, stream_peek(s).len);
    loop_defer(s->loop, &s->task);
}

void stream_set_limits(struct stream *s, const struct stream_limits *limits)
{
    s->limits = *limits;
    update_reading(s);
}

void stream_wait_in(struct stream *s, struct turn_line *line)
{
    loop_turn_leave(s->loop, &s->turn);
    s->turn.line = line;
    if (!line && s->again)
        loop_defer(s->loop, &s->task);
    update_reading(s);
}

bool stream_is_secure(const struct stream *s)
{
    return s->tls && !s->handshaking;
}

bool stream_peer_certificate(const struct stream *s, struct tls_peer *_r)
{
    return stream_is_secure(s) && tls_peer(s->tls, _r);
}

void stream_without_secrets(struct stream *s)
{
    s->secrets = false;
    if (s->tls)
        tls_without_secrets(s->tls);
}

void stream_set_owner(struct stream *s, stream_fn fn, void *owner)
{
    s->fn = fn;
    s->owner = owner;
    if (s->giving || s->kept.len > 0)
        stream_again(s);
}

/* --- not to be heard any more --- */

static void set_user_timeout(struct stream *s, uint64_t ms)
{
    unsigned value = (unsigned)(ms < INT32_MAX ? ms : INT32_MAX);
    int fd;
    if (s->uv.handle.type == UV_TCP && uv_fileno(&s->uv.handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, sizeof(value));
}

/* Bytes of ours that the kernel holds since the peer's has not taken them. */
static uint64_t unacked(const struct stream *s)
{
    int fd, n = 0;
    if (s->uv.handle.type != UV_TCP || uv_fileno(&s->uv.handle, &fd) != 0 || ioctl(fd, SIOCOUTQ, &n) != 0)
        return 0;
    return (uint64_t)n;
}

/* Those that it has taken. */
static uint64_t acked(const struct stream *s)
{
    uint64_t with_libuv = s->writes > 0 ? uv_stream_get_write_queue_size(&s->uv.stream) : 0;
    return s->wired - with_libuv - unacked(s);
}

void stream_set_silence(struct stream *s, uint64_t ms)
{
    bool had_one = s->limits.silence_ms > 0;
    if (!had_one)
        s->acked = acked(s);
    s->limits.silence_ms = ms;
    if (had_one != (ms > 0))
        set_keepalive(s);
    if (ms > 0)
        stream_still_mine(s);
    else
        set_user_timeout(s, 0);
}

void stream_still_mine(struct stream *s)
{
    uint64_t now = clock_boot_ms(), taken = acked(s);
    if (s->limits.silence_ms == 0)
        return;
    if (taken != s->acked || unacked(s) == 0)
        s->acked_ms = now;
    s->acked = taken;
    set_user_timeout(s, now - s->acked_ms + s->limits.silence_ms);
}

void stream_set_fence(struct stream *s, const uint64_t *until_ms)
{
    int fd, own;
    assert(!s->fence && s->phase == OPEN && s->writes == 0 && s->queue.len == 0);
    if (s->error)
        return;
    if (uv_fileno(&s->uv.handle, &fd) != 0 || (own = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        fail_uv(s, uv_translate_sys_error(errno));
        return;
    }
    s->poll = xcalloc(1, sizeof(*s->poll));
    *s->poll = (struct stream_poll){.fd = own, .s = s};
    uv_poll_init(&s->loop->uv, &s->poll->uv, own);
    s->open_handles++;
    s->fence = until_ms;
}

/* --- the rest --- */

static void stream_on_timer(void *owner)
{
    struct stream *s = owner;
    if (s->phase == FLUSHING)
        close_handles(s);
    else if (!s->error)
        stream_deliver(s, STREAM_TIMEOUT);
}

static void start_timer(struct stream *s, uint64_t ms)
{
    if (!s->timer)
        s->timer = timer_new(s->loop, stream_on_timer, s);
    timer_start(s->timer, ms);
}

void stream_deadline(struct stream *s, uint64_t ms)
{
    if (ms == 0)
        timer_free(&s->timer);
    else
        start_timer(s, ms);
}

const char *stream_error(const struct stream *s)
{
    return s->error ? s->error : "";
}

bool stream_error_is_tls(const struct stream *s)
{
    return s->error_is_tls;
}

bool stream_error_is_ours(const struct stream *s)
{
    return s->error_is_ours;
}

const char *stream_peer(const struct stream *s)
{
    return s->peer;
}

const char *stream_peer_ip(const struct stream *s)
{
    return s->peer_ip;
}

uint16_t stream_peer_port(const struct stream *s)
{
    return s->peer_port;
}

bool stream_local(const struct stream *s, char ip[INET6_ADDRSTRLEN], uint16_t *port_r)
{
    struct sockaddr_storage a;
    int len = sizeof(a);
    if (s->uv.handle.type != UV_TCP || uv_tcp_getsockname(&s->uv.tcp, (struct sockaddr *)&a, &len) != 0)
        return false;
    *port_r = stream_text_of(&a, ip);
    return true;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct stream *s = CONTAINER_OF(req, struct stream, req.shutdown);
    if (s->phase == CLOSED)
        return;
    if (status < 0 || s->eof)
        close_handles(s);
    else if (timer_left_ms(s->timer) > LINGER_MS)
        start_timer(s, LINGER_MS);
}

/* Sends what is left, with the end of TLS and then of TCP behind it. */
static void start_flushing(struct stream *s)
{
    s->corks = 0;
    send_gathered(s);
    if (s->tls) {
        struct buf *out = cipher_out(s);
        tls_close_notify(s->tls, out);
        cipher_send(s, out);
    }
    if (s->queue.len > 0 && !s->error)
        start_write(s);
    set_linger(s, false);
    if (s->error || uv_shutdown(&s->req.shutdown, &s->uv.stream, on_shutdown) != 0) {
        close_handles(s);
        return;
    }
    s->phase = FLUSHING;
    s->loop->n_closing++;
    loop_undefer(s->loop, &s->task);
    start_timer(s, s->limits.flush_ms > 0 ? s->limits.flush_ms : FLUSH_MS);
    update_reading(s);
}

void stream_close(struct stream **sp, bool flush)
{
    struct stream *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    s->owner = NULL;
    loop_turn_leave(s->loop, &s->turn);
    if (flush && s->phase == OPEN && !s->error && !s->handshaking)
        start_flushing(s);
    else
        close_handles(s);
}

void stream_reset(struct stream **sp)
{
    if (*sp && (*sp)->phase == OPEN)
        set_linger(*sp, true);
    stream_close(sp, false);
}
