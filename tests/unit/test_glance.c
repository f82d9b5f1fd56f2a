#include "io.h"
#include "migrator/mailbox/glance.h"

/* Three mailboxes on a scripted server, looked at. */
struct world {
    struct loop *loop;
    struct conf_backend backend;
    struct io_peer peer;
    struct imapc *c;
    struct glance_at at[3];
    bool done, up;
};

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define LOGIN                                                                                                \
    ">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN ann {6+}", "=secret",                             \
        ">%T OK [CAPABILITY IMAP4rev1 CONDSTORE] in"
#define ASKED "<EXAMINE one", "<EXAMINE two", "<EXAMINE three"
#define OPENED(exists, uidvalidity, uidnext, modseq)                                                         \
    ">* FLAGS (\\Seen)", ">* " exists " EXISTS", ">* 0 RECENT", ">* OK [UIDVALIDITY " uidvalidity "] so",    \
        ">* OK [UIDNEXT " uidnext "] so", ">* OK [HIGHESTMODSEQ " modseq "] so"

static void on_event(void *owner, enum imapc_event ev)
{
    struct world *w = owner;
    w->done = w->done || ev == IMAPC_READY;
}

static void on_looked(void *owner, bool up)
{
    struct world *w = owner;
    w->up = up;
    w->done = true;
}

static void sign_in(struct world *w, const char *const *script)
{
    *w = (struct world){.loop = loop_new(), .at = {{.name = "one"}, {.name = "two"}, {.name = "three"}}};
    io_peer_start(&w->peer, script, NULL, NULL);
    w->backend = (struct conf_backend){
        .name = (char *)"old",
        .address = {.scheme = ADDRESS_IMAP, .host = (char *)"127.0.0.1", .port = w->peer.port}};
    struct login_request login = {.backend = &w->backend,
                                  .credential = credential_of_password("ann", "secret"),
                                  .limits = {.high_water = 65536, .queue_max = 1 << 20},
                                  .connect_timeout_ms = 15000,
                                  .step_timeout_ms = 15000};
    w->c = imapc_new(w->loop, &login, 15000, on_event, NULL, w);
    io_wait(w->loop, &w->done);
    w->done = false;
}

static void end(struct world *w)
{
    imapc_free(&w->c);
    uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    io_peer_end(&w->peer);
    loop_free(&w->loop);
}

static void assert_side(const struct stamp_side *s, uint32_t uidvalidity, uint32_t uidnext, uint32_t messages,
                        uint64_t modseq)
{
    assert_int_equal(s->uidvalidity, uidvalidity);
    assert_int_equal(s->uidnext, uidnext);
    assert_int_equal(s->messages, messages);
    assert_int_equal(s->modseq, modseq);
}

static void each_mailbox_gets_its_own_numbers(void **state)
{
    struct world w;
    (void)state;
    sign_in(&w, SCRIPT(LOGIN, ASKED, OPENED("3", "7", "9", "40"), ">m1 OK fine", OPENED("0", "8", "1", "1"),
                       ">m2 OK fine", OPENED("5", "9", "77", "12"), ">m3 OK fine", "<LOGOUT"));
    glance_start(w.c, w.at, 3, on_looked, &w);
    io_wait(w.loop, &w.done);
    assert_true(w.up);
    assert_side(&w.at[0].now, 7, 9, 3, 40);
    assert_side(&w.at[1].now, 8, 1, 0, 1);
    assert_side(&w.at[2].now, 9, 77, 5, 12);
    end(&w);
}

static void refused_mailbox_has_no_numbers(void **state)
{
    struct world w;
    (void)state;
    sign_in(&w, SCRIPT(LOGIN, ASKED, OPENED("3", "7", "9", "40"), ">m1 OK fine", ">* 4 EXISTS", ">m2 NO gone",
                       OPENED("5", "9", "77", "12"), ">m3 OK fine", "<LOGOUT"));
    glance_start(w.c, w.at, 3, on_looked, &w);
    io_wait(w.loop, &w.done);
    assert_true(w.up);
    assert_side(&w.at[1].now, 0, 0, 0, 0);
    assert_side(&w.at[2].now, 9, 77, 5, 12);
    end(&w);
}

static void broken_connection_is_told_once(void **state)
{
    struct world w;
    (void)state;
    sign_in(&w, SCRIPT(LOGIN, ASKED, OPENED("3", "7", "9", "40"), ">m1 OK fine"));
    glance_start(w.c, w.at, 3, on_looked, &w);
    io_wait(w.loop, &w.done);
    assert_false(w.up);
    end(&w);
}

static void cancelled_look_calls_nobody(void **state)
{
    struct world w;
    (void)state;
    /* A connection that is given up with commands under way is reset. */
    sign_in(&w, SCRIPT(LOGIN, "!wait"));
    struct glance *l = glance_start(w.c, w.at, 3, on_looked, &w);
    glance_cancel(&l);
    assert_null(l);
    end(&w);
    assert_false(w.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mailbox_gets_its_own_numbers),
        cmocka_unit_test(refused_mailbox_has_no_numbers),
        cmocka_unit_test(broken_connection_is_told_once),
        cmocka_unit_test(cancelled_look_calls_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
