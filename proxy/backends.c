#include <stdlib.h>

#include "lib/dial.h"
#include "lib/imap_line.h"
#include "lib/imap_resp.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "backends.h"
#include "limits.h"

/* Where something is not known yet, another thread or proxy may just be finding out. */
enum { READ_EVERY_MS = 10 * 1000, READ_SOON_MS = 200, PROBE_EVERY_MS = 60 * 1000, PROBE_LINE = 64 * 1024 };

/* Asking one backend for its capabilities, without signing in. */
enum probe_step { PROBE_DIAL, PROBE_GREETING, PROBE_CAPS, PROBE_STARTTLS, PROBE_SECURING };

struct known {
    struct backends *backends; /* borrowed */
    const struct conf_backend *conf;
    struct tls_policy *tls; /* owned; NULL without TLS */
    bool is_known;
    struct imap_caps caps;

    uint64_t probed_ms; /* when it was asked last, 0 = never */
    struct dial *dial;
    struct stream *stream; /* owned */
    enum probe_step step;
    struct imap_line lines;
    struct imap_caps heard;
};

struct backends {
    struct loop *loop;
    struct store *store; /* borrowed; NULL before the first backends_read() */
    bool ask;
    bool told;
    backends_fn fn;
    void *owner;
    struct timer *timer;
    struct known *rows; /* one a backend of the configuration */
    size_t n;
};

static void on_timer(void *owner);

struct backends *backends_new(struct loop *l, const struct conf *conf, bool ask, backends_fn fn, void *owner,
                              char **error)
{
    struct backends *b = xcalloc(1, sizeof *b);
    b->fn = fn;
    b->owner = owner;
    b->loop = l;
    b->ask = ask;
    b->timer = timer_new(l, on_timer, b);
    b->rows = xcalloc(conf->n_backends, sizeof *b->rows);
    b->n = conf->n_backends;
    bool ok = true;
    for (size_t i = 0; i < b->n && ok; i++) {
        struct known *k = &b->rows[i];
        k->backends = b;
        k->conf = &conf->backends[i];
        if (address_has_tls(&k->conf->address))
            ok = (k->tls = tls_policy_client(k->conf->ca_file, k->conf->tls_min, error)) != NULL;
    }
    if (!ok)
        backends_free(&b);
    return b;
}

static void probe_end(struct known *k)
{
    dial_cancel(&k->dial);
    if (k->stream)
        imap_line_wipe(&k->lines);
    stream_close(&k->stream, true);
}

void backends_free(struct backends **bp)
{
    struct backends *b = *bp;
    if (!b)
        return;
    *bp = NULL;
    for (size_t i = 0; i < b->n; i++) {
        if (b->store)
            store_forget(b->store, &b->rows[i]);
        probe_end(&b->rows[i]);
        tls_policy_free(&b->rows[i].tls);
    }
    if (b->store)
        store_forget(b->store, b);
    timer_free(&b->timer);
    free(b->rows);
    free(b);
}

static struct known *row_of(const struct backends *b, const struct conf_backend *backend)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->rows[i].conf == backend)
            return &b->rows[i];
    return NULL;
}

struct tls_policy *backends_tls(const struct backends *b, const struct conf_backend *backend)
{
    return row_of(b, backend)->tls;
}

void backends_renew(struct backends *b, const char *name, struct tls_policy **fresh)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->rows[i].tls && strcmp(b->rows[i].conf->name, name) == 0) {
            tls_policy_renew(b->rows[i].tls, fresh);
            return;
        }
}

struct imap_caps backends_caps(const struct backends *b, const struct conf_backend *backend)
{
    const struct known *k = row_of(b, backend);
    struct imap_caps least = {0};
    imap_caps_add(&least, CAP_IMAP4REV1);
    return k->is_known ? k->caps : least;
}

bool backends_known(const struct backends *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (!b->rows[i].is_known)
            return false;
    return true;
}

static void tell(struct backends *b)
{
    if (b->told || !backends_known(b))
        return;
    b->told = true;
    b->fn(b->owner);
}

static bool caps_equal(const struct imap_caps *x, const struct imap_caps *y)
{
    return memcmp(x->bits, y->bits, sizeof x->bits) == 0 && x->appendlimit == y->appendlimit;
}

/* ---- the store ---- */

static void write_caps(struct known *k, bool replace)
{
    if (k->backends->store)
        store_note_caps(k->backends->store, k->conf->name, &k->caps, replace);
}

void backends_learned(struct backends *b, const struct conf_backend *backend, const struct imap_caps *caps)
{
    struct known *k = row_of(b, backend);
    if (k->is_known && caps_equal(&k->caps, caps))
        return;
    k->is_known = true;
    k->caps = *caps;
    write_caps(k, true);
}

static void probe_start(struct known *k);

static void on_hash(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct backends *b = owner;
    if (rc != REDIS_OK)
        return;
    for (size_t i = 0; i < b->n; i++) {
        struct known *k = &b->rows[i];
        const struct reply *words = reply_get(r, k->conf->name);
        if (reply_type(words) == REPLY_STRING) {
            imap_caps_parse(&k->caps, reply_str(words));
            imap_caps_override(&k->caps, k->conf->capabilities.items, k->conf->capabilities.n);
            k->is_known = true;
        } else if (k->is_known) {
            write_caps(k, false);
        } else if (b->ask) {
            probe_start(k);
        }
    }
    tell(b);
}

static void read_hash(struct backends *b)
{
    char *key = store_key(b->store, "backends");
    struct span argv[] = {span_str("HGETALL"), span_str(key)};
    if (store_state(b->store) == STORE_UP)
        store_command(b->store, argv, COUNTOF(argv), on_hash, b);
    free(key);
    timer_start(b->timer, backends_known(b) ? READ_EVERY_MS : READ_SOON_MS);
}

static void on_timer(void *owner)
{
    read_hash(owner);
}

void backends_read(struct backends *b, struct store *s)
{
    b->store = s;
    read_hash(b);
}

/* ---- asking ---- */

static void probe_failed(struct known *k, const char *detail)
{
    LOG(WARN, "backend_unknown", LOG_S("backend", k->conf->name), LOG_S("detail", detail));
    probe_end(k);
}

static void probe_done(struct known *k)
{
    stream_send(k->stream, "z LOGOUT\r\n", 10);
    probe_end(k);
    if (k->is_known)
        return; /* a sign-in was quicker */
    k->is_known = true;
    k->caps = k->heard;
    write_caps(k, false);
    tell(k->backends);
}

static void probe_send(struct known *k, enum probe_step step, const char *command)
{
    k->step = step;
    stream_send(k->stream, command, strlen(command));
}

static void probe_heard_caps(struct known *k)
{
    if (k->conf->address.scheme != ADDRESS_IMAP_STARTTLS || stream_is_secure(k->stream))
        probe_done(k);
    else if (imap_caps_has(&k->heard, CAP_STARTTLS))
        probe_send(k, PROBE_STARTTLS, "b STARTTLS\r\n");
    else
        probe_failed(k, "no STARTTLS offered");
}

static void probe_reply(struct known *k, const struct imap_resp *r, struct span line)
{
    bool greeting = k->step == PROBE_GREETING && r->kind == RESP_STATUS;
    if (r->kind == RESP_DATA && span_is_ci(r->word, "CAPABILITY")) {
        imap_caps_parse(&k->heard, span_of(line.p + r->rest, line.len - r->rest));
        imap_caps_override(&k->heard, k->conf->capabilities.items, k->conf->capabilities.n);
    } else if (greeting && r->status == STATUS_OK) {
        probe_send(k, PROBE_CAPS, "a CAPABILITY\r\n");
    } else if (greeting || (r->kind == RESP_TAGGED && r->status != STATUS_OK)) {
        probe_failed(k, "refused");
    } else if (r->kind == RESP_TAGGED && k->step == PROBE_CAPS) {
        probe_heard_caps(k);
    } else if (r->kind == RESP_TAGGED && k->step == PROBE_STARTTLS) {
        k->step = PROBE_SECURING;
        k->heard = (struct imap_caps){0};
        stream_secure(k->stream, k->tls, k->conf->address.host);
    }
}

static void probe_data(struct known *k)
{
    while (k->stream) {
        struct span data = stream_peek(k->stream);
        struct imap_line_item item;
        struct imap_resp r;
        const char *why;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&k->lines, data.p, data.len, &used, &item);
        stream_eat(k->stream, used);
        if (rc == LINE_MORE)
            return;
        if (rc != LINE_TEXT || item.literal || !imap_resp_parse(item.text, &r, &why))
            probe_failed(k, "not IMAP");
        else
            probe_reply(k, &r, item.text);
    }
}

static void probe_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct known *k = owner;
    switch (ev) {
    case STREAM_DATA:
        probe_data(k);
        break;
    case STREAM_SECURE:
        probe_send(k, PROBE_CAPS, "c CAPABILITY\r\n");
        break;
    case STREAM_EOF:
        probe_failed(k, "closed");
        break;
    case STREAM_TIMEOUT:
        probe_failed(k, "timeout");
        break;
    case STREAM_ERROR:
        probe_failed(k, stream_error(s));
        break;
    case STREAM_CONNECTED:
    case STREAM_DRAINED:
        break;
    }
}

static void on_dialled(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct known *k = owner;
    k->dial = NULL;
    if (rc != DIAL_OK) {
        probe_failed(k, detail);
        return;
    }
    struct imap_line_limits limits = limits_of_backend;
    limits.line = PROBE_LINE;
    imap_line_init(&k->lines, LINE_RESPONSES, &limits);
    k->stream = s;
    k->step = PROBE_GREETING;
    stream_set_owner(s, probe_event, k);
    stream_deadline(s, store_conf(k->backends->store)->proxy.backend_timeout_ms);
}

static void probe_start(struct known *k)
{
    uint64_t now = clock_boot_ms();
    if (k->dial || k->stream || (k->probed_ms > 0 && now - k->probed_ms < PROBE_EVERY_MS))
        return;
    k->probed_ms = now;
    uint64_t ms = store_conf(k->backends->store)->proxy.connect_timeout_ms;
    k->dial = dial_start(k->backends->loop, &k->conf->address, k->tls, &limits_of_stream, ms, on_dialled, k);
}
