#include "lib/proxyproto.h"

#include "unit.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4  "\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x03\xe1" /* 192.0.2.1:40000 to 198.51.100.2:993 */
#define V6                                                                                                   \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x9c\x40\x03\xe1"
#define V4_IS "192.0.2.1 40000 198.51.100.2 993"
#define V6_IS "2001:db8::1 40000 2001:db8::2 993"

/* What the header at the beginning of the bytes says: "len: from port to port", "len: nothing", "more", or why
 * it is none; to free. */
static char *said(struct span in)
{
    struct proxyproto h;
    const char *why = NULL;
    switch (proxyproto_read(in, &h, &why)) {
    case PROXYPROTO_MORE:
        return xstrdup("more");
    case PROXYPROTO_BAD:
        return xstrdup(why);
    case PROXYPROTO_DONE:
        break;
    }
    if (!h.tells)
        return xasprintf("%zu: nothing", h.len);
    return xasprintf("%zu: %s %u %s %u", h.len, h.ends.from.ip, h.ends.from.port, h.ends.to.ip,
                     h.ends.to.port);
}

struct wish {
    const char *last; /* what is said once it can be told, and never something else before that */
    bool seen;
};

/* However it comes: all bytes so far are looked at each time. */
static void come(const struct span *pieces, size_t n, void *arg)
{
    struct wish *w = arg;
    struct buf all = {0};
    w->seen = false;
    for (size_t i = 0; i < n; i++) {
        buf_add_span(&all, pieces[i]);
        uint8_t *own = xmalloc(all.len ? all.len : 1); /* no byte more */
        if (all.len > 0)
            memcpy(own, buf_span(&all).p, all.len);
        char *text = said(span_of(own, all.len));
        w->seen = strcmp(text, "more") != 0;
        if (w->seen || all.len == 0)
            assert_string_equal(text, w->seen ? w->last : "more");
        free(text);
        free(own);
    }
    buf_free(&all);
}

static void says(struct span header, const char *wanted)
{
    struct wish w = {wanted, false};
    unit_splits(header, come, &w);
    if (strcmp(wanted, "more") != 0)
        assert_true(w.seen);
}

/* The same with more behind it: the first bytes of TLS, or of IMAP. */
static void says_and_leaves(struct span header, const char *wanted)
{
    struct buf more = {0};
    char *text = xasprintf("%zu: %s", header.len, wanted);
    says(header, text);
    buf_add_span(&more, header);
    buf_add_str(&more, "\x16\x03\x01PROXY x\r\n");
    char *longer = said(buf_span(&more));
    assert_string_equal(longer, text);
    free(longer);
    free(text);
    buf_free(&more);
}

static void test_v1(void **state)
{
    (void)state;
    says_and_leaves(BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 993\r\n"), V4_IS);
    says_and_leaves(BYTES("PROXY TCP6 2001:DB8::1 2001:db8:0::2 40000 993\r\n"), V6_IS);
    says_and_leaves(BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 0 65535\r\n"),
                    "192.0.2.1 0 198.51.100.2 65535");
    says_and_leaves(BYTES("PROXY UNKNOWN\r\n"), "nothing");
    says_and_leaves(BYTES("PROXY UNKNOWN whatever \0 stands there\r\n"), "nothing");
    says_and_leaves(
        BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:"
              "ffff 65535 65535\r\n"),
        "nothing"); /* the longest one, 107 bytes */
}

static void test_v1_that_is_none(void **state)
{
    static const char odd[] = "a header of version 1 whose addresses or ports are none";
    static const char *const wrong[] = {
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 993 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 993 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 40000 993\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 993\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 993\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 040000 993\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 993\r\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 40000 993\r\n",
        "PROXY TCP4 192.0.2.1 mail.example.org 40000 993\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 40000 993\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 40000 993\r\n",
        "PROXY TCP6 2001:db8::1%lo 2001:db8::2 40000 993\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 \r\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNTOF(wrong); i++)
        says(span_str(wrong[i]), odd);
    says(BYTES("PROXY TCP4 192.0.2.1\0 198.51.100.2 40000 993\r\n"), odd);
    says(BYTES("PROXY UDP4 192.0.2.1 198.51.100.2 40000 993\r\n"),
         "a header of version 1 with a protocol that is none");
    says(BYTES("PROXY UNKNOWNS\r\n"), "a header of version 1 with a protocol that is none");
    says(BYTES("PROXY \r\n"), "a header of version 1 with a protocol that is none");
    says(BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 993\n"),
         "a header of version 1 that does not end in CRLF");
    says(BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 993"), "more");
}

static void test_v1_that_is_too_long(void **state)
{
    struct buf b = {0};
    (void)state;
    buf_add_str(&b, "PROXY UNKNOWN ");
    while (b.len < PROXYPROTO_V1_MAX - 2)
        buf_add_str(&b, "x");
    buf_add_str(&b, "\r\n");
    says(buf_span(&b), "107: nothing");
    b.len -= 2;
    buf_add_str(&b, "x\r\n");
    says(buf_span(&b), "a header of version 1 that is too long");
    buf_free(&b);
}

static void test_v2(void **state)
{
    (void)state;
    says_and_leaves(BYTES(SIG "\x21\x11\0\x0c" V4), V4_IS);
    says_and_leaves(BYTES(SIG "\x21\x21\0\x24" V6), V6_IS);
    says_and_leaves(BYTES(SIG "\x21\x21\0\x24"
                              "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
                              "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x02\x9c\x40\x03\xe1"),
                    V4_IS);
    says_and_leaves(BYTES(SIG "\x20\x00\0\0"), "nothing");
    says_and_leaves(BYTES(SIG "\x20\x11\0\x0c" V4), "nothing"); /* LOCAL: whatever stands there */
    says_and_leaves(BYTES(SIG "\x20\xff\0\x05\x03\xff\xff\0\0"), "nothing"); /* ... */
    says_and_leaves(BYTES(SIG "\x21\x00\0\0"), "nothing");                   /* AF_UNSPEC */
    says_and_leaves(BYTES(SIG "\x21\x00\0\x03\xff\xff\xff"), "nothing");
}

static void test_v2_of_a_unix_socket(void **state)
{
    struct buf b = {0};
    (void)state;
    buf_add_span(&b, BYTES(SIG "\x21\x31\0\xd8"));
    for (unsigned i = 0; i < 216; i++)
        buf_add(&b, "/", 1);
    says_and_leaves(buf_span(&b), "nothing");
    buf_free(&b);
}

static void test_v2_with_tlvs(void **state)
{
    (void)state;
    says_and_leaves(BYTES(SIG "\x21\x11\0\x0f" V4 "\x04\0\0"), V4_IS);
    /* PP2_TYPE_SSL: a client with TLS and a certificate; ignored */
    says_and_leaves(BYTES(SIG "\x21\x11\0\x1e" V4 "\x20\0\x0f\x07\0\0\0\0\x21\0\x07TLSv1.3"), V4_IS);
    /* PP2_TYPE_NOOP, and a CRC32C that is right */
    says_and_leaves(BYTES(SIG "\x21\x11\0\x19" V4 "\x04\0\x03pad\x03\0\x04\x1a\xa3\x6c\xf0"), V4_IS);
}

static void test_v2_with_tlvs_that_are_none(void **state)
{
    static const char beyond[] = "a header of version 2 with a TLV that goes beyond it";
    static const char sum[] = "a header of version 2 whose CRC32C is wrong";
    (void)state;
    says(BYTES(SIG "\x21\x11\0\x0d" V4 "\x04"), beyond);
    says(BYTES(SIG "\x21\x11\0\x0e" V4 "\x04\0"), beyond);
    says(BYTES(SIG "\x21\x11\0\x0f" V4 "\x04\0\x01"), beyond);
    says(BYTES(SIG "\x21\x11\0\x14" V4 "\xff\xff\xff\xff\xff\xff\xff\xff"), beyond);
    says(BYTES(SIG "\x21\x11\0\x19" V4 "\x04\0\x03pad\x03\0\x04\x1a\xa3\x6c\xf1"), sum);
    says(BYTES(SIG "\x21\x11\0\x19" V4 "\x04\0\x03pae\x03\0\x04\x1a\xa3\x6c\xf0"), sum);
    says(BYTES(SIG "\x21\x11\0\x0f" V4 "\x03\0\0"), sum);
}

static void test_v2_that_is_none(void **state)
{
    static const char other[] = "a header of another version, or with a command that is none";
    static const char family[] = "a header of version 2 of a family or transport that is none";
    static const char brief[] = "a header of version 2 that is too short for its addresses";
    (void)state;
    says(BYTES(SIG "\x11\x11\0\x0c" V4), other);
    says(BYTES(SIG "\x22\x11\0\x0c" V4), other);
    says(BYTES(SIG "\x31"), other);
    says(BYTES(SIG "\x21\x12\0\x0c" V4), family); /* UDP */
    says(BYTES(SIG "\x21\x41\0\x0c" V4), family);
    says(BYTES(SIG "\x21\x10\0\x0c" V4), family);
    says(BYTES(SIG "\x21\x11\0\x0b" V4), brief);
    says(BYTES(SIG "\x21\x11\0\0"), brief);
    says(BYTES(SIG "\x21\x21\0\x0c" V4), brief);
    says(BYTES(SIG "\x21\x31\0\xd7"), "more");
    says(BYTES(SIG "\x21\x11\xff\xff"), "a header of version 2 that is too long");
    says(BYTES(SIG "\x20\x00\x0f\xf1"), "a header of version 2 that is too long"); /* 4097 bytes */
    says(BYTES(SIG "\x20\x00\x0f\xf0"), "more");                                   /* 4096 */
}

static void test_what_is_no_header(void **state)
{
    static const char *const none[] = {"a LOGIN ann secret\r\n",
                                       "\x16\x03\x01\x02",
                                       "GET / HTTP/1.1\r\n",
                                       "proxy TCP4 ",
                                       "PROXYTCP4",
                                       "\r\n\r\nx",
                                       "\r\n\r\n\r",
                                       "P\r\n"};
    (void)state;
    for (size_t i = 0; i < COUNTOF(none); i++)
        says(span_str(none[i]), "no PROXY header");
    says(BYTES(""), "more");
    says(BYTES("PROX"), "more");
    says(BYTES("\r\n\r\n\0\r\nQUI"), "more");
}

/* ---- writing ---- */

static struct proxyproto_ends ends_of(const char *from, uint16_t port, const char *to, uint16_t to_port)
{
    struct proxyproto_ends e = {.from = {.port = port}, .to = {.port = to_port}};
    snprintf(e.from.ip, sizeof e.from.ip, "%s", from);
    snprintf(e.to.ip, sizeof e.to.ip, "%s", to);
    return e;
}

static void writes(unsigned version, const struct proxyproto_ends *ends, struct span wanted)
{
    struct buf out = {0};
    buf_add_str(&out, "x");
    proxyproto_write(&out, version, ends);
    buf_eat(&out, 1);
    assert_int_equal(out.len, wanted.len);
    assert_memory_equal(buf_span(&out).p, wanted.p, wanted.len);
    buf_free(&out);
}

static void test_writing(void **state)
{
    struct proxyproto_ends v4 = ends_of("192.0.2.1", 40000, "198.51.100.2", 993),
                           v6 = ends_of("2001:db8::1", 40000, "2001:db8::2", 993),
                           none = ends_of("", 40000, "198.51.100.2", 993);
    (void)state;
    writes(1, &v4, BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 993\r\n"));
    writes(1, &v6, BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 40000 993\r\n"));
    writes(1, &none, BYTES("PROXY UNKNOWN\r\n"));
    writes(1, NULL, BYTES("PROXY UNKNOWN\r\n"));
    writes(2, &v4, BYTES(SIG "\x21\x11\0\x0c" V4));
    writes(2, &v6, BYTES(SIG "\x21\x21\0\x24" V6));
    writes(2, &none, BYTES(SIG "\x20\x00\0\0"));
    writes(2, NULL, BYTES(SIG "\x20\x00\0\0"));
}

static void test_writing_of_two_families(void **state)
{
    struct proxyproto_ends four = ends_of("192.0.2.1", 40000, "2001:db8::2", 993),
                           six = ends_of("2001:db8::1", 40000, "", 0);
    (void)state;
    writes(1, &four, BYTES("PROXY TCP4 192.0.2.1 0.0.0.0 40000 993\r\n"));
    writes(1, &six, BYTES("PROXY TCP6 2001:db8::1 :: 40000 0\r\n"));
    writes(2, &four, BYTES(SIG "\x21\x11\0\x0c\xc0\x00\x02\x01\0\0\0\0\x9c\x40\x03\xe1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_v1_that_is_none),
        cmocka_unit_test(test_v1_that_is_too_long),
        cmocka_unit_test(test_v2),
        cmocka_unit_test(test_v2_of_a_unix_socket),
        cmocka_unit_test(test_v2_with_tlvs),
        cmocka_unit_test(test_v2_with_tlvs_that_are_none),
        cmocka_unit_test(test_v2_that_is_none),
        cmocka_unit_test(test_what_is_no_header),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_writing_of_two_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
