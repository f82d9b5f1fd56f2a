#include "io.h"
#include "lib/seal.h"
#include "lib/trial.h"

struct fixture {
    struct io_dir dir;
    const char *conf;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    io_dir_make(&f->dir);
    io_certs(&f->dir);
    f->conf = io_file(&f->dir, "t.conf");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    io_dir_remove(&f->dir);
    free(f);
    return 0;
}

static void put(const char *file, const char *text)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* What --check-conf says of it, or a start; "" = nothing. To free. */
static char *says(struct fixture *f, enum conf_role role, conf_trial_fn trial, bool checking, char *text)
{
    char *error = NULL;
    put(f->conf, text);
    free(text);
    struct conf *c = conf_load_tried(f->conf, role, trial, checking, &error);
    assert_true(!c == !!error);
    conf_free(&c);
    return error ? error : xstrdup("");
}

#define OLD "backend \"old\" { address = \"imap://127.0.0.1:1\" %s }\n"
#define NEW "backend \"new\" { address = \"imaps://127.0.0.1:2\" ca_file = \"%s\" %s }\n"
#define END "migration { source = \"old\" target = \"new\" }\n"

static char *with_pair(struct fixture *f, const char *cert, const char *key)
{
    return xasprintf(
        OLD NEW "seal { public_key_file = \"%s\" }\n"
                "proxy { listen = \"imaps://127.0.0.1:3\"\n tls_cert = \"%s\"\n tls_key = \"%s\" }\n" END,
        "", io_file(&f->dir, "ca.pem"), "", io_file(&f->dir, "seal.pub"), io_file(&f->dir, cert),
        io_file(&f->dir, key));
}

static void has(char *said, const char *wanted)
{
    if (*wanted ? !strstr(said, wanted) : *said)
        fail_msg("wanted %s, said %s", wanted, said);
    free(said);
}

static void encrypt(const char *from, const char *to)
{
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    EVP_PKEY *key = PEM_read_PrivateKey(in, NULL, NULL, NULL);
    assert_non_null(key);
    assert_int_equal(PEM_write_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
    EVP_PKEY_free(key);
    fclose(in), fclose(out);
}

static void test_certificate_and_key(void **state)
{
    struct fixture *f = *state;
    char *error = NULL;
    assert_true(seal_key_make(io_file(&f->dir, "seal.key"), io_file(&f->dir, "seal.pub"), &error));
    encrypt(io_file(&f->dir, "good.key"), io_file(&f->dir, "locked.key"));
    put(io_file(&f->dir, "empty.pem"), "");
    has(says(f, CONF_PROXY, trial_proxy, true, with_pair(f, "good.pem", "good.key")), "");
    has(says(f, CONF_PROXY, trial_proxy, true, with_pair(f, "good.pem", "expired.key")),
        ":6: proxy: tls_key: key ");
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, "good.pem", "expired.key")),
        "does not belong to the certificate");
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, "good.pem", "locked.key")), "is encrypted");
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, "empty.pem", "good.key")),
        ":5: proxy: tls_cert: certificate ");
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, ".", "good.key")), "is a folder, not a file");
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, "good.key", "good.key")),
        "holds no certificate in PEM");
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, "good.pem", ".")), ":6: proxy: tls_key: key ");
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, "good.pem", ".")), "is a folder, not a file");
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, "good.pem", "good.pem")),
        "holds no private key in PEM");
    has(says(f, CONF_PROXY, trial_proxy, true, with_pair(f, "expired.pem", "expired.key")), "has expired");
    has(says(f, CONF_PROXY, trial_proxy_reload, false, with_pair(f, "expired.pem", "expired.key")),
        ":5: proxy: tls_cert: ");
    has(says(f, CONF_PROXY, trial_proxy_reload, false, with_pair(f, "good.pem", "good.key")), "");
    /* It starts all the same: those who are signed in stay so. */
    has(says(f, CONF_PROXY, trial_proxy, false, with_pair(f, "expired.pem", "expired.key")), "");
}

static char *with_migrator(struct fixture *f, const char *ca, const char *old, const char *new,
                           const char *more)
{
    return xasprintf(OLD NEW "%s" END, old, io_file(&f->dir, ca), new, more);
}

/* All of it in one go: a CA that is none, a folder that can't be, a key that is none, no way in. */
static void test_migrator(void **state)
{
    struct fixture *f = *state;
    const char *key = io_file(&f->dir, "good.key");
    char *error = NULL;
    assert_true(seal_key_make(io_file(&f->dir, "seal.key"), io_file(&f->dir, "seal.pub"), &error));
    put(io_file(&f->dir, "empty.pem"), "");
    char *good = xasprintf("migrator { journal_dir = \"%s\" }\nseal { private_key_files = {\"%s\"} }\n",
                           f->dir.path, io_file(&f->dir, "seal.key"));
    has(says(f, CONF_MIGRATOR, trial_migrator, true, with_migrator(f, "ca.pem", "", "", good)), "");
    char *bad =
        xasprintf("migrator { journal_dir = \"%s/x\" }\nseal { private_key_files = {\"%s\"} }\n", key, key);
    char *said = says(f, CONF_MIGRATOR, trial_migrator, true, with_migrator(f, "empty.pem", "", "", bad));
    has(xstrdup(said), ":2: backend \"new\": ca_file: ");
    has(xstrdup(said), ":3: migrator: journal_dir: ");
    has(said, ":4: seal: private_key_files: ");
    char *folder = xasprintf("migrator { journal_dir = \"%s\" }\n", f->dir.path);
    has(says(f, CONF_MIGRATOR, trial_migrator, true, with_migrator(f, "ca.pem", "", "", folder)),
        ":1: backend \"old\": master_user: the migrator has no way in");
    has(says(f, CONF_MIGRATOR, trial_migrator, true,
             with_migrator(f, "ca.pem", "retired = true", "", folder)),
        ":2: backend \"new\": master_user: the migrator has no way in");
    has(says(f, CONF_MIGRATOR, trial_migrator, false, with_migrator(f, "ca.pem", "", "", folder)), "");
    has(says(f, CONF_CTL, trial_ctl, true, with_migrator(f, "ca.pem", "", "", folder)), "no way in");
    free(good), free(bad), free(folder);
}

static void copy(struct fixture *f, const char *from, const char *to)
{
    char block[8192] = "";
    FILE *in = fopen(io_file(&f->dir, from), "r");
    assert_non_null(in);
    size_t n = fread(block, 1, sizeof block - 1, in);
    fclose(in);
    block[n] = '\0';
    put(io_file(&f->dir, to), block);
}

/* The sample, with a folder of ours for those that it names, and without the user, whom this machine need not have. */
static char *own_sample(struct fixture *f)
{
    static const char *const theirs[] = {"/etc/imapferry", "#journal_dir", "/var/lib/imapferry",
                                         "user = \"imapferry\"", "user = \"imapferry-migrator\""};
    const char *ours[] = {f->dir.path, "journal_dir", f->dir.path, "user = \"\"", "user = \"\""};
    struct buf text = {0}, out = {0};
    conf_print_sample(&text);
    for (const char *p = buf_str(&text); *p;) {
        size_t i = 0;
        while (i < COUNTOF(theirs) && strncmp(p, theirs[i], strlen(theirs[i])) != 0)
            i++;
        buf_add_str(&out, i < COUNTOF(theirs) ? ours[i] : (char[]){*p, '\0'});
        p += i < COUNTOF(theirs) ? strlen(theirs[i]) : 1;
    }
    char *own = xstrdup(buf_str(&out));
    buf_free(&text), buf_free(&out);
    return own;
}

/* Followed literally, by what the README says it needs, it has no errors for anybody: no keys of seal, which
 * nobody has made. */
static void test_sample(void **state)
{
    struct fixture *f = *state;
    has(says(f, CONF_PROXY, trial_proxy, true, own_sample(f)), "proxy.pem\" cannot be read");
    put(io_file(&f->dir, "old.secret"), "secret\n");
    put(io_file(&f->dir, "new.secret"), "secret\n");
    copy(f, "good.pem", "proxy.pem");
    copy(f, "good.key", "proxy.key");
    has(says(f, CONF_PROXY, trial_proxy, true, own_sample(f)), "");
    has(says(f, CONF_MIGRATOR, trial_migrator, true, own_sample(f)), "");
    has(says(f, CONF_CTL, trial_ctl, true, own_sample(f)), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_certificate_and_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_migrator, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sample, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
