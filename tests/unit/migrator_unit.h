/* migrator_unit: what the parts of the daemon are given (migrator/site/migrator.h), with a private Redis and
 * a journal in a folder of its own, and accounts in the state that a test needs. All tests of a program share
 * the Redis; each has an account of its own, and what it sets in the configuration is set anew for the
 * next. */
#ifndef IMAPFERRY_MIGRATOR_UNIT_H
#define IMAPFERRY_MIGRATOR_UNIT_H

#include "lib/xalloc.h"
#include "migrator/site/migrator.h"
#include "store_unit.h"

struct migrator_world {
    struct unit_store u;
    struct migrator m;
    struct conf_backend backends[2]; /* "old", "new" */
    char folder[40];                 /* of the journal */
    unsigned tests;
    char user[32];
    bool entered;
};

static inline int migrator_unit_begin(void **state)
{
    struct migrator_world *w = xcalloc(1, sizeof *w);
    unit_store_begin(&w->u);
    *state = w;
    return 0;
}

static inline int migrator_unit_end(void **state)
{
    struct migrator_world *w = *state;
    unit_store_end(&w->u);
    free(w);
    return 0;
}

static inline void migrator_unit_conf(struct migrator_world *w)
{
    struct conf *c = &w->u.conf;
    static const char *const names[] = {"old", "new"};
    for (size_t i = 0; i < COUNTOF(names); i++)
        w->backends[i] = (struct conf_backend){
            .name = (char *)(uintptr_t)names[i],
            .address = {.scheme = ADDRESS_IMAP, .host = (char *)(uintptr_t) "127.0.0.1", .port = 1},
            .max_connections = 2};
    c->backends = w->backends;
    c->n_backends = COUNTOF(w->backends);
    c->migration = (struct conf_migration){.source = c->migration.source, .target = c->migration.target};
    c->migration.freeze_budget_ms = 2000;
    c->migrator.job_lease_ms = 10000;
    c->migrator.command_timeout_ms = 5000;
    c->migrator.retry_min_ms = 1000;
    c->migrator.retry_max_ms = 10000;
    c->proxy.lease_ms = 1000;
}

/* Of each test: a new name, which is queued nowhere yet. */
static inline int migrator_unit_set_up(void **state)
{
    struct migrator_world *w = *state;
    char *error = NULL;
    snprintf(w->user, sizeof w->user, "ann%u@example.org", w->tests++);
    strcpy(w->folder, "/tmp/ferry-migrator-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    migrator_unit_conf(w);
    w->m = (struct migrator){.loop = w->u.loop, .conf = &w->u.conf, .id = "unit", .store = w->u.store};
    w->m.journal = journal_open(w->u.loop, w->folder, &error);
    assert_null(error);
    w->m.backends = backends_new(w->u.loop, &w->u.conf, &error);
    assert_null(error);
    return 0;
}

static inline int migrator_unit_tear_down(void **state)
{
    struct migrator_world *w = *state;
    char path[64];
    journal_free(&w->m.journal);
    backends_free(&w->m.backends);
    UNIT_DO_RC(&w->u, ROUTE_OK, route_pause, false, "test", "", "");
    snprintf(path, sizeof path, "%s/flips", w->folder);
    unlink(path);
    assert_int_equal(rmdir(w->folder), 0);
    return 0;
}

#define MIGRATOR_TEST(name)                                                                                  \
    cmocka_unit_test_setup_teardown(name, migrator_unit_set_up, migrator_unit_tear_down)

/* A field of the account's route. */
static inline const char *migrator_unit_route(struct migrator_world *w, const char *field)
{
    static struct unit_reply a;
    char key[64];
    snprintf(key, sizeof key, "unit:route:%s", w->user);
    a = UNIT_COMMAND(&w->u, "HGET", key, field);
    return a.text;
}

static inline void migrator_unit_queue(struct migrator_world *w, bool force)
{
    const struct route_staff staff = {.user = w->user, .who = "test", .reason = ""};
    UNIT_DO_RC(&w->u, ROUTE_OK, route_enqueue, &staff, "old", "new", false, force, false, false);
}

static inline void migrator_unit_on_entered(void *owner, enum route_rc rc, enum route_state state,
                                            uint64_t epoch)
{
    struct migrator_world *w = owner;
    (void)state, (void)epoch;
    assert_int_equal(rc, ROUTE_OK);
    w->entered = true;
}

/* A session of the account, which a proxy "p" has. */
static inline void migrator_unit_enter(struct migrator_world *w, enum route_state state, uint64_t epoch)
{
    const struct route_enter e = {.user = w->user,
                                  .session = "p/1",
                                  .backend = "old",
                                  .state = state,
                                  .epoch = epoch,
                                  .address = "a",
                                  .source = "old",
                                  .target = "new",
                                  .generation = store_generation(w->u.store)};
    w->entered = false;
    route_enter(w->u.store, &e, migrator_unit_on_entered, w);
    UNIT_UNTIL(&w->u, w->entered);
}

/* Is there a line of the account in the journal? */
static inline bool migrator_unit_is_in_journal(const struct migrator_world *w)
{
    char path[64], line[512];
    bool found = false;
    snprintf(path, sizeof path, "%s/flips", w->folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (!found && fgets(line, sizeof line, f))
        found = strstr(line, w->user) != NULL;
    fclose(f);
    return found;
}

#endif
