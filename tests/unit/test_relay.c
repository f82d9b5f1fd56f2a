#include <zlib.h>

#include "proxy/preauth.h"
#include "relay_unit.h"

/* ---- commands ---- */

static void test_commands_and_answers_pass(void **state)
{
    struct bench *b = *state;
    n_used = 0;
    bench_says(b, b->client, "a1 noop\r\na2 SELECT \"a b\"\r\n");
    bench_gets(b, b->server, "a1 noop\r\na2 SELECT \"a b\"\r\n");
    assert_true(n_used > 0);
    bench_says(b, b->server,
               "a1 OK done\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\na2 OK [READ-WRITE] in\r\n");
    bench_gets(b, b->client,
               "a1 OK done\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] so\r\na2 OK [READ-WRITE] in\r\n");
    const struct opened *o = relay_opened(&b->s);
    assert_true(o->selected);
    assert_true(o->names);
    unit_same(buf_span(&o->mailbox), "a b");
    assert_int_equal(o->exists, 3);
    assert_int_equal(o->uidvalidity, 7);
    assert_true(relay_is_quiet(&b->s));
    assert_int_equal(b->s.bytes_in, 9 + 17);
}

/* Byte by byte, both ways. */
static void test_pieces_pass(void **state)
{
    struct bench *b = *state;
    static const char command[] = "a1 LOGIN x\r\na2 APPEND INBOX {3}\r\n";
    for (const char *p = command; *p; p++) {
        bench_says(b, b->client, (char[]){*p, '\0'});
        bench_settle(b);
    }
    bench_gets(b, b->client, "a1 BAD ");
    bench_gets(b, b->server, "a2 APPEND INBOX {3}\r\n");
    static const char answer[] = "* OK [HIGHESTMODSEQ 9] hm\r\n* 1 FETCH (BODY[] {2}\r\n* )\r\n+ go\r\n";
    for (const char *p = answer; *p; p++) {
        bench_says(b, b->server, (char[]){*p, '\0'});
        bench_settle(b);
    }
    char c = 0;
    while (c != '\n' && bench_byte(b, b->client, &c))
        ; /* the text of the BAD */
    bench_gets(b, b->client, "* 1 FETCH (BODY[] {2}\r\n* )\r\n+ go\r\n");
    bench_says(b, b->client, "a\r\n");
    bench_says(b, b->client, "\r\n");
    bench_gets(b, b->server, "a\r\n\r\n");
}

/* What is not shown is refused here, and never reaches the server. */
static void test_hidden_is_refused(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 FETCH 1 (FLAGS MODSEQ)\r\na2 NOTIFY NONE\r\na3 XYZ {4}\r\na4 NOOP\r\n");
    bench_gets(b, b->server, "a4 NOOP\r\n");
    struct buf got = {0};
    char c;
    for (unsigned lines = 0; lines < 3 && bench_byte(b, b->client, &c); lines += c == '\n')
        buf_add(&got, &c, 1);
    const char *text = buf_str(&got);
    assert_ptr_equal(strstr(text, "a1 BAD "), text);
    assert_non_null(strstr(text, "\r\na2 BAD "));
    assert_non_null(strstr(text, "\r\na3 BAD "));
    buf_free(&got);
    assert_false(b->ended);
}

/* A command whose second part can't pass is half sent: nobody can take that back. */
static void test_refused_after_its_first_part(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 SEARCH SUBJECT {1}\r\n");
    bench_gets(b, b->server, "a1 SEARCH SUBJECT {1}\r\n");
    bench_says(b, b->server, "+ go\r\n");
    bench_says(b, b->client, "x MODSEQ 5\r\n");
    bench_ends(b, END_BAD_PART);
}

/* ---- long lines ---- */

/* "TAG UID FETCH 1,3,5,... FLAGS" of at least n bytes, and what stands behind it. */
static void says_long(struct bench *b, const char *head, size_t n, const char *behind)
{
    struct buf line = {0};
    buf_add_str(&line, head);
    for (uint32_t uid = 1; line.len < n; uid += 2)
        buf_printf(&line, "%s%u", uid > 1 ? "," : "", uid);
    buf_add_str(&line, behind);
    bench_pours(b, b->client, buf_span(&line));
    buf_free(&line);
}

#define TOO_LONG "BAD [LIMIT] A line of a command may have 1 MiB\r\n"

static void test_a_long_set_passes(void **state)
{
    struct bench *b = *state;
    enum { UIDS = 15000 }; /* 80 KiB */
    struct buf line = {0};
    buf_add_str(&line, "a1 UID FETCH 1");
    for (unsigned uid = 3; uid < 2 * UIDS; uid += 2)
        buf_printf(&line, ",%u", uid);
    buf_add_str(&line, " FLAGS\r\n");
    bench_pours(b, b->client, buf_span(&line));
    bench_gets(b, b->server, buf_str(&line));
    buf_free(&line);
}

/* It is read over, and what stands behind it passes. */
static void test_a_line_that_is_too_long(void **state)
{
    struct bench *b = *state;
    says_long(b, "a1 UID FETCH ", LIMIT_RELAY_LINE + 1, " FLAGS\r\na2 NOOP\r\n");
    bench_gets(b, b->client, "a1 " TOO_LONG);
    bench_gets(b, b->server, "a2 NOOP\r\n");
    says_long(b, "a3 UID FETCH ", LIMIT_RELAY_LINE + 100000,
              " (BODY[HEADER.FIELDS ({9+}\r\na9 NOOP\r\n)])\r\na4 NOOP\r\n");
    bench_gets(b, b->client, "a3 " TOO_LONG);
    bench_gets(b, b->server, "a4 NOOP\r\n");
    says_long(b, "a5 UID FETCH ", LIMIT_RELAY_LINE + 1, " (BODY[HEADER.FIELDS ({9}\r\n");
    bench_gets(b, b->client, "a5 " TOO_LONG);
    bench_says(b, b->client, "a6 NOOP\r\n"); /* no body: it was not asked for one */
    bench_gets(b, b->server, "a6 NOOP\r\n");
    assert_false(b->ended);
}

/* A line costs as much work as many short ones: it is the turn of others for as long. */
static void test_a_long_line_takes_the_turns_of_many(void **state)
{
    struct bench *b = *state;
    enum { ROUNDS = 8 };
    says_long(b, "a1 UID FETCH ", ROUNDS * LIMIT_LINE_BYTES_A_ROUND, " FLAGS\r\na2 NOOP\r\n");
    uint64_t end = clock_boot_ms() + IO_DEADLINE_MS;
    while (b->s.bytes_in == 0 && clock_boot_ms() < end)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    uint64_t first = b->s.bytes_in, round = b->loop->round;
    assert_true(first > ROUNDS * LIMIT_LINE_BYTES_A_ROUND);
    while (b->s.bytes_in == first && clock_boot_ms() < end)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_int_equal(b->s.bytes_in, first + strlen("a2 NOOP\r\n"));
    assert_true(b->loop->round - round >= ROUNDS - 1);
}

/* Nobody knows whom to tell. */
static void test_a_line_without_a_tag(void **state)
{
    struct bench *b = *state;
    says_long(b, "", LIMIT_RELAY_LINE + 1, "\r\n");
    bench_ends(b, END_BAD_LINE);
}

static void test_a_second_part_that_is_too_long(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 UID SEARCH SUBJECT {1}\r\n");
    bench_gets(b, b->server, "a1 UID SEARCH SUBJECT {1}\r\n");
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->client, "+ go\r\n");
    says_long(b, "x UID ", LIMIT_RELAY_LINE + 1, "\r\n");
    bench_ends(b, END_BAD_PART);
}

static void test_enable_keeps_nothing(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 ENABLE CONDSTORE\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a2 NOOP\r\n");
    bench_gets(b, b->client, "* ENABLED\r\na1 OK Nothing to enable\r\n");
}

/* The server gets each body only after its "+", whatever the client used. */
static void test_literal_plus_waits(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 APPEND INBOX {3+}\r\nabc\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a1 APPEND INBOX {3}\r\n");
    bench_gets_nothing(b, b->server);
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->server, "abc\r\na2 NOOP\r\n");
    bench_says(b, b->server, "a1 OK done\r\na2 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\na2 OK done\r\n"); /* it did not wait for a "+" */
}

/* A NO instead of the "+": the body is swallowed, it is no command. */
static void test_literal_plus_is_refused(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 APPEND x {9+}\r\na9 NOOP\r\n\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a1 APPEND x {9}\r\n");
    bench_says(b, b->server, "a1 NO [TRYCREATE] none\r\n");
    bench_gets(b, b->server, "a2 NOOP\r\n");
    bench_says(b, b->server, "a2 OK done\r\n");
    bench_gets(b, b->client, "a1 NO [TRYCREATE] none\r\na2 OK done\r\n");
}

/* After the NO to a synchronizing one, what comes is a command. */
static void test_literal_is_refused(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 APPEND x {70}\r\n");
    bench_gets(b, b->server, "a1 APPEND x {70}\r\n");
    bench_says(b, b->server, "a1 NO none\r\n");
    bench_gets(b, b->client, "a1 NO none\r\n");
    bench_says(b, b->client, "a9 FETCH 1 MODSEQ\r\n"); /* a body would pass unread */
    bench_gets(b, b->client, "a9 BAD ");
    bench_gets_nothing(b, b->server);
}

/* A name in a literal is the name of what was opened. */
static void test_name_in_a_literal(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 EXAMINE {3}\r\n");
    bench_gets(b, b->server, "a1 EXAMINE {3}\r\n");
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->client, "+ go\r\n");
    bench_says(b, b->client, "a\"b\r\n");
    bench_gets(b, b->server, "a\"b\r\n");
    bench_says(b, b->server, "a1 OK in\r\n");
    bench_gets(b, b->client, "a1 OK in\r\n");
    unit_same(buf_span(&relay_opened(&b->s)->mailbox), "a\"b");
    assert_true(relay_opened(&b->s)->examined);
}

static void test_idle(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 IDLE\r\nDONE\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a1 IDLE\r\n");
    bench_gets_nothing(b, b->server);
    bench_says(b, b->server, "+ idling\r\n");
    bench_gets(b, b->server, "DONE\r\na2 NOOP\r\n");
    bench_says(b, b->server, "* 4 EXISTS\r\na1 OK idled\r\n");
    bench_gets(b, b->client, "+ idling\r\n* 4 EXISTS\r\na1 OK idled\r\n");
}

/* The server ends the IDLE while the DONE is on its way: that means nothing any more. */
static void test_idle_ended_by_the_server(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 IDLE\r\n");
    bench_gets(b, b->server, "a1 IDLE\r\n");
    bench_says(b, b->server, "+ idling\r\na1 NO too long\r\n");
    bench_gets(b, b->client, "+ idling\r\na1 NO too long\r\n");
    bench_says(b, b->client, "DONE\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a2 NOOP\r\n");
    bench_says(b, b->server, "a2 OK done\r\n");
    bench_gets(b, b->client, "a2 OK done\r\n"); /* no BAD */
}

static void test_id_is_answered_here(void **state)
{
    struct bench *b = *state;
    id_is_heard = false;
    bench_says(b, b->client, "a1 ID (\"name\" {4}\r\n");
    bench_gets(b, b->client, "+ OK\r\n");
    bench_says(b, b->client, "mutt)\r\na2 NOOP\r\n");
    bench_gets(b, b->client, PREAUTH_ID "\r\na1 OK ID completed\r\n");
    bench_gets(b, b->server, "a2 NOOP\r\n");
    bench_says(b, b->client, "a3 ID (\"name\")\r\n");
    bench_gets(b, b->client, "a3 BAD " PREAUTH_ID_EXPECTED "\r\n");
    id_is_heard = true;
    bench_says(b, b->client, "a4 ID (name {4+}\r\nmutt)\r\n");
    bench_gets(b, b->server, "a4 ID (\"name\" \"mutt\")\r\n");
    bench_says(b, b->server, "* ID (\"name\" \"Secretd\")\r\na4 OK said\r\n");
    bench_gets(b, b->client, PREAUTH_ID "\r\na4 OK said\r\n");
    buf_free(&b->s.client_id);
}

/* ---- responses ---- */

static void test_capabilities_are_ours(void **state)
{
    struct bench *b = *state;
    struct buf words = {0}, all = {0};
    relay_write_capabilities(&words, relay_shown(&b->s), true);
    assert_non_null(strstr(buf_str(&words), "COMPRESS=DEFLATE"));
    bench_says(b, b->client, "a1 CAPABILITY\r\na2 SELECT INBOX\r\n");
    bench_gets(b, b->server, "a1 CAPABILITY\r\na2 SELECT INBOX\r\n");
    bench_says(b, b->server,
               "* CAPABILITY IMAP4rev1 XSECRET\r\na1 OK [CAPABILITY IMAP4rev1 XSECRET] done\r\n"
               "* OK [HIGHESTMODSEQ 9] so\r\n* OK [MAILBOXID (x)] so\r\n* OK [UIDNEXT 4] so\r\n"
               "a2 OK [NOMODSEQ] in\r\n");
    buf_printf(&all, "* CAPABILITY %s\r\na1 OK [CAPABILITY %s] done\r\n* OK [UIDNEXT 4] so\r\na2 OK in\r\n",
               buf_str(&words), buf_str(&words));
    bench_gets(b, b->client, buf_str(&all));
    buf_free(&words);
    buf_free(&all);
}

/* Of what people are shown; what is for programs passes as it is. */
static void test_control_characters_of_a_text(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\na2 NOOP\r\n");
    bench_says(b, b->server,
               "* OK [ALERT] \x1b[2Jcall\x07 0900\x7f\r\n"
               "* NO [OVERQUOTA] \xc2\x9b"
               "31mj\xc3\xb6rg\tis full\xc2\r\n"
               "* LIST () \"/\" \"a\x1b\"\r\n"
               "a1 OK [XFROB \"\x1b\"] \x1b]0;title\x07\r\n"
               "a2 NO [REFERRAL imap://x/] \x1b"
               "c\r\n");
    bench_gets(b, b->client,
               "* OK [ALERT] [2Jcall 0900\r\n"
               "* NO [OVERQUOTA] 31mj\xc3\xb6rgis full\xc2\r\n"
               "* LIST () \"/\" \"a\x1b\"\r\n"
               "a1 OK [XFROB \"\x1b\"] ]0;title\r\n"
               "a2 NO c\r\n");
}

/* RFC 7162, where it is shown: all of it passes as it is, both ways. */
static void test_modseqs_pass_where_they_are_shown(void **state)
{
    struct bench *b = *state;
    bench_shows(b, "CONDSTORE QRESYNC ENABLE");
    static const char commands[] =
        "a1 SELECT INBOX (QRESYNC (7 5 1:3))\r\na2 UID FETCH 1:9 (FLAGS) (CHANGEDSINCE 5 VANISHED)\r\n"
        "a3 STORE 1 (UNCHANGEDSINCE 5) FLAGS ()\r\na4 SEARCH MODSEQ 5\r\n";
    static const char answers[] =
        "* OK [CLOSED] so\r\n* 9 EXISTS\r\n* OK [HIGHESTMODSEQ 9] so\r\n* VANISHED (EARLIER) 1:2\r\n"
        "* 1 FETCH (UID 3 FLAGS () MODSEQ (7))\r\na1 OK [READ-WRITE] in\r\n* VANISHED 4:5\r\n* SEARCH 1 (MODSEQ 9)\r\n"
        "a2 OK done\r\na3 OK [MODIFIED 1] done\r\na4 OK [HIGHESTMODSEQ 10] done\r\n* OK [NOMODSEQ] so\r\n";
    bench_says(b, b->client, commands);
    bench_gets(b, b->server, commands);
    bench_says(b, b->server, answers);
    bench_gets(b, b->client, answers);
    const struct opened *o = relay_opened(&b->s);
    assert_int_equal(o->exists, 7);
    assert_true(o->condstore);
    assert_false(o->qresync);
}

static void test_who_asks_for_modseqs(void **state)
{
    struct bench *b = *state;
    bench_shows(b, "CONDSTORE");
    bench_says(b, b->client, "a1 SELECT INBOX\r\na2 FETCH 1 MODSEQ\r\na3 FETCH 1 FLAGS\r\n");
    bench_gets(b, b->server, "a1 SELECT INBOX\r\na2 FETCH 1 MODSEQ\r\na3 FETCH 1 FLAGS\r\n");
    bench_says(b, b->server, "a1 OK in\r\na2 BAD no\r\na3 OK done\r\n");
    bench_gets(b, b->client, "a1 OK in\r\na2 BAD no\r\na3 OK done\r\n");
    assert_false(relay_opened(&b->s)->condstore);
    bench_says(b, b->client, "a4 FETCH 1 (BODY.PEEK[HEADER.FIELDS ({4}\r\n");
    bench_gets(b, b->server, "a4 FETCH 1 (BODY.PEEK[HEADER.FIELDS ({4}\r\n");
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->client, "+ go\r\n");
    bench_says(b, b->client, "Date)] MODSEQ)\r\n");
    bench_gets(b, b->server, "Date)] MODSEQ)\r\n");
    bench_says(b, b->server, "a4 OK done\r\n");
    bench_gets(b, b->client, "a4 OK done\r\n");
    assert_true(relay_opened(&b->s)->condstore);
}

/* Which of its messages are gone, and how many, can't be told. */
static void test_vanished_behind_what_was_withheld(void **state)
{
    struct bench *b = *state;
    withheld = 1;
    bench_says(b, b->server, "* VANISHED (EARLIER) 5\r\n");
    bench_gets(b, b->client, "* VANISHED (EARLIER) 5\r\n");
    bench_says(b, b->server, "* VANISHED 5\r\n");
    bench_ends(b, END_MOVED);
    bench_gets_nothing(b, b->client);
    withheld = 0;
}

/* Words of ours wait until the response that is half sent has ended. */
static void test_our_words_come_between_responses(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 FETCH 1 BODY[]\r\n");
    bench_gets(b, b->server, "a1 FETCH 1 BODY[]\r\n");
    bench_says(b, b->server, "* 1 FETCH (BODY[] {6}\r\nabc");
    bench_gets(b, b->client, "* 1 FETCH (BODY[] {6}\r\nabc");
    bench_says(b, b->client, "a2 ENABLE CONDSTORE\r\n");
    bench_gets_nothing(b, b->client);
    assert_false(relay_at_boundary(&b->s));
    bench_says(b, b->server, "def)\r\na1 OK done\r\n");
    bench_gets(b, b->client, "def)\r\n* ENABLED\r\na2 OK Nothing to enable\r\na1 OK done\r\n");
}

static void test_an_answer_to_nothing(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->server, "a1 OK what?\r\n");
    bench_ends(b, END_BACKEND_PROTOCOL);
}

static void test_a_plus_for_nobody(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->server, "+ go on\r\n* 1 EXISTS\r\n");
    bench_gets(b, b->client, "* 1 EXISTS\r\n");
}

static void test_ends(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 LOGOUT\r\na2 NOOP\r\n");
    bench_gets(b, b->server, "a1 LOGOUT\r\n");
    bench_says(b, b->server, "* BYE see you\r\na1 OK out\r\n");
    bench_gets(b, b->client, "* BYE see you\r\na1 OK out\r\n");
    bench_ends(b, END_LOGOUT);
}

static void test_server_says_bye(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->server, "* BYE down\r\n");
    bench_gets(b, b->client, "* BYE down\r\n");
    shutdown(b->server, SHUT_WR);
    bench_ends(b, END_BACKEND_BYE);
}

static void test_server_is_gone(void **state)
{
    struct bench *b = *state;
    shutdown(b->server, SHUT_WR);
    bench_ends(b, END_BACKEND_GONE);
}

/* What the client has sent before it closed its side is still done, and answered. */
static void test_client_closes_its_side(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\n");
    shutdown(b->client, SHUT_WR);
    bench_gets(b, b->server, "a1 NOOP\r\n");
    assert_false(b->ended);
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    bench_ends(b, END_CLIENT_GONE);
}

/* A command that has not come whole is none, and nobody waits for the rest of it. */
static void test_client_ends_in_a_line(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\na2 DELETE x");
    shutdown(b->client, SHUT_WR);
    bench_gets(b, b->server, "a1 NOOP\r\n");
    assert_false(b->ended);
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    bench_ends(b, END_CLIENT_GONE);
    bench_gets_nothing(b, b->server);
}

/* ---- COMPRESS ---- */

/* The client's own zlib. */
static z_stream packer, unpacker;

static int compress_set_up(void **state)
{
    packer = unpacker = (z_stream){0};
    assert_int_equal(deflateInit2(&packer, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(inflateInit2(&unpacker, -15), Z_OK);
    return bench_set_up(state);
}

static int compress_tear_down(void **state)
{
    deflateEnd(&packer);
    inflateEnd(&unpacker);
    return bench_tear_down(state);
}

#define COMPRESS_TEST(f) cmocka_unit_test_setup_teardown(f, compress_set_up, compress_tear_down)

static size_t pack(const char *text, uint8_t *out, size_t cap)
{
    packer.next_in = (Bytef *)(uintptr_t)text;
    packer.avail_in = (unsigned)strlen(text);
    packer.next_out = out;
    packer.avail_out = (unsigned)cap;
    assert_int_equal(deflate(&packer, Z_SYNC_FLUSH), Z_OK);
    return cap - packer.avail_out;
}

/* at_once: so many bytes in a segment. */
static void says_packed(struct bench *b, const char *text, size_t at_once)
{
    uint8_t packed[4096];
    size_t n = pack(text, packed, sizeof packed);
    for (size_t i = 0, m; i < n; i += m) {
        m = n - i < at_once ? n - i : at_once;
        assert_int_equal(send(b->client, packed + i, m, MSG_NOSIGNAL), m);
        if (at_once < n)
            bench_settle(b);
    }
}

/* The client unpacks byte by byte, and gets these. */
static void gets_packed(struct bench *b, const char *text)
{
    struct buf got = {0};
    char plain[1000];
    Bytef c;
    while (got.len < strlen(text) && bench_byte(b, b->client, (char *)&c)) {
        unpacker.next_in = &c;
        unpacker.avail_in = 1;
        do {
            unpacker.next_out = (Bytef *)plain;
            unpacker.avail_out = sizeof plain;
            int rc = inflate(&unpacker, Z_SYNC_FLUSH);
            assert_true(rc == Z_OK || rc == Z_BUF_ERROR);
            buf_add(&got, plain, sizeof plain - unpacker.avail_out);
        } while (unpacker.avail_out == 0);
    }
    assert_string_equal(buf_str(&got), text);
    buf_free(&got);
}

static void begin_packed(struct bench *b)
{
    bench_says(b, b->client, "c1 COMPRESS DEFLATE\r\n");
    bench_gets(b, b->client, "c1 OK It is compressed from here on\r\n");
}

static void test_compress(void **state)
{
    struct bench *b = *state;
    begin_packed(b);
    says_packed(b, "a1 NOOP\r\na2 SELECT \"a b\"\r\n", 4096);
    bench_gets(b, b->server, "a1 NOOP\r\na2 SELECT \"a b\"\r\n");
    bench_says(b, b->server, "* 3 EXISTS\r\na1 OK done\r\na2 OK in\r\n");
    gets_packed(b, "* 3 EXISTS\r\na1 OK done\r\na2 OK in\r\n");
    assert_int_equal(b->s.bytes_in, 9 + 17);
}

static void test_compress_byte_by_byte(void **state)
{
    struct bench *b = *state;
    for (const char *at = "c1 compress Deflate\r\n"; *at; at++) {
        bench_says(b, b->client, (char[]){*at, '\0'});
        bench_settle(b);
    }
    bench_gets(b, b->client, "c1 OK It is compressed from here on\r\n");
    says_packed(b, "a1 APPEND INBOX {5+}\r\n", 1);
    bench_gets(b, b->server, "a1 APPEND INBOX {5}\r\n");
    says_packed(b, "hel", 1);
    bench_gets_nothing(b, b->server);
    bench_says(b, b->server, "+ go\r\n");
    bench_gets(b, b->server, "hel");
    says_packed(b, "lo\r\na2 NOOP\r\n", 1);
    bench_gets(b, b->server, "lo\r\na2 NOOP\r\n");
    static const char answer[] = "a1 OK in\r\n* 1 FETCH (BODY[] {2}\r\n* )\r\na2 OK done\r\n";
    for (const char *at = answer; *at; at++) {
        bench_says(b, b->server, (char[]){*at, '\0'});
        bench_settle(b);
    }
    gets_packed(b, answer);
}

/* Not a byte of what was asked for before goes out behind the OK in clear, nor before it packed. */
static void test_compress_waits_until_nothing_is_under_way(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 FETCH 1 BODY[]\r\na2 NOOP\r\nc1 COMPRESS DEFLATE\r\n");
    bench_gets(b, b->server, "a1 FETCH 1 BODY[]\r\na2 NOOP\r\n");
    bench_says(b, b->server, "* 1 FETCH (BODY[] {6}\r\nabc");
    bench_gets(b, b->client, "* 1 FETCH (BODY[] {6}\r\nabc");
    bench_says(b, b->server, "def)\r\na1 OK done\r\n");
    bench_gets(b, b->client, "def)\r\na1 OK done\r\n");
    bench_gets_nothing(b, b->client);
    assert_false(relay_is_quiet(&b->s));
    bench_says(b, b->server, "a2 OK done\r\n* 4 EXISTS\r\n* OK ");
    bench_gets(b, b->client, "a2 OK done\r\n* 4 EXISTS\r\nc1 OK It is compressed from here on\r\n");
    bench_says(b, b->server, "still here\r\n");
    gets_packed(b, "* OK still here\r\n");
}

/* A literal of the server's goes on, though no command is under way: the OK is no part of it. */
static void test_compress_waits_for_the_end_of_a_response(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->server, "* 1 FETCH (BODY[] {6}\r\nabc");
    bench_gets(b, b->client, "* 1 FETCH (BODY[] {6}\r\nabc");
    bench_says(b, b->client, "c0 ENABLE X\r\nc1 COMPRESS DEFLATE\r\n");
    bench_gets_nothing(b, b->client);
    bench_says(b, b->server, "def)\r\n* 2 EXISTS\r\n");
    bench_gets(b, b->client,
               "def)\r\n* ENABLED\r\nc0 OK Nothing to enable\r\n* 2 EXISTS\r\n"
               "c1 OK It is compressed from here on\r\n");
}

static void expect_not_compressed(struct bench *b, const char *command, const char *answer)
{
    bench_says(b, b->client, command);
    bench_gets(b, b->client, answer);
    bench_says(b, b->client, "n1 NOOP\r\n");
    bench_gets(b, b->server, "n1 NOOP\r\n");
    bench_says(b, b->server, "n1 OK done\r\n");
    bench_gets(b, b->client, "n1 OK done\r\n");
}

static void test_compress_refused(void **state)
{
    struct bench *b = *state;
    static const char *const commands[] = {
        "c1 COMPRESS\r\n",
        "c1 COMPRESS \r\n",
        "c1 COMPRESS GZIP\r\n",
        "c1 COMPRESS DEFLATE2\r\n",
        "c1 COMPRESS DEFLATE x\r\n",
        "c1 COMPRESS \"DEFLATE\"\r\n",
        "c1 COMPRESS {7}\r\n",
        "c1 COMPRESS {7+}\r\nDEFLATE\r\n",
        "c1 COMPRESS DEFLATE {3+}\r\nabc\r\n",
    };
    for (size_t i = 0; i < COUNTOF(commands); i++)
        expect_not_compressed(b, commands[i], "c1 BAD Expected COMPRESS DEFLATE\r\n");
}

static void test_compress_not_offered(void **state)
{
    struct bench *b = *state;
    struct imap_caps shown = *relay_shown(&b->s);
    relay_free(&b->s.relay);
    b->conf.proxy.compress = false;
    relay_begin(&b->s, &shown, NULL);
    bench_says(b, b->client, "a1 CAPABILITY\r\n");
    bench_gets(b, b->server, "a1 CAPABILITY\r\n");
    bench_says(b, b->server, "* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\na1 OK done\r\n");
    bench_gets(b, b->client, "* CAPABILITY IMAP4rev1 UIDPLUS IDLE NAMESPACE ID ENABLE UNSELECT LITERAL+\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    expect_not_compressed(b, "c1 COMPRESS DEFLATE\r\n", "c1 BAD This command is not offered here\r\n");
}

static void test_compress_twice(void **state)
{
    struct bench *b = *state;
    struct buf words = {0}, all = {0};
    begin_packed(b);
    says_packed(b, "c2 COMPRESS DEFLATE\r\nc3 COMPRESS GZIP\r\na1 CAPABILITY\r\n", 4096);
    gets_packed(b, "c2 NO [COMPRESSIONACTIVE] It is compressed by COMPRESS already\r\n"
                   "c3 BAD Expected COMPRESS DEFLATE\r\n");
    bench_gets(b, b->server, "a1 CAPABILITY\r\n");
    bench_says(b, b->server, "* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\na1 OK done\r\n");
    imap_caps_write(&words, relay_shown(&b->s));
    assert_null(strstr(buf_str(&words), "COMPRESS"));
    buf_printf(&all, "* CAPABILITY %s\r\na1 OK done\r\n", buf_str(&words));
    gets_packed(b, buf_str(&all));
    buf_free(&words);
    buf_free(&all);
}

/* What was sent in clear before the OK is no command, whenever it comes. */
static void test_clear_behind_compress(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "c1 COMPRESS DEFLATE\r\na2 NOOP\r\n");
    bench_ends(b, END_BEHIND_COMPRESS);
    bench_gets_nothing(b, b->server);
}

static void test_clear_behind_compress_that_waits(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\nc1 COMPRESS DEFLATE\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\n");
    bench_says(b, b->client, "a2 DELETE x\r\n");
    bench_gets_nothing(b, b->server);
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    bench_settle(b);
    assert_true(b->ended || strstr(stream_error(b->s.client), "damaged compressed data"));
    bench_gets_nothing(b, b->server);
}

static void test_clear_behind_the_answer(void **state)
{
    struct bench *b = *state;
    begin_packed(b);
    bench_says(b, b->client, "a2 DELETE x\r\n");
    bench_settle(b);
    assert_string_equal(stream_error(b->s.client), "the peer sends damaged compressed data");
    bench_gets_nothing(b, b->server);
}

/* A command that has not come whole is none. */
static void test_compressed_data_cut_off(void **state)
{
    struct bench *b = *state;
    uint8_t packed[100];
    size_t n = pack("a1 NOOP\r\na2 DELETE x\r\n", packed, sizeof packed);
    begin_packed(b);
    assert_int_equal(send(b->client, packed, n - 8, MSG_NOSIGNAL), n - 8);
    shutdown(b->client, SHUT_WR);
    bench_gets(b, b->server, "a1 NOOP\r\n");
    bench_says(b, b->server, "a1 OK done\r\n");
    gets_packed(b, "a1 OK done\r\n");
    bench_ends(b, END_CLIENT_GONE);
    bench_gets_nothing(b, b->server);
}

/* 64 MiB of a literal that nobody takes come in as 64 KiB, and stay packed. */
static void test_compress_bomb(void **state)
{
    struct bench *b = *state;
    enum { PIECE = 1 << 20, PIECES = 64 };
    char *zeros = xcalloc(1, PIECE);
    struct buf packed = {0};
    uint8_t out[4096];
    begin_packed(b);
    says_packed(b, "a1 APPEND x {67108864+}\r\n", 4096);
    bench_gets(b, b->server, "a1 APPEND x {67108864}\r\n");
    for (int i = 0; i < PIECES; i++) {
        packer.next_in = (Bytef *)zeros;
        packer.avail_in = PIECE;
        do {
            packer.next_out = out;
            packer.avail_out = sizeof out;
            deflate(&packer, Z_SYNC_FLUSH);
            buf_add(&packed, out, sizeof out - packer.avail_out);
        } while (packer.avail_out == 0);
    }
    for (size_t i = 0; i < packed.len; i += 4096)
        (void)!send(b->client, packed.mem + packed.off + i, packed.len - i < 4096 ? packed.len - i : 4096,
                    MSG_NOSIGNAL | MSG_DONTWAIT);
    bench_settle(b);
    assert_true(stream_peek(b->s.client).len <= LIMIT_HIGH_WATER + 2 * LOOP_READ_SIZE);
    assert_int_equal(stream_unsent(b->s.backend), 0);
    bench_says(b, b->server, "+ go\r\n"); /* and does not read */
    for (int i = 0; i < 1000; i++)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_true(stream_peek(b->s.client).len <= LIMIT_HIGH_WATER + 2 * LOOP_READ_SIZE);
    assert_true(stream_unsent(b->s.backend) <= LIMIT_HIGH_WATER + 2 * LOOP_READ_SIZE);
    assert_false(b->ended);
    free(zeros);
    buf_free(&packed);
}

/* Commands that unpack from nearly nothing: so many a round, and no more than the answers are taken. */
static void test_compressed_commands_take_their_turn(void **state)
{
    struct bench *b = *state;
    struct buf many = {0};
    uint8_t packed[32 * 1024];
    begin_packed(b);
    for (int i = 0; i < 20000; i++)
        buf_add_str(&many, "a1 NOOP\r\n");
    size_t n = pack(buf_str(&many), packed, sizeof packed);
    assert_true(n < many.len / 100);
    assert_int_equal(send(b->client, packed, n, MSG_NOSIGNAL), n);
    bench_settle(b);
    assert_true(b->s.bytes_in <= 9 * LIMIT_PIPELINED);
    for (int i = 0; i < 100; i++)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_int_equal(b->s.bytes_in, 9 * LIMIT_PIPELINED);
    buf_free(&many);
}

static void test_compress_needs_the_lease(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\nc1 COMPRESS DEFLATE\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\n");
    bench_says(b, b->server, "a1 OK done\r\n");
    b->may_pass = false;
    bench_gets_nothing(b, b->client);
    b->may_pass = true;
    stream_again(b->s.backend);
    relay_settle(&b->s);
    bench_gets(b, b->client, "a1 OK done\r\nc1 OK It is compressed from here on\r\n");
}

/* A COMPRESS that came before the freeze is answered before the rest, one that came later after it. */
static void test_compress_and_a_freeze(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\nc1 COMPRESS DEFLATE\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\n");
    n_steps = 0;
    relay_rest(&b->s, END_FREEZE);
    assert_false(relay_is_quiet(&b->s));
    assert_true(relay_only_reads(&b->s));
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\nc1 OK It is compressed from here on\r\n");
    assert_true(n_steps > 0);
    assert_true(relay_is_quiet(&b->s));
    says_packed(b, "a2 IDLE\r\n", 4096);
    bench_gets_nothing(b, b->server);
    relay_rest(&b->s, END_NONE);
    bench_gets(b, b->server, "a2 IDLE\r\n");
    bench_says(b, b->server, "+ idling\r\n");
    gets_packed(b, "+ idling\r\n");
    relay_rest(&b->s, END_FREEZE);
    bench_gets(b, b->server, "DONE\r\n");
    bench_says(b, b->server, "* 2 EXISTS\r\na2 OK idled\r\n");
    gets_packed(b, "* 2 EXISTS\r\n");
    relay_rest(&b->s, END_NONE);
    bench_gets(b, b->server, "a2 IDLE\r\n");
    bench_says(b, b->server, "+ idling\r\n* 3 EXISTS\r\n");
    gets_packed(b, "* 3 EXISTS\r\n");
    says_packed(b, "DONE\r\n", 1);
    bench_gets(b, b->server, "DONE\r\n");
}

static void test_compress_in_a_freeze_waits(void **state)
{
    struct bench *b = *state;
    relay_rest(&b->s, END_FREEZE);
    bench_says(b, b->client, "c1 COMPRESS DEFLATE\r\n");
    bench_gets_nothing(b, b->client);
    relay_rest(&b->s, END_NONE);
    bench_gets(b, b->client, "c1 OK It is compressed from here on\r\n");
}

static void test_compress_in_idle(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 IDLE\r\n");
    bench_gets(b, b->server, "a1 IDLE\r\n");
    bench_says(b, b->server, "+ idling\r\n");
    bench_gets(b, b->client, "+ idling\r\n");
    bench_says(b, b->client, "c1 COMPRESS DEFLATE\r\n");
    bench_gets(b, b->client, "c1 BAD Expected DONE\r\n");
    bench_says(b, b->client, "DONE\r\n");
    bench_gets(b, b->server, "DONE\r\n");
    bench_says(b, b->client, "c2 COMPRESS DEFLATE\r\n"); /* its answer is not there yet */
    bench_gets_nothing(b, b->client);
    bench_says(b, b->server, "a1 OK idled\r\n");
    bench_gets(b, b->client, "a1 OK idled\r\nc2 OK It is compressed from here on\r\n");
}

/* The client's side goes on as it is, over another server's connection. */
static void test_compress_over_a_hand_over(void **state)
{
    struct bench *b = *state;
    struct relay_gone gone = {0};
    begin_packed(b);
    says_packed(b, "a1 NOOP\r\n", 4096);
    bench_gets(b, b->server, "a1 NOOP\r\n");
    bench_says(b, b->server, "a1 OK done\r\n");
    gets_packed(b, "a1 OK done\r\n");
    relay_rest(&b->s, END_FREEZE);
    says_packed(b, "a2 NOOP\r\n", 3);
    struct stream *next = bench_connect(b, &b->next);
    relay_attach(&b->s, next, &b->backends[1], span_str("* 9 EXISTS\r\n"), &gone, 9);
    gets_packed(b, "* 9 EXISTS\r\n");
    bench_gets(b, b->next, "a2 NOOP\r\n");
    bench_says(b, b->next, "a2 OK done\r\n");
    gets_packed(b, "a2 OK done\r\n");
    says_packed(b, "c2 COMPRESS DEFLATE\r\n", 4096);
    gets_packed(b, "c2 NO [COMPRESSIONACTIVE] It is compressed by COMPRESS already\r\n");
}

static void test_shutdown_with_compress(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\nc1 COMPRESS DEFLATE\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\n");
    relay_rest(&b->s, END_SHUTDOWN);
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\nc1 OK It is compressed from here on\r\n");
    bench_ends(b, END_SHUTDOWN);
}

/* ---- the lease, and rest ---- */

static void test_nothing_passes_without_a_lease(void **state)
{
    struct bench *b = *state;
    b->may_pass = false;
    relay_flow(&b->s);
    bench_says(b, b->client, "a1 NOOP\r\n");
    bench_says(b, b->server, "* 1 EXISTS\r\n");
    bench_gets_nothing(b, b->server);
    bench_gets_nothing(b, b->client);
    b->may_pass = true;
    relay_settle(&b->s);
    bench_gets(b, b->server, "a1 NOOP\r\n");
    bench_gets(b, b->client, "* 1 EXISTS\r\n");
}

/* The lease goes while bytes are on their way: it is asked after they were read. */
static void test_the_lease_is_asked_after_the_bytes(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\n");
    bench_says(b, b->server, "a1 OK done\r\n");
    b->may_pass = false; /* and nobody told the relay */
    bench_gets_nothing(b, b->client);
}

static void test_shutdown_waits_for_the_command(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 NOOP\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\n");
    relay_rest(&b->s, END_SHUTDOWN);
    relay_rest(&b->s, END_NONE); /* a thaw does not take it back */
    bench_says(b, b->client, "a2 NOOP\r\n");
    bench_gets_nothing(b, b->server);
    assert_false(b->ended);
    bench_says(b, b->server, "a1 OK done\r\n");
    bench_gets(b, b->client, "a1 OK done\r\n");
    bench_ends(b, END_SHUTDOWN);
}

static void test_shutdown_in_idle(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 IDLE\r\n");
    bench_gets(b, b->server, "a1 IDLE\r\n");
    bench_says(b, b->server, "+ idling\r\n");
    bench_gets(b, b->client, "+ idling\r\n");
    relay_rest(&b->s, END_SHUTDOWN);
    bench_ends(b, END_SHUTDOWN);
}

/* The IDLE is ended at the server alone, and begun again there. */
static void test_freeze_in_idle(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 IDLE\r\n");
    bench_gets(b, b->server, "a1 IDLE\r\n");
    bench_says(b, b->server, "+ idling\r\n");
    bench_gets(b, b->client, "+ idling\r\n");
    n_steps = 0;
    relay_rest(&b->s, END_FREEZE);
    bench_gets(b, b->server, "DONE\r\n");
    bench_says(b, b->client, "DONE\r\n");
    bench_says(b, b->server, "a1 OK idled\r\n");
    bench_gets_nothing(b, b->client);
    assert_true(n_steps > 0);
    assert_true(relay_is_quiet(&b->s));
    relay_rest(&b->s, END_NONE);
    bench_gets(b, b->server, "a1 IDLE\r\n");
    bench_says(b, b->server, "+ idling\r\n* 5 EXISTS\r\n");
    bench_gets(b, b->client, "* 5 EXISTS\r\n"); /* it had its "+" */
    bench_gets(b, b->server, "DONE\r\n");       /* its own, from before */
    bench_says(b, b->server, "a1 OK idled\r\n");
    bench_gets(b, b->client, "a1 OK idled\r\n");
}

static void test_a_command_of_ours(void **state)
{
    struct bench *b = *state;
    answered = OWN_NONE;
    relay_send_own(&b->s, OWN_NAMESPACE, "NAMESPACE");
    bench_gets_command(b, b->server, "NAMESPACE");
    bench_says(b, b->client, "a1 NOOP\r\n");
    bench_gets_nothing(b, b->server); /* the client's waits for it */
    bench_says(b, b->server, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n* 2 EXISTS\r\n%T OK done\r\n");
    bench_gets(b, b->server, "a1 NOOP\r\n");
    bench_gets(b, b->client, "* 2 EXISTS\r\n");
    assert_int_equal(answered, OWN_NAMESPACE);
    assert_int_equal(answered_with, STATUS_OK);
}

static void test_only_reads(void **state)
{
    struct bench *b = *state;
    assert_true(relay_only_reads(&b->s));
    bench_says(b, b->client, "a1 FETCH 1 BODY.PEEK[]\r\n");
    bench_gets(b, b->server, "a1 FETCH 1 BODY.PEEK[]\r\n");
    assert_true(relay_only_reads(&b->s));
    assert_false(relay_is_quiet(&b->s));
    bench_says(b, b->client, "a2 FETCH 1 BODY[]\r\n"); /* sets \Seen */
    bench_gets(b, b->server, "a2 FETCH 1 BODY[]\r\n");
    assert_false(relay_only_reads(&b->s));
    bench_says(b, b->server, "a2 OK done\r\n");
    bench_gets(b, b->client, "a2 OK done\r\n");
    assert_true(relay_only_reads(&b->s));
    bench_says(b, b->client, "a3 STORE");
    bench_settle(b);
    assert_true(relay_only_reads(&b->s)); /* nothing of it is at the server */
}

/* ---- over another connection ---- */

static void enable_qresync(struct bench *b)
{
    bench_shows(b, "CONDSTORE QRESYNC ENABLE");
    bench_says(b, b->client, "e1 ENABLE QRESYNC\r\n");
    bench_gets(b, b->server, "e1 ENABLE QRESYNC\r\n");
    bench_says(b, b->server, "* ENABLED QRESYNC\r\ne1 OK done\r\n");
    bench_gets(b, b->client, "* ENABLED QRESYNC\r\ne1 OK done\r\n");
}

static void attach(struct bench *b, const char *lines, uint32_t exists)
{
    struct relay_gone gone = {0};
    imap_seq_add(&gone.numbers, 2, 2);
    imap_seq_add(&gone.numbers, 4, 4);
    if (relay_opened(&b->s)->qresync) {
        imap_seq_add(&gone.uids, 12, 12);
        imap_seq_add(&gone.uids, 14, 14);
    }
    relay_rest(&b->s, END_FREEZE);
    struct stream *next = bench_connect(b, &b->next);
    relay_attach(&b->s, next, &b->backends[1], span_str(lines), &gone, exists);
}

static void test_expunges_are_told_at_the_next_command(void **state)
{
    struct bench *b = *state;
    attach(b, "* FLAGS (\\Seen)\r\n", 5);
    bench_gets(b, b->client, "* FLAGS (\\Seen)\r\n");
    assert_true(relay_owes_expunges(&b->s));
    bench_says(b, b->next,
               "* 4 EXISTS\r\n"); /* one came: to the client, which knows of two more, they are 6 */
    bench_gets(b, b->client, "* 6 EXISTS\r\n");
    bench_says(b, b->client, "a1 UID FETCH 1:* FLAGS\r\n");
    bench_gets(b, b->client, "* 4 EXPUNGE\r\n* 2 EXPUNGE\r\n");
    bench_gets(b, b->next, "a1 UID FETCH 1:* FLAGS\r\n");
    assert_false(relay_owes_expunges(&b->s));
    assert_int_equal(relay_opened(&b->s)->exists, 4);
}

/* To a client that knows UIDs alone: by its UIDs, at once, and what the server says of others goes before
 * it. */
static void test_what_is_gone_is_told_as_vanished(void **state)
{
    struct bench *b = *state;
    enable_qresync(b);
    assert_true(relay_opened(&b->s)->qresync && relay_opened(&b->s)->condstore);
    attach(b, "", 5);
    bench_says(b, b->next, "* VANISHED 7\r\n");
    bench_gets(b, b->client, "* VANISHED 7\r\n");
    bench_says(b, b->client, "a1 UID FETCH 1:* FLAGS\r\n");
    bench_gets(b, b->client, "* VANISHED 12,14\r\n");
    bench_gets(b, b->next, "a1 UID FETCH 1:* FLAGS\r\n");
    assert_false(relay_owes_expunges(&b->s));
    assert_int_equal(relay_opened(&b->s)->exists, 2);
}

static void test_numbers_from_before_an_expunge(void **state)
{
    struct bench *b = *state;
    attach(b, "", 5);
    bench_says(b, b->client, "a1 FETCH 5 FLAGS\r\n");
    bench_ends(b, END_MOVED);
    bench_gets_nothing(b, b->next);
}

static void test_numbers_from_behind_an_expunge(void **state)
{
    struct bench *b = *state;
    attach(b, "", 5);
    bench_says(b, b->next, "* 3 FETCH (FLAGS ())\r\n");
    bench_ends(b, END_MOVED);
    bench_gets_nothing(b, b->client);
}

/* ---- flags behind a hand-over ---- */

#define ASKS_FLAGS "UID FETCH 1:* (FLAGS MODSEQ)"

/* Nothing has gone. */
static void attach_in_order(struct bench *b, uint32_t exists)
{
    struct relay_gone none = {0};
    relay_rest(&b->s, END_FREEZE);
    relay_attach(&b->s, bench_connect(b, &b->next), &b->backends[1], span_str(""), &none, exists);
}

static void attach_owing_flags(struct bench *b, uint32_t exists)
{
    relay_owe_flags(&b->s, NULL, true);
    attach_in_order(b, exists);
}

static void test_flags_are_told_before_the_next_command(void **state)
{
    struct bench *b = *state;
    attach_owing_flags(b, 2);
    bench_gets_command(b, b->next, ASKS_FLAGS); /* without a word of the client */
    bench_says(b, b->client, "a1 NOOP\r\na2 NOOP\r\n");
    bench_says(b, b->next, "* 1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (98))\r\n");
    bench_gets(b, b->client, "* 1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (98))\r\n");
    bench_gets_nothing(b, b->next);
    bench_says(b, b->next, "* 2 FETCH (UID 5 FLAGS () MODSEQ (97))\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 2 FETCH (UID 5 FLAGS () MODSEQ (97))\r\n");
    bench_gets(b, b->next, "a1 NOOP\r\na2 NOOP\r\n");
    bench_gets_nothing(b, b->client); /* our tagged line is not for it */
}

/* Without MODSEQs, and of some messages only. */
static void test_flags_of_some_messages(void **state)
{
    struct bench *b = *state;
    struct imap_seq uids = {0};
    struct buf want = {0};
    for (uint32_t uid = 2; uid <= 6; uid += 2)
        imap_seq_add(&uids, uid, uid);
    relay_owe_flags(&b->s, &uids, false);
    attach_in_order(b, 3);
    bench_gets_command(b, b->next, "UID FETCH 2,4,6 (FLAGS)");
    bench_says(b, b->next, "* 1 FETCH (UID 2 FLAGS (\\Seen))\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 1 FETCH (UID 2 FLAGS (\\Seen))\r\n");
    imap_seq_free(&uids);
    for (uint32_t uid = 1; uid < 2000; uid += 2) /* too many for one command: by four and four */
        imap_seq_add(&uids, uid, uid);
    relay_owe_flags(&b->s, &uids, false);
    relay_settle(&b->s);
    buf_add_str(&want, "UID FETCH 1:7");
    for (unsigned uid = 9; uid < 2000; uid += 8)
        buf_printf(&want, ",%u:%u", uid, uid + 6);
    buf_add_str(&want, " (FLAGS)");
    bench_gets_command(b, b->next, buf_str(&want));
    buf_free(&want);
    imap_seq_free(&uids);
}

static void test_no_flags_of_no_messages(void **state)
{
    struct bench *b = *state;
    attach_owing_flags(b, 0);
    bench_says(b, b->client, "a1 NOOP\r\n");
    bench_gets(b, b->next, "a1 NOOP\r\n");
}

static void test_flags_wait_until_expunges_are_told(void **state)
{
    struct bench *b = *state;
    enable_qresync(b);
    relay_owe_flags(&b->s, NULL, true);
    attach(b, "", 5);
    bench_gets_nothing(b, b->next);
    bench_says(b, b->client, "a1 NOOP\r\n");
    bench_gets(b, b->client, "* VANISHED 12,14\r\n");
    bench_gets_command(b, b->next, ASKS_FLAGS);
    bench_gets_nothing(b, b->next);
    bench_says(b, b->next, "%T OK done\r\n");
    bench_gets(b, b->next, "a1 NOOP\r\n");
}

/* Its messages went meanwhile, as a server may say. */
static void test_flags_of_messages_that_are_gone(void **state)
{
    struct bench *b = *state;
    attach_owing_flags(b, 2);
    bench_gets_command(b, b->next, ASKS_FLAGS);
    bench_says(b, b->next, "%T NO [EXPUNGEISSUED] gone\r\n");
    bench_says(b, b->client, "a1 NOOP\r\n");
    bench_gets(b, b->next, "a1 NOOP\r\n");
}

static void test_flags_before_the_idle_goes_on(void **state)
{
    struct bench *b = *state;
    bench_says(b, b->client, "a1 IDLE\r\n");
    bench_gets(b, b->server, "a1 IDLE\r\n");
    bench_says(b, b->server, "+ idling\r\n");
    bench_gets(b, b->client, "+ idling\r\n");
    relay_rest(&b->s, END_FREEZE);
    bench_gets(b, b->server, "DONE\r\n");
    bench_says(b, b->server, "a1 OK idled\r\n");
    bench_settle(b);
    attach_owing_flags(b, 2);
    bench_gets_command(b, b->next, ASKS_FLAGS);
    bench_says(b, b->client, "DONE\r\n");
    bench_gets_nothing(b, b->next);
    bench_says(b, b->next, "* 1 FETCH (UID 4 FLAGS () MODSEQ (98))\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 1 FETCH (UID 4 FLAGS () MODSEQ (98))\r\n");
    bench_gets(b, b->next, "a1 IDLE\r\n");
    bench_says(b, b->next, "+ idling\r\n");
    bench_gets(b, b->next, "DONE\r\n");
}

/* Where the next freeze comes while they are told, the session rests when they are; where it comes before, they are
 * told behind it. */
static void test_flags_and_the_next_freeze(void **state)
{
    struct bench *b = *state;
    attach_owing_flags(b, 2);
    bench_gets_command(b, b->next, ASKS_FLAGS);
    relay_rest(&b->s, END_FREEZE);
    assert_true(relay_only_reads(&b->s));
    assert_false(relay_is_quiet(&b->s));
    bench_says(b, b->next, "* 1 FETCH (UID 4 FLAGS () MODSEQ (98))\r\n%T OK done\r\n");
    bench_gets(b, b->client, "* 1 FETCH (UID 4 FLAGS () MODSEQ (98))\r\n");
    bench_settle(b);
    assert_true(relay_is_quiet(&b->s));
    relay_owe_flags(&b->s, NULL, true);
    bench_gets_nothing(b, b->next);
    relay_rest(&b->s, END_NONE);
    bench_gets_command(b, b->next, ASKS_FLAGS);
}

static void test_flags_that_do_not_come(void **state)
{
    struct bench *b = *state;
    b->conf.proxy.backend_timeout_ms = 200;
    attach_owing_flags(b, 2);
    bench_gets_command(b, b->next, ASKS_FLAGS);
    bench_ends(b, END_MOVED);
    assert_non_null(strstr(b->detail, "does not answer"));
}

static void test_flags_that_came_end_the_wait(void **state)
{
    struct bench *b = *state;
    b->conf.proxy.backend_timeout_ms = 100;
    attach_owing_flags(b, 2);
    bench_gets_command(b, b->next, ASKS_FLAGS);
    bench_says(b, b->next, "%T OK done\r\n");
    uint64_t end = clock_boot_ms() + 300;
    while (clock_boot_ms() < end)
        uv_run(&b->loop->uv, UV_RUN_NOWAIT);
    assert_false(b->ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_commands_and_answers_pass),
        BENCH_TEST(test_pieces_pass),
        BENCH_TEST(test_hidden_is_refused),
        BENCH_TEST(test_refused_after_its_first_part),
        BENCH_TEST(test_a_long_set_passes),
        BENCH_TEST(test_a_line_that_is_too_long),
        BENCH_TEST(test_a_long_line_takes_the_turns_of_many),
        BENCH_TEST(test_a_line_without_a_tag),
        BENCH_TEST(test_a_second_part_that_is_too_long),
        BENCH_TEST(test_enable_keeps_nothing),
        BENCH_TEST(test_literal_plus_waits),
        BENCH_TEST(test_literal_plus_is_refused),
        BENCH_TEST(test_literal_is_refused),
        BENCH_TEST(test_name_in_a_literal),
        BENCH_TEST(test_idle),
        BENCH_TEST(test_idle_ended_by_the_server),
        BENCH_TEST(test_id_is_answered_here),
        BENCH_TEST(test_capabilities_are_ours),
        BENCH_TEST(test_control_characters_of_a_text),
        BENCH_TEST(test_modseqs_pass_where_they_are_shown),
        BENCH_TEST(test_who_asks_for_modseqs),
        BENCH_TEST(test_vanished_behind_what_was_withheld),
        BENCH_TEST(test_our_words_come_between_responses),
        BENCH_TEST(test_an_answer_to_nothing),
        BENCH_TEST(test_a_plus_for_nobody),
        BENCH_TEST(test_ends),
        BENCH_TEST(test_server_says_bye),
        BENCH_TEST(test_server_is_gone),
        BENCH_TEST(test_client_closes_its_side),
        BENCH_TEST(test_client_ends_in_a_line),
        COMPRESS_TEST(test_compress),
        COMPRESS_TEST(test_compress_byte_by_byte),
        COMPRESS_TEST(test_compress_waits_until_nothing_is_under_way),
        COMPRESS_TEST(test_compress_waits_for_the_end_of_a_response),
        COMPRESS_TEST(test_compress_refused),
        COMPRESS_TEST(test_compress_not_offered),
        COMPRESS_TEST(test_compress_twice),
        COMPRESS_TEST(test_clear_behind_compress),
        COMPRESS_TEST(test_clear_behind_compress_that_waits),
        COMPRESS_TEST(test_clear_behind_the_answer),
        COMPRESS_TEST(test_compressed_data_cut_off),
        COMPRESS_TEST(test_compress_bomb),
        COMPRESS_TEST(test_compressed_commands_take_their_turn),
        COMPRESS_TEST(test_compress_needs_the_lease),
        COMPRESS_TEST(test_compress_and_a_freeze),
        COMPRESS_TEST(test_compress_in_a_freeze_waits),
        COMPRESS_TEST(test_compress_in_idle),
        COMPRESS_TEST(test_compress_over_a_hand_over),
        COMPRESS_TEST(test_shutdown_with_compress),
        BENCH_TEST(test_nothing_passes_without_a_lease),
        BENCH_TEST(test_the_lease_is_asked_after_the_bytes),
        BENCH_TEST(test_shutdown_waits_for_the_command),
        BENCH_TEST(test_shutdown_in_idle),
        BENCH_TEST(test_freeze_in_idle),
        BENCH_TEST(test_a_command_of_ours),
        BENCH_TEST(test_only_reads),
        BENCH_TEST(test_expunges_are_told_at_the_next_command),
        BENCH_TEST(test_what_is_gone_is_told_as_vanished),
        BENCH_TEST(test_numbers_from_before_an_expunge),
        BENCH_TEST(test_numbers_from_behind_an_expunge),
        BENCH_TEST(test_flags_are_told_before_the_next_command),
        BENCH_TEST(test_flags_of_some_messages),
        BENCH_TEST(test_no_flags_of_no_messages),
        BENCH_TEST(test_flags_wait_until_expunges_are_told),
        BENCH_TEST(test_flags_of_messages_that_are_gone),
        BENCH_TEST(test_flags_before_the_idle_goes_on),
        BENCH_TEST(test_flags_and_the_next_freeze),
        BENCH_TEST(test_flags_that_do_not_come),
        BENCH_TEST(test_flags_that_came_end_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
