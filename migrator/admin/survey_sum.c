#include <stdlib.h>
#include <time.h>

#include "lib/xalloc.h"

#include "migrator/found/finding.h"

#include "json_value.h"
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

static void sum_account(json_t *sum, json_t *findings, const char *user, const json_t *plan)
{
    json_t *m;
    size_t i;

    sum_add(sum, "accounts", 1);
    sum_add(sum, "blocked", json_is_true(json_object_get(plan, "blocked")));
    json_array_foreach(json_object_get(plan, "mailboxes"), i, m)
    {
        const char *tier = json_string_value(json_object_get(m, "tier"));
        sum_add(sum, "mailboxes", 1);
        sum_add(sum, "messages", json_integer_value(json_object_get(m, "messages")));
        sum_add(sum, "bytes", json_integer_value(json_object_get(m, "bytes")));
        sum_add(json_object_get(sum, "tiers"), tier ? tier : "?", 1);
    }
    sum_findings(findings, user, json_object_get(plan, "findings"));
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

json_t *survey_sum(FILE *f, size_t *_line)
{
    json_t *places = json_object();
    char *text = NULL;
    size_t room = 0;

    if (!sum_find_last(f, places, _line)) {
        json_decref(places);
        return NULL;
    }
    rewind(f);
    json_t *sum = json_pack("{s:i, s:i, s:i, s:i, s:i, s:{}}", "accounts", 0, "blocked", 0, "mailboxes", 0,
                            "messages", 0, "bytes", 0, "tiers"),
           *findings = json_object(), *failed = json_object();
    for (json_int_t line = 1; getline(&text, &room, f) > 0; line++) {
        json_t *o = json_loads(text, 0, NULL);
        const char *user = json_string_value(json_object_get(o, "user")),
                   *error = json_string_value(json_object_get(o, "error"));
        if (user && json_integer_value(json_object_get(places, user)) == line && error)
            sum_failure(failed, user, error);
        else if (user && json_integer_value(json_object_get(places, user)) == line)
            sum_account(sum, findings, user, o);
        json_decref(o);
    }
    free(text);
    json_decref(places);
    json_object_set_new(sum, "findings", json_by_accounts(findings));
    json_object_set_new(sum, "failed", json_by_accounts(failed));
    json_decref(findings);
    json_decref(failed);
    return sum;
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
