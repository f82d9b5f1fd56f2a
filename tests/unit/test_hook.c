#include "unit.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/loop.h"
#include "migrator/site/hook.h"

struct world {
    struct loop *loop;
    struct timer *tick;
    bool done;
    enum hook_rc rc;
    char *error;
    const char *mechanism, *password; /* of the next run() */
};

static void on_tick(void *owner)
{
    (void)owner;
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->loop = loop_new();
    w->tick = timer_new(w->loop, on_tick, w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    timer_free(&w->tick);
    loop_free(&w->loop);
    free(w->error);
    free(w);
    return 0;
}

static void on_hook(void *owner, enum hook_rc rc, const char *error)
{
    struct world *w = owner;

    w->done = true;
    w->rc = rc;
    assert_int_equal(rc == HOOK_DONE, error == NULL);
    free(w->error);
    w->error = error ? xstrdup(error) : NULL;
}

static struct hook_call call_of(const struct conf_list *command)
{
    return (struct hook_call){.command = command,
                              .event = "freeze",
                              .user = "ann%20b@x",
                              .login = "ann b@x",
                              .source = "old",
                              .target = "new",
                              .timeout_ms = 5000};
}

static void turn(struct world *w)
{
    timer_start(w->tick, 10);
    uv_run(&w->loop->uv, UV_RUN_ONCE);
}

static const char *run(struct world *w, const char *script, uint64_t timeout_ms)
{
    char *items[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script,
                     (char *)(uintptr_t) "%e", (char *)(uintptr_t) "%u"};
    struct conf_list command = {.items = items, .n = COUNTOF(items)};
    struct hook_call call = call_of(&command);

    call.timeout_ms = timeout_ms;
    call.mechanism = w->mechanism;
    call.password = span_str(w->password ? w->password : "");
    w->done = false;
    hook_start(w->loop, &call, on_hook, w);
    assert_false(w->done);
    while (!w->done)
        turn(w);
    return w->error ? w->error : "";
}

static void test_expand(void **state)
{
    struct buf out = {0};
    struct hook_call call = call_of(NULL);

    (void)state;
    hook_expand(&out, &call, "%u|%k|%s|%t|%e|%%u|%x|%");
    assert_string_equal(buf_str(&out), "ann b@x|ann%20b@x|old|new|freeze|%u|%x|%");
    buf_free(&out);
}

static void test_ends(void **state)
{
    struct world *w = *state;

    assert_string_equal(run(w, "test \"$0 $1\" = 'freeze ann b@x'", 5000), "");
    assert_string_equal(run(w,
                            "test \"$IMAPFERRY_EVENT $IMAPFERRY_USER $IMAPFERRY_ACCOUNT $IMAPFERRY_SOURCE "
                            "$IMAPFERRY_TARGET\" = 'freeze ann b@x ann%%20b@x old new'",
                            5000),
                        "");
    assert_string_equal(run(w, "exit 3", 5000), "ended with status 3");
    assert_string_equal(run(w, "echo no such user >&2; echo more >&2; exit 1", 5000),
                        "ended with status 1: no such user");
    assert_string_equal(run(w, "kill -9 $$", 5000), "was ended by signal 9");
    assert_string_equal(run(w, "sleep 60 & sleep 60", 100), "took too long");
    assert_string_equal(run(w, "sleep 5 & exit 0", 5000), ""); /* what it leaves behind is not waited for */
}

static void test_wants_login(void **state)
{
    struct world *w = *state;

    assert_string_equal(run(w, "exit 77", 5000), "ended with status 77");
    assert_int_equal(w->rc, HOOK_WANTS_LOGIN);
    assert_string_equal(run(w, "exit 78", 5000), "ended with status 78");
    assert_int_equal(w->rc, HOOK_FAILED);
}

/* One line, or two, and the end; nothing at all where no mechanism is told. A program may leave it unread. */
static void test_input(void **state)
{
    struct world *w = *state;
    char *longest = xcalloc(1, 4097);

    assert_string_equal(run(w, "cat | wc -c | grep -qx 0", 5000), "");
    w->mechanism = "none";
    assert_string_equal(run(w, "test \"$(cat; echo .)\" = \"$(printf 'none\\n.')\"", 5000), "");
    w->mechanism = "PLAIN";
    w->password = " b\\n\303\274$x' ";
    assert_string_equal(run(w, "cat | cmp - <<'E'\nPLAIN\n b\\n\303\274$x' \nE\n", 5000), "");
    assert_string_equal(run(w, "exit 0", 5000), "");
    memset(longest, 'x', 4096);
    w->password = longest;
    assert_string_equal(run(w, "wc -c | grep -qx 4103", 5000), "");
    free(longest);
}

/* What it says may be a trace of its shell. */
static void test_password_is_not_quoted(void **state)
{
    static const char hidden[] =
        "ended with status 1: (what it says is not shown, since the password is in it)";
    struct world *w = *state;

    w->mechanism = "PLAIN";
    w->password = "opensesame";
    assert_string_equal(run(w, "echo no >&2; read m; read p; echo \"got $p\" >&2; exit 1", 5000), hidden);
    /* cut off in the middle of it */
    assert_string_equal(run(w, "read m; read p; printf '%0995d%%s' 0 $p >&2; exit 1", 5000), hidden);
    assert_null(strstr(run(w, "printf '%0995d%%s' 0 closed >&2; exit 1", 5000), "not shown"));
    assert_string_equal(run(w, "echo open >&2; exit 1", 5000), "ended with status 1: open");
}

static void test_no_program(void **state)
{
    struct world *w = *state;
    char *items[] = {(char *)(uintptr_t) "/no/such/program"};
    struct conf_list command = {.items = items, .n = 1};
    struct hook_call call = call_of(&command);

    hook_start(w->loop, &call, on_hook, w);
    while (!w->done)
        turn(w);
    assert_string_equal(w->error, "could not be started: no such file or directory");
}

/* The first child of this process; 0: there is none. */
static int child_of_ours(void)
{
    FILE *f = fopen("/proc/thread-self/children", "r");
    int pid = 0;

    assert_non_null(f);
    if (fscanf(f, "%d", &pid) != 1)
        pid = 0;
    fclose(f);
    return pid;
}

/* As a process that waits for a dead disk: nobody hears of its end, since another one traces it. */
static void test_that_can_not_be_killed(void **state)
{
    struct world *w = *state;
    char *items[] = {(char *)(uintptr_t) "/bin/sleep", (char *)(uintptr_t) "60"};
    struct conf_list command = {.items = items, .n = 2};
    struct hook_call call = call_of(&command);
    int ends[2], pid;
    char byte;

    call.timeout_ms = 200;
    hook_start(w->loop, &call, on_hook, w);
    pid = child_of_ours();
    assert_true(pid > 0);
    assert_int_equal(pipe(ends), 0);
    pid_t tracer = fork();
    if (tracer == 0) {
        bool good = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
        while (write(ends[1], good ? "y" : "n", 1) == 1)
            for (;;)
                pause();
        _exit(0);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    while (!w->done)
        turn(w);
    assert_int_equal(byte, 'y');
    assert_string_equal(w->error, "took too long, and could not be killed");
    kill(tracer, SIGKILL);
    assert_int_equal(waitpid(tracer, NULL, 0), tracer);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(ends[0]);
    close(ends[1]);
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    char *items[] = {(char *)(uintptr_t) "/bin/sleep", (char *)(uintptr_t) "60"};
    struct conf_list command = {.items = items, .n = 2};
    struct hook_call call = call_of(&command);
    struct hook *h = hook_start(w->loop, &call, on_hook, w);

    hook_cancel(&h);
    assert_null(h);
    h = hook_start(w->loop, &call, on_hook, w);
    turn(w);
    hook_cancel(&h);
    assert_null(h);
    for (int i = 0; i < 1000 && child_of_ours(); i++)
        turn(w);
    assert_false(w->done);
    assert_int_equal(child_of_ours(), 0);
}

/* The loop's end waits for it: no zombie, and nothing that was freed is told of its end. */
static void test_cancel_at_the_end(void **state)
{
    struct world *w = *state;
    char *items[] = {(char *)(uintptr_t) "/bin/sleep", (char *)(uintptr_t) "60"};
    struct conf_list command = {.items = items, .n = 2};
    struct hook_call call = call_of(&command);
    struct hook *h = hook_start(w->loop, &call, on_hook, w);

    turn(w);
    hook_cancel(&h);
    timer_free(&w->tick);
    loop_free(&w->loop);
    assert_false(w->done);
    assert_int_equal(child_of_ours(), 0);
}

/* A server that takes connections and says nothing. */
static void test_url(void **state)
{
    struct world *w = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    char *url = xasprintf("http://127.0.0.1:%d/", ntohs(a.sin_port));
    struct conf_list list = {.items = &url, .n = 1};
    struct hook_call call = call_of(&list);

    struct hook *h = hook_start(w->loop, &call, on_hook, w);
    hook_cancel(&h);
    assert_null(h);
    h = hook_start(w->loop, &call, on_hook, w);
    for (int i = 0; i < 5; i++)
        turn(w);
    hook_cancel(&h);
    for (int i = 0; i < 5; i++)
        turn(w);
    assert_false(w->done);

    call.timeout_ms = 50;
    hook_start(w->loop, &call, on_hook, w);
    while (!w->done)
        turn(w);
    assert_string_equal(w->error, "took too long");
    close(fd);
    free(url);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expand),
        TEST(test_ends),
        TEST(test_wants_login),
        TEST(test_input),
        TEST(test_password_is_not_quoted),
        TEST(test_no_program),
        TEST(test_cancel),
        TEST(test_cancel_at_the_end),
        TEST(test_that_can_not_be_killed),
        TEST(test_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
