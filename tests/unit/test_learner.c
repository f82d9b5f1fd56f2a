#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/learner.h"
#include "lib/store_caps.h"

#include "store_unit.h"

struct world {
    struct unit_store u;
    struct conf_backend backend;
    struct learner *learner;
    unsigned looks; /* that have ended */
};

static struct tls_policy *no_tls(void *owner, const struct conf_backend *b)
{
    (void)owner, (void)b;
    return NULL;
}

static void on_looked(void *owner)
{
    struct world *w = owner;
    w->looks++;
}

/* A port that refuses connections: bound, and not listened on. */
static uint16_t closed_port(int *fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&a, &n), 0);
    return ntohs(a.sin_port);
}

static int fd;

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    unit_store_begin(&w->u);
    w->backend = (struct conf_backend){
        .name = (char *)"new",
        .address = {.scheme = ADDRESS_IMAP, .host = (char *)"127.0.0.1", .port = closed_port(&fd)},
        .master_user = (char *)"admin",
        .master_password = (char *)"styx",
        .master_login = (char *)"",
        .check_user = (char *)""};
    w->u.conf.backends = &w->backend;
    w->u.conf.n_backends = 1;
    w->learner = learner_new(w->u.store, no_tls, on_looked, w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    learner_free(&w->learner);
    unit_store_end(&w->u);
    close(fd);
    free(w);
    return 0;
}

/* Was the backend asked? Each question is claimed first; the claim is taken away again. */
static bool asks(struct world *w, void (*begin)(struct learner *l))
{
    unsigned before = w->looks;
    begin(w->learner);
    UNIT_UNTIL(&w->u, w->looks == before + 1);
    return unit_command(&w->u, (const char *const[]){"DEL", "unit:learning:new", NULL}).number == 1;
}

static void put_record(struct world *w, enum caps_by by, uint64_t since)
{
    char ms[32];
    snprintf(ms, sizeof ms, "%llu", (unsigned long long)since);
    unit_command(&w->u, (const char *const[]){"HSET", "unit:backends", "new", "IMAP4rev1 IDLE", "new/common",
                                              "IMAP4rev1 IDLE", "new/since", ms, "new/by",
                                              by == CAPS_BY_USER ? "user" : "master", NULL});
}

static void test_a_failure_is_not_tried_again_before_its_time(void **state)
{
    struct world *w = *state;
    assert_true(asks(w, learner_look));
    assert_false(asks(w, learner_look));
    assert_true(asks(w, learner_again));
    assert_false(asks(w, learner_look));
}

static void test_one_process_asks(void **state)
{
    struct world *w = *state;
    unit_command(&w->u, (const char *const[]){"SET", "unit:learning:new", "other", "PX", "60000", NULL});
    learner_look(w->learner);
    UNIT_UNTIL(&w->u, w->looks == 1);
    assert_string_equal(unit_command(&w->u, (const char *const[]){"GET", "unit:learning:new", NULL}).text,
                        "other");
    unit_command(&w->u, (const char *const[]){"DEL", "unit:learning:new", NULL});
    assert_true(asks(w, learner_look)); /* it failed at nothing, so it need not wait */
}

static void test_only_what_no_user_has_shown(void **state)
{
    struct world *w = *state;
    put_record(w, CAPS_BY_USER, 1);
    assert_false(asks(w, learner_look));
    put_record(w, CAPS_BY_MASTER, clock_wall_ms());
    assert_false(asks(w, learner_look));
    put_record(w, CAPS_BY_MASTER, clock_wall_ms() - CAPS_WINDOW_MS);
    assert_true(asks(w, learner_look));
}

static void test_nobody_without_a_password(void **state)
{
    struct world *w = *state;
    w->backend.master_password = NULL;
    assert_false(asks(w, learner_look));
    w->backend.master_password = (char *)"styx";
    w->backend.retired = true;
    assert_false(asks(w, learner_look));
    w->backend.retired = false;
    assert_true(asks(w, learner_look));
}

static void test_freed_while_it_asks(void **state)
{
    struct world *w = *state;
    learner_look(w->learner);
    learner_free(&w->learner);
    w->learner = learner_new(w->u.store, no_tls, on_looked, w);
    assert_true(asks(w, learner_look));
    assert_int_equal(w->looks, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_failure_is_not_tried_again_before_its_time),
        TEST(test_one_process_asks),
        TEST(test_only_what_no_user_has_shown),
        TEST(test_nobody_without_a_password),
        TEST(test_freed_while_it_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
