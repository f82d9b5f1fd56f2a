#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/conf.h"
#include "lib/migration_rules.h"
#include "lib/waves.h"
#include "lib/xalloc.h"

/* A folder of its own for each run, and the file in it that most tests load. */
static char dir[] = "/tmp/imapferry-conf-XXXXXX";
static char file[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof(file), "%s/t.conf", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(dir);
}

static void write_file(const char *name, const void *text, size_t len)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    close(fd);
}

static void read_whole(const char *name, struct buf *out)
{
    char block[4096];
    size_t n;
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        buf_add(out, block, n);
    fclose(f);
}

static struct conf *load_bytes(const void *text, size_t len, enum conf_role role, char **error)
{
    write_file(file, text, len);
    *error = NULL;
    struct conf *c = conf_load(file, role, error);
    assert_true(!c == !!*error);
    return c;
}

static struct conf *load(const char *text, enum conf_role role)
{
    char *error;
    struct conf *c = load_bytes(text, strlen(text), role, &error);
    if (!c)
        fail_msg("%s", error);
    return c;
}

/* A line of the message begins so, and goes on with what is wanted. */
static bool tells(const char *error, const char *at, const char *wanted)
{
    for (size_t n; *error; error += n + (error[n] == '\n')) {
        n = strcspn(error, "\n");
        if (!strncmp(error, at, strlen(at)) && memmem(error, n, wanted, strlen(wanted)))
            return true;
    }
    return false;
}

/* A line of the message must be `FILE:LINE: ` and then contain what is wanted. */
static void refused_by(enum conf_role role, const char *text, unsigned line, const char *wanted)
{
    char *error, at[96];
    struct conf *c = load_bytes(text, strlen(text), role, &error);

    if (c)
        fail_msg("was taken: %s", text);
    snprintf(at, sizeof(at), "%s:%u: ", file, line);
    if (!tells(error, at, wanted))
        fail_msg("wanted %s...%s, got %s", at, wanted, error);
    free(error);
}

static void refused(const char *text, unsigned line, const char *wanted)
{
    refused_by(CONF_CTL, text, line, wanted);
}

/* A smallest whole file; what stands before it begins at line 1, and it takes three lines. */
#define REST                                                                                                 \
    "backend \"old\" { address = \"imap://127.0.0.1:1\" }\n"                                                 \
    "backend \"new\" { address = \"imap://127.0.0.1:2\" }\n"                                                 \
    "migration { source = \"old\" target = \"new\" }\n"

/* --- the sample --- */

static void sample(struct buf *out)
{
    conf_print_sample(out);
    assert_true(out->len > 1000);
}

/* With its files in our folder: what the machine has in its own is no business of a test's. */
static void own_sample(struct buf *out)
{
    static const char theirs[] = "/etc/imapferry/";
    struct buf text = {0};
    const char *p, *found;
    sample(&text);
    for (p = buf_str(&text); (found = strstr(p, theirs)); p = found + strlen(theirs)) {
        buf_add(out, p, (size_t)(found - p));
        buf_printf(out, "%s/", dir);
    }
    buf_add_str(out, p);
    buf_free(&text);
}

static void test_sample_is_the_file(void **state)
{
    struct buf printed = {0}, kept = {0};

    (void)state;
    sample(&printed);
    read_whole("conf/imapferry.conf", &kept);
    assert_string_equal(buf_str(&printed), buf_str(&kept));
    buf_free(&printed);
    buf_free(&kept);
}

static void test_sample_loads(void **state)
{
    struct buf text = {0};

    (void)state;
    own_sample(&text);
    struct conf *c = load(buf_str(&text), CONF_CTL);
    assert_string_equal(c->file, file);
    assert_string_equal(c->redis.prefix, "imapferry");
    assert_int_equal(c->redis.addresses->port, 6379);
    assert_int_equal(c->n_backends, 2);
    assert_string_equal(conf_backend(c, "old")->address.host, "old.example.org");
    assert_string_equal(conf_backend(c, "old")->master_user, "admin");
    assert_string_equal(conf_backend(c, "new")->master_user, "admin");
    assert_null(conf_backend(c, "newer"));
    assert_int_equal(c->proxy.listen.n, 2);
    assert_int_equal(c->proxy.lease_ms, 10000);
    assert_int_equal(c->proxy.idle_timeout_ms, 35 * 60000);
    assert_int_equal(c->migrator.retry_max_ms, 6 * 3600000);
    assert_int_equal(c->migration.trigger, TRIGGER_LOGIN);
    assert_int_equal(c->migration.freeze_budget_ms, 5000);
    assert_null(conf_backend(c, "old")->master_password);
    conf_free(&c);
    assert_null(c);
    buf_free(&text);
}

static void put(const char *name, const char *text, size_t len);
static void drop(const char *name);

/* Each option stands in the sample once for its section, and with its default where it is commented out:
 * taking the
 * "#" away changes nothing. */
/* To free. */
static char *without(const char *text, const char *section)
{
    char *rest = xstrdup(text), *at = strstr(rest, section);
    assert_non_null(at);
    const char *after = strstr(at, "}\n\n") + 3;
    memmove(at, after, strlen(after) + 1);
    return rest;
}

static char *without_examples(const char *text)
{
    static const char *const examples[] = {"seal {", "admin {", "\ndelivery {", "socketmap {", "lmtp {"};
    char *rest = xstrdup(text);
    for (size_t i = 0; i < COUNTOF(examples); i++) {
        char *less = without(rest, examples[i]);
        free(rest);
        rest = less;
    }
    return rest;
}

static void test_sample_shows_defaults(void **state)
{
    struct buf text = {0}, bare = {0}, a = {0}, b = {0};

    (void)state;
    own_sample(&text);
    put("pilot.txt", "ann\n", 4);
    for (const char *s = buf_str(&text); *s; s++)
        if (*s != '#' || s[1] == ' ' || s[1] == '\n')
            buf_add(&bare, s, 1);
    struct conf *c = load(buf_str(&text), CONF_CTL), *d = load(buf_str(&bare), CONF_CTL);
    conf_print(&a, c);
    conf_print(&b, d);
    assert_int_equal(d->n_rules, 1);
    assert_int_equal(d->n_waves, 1);
    /* these are examples alone */
    char *shown = without_examples(buf_str(&a)), *bared = without_examples(buf_str(&b)),
         *ruled = without(bared, "rule \"*@b.example\""), *rest = without(ruled, "wave \"pilot\"");
    assert_string_equal(shown, rest);
    free(shown), free(bared), free(ruled), free(rest);
    drop("pilot.txt");
    for (size_t i = 0; i < n_options; i++) {
        char *line = xasprintf("    %s = ", options[i].name);
        if (!strstr(buf_str(&bare), line))
            fail_msg("the sample lacks %s", options[i].name);
        free(line);
        for (size_t k = 0; options[i].words && options[i].words[k]; k++)
            assert_non_null(strstr(options[i].text, options[i].words[k]));
    }
    conf_free(&c);
    conf_free(&d);
    buf_free(&text);
    buf_free(&bare);
    buf_free(&a);
    buf_free(&b);
}

/* DESIGN.md 4: libconfuse takes many of these as whole. Behind the last brace all is there; before it, never.
 */
/* All at both ends, where most different things stand close together; in between each 101st, since a load
 * takes milliseconds. */
static size_t next_place(size_t n, size_t len)
{
    return n < 200 || n + 200 > len ? n + 1 : n + 101;
}

static void every_prefix(struct span text)
{
    struct buf whole = {0};
    size_t end = text.len;
    char *error;

    while (text.p[end - 1] != '}')
        end--;
    struct conf *c = load_bytes(text.p, text.len, CONF_CTL, &error);
    assert_non_null(c);
    conf_print(&whole, c);
    conf_free(&c);
    for (size_t n = 0; n <= text.len; n = next_place(n, text.len)) {
        c = load_bytes(text.p, n, CONF_CTL, &error);
        if (!c != (n < end))
            fail_msg("the first %zu of %zu bytes (whole from %zu on): %s", n, text.len, end,
                     c ? "taken" : error);
        if (c) {
            struct buf part = {0};
            conf_print(&part, c);
            assert_string_equal(buf_str(&part), buf_str(&whole));
            buf_free(&part);
        } else {
            assert_non_null(strstr(error, "t.conf:"));
        }
        conf_free(&c);
        free(error);
    }
    buf_free(&whole);
}

static void test_every_prefix_of_the_sample(void **state)
{
    struct buf text = {0};

    (void)state;
    own_sample(&text);
    buf_add_str(&text, "\n# the end, and a comment /* that is cut too\n");
    every_prefix(buf_span(&text));
    buf_free(&text);
}

static void test_every_prefix_of_the_settings(void **state)
{
    struct buf text = {0}, settings = {0};

    (void)state;
    own_sample(&text);
    struct conf *c = load(buf_str(&text), CONF_CTL);
    conf_print(&settings, c);
    every_prefix(buf_span(&settings));
    conf_free(&c);
    buf_free(&text);
    buf_free(&settings);
}

static void test_nul_anywhere(void **state)
{
    struct buf text = {0};

    (void)state;
    own_sample(&text);
    for (size_t n = 0; n < text.len; n = next_place(n, text.len)) {
        uint8_t *p = text.mem + text.off + n, was = *p;
        char *error;
        *p = '\0';
        assert_null(load_bytes(text.mem + text.off, text.len, CONF_CTL, &error));
        assert_non_null(strstr(error, "NUL"));
        free(error);
        *p = was;
    }
    buf_free(&text);
}

/* --- syntax --- */

static void test_comments_and_layout(void **state)
{
    (void)state;
    struct conf *c =
        load("# one\n// two\n/* three\n * four */ proxy /* x */ { // y\n listen # z\n = /* { */ {\r\n"
             "  \"imaps://[::]:993\", # a # b \"\n  'imap://127.0.0.1' /* \" */ , // c\n }\n"
             "threads=3 id='p.1' lease=\"500ms\" }" REST "/**/#",
             CONF_CTL);
    assert_int_equal(c->proxy.listen.n, 2);
    assert_string_equal(c->proxy.listen.items[1], "imap://127.0.0.1");
    assert_int_equal(c->proxy.threads, 3);
    assert_string_equal(c->proxy.id, "p.1");
    assert_int_equal(c->proxy.lease_ms, 500);
    conf_free(&c);
    c = load("proxy { listen = \"imap://127.0.0.1\" }" REST, CONF_CTL);
    assert_int_equal(c->proxy.listen.n, 1);
    conf_free(&c);
}

static void test_syntax_errors(void **state)
{
    (void)state;
    refused("", 1, "must be given");
    refused("proxy {\n id = \"a\"\n", 1, "the section \"proxy\" that begins here is not closed");
    refused("proxy {\n id = \"a\n}\n" REST, 2, "not closed on its line");
    refused("proxy {\n id = 'a\n}\n" REST, 2, "not closed on its line");
    refused("proxy {\n listen = {\"a\",\n \"b\"\n", 2, "the list that begins here is not closed");
    refused("\n/* \n\n" REST, 2, "comment that begins here is not closed");
    refused("proxy {\n id = \"a\"\n\n id = \"b\" }\n" REST, 4, "given twice; it stands at line 2");
    refused("proxy { }\nproxy { }\n" REST, 2, "section \"proxy\" is given twice; it stands at line 1");
    refused("backend \"old\" { address = \"imap://h\" }\n" REST, 2, "section \"backend\" old is given twice");
    refused("proxy {\n id = \"${HOME}\" }\n" REST, 2, "\"${\" is not expanded");
    refused("proxy {\n id = ${HOME} }\n" REST, 2, "unexpected \"$\"");
    refused("proxy {\n id \"x\" }\n" REST, 2, "found a string; expected \"=\"");
    refused("proxy {\n id = = }\n" REST, 2, "found \"=\"; expected a value");
    refused("proxy {\n listen += {\"x\"} }\n" REST, 2, "unexpected \"+\"");
    refused("proxy {\n listen = {\"x\" \"y\"} }\n" REST, 2, "expected \",\" or \"}\"");
    refused("proxy {\n listen = {,} }\n" REST, 2, "expected a value or \"}\"");
    refused("proxy {\n listen = {{}} }\n" REST, 2, "expected a value or \"}\"");
    refused("proxy {\n id = {\"x\"} }\n" REST, 2, "is a list; expected one value");
    refused("proxy {\n id = \"a\\n\" }\n" REST, 2, "a backslash in a string stands before");
    refused("proxy {\n id = \"a\\\n\" }\n" REST, 2, "a backslash in a string stands before");
    refused("proxy {\n id = \"a\tb\" }\n" REST, 2, "control character (0x09)");
    refused("proxy {\n id = a/b }\n" REST, 2, "unexpected \"/\"");
    refused("id = \"x\"\n" REST, 1, "\"id\" stands outside of any section");
    refused("proxy = \"x\"\n" REST, 1, "outside of any section");
    refused("}\n" REST, 1, "found \"}\"; expected the name of a section");
    refused(REST "}\n", 4, "found \"}\"; expected the name of a section");
    refused(REST "migrator", 4, "found the end of the file; expected \"{\"");
    refused("\xef\xbb\xbf" REST, 1, "unexpected byte 0xef");
    refused("include(\"/etc/passwd\")\n" REST, 1, "expected");
    refused("proxy { include(\"/etc/passwd\") }\n" REST, 1, "unexpected \"(\"");
}

static void test_unknown_names(void **state)
{
    (void)state;
    refused("prox {\n}\n" REST, 1, "prox: no such section; there are: redis, backend, proxy, ");
    refused("proxy {\n lisen = \"x\" }\n" REST, 2,
            "proxy: lisen: no such option; this section has: listen, ");
    refused("backend {\n address = \"x\" }\n" REST, 1, "expected backend \"name\" {");
    refused("proxy \"x\" {\n }\n" REST, 1, "proxy \"x\": takes no name");
    refused("proxy { listen.x = \"a\" }\n" REST, 1, "no such option");
    refused("Proxy { }\n" REST, 1, "no such section");
}

/* --- values --- */

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"300ms", 300}, {"1s", 1000}, {"10m", 600000}, {"24h", 86400000}, {"1d", 86400000}};

    (void)state;
    for (size_t i = 0; i < COUNTOF(good); i++) {
        char *text = xasprintf("proxy { lease = \"300ms\" lease_long = \"%s\" } %s", good[i].text, REST);
        struct conf *c = load(text, CONF_CTL);
        assert_int_equal(c->proxy.lease_long_ms, good[i].ms);
        conf_free(&c);
        free(text);
    }
    refused("proxy {\n lease = \"10\" }\n" REST, 2,
            "is not a duration from 300ms to 10m; expected such as 500ms");
    refused("proxy {\n lease = 10 }\n" REST, 2, "is not a duration");
    refused("proxy {\n lease = \"\" }\n" REST, 2, "is not a duration");
    refused("proxy {\n lease = \"s\" }\n" REST, 2, "is not a duration");
    refused("proxy {\n lease = \"-1s\" }\n" REST, 2, "is not a duration");
    refused("proxy {\n lease = \"1 s\" }\n" REST, 2, "is not a duration");
    refused("proxy {\n lease = \"1S\" }\n" REST, 2, "is not a duration");
    refused("proxy {\n lease = \"299ms\" }\n" REST, 2, "is not a duration from 300ms");
    refused("proxy {\n lease = \"11m\" }\n" REST, 2, "is not a duration");
    refused("proxy {\n lease = \"99999999999999999999d\" }\n" REST, 2, "is not a duration");
    refused("proxy {\n lease_long = \"9s\" }\n" REST, 2, "is shorter than lease");
    refused("proxy {\n lease = \"10m\" lease_long = \"9m\" }\n" REST, 2, "lease_long: is shorter than lease");
    refused("migrator {\n retry_min = \"2h\" retry_max = \"1h\" }\n" REST, 2, "is shorter than retry_min");
}

static void test_numbers_and_words(void **state)
{
    (void)state;
    refused("proxy {\n threads = \"x\" }\n" REST, 2,
            "proxy: threads: \"x\" is not a number; expected one from 0 to 256");
    refused("proxy {\n threads = -1 }\n" REST, 2, "is out of range");
    refused("proxy {\n threads = 257 }\n" REST, 2, "is out of range");
    refused("proxy {\n threads = 0x10 }\n" REST, 2, "is not a number");
    refused("migrator {\n jobs = 0 }\n" REST, 2, "expected one from 1 to 1000");
    refused("redis {\n store_override = maybe }\n" REST, 2, "neither true nor false");
    refused("redis {\n store_override = TRUE }\n" REST, 2, "neither true nor false");
    refused("backend \"a\" {\n address=\"imap://h\" sign_in = \"x\" }\n" REST, 2,
            "backend \"a\": sign_in: \"x\" is unknown; expected one of: passthrough, master, proxyauth");
    struct conf *c =
        load("redis { store_override = \"yes\" } proxy { allow_plaintext = off }" REST, CONF_CTL);
    assert_true(c->redis.store_override);
    assert_false(c->proxy.allow_plaintext);
    conf_free(&c);
}

static void test_addresses(void **state)
{
    (void)state;
    refused("backend \"a\" {\n address = \"foo://x\" }\n" REST, 2,
            "backend \"a\": address: \"foo://x\" is not a backend address; expected imaps://host[:port], "
            "imap+starttls://");
    refused("backend \"a\" {\n address = \"redis://x\" }\n" REST, 2, "is not a backend address");
    refused("backend \"a\" {\n address = \"imaps://\" }\n" REST, 2, "expected imaps://host[:port]");
    refused("backend \"a\" {\n address = \"imaps://h:0\" }\n" REST, 2, "port 0 cannot be connected to");
    refused("backend \"a\" {\n\n }\n" REST, 1, "backend \"a\": address: must be given");
    refused("backend \"a\" {\n address = \"imaps://h\"\n capabilities = {\"-UIDPLUS\", \"-NOSUCH\"} }\n" REST,
            3, "\"-NOSUCH\" is no capability");
    refused("redis {\n url = \"imaps://x\" }\n" REST, 2, "is not an address of a Redis; expected redis://");
    refused("redis {\n url = \"sentinel://a\" }\n" REST, 2, "no name of a master");
    refused("redis {\n url = \"redis://h:0\" }\n" REST, 2, "port 0");
    refused("redis {\n url = \"cluster://h\" }\n" REST, 2, "expected cluster://");
    refused("redis {\n url = \"cluster://h:1,i:0?partitions=3\" }\n" REST, 2, "port 0");
    refused("redis {\n url = {\"redis://h\",\n \"cluster://h?partitions=3\"} }\n" REST, 3, "is the only url");
    refused("redis {\n prefix = \"\" }\n" REST, 2, "is not 1 to 64");
    refused("redis {\n prefix = \"a:\" }\n" REST, 2, "is not 1 to 64");
    refused("redis {\n prefix = \"a*\" }\n" REST, 2, "is not 1 to 64");
    refused("proxy { listen = {\n \"imap://h\",\n \"http://h\"} }\n" REST, 3,
            "is not an address to listen on");
    refused("proxy { listen = {\n \"imap://h\",\n \"imap://h\"} }\n" REST, 3, "is given twice");
    struct conf *c = load("proxy { listen = {\"imap://h:0\", \"imap://h:0\"} }" REST, CONF_CTL);
    conf_free(&c);
}

static void test_no_password_in_errors(void **state)
{
    static const char *const texts[] = {
        "redis { url = \"redis://:hunter2@\" }", "redis { url = \"foo://:hunter2@h\" }",
        "redis { url \"redis://:hunter2@h\" }", "redis { url = \"redis://:x@h\" \"hunter2\" }"};
    (void)state;
    for (size_t i = 0; i < COUNTOF(texts); i++) {
        char *error;
        assert_null(load_bytes(texts[i], strlen(texts[i]), CONF_CTL, &error));
        if (strstr(error, "hunter2"))
            fail_msg("shows the password: %s", error);
        free(error);
    }
}

#define BACKEND(options) "backend \"a\" {\n address = \"imap://h\"\n " options "\n}\n" REST

#define ASKED   "socketmap { listen = {\"inet://h\"} }\n"
#define ANSWERS " delivery = \"lmtp:inet:h:24\""
#define BOTH_ANSWER                                                                                          \
    "backend \"old\" { address = \"imap://h\"" ANSWERS                                                       \
    " }\nbackend \"new\" { address = \"imap://i\"" ANSWERS " }\n"
#define MOVES "migration { source = \"old\"\n target = \"new\" "

static void test_delivery(void **state)
{
    (void)state;
    refused(BACKEND("delivery = \"old.example.org\""), 3, "is not \"transport:nexthop\"");
    refused(BACKEND("delivery = \":24\""), 3, "is not \"transport:nexthop\"");
    refused(BACKEND("delivery = \"lmtp:h \""), 3, "begins or ends with a blank");
    refused(BACKEND("delivery = \"lmtp:h\xc3\xa4\""), 3, "something other than printable ASCII");
    refused("delivery {\n domains = {\"a@b\"} }\n" REST, 2, "is not a domain");
    refused("delivery {\n domains = {\"a b\"} }\n" REST, 2, "no account holds the byte 0x20");
    refused("delivery {\n recipient_delimiter = \"a\" }\n" REST, 2, "delimits no extension");
    refused("delivery {\n recipient_delimiter = \"@\" }\n" REST, 2, "delimits no extension");
    refused("socketmap { listen = {\n \"imap://h\"} }\n" BOTH_ANSWER MOVES "}", 2,
            "expected inet://host:port or unix:///path");
    refused("socketmap { listen = {\n \"unix:///x?db=1\"} }\n" BOTH_ANSWER MOVES "}", 2,
            "is an address of Redis");
    refused("socketmap { listen = {\"inet://h\",\n \"inet://h\"} }\n" BOTH_ANSWER MOVES "}", 2,
            "is given twice");
    refused("socketmap { listen = {\"inet://h\"}\n trusted = {\"x\"} }\n" BOTH_ANSWER MOVES "}", 2, "\"x\"");
    refused(ASKED BOTH_ANSWER MOVES "}", 5, "delivery: domains: must be given");
    refused(ASKED
            "backend \"old\" { address = \"imap://h\"\n }\nbackend \"new\" { address = \"imap://i\"" ANSWERS
            " }\n" MOVES "default_domain = \"example.org\" }",
            2, "delivery: must be given for the section socketmap");
    struct conf *c = load(ASKED "delivery { domains = {\"Example.ORG\"} }\n" BOTH_ANSWER MOVES "}", CONF_CTL);
    assert_string_equal(c->delivery.domains.items[0], "example.org");
    assert_string_equal(c->delivery.recipient_delimiter, "+");
    struct conf *copy = conf_copy(c);
    assert_string_equal(copy->backends[0].delivery, "lmtp:inet:h:24");
    conf_free(&copy);
    conf_free(&c);
}

static void test_backends(void **state)
{
    (void)state;
    refused("backend \"a/b\" {\n address = \"imap://h\" }\n" REST, 1, "its name is not 1 to 64");
    refused("backend \"\" {\n address = \"imap://h\" }\n" REST, 1, "its name is not 1 to 64");
    refused(BACKEND("sign_in = \"master\""), 3, "needs master_user and master_password_file");
    refused(BACKEND("sign_in = \"proxyauth\""), 3, "needs master_user and master_password_file");
    refused(BACKEND("master_user = \"m\""), 3, "master_user: \"m\" needs master_password_file");
    refused(BACKEND("master_password_file = \"/x\""), 3, "of no use without master_user");
    refused(BACKEND("doveadm_url = \"http://h:8080/doveadm/v1\""), 3, "doveadm_url: needs doveadm_key_file");
    refused(BACKEND("doveadm_url = \"imap://h\""), 3,
            "the URL can't be used: it is neither http:// nor https://");
    refused(BACKEND("doveadm_key_file = \"/x\""), 3, "\"/x\" is of no use without doveadm_url");
    refused(BACKEND("numbers = \"doveadm\""), 3, "\"doveadm\" needs doveadm_url and doveadm_key_file");
    refused(BACKEND("numbers = \"cyrus\""), 3, "\"cyrus\" needs master_user and master_password_file");
    refused(BACKEND("numbers = \"often\""), 3, "expected one of: auto, doveadm, cyrus, none");
    refused(BACKEND("master_login = \"%u*%m\""), 3, "of no use without master_user");
    refused(BACKEND("check_user = \"probe\""), 3, "is of no use without master_user");
    refused(BACKEND("auth_backend = \"b\""), 3, "is not the name of another backend");
    refused(BACKEND("auth_backend = \"a\""), 3, "is not the name of another backend");
    refused(
        "backend \"x\" { address = \"imap://h\" auth_backend = \"old\" }\n" BACKEND("auth_backend = \"x\""),
        4, "has an auth_backend itself");
}

static void pattern(const char *text, const char *wanted)
{
    char *all =
        xasprintf("backend \"a\" { address = \"imap://h\" master_user = \"m\" master_password_file = \"/x\"\n"
                  "master_login = \"%s\" }\n%s",
                  text, REST);
    if (wanted) {
        refused(all, 2, wanted);
    } else {
        struct conf *c = load(all, CONF_CTL);
        assert_string_equal(c->backends[0].master_login, text);
        conf_free(&c);
    }
    free(all);
}

static void test_master_login(void **state)
{
    (void)state;
    pattern("%u*%m", NULL);
    pattern("%m*%u", NULL);
    pattern("%u*admin", NULL);
    pattern("%u", NULL);
    pattern("%m", "does not hold %u once");
    pattern("%u*%u", "does not hold %u once");
    pattern("%u*%m*%m", "does not hold %u once");
    pattern("%u*%x", "followed by neither u nor m");
    pattern("%u*%", "followed by neither u nor m");
    pattern("%u%m", "nothing between");
    pattern("%m%u", "nothing between");
    pattern("%uadmin", "occurs in login names");
    pattern("%u@%m", "occurs in login names");
    pattern("x%u*%m", "occurs in login names");
    pattern("%u\xc2\xa7%m", "printable ASCII");
}

static void test_migration(void **state)
{
    (void)state;
#define TWO "backend \"a\" { address = \"imap://h\" } backend \"b\" { address = \"imap://i\" }\n"
    refused(TWO "migration {\n source = \"a\" }", 2, "migration: target: must be given");
    refused(TWO "migration {\n source = \"a\" target = \"c\" }", 3, "\"c\" is not the name of a backend");
    refused(TWO "migration {\n source = \"c\" target = \"a\" }", 3, "\"c\" is not the name of a backend");
    refused(TWO "migration {\n source = \"a\" target = \"a\" }", 3, "is the same backend");
    refused(TWO "migration { source = \"a\" target = \"b\"\n aliases = {\"x=y\",\n\"y=x\"} }", 3,
            "is an alias itself");
    refused(TWO "migration { source = \"a\" target = \"b\"\n default_domain = \"@x\" }", 3,
            "not the name of a domain");
    refused(TWO "migration { source = \"a\" target = \"b\"\n default_domain = \"x.\" }", 3,
            "not the name of a domain");
    refused(TWO, 2, "migration: source: must be given");
    struct conf *c = load(TWO "migration { source = \"a\" target = \"b\" aliases = {\"X=y\"} }", CONF_CTL);
    assert_int_equal(c->migration.n_alias_table, 1);
    assert_string_equal(c->migration.alias_table[0].from, "x");
    conf_free(&c);
    refused("migrator {\n journal_dir = \"var\" }\n" REST, 2, "not an absolute path");
    refused("migrator {\n id = \"a b\" }\n" REST, 2, "migrator: id: ");
    refused("proxy {\n id = \"a/b\" }\n" REST, 2, "proxy: id: ");
}

/* --- rules --- */

#define RULES(rules)                                                                                         \
    "backend \"a\" { address = \"imap://h\" } backend \"b\" { address = \"imap://i\" }\n"                    \
    "backend \"c\" { address = \"imap://j\" }\n" rules "\nmigration { source = \"a\" target = \"b\" }\n"

static void pair_is(const struct conf *c, const char *user, const char *source, const char *target)
{
    struct conf_pair p = conf_pair_of(c, user);
    assert_string_equal(p.source, source);
    assert_string_equal(p.target, target);
}

static void test_rules_in_order(void **state)
{
    struct conf *c = load(RULES("rule \"ann@B.example\" { source = \"b\" target = \"c\" }\n"
                                "rule \"*@b.example\" { source = \"c\" target = \"a\" }\n"
                                "rule \"?o*m@*.org\" { source = \"c\" target = \"b\" }\n"
                                "rule \"A%20B*\" { source = \"b\" target = \"a\" }\n"),
                          CONF_CTL);

    (void)state;
    pair_is(c, "ann@b.example", "b", "c");
    pair_is(c, "joann@b.example", "c", "a");
    pair_is(c, "@b.example", "c", "a");
    pair_is(c, "ann@b.example.com", "a", "b");
    pair_is(c, "tom@x.org", "c", "b");
    pair_is(c, "tommm@x.y.org", "c", "b");
    pair_is(c, "om@x.org", "a", "b");
    pair_is(c, "tom@x.or", "a", "b");
    pair_is(c, "a%20bc", "b", "a");
    pair_is(c, "", "a", "b");
    conf_free(&c);
    c = load(RULES("rule \"*\" { source = \"b\" target = \"c\" }\n"), CONF_CTL);
    pair_is(c, "", "b", "c");
    pair_is(c, "whoever", "b", "c");
    conf_free(&c);
}

static void test_rules_refused(void **state)
{
    (void)state;
    refused(RULES("rule {\n source = \"a\" target = \"b\" }"), 3, "expected rule \"name\" {");
    refused(RULES("rule \"\" {\n source = \"a\" target = \"b\" }"), 3, "its pattern is empty");
    refused(RULES("rule \"x y\" {\n source = \"a\" target = \"b\" }"), 3, "written as \"%20\" in accounts");
    refused(RULES("rule \"x\" {\n source = \"a\" }"), 3, "rule \"x\": target: must be given");
    refused(RULES("rule \"x\" {\n source = \"d\" target = \"b\" }"), 4, "source: \"d\" is not the name");
    refused(RULES("rule \"x\" {\n source = \"a\"\n target = \"d\" }"), 5, "target: \"d\" is not the name");
    refused(RULES("rule \"x\" {\n source = \"a\" target = \"a\" }"), 4, "is the same backend");
    refused(
        RULES("rule \"x\" { source = \"a\" target = \"b\" }\nrule \"x\" { source = \"a\" target = \"b\" }"),
        4, "is given twice");
}

/* --- printing --- */

static void test_print_is_read_back(void **state)
{
    struct buf a = {0}, b = {0};

    (void)state;
    struct conf *c =
        load("redis { url = \"redis://:p%40w@h\" }\n"
             "backend \"x\" { address = \"imap://h\" ca_file = \"/a \\\"b\\\" \\\\c 'd' \xc3\xa4\" }\n"
             "proxy { tls_key = '/${HOME}/it\\'s' tls_cert = '\"' drain_time = \"0s\" lease = \"1500ms\" }\n"
             "rule \"*@z\" { source = \"y\" target = \"x\" }\n"
             "migration { source = \"x\" target = \"y\" cutover = \"manual\" aliases = {\"a=b\", \"c=d\"} }\n"
             "backend \"y\" { address = \"imap+unix:///y\" }\n",
             CONF_CTL);
    assert_string_equal(c->proxy.tls_key, "/${HOME}/it's");
    assert_string_equal(c->backends[0].ca_file, "/a \"b\" \\c 'd' \xc3\xa4");
    conf_print(&a, c);
    assert_non_null(strstr(buf_str(&a), "redis://:***@h"));
    assert_non_null(strstr(buf_str(&a), "lease = \"1500ms\""));
    assert_non_null(strstr(buf_str(&a), "aliases = {\"a=b\", \"c=d\"}"));
    assert_non_null(strstr(buf_str(&a), "rule \"*@z\" {\n    source = \"y\"\n"));
    struct conf *d = load(buf_str(&a), CONF_CTL);
    conf_print(&b, d);
    assert_string_equal(buf_str(&a), buf_str(&b));
    assert_string_equal(d->proxy.tls_key, c->proxy.tls_key);
    conf_free(&c);
    conf_free(&d);
    buf_free(&a);
    buf_free(&b);
}

/* No password of a URL is printed, whatever stands around it. */
static void test_print_tells_no_password(void **state)
{
    static const char *const rows[][2] = {
        {"redis { url = \"redis://joe:pa%2Fss@h:7/1\" }\n", "\"redis://joe:***@h:7/1\""},
        {"redis { url = \"sentinel://:pass@h,i/m?sentinel_auth=s:pass\" }\n",
         "\"sentinel://:***@h,i/m?sentinel_auth=s:***\""},
        {"redis { url = \"sentinel://h/m?sentinel_auth=:pass\" }\n", "\"sentinel://h/m?sentinel_auth=:***\""},
        {"redis { url = \"redis://h:6379/0\" }\n", "\"redis://h:6379/0\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct buf out = {0};
        char *text = xasprintf("%s" REST, rows[i][0]);
        struct conf *c = load(text, CONF_CTL);
        conf_print(&out, c);
        assert_non_null(strstr(buf_str(&out), rows[i][1]));
        assert_null(strstr(buf_str(&out), "pass@"));
        assert_null(strstr(buf_str(&out), ":pass"));
        conf_free(&c);
        buf_free(&out);
        free(text);
    }
    struct buf out = {0};
    struct conf *c = load(
        TWO "migration { source = \"a\" target = \"b\" hook_flip = {\"https://joe:pass@h/x\"} }\n", CONF_CTL);
    conf_print(&out, c);
    assert_non_null(strstr(buf_str(&out), "{\"https://joe:***@h/x\"}"));
    conf_free(&c);
    buf_free(&out);
}

/* --- all errors at once --- */

static void test_all_errors_at_once(void **state)
{
    static const char text[] =
        "redis { url = \"http://h\" }\n"
        "backend \"a\" { address = \"imap://h:0\" max_connections = 0 }\n"
        "backend \"b\" { address = \"imap://i\" sign_in = \"x\" master_user = \"m\" }\n"
        "proxy { lease = \"1d\" lease_long = \"2x\" }\n"
        "migration { source = \"a\"\n default_domain = \"a b\" }\n";
    static const char *const wanted[] = {":1: redis: url: ",
                                         ":2: backend \"a\": address: ",
                                         ":2: backend \"a\": max_connections: ",
                                         ":3: backend \"b\": sign_in: ",
                                         ":3: backend \"b\": master_user: ",
                                         ":4: proxy: lease: ",
                                         ":4: proxy: lease_long: ",
                                         ":5: migration: target: ",
                                         ":6: migration: default_domain: "};
    unsigned lines = 1;
    char *error;

    (void)state;
    struct conf *c = load_bytes(text, sizeof(text) - 1, CONF_CTL, &error);
    assert_null(c);
    for (size_t i = 0; i < COUNTOF(wanted); i++)
        if (!strstr(error, wanted[i]))
            fail_msg("no %s in %s", wanted[i], error);
    for (const char *p = error; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, COUNTOF(wanted)); /* and nothing that only follows from these */
    free(error);
    refused("backend \"a\" { nonsense = 1 }\nnonsense { }\n" REST, 1, "nonsense: no such option");
    refused("backend \"a\" { nonsense = 1 }\nnonsense { }\n" REST, 2, "nonsense: no such section");
}

/* Exactly these lines, in any order. */
static void tells_all(enum conf_role role, const char *text, const char *const *wanted, size_t n)
{
    char *error;
    unsigned lines = 1;
    struct conf *c = load_bytes(text, strlen(text), role, &error);

    assert_null(c);
    for (size_t i = 0; i < n; i++)
        if (!strstr(error, wanted[i]))
            fail_msg("no %s in %s", wanted[i], error);
    for (const char *p = error; *p; p++)
        lines += *p == '\n';
    if (lines != n)
        fail_msg("not %zu lines: %s", n, error);
    free(error);
}
#define TELLS_ALL(role, text, ...)                                                                           \
    tells_all(role, text, (const char *const[]){__VA_ARGS__},                                                \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_numbers_out_of_range(void **state)
{
    (void)state;
    refused("backend \"a\" { max_connections = 20000 }\n" REST, 1,
            "\"20000\" is out of range; expected one from 1 to 10000");
    refused("backend \"a\" { max_connections = \"-1\" }\n" REST, 1, "\"-1\" is out of range");
    refused("backend \"a\" { max_connections = \"ten\" }\n" REST, 1, "\"ten\" is not a number");
}

/* What is unknown or there twice hides nothing. */
static void test_names_hide_no_values(void **state)
{
    (void)state;
    TELLS_ALL(
        CONF_CTL,
        "proxy { nonsense = {1, 2}\n lease = \"1x\" lease = \"2s\" drain_time = \"never\" threads = {1} }\n"
        "nonsense { a = 1 }\nproxy { lease = \"9x\" }\nredis \"x\" { }\nbackend { }\n"
        "migrator { jobs = 0 }\n" REST,
        ":1: proxy: nonsense: no such option", ":2: option \"lease\" is given twice",
        ":2: proxy: lease: ", ":2: proxy: drain_time: ", ":2: proxy: threads: is a list",
        ":3: nonsense: no such section", ":4: section \"proxy\" is given twice",
        ":5: redis \"x\": takes no name", ":6: backend: has no name", ":7: migrator: jobs: ");
}

/* A part that can't be read hides itself, up to the next line that begins with "}"; that something lacks is
 * not said then. */
static void test_syntax_errors_hide_little(void **state)
{
    (void)state;
    TELLS_ALL(
        CONF_CTL,
        "migrator { jobs = 0 }\nproxy {\n lease = \"1x\"\n drain_time: \"1s\"\n}\nredis { prefix = \"\"\n prefx = \"\" }\n"
        "backend \"a\" { max_connections = 0 }\n",
        ":1: migrator: jobs: ",
        ":4: unexpected \":\"; values other than words and numbers stand in double quotes; the rest of this "
        "section was not read",
        ":7: redis: prefx: no such option", ":8: backend \"a\": max_connections: ");
    TELLS_ALL(
        CONF_CTL, "migrator { jobs = 0 }\nproxy { id = \"a }\nredis { prefix = \"\" }\n",
        ":1: migrator: jobs: ",
        ":2: the string that begins here is not closed on its line; expected \"; what stands behind it was not read");
}

static void test_all_values_of_a_list(void **state)
{
    (void)state;
    TELLS_ALL(
        CONF_CTL,
        "backend \"old\" { address = \"imap://h\" }\nbackend \"new\" { address = \"imap://i\" }\n"
        "proxy { listen = {\"imapss://x\", \"imap://h\", \"x\"} }\n"
        "migration { source = \"old\" target = \"new\" aliases = {\"a\", \"b=c\", \"d\"}\n window = {\"x\", \"Mon 1\"}\n"
        " rename = {\"a\", \"b=c\", \"c\"}\n leave_out = {\"x\", \"y\"}\n exclude = \"\"\n acl_map = \"x\" }\n",
        ":3: proxy: listen: \"imapss://x\" is not", ":3: proxy: listen: \"x\" is not",
        ":4: migration: aliases: \"a\" has", ":4: migration: aliases: \"d\" has",
        ":5: migration: window: \"x\"", ":5: migration: window: \"Mon 1\"", ":6: migration: rename: \"a\"",
        ":6: migration: rename: \"c\"", ":7: migration: leave_out: \"x\"", ":7: migration: leave_out: \"y\"",
        ":8: migration: exclude: ", ":9: migration: acl_map: ");
}

static void test_networks_that_are_trusted(void **state)
{
    (void)state;
    refused(
        "proxy { listen = \"imap://h?proxy_protocol\" }\n" REST, 1,
        "\"imap://h?proxy_protocol\" takes connections from networks in trusted alone, and that is empty");
    refused("proxy { trusted = {\"192.0.2.0/24\",\n \"192.0.2.1/24\"} }\n" REST, 2,
            "trusted: \"192.0.2.1/24\" has bits behind its prefix");
    refused("proxy { trusted = \"lb.example.org\" }\n" REST, 1, "\"lb.example.org\" is no network");
    refused(
        "proxy { trusted = \"::1\"\n listen = {\"imap://[::]:1?proxy_protocol\", \"imap://127.0.0.1:1\"} }\n" REST,
        2, "overlap");
    refused("proxy { trusted = \"::1\"\n listen = {\"imap://h?proxy_protocol\", \"imap://h\"} }\n" REST, 2,
            "is the same address and port");
    refused("backend \"a\" {\n address = \"imaps://h?proxy_protocol\" }\n" REST, 2,
            "\"?proxy_protocol\" is for listeners");
    struct conf *c =
        load("proxy { listen = {\"imap://h?proxy_protocol\", \"imap+unix:///x?proxy_protocol\"}\n"
             " trusted = {\"192.0.2.0/24\", \"2001:db8::1\"} }\n" REST,
             CONF_CTL);
    assert_int_equal(c->proxy.trusted.n, 2);
    conf_free(&c);
    c = load("proxy { listen = \"imap+unix:///x?proxy_protocol\" }\n" REST, CONF_CTL); /* by its rights */
    conf_free(&c);
}

/* By whatever scheme or spelling: the kernel would spread clients over both. */
static void test_listeners_on_one_port(void **state)
{
    static const char *const apart[] = {
        "{\"imaps://127.0.0.1:1\", \"imap://127.0.0.2:1\"}", "{\"imap://[::]:1\", \"imap://127.0.0.1:1\"}",
        "{\"imap://[::]:0\", \"imaps://[::]:0\"}", "{\"imap://0.0.0.0:1\", \"imaps://[::1]:1\"}"};
    (void)state;
    refused("proxy { listen = {\"imaps://127.0.0.1:1\", \"imap+starttls://127.0.0.1:1\"} }\n" REST, 1,
            "\"imap+starttls://127.0.0.1:1\" is the same address and port as \"imaps://127.0.0.1:1\"");
    refused("proxy { listen = {\"imap://[::ffff:127.0.0.1]:1\", \"imap://127.0.0.1:1\"} }\n" REST, 1,
            "is the same address and port");
    refused("proxy { listen = {\"imap://h\", \"imap://H:143\"} }\n" REST, 1, "is the same address and port");
    refused("proxy { listen = {\"imap://[::]:1\", \"imaps://127.0.0.1:1\"} }\n" REST, 1, "overlap");
    refused("proxy { listen = {\"imap://127.0.0.1:1\", \"imaps://0.0.0.0:1\"} }\n" REST, 1, "overlap");
    refused_by(CONF_PROXY, "proxy { listen = {\"imap://localhost:1\", \"imaps://[::]:1\"} }\n" REST, 1,
               "overlap");
    for (size_t i = 0; i < COUNTOF(apart); i++) {
        char *text = xasprintf("proxy { listen = %s }\n" REST, apart[i]);
        struct conf *c = load(text, CONF_CTL);
        conf_free(&c);
        free(text);
    }
}

/* Each with what is wrong with it; root may read all, and run what anybody may. */
static void test_hooks_can_be_run(void **state)
{
    static const char *const wanted[] = {"x/none\" can't be run: No such file",
                                         "x\" is a folder, not a program",
                                         "x/f\" can't be run by this user: Permission denied"};
    char *folder = xasprintf("%s/x", dir), *program = xasprintf("%s/x/f", dir),
         *none = xasprintf("%s/x/none", dir);
    const char *paths[] = {none, folder, program};

    (void)state;
    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(program, "#!/bin/sh\n", 10);
    for (size_t i = 0; i < COUNTOF(wanted); i++) {
        char *text = xasprintf(
            "backend \"old\" { address = \"imap://h\" }\nbackend \"new\" { address = \"imap://i\" }\n"
            "migration { source = \"old\" target = \"new\"\n hook_flip = {\"%s\", \"%%u\"} }\n",
            paths[i]);
        refused_by(CONF_MIGRATOR, text, 4, wanted[i]);
        chmod(program, i == 1 ? 0600 : 0700);
        free(text);
    }
    refused_by(CONF_MIGRATOR,
               "backend \"old\" { address = \"imap://h\" }\nbackend \"new\" { address = \"imap://i\" }\n"
               "migration { source = \"old\" target = \"new\" hook_flip = \"doveadm\" }\n",
               3, "neither the absolute path of a program nor a URL");
    unlink(program);
    rmdir(folder);
    free(folder), free(program), free(none);
}

static void test_two_names_of_one_server(void **state)
{
    (void)state;
    refused(
        "backend \"a\" { address = \"imap://h\" }\nbackend \"b\" { address = \"imap+starttls://H:143\" }\n"
        "migration { source = \"a\"\n target = \"b\" }\n",
        4, "\"b\" has the same address as \"a\"");
    refused("backend \"a\" { address = \"imap+unix:///x\" }\nbackend \"b\" { address = \"imap+unix:///x\" }\n"
            "migration { source = \"a\"\n target = \"b\" }\n",
            4, "has the same address");
    struct conf *c =
        load("backend \"a\" { address = \"imap://h\" }\nbackend \"b\" { address = \"imaps://h\" }\n"
             "migration { source = \"a\" target = \"b\" }\n",
             CONF_CTL);
    conf_free(&c);
}

static void test_tls_of_redis(void **state)
{
    char *files = xasprintf(
        "redis { url = \"rediss://h\"\n ca_file = \"%s/ca\"\n tls_cert = \"%s/c\"\n tls_key = \"%s/k\" }\n" REST,
        dir, dir, dir);

    (void)state;
    refused("redis { url = \"redis://h\"\n ca_file = \"x\" }\n" REST, 2, "is of no use without TLS");
    refused("redis { url = \"sentinel://h/m\"\n tls_name = \"x\" }\n" REST, 2, "is of no use without TLS");
    refused("redis { url = \"unix:///r\"\n tls_key = \"x\" }\n" REST, 2, "is of no use without TLS");
    refused("redis { url = \"rediss://h\"\n tls_cert = \"/dev/null\" }\n" REST, 2, "needs tls_key");
    refused("redis { url = \"rediss://h\"\n tls_key = \"/dev/null\" }\n" REST, 2, "needs tls_cert");
    refused("redis { url = \"rediss://h\"\n tls_name = \"a b\" }\n" REST, 2, "is not the name of a host");
    refused("redis { url = \"sentinels://h/m\"\n pin = {\"sha256//x\"} }\n" REST, 2, "base64 of a SHA-256");
    refused("redis { url = \"rediss://ann@h\" }\n" REST, 1, "names a user and no password");
    refused("redis { url = \"sentinels://h/m?sentinel_auth=bob\" }\n" REST, 1,
            "or give sentinel_password_file");
    refused(files, 2, "/ca\" cannot be read");
    refused(files, 3, "/c\" cannot be read");
    refused(files, 4, "/k\" cannot be read");
    free(files);
}

/* By all roles, and read anew at SIGHUP. */
static void test_password_file_of_redis(void **state)
{
    char *text = xasprintf(
        "redis { url = \"sentinel://h/m\" password_file = \"%s/r\" sentinel_password_file = \"%s/s\" }\n" REST,
        dir, dir);

    (void)state;
    refused(text, 1, "/r\" cannot be read");
    refused(text, 1, "/s\" cannot be read");
    put("r", "one\n", 4), put("s", "two\n", 4);
    struct conf *c = load(text, CONF_CTL), *copy = conf_copy(c);
    assert_string_equal(copy->redis.addresses->password, "one");
    assert_string_equal(copy->redis.addresses->sentinel_password, "two");
    put("r", "three\n", 6);
    struct conf *fresh = load(text, CONF_CTL);
    conf_reload(c, fresh, NULL, NULL);
    assert_string_equal(c->redis.addresses->password, "three");
    conf_free(&fresh), conf_free(&copy), conf_free(&c);
    free(text);
    text = xasprintf(
        "redis { url = \"redis://:x@h\" password_file = \"%s/r\"\n sentinel_password_file = \"%s/s\" }\n" REST,
        dir, dir);
    refused(text, 1, "the url holds a password");
    refused(text, 2, "the url names no Sentinels");
    drop("r"), drop("s");
    free(text);
}

/* --- what each program needs --- */

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

/* A file with a master user, and the names of all files in our folder. */
static char *conf_with_files(void)
{
    return xasprintf(
        "backend \"old\" {\n address = \"imaps://h\"\n ca_file = \"%s/ca\"\n master_user = \"m\"\n"
        " master_password_file = \"%s/secret\"\n}\nbackend \"new\" { address = \"imap://h\" }\n"
        "proxy { listen = \"imaps://h\"\n tls_cert = \"%s/cert\"\n tls_key = \"%s/key\" }\n"
        "seal {\n public_key_file = \"%s/pub\"\n private_key_files = {\"%s/priv\"} }\n"
        "migration { source = \"old\" target = \"new\" }\n",
        dir, dir, dir, dir, dir, dir);
}

static void put(const char *name, const char *text, size_t len)
{
    char *path = path_of(name);
    write_file(path, text, len);
    free(path);
}

static void drop(const char *name)
{
    char *path = path_of(name);
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void test_files_by_role(void **state)
{
    char *text = conf_with_files();
    struct conf *c = load(text, CONF_CTL);

    (void)state;
    conf_free(&c);
    refused_by(CONF_PROXY, text, 3, "ca_file: ");
    refused_by(CONF_MIGRATOR, text, 3, "ca_file: ");
    put("ca", "", 0);
    refused_by(CONF_PROXY, text, 9, "/cert\" cannot be read: No such file");
    put("cert", "", 0);
    refused_by(CONF_PROXY, text, 10, "/key\" cannot be read: No such file");
    put("key", "", 0);
    refused_by(CONF_PROXY, text, 12, "/pub\" cannot be read: No such file");
    put("pub", "", 0);
    c = load(text, CONF_PROXY);
    assert_null(c->backends[0].master_password);
    conf_free(&c);
    drop("cert"), drop("key"), drop("pub");
    refused_by(CONF_MIGRATOR, text, 5, "/secret\" cannot be read: No such file");
    refused_by(CONF_MIGRATOR, BACKEND("doveadm_url = \"http://h/\" doveadm_key_file = \"/nowhere/key\""), 3,
               "doveadm_key_file: \"/nowhere/key\" cannot be read");
    put("secret", "pw", 2);
    refused_by(CONF_MIGRATOR, text, 13, "/priv\" cannot be read: No such file");
    put("priv", "", 0);
    c = load(text, CONF_MIGRATOR);
    assert_string_equal(c->backends[0].master_password, "pw");
    conf_free(&c);
    drop("ca"), drop("secret"), drop("priv");
    free(text);
}

static void secret(const char *bytes, size_t len, const char *wanted, const char *why)
{
    char *text = conf_with_files();

    put("secret", bytes, len);
    if (wanted) {
        struct conf *c = load(text, CONF_MIGRATOR);
        assert_string_equal(c->backends[0].master_password, wanted);
        conf_free(&c);
    } else {
        refused_by(CONF_MIGRATOR, text, 5, why);
    }
    free(text);
}

/* --- copies, and what a reload changes --- */

struct heard {
    struct buf taken, left;
};

static void hear(void *owner, const char *section, const char *title, const char *option, bool taken)
{
    struct heard *h = owner;
    buf_printf(taken ? &h->taken : &h->left, "%s%s%s.%s ", section, title ? ":" : "", title ? title : "",
               option ? option : "");
}

#define RELOAD_TEXT(url, secret, more, rules, migrator, migration)                                            \
    "redis { url = \"redis://:p%%40w@h\" }\n"                                                                 \
    "backend \"a\" { address = \"" url "\" master_user = \"m\" master_password_file = \"" secret              \
    "\" }\n" more "backend \"b\" { address = \"imap://b\" " migrator " }\n" rules                             \
    "migration { source = \"a\" target = \"b\" aliases = {\"x=y\"} rename = {\"Sent Items=Sent\"} " migration \
    " }\n"

static void test_a_copy_is_whole(void **state)
{
    struct buf a = {0}, b = {0};
    char *secret = path_of("secret");
    char *text = xasprintf(
        RELOAD_TEXT("imap://a", "%s", "", "rule \"*@z\" { source = \"b\" target = \"a\" }\n", "", ""),
        secret);

    (void)state;
    put("secret", "pw", 2);
    struct conf *c = load(text, CONF_MIGRATOR), *copy = conf_copy(c);
    conf_print(&a, c);
    conf_free(&c);
    conf_print(&b, copy);
    assert_string_equal(buf_str(&a), buf_str(&b));
    assert_string_equal(copy->redis.addresses->password, "p@w");
    assert_string_equal(copy->backends[0].address.host, "a");
    assert_string_equal(copy->backends[0].master_password, "pw");
    assert_string_equal(conf_pair_of(copy, "q@z").source, "b");
    assert_int_equal(copy->migration.n_alias_table, 1);
    assert_non_null(copy->migration.rules);
    conf_free(&copy);
    drop("secret");
    buf_free(&a), buf_free(&b);
    free(text), free(secret);
}

static void reload_into(struct conf *c, struct heard *h, char *text)
{
    struct conf *fresh = load(text, CONF_MIGRATOR);
    *h = (struct heard){{0}, {0}};
    conf_reload(c, fresh, hear, h);
    conf_free(&fresh);
    free(text);
}

static void heard_is(struct heard *h, const char *taken, const char *left)
{
    assert_string_equal(buf_str(&h->taken), taken);
    assert_string_equal(buf_str(&h->left), left);
    buf_free(&h->taken), buf_free(&h->left);
}

#define LISTS(a, b)                                                                                          \
    "backend \"a\" { address = " a " }\nbackend \"b\" { address = " b " }\n"                                 \
    "migration { source = \"a\" target = \"b\" }\n"

static void addresses_are(const struct conf_backend *b, const char *hosts)
{
    struct buf all = {0};
    const struct address *a;
    for (size_t i = 0; (a = backend_address(b, i)); i++)
        buf_printf(&all, "%s:%u ", a->host, a->port);
    assert_string_equal(buf_str(&all), hosts);
    buf_free(&all);
}

static void test_several_addresses(void **state)
{
    struct heard h;
    (void)state;
    struct conf *c = load(LISTS("{\"imaps://x\", \"imaps://y:1993\"}", "\"imap://z\""), CONF_MIGRATOR);
    const struct conf_backend *a = conf_backend(c, "a"), *b = conf_backend(c, "b");
    addresses_are(a, "x:993 y:1993 ");
    addresses_are(b, "z:143 ");
    struct conf *copy = conf_copy(c);
    reload_into(c, &h,
                xstrdup(LISTS("{\"imaps://y:1993\"}", "{\"imap://z\", \"imap://w\", \"imap://[::1]\"}")));
    heard_is(&h, "backend:a.address backend:b.address ", "");
    addresses_are(a, "y:1993 ");
    addresses_are(b, "z:143 w:143 ::1:143 ");
    addresses_are(conf_backend(copy, "a"), "x:993 y:1993 ");
    conf_free(&copy);
    /* Another scheme needs what was made of the first one's: a policy of TLS, or none. */
    reload_into(c, &h, xstrdup(LISTS("\"imap://y:1993\"", "{\"imap://z\"}")));
    heard_is(&h, "backend:b.address ", "backend:a.address ");
    addresses_are(a, "y:1993 ");
    conf_free(&c);

    refused(LISTS("{\"imaps://x\", \"imap://y\"}", "\"imap://z\""), 1,
            "has another scheme than \"imaps://x\"");
    refused(LISTS("{\"imaps://x\", \"imaps://X:993\"}", "\"imap://z\""), 1, "is given twice");
    refused(LISTS("{\"imaps://x\", \"foo\"}", "\"imap://z\""), 1, "\"foo\" is not a backend address");
    refused(LISTS("{}", "\"imap://z\""), 1, "names no address");
    refused(LISTS("{\"imap://x\", \"imap://z\"}", "{\"imap://w\", \"imap://z\"}"), 3,
            "\"b\" has the same address as \"a\"");
}

/* What is taken, what waits for a restart, and pointers to sections that hold. */
static void test_reload(void **state)
{
    char *s1 = path_of("secret"), *s2 = path_of("secret2");
    struct heard h;

    (void)state;
    put("secret", "one", 3);
    put("secret2", "three", 5);
    char *text = xasprintf(
        RELOAD_TEXT("imap://a", "%s", "", "rule \"*@z\" { source = \"b\" target = \"a\" }\n", "", ""), s1);
    struct conf *c = load(text, CONF_MIGRATOR);
    const struct conf_backend *a = conf_backend(c, "a"), *b = conf_backend(c, "b");
    reload_into(c, &h, text);
    heard_is(&h, "", "");

    put("secret", "two", 3);
    reload_into(c, &h,
                xasprintf(RELOAD_TEXT("imap://elsewhere", "%s", "backend \"c\" { address = \"imap://c\" }\n",
                                      "", "max_connections = 3 retired = true",
                                      "window = {\"Mon 01:00-02:00\"} verify = \"sample\""),
                          s1));
    heard_is(&h, "backend:a.address backend:b.max_connections backend:b.retired migration.window ",
             "backend:c. rule:*@z. migration.verify ");
    assert_ptr_equal(conf_backend(c, "a"), a);
    assert_string_equal(a->master_password, "two");
    assert_string_equal(a->address.host, "elsewhere");
    assert_true(b->retired);
    assert_int_equal(b->max_connections, 3);
    assert_int_equal(c->migration.window.n, 1);
    assert_int_equal(c->migration.verify, VERIFY_FULL);
    assert_null(conf_backend(c, "c"));

    reload_into(c, &h,
                xasprintf(RELOAD_TEXT("imap://a", "%s", "",
                                      "rule \"*@z\" { source = \"b\" target = \"a\" }\n", "", ""),
                          s2));
    heard_is(&h,
             "backend:a.address backend:a.master_password_file backend:b.max_connections backend:b.retired "
             "migration.window ",
             "");
    assert_string_equal(a->master_password, "three");

    /* A master that is taken away stays: what runs still says that there is one. */
    char *without = xasprintf(
        "%s",
        "redis { url = \"redis://:p%40w@h\" }\nbackend \"a\" { address = \"imap://a\" }\n"
        "backend \"b\" { address = \"imap://b\" }\nrule \"*@z\" { source = \"b\" target = \"a\" }\n"
        "migration { source = \"a\" target = \"b\" aliases = {\"x=y\"} rename = {\"Sent Items=Sent\"} }\n");
    reload_into(c, &h, without);
    heard_is(&h, "", "backend:a.master_user backend:a.master_password_file ");
    assert_string_equal(a->master_password, "three");
    conf_free(&c);
    drop("secret"), drop("secret2");
    free(s1), free(s2);
}

/* The order of rules decides, and needs a restart too. */
static void test_reload_of_rules(void **state)
{
    static const char x[] = "rule \"x*\" { source = \"a\" target = \"b\" }\n",
                      y[] = "rule \"*y\" { source = \"b\" target = \"a\" }\n";
    struct heard h;

    (void)state;
    char *text = xasprintf(TWO "%s%smigration { source = \"a\" target = \"b\" }\n", x, y);
    struct conf *c = load(text, CONF_MIGRATOR);
    reload_into(c, &h, text);
    heard_is(&h, "", "");
    reload_into(c, &h, xasprintf(TWO "%s%smigration { source = \"a\" target = \"b\" }\n", y, x));
    heard_is(&h, "", "rule:x*. ");
    assert_string_equal(conf_pair_of(c, "xy").source, "a");
    conf_free(&c);
}

/* ---- waves */

#define WAVES(x) TWO x "migration { source = \"a\" target = \"b\" }\n"

static void test_waves(void **state)
{
    char *list = path_of("list"), *text;

    (void)state;
    put("list", "Ann\n# all of z\nbob@z\n", 22);
    text = xasprintf(
        WAVES("wave \"pilot\" { accounts = {\"%s\", \"*@IT.example\"} share = 5 per_day = 7 after = "
              "\"2026-12-01 20:00\" }\nwave \"rest\" { accounts = \"*\" }\n"),
        list);
    struct conf *c = load(text, CONF_CTL), *copy = conf_copy(c);
    conf_free(&c); /* the list is the copy's, too */
    assert_int_equal(copy->n_waves, 2);
    assert_int_equal(account_names_count(copy->waves[0].listed), 2);
    assert_string_equal(copy->waves[0].accounts.items[1], "*@it.example");
    assert_true(copy->waves[0].after_ms > 0 && copy->waves[0].share == 5 && copy->waves[0].per_day == 7);
    assert_string_equal(wave_of(copy, "bob@z")->name, "pilot");
    assert_string_equal(wave_of(copy, "bob@y")->name, "rest");
    assert_int_equal(copy->waves[1].share, 100);
    conf_free(&copy);
    drop("list");
    refused(text, 2, "cannot be read: No such file");
    put("list", "ann\na b\nb c\nc d\nd e\n", 20);
    refused(text, 2, "/list\": line 2 is more than a login name");
    refused(text, 2, "; and 1 more");
    drop("list");
    free(text), free(list);
    refused(WAVES("wave \"a b\" { accounts = \"*\" }\n"), 2, "its name is not 1 to 64 letters");
    refused(WAVES("wave \"x\" { }\n"), 2, "accounts: must be given");
    refused(WAVES("wave \"x\" { accounts = {} }\n"), 2, "names nobody");
    refused(WAVES("wave \"x\" { accounts = \"*'\" }\n"), 2, "no account holds the byte 0x27");
    refused(WAVES("wave \"x\" { accounts = \"*\" after = \"noon\" }\n"), 2, "after: \"noon\" is no time");
    refused(WAVES("wave \"x\" { accounts = \"*\" share = 101 }\n"), 2, "share");
    refused(WAVES("wave \"x\" { accounts = {\"/dev/null\",\n\"/dev/null\"} }\n"), 3,
            "is the second file of this wave");
}

/* All of it: waves that are new, gone, in another order, and what their files say. */
static void test_reload_of_waves(void **state)
{
    char *list = path_of("list");
    struct heard h;

    (void)state;
    put("list", "ann\n", 4);
    char *text =
        xasprintf(WAVES("wave \"x\" { accounts = \"%s\" }\nwave \"y\" { accounts = \"y*\" }\n"), list);
    struct conf *c = load(text, CONF_MIGRATOR);
    reload_into(c, &h, xstrdup(text));
    heard_is(&h, "", "");
    assert_null(wave_of(c, "bob"));
    put("list", "bob\n", 4);
    reload_into(c, &h, text);
    heard_is(&h, "wave:x.accounts ", "");
    assert_string_equal(wave_of(c, "bob")->name, "x");
    assert_null(wave_of(c, "ann"));
    reload_into(
        c, &h,
        xasprintf(WAVES("wave \"z\" { accounts = \"z*\" }\nwave \"x\" { accounts = \"%s\" share = 7 }\n"),
                  list));
    heard_is(&h, "wave:y. wave:z. wave:x.share ", "");
    assert_string_equal(wave_of(c, "zoe")->name, "z");
    assert_int_equal(wave_of(c, "bob")->share, 7);
    assert_null(wave_of(c, "yan"));
    reload_into(
        c, &h,
        xasprintf(WAVES("wave \"x\" { accounts = \"%s\" share = 7 }\nwave \"z\" { accounts = \"z*\" }\n"),
                  list));
    heard_is(&h, "wave:z. ", "");
    reload_into(c, &h, xstrdup(WAVES("")));
    heard_is(&h, "wave:x. wave:z. ", "");
    assert_int_equal(c->n_waves, 0);
    conf_free(&c);
    drop("list");
    free(list);
}

static void test_trigger_of_a_rule(void **state)
{
    (void)state;
    struct conf *c =
        load(WAVES("rule \"*@x\" { source = \"a\" target = \"b\" trigger = \"manual\" }\n"), CONF_CTL);
    assert_int_equal(wave_trigger(c, "ann@x"), TRIGGER_MANUAL);
    assert_int_equal(wave_trigger(c, "ann@y"), TRIGGER_LOGIN);
    conf_free(&c);
}

static void test_secret(void **state)
{
    char long_one[1027];

    (void)state;
    put("ca", "", 0), put("priv", "", 0);
    secret("pa ss", 5, "pa ss", NULL);
    secret("pa ss\n", 6, "pa ss", NULL);
    secret("p\xc3\xa4\n", 4, "p\xc3\xa4", NULL);
    secret("", 0, NULL, "holds no password");
    secret("\n", 1, NULL, "holds no password");
    secret("pw\n\n", 4, NULL, "control characters");
    secret("pw\r\n", 4, NULL, "control characters");
    secret("p\0w", 3, NULL, "control characters");
    memset(long_one, 'x', sizeof(long_one));
    long_one[1024] = '\0';
    secret(long_one, 1024, long_one, NULL);
    long_one[1024] = '\n';
    secret(long_one, 1026, NULL, "larger than 1 KiB");
    memset(long_one, 'x', sizeof(long_one));
    secret(long_one, 1025, NULL, "larger than 1 KiB");
    drop("secret"), drop("ca"), drop("priv");
}

static void test_proxy_needs(void **state)
{
    (void)state;
    refused_by(CONF_PROXY, REST, 4, "proxy: listen: must be given");
    refused_by(CONF_PROXY, "proxy {\n listen = \"imap+starttls://h\" }\n" REST, 1, "tls_cert: must be given");
    refused_by(CONF_PROXY, "proxy { listen = \"imaps://h\"\n tls_cert = \"/\" }\n" REST, 1,
               "tls_key: must be given");
    struct conf *c = load("proxy { listen = {\"imap://h\", \"imap+unix:///x\"} }" REST, CONF_PROXY);
    conf_free(&c);
}

static void test_unreadable(void **state)
{
    char *error = NULL;

    (void)state;
    assert_null(conf_load("/nonexistent/x.conf", CONF_CTL, &error));
    assert_string_equal(error, "/nonexistent/x.conf: cannot be read: No such file or directory");
    free(error);
    assert_null(conf_load(dir, CONF_CTL, &error));
    assert_non_null(strstr(error, "cannot be read: Is a directory"));
    free(error);
}

static void test_many_aliases(void **state)
{
    struct buf text = {0};

    (void)state;
    buf_add_str(&text, TWO "migration { source = \"a\" target = \"b\" aliases = {\n");
    for (unsigned i = 0; i < 5000; i++)
        buf_printf(&text, "\"alias%u@example.org=account%u@example.org\",\n", i, i);
    buf_add_str(&text, "} }\n");
    struct conf *c = load(buf_str(&text), CONF_CTL);
    assert_int_equal(c->migration.n_alias_table, 5000);
    conf_free(&c);
    buf_free(&text);
}

/* --- arguments --- */

struct run {
    bool go_on;
    int status, optind;
    const char *file;
    struct buf out;
};

static void redirect(int fd, const char *name, int *saved)
{
    *saved = dup(fd);
    int to = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(*saved >= 0 && to >= 0);
    dup2(to, fd);
    close(to);
}

/* Standard output and error go to the result. */
static struct run arguments(enum conf_role role, int argc, char **argv)
{
    struct run r = {.status = -1, .optind = -1};
    char *name = path_of("out");
    int out, err;

    fflush(stdout), fflush(stderr);
    redirect(STDOUT_FILENO, name, &out);
    err = dup(STDERR_FILENO);
    dup2(STDOUT_FILENO, STDERR_FILENO);
    r.go_on = conf_arguments(argc, argv, role, NULL, "usage: x\n", &r.file, &r.status);
    r.optind = optind;
    fflush(stdout), fflush(stderr);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out), close(err);
    read_whole(name, &r.out);
    drop("out");
    free(name);
    return r;
}

#define ARGUMENTS(role, ...)                                                                                 \
    arguments(role, COUNTOF(((char *[]){"x", __VA_ARGS__})), (char *[]){"x", __VA_ARGS__, NULL})

static void ends(struct run r, int status, const char *says)
{
    assert_false(r.go_on);
    assert_int_equal(r.status, status);
    if (!strstr(buf_str(&r.out), says))
        fail_msg("said: %s", buf_str(&r.out));
    buf_free(&r.out);
}

static void goes_on(struct run r, const char *with, int at)
{
    assert_true(r.go_on);
    assert_string_equal(r.file, with);
    assert_int_equal(r.optind, at);
    assert_int_equal(r.out.len, 0);
    buf_free(&r.out);
}

#define OLD_TLS                                                                                              \
    "backend \"a\" { address = \"imaps://a\" tls_min = \"1.0\" }\n"                                          \
    "backend \"b\" { address = \"imaps://b\" }\nmigration { source = \"a\" target = \"b\" }\n"

static void test_arguments(void **state)
{
    struct buf text = {0};

    (void)state;
    sample(&text);
    write_file(file, buf_str(&text), text.len);
    goes_on(ARGUMENTS(CONF_PROXY, "-c", "f"), "f", 3);
    goes_on(ARGUMENTS(CONF_PROXY, "-cf"), "f", 2);
    goes_on(arguments(CONF_PROXY, 1, (char *[]){"x", NULL}), CONF_DEFAULT_FILE, 1);
    ends(ARGUMENTS(CONF_PROXY, "-c"), 2, "usage: x");
    ends(ARGUMENTS(CONF_PROXY, "-x"), 2, "what does \"-x\" mean?");
    ends(ARGUMENTS(CONF_PROXY, "word"), 2, "usage: x");
    ends(ARGUMENTS(CONF_PROXY, "--json"), 2, "usage: x");
    ends(ARGUMENTS(CONF_PROXY, "--check-conf", "word"), 2, "usage: x");
    ends(ARGUMENTS(CONF_PROXY, "--version"), 0, "imapferry " IMAPFERRY_VERSION "\n");
    ends(ARGUMENTS(CONF_PROXY, "--help"), 0, "usage: x");
    ends(ARGUMENTS(CONF_MIGRATOR, "--print-conf=sample"), 0, buf_str(&text));
    ends(ARGUMENTS(CONF_MIGRATOR, "--check-conf", "-c", "/nonexistent"), 1, "cannot be read");
    ends(ARGUMENTS(CONF_CTL, "--check-conf", "-c", file), 0, "no errors");
    ends(ARGUMENTS(CONF_CTL, "--print-conf", "-c", file), 0, "lease = \"10s\"\n");
    ends(ARGUMENTS(CONF_PROXY, "--print-conf", "-c", file), 1, ": proxy: tls_cert: ");
    write_file(file, OLD_TLS, strlen(OLD_TLS));
    ends(ARGUMENTS(CONF_CTL, "--check-conf", "-c", file), 0,
         "warning: backend \"a\": tls_min: versions below 1.2 are taken, from 1.0 on\n");
    ends(ARGUMENTS(CONF_CTL, "--print-conf", "-c", file), 0, "tls_min = \"1.0\"\n");
    buf_free(&text);
}

/* imapferryctl's own arguments are left to it. */
static void test_ctl_arguments(void **state)
{
    char *argv[] = {"x", "--json", "-c", "f", "--json", "user", "-c", "g", NULL};
    static const char *const wanted[] = {"x", "-c", "f", "--json", "--json", "user", "-c", "g"};

    (void)state;
    goes_on(ARGUMENTS(CONF_CTL, "-c", "f", "user", "ann", "--json"), "f", 3);
    goes_on(ARGUMENTS(CONF_CTL, "--json", "user"), CONF_DEFAULT_FILE, 1);
    goes_on(ARGUMENTS(CONF_CTL, "--what"), CONF_DEFAULT_FILE, 1);
    goes_on(arguments(CONF_CTL, 8, argv), "f", 3);
    for (size_t i = 0; i < COUNTOF(wanted); i++)
        assert_string_equal(argv[i], wanted[i]);
    goes_on(ARGUMENTS(CONF_CTL, "-c"), CONF_DEFAULT_FILE, 1);
}

static void test_rules(void **state)
{
    (void)state;
    refused(TWO "migration { source = \"a\" target = \"b\"\n rename = {\"x=y\",\n\"Sent\"} }", 4,
            "rename: \"Sent\" is not");
    refused(TWO "migration { source = \"a\" target = \"b\"\n exclude = {\"INBOX\"} }", 3, "INBOX");
    refused(TWO "migration { source = \"a\" target = \"b\"\n\nleave_out = {\"older:3\"} }", 4, "older:365d");
    refused(TWO "migration { source = \"a\" target = \"b\" acl_map = {\"*=x\"} }", 2, "same wildcards");
    struct conf *c =
        load(TWO "migration { source = \"a\" target = \"b\" rename = {\"Sent Items=Sent\"} exclude = "
                 "{\"x/*\", \"50\\\\%\"} leave_out = {\"flag:\\\\Deleted\"} acl_map = "
                 "{\"*@a=*@b\"} }",
             CONF_CTL);
    struct view_place place = {.name = span_str("50%/y"), .separator = '/', .prefix = ""};
    assert_int_equal(migration_rules_exclude(c->migration.rules, &place), 2);
    conf_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_is_the_file),
        cmocka_unit_test(test_sample_loads),
        cmocka_unit_test(test_sample_shows_defaults),
        cmocka_unit_test(test_every_prefix_of_the_sample),
        cmocka_unit_test(test_every_prefix_of_the_settings),
        cmocka_unit_test(test_nul_anywhere),
        cmocka_unit_test(test_comments_and_layout),
        cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_numbers_and_words),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_no_password_in_errors),
        cmocka_unit_test(test_delivery),
        cmocka_unit_test(test_backends),
        cmocka_unit_test(test_master_login),
        cmocka_unit_test(test_migration),
        cmocka_unit_test(test_rules_in_order),
        cmocka_unit_test(test_rules_refused),
        cmocka_unit_test(test_print_is_read_back),
        cmocka_unit_test(test_print_tells_no_password),
        cmocka_unit_test(test_all_errors_at_once),
        cmocka_unit_test(test_numbers_out_of_range),
        cmocka_unit_test(test_names_hide_no_values),
        cmocka_unit_test(test_syntax_errors_hide_little),
        cmocka_unit_test(test_all_values_of_a_list),
        cmocka_unit_test(test_listeners_on_one_port),
        cmocka_unit_test(test_networks_that_are_trusted),
        cmocka_unit_test(test_hooks_can_be_run),
        cmocka_unit_test(test_two_names_of_one_server),
        cmocka_unit_test(test_tls_of_redis),
        cmocka_unit_test(test_password_file_of_redis),
        cmocka_unit_test(test_files_by_role),
        cmocka_unit_test(test_secret),
        cmocka_unit_test(test_a_copy_is_whole),
        cmocka_unit_test(test_several_addresses),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_of_rules),
        cmocka_unit_test(test_waves),
        cmocka_unit_test(test_reload_of_waves),
        cmocka_unit_test(test_trigger_of_a_rule),
        cmocka_unit_test(test_proxy_needs),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_many_aliases),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_ctl_arguments),
    };
    return cmocka_run_group_tests_name("conf", tests, make_dir, remove_dir);
}
