#include "unit.h"

#include "lib/view_record.h"

static struct view_record example(void)
{
    struct view_record r = {.id = "9f03",
                            .source_name = xstrdup("INBOX.50% a=b/\xc3\xbc\x7f"),
                            .target_name = xstrdup("INBOX"),
                            .source_uidvalidity = 7,
                            .target_uidvalidity = 1700000000,
                            .source_uidnext = 20,
                            .target_uidnext = 6,
                            .highest_uidvalidity = 4294967295,
                            .tier = VIEW_T2};

    for (uint32_t uid = 1; uid < 4; uid++)
        assert_true(view_uid_add(&r.map, uid, uid));
    assert_true(view_uid_add(&r.map, 7, 4));
    assert_true(view_uid_set_tail(&r.map, 20, 6));
    return r;
}

#define EXAMPLE                                                                                              \
    "1 id=9f03 source=INBOX.50%25%20a%3Db/%C3%BC%7F target=INBOX uidvalidity=7,1700000000 uidnext=20,6 "     \
    "highest=4294967295 tier=T2 map=1UGCAACDAA"

static void test_encoding(void **state)
{
    struct view_record r = example(), back;
    struct buf text = {0};
    uint32_t uid;

    (void)state;
    view_record_encode(&text, &r);
    assert_string_equal(buf_str(&text), EXAMPLE);
    assert_true(view_record_decode(buf_span(&text), 2, &back));
    assert_string_equal(back.id, r.id);
    assert_string_equal(back.source_name, r.source_name);
    assert_string_equal(back.target_name, r.target_name);
    assert_int_equal(back.source_uidvalidity, 7);
    assert_int_equal(back.target_uidvalidity, 1700000000);
    assert_int_equal(back.source_uidnext, 20);
    assert_int_equal(back.target_uidnext, 6);
    assert_int_equal(back.highest_uidvalidity, UINT32_MAX);
    assert_int_equal(back.tier, VIEW_T2);
    assert_string_equal(view_tier_text(back.tier), "T2");
    assert_true(view_uid_to_backend(&back.map, 7, &uid));
    assert_int_equal(uid, 4);
    view_record_free(&back);
    assert_null(back.source_name);
    assert_false(view_record_decode(buf_span(&text), 1, &back));
    view_record_free(&r);
    buf_free(&text);
}

static void same_again(const char *text, struct view_record *_r)
{
    struct buf again = {0};

    if (!view_record_decode(span_str(text), 0, _r))
        fail_msg("was refused: %s", text);
    view_record_encode(&again, _r);
    unit_same(buf_span(&again), text);
    buf_free(&again);
}

#define HEAD "1 id=a source=A target=B uidvalidity=1,2 uidnext=3,4 highest=5"
static void test_modseqs(void **state)
{
    struct view_record r;

    (void)state;
    same_again(HEAD " tier=T0 map=1AAA", &r);
    assert_false(r.modseqs || r.modseq_jumped || r.modseq_floor || r.modseq_shift);
    view_record_free(&r);
    same_again(HEAD " modseq=0,0 tier=T0 map=1AAA", &r);
    assert_true(r.modseqs && !r.modseq_jumped && !r.modseq_floor && !r.modseq_shift);
    view_record_free(&r);
    same_again(HEAD " modseq=9007199254740993,0,j tier=T0 map=1AAA", &r);
    assert_true(r.modseqs && r.modseq_jumped && r.modseq_floor == 9007199254740993 && !r.modseq_shift);
    view_record_free(&r);
    same_again(HEAD " modseq=9223372036854775807,9223372036854775807 tier=T3 map=1AAA", &r);
    assert_true(r.modseqs && !r.modseq_jumped && r.modseq_floor == VIEW_MODSEQ_MAX);
    assert_true(r.modseq_shift == VIEW_MODSEQ_MAX);
    view_record_free(&r);
}

static void test_highest_unflipped(void **state)
{
    static const char *const refused[] = {",5", ",6", ",0", ",", ",04", ",4,3", ",-1"};
    struct view_record r;

    (void)state;
    same_again(HEAD " tier=T3 map=1AAA", &r);
    assert_int_equal(r.highest_unflipped, 0);
    view_record_free(&r);
    same_again(HEAD ",4 tier=T3 map=1AAA", &r);
    assert_int_equal(r.highest_uidvalidity, 5);
    assert_int_equal(r.highest_unflipped, 4);
    view_record_free(&r);
    same_again(HEAD ",1 modseq=0,0 tier=T0 map=1AAA", &r);
    assert_int_equal(r.highest_unflipped, 1);
    view_record_free(&r);
    for (size_t i = 0; i < COUNTOF(refused); i++) {
        struct buf text = {0};
        buf_printf(&text, HEAD "%s tier=T3 map=1AAA", refused[i]);
        assert_false(view_record_decode(buf_span(&text), 0, &r));
        buf_free(&text);
    }
}

/* T3 without a map is what every mailbox has until the view is obeyed. */
static void test_without_map(void **state)
{
    struct view_record r = {.id = "a", .source_name = "A", .target_name = "B", .tier = VIEW_T3}, back;
    struct buf text = {0};

    (void)state;
    view_record_encode(&text, &r);
    assert_string_equal(buf_str(&text),
                        "1 id=a source=A target=B uidvalidity=0,0 uidnext=0,0 highest=0 tier=T3 map=1AAA");
    assert_true(view_record_decode(buf_span(&text), 0, &back));
    assert_int_equal(back.tier, VIEW_T3);
    view_record_free(&back);
    buf_free(&text);
}

static void test_every_byte_in_a_name(void **state)
{
    char name[256];

    (void)state;
    for (int c = 1; c < 256; c++)
        name[c - 1] = (char)c;
    name[255] = '\0';
    struct view_record r = {.id = "0", .source_name = name, .target_name = name}, back;
    struct buf text = {0};
    view_record_encode(&text, &r);
    for (size_t i = 0; i < text.len; i++)
        assert_in_range(text.mem[text.off + i], ' ', '~');
    assert_true(view_record_decode(buf_span(&text), 0, &back));
    assert_string_equal(back.source_name, name);
    assert_string_equal(back.target_name, name);
    view_record_free(&back);
    buf_free(&text);
}

static void refuse_prefix(struct span text)
{
    struct view_record r;
    assert_false(view_record_decode(text, 1000, &r));
}

/* No beginning is a record, and any byte changed gives none, or another one in its own only spelling. */
static void test_damaged(void **state)
{
    char text[] = EXAMPLE;
    size_t len = strlen(text), taken = 0;

    (void)state;
    unit_prefixes(span_of(text, len - 1), refuse_prefix);
    for (size_t at = 0; at < len; at++)
        for (int c = 0; c < 256; c++) {
            struct view_record r;
            char was = text[at];
            text[at] = (char)c;
            if (view_record_decode(span_of(text, len), 1000, &r)) {
                struct buf again = {0};
                view_record_encode(&again, &r);
                assert_true(span_eq(buf_span(&again), span_of(text, len)));
                buf_free(&again);
                view_record_free(&r);
                taken++;
            }
            text[at] = was;
        }
    assert_in_range(taken, len, 10000);
}

static void test_hostile(void **state)
{
#define NUMBERS " uidvalidity=0,0 uidnext=0,0 highest=0 tier=T3 map=1AAA"
    static const char *const texts[] = {
        "",
        " 1 id=a source=A target=B" NUMBERS,
        "2 id=a source=A target=B" NUMBERS,
        "1  id=a source=A target=B" NUMBERS,
        "1 id= source=A target=B" NUMBERS,
        "1 id=A source=A target=B" NUMBERS,
        "1 id=000000000000000000000000000000000 source=A target=B" NUMBERS,
        "1 id=a source= target=B" NUMBERS,
        "1 id=a source=A target=" NUMBERS,
        "1 id=a target=B source=A" NUMBERS,
        "1 id=a source=%41 target=B" NUMBERS,
        "1 id=a source=%00 target=B" NUMBERS,
        "1 id=a source=%c3 target=B" NUMBERS,
        "1 id=a source=% target=B" NUMBERS,
        "1 id=a source=A%2 target=B" NUMBERS,
        "1 id=a source=A=B target=B" NUMBERS,
        "1 id=a source=A\xc3 target=B" NUMBERS,
        "1 id=a source=A target=B" NUMBERS "\n",
        "1 id=a source=A target=B" NUMBERS " ",
        "1 id=a source=A target=B uidvalidity=0 uidnext=0,0 highest=0 tier=T3 map=1AAA",
        "1 id=a source=A target=B uidvalidity=,0 uidnext=0,0 highest=0 tier=T3 map=1AAA",
        "1 id=a source=A target=B uidvalidity=00,0 uidnext=0,0 highest=0 tier=T3 map=1AAA",
        "1 id=a source=A target=B uidvalidity=0,4294967296 uidnext=0,0 highest=0 tier=T3 map=1AAA",
        "1 id=a source=A target=B uidvalidity=0,0 uidnext=0,-1 highest=0 tier=T3 map=1AAA",
        "1 id=a source=A target=B uidvalidity=0,0 uidnext=0,0 highest= tier=T3 map=1AAA",
        "1 id=a source=A target=B uidvalidity=0,0 uidnext=0,0 highest=0 tier=T4 map=1AAA",
        "1 id=a source=A target=B uidvalidity=0,0 uidnext=0,0 highest=0 tier=T2 map=1AAA",
        "1 id=a source=A target=B uidvalidity=0,0 uidnext=0,0 highest=0 tier=T3 map=",
        HEAD " modseq= tier=T0 map=1AAA",
        HEAD " modseq=1 tier=T0 map=1AAA",
        HEAD " modseq=1, tier=T0 map=1AAA",
        HEAD " modseq=,1 tier=T0 map=1AAA",
        HEAD " modseq=1,0, tier=T0 map=1AAA",
        HEAD " modseq=1,0,k tier=T0 map=1AAA",
        HEAD " modseq=1,0,j, tier=T0 map=1AAA",
        HEAD " modseq=1,0,jj tier=T0 map=1AAA",
        HEAD " modseq=1,j tier=T0 map=1AAA",
        HEAD " modseq=1,00 tier=T0 map=1AAA",
        HEAD " modseq=01,0 tier=T0 map=1AAA",
        HEAD " modseq=-1,0 tier=T0 map=1AAA",
        HEAD " modseq=1,2 tier=T0 map=1AAA",
        HEAD " modseq=9223372036854775808,0 tier=T0 map=1AAA",
        HEAD " modseq=18446744073709551617,0 tier=T0 map=1AAA",
        HEAD " tier=T0 modseq=1,0 map=1AAA",
        HEAD " modseq=1,0 modseq=1,0 tier=T0 map=1AAA",
    };

    (void)state;
    for (size_t i = 0; i < COUNTOF(texts); i++) {
        struct view_record r;
        if (view_record_decode(span_str(texts[i]), SIZE_MAX, &r))
            fail_msg("was taken: %s", texts[i]);
    }
}

static void test_long_name(void **state)
{
    char *name = xcalloc(1, VIEW_RECORD_NAME_MAX + 2);

    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct view_record r = {.id = "0", .source_name = "A", .target_name = name}, back;
        struct buf text = {0};
        memset(name, 'x', VIEW_RECORD_NAME_MAX + more);
        view_record_encode(&text, &r);
        assert_int_equal(view_record_decode(buf_span(&text), 0, &back), more == 0);
        if (!more)
            view_record_free(&back);
        buf_free(&text);
    }
    free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_modseqs),
        cmocka_unit_test(test_highest_unflipped),
        cmocka_unit_test(test_without_map),
        cmocka_unit_test(test_every_byte_in_a_name),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_long_name),
    };
    return cmocka_run_group_tests_name("view_record", tests, NULL, NULL);
}
