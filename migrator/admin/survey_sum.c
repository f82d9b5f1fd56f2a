#include <stdlib.h>
#include <time.h>

#include "lib/xalloc.h"

#include "migrator/found/finding.h"

#include "csv.h"
#include "json_value.h"
#include "sharing.h"
#include "survey_sum.h"

enum { SUM_EXAMPLES = 3 };

static void sum_add(json_t *o, const char *name, json_int_t n)
{
    json_object_set_new(o, name, json_integer(json_integer_value(json_object_get(o, name)) + n));
}

static void sum_example(json_t *o, const char *user)
{
    json_t *list = json_object_get(o, "examples");

    sum_add(o, "accounts", 1);
    if (json_array_size(list) < SUM_EXAMPLES)
        json_array_append_new(list, json_string(user));
}

static json_t *sum_of_kind(json_t *findings, const json_t *finding)
{
    const char *kind = json_string_value(json_object_get(finding, "kind"));
    json_t *o = json_object_get(findings, kind ? kind : "?");
    enum finding_kind k;

    if (o)
        return o;
    o = json_pack("{s:s, s:s, s:b, s:i, s:i, s:[]}", "kind", kind ? kind : "?", "text",
                  kind && finding_parse(span_of(kind, strlen(kind)), &k) ? finding_text(k) : "", "blocks",
                  json_is_true(json_object_get(finding, "blocks")), "findings", 0, "accounts", 0, "examples");
    json_object_set_new(findings, kind ? kind : "?", o);
    return o;
}

static void sum_findings(json_t *findings, const char *user, json_t *list)
{
    json_t *seen = json_object(), *f;
    size_t i;

    json_array_foreach(list, i, f)
    {
        json_t *o = sum_of_kind(findings, f);
        const char *kind = json_string_value(json_object_get(o, "kind"));
        sum_add(o, "findings", 1);
        if (!json_object_get(seen, kind))
            sum_example(o, user);
        json_object_set_new(seen, kind, json_true());
    }
    json_decref(seen);
}

/* What is added up beside the answer. */
struct sum {
    json_t *answer, *findings, *failed;
    json_t *apart;  /* by what ties nobody to anybody */
    json_t *places; /* of all accounts, also of those that could not be planned */
    json_t *shown;  /* pairs: an account, and whose mailboxes it is shown */
    json_t *givers; /* accounts that give a group something */
    struct sharing *sharing;
};

static void sum_apart(struct sum *s, const char *user, const char *with, const char *who)
{
    char *name = xasprintf("%s %s", with, who);
    json_t *o = json_object_get(s->apart, name);

    if (!o) {
        o = json_pack("{s:s, s:s, s:i, s:[]}", "with", with, "who", who, "accounts", 0, "examples");
        json_object_set_new(s->apart, name, o);
    }
    sum_example(o, user);
    free(name);
}

/* An account that goes by two names is the one that was surveyed. */
static const char *sum_account_of(const struct sum *s, const json_t *share)
{
    const char *who = json_string_value(json_object_get(share, "who")),
               *other = json_string_value(json_object_get(share, "or"));

    return other && json_object_get(s->places, other) && !json_object_get(s->places, who) ? other : who;
}

static void sum_tie(struct sum *s, const char *user, const json_t *share)
{
    const char *other = sum_account_of(s, share);

    if (json_is_true(json_object_get(share, "gives")))
        sharing_tie(s->sharing, user, other);
    else
        json_array_append_new(s->shown, json_pack("[s, s]", user, other));
}

static void sum_shares(struct sum *s, const char *user, json_t *shares)
{
    json_t *seen = json_object(), *share;
    size_t i;

    json_array_foreach(shares, i, share)
    {
        const char *with = json_string_value(json_object_get(share, "with")),
                   *who = json_string_value(json_object_get(share, "who"));
        if (with && who && !strcmp(with, "account")) {
            sum_tie(s, user, share);
        } else if (with && who) {
            if (!strcmp(with, "group"))
                json_object_set_new(s->givers, user, json_true());
            if (!json_object_get(seen, who)) /* given, and shown too */
                sum_apart(s, user, with, who);
            json_object_set_new(seen, who, json_true());
        }
    }
    json_decref(seen);
}

static void sum_account(struct sum *s, const char *user, const json_t *plan)
{
    json_t *sum = s->answer, *m;
    json_int_t messages = 0, bytes = 0;
    size_t i;

    sum_add(sum, "accounts", 1);
    sum_add(sum, "blocked", json_is_true(json_object_get(plan, "blocked")));
    json_array_foreach(json_object_get(plan, "mailboxes"), i, m)
    {
        const char *tier = json_string_value(json_object_get(m, "tier"));
        sum_add(sum, "mailboxes", 1);
        messages += json_integer_value(json_object_get(m, "messages"));
        bytes += json_integer_value(json_object_get(m, "bytes"));
        sum_add(json_object_get(sum, "tiers"), tier ? tier : "?", 1);
    }
    sum_add(sum, "messages", messages);
    sum_add(sum, "bytes", bytes);
    sum_findings(s->findings, user, json_object_get(plan, "findings"));
    sharing_add(s->sharing, user, (uint64_t)messages,
                (uint64_t)bytes); /* others may name it that it does not */
    sum_shares(s, user, json_object_get(plan, "shares"));
}

static void sum_failure(json_t *failed, const char *user, const char *error)
{
    json_t *o = json_object_get(failed, error);

    if (!o) {
        o = json_pack("{s:s, s:i, s:[]}", "error", error, "accounts", 0, "examples");
        json_object_set_new(failed, error, o);
    }
    sum_example(o, user);
}

/* One account after the other would be read again where it was planned twice, so the last place of each is found first. */
static bool sum_find_last(FILE *f, json_t *places, size_t *_line)
{
    char *text = NULL;
    size_t room = 0;
    bool good = true;

    for (*_line = 1; good && getline(&text, &room, f) > 0; (*_line)++) {
        json_t *o = json_loads(text, 0, NULL);
        const char *user = json_string_value(json_object_get(o, "user"));
        good = user || !strchr(text, '\n'); /* the last one may be on its way */
        if (user)
            json_object_set_new(places, user, json_integer((json_int_t)*_line));
        json_decref(o);
    }
    free(text);
    (*_line) -= !good;
    return good;
}

/* ---- groups that share */

static json_t *sum_member(const struct sharing_member *m)
{
    return json_pack("{s:s, s:b, s:I, s:I, s:I}", "user", m->user, "surveyed", m->known, "messages",
                     (json_int_t)m->messages, "bytes", (json_int_t)m->bytes, "ties", (json_int_t)m->ties);
}

static json_t *sum_group(const struct sharing_group *g, size_t group_max)
{
    json_t *members = json_array(), *without = json_array();
    bool large = g->n > group_max;

    for (size_t i = 0; i < g->n; i++)
        json_array_append_new(members, sum_member(&g->members[i]));
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:o, s:b}", "accounts", (json_int_t)g->n, "surveyed",
                          (json_int_t)g->known, "messages", (json_int_t)g->messages, "bytes",
                          (json_int_t)g->bytes, "members", members, "too_large", large);
    for (size_t i = 0; i < g->n_without; i++)
        json_array_append_new(without, json_string(g->without[i]));
    if (large)
        json_object_set_new(o, "rest", json_integer((json_int_t)g->rest));
    if (large)
        json_object_set(o, "without", without);
    json_decref(without);
    return o;
}

/* What an account is shown ties it to the owner, unless the owner's own lists are known, and name neither it nor any group: then it is
 * shown what everybody is, and that would tie all of a site together. */
static void sum_shown(struct sum *s)
{
    json_t *pair;
    size_t i;

    json_array_foreach(s->shown, i, pair)
    {
        const char *user = json_string_value(json_array_get(pair, 0)),
                   *owner = json_string_value(json_array_get(pair, 1));
        if (!sharing_knows(s->sharing, owner) || json_object_get(s->givers, owner))
            sharing_tie(s->sharing, user, owner);
    }
}

static json_t *sum_sharing(struct sum *s, size_t group_max)
{
    json_t *list = json_array();
    size_t n, together = 0;

    sum_shown(s);
    struct sharing_group *groups = sharing_groups(s->sharing, group_max, &n);

    for (size_t i = 0; i < n; i++) {
        together += groups[i].n;
        json_array_append_new(list, sum_group(&groups[i], group_max));
    }
    sharing_groups_free(groups, n);
    return json_pack("{s:I, s:I, s:o, s:o}", "group_max", (json_int_t)group_max, "accounts",
                     (json_int_t)together, "groups", list, "apart", json_by_accounts(s->apart));
}

static void sum_csv_group(FILE *f, size_t number, json_t *group)
{
    json_t *members = json_object_get(group, "members"), *m;
    size_t i;

    json_array_foreach(members, i, m)
    {
        fprintf(f, "%zu,%zu,", number, json_array_size(members));
        csv_cell(f, json_is_true(json_object_get(group, "too_large")) ? "yes" : "no", false);
        csv_cell(f, json_string_value(json_object_get(m, "user")), false);
        csv_cell(f, json_is_true(json_object_get(m, "surveyed")) ? "yes" : "no", false);
        fprintf(f, "%lld,%lld,%lld\r\n", (long long)json_integer_value(json_object_get(m, "messages")),
                (long long)json_integer_value(json_object_get(m, "bytes")),
                (long long)json_integer_value(json_object_get(m, "ties")));
    }
}

void survey_write_csv(FILE *f, const json_t *sum)
{
    static const char *const names[] = {"group",    "accounts", "too large", "account",
                                        "surveyed", "messages", "bytes",     "ties"};
    json_t *groups = json_object_get(json_object_get(sum, "sharing"), "groups"), *group;
    size_t i;

    for (i = 0; i < COUNTOF(names); i++)
        csv_cell(f, names[i], i + 1 == COUNTOF(names));
    json_array_foreach(groups, i, group) sum_csv_group(f, i + 1, group);
}

void survey_cut_groups(json_t *sum, size_t most)
{
    json_t *sharing = json_object_get(sum, "sharing"), *groups = json_object_get(sharing, "groups");
    size_t n = json_array_size(groups);

    if (n <= most)
        return;
    json_t *first = json_array();
    for (size_t i = 0; i < most; i++)
        json_array_append(first, json_array_get(groups, i));
    json_object_set_new(sharing, "groups", first);
    json_object_set_new(sharing, "more", json_integer((json_int_t)(n - most)));
}

/* ---- all of it */

static void sum_lines(struct sum *s, FILE *f)
{
    char *text = NULL;
    size_t room = 0;

    for (json_int_t line = 1; getline(&text, &room, f) > 0; line++) {
        json_t *o = json_loads(text, 0, NULL);
        const char *user = json_string_value(json_object_get(o, "user")),
                   *error = json_string_value(json_object_get(o, "error"));
        if (user && json_integer_value(json_object_get(s->places, user)) == line && error)
            sum_failure(s->failed, user, error);
        else if (user && json_integer_value(json_object_get(s->places, user)) == line)
            sum_account(s, user, o);
        json_decref(o);
    }
    free(text);
}

json_t *survey_sum(FILE *f, size_t group_max, size_t *_line)
{
    struct sum s = {.places = json_object()};

    if (!sum_find_last(f, s.places, _line)) {
        json_decref(s.places);
        return NULL;
    }
    rewind(f);
    s.answer = json_pack("{s:i, s:i, s:i, s:i, s:i, s:{}}", "accounts", 0, "blocked", 0, "mailboxes", 0,
                         "messages", 0, "bytes", 0, "tiers");
    s.findings = json_object();
    s.failed = json_object();
    s.apart = json_object();
    s.shown = json_array();
    s.givers = json_object();
    s.sharing = sharing_new();
    sum_lines(&s, f);
    json_object_set_new(s.answer, "findings", json_by_accounts(s.findings));
    json_object_set_new(s.answer, "failed", json_by_accounts(s.failed));
    json_object_set_new(s.answer, "sharing", sum_sharing(&s, group_max));
    sharing_free(&s.sharing);
    json_decref(s.findings);
    json_decref(s.failed);
    json_decref(s.apart);
    json_decref(s.shown);
    json_decref(s.givers);
    json_decref(s.places);
    return s.answer;
}

static time_t sum_time_of(const json_t *point)
{
    const char *text = json_string_value(json_object_get(point, "time"));
    struct tm tm = {0};

    return text && strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) ? timegm(&tm) : 0;
}

void survey_add_hours(json_t *sum, json_t *points)
{
    double bytes = 0, seconds = 0;

    for (size_t i = 1; i < json_array_size(points); i++) {
        const json_t *from = json_array_get(points, i - 1), *to = json_array_get(points, i);
        json_int_t more = json_integer_value(json_object_get(json_object_get(to, "sums"), "bytes_done")) -
                          json_integer_value(json_object_get(json_object_get(from, "sums"), "bytes_done"));
        double past = (double)(sum_time_of(to) - sum_time_of(from));
        if (more <= 0 || past <= 0)
            continue;
        bytes += (double)more;
        seconds += past;
    }
    if (bytes <= 0)
        return;
    json_object_set_new(sum, "rate", json_integer((json_int_t)(bytes / seconds)));
    json_object_set_new(
        sum, "hours",
        json_real((double)json_integer_value(json_object_get(sum, "bytes")) / (bytes / seconds) / 3600));
}
