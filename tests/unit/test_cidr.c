#include "lib/cidr.h"

#include "unit.h"

static void has(const char *network, const char *ip, bool wanted)
{
    struct cidr c;
    const char *why;
    if (!cidr_parse(network, &c, &why))
        fail_msg("%s %s", network, why);
    if (cidr_has(&c, ip) != wanted)
        fail_msg("%s in %s", ip, network);
}

static void test_networks(void **state)
{
    (void)state;
    has("192.0.2.0/24", "192.0.2.0", true);
    has("192.0.2.0/24", "192.0.2.255", true);
    has("192.0.2.0/24", "192.0.3.0", false);
    has("192.0.2.0/24", "::ffff:192.0.2.7", true);
    has("192.0.2.128/25", "192.0.2.127", false);
    has("192.0.2.128/25", "192.0.2.128", true);
    has("192.0.2.7", "192.0.2.7", true);
    has("192.0.2.7", "192.0.2.6", false);
    has("192.0.2.7/32", "192.0.2.7", true);
    has("0.0.0.0/0", "203.0.113.9", true);
    has("0.0.0.0/0", "2001:db8::1", false);
    has("::/0", "2001:db8::1", true);
    has("::/0", "203.0.113.9", true); /* as ::ffff:203.0.113.9 */
    has("2001:db8::/32", "2001:db8:ffff::1", true);
    has("2001:db8::/32", "2001:db9::", false);
    has("2001:db8::8000/113", "2001:db8::7fff", false);
    has("2001:db8::8000/113", "2001:db8::ffff", true);
    has("2001:db8::1", "2001:DB8:0::1", true);
    has("::ffff:192.0.2.0/120", "192.0.2.9", true);
    has("192.0.2.0/24", "", false);
    has("192.0.2.0/24", "unix", false);
    has("192.0.2.0/24", "192.0.2.1 ", false);
}

static void test_what_is_no_network(void **state)
{
    static const char *const none[] = {"",
                                       "x",
                                       "192.0.2",
                                       "192.0.2.0/",
                                       "/24",
                                       "192.0.2.0/33",
                                       "192.0.2.0/-1",
                                       "192.0.2.0/24 ",
                                       "::/129",
                                       "[::1]",
                                       "192.0.2.0/24/8",
                                       "mail.example.org",
                                       "::%lo",
                                       "192.0.2.0/0x8"};
    static const char *const hosts[] = {"192.0.2.1/24", "192.0.2.128/24", "2001:db8::1/64", "0.0.0.1/0"};
    struct cidr c;
    const char *why;
    (void)state;
    for (size_t i = 0; i < COUNTOF(none); i++) {
        assert_false(cidr_parse(none[i], &c, &why));
        assert_non_null(strstr(why, "expected such as"));
    }
    for (size_t i = 0; i < COUNTOF(hosts); i++) {
        assert_false(cidr_parse(hosts[i], &c, &why));
        assert_non_null(strstr(why, "behind its prefix"));
    }
}

static void test_any_of_some(void **state)
{
    char *some[] = {(char *)"nonsense", (char *)"192.0.2.0/24", (char *)"2001:db8::/64"};
    (void)state;
    assert_true(cidr_any(some, COUNTOF(some), "192.0.2.1"));
    assert_true(cidr_any(some, COUNTOF(some), "2001:db8::1"));
    assert_false(cidr_any(some, COUNTOF(some), "192.0.3.1"));
    assert_false(cidr_any(some, 0, "192.0.2.1"));
    assert_false(cidr_any(NULL, 0, ""));
}

static void reads(const char *text, const char *wanted)
{
    char ip[CIDR_IP_SIZE] = "-";
    assert_true(cidr_read_ip(span_str(text), ip) == (wanted != NULL));
    assert_string_equal(ip, wanted ? wanted : "-");
}

static void test_addresses(void **state)
{
    char ip[CIDR_IP_SIZE];
    (void)state;
    reads("192.0.2.1", "192.0.2.1");
    reads("::FFFF:192.0.2.1", "192.0.2.1");
    reads("2001:DB8:0:0::1", "2001:db8::1");
    reads("", NULL);
    reads("192.0.2.1:143", NULL);
    reads("192.0.2.1/32", NULL);
    reads("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:1", NULL);
    assert_false(cidr_read_ip(BYTES("192.0.2.1\0x"), ip));
    assert_false(cidr_read_ip(span_of(NULL, 0), ip));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_what_is_no_network),
        cmocka_unit_test(test_any_of_some),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
