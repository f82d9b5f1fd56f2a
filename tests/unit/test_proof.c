/* The lines of a proof: one spelling of each value, whatever names are made of. */
#include "unit.h"

#include <string.h>

#include "migrator/account/proof_text.h"

static const char *text_of(struct buf *b)
{
    return buf_str(b);
}

static void head_and_names_are_ascii_and_on_one_line(void **state)
{
    struct buf b = {0};

    (void)state;
    proof_write_head(&b, &(struct proof_head){.user = "a\"b",
                                              .source = "old",
                                              .target = "new",
                                              .verify = "full",
                                              .generation = 1,
                                              .epoch = 5,
                                              .time_ms = 86400999});
    assert_string_equal(
        text_of(&b),
        "{\"imapferry_proof\":1,\"user\":\"a\\\"b\",\"source\":\"old\",\"target\":\"new\",\"generation\":1,"
        "\"epoch\":5,\"time\":\"1970-01-02T00:00:00Z\",\"verify\":\"full\"}\n");
    buf_clear(&b);
    proof_write_mailbox(&b, &(struct proof_mailbox){.source_name = "x\r\n\\\xff\x01",
                                                    .target_name = "&2D3cqQ-",
                                                    .source_uidvalidity = 1,
                                                    .target_uidvalidity = 4294967295,
                                                    .on_source = 3,
                                                    .proved = 2,
                                                    .compared = true});
    assert_string_equal(
        text_of(&b),
        "{\"mailbox\":\"x\\u000d\\u000a\\\\\\u00ff\\u0001\",\"target\":\"&2D3cqQ-\","
        "\"source_uidvalidity\":1,\"target_uidvalidity\":4294967295,\"on_source\":3,\"proved\":2}\n");
    buf_clear(&b);
    proof_write_mailbox(&b, &(struct proof_mailbox){.source_name = "a", .target_name = "a"});
    assert_non_null(strstr(text_of(&b), "\"proved\":0,\"compared\":false}\n"));
    buf_free(&b);
}

static void what_is_not_known_is_null_and_counted(void **state)
{
    struct ledger_row row = {
        .source_uid = 12, .target_uid = 13, .size = 4711, .instant = -1, .dated = true, .verified = true};
    struct proof_sums sums = {.mailboxes = 1};
    struct buf b = {0};

    (void)state;
    memset(row.hash, 0xa5, sizeof(row.hash));
    proof_write_message(&b, &row, &sums);
    assert_string_equal(
        text_of(&b),
        "[12,13,4711,-1,\"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\",\"bytes\"]\n");
    buf_clear(&b);
    proof_write_message(&b, &(struct ledger_row){.source_uid = 14, .target_uid = 15, .bare = true}, &sums);
    assert_string_equal(text_of(&b), "[14,15,null,null,null,\"listing\"]\n");
    buf_clear(&b);
    proof_write_end(&b, &sums);
    assert_string_equal(text_of(&b),
                        "{\"mailboxes\":1,\"messages\":2,\"bytes\":4711,\"without_digest\":1}\n");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_and_names_are_ascii_and_on_one_line),
        cmocka_unit_test(what_is_not_known_is_null_and_counted),
    };

    return cmocka_run_group_tests_name("proof", tests, NULL, NULL);
}
