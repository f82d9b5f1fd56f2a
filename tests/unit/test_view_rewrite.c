#include <time.h>

#include "view_unit.h"

static const char SPELLING[] = "1 client=.,INBOX. backend=/, avoid=";

/* ---- a view ---- */

static void take(struct view *v, const char *client, const char *backend, enum view_tier tier,
                 uint32_t source, uint32_t target)
{
    struct view_record r = {.id = "9f03",
                            .source_name = (char *)(uintptr_t)client,
                            .target_name = (char *)(uintptr_t)backend,
                            .source_uidvalidity = source,
                            .target_uidvalidity = target,
                            .source_uidnext = 20,
                            .target_uidnext = 6,
                            .highest_uidvalidity = source,
                            .tier = tier};
    struct buf text = {0};
    for (uint32_t i = 1; i <= 5; i++)
        assert_true(view_uid_add(&r.map, i <= 3 ? i : i + 3, i));
    assert_true(view_uid_set_tail(&r.map, 20, 6));
    view_record_encode(&text, &r);
    assert_true(view_take(v, span_str(client), buf_span(&text)));
    view_uid_free(&r.map);
    buf_free(&text);
}

/* client 1 2 3 7 8 20 21 ..., backend 1 2 3 4 5 6 7 ... */
static struct view *usual(void)
{
    struct view *v = view_new(NULL);
    assert_true(view_take(v, span_str(""), span_str(SPELLING)));
    take(v, "INBOX", "INBOX", VIEW_T2, 7, 100);
    take(v, "INBOX.one", "one", VIEW_T1, 8, 101);
    take(v, "INBOX.two", "two", VIEW_T2, 9, 102);
    take(v, "INBOX.void", "void", VIEW_T2, 9, 999);
    return v;
}

/* ---- scripts: lines to and from, in any pieces ---- */

struct turn {
    bool client;         /* who speaks */
    const char *says;    /* whole lines */
    const char *becomes; /* what the other hears; where it is "=...", what the speaker hears in answer */
    bool wrong;
    const char *asks; /* what the backend hears then; NULL: nothing */
};
#define C(says, becomes)                                                                                     \
    {                                                                                                        \
        true, says, becomes, false, NULL                                                                     \
    }
#define S(says, becomes)                                                                                     \
    {                                                                                                        \
        false, says, becomes, false, NULL                                                                    \
    }
#define ASKS(says, asks)                                                                                     \
    {                                                                                                        \
        false, says, "", false, asks                                                                         \
    }
#define WRONG(says)                                                                                          \
    {                                                                                                        \
        false, says, "", true, NULL                                                                          \
    }

struct script {
    struct view *(*view)(void);
    const struct turn *turns;
    size_t n, split; /* which of them comes in pieces */
};

static void same(struct buf *got, const char *want)
{
    unit_same(buf_span(got), want);
    buf_clear(got);
}

static void play_turn(struct view_unit *u, const struct turn *t, const struct span *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (t->client)
            assert_true(view_unit_commands(u, pieces[i]));
        else
            view_unit_responses(u, pieces[i]);
    }
    if (t->client && t->becomes[0] == '=') {
        same(&u->to_client, t->becomes + 1);
        same(&u->to_backend, "");
    } else if (t->wrong) {
        assert_non_null(u->wrong);
    } else {
        if (u->wrong)
            print_error("%s: %s\n", t->says, u->wrong);
        assert_null(u->wrong);
        same(&u->to_backend, t->client ? t->becomes : t->asks ? t->asks : "");
        same(&u->to_client, t->client ? "" : t->becomes);
    }
}

static void play_pieces(const struct span *pieces, size_t n, void *arg)
{
    struct script *s = arg;
    struct view *v = s->view();
    struct view_unit u;
    view_unit_start(&u, v);
    for (size_t i = 0; i <= s->split; i++) {
        struct span whole = span_str(s->turns[i].says);
        play_turn(&u, &s->turns[i], i == s->split ? pieces : &whole, i == s->split ? n : 1);
    }
    view_unit_end(&u);
    view_unref(&v);
}

static void play_all(struct view *(*view)(void), const struct turn *turns, size_t n)
{
    struct script s = {.view = view, .turns = turns, .n = n};
    for (s.split = 0; s.split < n; s.split++)
        unit_splits(span_str(turns[s.split].says), play_pieces, &s);
}
#define PLAY(view, ...)                                                                                      \
    do {                                                                                                     \
        const struct turn turns_[] = {__VA_ARGS__};                                                          \
        play_all(view, turns_, COUNTOF(turns_));                                                             \
    } while (0)

#define OPEN_T2                                                                                              \
    C("s SELECT INBOX\r\n", "s SELECT INBOX\r\n"),                                                           \
        S("* 5 EXISTS\r\n* OK [UIDNEXT 6] n\r\n* OK [UIDVALIDITY 100] v\r\ns OK [READ-WRITE] done\r\n",      \
          "* 5 EXISTS\r\n* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 20] Predicted next UID\r\n"        \
          "s OK [READ-WRITE] done\r\n")

/* ---- names ---- */

static void test_names_in_commands(void **state)
{
    (void)state;
    PLAY(usual, C("a EXAMINE \"INBOX.Work.x y\"\r\n", "a EXAMINE \"Work/x y\"\r\n"),
         C("b create {11}\r\nINBOX.Bills\r\n", "b CREATE Bills\r\n"),
         C("c CREATE INBOX.Bills.\r\n", "c CREATE Bills/\r\n"),
         C("d CREATE INBOX.S (USE (\\Sent))\r\n", "d CREATE S (USE (\\Sent))\r\n"),
         C("e DELETE inbox.one\r\n", "e DELETE one\r\n"), C("f SUBSCRIBE INBOX\r\n", "f SUBSCRIBE INBOX\r\n"),
         C("g UNSUBSCRIBE INBOX.A&-B\r\n", "g UNSUBSCRIBE A&-B\r\n"),
         C("h APPEND INBOX.a (\\Seen) {3+}\r\nabc {2+}\r\nde\r\n",
           "h APPEND a (\\Seen) {3+}\r\nabc {2+}\r\nde\r\n"),
         C("i APPEND {7}\r\nINBOX.a {3+}\r\nabc\r\n", "i APPEND a {3+}\r\nabc\r\n"),
         C("j GETQUOTAROOT INBOX.a\r\n", "j GETQUOTAROOT a\r\n"),
         C("k SETACL INBOX.a fred lr\r\n", "k SETACL a fred lr\r\n"),
         C("l GETMETADATA (DEPTH 1) INBOX.a (/private/comment)\r\n",
           "l GETMETADATA (DEPTH 1) a (/private/comment)\r\n"),
         C("m GETMETADATA \"\" /shared/x\r\n", "m GETMETADATA \"\" /shared/x\r\n"),
         C("n SETMETADATA INBOX.a (/private/comment {3+}\r\nabc)\r\n",
           "n SETMETADATA a (/private/comment {3+}\r\nabc)\r\n"),
         C("o SETMETADATA \"\" (/private/comment NIL)\r\n", "o SETMETADATA \"\" (/private/comment NIL)\r\n"),
         C("q MYRIGHTS INBOX.a\r\n", "q MYRIGHTS a\r\n"),
         C("r RENAME INBOX.x {7}\r\nINBOX.y\r\n", "r RENAME x y\r\n"),
         C("u APPEND elsewhere {3+}\r\nabc\r\n", "=u NO [CANNOT] No mailbox can have this name\r\n"),
         C("v RENAME INBOX.a elsewhere\r\n", "=v NO [CANNOT] No mailbox can have this name\r\n"),
         C("w STATUS INBOX.a (MESSAGES)\r\n", "w STATUS a (MESSAGES)\r\n"));
}

static void test_names_in_responses(void **state)
{
    (void)state;
    PLAY(usual, S("* QUOTAROOT Work/Bills \"\"\r\n", "* QUOTAROOT INBOX.Work.Bills \"\"\r\n"),
         S("* ACL \"a b\" fred lr\r\n", "* ACL \"INBOX.a b\" fred lr\r\n"),
         S("* ACL {1}\r\na fred lr\r\n", "* ACL INBOX.a fred lr\r\n"),
         S("* MYRIGHTS INBOX lr\r\n", "* MYRIGHTS INBOX lr\r\n"),
         S("* METADATA a (/private/comment {5}\r\na/b())\r\n",
           "* METADATA INBOX.a (/private/comment {5}\r\na/b())\r\n"),
         S("* METADATA a//b (/private/comment {5}\r\na/b())\r\n", ""),
         S("* METADATA \"\" (/shared/comment \"x\")\r\n", "* METADATA \"\" (/shared/comment \"x\")\r\n"),
         S("* QUOTA \"\" (STORAGE 10 512)\r\n", "* QUOTA \"\" (STORAGE 10 512)\r\n"),
         S("* NAMESPACE ((\"\" \"/\")) ((\"user/\" \"/\")) NIL\r\n",
           "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n"),
         S("* NAMESPACE ((\"\" {1}\r\n/)) NIL NIL\r\n", "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n"),
         S("* LIST (\\HasChildren \\Marked) \"/\" Work\r\n",
           "* LIST (\\Marked \\HasChildren) \".\" INBOX.Work\r\n"),
         S("* LIST () \"/\" new (\"OLDNAME\" (\"old/x\"))\r\n",
           "* LIST () \".\" INBOX.new (\"OLDNAME\" (\"INBOX.old.x\"))\r\n"),
         S("* XSOMETHING one/two\r\n", ""), S("* 5 XSOMETHING one\r\n", ""),
         S("* BYE [ALERT] so long\r\n", "* BYE [ALERT] so long\r\n"), S("* OK [NEWNAME a b] x\r\n", ""),
         S("* NO [REFERRAL imap://x/one;UIDVALIDITY=5] hm\r\n", "* NO hm\r\n"), WRONG("* ACL (a) b\r\n"));
}

static void test_list(void **state)
{
    (void)state;
    PLAY(
        usual, C("a LIST \"\" \"\"\r\n", "=* LIST (\\Noselect) \".\" \"\"\r\na OK Listed\r\n"),
        C("b LIST \"\" %\r\n", "b LIST \"\" \"*\"\r\n"),
        S("* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasNoChildren) \"/\" a\r\nb OK done\r\n",
          "* LIST (\\HasChildren) \".\" INBOX\r\nb OK done\r\n"),
        C("c LIST \"\" INBOX.%\r\n", "c LIST \"\" \"*\"\r\n"),
        S("* LIST (\\HasNoChildren \\Sent) \"/\" {1}\r\na\r\n* LIST () \"/\" b/c\r\n* LIST () \"/\" INBOX\r\n"
          "* LIST () \"/\" x//y\r\nc OK [ALERT] done\r\n",
          "* LIST (\\Sent \\HasNoChildren) \".\" INBOX.a\r\n* LIST (\\Noselect \\HasChildren) \".\" INBOX.b\r\n"
          "c OK [ALERT] done\r\n"),
        C("d LIST INBOX. Work.*\r\n", "d LIST \"\" \"Work/*\"\r\n"),
        S("* LIST (\\HasChildren) \"/\" Work/a\r\n* LIST (\\HasNoChildren) \"/\" \"Work/a/b c\"\r\nd OK done\r\n",
          "* LIST (\\HasChildren) \".\" INBOX.Work.a\r\n* LIST (\\HasNoChildren) \".\" \"INBOX.Work.a.b c\"\r\n"
          "d OK done\r\n"),
        C("e LIST \"\" inbox.Work\r\n", "e LIST \"\" \"Work*\"\r\n"),
        S("* LIST () \"/\" Workshop\r\n* LIST () \"/\" Work/a\r\ne OK done\r\n",
          "* LIST (\\Noselect \\HasChildren) \".\" INBOX.Work\r\ne OK done\r\n"),
        C("f LIST \"\" inbox\r\n", "f LIST \"\" \"*\"\r\n"),
        S("* LIST (\\HasNoChildren) \"/\" INBOX\r\nf OK done\r\n",
          "* LIST (\\HasNoChildren) \".\" INBOX\r\nf OK done\r\n"),
        C("i LIST \"\" INBOX\r\n", "i LIST \"\" \"*\"\r\n"),
        S("* LIST () \"/\" a\r\n* LIST (\\HasNoChildren) \"/\" INBOX\r\ni OK done\r\n",
          "* LIST (\\HasChildren) \".\" INBOX\r\ni OK done\r\n"),
        C("j LSUB \"\" INBOX\r\n", "j LSUB \"\" \"INBOX\"\r\n"),
        S("* LSUB () \"/\" INBOX\r\nj OK done\r\n", "* LSUB () \".\" INBOX\r\nj OK done\r\n"),
        C("g LIST \"\" (INBOX INBOX.a%) RETURN (CHILDREN)\r\n", "g LIST \"\" \"*\" RETURN (CHILDREN)\r\n"),
        S("* LIST (\\NoInferiors) \"/\" INBOX\r\n* LIST (\\NoInferiors) \"/\" ab\r\n* LIST () \"/\" b\r\ng OK done\r\n",
          "* LIST () \".\" INBOX\r\n* LIST (\\NoInferiors) \".\" INBOX.ab\r\ng OK done\r\n"),
        C("h LIST \"\" *\r\n", "h LIST \"\" \"*\"\r\n"), S("h NO sorry\r\n", "h NO sorry\r\n"));
}

static void test_lsub(void **state)
{
    (void)state;
    PLAY(
        usual, C("a LSUB \"\" INBOX.%\r\n", "a LSUB \"\" \"*\"\r\n"),
        S("* LSUB () \"/\" a/b\r\n* LSUB () \"/\" c\r\na OK done\r\n",
          "* LSUB () \".\" INBOX.c\r\n* LSUB (\\Noselect) \".\" INBOX.a\r\na OK done\r\n"),
        C("e LSUB \"\" \"\"\r\n", "=e OK Listed\r\n"), C("b LSUB \"\" INBOX.*\r\n", "b LSUB \"\" \"*\"\r\n"),
        S("* LSUB () \"/\" a/b\r\nb OK done\r\n", "* LSUB () \".\" INBOX.a.b\r\nb OK done\r\n"),
        C("c LIST (SUBSCRIBED RECURSIVEMATCH) \"\" INBOX.%\r\n",
          "c LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"*\"\r\n"),
        S("* LIST (\\Subscribed) \"/\" a/b\r\n* LIST () \"/\" c (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\nc OK done\r\n",
          "* LIST () \".\" INBOX.c (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
          "* LIST (\\NonExistent) \".\" INBOX.a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\nc OK done\r\n"));
}

static void test_list_status(void **state)
{
    (void)state;
    PLAY(
        usual,
        C("a LIST \"\" INBOX.t% RETURN (STATUS (UIDNEXT MESSAGES))\r\n",
          "a LIST \"\" \"*\" RETURN (STATUS (UIDNEXT MESSAGES UIDVALIDITY))\r\n"),
        S("* LIST () \"/\" two\r\n* STATUS two (UIDNEXT 8 MESSAGES 3 UIDVALIDITY 102)\r\n* LIST () \"/\" one\r\n"
          "* STATUS one (UIDNEXT 8 MESSAGES 3 UIDVALIDITY 101)\r\na OK done\r\n",
          "* LIST () \".\" INBOX.two\r\n* STATUS INBOX.two (UIDNEXT 22 MESSAGES 3)\r\na OK done\r\n"));
}

/* Of one mailbox, the backend does not look into all others. */
static void test_list_status_of_one(void **state)
{
    (void)state;
    PLAY(usual, C("a LIST \"\" INBOX RETURN (STATUS (UIDNEXT MESSAGES))\r\n", "a LIST \"\" \"*\"\r\n"),
         ASKS("* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST () \"/\" one\r\na OK done\r\n",
              "Q1 STATUS INBOX (UIDNEXT MESSAGES UIDVALIDITY)\r\n"),
         S("* STATUS INBOX (UIDNEXT 8 MESSAGES 3 UIDVALIDITY 100)\r\n* 5 EXISTS\r\n", "* 5 EXISTS\r\n"),
         S("Q1 OK done\r\n",
           "* LIST (\\HasChildren) \".\" INBOX\r\n* STATUS INBOX (UIDNEXT 22 MESSAGES 3)\r\na OK done\r\n"),
         C("b LIST \"\" INBOX.two RETURN (CHILDREN STATUS (MESSAGES))\r\n",
           "b LIST \"\" \"two*\" RETURN (CHILDREN)\r\n"),
         ASKS("* LIST (\\HasNoChildren) \"/\" two\r\nb OK [ALERT] done\r\n", "Q2 STATUS two (MESSAGES)\r\n"),
         S("Q2 NO what?\r\n", "* LIST (\\HasNoChildren) \".\" INBOX.two\r\nb OK [ALERT] done\r\n"),
         /* there is none, or it can't be opened; it could not be listed */
         C("c LIST \"\" INBOX.no RETURN (STATUS (MESSAGES))\r\n", "c LIST \"\" \"no*\"\r\n"),
         S("* LIST (\\Noselect) \"/\" no\r\nc OK done\r\n",
           "* LIST (\\Noselect) \".\" INBOX.no\r\nc OK done\r\n"),
         C("d LIST \"\" INBOX RETURN (STATUS (MESSAGES))\r\n", "d LIST \"\" \"*\"\r\n"),
         S("* LIST () \"/\" INBOX\r\nd NO done\r\n", "* LIST () \".\" INBOX\r\nd NO done\r\n"));
}

/* RFC 5258 3.5: what is below INBOX to the client is so to no backend. */
static void test_children_that_are_not_shown(void **state)
{
    (void)state;
    PLAY(
        usual,
        C("a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %\r\n",
          "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"*\"\r\n"),
        S("* LIST (\\Subscribed) \"/\" INBOX\r\n* LIST (\\Subscribed) \"/\" two\r\na OK done\r\n",
          "* LIST (\\Subscribed) \".\" INBOX (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\na OK done\r\n"),
        C("b LIST (SUBSCRIBED RECURSIVEMATCH) \"\" INBOX\r\n",
          "b LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"*\"\r\n"),
        S("* LIST (\\Subscribed) \"/\" INBOX\r\n* LIST (\\Subscribed) \"/\" two\r\nb OK done\r\n",
          "* LIST (\\Subscribed) \".\" INBOX (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\nb OK done\r\n"),
        C("c LIST (SUBSCRIBED RECURSIVEMATCH) \"\" INBOX.%\r\n",
          "c LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"*\"\r\n"),
        S("* LIST (\\Subscribed) \"/\" a\r\n* LIST (\\Subscribed) \"/\" a/b\r\n* LIST (\\Subscribed) \"/\" ab\r\nc OK done\r\n",
          "* LIST (\\Subscribed) \".\" INBOX.a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
          "* LIST (\\Subscribed) \".\" INBOX.ab\r\nc OK done\r\n"),
        C("d LIST (SUBSCRIBED RECURSIVEMATCH) \"\" *\r\n",
          "d LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"*\"\r\n"),
        S("* LIST (\\Subscribed) \"/\" INBOX\r\n* LIST (\\Subscribed) \"/\" two\r\nd OK done\r\n",
          "* LIST (\\Subscribed) \".\" INBOX\r\n* LIST (\\Subscribed) \".\" INBOX.two\r\nd OK done\r\n"),
        C("e LIST (SUBSCRIBED) \"\" INBOX\r\n", "e LIST (SUBSCRIBED) \"\" \"INBOX\"\r\n"),
        S("* LIST (\\Subscribed) \"/\" INBOX\r\ne OK done\r\n",
          "* LIST (\\Subscribed) \".\" INBOX\r\ne OK done\r\n"));
}

static struct view *alike(void)
{
    struct view *v = view_new(NULL);
    assert_true(view_take(v, span_str(""), span_str("1 client=/, backend=/, avoid=")));
    take(v, "INBOX", "INBOX", VIEW_T2, 7, 100);
    return v;
}

static void test_names_that_are_alike(void **state)
{
    (void)state;
    PLAY(alike, C("a LIST \"\" \"\"\r\n", "a LIST \"\" \"\"\r\n"),
         S("* LIST (\\Noselect) \"/\" \"\"\r\na OK done\r\n",
           "* LIST (\\Noselect) \"/\" \"\"\r\na OK done\r\n"),
         C("b LIST \"\" % RETURN (STATUS (UIDNEXT))\r\n",
           "b LIST \"\" % RETURN (STATUS (UIDNEXT UIDVALIDITY))\r\n"),
         S("* LIST (\\X) \"/\" Any/x\r\n* STATUS INBOX (UIDNEXT 6 UIDVALIDITY 100)\r\nb OK done\r\n",
           "* LIST (\\X) \"/\" Any/x\r\n* STATUS INBOX (UIDNEXT 20)\r\nb OK done\r\n"),
         C("c RENAME a/b c\r\n", "c RENAME a/b c\r\n"),
         S("* METADATA a (/x {3}\r\nUID)\r\n", "* METADATA a (/x {3}\r\nUID)\r\n"));
}

/* The other way round: the new server has the prefix. */
static struct view *reverse(void)
{
    struct view *v = view_new(NULL);
    assert_true(view_take(v, span_str(""), span_str("1 client=/, backend=.,INBOX. avoid=")));
    take(v, "Work", "INBOX.Work", VIEW_T1, 7, 100);
    return v;
}

static void test_names_the_other_way(void **state)
{
    (void)state;
    PLAY(reverse, C("a LIST \"\" %\r\n", "a LIST \"\" \"*\"\r\n"),
         S("* LIST (\\HasChildren) \".\" INBOX\r\n* LIST (\\HasNoChildren) \".\" INBOX.Work\r\n"
           "* LIST (\\HasNoChildren) \".\" \"shared.x\"\r\n* LIST () \".\" INBOX.a.b\r\na OK\r\n",
           "* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasNoChildren) \"/\" Work\r\n"
           "* LIST (\\Noselect \\HasChildren) \"/\" a\r\na OK\r\n"),
         C("b LIST \"\" INBOX/%\r\n", "b LIST \"\" \"INBOX.INBOX.*\"\r\n"),
         S("* LIST () \".\" INBOX.INBOX.x\r\nb OK\r\n", "* LIST () \"/\" INBOX/x\r\nb OK\r\n"),
         C("c CREATE v1.2\r\n", "c CREATE INBOX.v1=2E2\r\n"),
         C("d LIST Work/ *\r\n", "d LIST \"\" \"INBOX.Work.*\"\r\n"),
         S("* LIST () \".\" INBOX.Work.v1=2E2\r\nd OK\r\n", "* LIST () \"/\" Work/v1.2\r\nd OK\r\n"),
         S("* NAMESPACE ((\"INBOX.\" \".\")) NIL ((\"shared.\" \".\"))\r\n",
           "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"));
}

/* Others' mailboxes have other names, and nothing else has. */
static struct view *granted(void)
{
    struct view *v = view_new(NULL);
    assert_true(
        view_take(v, span_str(""),
                  span_str("1 client=/, backend=/, avoid= users=shared/,Other%20Users/,bexample.org,b")));
    return v;
}

static void test_names_of_others(void **state)
{
    (void)state;
    PLAY(
        granted, C("a LIST \"\" *\r\n", "a LIST \"\" \"*\"\r\n"),
        S("* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasChildren) \"/\" \"Other Users/ann\"\r\n"
          "* LIST (\\HasNoChildren) \"/\" \"Other Users/ann/Work\"\r\na OK\r\n",
          "* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasNoChildren) \"/\" shared/ann@example.org/INBOX\r\n"
          "* LIST (\\HasNoChildren) \"/\" shared/ann@example.org/Work\r\n"
          "* LIST (\\Noselect \\HasChildren) \"/\" shared\r\n"
          "* LIST (\\Noselect \\HasChildren) \"/\" shared/ann@example.org\r\na OK\r\n"),
        C("b LIST \"\" shared/%/%\r\n", "b LIST \"\" \"Other Users/*\"\r\n"), S("b OK\r\n", "b OK\r\n"),
        C("c EXAMINE shared/ann@example.org/INBOX\r\n", "c EXAMINE \"Other Users/ann\"\r\n"),
        S("* OK [UIDVALIDITY 9] v\r\nc OK\r\n", "* OK [UIDVALIDITY 9] UIDs valid\r\nc OK\r\n"),
        C("d APPEND shared/ann@example.org/Work {1+}\r\nx\r\n",
          "d APPEND \"Other Users/ann/Work\" {1+}\r\nx\r\n"),
        C("e CREATE \"Other Users/x\"\r\n", "=e NO [CANNOT] No mailbox can have this name\r\n"),
        C("f NAMESPACE\r\n", "f NAMESPACE\r\n"),
        S("* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) ((\"Shared Folders/\" \"/\"))\r\nf OK\r\n",
          "* NAMESPACE ((\"\" \"/\")) ((\"shared/\" \"/\")) NIL\r\nf OK\r\n"));
}

static struct view *renumbered(void)
{
    struct view *v = view_new(NULL);
    assert_true(view_take(v, span_str(""), span_str("1 client=/, backend=/, avoid=")));
    take(v, "Work", "Work", VIEW_T1, 7, 100);
    return v;
}

static void test_namespaces_of_others_where_only_numbers_differ(void **state)
{
    (void)state;
    PLAY(renumbered, C("a NAMESPACE\r\n", "a NAMESPACE\r\n"),
         S("* NAMESPACE ((\"\" \"/\")) ((\"shared/\" \"/\")) NIL\r\na OK\r\n",
           "* NAMESPACE ((\"\" \"/\")) ((\"shared/\" \"/\")) NIL\r\na OK\r\n"));
}

/* Nobody has said how names are spelled, but one mailbox has another name. */
static struct view *unspelled(void)
{
    struct view *v = view_new(NULL);
    take(v, "Sent Items", "Sent", VIEW_T1, 7, 100);
    return v;
}

static void test_names_without_spelling(void **state)
{
    (void)state;
    PLAY(unspelled, C("a LIST \"\" \"\"\r\n", "a LIST \"\" \"\"\r\n"),
         S("* LIST (\\Noselect) \"/\" \"\"\r\na OK done\r\n",
           "* LIST (\\Noselect) \"/\" \"\"\r\na OK done\r\n"),
         C("b LIST \"\" %\r\n", "b LIST \"\" \"*\"\r\n"),
         S("* LIST () \"/\" Sent\r\n* LIST () \"/\" a/b\r\nb OK done\r\n",
           "* LIST () \"/\" \"Sent Items\"\r\n* LIST (\\Noselect \\HasChildren) \"/\" a\r\nb OK done\r\n"),
         S("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"));
}

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool fits;
    } rows[] = {{"*", "INBOX.a.b", true},        {"%", "INBOX", true},
                {"%", "INBOX.a", false},         {"INBOX.%", "INBOX.a", true},
                {"INBOX.%", "INBOX", false},     {"inbox.%", "INBOX.a", true},
                {"INBOX.%.%", "INBOX.a", false}, {"INBOX.%.%", "INBOX.a.b", true},
                {"*b", "INBOX.a.b", true},       {"%b", "INBOX.a.b", false},
                {"*.%b", "INBOX.a.ab", true},    {"INBOX.a", "INBOX.A", false},
                {"%*%", "INBOX.a", true},        {"I*X", "INBOX", true},
                {"i*x", "INBOX", true},          {"INBOX.*a*", "INBOX.bab", true},
                {"INBOX.*a*", "INBOX.bb", false}};
    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct view *v = usual();
        struct view_unit u;
        struct buf backend = {0};
        view_unit_start(&u, v);
        char *command = xasprintf("a LIST \"\" \"%s\"\r\n", rows[i].pattern);
        assert_true(view_unit_commands(&u, span_str(command)));
        assert_true(view_backend_name(v, span_str(rows[i].name), &backend));
        char *line = xasprintf("* LIST () \"/\" %s\r\na OK done\r\n", buf_str(&backend));
        view_unit_responses(&u, span_str(line));
        char *want = xasprintf("* LIST () \".\" %s\r\n", rows[i].name);
        if ((strstr(buf_str(&u.to_client), want) != NULL) != rows[i].fits)
            print_error("%s %s\n", rows[i].pattern, rows[i].name);
        assert_int_equal(strstr(buf_str(&u.to_client), want) != NULL, rows[i].fits);
        free(command);
        free(line);
        free(want);
        buf_free(&backend);
        view_unit_end(&u);
        view_unref(&v);
    }
}

/* ---- UIDVALIDITY ---- */

/* The same by hand. */
static bool fits_by_hand(const char *pattern, const char *name)
{
    if (*pattern == '*' || *pattern == '%')
        return fits_by_hand(pattern + 1, name) ||
               (*name && (*pattern == '*' || *name != '.') && fits_by_hand(pattern, name + 1));
    return *pattern == *name && (!*name || fits_by_hand(pattern + 1, name + 1));
}

static void random_text(char *out, const char *of, unsigned n_max)
{
    unsigned n = 1 + (unsigned)rand() % n_max;
    for (unsigned i = 0; i < n; i++)
        *out++ = of[(unsigned)rand() % strlen(of)];
    *out = '\0';
}

static void test_random_patterns(void **state)
{
    struct view *v = usual();
    struct view_unit u;
    (void)state;
    srand(7);
    view_unit_start(&u, v);
    for (unsigned i = 0; i < 20000; i++) {
        char patterns[3][100], name[8], backend[8];
        for (unsigned k = 0; k < 3; k++)
            random_text(patterns[k], i % 50 ? "aab.%*" : "aaaaab.b.b.%*", i % 50 ? 8 : 70);
        random_text(name, "aab.", 6);
        if (strstr(name, "..") || name[0] == '.' || name[strlen(name) - 1] == '.')
            continue;
        for (unsigned k = 0; k < sizeof name; k++)
            backend[k] = name[k] == '.' ? '/' : name[k];
        bool fits = false;
        for (unsigned k = 0; k < 3; k++)
            fits |= fits_by_hand(patterns[k], name);
        char *command = xasprintf("a LIST (SUBSCRIBED) INBOX. (\"%s\" \"%s\" \"%s\")\r\n", patterns[0],
                                  patterns[1], patterns[2]);
        char *lines = xasprintf("* LIST () \"/\" %s\r\na OK\r\n", backend);
        assert_true(view_unit_commands(&u, span_str(command)));
        view_unit_responses(&u, span_str(lines));
        char *want = xasprintf("* LIST () \".\" INBOX.%s\r\na OK\r\n", name);
        same(&u.to_client, fits ? want : "a OK\r\n");
        buf_clear(&u.to_backend);
        free(command);
        free(lines);
        free(want);
    }
    view_unit_end(&u);
    view_unref(&v);
}

/* CPU time of a LIST with a thousand patterns, of mailboxes whose names are so long. */
static clock_t cost_of_patterns(unsigned name_len)
{
    enum { MAILBOXES = 500, PATTERNS = 1000 };
    struct view *v = usual();
    struct view_unit u;
    struct buf text = {0};
    view_unit_start(&u, v);
    buf_add_str(&text, "a LIST \"\" (%");
    for (unsigned i = 1; i < PATTERNS; i++)
        buf_add_str(&text, " *a%b");
    buf_add_str(&text, ")\r\n");
    assert_true(view_unit_commands(&u, buf_span(&text)));
    buf_clear(&text);
    for (unsigned i = 0; i < MAILBOXES; i++)
        buf_printf(&text, "* LIST () \"/\" %u/%0*u\r\n", i, (int)name_len, 0);
    buf_add_str(&text, "a OK\r\n");
    for (size_t i = 0; i < text.len; i++)
        if (text.mem[text.off + i] == '0')
            text.mem[text.off + i] = 'a';
    clock_t began = clock();
    view_unit_responses(&u, buf_span(&text));
    clock_t took = clock() - began;
    same(&u.to_client, "* LIST (\\Noselect \\HasChildren) \".\" INBOX\r\na OK\r\n");
    buf_free(&text);
    view_unit_end(&u);
    view_unref(&v);
    return took;
}

/* However many patterns a client asks for, and however it has called its mailboxes: a name that is eight times as long takes
 * eight times as long, not 64 times, as by trying each star at each place. */
static void test_what_patterns_cost(void **state)
{
    (void)state;
    clock_t brief = cost_of_patterns(50), lengthy = cost_of_patterns(400);
    assert_true(lengthy < 24 * brief);
}

/* Parents of each row are looked at once, however deep it lies and however many rows there are. */
static void test_deep_parents(void **state)
{
    enum { DEPTH = 200, MAILBOXES = 300 };
    struct view *v = usual();
    struct view_unit u;
    struct buf text = {0};
    size_t lines = 0;
    (void)state;
    view_unit_start(&u, v);
    assert_true(view_unit_commands(&u, span_str("a LIST \"\" *\r\n")));
    for (unsigned i = 0; i < MAILBOXES; i++) {
        buf_add_str(&text, "* LIST () \"/\" ");
        for (unsigned k = 0; k < DEPTH; k++)
            buf_add_str(&text, "x/");
        buf_printf(&text, "%u\r\n", i);
    }
    buf_add_str(&text, "a OK\r\n");
    view_unit_responses(&u, buf_span(&text));
    for (size_t i = 0; i < u.to_client.len; i++)
        lines += u.to_client.mem[u.to_client.off + i] == '\n';
    assert_int_equal(lines, MAILBOXES + DEPTH + 1 /* INBOX */ + 1);
    buf_free(&text);
    view_unit_end(&u);
    view_unref(&v);
}

static void test_select(void **state)
{
    (void)state;
    PLAY(
        usual, OPEN_T2, C("a SELECT INBOX.one\r\n", "a SELECT one\r\n"),
        S("* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 101] v\r\n* OK [PERMANENTFLAGS (\\*)] p\r\n* OK [UIDNEXT 6]\r\n"
          "* 3 FETCH (UID 9 FLAGS ())\r\na OK [UIDNEXT 9] done\r\n",
          "* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS (\\*)] p\r\n* OK [UIDVALIDITY 8] UIDs valid\r\n"
          "* OK [UIDNEXT 6] Predicted next UID\r\na OK done\r\n"),
        S("* 3 FETCH (UID 9 FLAGS ())\r\n", "* 3 FETCH (UID 9 FLAGS ())\r\n"),
        S("* OK [UIDVALIDITY 101] v\r\n* OK [UIDNEXT 7] n\r\n",
          "* OK [UIDVALIDITY 8] v\r\n* OK [UIDNEXT 7] n\r\n"),
        C("b SELECT INBOX.new\r\n", "b SELECT new\r\n"),
        S("* OK [UIDVALIDITY 5] v\r\n* OK [UIDNEXT 1] n\r\nb OK done\r\n",
          "* OK [UIDVALIDITY 5] UIDs valid\r\n* OK [UIDNEXT 1] Predicted next UID\r\nb OK done\r\n"),
        C("c SELECT INBOX.gone\r\n", "c SELECT gone\r\n"),
        S("c NO [NONEXISTENT] no\r\n", "c NO [NONEXISTENT] no\r\n"),
        S("* 3 FETCH (UID 9 FLAGS () BODY[] {3}\r\nabc)\r\n* OK [UIDNEXT 5] n\r\n", ""), OPEN_T2,
        C("d CLOSE\r\n", "d CLOSE\r\n"), S("d OK done\r\n", "d OK done\r\n"), S("* 3 FETCH (UID 9)\r\n", ""),
        OPEN_T2, WRONG("* OK [UIDVALIDITY 555] another\r\n"));
    /* A BAD has done nothing. */
    PLAY(usual, OPEN_T2, C("a SELECT INBOX.one\r\n", "a SELECT one\r\n"),
         S("a BAD what\r\n", "a BAD what\r\n"), S("* 3 FETCH (UID 4)\r\n", "* 3 FETCH (UID 7)\r\n"));
}

static void test_select_of_another_mailbox(void **state)
{
    (void)state;
    PLAY(usual, C("a SELECT INBOX\r\n", "a SELECT INBOX\r\n"),
         S("* OK [UIDVALIDITY 6] v\r\n* OK [UIDNEXT 9] n\r\na OK done\r\n",
           "* OK [UIDVALIDITY 8] UIDs valid\r\n* OK [UIDNEXT 9] Predicted next UID\r\na OK done\r\n"),
         S("* 3 FETCH (UID 4)\r\n", "* 3 FETCH (UID 4)\r\n"), C("b SELECT INBOX\r\n", "b SELECT INBOX\r\n"),
         S("* OK [UIDVALIDITY 6] v\r\nb OK done\r\n", "* OK [UIDVALIDITY 8] UIDs valid\r\nb OK done\r\n"),
         /* one that can't be shown: nobody knows which it is */
         C("c SELECT INBOX.one\r\n", "c SELECT one\r\n"),
         S("* 3 EXISTS\r\nc OK done\r\n", "* 3 EXISTS\r\nc NO [UNAVAILABLE] The mailbox can't be shown\r\n"),
         S("* 4 EXISTS\r\n* 3 FETCH (UID 4)\r\n* 1 EXPUNGE\r\n", ""),
         C("d FETCH 1 UID\r\n", "=d BAD No mailbox selected\r\n"),
         C("e UID FETCH 1 FLAGS\r\n", "=e BAD No mailbox selected\r\n"),
         C("f COPY 1 INBOX\r\n", "=f BAD No mailbox selected\r\n"), C("g NOOP\r\n", "g NOOP\r\n"),
         C("h CLOSE\r\n", "=h BAD No mailbox selected\r\n"));
}

/* The backend closes the mailbox that was open, or what comes of it is not told any more. */
static void test_select_of_a_name_that_none_can_have(void **state)
{
    (void)state;
    PLAY(usual, OPEN_T2, C("a SELECT elsewhere\r\n", "a SELECT \"\"\r\n"),
         S("* OK [CLOSED] it was\r\na NO [CANNOT] Invalid mailbox name\r\n",
           "* OK [CLOSED] it was\r\na NO [CANNOT] No mailbox can have this name\r\n"),
         C("b FETCH 1 UID\r\n", "=b BAD No mailbox selected\r\n"),
         C("c UID COPY 1 INBOX.one\r\n", "=c BAD No mailbox selected\r\n"), OPEN_T2,
         S("* 1 FETCH (UID 4)\r\n", "* 1 FETCH (UID 7)\r\n"));
    for (unsigned ok = 0; ok < 2; ok++)
        PLAY(usual, OPEN_T2, C("a EXAMINE {9+}\r\nelsewhere\r\n", "a EXAMINE \"\"\r\n"),
             S(ok ? "* OK [UIDVALIDITY 6] v\r\na OK [READ-ONLY] done\r\n" : "a BAD what\r\n",
               "a NO [CANNOT] No mailbox can have this name\r\n"),
             S("* 4 EXISTS\r\n* 3 FETCH (UID 4)\r\n* 1 EXPUNGE\r\n", ""),
             C("b UID FETCH 1 FLAGS\r\n", "=b BAD No mailbox selected\r\n"),
             C("c CLOSE\r\n", "=c BAD No mailbox selected\r\n"), C("d NOOP\r\n", "d NOOP\r\n"),
             S("d OK done\r\n", "d OK done\r\n"), OPEN_T2);
}

/* Servers give one UIDVALIDITY to all mailboxes of a second, and some give it out again: a mailbox that has
 * another one's place is known by its UIDs, which begin anew. */
static void test_another_mailbox_of_the_same_uidvalidity(void **state)
{
    (void)state;
    PLAY(usual, C("a SELECT INBOX\r\n", "a SELECT INBOX\r\n"),
         S("* 1 EXISTS\r\n* OK [UIDVALIDITY 100]\r\n* OK [UIDNEXT 2]\r\na OK done\r\n",
           "* 1 EXISTS\r\n* OK [UIDVALIDITY 100] UIDs valid\r\n* OK [UIDNEXT 2] Predicted next UID\r\n"
           "a OK done\r\n"),
         C("b UID FETCH 1 (FLAGS)\r\n", "b UID FETCH 1 (FLAGS)\r\n"),
         S("* 1 FETCH (UID 1 FLAGS ())\r\nb OK done\r\n", "* 1 FETCH (UID 1 FLAGS ())\r\nb OK done\r\n"),
         C("c APPEND INBOX.two {1+}\r\nx\r\n", "c APPEND two {1+}\r\nx\r\n"),
         S("c OK [APPENDUID 102 1] done\r\n", "c OK done\r\n"),
         C("d COPY 1 INBOX.two\r\n", "d COPY 1 two\r\n"),
         S("d OK [COPYUID 102 1 2] done\r\n", "d OK done\r\n"),
         C("e STATUS INBOX.two (UIDVALIDITY UIDNEXT)\r\n", "e STATUS two (UIDVALIDITY UIDNEXT)\r\n"),
         S("* STATUS two (UIDVALIDITY 102 UIDNEXT 3)\r\ne OK done\r\n",
           "* STATUS INBOX.two (UIDVALIDITY 102 UIDNEXT 3)\r\ne OK done\r\n"));
}

static void test_status(void **state)
{
    (void)state;
    PLAY(usual,
         C("a STATUS INBOX (UIDNEXT UIDVALIDITY MESSAGES)\r\n",
           "a STATUS INBOX (UIDNEXT UIDVALIDITY MESSAGES)\r\n"),
         S("* STATUS INBOX (MESSAGES 5 UIDNEXT 6 UIDVALIDITY 100 HIGHESTMODSEQ 5)\r\na OK done\r\n",
           "* STATUS INBOX (MESSAGES 5 UIDNEXT 20 UIDVALIDITY 7)\r\na OK done\r\n"),
         C("b STATUS INBOX.two (UIDNEXT)\r\n", "b STATUS two (UIDNEXT UIDVALIDITY)\r\n"),
         C("c STATUS INBOX.one (UIDNEXT)\r\n", "c STATUS one (UIDNEXT)\r\n"),
         S("* STATUS one (UIDNEXT 9)\r\n* STATUS {3}\r\ntwo (UIDNEXT 7 UIDVALIDITY 102)\r\n",
           "* STATUS INBOX.one (UIDNEXT 9)\r\n* STATUS INBOX.two (UIDNEXT 21)\r\n"),
         S("b OK\r\nc OK\r\n", "b OK\r\nc OK\r\n"),
         /* unasked, and without what says how it is seen */
         S("* STATUS two (UIDNEXT 7 MESSAGES 3)\r\n* STATUS new (UIDNEXT 7 UIDVALIDITY 5)\r\n",
           "* STATUS INBOX.two (MESSAGES 3)\r\n* STATUS INBOX.new (UIDNEXT 7 UIDVALIDITY 5)\r\n"),
         C("d STATUS INBOX.two (UIDVALIDITY UIDNEXT)\r\n", "d STATUS two (UIDVALIDITY UIDNEXT)\r\n"),
         S("* STATUS two (UIDNEXT 4 UIDVALIDITY 8)\r\nd OK done\r\n",
           "* STATUS INBOX.two (UIDNEXT 4 UIDVALIDITY 10)\r\nd OK done\r\n"),
         C("e SELECT INBOX.two\r\n", "e SELECT two\r\n"),
         S("* OK [UIDVALIDITY 8]\r\ne OK done\r\n", "* OK [UIDVALIDITY 10] UIDs valid\r\ne OK done\r\n"));
}

static void test_appenduid_and_copyuid(void **state)
{
    (void)state;
    PLAY(usual, C("a APPEND INBOX.two {1+}\r\nx\r\n", "a APPEND two {1+}\r\nx\r\n"),
         S("a OK [APPENDUID 102 6] done\r\n", "a OK [APPENDUID 9 20] done\r\n"),
         C("b APPEND INBOX.two {1+}\r\nx {1+}\r\ny\r\n", "b APPEND two {1+}\r\nx {1+}\r\ny\r\n"),
         S("b OK [APPENDUID 102 6:8,10] done\r\n", "b OK [APPENDUID 9 20:22,24] done\r\n"),
         C("c APPEND INBOX.void {1+}\r\nx\r\n", "c APPEND void {1+}\r\nx\r\n"),
         S("c OK [APPENDUID 5 6] done\r\n", "c OK done\r\n"),
         C("d APPEND INBOX.new {1+}\r\nx\r\n", "d APPEND new {1+}\r\nx\r\n"),
         S("d OK [APPENDUID 5 6] done\r\n", "d OK [APPENDUID 5 6] done\r\n"),
         C("e APPEND INBOX.one {1+}\r\nx\r\n", "e APPEND one {1+}\r\nx\r\n"),
         S("e OK [APPENDUID 101 6] done\r\n", "e OK [APPENDUID 8 6] done\r\n"), OPEN_T2,
         C("f UID COPY 1:8 INBOX.two\r\n", "f UID COPY 1:5 two\r\n"),
         S("f OK [COPYUID 102 1:5 6:10] done\r\n", "f OK [COPYUID 9 1:3,7:8 20:24] done\r\n"),
         C("g COPY 4,2 INBOX.one\r\n", "g COPY 4,2 one\r\n"),
         S("g OK [COPYUID 101 4,2 6,7] done\r\n", "g OK [COPYUID 8 7,2 6:7] done\r\n"),
         C("h UID MOVE 7 INBOX.two\r\n", "h UID MOVE 4 two\r\n"),
         S("* OK [COPYUID 102 4 11] moved\r\n* 4 EXPUNGE\r\nh OK done\r\n",
           "* OK [COPYUID 9 7 25] moved\r\n* 4 EXPUNGE\r\nh OK done\r\n"),
         S("* OK [COPYUID 102 4 11] moved\r\n* OK [APPENDUID 1 1] x\r\n", ""),
         C("i UID COPY 1 INBOX.void\r\n", "i UID COPY 1 void\r\n"),
         S("i OK [COPYUID 102 1 6] done\r\n", "i OK done\r\n"),
         C("j UID COPY 1 INBOX.new\r\n", "j UID COPY 1 new\r\n"),
         S("j OK [COPYUID 102 1:2 6] done\r\n", "j OK done\r\n"));
}

static void test_rename_too_often(void **state)
{
    struct view *v = usual();
    struct view_unit u;
    (void)state;
    for (unsigned i = 0; i < 25000; i++) {
        char *name = xasprintf("INBOX.%040u", i);
        take(v, name, "gone", VIEW_T3, 7, 0);
        free(name);
    }
    view_unit_start(&u, v);
    assert_true(view_unit_commands(&u, span_str("a RENAME INBOX.two INBOX.three\r\nb NOOP\r\n")));
    assert_int_equal(u.stores, 0);
    same(&u.to_backend, "b NOOP\r\n");
    same(&u.to_client, "a NO [LIMIT] Mailboxes were renamed too often\r\n");
    view_unit_end(&u);
    view_unref(&v);
}

static void test_rename(void **state)
{
    struct view *v = usual();
    struct view_unit u;
    struct view_sight s;
    (void)state;
    view_unit_start(&u, v);
    assert_true(view_unit_commands(&u, span_str("a RENAME INBOX.two INBOX.three\r\n")));
    assert_int_equal(u.stores, 1);
    assert_int_equal(view_look(view_rewrite_view(u.w), span_str("INBOX.three"), 102, 6, &s), VIEW_FITS);
    view_unit_responses(&u, span_str("a OK done\r\n"));
    assert_null(u.wrong);
    assert_int_equal(u.stores, 2);
    same(&u.to_backend, "a RENAME two three\r\n");
    same(&u.to_client, "a OK done\r\n");
    assert_int_equal(view_look(view_rewrite_view(u.w), span_str("INBOX.two"), 102, 6, &s), VIEW_CHANGED);
    assert_true(view_unit_commands(&u, span_str("b RENAME INBOX.three INBOX.two\r\n")));
    view_unit_responses(&u, span_str("b NO no\r\n"));
    assert_int_equal(view_look(view_rewrite_view(u.w), span_str("INBOX.two"), 102, 6, &s), VIEW_CHANGED);
    assert_int_equal(view_look(view_rewrite_view(u.w), span_str("INBOX.three"), 102, 6, &s), VIEW_FITS);
    assert_int_equal(s.uidvalidity, 9);
    view_unit_end(&u);
    view_unref(&v);
}

/* Of mailboxes without a record the client has seen UIDVALIDITYs that lie in the future: of those that go no smaller one
 * is kept. */
static void test_what_was_seen_without_a_record(void **state)
{
    static const char *const shows[][2] = {
        {"a SELECT INBOX.new\r\n", "* OK [UIDVALIDITY 4000] so\r\na OK [READ-WRITE] in\r\n"},
        {"a STATUS INBOX.new (UIDVALIDITY)\r\n", "* STATUS new (UIDVALIDITY 4000)\r\na OK\r\n"},
        {"a STATUS INBOX.two (UIDVALIDITY)\r\n",
         "* STATUS two (UIDVALIDITY 4000)\r\na OK\r\n"}, /* it has one */
    };
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct view *v = usual();
        struct view_unit u;
        view_unit_start(&u, v);
        assert_true(view_unit_commands(&u, span_str(shows[i][0])));
        view_unit_responses(&u, span_str(shows[i][1]));
        assert_null(u.wrong);
        view_rewrite_unknown(u.w, &(struct view_unknown){1000, "0123456789abcdef01"});
        assert_true(view_unit_commands(&u, span_str("b DELETE INBOX.new\r\n")));
        const struct view_record *r = view_record_of(view_rewrite_view(u.w), span_str("INBOX.new"));
        assert_non_null(r);
        assert_int_equal(r->highest_uidvalidity, i < 2 ? 4000 : 1000);
        view_unit_end(&u);
        view_unref(&v);
    }
}

/* ---- UIDs ---- */

static void test_sets_in_commands(void **state)
{
    (void)state;
    PLAY(usual, OPEN_T2, C("a UID FETCH 1:* (FLAGS)\r\n", "a UID FETCH 1:* (FLAGS)\r\n"),
         C("b uid fetch 8,7,1:4,20:30 (UID BODY.PEEK[HEADER.FIELDS (UID)])\r\n",
           "b uid fetch 5,4,1:3,6:16 (UID BODY.PEEK[HEADER.FIELDS (UID)])\r\n"),
         C("c UID STORE 4:6,19 +FLAGS (\\Seen)\r\n", "c NOOP\r\n"),
         S("* 3 EXISTS\r\nc OK NOOP done\r\n", "* 3 EXISTS\r\nc OK No such messages\r\n"),
         C("d UID STORE 4:6,7 +FLAGS (\\Seen)\r\n", "d UID STORE 4 +FLAGS (\\Seen)\r\n"),
         C("e UID FETCH 4:* FLAGS\r\n", "e UID FETCH 4:* FLAGS\r\n"),
         C("f UID FETCH *:9 FLAGS\r\n", "f UID FETCH 6:* FLAGS\r\n"),
         C("g UID FETCH 4294967295:*,*,5:4 FLAGS\r\n", "g UID FETCH 4294967281:*,* FLAGS\r\n"),
         C("h UID EXPUNGE 1:3,7,9:19\r\n", "h UID EXPUNGE 1:4\r\n"),
         C("i UID COPY 4 INBOX.x\r\n", "i NOOP\r\n"), C("j UID MOVE 8:1 INBOX.x\r\n", "j UID MOVE 1:5 x\r\n"),
         C("k UID FETCH 1,,2 FLAGS\r\n", "=k BAD Invalid message set\r\n"),
         C("l UID FETCH 0 FLAGS\r\n", "=l BAD Invalid message set\r\n"),
         C("m UID FETCH 01 FLAGS\r\n", "=m BAD Invalid message set\r\n"),
         C("n UID COPY abc INBOX.x\r\n", "=n BAD Invalid message set\r\n"),
         C("o UID FETCH 4 BODY[HEADER.FIELDS ({3+}\r\nUID)]\r\n", "o NOOP\r\n"),
         C("p FETCH 4 UID\r\n", "p FETCH 4 UID\r\n"),
         C("q UID EXPUNGE\r\n", "=q BAD Invalid message set\r\n"));
}

/* What a backend has open behind a SELECT that failed is its own business: no number of the client's, of
 * whichever mailbox it means, gets there. */
static void test_no_mailbox_is_open(void **state)
{
    (void)state;
    PLAY(usual, C("a UID FETCH 9 FLAGS\r\n", "=a BAD No mailbox selected\r\n"), OPEN_T2,
         C("b SELECT INBOX.one\r\n", "b SELECT one\r\n"), S("b NO not there\r\n", "b NO not there\r\n"),
         C("c UID STORE 7 +FLAGS (\\Deleted)\r\n", "=c BAD No mailbox selected\r\n"),
         C("d STORE 1 +FLAGS (\\Deleted)\r\n", "=d BAD No mailbox selected\r\n"),
         C("e UID EXPUNGE 7\r\n", "=e BAD No mailbox selected\r\n"),
         C("f EXPUNGE\r\n", "=f BAD No mailbox selected\r\n"),
         C("g CLOSE\r\n", "=g BAD No mailbox selected\r\n"),
         C("h UID SEARCH SUBJECT {1+}\r\nx UID 7\r\n", "=h BAD No mailbox selected\r\n"),
         C("i UID MOVE 7 {9+}\r\nINBOX.two\r\n", "=i BAD No mailbox selected\r\n"),
         C("j NOOP\r\n", "j NOOP\r\n"), OPEN_T2, C("k UID EXPUNGE 7\r\n", "k UID EXPUNGE 4\r\n"),
         C("l UNSELECT\r\n", "l UNSELECT\r\n"), S("l OK done\r\n", "l OK done\r\n"),
         C("m FETCH 1 UID\r\n", "=m BAD No mailbox selected\r\n"));
}

/* Where no name is to be seen, the client's would go to the backend as it is. */
static void test_commands_without_their_names(void **state)
{
    (void)state;
    PLAY(usual, C("a SELECT ()\r\n", "=a BAD Unknown SELECT parameter\r\n"),
         C("b SELECT\r\n", "=b BAD Invalid arguments\r\n"),
         C("c STATUS () (MESSAGES)\r\n", "=c BAD Invalid arguments\r\n"),
         C("d RENAME INBOX.one\r\n", "=d BAD Invalid arguments\r\n"),
         C("e GETMETADATA (DEPTH 1)\r\n", "=e BAD Invalid arguments\r\n"),
         C("f CREATE\r\n", "=f BAD Invalid arguments\r\n"), OPEN_T2,
         C("g UID COPY 7\r\n", "=g BAD Invalid arguments\r\n"),
         C("h COPY 1 (INBOX.two)\r\n", "=h BAD Invalid arguments\r\n"));
}

static void test_keys_in_commands(void **state)
{
    (void)state;
    PLAY(usual, OPEN_T2, C("a UID SEARCH 7 UID 7\r\n", "a UID SEARCH 7 UID 4\r\n"),
         C("b SEARCH NOT (OR UID 7,8 uid 9) SUBJECT UID HEADER UID 7 uId \"7:*\"\r\n",
           "b SEARCH NOT (OR UID 4:5 (NOT ALL)) SUBJECT UID HEADER UID 7 uId 4:*\r\n"),
         C("c SEARCH CHARSET UTF-8 SUBJECT {3+}\r\nUID UID 7 HEADER {3+}\r\nabc UID UID 8\r\n",
           "c SEARCH CHARSET UTF-8 SUBJECT {3+}\r\nUID UID 4 HEADER {3+}\r\nabc UID UID 5\r\n"),
         C("d UID SEARCH RETURN (MIN MAX) UID 7\r\n", "d UID SEARCH RETURN (MIN MAX) UID 4\r\n"),
         C("e UID SORT (SUBJECT REVERSE DATE) UTF-8 UID 7\r\n",
           "e UID SORT (SUBJECT REVERSE DATE) UTF-8 UID 4\r\n"),
         C("f UID THREAD REFERENCES UTF-8 UID 4:6\r\n", "f UID THREAD REFERENCES UTF-8 (NOT ALL)\r\n"),
         C("g SORT (DATE) UID 7 UID 7\r\n", "g SORT (DATE) UID 7 UID 4\r\n"),
         C("h SEARCH UID 7,,8\r\n", "=h BAD Invalid message set\r\n"),
         C("i SEARCH SUBJECT \"UID 7\" (UID 1:* NOT UID 5)\r\n",
           "i SEARCH SUBJECT \"UID 7\" (UID 1:* NOT (NOT ALL))\r\n"),
         C("j SEARCH FUZZY (SUBJECT x UID 7) OLDER 7 UID 7\r\n",
           "j SEARCH FUZZY (SUBJECT x UID 4) OLDER 7 UID 4\r\n"),
         C("k SEARCH KEYWORD UID UID 7\r\n", "k SEARCH KEYWORD UID UID 4\r\n"));
    /* Half of it is there: the backend refuses it, and takes nothing of the rest for what it is not. */
    PLAY(usual, OPEN_T2,
         C("a SEARCH SUBJECT {1+}\r\nx UID 7,,8 UID 7\r\n", "a SEARCH SUBJECT {1+}\r\nx UID bad\r\n"),
         S("a BAD what?\r\n", "a BAD what?\r\n"),
         C("b UID SEARCH SUBJECT {1+}\r\nx UID 7 (UID 0 UID 8 SUBJECT {3+}\r\nUID UID 8)\r\n",
           "b UID SEARCH SUBJECT {1+}\r\nx UID 4 (UID bad {3+}\r\nUID UID 5)\r\n"),
         S("b BAD what?\r\n", "b BAD what?\r\n"),
         C("c UID SEARCH SUBJECT {1+}\r\nx UID\r\n", "c UID SEARCH SUBJECT {1+}\r\nx UID bad\r\n"));
}

static void test_fetch(void **state)
{
    (void)state;
    PLAY(
        usual, OPEN_T2, S("* 4 FETCH (UID 4 FLAGS (\\Seen))\r\n", "* 4 FETCH (UID 7 FLAGS (\\Seen))\r\n"),
        S("* 4 FETCH (FLAGS (\\Seen UID) UID 4)\r\n", "* 4 FETCH (FLAGS (\\Seen UID) UID 7)\r\n"),
        S("* 4 FETCH (ENVELOPE (\"UID 4 (\\\"\" NIL ((NIL NIL \"UID\" \"4\"))) uid 6 RFC822.SIZE 4)\r\n",
          "* 4 FETCH (ENVELOPE (\"UID 4 (\\\"\" NIL ((NIL NIL \"UID\" \"4\"))) uid 20 RFC822.SIZE 4)\r\n"),
        S("* 4 FETCH (BODY[HEADER.FIELDS (UID)] {5}\r\nUID 4 UID 4 BODY[TEXT]<0> ~{6}\r\n UID 4 BINARY[1] \"UID 4\" UID 5)\r\n",
          "* 4 FETCH (BODY[HEADER.FIELDS (UID)] {5}\r\nUID 4 UID 7 BODY[TEXT]<0> ~{6}\r\n UID 4 BINARY[1] \"UID 4\" UID 8)\r\n"),
        S("* 4 FETCH (BODY[HEADER.FIELDS ({3}\r\nUID \"UID 4]\")] NIL UID 4)\r\n",
          "* 4 FETCH (BODY[HEADER.FIELDS ({3}\r\nUID \"UID 4]\")] NIL UID 7)\r\n"),
        S("* 4 FETCH (BODYSTRUCTURE (\"text\" (\"name\" {3}\r\nUID 4 {0}\r\n UID)) UID 4)\r\n",
          "* 4 FETCH (BODYSTRUCTURE (\"text\" (\"name\" {3}\r\nUID 4 {0}\r\n UID)) UID 7)\r\n"),
        S("* 4 FETCH (FLAGS (\\Seen)UID 4)  \r\n* 4 FETCH  ( UID  4 )\r\n",
          "* 4 FETCH (FLAGS (\\Seen)UID 7)  \r\n* 4 FETCH  ( UID  7 )\r\n"),
        S("* 4 FETCH ()\r\n* 4 FETCH (FLAGS ())\r\n", "* 4 FETCH ()\r\n* 4 FETCH (FLAGS ())\r\n"));
}

static void test_fetch_that_is_wrong(void **state)
{
    static const char *const lines[] = {"* 4 FETCH (UID 4\r\n",
                                        "* 4 FETCH UID 4\r\n",
                                        "* 4 FETCH (UID)\r\n",
                                        "* 4 FETCH (UID \"4\")\r\n",
                                        "* 4 FETCH (UID (4))\r\n",
                                        "* 4 FETCH (UID 4x)\r\n",
                                        "* 4 FETCH (UID 99999999999)\r\n",
                                        "* 4 FETCH (UID 4) (UID 4)\r\n",
                                        "* 4 FETCH (UID 4))\r\n",
                                        "* 4 FETCH ((UID 4))\r\n",
                                        "* 4 FETCH (X \"UID 4)\r\n",
                                        "* 4 FETCH (BODY[UID UID 4)\r\n",
                                        "* 4 FETCH (UID {1}\r\n4)\r\n",
                                        "* 4 FETCH (BODY[] {1}\r\n4 UID 0)\r\n",
                                        "* 4 FETCH ({3}\r\nUID 4)\r\n",
                                        "* 4 FETCH (UID 4294967295)\r\n"};
    (void)state;
    for (size_t i = 0; i < COUNTOF(lines); i++)
        PLAY(usual, OPEN_T2, WRONG(lines[i]));
}

static void test_found(void **state)
{
    (void)state;
    PLAY(
        usual, OPEN_T2, C("a UID SEARCH ALL\r\n", "a UID SEARCH ALL\r\n"),
        S("* SEARCH 1 4 6\r\n* SEARCH\r\na OK done\r\n", "* SEARCH 1 7 20\r\n* SEARCH\r\na OK done\r\n"),
        C("b SEARCH ALL\r\n", "b SEARCH ALL\r\n"),
        S("* SEARCH 1 4 6\r\nb OK done\r\n", "* SEARCH 1 4 6\r\nb OK done\r\n"), S("* SEARCH 1 4 6\r\n", ""),
        C("c UID SORT (DATE) UTF-8 ALL\r\n", "c UID SORT (DATE) UTF-8 ALL\r\n"),
        S("* SORT 6 4 1\r\nc OK done\r\n", "* SORT 20 7 1\r\nc OK done\r\n"),
        C("d UID THREAD REFERENCES UTF-8 ALL\r\n", "d UID THREAD REFERENCES UTF-8 ALL\r\n"),
        S("* THREAD (1)(4 (5)(6 7))\r\nd OK done\r\n", "* THREAD (1)(7 (8)(20 21))\r\nd OK done\r\n"),
        S("* ESEARCH (TAG \"a)\") UID MIN 4 MAX 6 ALL 1,3:6 COUNT 5\r\n",
          "* ESEARCH (TAG \"a)\") UID MIN 7 MAX 20 ALL 1,3,7:8,20 COUNT 5\r\n"),
        S("* ESEARCH (TAG \"UID\") MIN 4 ALL 4:5\r\n* ESEARCH (TAG \"a\") UID COUNT 0\r\n* ESEARCH UID ALL 4:5\r\n",
          "* ESEARCH (TAG \"UID\") MIN 4 ALL 4:5\r\n* ESEARCH (TAG \"a\") UID COUNT 0\r\n* ESEARCH UID ALL 7:8\r\n"),
        S("* VANISHED (EARLIER) 3:5\r\n* VANISHED 4\r\n", "* VANISHED (EARLIER) 3,7:8\r\n* VANISHED 7\r\n"));
    PLAY(usual, OPEN_T2, WRONG("* ESEARCH (TAG \"a\") UID PARTIAL (1:2 4)\r\n"));
    PLAY(usual, OPEN_T2, WRONG("* ESEARCH (TAG \"a\") ALL 5 UID ALL 4\r\n"));
    PLAY(usual, OPEN_T2, C("a UID SEARCH RETURN (ALL) ALL\r\n", "a UID SEARCH RETURN (ALL) ALL\r\n"),
         S("* ESEARCH (TAG \"a\") COUNT 0\r\n* ESEARCH (TAG \"a\")\r\n",
           "* ESEARCH (TAG \"a\") COUNT 0\r\n* ESEARCH (TAG \"a\")\r\n"),
         WRONG("* ESEARCH (TAG \"a\") ALL 4\r\n"));
    PLAY(usual, OPEN_T2, C("a UID SEARCH ALL\r\n", "a UID SEARCH ALL\r\n"), WRONG("* SEARCH 1 x\r\n"));
    PLAY(usual, OPEN_T2, C("a UID SEARCH ALL\r\n", "a UID SEARCH ALL\r\n"), WRONG("* SEARCH 1 {1}\r\n"));
    PLAY(usual, OPEN_T2, C("a UID SEARCH ALL\r\n", "a UID SEARCH ALL\r\n"), WRONG("* SEARCH 0\r\n"));
}

static void hears(struct view_unit *u, const char *line, const char *want)
{
    view_unit_responses(u, span_str(line));
    assert_null(u->wrong);
    same(&u->to_client, want);
}

/* The records have changed, but not for who has the mailbox open. */
static void test_newer_view(void **state)
{
    struct view *v = usual(), *newer = view_new(NULL);
    struct view_sight s;
    struct view_unit u;
    (void)state;
    assert_true(view_take(newer, span_str(""), span_str("1 client=/, backend=/, avoid=")));
    view_unit_start(&u, v);
    assert_false(view_rewrite_is_open(u.w));
    assert_int_equal(view_look(v, span_str("INBOX"), 100, 6, &s), VIEW_FITS);
    view_rewrite_selected(u.w, span_str("INBOX"), &s);
    view_unref(&v);
    assert_true(view_rewrite_is_open(u.w));
    hears(&u, "* 4 FETCH (UID 4)\r\n* OK [UIDVALIDITY 100] v\r\n",
          "* 4 FETCH (UID 7)\r\n* OK [UIDVALIDITY 7] v\r\n");
    view_rewrite_use(u.w, newer);
    view_unref(&newer);
    hears(&u, "* 4 FETCH (UID 4)\r\n* ACL a/b fred lr\r\n", "* 4 FETCH (UID 7)\r\n* ACL a/b fred lr\r\n");
    assert_true(view_unit_commands(&u, span_str("a SELECT INBOX\r\n")));
    hears(&u, "* OK [UIDVALIDITY 100] v\r\na OK\r\n* 4 FETCH (UID 4)\r\n",
          "* OK [UIDVALIDITY 100] UIDs valid\r\na OK\r\n* 4 FETCH (UID 4)\r\n");
    view_unit_end(&u);
}

static void test_caps(void **state)
{
    struct view *v = usual();
    struct view_unit u;
    struct buf pattern = {0};
    (void)state;
    view_unit_start(&u, v);
    for (int i = 0; i < 40; i++)
        buf_add_str(&pattern, "*a");
    char *command = xasprintf("a LIST \"\" %s\r\n", buf_str(&pattern));
    assert_true(view_unit_commands(&u, span_str(command)));
    same(&u.to_client, "a NO [LIMIT] Patterns too long\r\n");
    free(command);
    buf_clear(&pattern);
    for (int i = 0; i < 5000; i++)
        buf_add_str(&pattern, "a");
    command = xasprintf("b LIST \"\" %.4000s%%%%%%*%%%%*\r\n", buf_str(&pattern));
    assert_true(view_unit_commands(&u, span_str(command)));
    assert_int_equal(u.to_client.len, 0);
    free(command);
    command = xasprintf("c LIST \"\" %.4097s\r\n", buf_str(&pattern));
    assert_true(view_unit_commands(&u, span_str(command)));
    same(&u.to_client, "c NO [LIMIT] Patterns too long\r\n");
    free(command);
    buf_free(&pattern);
    view_unit_end(&u);
    view_unref(&v);
}

static void test_who_waits(void **state)
{
    static const struct {
        const char *under_way, *next;
        bool waits;
    } rows[] = {{"UID SEARCH ALL", "SEARCH ALL", true},
                {"SEARCH ALL", "UID SEARCH ALL", true},
                {"SEARCH ALL", "SEARCH SEEN", false},
                {"UID SORT (DATE) UTF-8 ALL", "UID SEARCH ALL", false},
                {"UID FETCH 1 FLAGS", "SEARCH ALL", false},
                {"NOOP", "SELECT INBOX.one", true},
                {"SELECT INBOX.one", "NOOP", true},
                {"RENAME INBOX.a INBOX.b", "LIST \"\" *", true},
                {"CLOSE", "UID FETCH 1 FLAGS", true},
                {"LIST \"\" *", "LSUB \"\" *", true},
                {"LIST \"\" *", "STATUS INBOX (MESSAGES)", true},
                {"STATUS INBOX (MESSAGES)", "STATUS INBOX.one (MESSAGES)", false},
                {"STATUS INBOX (MESSAGES)", "LIST \"\" *", true},
                {"MOVE 1 INBOX.a", "UID MOVE 1 INBOX.b", true},
                {"MOVE 1 INBOX.a", "COPY 1 INBOX.b", false}};
    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct view *v = usual();
        struct view_unit u;
        view_unit_start(&u, v);
        assert_true(view_unit_commands(&u, span_str("s SELECT INBOX\r\n")));
        view_unit_responses(&u, span_str("* OK [UIDVALIDITY 100]\r\ns OK done\r\n"));
        char *first = xasprintf("a %s\r\n", rows[i].under_way), *second = xasprintf("b %s\r\n", rows[i].next);
        assert_true(view_unit_commands(&u, span_str(first)));
        assert_true(view_unit_commands(&u, span_str(second)));
        if (u.waits != rows[i].waits)
            print_error("%s, %s\n", rows[i].under_way, rows[i].next);
        assert_int_equal(u.waits, rows[i].waits);
        free(first);
        free(second);
        view_unit_end(&u);
        view_unref(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_in_commands),
        cmocka_unit_test(test_names_in_responses),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_lsub),
        cmocka_unit_test(test_list_status),
        cmocka_unit_test(test_list_status_of_one),
        cmocka_unit_test(test_children_that_are_not_shown),
        cmocka_unit_test(test_names_that_are_alike),
        cmocka_unit_test(test_names_the_other_way),
        cmocka_unit_test(test_names_of_others),
        cmocka_unit_test(test_namespaces_of_others_where_only_numbers_differ),
        cmocka_unit_test(test_names_without_spelling),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_random_patterns),
        cmocka_unit_test(test_what_patterns_cost),
        cmocka_unit_test(test_deep_parents),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_select_of_another_mailbox),
        cmocka_unit_test(test_select_of_a_name_that_none_can_have),
        cmocka_unit_test(test_another_mailbox_of_the_same_uidvalidity),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_appenduid_and_copyuid),
        cmocka_unit_test(test_rename_too_often),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_what_was_seen_without_a_record),
        cmocka_unit_test(test_sets_in_commands),
        cmocka_unit_test(test_no_mailbox_is_open),
        cmocka_unit_test(test_commands_without_their_names),
        cmocka_unit_test(test_keys_in_commands),
        cmocka_unit_test(test_fetch),
        cmocka_unit_test(test_fetch_that_is_wrong),
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_newer_view),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
