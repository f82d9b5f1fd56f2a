#include "unit.h"

#include "migrator/site/cyrus_sync.h"

#define TOLD                                                                                                 \
    "%(UNIQUEID abc MBOXNAME user.ann SYNC_CRC 2157003856 SYNC_CRC_ANNOT 809134010 LAST_UID 7 "              \
    "HIGHESTMODSEQ 12 UIDVALIDITY 100 PARTITION default ACL \"ann\tlrs\t\" OPTIONS P "                       \
    "ANNOTATIONS (%(ENTRY /specialuse USERID ann VALUE \"\\\\Sent\")))"

static struct imap_tree *tree_of(const char *text)
{
    static const struct imap_tree_limits limits = {16, 5000, 100000, .lenient = true};
    struct imap_tree *t = imap_tree_new(&limits);
    const char *why;

    assert_true(imap_tree_text(t, span_str(text), &why));
    return t;
}

static void check_written(struct cyrus_numbers n, const struct depot_message *m, const char *wanted)
{
    struct imap_tree *t = tree_of(TOLD);
    struct imap_writer w;

    imap_writer_init(&w, LITERALS_PLUS);
    cyrus_write_mailbox(&w, cyrus_list(imap_tree_first(t)), &n, m, 1700000000);
    assert_false(w.bad || w.n_waits > 0);
    assert_string_equal(buf_str(&w.out), wanted);
    imap_writer_wipe(&w);
    imap_tree_free(&t);
}

#define BACK(uniqueid, last, modseq, uidvalidity)                                                            \
    "SYNCAPPLY MAILBOX %(UNIQUEID " uniqueid " MBOXNAME user.ann SYNC_CRC 0 SYNC_CRC_ANNOT 0 LAST_UID " last \
    " HIGHESTMODSEQ " modseq " UIDVALIDITY " uidvalidity                                                     \
    " PARTITION default ACL {8+}\r\nann\tlrs\t OPTIONS P "                                                   \
    "ANNOTATIONS (%(ENTRY /specialuse USERID ann VALUE \"\\\\Sent\")) RECORD ("

static void test_numbers_go_back_with_all_that_was_told(void **state)
{
    (void)state;
    check_written((struct cyrus_numbers){.uidvalidity = 100, .last_uid = 7, .modseq = 12}, NULL,
                  BACK("abc", "7", "12", "100") "))");
    check_written((struct cyrus_numbers){.uidvalidity = 5, .last_uid = 0, .modseq = 12, .anew = "def"}, NULL,
                  BACK("def", "0", "12", "5") "))");
}

static const struct depot_message message = {
    .flags = "\\Seen kw", .instant = 315532800, .size = 33, .sha1 = {0x01, 0xab, [19] = 0xff}};

static void test_a_message_goes_as_a_record(void **state)
{
    (void)state;
    check_written(
        (struct cyrus_numbers){.uidvalidity = 100, .last_uid = 4000000000, .modseq = 13}, &message,
        BACK(
            "abc", "4000000000", "13",
            "100") "%(UID 4000000000 MODSEQ 13 LAST_UPDATED 1700000000 FLAGS (\\Seen kw) INTERNALDATE 315532800 "
                   "SIZE 33 GUID 01ab0000000000000000000000000000000000ff ANNOTATIONS ())))");
}

static void test_what_stands_before_its_bytes(void **state)
{
    struct imap_writer w;

    (void)state;
    imap_writer_init(&w, LITERALS_PLUS);
    cyrus_write_message(&w, span_str("default"), &message);
    assert_string_equal(buf_str(&w.out),
                        "SYNCAPPLY MESSAGE (%{default 01ab0000000000000000000000000000000000ff 33}\r\n");
    imap_writer_wipe(&w);
}

static void check_room(uint32_t last, uint32_t wanted, uint32_t got)
{
    struct cyrus_numbers n = {.uidvalidity = 1, .last_uid = last, .modseq = 9};
    const char *why = "";

    assert_int_equal(cyrus_make_room(&n, wanted, &why), got > 0);
    assert_int_equal(*why != '\0', got == 0);
    assert_int_equal(n.last_uid, got ? got : last);
    assert_int_equal(n.modseq, got ? 10 : 9);
}

/* Never a UID that the mailbox has given out. */
static void test_room(void **state)
{
    (void)state;
    check_room(0, 0, 1);
    check_room(7, 0, 8);
    check_room(7, 8, 8);
    check_room(7, 4000000000, 4000000000);
    check_room(7, 7, 8);
    check_room(7, 3, 8);
    check_room(UINT32_MAX - 2, 0, UINT32_MAX - 1);
    check_room(UINT32_MAX - 1, 0, 0);
    check_room(7, UINT32_MAX, 0);
}

static void check_name(const char *mailbox, const char *wanted)
{
    struct buf out = {0};

    cyrus_write_name(&out, "user.ann", "INBOX.", '.', mailbox);
    assert_string_equal(buf_str(&out), wanted);
    buf_free(&out);
}

static void test_names(void **state)
{
    struct buf out = {0};

    (void)state;
    check_name("inbox", "user.ann");
    check_name("INBOX.Sent.2019", "user.ann.Sent.2019");
    cyrus_write_name(&out, "b.example!user.ann", "", '/', "v1.2/x");
    assert_string_equal(buf_str(&out), "b.example!user.ann.v1^2.x");
    buf_free(&out);
    assert_true(cyrus_is_root(span_str("user.ann")));
    assert_true(cyrus_is_root(span_str("b.example!user.ann^b")));
    assert_false(cyrus_is_root(span_str("user.ann.Sent")));
    assert_false(cyrus_is_root(span_str("user.")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_go_back_with_all_that_was_told),
        cmocka_unit_test(test_a_message_goes_as_a_record),
        cmocka_unit_test(test_what_stands_before_its_bytes),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
