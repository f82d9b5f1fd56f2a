/* view_rewrite against a table that knows nothing of runs: random mailboxes with gaps on both sides, messages
 * that come and go, sets and answers. And what it costs. */
#include <time.h>

#include "draw.h"
#include "view_unit.h"

/* ---- the table ---- */

enum { MESSAGES = 60, ROUNDS = 300, COMMANDS = 40 };

struct table {
    struct {
        uint32_t client, backend;
        bool gone; /* expunged since */
    } rows[4 * MESSAGES];
    size_t n;
    uint32_t uidnext_client, uidnext_backend; /* at the flip */
};

static struct view_uid map_of(const struct table *t)
{
    struct view_uid m = {0};
    for (size_t i = 0; i < t->n; i++)
        assert_true(view_uid_add(&m, t->rows[i].client, t->rows[i].backend));
    assert_true(view_uid_set_tail(&m, t->uidnext_client, t->uidnext_backend));
    return m;
}

static struct table random_table(void)
{
    struct table t = {0};
    uint32_t client = 0, backend = 0;
    size_t n = draw(MESSAGES);
    for (size_t i = 0; i < n; i++) {
        client += 1 + (draw(3) ? 0 : draw(9));
        backend += 1 + (draw(5) ? 0 : draw(4));
        t.rows[t.n].client = client;
        t.rows[t.n].backend = backend;
        t.rows[t.n++].gone = false;
    }
    t.uidnext_client = client + 1 + draw(10);
    t.uidnext_backend = backend + 1 + draw(3);
    return t;
}

/* Mail comes, and some goes; neither changes what the map says. */
static void live(struct table *t)
{
    size_t old = t->n;
    uint32_t next = t->uidnext_backend + (old && t->rows[old - 1].backend >= t->uidnext_backend
                                              ? t->rows[old - 1].backend - t->uidnext_backend + 1
                                              : 0);
    for (uint32_t i = draw(6); i > 0 && t->n < COUNTOF(t->rows); i--) {
        next += draw(3) ? 0 : draw(3);
        t->rows[t->n].backend = next;
        t->rows[t->n].client = next - t->uidnext_backend + t->uidnext_client;
        t->rows[t->n++].gone = false;
        next++;
    }
    for (size_t i = 0; i < t->n; i++)
        t->rows[i].gone |= draw(8) == 0;
}

/* ---- what a set means ---- */

/* Of the messages that are there: does one of the set's elements hold it? RFC 3501 9 seq-range. */
static bool set_has(const struct table *t, const char *set, bool client, size_t row)
{
    uint32_t last = 0, uid = client ? t->rows[row].client : t->rows[row].backend;
    for (size_t i = 0; i < t->n; i++)
        if (!t->rows[i].gone)
            last = client ? t->rows[i].client : t->rows[i].backend;
    for (const char *s = set; *s;) {
        uint32_t ends[2];
        for (int k = 0; k < 2; k++) {
            char *end;
            if (k == 1 && *s != ':') {
                ends[1] = ends[0];
                break;
            }
            s += k;
            ends[k] = *s == '*' ? last : (uint32_t)strtoul(s, &end, 10);
            s = *s == '*' ? s + 1 : end;
        }
        if ((ends[0] <= uid && uid <= ends[1]) || (ends[1] <= uid && uid <= ends[0]))
            return true;
        s += *s == ',';
    }
    return false;
}

static uint32_t random_uid(const struct table *t)
{
    switch (draw(6)) {
    case 0:
        return 1 + draw(UINT32_MAX - 1);
    case 1:
        return t->uidnext_client + draw(20);
    default:
        return 1 + draw(t->uidnext_client + 3);
    }
}

static void random_set(const struct table *t, struct buf *out)
{
    for (uint32_t n = 1 + draw(6), i = 0; i < n; i++) {
        buf_add_str(out, i ? "," : "");
        for (int k = 0; k < (draw(2) ? 2 : 1); k++) {
            buf_add_str(out, k ? ":" : "");
            if (draw(8) == 0)
                buf_add_str(out, "*");
            else
                buf_printf(out, "%u", random_uid(t));
        }
    }
}

static struct view *view_with(const struct table *t)
{
    struct view *v = view_new(NULL);
    struct view_record r = {.id = "1",
                            .source_name = (char *)(uintptr_t) "INBOX",
                            .target_name = (char *)(uintptr_t) "INBOX",
                            .source_uidvalidity = 7,
                            .target_uidvalidity = 100,
                            .highest_uidvalidity = 7,
                            .tier = VIEW_T2,
                            .map = map_of(t)};
    view_unit_record(v, "INBOX", &r);
    return v;
}

static void start_open(struct view_unit *u, struct view *v)
{
    view_unit_start(u, v);
    assert_true(view_unit_commands(u, span_str("s SELECT INBOX\r\n")));
    view_unit_responses(u, span_str("* OK [UIDVALIDITY 100]\r\ns OK done\r\n"));
    buf_clear(&u->to_backend);
    buf_clear(&u->to_client);
}

/* The word behind the last "UID" of a command, or its set. */
static const char *set_of(struct buf *command, const char *before)
{
    char *at = strstr((char *)(uintptr_t)buf_str(command), before);
    if (!at)
        return "";
    at += strlen(before);
    at[strcspn(at, " \r\n)")] = '\0';
    return at;
}

static void check_command(struct view_unit *u, const struct table *t, bool search)
{
    struct buf set = {0};
    random_set(t, &set);
    char *command = search ? xasprintf("a SEARCH NOT (SEEN UID %s)\r\n", buf_str(&set))
                           : xasprintf("a UID FETCH %s FLAGS\r\n", buf_str(&set));
    assert_true(view_unit_commands(u, span_str(command)));
    assert_int_equal(u->to_client.len, 0);
    const char *sent = set_of(&u->to_backend, search ? "UID " : "FETCH ");
    for (size_t i = 0; i < t->n; i++) {
        if (t->rows[i].gone)
            continue;
        if (set_has(t, buf_str(&set), true, i) != set_has(t, sent, false, i))
            print_error("%s became %s at %u, %u\n", buf_str(&set), sent, t->rows[i].client,
                        t->rows[i].backend);
        assert_int_equal(set_has(t, buf_str(&set), true, i), set_has(t, sent, false, i));
    }
    view_unit_responses(u, span_str("a OK done\r\n"));
    buf_clear(&u->to_client);
    buf_clear(&u->to_backend);
    buf_free(&set);
    free(command);
}

static void test_commands_mean_the_same_messages(void **state)
{
    (void)state;
    seed = 2463534242u;
    for (int round = 0; round < ROUNDS; round++) {
        struct table t = random_table();
        struct view *v = view_with(&t);
        struct view_unit u;
        start_open(&u, v);
        for (int i = 0; i < COMMANDS; i++) {
            if (i % 10 == 9)
                live(&t);
            check_command(&u, &t, i % 2);
        }
        view_unit_end(&u);
        view_unref(&v);
    }
}

/* Writes each message's number on one side, those of `some` alone. */
static void write_numbers(const struct table *t, const bool *some, bool client, const char *head,
                          struct buf *out)
{
    buf_add_str(out, head);
    for (size_t i = 0; i < t->n; i++)
        if (some[i])
            buf_printf(out, " %u", client ? t->rows[i].client : t->rows[i].backend);
    buf_add_str(out, "\r\n");
}

static void write_set(const struct table *t, const bool *some, bool client, const char *head, struct buf *out)
{
    struct imap_seq set = {0};
    for (size_t i = 0; i < t->n; i++)
        if (some[i])
            imap_seq_add(&set, client ? t->rows[i].client : t->rows[i].backend,
                         client ? t->rows[i].client : t->rows[i].backend);
    buf_printf(out, "%s%s", head, set.n ? " ALL " : "");
    imap_seq_write(out, &set);
    buf_add_str(out, "\r\n");
    imap_seq_free(&set);
}

static void write_fetches(const struct table *t, const bool *some, bool client, struct buf *out)
{
    for (size_t i = 0; i < t->n; i++) {
        uint32_t uid = client ? t->rows[i].client : t->rows[i].backend;
        if (some[i] && i % 2)
            buf_printf(out, "* %zu FETCH (UID %u FLAGS (\\Seen UID))\r\n", i + 1, uid);
        else if (some[i])
            buf_printf(out, "* %zu FETCH (BODY[] {3}\r\nUID UID %u X \"UID 5\")\r\n", i + 1, uid);
    }
}

static void test_responses_mean_the_same_messages(void **state)
{
    (void)state;
    seed = 1234567891u;
    for (int round = 0; round < ROUNDS; round++) {
        struct table t = random_table();
        struct view *v = view_with(&t);
        struct view_unit u;
        start_open(&u, v);
        assert_true(view_unit_commands(&u, span_str("a UID SEARCH ALL\r\n")));
        for (int i = 0; i < 10; i++) {
            bool some[COUNTOF(t.rows)] = {false};
            struct buf in = {0}, want = {0};
            live(&t);
            for (size_t k = 0; k < t.n; k++)
                some[k] = !t.rows[k].gone && draw(3) > 0;
            for (int client = 0; client < 2; client++) {
                struct buf *out = client ? &want : &in;
                write_numbers(&t, some, client, "* SEARCH", out);
                write_numbers(&t, some, client, "* SORT", out);
                write_set(&t, some, client, "* ESEARCH (TAG \"a\") UID", out);
                write_fetches(&t, some, client, out);
            }
            view_unit_responses(&u, buf_span(&in));
            assert_null(u.wrong);
            unit_same(buf_span(&u.to_client), buf_str(&want));
            buf_clear(&u.to_client);
            buf_free(&in);
            buf_free(&want);
        }
        view_unit_end(&u);
        view_unref(&v);
    }
}

/* ---- what it costs ---- */

enum { MANY = 100000 };

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* 100,000 messages with a gap after each: the worst there is. */
static void test_worst_map(void **state)
{
    struct view_uid m = {0}, read = {0};
    struct buf text = {0};
    uint32_t uid, sum = 0;
    (void)state;
    for (uint32_t i = 1; i <= MANY; i++)
        assert_true(view_uid_add(&m, 2 * i, i));
    assert_true(view_uid_set_tail(&m, 2 * MANY + 1, MANY + 1));
    view_uid_encode(&text, &m);
    assert_true(text.len < 1000000);
    assert_true(view_uid_decode(buf_span(&text), MANY, &read));
    seed = 88172645u;
    double begin = now();
    for (int i = 0; i < 1000000; i++)
        if (view_uid_to_client(&read, 1 + draw(MANY), &uid))
            sum += uid;
    double took = now() - begin;
    assert_true(sum > 0);
    print_message("map of %d runs: %zu bytes encoded, %zu in memory, %.3f us a look-up\n", MANY, text.len,
                  read.cap * sizeof *read.runs, took);
    buf_free(&text);
    view_uid_free(&m);
    view_uid_free(&read);
}

/* How often memory is taken while something passes; counted by the allocator of this program. */
static size_t taken;
extern void *__libc_malloc(size_t n);
extern void *__libc_realloc(void *p, size_t n);
#ifndef __SANITIZE_ADDRESS__
void *malloc(size_t n)
{
    taken++;
    return __libc_malloc(n);
}
void *realloc(void *p, size_t n)
{
    taken++;
    return __libc_realloc(p, n);
}
#endif

static void test_nothing_is_allocated_for_what_passes(void **state)
{
    static const char *const lines[] = {"* 4 FETCH (FLAGS (\\Seen))",
                                        "* 4 FETCH (UID 1 FLAGS (\\Seen))",
                                        "* 4 FETCH (UID 1 ENVELOPE (\"a\" NIL))",
                                        "* 4 EXISTS",
                                        "* OK still here",
                                        "* SEARCH 1 1 1"};
    struct table t = {.n = 1, .uidnext_client = 20, .uidnext_backend = 2};
    t.rows[0].client = 5;
    t.rows[0].backend = 1;
    struct view *v = view_with(&t);
    struct view_unit u;
    struct buf out = {0};
    const char *wrong, *why;
    (void)state;
    start_open(&u, v);
    assert_true(view_unit_commands(&u, span_str("a UID SEARCH ALL\r\n")));
    buf_add(&out, "0123456789", 10);
    for (int i = 0; i < 8; i++)
        buf_add_str(&out, "a line as long as any of those above, so that there is room");
    double begin = now();
    size_t was = taken;
    for (int i = 0; i < 1000000; i++) {
        struct span line = span_str(lines[i % COUNTOF(lines)]);
        struct imap_resp resp;
        buf_clear(&out);
        if (!imap_resp_parse(line, &resp, &why) ||
            view_rewrite_response(u.w, &resp, line, false, &out, &wrong) == VIEW_WRONG)
            fail();
    }
    double took = now() - begin;
    assert_int_equal(taken - was, 0);
    print_message("%.3f us a line\n", took);
    buf_free(&out);
    view_unit_end(&u);
    view_unref(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_mean_the_same_messages),
        cmocka_unit_test(test_responses_mean_the_same_messages),
        cmocka_unit_test(test_worst_map),
        cmocka_unit_test(test_nothing_is_allocated_for_what_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
