/* MODSEQs and QRESYNC (RFC 7162) through a move: what becomes of commands, of responses, and what is asked in
 * between. */
#include <time.h>

#include "view_unit.h"

static const char SPELLING[] = "1 client=/, backend=/, avoid=";

/* ---- views ---- */

struct mailbox {
    const char *name;
    enum view_tier tier;
    uint32_t source, target;
    bool modseqs;
    uint64_t floor, shift;
};

/* client 1 2 3 7 8 20 21 ..., backend 1 2 3 4 5 6 7 ... */
static void take(struct view *v, const struct mailbox *m)
{
    struct view_record r = {.id = "9f03",
                            .source_name = (char *)(uintptr_t)m->name,
                            .target_name = (char *)(uintptr_t)m->name,
                            .source_uidvalidity = m->source,
                            .target_uidvalidity = m->target,
                            .source_uidnext = 20,
                            .target_uidnext = m->tier == VIEW_T2 ? 6 : 20,
                            .highest_uidvalidity = m->source,
                            .modseqs = m->modseqs,
                            .modseq_floor = m->floor,
                            .modseq_shift = m->shift,
                            .tier = m->tier};
    if (m->tier == VIEW_T2) {
        for (uint32_t i = 1; i <= 5; i++)
            assert_true(view_uid_add(&r.map, i <= 3 ? i : i + 3, i));
        assert_true(view_uid_set_tail(&r.map, 20, 6));
    }
    view_unit_record(v, m->name, &r);
}

static const struct mailbox mailboxes[] = {
    {"T0", VIEW_T0, 7, 7, true, 1000, 0},
    {"T1", VIEW_T1, 7, 100, true, 1000, 1000},
    {"T2", VIEW_T2, 7, 100, true, 1000, 1000},
    {"none", VIEW_T1, 7, 100, false, 0, 0},
};

static struct view *usual(void)
{
    struct view *v = view_new(NULL);
    assert_true(view_take(v, span_str(""), span_str(SPELLING)));
    for (size_t i = 0; i < COUNTOF(mailboxes); i++)
        take(v, &mailboxes[i]);
    return v;
}

/* ---- scripts, as in test_view_rewrite.c: lines to and from, in any pieces ---- */

struct turn {
    enum { CLIENT, SERVER, WRONG } who;
    const char *says;    /* whole lines */
    const char *backend; /* what the backend hears of it */
    const char *client;  /* what the client hears of it */
};
#define C(says, backend)                                                                                     \
    {                                                                                                        \
        CLIENT, says, backend, ""                                                                            \
    }
#define NO(says, client)                                                                                     \
    {                                                                                                        \
        CLIENT, says, "", client                                                                             \
    }
#define S(says, client)                                                                                      \
    {                                                                                                        \
        SERVER, says, "", client                                                                             \
    }
#define ASK(says, backend, client)                                                                           \
    {                                                                                                        \
        SERVER, says, backend, client                                                                        \
    }
#define BAD(says)                                                                                            \
    {                                                                                                        \
        WRONG, says, "", ""                                                                                  \
    }

struct script {
    const struct turn *turns;
    size_t n, split; /* which of them comes in pieces */
    bool qresync, esearch;
};

static void start(struct view_unit *u, struct view *v, bool qresync, bool esearch)
{
    view_unit_start(u, v);
    imap_caps_add(&u->shown, CAP_CONDSTORE);
    imap_caps_add(&u->shown, CAP_QRESYNC);
    imap_caps_add(&u->shown, CAP_PREVIEW);
    view_rewrite_enabled(u->w, qresync, esearch);
}

static void same(struct buf *got, const char *want)
{
    unit_same(buf_span(got), want);
    buf_clear(got);
}

static void play_turn(struct view_unit *u, const struct turn *t, const struct span *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (t->who == CLIENT)
            assert_true(view_unit_commands(u, pieces[i]));
        else
            view_unit_responses(u, pieces[i]);
    }
    if (t->who == WRONG) {
        assert_non_null(u->wrong);
        return;
    }
    if (u->wrong)
        print_error("%s: %s\n", t->says, u->wrong);
    assert_null(u->wrong);
    same(&u->to_backend, t->backend);
    same(&u->to_client, t->client);
}

static void play_pieces(const struct span *pieces, size_t n, void *arg)
{
    struct script *s = arg;
    struct view *v = usual();
    struct view_unit u;
    start(&u, v, s->qresync, s->esearch);
    for (size_t i = 0; i <= s->split; i++) {
        struct span whole = span_str(s->turns[i].says);
        play_turn(&u, &s->turns[i], i == s->split ? pieces : &whole, i == s->split ? n : 1);
    }
    view_unit_end(&u);
    view_unref(&v);
}

static void play_all(bool qresync, bool esearch, const struct turn *turns, size_t n)
{
    struct script s = {.turns = turns, .n = n, .qresync = qresync, .esearch = esearch};
    for (s.split = 0; s.split < n; s.split++)
        unit_splits(span_str(turns[s.split].says), play_pieces, &s);
}
#define PLAY_WITH(qresync, esearch, ...)                                                                     \
    do {                                                                                                     \
        const struct turn turns_[] = {__VA_ARGS__};                                                          \
        play_all(qresync, esearch, turns_, COUNTOF(turns_));                                                 \
    } while (0)
#define PLAY(...) PLAY_WITH(true, true, __VA_ARGS__)

#define OPEN_T0                                                                                              \
    C("s SELECT T0\r\n", "s SELECT T0\r\n"),                                                                 \
        S("* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT 30] n\r\n* OK [HIGHESTMODSEQ 1500] h\r\ns OK done\r\n",   \
          "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 30] Predicted next UID\r\n"                      \
          "* OK [HIGHESTMODSEQ 1500] Highest\r\ns OK done\r\n")
#define OPEN_T1                                                                                              \
    C("s SELECT T1\r\n", "s SELECT T1\r\n"),                                                                 \
        S("* OK [UIDVALIDITY 100] v\r\n* OK [UIDNEXT 30] n\r\n* OK [HIGHESTMODSEQ 500] h\r\ns OK done\r\n",  \
          "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 30] Predicted next UID\r\n"                      \
          "* OK [HIGHESTMODSEQ 1500] Highest\r\ns OK done\r\n")
#define OPEN_T2                                                                                              \
    C("s SELECT T2\r\n", "s SELECT T2\r\n"),                                                                 \
        S("* OK [UIDVALIDITY 100] v\r\n* OK [UIDNEXT 8] n\r\n* OK [HIGHESTMODSEQ 500] h\r\ns OK done\r\n",   \
          "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 22] Predicted next UID\r\n"                      \
          "* OK [HIGHESTMODSEQ 1500] Highest\r\ns OK done\r\n")
#define DONE(tag) S(tag " OK done\r\n", tag " OK done\r\n")

/* ---- conditions of FETCH ---- */

static void test_changedsince(void **state)
{
    (void)state;
    PLAY(OPEN_T1,
         C("a FETCH 1:* (FLAGS) (CHANGEDSINCE 1001)\r\n", "a FETCH 1:* (FLAGS) (CHANGEDSINCE 1)\r\n"),
         DONE("a"),
         C("b UID FETCH 1:* FLAGS (changedsince 1300)\r\n", "b UID FETCH 1:* FLAGS (changedsince 300)\r\n"),
         DONE("b"), C("c FETCH 1:* (FLAGS) (CHANGEDSINCE 1000)\r\n", "c FETCH 1:* (FLAGS MODSEQ)\r\n"),
         DONE("c"), C("d FETCH 1 FLAGS (CHANGEDSINCE 5)\r\n", "d FETCH 1 (FLAGS MODSEQ)\r\n"), DONE("d"),
         C("e FETCH 1 FAST (CHANGEDSINCE 5)\r\n", "e FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE MODSEQ)\r\n"),
         DONE("e"),
         C("f FETCH 1 all (CHANGEDSINCE 5)\r\n",
           "f FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE MODSEQ)\r\n"),
         DONE("f"),
         C("g FETCH 1 Full (CHANGEDSINCE 5)\r\n",
           "g FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY MODSEQ)\r\n"),
         DONE("g"), C("h UID FETCH 2 (UID MODSEQ) (CHANGEDSINCE 1)\r\n", "h UID FETCH 2 (UID MODSEQ)\r\n"),
         DONE("h"),
         C("i FETCH 1 BODY[HEADER.FIELDS (DATE MODSEQ)]<0.10> (CHANGEDSINCE 1)\r\n",
           "i FETCH 1 (BODY[HEADER.FIELDS (DATE MODSEQ)]<0.10> MODSEQ)\r\n"),
         DONE("i"), C("j FETCH 1 (FLAGS)\r\n", "j FETCH 1 (FLAGS)\r\n"), DONE("j"),
         C("k FETCH 1  (FLAGS)  ( CHANGEDSINCE  0002000 ) \r\n",
           "k FETCH 1  (FLAGS)  ( CHANGEDSINCE  1000 ) \r\n"),
         DONE("k"),
         C("l FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775807)\r\n",
           "l FETCH 1 FLAGS (CHANGEDSINCE 9223372036854774807)\r\n"),
         DONE("l"), C("m FETCH 1 FLAGS (CHANGEDSINCE 0)\r\n", "m FETCH 1 (FLAGS MODSEQ)\r\n"), DONE("m"),
         NO("n FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)\r\n", "n BAD Invalid MODSEQ\r\n"),
         C("r FETCH 1 PREVIEW (LAZY) (CHANGEDSINCE 5)\r\n", "r FETCH 1 (PREVIEW (LAZY) MODSEQ)\r\n"),
         DONE("r"), C("s FETCH 1 PREVIEW (LAZY)\r\n", "s FETCH 1 PREVIEW (LAZY)\r\n"), DONE("s"),
         C("t FETCH 1 (PREVIEW (LAZY) MODSEQ) (CHANGEDSINCE 1001)\r\n",
           "t FETCH 1 (PREVIEW (LAZY) MODSEQ) (CHANGEDSINCE 1)\r\n"),
         DONE("t"),
         NO("o FETCH 1 FLAGS (CHANGEDSINCE 5 CHANGEDSINCE 6)\r\n", "o BAD Only one MODSEQ is expected\r\n"),
         NO("p FETCH 1 FLAGS (CHANGEDSINCE 5 VANISHED)\r\n",
            "p BAD VANISHED is expected in UID FETCH alone\r\n"),
         NO("q UID FETCH 1 FLAGS (VANISHED)\r\n", "q BAD VANISHED needs CHANGEDSINCE\r\n"));
}

static void test_changedsince_behind_literals(void **state)
{
    (void)state;
    PLAY(OPEN_T2,
         C("a UID FETCH 7:8 (BODY[HEADER.FIELDS ({4+}\r\nDATE)] UID) (CHANGEDSINCE 5)\r\n",
           "a UID FETCH 4:5 (BODY[HEADER.FIELDS (DATE)] UID MODSEQ)\r\n"),
         DONE("a"),
         C("b UID FETCH 7:8 BODY[HEADER.FIELDS ({4+}\r\nDATE {2+}\r\nTO)] (CHANGEDSINCE 5)\r\n",
           "b UID FETCH 4:5 (BODY[HEADER.FIELDS (DATE TO)] MODSEQ)\r\n"),
         DONE("b"),
         C("c UID FETCH 7:8 BODY[HEADER.FIELDS ({4+}\r\nDATE)]<0.9> (CHANGEDSINCE 1005)\r\n",
           "c UID FETCH 4:5 BODY[HEADER.FIELDS (DATE)]<0.9> (CHANGEDSINCE 5)\r\n"),
         DONE("c"),
         C("d FETCH 1 BODY[HEADER.FIELDS ({4+}\r\nDATE)]\r\n", "d FETCH 1 BODY[HEADER.FIELDS (DATE)]\r\n"),
         DONE("d"),
         /* names that are no words, or would end the section */
         C("e FETCH 1 (FLAGS BODY[HEADER.FIELDS ({2+}\r\nX] {5+}\r\n) \"\\( {0+}\r\n)]) (CHANGEDSINCE 5)\r\n",
           "e FETCH 1 (FLAGS BODY[HEADER.FIELDS (\"X]\" \") \\\"\\\\(\" \"\")] MODSEQ)\r\n"),
         DONE("e"),
         NO("f FETCH 1 BODY[HEADER.FIELDS ({1+}\r\nX)] (CHANGEDSINCE 5 CHANGEDSINCE 6)\r\n",
            "f BAD Only one MODSEQ is expected\r\n"),
         NO("g UID FETCH 0 BODY[HEADER.FIELDS ({1+}\r\nX)] (CHANGEDSINCE 5)\r\n",
            "g BAD Invalid message set\r\n"));
}

static void test_sets_and_conditions(void **state)
{
    (void)state;
    PLAY(OPEN_T2,
         C("a UID FETCH 7:* (FLAGS) (CHANGEDSINCE 1200)\r\n",
           "a UID FETCH 4:* (FLAGS) (CHANGEDSINCE 200)\r\n"),
         DONE("a"), C("b UID FETCH 4:6 (FLAGS) (CHANGEDSINCE 1200)\r\n", "b NOOP\r\n"),
         S("b OK done\r\n", "b OK No such messages\r\n"),
         C("c UID FETCH 4:6 (FLAGS) (CHANGEDSINCE 12)\r\n", "c NOOP\r\n"),
         S("c OK done\r\n", "c OK No such messages\r\n"),
         C("d UID FETCH 2,7 ALL (CHANGEDSINCE 12)\r\n",
           "d UID FETCH 2,4 (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE MODSEQ)\r\n"),
         DONE("d"),
         C("e UID FETCH 7:8 (FLAGS) (CHANGEDSINCE 1200 VANISHED)\r\n",
           "e UID FETCH 4:5 (FLAGS) (CHANGEDSINCE 200 VANISHED)\r\n"),
         S("* VANISHED (EARLIER) 4:5\r\ne OK done\r\n", "* VANISHED (EARLIER) 7:8\r\ne OK done\r\n"),
         C("h UID FETCH *,7:*,*:30 (FLAGS) (CHANGEDSINCE 1200 VANISHED)\r\n",
           "h UID FETCH *,4:4294967281,16:4294967281,* (FLAGS) (CHANGEDSINCE 200 VANISHED)\r\n"),
         DONE("h"), NO("f UID FETCH $ (FLAGS) (CHANGEDSINCE 5)\r\n", "f BAD $ is not offered here\r\n"),
         NO("g UID FETCH 0 (FLAGS) (CHANGEDSINCE 5)\r\n", "g BAD Invalid message set\r\n"));
}

static void test_numbers_that_stay(void **state)
{
    (void)state;
    PLAY(OPEN_T0,
         C("a FETCH 1:* (FLAGS) (CHANGEDSINCE 1001)\r\n", "a FETCH 1:* (FLAGS) (CHANGEDSINCE 1001)\r\n"),
         S("* 1 FETCH (FLAGS () MODSEQ (1002))\r\na OK done\r\n",
           "* 1 FETCH (FLAGS () MODSEQ (1002))\r\na OK done\r\n"),
         C("b FETCH 1:* (FLAGS) (CHANGEDSINCE 1000)\r\n", "b FETCH 1:* (FLAGS MODSEQ)\r\n"), DONE("b"),
         C("c SEARCH MODSEQ 999\r\n", "c SEARCH MODSEQ 0\r\n"),
         S("* SEARCH (MODSEQ 1)\r\nc OK done\r\n", "* SEARCH\r\nc OK done\r\n"),
         C("d SEARCH MODSEQ 1200\r\n", "d SEARCH MODSEQ 1200\r\n"),
         S("* SEARCH 2 3 (MODSEQ 1201)\r\nd OK done\r\n", "* SEARCH 2 3 (MODSEQ 1201)\r\nd OK done\r\n"),
         C("e STORE 1 (UNCHANGEDSINCE 1001) +FLAGS (\\Seen)\r\n",
           "e STORE 1 (UNCHANGEDSINCE 1001) +FLAGS (\\Seen)\r\n"),
         DONE("e"));
}

/* ---- STORE ---- */

static void test_unchangedsince(void **state)
{
    (void)state;
    PLAY(OPEN_T2,
         C("a UID STORE 7:8 (UNCHANGEDSINCE 1100) +FLAGS.SILENT (\\Seen)\r\n",
           "a UID STORE 4:5 (UNCHANGEDSINCE 100) +FLAGS.SILENT (\\Seen)\r\n"),
         S("* 4 FETCH (UID 4 MODSEQ (501))\r\na OK [MODIFIED 5] done\r\n",
           "* 4 FETCH (UID 7 MODSEQ (1501))\r\na OK [MODIFIED 8] done\r\n"),
         C("b UID STORE 1:8 (UNCHANGEDSINCE 999) FLAGS ()\r\n",
           "b UID STORE 1:5 (UNCHANGEDSINCE 0) FLAGS ()\r\n"),
         S("b NO [MODIFIED 1:5] no\r\n", "b NO [MODIFIED 1:3,7:8] no\r\n"),
         C("c STORE 1:2 (UNCHANGEDSINCE 1002) FLAGS ()\r\n", "c STORE 1:2 (UNCHANGEDSINCE 2) FLAGS ()\r\n"),
         S("c OK [MODIFIED 1,2] done\r\n", "c OK [MODIFIED 1,2] done\r\n"),
         C("d STORE 1:2 (UNCHANGEDSINCE 0) FLAGS ()\r\n", "d STORE 1:2 (UNCHANGEDSINCE 0) FLAGS ()\r\n"),
         DONE("d"),
         NO("e STORE 1:2 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 2) FLAGS ()\r\n",
            "e BAD Only one MODSEQ is expected\r\n"),
         C("f UID STORE 4:5 (UNCHANGEDSINCE 1) FLAGS ()\r\n", "f NOOP\r\n"),
         S("f OK done\r\n", "f OK No such messages\r\n"),
         C("g UID STORE 1 FLAGS ()\r\n", "g UID STORE 1 FLAGS ()\r\n"),
         S("g OK [MODIFIED 40] done\r\n", "g OK [MODIFIED 54] done\r\n"));
    PLAY(OPEN_T2,
         C("a UID STORE 7:8 (UNCHANGEDSINCE 1100) FLAGS ()\r\n",
           "a UID STORE 4:5 (UNCHANGEDSINCE 100) FLAGS ()\r\n"),
         BAD("a OK [MODIFIED 4:*] done\r\n"));
}

/* ---- SEARCH ---- */

static void test_search(void **state)
{
    (void)state;
    PLAY(OPEN_T2, C("a SEARCH MODSEQ 1500\r\n", "a SEARCH MODSEQ 500\r\n"),
         S("* SEARCH 1 2 (MODSEQ 500)\r\na OK done\r\n", "* SEARCH 1 2 (MODSEQ 1500)\r\na OK done\r\n"),
         C("b UID SEARCH NOT (MODSEQ \"/flags/\\\\Draft\" all 1001 UID 4:6) OR SEEN MODSEQ 7\r\n",
           "b UID SEARCH NOT (MODSEQ \"/flags/\\\\Draft\" all 1 (NOT ALL)) OR SEEN MODSEQ 0\r\n"),
         S("* SEARCH 4 6 (MODSEQ 17)\r\nb OK done\r\n", "* SEARCH 7 20 (MODSEQ 1017)\r\nb OK done\r\n"),
         C("c SEARCH (NOT (MODSEQ 9223372036854775807 SUBJECT {3+}\r\nabc MODSEQ 1002)) MODSEQ 1003\r\n",
           "c SEARCH (NOT (MODSEQ 9223372036854774807 SUBJECT {3+}\r\nabc MODSEQ 2)) MODSEQ 3\r\n"),
         S("* SEARCH\r\nc OK done\r\n", "* SEARCH\r\nc OK done\r\n"),
         C("d UID SEARCH RETURN (ALL MAX) MODSEQ 1001\r\n", "d UID SEARCH RETURN (ALL MAX) MODSEQ 1\r\n"),
         S("* ESEARCH (TAG \"d\") UID ALL 4:6 MAX 6 MODSEQ 9\r\nd OK done\r\n",
           "* ESEARCH (TAG \"d\") UID ALL 7:8,20 MAX 20 MODSEQ 1009\r\nd OK done\r\n"),
         C("e SEARCH RETURN (ALL COUNT) MODSEQ 1001\r\n", "e SEARCH RETURN (ALL COUNT) MODSEQ 1\r\n"),
         S("* ESEARCH (TAG \"e\") ALL 4:6 COUNT 3 MODSEQ 9\r\ne OK done\r\n",
           "* ESEARCH (TAG \"e\") ALL 4:6 COUNT 3 MODSEQ 1009\r\ne OK done\r\n"),
         C("f UID SORT (DATE) UTF-8 MODSEQ 1001\r\n", "f UID SORT (DATE) UTF-8 MODSEQ 1\r\n"),
         S("* SORT 5 4 (MODSEQ 9)\r\nf OK done\r\n", "* SORT 8 7 (MODSEQ 1009)\r\nf OK done\r\n"),
         C("g SEARCH TEXT MODSEQ HEADER MODSEQ 5\r\n", "g SEARCH TEXT MODSEQ HEADER MODSEQ 5\r\n"),
         S("* SEARCH (MODSEQ 1)\r\ng OK done\r\n", "* SEARCH\r\ng OK done\r\n"));
    PLAY(OPEN_T2, C("a SEARCH ALL\r\n", "a SEARCH ALL\r\n"),
         BAD("* SEARCH 1 (MODSEQ 9223372036854775807)\r\n"));
}

static void test_search_without_a_map(void **state)
{
    (void)state;
    PLAY(OPEN_T1, C("a UID SEARCH UID 4:6 MODSEQ 1001\r\n", "a UID SEARCH UID 4:6 MODSEQ 1\r\n"),
         S("* SEARCH 4 6 (MODSEQ 17)\r\na OK done\r\n", "* SEARCH 4 6 (MODSEQ 1017)\r\na OK done\r\n"),
         C("b UID SEARCH RETURN () UID 4:6 MODSEQ 1001\r\n", "b UID SEARCH RETURN () UID 4:6 MODSEQ 1\r\n"),
         S("* ESEARCH (TAG \"b\") UID ALL 4,6 MODSEQ 17\r\nb OK done\r\n",
           "* ESEARCH (TAG \"b\") UID ALL 4,6 MODSEQ 1017\r\nb OK done\r\n"),
         C("c THREAD REFERENCES UTF-8 MODSEQ 5\r\n", "c THREAD REFERENCES UTF-8 MODSEQ 0\r\n"),
         S("* THREAD (1)(2 (3)(4))\r\nc OK done\r\n", "* THREAD (1)(2 (3)(4))\r\nc OK done\r\n"));
}

/* ---- responses ---- */

static void test_fetch(void **state)
{
    (void)state;
    PLAY(OPEN_T2, S("* 4 FETCH (UID 4 MODSEQ (12))\r\n", "* 4 FETCH (UID 7 MODSEQ (1012))\r\n"),
         S("* 4 FETCH (MODSEQ (12) FLAGS (\\Seen))\r\n", "* 4 FETCH (MODSEQ (1012) FLAGS (\\Seen))\r\n"),
         S("* 4 FETCH (modseq (9223372036854774807) uid 6)\r\n",
           "* 4 FETCH (modseq (9223372036854775807) uid 20)\r\n"),
         S("* 4 FETCH (BODY[] {9}\r\nMODSEQ (7 MODSEQ (7) UID 4)\r\n",
           "* 4 FETCH (BODY[] {9}\r\nMODSEQ (7 MODSEQ (1007) UID 7)\r\n"),
         S("* 4 FETCH (ENVELOPE (\"MODSEQ (7)\" (MODSEQ 8)) MODSEQ (7))\r\n",
           "* 4 FETCH (ENVELOPE (\"MODSEQ (7)\" (MODSEQ 8)) MODSEQ (1007))\r\n"),
         S("* OK [HIGHESTMODSEQ 600] h\r\n", "* OK [HIGHESTMODSEQ 1600] h\r\n"),
         S("* OK [HIGHESTMODSEQ 500] h\r\n", ""), C("a EXPUNGE\r\n", "a EXPUNGE\r\n"),
         S("* VANISHED\r\n* VANISHED (EARLIER) \r\n", ""),
         S("* VANISHED 4,6\r\na OK [HIGHESTMODSEQ 700] done\r\n",
           "* VANISHED 7,20\r\na OK [HIGHESTMODSEQ 1700] done\r\n"),
         C("b CLOSE\r\n", "b CLOSE\r\n"),
         S("b OK [HIGHESTMODSEQ 701] done\r\n", "b OK [HIGHESTMODSEQ 1701] done\r\n"));
    PLAY(OPEN_T1, S("* 4 FETCH (UID 4 MODSEQ (12))\r\n", "* 4 FETCH (UID 4 MODSEQ (1012))\r\n"),
         S("* 4 FETCH (INTERNALDATE \"1-Jan-2020 00:00:00 +0000\" MODSEQ (12))\r\n",
           "* 4 FETCH (INTERNALDATE \"1-Jan-2020 00:00:00 +0000\" MODSEQ (1012))\r\n"),
         S("* VANISHED 4,6\r\n", "* VANISHED 4,6\r\n"), /* what can't be one */
         S("* 4 FETCH (MODSEQ (9223372036854775807))\r\n", ""), S("* 4 FETCH (MODSEQ (0))\r\n", ""),
         S("* 4 FETCH (UID 4 MODSEQ (-1) FLAGS ())\r\n", "* 4 FETCH (UID 4 FLAGS ())\r\n"),
         S("* 4 FETCH (UID 4 MODSEQ (18446744073709551616))\r\n", "* 4 FETCH (UID 4)\r\n"),
         S("* 4 FETCH (MODSEQ (0) UID 4)\r\n", "* 4 FETCH (UID 4)\r\n"));
    PLAY(OPEN_T2, BAD("* 4 FETCH (MODSEQ 5)\r\n"));
    PLAY(OPEN_T2, BAD("* 4 FETCH (MODSEQ (5 6))\r\n"));
    PLAY(OPEN_T2, BAD("* 4 FETCH (MODSEQ ())\r\n"));
}

static void test_no_modseqs(void **state)
{
    (void)state;
    PLAY(C("s SELECT none\r\n", "s SELECT none\r\n"),
         S("* OK [UIDVALIDITY 100] v\r\n* OK [HIGHESTMODSEQ 500] h\r\ns OK done\r\n",
           "* OK [UIDVALIDITY 7] UIDs valid\r\ns OK done\r\n"),
         S("* 4 FETCH (UID 4 MODSEQ (12))\r\n", "* 4 FETCH (UID 4)\r\n"),
         S("* 4 FETCH (MODSEQ (12) UID 4)\r\n", "* 4 FETCH (UID 4)\r\n"),
         S("* 4 FETCH (MODSEQ (12))\r\n", ""),
         S("* 4 FETCH (UID 3 MODSEQ (12) FLAGS ())\r\n", "* 4 FETCH (UID 3 FLAGS ())\r\n"),
         S("* 4 FETCH (BODY[] {3}\r\nabc MODSEQ (12))\r\n", "* 4 FETCH (BODY[] {3}\r\nabc)\r\n"),
         NO("a FETCH 1 FLAGS (CHANGEDSINCE 5)\r\n", "a BAD This mailbox has no MODSEQs\r\n"),
         NO("b FETCH 1 MODSEQ\r\n", "b BAD This mailbox has no MODSEQs\r\n"),
         NO("c STORE 1 (UNCHANGEDSINCE 5) FLAGS ()\r\n", "c BAD This mailbox has no MODSEQs\r\n"),
         NO("d SEARCH MODSEQ 5\r\n", "d BAD This mailbox has no MODSEQs\r\n"),
         C("e SELECT none (QRESYNC (7 5))\r\n", "e SELECT none (CONDSTORE)\r\n"),
         S("* OK [UIDVALIDITY 100] v\r\n* OK [HIGHESTMODSEQ 500] h\r\ne OK done\r\n",
           "* OK [UIDVALIDITY 7] UIDs valid\r\ne OK done\r\n"));
    /* The backend has none. */
    PLAY(C("s SELECT T1 (QRESYNC (7 5))\r\n", "s SELECT T1 (CONDSTORE)\r\n"),
         S("* OK [UIDVALIDITY 100] v\r\n* OK [NOMODSEQ] h\r\ns OK done\r\n",
           "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [NOMODSEQ] No permanent MODSEQs\r\ns OK done\r\n"),
         NO("a FETCH 1 FLAGS (CHANGEDSINCE 5)\r\n", "a BAD This mailbox has no MODSEQs\r\n"));
    PLAY(C("s SELECT T1\r\n", "s SELECT T1\r\n"),
         S("* OK [UIDVALIDITY 100] v\r\n* OK [HIGHESTMODSEQ 9223372036854775807] h\r\ns OK done\r\n",
           "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [NOMODSEQ] No permanent MODSEQs\r\ns OK done\r\n"));
    /* Never 0, never below what clients have seen. */
    PLAY(C("s SELECT T1\r\n", "s SELECT T1\r\n"),
         S("* OK [UIDVALIDITY 100] v\r\n* OK [HIGHESTMODSEQ 1] h\r\ns OK done\r\n",
           "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [HIGHESTMODSEQ 1001] Highest\r\ns OK done\r\n"),
         C("t SELECT T0\r\n", "t SELECT T0\r\n"),
         S("* OK [UIDVALIDITY 7] v\r\n* OK [HIGHESTMODSEQ 1] h\r\nt OK done\r\n",
           "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [HIGHESTMODSEQ 1000] Highest\r\nt OK done\r\n"));
}

static void test_status(void **state)
{
    (void)state;
    PLAY(
        C("a STATUS T1 (HIGHESTMODSEQ MESSAGES)\r\n", "a STATUS T1 (HIGHESTMODSEQ MESSAGES UIDVALIDITY)\r\n"),
        S("* STATUS T1 (HIGHESTMODSEQ 12 MESSAGES 3 UIDVALIDITY 100)\r\na OK done\r\n",
          "* STATUS T1 (HIGHESTMODSEQ 1012 MESSAGES 3)\r\na OK done\r\n"),
        C("b STATUS T1 (HIGHESTMODSEQ UIDVALIDITY)\r\n", "b STATUS T1 (HIGHESTMODSEQ UIDVALIDITY)\r\n"),
        S("* STATUS T1 (HIGHESTMODSEQ 0 UIDVALIDITY 100)\r\nb OK done\r\n",
          "* STATUS T1 (UIDVALIDITY 7)\r\nb OK done\r\n"),
        C("c STATUS T0 (HIGHESTMODSEQ)\r\n", "c STATUS T0 (HIGHESTMODSEQ UIDVALIDITY)\r\n"),
        S("* STATUS T0 (HIGHESTMODSEQ 2 UIDVALIDITY 7)\r\nc OK done\r\n",
          "* STATUS T0 (HIGHESTMODSEQ 1000)\r\nc OK done\r\n"),
        C("d STATUS new (HIGHESTMODSEQ)\r\n", "d STATUS new (HIGHESTMODSEQ)\r\n"),
        S("* STATUS new (HIGHESTMODSEQ 5)\r\nd OK done\r\n",
          "* STATUS new (HIGHESTMODSEQ 5)\r\nd OK done\r\n"),
        C("e STATUS none (HIGHESTMODSEQ MESSAGES)\r\n", "e STATUS none (HIGHESTMODSEQ MESSAGES)\r\n"),
        S("* STATUS none (HIGHESTMODSEQ 5 MESSAGES 3)\r\ne OK done\r\n",
          "* STATUS none (MESSAGES 3)\r\ne OK done\r\n"),
        C("f LIST \"\" % RETURN (STATUS (HIGHESTMODSEQ))\r\n",
          "f LIST \"\" % RETURN (STATUS (HIGHESTMODSEQ UIDVALIDITY))\r\n"),
        S("* STATUS T2 (HIGHESTMODSEQ 5 UIDVALIDITY 100)\r\nf OK done\r\n",
          "* STATUS T2 (HIGHESTMODSEQ 1005)\r\nf OK done\r\n"));
}

/* ---- SELECT (QRESYNC) ---- */

#define OPENED(tag, out)                                                                                     \
    ASK("* 5 EXISTS\r\n* OK [UIDVALIDITY 100] v\r\n* OK [UIDNEXT 8] n\r\n* OK [HIGHESTMODSEQ 500] h\r\n" tag \
        " OK [READ-WRITE] done\r\n",                                                                         \
        out,                                                                                                 \
        "* 5 EXISTS\r\n* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 22] Predicted next UID\r\n"          \
        "* OK [HIGHESTMODSEQ 1500] Highest\r\n")

static void test_qresync_new(void **state)
{
    (void)state;
    PLAY(C("a SELECT T2 (QRESYNC (7 1200))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         OPENED("a", "Q1 UID FETCH 1:4294967281 (FLAGS) (CHANGEDSINCE 200 VANISHED)\r\n"),
         S("* VANISHED (EARLIER) 2,5:6,99:4294967295\r\n", "* VANISHED (EARLIER) 2,8,20,113:4294967295\r\n"),
         S("* 2 FETCH (UID 4 FLAGS () MODSEQ (201))\r\n* 6 EXISTS\r\n",
           "* 2 FETCH (UID 7 FLAGS () MODSEQ (1201))\r\n* 6 EXISTS\r\n"),
         S("Q1 OK [HIGHESTMODSEQ 501] done\r\n", "a OK [READ-WRITE] done\r\n"), C("b NOOP\r\n", "b NOOP\r\n"),
         DONE("b"));
    PLAY(C("a EXAMINE T2 (CONDSTORE QRESYNC (7 1200 2,7:21 (1,3 1,3)))\r\n", "a EXAMINE T2 (CONDSTORE)\r\n"),
         OPENED("a", "Q1 UID FETCH 2,4:7 (FLAGS) (CHANGEDSINCE 200 VANISHED)\r\n"),
         S("* OK [INPROGRESS (\"Q1\" 1 2)] x\r\n", ""),
         S("Q1 NO sorry\r\n", "a NO [UNAVAILABLE] What has changed can't be told at the moment\r\n"),
         NO("b UID FETCH 1 FLAGS\r\n", "b BAD No mailbox selected\r\n"), S("* 3 EXISTS\r\n", ""));
    /* All that it knows is gone since before the flip. */
    PLAY(C("a SELECT T2 (QRESYNC (7 1200 4:6))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         S("* OK [UIDVALIDITY 100] v\r\n* OK [UIDNEXT 8] n\r\n* OK [HIGHESTMODSEQ 500] h\r\na OK done\r\n",
           "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 22] Predicted next UID\r\n"
           "* OK [HIGHESTMODSEQ 1500] Highest\r\na OK done\r\n"));
}

static void test_qresync_old(void **state)
{
    (void)state;
    PLAY(C("a SELECT T2 (QRESYNC (7 1000))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         OPENED("a", "Q1 UID SEARCH RETURN (ALL) UID 1:4294967281\r\n"),
         S("* ESEARCH (TAG \"Q1\") UID ALL 1,4:6\r\n", ""), S("* 2 FETCH (FLAGS () UID 4)\r\n", ""),
         ASK("Q1 OK done\r\n", "Q2 UID FETCH 1:4294967281 (FLAGS MODSEQ)\r\n",
             "* VANISHED (EARLIER) 2:6,9:19,21\r\n* 2 FETCH (FLAGS () UID 7)\r\n"),
         S("* 1 FETCH (UID 1 FLAGS () MODSEQ (4))\r\n", "* 1 FETCH (UID 1 FLAGS () MODSEQ (1004))\r\n"),
         S("* VANISHED 5\r\n", "* VANISHED 8\r\n"),
         S("Q2 NO [EXPUNGEISSUED] gone\r\n", "a OK [READ-WRITE] done\r\n"));
    /* Without ESEARCH, with what is known. */
    PLAY_WITH(true, false, C("a SELECT T2 (QRESYNC (7 1 1:2,5,8:30))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
              OPENED("a", "Q1 UID SEARCH UID 1:2,5:16\r\n"), S("* SEARCH 1 5\r\n", ""),
              S("* SEARCH 6 (MODSEQ 7)\r\n", ""),
              ASK("Q1 OK done\r\n", "Q2 UID FETCH 1:2,5:16 (FLAGS MODSEQ)\r\n",
                  "* VANISHED (EARLIER) 2,5,9:19,21\r\n"),
              S("Q2 OK done\r\n", "a OK [READ-WRITE] done\r\n"));
    /* Nothing is there. */
    PLAY(C("a SELECT T2 (QRESYNC (7 1 1:7))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         OPENED("a", "Q1 UID SEARCH RETURN (ALL) UID 1:4\r\n"), S("* ESEARCH (TAG \"Q1\") UID\r\n", ""),
         S("Q1 OK done\r\n", "* VANISHED (EARLIER) 1:7\r\na OK [READ-WRITE] done\r\n"));
    /* Nothing can be there. */
    PLAY(C("a SELECT T2 (QRESYNC (7 1 4:6))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         S("* OK [UIDVALIDITY 100] v\r\n* OK [UIDNEXT 8] n\r\n* OK [HIGHESTMODSEQ 500] h\r\na OK done\r\n",
           "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 22] Predicted next UID\r\n"
           "* OK [HIGHESTMODSEQ 1500] Highest\r\n* VANISHED (EARLIER) 4:6\r\na OK done\r\n"));
    /* Nobody says what is there: that is not nothing. */
    PLAY(C("a SELECT T2 (QRESYNC (7 1))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         OPENED("a", "Q1 UID SEARCH RETURN (ALL) UID 1:4294967281\r\n"),
         S("Q1 OK done\r\n", "a NO [UNAVAILABLE] What has changed can't be told at the moment\r\n"),
         NO("b CLOSE\r\n", "b BAD No mailbox selected\r\n"));
    /* A server that has lost its MODSEQs. */
    PLAY(C("a SELECT T2 (QRESYNC (7 1501))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         OPENED("a", "Q1 UID SEARCH RETURN (ALL) UID 1:4294967281\r\n"));
    PLAY(C("a SELECT T0 (QRESYNC (7 1000))\r\n", "a SELECT T0 (CONDSTORE)\r\n"),
         ASK("* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT 30] n\r\n* OK [HIGHESTMODSEQ 1500] h\r\na OK done\r\n",
             "Q1 UID SEARCH RETURN (ALL) UID 1:4294967295\r\n",
             "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 30] Predicted next UID\r\n"
             "* OK [HIGHESTMODSEQ 1500] Highest\r\n"),
         S("* ESEARCH (TAG \"Q1\") UID ALL 2,28,31\r\n", ""),
         ASK("Q1 OK done\r\n", "Q2 UID FETCH 1:4294967295 (FLAGS MODSEQ)\r\n",
             "* VANISHED (EARLIER) 1,3:27,29:30\r\n"));
}

/* What another session changes while it is asked what is there: never before VANISHED (EARLIER), but where its
 * numbers would be wrong by then. */
static void test_fetch_behind_vanished(void **state)
{
    (void)state;
    PLAY(C("a SELECT T2 (QRESYNC (7 1000 1:8))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         OPENED("a", "Q1 UID SEARCH RETURN (ALL) UID 1:5\r\n"),
         S("* 3 FETCH (UID 3 MODSEQ (501) FLAGS ())\r\n", ""), S("* 7 EXISTS\r\n", "* 7 EXISTS\r\n"),
         S("* 4 FETCH (FLAGS (\\Seen) UID 4 MODSEQ (502))\r\n", ""),
         S("* VANISHED 2\r\n", "* 3 FETCH (UID 3 MODSEQ (1501) FLAGS ())\r\n"
                               "* 4 FETCH (FLAGS (\\Seen) UID 7 MODSEQ (1502))\r\n* VANISHED 2\r\n"),
         S("* ESEARCH (TAG \"Q1\") UID ALL 1,3:5\r\n", ""),
         S("* 2 FETCH (UID 3 MODSEQ (503) FLAGS ())\r\n", ""),
         ASK("Q1 OK done\r\n", "Q2 UID FETCH 1:5 (FLAGS MODSEQ)\r\n",
             "* VANISHED (EARLIER) 2,4:6\r\n* 2 FETCH (UID 3 MODSEQ (1503) FLAGS ())\r\n"),
         S("* 2 FETCH (UID 3 MODSEQ (504) FLAGS ())\r\n", "* 2 FETCH (UID 3 MODSEQ (1504) FLAGS ())\r\n"),
         S("Q2 OK done\r\n", "a OK [READ-WRITE] done\r\n"));
    /* A UID FETCH, and a server that then says no: what it has told is true. */
    PLAY(OPEN_T2,
         C("b UID FETCH 1:8 (UID) (CHANGEDSINCE 5 VANISHED)\r\n", "b UID SEARCH RETURN (ALL) UID 1:5\r\n"),
         S("* 3 FETCH (UID 3 MODSEQ (501) FLAGS ())\r\n", ""),
         S("b NO no\r\n", "* 3 FETCH (UID 3 MODSEQ (1501) FLAGS ())\r\nb NO no\r\n"));
    /* Of a mailbox that is closed then, nothing. */
    PLAY(C("a SELECT T2 (QRESYNC (7 1000 1:8))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
         OPENED("a", "Q1 UID SEARCH RETURN (ALL) UID 1:5\r\n"),
         S("* 3 FETCH (UID 3 MODSEQ (501) FLAGS ())\r\n", ""),
         S("Q1 NO no\r\n", "a NO [UNAVAILABLE] What has changed can't be told at the moment\r\n"));
}

/* It is kept as long as it is little. */
static void test_fetch_behind_vanished_is_bounded(void **state)
{
    (void)state;
    struct view *v = usual();
    struct view_unit u;
    size_t n = 0, most = 0, sent = 0, told = 0;
    start(&u, v, true, true);
    assert_true(view_unit_commands(&u, span_str("a SELECT T2 (QRESYNC (7 1000))\r\n")));
    view_unit_responses(&u,
                        span_str("* OK [UIDVALIDITY 100] v\r\n* OK [HIGHESTMODSEQ 500] h\r\na OK done\r\n"));
    buf_clear(&u.to_client);
    for (; n < 10000; n++) {
        static const char line[] = "* 3 FETCH (UID 3 MODSEQ (1501) FLAGS ())\r\n";
        view_unit_responses(&u, span_str("* 3 FETCH (UID 3 MODSEQ (501) FLAGS ())\r\n"));
        sent += sizeof line - 1;
        told += u.to_client.len;
        buf_clear(&u.to_client);
        most = sent - told > most ? sent - told : most;
    }
    assert_null(u.wrong);
    assert_in_range(most, 1024, 64 * 1024);
    view_unit_end(&u);
    view_unref(&v);
}

static void test_qresync_that_does_not_apply(void **state)
{
    (void)state;
    PLAY(
        C("a SELECT T2 (QRESYNC (8 1200))\r\n", "a SELECT T2 (CONDSTORE)\r\n"),
        S("* OK [UIDVALIDITY 100] v\r\n* OK [UIDNEXT 8] n\r\n* OK [HIGHESTMODSEQ 500] h\r\na OK done\r\n",
          "* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 22] Predicted next UID\r\n"
          "* OK [HIGHESTMODSEQ 1500] Highest\r\na OK done\r\n"),
        /* the mailbox before it is open until [CLOSED] */
        C("b SELECT T1 (CONDSTORE)\r\n", "b SELECT T1 (CONDSTORE)\r\n"),
        S("* OK [HIGHESTMODSEQ 9999] h\r\n* VANISHED 4\r\n* OK [CLOSED] c\r\n* OK [UIDVALIDITY 100] v\r\n"
          "* OK [HIGHESTMODSEQ 500] h\r\nb OK done\r\n",
          "* OK [CLOSED] c\r\n* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [HIGHESTMODSEQ 1500] Highest\r\nb OK done\r\n"),
        C("c SELECT T2 (QRESYNC (7 1200))\r\n", "c SELECT T2 (CONDSTORE)\r\n"),
        S("* OK [CLOSED] c\r\nc NO none\r\n", "* OK [CLOSED] c\r\nc NO none\r\n"));
    PLAY_WITH(false, true,
              NO("a SELECT T2 (QRESYNC (7 1200))\r\n", "a BAD QRESYNC needs ENABLE QRESYNC first\r\n"),
              OPEN_T2,
              NO("b UID FETCH 1 FLAGS (CHANGEDSINCE 5 VANISHED)\r\n",
                 "b BAD VANISHED needs ENABLE QRESYNC first\r\n"));
    PLAY(
        NO("a SELECT T2 (QRESYNC (0 5))\r\n",
           "a BAD QRESYNC: a UIDVALIDITY from 1 to 4294967295 is expected\r\n"),
        NO("b SELECT T2 (QRESYNC (7))\r\n",
           "b BAD QRESYNC: a MODSEQ from 0 to 9223372036854775807 is expected\r\n"),
        NO("c SELECT T2 (QRESYNC (7 9223372036854775808))\r\n",
           "c BAD QRESYNC: a MODSEQ from 0 to 9223372036854775807 is expected\r\n"),
        NO("d SELECT T2 (QRESYNC (7 5 0))\r\n",
           "d BAD QRESYNC: a set of known UIDs without * is expected\r\n"),
        NO("e SELECT T2 (QRESYNC (7 5 1:5 (1:2 1)))\r\n",
           "e BAD QRESYNC: (known numbers, as many known UIDs) is expected\r\n"),
        NO("f SELECT T2 (QRESYNC (7 5 1:5 (1 1) 7))\r\n", "f BAD QRESYNC: nothing more is expected\r\n"),
        NO("g SELECT T2 (QRESYNC (7 5) QRESYNC (7 5))\r\n", "g BAD CONDSTORE or one QRESYNC is expected\r\n"),
        NO("h SELECT T2 (QRESYNC)\r\n", "h BAD Unknown SELECT parameter\r\n"),
        NO("i SELECT T2 ()\r\n", "i BAD A parameter is expected\r\n"),
        C("j SELECT {2+}\r\nT2 (QRESYNC (7 5 1:5 (1 1)))\r\n", "j SELECT T2 (CONDSTORE)\r\n"));
}

/* ---- UID FETCH (VANISHED) ---- */

static void test_vanished_since_before(void **state)
{
    (void)state;
    PLAY(
        OPEN_T2,
        C("a UID FETCH 1:* FAST (VANISHED CHANGEDSINCE 1000)\r\n",
          "a UID SEARCH RETURN (ALL) UID 1:4294967281,*\r\n"),
        S("* ESEARCH (TAG \"a\") UID ALL 1,4:6\r\n", ""), S("* 7 EXISTS\r\n", "* 7 EXISTS\r\n"),
        ASK("a OK done\r\n", "Q1 UID FETCH 1:4294967281,* (FLAGS INTERNALDATE RFC822.SIZE MODSEQ)\r\n",
            "* VANISHED (EARLIER) 2:6,9:19,21\r\n"),
        S("* 1 FETCH (UID 1 FLAGS () MODSEQ (4))\r\n", "* 1 FETCH (UID 1 FLAGS () MODSEQ (1004))\r\n"),
        S("Q1 OK [EXPUNGEISSUED] Fetched\r\n", "a OK [EXPUNGEISSUED] Fetched\r\n"),
        C("b UID FETCH 4:6,99 (FLAGS) (CHANGEDSINCE 5 VANISHED)\r\n", "b UID SEARCH RETURN (ALL) UID 85\r\n"),
        S("b NO hm\r\n", "b NO hm\r\n"),
        C("c UID FETCH 4:6 (FLAGS) (CHANGEDSINCE 5 VANISHED)\r\n", "c NOOP\r\n"),
        S("c OK done\r\n", "* VANISHED (EARLIER) 4:6\r\nc OK No such messages\r\n"),
        C("d UID FETCH 7 (FLAGS) (CHANGEDSINCE 5 VANISHED)\r\n", "d UID SEARCH RETURN (ALL) UID 4\r\n"),
        ASK("* ESEARCH (TAG \"d\") UID ALL 4\r\nd OK done\r\n", "Q2 UID FETCH 4 (FLAGS MODSEQ)\r\n", ""),
        S("Q2 BAD what\r\n", "d BAD what\r\n"),
        C("e UID FETCH 7 (FLAGS) (CHANGEDSINCE 5 VANISHED)\r\n", "e UID SEARCH RETURN (ALL) UID 4\r\n"),
        S("e OK done\r\n", "e NO [UNAVAILABLE] What has changed can't be told at the moment\r\n"),
        NO("f UID FETCH 1:x (FLAGS) (CHANGEDSINCE 5 VANISHED)\r\n", "f BAD Invalid message set\r\n"),
        C("g UID FETCH 7 FLAGS\r\n", "g UID FETCH 4 FLAGS\r\n"));
}

/* After a hand-over, where no SELECT has passed here. */
static void test_handed_over(void **state)
{
    (void)state;
    struct view *v = usual();
    struct view_unit u;
    struct view_sight sight;
    start(&u, v, true, true);
    assert_int_equal(view_look(v, span_str("T2"), 100, 8, &sight), VIEW_FITS);
    view_rewrite_selected(u.w, span_str("T2"), &sight);
    assert_true(view_unit_commands(&u, span_str("a UID FETCH 1:* FLAGS (CHANGEDSINCE 900 VANISHED)\r\n")));
    same(&u.to_backend, "a UID SEARCH RETURN (ALL) UID 1:4294967281,*\r\n");
    view_unit_responses(&u, span_str("* 5 FETCH (UID 5 FLAGS () MODSEQ (7))\r\n"));
    view_unit_responses(&u, span_str("* ESEARCH (TAG \"a\") UID ALL 1,5\r\na OK done\r\n"));
    same(&u.to_client, "* VANISHED (EARLIER) 2:7,9:21\r\n* 5 FETCH (UID 8 FLAGS () MODSEQ (1007))\r\n");
    view_unit_responses(&u, span_str("* OK [HIGHESTMODSEQ 9] h\r\nQ1 OK done\r\n"));
    same(&u.to_client, "* OK [HIGHESTMODSEQ 1009] h\r\na OK done\r\n");
    view_unit_end(&u);
    /* Nobody has told UIDNEXT: up to the last that is there. */
    start(&u, v, true, true);
    assert_int_equal(view_look(v, span_str("T2"), 100, 0, &sight), VIEW_FITS);
    view_rewrite_selected(u.w, span_str("T2"), &sight);
    assert_true(view_unit_commands(&u, span_str("a UID FETCH 1:* FLAGS (CHANGEDSINCE 900 VANISHED)\r\n")));
    view_unit_responses(&u, span_str("* ESEARCH (TAG \"a\") UID ALL 1,5\r\na OK done\r\n"));
    same(&u.to_client, "* VANISHED (EARLIER) 2:7\r\n");
    view_unit_end(&u);
    view_unref(&v);
}

/* ---- sets that are too long for a line ---- */

enum { MANY = 30000, FAR_MORE = 400000 };

/* Each other UID. */
static void many(struct imap_seq *s)
{
    for (uint32_t uid = 1; uid < MANY; uid += 2)
        imap_seq_add(s, uid, uid);
}

/* Adds the sets behind `before` in each line that has it. */
static void sets_behind(struct buf *lines, const char *before, struct imap_seq *s, size_t *_n)
{
    char *save = NULL;
    for (char *line = strtok_r((char *)(uintptr_t)buf_str(lines), "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        struct imap_seq one = {0};
        const char *set = strstr(line, before);
        assert_true(strlen(line) < 1200000 && (strlen(line) < 8100 || strncmp(line, "* ", 2) == 0));
        if (!set)
            continue;
        set += strlen(before);
        assert_true(imap_seq_parse(&one, span_of(set, strcspn(set, " \r")), 0, FAR_MORE));
        imap_seq_join(s, &one);
        imap_seq_free(&one);
        ++*_n;
    }
    buf_clear(lines);
}

static void check_seq(struct imap_seq *got, struct imap_seq *want)
{
    assert_int_equal(got->n, want->n);
    assert_memory_equal(got->ranges, want->ranges, want->n * sizeof *want->ranges);
    imap_seq_free(got);
    imap_seq_free(want);
}

static void select_many(struct view_unit *u, const char *modseq)
{
    struct imap_seq known = {0};
    struct buf command = {0};
    many(&known);
    buf_printf(&command, "a SELECT T0 (QRESYNC (7 %s ", modseq);
    imap_seq_write(&command, &known);
    buf_add_str(&command, "))\r\n");
    assert_true(view_unit_commands(u, buf_span(&command)));
    same(&u->to_backend, "a SELECT T0 (CONDSTORE)\r\n");
    view_unit_responses(u, span_str("* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT 40000] n\r\n"
                                    "* OK [HIGHESTMODSEQ 1500] h\r\na OK done\r\n"));
    buf_clear(&u->to_client);
    imap_seq_free(&known);
    buf_free(&command);
}

static void test_long_sets(void **state)
{
    (void)state;
    struct view *v = usual();
    struct view_unit u;
    struct imap_seq want = {0}, got = {0}, there = {0};
    struct buf found = {0};
    size_t n = 0;
    start(&u, v, true, true);
    select_many(&u, "5");
    sets_behind(&u.to_backend, "UID SEARCH RETURN (ALL) UID ", &got, &n);
    many(&want);
    assert_int_equal(n, 1);
    for (size_t i = 0; i < want.n; i++)
        assert_true(imap_seq_has(&got, want.ranges[i].first));
    imap_seq_free(&got);
    for (uint32_t uid = 3; uid < MANY; uid += 3)
        imap_seq_add(&there, uid, uid);
    buf_add_str(&found, "* ESEARCH (TAG \"Q1\") UID ALL ");
    imap_seq_write(&found, &there);
    buf_add_str(&found, "\r\nQ1 OK done\r\n");
    view_unit_responses(&u, buf_span(&found));
    imap_seq_free(&want);
    for (uint32_t uid = 1; uid < MANY; uid += 2)
        if (uid % 3)
            imap_seq_add(&want, uid, uid);
    n = 0;
    sets_behind(&u.to_client, "* VANISHED (EARLIER) ", &got, &n);
    assert_int_equal(n, 1); /* clients have read the first line alone */
    check_seq(&got, &want);
    for (n = 0; u.to_backend.len;) {
        char answer[32];
        sets_behind(&u.to_backend, " UID FETCH ", &got, &n);
        snprintf(answer, sizeof answer, "Q%zu OK done\r\n", n + 1);
        assert_int_equal(u.to_client.len, 0);
        view_unit_responses(&u, span_str(answer));
    }
    assert_true(n > 3);
    many(&want);
    check_seq(&got, &want);
    same(&u.to_client, "a OK done\r\n");
    /* By a number of now it is one command, so that all VANISHED come before all FETCH. */
    select_many(&u, "1400");
    n = 0;
    sets_behind(&u.to_backend, " UID FETCH ", &got, &n);
    many(&want);
    assert_int_equal(n, 1);
    for (size_t i = 0; i < want.n; i++)
        assert_true(imap_seq_has(&got, want.ranges[i].first));
    imap_seq_free(&got);
    imap_seq_free(&want);
    imap_seq_free(&there);
    buf_free(&found);
    view_unit_end(&u);
    view_unref(&v);
}

/* A line of the backend that falls apart through the map. */
static void test_long_vanished(void **state)
{
    (void)state;
    struct view *v = usual();
    struct view_unit u;
    struct imap_seq want = {0}, got = {0};
    struct buf line = {0};
    size_t n = 0;
    start(&u, v, true, true);
    assert_true(view_unit_commands(&u, span_str("s SELECT T2\r\n")));
    view_unit_responses(&u, span_str("* OK [UIDVALIDITY 100] v\r\ns OK done\r\n"));
    buf_clear(&u.to_client);
    buf_add_str(&line, "* VANISHED 1");
    imap_seq_add(&want, 1, 1);
    for (uint32_t uid = 7; uid < MANY; uid += 2) {
        buf_printf(&line, ",%u", uid);
        imap_seq_add(&want, uid + 14, uid + 14);
    }
    buf_add_str(&line, "\r\n");
    view_unit_responses(&u, buf_span(&line));
    assert_null(u.wrong);
    sets_behind(&u.to_client, "* VANISHED ", &got, &n);
    assert_int_equal(n, 1);
    check_seq(&got, &want);
    buf_free(&line);
    view_unit_end(&u);
    view_unref(&v);
}

/* What is there in an order that costs most: a second would be a hundred times too long. */
static void test_found_from_behind(void **state)
{
    (void)state;
    struct view *v = usual();
    struct view_unit u;
    struct imap_seq want = {0}, got = {0};
    struct buf found = {0};
    size_t n = 0;
    for (unsigned esearch = 0; esearch < 2; esearch++) {
        start(&u, v, true, esearch);
        assert_true(view_unit_commands(&u, span_str("a SELECT T1 (QRESYNC (7 5 1:400000))\r\n")));
        view_unit_responses(&u, span_str("* OK [UIDVALIDITY 100] v\r\n* OK [UIDNEXT 500000] n\r\n"
                                         "* OK [HIGHESTMODSEQ 500] h\r\na OK done\r\n"));
        buf_clear(&u.to_client);
        clock_t begin = clock();
        for (uint32_t uid = FAR_MORE; uid > 0; uid -= 2) {
            buf_printf(&found, esearch ? "* ESEARCH UID ALL %u\r\n" : "* SEARCH %u\r\n", uid);
            imap_seq_add(&want, FAR_MORE + 1 - uid, FAR_MORE + 1 - uid);
        }
        buf_add_str(&found, "Q1 OK done\r\n");
        view_unit_responses(&u, buf_span(&found));
        assert_true(clock() - begin < 5 * CLOCKS_PER_SEC);
        n = 0;
        sets_behind(&u.to_client, "* VANISHED (EARLIER) ", &got, &n);
        assert_int_equal(n, 2); /* but for the longest */
        check_seq(&got, &want);
        buf_free(&found);
        view_unit_end(&u);
    }
    view_unref(&v);
}

/* ---- who waits ---- */

static void test_who_waits(void **state)
{
    (void)state;
    struct view *v = usual();
    struct view_unit u;
    start(&u, v, true, true);
    assert_true(view_unit_commands(&u, span_str("s SELECT T2\r\n")));
    view_unit_responses(&u,
                        span_str("* OK [UIDVALIDITY 100] v\r\n* OK [HIGHESTMODSEQ 500] h\r\ns OK done\r\n"));
    assert_true(view_unit_commands(&u, span_str("a UID FETCH 1 FLAGS (CHANGEDSINCE 1001 VANISHED)\r\n")));
    assert_false(u.waits);
    assert_true(view_unit_commands(&u, span_str("b UID FETCH 1 FLAGS (CHANGEDSINCE 1)\r\n")));
    assert_false(u.waits);
    view_unit_responses(&u, span_str("a OK done\r\nb OK done\r\n"));
    assert_true(view_unit_commands(&u, span_str("c UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)\r\n")));
    assert_true(u.waits); /* behind any other */
    assert_true(view_unit_commands(&u, span_str("d NOOP\r\n")));
    assert_true(u.waits);
    view_unit_responses(&u, span_str("* ESEARCH (TAG \"c\") UID ALL 1\r\nc OK done\r\n"));
    assert_true(view_unit_commands(&u, span_str("e NOOP\r\n")));
    assert_true(u.waits);
    view_unit_responses(&u, span_str("Q1 OK done\r\n"));
    assert_true(view_unit_commands(&u, span_str("f NOOP\r\n")));
    assert_false(u.waits);
    /* VANISHED is BAD until the answer to it. */
    assert_true(view_unit_commands(&u, span_str("g ENABLE QRESYNC\r\n")));
    assert_true(view_unit_commands(&u, span_str("h UID FETCH 1 FLAGS\r\n")));
    assert_true(u.waits);
    view_unit_responses(&u, span_str("* ENABLED QRESYNC\r\ng OK done\r\n"));
    assert_true(view_unit_commands(&u, span_str("i UID FETCH 1 FLAGS\r\n")));
    assert_false(u.waits);
    view_unit_end(&u);
    view_unref(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changedsince),
        cmocka_unit_test(test_changedsince_behind_literals),
        cmocka_unit_test(test_sets_and_conditions),
        cmocka_unit_test(test_numbers_that_stay),
        cmocka_unit_test(test_unchangedsince),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_search_without_a_map),
        cmocka_unit_test(test_fetch),
        cmocka_unit_test(test_no_modseqs),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_qresync_new),
        cmocka_unit_test(test_qresync_old),
        cmocka_unit_test(test_fetch_behind_vanished),
        cmocka_unit_test(test_fetch_behind_vanished_is_bounded),
        cmocka_unit_test(test_qresync_that_does_not_apply),
        cmocka_unit_test(test_vanished_since_before),
        cmocka_unit_test(test_handed_over),
        cmocka_unit_test(test_long_sets),
        cmocka_unit_test(test_long_vanished),
        cmocka_unit_test(test_found_from_behind),
        cmocka_unit_test(test_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
