#include "lib/imap_cmd.h"

#include "unit.h"

/* All that may be shown, and nothing of it. */
static const char all_words[] =
    "IMAP4rev1 UIDPLUS MOVE ESEARCH SORT SORT=DISPLAY THREAD=REFERENCES LIST-STATUS MULTIAPPEND IDLE "
    "NAMESPACE ID ENABLE "
    "UNSELECT CHILDREN LIST-EXTENDED SPECIAL-USE CREATE-SPECIAL-USE LITERAL+ BINARY QUOTA QUOTA=RES-STORAGE "
    "QUOTA=RES-MESSAGE ACL METADATA WITHIN STATUS=SIZE SAVEDATE PREVIEW APPENDLIMIT=1 SNIPPET=FUZZY "
    "SEARCH=FUZZY";

static struct imap_caps caps_of(const char *words)
{
    struct imap_caps c;
    imap_caps_parse(&c, span_str(words));
    return c;
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *line, *tag;
        enum imap_verb verb;
        const char *args; /* or, with error, the text */
        bool error;
    } rows[] = {
        {"a1 NOOP", "a1", VERB_NOOP, "", false},
        {"a1 noop ", "a1", VERB_NOOP, "", false},
        {"a1 LOGIN ann pw", "a1", VERB_LOGIN, "ann pw", false},
        {"a1 LOGIN  ann", "a1", VERB_LOGIN, " ann", false},
        {"a1 Uid Fetch 1 (FLAGS)", "a1", VERB_UID_FETCH, "1 (FLAGS)", false},
        {"a1 UID NOOP", "a1", VERB_UNKNOWN, "", false},
        {"a1 FETCH 1 UID", "a1", VERB_FETCH, "1 UID", false},
        {"a1 EXPUNGE", "a1", VERB_EXPUNGE, "", false},
        {"a1 UID EXPUNGE 3", "a1", VERB_UID_EXPUNGE, "3", false},
        {"a1 XFOO x", "a1", VERB_UNKNOWN, "x", false},
        {"a1 NOTIFY NONE", "a1", VERB_UNKNOWN, "NONE", false},
        {"a1 NOOPS", "a1", VERB_UNKNOWN, "", false},
        {"a1 NOO", "a1", VERB_UNKNOWN, "", false},
        {"].!#$&'-/:;<=>?@[^_`|}~ NOOP", "].!#$&'-/:;<=>?@[^_`|}~", VERB_NOOP, "", false},
        {"a1", "a1", VERB_UNKNOWN, "Command missing", true},
        {"a1 ", "a1", VERB_UNKNOWN, "Command missing", true},
        {"a1  NOOP", "a1", VERB_UNKNOWN, "Command missing", true},
        {"a1 UID", "a1", VERB_UNKNOWN, "Command missing", true},
        {"a1 UID ", "a1", VERB_UNKNOWN, "Command missing", true},
        {"a1 {5}", "a1", VERB_UNKNOWN, "Invalid command", true},
        {"a1 \"NOOP\"", "a1", VERB_UNKNOWN, "Invalid command", true},
        {"a1 NOOP(", "a1", VERB_UNKNOWN, "Invalid command", true},
        {"a1 NO\tOP", "a1", VERB_UNKNOWN, "Invalid command", true},
        {"a1 N\xc3\xb6P", "a1", VERB_UNKNOWN, "Invalid command", true},
        /* FRONT-CASES 25 */
        {"", "*", VERB_UNKNOWN, "Invalid tag", true},
        {" NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"* NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"+ NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"a+ NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"a{1 NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"a(1 NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"a%1 NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"a\"1 NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"a\\1 NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"a\x1b[1m NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"\xe4 NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
        {"\x7f NOOP", "*", VERB_UNKNOWN, "Invalid tag", true},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_cmd cmd;
        const char *why = NULL;
        struct span line = span_str(rows[i].line);
        assert_int_equal(imap_cmd_parse(line, &cmd, &why), !rows[i].error);
        assert_string_equal(cmd.tag, rows[i].tag);
        assert_int_equal(cmd.verb, rows[i].verb);
        assert_true(cmd.args <= line.len);
        if (rows[i].error)
            assert_string_equal(why, rows[i].args);
        else
            unit_same(span_of(line.p + cmd.args, line.len - cmd.args), rows[i].args);
    }
}

static void test_tag_length(void **state)
{
    (void)state;
    struct imap_cmd cmd;
    const char *why;
    char line[400];
    memset(line, 't', sizeof line);
    memcpy(line + IMAP_TAG_MAX, " NOOP", 6);
    assert_true(imap_cmd_parse(span_str(line), &cmd, &why));
    assert_int_equal(strlen(cmd.tag), IMAP_TAG_MAX);
    line[IMAP_TAG_MAX] = 't';
    memcpy(line + IMAP_TAG_MAX + 1, " NOOP", 6);
    assert_false(imap_cmd_parse(span_str(line), &cmd, &why));
    assert_string_equal(cmd.tag, "*");
    memset(line, 't', sizeof line);
    memcpy(line + 300, " NOOP", 6);
    assert_false(imap_cmd_parse(span_str(line), &cmd, &why));
}

static void test_verbs(void **state)
{
    (void)state;
    assert_null(imap_verbs[VERB_UNKNOWN].name);
    for (int v = VERB_UNKNOWN + 1; v < VERB_COUNT; v++) {
        assert_non_null(imap_verbs[v].name);
        char *line = xasprintf("a %s x", imap_verbs[v].name);
        struct imap_cmd cmd;
        const char *why;
        assert_true(imap_cmd_parse(span_str(line), &cmd, &why));
        assert_int_equal(cmd.verb, v);
        assert_int_equal(strncmp(imap_verbs[v].name, "UID ", 4) == 0,
                         (imap_verbs[v].flags & VERB_HAS_UID) != 0);
        free(line);
    }
}

static bool modseqs; /* of the command that verdict() has looked at */

/* NULL where the command may pass, else the text. Parts are separated by a newline. */
static const char *verdict(const char *command, const struct imap_caps *shown)
{
    struct imap_cmd cmd;
    const char *why = NULL;
    bool first = true;
    char *parts = xstrdup(command);
    for (char *save, *part = strtok_r(parts, "\n", &save); part; part = strtok_r(NULL, "\n", &save)) {
        bool ok = (!first || imap_cmd_parse(span_str(part), &cmd, &why)) &&
                  imap_cmd_allowed(&cmd, span_str(part), first, shown, &why);
        first = false;
        assert_int_equal(ok, why == NULL);
        if (!ok)
            break;
    }
    free(parts);
    modseqs = cmd.condstore;
    return why;
}

static void expect(const char *command, const struct imap_caps *shown, const char *want)
{
    const char *got = verdict(command, shown);
    if (!got != !want)
        print_error("%s: %s\n", command, got ? got : "passed");
    assert_string_equal(got ? got : "passed", want ? want : "passed");
}

static void test_passes(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "a CAPABILITY",
        "a NOOP",
        "a NOOP ",
        "a LOGOUT",
        "a NAMESPACE",
        "a IDLE",
        "a CHECK",
        "a CLOSE",
        "a UNSELECT",
        "a EXPUNGE",
        "a ID NIL",
        "a ID (\"name\" \"x y\" \"v\" NIL)",
        "a ENABLE CONDSTORE QRESYNC",
        /* mailbox names are not looked into */
        "a SELECT MODSEQ",
        "a SELECT \"(CONDSTORE)\"",
        "a SELECT {6}\n",
        "a EXAMINE X-GUID",
        "a SELECT INBOX ()",
        "a CREATE CONDSTORE",
        "a DELETE MODSEQ",
        "a RENAME MODSEQ EMAILID",
        "a SUBSCRIBE QRESYNC",
        "a UNSUBSCRIBE $",
        "a STATUS HIGHESTMODSEQ (MESSAGES)",
        "a LSUB \"\" CONDSTORE",
        "a GETACL MODSEQ",
        "a COPY 1:* MODSEQ",
        "a UID COPY 1 CATENATE",
        "a MOVE 1 {3}\n",
        "a UID MOVE 1:2,4 \"$\"",
        "a GETQUOTAROOT MODSEQ",
        "a SETACL x ann lrs",
        "a MYRIGHTS MYRIGHTS",
        "a GETQUOTA \"\"",
        "a SETQUOTA \"\" (STORAGE 512)",
        "a GETMETADATA (DEPTH 1) \"\" /private/x",
        "a SETMETADATA INBOX (/private/comment {3}\n)",
        "a SETMETADATA INBOX (/private/comment ~{3}\n)",
        "a SELECT \"\xc3\xa4\"",
        "a CREATE x (USE (\\Sent \\X))",
        "a CREATE {1+}\n (USE (\\Drafts))",
        "a APPEND MODSEQ {10}\n",
        "a APPEND x (\\Seen UTF8 CATENATE MODSEQ) \"01-Jan-2020 00:00:00 +0000\" {10+}\n",
        "a APPEND x () {1}\n (\\Seen) {2}\n \" 1-Jan-2020 00:00:00 +0000\" {1+}\n",
        "a APPEND {3}\n (X) ~{10}\n",
        "a STATUS x (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE APPENDLIMIT DELETED DELETED-STORAGE)",
        "a STATUS {1}\n (messages)",
        "a STATUS \"MODSEQ (\" (UNSEEN)",
        /* LIST */
        "a LIST \"\" *",
        "a LIST \"\" %",
        "a LIST MODSEQ CONDSTORE",
        "a LIST RETURN (METADATA MYRIGHTS)",
        "a LIST \"\" RETURN",
        "a LIST \"\" \"*\" RETURN ()",
        "a LIST (SUBSCRIBED RECURSIVEMATCH REMOTE) \"\" (a b {1}\n)",
        "a LIST (SPECIAL-USE) \"\" * RETURN (SPECIAL-USE CHILDREN SUBSCRIBED)",
        "a LIST \"\" * RETURN (STATUS (MESSAGES UIDNEXT) CHILDREN)",
        "a LIST \"\" {1}\n RETURN (STATUS (UNSEEN))",
        "a LIST () \"\" (MODSEQ EMAILID)",
        "a list (subscribed) \"\" * return (children)",
        /* SEARCH: arguments of keys are not keys */
        "a SEARCH ALL",
        "a SEARCH 9,10 90:91",
        "a SEARCH SUBJECT MODSEQ",
        "a SEARCH HEADER EMAILID MODSEQ SEEN",
        "a SEARCH KEYWORD $Forwarded",
        "a SEARCH UNKEYWORD X-GUID",
        "a SEARCH BCC EMAILID BODY THREADID CC SAVE FROM X-GUID TEXT MODSEQ TO FILTER",
        "a SEARCH SUBJECT $",
        "a SEARCH SUBJECT \"MODSEQ (\"",
        "a SEARCH CHARSET UTF-8 SUBJECT {6}\n",
        "a SEARCH SUBJECT {3}\n UNSEEN",
        "a SEARCH HEADER {4}\n {5}\n SEEN",
        "a SEARCH HEADER {4}\n X-Foo SEEN",
        "a SEARCH 1:5,* (OR SEEN (NOT 3 UID 4:*)) SINCE 1-Jan-2020 LARGER 5",
        "a UID SEARCH UID 1:* NOT DELETED",
        "a SEARCH RETURN () ALL",
        "a SEARCH RETURN (MIN MAX ALL COUNT) CHARSET UTF-8 OR BEFORE 1-Feb-1994 ON 1-Feb-1994",
        "a SEARCH SENTBEFORE 1-Feb-1994 SENTON 1-Feb-1994 SENTSINCE 1-Feb-1994 SMALLER 3 OLDER 3 YOUNGER 4",
        "a SEARCH SAVEDSINCE 1-Feb-1994 FUZZY SUBJECT x",
        "a search return (count) unseen undeleted",
        "a SORT (REVERSE DATE SUBJECT) UTF-8 ALL",
        "a UID SORT (DISPLAYFROM ARRIVAL) MODSEQ SUBJECT MODSEQ",
        "a SORT (CC) {5}\n ALL",
        "a THREAD REFERENCES UTF-8 SUBJECT MODSEQ",
        "a UID THREAD REFERENCES {5}\n ALL",
        /* FETCH */
        "a FETCH 1 ALL",
        "a FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
        "a FETCH 1 full",
        "a FETCH 1 BODY[HEADER.FIELDS (MODSEQ EMAILID \"X]Y\")]<0.100>",
        "a FETCH 1 (BODY.PEEK[] BINARY[1] BINARY.SIZE[2])",
        "a FETCH 1 BODY[HEADER.FIELDS ({6}\n {3}\n MODSEQ)]",
        "a FETCH 1 (BODY[HEADER.FIELDS ({6}\n)]<0.5> UID)",
        "a FETCH 1 (PREVIEW (LAZY) SAVEDATE SNIPPET (LAZY=FUZZY))",
        "a UID FETCH 3 RFC822",
        "a UID FETCH 1,2,3 (BODY.PEEK[HEADER])",
        /* STORE: flags may be called anything */
        "a STORE 1 FLAGS (\\Seen MODSEQ)",
        "a UID STORE 1:* +FLAGS.SILENT UNCHANGEDSINCE",
        "a STORE 1 -flags $Forwarded",
        "a STORE 1 () FLAGS ()",
        "a UID EXPUNGE 1:5",
    };
    struct imap_caps all = caps_of(all_words);
    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect(rows[i], &all, NULL);
}

static void test_hidden(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a XFOO", "Unknown command"},
        {"a NOTIFY NONE", "Unknown command"},
        {"a COMPRESS DEFLATE", "This command is not offered here"},
        {"a URLFETCH x", "Unknown command"},
        {"a GENURLAUTH x", "Unknown command"},
        {"a RESETKEY", "Unknown command"},
        {"a REPLACE 1 x {5}", "Unknown command"},
        {"a UID REPLACE 1 x {5}", "Unknown command"},
        {"a UNAUTHENTICATE", "Unknown command"},
        {"a XLIST \"\" *", "Unknown command"},
        {"a ESEARCH IN (personal) ALL", "Unknown command"},
        {"a CANCELUPDATE \"a\"", "Unknown command"},
        {"a CONVERT 1 x", "Unknown command"},
        {"a GETJMAPACCESS", "Unknown command"},
        {"a GETANNOTATION x y z", "Unknown command"},
        {"a RLIST \"\" *", "Unknown command"},
        {"a XAPPLEPUSHSERVICE x", "Unknown command"},
        /* FRONT-CASES 29, 49 */
        {"a LOGIN ann pw", "Already logged in"},
        {"a AUTHENTICATE PLAIN", "Already logged in"},
        {"a STARTTLS", "Already logged in"},
        {"a FETCH 1 MODSEQ", "MODSEQ is not offered here"},
        {"a FETCH 1 (UID modseq)", "MODSEQ is not offered here"},
        {"a FETCH 2BINARY.SIZE[ HIGHESTMODSEQ x] UID", "HIGHESTMODSEQ is not offered here"},
        {"a FETCH 1:* FLAGS (CHANGEDSINCE 5)", "CHANGEDSINCE is not offered here"},
        {"a UID FETCH 1:* (FLAGS) (CHANGEDSINCE 5 VANISHED)", "CHANGEDSINCE is not offered here"},
        {"a UID FETCH 1:* (FLAGS) (VANISHED CHANGEDSINCE 5)", "VANISHED is not offered here"},
        {"a FETCH 1:* FLAGS (PARTIAL 1:5)", "PARTIAL is not offered here"},
        {"a FETCH 1 (EMAILID THREADID)", "EMAILID is not offered here"},
        {"a FETCH 1 X-GM-LABELS", "X-GM-LABELS is not offered here"},
        {"a FETCH 1 (FLAGS X-SAVEDATE)", "Unknown FETCH item"},
        {"a FETCH 1 (DIGEST.SHA1)", "Unknown FETCH item"},
        {"a FETCH 1 ANNOTATION", "ANNOTATION is not offered here"},
        {"a FETCH 1 (BODY[HEADER.FIELDS ({4}\n)] MODSEQ)", "MODSEQ is not offered here"},
        {"a FETCH 1 (BODY[HEADER.FIELDS ({4}\n)]) (CHANGEDSINCE 4)", "CHANGEDSINCE is not offered here"},
        {"a FETCH 1 (BODY[TEXT]<0.5> MODSEQ)", "MODSEQ is not offered here"},
        {"a FETCH $ FLAGS", "$ is not offered here"},
        {"a COPY $ x", "$ is not offered here"},
        {"a UID EXPUNGE $", "$ is not offered here"},
        {"a STORE $ FLAGS ()", "$ is not offered here"},
        {"a STORE 1 (UNCHANGEDSINCE 5) FLAGS ()", "UNCHANGEDSINCE is not offered here"},
        {"a STORE 1 (X 5) FLAGS ()", "Unknown STORE modifier"},
        {"a STORE 1 ANNOTATION (x)", "ANNOTATION is not offered here"},
        {"a STORE 1 X-GM-LABELS (x)", "X-GM-LABELS is not offered here"},
        {"a STORE 1 KEYWORDS (x)", "Unknown STORE item"},
        {"a STORE 1 () MODSEQ (x)", "MODSEQ is not offered here"},
        {"a SELECT x (CONDSTORE)", "CONDSTORE is not offered here"},
        {"a SELECT x (QRESYNC (1 2))", "QRESYNC is not offered here"},
        {"a EXAMINE \"x\" (FOO)", "Unknown SELECT parameter"},
        {"a SELECT {1}\n (CONDSTORE)", "CONDSTORE is not offered here"},
        {"a SELECT x (UTF8)", "UTF8 is not offered here"},
        {"a CREATE x (MAILBOXID)", "MAILBOXID is not offered here"},
        {"a CREATE x (PARTITION y)", "Unknown CREATE parameter"},
        {"a CREATE x (USE (\\Sent) FOO)", "Unknown CREATE parameter"},
        {"a CREATE {1}\n (FOO)", "Unknown CREATE parameter"},
        {"a STATUS x (MESSAGES HIGHESTMODSEQ)", "HIGHESTMODSEQ is not offered here"},
        {"a STATUS {1}\n (MAILBOXID)", "MAILBOXID is not offered here"},
        {"a STATUS x (X-GUID)", "X-GUID is not offered here"},
        {"a STATUS x (ACCOUNTID)", "Unknown STATUS item"},
        {"a LIST \"\" * RETURN (STATUS (MESSAGES HIGHESTMODSEQ))", "HIGHESTMODSEQ is not offered here"},
        {"a LIST \"\" (a b) RETURN (CHILDREN STATUS (MAILBOXID))", "MAILBOXID is not offered here"},
        {"a LIST \"\" {1}\n RETURN (STATUS (MAILBOXID))", "MAILBOXID is not offered here"},
        {"a LIST \"\" ({1}\n x) RETURN (STATUS (MAILBOXID))", "MAILBOXID is not offered here"},
        {"a LIST \"\" * RETURN (MYRIGHTS)", "MYRIGHTS is not offered here"},
        {"a LIST \"\" * RETURN (METADATA (\"/x\"))", "METADATA is not offered here"},
        {"a LIST \"\" * RETURN (CHILDREN (MESSAGES))", "Unknown LIST option"},
        {"a LIST (X) \"\" *", "Unknown LIST option"},
        {"a LIST (SUBSCRIBED) RETURN RETURN RETURN (X)", "Unknown LIST option"},
        {"a SEARCH MODSEQ 5", "MODSEQ is not offered here"},
        {"a SEARCH SUBJECT x MODSEQ 5", "MODSEQ is not offered here"},
        {"a SEARCH HEADER x y MODSEQ 5", "MODSEQ is not offered here"},
        {"a SEARCH SUBJECT \"x\" (OR SEEN MODSEQ 5)", "MODSEQ is not offered here"},
        {"a SEARCH SUBJECT {3}\n MODSEQ 5", "MODSEQ is not offered here"},
        {"a SEARCH SUBJECT {3}\n SEEN FOO", "Unknown SEARCH key"},
        {"a SEARCH NOT EMAILID x", "EMAILID is not offered here"},
        {"a SEARCH X-GUID x", "X-GUID is not offered here"},
        {"a SEARCH X-NEW x", "Unknown SEARCH key"},
        {"a SEARCH $", "$ is not offered here"},
        {"a SEARCH UID $", "$ is not offered here"},
        {"a SEARCH OR $ SEEN", "$ is not offered here"},
        {"a SEARCH RETURN (SAVE) ALL", "SAVE is not offered here"},
        {"a UID SEARCH RETURN (COUNT PARTIAL 1:5) ALL", "PARTIAL is not offered here"},
        {"a SEARCH RETURN (UPDATE) ALL", "UPDATE is not offered here"},
        {"a SEARCH RETURN (FOO) ALL", "Unknown RETURN option"},
        {"a SEARCH RETURN (MIN) MODSEQ 5", "MODSEQ is not offered here"},
        {"a SEARCH RETURN ALL", "List missing behind RETURN"},
        {"a SEARCH FILTER x", "FILTER is not offered here"},
        {"a SEARCH UIDAFTER 5", "UIDAFTER is not offered here"},
        {"a SORT RETURN (COUNT) (DATE) UTF-8 ALL", "RETURN is not offered here"},
        {"a SORT (FOO) UTF-8 ALL", "Unknown SORT criterion"},
        {"a SORT (DATE) UTF-8 MODSEQ 5", "MODSEQ is not offered here"},
        {"a SORT (DATE) {5}\n MODSEQ 5", "MODSEQ is not offered here"},
        {"a SORT DATE UTF-8 ALL", "SORT criteria missing"},
        {"a THREAD REFS UTF-8 ALL", "Unknown THREAD algorithm"},
        {"a THREAD REFERENCES UTF-8 EMAILID x", "EMAILID is not offered here"},
        {"a APPEND x CATENATE (URL \"x\")", "CATENATE is not offered here"},
        {"a APPEND x (\\Seen) \"date\" CATENATE (TEXT {5}", "CATENATE is not offered here"},
        {"a APPEND x (\\Seen) UTF8 (~{5}", "UTF8 is not offered here"},
        {"a APPEND {1}\n CATENATE (TEXT {5}", "CATENATE is not offered here"},
        {"a APPEND x {1}\n UTF8 (~{5}", "UTF8 is not offered here"},
        {"a APPEND x FOO {5}", "Unknown APPEND argument"},
    };
    struct imap_caps all = caps_of(all_words);
    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect(rows[i][0], &all, rows[i][1]);
}

/* What is fine where it is shown is refused where it is not. */
static void test_needs(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"a IDLE", "IDLE", "This command is not offered here"},
        {"a ID NIL", "ID", "This command is not offered here"},
        {"a ENABLE X", "ENABLE", "This command is not offered here"},
        {"a NAMESPACE", "NAMESPACE", "This command is not offered here"},
        {"a UNSELECT", "UNSELECT", "This command is not offered here"},
        {"a MOVE 1 x", "MOVE", "This command is not offered here"},
        {"a UID MOVE 1 x", "MOVE", "This command is not offered here"},
        {"a UID EXPUNGE 1", "UIDPLUS", "This command is not offered here"},
        {"a SORT (DATE) UTF-8 ALL", "SORT", "This command is not offered here"},
        {"a THREAD ORDEREDSUBJECT UTF-8 ALL", "THREAD=ORDEREDSUBJECT", "This command is not offered here"},
        {"a UID THREAD REFS UTF-8 ALL", "THREAD=REFS", "This command is not offered here"},
        {"a GETQUOTAROOT x", "QUOTA", "This command is not offered here"},
        {"a GETACL x", "ACL", "This command is not offered here"},
        {"a GETMETADATA x y", "METADATA", "This command is not offered here"},
        {"a SETMETADATA \"\" (y z)", "METADATA-SERVER", "This command is not offered here"},
        {"a SEARCH RETURN (MIN) ALL", "ESEARCH", "RETURN is not offered here"},
        {"a SEARCH OLDER 5", "WITHIN", "Unknown SEARCH key"},
        {"a SEARCH FUZZY SUBJECT x", "SEARCH=FUZZY", "Unknown SEARCH key"},
        {"a SEARCH SAVEDATESUPPORTED", "SAVEDATE", "Unknown SEARCH key"},
        {"a FETCH 1 BINARY[1]", "BINARY", "BINARY is not offered here"},
        {"a FETCH 1 SAVEDATE", "SAVEDATE", "Unknown FETCH item"},
        {"a FETCH 1 PREVIEW", "PREVIEW", "Unknown FETCH item"},
        {"a APPEND x ~{5}", "BINARY", "BINARY is not offered here"},
        {"a STATUS x (SIZE)", "STATUS=SIZE", "Unknown STATUS item"},
        {"a STATUS x (APPENDLIMIT)", "APPENDLIMIT", "Unknown STATUS item"},
        {"a STATUS x (DELETED)", "QUOTA=RES-MESSAGE", "Unknown STATUS item"},
        {"a CREATE x (USE (\\Sent))", "CREATE-SPECIAL-USE", "Unknown CREATE parameter"},
        {"a LIST (SUBSCRIBED) \"\" *", "LIST-EXTENDED", "Unknown LIST option"},
        {"a LIST \"\" * RETURN (CHILDREN)", "LIST-EXTENDED", "Unknown LIST option"},
        {"a LIST \"\" * RETURN (STATUS (UNSEEN))", "LIST-STATUS", "STATUS is not offered here"},
        {"a LIST (SPECIAL-USE) \"\" *", "SPECIAL-USE", "Unknown LIST option"},
    };
    struct imap_caps none = caps_of("IMAP4rev1");
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_caps one = caps_of(rows[i][1]);
        expect(rows[i][0], &one, NULL);
        expect(rows[i][0], &none, rows[i][2]);
    }
    struct imap_caps sort = caps_of("SORT");
    expect("a SORT (DISPLAYFROM) UTF-8 ALL", &sort, "Unknown SORT criterion");
}

/* RFC 7162: all of it where it is shown, and how it marks the command. */
static void test_modseqs(void **state)
{
    (void)state;
    static const struct {
        const char *line, *why;
        bool condstore;
    } rows[] = {
        {"a SELECT x (CONDSTORE)", NULL, true},
        {"a EXAMINE {1}\n (condstore)", NULL, true},
        {"a SELECT x (QRESYNC (67890007 20050715194045000 41,43:211,214:541))", NULL, false},
        {"a SELECT x (QRESYNC (67890007 90060115194045000 1:29997 (5000,7500,9000 15000,22500,27000)))", NULL,
         false},
        {"a SELECT x (CONDSTORE QRESYNC (1 2))", NULL, true},
        {"a SELECT x (QRESYNC)", "Unknown SELECT parameter", false},
        {"a SELECT x (QRESYNC (1 2 $))", "Unknown SELECT parameter", false},
        {"a SELECT x (QRESYNC (1 2 1:*))", "Unknown SELECT parameter", false},
        {"a SELECT x (QRESYNC (1 \"2\"))", "Unknown SELECT parameter", false},
        {"a SELECT x (QRESYNC (1 {1}", "Unknown SELECT parameter", false},
        {"a SELECT x (QRESYNC (1 2)) ANNOTATE", "ANNOTATE is not offered here", false},
        {"a SELECT x CONDSTORE", "CONDSTORE is not offered here", false},
        {"a SELECT x ()", NULL, false},
        {"a SELECT x (", "Unbalanced parenthesis", false},
        {"a SELECT x", NULL, false},
        {"a FETCH 1 MODSEQ", NULL, true},
        {"a UID FETCH 1:* (UID modseq)", NULL, true},
        {"a UID FETCH 1 FLAGS (CHANGEDSINCE 12345)", NULL, true},
        {"a UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)", NULL, true},
        {"a UID FETCH 300:500 (FLAGS) (VANISHED changedsince 0)", NULL, true},
        {"a FETCH 1 PREVIEW (LAZY)", NULL, false},
        {"a FETCH 1 (PREVIEW (LAZY) UID) (CHANGEDSINCE 5)", NULL, true},
        {"a FETCH 1 BODY.PEEK[HEADER.FIELDS ({1}\n)] (CHANGEDSINCE 5)", NULL, true},
        {"a FETCH 1 (BODY.PEEK[HEADER.FIELDS ({1}\n)]) (CHANGEDSINCE 5)", NULL, true},
        {"a FETCH 1 (MODSEQ BODY.PEEK[HEADER.FIELDS ({1}\n)])", NULL, true},
        {"a FETCH 1 (FLAGS CHANGEDSINCE 5)", "CHANGEDSINCE is not offered here", false},
        {"a FETCH 1 (CHANGEDSINCE 5)", "CHANGEDSINCE is not offered here", false},
        {"a FETCH 1 FLAGS (CHANGEDSINCE)", "Invalid MODSEQ", true},
        {"a FETCH 1 FLAGS (CHANGEDSINCE x)", "Invalid MODSEQ", true},
        {"a FETCH 1 FLAGS (CHANGEDSINCE \"5\")", "Invalid MODSEQ", true},
        {"a FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775807)", NULL, true},
        {"a FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)", "Invalid MODSEQ", true},
        {"a FETCH 1 FLAGS (CHANGEDSINCE 5 EMAILID)", "EMAILID is not offered here", true},
        {"a FETCH 1 FLAGS (PARTIAL 1:5)", "PARTIAL is not offered here", false},
        {"a STORE 1 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted)", NULL, true},
        {"a UID STORE 1 (UNCHANGEDSINCE 0) FLAGS ()", NULL, true},
        {"a STORE 1 (UNCHANGEDSINCE) FLAGS ()", "Invalid MODSEQ", true},
        {"a STORE 1 (UNCHANGEDSINCE 1 5) FLAGS ()", "Unknown STORE modifier", true},
        {"a SEARCH MODSEQ 620162338", NULL, true},
        {"a UID SEARCH OR NOT MODSEQ 720162338 LARGER 50000", NULL, true},
        {"a SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338 SEEN", NULL, true},
        {"a SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338 EMAILID x", "EMAILID is not offered here", true},
        {"a SEARCH MODSEQ 5 EMAILID x", "EMAILID is not offered here", true},
        {"a UID SEARCH RETURN (MIN ALL) MODSEQ 5", NULL, true},
        {"a SORT (DATE) UTF-8 MODSEQ 5", NULL, true},
        {"a STATUS x (UIDNEXT HIGHESTMODSEQ)", NULL, true},
        {"a LIST \"\" * RETURN (STATUS (HIGHESTMODSEQ))", NULL, true},
        {"a NOOP", NULL, false},
    };
    struct imap_caps all = caps_of(all_words);
    imap_caps_add(&all, CAP_CONDSTORE);
    imap_caps_add(&all, CAP_QRESYNC);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        expect(rows[i].line, &all, rows[i].why);
        if (modseqs != rows[i].condstore)
            fail_msg("%s", rows[i].line);
    }
    struct imap_caps one = caps_of("CONDSTORE");
    expect("a SELECT x (QRESYNC (1 2))", &one, "QRESYNC is not offered here");
    expect("a UID FETCH 1 FLAGS (CHANGEDSINCE 5 VANISHED)", &one, "VANISHED is not offered here");
    expect("a UID FETCH 1 FLAGS (CHANGEDSINCE 5)", &one, NULL);
}

/* A line that ended within a list made Dovecot wait for the rest of it, and the session with it. */
static void test_parentheses(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a APPEND INBOX (\\Seen) {5}\n", NULL},
        {"a APPEND INBOX () \"date\" {5}\n (\\Seen $x) {5}\n", NULL},
        {"a APPEND {5}\n (\\Seen) {5}\n", NULL},
        {"a APPEND INBOX (\\Bad {16+}", "Invalid flag"},
        {"a APPEND INBOX (\\Bad {16}", "Invalid flag"},
        {"a APPEND INBOX ({16}", "Invalid flag"},
        {"a APPEND INBOX (\"\\Seen\") {5}", "Invalid flag"},
        {"a APPEND INBOX ((\\Seen)) {5}", "Invalid flag"},
        {"a APPEND INBOX (\\Seen", "Unbalanced parenthesis"},
        {"a APPEND INBOX (\\Seen{5}", "Invalid character in a word"},
        {"a APPEND INBOX \\Seen) {5}", "Unbalanced parenthesis"},
        {"a APPEND INBOX (\\Seen)x {5}", "No blank behind a parenthesis"},
        {"a APPEND INBOX(\\Seen) {5}", "No blank before a parenthesis"},
        {"a APPEND INBOX {5}\n (\\Bad {16+}", "Invalid flag"},
        {"a APPEND INBOX {5}\n)", "Unbalanced parenthesis"},
        {"a STORE 1 FLAGS (\\Seen \\Deleted)", NULL},
        {"a STORE 1 FLAGS \\Seen \\Deleted", NULL},
        {"a STORE 1 FLAGS (\\Seen", "Unbalanced parenthesis"},
        {"a STORE 1 FLAGS (\\Seen {3+}", "Invalid flag"},
        {"a STORE 1 FLAGS {3+}", "Invalid flag"},
        {"a STORE 1 FLAGS \"x\"", "Invalid flag"},
        {"a CREATE x (USE (\\Sent {3}", "Invalid flag"},
        {"a CREATE x (USE (\\Sent)", "Unbalanced parenthesis"},
        {"a FETCH 1 (FLAGS", "Unbalanced parenthesis"},
        {"a FETCH 1 (FLAGS))", "Unbalanced parenthesis"},
        {"a FETCH 1 (BODY[HEADER.FIELDS (X])", "Unbalanced parenthesis"},
        {"a FETCH 1 (BODY[HEADER.FIELDS X)])", "Unbalanced parenthesis"},
        {"a FETCH 1 (BODY[HEADER.FIELDS ((X))])", "Unbalanced parenthesis"},
        {"a FETCH 1 BODY[{5}\n]", "Invalid character in a word"},
        {"a FETCH 1 (BODY[HEADER.FIELDS ({1}\n {1}\n)] FLAGS)", NULL},
        {"a FETCH 1 (BODY[HEADER.FIELDS ({1}\n)]", "Unbalanced parenthesis"},
        {"a FETCH 1 (BODY[HEADER.FIELDS ({1}\n ])", "Unbalanced parenthesis"},
        {"a SEARCH (SUBJECT {1}\n UNSEEN)", NULL},
        {"a SEARCH (SUBJECT {1}\n UNSEEN", "Unbalanced parenthesis"},
        {"a SEARCH (SUBJECT {1}\n UNSEEN))", "Unbalanced parenthesis"},
        {"a SEARCH OR (UNSEEN) (SUBJECT {1}\n)", NULL},
        {"a SEARCH (UNSEEN", "Unbalanced parenthesis"},
        {"a LIST \"\" ({1}\n {1}\n)", NULL},
        {"a LIST \"\" (a b", "Unbalanced parenthesis"},
        {"a LIST (SUBSCRIBED \"\" *", "Unbalanced parenthesis"},
        {"a LIST \"\" * RETURN (STATUS (UNSEEN)", "Unbalanced parenthesis"},
        {"a LIST \"\" * RETURN ({8}", "Unknown LIST option"},
        {"a STATUS x (UNSEEN", "Unbalanced parenthesis"},
        {"a SORT (DATE UTF-8 ALL", "Unbalanced parenthesis"},
        {"a SETMETADATA x (/private/comment {1}\n)", NULL},
        {"a SETMETADATA x (/private/comment {1}\n x", "Unbalanced parenthesis"},
        {"a GETMETADATA x (/private/comment", "Unbalanced parenthesis"},
        {"a SELECT (", "Unbalanced parenthesis"},
        {"a SELECT )", "Unbalanced parenthesis"},
        {"a ENABLE (", "Unbalanced parenthesis"},
    };
    struct imap_caps all = caps_of(all_words);
    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect(rows[i][0], &all, rows[i][1]);
    char bomb[300] = "a SEARCH ";
    memset(bomb + 9, '(', 200);
    expect(bomb, &all, "Too many open parentheses");
}

/* Where a server would give up half way through the line, and take the literal behind it for commands. */
static void test_ambiguous(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a NOOP {100+}", "Too many arguments"},
        {"a NOOP x", "Too many arguments"},
        {"a CLOSE (", "Unbalanced parenthesis"},
        {"a CREATE x {5+}", "Unknown CREATE parameter"},
        {"a DELETE x {5+}", "Too many arguments"},
        {"a RENAME x y {5+}", "Too many arguments"},
        {"a RENAME {1}\n y {5+}", "Too many arguments"},
        {"a RENAME {1}\n {1}\n {5+}", "Too many arguments"},
        {"a RENAME {1}\nx NOOP", "No blank behind a literal"},
        {"a SEARCH SUBJECT {1}\n\"x\"", "No blank behind a literal"},
        {"a SUBSCRIBE x {5+}", "Too many arguments"},
        {"a UNSUBSCRIBE \"x\" {5+}", "Too many arguments"},
        {"a LSUB \"\" * {5+}", "Too many arguments"},
        {"a COPY 1 x {5+}", "Too many arguments"},
        {"a UID MOVE 1 {1}\n {5+}", "Too many arguments"},
        {"a UID EXPUNGE 1 {5+}", "Too many arguments"},
        {"a GETQUOTAROOT x {5+}", "Too many arguments"},
        {"a SETQUOTA x (STORAGE 1) {5+}", "Too many arguments"},
        {"a SETACL x y z {5+}", "Too many arguments"},
        {"a MYRIGHTS x {5+}", "Too many arguments"},
        {"a SEARCH SUBJECT \"foo {5+}", "Unclosed quoted string"},
        {"a SELECT \"foo", "Unclosed quoted string"},
        {"a SELECT \"foo\\\"", "Unclosed quoted string"},
        {"a SELECT foo\"x {5+}", "Invalid character in a word"},
        {"a SELECT \"foo\"x {5+}", "No blank behind a quoted string"},
        {"a SELECT \"foo\"\"x\"", "No blank behind a quoted string"},
        {"a SELECT foo{5+}", "Invalid character in a word"},
        {"a SELECT {foo}", "Invalid character in a word"},
        {"a SELECT {5+} x", "Invalid character in a word"},
        {"a SELECT a\tb", "Invalid character in a word"},
        {"a SELECT a\x7f", "Invalid character in a word"},
        {"a SELECT a\xe4", "Invalid character in a word"},
        {"a SELECT ~{5+}", "Binary literal not allowed here"},
        {"a SEARCH SUBJECT ~{5}", "Binary literal not allowed here"},
        {"a COPY 1 x) {5+}", "Unbalanced parenthesis"},
        {"a COPY 1 (x)) {5+}", "Unbalanced parenthesis"},
        {"a RENAME x {1}\n \"y {5+}", "Unclosed quoted string"},
        {"a FETCH 1 (BODY[HEADER", "Unclosed section"},
        {"a FETCH 1 (BODY[HEADER.FIELDS (X {5} Y)", "Invalid character in a word"},
    };
    struct imap_caps all = caps_of(all_words);
    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect(rows[i][0], &all, rows[i][1]);
}

/* A quote within brackets made imap_line see text where Cyrus eats a literal, and passed. */
static void test_quote_in_section_hides_literal(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a FETCH 1 BODY[HEADER.FIELDS (x\"y {5+}", "Invalid character in a word"},
        {"a FETCH 1 BODY[HEADER.FIELDS (\"x\"y {5+}", "No blank behind a quoted string"},
        {"a FETCH 1 BODY[HEADER.FIELDS (\"x {5+}", "Unclosed quoted string"},
        {"a FETCH 1 BODY[HEADER.FIELDS (x{5+}", "Invalid character in a word"},
        {"a FETCH 1 BODY[HEADER.FIELDS (~{5+}", "Invalid character in a word"},
        {"a FETCH 1 BODY[HEADER.FIELDS ({5} y", "Invalid character in a word"},
        {"a FETCH 1 BODY[HEADER.FIELDS (x\xe4)]", "Invalid character in a word"},
        {"a FETCH 1 BODY[HEADER.FIELDS ({1}\n \"y {5+}", "Unclosed quoted string"},
        {"a FETCH 1 BODY[HEADER.FIELDS ({1}\n x\"y {5+}", "Invalid character in a word"},
        {"a FETCH 1 BODY[HEADER.FIELDS ({1}\n\"y\")]", "No blank behind a literal"},
        {"a FETCH 1 BODY[HEADER.FIELDS ({1}\n x", "Unclosed section"},
    };
    struct imap_caps all = caps_of(all_words);
    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect(rows[i][0], &all, rows[i][1]);
}

/* A hidden name in a string or a literal, or where the words around it were taken for something else. */
static void test_hidden_in_disguise(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a SEARCH HEADER {7}\n FROM MODSEQ 5", "MODSEQ is not offered here"},
        {"a SEARCH HEADER {7}\n FROM SUBJECT MODSEQ", NULL},
        {"a SEARCH SUBJECT {7}\n FROM MODSEQ", NULL},
        {"a SEARCH SUBJECT {7}\n SUBJECT FROM EMAILID x", "EMAILID is not offered here"},
        {"a SEARCH SUBJECT {7}\n foo", "Unknown SEARCH key"},
        {"a SEARCH SUBJECT {7}\n {6}", "Unknown SEARCH key"},
        {"a SEARCH \"MODSEQ\" 5", "Unknown SEARCH key"},
        {"a SEARCH {6}\n 5", "Unknown SEARCH key"},
        {"a SEARCH FROM (MODSEQ 5)", "Argument of a SEARCH key missing"},
        {"a SEARCH (FROM) MODSEQ 5", "Argument of a SEARCH key missing"},
        {"a SEARCH UID {1}", "Invalid message set"},
        {"a SEARCH UID \"$\"", "Invalid message set"},
        {"a SEARCH UID \"1:*\" SEEN", NULL},
        {"a SEARCH RETURN (\"SAVE\") ALL", "Unknown RETURN option"},
        {"a SEARCH \"RETURN\" (SAVE) ALL", "Unknown SEARCH key"},
        {"a SORT (\"X\") UTF-8 ALL", "Unknown SORT criterion"},
        {"a FETCH {1}\n MODSEQ", "Invalid message set"},
        {"a FETCH 1 {6}", "Unknown FETCH item"},
        {"a FETCH 1 (FLAGS \"MODSEQ\")", "Unknown FETCH item"},
        {"a FETCH 1 (BODY[HEADER.FIELDS ({4}\n)] {6}", "Unknown FETCH item"},
        {"a FETCH 1 FLAGS[x MODSEQ]", "Unknown FETCH item"},
        {"a FETCH 1 BODY[]MODSEQ", "Invalid character behind a section"},
        {"a FETCH 1 BODY[]<0.5>MODSEQ", "Invalid character behind a section"},
        {"a FETCH 1 BODY[][MODSEQ]", "Invalid character behind a section"},
        {"a FETCH 1 FLAGS (\"CHANGEDSINCE\" 5)", "Unknown FETCH item"},
        {"a COPY \"$\" x", "Invalid message set"},
        {"a UID EXPUNGE {1}", "Invalid message set"},
        {"a STORE 1 \"ANNOTATION\" (x)", "Unknown STORE item"},
        {"a STORE 1 {10}", "Unknown STORE item"},
        {"a STATUS x (\"HIGHESTMODSEQ\")", "Unknown STATUS item"},
        {"a STATUS x ({13}", "Unknown STATUS item"},
        {"a LIST \"\" * RETURN (STATUS ({13}", "Unknown STATUS item"},
        {"a SELECT x (\"CONDSTORE\")", "Unknown SELECT parameter"},
        {"a SELECT x ({9}", "Unknown SELECT parameter"},
        {"a CREATE x (\"MAILBOXID\")", "Unknown CREATE parameter"},
    };
    struct imap_caps all = caps_of(all_words);
    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect(rows[i][0], &all, rows[i][1]);
}

/* As Thunderbird, Apple Mail, Outlook, K-9, mutt, mbsync, OfflineIMAP, imaplib, Roundcube, Delta Chat,
 * MailKit and imaptest write them. */
static void test_what_clients_say(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "8 UID fetch 12:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Subject Message-ID)])",
        "9 UID fetch 5 (UID RFC822.SIZE BODY.PEEK[]<0.65536>)",
        "10 UID fetch 5 (BODY.PEEK[HEADER] BODY.PEEK[1.MIME] BODY.PEEK[1])",
        "11 uid store 5 +Flags (\\Seen NonJunk)",
        "4 list (subscribed recursivematch) \"\" \"%\" return (special-use children)",
        "19 uid search UNDELETED (OR BODY \"foo bar\" SUBJECT {3+}\n)",
        "20 append \"Drafts\" (\\Seen \\Draft) \" 7-Feb-1994 21:52:25 -0800\" {5+}",
        "2.6 UID FETCH 5 BODY.PEEK[1.2]<0.1024>",
        "2.7 UID SEARCH 1:* NOT DELETED",
        "2.8 UID SEARCH RETURN (ALL) SINCE 1-Jan-2020",
        "2.10 UID STORE 1 +FLAGS.SILENT (\\Seen $NotJunk $MailFlagBit0)",
        "q1bs UID FETCH 1 (UID RFC822.HEADER RFC822.SIZE FLAGS INTERNALDATE)",
        "abcd LIST \"\" \"\"",
        "C1 UID FETCH 1 (UID BODY.PEEK[1.1.MIME])",
        "C1 UID SEARCH HEADER MESSAGE-ID \"<a@b>\"",
        "a0001 UID STORE 1 FLAGS.SILENT (\\Seen Old)",
        "2 LIST \"\" INBOX*",
        "4 UID FETCH * (UID)",
        "7 APPEND \"x\" (\\Seen ) {3+}",
        "8 UID SEARCH HEADER X-TUID abcdef",
        "ABCD UID SEARCH (HEADER X-OfflineIMAP 1234)",
        "A001 SEARCH FROM <x@y>",
        "A001 STORE 1 +FLAGS \\Deleted \\Seen",
        "A001 FETCH 1 BODY.PEEK[HEADER.FIELDS (\"From\" \"To\")]",
        "A001 SORT (DATE) \"UTF-8\" ALL",
        "A001 LIST \"\" (\"Drafts\" \"Sent\") RETURN (SUBSCRIBED)",
        "A001 UID SEARCH CHARSET UTF-8 OR HEADER SUBJECT {3+}\n HEADER FROM {3+}\n",
        "A001 UID SEARCH OR OR HEADER SUBJECT {3+}\n HEADER FROM {3+}\n HEADER TO {3+}\n",
        "A001 LIST \"\" * RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT SIZE))",
        "A001 GETMETADATA (DEPTH infinity) \"\" (/shared/vendor/kolab)",
        "1 FETCH 1 (BINARY.PEEK[1]<0.5> BINARY.SIZE[1])",
        "1 SEARCH SENTSINCE \"1-Jan-2020\"",
        "1 UID SEARCH RETURN (ALL COUNT MIN MAX RELEVANCY) ALL",
        "1 SELECT [Gmail]/Sent",
        "1 SELECT INBOX.Foo&APw-",
        "1 SEARCH  ALL",
        "1 SEARCH SUBJECT \"\xc3\xa4\"",
        "1 FETCH 1 ( FLAGS UID )",
        "1 FETCH 1 (BODY.PEEK[HEADER.FIELDS(DATE FROM)])",
        "1 FETCH 1 (BODY.PEEK[HEADER.FIELDS ( DATE FROM )])",
        "1 STATUS INBOX (UNSEEN MESSAGES )",
        "1 SEARCH UNDELETED HEADER Message-Id {5+}\n SINCE 1-Jan-2020",
        "1 SETMETADATA \"x\" (/private/comment \"hello\" /private/x NIL)",
    };
    struct imap_caps all = caps_of(all_words);
    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect(rows[i], &all, NULL);
}

static void any_answer(struct span prefix)
{
    struct imap_caps all = caps_of(all_words);
    struct imap_cmd cmd;
    const char *why = NULL;
    bool ok = imap_cmd_parse(prefix, &cmd, &why) && imap_cmd_allowed(&cmd, prefix, true, &all, &why);
    assert_int_equal(ok, why == NULL);
    if (cmd.verb != VERB_UNKNOWN) {
        imap_cmd_reads(&cmd, prefix);
        why = NULL;
        ok = imap_cmd_allowed(&cmd, prefix, false, &all, &why); /* as if behind a literal */
        assert_int_equal(ok, why == NULL);
    }
}

static void test_prefixes(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "a SEARCH RETURN (MIN SAVE) CHARSET \"UTF-8\" HEADER \"X\\\"\" {5+}",
        "a LIST (SUBSCRIBED) \"\" (a \"b\") RETURN (STATUS (MESSAGES) CHILDREN) ~{5}",
        "a UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (A \"]\" B)]<0.5> MODSEQ {1}",
        "a APPEND \"x\" (\\Seen) \"01-Jan-2020 00:00:00 +0000\" ~{15+}",
        "a STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen)",
        "a SORT (REVERSE DATE) UTF-8 UID $",
        "a CREATE x (USE (\\Sent))",
        "a THREAD REFERENCES UTF-8 ALL",
        "a SELECT x (QRESYNC (1 2))",
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        unit_prefixes(span_str(rows[i]), any_answer);
}

static void test_reads(void **state)
{
    (void)state;
    static const char *const reads[] = {
        "a NOOP",
        "a SEARCH SUBJECT {5}",
        "a UID SEARCH ALL",
        "a EXAMINE x",
        "a STATUS x (UNSEEN)",
        "a LIST \"\" *",
        "a IDLE",
        "a FETCH 1 FLAGS",
        "a FETCH 1 ALL",
        "a FETCH 1 FULL",
        "a FETCH 1 BODY",
        "a FETCH 1 (BODY.PEEK[] UID)",
        "a UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (RFC822 \"BODY[]\")] RFC822.SIZE)",
        "a FETCH 1 (RFC822.HEADER BODYSTRUCTURE)",
        "a FETCH 1 BINARY.PEEK[1]",
        "a FETCH 1 BINARY.SIZE[1]",
        "a UID FETCH 1 (FLAGS)",
        "a UID FETCH 1 (FLAGS MODSEQ) (CHANGEDSINCE 5 VANISHED)",
    };
    static const char *const changes[] = {
        "a SELECT x",
        "a STORE 1 FLAGS ()",
        "a APPEND x {5}",
        "a EXPUNGE",
        "a CLOSE",
        "a UID COPY 1 x",
        "a XFOO",
        "a FETCH 1 BODY[]",
        "a FETCH 1 (FLAGS body[TEXT]<0.5>)",
        "a UID FETCH 1 RFC822",
        "a FETCH 1 RFC822.TEXT",
        "a FETCH 1 BINARY[1]",
        "a FETCH 1 (BODY.PEEK[HEADER.FIELDS ({5}",
        "a FETCH 1 (FLAGS NEWITEM)",
        "a FETCH 1 (FLAGS \"x",
        "a FETCH 1 BODY.PEEK[",
        "a FETCH 1 {4}",
        "a FETCH 1 BODY[] (CHANGEDSINCE 5)",
        "a FETCH 1 FLAGS (CHANGEDSINCE 5 OTHER)",
        "a SETACL x y z",
        "a CREATE x",
        "a MOVE 1 x",
    };
    struct imap_cmd cmd;
    const char *why;
    for (size_t i = 0; i < COUNTOF(reads); i++) {
        assert_true(imap_cmd_parse(span_str(reads[i]), &cmd, &why));
        assert_true(imap_cmd_reads(&cmd, span_str(reads[i])));
    }
    for (size_t i = 0; i < COUNTOF(changes); i++) {
        assert_true(imap_cmd_parse(span_str(changes[i]), &cmd, &why));
        assert_false(imap_cmd_reads(&cmd, span_str(changes[i])));
    }
}

static void test_uses_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool uses;
    } rows[] = {
        {"a FETCH 1 FLAGS", true},
        {"a STORE 1 FLAGS ()", true},
        {"a COPY 1 x", true},
        {"a MOVE 1 x", true},
        {"a SEARCH ALL", true},
        {"a SORT (DATE) UTF-8 ALL", true},
        {"a NOOP", false},
        {"a EXPUNGE", false},
        {"a SELECT 3", false},
        {"a UID FETCH 3:5 FLAGS", false},
        {"a UID STORE 3 FLAGS ()", false},
        {"a UID COPY 3 x", false},
        {"a UID SEARCH UNSEEN", false},
        {"a UID SEARCH UID 3:5 LARGER 100", false},
        {"a UID SEARCH HEADER 3 5 NOT SMALLER 7", false},
        {"a UID SEARCH SUBJECT 2024", false},
        {"a UID SEARCH SUBJECT \"3\" 4", true},
        {"a UID SEARCH 1:* UNDELETED", false},
        {"a UID SEARCH NOT 3", true},
        {"a UID SEARCH OR (UID 3 4:5) SEEN", true},
        {"a UID SEARCH *", true},
        {"a UID SEARCH MODSEQ 5", false},
        {"a UID SEARCH MODSEQ \"/flags/x\" all 5", false},
        {"a UID SEARCH MODSEQ \"/flags/x\" all 5 6", true},
        {"a UID SORT (REVERSE DATE) UTF-8 UNSEEN", false},
        {"a UID THREAD REFERENCES UTF-8 2:3", true},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_cmd cmd;
        const char *why;
        assert_true(imap_cmd_parse(span_str(rows[i].line), &cmd, &why));
        if (imap_cmd_uses_numbers(&cmd, span_str(rows[i].line)) != rows[i].uses)
            fail_msg("%s", rows[i].line);
    }
}

static void test_enable(void **state)
{
    (void)state;
    struct imap_caps both = caps_of("CONDSTORE QRESYNC UTF8=ACCEPT IMAP4rev2 ENABLE IDLE");
    struct imap_caps today = imap_caps_shown(&both, &both);
    struct imap_caps condstore = caps_of("CONDSTORE IDLE");
    struct buf out = {0};
    imap_cmd_filter_enable(&out, span_str("CONDSTORE QRESYNC UTF8=ACCEPT IMAP4rev2 X-FOO IDLE"), &today);
    assert_string_equal(buf_str(&out), "CONDSTORE QRESYNC");
    buf_clear(&out);
    imap_caps_hide_modseqs(&today);
    imap_cmd_filter_enable(&out, span_str("CONDSTORE QRESYNC"), &today);
    assert_int_equal(out.len, 0);
    imap_cmd_filter_enable(&out, span_str(" X  qresync Condstore IDLE CONDSTORE "), &condstore);
    assert_string_equal(buf_str(&out), "CONDSTORE");
    buf_clear(&out);
    imap_cmd_filter_enable(&out, span_str("utf8=accept condstore"), &both);
    assert_string_equal(buf_str(&out), "UTF8=ACCEPT CONDSTORE");
    buf_clear(&out);
    imap_cmd_filter_enable(&out, span_of(NULL, 0), &both);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_tag_length),
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_passes),
        cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_needs),
        cmocka_unit_test(test_modseqs),
        cmocka_unit_test(test_parentheses),
        cmocka_unit_test(test_ambiguous),
        cmocka_unit_test(test_quote_in_section_hides_literal),
        cmocka_unit_test(test_hidden_in_disguise),
        cmocka_unit_test(test_what_clients_say),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_uses_numbers),
        cmocka_unit_test(test_enable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
