/* `proxy forget`: staff declare a proxy dead, so that nobody waits for it any more. By steps:
 *
 *   LIST     which incarnations are meant, and the counters of their leases
 *   WATCH    for the short term of their leases and a tenth: one whose counter moves lives, and is left alone
 *   COUNT    what those that stood still have: sessions and accounts. Without --yes that is told, and the end
 *   FORGET   each is noted as forgotten, and is known no more, if its counter still is the one watched
 *            (proxy_forget.lua). Should it live, its next renewal tells it, and its sessions ask whether they
 *            may go on
 *   SWEEP    then their registrations are taken away. Accounts that stand still for their switch-over are
 *            left until that is over
 *
 * Whoever ends in between leaves an incarnation that is in no list: its whole name may be given again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actions_priv.h"

enum { SCAN_COUNT = 500, NAMES_MAX = 256, POLL_MIN_MS = 20, AGAIN_MS = 1000, SWEEP_MS = 60000 };

struct proxy_suspect {
    char *name, *counter;                   /* owned; counter "" where it is in no list */
    uint64_t renewed_ms, lease_ms, long_ms; /* renewed by Redis' clock */
    bool moved;
};

struct forgetting {
    struct run *run;
    struct timer *timer;
    enum { LIST, WATCH, COUNT, FORGET, SWEEP } step;
    struct proxy_suspect all[NAMES_MAX];
    size_t n, at; /* at: FORGET, SWEEP */
    char known[512];
    uint64_t until_ms, sweeps_until_ms, left;
    char generation[24];
    char *cursor; /* of SCAN; owned */
    uint64_t sessions, accounts, moving;
};

static void action_proxy_finish(struct forgetting *f)
{
    store_forget(f->run->store, f);
    timer_free(&f->timer);
    for (size_t i = 0; i < f->n; i++) {
        free(f->all[i].name);
        free(f->all[i].counter);
    }
    free(f->cursor);
    free(f);
}

static void finish_with(struct forgetting *f, enum action_rc rc, const char *text)
{
    struct run *r = f->run;

    action_proxy_finish(f);
    run_end(r, rc, "%s", text);
}

static void finish_failed(struct forgetting *f, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = f->run;

    if (rc == REDIS_OK && !span_is(reply_str(reply_at(reply, 0)), "nostore")) {
        finish_with(f, ACTION_FAILED, "Redis restarted or failed over meanwhile: say it again");
        return;
    }
    action_proxy_finish(f);
    run_end_failed(r, rc == REDIS_OK ? ROUTE_NO_STORE : ROUTE_DOWN, "");
}

static bool action_proxy_is_ok(enum redis_rc rc, const struct reply *r)
{
    return rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "ok");
}

/* ---- names */

size_t action_proxy_id_length(const char *incarnation)
{
    const char *dash = strrchr(incarnation, '-');
    size_t len = dash ? (size_t)(dash - incarnation) : strlen(incarnation), dot = len;

    while (dot > 0 && incarnation[dot - 1] >= '0' && incarnation[dot - 1] <= '9')
        dot--;
    return dot > 1 && dot < len && incarnation[dot - 1] == '.' ? dot - 1 : len;
}

static bool is_meant(const struct forgetting *f, const char *incarnation)
{
    const char *name = f->run->action.keys[0];
    size_t len = action_proxy_id_length(incarnation);

    return !strcmp(name, incarnation) || (strlen(name) == len && !strncmp(name, incarnation, len));
}

static void note_known(struct forgetting *f, const char *incarnation)
{
    char id[300];
    size_t len = strlen(f->known);

    snprintf(id, sizeof(id), "%.*s", (int)action_proxy_id_length(incarnation), incarnation);
    if (!strstr(f->known, id))
        snprintf(f->known + len, sizeof(f->known) - len, "%s%s", len ? ", " : "", id);
}

/* ---- LIST, WATCH */

static void action_proxy_step(struct forgetting *f);
static void action_proxy_on_list(void *owner, enum redis_rc rc, const struct reply *r);

static void action_proxy_read(struct forgetting *f, const char *hash, redis_fn fn)
{
    char *key = store_key(f->run->store, "%s", hash);
    struct span argv[] = {span_str("HGETALL"), span_str(key)};

    store_command_for(f->run->store, f, argv, COUNTOF(argv), fn, f, NULL);
    free(key);
}

/* "counter version address generation renewed short long" */
static void take_value(const struct conf *c, struct proxy_suspect *s, struct span value)
{
    char *text = xspandup(value), counter[32] = "";
    unsigned long long renewed = 0, lease = 0, wide = 0;

    sscanf(text, "%31s %*s %*s %*s %llu %llu %llu", counter, &renewed, &lease, &wide);
    free(text);
    s->counter = xstrdup(counter);
    s->renewed_ms = renewed;
    s->lease_ms = lease > c->proxy.lease_ms ? lease : c->proxy.lease_ms;
    s->long_ms = wide > c->proxy.lease_long_ms ? wide : c->proxy.lease_long_ms;
}

/* "...-0123456789abcdef" */
static bool is_incarnation(const char *name)
{
    const char *dash = strrchr(name, '-');

    return dash && strlen(dash + 1) == 16 && strspn(dash + 1, "0123456789abcdef") == 16;
}

/* Takes name. value: '' where it is in no list. */
static void action_proxy_add(struct forgetting *f, char *name, struct span value)
{
    f->all[f->n] = (struct proxy_suspect){.name = name};
    take_value(store_conf(f->run->store), &f->all[f->n++], value);
}

static void take_list(struct forgetting *f, const struct reply *r)
{
    for (size_t i = 0; i + 1 < reply_count(r) && f->n < NAMES_MAX; i += 2) {
        char *name = xspandup(reply_str(reply_at(r, i)));
        note_known(f, name);
        if (is_meant(f, name))
            action_proxy_add(f, name, reply_str(reply_at(r, i + 1)));
        else
            free(name);
    }
    if (f->n == 0 && is_incarnation(f->run->action.keys[0])) /* a former call may have ended half way */
        action_proxy_add(f, xstrdup(f->run->action.keys[0]), span_of(NULL, 0));
}

/* Forgotten before: what it has left is taken away once more. */
static void action_proxy_take_forgotten(struct forgetting *f, const struct reply *r)
{
    for (size_t i = 0; i + 1 < reply_count(r) && f->n < NAMES_MAX; i += 2) {
        char *name = xspandup(reply_str(reply_at(r, i)));
        if (is_meant(f, name))
            action_proxy_add(f, name, span_of(NULL, 0));
        else
            free(name);
    }
}

static struct span counter_in(const struct reply *r, const char *name)
{
    return reply_str(reply_get(r, name));
}

static bool begins_with_word(struct span value, const char *word)
{
    size_t n = strlen(word);

    return value.len >= n && (n == 0 ? value.len == 0 : !memcmp(value.p, word, n)) &&
           (value.len == n || value.p[n] == ' ');
}

/* What has moved lives. */
static void compare_list(struct forgetting *f, const struct reply *r)
{
    for (size_t i = 0; i < f->n; i++)
        f->all[i].moved =
            f->all[i].moved || !begins_with_word(counter_in(r, f->all[i].name), f->all[i].counter);
}

static uint64_t watch_ms(const struct forgetting *f)
{
    uint64_t ms = 0;

    for (size_t i = 0; i < f->n; i++)
        ms = f->all[i].lease_ms > ms ? f->all[i].lease_ms : ms;
    return ms + ms / 10;
}

/* Only those that stood still are left. */
static void leave_the_living(struct forgetting *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++) {
        if (f->all[i].moved) {
            free(f->all[i].name);
            free(f->all[i].counter);
        } else {
            f->all[n++] = f->all[i];
        }
    }
    f->n = n;
}

static void scan_from_the_start(struct forgetting *f)
{
    free(f->cursor);
    f->cursor = xstrdup("0");
}

static void action_proxy_watched(struct forgetting *f)
{
    leave_the_living(f);
    if (f->n == 0) {
        finish_with(f, ACTION_REFUSED, "it lives: the counter of its lease moves, so it is not forgotten");
        return;
    }
    f->step = COUNT;
    scan_from_the_start(f);
    action_proxy_step(f);
}

static bool any_stands_still(const struct forgetting *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (!f->all[i].moved)
            return true;
    return false;
}

static void action_proxy_begin_watch(struct forgetting *f)
{
    f->step = WATCH;
    f->until_ms = clock_boot_ms() + watch_ms(f);
}

/* "unknown": of several stores, another one may know it. */
static void action_proxy_unknown(struct forgetting *f)
{
    char *text =
        xasprintf("no proxy of that name is known; those that are: %s", *f->known ? f->known : "none");

    json_object_set_new(f->run->data, "unknown", json_true());
    finish_with(f, ACTION_FAILED, text);
    free(text);
}

static void action_proxy_on_forgotten_list(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct forgetting *f = owner;

    if (rc != REDIS_OK) {
        finish_failed(f, REDIS_DOWN, r);
        return;
    }
    action_proxy_take_forgotten(f, r);
    if (f->n == 0) {
        action_proxy_unknown(f);
        return;
    }
    action_proxy_begin_watch(f);
    action_proxy_read(f, "proxies", action_proxy_on_list);
}

static void action_proxy_on_list(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct forgetting *f = owner;

    if (rc != REDIS_OK) {
        finish_failed(f, REDIS_DOWN, r);
        return;
    }
    if (f->step == LIST) {
        take_list(f, r);
        if (f->n == 0) {
            action_proxy_read(f, "forgotten", action_proxy_on_forgotten_list);
            return;
        }
        action_proxy_begin_watch(f);
    } else {
        compare_list(f, r);
    }
    if (clock_boot_ms() >= f->until_ms || !any_stands_still(f))
        action_proxy_watched(f);
    else
        timer_start(f->timer, watch_ms(f) / 6 < POLL_MIN_MS ? POLL_MIN_MS : watch_ms(f) / 6);
}

/* ---- COUNT */

static uint64_t last_ms(const struct forgetting *f, bool with_lease)
{
    uint64_t last = 0, ms;

    for (size_t i = 0; i < f->n; i++) {
        ms = f->all[i].renewed_ms + (with_lease ? f->all[i].long_ms : 0);
        last = ms > last ? ms : last;
    }
    return last;
}

static void add_names(struct forgetting *f)
{
    json_t *list = json_array();

    for (size_t i = 0; i < f->n; i++)
        json_array_append_new(list, json_text(span_str(f->all[i].name)));
    json_object_set_new(f->run->data, "proxies", list);
    json_object_set_new(f->run->data, "sessions", json_integer((json_int_t)f->sessions));
    json_object_set_new(f->run->data, "accounts", json_integer((json_int_t)f->accounts));
    json_object_set_new(f->run->data, "being_moved", json_integer((json_int_t)f->moving));
    json_object_set_new(f->run->data, "heard", json_time(last_ms(f, false)));
    json_object_set_new(f->run->data, "may_serve_until", json_time(last_ms(f, true)));
}

static void tell_what_it_means(struct forgetting *f)
{
    json_t *heard = json_time(last_ms(f, false)), *until = json_time(last_ms(f, true));
    char *text = xasprintf(
        "%s: %zu thread%s silent since %s, with %" PRIu64 " sessions of %" PRIu64
        " accounts, of which %" PRIu64
        " are being moved. Forgotten, nobody waits for them. If it is only cut off from Redis, it may serve them until %s, and what a "
        "user then changes on a server that the account has left is missing on the other. So do that only where its host is off, or "
        "its network is cut for good: with --yes --reason TEXT",
        f->run->action.keys[0], f->n, f->n == 1 ? " is" : "s are",
        json_is_string(heard) ? json_string_value(heard) : "long ago", f->sessions, f->accounts, f->moving,
        json_is_string(until) ? json_string_value(until) : "the end of its lease");

    json_decref(heard);
    json_decref(until);
    finish_with(f, ACTION_REFUSED, text);
    free(text);
}

static void action_proxy_counted(struct forgetting *f)
{
    add_names(f);
    if (!f->run->action.yes) {
        tell_what_it_means(f);
        return;
    }
    f->step = FORGET;
    f->at = 0;
    action_proxy_step(f);
}

static void add_number(const struct reply *r, size_t i, uint64_t *sum)
{
    int64_t n = reply_int(reply_at(r, i));

    *sum += n > 0 ? (uint64_t)n : 0;
}

static void on_holds(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct forgetting *f = owner;

    if (!action_proxy_is_ok(rc, r)) {
        finish_failed(f, rc, r);
        return;
    }
    add_number(r, 1, &f->sessions);
    add_number(r, 2, &f->accounts);
    add_number(r, 3, &f->moving);
    if (strcmp(f->cursor, "0") == 0)
        action_proxy_counted(f);
    else
        action_proxy_step(f);
}

static void count_page(struct forgetting *f, const struct span *users, size_t n)
{
    struct span *args = xcalloc(1 + f->n + n, sizeof(*args));
    char number[24];

    snprintf(number, sizeof(number), "%zu", f->n);
    args[0] = span_str(number);
    for (size_t i = 0; i < f->n; i++)
        args[1 + i] = span_str(f->all[i].name);
    for (size_t i = 0; i < n; i++)
        args[1 + f->n + i] = users[i];
    store_script_for(f->run->store, f, "proxy_holds", args, 1 + f->n + n, on_holds, f, NULL);
    free(args);
}

/* ---- FORGET, SWEEP */

static void action_proxy_on_forgotten(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct forgetting *f = owner;

    if (rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "again")) {
        finish_with(
            f, ACTION_REFUSED,
            "it lives: the counter of its lease has moved; what was forgotten of it before hears of that");
        return;
    }
    if (!action_proxy_is_ok(rc, r)) {
        finish_failed(f, rc, r);
        return;
    }
    if (++f->at == f->n) {
        f->step = SWEEP;
        f->at = 0;
        f->sweeps_until_ms = clock_boot_ms() + SWEEP_MS;
        scan_from_the_start(f);
    }
    action_proxy_step(f);
}

static void forget_one(struct forgetting *f)
{
    const struct proxy_suspect *s = &f->all[f->at];
    const struct action *a = &f->run->action;
    struct span args[] = {span_str(s->name), span_str(s->counter), span_str(f->generation), span_str(a->who),
                          span_str(a->reason)};

    store_script_for(f->run->store, f, "proxy_forget", args, COUNTOF(args), action_proxy_on_forgotten, f,
                     NULL);
}

static void action_proxy_swept(struct forgetting *f)
{
    struct run *r = f->run;
    uint64_t sessions = f->sessions, accounts = f->accounts, left = f->left;

    if (left > 0 && clock_boot_ms() < f->sweeps_until_ms) {
        f->at = 0;
        f->left = 0;
        timer_start(f->timer, AGAIN_MS);
        return;
    }
    action_proxy_finish(f);
    if (left > 0)
        run_end(r, ACTION_FAILED,
                "%s is forgotten, but %" PRIu64
                " accounts stand still for their switch-over, which ends by itself; "
                "the migrators take the rest of its sessions away later",
                r->action.keys[0], left);
    else
        run_end(r, ACTION_DONE, "%s is forgotten, with %" PRIu64 " sessions of %" PRIu64 " accounts",
                r->action.keys[0], sessions, accounts);
}

static void action_proxy_on_swept(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct forgetting *f = owner;
    bool lives = rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "again");

    if (!action_proxy_is_ok(rc, r) && !lives) {
        finish_failed(f, rc, r);
        return;
    }
    if (lives)
        /* it is back, and has heard: its sessions ask for themselves, and the next one is swept */
        scan_from_the_start(f);
    else
        add_number(r, 1, &f->left);
    if (strcmp(f->cursor, "0") != 0 || ++f->at < f->n)
        action_proxy_step(f);
    else
        action_proxy_swept(f);
}

static void sweep_page(struct forgetting *f, const struct span *users, size_t n)
{
    struct span *args = xcalloc(3 + n, sizeof(*args));

    args[0] = span_str(f->all[f->at].name);
    args[2] = span_str(f->generation);
    for (size_t i = 0; i < n; i++)
        args[3 + i] = users[i];
    store_script_for(f->run->store, f, "sweep", args, 3 + n, action_proxy_on_swept, f, NULL);
    free(args);
}

/* ---- all accounts with sessions, some hundreds at a time */

static void action_proxy_on_scan(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct forgetting *f = owner;
    const struct reply *keys = reply_at(r, 1);

    if (rc != REDIS_OK) {
        finish_failed(f, REDIS_DOWN, r);
        return;
    }
    struct span *users = xcalloc(reply_count(keys) + 1, sizeof(*users));
    size_t n = store_names(f->run->store, "sessions", keys, users);
    free(f->cursor);
    f->cursor = xspandup(reply_str(reply_at(r, 0)));
    if (f->step == COUNT)
        count_page(f, users, n);
    else
        sweep_page(f, users, n);
    free(users);
}

static void action_proxy_scan(struct forgetting *f)
{
    char *pattern = store_key(f->run->store, "sessions:*"), count[16];

    snprintf(count, sizeof(count), "%d", SCAN_COUNT);
    struct span argv[] = {span_str("SCAN"),  span_str(f->cursor), span_str("MATCH"),
                          span_str(pattern), span_str("COUNT"),   span_str(count)};
    store_command_for(f->run->store, f, argv, COUNTOF(argv), action_proxy_on_scan, f, NULL);
    free(pattern);
}

static void action_proxy_step(struct forgetting *f)
{
    switch (f->step) {
    case LIST:
    case WATCH:
        action_proxy_read(f, "proxies", action_proxy_on_list);
        break;
    case COUNT:
    case SWEEP:
        action_proxy_scan(f);
        break;
    case FORGET:
        forget_one(f);
        break;
    }
}

static void action_proxy_on_timer(void *owner)
{
    action_proxy_step(owner);
}

void run_proxy_forget(struct run *r)
{
    struct forgetting *f = xcalloc(1, sizeof(*f));

    f->run = r;
    f->timer = timer_new(store_loop(r->store), action_proxy_on_timer, f);
    snprintf(f->generation, sizeof(f->generation), "%" PRIu64, store_generation(r->store));
    action_proxy_step(f);
}

char *proxy_forget_fault(const struct action *a)
{
    if (a->n_keys != 1)
        return xstrdup("the NAME of one proxy must be given");
    return a->yes && !*a->reason ? xstrdup("proxy forget --yes needs --reason TEXT") : NULL;
}
