/* Accounts that share mailboxes, sorted into groups. */
#include "unit.h"

#include "lib/buf.h"
#include "migrator/admin/sharing.h"

/* "a-b c-d" are ties, "e:5" an account of 5 bytes that was surveyed. Answers "3 (2 known, 5 bytes): a b c; ..." */
static const char *groups_of(const char *text, size_t limit)
{
    static struct buf out;
    struct sharing *s = sharing_new();
    char copy[4000], *save = NULL;
    size_t n;

    assert_true(strlen(text) < sizeof(copy));
    strcpy(copy, text);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *dash = strchr(word, '-'), *colon = strchr(word, ':');
        if (dash) {
            *dash = '\0';
            sharing_tie(s, word, dash + 1);
        } else {
            assert_non_null(colon);
            *colon = '\0';
            sharing_add(s, word, 1, strtoull(colon + 1, NULL, 10));
            assert_true(sharing_knows(s, word));
        }
    }
    struct sharing_group *groups = sharing_groups(s, limit, &n);
    buf_clear(&out);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&out, "%zu (%zu known, %zu bytes):", groups[i].n, groups[i].known,
                   (size_t)groups[i].bytes);
        for (size_t k = 0; k < groups[i].n; k++)
            buf_printf(&out, " %s", groups[i].members[k].user);
        for (size_t k = 0; k < groups[i].n_without; k++)
            buf_printf(&out, " -%s", groups[i].without[k]);
        if (groups[i].n_without)
            buf_printf(&out, " leaves %zu", groups[i].rest);
        buf_add_str(&out, "; ");
    }
    sharing_groups_free(groups, n);
    assert_false(sharing_knows(s, "nobody"));
    sharing_free(&s);
    return buf_str(&out);
}

static void test_who_belongs_together(void **state)
{
    (void)state;
    assert_string_equal(groups_of("", 20), "");
    assert_string_equal(groups_of("a:1 b:2", 20), ""); /* nobody shares */
    assert_string_equal(groups_of("a-a", 20), "");
    assert_string_equal(groups_of("b-a", 20), "2 (0 known, 0 bytes): a b; ");
    assert_string_equal(groups_of("a-b b-a a-b", 20), "2 (0 known, 0 bytes): a b; ");
    assert_string_equal(groups_of("a-b c-d", 20), "2 (0 known, 0 bytes): a b; 2 (0 known, 0 bytes): c d; ");
    assert_string_equal(groups_of("y-z a:7 a-b c-d z:1 d-b x:9", 20),
                        "4 (1 known, 7 bytes): a b c d; 2 (1 known, 1 bytes): y z; ");
    /* a chain is one group, from whichever end it was told */
    assert_string_equal(groups_of("d-e a-b b-c c-d e-f", 20), "6 (0 known, 0 bytes): a b c d e f; ");
}

/* The account of a whole office, that everybody is granted: without it three pairs are left. */
static void test_what_a_large_group_would_take(void **state)
{
    (void)state;
    const char *office = "team-a team-b team-c team-d team-e team-f a-b c-d e-f";
    assert_string_equal(groups_of(office, 7), "7 (0 known, 0 bytes): a b c d e f team; ");
    assert_string_equal(groups_of(office, 6), "7 (0 known, 0 bytes): a b c d e f team -team leaves 2; ");
    assert_string_equal(groups_of(office, 2), "7 (0 known, 0 bytes): a b c d e f team -team leaves 2; ");
    assert_string_equal(groups_of("team-a team-b team-c team-d boss-e boss-f boss-g boss-h boss-team", 5),
                        "10 (0 known, 0 bytes): a b boss c d e f g h team -boss leaves 5; ");
    assert_string_equal(groups_of("team-a team-b team-c team-d boss-e boss-f boss-g boss-h boss-team", 4),
                        "10 (0 known, 0 bytes): a b boss c d e f g h team -boss -team leaves 1; ");
    /* Another group, behind a divided one, is told as it is. */
    assert_string_equal(groups_of("team-a team-b team-c x-y y-z", 3),
                        "4 (0 known, 0 bytes): a b c team -team leaves 1; 3 (0 known, 0 bytes): x y z; ");
}

/* Where everybody shares with everybody, no few accounts hold it together. */
static void test_one_that_can_not_be_divided(void **state)
{
    (void)state;
    struct sharing *s = sharing_new();
    size_t n;

    for (size_t i = 0; i < 100; i++)
        for (size_t k = 0; k < i; k++) {
            char one[20], other[20];
            snprintf(one, sizeof(one), "u%zu", i);
            snprintf(other, sizeof(other), "u%zu", k);
            sharing_tie(s, one, other);
        }
    struct sharing_group *groups = sharing_groups(s, 20, &n);
    assert_int_equal(n, 1);
    assert_int_equal(groups[0].n, 100);
    assert_int_equal(groups[0].n_without, SHARING_WITHOUT_MAX);
    assert_int_equal(groups[0].rest, 50);
    assert_int_equal(groups[0].members[7].ties, 99);
    sharing_groups_free(groups, n);
    /* asked again, it is as it was */
    groups = sharing_groups(s, 100, &n);
    assert_int_equal(groups[0].n, 100);
    assert_int_equal(groups[0].n_without, 0);
    sharing_groups_free(groups, n);
    sharing_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_belongs_together),
        cmocka_unit_test(test_what_a_large_group_would_take),
        cmocka_unit_test(test_one_that_can_not_be_divided),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
