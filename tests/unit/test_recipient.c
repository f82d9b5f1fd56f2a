/* Whose mail an address is: the key alone, and the answer of a real store. */
#include "lib/account.h"
#include "proxy/delivery/recipient.h"

#include "store_unit.h"

static struct conf_backend backends[] = {{.name = "old", .delivery = "lmtp:inet:old:24"},
                                         {.name = "new", .delivery = "lmtp:inet:new:24"},
                                         {.name = "third", .delivery = ""}};
static char *domains[] = {"example.org", "*.sub.example.org"};
static char *aliases[] = {"sales@example.org=ann@example.org", "list+all@example.org=bob@example.org"};
static struct conf_rule rules[] = {{.pattern = "*@a.sub.example.org", .source = "third", .target = "new"}};

static void recipient_conf(struct conf *c)
{
    c->backends = backends;
    c->n_backends = COUNTOF(backends);
    c->rules = rules;
    c->n_rules = COUNTOF(rules);
    c->delivery.domains = (struct conf_list){domains, COUNTOF(domains)};
    c->delivery.recipient_delimiter = "+";
    c->migration.source = "old";
    c->migration.target = "new";
    c->migration.default_domain = "example.org";
    c->migration.aliases = (struct conf_list){aliases, COUNTOF(aliases)};
    assert_true(account_load_aliases(c, NULL, NULL));
}

/* ---- keys ---- */

/* The keys, a blank between them; "" where there are none. */
static void means_bytes(const struct conf *c, const void *address, size_t len, const char *want)
{
    char *keys[RECIPIENT_KEYS] = {NULL}, got[1200] = "";
    const char *why = NULL;
    size_t n = recipient_keys(c, span_of(address, len), keys, &why);
    assert_true(n > 0 || why);
    for (size_t i = 0; i < n; i++) {
        strcat(got, i ? " " : "");
        strcat(got, keys[i]);
        free(keys[i]);
    }
    assert_string_equal(got, want);
}

static void means(const struct conf *c, const char *address, const char *want)
{
    means_bytes(c, address, strlen(address), want);
}

static void test_addresses(void **state)
{
    struct conf c = {0};
    (void)state;
    recipient_conf(&c);
    means(&c, "ann@example.org", "ann@example.org");
    means(&c, "Ann.Smith@EXAMPLE.org", "ann.smith@example.org");
    means(&c, "ann@example.org.", "ann@example.org");
    means(&c, "Local.Part+Ext@x.sub.Example.Org",
          "local.part+ext@x.sub.example.org local.part@x.sub.example.org");
    means(&c, "ann+a+b@example.org", "ann+a+b@example.org ann@example.org");
    means(&c, "+ann@example.org", "+ann@example.org");
    means(&c, "ann", "ann@example.org");
    means(&c, "\"ann\"@example.org", "ann@example.org");
    means(&c, "\"a b\"@example.org", "a%20b@example.org");
    means(&c, "a b@example.org", "a%20b@example.org");
    means(&c, "\"a\\\"b\\\\\"@example.org", "a%22b%5C@example.org");
    means(&c, "a\"b@example.org", "a%22b@example.org");
    means(&c, "\"a@b\"@example.org", "a@b@example.org");
    means(&c, "a@b@example.org", "a@b@example.org");
    means(&c, "\"ann+x\"@example.org", "ann+x@example.org ann@example.org");
    means(&c, "\xc3\xa4@example.org", "%C3%A4@example.org");
    account_free_aliases(&c);
}

static void test_what_is_nobodys(void **state)
{
    static const char *const none[] = {"",
                                       "@",
                                       "*",
                                       "@example.org",
                                       "ann@",
                                       "ann@other.org",
                                       "ann@example.org.evil.org",
                                       "ann@@",
                                       "\"\"@example.org",
                                       "ann@sub.example.org",
                                       "ann@[127.0.0.1]",
                                       "ann@example.org ",
                                       "a\rb@example.org",
                                       "a\x80@example.org",
                                       "a\x7f@example.org"};
    struct conf c = {0};
    char longest[RECIPIENT_MAX + 2];
    (void)state;
    recipient_conf(&c);
    c.migration.default_domain = "";
    for (size_t i = 0; i < COUNTOF(none); i++)
        means(&c, none[i], "");
    means(&c, "ann", "");
    means_bytes(&c, "ann\0@example.org", 16, "");
    means_bytes(&c, "ann@example.org\0.other.org", 26, "");
    means_bytes(&c, "ann@example.org\0", 16, "");
    memset(longest, 'x', sizeof longest);
    memcpy(longest + sizeof longest - 12, "@example.org", 12);
    means_bytes(&c, longest, sizeof longest, "");
    account_free_aliases(&c);
}

static void test_aliases_and_settings(void **state)
{
    struct conf c = {0};
    (void)state;
    recipient_conf(&c);
    means(&c, "Sales@example.org", "ann@example.org");
    means(&c, "sales+x@example.org", "sales+x@example.org ann@example.org");
    means(&c, "list+all@example.org", "bob@example.org"); /* it is somebody, so nothing is left off */
    c.delivery.recipient_delimiter = "-_";
    means(&c, "ann+x@example.org", "ann+x@example.org");
    means(&c, "ann_x-y@example.org", "ann_x-y@example.org ann@example.org");
    c.delivery.recipient_delimiter = "";
    means(&c, "ann+x@example.org", "ann+x@example.org");
    c.delivery.account = DELIVERY_LOCAL_PART;
    c.migration.default_domain = "";
    means(&c, "Ann@example.org", "ann");
    means(&c, "ann@other.org", "");
    c.delivery.account = DELIVERY_ADDRESS;
    c.delivery.domains.n = 0;
    means(&c, "ann@example.org", "");
    c.migration.default_domain = "Example.org";
    means(&c, "ann@EXAMPLE.ORG", "ann@example.org");
    means(&c, "ann@other.org", "");
    account_free_aliases(&c);
}

/* A name that no login may have is nobody's address either. */
static void test_the_masters_separator(void **state)
{
    struct conf_backend own[] = {{.name = "old", .master_login = "%u*%m"}};
    struct conf c = {0};
    (void)state;
    recipient_conf(&c);
    c.backends = own;
    c.n_backends = 1;
    means(&c, "ann*admin@example.org", "");
    account_free_aliases(&c);
}

/* ---- answers ---- */

struct recipient_unit_answer {
    unsigned times;
    enum recipient_rc rc;
    char key[128], backend[32];
    bool recorded, frozen;
    uint64_t left_ms;
};

static void on_answer(void *owner, enum recipient_rc rc, const struct recipient_answer *a)
{
    struct recipient_unit_answer *u = owner;
    u->times++;
    u->rc = rc;
    snprintf(u->key, sizeof u->key, "%s", a->key);
    snprintf(u->backend, sizeof u->backend, "%s", a->backend ? a->backend->name : "");
    assert_true(!a->backend || a->backend == &backends[a->nth]);
    assert_true((rc == RECIPIENT_FOUND) == (*a->why == '\0'));
    u->recorded = a->recorded;
    u->frozen = a->frozen;
    u->left_ms = a->left_ms;
}

static struct recipient_unit_answer ask(struct unit_store *u, const char *address)
{
    struct recipient_unit_answer a = {0};
    const struct stores one = {.n = 1, .all = &u->store};
    struct recipient *r = recipient_find(&one, span_str(address), 5000, on_answer, &a);
    assert_non_null(r);
    assert_int_equal(a.times, 0); /* never before it has returned */
    UNIT_UNTIL(u, a.times > 0);
    assert_int_equal(a.times, 1);
    return a;
}

static void is_at(struct unit_store *u, const char *address, const char *key, const char *backend,
                  bool recorded)
{
    struct recipient_unit_answer a = ask(u, address);
    assert_int_equal(a.rc, RECIPIENT_FOUND);
    assert_string_equal(a.key, key);
    assert_string_equal(a.backend, backend);
    assert_int_equal(a.recorded, recorded);
    assert_false(a.frozen);
}

static void set_route(struct unit_store *u, const char *user, const char *backend, const char *state,
                      const char *deadline)
{
    char key[160], generation[24];
    snprintf(key, sizeof key, "unit:route:%s", user);
    snprintf(generation, sizeof generation, "%llu", (unsigned long long)store_generation(u->store));
    assert_int_equal(UNIT_COMMAND(u, "HSET", key, "backend", backend, "state", state, "epoch", "3",
                                  "generation", generation, "deadline", deadline)
                         .rc,
                     REDIS_OK);
}

static void test_routes(void **state)
{
    struct unit_store u;
    (void)state;
    unit_store_make(&u);
    recipient_conf(&u.conf);
    unit_redis_start(&u.redis);
    unit_store_connect(&u);
    UNIT_UNTIL(&u, u.state == STORE_FOREIGN);
    assert_int_equal(ask(&u, "ann@example.org").rc, RECIPIENT_DOWN); /* an empty Redis says nothing */
    UNIT_DO_RC(&u, ROUTE_OK, route_init, 0, false);
    UNIT_UNTIL(&u, u.state == STORE_UP);

    is_at(&u, "ann@example.org", "ann@example.org", "old", false);
    is_at(&u, "x@a.sub.example.org", "x@a.sub.example.org", "third",
          false); /* as its login would go, by a rule */
    set_route(&u, "ann@example.org", "new", "flipped", "0");
    is_at(&u, "Ann@Example.ORG", "ann@example.org", "new", true);
    is_at(&u, "sales@example.org", "ann@example.org", "new", true);
    is_at(&u, "ann+lists@example.org", "ann@example.org", "new", true);
    set_route(&u, "ann+lists@example.org", "old", "held", "0"); /* somebody is called so */
    is_at(&u, "ann+Lists@example.org", "ann+lists@example.org", "old", true);
    assert_int_equal(ask(&u, "ann@other.org").rc, RECIPIENT_NOT_OURS);
    assert_int_equal(UNIT_COMMAND(&u, "DBSIZE").rc, REDIS_OK);

    set_route(&u, "bob@example.org", "gone", "resting", "0");
    struct recipient_unit_answer a = ask(&u, "bob@example.org");
    assert_int_equal(a.rc, RECIPIENT_LOST);
    assert_string_equal(a.key, "bob@example.org");
    account_free_aliases(&u.conf);
    unit_store_end(&u);
}

static void test_freezes(void **state)
{
    struct unit_store u;
    (void)state;
    unit_store_begin(&u);
    recipient_conf(&u.conf);
    set_route(&u, "ann@example.org", "old", "freezing", "99999999999999");
    struct recipient_unit_answer a = ask(&u, "ann@example.org");
    assert_int_equal(a.rc, RECIPIENT_FOUND);
    assert_string_equal(a.backend, "old");
    assert_true(a.frozen && a.left_ms > 0);
    set_route(&u, "ann@example.org", "old", "flipping", "99999999999999");
    a = ask(&u, "ann@example.org");
    assert_true(a.frozen && a.left_ms == 0);
    set_route(&u, "ann@example.org", "old", "preparing", "99999999999999");
    assert_false(ask(&u, "ann@example.org").frozen);
    account_free_aliases(&u.conf);
    unit_store_end(&u);
}

/* A Redis that has stopped answers nothing: the deadline does. What comes later, or was cancelled, is told to nobody. */
static void test_deadline_and_cancel(void **state)
{
    struct unit_store u;
    struct recipient_unit_answer a = {0}, b = {0}, c = {0};
    (void)state;
    unit_store_begin(&u);
    recipient_conf(&u.conf);
    unit_redis_stop(&u.redis);
    const struct stores one = {.n = 1, .all = &u.store};
    struct recipient *r = recipient_find(&one, span_str("ann@example.org"), 50, on_answer, &a);
    struct recipient *dropped = recipient_find(&one, span_str("bob@example.org"), 50, on_answer, &b);
    struct recipient *soon = recipient_find(&one, span_str("bob@other.org"), 50, on_answer, &c);
    assert_non_null(r);
    recipient_cancel(&dropped);
    recipient_cancel(&soon);
    assert_null(dropped);
    recipient_cancel(&soon); /* of none */
    UNIT_UNTIL(&u, a.times > 0);
    assert_int_equal(a.rc, RECIPIENT_DOWN);
    kill(u.redis.pid, SIGCONT);
    UNIT_UNTIL(&u, UNIT_COMMAND(&u, "PING").rc == REDIS_OK);
    is_at(&u, "ann@example.org", "ann@example.org", "old", false);
    assert_int_equal(a.times, 1);
    assert_int_equal(b.times + c.times, 0);
    account_free_aliases(&u.conf);
    unit_store_end(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_what_is_nobodys),
        cmocka_unit_test(test_aliases_and_settings),
        cmocka_unit_test(test_the_masters_separator),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_freezes),
        cmocka_unit_test(test_deadline_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
