/* A client that keeps what it has seen (QRESYNC, RFC 7162) over a move, against a naive account: whatever has
 * happened before the flip, behind it and while it asks, in the end it has what the server has. */
#include "draw.h"
#include "lib/xalloc.h"
#include "view_unit.h"

/* ---- an account: one mailbox, before the flip at the source and then at the target ---- */

enum { ROWS = 200, CLIENTS = 4, ROUNDS = 1500, VISITS = 6 };

struct row {
    uint32_t uid, shown; /* at the server where it is now, and as clients know it */
    uint32_t flags;
    uint64_t modseq;
    bool gone;
    uint64_t gone_at; /* 0: the server where it would be never had it */
};

struct account {
    struct row rows[ROWS];
    size_t n;
    uint32_t uidvalidity, uidnext, shown_uidvalidity, shown_uidnext;
    uint64_t highest;
    bool flipped;
    enum view_tier tier;
    uint64_t floor, shift;
    struct view *view;
};

static void deliver(struct account *a)
{
    if (a->n == ROWS)
        return;
    uint32_t skip = draw(4) ? 0 : draw(5);
    struct row *r = &a->rows[a->n++];
    *r = (struct row){.uid = a->uidnext + skip, .flags = draw(9), .modseq = ++a->highest};
    r->shown = r->uid - a->uidnext + a->shown_uidnext;
    a->shown_uidnext = r->shown + 1;
    a->uidnext = r->uid + 1;
}

static bool is_there(const struct account *a, size_t i)
{
    return i < a->n && !a->rows[i].gone;
}

static void expunge(struct account *a, size_t i)
{
    a->rows[i].gone = true;
    a->rows[i].gone_at = ++a->highest;
}

static void flag(struct account *a, size_t i)
{
    a->rows[i].flags = draw(9);
    a->rows[i].modseq = ++a->highest;
}

static void live(struct account *a)
{
    for (uint32_t n = draw(12); n > 0; n--) {
        size_t i = a->n ? draw((uint32_t)a->n) : 0;
        uint32_t what = draw(4);
        if (what == 0)
            deliver(a);
        else if (is_there(a, i) && what == 1)
            expunge(a, i);
        else if (is_there(a, i))
            flag(a, i);
    }
}

/* The target has only what was there, numbered as its tier says; what is gone it never had. */
static void flip(struct account *a)
{
    static const enum view_tier tiers[] = {VIEW_T0, VIEW_T1, VIEW_T2};
    uint32_t uid = draw(3);
    a->tier = tiers[draw(3)];
    a->floor = a->highest + draw(50);
    a->shift = a->tier == VIEW_T0 && draw(3) ? 0 : a->floor;
    uint64_t modseq = a->shift ? 0 : a->floor;
    for (size_t i = 0; i < a->n; i++) {
        struct row *r = &a->rows[i];
        r->shown = r->uid;
        if (r->gone)
            r->gone_at = 0;
        else if (a->tier == VIEW_T2)
            r->uid = uid += 1 + (draw(4) ? 0 : draw(3));
        r->modseq = ++modseq;
    }
    a->highest = modseq + 1;
    a->shown_uidnext = a->uidnext;
    if (a->tier == VIEW_T2)
        a->uidnext = uid + 1 + draw(3);
    a->shown_uidvalidity = a->uidvalidity;
    if (a->tier != VIEW_T0)
        a->uidvalidity += 5;
    a->flipped = true;
}

static void make_view(struct account *a)
{
    struct view_record r = {.id = "1",
                            .source_name = (char *)(uintptr_t) "INBOX",
                            .target_name = (char *)(uintptr_t) "INBOX",
                            .source_uidvalidity = a->shown_uidvalidity,
                            .target_uidvalidity = a->uidvalidity,
                            .source_uidnext = a->shown_uidnext,
                            .target_uidnext = a->uidnext,
                            .highest_uidvalidity = a->shown_uidvalidity,
                            .modseqs = true,
                            .modseq_floor = a->floor,
                            .modseq_shift = a->shift,
                            .tier = a->tier};
    for (size_t i = 0; i < a->n && a->tier == VIEW_T2; i++)
        if (!a->rows[i].gone)
            assert_true(view_uid_add(&r.map, a->rows[i].shown, a->rows[i].uid));
    if (a->tier == VIEW_T2)
        assert_true(view_uid_set_tail(&r.map, a->shown_uidnext, a->uidnext));
    a->view = view_new(NULL);
    view_unit_record(a->view, "INBOX", &r);
}

/* ---- the server: what it answers ---- */

struct world {
    struct account account;
    struct view_unit u;
    bool qresync, busy; /* others change things meanwhile */
};

static bool set_has(const struct account *a, const char *set, uint32_t uid)
{
    struct imap_seq s = {0};
    uint32_t last = 0;
    for (size_t i = 0; i < a->n; i++)
        if (!a->rows[i].gone)
            last = a->rows[i].uid;
    assert_true(imap_seq_parse(&s, span_str(set), last ? last : UINT32_MAX, 100000));
    bool has = imap_seq_has(&s, uid);
    imap_seq_free(&s);
    return has;
}

static uint32_t number_of(const struct account *a, size_t row)
{
    uint32_t n = 1;
    for (size_t i = 0; i < row; i++)
        n += !a->rows[i].gone;
    return n;
}

static void say_fetch(const struct account *a, size_t i, struct buf *out)
{
    const struct row *r = &a->rows[i];
    unsigned long long modseq = r->modseq;
    switch (draw(3)) {
    case 0:
        buf_printf(out, "* %u FETCH (UID %u FLAGS (k%u) MODSEQ (%llu))\r\n", number_of(a, i), r->uid,
                   r->flags, modseq);
        break;
    case 1:
        buf_printf(out, "* %u FETCH (MODSEQ (%llu) UID %u FLAGS (k%u))\r\n", number_of(a, i), modseq, r->uid,
                   r->flags);
        break;
    default:
        buf_printf(out, "* %u FETCH (X \"a\" FLAGS (k%u) UID %u MODSEQ (%llu))\r\n", number_of(a, i),
                   r->flags, r->uid, modseq);
    }
}

/* Another client does something, and this one is told. */
static void disturb(struct world *w, struct buf *out)
{
    struct account *a = &w->account;
    if (!w->busy || a->n == 0 || draw(2))
        return;
    size_t i = draw((uint32_t)a->n), was = a->n;
    if (draw(4) == 0) {
        deliver(a);
        buf_printf(out, "* %u EXISTS\r\n", number_of(a, a->n));
        assert_true(a->n >= was);
    } else if (is_there(a, i) && draw(2)) {
        expunge(a, i);
        buf_printf(out, "* VANISHED %u\r\n", a->rows[i].uid);
    } else if (is_there(a, i)) {
        flag(a, i);
        say_fetch(a, i, out);
    }
}

static void answer_select(struct account *a, struct buf *out)
{
    buf_printf(out, "* %u EXISTS\r\n* OK [UIDVALIDITY %u] v\r\n* OK [UIDNEXT %u] n\r\n",
               number_of(a, a->n) - 1, a->uidvalidity, a->uidnext);
    buf_printf(out, "* OK [HIGHESTMODSEQ %llu] h\r\n", (unsigned long long)a->highest);
}

static void answer_search(const struct account *a, const char *tag, const char *set, bool esearch,
                          struct buf *out)
{
    struct imap_seq found = {0};
    for (size_t i = 0; i < a->n; i++)
        if (is_there(a, i) && set_has(a, set, a->rows[i].uid))
            imap_seq_add(&found, a->rows[i].uid, a->rows[i].uid);
    if (esearch) {
        buf_printf(out, "* ESEARCH (TAG \"%s\") UID%s", tag, found.n ? " ALL " : "");
        imap_seq_write(out, &found);
    } else {
        buf_add_str(out, "* SEARCH");
        for (size_t i = 0; i < a->n; i++)
            if (imap_seq_has(&found, a->rows[i].uid))
                buf_printf(out, " %u", a->rows[i].uid);
    }
    buf_add_str(out, "\r\n");
    imap_seq_free(&found);
}

/* The server names only what it has expunged itself. */
static void answer_vanished(const struct account *a, const char *set, uint64_t since, struct buf *out)
{
    bool any = false;
    for (size_t i = 0; i < a->n; i++)
        if (a->rows[i].gone_at > since && set_has(a, set, a->rows[i].uid)) {
            buf_printf(out, "%s%u", any ? "," : "* VANISHED (EARLIER) ", a->rows[i].uid);
            any = true;
        }
    buf_add_str(out, any ? "\r\n" : "");
}

static void answer_fetch(const struct account *a, const char *set, uint64_t since, struct buf *out)
{
    for (size_t i = 0; i < a->n; i++)
        if (is_there(a, i) && a->rows[i].modseq > since && set_has(a, set, a->rows[i].uid))
            say_fetch(a, i, out);
}

/* Appends MODIFIED. */
static void answer_store(struct account *a, const char *set, uint64_t unchanged, struct buf *tagged)
{
    bool any = false;
    for (size_t i = 0; i < a->n; i++) {
        if (!is_there(a, i) || !set_has(a, set, a->rows[i].uid))
            continue;
        if (a->rows[i].modseq > unchanged) {
            buf_printf(tagged, "%s%u", any ? "," : "[MODIFIED ", a->rows[i].uid);
            any = true;
        } else {
            flag(a, i);
        }
    }
    buf_add_str(tagged, any ? "] " : "");
}

/* One command, as it came. */
static void answer(struct world *w, char *line, struct buf *out)
{
    struct account *a = &w->account;
    struct buf tagged = {0};
    char tag[64] = "", set[20000] = "";
    unsigned long long modseq = 0;
    bool esearch = strstr(line, " RETURN (ALL)") != NULL;
    const char *since = strstr(line, "CHANGEDSINCE ");
    assert_int_equal(sscanf(line, "%63s", tag), 1);
    if (since)
        assert_int_equal(sscanf(since, "CHANGEDSINCE %llu", &modseq), 1);
    disturb(w, out);
    if (strstr(line, " SELECT ")) {
        assert_null(strstr(line, "QRESYNC"));
        answer_select(a, out);
    } else if (strstr(line, " UID SEARCH ")) {
        assert_int_equal(sscanf(strstr(line, " UID SEARCH ") + 12,
                                esearch ? "RETURN (ALL) UID %19999s" : "UID %19999s", set),
                         1);
        answer_search(a, tag, set, esearch, out);
    } else if (strstr(line, " UID FETCH ")) {
        assert_int_equal(sscanf(strstr(line, " UID FETCH ") + 11, "%19999s", set), 1);
        assert_true(since || strstr(line, "MODSEQ"));
        if (strstr(line, "VANISHED"))
            answer_vanished(a, set, modseq, out);
        answer_fetch(a, set, modseq, out);
    } else if (strstr(line, " UID STORE ")) {
        assert_int_equal(sscanf(strstr(line, " UID STORE ") + 11, "%19999s", set), 1);
        answer_store(a, set, modseq, &tagged);
    } else {
        assert_non_null(strstr(line, " NOOP"));
    }
    disturb(w, out);
    buf_printf(out, "%s OK %sdone\r\n", tag, buf_str(&tagged));
    buf_free(&tagged);
}

/* In pieces of any size, often a byte. */
static void feed(struct view_unit *u, struct span s)
{
    while (s.len) {
        size_t n = draw(3) ? 1 + draw(30) : 1;
        n = n < s.len ? n : s.len;
        view_unit_responses(u, span_of(s.p, n));
        if (u->wrong)
            print_error("%s\n", u->wrong);
        assert_null(u->wrong);
        s = span_of(s.p + n, s.len - n);
    }
}

/* Until the backend has nothing to answer. */
static void serve(struct world *w)
{
    while (w->u.to_backend.len) {
        struct buf line = w->u.to_backend, out = {0};
        w->u.to_backend = (struct buf){0};
        answer(w, (char *)(uintptr_t)buf_str(&line), &out);
        feed(&w->u, buf_span(&out));
        buf_free(&line);
        buf_free(&out);
    }
}

/* ---- clients ---- */

struct client {
    struct {
        uint32_t uid, flags;
    } rows[4 * ROWS];
    size_t n;
    uint32_t uidvalidity;
    uint64_t highest;
    bool partial; /* it has forgotten some */
};

static size_t find(const struct client *c, uint32_t uid)
{
    size_t i = 0;
    while (i < c->n && c->rows[i].uid != uid)
        i++;
    return i;
}

static void learn(struct client *c, uint32_t uid, uint32_t flags)
{
    size_t i = find(c, uid);
    assert_true(i < COUNTOF(c->rows));
    c->rows[i].uid = uid;
    c->rows[i].flags = flags;
    c->n += i == c->n;
}

static const struct row *row_of(const struct account *a, uint32_t shown)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->rows[i].shown == shown && !a->rows[i].gone)
            return &a->rows[i];
    return NULL;
}

/* Before the flip clients speak with the server itself. */
static void visit_before(struct client *c, const struct account *a)
{
    c->n = 0;
    for (size_t i = 0; i < a->n; i++)
        if (is_there(a, i))
            learn(c, a->rows[i].uid, a->rows[i].flags);
    c->uidvalidity = a->uidvalidity;
    c->highest = a->highest;
}

/* It forgets some, as clients with a window do. */
static void forget(struct client *c)
{
    c->partial = true;
    for (size_t i = 0; i < c->n;) {
        if (draw(4) == 0)
            c->rows[i] = c->rows[--c->n];
        else
            i++;
    }
}

static void hear_vanished(struct client *c, const struct account *a, const char *line, bool asked)
{
    struct imap_seq s = {0};
    const char *set = strrchr(line, ' ') + 1;
    assert_true(imap_seq_parse(&s, span_of(set, strcspn(set, "\r")), 0, 100000));
    for (size_t i = 0; i < a->n; i++)
        if (is_there(a, i) && imap_seq_has(&s, a->rows[i].shown))
            fail_msg("%u is there: %s", a->rows[i].shown, line);
    assert_true(s.ranges[s.n - 1].last < a->shown_uidnext || !asked);
    for (size_t i = 0; i < c->n;) {
        if (imap_seq_has(&s, c->rows[i].uid))
            c->rows[i] = c->rows[--c->n];
        else
            i++;
    }
    imap_seq_free(&s);
}

/* What it was told since it sent its command. */
struct heard {
    uint64_t highest;
    uint32_t uidvalidity, fetched;
    bool ok;
};
static struct heard hear(struct world *w, struct client *c, const struct account *a)
{
    struct heard h = {0};
    char *all = xspandup(buf_span(&w->u.to_client)), *save = NULL;
    for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned long long n;
        if (strncmp(line, "* VANISHED ", 11) == 0) {
            bool earlier = strstr(line, "EARLIER") != NULL;
            assert_true(!earlier || !h.fetched || w->busy);
            hear_vanished(c, a, line, earlier);
        } else if (strstr(line, " FETCH (")) {
            h.fetched++;
            const char *uid = strstr(line, "UID "), *flags = strstr(line, "(k"),
                       *modseq = strstr(line, "MODSEQ (");
            assert_true(uid && flags && modseq);
            learn(c, (uint32_t)strtoul(uid + 4, NULL, 10), (uint32_t)strtoul(flags + 2, NULL, 10));
            assert_true(strtoull(modseq + 8, NULL, 10) > a->floor);
        } else if (sscanf(line, "* OK [HIGHESTMODSEQ %llu]", &n) == 1) {
            assert_int_equal(h.highest, 0);
            h.highest = n;
        } else if (sscanf(line, "* OK [UIDVALIDITY %llu]", &n) == 1) {
            h.uidvalidity = (uint32_t)n;
        } else if (line[0] != '*') {
            assert_non_null(strstr(line, " OK "));
            h.ok = true;
        }
    }
    assert_true(h.ok);
    free(all);
    buf_clear(&w->u.to_client);
    return h;
}

static void say(struct world *w, struct buf *command)
{
    assert_true(view_unit_commands(&w->u, buf_span(command)));
    if (w->u.to_client.len)
        print_error("%s%s", buf_str(command), buf_str(&w->u.to_client));
    assert_int_equal(w->u.to_client.len, 0);
    serve(w);
    buf_clear(command);
}

static void write_known(const struct client *c, struct buf *out)
{
    struct imap_seq s = {0};
    for (size_t i = 0; i < c->n; i++)
        imap_seq_add(&s, c->rows[i].uid, c->rows[i].uid);
    imap_seq_write(out, &s);
    imap_seq_free(&s);
}

/* What it has is there, and as it has it; all: and all that is there it has. */
static void check_client(const struct client *c, const struct account *a, bool all)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct row *r = row_of(a, c->rows[i].uid);
        if (!r)
            fail_msg("a ghost: %u", c->rows[i].uid);
        assert_int_equal(r->flags, c->rows[i].flags);
    }
    for (size_t i = 0; i < a->n && all; i++)
        if (is_there(a, i) && find(c, a->rows[i].shown) == c->n)
            fail_msg("%u is missing", a->rows[i].shown);
}

/* What nobody has told it of, so that what follows can be compared: it asks for what is new, as clients do.
 * */
static void learn_new(struct client *c, const struct account *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (is_there(a, i))
            learn(c, a->rows[i].shown, a->rows[i].flags);
}

/* What it has left alone is what has changed since, of which an old number knows nothing. */
static void check_store(struct world *w, uint64_t modseq)
{
    struct account *a = &w->account;
    struct buf command = {0};
    struct imap_seq want = {0}, got = {0};
    uint64_t limit = modseq <= a->floor ? 0 : modseq - a->shift;
    for (size_t i = 0; i < a->n; i++)
        if (is_there(a, i) && a->rows[i].modseq > limit)
            imap_seq_add(&want, a->rows[i].shown, a->rows[i].shown);
    w->busy = false;
    buf_printf(&command, "t UID STORE 1:* (UNCHANGEDSINCE %llu) FLAGS (k1)\r\n", (unsigned long long)modseq);
    say(w, &command);
    const char *modified = strstr(buf_str(&w->u.to_client), "[MODIFIED ");
    if (modified)
        assert_true(imap_seq_parse(&got, span_of(modified + 10, strcspn(modified + 10, "]")), 0, 100000));
    assert_int_equal(want.n, got.n);
    for (size_t i = 0; i < want.n; i++)
        assert_memory_equal(&want.ranges[i], &got.ranges[i], sizeof want.ranges[i]);
    imap_seq_free(&want);
    imap_seq_free(&got);
    buf_clear(&w->u.to_client);
    buf_free(&command);
}

static void start_session(struct world *w, bool esearch)
{
    view_unit_start(&w->u, w->account.view);
    imap_caps_add(&w->u.shown, CAP_CONDSTORE);
    imap_caps_add(&w->u.shown, CAP_QRESYNC);
    view_rewrite_enabled(w->u.w, true, esearch);
}

/* As SELECT (QRESYNC), or SELECT and then UID FETCH (VANISHED). */
static void visit(struct world *w, struct client *c)
{
    struct account *a = &w->account;
    struct buf command = {0};
    bool select = draw(2), known = draw(2) && c->n > 0;
    start_session(w, draw(2));
    w->busy = draw(2);
    uint64_t modseq = c->highest;
    if (select) {
        buf_printf(&command, "s SELECT INBOX (QRESYNC (%u %llu", c->uidvalidity, (unsigned long long)modseq);
        buf_add_str(&command, known ? " " : "");
        if (known)
            write_known(c, &command);
        buf_add_str(&command, "))\r\n");
    } else {
        buf_add_str(&command, "s SELECT INBOX (CONDSTORE)\r\n");
    }
    say(w, &command);
    struct heard h = hear(w, c, a);
    assert_int_equal(h.uidvalidity, a->shown_uidvalidity);
    assert_true(h.highest > a->floor || h.highest >= c->highest);
    assert_true(h.highest >= c->highest);
    if (!select) {
        buf_add_str(&command, "f UID FETCH ");
        if (known)
            write_known(c, &command);
        else
            buf_add_str(&command, "1:*");
        static const char *const items[] = {"FLAGS", "(FLAGS UID)", "FAST"};
        buf_printf(&command, " %s (CHANGEDSINCE %llu VANISHED)\r\n", items[draw(3)],
                   (unsigned long long)modseq);
        say(w, &command);
        hear(w, c, a);
    }
    check_client(c, a, !known && !w->busy && !c->partial);
    if (draw(4) == 0)
        check_store(w, draw(2) ? modseq : h.highest);
    c->highest = h.highest;
    learn_new(c, a);
    c->partial = false;
    view_unit_end(&w->u);
    buf_free(&command);
}

static void test_clients_end_with_what_is_there(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        seed = 2463534242u + 7919u * (uint32_t)round;
        static struct client clients[CLIENTS];
        struct world w = {.account = {.uidvalidity = 7, .uidnext = 1, .shown_uidnext = 1, .highest = 1}};
        memset(clients, 0, sizeof clients);
        for (int k = 0; k < CLIENTS; k++) {
            live(&w.account);
            visit_before(&clients[k], &w.account);
            if (draw(2))
                forget(&clients[k]);
        }
        live(&w.account);
        flip(&w.account);
        make_view(&w.account);
        for (int k = 0; k < VISITS; k++) {
            struct client *c = &clients[draw(CLIENTS)];
            if (draw(3))
                live(&w.account);
            visit(&w, c);
            if (draw(3) == 0)
                forget(c);
        }
        view_unref(&w.account.view);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_end_with_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
