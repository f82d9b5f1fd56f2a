/* What can be shown of a site of any size at a look: pages of accounts, how many have which reason, the last events, and how
 * far everything was over time. None of them goes through all accounts (lib/route_index.h). */
#include <stdio.h>
#include <stdlib.h>

#include "lib/percent.h"
#include "lib/reasons.h"
#include "lib/route_index.h"

#include "actions_priv.h"

enum { PAGE_USUAL = 50, EVENTS_USUAL = 50, EVENTS_MAX = 500, POINTS_USUAL = 200, POINTS_MAX = 2000 };

static unsigned index_count(const struct run *r, unsigned usual, unsigned most)
{
    unsigned n = r->action.count ? r->action.count : usual;

    return n < most ? n : most;
}

static uint64_t index_number(struct span text)
{
    uint64_t n = 0;

    return span_u64(text, INT64_MAX, &n) ? n : 0;
}

/* "held: " where nobody said why. */
static json_t *index_text_or_null(struct span s)
{
    while (s.len && strchr(": ", s.p[s.len - 1]))
        s.len--;
    return s.len ? json_text(s) : json_null();
}

static json_t *index_advice(struct span reason)
{
    char *text = xspandup(reason);
    const char *advice = reason_advice(text);
    json_t *o = *advice ? json_text(span_str(advice)) : json_null();

    free(text);
    return o;
}

/* ---- accounts, page by page */

static json_t *index_done(struct span done, struct span total)
{
    return json_pack("{s:I, s:I}", "done", (json_int_t)index_number(done), "total",
                     (json_int_t)index_number(total));
}

/* several: by its place, accounts of several stores are brought in one order. */
static json_t *index_account(const struct span *row, bool several)
{
    json_t *o = json_object();
    char *user = xspandup(row[0]);

    json_object_set_new(o, "user", json_text(row[0]));
    json_set_login(o, user);
    json_object_set_new(o, "state", json_text(row[1]));
    json_object_set_new(o, "backend", json_text(row[2]));
    json_object_set_new(o, "reason", index_text_or_null(row[3]));
    json_object_set_new(o, "advice", index_advice(row[3]));
    json_object_set_new(o, "next_try", json_time(index_number(row[4])));
    json_object_set_new(o, "since", json_time(index_number(row[5])));
    json_object_set_new(o, "last_failure", index_text_or_null(row[6]));
    json_object_set_new(o, "messages", index_done(row[7], row[8]));
    json_object_set_new(o, "bytes", index_done(row[9], row[10]));
    if (several)
        json_object_set_new(o, "at", json_text(row[11]));
    free(user);
    return o;
}

static void index_on_page(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    bool several = store_conf(r->store)->redis.n_stores > 1;
    json_t *list = json_array();

    if (rc != ROUTE_OK || n == 0) {
        json_decref(list);
        run_end_failed(r, rc, "");
        return;
    }
    for (size_t i = 1; i + ROUTE_PAGE_FIELDS <= n; i += ROUTE_PAGE_FIELDS)
        json_array_append_new(list, index_account(&rows[i], several));
    json_object_set_new(r->data, "accounts", list);
    json_object_set_new(r->data, "next", rows[0].len ? json_text(rows[0]) : json_null());
    if (several && rows[0].len)
        json_object_set_new(r->data, "nexts", json_pack("[o]", json_text(rows[0])));
    run_end(r, ACTION_DONE, "%s", "");
}

unsigned page_count(const struct action *a)
{
    unsigned n = a->count ? a->count : PAGE_USUAL;

    return n < ROUTE_PAGE_MAX ? n : ROUTE_PAGE_MAX;
}

void report_page(struct run *r)
{
    const struct action *a = &r->action;

    route_page(r->store, a->state, a->reason, a->cursor, page_count(a), index_on_page, r);
}

/* ---- how many have which reason */

static void index_add_group(json_t *list, struct span name, struct span number)
{
    const uint8_t *colon = name.len ? memchr(name.p, ':', name.len) : NULL;
    json_t *o = json_object();

    if (colon) {
        size_t n = (size_t)(colon - name.p);
        struct span word = span_of(colon + 1, name.len - n - 1);
        json_object_set_new(o, "state", json_text(span_of(name.p, n)));
        json_object_set_new(o, "reason", index_text_or_null(word));
        json_object_set_new(o, "advice", index_advice(word));
        json_object_set_new(o, "accounts", json_integer((json_int_t)index_number(number)));
        json_array_append(list, o);
    }
    json_decref(o);
}

static void index_on_groups(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *list = json_array();

    if (rc != ROUTE_OK) {
        json_decref(list);
        run_end_failed(r, rc, "");
        return;
    }
    for (size_t i = 0; i + 1 < n; i += 2)
        index_add_group(list, rows[i], rows[i + 1]);
    json_object_set_new(r->data, "groups", list);
    run_end(r, ACTION_DONE, "%s", "");
}

void report_groups(struct run *r)
{
    route_groups_read(r->store, index_on_groups, r);
}

/* ---- the last events */

static json_t *index_event(const struct reply *entry)
{
    static const char *const names[] = {"user", "kind", "state", "backend", "target"};
    const struct reply *fields = reply_at(entry, 1);
    char *id = xspandup(reply_str(reply_at(entry, 0)));
    json_t *o = json_object();

    json_object_set_new(o, "id", json_text(span_str(id)));
    json_object_set_new(o, "time", json_time(strtoull(id, NULL, 10)));
    for (size_t i = 0; i < COUNTOF(names); i++)
        json_object_set_new(o, names[i], json_text(reply_str(reply_get(fields, names[i]))));
    json_object_set_new(o, "epoch",
                        json_integer((json_int_t)index_number(reply_str(reply_get(fields, "epoch")))));
    free(id);
    return o;
}

static void index_on_events(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;
    json_t *list = json_array();

    if (rc != REDIS_OK) {
        json_decref(list);
        run_end_failed(r, ROUTE_DOWN, "");
        return;
    }
    for (size_t i = 0; i < reply_count(reply); i++)
        json_array_append_new(list, index_event(reply_at(reply, i)));
    json_object_set_new(r->data, "events", list);
    run_end(r, ACTION_DONE, "%s", "");
}

void report_events(struct run *r)
{
    char *key = store_key(r->store, "events"), count[16];

    snprintf(count, sizeof(count), "%u", index_count(r, EVENTS_USUAL, EVENTS_MAX));
    struct span argv[] = {span_str("XREVRANGE"), span_str(key),     span_str("+"),
                          span_str("-"),         span_str("COUNT"), span_str(count)};
    store_command(r->store, argv, COUNTOF(argv), index_on_events, r);
    free(key);
}

/* ---- how far everything was */

/* "state:held" of a point, and so on. */
static void index_set_value(json_t *point, const char *name, uint64_t n)
{
    static const char *const parts[][2] = {
        {"state:", "accounts"}, {"backend:", "backends"}, {"sum:", "sums"}};

    for (size_t i = 0; i < COUNTOF(parts); i++) {
        size_t len = strlen(parts[i][0]);
        if (!strncmp(name, parts[i][0], len))
            json_object_set_new(json_object_get(point, parts[i][1]), name + len, json_integer((json_int_t)n));
    }
}

/* "backend:old%20one=17" */
static void index_set_word(json_t *point, const char *word)
{
    const char *equal = strrchr(word, '=');
    struct span rest = span_of(word, equal ? (size_t)(equal - word) : 0);
    struct buf name = {0};
    uint8_t byte;
    bool escaped;

    while (rest.len > 0 && percent_take(&rest, HEX_CAPITALS, &byte, &escaped))
        buf_add(&name, &byte, 1);
    if (name.len > 0 && rest.len == 0)
        index_set_value(point, buf_str(&name), strtoull(equal + 1, NULL, 10));
    buf_free(&name);
}

static json_t *index_point(struct span line)
{
    json_t *o = json_pack("{s:{}, s:{}, s:{}}", "accounts", "backends", "sums");
    char *text = xspandup(line), *save = NULL, *word = strtok_r(text, " ", &save);

    json_object_set_new(o, "time", json_time(word ? strtoull(word, NULL, 10) : 0));
    while (word && (word = strtok_r(NULL, " ", &save)))
        index_set_word(o, word);
    free(text);
    return o;
}

static void index_on_history(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *list = json_array();

    if (rc != ROUTE_OK || n == 0) {
        json_decref(list);
        run_end_failed(r, rc, "");
        return;
    }
    json_object_set_new(r->data, "time", json_time(index_number(rows[0])));
    for (size_t i = 1; i < n; i++)
        json_array_append_new(list, index_point(rows[i]));
    json_object_set_new(r->data, "points", list);
    run_end(r, ACTION_DONE, "%s", "");
}

void report_history(struct run *r)
{
    route_history_read(r->store, r->action.since_ms, index_count(r, POINTS_USUAL, POINTS_MAX),
                       index_on_history, r);
}
