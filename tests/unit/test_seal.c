#include <sys/stat.h>
#include <unistd.h>

#include "lib/seal.h"
#include "unit.h"

/* A folder with two pairs of keys. */
struct fixture {
    char folder[64];
    char files[4][96]; /* private a, public a, private b, public b */
};

static const struct seal_context ann = {"ann", "old", "login", 1000};

static void name_files(struct fixture *f)
{
    static const char *const names[] = {"a.key", "a.pub", "b.key", "b.pub"};
    for (size_t i = 0; i < 4; i++)
        snprintf(f->files[i], sizeof(f->files[i]), "%s/%s", f->folder, names[i]);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    char *error = NULL;
    strcpy(f->folder, "/tmp/ferry-seal-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    name_files(f);
    assert_true(seal_key_make(f->files[0], f->files[1], &error));
    assert_true(seal_key_make(f->files[2], f->files[3], &error));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 4; i++)
        unlink(f->files[i]);
    rmdir(f->folder);
    free(f);
    return 0;
}

static struct seal_public *public_key(const struct fixture *f, size_t i)
{
    char *error = NULL;
    struct seal_public *k = seal_public_load(f->files[i], &error);
    assert_non_null(k);
    return k;
}

static struct seal_private *ring_of(const struct fixture *f, size_t first, size_t n)
{
    char *files[] = {(char *)(uintptr_t)f->files[first], (char *)(uintptr_t)f->files[2]};
    char *error = NULL;
    struct seal_private *k = seal_private_load(files, n, &error);
    assert_non_null(k);
    return k;
}

static void sealed_by(const struct fixture *f, size_t i, struct span secret, struct buf *out)
{
    struct seal_public *k = public_key(f, i);
    seal_close(out, k, &ann, secret);
    seal_public_free(&k);
}

static void opens(const struct seal_private *ring, struct span sealed, struct span secret)
{
    struct buf out = {0};
    const char *why = "";
    assert_true(seal_open(&out, ring, "ann", "old", "login", 999, sealed, &why));
    assert_true(span_eq(buf_span(&out), secret));
    buf_wipe(&out);
}

static void refuses(const struct seal_private *ring, const char *user, const char *backend,
                    const char *purpose, uint64_t now, struct span sealed, const char *want)
{
    struct buf out = {0};
    const char *why = "";
    assert_false(seal_open(&out, ring, user, backend, purpose, now, sealed, &why));
    assert_string_equal(why, want);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static const char *const ALTERED = "it was altered, or is for another account, backend or purpose";
static const char *const FORM = "it is not of the form that we seal in";

static void test_secrets_of_all_lengths(void **state)
{
    struct seal_private *ring = ring_of(*state, 0, 2);
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        struct buf out = {0};
        sealed_by(*state, 1, span_of(bytes, n), &out);
        opens(ring, buf_span(&out), span_of(bytes, n));
        buf_free(&out);
    }
    seal_private_free(&ring);
}

static void test_never_the_same_twice_and_printable(void **state)
{
    struct buf one = {0}, two = {0};
    sealed_by(*state, 1, BYTES("secret"), &one);
    sealed_by(*state, 1, BYTES("another secret"), &two);
    assert_false(span_eq(buf_span(&one), buf_span(&two)));
    assert_int_equal(one.len, two.len);
    for (size_t i = 0; i < one.len; i++)
        assert_true(one.mem[i] == '.' || (one.mem[i] >= '0' && one.mem[i] <= 'f'));
    assert_null(strstr(buf_str(&one), "secret"));
    buf_free(&one);
    buf_free(&two);
}

static void test_bound_to_what_it_is_for(void **state)
{
    struct seal_private *ring = ring_of(*state, 0, 2);
    struct buf b = {0};
    sealed_by(*state, 1, BYTES("secret"), &b);
    struct span s = buf_span(&b);
    opens(ring, s, BYTES("secret"));
    refuses(ring, "bob", "old", "login", 999, s, ALTERED);
    refuses(ring, "ann", "new", "login", 999, s, ALTERED);
    refuses(ring, "ann", "old", "other", 999, s, ALTERED);
    refuses(ring, "annold", "", "login", 999, s, ALTERED);
    refuses(ring, "ann", "old", "login", 1000, s, "it has expired");
    buf_free(&b);
    seal_private_free(&ring);
}

static void test_every_altered_byte_is_noticed(void **state)
{
    struct seal_private *ring = ring_of(*state, 0, 2);
    struct buf b = {0}, out = {0};
    sealed_by(*state, 1, BYTES("secret"), &b);
    char *text = xspandup(buf_span(&b));
    for (size_t i = 0; i < b.len; i++) {
        const char *why = NULL;
        char was = text[i];
        text[i] = was == '0' ? '1' : '0';
        assert_false(seal_open(&out, ring, "ann", "old", "login", 0, span_of(text, b.len), &why));
        assert_non_null(why);
        text[i] = was;
        assert_false(seal_open(&out, ring, "ann", "old", "login", 0, span_of(text, i), &why));
    }
    refuses(ring, "ann", "old", "login", 0, BYTES(""), FORM);
    refuses(ring, "ann", "old", "login", 0, BYTES("1..."), FORM);
    refuses(ring, "ann", "old", "login", 0, BYTES("1.0123456789abcdef.5.zz"), FORM);
    opens(ring, span_of(text, b.len), BYTES("secret"));
    free(text);
    buf_free(&b);
    buf_free(&out);
    seal_private_free(&ring);
}

static void test_keys_can_be_rotated(void **state)
{
    struct seal_private *both = ring_of(*state, 0, 2), *second = ring_of(*state, 2, 1);
    struct buf by_a = {0}, by_b = {0};
    sealed_by(*state, 1, BYTES("a"), &by_a);
    sealed_by(*state, 3, BYTES("b"), &by_b);
    opens(both, buf_span(&by_a), BYTES("a"));
    opens(both, buf_span(&by_b), BYTES("b"));
    opens(second, buf_span(&by_b), BYTES("b"));
    refuses(second, "ann", "old", "login", 0, buf_span(&by_a), "it was sealed to a key that is not here");
    buf_free(&by_a);
    buf_free(&by_b);
    seal_private_free(&both);
    seal_private_free(&second);
}

static void cannot_load(const char *file, bool private_key, const char *part)
{
    char *error = NULL, *files[] = {(char *)(uintptr_t)file};
    if (private_key)
        assert_null(seal_private_load(files, 1, &error));
    else
        assert_null(seal_public_load(file, &error));
    assert_non_null(strstr(error, part));
    assert_non_null(strstr(error, file));
    free(error);
}

static void test_files(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char *error = NULL;

    assert_int_equal(stat(f->files[0], &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(seal_key_make(f->files[0], "/nonexistent/x", &error));
    assert_non_null(strstr(error, f->files[0]));
    free(error);
    cannot_load(f->files[0], false, "no X25519 public key");
    cannot_load(f->files[1], true, "no X25519 private key");
    cannot_load("/nonexistent/x", true, "No such file");
    cannot_load("/dev/null", false, "no X25519 public key");

    char lone[96];
    snprintf(lone, sizeof(lone), "%s/lone.key", f->folder);
    assert_false(seal_key_make(lone, "/nonexistent/x", &error));
    assert_int_equal(access(lone, F_OK), -1);
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secrets_of_all_lengths),
        cmocka_unit_test(test_never_the_same_twice_and_printable),
        cmocka_unit_test(test_bound_to_what_it_is_for),
        cmocka_unit_test(test_every_altered_byte_is_noticed),
        cmocka_unit_test(test_keys_can_be_rotated),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
