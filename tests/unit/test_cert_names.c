/* Which certificate a name is given, as a table: certificates, then names that clients ask for. */
#include "lib/cert_names.h"
#include "unit.h"

enum { RSA = 6, EC = 408 };

static struct cert_names *made(const char *const *certs)
{
    struct cert_names *n = cert_names_new();
    for (; *certs; certs++) {
        cert_names_add(n, **certs == 'r' ? RSA : EC);
        for (const char *at = *certs + 1; *at; at += strcspn(at, " ")) {
            at += strspn(at, " ");
            assert_true(cert_names_add_name(n, span_of(at, strcspn(at, " "))));
        }
    }
    cert_names_settle(n);
    return n;
}

/* The certificates of a name as digits, with "?" in front where the name is not known. */
static void expect(const struct cert_names *n, struct span asked, const char *wanted)
{
    char got[CERT_KINDS_MAX + 2];
    size_t len = 0;
    bool known;
    const struct cert_choice *c = cert_names_choice(n, cert_names_find(n, asked, &known));
    if (!known)
        got[len++] = '?';
    for (size_t i = 0; i < c->n; i++)
        got[len++] = (char)('0' + c->certs[i]);
    got[len] = '\0';
    if (strcmp(got, wanted) != 0)
        fail_msg("%.*s: %s, not %s", (int)asked.len, (const char *)asked.p, got, wanted);
}

static void asks(const struct cert_names *n, const char *asked, const char *wanted)
{
    expect(n, span_str(asked), wanted);
}

static void test_names(void **state)
{
    static const char *const certs[] = {"r imap.a.example mail.a.example", "r *.b.example",
                                        "r imap.b.example B.example",
                                        "r *.sub.b.example localhost xn--mnchen-3ya.example", NULL};
    (void)state;
    struct cert_names *n = made(certs);
    asks(n, "imap.a.example", "0");
    asks(n, "IMAP.A.Example", "0");
    asks(n, "imap.a.example.", "0");
    asks(n, "imap.b.example", "2"); /* as it stands goes before a wildcard */
    asks(n, "b.example", "2");
    asks(n, "smtp.b.example", "1");
    asks(n, "SMTP.b.example.", "1");
    asks(n, "x.sub.b.example", "3");
    asks(n, "localhost", "3");
    asks(n, "xn--mnchen-3ya.example", "3");
    asks(n, "other.example", "?0");
    asks(n, "a.b.c.b.example", "?0"); /* a star is one label */
    asks(n, "sub.b.example", "1");
    asks(n, ".b.example", "?0");
    asks(n, "*.b.example", "?0");
    asks(n, "", "?0");
    asks(n, ".", "?0");
    asks(n, "..", "?0");
    asks(n, "imap.a.example..", "?0");
    cert_names_free(&n);
    assert_null(n);
}

/* ECDSA beside RSA: both are offered where both have the name, also where one has it by a star. */
static void test_kinds(void **state)
{
    static const char *const certs[] = {
        "r a.example b.example", "e a.example",     "e b.example a.example x.example",
        "r *.example",           "e *.sub.example", NULL};
    (void)state;
    struct cert_names *n = made(certs);
    asks(n, "a.example", "01");
    asks(n, "b.example", "02");
    asks(n, "x.example", "23"); /* what is missing comes from the star */
    asks(n, "y.example", "3");
    asks(n, "y.sub.example", "4");
    asks(n, "nobody.org", "?02"); /* certificate 2 has all names of 0 */
    cert_names_free(&n);
}

static void test_the_first_of_a_kind_counts(void **state)
{
    static const char *const certs[] = {"r a.example", "r a.example", "r b.example",
                                        "r *.b.example b.example", NULL};
    (void)state;
    struct cert_names *n = made(certs);
    asks(n, "a.example", "0");
    asks(n, "b.example", "2");
    asks(n, "c.b.example", "3");
    assert_int_equal(cert_names_count(n), 3); /* one that is never shown makes no choice */
    cert_names_free(&n);
}

static void test_a_default_without_names(void **state)
{
    static const char *const certs[] = {"r", "e a.example", NULL};
    (void)state;
    struct cert_names *n = made(certs);
    asks(n, "a.example", "1");
    asks(n, "b.example", "?0");
    cert_names_free(&n);
}

static void test_names_that_nobody_asks_for(void **state)
{
    char label[70], name[300];
    static const char *const bad[] = {"",          ".",           "a..example", ".example",    "example.",
                                      "192.0.2.1", "::1",         "*",          "*.",          "a*.example",
                                      "a.*.x",     "*.*.example", "*.0.2.1",    "a b.example", "a@b.example",
                                      "1",         "a.\x80.b",    "a/b",        "a.b:993"};
    (void)state;
    struct cert_names *n = cert_names_new();
    cert_names_add(n, RSA);
    for (size_t i = 0; i < COUNTOF(bad); i++)
        if (cert_names_add_name(n, span_str(bad[i])))
            fail_msg("%s was taken", bad[i]);
    assert_false(cert_names_add_name(n, span_of("a\0b.example", 11)));
    memset(label, 'a', 64);
    label[64] = '\0';
    assert_false(cert_names_add_name(n, span_str(label)));
    assert_true(cert_names_add_name(n, span_str(label + 1)));
    snprintf(name, sizeof name, "%s.%s.%s.%s", label + 1, label + 1, label + 1, label + 3); /* 253 bytes */
    assert_true(cert_names_add_name(n, span_str(name)));
    cert_names_settle(n);
    asks(n, name, "0");
    strcat(name, ".");
    asks(n, name, "0");
    memmove(name + 1, name, strlen(name) + 1);
    asks(n, name, "?0");
    expect(n, span_of("a\0b.example", 11), "?0");
    asks(n, "192.0.2.1", "?0");
    asks(n, "::1", "?0");
    for (int byte = 0; byte < 256; byte++) { /* as if sent by who tries */
        memset(name, byte, 255);
        expect(n, span_of(name, 255), "?0");
    }
    cert_names_free(&n);
}

/* A hundred certificates with a hundred names each, asked for one by one. */
static void test_many(void **state)
{
    char name[64];
    (void)state;
    struct cert_names *n = cert_names_new();
    for (unsigned c = 0; c < 100; c++) {
        cert_names_add(n, c % 2 ? EC : RSA);
        for (unsigned k = 0; k < 100; k++) {
            snprintf(name, sizeof name, "%sd%u.h%u.example", k % 10 == 9 ? "*." : "", k, c / 2);
            assert_true(cert_names_add_name(n, span_str(name)));
        }
    }
    cert_names_settle(n);
    assert_int_equal(cert_names_count(n), 50);
    for (unsigned h = 0; h < 50; h++)
        for (unsigned k = 0; k < 100; k++) {
            bool known;
            snprintf(name, sizeof name, "%sd%u.h%u.example", k % 10 == 9 ? "any." : "", k, h);
            const struct cert_choice *c = cert_names_choice(n, cert_names_find(n, span_str(name), &known));
            assert_true(known);
            assert_int_equal(c->n, 2);
            assert_int_equal(c->certs[0], 2 * h);
            assert_int_equal(c->certs[1], 2 * h + 1);
        }
    cert_names_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_the_first_of_a_kind_counts),
        cmocka_unit_test(test_a_default_without_names),
        cmocka_unit_test(test_names_that_nobody_asks_for),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
