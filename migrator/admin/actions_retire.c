/* retire: may an old server be switched off? Goes through all records, all sessions of accounts without one, the list of
 * accounts that staff give, and what the late watch has found of late; what it keeps of all these are counts and a few
 * examples. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actions_priv.h"
#include "name_scan.h"

enum {
    EXAMPLES = 5,
    LISTED_AT_ONCE = 500,
    ARRIVALS_AT_ONCE = 1000,
    LATELY_DAYS = 7,
};

enum retire_kind { HERE, COMING, WATCHED, LEFT, WAIVED, SESSIONS, UNKNOWN, ARRIVED, RETIRE_KINDS };
static const char *const retire_words[] = {"here",   "coming",   "watched", "left",
                                           "waived", "sessions", "unknown", "arrived"};

struct retire_found {
    uint64_t accounts, things; /* things: sessions, waivers, messages */
    json_t *examples;          /* owned; names */
    json_t *details;           /* owned; by detail, how many: states */
};

struct retire {
    struct run *run;
    struct name_scan *scan;
    const char *what; /* of retire.lua, as it is asked at this moment */
    struct retire_found found[RETIRE_KINDS];
    size_t listed_at; /* the next of the keys of the action */
    uint64_t since_ms, last_ms;
    char *last_text;    /* owned; of the newest arrival */
    char *from, *newer; /* owned; of the stream of arrivals: from which id on, and up to which */
};

static void retire_free(struct retire *t)
{
    name_scan_cancel(&t->scan);
    for (size_t i = 0; i < RETIRE_KINDS; i++) {
        json_decref(t->found[i].examples);
        json_decref(t->found[i].details);
    }
    free(t->last_text);
    free(t->from);
    free(t->newer);
    free(t);
}

static void retire_fail(struct retire *t, enum route_rc rc)
{
    struct run *r = t->run;

    retire_free(t);
    run_end_failed(r, rc, "");
}

/* ---- what was found ---- */

static void retire_note(struct retire_found *f, struct span user, struct span detail)
{
    uint64_t n;
    char *word = xspandup(detail), *name = xspandup(user);

    f->accounts++;
    f->things += span_u64(detail, UINT32_MAX, &n) ? n : 1;
    json_t *of = json_object_get(f->details, word);
    if (of || json_object_size(f->details) < EXAMPLES * 4)
        json_object_set_new(f->details, word, json_integer(json_integer_value(of) + 1));
    if (json_object_size(f->examples) < EXAMPLES)
        json_object_set_new(f->examples, name, json_text(detail));
    free(word);
    free(name);
}

static json_t *retire_examples(const struct retire_found *f)
{
    json_t *list = json_array(), *of;
    const char *name;

    json_object_foreach(f->examples, name, of) json_array_append_new(list, json_string(name));
    return list;
}

static void retire_line(struct retire *t, enum retire_kind kind, const char *of, const char *level,
                        const char *advice, const char *fmt, ...) PRINTF_LIKE(6, 7);
static void retire_line(struct retire *t, enum retire_kind kind, const char *of, const char *level,
                        const char *advice, const char *fmt, ...)
{
    const struct retire_found *f = &t->found[kind];
    struct buf text = {0};
    const char *name, *comma = "; such as ";
    json_t *o = json_object(), *e;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    json_object_foreach(f->examples, name, e)
    {
        buf_printf(&text, "%s%s", comma, name);
        comma = ", ";
    }
    json_object_set_new(o, "of", json_string(of));
    json_object_set_new(o, "level", json_string(level));
    json_object_set_new(o, "text", json_text(buf_span(&text)));
    json_object_set_new(o, "advice", json_string(advice));
    json_object_set_new(o, "accounts", json_integer((json_int_t)f->accounts));
    json_object_set_new(o, "examples", retire_examples(f));
    if (kind == HERE || kind == COMING)
        json_object_set(o, "states", f->details);
    json_array_append_new(json_object_get(t->run->data, "checks"), o);
    buf_free(&text);
}

static const char *retire_s(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void retire_say_accounts(struct retire *t)
{
    const struct retire_found *here = &t->found[HERE], *coming = &t->found[COMING];
    struct buf states = {0};
    const char *state;
    json_t *n;

    json_object_foreach(here->details, state, n) buf_printf(
        &states, "%s%" JSON_INTEGER_FORMAT " %s", states.len ? ", " : "", json_integer_value(n), state);
    if (here->accounts > 0)
        retire_line(
            t, HERE, "accounts", "error",
            "\"migrate --all FILE\" moves those who do not log in; \"list --state blocked\" says why others don't "
            "move.",
            "%" PRIu64 " account%s still there (%s)", here->accounts, here->accounts == 1 ? " is" : "s are",
            buf_str(&states));
    else
        retire_line(t, HERE, "accounts", "ok", "", "no account with a record is there");
    if (coming->accounts > 0)
        retire_line(
            t, COMING, "accounts", "error", "Wait until they are there, and look again; or \"hold\" them.",
            "%" PRIu64 " %s on the way to it", coming->accounts, coming->accounts == 1 ? "is" : "are");
    buf_free(&states);
}

/* Do accounts without a record live there? */
static bool retire_is_home(const struct conf *c, const char *backend)
{
    bool is = !strcmp(c->migration.source, backend);

    for (size_t i = 0; i < c->n_rules; i++)
        is = is || !strcmp(c->rules[i].source, backend);
    return is;
}

static void retire_say_unknown(struct retire *t)
{
    const struct retire_found *f = &t->found[UNKNOWN];
    const struct action *a = &t->run->action;

    if (!retire_is_home(store_conf(t->run->store), a->to))
        return;
    if (!a->all)
        retire_line(t, UNKNOWN, "others", "error",
                    "Give a list of all accounts of that server: \"retire BACKEND --all FILE\".",
                    "accounts without a record live there, and how many there are nobody has told");
    else if (f->accounts > 0)
        retire_line(t, UNKNOWN, "others", "error", "\"migrate --all FILE\" with the same list moves them.",
                    "%" PRIu64 " of the %zu account%s of the list %s no record, and so live%s there",
                    f->accounts, a->n_keys, retire_s(a->n_keys), f->accounts == 1 ? "has" : "have",
                    f->accounts == 1 ? "s" : "");
    else
        retire_line(t, UNKNOWN, "others", "ok", "", "all %zu account%s of the list have a record", a->n_keys,
                    retire_s(a->n_keys));
}

static void retire_say_use(struct retire *t)
{
    const struct retire_found *s = &t->found[SESSIONS], *a = &t->found[ARRIVED], *w = &t->found[WATCHED];

    if (s->accounts > 0)
        retire_line(t, SESSIONS, "sessions", "error",
                    "\"sessions NAME\" shows from where; they would be cut off.",
                    "%" PRIu64 " session%s of %" PRIu64 " account%s %s there", s->things, retire_s(s->things),
                    s->accounts, retire_s(s->accounts), s->things == 1 ? "is" : "are");
    else
        retire_line(t, SESSIONS, "sessions", "ok", "", "no session is there");
    if (w->accounts > 0)
        retire_line(t, WATCHED, "late watch", "error", "Wait until it is over (late_watch), and look again.",
                    "of %" PRIu64 " account%s that left it the late watch has not had its time", w->accounts,
                    retire_s(w->accounts));
    if (a->things > 0)
        retire_line(
            t, ARRIVED, "arrivals", "error",
            "Something still delivers there, or writes there past the proxies: see \"audit NAME\", and have it follow "
            "the accounts.",
            "%" PRIu64
            " message%s arrived there in the last %d days after the account had left, the last one: %s",
            a->things, retire_s(a->things), LATELY_DAYS, t->last_text);
    else
        retire_line(t, ARRIVED, "arrivals", "ok", "",
                    "the late watch has found nothing new there for %d days", LATELY_DAYS);
}

static void retire_say_what_stays(struct retire *t)
{
    const struct retire_found *w = &t->found[WAIVED];
    uint64_t left = t->found[LEFT].accounts + t->found[WATCHED].accounts;

    if (w->accounts > 0)
        retire_line(t, WAIVED, "waivers", "warning",
                    "\"user NAME --report\" names what was waived: what was left out is there alone.",
                    "%" PRIu64 " account%s %s waivers (%" PRIu64 ")", w->accounts, retire_s(w->accounts),
                    w->accounts == 1 ? "has" : "have", w->things);
    if (left > 0)
        retire_line(t, LEFT, "way back", "warning",
                    "Keep a backup of it as long as somebody may want to go back.",
                    "%" PRIu64 " account%s %s left it, and can't be sent back once it is off", left,
                    retire_s(left), left == 1 ? "has" : "have");
}

static void retire_end(struct retire *t)
{
    struct run *r = t->run;
    json_t *o;
    size_t i, errors = 0;

    retire_say_accounts(t);
    retire_say_unknown(t);
    retire_say_use(t);
    retire_say_what_stays(t);
    json_array_foreach(json_object_get(r->data, "checks"), i, o) errors +=
        strcmp(json_string_value(json_object_get(o, "level")), "error") == 0;
    json_object_set_new(r->data, "backend", json_string(r->action.to));
    json_object_set_new(r->data, "may_retire", json_boolean(errors == 0));
    retire_free(t);
    if (errors == 0)
        run_end(r, ACTION_DONE, "%s may be switched off: say retired = true in its section first",
                r->action.to);
    else
        run_end(r, ACTION_REFUSED, "%s must stay", r->action.to);
}

/* ---- what came late ---- */

static void retire_ask_arrivals(struct retire *t);
static void retire_begin(struct retire *t);

static void retire_take_arrival(struct retire *t, const struct reply *fields, uint64_t ms)
{
    struct span text = reply_str(reply_get(fields, "reason")), user = reply_str(reply_get(fields, "user"));

    if (!span_is(reply_str(reply_get(fields, "before")), t->run->action.to))
        return;
    retire_note(&t->found[ARRIVED], user, span_str("1"));
    if (t->last_ms > ms)
        return;
    json_t *time = json_time(ms);
    t->last_ms = ms;
    free(t->last_text);
    t->last_text = xasprintf("%s, %.*s: %.*s", json_string_value(time), (int)user.len, (const char *)user.p,
                             (int)text.len, (const char *)text.p);
    json_decref(time);
}

static void retire_on_arrivals(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct retire *t = owner;
    size_t n = reply_count(reply);

    if (rc == REDIS_DOWN) {
        retire_fail(t, ROUTE_DOWN);
        return;
    }
    for (size_t i = 0; rc == REDIS_OK && i < n; i++) {
        char *id = xspandup(reply_str(reply_at(reply_at(reply, i), 0)));
        retire_take_arrival(t, reply_at(reply_at(reply, i), 1), strtoull(id, NULL, 10));
        free(t->from);
        t->from = xasprintf("(%s", id);
        free(id);
    }
    if (rc == REDIS_OK && n == ARRIVALS_AT_ONCE)
        retire_ask_arrivals(t);
    else if (run_next_store(t->run))
        retire_begin(t);
    else
        retire_end(t);
}

static void retire_ask_arrivals(struct retire *t)
{
    char *stream = store_key(t->run->store, "arrivals"), count[16];

    snprintf(count, sizeof(count), "%d", ARRIVALS_AT_ONCE);
    struct span argv[] = {span_str("XRANGE"), span_str(stream),  span_str(t->from),
                          span_str("+"),      span_str("COUNT"), span_str(count)};
    store_command(t->run->store, argv, COUNTOF(argv), retire_on_arrivals, t);
    free(stream);
}

static void retire_on_time(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct retire *t = owner;
    uint64_t now_ms = (uint64_t)reply_int(reply_at(reply, 0)) * 1000,
             lately = (uint64_t)LATELY_DAYS * 24 * 3600 * 1000;

    if (rc != REDIS_OK) {
        retire_fail(t, ROUTE_DOWN);
        return;
    }
    free(t->from);
    t->from = xasprintf("%" PRIu64, now_ms > lately ? now_ms - lately : 0);
    retire_ask_arrivals(t);
}

static void retire_look_at_arrivals(struct retire *t)
{
    struct span argv[] = {span_str("TIME")};

    store_command(t->run->store, argv, COUNTOF(argv), retire_on_time, t);
}

/* ---- accounts ---- */

static void retire_next_listed(struct retire *t);

static void retire_on_rows(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct retire *t = owner;

    if (rc != ROUTE_OK) {
        retire_fail(t, rc);
        return;
    }
    for (size_t i = 0; i + 2 < n; i += 3)
        for (size_t k = 0; k < RETIRE_KINDS; k++)
            if (span_is(rows[i + 1], retire_words[k]))
                retire_note(&t->found[k], rows[i], rows[i + 2]);
    if (t->scan)
        name_scan_on(t->scan);
    else
        retire_next_listed(t);
}

static void retire_on_users(void *owner, const struct span *users, size_t n)
{
    struct retire *t = owner;

    if (!run_looks(t->run, strcmp(t->what, "sessions") ? n : 0))
        retire_fail(t, ROUTE_DOWN);
    else
        route_retire(t->run->store, t->run->action.to, t->what, users, n, retire_on_rows, t);
}

/* Those of the list that live there as long as they have no record. */
static void retire_next_listed(struct retire *t)
{
    const struct action *a = &t->run->action;
    struct span users[LISTED_AT_ONCE];
    size_t n = 0;

    for (; t->listed_at < a->n_keys && n < LISTED_AT_ONCE; t->listed_at++)
        if (stores_is_in(t->run->store, a->keys[t->listed_at]) &&
            !strcmp(conf_pair_of(store_conf(t->run->store), a->keys[t->listed_at]).source, a->to))
            users[n++] = span_str(a->keys[t->listed_at]);
    t->what = "listed";
    if (n > 0)
        retire_on_users(t, users, n);
    else
        retire_look_at_arrivals(t);
}

static void retire_on_all_sessions(void *owner, bool good)
{
    struct retire *t = owner;

    t->scan = NULL;
    if (good)
        retire_next_listed(t);
    else
        retire_fail(t, ROUTE_DOWN);
}

static void retire_on_all_routes(void *owner, bool good)
{
    struct retire *t = owner;

    t->scan = NULL;
    if (!good) {
        retire_fail(t, ROUTE_DOWN);
        return;
    }
    t->what = "sessions";
    t->scan = name_scan_start(t->run->store, "sessions", "", retire_on_users, retire_on_all_sessions, t);
}

/* At the store at hand. */
static void retire_begin(struct retire *t)
{
    t->what = "routes";
    t->listed_at = 0;
    t->scan = name_scan_start(t->run->store, "route", "", retire_on_users, retire_on_all_routes, t);
}

void run_retire(struct run *r)
{
    struct retire *t = xcalloc(1, sizeof(*t));

    t->run = r;
    for (size_t i = 0; i < RETIRE_KINDS; i++) {
        t->found[i].examples = json_object();
        t->found[i].details = json_object();
    }
    json_object_set_new(r->data, "checks", json_array());
    retire_begin(t);
}
