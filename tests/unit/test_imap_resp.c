#include "lib/imap_resp.h"

#include "unit.h"

static void dump(struct buf *out, struct span line)
{
    static const char *const names[] = {"-", "OK", "NO", "BAD", "BYE", "PREAUTH"};
    struct imap_resp r;
    const char *why = NULL;
    if (!imap_resp_parse(line, &r, &why)) {
        buf_printf(out, "error %s", why);
        return;
    }
    switch (r.kind) {
    case RESP_TAGGED:
    case RESP_STATUS:
        buf_add_str(out, r.kind == RESP_TAGGED ? "tagged " : "status");
        buf_add_span(out, r.tag);
        buf_printf(out, " %s [", names[r.status]);
        buf_add_span(out, r.code);
        buf_add_str(out, "] ");
        buf_add_span(out, r.text);
        break;
    case RESP_CONTINUE:
        buf_add_str(out, "continue ");
        buf_add_span(out, r.text);
        break;
    case RESP_DATA:
        buf_add_str(out, "data ");
        if (r.has_number)
            buf_printf(out, "%u ", r.number);
        buf_add_span(out, r.word);
        assert_true(r.rest <= line.len);
        buf_add_str(out, " | ");
        buf_add_span(out, span_of(line.p + r.rest, line.len - r.rest));
    }
}

static void no_overrun(struct span prefix)
{
    struct buf out = {0};
    dump(&out, prefix);
    assert_true(out.len > 0);
    buf_free(&out);
}

static const struct {
    const char *line, *want;
} rows[] = {
    {"a1 OK [APPENDUID 1 2] done", "tagged a1 OK [APPENDUID 1 2] done"},
    {"a1 NO", "tagged a1 NO [] "},
    {"a1 bad what", "tagged a1 BAD [] what"},
    {"]1.x OK", "tagged ]1.x OK [] "},
    {"a1 BYE x", "error not a response"},
    {"a1 PREAUTH x", "error not a response"},
    {"a1 FETCH x", "error not a response"},
    {"a+1 OK x", "error not a response"},
    {"a(1 OK x", "error not a response"},
    {"\xe4 OK x", "error not a response"},
    {"a\x7f OK x", "error not a response"},
    {"* FE(CH x", "error response without a name"},
    {"* FETCH] x", "error response without a name"},
    {"* X\x7f x", "error response without a name"},
    {"* 0 EXISTS", "data 0 EXISTS | "},
    {"* 9 EXISTS", "data 9 EXISTS | "},
    {"", "error not a response"},
    {" OK x", "error not a response"},
    {"OK", "error not a response"},
    {"* OK [UIDNEXT 7] next", "status OK [UIDNEXT 7] next"},
    {"* ok", "status OK [] "},
    {"* PREAUTH [CAPABILITY IMAP4rev1] hi", "status PREAUTH [CAPABILITY IMAP4rev1] hi"},
    {"* BYE going", "status BYE [] going"},
    {"* NO no [ALERT] x", "status NO [] no [ALERT] x"},
    {"* OK [ALERT]x", "status OK [ALERT] x"},
    {"* OK [ALERT] ", "status OK [ALERT] "},
    {"* OK []x", "status OK [] x"},
    {"* OK [x", "status OK [] [x"},
    {"* OK [PERMANENTFLAGS (\\Seen \\*)] yes", "status OK [PERMANENTFLAGS (\\Seen \\*)] yes"},
    {"* NO [BADCHARSET (\"a]b\" \"c\\\"]\")] no", "status NO [BADCHARSET (\"a]b\" \"c\\\"]\")] no"},
    {"* NO [REFERRAL imap://[::1]:143/] [x]", "status NO [REFERRAL imap://[::1]:143/] [x]"},
    {"* NO [A [B] open \"", "status NO [A [B] open \""},
    {"* NO [A \"B] open", "status NO [A \"B] open"},
    {"* 3 FETCH (UID 4 FLAGS ())", "data 3 FETCH | (UID 4 FLAGS ())"},
    {"* 4294967295 EXISTS", "data 4294967295 EXISTS | "},
    {"* 4294967296 EXISTS", "error bad number in a response"},
    {"* 3x EXISTS", "error bad number in a response"},
    {"* 3", "error response without a name"},
    {"* 3 ", "error response without a name"},
    {"* 3 (x)", "error response without a name"},
    {"* LIST (\\Noselect) \"/\" a", "data LIST | (\\Noselect) \"/\" a"},
    {"* SEARCH", "data SEARCH | "},
    {"* SEARCH ", "data SEARCH | "},
    {"* CAPABILITY IMAP4rev1 ID", "data CAPABILITY | IMAP4rev1 ID"},
    {"*", "error response without a name"},
    {"* ", "error response without a name"},
    {"* \"OK\" x", "error response without a name"},
    {"+ go on", "continue go on"},
    {"+", "continue "},
    {"+ ", "continue "},
    {"+dGVzdA==", "continue dGVzdA=="},
};

static void test_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct buf out = {0};
        dump(&out, span_str(rows[i].line));
        assert_string_equal(buf_str(&out), rows[i].want);
        buf_free(&out);
        unit_prefixes(span_str(rows[i].line), no_overrun);
    }
}

static void test_is_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"+",      "+x",        "+ x",       "* OK",
                                        "a NO x", "* bye {5}", "* PreAuth", "a  OK {5}"};
    static const char *const data[] = {"", "*", "* ", "* 1 OK", "* OKAY", "* LIST () OK", "OK", " * OK"};
    for (size_t i = 0; i < COUNTOF(texts); i++)
        assert_true(imap_resp_is_text(span_str(texts[i])));
    for (size_t i = 0; i < COUNTOF(data); i++)
        assert_false(imap_resp_is_text(span_str(data[i])));
}

static void expect(const char *line, const char *want)
{
    struct buf out = {0};
    dump(&out, span_str(line));
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

/* As DavMail sends them. */
static void test_double_blanks(void **state)
{
    (void)state;
    expect("*  1843 EXISTS", "data 1843 EXISTS | ");
    expect("* 5  FETCH  (UID 1)", "data 5 FETCH | (UID 1)");
    expect("*  OK  [UIDNEXT 7]  next", "status OK [UIDNEXT 7]  next");
    expect("a1  OK  done", "tagged a1 OK [] done");
    expect("*  LIST () \"/\" a", "data LIST | () \"/\" a");
    expect(" * OK x", "error not a response");
}

/* The "]" of a keyword ended the code, and cut the list off. */
static void test_bracket_in_keyword(void **state)
{
    (void)state;
    expect("* OK [PERMANENTFLAGS (\\Seen foo] \\*)] yes", "status OK [PERMANENTFLAGS (\\Seen foo] \\*)] yes");
    expect("* OK [PERMANENTFLAGS ([foo \\*)] yes", "status OK [PERMANENTFLAGS ([foo \\*)] yes");
    expect("* OK [ALERT (x] open", "status OK [ALERT (x] open");
    expect("* OK [ALERT) x] (open", "status OK [ALERT) x] (open");
}

static void test_codes(void **state)
{
    (void)state;
    struct span args;
    assert_true(imap_code_is(span_str("APPENDUID 1 2"), "AppendUid", &args));
    unit_same(args, "1 2");
    assert_true(imap_code_is(span_str("ALERT"), "ALERT", &args));
    assert_int_equal(args.len, 0);
    assert_true(imap_code_is(span_str("ALERT"), "ALERT", NULL));
    assert_false(imap_code_is(span_str("ALERTS"), "ALERT", NULL));
    assert_false(imap_code_is(span_str("ALER"), "ALERT", NULL));
    assert_false(imap_code_is(span_of(NULL, 0), "ALERT", &args));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),         cmocka_unit_test(test_is_text),
        cmocka_unit_test(test_double_blanks), cmocka_unit_test(test_bracket_in_keyword),
        cmocka_unit_test(test_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
