#include "lib/imap_caps.h"

#include "unit.h"

static struct imap_caps caps_of(const char *words)
{
    struct imap_caps c;
    imap_caps_parse(&c, span_str(words));
    return c;
}

static void expect_shown(const char *a, const char *b, const char *want)
{
    struct imap_caps ca = caps_of(a), cb = caps_of(b);
    for (int turn = 0; turn < 2; turn++) {
        struct imap_caps shown = turn == 0 ? imap_caps_shown(&ca, &cb) : imap_caps_shown(&cb, &ca);
        struct buf out = {0};
        imap_caps_write(&out, &shown);
        assert_string_equal(buf_str(&out), want);
        buf_free(&out);
    }
}

static void test_parse(void **state)
{
    (void)state;
    struct imap_caps c =
        caps_of("  imap4REV1  IDLE auth=plain X-NEW AUTH=SCRAM-SHA-1 IDLEX APPENDLIMIT=35651584 ");
    assert_true(imap_caps_has(&c, CAP_IMAP4REV1));
    assert_true(imap_caps_has(&c, CAP_IDLE));
    assert_true(imap_caps_has(&c, CAP_AUTH_PLAIN));
    assert_false(imap_caps_has(&c, CAP_AUTH_LOGIN));
    assert_false(imap_caps_has(&c, CAP_NONE));
    assert_true(imap_caps_has(&c, CAP_APPENDLIMIT));
    assert_int_equal(c.appendlimit, 35651584);
    struct buf out = {0};
    imap_caps_write(&out, &c);
    assert_string_equal(buf_str(&out), "IMAP4rev1 AUTH=PLAIN IDLE APPENDLIMIT=35651584");
    buf_free(&out);
    /* replaced, not added to */
    imap_caps_parse(&c, span_str("IMAP4rev1"));
    assert_false(imap_caps_has(&c, CAP_IDLE));
    assert_int_equal(c.appendlimit, 0);
}

static void test_odd_words(void **state)
{
    (void)state;
    struct imap_caps c = caps_of("APPENDLIMIT=x APPENDLIMIT= RIGHTS=te THREAD=FOO =");
    assert_false(imap_caps_has(&c, CAP_APPENDLIMIT));
    assert_false(imap_caps_has(&c, CAP_RIGHTS));
    struct buf out = {0};
    imap_caps_write(&out, &c);
    assert_int_equal(out.len, 0);
    buf_free(&out);
    c = caps_of("RIGHTS=xtekz I18NLEVEL=2 XPROXYAUTH");
    assert_true(imap_caps_has(&c, CAP_RIGHTS));
    assert_true(imap_caps_has(&c, CAP_I18NLEVEL_1));
    assert_true(imap_caps_has(&c, CAP_PROXYAUTH));
}

static void parse_prefix(struct span prefix)
{
    struct imap_caps c;
    imap_caps_parse(&c, prefix);
    assert_false(imap_caps_has(&c, CAP_NONE));
}

/* A name that is written must be read again as the same set: the backends' sets are kept in Redis this way.
 */
static void test_round_trip(void **state)
{
    (void)state;
    for (int cap = CAP_NONE + 1; cap < CAP_COUNT; cap++) {
        struct imap_caps one = {0};
        struct buf out = {0};
        imap_caps_add(&one, (enum imap_cap)cap);
        imap_caps_write(&out, &one);
        assert_true(out.len > 0);
        struct imap_caps again = caps_of(buf_str(&out));
        assert_memory_equal(&again, &one, sizeof one);
        unit_prefixes(buf_span(&out), parse_prefix);
        buf_free(&out);
    }
}

/* TRANSLATION.md 5.5, row by row. */
static const char keep[] =
    "IMAP4rev1 UIDPLUS MOVE ESEARCH SORT SORT=DISPLAY THREAD=REFERENCES "
    "THREAD=ORDEREDSUBJECT THREAD=REFS LIST-STATUS "
    "MULTIAPPEND CONDSTORE QRESYNC IDLE NAMESPACE ID ENABLE UNSELECT CHILDREN LIST-EXTENDED SPECIAL-USE "
    "CREATE-SPECIAL-USE LITERAL+ BINARY "
    "QUOTA QUOTASET QUOTA=RES-STORAGE QUOTA=RES-MESSAGE QUOTA=RES-MAILBOX "
    "QUOTA=RES-ANNOTATION-STORAGE ACL RIGHTS=tekx "
    "METADATA METADATA-SERVER WITHIN STATUS=SIZE SAVEDATE PREVIEW APPENDLIMIT "
    "I18NLEVEL=1 SNIPPET=FUZZY INPROGRESS "
    "SEARCH=FUZZY";
static const char hide[] = "STARTTLS LOGINDISABLED SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=GSSAPI "
                           "XPROXYAUTH SEARCHRES "
                           "NOTIFY CONTEXT=SEARCH CONTEXT=SORT ESORT MULTISEARCH CATENATE URLAUTH "
                           "URLAUTH=BINARY URL-PARTIAL BURL LOGIN-REFERRALS "
                           "MAILBOX-REFERRALS OBJECTID UIDONLY MESSAGELIMIT=5 PARTIAL REPLACE "
                           "ANNOTATE-EXPERIMENT-1 ANNOTATEMORE CONVERT FILTERS "
                           "UNAUTHENTICATE JMAPACCESS XLIST X-GM-EXT-1 XAPPLEPUSHSERVICE XSERVERINFO "
                           "IMAP4rev2 UTF8=ACCEPT UTF8=ONLY "
                           "COMPRESS=DEFLATE LIST-METADATA LIST-MYRIGHTS SEARCH=MIMEPART NEVER-HEARD-OF";

static void test_allow_list(void **state)
{
    (void)state;
    char *all = xasprintf("%s %s", hide, keep);
    expect_shown(all, all, keep);
    expect_shown(all, keep, keep);
    expect_shown(all, hide, "IMAP4rev1");
    expect_shown(all, "", "IMAP4rev1");
    free(all);
    /* a name at a time, so that no row hides behind another */
    char *words = xstrdup(hide);
    for (char *save, *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        expect_shown(w, w, "IMAP4rev1");
    free(words);
}

static void test_cut(void **state)
{
    (void)state;
    expect_shown("IMAP4rev1 IDLE MOVE", "IMAP4rev1 MOVE UIDPLUS", "IMAP4rev1 MOVE");
    expect_shown("LITERAL+", "LITERAL+", "IMAP4rev1 LITERAL+");
    expect_shown("LITERAL+", "LITERAL-", "IMAP4rev1 LITERAL-");
    expect_shown("LITERAL-", "LITERAL-", "IMAP4rev1 LITERAL-");
    expect_shown("LITERAL+ LITERAL-", "LITERAL+ LITERAL-", "IMAP4rev1 LITERAL+");
    expect_shown("LITERAL+", "", "IMAP4rev1");
    expect_shown("LITERAL-", "", "IMAP4rev1");
    expect_shown("APPENDLIMIT=20", "APPENDLIMIT=10", "IMAP4rev1 APPENDLIMIT=10");
    expect_shown("APPENDLIMIT=20", "APPENDLIMIT", "IMAP4rev1 APPENDLIMIT=20");
    expect_shown("APPENDLIMIT", "APPENDLIMIT", "IMAP4rev1 APPENDLIMIT");
    expect_shown("APPENDLIMIT=20", "", "IMAP4rev1");
    expect_shown("CONDSTORE", "CONDSTORE", "IMAP4rev1 CONDSTORE");
    expect_shown("CONDSTORE QRESYNC ENABLE", "QRESYNC ENABLE", "IMAP4rev1 CONDSTORE QRESYNC ENABLE");
    expect_shown("CONDSTORE QRESYNC ENABLE", "QRESYNC", "IMAP4rev1 CONDSTORE");
    expect_shown("CONDSTORE QRESYNC ENABLE", "CONDSTORE ENABLE", "IMAP4rev1 CONDSTORE ENABLE");
    expect_shown("CONDSTORE QRESYNC ENABLE", "ENABLE", "IMAP4rev1 ENABLE");
    struct imap_caps all = caps_of("IDLE CONDSTORE QRESYNC"), less = caps_of("IDLE CONDSTORE QRESYNC");
    imap_caps_hide_modseqs(&all);
    assert_false(imap_caps_has(&all, CAP_CONDSTORE) || imap_caps_has(&all, CAP_QRESYNC));
    assert_true(imap_caps_has(&all, CAP_IDLE));
    char *minus[] = {(char *)"-CONDSTORE"};
    assert_null(imap_caps_override(&less, minus, 1));
    assert_false(imap_caps_has(&less, CAP_CONDSTORE) || imap_caps_has(&less, CAP_QRESYNC));
}

static void expect_rest(const char *a, const char *b, const char *want)
{
    struct imap_caps ca = caps_of(a), cb = caps_of(b), rest = imap_caps_without(&ca, &cb);
    struct buf out = {0};
    imap_caps_write(&out, &rest);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

static void test_without(void **state)
{
    (void)state;
    expect_rest("IMAP4rev1 MOVE SORT", "IMAP4rev1 SORT ACL", "MOVE");
    expect_rest("MOVE APPENDLIMIT=10", "MOVE APPENDLIMIT=10", "");
    expect_rest("MOVE APPENDLIMIT=20", "MOVE APPENDLIMIT=10", "APPENDLIMIT=20");
    expect_rest("APPENDLIMIT=20", "MOVE", "APPENDLIMIT=20");
    struct imap_caps a = caps_of("MOVE APPENDLIMIT=20"), b = caps_of("MOVE APPENDLIMIT=10"),
                     c = caps_of("APPENDLIMIT=20 MOVE");
    assert_false(imap_caps_equal(&a, &b));
    assert_true(imap_caps_equal(&a, &c));
}

static void test_override(void **state)
{
    char *words[] = {"-UIDPLUS", "appendlimit=1000", "IDLE", "-LITERAL+", "LITERAL-"};
    char *more[] = {"-APPENDLIMIT"}, *unknown[] = {"IDLE", "-NOSUCH"}, *empty[] = {""};
    struct imap_caps c;

    (void)state;
    imap_caps_parse(&c, span_str("IMAP4rev1 UIDPLUS LITERAL+ APPENDLIMIT=5 MOVE"));
    assert_null(imap_caps_override(&c, words, COUNTOF(words)));
    assert_true(imap_caps_has(&c, CAP_IMAP4REV1) && imap_caps_has(&c, CAP_MOVE) &&
                imap_caps_has(&c, CAP_IDLE));
    assert_false(imap_caps_has(&c, CAP_UIDPLUS) || imap_caps_has(&c, CAP_LITERAL_PLUS));
    assert_true(imap_caps_has(&c, CAP_LITERAL_MINUS) && imap_caps_has(&c, CAP_APPENDLIMIT));
    assert_int_equal(c.appendlimit, 1000);
    assert_null(imap_caps_override(&c, more, 1));
    assert_true(!imap_caps_has(&c, CAP_APPENDLIMIT) && c.appendlimit == 0);
    assert_string_equal(imap_caps_override(&c, unknown, COUNTOF(unknown)), "-NOSUCH");
    assert_string_equal(imap_caps_override(&c, empty, 1), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_override),   cmocka_unit_test(test_without),
        cmocka_unit_test(test_parse),      cmocka_unit_test(test_odd_words),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_allow_list),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
