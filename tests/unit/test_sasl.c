#include "lib/base64.h"
#include "lib/sasl.h"

#include "unit.h"

/* What the last message was parsed from: the credential points into it. */
static struct buf parsed;

static bool parses(const struct sasl_mechanism *m, struct span message, struct credential *p)
{
    buf_wipe(&parsed);
    buf_add_span(&parsed, message);
    return sasl_parse(m, &parsed, p);
}

static void parse_prefix(struct span prefix)
{
    struct credential p;
    if (parses(SASL_PLAIN, prefix, &p))
        assert_int_equal(p.authzid.len + p.authcid.len + p.secret.len + 2, prefix.len);
}

static void test_plain(void **state)
{
    (void)state;
    struct credential p;
    struct span whole = BYTES("adm\0ann\0pw \xff");
    assert_true(parses(SASL_PLAIN, whole, &p));
    unit_same(p.authzid, "adm");
    unit_same(p.authcid, "ann");
    unit_same(p.secret, "pw \xff");
    unit_prefixes(whole, parse_prefix);
    assert_true(parses(SASL_PLAIN, BYTES("\0ann\0pw"), &p));
    assert_int_equal(p.authzid.len, 0);
    unit_same(p.authcid, "ann");
    unit_same(p.secret, "pw");
    /* FRONT-CASES 8, 9 */
    assert_false(parses(SASL_PLAIN, span_of(NULL, 0), &p));
    assert_false(parses(SASL_PLAIN, BYTES("ann"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("ann\0pw"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0ann"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0ann\0"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0\0pw"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0\0"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0ann\0pa\0ss12"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0ann\0pw\0"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("a\0b\0c\0d"), &p));
}

/* What came in two pieces is the same password. */
static void test_login(void **state)
{
    (void)state;
    const struct sasl_mechanism *login = sasl_find(span_str("LOGIN"));
    struct credential p;
    assert_true(parses(login, BYTES("ann\0pw \xff"), &p));
    assert_ptr_equal(p.mechanism, SASL_PLAIN);
    unit_same(p.authcid, "ann");
    unit_same(p.secret, "pw \xff");
    assert_int_equal(p.authzid.len, 0);
    assert_false(parses(login, BYTES(""), &p));
    assert_false(parses(login, BYTES("ann"), &p));
    assert_false(parses(login, BYTES("ann\0"), &p));
    assert_false(parses(login, BYTES("\0pw"), &p));
    assert_false(parses(login, BYTES("ann\0pa\0ss12"), &p));
    assert_false(parses(login, BYTES("an\0n\0pw"), &p));
}

static const struct sasl_mechanism *mechanism(const char *name)
{
    return sasl_find(span_str(name));
}

static void token_is(const char *by, struct span message, const char *name, const char *token)
{
    struct credential p;
    struct buf again = {0};
    assert_true(parses(mechanism(by), message, &p));
    assert_ptr_equal(p.mechanism, mechanism(by));
    unit_same(p.authcid, name);
    unit_same(p.secret, token);
    assert_int_equal(p.authzid.len, 0);
    assert_true(sasl_write(&again, &p));
    assert_true(sasl_parse(mechanism(by), &again, &p));
    unit_same(p.authcid, name);
    unit_same(p.secret, token);
    buf_free(&again);
}

static void test_tokens(void **state)
{
    (void)state;
    token_is("XOAUTH2", BYTES("user=ann@example.org\1auth=Bearer t.o-k_e~n+/==\1\1"), "ann@example.org",
             "t.o-k_e~n+/==");
    token_is("XOAUTH2", BYTES("user=ann\1auth=bearer t\1\1"), "ann", "t");
    token_is("XOAUTH2", BYTES("auth=Bearer  t\1user=a=b,c"), "a=b,c", "t");
    token_is("XOAUTH2", BYTES("user=ann\1host=x\1port=143\1auth=Bearer t\1"), "ann", "t");
    token_is("OAUTHBEARER", BYTES("n,a=ann@example.org,\1host=x\1port=143\1auth=Bearer t\1\1"),
             "ann@example.org", "t");
    token_is("OAUTHBEARER", BYTES("y,a=ann,\1auth=BEARER t\1\1"), "ann", "t");
    token_is("OAUTHBEARER", BYTES("n,a=a=2Cb=3dc,\1auth=Bearer t\1\1"), "a,b=c", "t");
    token_is("OAUTHBEARER", BYTES("n,a=ann,\1user=bob\1auth=Bearer t\1\1"), "ann", "t");
}

static void test_tokens_that_are_none(void **state)
{
    (void)state;
    static const char *const xoauth2[] = {
        "",
        "\1",
        "\1\1",
        "user=ann",
        "auth=Bearer t\1\1",
        "user=\1auth=Bearer t\1\1",
        "user=ann\1auth=Bearer \1\1",
        "user=ann\1auth=Bearer\1\1",
        "user=ann\1auth=Basic t\1\1",
        "user=ann\1auth=t\1\1",
        "user=ann\1auth=Bearer a b\1\1",
        "user=ann\1auth=Bearer a\r\nx\1\1",
        "user=ann\1auth=Bearer \xc3\xa4\1\1",
        "user=ann\1\1auth=Bearer t\1\1",
        "user=ann\1user=bob\1auth=Bearer t\1\1",
        "user=ann\1auth=Bearer t\1auth=Bearer u\1\1",
        "user=ann\1auth=Bearer t\1\1\1",
        "user=ann\1auth=Bearer t\1=x\1\1",
        "user=ann\1auth=Bearer t\1x\1\1",
        "n,a=ann,\1auth=Bearer t\1\1",
    };
    static const char *const bearer[] = {
        "",
        "\1",
        "n,a=ann,",
        "n,,\1auth=Bearer t\1\1",
        "n,a=,\1auth=Bearer t\1\1",
        "a=ann,\1auth=Bearer t\1\1",
        "p=tls-unique,a=ann,\1auth=Bearer t\1\1",
        "n,a=ann\1auth=Bearer t\1\1",
        "n,a=ann,x\1auth=Bearer t\1\1",
        "n,a=an=2En,\1auth=Bearer t\1\1",
        "n,a=ann=,\1auth=Bearer t\1\1",
        "n,a=ann=2,\1auth=Bearer t\1\1",
        "n,b=ann,\1auth=Bearer t\1\1",
        "F,n,a=ann,\1auth=Bearer t\1\1",
        "user=ann\1auth=Bearer t\1\1",
        "n,a=ann,\1\1",
    };
    struct credential p;
    for (size_t i = 0; i < COUNTOF(xoauth2); i++)
        assert_false(parses(mechanism("XOAUTH2"), span_str(xoauth2[i]), &p));
    for (size_t i = 0; i < COUNTOF(bearer); i++)
        assert_false(parses(mechanism("OAUTHBEARER"), span_str(bearer[i]), &p));
    assert_false(parses(mechanism("XOAUTH2"), BYTES("user=a\0nn\1auth=Bearer t\1\1"), &p));
    assert_false(parses(mechanism("XOAUTH2"), BYTES("user=ann\1auth=Bearer t\0\1\1"), &p));
    assert_false(parses(mechanism("OAUTHBEARER"), BYTES("n,a=a\0nn,\1auth=Bearer t\1\1"), &p));
}

static void test_what_a_token_is_shown_by(void **state)
{
    (void)state;
    struct credential token = {.mechanism = mechanism("XOAUTH2")}, password = {.mechanism = SASL_PLAIN};
    struct imap_caps caps = {0};
    imap_caps_parse(&caps, span_str("IMAP4rev1 AUTH=PLAIN AUTH=LOGIN"));
    assert_null(sasl_choose(&token, &caps));
    assert_ptr_equal(sasl_choose(&password, &caps), SASL_PLAIN);
    imap_caps_parse(&caps, span_str("IMAP4rev1 AUTH=LOGIN AUTH=OAUTHBEARER"));
    assert_ptr_equal(sasl_choose(&token, &caps), mechanism("OAUTHBEARER"));
    assert_null(sasl_choose(&password, &caps));
    imap_caps_parse(&caps, span_str("IMAP4rev1 AUTH=XOAUTH2 AUTH=OAUTHBEARER"));
    assert_ptr_equal(sasl_choose(&token, &caps), mechanism("XOAUTH2"));
}

static void test_external(void **state)
{
    (void)state;
    struct credential p;
    struct imap_caps caps = {0};
    assert_true(parses(mechanism("EXTERNAL"), BYTES(""), &p));
    assert_int_equal(p.authzid.len, 0);
    assert_true(parses(mechanism("EXTERNAL"), BYTES("ann"), &p));
    unit_same(p.authzid, "ann");
    assert_int_equal(p.authcid.len + p.secret.len, 0);
    assert_false(parses(mechanism("EXTERNAL"), BYTES("a\0nn"), &p));
    imap_caps_parse(&caps, span_str("IMAP4rev1 AUTH=EXTERNAL AUTH=PLAIN"));
    assert_null(sasl_choose(&p, &caps)); /* there is nothing to show */
}

static void challenge_is(const char *base64, const char *text)
{
    struct buf out = {0};
    assert_int_equal(sasl_read_challenge(&out, span_str(base64)), *text != 0);
    unit_same(buf_span(&out), text);
    buf_free(&out);
}

static void test_challenge(void **state)
{
    (void)state;
    challenge_is("eyJzdGF0dXMiOiI0MDAifQ==", "{\"status\":\"400\"}");
    challenge_is("e30=", "{}");
    challenge_is("eyJhIjoKMX0=", "{\"a\":\n1}");
    challenge_is("", "");
    challenge_is("e30", "");
    challenge_is("{}", "");
    challenge_is("aGVsbG8=", "");         /* hello */
    challenge_is("eyJhIjoiG1sxbSJ9", ""); /* an escape sequence in it */
    challenge_is("eyIA\"In0=", "");
    challenge_is("eyIAIn0=", ""); /* a NUL in it */
    challenge_is("eyL/In0=", ""); /* not UTF-8 */
    struct buf longest = {0}, base64 = {0};
    buf_add_str(&longest, "{");
    while (longest.len < SASL_CHALLENGE_MAX)
        buf_add_str(&longest, " ");
    buf_add_str(&longest, "}");
    base64_encode(&base64, buf_span(&longest));
    challenge_is(buf_str(&base64), "");
    buf_free(&longest);
    buf_free(&base64);
}

static bool writes(struct buf *out, struct span authzid, struct span authcid, struct span secret)
{
    struct credential c = {SASL_PLAIN, authcid, authzid, secret};
    return sasl_write(out, &c);
}

static void test_plain_write(void **state)
{
    (void)state;
    struct buf out = {0};
    struct credential p;
    assert_true(writes(&out, span_str("ann"), span_str("adm"), span_str("pw")));
    assert_true(span_eq(buf_span(&out), BYTES("ann\0adm\0pw")));
    assert_true(parses(SASL_PLAIN, buf_span(&out), &p));
    assert_ptr_equal(p.mechanism, SASL_PLAIN);
    unit_same(p.authzid, "ann");
    unit_same(p.authcid, "adm");
    unit_same(p.secret, "pw");
    size_t before = out.len;
    assert_false(writes(&out, BYTES("\0"), span_str("a"), span_str("b")));
    assert_false(writes(&out, span_str("a"), BYTES("x\0"), span_str("b")));
    assert_false(writes(&out, span_str("a"), span_str("b"), BYTES("x\0y")));
    assert_int_equal(out.len, before);
    buf_wipe(&out);
}

static void test_table(void **state)
{
    (void)state;
    assert_ptr_equal(sasl_find(span_str("plain")), SASL_PLAIN);
    assert_string_equal(SASL_PLAIN->name, "PLAIN");
    assert_string_equal(sasl_find(span_str("login"))->name, "LOGIN");
    assert_null(sasl_find(span_str("PLAI")));
    assert_null(sasl_find(span_str("")));
}

/* The copy stands by itself, and nothing of it is left. */
static void test_copy(void **state)
{
    (void)state;
    char name[] = "ann", password[] = "secret";
    struct credential borrowed = credential_of_password(name, password), own;
    borrowed.authzid = BYTES("bob");
    credential_copy(&own, &borrowed);
    memset(name, 'x', 3);
    memset(password, 'x', 6);
    assert_ptr_equal(own.mechanism, SASL_PLAIN);
    unit_same(own.authcid, "ann");
    unit_same(own.authzid, "bob");
    unit_same(own.secret, "secret");
    credential_wipe(&own);
    assert_null(own.mechanism);
    assert_int_equal(own.secret.len, 0);
    credential_wipe(&own);
    struct credential empty = credential_of_password(NULL, NULL);
    credential_copy(&own, &empty);
    assert_int_equal(own.authcid.len + own.authzid.len + own.secret.len, 0);
    credential_wipe(&own);
}

/* FRONT-CASES 6, 11 */
static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "ann@example.org", "a b", "\"x\\ {5} %s *", "\xc3\xa4nn",
                                       "~", "aaaaaaaaaaaaaaaa"};
    static const char *const bad[] = {"",        "a\r\nX1 DELETE INBOX", "a\n", "\r", "a\x01", "\x7f", "a\tb",
                                      "\x1b[1m", "aaaaaaaaaaaaaaaaa"};
    static const char *const bad_names[] = {"\xe4nn", "\xc0\x80", "\xed\xa0\x80", "a\xc3"};
    for (size_t i = 0; i < COUNTOF(good); i++) {
        assert_true(login_name_ok(span_str(good[i]), 16));
        assert_true(login_password_ok(span_str(good[i]), 16));
    }
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        assert_false(login_name_ok(span_str(bad[i]), 16));
        assert_false(login_password_ok(span_str(bad[i]), 16));
    }
    for (size_t i = 0; i < COUNTOF(bad_names); i++) {
        assert_false(login_name_ok(span_str(bad_names[i]), 16));
        assert_true(login_password_ok(span_str(bad_names[i]), 16));
    }
    assert_false(login_name_ok(BYTES("a\0"), 16));
    assert_false(login_password_ok(BYTES("pa\0ss12"), 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_external),
        cmocka_unit_test(test_tokens_that_are_none),
        cmocka_unit_test(test_what_a_token_is_shown_by),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_plain_write),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
