#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "migrator/account/records.h"
#include "migrator/found/waiver.h"
#include "migrator/mailbox/ledger.h"

#include "waive_check.h"

struct waive_checking {
    struct store *store;
    json_t *report, *keys;
    waive_check_fn fn;
    void *owner;
    struct loop_task task;
    struct route_job job; /* nothing is written: it names the user alone */
    char *user;           /* owned */
    struct records *records;
    struct ledger *ledger;
    size_t at; /* the key that is looked at */
};

static void waive_check_end(struct waive_checking *c, enum route_rc rc, const char *key)
{
    loop_undefer(store_loop(c->store), &c->task);
    ledger_free(&c->ledger);
    if (c->records)
        records_free(&c->records);
    c->fn(c->owner, rc, key);
    json_decref(c->report);
    json_decref(c->keys);
    free(c->user);
    free(c);
}

json_t *waive_mailbox(const json_t *report, const char *key)
{
    const char *why;
    json_t *m;
    size_t i;

    json_array_foreach(json_object_get(report, "mailboxes"), i, m)
    {
        char *typed = xasprintf("%s:1", json_string_value(json_object_get(m, "name")));
        char *first = waiver_key(span_str(typed), &why);
        bool is = first && waiver_same_mailbox(first, key);
        free(typed);
        free(first);
        if (is)
            return m;
    }
    return NULL;
}

static bool finding_names(const json_t *mailbox, uint32_t uid)
{
    json_t *f;
    size_t i;

    json_array_foreach(json_object_get(mailbox, "findings"), i, f)
    {
        if (json_integer_value(json_object_get(f, "uid")) == (json_int_t)uid)
            return true;
    }
    return false;
}

/* Is it of one message, and can the ledger alone tell whether there is one? */
static bool waive_check_is_open(const struct waive_checking *c, const char *key, uint32_t *_uid)
{
    const char *part = strrchr(key, ':');
    const json_t *m = waive_mailbox(c->report, key);
    unsigned uidvalidity, uid;

    if (!part || !m || sscanf(part + 1, "%u/%u", &uidvalidity, &uid) != 2 ||
        json_integer_value(json_object_get(m, "uidvalidity")) != (json_int_t)uidvalidity)
        return false;
    *_uid = uid;
    return json_is_true(json_object_get(m, "looked_at")) &&
           !json_integer_value(json_object_get(m, "more_findings")) && !finding_names(m, uid);
}

static const char *key_at(const struct waive_checking *c)
{
    return json_string_value(json_array_get(c->keys, c->at));
}

static void waive_check_next(struct waive_checking *c)
{
    c->at++;
    loop_defer(store_loop(c->store), &c->task);
}

static void waive_check_on_ledger(void *owner, enum route_rc rc)
{
    struct waive_checking *c = owner;
    uint32_t uid = 0;
    const char *source = json_string_value(json_object_get(c->report, "source")),
               *target = json_string_value(json_object_get(c->report, "target"));

    if (rc != ROUTE_OK || !waive_check_is_open(c, key_at(c), &uid)) {
        waive_check_end(c, rc, NULL);
        return;
    }
    bool there = ledger_is_of(c->ledger, source ? source : "", target ? target : "")
                     ? ledger_find(c->ledger, uid) != NULL
                     : ledger_find_target(c->ledger, uid) != NULL;
    ledger_free(&c->ledger);
    if (there)
        waive_check_next(c);
    else
        waive_check_end(c, ROUTE_OK, key_at(c));
}

static void waive_check_look(struct loop_task *task)
{
    struct waive_checking *c = CONTAINER_OF(task, struct waive_checking, task);
    const struct record *record = NULL;
    uint32_t uid;

    ledger_free(&c->ledger);
    for (; key_at(c) && !record; c->at += !record) {
        if (!waive_check_is_open(c, key_at(c), &uid))
            continue;
        char *mailbox = xasprintf("%.*s", (int)(strrchr(key_at(c), ':') - key_at(c)), key_at(c));
        record = records_find(c->records, mailbox);
        free(mailbox);
    }
    if (record)
        c->ledger = ledger_load(c->store, &c->job, record->view.id, waive_check_on_ledger, c);
    else
        waive_check_end(c, ROUTE_OK, NULL);
}

static void waive_check_on_records(void *owner, enum route_rc rc)
{
    struct waive_checking *c = owner;

    if (rc != ROUTE_OK)
        waive_check_end(c, rc, NULL);
    else
        loop_defer(store_loop(c->store), &c->task);
}

void waive_check(struct store *s, const char *user, json_t *report, json_t *keys, waive_check_fn fn,
                 void *owner)
{
    struct waive_checking *c = xcalloc(1, sizeof(*c));
    const char *source = json_string_value(json_object_get(report, "source"));

    c->store = s;
    c->report = json_incref(report);
    c->keys = json_incref(keys);
    c->fn = fn;
    c->owner = owner;
    c->task.fn = waive_check_look;
    c->user = xstrdup(user);
    c->job = (struct route_job){.user = c->user, .token = ""};
    bool back = source && strcmp(source, conf_pair_of(store_conf(s), user).source) != 0;
    c->records = records_new(s, &c->job, back, 0);
    records_read(c->records, waive_check_on_records, c);
}
