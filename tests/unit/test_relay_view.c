/* A relay whose client sees other names and numbers than the backend has: "INBOX.Sent" is Sent, with
 * UIDVALIDITY 7 for 70, and its UIDs 10, 20, 30 and from 40 on are 1, 2, 3 and from 4 on. INBOX has a record
 * of its own. */
#include "proxy/preauth.h"
#include "relay_unit.h"

/* ---- helpers ---- */

static struct view *make_view(void)
{
    struct view *view = view_new(NULL);
    struct view_record sent = {.tier = VIEW_T2,
                               .source_uidvalidity = 7,
                               .target_uidvalidity = 70,
                               .source_uidnext = 40,
                               .target_uidnext = 4,
                               .highest_uidvalidity = 7};
    struct view_record inbox = {.tier = VIEW_T1,
                                .id = "b2",
                                .source_uidvalidity = 8,
                                .target_uidvalidity = 80,
                                .source_uidnext = 9,
                                .target_uidnext = 9,
                                .highest_uidvalidity = 8};
    struct view_record odd = {.tier = VIEW_T1,
                              .id = "c3",
                              .source_uidvalidity = 9,
                              .target_uidvalidity = 90,
                              .highest_uidvalidity = 9};
    for (uint32_t i = 1; i <= 3; i++)
        assert_true(view_uid_add(&sent.map, 10 * i, i));
    assert_true(view_uid_set_tail(&sent.map, 40, 4));
    assert_true(view_take(view, span_str(""), span_str("1 client=.,INBOX. backend=/, avoid=")));
    bench_record(view, sent, "INBOX.Sent", "Sent");
    bench_record(view, inbox, "INBOX", "INBOX");
    bench_record(view, odd, "INBOX.odd",
                 "\xc3\xb6"
                 "dd");
    view_uid_free(&sent.map);
    return view;
}

static int set_up(void **state)
{
    bench_set_up(state);
    struct bench *b = *state;
    n_steps = 0;
    b->view = make_view();
    b->rewrites = true;
    relay_set_view(&b->s, b->view, NULL);
    return 0;
}

static void select_sent(struct bench *b)
{
    bench_says(b, b->client, "s1 SELECT INBOX.Sent\r\n");
    bench_gets(b, b->server, "s1 SELECT Sent\r\n");
    bench_says(b, b->server,
               "* 4 EXISTS\r\n* OK [UIDVALIDITY 70] so\r\n* OK [UIDNEXT 5] so\r\ns1 OK [READ-WRITE] in\r\n");
    bench_gets(b, b->client,
               "* 4 EXISTS\r\n* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 41] Predicted next UID\r\n"
               "s1 OK [READ-WRITE] in\r\n");
}

/* ---- MODSEQs: those of before the flip are up to 1000, and those of the server are shown 1000 higher ---- */

static void show_modseqs(struct bench *b)
{
    struct view_record sent = {.tier = VIEW_T2,
                               .source_uidvalidity = 7,
                               .target_uidvalidity = 70,
                               .source_uidnext = 40,
                               .target_uidnext = 4,
                               .highest_uidvalidity = 7,
                               .modseqs = true,
                               .modseq_floor = 1000,
                               .modseq_shift = 1000};
    bench_shows(b, "CONDSTORE QRESYNC ENABLE ESEARCH IDLE LITERAL+");
    view_unref(&b->view);
    b->view = view_new(NULL);
    for (uint32_t i = 1; i <= 3; i++)
        assert_true(view_uid_add(&sent.map, 10 * i, i));
    assert_true(view_uid_set_tail(&sent.map, 40, 4));
    assert_true(view_take(b->view, span_str(""), span_str("1 client=.,INBOX. backend=/, avoid=")));
    bench_record(b->view, sent, "INBOX.Sent", "Sent");
    view_uid_free(&sent.map);
    relay_set_view(&b->s, b->view, NULL);
    bench_says(b, b->client, "e1 ENABLE QRESYNC\r\n");
    bench_gets(b, b->server, "e1 ENABLE QRESYNC\r\n");
    bench_says(b, b->server, "* ENABLED QRESYNC\r\ne1 OK done\r\n");
    bench_gets(b, b->client, "* ENABLED QRESYNC\r\ne1 OK done\r\n");
}

/* A client opens the mailbox with what it knew before the flip: message 20 is gone since, and we ask for
 * that. */
static void resync(struct bench *b, const char *behind)
{
    struct buf line = {0};
    show_modseqs(b);
    buf_printf(&line, "s1 SELECT INBOX.Sent (QRESYNC (7 900 10:39))\r\n%s", behind);
    bench_says(b, b->client, buf_str(&line));
    buf_free(&line);
    bench_gets(b, b->server, "s1 SELECT Sent (CONDSTORE)\r\n");
    bench_says(
        b, b->server,
        "* 3 EXISTS\r\n* OK [UIDVALIDITY 70] so\r\n* OK [UIDNEXT 5] so\r\n* OK [HIGHESTMODSEQ 50] so\r\n"
        "s1 OK [READ-WRITE] in\r\n");
    bench_gets(b, b->client,
               "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] UIDs valid\r\n* OK [UIDNEXT 41] Predicted next UID\r\n"
               "* OK [HIGHESTMODSEQ 1050] Highest\r\n");
    bench_gets_command(b, b->server, "UID SEARCH RETURN (ALL) UID 1:3");
}

static void resync_found(struct bench *b)
{
    bench_says(b, b->server, "* ESEARCH (TAG \"%T\") UID ALL 1,3\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* VANISHED (EARLIER) 11:29,31:39\r\n");
    bench_gets_command(b, b->server, "UID FETCH 1:3 (FLAGS MODSEQ)");
}

#define FETCHED "* 1 FETCH (UID 1 FLAGS () MODSEQ (7))\r\n* 2 FETCH (UID 3 FLAGS () MODSEQ (8))\r\n"
#define SHOWN   "* 1 FETCH (UID 10 FLAGS () MODSEQ (1007))\r\n* 2 FETCH (UID 30 FLAGS () MODSEQ (1008))\r\n"

static void test_a_client_of_before_the_flip(void **state)
{
    struct bench *b = *state;
    resync(b, "n1 NOOP\r\ns1 NOOP\r\n");
    bench_gets_nothing(b, b->server); /* the client's next commands wait */
    assert_false(relay_opened(&b->s)->selected);
    resync_found(b);
    assert_false(relay_is_quiet(&b->s) || relay_only_reads(&b->s));
    bench_says(b, b->server, FETCHED "%T OK done\r\n");
    bench_gets(b, b->client, SHOWN "s1 OK [READ-WRITE] in\r\n");
    assert_true(relay_opened(&b->s)->selected && relay_opened(&b->s)->condstore);
    assert_int_equal(relay_opened(&b->s)->exists, 3);
    bench_gets(b, b->server, "n1 NOOP\r\ns1 NOOP\r\n");
    bench_says(b, b->server, "* VANISHED 1\r\nn1 OK done\r\ns1 OK done\r\n");
    bench_gets(b, b->client, "* VANISHED 10\r\nn1 OK done\r\ns1 OK done\r\n");
    assert_int_equal(relay_opened(&b->s)->exists, 2);
}

/* A UID FETCH that asks what has vanished, behind a literal: it ended the session. */
static void test_vanished_behind_a_literal(void **state)
{
    struct bench *b = *state;
    resync(b, "");
    resync_found(b);
    bench_says(b, b->server, FETCHED "%T OK done\r\n");
    bench_gets(b, b->client, SHOWN "s1 OK [READ-WRITE] in\r\n");
    bench_says(b, b->client, "n1 NOOP\r\nf1 UID FETCH 10:39 (BODY.PEEK[HEADER.FIELDS ({4}\r\n");
    bench_gets(b, b->server, "n1 NOOP\r\n");
    bench_gets_nothing(b, b->client); /* until that is answered, since it is to be alone */
    bench_says(b, b->server, "n1 OK done\r\n");
    bench_gets(b, b->client, "n1 OK done\r\n+ OK\r\n");
    bench_says(b, b->client, "DATE {2+}\r\nX\")]) (CHANGEDSINCE 900 VANISHED)\r\nn2 NOOP\r\n");
    bench_gets(b, b->server, "f1 UID SEARCH RETURN (ALL) UID 1:3\r\n");
    bench_says(b, b->server, "* ESEARCH (TAG \"f1\") UID ALL 1,3\r\nf1 OK done\r\n");
    bench_gets(b, b->client, "* VANISHED (EARLIER) 11:29,31:39\r\n");
    bench_gets_command(b, b->server, "UID FETCH 1:3 (BODY.PEEK[HEADER.FIELDS (DATE \"X\\\"\")] MODSEQ)");
    bench_says(b, b->server,
               "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (DATE)] {2}\r\n\r\n MODSEQ (7))\r\n%T OK done\r\n");
    bench_gets(b, b->client,
               "* 1 FETCH (UID 10 BODY[HEADER.FIELDS (DATE)] {2}\r\n\r\n MODSEQ (1007))\r\nf1 OK done\r\n");
    bench_gets(b, b->server, "n2 NOOP\r\n");
}

/* What can't be in a line, or would be too long: nothing of it is at the server. */
static void test_a_name_that_no_field_has(void **state)
{
    struct bench *b = *state;
    resync(b, "");
    resync_found(b);
    bench_says(b, b->server, FETCHED "%T OK done\r\n");
    bench_gets(b, b->client, SHOWN "s1 OK [READ-WRITE] in\r\n");
    bench_says(b, b->client, "f1 FETCH 1 BODY[HEADER.FIELDS ({1+}\r\n\r)] (CHANGEDSINCE 900)\r\n");
    bench_gets(b, b->client, "f1 BAD No header field can have this name\r\n");
    bench_says(b, b->client, "f2 FETCH 1 BODY[HEADER.FIELDS ({70000}\r\n");
    bench_gets(b, b->client, "f2 BAD Too long\r\n");
    bench_says(b, b->client, "f3 FETCH 1 BODY[HEADER.FIELDS ({1}\r\n");
    bench_gets(b, b->client, "+ OK\r\n");
    bench_says(b, b->client, "X)] (XYZ)\r\nn1 NOOP\r\n");
    bench_gets(b, b->client, "f3 BAD Unknown FETCH item\r\n");
    bench_gets(b, b->server, "n1 NOOP\r\n");
}

/* An ID is not held up, though it has the tag of the SELECT that is not answered yet. */
static void test_an_id_while_we_ask(void **state)
{
    struct bench *b = *state;
    resync(b, "");
    id_is_heard = true;
    bench_says(b, b->client, "s1 ID NIL\r\n");
    bench_gets(b, b->server, "s1 ID NIL\r\n");
    bench_says(b, b->server, "s1 OK that was it\r\n");
    bench_gets(b, b->client, "s1 OK that was it\r\n");
    id_is_heard = false;
    resync_found(b);
    bench_says(b, b->server, FETCHED "%T OK done\r\n");
    bench_gets(b, b->client, SHOWN "s1 OK [READ-WRITE] in\r\n");
}

/* Our tags never get to the client, in pieces either. */
static void test_what_we_ask_in_pieces(void **state)
{
    struct bench *b = *state;
    struct buf answer = {0};
    resync(b, "");
    resync_found(b);
    buf_printf(&answer, FETCHED "%s OK done\r\n", b->tag);
    for (size_t i = 0; i < answer.len; i++) {
        bench_says(b, b->server, (char[]){buf_str(&answer)[i], '\0'});
        bench_settle(b);
    }
    bench_gets(b, b->client, SHOWN "s1 OK [READ-WRITE] in\r\n");
    buf_free(&answer);
}

static void test_what_we_ask_is_refused(void **state)
{
    struct bench *b = *state;
    resync(b, "n1 NOOP\r\n");
    bench_says(b, b->server, "%T NO busy\r\n");
    char c = 0;
    bench_gets(b, b->client, "s1 NO [UNAVAILABLE] ");
    while (c != '\n' && bench_byte(b, b->client, &c))
        ; /* its text */
    assert_false(relay_opened(&b->s)->selected);
    bench_gets(b, b->server, "n1 NOOP\r\n");
}

/* The freeze comes in the midst: what we ask for ends first. */
static void test_a_freeze_while_we_ask(void **state)
{
    struct bench *b = *state;
    resync(b, "n1 NOOP\r\n");
    relay_rest(&b->s, END_FREEZE);
    assert_false(relay_is_quiet(&b->s) || relay_only_reads(&b->s));
    resync_found(b);
    bench_says(b, b->server, FETCHED "%T OK done\r\n");
    bench_gets(b, b->client, SHOWN "s1 OK [READ-WRITE] in\r\n");
    assert_true(relay_is_quiet(&b->s));
    bench_gets_nothing(b, b->server); /* the client's waits until the end of the freeze */
    relay_rest(&b->s, END_NONE);
    bench_gets(b, b->server, "n1 NOOP\r\n");
}

/* ... and so does a lease that lapses. */
static void test_a_lapse_while_we_ask(void **state)
{
    struct bench *b = *state;
    resync(b, "");
    b->may_pass = false;
    bench_says(b, b->server, "* ESEARCH (TAG \"%T\") UID ALL 1,3\r\n%T OK done\r\n");
    bench_gets_nothing(b, b->client);
    bench_gets_nothing(b, b->server);
    b->may_pass = true;
    stream_again(b->s.backend);
    relay_flow(&b->s);
    bench_gets(b, b->client, "* VANISHED (EARLIER) 11:29,31:39\r\n");
    bench_gets_command(b, b->server, "UID FETCH 1:3 (FLAGS MODSEQ)");
}

static void test_a_server_that_does_not_answer_us(void **state)
{
    struct bench *b = *state;
    b->conf.proxy.backend_timeout_ms = 200;
    resync(b, "");
    bench_ends(b, END_VIEW);
    assert_non_null(strstr(b->detail, "does not answer"));
}

/* How much of it the relay takes, until the client has taken this many bytes. */
static size_t pour(struct bench *b, const struct buf *much, size_t sent, size_t taken, uint64_t ms)
{
    char room[64 * 1024];
    uint64_t end = clock_boot_ms() + ms;
    for (size_t got = 0; got < taken && !b->ended && clock_boot_ms() < end;) {
        ssize_t n = sent < much->len ? send(b->server, much->mem + much->off + sent, much->len - sent,
                                            MSG_NOSIGNAL | MSG_DONTWAIT)
                                     : 0;
        sent += n > 0 ? (size_t)n : 0;
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
        n = taken < SIZE_MAX ? recv(b->client, room, sizeof room, MSG_DONTWAIT) : 0;
        got += n > 0 ? (size_t)n : 0;
    }
    return sent;
}

/* What comes, comes in its own time: as long as something does, and while the client does not take it. */
static void test_a_client_that_does_not_read(void **state)
{
    struct bench *b = *state;
    struct buf much = {0};
    enum { LINES = 500000 };
    b->conf.proxy.backend_timeout_ms = 1000; /* a busy machine may stop this process for a while */
    resync(b, "");
    resync_found(b);
    for (int i = 0; i < LINES; i++)
        buf_add_str(&much, "* 1 FETCH (UID 1 FLAGS () MODSEQ (7))\r\n");
    size_t sent = pour(b, &much, 0, SIZE_MAX, 2500); /* much longer than it waits for a server */
    assert_true(sent < much.len);
    assert_false(b->ended);
    sent = pour(b, &much, sent, strlen("* 1 FETCH (UID 10 FLAGS () MODSEQ (1007))\r\n") * LINES, 60 * 1000);
    assert_int_equal(sent, much.len);
    bench_says(b, b->server, "%T OK done\r\n");
    bench_gets(b, b->client, "s1 OK [READ-WRITE] in\r\n");
    buf_free(&much);
}

static void test_the_client_goes_while_we_ask(void **state)
{
    struct bench *b = *state;
    resync(b, "");
    shutdown(b->client, SHUT_WR);
    resync_found(b);
    bench_says(b, b->server, FETCHED "%T OK done\r\n");
    bench_ends(b, END_CLIENT_GONE);
}

static void test_the_server_goes_while_we_ask(void **state)
{
    struct bench *b = *state;
    resync(b, "");
    shutdown(b->server, SHUT_RDWR);
    bench_ends(b, END_BACKEND_GONE);
}

/* The mailbox is another one now, which the store has to know first; what the client knows is of no use
 * then. */
static void test_a_mailbox_made_anew_is_not_asked_for(void **state)
{
    struct bench *b = *state;
    show_modseqs(b);
    bench_says(b, b->client, "s1 SELECT INBOX.Sent (QRESYNC (7 900 10:39))\r\n");
    bench_gets(b, b->server, "s1 SELECT Sent (CONDSTORE)\r\n");
    bench_says(b, b->server,
               "* 3 EXISTS\r\n* OK [UIDVALIDITY 71] so\r\n* OK [UIDNEXT 5] so\r\n"
               "* OK [HIGHESTMODSEQ 50] so\r\ns1 OK [READ-WRITE] in\r\n");
    bench_gets(b, b->client, "* 3 EXISTS\r\n");
    bench_settle(b);
    assert_int_equal(b->n_changes, 1);
    bench_changed(b, ROUTE_OK);
    bench_gets(b, b->client,
               "* OK [UIDVALIDITY 71] UIDs valid\r\n* OK [UIDNEXT 5] Predicted next UID\r\n"
               "* OK [HIGHESTMODSEQ 50] Highest\r\ns1 OK [READ-WRITE] in\r\n");
    bench_gets_nothing(b, b->server);
}

/* Without ENABLE it is refused, and nothing of it goes on. */
static void test_qresync_that_is_not_enabled(void **state)
{
    struct bench *b = *state;
    bench_shows(b, "CONDSTORE QRESYNC ENABLE");
    relay_set_view(&b->s, b->view, NULL);
    bench_says(b, b->client, "s1 SELECT INBOX.Sent (QRESYNC (7 900 10:39))\r\ns2 NOOP\r\n");
    bench_gets(b, b->client, "s1 BAD ");
    bench_gets(b, b->server, "s2 NOOP\r\n");
}

/* ---- tests ---- */

static void test_a_mailbox_is_opened(void **state)
{
    struct bench *b = *state;
    select_sent(b);
    const struct opened *o = relay_opened(&b->s);
    assert_true(o->selected);
    unit_same(buf_span(&o->mailbox), "INBOX.Sent");
    assert_int_equal(o->uidvalidity, 7);
    assert_int_equal(o->exists, 4);
    const struct view_uid *map;
    assert_ptr_equal(relay_view(&b->s, &map), b->view);
    assert_int_equal(map->tail_client, 40);
    assert_true(relay_is_quiet(&b->s));
}

static void test_uids_both_ways(void **state)
{
    struct bench *b = *state;
    select_sent(b);
    static const char commands[] = "a1 UID FETCH 10:30,41 (FLAGS)\r\na2 FETCH 1 (UID)\r\n";
    for (const char *p = commands; *p; p++)
        bench_says(b, b->client, (char[]){*p, '\0'});
    bench_gets(b, b->server, "a1 UID FETCH 1:3,5 (FLAGS)\r\na2 FETCH 1 (UID)\r\n");
    static const char answer[] =
        "* 1 FETCH (FLAGS () UID 1)\r\n* 2 FETCH (BODY[] {4}\r\nUID  UID 2)\r\na1 OK done\r\n";
    for (const char *p = answer; *p; p++) {
        bench_says(b, b->server, (char[]){*p, '\0'});
        bench_settle(b);
    }
    bench_gets(b, b->client,
               "* 1 FETCH (FLAGS () UID 10)\r\n* 2 FETCH (BODY[] {4}\r\nUID  UID 20)\r\na1 OK done\r\n");
}

static void test_a_set_of_no_message(void **state)
{
    struct bench *b = *state;
    select_sent(b);
    bench_says(b, b->client, "a1 UID FETCH 11:19 (FLAGS)\r\na2 UID COPY 12 INBOX.Sent\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\na2 NOOP\r\n");
    bench_says(b, b->server, "* 5 EXISTS\r\na1 OK did nothing\r\na2 OK did nothing\r\n");
    bench_gets(b, b->client, "* 5 EXISTS\r\na1 OK No such messages\r\na2 OK No such messages\r\n");
}

/* A name as a literal is asked for, and goes on in one line. */
static void test_names_in_literals(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 SELECT {10}\r\n");
    bench_gets(b, b->client, "+ OK\r\n");
    bench_gets_nothing(b, b->server);
    bench_says(b, b->client, "INBOX.Sent\r\n");
    bench_gets(b, b->server, "a1 SELECT Sent\r\n");
    bench_says(b, b->server, "* OK [UIDVALIDITY 70] so\r\na1 OK in\r\n");
    bench_gets(b, b->client, "* OK [UIDVALIDITY 7] UIDs valid\r\na1 OK in\r\n");
    unit_same(buf_span(&relay_opened(&b->s)->mailbox), "INBOX.Sent");
    bench_says(b, b->client, "a2 STATUS {10+}\r\nINBOX.Sent (MESSAGES)\r\na3 CREATE {9+}\r\nINBOX.a.b\r\n");
    bench_gets(b, b->server, "a2 STATUS Sent (MESSAGES)\r\na3 CREATE a/b\r\n");
}

/* Where the backend's name is a literal, each piece waits for its "+", and nothing else goes on meanwhile. */
static void test_a_literal_of_ours(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 SELECT INBOX.odd\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a1 SELECT {4}\r\n");
    bench_gets_nothing(b, b->server);
    assert_false(relay_only_reads(&b->s));
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->server,
               "\xc3\xb6"
               "dd\r\n");
    bench_says(b, b->server, "* OK [UIDVALIDITY 90] so\r\na1 OK in\r\n");
    bench_gets(b, b->client, "* OK [UIDVALIDITY 9] UIDs valid\r\na1 OK in\r\n");
    bench_gets(b, b->server, "a2 NOOP\r\n");
    bench_says(b, b->server, "a2 OK\r\n");
    bench_gets(b, b->client, "a2 OK\r\n");
    bench_says(b, b->client, "a3 SELECT INBOX.odd\r\n");
    bench_gets(b, b->server, "a3 SELECT {4}\r\n");
    bench_says(b, b->server, "a3 NO not now\r\n"); /* instead of the "+" */
    bench_gets(b, b->client, "a3 NO not now\r\n");
    bench_says(b, b->client, "a4 NOOP\r\n");
    bench_gets(b, b->server, "a4 NOOP\r\n");
    assert_false(b->ended);
}

static void test_append(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 APPEND \"INBOX.Sent\" (\\Seen) {3+}\r\nabc\r\n");
    bench_gets(b, b->server, "a1 APPEND Sent (\\Seen) {3}\r\n");
    bench_gets_nothing(b, b->server);
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->server, "abc\r\n");
    bench_gets_nothing(b, b->client);
    bench_says(b, b->server, "a1 OK [APPENDUID 70 4] done\r\n");
    bench_gets(b, b->client, "a1 OK [APPENDUID 7 40] done\r\n");
    /* Name, and body, as literals that are waited for. */
    bench_says(b, b->client, "a2 APPEND {10}\r\n");
    bench_gets(b, b->client, "+ OK\r\n");
    bench_says(b, b->client, "INBOX.Sent {3}\r\n");
    bench_gets(b, b->server, "a2 APPEND Sent {3}\r\n");
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->client, "+ go\r\n");
    bench_says(b, b->client, "xyz\r\n");
    bench_gets(b, b->server, "xyz\r\n");
    bench_says(b, b->server, "a2 OK done\r\n");
    bench_gets(b, b->client, "a2 OK done\r\n");
    /* The backend's own name is a literal too; it refuses the body. */
    bench_says(b, b->client, "a3 APPEND INBOX.odd {3+}\r\nabc\r\na4 NOOP\r\n");
    bench_gets(b, b->server, "a3 APPEND {4}\r\n");
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->server,
               "\xc3\xb6"
               "dd {3}\r\n");
    bench_says(b, b->server, "a3 NO [OVERQUOTA] full\r\n");
    bench_gets(b, b->client, "a3 NO [OVERQUOTA] full\r\n");
    bench_gets(b, b->server, "a4 NOOP\r\n");
    bench_says(b, b->server, "a4 OK\r\n");
    bench_gets(b, b->client, "a4 OK\r\n");
    bench_says(b, b->client, "a5 APPEND INBOX.odd {3+}\r\nabc\r\na6 NOOP\r\n");
    bench_gets(b, b->server, "a5 APPEND {4}\r\n");
    bench_says(b, b->server, "a5 NO no such mailbox\r\n"); /* it does not even take the name */
    bench_gets(b, b->client, "a5 NO no such mailbox\r\n");
    bench_gets(b, b->server, "a6 NOOP\r\n");
    bench_says(b, b->server, "a6 OK\r\n");
    bench_gets(b, b->client, "a6 OK\r\n");
    bench_says(b, b->client, "a7 APPEND INBOX.odd {3}\r\n");
    bench_gets(b, b->server, "a7 APPEND {4}\r\n");
    bench_says(b, b->server, "a7 NO no such mailbox\r\n");
    bench_gets(b, b->client, "a7 NO no such mailbox\r\n");
    bench_says(b, b->client, "a8 NOOP\r\n");
    bench_gets(b, b->server, "a8 NOOP\r\n");
}

/* Two answers that can't be told apart are never under way together; nothing behind them goes first. */
static void test_what_is_ambiguous_waits(void **state)
{
    struct bench *b = *state;
    select_sent(b);
    bench_says(
        b, b->client,
        "a1 UID SEARCH ALL\r\na2 SEARCH ALL\r\na3 NOOP\r\na4 SELECT INBOX\r\na5 UID FETCH 1 (UID)\r\n");
    bench_gets(b, b->server, "a1 UID SEARCH ALL\r\n");
    bench_gets_nothing(b, b->server);
    bench_says(b, b->server, "* SEARCH 1 2 4\r\na1 OK done\r\n");
    bench_gets(b, b->client, "* SEARCH 10 20 40\r\na1 OK done\r\n");
    bench_gets(b, b->server, "a2 SEARCH ALL\r\na3 NOOP\r\n");
    bench_says(b, b->server, "* SEARCH 1 2 4\r\na2 OK done\r\n");
    bench_gets(b, b->client, "* SEARCH 1 2 4\r\na2 OK done\r\n");
    bench_gets_nothing(b, b->server);
    bench_says(b, b->server, "a3 OK done\r\n");
    bench_gets(b, b->client, "a3 OK done\r\n");
    bench_gets(b, b->server, "a4 SELECT INBOX\r\n");
    bench_says(b, b->server, "* OK [UIDVALIDITY 80] so\r\na4 OK in\r\n");
    bench_gets(b, b->client, "* OK [UIDVALIDITY 8] UIDs valid\r\na4 OK in\r\n");
    bench_gets(b, b->server, "a5 UID FETCH 1 (UID)\r\n"); /* by the numbers of the mailbox that is open now */
    bench_says(b, b->server, "* 1 FETCH (UID 1)\r\na5 OK done\r\n");
    bench_gets(b, b->client, "* 1 FETCH (UID 1)\r\na5 OK done\r\n");
}

/* A command that waits is not under way: a freeze does not wait for it, and it goes on behind the thaw. */
static void test_a_command_waits_over_a_freeze(void **state)
{
    struct bench *b = *state;
    select_sent(b);
    bench_says(b, b->client, "a1 UID SEARCH ALL\r\na2 SEARCH SUBJECT {1}\r\n");
    bench_gets(b, b->server, "a1 UID SEARCH ALL\r\n");
    relay_rest(&b->s, END_FREEZE);
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    bench_gets_nothing(b, b->server);
    assert_true(relay_is_quiet(&b->s));
    assert_true(n_steps > 0);
    relay_rest(&b->s, END_NONE);
    bench_gets(b, b->server, "a2 SEARCH SUBJECT {1}\r\n");
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->client, "+ go\r\n");
    bench_says(b, b->client, "x\r\n");
    bench_gets(b, b->server, "x\r\n");
}

/* The same where it goes on at another server, at which names are other ones. */
static void test_a_command_waits_over_a_move(void **state)
{
    struct bench *b = *state;
    struct relay_gone gone = {0};
    select_sent(b);
    bench_says(b, b->client,
               "a1 UID SEARCH ALL\r\na2 STATUS INBOX.Sent (MESSAGES)\r\na3 SELECT INBOX.Sent\r\n");
    bench_gets(b, b->server, "a1 UID SEARCH ALL\r\na2 STATUS Sent (MESSAGES)\r\n");
    bench_says(b, b->server, "a1 OK\r\na2 OK\r\n");
    relay_rest(&b->s, END_FREEZE);
    bench_gets(b, b->client, "a1 OK\r\na2 OK\r\n");
    relay_set_view(&b->s, NULL, NULL);
    relay_attach(&b->s, bench_connect(b, &b->next), &b->backends[1], span_of(NULL, 0), &gone, 4);
    bench_gets(b, b->next, "a3 SELECT INBOX.Sent\r\n");
}

/* ---- the store ---- */

static void opens_another(struct bench *b)
{
    bench_says(b, b->client, "a1 SELECT INBOX.Sent\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a1 SELECT Sent\r\n");
    bench_says(b, b->server,
               "* 4 EXISTS\r\n* OK [UIDVALIDITY 71] so\r\na1 OK [READ-WRITE] in\r\n* 5 EXISTS\r\n");
    bench_gets(b, b->client, "* 4 EXISTS\r\n");
    bench_gets_nothing(b, b->client);
    assert_int_equal(b->n_changes, 1);
    assert_int_equal(b->changes.n, 1);
    assert_string_equal(b->changes.items[0].field, "INBOX.Sent");
}

/* The mailbox is another one: first the store has to know by which UIDVALIDITY it is shown from now on. */
static void test_a_mailbox_made_anew(void **state)
{
    struct bench *b = *state;
    opens_another(b);
    bench_gets_nothing(b, b->server);
    bench_changed(b, ROUTE_OK);
    bench_gets(b, b->client, "* OK [UIDVALIDITY 71] UIDs valid\r\na1 OK [READ-WRITE] in\r\n* 5 EXISTS\r\n");
    bench_gets(b, b->server, "a2 NOOP\r\n");
    assert_int_equal(relay_opened(&b->s)->uidvalidity, 71);
}

static void test_nothing_passes_without_a_lease(void **state)
{
    struct bench *b = *state;
    opens_another(b);
    b->may_pass = false;
    bench_changed(b, ROUTE_OK);
    bench_gets_nothing(b, b->client);
    b->may_pass = true;
    relay_settle(&b->s);
    bench_gets(b, b->client, "* OK [UIDVALIDITY 71] UIDs valid\r\na1 OK [READ-WRITE] in\r\n* 5 EXISTS\r\n");
}

/* The client is told NO, and has no mailbox open, whatever the server has. */
static void test_the_store_refuses(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        b->conf.proxy.store_timeout_ms = i == 2 ? 20 : 60000;
        opens_another(b);
        if (i < 2)
            bench_changed(b, i == 0 ? ROUTE_DOWN : ROUTE_REFUSED);
        bench_gets(
            b, b->client,
            "a1 NO [UNAVAILABLE] The mailbox can't be shown at the moment, please try again later\r\n");
        bench_gets(b, b->server, "a2 NOOP\r\n");
        assert_false(relay_opened(&b->s)->selected);
        bench_says(b, b->server, "* 6 EXISTS\r\na2 OK\r\n");
        bench_gets(b, b->client, "a2 OK\r\n");
        bench_says(b, b->client, "a3 UID FETCH 1:* FLAGS\r\n");
        bench_gets(b, b->client, "a3 BAD No mailbox selected\r\n");
        bench_says(b, b->client, "a4 SELECT INBOX\r\n");
        bench_gets(b, b->server, "a4 SELECT INBOX\r\n");
        bench_says(b, b->server, "* OK [UIDVALIDITY 80] so\r\na4 OK in\r\n");
        bench_gets(b, b->client, "* OK [UIDVALIDITY 8] UIDs valid\r\na4 OK in\r\n");
        bench_tear_down(&own);
    }
}

/* No number of a mailbox that is another one now is told before the store knows which. */
static void test_status_of_a_mailbox_made_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        bench_says(b, b->client, "a1 STATUS INBOX.Sent (UIDVALIDITY)\r\na2 NOOP\r\n");
        bench_gets(b, b->server, "a1 STATUS Sent (UIDVALIDITY)\r\na2 NOOP\r\n");
        bench_says(b, b->server, "* STATUS Sent (UIDVALIDITY 71)\r\na1 OK done\r\na2 OK\r\n");
        bench_gets_nothing(b, b->client);
        bench_changed(b, i == 0 ? ROUTE_OK : ROUTE_REFUSED);
        bench_gets(b, b->client,
                   i == 0 ? "* STATUS INBOX.Sent (UIDVALIDITY 71)\r\na1 OK done\r\na2 OK\r\n"
                          : "a1 NO [UNAVAILABLE] The mailbox can't be shown at the moment, please try again "
                            "later\r\na2 OK\r\n");
        bench_tear_down(&own);
    }
}

/* Another session was faster: its records are read, and the answer is looked at once more. */
static void test_the_store_has_changed(void **state)
{
    struct bench *b = *state;
    opens_another(b);
    bench_changed(b, ROUTE_AGAIN);
    bench_gets_nothing(b, b->client);
    struct view_changes changes = {0};
    assert_true(view_void(b->view, span_str("INBOX.Sent"), 71, &changes));
    struct view *now = view_apply(b->view, &changes);
    view_changes_free(&changes);
    view_unref(&b->view);
    b->view = now;
    relay_view_is(&b->s);
    bench_gets(b, b->client, "* OK [UIDVALIDITY 71] UIDs valid\r\na1 OK [READ-WRITE] in\r\n* 5 EXISTS\r\n");
    assert_int_equal(b->n_changes, 1);
}

static void test_the_store_changes_all_the_time(void **state)
{
    struct bench *b = *state;
    opens_another(b);
    for (unsigned i = 0; i < 2; i++) {
        bench_changed(b, ROUTE_AGAIN);
        relay_view_is(&b->s);
        assert_int_equal(b->n_changes, i + 2);
    }
    bench_changed(b, ROUTE_AGAIN);
    bench_gets(b, b->client,
               "a1 NO [UNAVAILABLE] The mailbox can't be shown at the moment, please try again later\r\n");
}

/* The store has made the changes, but by now the account's view is none. */
static void test_the_view_is_gone(void **state)
{
    struct bench *b = *state;
    opens_another(b);
    struct view *view = b->view;
    b->view = NULL;
    b->change_fn(b->change_owner, ROUTE_OK, "1=:ab");
    bench_ends(b, END_VIEW_STORE);
    b->view = view;
}

/* Another proxy has renamed the mailbox away, and another one of the same UIDVALIDITY onto its name. */
static void test_the_view_is_older_than_the_mailbox(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        b->asks = true;
        bench_says(b, b->client, "a1 SELECT INBOX.Sent\r\na2 NOOP\r\n");
        bench_gets(b, b->server, "a1 SELECT Sent\r\n");
        bench_says(b, b->server, "* OK [UIDVALIDITY 70] so\r\na1 OK in\r\n");
        bench_gets_nothing(b, b->client);
        bench_gets_nothing(b, b->server);
        if (i == 0) { /* it was read meanwhile */
            b->views = VIEWS_READING;
            bench_told(b, ROUTE_OK);
            bench_gets_nothing(b, b->client);
            struct view_changes changes = {0};
            view_delete_begin(b->view, span_str("INBOX.Sent"), &(struct view_unknown){0}, &changes);
            struct view *now = view_apply(b->view, &changes);
            view_changes_free(&changes);
            view_unref(&b->view);
            b->view = now;
            b->views = VIEWS_READ;
            relay_view_is(&b->s);
            bench_settle(b);
            bench_changed(b, ROUTE_OK);
            bench_gets(b, b->client, "* OK [UIDVALIDITY 70] UIDs valid\r\na1 OK in\r\n");
        } else { /* it is the same; or the store does not say */
            if (i < 3)
                bench_told(b, i == 1 ? ROUTE_OK : ROUTE_DOWN);
            bench_gets(b, b->client, "* OK [UIDVALIDITY 7] UIDs valid\r\na1 OK in\r\n");
        }
        bench_gets(b, b->server, "a2 NOOP\r\n");
        bench_tear_down(&own);
    }
}

static void rename_begins(struct bench *b)
{
    bench_says(b, b->client, "a1 RENAME INBOX.Sent {8+}\r\nINBOX.No\r\na2 NOOP\r\n");
    bench_gets_nothing(b, b->server);
    assert_int_equal(b->n_changes, 1);
    assert_false(relay_only_reads(&b->s));
    assert_false(relay_is_quiet(&b->s));
}

static void test_rename(void **state)
{
    struct bench *b = *state;
    rename_begins(b);
    bench_changed(b, ROUTE_OK);
    bench_gets_nothing(b, b->server);
    bench_told(b, ROUTE_OK); /* the replicas have it */
    bench_gets(b, b->server, "a1 RENAME Sent No\r\n");
    bench_gets_nothing(b, b->server); /* names change: what follows waits */
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets_nothing(b, b->client);
    assert_int_equal(b->n_changes, 2);
    bench_changed(b, ROUTE_OK);
    bench_gets(b, b->client, "a1 OK done\r\n");
    bench_gets(b, b->server, "a2 NOOP\r\n");
    bench_says(b, b->server, "a2 OK\r\n");
    bench_gets(b, b->client, "a2 OK\r\n");
    bench_says(b, b->client, "a3 SELECT INBOX.No\r\n");
    bench_gets(b, b->server, "a3 SELECT No\r\n");
    bench_says(b, b->server, "* OK [UIDVALIDITY 70] so\r\na3 OK in\r\n");
    bench_gets(b, b->client, "* OK [UIDVALIDITY 7] UIDs valid\r\na3 OK in\r\n");
}

/* Nothing has happened, so the client may try again. */
static void test_a_rename_that_the_store_refuses(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        b->conf.proxy.store_timeout_ms = i == 2 ? 20 : 60000;
        rename_begins(b);
        if (i < 2)
            bench_changed(b, i == 0 ? ROUTE_DOWN : ROUTE_WAIT);
        bench_gets(
            b, b->client,
            "a1 NO [UNAVAILABLE] Mailboxes can't be renamed at the moment, please try again later\r\n");
        bench_gets(b, b->server, "a2 NOOP\r\n");
        assert_false(b->ended);
        bench_tear_down(&own);
    }
}

/* A failover of Redis would lose its records: it is not sent. */
static void test_a_rename_that_no_replica_has(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        b->is_late = late;
        rename_begins(b);
        bench_changed(b, ROUTE_OK);
        if (!late)
            bench_told(b, ROUTE_DOWN);
        bench_gets(
            b, b->client,
            "a1 NO [UNAVAILABLE] Mailboxes can't be renamed at the moment, please try again later\r\n");
        bench_gets(b, b->server, "a2 NOOP\r\n");
        bench_says(b, b->server, "a2 OK\r\n");
        bench_gets(b, b->client, "a2 OK\r\n");
        bench_says(b, b->client, "a3 DELETE INBOX.Sent\r\n"); /* its record is not needed that much */
        bench_settle(b);
        bench_changed(b, ROUTE_OK);
        bench_gets(b, b->server, "a3 DELETE Sent\r\n");
        assert_int_equal(b->n_keeps, 1);
        assert_false(b->ended);
        bench_tear_down(&own);
    }
}

static void test_a_rename_by_other_records(void **state)
{
    struct bench *b = *state;
    rename_begins(b);
    bench_changed(b, ROUTE_AGAIN);
    bench_gets_nothing(b, b->server);
    relay_view_is(&b->s);
    assert_int_equal(b->n_changes, 2);
    b->may_pass = false;
    bench_changed(b, ROUTE_OK);
    bench_told(b, ROUTE_OK);
    bench_gets_nothing(b, b->server);
    b->may_pass = true;
    relay_settle(&b->s);
    bench_gets(b, b->server, "a1 RENAME Sent No\r\n");
}

static void test_a_rename_that_fails(void **state)
{
    struct bench *b = *state;
    rename_begins(b);
    bench_changed(b, ROUTE_OK);
    bench_gets_nothing(b, b->server);
    bench_told(b, ROUTE_OK); /* the replicas have it */
    bench_gets(b, b->server, "a1 RENAME Sent No\r\n");
    bench_says(b, b->server, "a1 NO [ALREADYEXISTS] there\r\n");
    bench_settle(b);
    assert_int_equal(b->n_changes, 2);
    bench_changed(b, ROUTE_OK);
    bench_gets(b, b->client, "a1 NO [ALREADYEXISTS] there\r\n");
    assert_null(view_record_of(b->view, span_str("INBOX.No")));
    assert_non_null(view_record_of(b->view, span_str("INBOX.Sent")));
}

static void delete_begins(struct bench *b)
{
    bench_says(b, b->client, "a1 DELETE INBOX.Sent\r\na2 NOOP\r\n");
    bench_gets_nothing(b, b->server);
    assert_int_equal(b->n_changes, 1);
    assert_false(relay_only_reads(&b->s));
}

/* A server that gives the mailbox made anew the old UIDVALIDITY, and as many messages as the old one had: clients know
 * none of them. */
static void test_delete(void **state)
{
    struct bench *b = *state;
    delete_begins(b);
    bench_changed(b, ROUTE_OK);
    bench_gets(b, b->server, "a1 DELETE Sent\r\n");
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets_nothing(b, b->client);
    assert_int_equal(b->n_changes, 2);
    bench_changed(b, ROUTE_OK);
    bench_gets(b, b->client, "a1 OK done\r\n");
    bench_gets(b, b->server, "a2 NOOP\r\n");
    bench_says(b, b->server, "a2 OK\r\n");
    bench_gets(b, b->client, "a2 OK\r\n");
    bench_says(b, b->client, "a3 SELECT INBOX.Sent\r\n");
    bench_gets(b, b->server, "a3 SELECT Sent\r\n");
    bench_says(b, b->server, "* OK [UIDVALIDITY 70] so\r\n* OK [UIDNEXT 9] so\r\na3 OK in\r\n");
    bench_settle(b);
    assert_int_equal(b->n_changes, 3);
    bench_changed(b, ROUTE_OK);
    bench_gets(b, b->client,
               "* OK [UIDVALIDITY 70] UIDs valid\r\n* OK [UIDNEXT 9] Predicted next UID\r\na3 OK in\r\n");
}

static void test_a_delete_that_fails(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        delete_begins(b);
        bench_changed(b, ROUTE_OK);
        bench_gets(b, b->server, "a1 DELETE Sent\r\n");
        bench_says(b, b->server, i == 1 ? "a1 NO [NONEXISTENT] no\r\n" : "a1 NO [NOPERM] no\r\n");
        bench_settle(b);
        bench_changed(b,
                      i == 2 ? ROUTE_DOWN : ROUTE_OK); /* the store may refuse: clients learn it anew then */
        bench_gets(b, b->client, i == 1 ? "a1 NO [NONEXISTENT] no\r\n" : "a1 NO [NOPERM] no\r\n");
        const struct view_record *r = view_record_of(b->view, span_str("INBOX.Sent"));
        assert_non_null(r);
        assert_int_equal(r->target_uidvalidity, i == 0 ? 70 : 0);
        assert_int_equal(r->highest_uidvalidity, 7);
        assert_false(b->ended);
        bench_tear_down(&own);
    }
}

static void test_a_delete_that_the_store_refuses(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        b->conf.proxy.store_timeout_ms = i == 3 ? 20 : 60000;
        delete_begins(b);
        if (i < 3)
            bench_changed(b, i == 0 ? ROUTE_DOWN : i == 1 ? ROUTE_WAIT : ROUTE_REFUSED);
        if (i == 2) { /* the account is being moved once more */
            bench_gets(b, b->server, "a1 DELETE Sent\r\n");
            bench_says(b, b->server, "a1 OK done\r\n");
            bench_gets(b, b->client, "a1 OK done\r\n");
            assert_int_equal(b->n_changes, 1);
        } else {
            bench_gets(
                b, b->client,
                "a1 NO [UNAVAILABLE] Mailboxes can't be deleted at the moment, please try again later\r\n");
        }
        bench_gets(b, b->server, "a2 NOOP\r\n");
        assert_false(b->ended);
        bench_tear_down(&own);
    }
}

/* A mailbox that a client has made behind the flip: its name keeps the UIDVALIDITY that it may have been shown by. Where
 * that can't be kept since the account is being moved once more, it goes as well. */
static void test_a_mailbox_without_a_record_goes(void **state)
{
    static const char *const commands[][2] = {
        {"a1 DELETE INBOX.new\r\n", "a1 DELETE new\r\n"},
        {"a1 RENAME INBOX.new INBOX.x\r\n", "a1 RENAME new x\r\n"},
    };
    (void)state;
    for (int i = 0; i < 6; i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        uint32_t now = (uint32_t)(clock_wall_ms() / 1000);
        bench_says(b, b->client, commands[i % 2][0]);
        bench_gets_nothing(b, b->server);
        assert_int_equal(b->n_changes, 1);
        bench_changed(b, i < 2 ? ROUTE_OK : i < 4 ? ROUTE_REFUSED : ROUTE_DOWN);
        if (i < 4) {
            bench_gets(b, b->server, commands[i % 2][1]);
            bench_says(b, b->server, "a1 OK done\r\n");
            bench_settle(b);
            if (i == 0) /* has anybody recorded it meanwhile? */
                bench_changed(b, ROUTE_OK);
            bench_gets(b, b->client, "a1 OK done\r\n");
        } else {
            bench_gets(b, b->client, "a1 NO [UNAVAILABLE] ");
        }
        const struct view_record *r = view_record_of(b->view, span_str("INBOX.new"));
        assert_int_equal(r != NULL, i < 2);
        assert_true(!r || (r->highest_uidvalidity >= now && r->target_uidvalidity == 0));
        assert_false(b->ended);
        bench_tear_down(&own);
    }
}

/* ---- older records than the route speaks of ---- */

static void test_the_view_is_being_read(void **state)
{
    struct bench *b = *state;
    b->views = VIEWS_READING;
    bench_says(b, b->client, "a1 NOOP\r\na2 SELECT INBOX.Sent\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\n");
    bench_says(b, b->server, "a1 OK\r\n");
    bench_gets(b, b->client, "a1 OK\r\n");
    bench_gets_nothing(b, b->server);
    b->views = VIEWS_READ;
    relay_view_is(&b->s);
    bench_gets(b, b->server, "a2 SELECT Sent\r\n");
}

static void test_the_view_can_not_be_read(void **state)
{
    struct bench *b = *state;
    b->views = VIEWS_READING;
    bench_says(b, b->client, "a1 SELECT {10+}\r\nINBOX.Sent\r\na2 LIST \"\" *\r\n");
    bench_gets_nothing(b, b->server);
    b->views = VIEWS_FAILED;
    relay_view_is(&b->s);
    bench_gets(b, b->server, "a1 SELECT \"\"\r\n");
    bench_says(b, b->server, "a1 NO no such mailbox\r\n");
    bench_gets(b, b->client, "a1 NO [UNAVAILABLE] Please try again later\r\n");
    assert_int_equal(b->n_wanted, 1);
    assert_false(relay_opened(&b->s)->selected);
}

/* The mailbox that was open is closed on both sides (RFC 3501 6.3.1), and the client's next commands are not
 * about it; whatever the server makes of a SELECT of nothing. */
static void test_a_failed_select_leaves_none_open(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 2; i++) {
        b->views = VIEWS_READ;
        select_sent(b);
        b->views = VIEWS_FAILED;
        bench_says(b, b->client, i ? "a1 EXAMINE INBOX\r\n" : "a1 SELECT INBOX\r\n");
        bench_gets(b, b->server, i ? "a1 EXAMINE \"\"\r\n" : "a1 SELECT \"\"\r\n");
        bench_says(b, b->server, i ? "a1 OK in\r\n" : "a1 NO none\r\n");
        bench_gets(b, b->client, "a1 NO [UNAVAILABLE] Please try again later\r\n");
        assert_false(relay_opened(&b->s)->selected);
        bench_says(b, b->client, "a2 UID STORE 10 FLAGS (\\Deleted)\r\na3 EXPUNGE\r\n");
        bench_gets(b, b->client, "a2 BAD No mailbox selected\r\na3 BAD No mailbox selected\r\n");
    }
    bench_says(b, b->client, "a4 STATUS INBOX (UIDNEXT)\r\n");
    bench_gets(b, b->client, "a4 NO [UNAVAILABLE] Please try again later\r\n");
    bench_gets_nothing(b, b->server);
}

/* ---- what is not to be trusted ---- */

static void test_a_backend_that_lies(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "* SEARCH 1 x\r\n",
        "* 1 FETCH (UID 0)\r\n",
        "* 1 FETCH (UID 99999999999)\r\n",
        "* LIST () \"/\" (a)\r\n",
        "a7 OK done\r\n",
        "*\r\n",
        "* OK [UIDVALIDITY 71] it is another one\r\n",
        "* 1 FETCH (FLAGS () UID)\r\n",
    };
    for (size_t i = 0; i < COUNTOF(lines); i++) {
        void *own;
        set_up(&own);
        struct bench *b = own;
        select_sent(b);
        bench_says(b, b->client, "a1 UID SEARCH ALL\r\n");
        bench_gets(b, b->server, "a1 UID SEARCH ALL\r\n");
        bench_says(b, b->server, lines[i]);
        bench_ends(b, strncmp(lines[i], "a7", 2) == 0 ? END_BACKEND_PROTOCOL : END_VIEW);
        bench_gets_nothing(b, b->client);
        bench_tear_down(&own);
    }
}

static void test_nothing_is_open_behind_a_name_that_none_can_have(void **state)
{
    struct bench *b = *state;
    select_sent(b);
    assert_true(relay_opened(&b->s)->selected);
    bench_says(b, b->client, "a1 SELECT elsewhere\r\na2 FETCH 1 (FLAGS)\r\n");
    bench_gets(b, b->server, "a1 SELECT \"\"\r\n");
    bench_gets_nothing(b, b->server);
    bench_says(b, b->server, "a1 OK [READ-WRITE] done\r\n"); /* whatever it may have opened */
    bench_gets(b, b->client,
               "a1 NO [CANNOT] No mailbox can have this name\r\na2 BAD No mailbox selected\r\n");
    assert_false(relay_opened(&b->s)->selected);
    bench_gets_nothing(b, b->server);
}

static void test_names_that_are_too_long(void **state)
{
    struct bench *b = *state;
    struct buf text = {0};
    bench_says(b, b->client, "a1 APPEND {65536}\r\n"); /* not asked for */
    bench_gets(b, b->client, "a1 NO [CANNOT] No mailbox can have this name\r\n");
    buf_add_str(&text, "a2 APPEND {65536+}\r\n");
    for (int i = 0; i < 65536; i++)
        buf_add(&text, "x", 1);
    buf_add_str(&text, " {3+}\r\nabc\r\na3 SELECT {65537}\r\n");
    bench_says(b, b->client, buf_str(&text));
    bench_gets(b, b->client, "a2 NO [CANNOT] No mailbox can have this name\r\na3 BAD Too long\r\n");
    buf_clear(&text);
    buf_add_str(&text, "a4 SELECT {65536+}\r\n");
    for (int i = 0; i < 65536; i++)
        buf_add(&text, "x", 1);
    buf_add_str(&text, "\r\na5 NOOP\r\n");
    bench_says(b, b->client, buf_str(&text));
    bench_gets(b, b->server, "a4 SELECT \"\"\r\n");
    bench_says(b, b->server, "* OK [CLOSED] it was\r\na4 NO no such mailbox\r\n");
    bench_gets(b, b->client, "* OK [CLOSED] it was\r\na4 NO [CANNOT] No mailbox can have this name\r\n");
    bench_gets(b, b->server, "a5 NOOP\r\n");
    buf_free(&text);
}

/* Of a command that is collected nothing is at the backend: it can be refused at any part. */
static void test_refused_behind_a_literal(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 STATUS {10+}\r\nINBOX.Sent (MESSAGES HIGHESTMODSEQ)\r\na2 NOOP\r\n");
    char c = 0;
    struct buf got = {0};
    while (c != '\n' && bench_byte(b, b->client, &c))
        buf_add(&got, &c, 1);
    assert_memory_equal(buf_str(&got), "a1 BAD ", 7);
    buf_free(&got);
    bench_gets(b, b->server, "a2 NOOP\r\n");
    bench_says(b, b->client, "a3 STATUS (x) {1}\r\n");
    assert_false(b->ended);
}

#define VIEW_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, bench_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VIEW_TEST(test_a_mailbox_is_opened),
        VIEW_TEST(test_uids_both_ways),
        VIEW_TEST(test_a_set_of_no_message),
        VIEW_TEST(test_names_in_literals),
        VIEW_TEST(test_a_literal_of_ours),
        VIEW_TEST(test_append),
        VIEW_TEST(test_what_is_ambiguous_waits),
        VIEW_TEST(test_a_command_waits_over_a_freeze),
        VIEW_TEST(test_a_command_waits_over_a_move),
        VIEW_TEST(test_a_mailbox_made_anew),
        VIEW_TEST(test_nothing_passes_without_a_lease),
        cmocka_unit_test(test_the_store_refuses),
        cmocka_unit_test(test_status_of_a_mailbox_made_anew),
        VIEW_TEST(test_the_store_has_changed),
        VIEW_TEST(test_the_store_changes_all_the_time),
        VIEW_TEST(test_the_view_is_gone),
        VIEW_TEST(test_a_client_of_before_the_flip),
        VIEW_TEST(test_vanished_behind_a_literal),
        VIEW_TEST(test_a_name_that_no_field_has),
        VIEW_TEST(test_an_id_while_we_ask),
        VIEW_TEST(test_what_we_ask_in_pieces),
        VIEW_TEST(test_what_we_ask_is_refused),
        VIEW_TEST(test_a_freeze_while_we_ask),
        VIEW_TEST(test_a_lapse_while_we_ask),
        VIEW_TEST(test_a_server_that_does_not_answer_us),
        VIEW_TEST(test_a_client_that_does_not_read),
        VIEW_TEST(test_the_client_goes_while_we_ask),
        VIEW_TEST(test_the_server_goes_while_we_ask),
        VIEW_TEST(test_a_mailbox_made_anew_is_not_asked_for),
        VIEW_TEST(test_qresync_that_is_not_enabled),
        cmocka_unit_test(test_the_view_is_older_than_the_mailbox),
        VIEW_TEST(test_rename),
        cmocka_unit_test(test_a_rename_that_the_store_refuses),
        VIEW_TEST(test_a_rename_that_no_replica_has),
        VIEW_TEST(test_a_rename_by_other_records),
        VIEW_TEST(test_a_rename_that_fails),
        VIEW_TEST(test_delete),
        cmocka_unit_test(test_a_delete_that_fails),
        cmocka_unit_test(test_a_delete_that_the_store_refuses),
        cmocka_unit_test(test_a_mailbox_without_a_record_goes),
        VIEW_TEST(test_the_view_is_being_read),
        VIEW_TEST(test_the_view_can_not_be_read),
        VIEW_TEST(test_a_failed_select_leaves_none_open),
        cmocka_unit_test(test_a_backend_that_lies),
        VIEW_TEST(test_nothing_is_open_behind_a_name_that_none_can_have),
        VIEW_TEST(test_names_that_are_too_long),
        VIEW_TEST(test_refused_behind_a_literal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
