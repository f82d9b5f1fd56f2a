#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/address.h"
#include "lib/xalloc.h"

static void good(const char *text, enum address_scheme scheme, const char *host, uint16_t port,
                 const char *path, const char *shown)
{
    struct address a;
    char *error = NULL;

    if (!address_parse(text, &a, &error))
        fail_msg("%s: %s", text, error);
    assert_int_equal(a.scheme, scheme);
    assert_int_equal(a.port, port);
    assert_true(!host == !a.host && (!host || !strcmp(host, a.host)));
    assert_true(!path == !a.path && (!path || !strcmp(path, a.path)));
    char *back = address_text(&a);
    assert_string_equal(back, shown);
    free(back);
    address_free(&a);
}

static void refused(const char *text, const char *why)
{
    struct address a;
    char *error = NULL;

    if (address_parse(text, &a, &error))
        fail_msg("%s was taken", text);
    if (!strstr(error, why) || !strstr(error, "expected "))
        fail_msg("%s: unexpected text: %s", text, error);
    free(error);
}

static void test_imap(void **state)
{
    (void)state;
    good("imaps://old.example.org", ADDRESS_IMAPS, "old.example.org", 993, NULL,
         "imaps://old.example.org:993");
    good("imaps://old:1993", ADDRESS_IMAPS, "old", 1993, NULL, "imaps://old:1993");
    good("imap+starttls://h", ADDRESS_IMAP_STARTTLS, "h", 143, NULL, "imap+starttls://h:143");
    good("imap://127.0.0.1:0", ADDRESS_IMAP, "127.0.0.1", 0, NULL, "imap://127.0.0.1:0");
    good("imaps://[::]:993", ADDRESS_IMAPS, "::", 993, NULL, "imaps://[::]:993");
    good("imaps://[2001:db8::1]", ADDRESS_IMAPS, "2001:db8::1", 993, NULL, "imaps://[2001:db8::1]:993");
    good("imap+unix:///run/imap.sock", ADDRESS_IMAP_UNIX, NULL, 0, "/run/imap.sock",
         "imap+unix:///run/imap.sock");
    good("imap+unix:///run/a?db=3", ADDRESS_IMAP_UNIX, NULL, 0, "/run/a?db=3", "imap+unix:///run/a?db=3");
}

static void test_http(void **state)
{
    (void)state;
    good("http://127.0.0.1:8025", ADDRESS_HTTP, "127.0.0.1", 8025, NULL, "http://127.0.0.1:8025");
    good("http://[::1]:0", ADDRESS_HTTP, "::1", 0, NULL, "http://[::1]:0");
    good("https://status.example.org", ADDRESS_HTTPS, "status.example.org", 443, NULL,
         "https://status.example.org:443");
    good("inet://127.0.0.1", ADDRESS_INET, "127.0.0.1", 8026, NULL, "inet://127.0.0.1:8026");
    good("inet://[::1]:0", ADDRESS_INET, "::1", 0, NULL, "inet://[::1]:0");
    good("http+unix:///run/status", ADDRESS_HTTP_UNIX, NULL, 0, "/run/status", "http+unix:///run/status");
    refused("http://h/metrics", "something behind host and port");
    refused("http://user:secret@h", "names a user");
    refused("http://h?proxy_protocol", "names no valid host");
}

static void header_at(const char *text, const char *shown)
{
    struct address a;
    char *error = NULL;

    if (!address_parse(text, &a, &error))
        fail_msg("%s: %s", text, error);
    assert_true(a.proxy_protocol);
    char *back = address_text(&a);
    assert_string_equal(back, shown);
    free(back);
    address_free(&a);
}

static void test_proxy_protocol(void **state)
{
    (void)state;
    header_at("imaps://[::]:1993?proxy_protocol", "imaps://[::]:1993");
    header_at("imap://h?proxy_protocol", "imap://h:143");
    header_at("imap+starttls://192.0.2.1:0?proxy_protocol", "imap+starttls://192.0.2.1:0");
    header_at("imap+unix:///run/x?proxy_protocol", "imap+unix:///run/x");
    refused("imap+unix://?proxy_protocol", "has no absolute path");
    refused("imaps://h?proxy", "names no valid host");
    refused("imaps://h:1?proxy_protocol=1", "has no port");
    refused("redis://h?proxy_protocol", "names no valid host");
}

static void test_refused(void **state)
{
    (void)state;
    refused("", "is not an address");
    refused("foo://x", "is not an address");
    refused("old.example.org", "is not an address");
    refused("IMAPS://x", "is not an address");
    refused("imaps://", "no valid host");
    refused("imaps://:993", "no valid host");
    refused("imaps://h:", "no port");
    refused("imaps://h:65536", "no port");
    refused("imaps://h:+1", "no port");
    refused("imaps://h:1 ", "no port");
    refused("imaps://h/", "behind host and port");
    refused("imaps://h:1/x", "behind host and port");
    refused("imaps://a b", "no valid host");
    refused("imaps://-oProxyCommand", "no valid host");
    refused("imaps://::1", "no valid host");
    refused("imaps://2001:db8::1", "no port");
    refused("imaps://[::1", "without \"]\"");
    refused("imaps://[::1]x", "behind host and port");
    refused("imaps://[host]", "no IPv6 address");
    refused("imaps://[]", "no IPv6 address");
    refused("imaps://user:pw@h", "names a user");
    refused("imap+unix://run/x", "no absolute path");
    refused("imap+unix:///", "no absolute path");
    refused("imap+unix://", "no absolute path");
}

static void test_long(void **state)
{
    char text[400] = "imap+unix:///";

    (void)state;
    memset(text + 13, 'a', 106);
    good(text, ADDRESS_IMAP_UNIX, NULL, 0, text + 12, text);
    memset(text + 13, 'a', 107);
    refused(text, "too long");
    char host[8 + 254 + 1] = "imaps://";
    memset(host + 8, 'a', 254);
    refused(host, "no valid host");
    host[8 + 253] = '\0';
    struct address a;
    char *error = NULL;
    assert_true(address_parse(host, &a, &error));
    address_free(&a);
}

static void redis(const char *text, const char *host, uint16_t port, const char *user, const char *password,
                  uint32_t db)
{
    struct address a;
    char *error = NULL;

    if (!address_parse(text, &a, &error))
        fail_msg("%s: %s", text, error);
    assert_string_equal(a.host ? a.host : a.path, host);
    assert_int_equal(a.port, port);
    assert_true(!user == !a.user && (!user || !strcmp(user, a.user)));
    assert_true(!password == !a.password && (!password || !strcmp(password, a.password)));
    assert_int_equal(a.db, db);
    char *shown = address_text(&a);
    assert_true(!password || !strstr(shown, password));
    free(shown);
    address_free(&a);
    assert_null(a.password);
}

static void test_redis(void **state)
{
    (void)state;
    redis("redis://127.0.0.1:6379/0", "127.0.0.1", 6379, NULL, NULL, 0);
    redis("redis://h", "h", 6379, NULL, NULL, 0);
    redis("rediss://h/5", "h", 6379, NULL, NULL, 5);
    redis("redis://:secret@[::1]:7/9", "::1", 7, NULL, "secret", 9);
    redis("redis://ann:s%40cr%2Fet%25@h", "h", 6379, "ann", "s@cr/et%", 0);
    redis("redis://:a@b:c@h", "h", 6379, NULL, "a@b:c", 0);
    redis("unix:///run/redis.sock", "/run/redis.sock", 0, NULL, NULL, 0);
    redis("unix:///run/redis.sock?db=3", "/run/redis.sock", 0, NULL, NULL, 3);
    redis("rediss://ann@h", "h", 6379, "ann", NULL, 0);
    redis("unix://ann@/run/r.sock", "/run/r.sock", 0, "ann", NULL, 0);
    redis("unix://:secret@/run/r@b.sock?db=3", "/run/r@b.sock", 0, NULL, "secret", 3);
}

static void test_redis_refused(void **state)
{
    (void)state;
    refused("redis://h/", "number of a database");
    refused("redis://h/x", "number of a database");
    refused("redis://h/1/2", "number of a database");
    refused("redis://h/65536", "number of a database");
    refused("unix:///r?db=", "other than \"?db=N\"");
    refused("unix:///r?x=1", "other than \"?db=N\"");
    refused("redis://@h", "no user and no \":password\"");
    refused("redis://:@h", "empty password");
    refused("redis://ann:@h", "empty password");
    refused("redis://:%@h", "stray \"%\"");
    refused("redis://:%4@h", "stray \"%\"");
    refused("redis://:%00@h", "stray \"%\"");
    refused("redis://:%zz@h", "stray \"%\"");
}

static void sentinels(const char *text, size_t n, const char *last, uint16_t port, const char *master,
                      const char *password, const char *sentinel_password, const char *shown)
{
    struct address a;
    char *error = NULL;

    if (!address_parse(text, &a, &error))
        fail_msg("%s: %s", text, error);
    assert_int_equal(a.scheme, strncmp(text, "sentinels", 9) ? ADDRESS_SENTINEL : ADDRESS_SENTINELS);
    assert_true(address_has_sentinels(&a));
    assert_int_equal(address_has_tls(&a), a.scheme == ADDRESS_SENTINELS);
    assert_null(a.host);
    assert_int_equal(a.n_hosts, n);
    assert_string_equal(a.hosts[n - 1].host, last);
    assert_int_equal(a.hosts[n - 1].port, port);
    assert_string_equal(a.master, master);
    assert_true(!password == !a.password && (!password || !strcmp(password, a.password)));
    assert_true(!sentinel_password == !a.sentinel_password &&
                (!sentinel_password || !strcmp(sentinel_password, a.sentinel_password)));
    char *back = address_text(&a);
    assert_string_equal(back, shown);
    free(back);
    address_free(&a);
}

static void test_sentinel(void **state)
{
    (void)state;
    sentinels("sentinel://h/mymaster", 1, "h", 26379, "mymaster", NULL, NULL, "sentinel://h:26379/mymaster");
    sentinels("sentinel://h1:1,[::1],h3:3/m/2", 3, "h3", 3, "m", NULL, NULL,
              "sentinel://h1:1,[::1]:26379,h3:3/m/2");
    sentinels("sentinel://:a?b@h1,h2/m?sentinel_auth=:c@d/e", 2, "h2", 26379, "m", "a?b", "c@d/e",
              "sentinel://h1:26379,h2:26379/m");
    sentinels("sentinel://ann:pw@h/m?sentinel_auth=bob:%25", 1, "h", 26379, "m", "pw", "%",
              "sentinel://h:26379/m");
    sentinels("sentinels://ann@h,i/m?sentinel_auth=bob", 2, "i", 26379, "m", NULL, NULL,
              "sentinels://h:26379,i:26379/m");
    refused("sentinels://h", "expected sentinels://");
    refused("sentinel://", "no valid host");
    refused("sentinel:///m", "no valid host");
    refused("sentinel://h,/m", "no valid host");
    refused("sentinel://h:1", "no name of a master");
    refused("sentinel://h/", "no name of a master");
    refused("sentinel://h/a b", "no name of a master");
    refused("sentinel://h/m/", "number of a database");
    refused("sentinel://h/m?db=1", "other than \"?sentinel_auth=\"");
    refused("sentinel://h/m?sentinel_auth=", "no user and no \":password\"");
    refused("sentinel://h/m?sentinel_auth=:", "empty password");
}

static void clustered(const char *text, size_t n, const char *last, uint16_t port, uint32_t partitions,
                      const char *password, const char *shown)
{
    struct address a;
    char *error = NULL;

    if (!address_parse(text, &a, &error))
        fail_msg("%s: %s", text, error);
    assert_true(address_has_cluster(&a) && !address_has_sentinels(&a));
    assert_int_equal(address_has_tls(&a), a.scheme == ADDRESS_CLUSTERS);
    assert_null(a.host);
    assert_int_equal(a.n_hosts, n);
    assert_string_equal(a.hosts[n - 1].host, last);
    assert_int_equal(a.hosts[n - 1].port, port);
    assert_int_equal(a.partitions, partitions);
    assert_true(!password == !a.password && (!password || !strcmp(password, a.password)));
    char *back = address_text(&a);
    assert_string_equal(back, shown);
    free(back);
    a.partition = 7;
    back = address_text(&a);
    assert_int_equal(strlen(back), strlen(shown) + 5);
    assert_string_equal(back + strlen(shown), " {07}");
    free(back);
    address_free(&a);
}

static void test_cluster(void **state)
{
    (void)state;
    clustered("cluster://h?partitions=32", 1, "h", 6379, 32, NULL, "cluster://h:6379?partitions=32");
    clustered("cluster://h1:1,[::1],h3:3?partitions=1", 3, "h3", 3, 1, NULL,
              "cluster://h1:1,[::1]:6379,h3:3?partitions=1");
    clustered("clusters://ann:a?b@h1,h2?partitions=64", 2, "h2", 6379, 64, "a?b",
              "clusters://h1:6379,h2:6379?partitions=64");
    refused("cluster://h", "does not end with \"?partitions=\"; expected cluster://");
    refused("cluster://h?partition=3", "does not end with \"?partitions=\"");
    refused("clusters://h?partitions=", "no number of partitions from 1 to 64");
    refused("cluster://h?partitions=0", "no number of partitions from 1 to 64");
    refused("cluster://h?partitions=65", "no number of partitions from 1 to 64");
    refused("cluster://h?partitions=3x", "no number of partitions from 1 to 64");
    refused("cluster://h/0?partitions=3", "something between the hosts and");
    refused("cluster://?partitions=3", "no valid host");
    refused("cluster://h,?partitions=3", "no valid host");
}

/* A message never shows the password, wherever the address is wrong. */
static void test_no_password_in_errors(void **state)
{
    static const char *const texts[] = {"redis://:hunter2@",
                                        "redis://:hunter2@h/x",
                                        "redis://u:hunter2%@h",
                                        "foo://:hunter2@h",
                                        "imaps://u:hunter2@h",
                                        "redis://:hun/hunter2@h",
                                        "unix://:hunter2@x",
                                        "sentinel://:hunter2@h/",
                                        "sentinel://h/?sentinel_auth=:hunter2",
                                        "sentinel://h/?sentinel_auth=:a@hunter2",
                                        "sentinel://:hunter2@h/?sentinel_auth=:a@hunter2"};

    (void)state;
    for (size_t i = 0; i < COUNTOF(texts); i++) {
        struct address a;
        char *error = NULL;
        assert_false(address_parse(texts[i], &a, &error));
        if (strstr(error, "hunter2"))
            fail_msg("shows the password: %s", error);
        free(error);
    }
}

/* Any byte at any place of an address (NUL: every beginning of it): taken as a whole or refused, no more. */
static void test_damaged(void **state)
{
    static const char *const texts[] = {"imaps://[2001:db8::1]:993", "redis://ann:s%40@h:6379/15",
                                        "unix://:pw@/run/r.sock?db=3",
                                        "sentinel://:pw@h:1,[::1]:2/m/3?sentinel_auth=u:q"};

    (void)state;
    for (size_t i = 0; i < COUNTOF(texts); i++)
        for (size_t at = 0; at < strlen(texts[i]); at++)
            for (int c = 0; c < 256; c++) {
                char *text = xstrdup(texts[i]), *error = NULL;
                struct address a;
                text[at] = (char)c;
                if (address_parse(text, &a, &error)) {
                    assert_int_equal(!!a.host + !!a.path + !!a.hosts, 1);
                    address_free(&a);
                }
                free(error);
                free(text);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_imap),           cmocka_unit_test(test_http),
        cmocka_unit_test(test_proxy_protocol), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long),           cmocka_unit_test(test_redis),
        cmocka_unit_test(test_redis_refused),  cmocka_unit_test(test_no_password_in_errors),
        cmocka_unit_test(test_sentinel),       cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
