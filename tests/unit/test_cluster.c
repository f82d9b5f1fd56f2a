/* What nodes of a Redis Cluster say, whether it is true or not. */
#include "unit.h"

#include "lib/cluster.h"

static uint32_t slot_of(const char *key)
{
    return cluster_slot(span_str(key));
}

/* Those that CLUSTER KEYSLOT says. */
static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(slot_of(""), 0);
    assert_int_equal(slot_of("123456789"), 12739);
    assert_int_equal(slot_of("imapferry{07}"), slot_of("07"));
    assert_int_equal(slot_of("imapferry{07}:route:ann{x}@example.org"), slot_of("07"));
    assert_int_equal(slot_of("foo{}{bar}"), 8363);
    assert_int_equal(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    assert_int_equal(slot_of("foo{bar"), cluster_slot(span_of("foo{bar", 7)));
}

static void hears(const char *error, enum cluster_word word, uint32_t slot, const char *host, uint16_t port)
{
    struct cluster_place p = {0};

    if (cluster_word(span_str(error), &p) != word)
        fail_msg("%s", error);
    assert_int_equal(p.slot, slot);
    assert_int_equal(p.port, port);
    assert_true(host ? span_is(p.host, host) : p.host.len == 0);
}

static void test_words(void **state)
{
    static const char *const others[] = {"MOVED",
                                         "MOVED ",
                                         "MOVED 1",
                                         "MOVED 1 h",
                                         "MOVED 1 h:",
                                         "MOVED 1 h:0",
                                         "MOVED 1 h:65536",
                                         "MOVED 16384 h:1",
                                         "MOVED -1 h:1",
                                         "MOVED 1 ?:1",
                                         "MOVED 1 a b:1",
                                         "MOVED 1 a\x01:1",
                                         "MOVED 1 a,b:1",
                                         "MOVEDX 1 h:1",
                                         "ASK 1 /h:1",
                                         "ERR MOVED 1 h:1",
                                         "CROSSSLOT Keys in request don't hash to the same slot",
                                         ""};
    char longest[300] = "MOVED 1 ";

    (void)state;
    hears("MOVED 3999 127.0.0.1:6381", CLUSTER_MOVED, 3999, "127.0.0.1", 6381);
    hears("MOVED 0 2001:db8::1:6381", CLUSTER_MOVED, 0, "2001:db8::1", 6381);
    hears("MOVED 16383 :6381", CLUSTER_MOVED, 16383, NULL, 6381);
    hears("ASK 3999 redis-3.example.org:6379", CLUSTER_ASK, 3999, "redis-3.example.org", 6379);
    hears("TRYAGAIN Multiple keys request during rehashing of slot", CLUSTER_TRYAGAIN, 0, NULL, 0);
    hears("CLUSTERDOWN The cluster is down", CLUSTER_DOWN, 0, NULL, 0);
    for (size_t i = 0; i < COUNTOF(others); i++)
        hears(others[i], CLUSTER_OTHER, 0, NULL, 0);
    memset(longest + 8, 'h', 254);
    memcpy(longest + 8 + 254, ":1", 3);
    hears(longest, CLUSTER_OTHER, 0, NULL, 0);
}

static const char nodes[] =
    "aa 127.0.0.1:7000@17000 myself,master - 0 1 1 connected 0-5460 [3999->-bb] [7-<-cc]\n"
    "bb 127.0.0.1:7001@17001,redis-b.example.org master - 0 1 2 connected 5461-10922\n"
    "cc 2001:db8::1:7002@17002,,shard-id=1,tls-port=0 slave bb 0 1 2 connected\n"
    "dd 127.0.0.1:7003@17003,shard-id=1 master,fail? - 0 1 2 connected\n"
    "ee :0@0 slave,noaddr bb 0 1 2 disconnected\n"
    "ff :7005@17005 master,fail - 0 1 2 disconnected\n"
    "gg 127.0.0.1:7006@17006 master,fail - 0 1 2 disconnected 7 9-10\n"
    "hh 127.0.0.1:7007@17007 master - 0 1 2 connected [7-<-aa]\n";

static void test_nodes(void **state)
{
    static const struct {
        const char *id, *host, *of;
        uint16_t port;
        bool myself, master, failed, has_slots;
    } rows[] = {
        {"aa", "127.0.0.1", "-", 7000, true, true, false, true},
        {"bb", "redis-b.example.org", "-", 7001, false, true, false, true},
        {"cc", "2001:db8::1", "bb", 7002, false, false, false, false},
        {"dd", "127.0.0.1", "-", 7003, false, true, false, false},
        {"ee", "", "bb", 0, false, false, true, false},
        {"ff", "", "-", 7005, false, true, true, false},
        {"gg", "127.0.0.1", "-", 7006, false, true, true, true},
        {"hh", "127.0.0.1", "-", 7007, false, true, false, false},
    };
    struct span text = span_str(nodes);
    struct cluster_node n;

    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        assert_true(cluster_next_node(&text, &n));
        assert_true(span_is(n.id, rows[i].id) &&
                    span_is(cluster_node_host(&n, (struct span){0}, span_str("asked")), rows[i].host) &&
                    span_is(n.of, rows[i].of));
        assert_int_equal(n.port, rows[i].port);
        assert_true(n.myself == rows[i].myself && n.master == rows[i].master && n.failed == rows[i].failed);
        assert_true(n.has_slots == rows[i].has_slots);
    }
    assert_int_equal(text.len, 0);
    assert_false(cluster_next_node(&text, &n));
}

static void test_slots_of_a_node(void **state)
{
    static const struct {
        unsigned nth;
        uint32_t slot;
        bool has;
    } rows[] = {{0, 0, true},     {0, 5460, true}, {0, 5461, false},  {0, 7, true},
                {1, 3999, false}, {1, 5461, true}, {1, 16383, false}, {3, 0, false},
                {6, 7, true},     {6, 8, false},   {6, 10, true},     {7, 7, false}};

    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct span text = span_str(nodes);
        struct cluster_node n;
        for (unsigned nth = 0; nth <= rows[i].nth; nth++)
            assert_true(cluster_next_node(&text, &n));
        assert_int_equal(cluster_node_has(&n, rows[i].slot), rows[i].has);
    }
}

/* By one that lives: ee, which has failed, is no sign that aa was not replaced. */
static void test_followed(void **state)
{
    static const char text[] = "aa 127.0.0.1:1@2 master,fail - 0 1 1 disconnected\n"
                               "bb 127.0.0.1:2@3 master,fail - 0 1 1 disconnected\n"
                               "bbb 127.0.0.1:3@4 master - 0 1 1 connected 0-16383\n"
                               "dd 127.0.0.1:4@5 slave bb 0 1 1 connected\n"
                               "ee 127.0.0.1:5@6 slave,fail aa 0 1 1 connected\n";
    static const bool followed[] = {false, true, false, false, false};
    struct span rest = span_str(text);
    struct cluster_node n;

    (void)state;
    for (size_t i = 0; i < COUNTOF(followed); i++) {
        assert_true(cluster_next_node(&rest, &n));
        assert_int_equal(cluster_node_is_followed(&n, span_str(text)), followed[i]);
    }
}

static void test_what_a_node_is_called(void **state)
{
    static const struct {
        const char *line, *ip, *hostname, *none, *unknown;
    } rows[] = {
        {"bb 127.0.0.1:7001@17001,b.example master - 0 1 2 connected", "127.0.0.1", "b.example", "b.example",
         "asked"},
        {"bb ::1:7001@17001 master - 0 1 2 connected", "::1", "::1", "::1", "asked"},
        {"bb :7001@17001,b.example master,fail - 0 1 2 connected", "", "b.example", "b.example", "asked"}};

    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct span text = span_str(rows[i].line), asked = span_str("asked");
        struct cluster_node n;
        assert_true(cluster_next_node(&text, &n));
        assert_true(span_is(cluster_node_host(&n, span_str("ip"), asked), rows[i].ip));
        assert_true(span_is(cluster_node_host(&n, span_str("hostname"), asked), rows[i].hostname));
        assert_true(span_is(cluster_node_host(&n, span_str(""), asked), rows[i].none));
        assert_true(span_is(cluster_node_host(&n, span_str("unknown-endpoint"), asked), rows[i].unknown));
    }
}

static void test_lines_that_are_none(void **state)
{
    static const char *const lines[] = {"",
                                        "\n",
                                        "aa",
                                        "aa 127.0.0.1:1@2",
                                        " 127.0.0.1:1@2 master -",
                                        "aa 127.0.0.1@2 master -",
                                        "aa a/b:1@2 master -",
                                        "aa 127.0.0.1:99999@2 master - 0",
                                        "aa 127.0.0.1:1@2,x/y master -"};
    struct cluster_node n;

    (void)state;
    for (size_t i = 0; i < COUNTOF(lines); i++) {
        struct span text = span_str(lines[i]);
        assert_false(cluster_next_node(&text, &n));
    }
    /* Cut off anywhere it is read without a look behind its end. */
    for (size_t len = 0; len < sizeof(nodes); len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, nodes, len);
        struct span text = span_of(copy, len);
        while (cluster_next_node(&text, &n))
            ;
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_slots_of_a_node),
        cmocka_unit_test(test_followed),
        cmocka_unit_test(test_what_a_node_is_called),
        cmocka_unit_test(test_lines_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
