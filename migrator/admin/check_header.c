/* Does a server expect a PROXY header at this port? One that does says nothing without it, and one that does
 * not takes it for nonsense, or for broken TLS; so it is asked in the other ways too. */
#include <stdlib.h>

#include "lib/xalloc.h"

#include "check_priv.h"

enum { HEADER_ANSWER_MS = 6000 /* Dovecot waits for a header for 3 s */ };

struct check_header {
    struct side *side;
    struct conf_backend
        as[2]; /* the backend, with what it is not configured to have; their strings are its */
    struct asking asking[2];
    unsigned n, ended;
    const struct conf_backend *works; /* the first one that did */
    bool failed;                      /* as it is configured it does not work: */
    char *fault;                      /* this is what is said of it; owned */
    const char *advice;
};

static const char *header_word(const struct conf_backend *b)
{
    static const char *const words[] = {"none", "v1", "v2"};
    return words[b->proxy_protocol];
}

static void header_say_failed(struct check_header *h)
{
    struct side *s = h->side;
    bool sends = s->b->proxy_protocol != PROXY_PROTOCOL_NONE;

    if (!h->works && sends)
        SIDE_LINE(
            s, CHECK_ERROR,
            "It answers neither with a PROXY header nor without one. See whether it takes headers from this host "
            "(haproxy_trusted_networks in Dovecot), and whether this port is the server's IMAP, with or without TLS as the "
            "address says.",
            "%s", h->fault);
    else if (!h->works)
        SIDE_LINE(s, CHECK_ERROR, h->advice, "%s", h->fault);
    else if (!sends)
        SIDE_LINE(
            s, CHECK_ERROR,
            "Say proxy_protocol = \"v2\" (or \"v1\") in its section, or name a port where it expects no header.",
            "%s expects a PROXY header at this port, and is sent none: it answers where it gets one (%s)",
            s->b->urls.items[0], header_word(h->works));
    else if (h->works->proxy_protocol == PROXY_PROTOCOL_NONE)
        SIDE_LINE(
            s, CHECK_ERROR,
            "Take proxy_protocol out of its section, or name the port where it expects a header (an inet_listener with haproxy = yes "
            "in Dovecot).",
            "%s expects no PROXY header at this port, and is sent one (proxy_protocol = \"%s\"): it answers without it",
            s->b->urls.items[0], header_word(s->b));
    else
        SIDE_LINE(s, CHECK_ERROR, "Say that in its section.",
                  "%s does not take a PROXY header of %s, and takes one of %s (proxy_protocol)",
                  s->b->urls.items[0], header_word(s->b), header_word(h->works));
}

static void header_judge(struct check_header *h)
{
    struct side *s = h->side;

    if (h->failed)
        header_say_failed(h);
    else if (h->works)
        SIDE_LINE(
            s, CHECK_ERROR,
            "Take proxy_protocol out of its section, or name the port where it expects a header: whoever gets there without "
            "one could claim any address.",
            "%s greets without a PROXY header too, so it does not expect the one that it is sent (proxy_protocol = \"%s\")",
            s->b->urls.items[0], header_word(s->b));
    else
        SIDE_LINE(s, CHECK_OK, "", "expects a PROXY header, and takes ours (%s)", header_word(s->b));
}

static void header_on_held(struct stream *stream, enum stream_event ev, void *owner)
{
    (void)owner;
    if (ev == STREAM_DATA)
        stream_eat(stream, stream_peek(stream).len);
}

static void header_on_answer(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct check_header *h = a->side->header;
    size_t i = (size_t)(a - h->asking);
    struct check *c = a->side->c;

    check_take(a, r, header_on_held);
    check_part(a);
    if (r->rc == LOGIN_OK && (!h->works || i == 0))
        h->works = &h->as[i];
    if (++h->ended == h->n)
        header_judge(h);
    check_ended(c);
}

static void header_ask(struct check_header *h, enum proxy_protocol other)
{
    unsigned i = h->n++;

    h->as[i] = *h->side->b;
    h->as[i].proxy_protocol = other;
    check_ask_at(&h->asking[i], h->side, &h->as[i], HEADER_ANSWER_MS, LOGIN_AS_NOBODY, NULL,
                 header_on_answer);
}

static struct check_header *header_new(struct side *s)
{
    struct check_header *h = s->header = xcalloc(1, sizeof *h);

    h->side = s;
    return h;
}

void check_header_after(struct side *s, const struct login_result *r, const char *advice)
{
    struct check_header *h = header_new(s);
    enum proxy_protocol has = s->b->proxy_protocol;

    h->failed = true;
    h->fault = xasprintf("%s: %s (%s)", s->b->urls.items[0], r->detail, r->phase);
    h->advice = advice;
    header_ask(h, has == PROXY_PROTOCOL_NONE ? PROXY_PROTOCOL_V2 : PROXY_PROTOCOL_NONE);
    header_ask(h, has == PROXY_PROTOCOL_V1 ? PROXY_PROTOCOL_V2 : PROXY_PROTOCOL_V1);
}

void check_header_confirm(struct side *s)
{
    if (s->b->proxy_protocol != PROXY_PROTOCOL_NONE)
        header_ask(header_new(s), PROXY_PROTOCOL_NONE);
}

bool check_header_pending(const struct side *s)
{
    return s->header && s->header->ended < s->header->n;
}

void check_header_drop(struct side *s)
{
    if (!s->header)
        return;
    for (unsigned i = 0; i < s->header->n; i++)
        check_drop_asking(&s->header->asking[i]);
    free(s->header->fault);
    free(s->header);
    s->header = NULL;
}
