#include <stdio.h>
#include <stdlib.h>

#include "lib/reasons.h"
#include "lib/xalloc.h"

#include "json_value.h"
#include "summary.h"

struct summary {
    json_t *states, *backends, *tiers, *domains, *rules; /* owned, as all */
    json_t *reasons;                                     /* by "state:word" */
    struct route_progress sums;
    uint64_t accounts, moved, first_ms, last_ms, waived, waivers;
};

struct summary *summary_new(void)
{
    struct summary *s = xcalloc(1, sizeof(*s));
    json_t **const all[] = {&s->states, &s->backends, &s->tiers, &s->domains, &s->rules, &s->reasons};

    for (size_t i = 0; i < COUNTOF(all); i++)
        *all[i] = json_object();
    return s;
}

void summary_free(struct summary **sp)
{
    struct summary *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    json_t *const all[] = {s->states, s->backends, s->tiers, s->domains, s->rules, s->reasons};
    for (size_t i = 0; i < COUNTOF(all); i++)
        json_decref(all[i]);
    free(s);
}

static void summary_count(json_t *o, const char *name, uint64_t n)
{
    json_int_t before = json_integer_value(json_object_get(o, name));

    json_object_set_new(o, name, json_integer(before + (json_int_t)n));
}

/* Of a domain or a rule; the names that are too many share one. */
static void summary_count_name(json_t *names, const char *name, bool moved)
{
    bool known = json_object_get(names, name) || json_object_size(names) < SUMMARY_NAMES;
    json_t *o = json_object_get(names, known ? name : "");

    if (!o) {
        o = json_object();
        json_object_set_new(names, known ? name : "", o);
    }
    summary_count(o, "accounts", 1);
    summary_count(o, "moved", moved);
}

/* "T3:12 T2:1" */
static void summary_add_tiers(struct summary *s, const char *text)
{
    char tier[8];
    unsigned long n;
    int used;

    for (; sscanf(text, " %7[^: ]:%lu%n", tier, &n, &used) == 2; text += used)
        summary_count(s->tiers, tier, n);
}

/* Of what does not get on; what is under way may have a reason too, which says what it waits for. */
static void summary_add_reason(struct summary *s, const struct walk_account *a)
{
    size_t len = strspn(a->reason, "abcdefghijklmnopqrstuvwxyz_");
    char *word = xasprintf("%.*s", (int)len, a->reason), *key = xasprintf("%s:%s", a->state, word);
    json_t *o = json_object_get(s->reasons, key);

    if (*word && !o) {
        const char *advice = reason_advice(a->reason);
        o = json_pack("{s:s, s:s, s:i, s:[]}", "state", a->state, "reason", word, "accounts", 0, "examples");
        json_object_set_new(o, "advice", *advice ? json_string(advice) : json_null());
        json_object_set_new(s->reasons, key, o);
    }
    if (*word && o) {
        json_t *examples = json_object_get(o, "examples");
        summary_count(o, "accounts", 1);
        if (json_array_size(examples) < SUMMARY_EXAMPLES)
            json_array_append_new(examples, json_string(a->user));
    }
    free(word);
    free(key);
}

void summary_add(struct summary *s, const struct walk_account *a)
{
    const struct route_progress *p = &a->progress;
    bool moved = a->flipped_ms > 0 && !strcmp(a->backend, a->target);

    s->accounts++;
    summary_count(s->states, a->state, 1);
    summary_count(s->backends, a->backend, 1);
    summary_count_name(s->domains, a->domain, moved);
    summary_count_name(s->rules, a->rule, moved);
    summary_add_tiers(s, p->tiers);
    summary_add_reason(s, a);
    s->sums.mailboxes_done += p->mailboxes_done;
    s->sums.mailboxes_total += p->mailboxes_total;
    s->sums.messages_done += p->messages_done;
    s->sums.messages_total += p->messages_total;
    s->sums.messages_verified += p->messages_verified;
    s->sums.bytes_done += p->bytes_done;
    s->sums.bytes_total += p->bytes_total;
    s->waived += a->waivers > 0;
    s->waivers += a->waivers;
    s->moved += moved;
    if (moved && (s->first_ms == 0 || a->flipped_ms < s->first_ms))
        s->first_ms = a->flipped_ms;
    if (moved && a->flipped_ms > s->last_ms)
        s->last_ms = a->flipped_ms;
}

/* ---- as JSON */

static json_t *summary_amount(uint64_t done, uint64_t total)
{
    return json_pack("{s:I, s:I}", "done", (json_int_t)done, "total", (json_int_t)total);
}

/* As an account goes through them. */
static json_t *summary_states(const json_t *states)
{
    json_t *ordered = json_object(), *n;

    for (int i = 0; i <= ROUTE_HELD; i++)
        if ((n = json_object_get(states, route_state_name((enum route_state)i))))
            json_object_set(ordered, route_state_name((enum route_state)i), n);
    json_object_update_missing(ordered, (json_t *)states);
    return ordered;
}

json_t *summary_json(struct summary *s)
{
    const struct route_progress *p = &s->sums;
    json_t *o = json_object(), *messages = summary_amount(p->messages_done, p->messages_total), *moved,
           *waived;

    json_object_set_new(messages, "verified", json_integer((json_int_t)p->messages_verified));
    moved = json_pack("{s:I}", "accounts", (json_int_t)s->moved);
    json_object_set_new(moved, "first", json_time(s->first_ms));
    json_object_set_new(moved, "last", json_time(s->last_ms));
    waived = json_pack("{s:I, s:I}", "accounts", (json_int_t)s->waived, "findings", (json_int_t)s->waivers);
    json_object_set_new(o, "accounts", json_integer((json_int_t)s->accounts));
    json_object_set_new(o, "moved", moved);
    json_object_set_new(o, "states", summary_states(s->states));
    json_object_set(o, "backends", s->backends);
    json_object_set_new(o, "reasons", json_by_accounts(s->reasons));
    json_object_set_new(o, "mailboxes", summary_amount(p->mailboxes_done, p->mailboxes_total));
    json_object_set_new(o, "messages", messages);
    json_object_set_new(o, "bytes", summary_amount(p->bytes_done, p->bytes_total));
    json_object_set(o, "tiers", s->tiers);
    json_object_set_new(o, "waived", waived);
    json_object_set(o, "domains", s->domains);
    json_object_set(o, "rules", s->rules);
    return o;
}
