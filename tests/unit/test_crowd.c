#include "unit.h"

#include <string.h>

#include "proxy/crowd.h"
#include "proxy/session.h"

enum { SOCKETS = 64, MAX = SOCKETS / 4, MEMBERS = 2 * MAX };

struct fixture {
    struct loop *loop;
    struct crowd crowd;
    struct session members[MEMBERS];
    size_t n;
};

/* ---- what the crowd does to sessions */

void session_close(struct session *s, enum session_end end, const char *detail)
{
    struct crowd *crowd = (void *)s->client;
    assert_int_equal(end, END_CROWD);
    assert_non_null(detail);
    crowd_leave(crowd, s);
    s->state = IN_CLOSING;
}

/* There are no streams here. */
void stream_wait_in(struct stream *s, struct turn_line *line)
{
    (void)s, (void)line;
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->loop = loop_new();
    crowd_init(&f->crowd, f->loop, 0, SOCKETS);
    assert_int_equal(f->crowd.max, MAX);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->n; i++)
        crowd_leave(&f->crowd, &f->members[i]);
    assert_int_equal(f->crowd.n, 0);
    crowd_free(&f->crowd);
    loop_free(&f->loop);
    for (size_t i = 0; i < f->n; i++)
        free(f->members[i].peer_ip);
    free(f);
    return 0;
}

static struct session *come(struct fixture *f, const char *ip)
{
    struct session *s = &f->members[f->n++];
    assert_true(f->n <= MEMBERS);
    s->state = IN_PREAUTH;
    s->peer_ip = xstrdup(ip);
    s->client = (void *)&f->crowd; /* for session_close() above */
    assert_true(crowd_enter(&f->crowd, s));
    return s;
}

/* Are they of one network? */
static bool together(struct fixture *f, const char *ip, const char *other)
{
    struct session *a = come(f, ip), *b = come(f, other);
    bool one = a->network == b->network;
    assert_int_equal(a->network->n, one ? 2 : 1);
    crowd_leave(&f->crowd, a);
    crowd_leave(&f->crowd, b);
    return one;
}

static void test_networks(void **state)
{
    struct fixture *f = *state;
    assert_true(together(f, "192.0.2.1", "192.0.2.1"));
    assert_false(together(f, "192.0.2.1", "192.0.2.2"));
    assert_true(together(f, "2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"));
    assert_false(together(f, "2001:db8:0:1::1", "2001:db8:0:2::1"));
    assert_false(together(f, "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::"));
    assert_false(together(f, "192.0.2.1", "c000:201::")); /* the same bytes */
    assert_true(together(f, "", ""));                     /* UNIX sockets */
    assert_false(together(f, "", "::"));
    assert_false(together(f, "", "0.0.0.0"));
}

static void test_mapped_addresses_are_those_of_ipv4(void **state)
{
    struct fixture *f = *state;
    assert_true(together(f, "::ffff:192.0.2.1", "192.0.2.1"));
    assert_true(together(f, "::ffff:c000:201", "192.0.2.1"));
    assert_false(together(f, "::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    assert_false(together(f, "::ffff:192.0.2.1", "::1"));
    assert_false(together(f, "64:ff9b::192.0.2.1", "192.0.2.1"));
}

static size_t members_with(const struct session *s)
{
    return s->network->n;
}

/* However many addresses of its /64 somebody uses, a share is kept for others. */
static void test_a_64_gets_no_more_than_one_address(void **state)
{
    struct fixture *f = *state;
    char ip[64];
    struct session *last = NULL, *first = NULL;
    for (unsigned i = 0; i < MAX; i++) {
        snprintf(ip, sizeof ip, "2001:db8:0:1:%x::%x", i, i + 1);
        last = come(f, ip);
        first = first ? first : last;
    }
    assert_in_range(members_with(last), MAX / 2, MAX / 2 + 1);
    assert_int_equal(first->state, IN_CLOSING); /* who has been idle for longest goes first */
    assert_int_equal(last->state, IN_PREAUTH);
    size_t before = f->crowd.n;
    assert_int_equal(members_with(come(f, "2001:db8:0:2::1")), 1);
    assert_int_equal(f->crowd.n, before + 1); /* and nobody had to go for it */
}

/* As many networks of IPv6 as one likes get their places, the next always one. */
static void test_64s_apart_have_a_share_each(void **state)
{
    struct fixture *f = *state;
    char ip[64];
    for (unsigned i = 0; i < MAX; i++) {
        snprintf(ip, sizeof ip, "2001:db8:0:%x::1", i);
        come(f, ip);
    }
    assert_int_equal(f->crowd.n, MAX);
    for (unsigned i = 0; i < MAX; i++)
        assert_int_equal(f->members[i].state, IN_PREAUTH);
    struct session *next = come(f, "2001:db8:1::1");
    assert_int_equal(next->state, IN_PREAUTH);
    assert_int_equal(f->members[0].state, IN_CLOSING);
    assert_int_equal(f->crowd.n, MAX);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_networks),
        TEST(test_mapped_addresses_are_those_of_ipv4),
        TEST(test_a_64_gets_no_more_than_one_address),
        TEST(test_64s_apart_have_a_share_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
