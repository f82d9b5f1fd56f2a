/* A session after its login (proxy/relay.h): any bytes from a client and from a server, on streams in memory. The first byte says what
 * there is beside; then 1E and 1F say who sends what follows, 1D stands for the tag of our own last command, 1C lets
 * the lease run out or be renewed, 1A has the session rest or go on, 19 has what was sent be taken, 18 and 17 are the
 * store's answers. Then all of it once
 * more, in pieces. */
#include "lib/imap_cmd.h"
#include "lib/imap_line.h"
#include "lib/imap_resp.h"
#include "lib/log.h"
#include "proxy/busy.h"
#include "proxy/client_id.h"
#include "proxy/proxy.h"
#include "proxy/relay.h"
#include "proxy/rest.h"
#include "proxy/views.h"

#include "memory_stream.h"

enum {
    WITH_NONSYNC = 1 << 0, /* LITERAL+ is shown */
    WITH_MODSEQS = 1 << 1, /* CONDSTORE and QRESYNC are */
    IS_SLOW = 1 << 2,      /* sides take what they get late */
    HEARS_ID = 1 << 3,
    WITH_VIEW = 1 << 4, /* names and numbers are rewritten: "INBOX.Sent" is Sent, with other UIDs */
    REPLICAS_LATE = 1 << 5,
};

enum {
    OTHERS = 0x1e,
    OURS = 0x1f,
    TAG = 0x1d,
    LEASE = 0x1c,
    REST = 0x1a,
    DRAIN = 0x19,
    SAID_YES = 0x18,
    SAID_NOTHING = 0x17
};

static struct loop *loop;
static struct view *first_view;

static struct play {
    uint8_t flags;
    struct conf conf;
    struct conf_backend backend;
    struct proxy proxy;
    struct account account;
    struct branch branch;
    struct session s;
    struct stream client, server;
    struct buf said; /* by the client */
    bool may_pass, rests;
    struct view *view;           /* owned; NULL: none */
    struct view_changes changes; /* that the store was asked to make */
    route_done_fn store_fn;
    void *store_owner;
    unsigned n_ends;
    uint64_t n_random;
    char tag[64]; /* of our own last command */
    struct imap_line to_server, to_client, of_server;
    size_t seen_server, seen_client; /* of what was sent, by the checks */
    unsigned literals, pluses;       /* that the server was to take; "+" that it has said */
    char asked[IMAP_TAG_MAX + 1];    /* whose literal it was asked about last */
} * p;

/* ---- the session ---- */

bool session_is_live(const struct session *s)
{
    return s->state == IN_RELAY;
}

void session_enter(struct session *s, enum session_state state)
{
    MUST(s->state != IN_CLOSING);
    s->state = state;
}

void session_close(struct session *s, enum session_end end, const char *detail)
{
    (void)end, (void)detail;
    MUST(s->state != IN_CLOSING);
    s->state = IN_CLOSING;
    p->n_ends++;
}

void session_take_backend(struct session *s, struct stream *stream, const struct conf_backend *at)
{
    s->backend = stream;
    s->at = at;
}

bool registration_may_pass(const struct session *s)
{
    (void)s;
    return p->may_pass;
}

void rest_step(struct session *s)
{
    (void)s;
}

bool rest_takes(struct session *s, const struct imap_resp *r, struct span line)
{
    (void)s, (void)r, (void)line;
    return false;
}

void rest_answered(struct session *s, enum relay_own own, enum imap_status status)
{
    (void)s, (void)own, (void)status;
}

bool rest_withholds(struct session *s, const struct imap_resp *r)
{
    (void)s, (void)r;
    return false;
}

uint32_t rest_withheld(const struct session *s)
{
    (void)s;
    return 0;
}

void rest_backend_event(struct session *s, enum stream_event ev)
{
    (void)s, (void)ev;
}

bool busy_counts(enum imap_verb verb)
{
    (void)verb;
    return false;
}

void busy_note(struct account *a)
{
    (void)a;
}

bool client_id_is_heard(const struct session *s, const struct conf_backend *at)
{
    (void)s, (void)at;
    return p->flags & HEARS_ID;
}

/* ---- the view ---- */

void views_want(struct account *a, const char *backend, const char *text, bool all)
{
    (void)a, (void)backend, (void)text, (void)all;
}

void views_try_again(struct account *a)
{
    (void)a;
}

enum views_state views_state(const struct account *a)
{
    (void)a;
    return VIEWS_READ;
}

bool views_is_current(const struct account *a, const char *backend)
{
    (void)a, (void)backend;
    return true;
}

struct view *views_view(const struct account *a)
{
    (void)a;
    return p->view;
}

bool views_has_records(const struct account *a)
{
    (void)a;
    return p->view != NULL;
}

bool views_has_modseqs(const struct account *a)
{
    (void)a;
    return true;
}

bool views_rewrites(const struct account *a)
{
    (void)a;
    return p->view != NULL;
}

static void ask_store(route_done_fn fn, void *owner)
{
    p->store_fn = fn;
    p->store_owner = owner;
}

bool views_change(struct account *a, const char *backend, const struct view_changes *changes,
                  route_done_fn fn, void *owner)
{
    (void)a, (void)backend;
    view_changes_free(&p->changes);
    p->changes.items = xcalloc(changes->n, sizeof *changes->items);
    p->changes.n = p->changes.cap = changes->n;
    for (size_t i = 0; i < changes->n; i++)
        p->changes.items[i] = (struct view_change){
            xstrdup(changes->items[i].field), xstrdup(changes->items[i].was), xstrdup(changes->items[i].is)};
    ask_store(fn, owner);
    return true;
}

bool views_ask(struct account *a, const char *backend, route_done_fn fn, void *owner)
{
    (void)a, (void)backend;
    ask_store(fn, owner);
    return true;
}

bool views_keep(struct account *a, route_done_fn fn, void *owner)
{
    (void)a;
    if (p->flags & REPLICAS_LATE)
        return false;
    ask_store(fn, owner);
    return true;
}

void views_forget(struct account *a, void *owner)
{
    (void)a;
    if (p->store_owner == owner)
        p->store_fn = NULL;
}

static void store_says(enum route_rc rc)
{
    route_done_fn fn = p->store_fn;
    p->store_fn = NULL;
    if (!fn)
        return;
    struct view *now = rc == ROUTE_OK && p->changes.n > 0 ? view_apply(p->view, &p->changes) : NULL;
    if (now) {
        view_unref(&p->view);
        p->view = now;
    }
    view_changes_free(&p->changes);
    fn(p->store_owner, rc, "");
}

static void take_record(const char *client, const char *backend, struct view_record r)
{
    struct buf text = {0};
    r.source_name = (char *)client;
    r.target_name = (char *)backend;
    view_record_encode(&text, &r);
    MUST(view_take(first_view, span_str(client), buf_span(&text)));
    buf_free(&text);
}

static void make_view(void)
{
    struct view_record sent = {
        .tier = VIEW_T2, .id = "a1", .source_uidvalidity = 7, .target_uidvalidity = 70};
    sent.source_uidnext = 40;
    sent.target_uidnext = 4;
    sent.highest_uidvalidity = 7;
    for (uint32_t i = 1; i <= 3; i++)
        MUST(view_uid_add(&sent.map, 10 * i, i));
    MUST(view_uid_set_tail(&sent.map, 40, 4));
    first_view = view_new(NULL);
    MUST(view_take(first_view, span_str(""), span_str("1 client=.,INBOX. backend=/, avoid=")));
    take_record("INBOX.Sent", "Sent", sent);
    view_uid_free(&sent.map);
    take_record("INBOX", "INBOX",
                (struct view_record){.tier = VIEW_T1,
                                     .id = "b2",
                                     .source_uidvalidity = 8,
                                     .target_uidvalidity = 80,
                                     .source_uidnext = 9,
                                     .target_uidnext = 9,
                                     .highest_uidvalidity = 8});
}

void random_hex(char *out, size_t bytes)
{
    uint64_t n = ++p->n_random;
    for (size_t i = 0; i < 2 * bytes; i++, n >>= 4)
        out[i] = "0123456789abcdef"[n & 15];
    out[2 * bytes] = '\0';
    snprintf(p->tag, sizeof p->tag, "F%s", out);
}

/* ---- what must hold of what is sent ---- */

static size_t count(struct span text, struct span part)
{
    size_t n = 0;
    for (size_t i = 0; part.len > 0 && i + part.len <= text.len; i++)
        n += memcmp(text.p + i, part.p, part.len) == 0;
    return n;
}

static struct span unseen(const struct buf *sent, size_t *seen)
{
    struct span all = buf_span(sent), more = all;
    if (*seen > 0)
        more = span_of(all.p + *seen, all.len - *seen);
    *seen = all.len;
    return more;
}

/* A server cuts it into commands as we do, and waits for no literal that it was not asked about. */
static void check_to_server(void)
{
    struct span in = unseen(&p->server.out, &p->seen_server);
    while (in.len > 0) {
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&p->to_server, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        MUST(rc != LINE_BAD);
        if (rc == LINE_LITERAL)
            MUST(p->pluses >= p->literals);
        if (rc == LINE_TEXT && item.first) {
            struct span text = item.text, tag = fuzz_cut(&text, ' ');
            snprintf(p->asked, sizeof p->asked, "%.*s", (int)tag.len, (const char *)tag.p);
        }
        if (rc == LINE_TEXT && item.literal) {
            MUST(item.sync);
            p->literals++;
        }
    }
}

/* Each answer to a command is for one that the client has sent, and there are no more of them. */
static void check_answer(struct span line)
{
    struct imap_resp r;
    const char *why;
    if (!imap_resp_parse(line, &r, &why) || r.kind != RESP_TAGGED)
        return;
    MUST(count(buf_span(&p->said), r.tag) > 0);
}

static void check_to_client(void)
{
    struct span in = unseen(&p->client.out, &p->seen_client);
    while (in.len > 0) {
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&p->to_client, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        MUST(rc != LINE_BAD);
        if (rc == LINE_TEXT && item.first)
            check_answer(item.text);
    }
}

/* A server that says no to a literal goes on with the next command. */
static void hear_answer(struct span line)
{
    struct imap_resp r;
    const char *why;
    if (line.len > 0 && line.p[0] == '+')
        p->pluses++;
    else if (imap_resp_parse(line, &r, &why) && r.kind == RESP_TAGGED && span_is(r.tag, p->asked) &&
             p->pluses < p->literals) {
        imap_line_refuse(&p->to_server);
        p->literals--;
    }
}

static void hear_server(struct span in)
{
    while (in.len > 0) {
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&p->of_server, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        if (rc == LINE_BAD)
            return;
        if (rc == LINE_TEXT && item.first)
            hear_answer(item.text);
    }
}

static void check(size_t client_before, size_t server_before)
{
    if (!p->may_pass)
        MUST(p->client.out.len == client_before && p->server.out.len == server_before);
    if (p->s.state == IN_CLOSING)
        return; /* a line may have been cut off */
    check_to_server();
    check_to_client();
}

/* ---- playing ---- */

static void set_up(uint8_t flags)
{
    static const struct imap_line_limits commands = {.line = 1 << 24,
                                                     .parts = 1 << 20,
                                                     .literal = UINT64_MAX},
                                         responses = {
                                             .line = 1 << 25, .parts = 1 << 20, .literal = UINT64_MAX};
    struct imap_caps shown;
    p = xcalloc(1, sizeof *p);
    p->flags = flags;
    p->may_pass = true;
    p->backend.name = (char *)"old";
    p->conf.backends = &p->backend;
    p->conf.n_backends = 1;
    p->conf.proxy.idle_timeout_ms = p->conf.proxy.backend_timeout_ms = p->conf.proxy.close_timeout_ms = 60000;
    p->conf.proxy.compress = true;
    p->proxy.loop = loop;
    p->proxy.conf = &p->conf;
    p->account =
        (struct account){.proxy = &p->proxy, .branch = &p->branch, .key = (char *)"ann", .known = true};
    p->s = (struct session){
        .proxy = &p->proxy, .account = &p->account, .name = (char *)"p/1", .client = &p->client};
    session_take_backend(&p->s, &p->server, &p->backend);
    p->s.timer = timer_new(loop, NULL, NULL);
    imap_line_init(&p->to_server, LINE_COMMANDS, &commands);
    imap_line_init(&p->to_client, LINE_RESPONSES, &responses);
    imap_line_init(&p->of_server, LINE_RESPONSES, &responses);
    imap_caps_parse(
        &shown,
        span_str(
            "IMAP4rev1 IDLE NAMESPACE UIDPLUS MOVE UNSELECT ENABLE ID ESEARCH SORT MULTIAPPEND QUOTA ACL METADATA"));
    if (flags & WITH_NONSYNC)
        imap_caps_add(&shown, CAP_LITERAL_PLUS);
    if (flags & WITH_MODSEQS) {
        imap_caps_add(&shown, CAP_CONDSTORE);
        imap_caps_add(&shown, CAP_QRESYNC);
    }
    p->view = flags & WITH_VIEW ? view_ref(first_view) : NULL;
    relay_begin(&p->s, &shown, p->view);
    p->client.high_water = p->server.high_water = flags & IS_SLOW ? 4096 : 0;
}

static void tear_down(void)
{
    MUST(p->n_ends <= 1);
    relay_free(&p->s.relay);
    timer_free(&p->s.timer);
    view_unref(&p->view);
    view_changes_free(&p->changes);
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* timers go with it */
    memory_free(&p->client);
    memory_free(&p->server);
    imap_line_wipe(&p->to_server);
    imap_line_wipe(&p->to_client);
    imap_line_wipe(&p->of_server);
    buf_free(&p->said);
    buf_free(&p->s.client_id);
    free(p);
    p = NULL;
}

static bool is_over(void)
{
    return p->s.state != IN_RELAY || p->client.compressed;
}

static bool wants(const struct stream *s)
{
    return s->again && !s->paused && s->len > s->off;
}

/* Rounds of the loop, as long as something happens in them. */
static void run(void)
{
    while (!is_over() && (wants(&p->client) || wants(&p->server))) {
        size_t client = p->client.out.len, server = p->server.out.len;
        struct stream *s = wants(&p->client) ? &p->client : &p->server;
        loop->round++;
        s->again = false;
        if (s == &p->client)
            relay_client_event(&p->s, STREAM_DATA);
        else
            relay_backend_event(&p->s, STREAM_DATA);
        check(client, server);
    }
}

static void drain(void)
{
    bool client = stream_full(&p->client), server = stream_full(&p->server);
    p->client.unsent = p->server.unsent = 0;
    if (client && !is_over())
        relay_client_event(&p->s, STREAM_DRAINED);
    if (server && !is_over())
        relay_backend_event(&p->s, STREAM_DRAINED);
    if (!is_over())
        check(p->client.out.len, p->server.out.len);
    run();
}

static void give(struct stream *to, struct span in, uint32_t *seed)
{
    while (in.len > 0 && !is_over()) {
        struct span piece = memory_piece(&in, seed);
        if (to == &p->client)
            buf_add_span(&p->said, piece);
        else
            hear_server(piece);
        memory_give(to, piece);
        run();
    }
}

static void order(uint8_t what)
{
    if (what == LEASE) {
        p->may_pass = !p->may_pass;
        if (p->may_pass)
            p->client.again = p->server.again = true;
        relay_flow(&p->s);
    } else if (what == REST) {
        p->rests = !p->rests;
        relay_rest(&p->s, p->rests ? END_FREEZE : END_NONE);
    } else if (what == DRAIN) {
        drain();
    } else if (what == SAID_YES || what == SAID_NOTHING) {
        store_says(what == SAID_YES ? ROUTE_OK : ROUTE_DOWN);
    }
    run();
}

static void play(uint8_t flags, struct span in, uint32_t seed)
{
    set_up(flags);
    struct stream *to = &p->client;
    size_t begin = 0;
    for (size_t i = 0; i <= in.len && !is_over(); i++) {
        uint8_t c = i < in.len ? in.p[i] : OTHERS;
        if (c < SAID_NOTHING || c > OURS || c == 0x1b)
            continue;
        if (i > begin)
            give(to, span_of(in.p + begin, i - begin), &seed);
        begin = i + 1;
        if (c == OTHERS)
            to = &p->client;
        else if (c == OURS)
            to = &p->server;
        else if (c == TAG)
            give(to, span_str(p->tag), &seed);
        else if (!is_over())
            order(c);
    }
    if (!is_over())
        drain();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    uint8_t flags = fuzz_byte(&in);
    if (!loop) {
        loop = loop_new();
        make_view();
    }
    log_set_level(LOG_LEVEL_ERROR);
    play(flags, in, 0);
    tear_down();
    play(flags, in, 2463534242u ^ (uint32_t)len);
    tear_down();
    return 0;
}
