#include "unit.h"

#include "lib/imap_url.h"

static void is(const char *text, const char *host, uint16_t port, const char *user)
{
    struct imap_url u;
    char *own = xspandup(span_str(text));
    if (!imap_url_parse(span_str(own), &u))
        fail_msg("%s is not taken", text);
    assert_string_equal(u.host, host);
    assert_int_equal(u.port, port);
    assert_string_equal(u.user, user);
    free(own);
}

static void is_none(struct span text)
{
    struct imap_url u;
    uint8_t *own = malloc(text.len ? text.len : 1);
    memcpy(own, text.p, text.len);
    if (imap_url_parse(span_of(own, text.len), &u))
        fail_msg("%.*s is taken", (int)text.len, (const char *)text.p);
    free(own);
}

static void test_servers(void **state)
{
    (void)state;
    is("imap://h", "h", 0, "");
    is("IMAP://mail.example.org/", "mail.example.org", 0, "");
    is("imaps://h:993/", "h", 993, "");
    is("imap://ann@h:143/", "h", 143, "ann");
    is("imap://ann;AUTH=*@h/", "h", 0, "ann");
    is("imap://;AUTH=GSSAPI@h/", "h", 0, "");
    is("imap://a%40b.org;auth=*@h/", "h", 0, "a@b.org");
    is("imap://[2001:db8::1]:1143/", "2001:db8::1", 1143, "");
    is("imap://[::1]", "::1", 0, "");
}

static void test_no_servers(void **state)
{
    (void)state;
    is_none(BYTES(""));
    is_none(BYTES("imap:/h"));
    is_none(BYTES("http://h/"));
    is_none(BYTES("imap://"));
    is_none(BYTES("imap:///"));
    is_none(BYTES("imap://h/INBOX"));
    is_none(BYTES("imap://h:"));
    is_none(BYTES("imap://h:0"));
    is_none(BYTES("imap://h:65536"));
    is_none(BYTES("imap://h:1x"));
    is_none(BYTES("imap://[::1"));
    is_none(BYTES("imap://[::1]x"));
    is_none(BYTES("imap://[]/"));
    is_none(BYTES("imap://ann;x@h/"));
    is_none(BYTES("imap://a%4@h/"));
    is_none(BYTES("imap://a%00@h/"));
    is_none(BYTES("imap://a\rb@h/"));
    is_none(BYTES("imap://h\0/"));
}

static void test_what_is_too_long(void **state)
{
    (void)state;
    char text[700];
    int n = snprintf(text, sizeof text, "imap://%0*d", IMAP_URL_HOST_SIZE - 1, 0);
    is(text, text + 7, 0, "");
    n = snprintf(text, sizeof text, "imap://%0*d", IMAP_URL_HOST_SIZE, 0);
    is_none(span_of(text, (size_t)n));
    n = snprintf(text, sizeof text, "imap://%0*d@h", IMAP_URL_USER_SIZE, 0);
    is_none(span_of(text, (size_t)n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_no_servers),
        cmocka_unit_test(test_what_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
