#include "io.h"
#include "migrator/imap/imap_client.h"

/* What the client told, as a text: "END a OK [code] text", "DATA a FETCH 3", "BEGIN 3 7 5", "BODY hello",
 * "READY". */
struct world {
    struct loop *loop;
    struct conf_backend backend;
    struct io_peer peer;
    struct imapc *c;
    struct buf told;
    const char *wanted; /* the last thing to wait for */
    bool done;
    bool pause_at_begin, free_at_data, in_body;
    struct timer *slow; /* set by each line, which costs 2 ms; owned */
    uint64_t timeout_ms;
};

struct asker {
    struct world *w;
    const char *name;
    bool takes_nothing;
};

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define LOGIN(caps)                                                                                          \
    ">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN ann {6+}", "=secret",                             \
        ">%T OK [CAPABILITY IMAP4rev1" caps "] in"

static void check_done(struct world *w)
{
    w->done = w->done || (w->wanted && strstr(buf_str(&w->told), w->wanted));
}

static void on_end(void *owner, const struct imapc_end *e)
{
    static const char *const names[] = {"OK", "NO", "BAD", "DOWN"};
    struct asker *a = owner;
    buf_printf(&a->w->told, "END %s %s [%.*s] %.*s\n", a->name, names[e->rc], (int)e->code.len,
               (const char *)e->code.p, (int)e->text.len, (const char *)e->text.p);
    check_done(a->w);
}

static enum imapc_taken note_data(struct world *w, const char *name, const struct imap_resp *resp)
{
    if (resp->kind == RESP_DATA)
        buf_printf(&w->told, "DATA %s %.*s %u\n", name, (int)resp->word.len, (const char *)resp->word.p,
                   resp->number);
    else
        buf_printf(&w->told, "STATUS %s [%.*s]\n", name, (int)resp->code.len, (const char *)resp->code.p);
    check_done(w);
    return IMAPC_TAKEN;
}

static enum imapc_taken on_data(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct asker *a = owner;
    uint32_t uid;
    if (a->takes_nothing)
        return IMAPC_NOT_MINE;
    if (resp->kind == RESP_DATA && span_is_ci(resp->word, "FETCH") && !data)
        return IMAPC_ODD;
    note_data(a->w, a->name, resp);
    if (a->w->slow)
        timer_start(a->w->slow, 1);
    for (uint64_t end = uv_hrtime() + 2000 * 1000; a->w->slow && uv_hrtime() < end;)
        ;
    if (imap_value_u32(imap_value_get(data, "UID"), &uid))
        buf_printf(&a->w->told, "UID %u\n", uid);
    if (a->w->free_at_data)
        imapc_free(&a->w->c);
    check_done(a->w);
    return IMAPC_TAKEN;
}

static void note_odd(void *owner, const struct imapc_odd *odd)
{
    struct world *w = owner;
    buf_printf(&w->told, "ODD %s %u %s\n", odd->mailbox ? odd->mailbox : "-", odd->uid, odd->text);
    check_done(w);
}

static void body_begin(void *owner, uint32_t seq, uint32_t uid, uint64_t size)
{
    struct world *w = ((struct asker *)owner)->w;
    buf_printf(&w->told, "BEGIN %u %u %u\nBODY ", seq, uid, (unsigned)size);
    w->in_body = true;
    if (w->pause_at_begin)
        imapc_pause(w->c);
    check_done(w);
}

static void body_piece(void *owner, struct span bytes)
{
    struct world *w = ((struct asker *)owner)->w;
    assert_true(w->in_body);
    buf_add_span(&w->told, bytes);
}

static void body_end(void *owner)
{
    struct world *w = ((struct asker *)owner)->w;
    buf_add_str(&w->told, "\n");
    w->in_body = false;
}

static const struct imapc_body_fns body_fns = {.begin = body_begin, .piece = body_piece, .end = body_end};

static void on_event(void *owner, enum imapc_event ev)
{
    static const char *const names[] = {"READY", "FAILED", "BROKEN", "DRAINED"};
    struct world *w = owner;
    buf_printf(&w->told, "%s\n", names[ev]);
    if (ev == IMAPC_BROKEN || ev == IMAPC_FAILED)
        buf_printf(&w->told, "WHY %s\n", imapc_error(w->c));
    check_done(w);
}

static enum imapc_taken on_news(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    (void)data;
    return note_data(owner, "news", resp);
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->loop = loop_new();
    w->timeout_ms = 15000;
    w->backend = (struct conf_backend){.name = (char *)"old",
                                       .address = {.scheme = ADDRESS_IMAP, .host = (char *)"127.0.0.1"}};
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    imapc_free(&w->c);
    timer_free(&w->slow);
    buf_free(&w->told);
    loop_free(&w->loop);
    free(w);
    return 0;
}

static void wait_for(struct world *w, const char *text)
{
    w->wanted = text;
    w->done = false;
    check_done(w);
    io_wait(w->loop, &w->done);
}

static void start(struct world *w, const char *const *script)
{
    io_peer_start(&w->peer, script, NULL, NULL);
    w->backend.address.port = w->peer.port;
    struct login_request login = {.backend = &w->backend,
                                  .credential = credential_of_password("ann", "secret"),
                                  .limits = {.high_water = 65536, .queue_max = 1 << 20},
                                  .connect_timeout_ms = 15000,
                                  .step_timeout_ms = 15000};
    w->c = imapc_new(w->loop, &login, w->timeout_ms, on_event, on_news, w);
    imapc_on_odd(w->c, note_odd, w);
}

static void start_ready(struct world *w, const char *const *script)
{
    start(w, script);
    wait_for(w, "READY\n");
    buf_clear(&w->told);
}

static struct imapc_command command(struct asker *a, bool body)
{
    return (struct imapc_command){
        .data = on_data, .body = body ? &body_fns : NULL, .end = on_end, .owner = a};
}

static void ask(struct asker *a, const char *text)
{
    struct imapc_command cmd = command(a, strstr(text, "BODY") != NULL);
    imapc_sendf(a->w->c, &cmd, "%s", text);
}

static void told(struct world *w, const char *want)
{
    assert_string_equal(buf_str(&w->told), want);
}

/* The script has run to its end, and nothing was left over. */
static void end(struct world *w)
{
    imapc_free(&w->c);
    uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    io_peer_end(&w->peer);
}

/* --- commands --- */

static void test_pipelined(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", true}, b = {w, "b", false};
    start_ready(w, SCRIPT(LOGIN(""), "<FIRST", "<SECOND", ">* 5 EXISTS", ">* OK [UIDNEXT 9] so",
                          ">m2 NO [LIMIT] slow down", ">* 6 EXISTS", ">m1 OK [READ-ONLY] fine", ">* 7 EXISTS",
                          "=bye LOGOUT"));
    ask(&a, "FIRST");
    ask(&b, "SECOND");
    assert_int_equal(imapc_pending(w->c), 2);
    told(w, "");
    wait_for(w, "news EXISTS 7\n");
    told(w, "DATA b EXISTS 5\nSTATUS b [UIDNEXT 9]\nDATA news EXISTS 6\n"
            "END a OK [READ-ONLY] fine\nEND b NO [LIMIT] slow down\nDATA news EXISTS 7\n");
    assert_int_equal(imapc_pending(w->c), 0);
    end(w);
}

/* The first reader takes whatever comes, but for a STATUS of the mailbox that another one has asked for. */
static void test_status_comes_to_who_asked_for_that_mailbox(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false}, c = {w, "c", true};
    const struct imapc_command other = {.data = on_data, .end = on_end, .owner = &c, .mailbox = "Sent"};
    const struct imapc_command status = {.data = on_data, .end = on_end, .owner = &b, .mailbox = "Sent"};
    start_ready(w, SCRIPT(LOGIN(""), "<FETCH", "<EXAMINE Sent", "<STATUS Sent (UIDNEXT)",
                          ">* STATUS Sent (UIDNEXT 9)", ">* STATUS Drafts (UIDNEXT 5)", ">m1 OK first",
                          ">m2 OK second", ">m3 OK third", "=bye LOGOUT"));
    ask(&a, "FETCH");
    imapc_send_named(w->c, &other, "EXAMINE", "Sent", "");
    imapc_send_named(w->c, &status, "STATUS", "Sent", " (UIDNEXT)");
    wait_for(w, "END b");
    told(w, "DATA b STATUS 0\nDATA a STATUS 0\nEND a OK [] first\nEND c OK [] second\nEND b OK [] third\n");
    end(w);
}

/* Whoever asks several things at once is over with the last of them, and is gone then. */
static void test_ends_come_in_the_order_of_the_questions(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false}, c = {w, "c", false};
    start_ready(w, SCRIPT(LOGIN(""), "<FIRST", "<SECOND", "<THIRD", ">m3 OK [X y] third", ">m2 BAD second",
                          ">* 5 EXISTS", ">m1 NO first", ">* 6 EXISTS", "=bye LOGOUT"));
    ask(&a, "FIRST");
    ask(&b, "SECOND");
    ask(&c, "THIRD");
    wait_for(w, "news EXISTS 6\n");
    told(
        w,
        "DATA a EXISTS 5\nEND a NO [] first\nEND b BAD [] second\nEND c OK [X y] third\nDATA news EXISTS 6\n");
    end(w);
}

/* An answer that waits for its turn is none where the connection breaks meanwhile, and comes only once. */
static void test_answer_that_waits_for_its_turn(void **state)
{
    static const char *const ends[] = {"!close", ">m2 OK again"};
    for (size_t i = 0; i < COUNTOF(ends); i++) {
        struct world *w = *state;
        struct asker a = {w, "a", false}, b = {w, "b", false};
        start_ready(w, SCRIPT(LOGIN(""), "<FIRST", "<SECOND", ">m2 OK second", ends[i]));
        ask(&a, "FIRST");
        ask(&b, "SECOND");
        wait_for(w, "WHY");
        assert_non_null(strstr(buf_str(&w->told), "END a DOWN"));
        assert_non_null(strstr(buf_str(&w->told), "END b DOWN"));
        assert_null(strstr(buf_str(&w->told), " OK "));
        end(w);
        buf_clear(&w->told);
    }
}

/* What is given before the sign-in is over waits for it: some servers lose what is pipelined behind it. */
static void test_queued_before_ready(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    start(w, SCRIPT(LOGIN(""), "<FIRST", ">m1 OK done"));
    ask(&a, "FIRST");
    wait_for(w, "END a");
    told(w, "READY\nEND a OK [] done\n");
    end(w);
}

static void test_name_as_literal(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    struct imapc_command cmd = command(&a, false);
    struct imap_writer out;
    start_ready(
        w, SCRIPT(LOGIN(""), "<EXAMINE {3}", ">+ go", "=\xc3\xa4x", "<NOOP", ">m1 OK done", ">m2 OK done"));
    imap_writer_init(&out, imapc_literals(w->c));
    assert_int_equal(out.literals, LITERALS_SYNC);
    imap_write_raw(&out, "EXAMINE ");
    imap_write_astring(&out, span_str("\xc3\xa4x"));
    imapc_send(w->c, &out, &cmd);
    ask(&b, "NOOP");
    wait_for(w, "END b");
    told(w, "END a OK [] done\nEND b OK [] done\n");
    end(w);
}

/* A refused literal ends its command: the next one begins a line of its own. */
static void test_literal_refused(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    struct imapc_command cmd = command(&a, false);
    struct imap_writer out;
    start_ready(w, SCRIPT(LOGIN(""), "<EXAMINE {3}", ">m1 BAD no literals", "<NOOP", ">m2 OK done"));
    imap_writer_init(&out, imapc_literals(w->c));
    imap_write_raw(&out, "EXAMINE ");
    imap_write_astring(&out, span_str("\xc3\xa4x"));
    imapc_send(w->c, &out, &cmd);
    ask(&b, "NOOP");
    wait_for(w, "END b");
    told(w, "END a BAD [] no literals\nEND b OK [] done\n");
    end(w);
}

static void test_name_with_nul(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    struct imapc_command cmd = command(&a, false);
    struct imap_writer out;
    start_ready(w, SCRIPT(LOGIN(""), "<NOOP", ">m2 OK done"));
    imap_writer_init(&out, imapc_literals(w->c));
    imap_write_raw(&out, "EXAMINE ");
    imap_write_astring(&out, BYTES("x\0y"));
    imapc_send(w->c, &out, &cmd);
    ask(&b, "NOOP");
    told(w, "");
    wait_for(w, "END b");
    told(w, "END a BAD [] a name holds a NUL\nEND b OK [] done\n");
    end(w);
}

/* --- bodies --- */

static void test_bodies(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    start_ready(w, SCRIPT(LOGIN(""), "<UID FETCH 7:9 (UID BODY.PEEK[])", ">* 3 FETCH (UID 7 BODY[] {5}",
                          "}he", "}llo FLAGS (\\Seen))\r\n* 4 FETCH (BODY[] {3}\r\n* )", "} UID 8)\r\n",
                          ">* 5 FETCH (UID 9 BODY[] \"a \\\"b\\\"\")", ">* 6 FETCH (BODY[] NIL UID 10)",
                          ">* 7 FETCH (UID 11 BODY[] {0}", ">)", ">* 8 FETCH (UID 12 BODY[] \"\")",
                          ">m1 OK done"));
    ask(&a, "UID FETCH 7:9 (UID BODY.PEEK[])");
    wait_for(w, "END a");
    told(w, "BEGIN 3 7 5\nBODY hello\nDATA a FETCH 3\nUID 7\n"
            "BEGIN 4 0 3\nBODY * )\nDATA a FETCH 4\nUID 8\n"
            "BEGIN 5 9 5\nBODY a \"b\"\nDATA a FETCH 5\nUID 9\n"
            "DATA a FETCH 6\nUID 10\n"
            "BEGIN 7 11 0\nBODY \nDATA a FETCH 7\nUID 11\n"
            "BEGIN 8 12 0\nBODY \nDATA a FETCH 8\nUID 12\nEND a OK [] done\n");
    end(w);
}

/* A server may answer a later command first: a body is not for the older one, though that takes all it
 * gets. */
static void test_body_before_older_answer(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    start_ready(w, SCRIPT(LOGIN(""), "<UID FETCH 1:9 (UID FLAGS)", "<UID FETCH 7 (UID BODY.PEEK[])",
                          ">* 3 FETCH (UID 7 BODY[] {5}", "}hello)\r\n", ">* 1 FETCH (UID 5 FLAGS ())",
                          ">* 4 FETCH (UID 8 BODY[] \"quoted\")", ">m2 OK done", ">m1 OK done"));
    ask(&a, "UID FETCH 1:9 (UID FLAGS)");
    ask(&b, "UID FETCH 7 (UID BODY.PEEK[])");
    wait_for(w, "END b");
    told(w, "BEGIN 3 7 5\nBODY hello\nDATA b FETCH 3\nUID 7\nDATA a FETCH 1\nUID 5\n"
            "BEGIN 4 8 6\nBODY quoted\nDATA b FETCH 4\nUID 8\nEND a OK [] done\nEND b OK [] done\n");
    end(w);
}

/* Nothing comes while the connection is paused, though the peer has sent all of it. */
static void test_pause(void **state)
{
    static const char *const forms[] = {"{5}\r\nhello", "\"hello\""};
    for (size_t i = 0; i < COUNTOF(forms); i++) {
        struct world *w = *state;
        struct asker a = {w, "a", false};
        char *text = xasprintf("}* 3 FETCH (UID 7 BODY[] %s)\r\nm1 OK done\r\n", forms[i]);
        w->pause_at_begin = true;
        start_ready(w, SCRIPT(LOGIN(""), "<UID FETCH 7 (UID BODY.PEEK[])", text, "!mark", "!wait"));
        ask(&a, "UID FETCH 7 (UID BODY.PEEK[])");
        wait_for(w, "BEGIN 3 7 5\n");
        io_peer_marked(&w->peer, w->loop);
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
        told(w, "BEGIN 3 7 5\nBODY ");
        imapc_resume(w->c);
        told(w, "BEGIN 3 7 5\nBODY ");
        wait_for(w, "END a");
        told(w, "BEGIN 3 7 5\nBODY hello\nDATA a FETCH 3\nUID 7\nEND a OK [] done\n");
        end(w);
        buf_clear(&w->told);
        free(text);
    }
}

/* --- APPEND --- */

static void append(struct world *w, const char *flags, const char *text)
{
    imapc_append_message(w->c, span_str(flags), span_str(" 1-Jan-2020 00:00:00 +0000"), strlen(text));
    imapc_append_bytes(w->c, span_of(text, 1));
    imapc_append_bytes(w->c, span_of(text + 1, strlen(text) - 1));
}

#define DATE "\" 1-Jan-2020 00:00:00 +0000\""

static void test_append_several(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    struct imapc_command cmd = command(&a, false);
    start_ready(w, SCRIPT(LOGIN(" LITERAL+ MULTIAPPEND"), "<APPEND \"In box\" (\\Seen x) " DATE " {5+}",
                          "=hello () " DATE " {2+}", "=hi", "<NOOP", ">m1 OK [APPENDUID 7 1:2] done",
                          ">m2 OK done"));
    imapc_append_begin(w->c, span_str("In box"), &cmd);
    append(w, "\\Seen x", "hello");
    ask(&b, "NOOP"); /* behind the APPEND that is still open */
    append(w, "", "hi");
    imapc_append_end(w->c);
    wait_for(w, "END b");
    told(w, "END a OK [APPENDUID 7 1:2] done\nEND b OK [] done\n");
    end(w);
}

/* Bytes wait for "+", and more than a mark of them says full. */
static void test_append_sync(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    struct imapc_command cmd = command(&a, false);
    char *text = xmalloc(300001);
    memset(text, 'x', 300000);
    text[300000] = '\0';
    char *line = xasprintf("=%s () " DATE " {2}", text);
    start_ready(w, SCRIPT(LOGIN(""), "<APPEND INBOX () " DATE " {300000}", "!mark", ">+ go", line, ">+ go",
                          "=hi", ">m1 OK done"));
    imapc_append_begin(w->c, span_str("INBOX"), &cmd);
    assert_false(imapc_append_full(w->c));
    append(w, "", text);
    assert_true(imapc_append_full(w->c));
    wait_for(w, "DRAINED\n");
    assert_false(imapc_append_full(w->c));
    append(w, "", "hi");
    imapc_append_end(w->c);
    wait_for(w, "END a");
    told(w, "DRAINED\nEND a OK [] done\n");
    end(w);
    free(line);
    free(text);
}

/* Refused instead of "+": the command is over for the peer, and nothing more of it may be sent. */
static void test_append_refused_before_its_literal(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    struct imapc_command cmd = command(&a, false);
    start_ready(w, SCRIPT(LOGIN(" MULTIAPPEND"), "<APPEND INBOX () " DATE " {5}", ">m1 NO [OVERQUOTA] full",
                          "<NOOP", ">m2 OK done"));
    imapc_append_begin(w->c, span_str("INBOX"), &cmd);
    append(w, "", "hello");
    wait_for(w, "END a");
    ask(&b, "NOOP");
    append(w, "", "second");
    assert_int_equal(imapc_pending(w->c), 1);
    imapc_append_end(w->c);
    wait_for(w, "END b");
    told(w, "END a NO [OVERQUOTA] full\nEND b OK [] done\n");
    end(w);
}

/* Refused inside of a literal that nobody waited for: the peer still has to read past the rest of it. */
static void test_append_refused_inside_its_literal(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    struct imapc_command cmd = command(&a, false);
    start_ready(w, SCRIPT(LOGIN(" LITERAL+ MULTIAPPEND"), "<APPEND INBOX () " DATE " {5+}",
                          ">m1 NO [TOOBIG] no", "=hello", "<NOOP", ">m2 OK done"));
    imapc_append_begin(w->c, span_str("INBOX"), &cmd);
    imapc_append_message(w->c, span_str(""), span_str(" 1-Jan-2020 00:00:00 +0000"), 5);
    imapc_append_bytes(w->c, span_str("hel"));
    wait_for(w, "END a");
    imapc_append_bytes(w->c, span_str("lo"));
    append(w, "", "second");
    imapc_append_end(w->c);
    ask(&b, "NOOP");
    wait_for(w, "END b");
    told(w, "END a NO [TOOBIG] no\nEND b OK [] done\n");
    end(w);
}

static void stream(struct world *w, struct imapc_command *cmd)
{
    struct imap_writer head;
    imap_writer_init(&head, LITERALS_PLUS);
    imap_write_raw(&head, "GIVE (%%{x 5}\r\n");
    imapc_stream_begin(w->c, &head, 5, cmd);
}

static void test_stream_of_another_command(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    struct imapc_command cmd = command(&a, false);
    start_ready(
        w, SCRIPT(LOGIN(" LITERAL+"), "<GIVE (%{x 5}", "=a", "=bc)", "<NOOP", ">m1 OK done", ">m2 OK done"));
    stream(w, &cmd);
    imapc_append_bytes(w->c, span_str("a\r\n"));
    ask(&b, "NOOP"); /* behind what is still open */
    imapc_append_bytes(w->c, span_str("bc"));
    imapc_stream_end(w->c, ")");
    wait_for(w, "END b");
    told(w, "END a OK [] done\nEND b OK [] done\n");
    end(w);
}

/* The server reads past its bytes all the same. */
static void test_stream_refused_before_its_end(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false}, b = {w, "b", false};
    struct imapc_command cmd = command(&a, false);
    start_ready(
        w, SCRIPT(LOGIN(" LITERAL+"), "<GIVE (%{x 5}", ">m1 NO not here", "=hello)", "<NOOP", ">m2 OK done"));
    stream(w, &cmd);
    wait_for(w, "END a");
    imapc_append_bytes(w->c, span_str("hello"));
    imapc_stream_end(w->c, ")");
    ask(&b, "NOOP");
    wait_for(w, "END b");
    told(w, "END a NO [] not here\nEND b OK [] done\n");
    end(w);
}

/* A message that can't be completed: the connection goes, so that nothing short is stored. */
static void test_append_given_up(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    struct imapc_command cmd = command(&a, false);
    start_ready(w, SCRIPT(LOGIN(" LITERAL+"), "<APPEND INBOX () " DATE " {5+}", "!wait"));
    imapc_append_begin(w->c, span_str("INBOX"), &cmd);
    imapc_append_message(w->c, span_str(""), span_str(" 1-Jan-2020 00:00:00 +0000"), 5);
    imapc_append_bytes(w->c, span_str("hel"));
    for (int i = 0; i < 5; i++)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    imapc_forget(w->c, &a);
    told(w, "");
    wait_for(w, "WHY");
    told(w, "BROKEN\nWHY given up inside of an APPEND, while APPEND\n");
    imapc_append_bytes(w->c, span_str("lo")); /* nobody minds */
    imapc_append_end(w->c);
    end(w);
    assert_int_equal(w->peer.extra, 3);
}

/* Who stands still between the end of an APPEND and the next turn of the loop sends no end of it. */
static void test_what_was_gathered_stays_behind_the_fence(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    struct imapc_command cmd = command(&a, false);
    uint64_t until_ms = clock_boot_ms() + 60 * 1000;
    start_ready(w, SCRIPT(LOGIN(" LITERAL+"), "<APPEND INBOX () " DATE " {5+}", "!wait"));
    imapc_set_fence(w->c, &until_ms);
    imapc_append_begin(w->c, span_str("INBOX"), &cmd);
    imapc_append_message(w->c, span_str(""), span_str(" 1-Jan-2020 00:00:00 +0000"), 5);
    for (int i = 0; i < 5; i++)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    imapc_append_bytes(w->c, span_str("hello"));
    imapc_append_end(w->c);
    until_ms = clock_boot_ms();
    wait_for(w, "WHY");
    told(
        w,
        "END a DOWN [] the job is no longer this migrator's: it stood still, or Redis did not renew the job, while APPEND\n"
        "BROKEN\nWHY the job is no longer this migrator's: it stood still, or Redis did not renew the job, while APPEND\n");
    end(w);
    assert_int_equal(w->peer.extra, 0);
}

/* --- ends --- */

static void test_bye(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", true}, b = {w, "b", true};
    start_ready(w, SCRIPT(LOGIN(""), "<UID FETCH 1", "<NOOP", ">* BYE too many", "!close"));
    ask(&a, "UID FETCH 1");
    ask(&b, "NOOP");
    wait_for(w, "WHY");
    told(w, "STATUS news []\nEND a DOWN [] BYE too many, while UID FETCH\nEND b DOWN [] BYE too many, while "
            "UID FETCH\n"
            "BROKEN\nWHY BYE too many, while UID FETCH\n");
    buf_clear(&w->told);
    ask(&a, "NOOP"); /* ends as well, and not from inside */
    told(w, "");
    wait_for(w, "END a");
    end(w);
}

static void test_time_out(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", true};
    w->timeout_ms = 200;
    start_ready(w, SCRIPT(LOGIN(""), "<NOOP", ">* OK still here", "!wait"));
    ask(&a, "NOOP");
    wait_for(w, "WHY");
    told(w, "STATUS news []\nEND a DOWN [] no answer for 0 s, while NOOP\nBROKEN\nWHY no answer for 0 s, "
            "while NOOP\n");
    end(w);
}

/* While we ourselves hold it up, time does not run. */
static void test_no_time_out_while_paused(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    bool over = false;
    w->timeout_ms = 100;
    w->pause_at_begin = true;
    start_ready(w, SCRIPT(LOGIN(""), "<UID FETCH 7 (UID BODY.PEEK[])",
                          "}* 3 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nm1 OK done\r\n"));
    ask(&a, "UID FETCH 7 (UID BODY.PEEK[])");
    wait_for(w, "BEGIN 3 7 5\n");
    struct timer *t = timer_new(w->loop, io_overdue, &over);
    timer_start(t, 500);
    io_wait(w->loop, &over);
    timer_free(&t);
    told(w, "BEGIN 3 7 5\nBODY ");
    imapc_resume(w->c);
    wait_for(w, "END a");
    end(w);
}

static void test_bad_answers(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"}m9 OK what\r\n", "an answer to no command"},
        {"}rubbish\r\n", "a response that is none"},
        {"}\xff\r\n", "a response that is none"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct world *w = *state;
        struct asker a = {w, "a", false};
        start_ready(w, SCRIPT(LOGIN(""), "<NOOP", rows[i].text, "!wait"));
        ask(&a, "NOOP");
        wait_for(w, "WHY");
        assert_true(i == 0 || imapc_is_garbled(w->c));
        assert_true(i == 0 || !strncmp(buf_str(&w->told), "ODD ", 4));
        if (!strstr(buf_str(&w->told), rows[i].why) || !strstr(buf_str(&w->told), "END a DOWN"))
            fail_msg("%zu: %s", i, buf_str(&w->told));
        end(w);
        buf_clear(&w->told);
    }
}

/* What is one response, and can't be told apart or understood, is told with its bytes, and what comes behind
 * it is read. */
static void test_odd_answers(void **state)
{
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"}* 3 FETCH (UID 7\r\n",
         "INBOX 7 old answers FETCH by what can't be understood: * 3 FETCH (UID 7\n"},
        {"}* 3 FETCH (UID 7 FLAGS (a\"b))\r\n", "* 3 FETCH (UID 7 FLAGS (a\"b))\n"},
        {"}* 3 FETCH (UID 7)) \001\\x\\y\r\n", "* 3 FETCH (UID 7)) \\x01\\\\x\\y\n"},
        {"}* 3 FETCH (UID 7 FLAGS (a)b) X {8}\r\n)\r\n* Y\r\n)\r\n", "* 3 FETCH (UID 7 FLAGS (a)b) X {8})\n"},
        {"}* 3 FETCH (\"X {7}\r\nm1 OK\r\n) BODY[] {2}\r\nab)\r\n", "* 3 FETCH (\"X {7}) BODY[] {2})\n"},
        {"}* 5000000000 EXISTS\r\n",
         "INBOX 0 old answers FETCH by what can't be understood: * 5000000000 EXISTS\n"},
        {"}* \001FETCH (UID 7)\r\n", "* \\x01FETCH (UID 7)\n"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct world *w = *state;
        struct asker a = {w, "a", false};
        struct imapc_command cmd = command(&a, false);
        cmd.mailbox = "INBOX";
        char *text = xasprintf("%s* 4 FETCH (UID 9)\r\n", rows[i].text);
        start_ready(w, SCRIPT(LOGIN(""), "<FETCH", text, ">m1 OK done"));
        imapc_sendf(w->c, &cmd, "FETCH");
        wait_for(w, "END a");
        if (strncmp(buf_str(&w->told), "ODD ", 4) || !strstr(buf_str(&w->told), rows[i].told) ||
            !strstr(buf_str(&w->told), "DATA a FETCH 4\nUID 9\nEND a OK [] done\n"))
            fail_msg("%zu: %s", i, buf_str(&w->told));
        assert_false(imapc_is_garbled(w->c));
        end(w);
        buf_clear(&w->told);
        free(text);
    }
}

/* More than anybody asked for is passed over, and a word that nobody asked for is nothing. */
static void test_literal_that_nobody_asked_for(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    char *big = xmalloc(70001);
    memset(big, 'x', 70000);
    big[70000] = '\0';
    char *text = xasprintf("}* 3 FETCH (X {70000}\r\n%s UID 7)\r\n* XYZ (\"\r\n", big);
    start_ready(w, SCRIPT(LOGIN(""), "<FETCH", text, ">m1 OK done"));
    ask(&a, "FETCH");
    wait_for(w, "END a");
    assert_non_null(strstr(buf_str(&w->told), ": * 3 FETCH (X {70000} UID 7)\n"));
    assert_null(strstr(buf_str(&w->told), "ODD - 0 old answers FETCH by what can't be understood: * XYZ"));
    end(w);
    free(text);
    free(big);
}

/* A depth that would need memory without end, and a line without end. */
static void test_bombs(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct world *w = *state;
        struct asker a = {w, "a", false};
        char *bomb = xmalloc(2 << 20);
        memset(bomb, i ? '(' : 'x', (2 << 20) - 1);
        memcpy(bomb, "}* 3 FETCH (", 12);
        bomb[(2 << 20) - 1] = '\0';
        start_ready(w, SCRIPT(LOGIN(""), "<NOOP", bomb, "!wait"));
        ask(&a, "NOOP");
        wait_for(w, "WHY");
        assert_non_null(strstr(buf_str(&w->told), "line too long"));
        end(w);
        buf_clear(&w->told);
        free(bomb);
    }
}

static void test_refused_login(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    start(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN ann {6+}", "=secret",
                    ">%T NO wrong"));
    ask(&a, "NOOP");
    wait_for(w, "WHY");
    assert_int_equal(imapc_login_rc(w->c), LOGIN_REFUSED);
    assert_non_null(strstr(buf_str(&w->told), "END a DOWN"));
    assert_non_null(strstr(buf_str(&w->told), "FAILED\n"));
    assert_null(strstr(buf_str(&w->told), "secret"));
    end(w);
}

static void test_free_from_inside(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    w->free_at_data = true;
    start_ready(w, SCRIPT(LOGIN(""), "<NOOP", ">* 1 EXISTS", ">* 2 EXISTS", ">m1 OK done", "!wait"));
    ask(&a, "NOOP");
    wait_for(w, "EXISTS 1\n");
    assert_null(w->c);
    end(w);
    told(w, "DATA a EXISTS 1\n");
}

static void note_timer(void *owner)
{
    struct world *w = owner;
    buf_add_str(&w->told, "TIMER\n");
}

/* Whatever a server sends, others have their turn in between, and its end comes behind all of it. */
static void test_flood_leaves_turns_to_others(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    struct buf flood = {0};
    buf_add_str(&flood, "}");
    for (int i = 0; i < 20; i++)
        buf_add_str(&flood, "* 1 EXISTS\r\n");
    buf_add_str(&flood, "* BYE enough\r\n");
    start_ready(w, SCRIPT(LOGIN(""), "<NOOP", buf_str(&flood), "!close"));
    w->slow = timer_new(w->loop, note_timer, w);
    ask(&a, "NOOP");
    wait_for(w, "WHY");
    const char *first = strstr(buf_str(&w->told), "DATA"), *between = strstr(first, "TIMER");
    assert_true(between && strstr(between, "DATA"));
    assert_non_null(strstr(buf_str(&w->told), "WHY BYE enough, while NOOP"));
    buf_free(&flood);
    end(w);
}

/* What comes for one that is gone is thrown away, a body too. */
static void test_forget(void **state)
{
    struct world *w = *state;
    struct asker a = {w, "a", false};
    start_ready(w, SCRIPT(LOGIN(""), "<UID FETCH 7 (UID BODY.PEEK[])", "<NOOP",
                          "}* 3 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n", ">m1 OK done", ">m2 OK done",
                          ">* 9 EXISTS", "=bye LOGOUT"));
    ask(&a, "UID FETCH 7 (UID BODY.PEEK[])");
    ask(&a, "NOOP");
    imapc_forget(w->c, &a);
    assert_int_equal(imapc_pending(w->c), 2);
    wait_for(w, "news EXISTS 9");
    told(w, "DATA news FETCH 3\nDATA news EXISTS 9\n");
    assert_int_equal(imapc_pending(w->c), 0);
    end(w);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_pipelined),
        TEST(test_status_comes_to_who_asked_for_that_mailbox),
        TEST(test_ends_come_in_the_order_of_the_questions),
        TEST(test_answer_that_waits_for_its_turn),
        TEST(test_queued_before_ready),
        TEST(test_name_as_literal),
        TEST(test_literal_refused),
        TEST(test_name_with_nul),
        TEST(test_bodies),
        TEST(test_body_before_older_answer),
        TEST(test_pause),
        TEST(test_append_several),
        TEST(test_append_sync),
        TEST(test_append_refused_before_its_literal),
        TEST(test_append_refused_inside_its_literal),
        TEST(test_stream_of_another_command),
        TEST(test_stream_refused_before_its_end),
        TEST(test_append_given_up),
        TEST(test_what_was_gathered_stays_behind_the_fence),
        TEST(test_bye),
        TEST(test_time_out),
        TEST(test_no_time_out_while_paused),
        TEST(test_bad_answers),
        TEST(test_odd_answers),
        TEST(test_literal_that_nobody_asked_for),
        TEST(test_bombs),
        TEST(test_refused_login),
        TEST(test_free_from_inside),
        TEST(test_flood_leaves_turns_to_others),
        TEST(test_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
