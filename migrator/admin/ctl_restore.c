#include <stdlib.h>

#include "lib/xalloc.h"

#include "ctl_print.h"
#include "ctl_restore.h"

/* ---- for people ---- */

enum { NAMED_MAX = 20 /* accounts that are named one by one */ };

static void ctl_restore_print_doubts(json_t *names)
{
    size_t n = json_array_size(names), i;
    json_t *name;

    if (n)
        ctl_print_note("held, since two hosts contradict each other about where they are (%zu):", n);
    json_array_foreach(names, i, name)
    {
        if (i < NAMED_MAX)
            ctl_print_note("  %s", json_string_value(name));
    }
    if (n > NAMED_MAX)
        ctl_print_note("  and %zu more: \"imapferryctl list --state held\"", n - NAMED_MAX);
}

static void ctl_restore_print_groups(const json_t *names, const char *why)
{
    const json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
        ctl_print_note("the group %s is not as it was, since %s", json_string_value(name), why);
}

static void ctl_restore_print_faults(json_t *faults, json_int_t all)
{
    size_t i;
    json_t *o;

    json_array_foreach(faults, i, o)
    {
        const char *file = json_string_value(json_object_get(o, "file"));
        json_int_t line = json_integer_value(json_object_get(o, "line"));
        char *at = line ? xasprintf("%" JSON_INTEGER_FORMAT ":", line) : xstrdup("");
        ctl_print_note("%s%s%s%s%s", file ? file : "", file ? ":" : "", at, file ? " " : "",
                       json_string_value(json_object_get(o, "error")));
        free(at);
    }
    if (all > (json_int_t)json_array_size(faults))
        ctl_print_note("and %" JSON_INTEGER_FORMAT " more", all - (json_int_t)json_array_size(faults));
}

void ctl_restore_print(const json_t *data)
{
    ctl_restore_print_faults(json_object_get(data, "faults"),
                             json_integer_value(json_object_get(data, "problems")));
    ctl_restore_print_doubts(json_object_get(data, "in_doubt"));
    ctl_restore_print_groups(
        json_object_get(data, "groups_apart"),
        "its accounts lie in several stores: they are moved one by one, if at all (\"waive NAME shared\")");
    ctl_restore_print_groups(
        json_object_get(data, "groups_unmade"),
        "Redis still holds another one of that name, or has one of its accounts in another, or on its way: see \"group list\"");
}

/* ---- of several stores ---- */

/* Adds what was told of a store to what is told of all. What is about the files is told once. */
static void ctl_restore_sum_up(json_t *all, const json_t *more)
{
    static const char *const sums[] = {"restored", "held", "skipped", "kept", "groups"};
    const char *name;
    json_t *n, *backends = json_object_get(all, "backends");

    for (size_t i = 0; i < COUNTOF(sums); i++)
        json_object_set_new(all, sums[i],
                            json_integer(json_integer_value(json_object_get(all, sums[i])) +
                                         json_integer_value(json_object_get(more, sums[i]))));
    json_object_foreach(json_object_get(more, "backends"), name, n) json_object_set_new(
        backends, name,
        json_integer(json_integer_value(json_object_get(backends, name)) + json_integer_value(n)));
    json_array_extend(json_object_get(all, "in_doubt"), json_object_get(more, "in_doubt"));
    json_array_extend(json_object_get(all, "groups_apart"), json_object_get(more, "groups_apart"));
    json_array_extend(json_object_get(all, "groups_unmade"), json_object_get(more, "groups_unmade"));
}

void ctl_restore_add(json_t **all, json_t *data, size_t store)
{
    json_t *of_one = json_deep_copy(data);

    if (!*all)
        *all = json_pack("{s:[], s:{}, s:[], s:[], s:[]}", "stores", "backends", "in_doubt", "groups_apart",
                         "groups_unmade");
    json_object_set_new(of_one, "store", json_integer((json_int_t)store));
    json_array_append_new(json_object_get(*all, "stores"), of_one);
    ctl_restore_sum_up(*all, of_one);
    json_object_update(data, *all);
}
