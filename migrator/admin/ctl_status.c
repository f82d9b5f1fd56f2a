/* `status` and `sessions`, for people. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "actions.h"
#include "ctl_status.h"
#include "ctl_table.h"
#include "ctl_text.h"

/* ---- sessions */

/* A row for each object of the list, below a row of heads. */
static void write_objects(struct buf *out, json_t *list, const char *const (*columns)[2], size_t n)
{
    struct table t = {.n_columns = n, .head = true};
    char *texts[TABLE_COLUMNS_MAX];
    json_t *o;
    size_t i;

    for (size_t k = 0; k < n; k++)
        texts[k] = xstrdup(columns[k][0]);
    table_add(&t, texts);
    json_array_foreach(list, i, o)
    {
        for (size_t k = 0; k < n; k++)
            texts[k] = xstrdup(*ctl_text_of(o, columns[k][1]) ? ctl_text_of(o, columns[k][1]) : "-");
        table_add(&t, texts);
    }
    table_write(&t, out, NULL);
}

void ctl_write_sessions(struct buf *out, const json_t *o)
{
    static const char *const columns[][2] = {{"MODE", "mode"},
                                             {"BACKEND", "backend"},
                                             {"ADDRESS", "address"},
                                             {"SINCE", "since"},
                                             {"SESSION", "session"}};
    json_t *list = json_object_get(o, "sessions");

    if (json_array_size(list) == 0)
        buf_add_str(out, "no sessions\n");
    else
        write_objects(out, list, columns, COUNTOF(columns));
}

/* ---- status */

/* Numbers end in one column. */
static void write_counts(struct buf *out, const char *head, json_t *counts, const char *none)
{
    const char *name, *label = head;
    int width = 0;
    json_t *n;

    if (json_object_size(counts) == 0)
        ctl_write_line(out, head, none);
    for (int round = 0; round < 2; round++) {
        json_object_foreach(counts, name, n)
        {
            struct buf text = {0};
            ctl_write_number(&text, (uint64_t)json_integer_value(n));
            if (round == 0) {
                width = (int)text.len > width ? (int)text.len : width;
            } else {
                ctl_write_label(out, label);
                buf_printf(out, "%*s ", width, buf_str(&text));
                ctl_write_state(out, name);
                buf_add_str(out, "\n");
                label = "";
            }
            buf_free(&text);
        }
    }
}

/* What there is to say of it; nothing, mostly. */
static void write_store_state(struct buf *out, const json_t *store, bool says_pause)
{
    if (*ctl_text_of(store, "error")) {
        ctl_write_label(out, "");
        buf_printf(out, "%s\n", ctl_text_of(store, "error"));
        return;
    }
    if (says_pause) {
        ctl_write_label(out, "");
        buf_add_str(out, json_is_true(json_object_get(store, "paused")) ? "paused\n" : "not paused\n");
    }
    if (strcmp(ctl_text_of(store, "durability"), "good") != 0) {
        ctl_write_label(out, "");
        buf_printf(out, "%s: %s\n", ctl_text_of(store, "durability"), ctl_text_of(store, "detail"));
    }
    if (*ctl_text_of(store, "refuses_writes")) {
        ctl_write_label(out, "");
        buf_printf(out, "%s; nobody can sign in, and what follows may be out of date\n",
                   ctl_text_of(store, "refuses_writes"));
    }
    if (ctl_number_of(store, "quarantine_ms")) {
        ctl_write_label(out, "");
        buf_add_str(out, "quarantine, since Redis restarted or failed over: ");
        ctl_write_duration(out, ctl_number_of(store, "quarantine_ms"));
        buf_add_str(out, " left\n");
    }
}

static void write_store(struct buf *out, const json_t *store, bool says_pause)
{
    ctl_write_label(out, "store");
    buf_printf(out, "%s, generation %" PRIu64 "\n", ctl_text_of(store, "address"),
               ctl_number_of(store, "generation"));
    write_store_state(out, store, says_pause);
}

/* What was asked for while a store was out of reach is done at the others alone. */
static bool ctl_status_pause_differs(const json_t *stores)
{
    bool some = false, other = false;
    json_t *store;
    size_t i;

    json_array_foreach(stores, i, store)
    {
        some = some || json_is_true(json_object_get(store, "paused"));
        other = other || json_is_false(json_object_get(store, "paused"));
    }
    return some && other;
}

/* " {07}" of the address of a partition; NULL: it is none. */
static const char *ctl_status_partition(const json_t *store)
{
    const char *address = ctl_text_of(store, "address");

    return strstr(address, " {");
}

/* The partitions of which the same is to be said as of the nth, which is the first of them, and that. */
static void write_partitions_alike(struct buf *out, const json_t *stores, char *const *said, size_t nth)
{
    const char *before = "";

    ctl_write_label(out, "");
    for (size_t i = nth; i < json_array_size(stores); i++) {
        if (strcmp(said[i], said[nth]) != 0)
            continue;
        const char *name = ctl_status_partition(json_array_get(stores, i));
        buf_printf(out, "%s%s", before, name ? name + 1 : "");
        before = " ";
    }
    buf_printf(out, ":\n%s", said[nth]);
}

static bool ctl_status_said_before(char *const *said, size_t nth)
{
    for (size_t i = 0; i < nth; i++)
        if (!strcmp(said[i], said[nth]))
            return true;
    return false;
}

/* There are many of them, and mostly all are well. */
static void write_partitions(struct buf *out, const json_t *stores)
{
    size_t n = json_array_size(stores), i;
    const char *address = ctl_text_of(json_array_get(stores, 0), "address");
    char **said = xcalloc(n, sizeof(*said));

    ctl_write_label(out, "stores");
    buf_printf(out, "%.*s\n", (int)(strstr(address, " {") - address), address);
    for (i = 0; i < n; i++) {
        struct buf text = {0};
        write_store_state(&text, json_array_get(stores, i), ctl_status_pause_differs(stores));
        said[i] = xstrdup(buf_str(&text));
        buf_free(&text);
    }
    for (i = 0; i < n; i++)
        if (*said[i] && !ctl_status_said_before(said, i))
            write_partitions_alike(out, stores, said, i);
    for (i = 0; i < n; i++)
        free(said[i]);
    free(said);
}

/* Of a site with several, each. */
static void write_stores(struct buf *out, const json_t *o)
{
    const json_t *stores = json_object_get(o, "stores");
    json_t *store;
    size_t i;

    if (!stores)
        write_store(out, json_object_get(o, "store"), false);
    if (stores && ctl_status_partition(json_array_get(stores, 0))) {
        write_partitions(out, stores);
        return;
    }
    json_array_foreach(stores, i, store)
    {
        if (!*ctl_text_of(store, "error")) {
            write_store(out, store, ctl_status_pause_differs(stores));
            continue;
        }
        ctl_write_label(out, "store");
        buf_printf(out, "%s: %s\n", ctl_text_of(store, "address"), ctl_text_of(store, "error"));
    }
}

/* All threads, living and silent, of what has one id; a proxy that was started anew has both. */
struct proxy_line {
    char *id; /* owned */
    const json_t *newest;
    size_t alive, silent;
    /* of the silent one that was heard last, and until when it may serve its sessions; borrowed */
    const char *renewed, *until;
};

static struct proxy_line *ctl_status_line_of(struct proxy_line *lines, size_t *n, const char *incarnation)
{
    size_t len = action_proxy_id_length(incarnation), i = 0;

    while (i < *n && (strlen(lines[i].id) != len || strncmp(lines[i].id, incarnation, len) != 0))
        i++;
    if (i == *n)
        lines[(*n)++] =
            (struct proxy_line){.id = xasprintf("%.*s", (int)len, incarnation), .renewed = "", .until = ""};
    return &lines[i];
}

static void take_proxy(struct proxy_line *lines, size_t *n, const json_t *proxy)
{
    struct proxy_line *l = ctl_status_line_of(lines, n, ctl_text_of(proxy, "proxy"));
    const char *renewed = ctl_text_of(proxy, "renewed");
    bool silent = json_is_true(json_object_get(proxy, "silent"));

    if (!l->newest || strcmp(renewed, ctl_text_of(l->newest, "renewed")) > 0)
        l->newest = proxy;
    l->alive += !silent;
    l->silent += silent;
    if (silent && strcmp(renewed, l->renewed) > 0) {
        l->renewed = renewed;
        l->until = ctl_text_of(proxy, "may_serve_until");
    }
}

static char *say_silent(const char *since, const char *now)
{
    struct buf text = {0};

    buf_add_str(&text, STYLE_RED "SILENT" STYLE_OFF " since ");
    ctl_write_time(&text, since, now);
    char *said = xstrdup(buf_str(&text));
    buf_free(&text);
    return said;
}

/* Accounts that have sessions there wait for it so long. */
static char *say_waited_for(const struct proxy_line *l, const char *now)
{
    char *silent = say_silent(l->renewed, now);

    if (strcmp(l->until, now) <= 0)
        return silent;
    char *text = xasprintf("%s, waited for until %s", silent, l->until);
    free(silent);
    return text;
}

static char *how_it_is(const struct proxy_line *l, const char *now)
{
    if (l->alive == 0)
        return say_waited_for(l, now);
    if (l->silent == 0)
        return xasprintf("%zu thread%s", l->alive, l->alive == 1 ? "" : "s");
    return xasprintf("%zu thread%s, and %zu of before that are silent", l->alive, l->alive == 1 ? "" : "s",
                     l->silent);
}

/* The first of its backend in the list. */
static bool ctl_status_is_first(json_t *list, size_t at)
{
    const char *backend = ctl_text_of(json_array_get(list, at), "backend");

    for (size_t i = 0; i < at; i++)
        if (!strcmp(ctl_text_of(json_array_get(list, i), "backend"), backend))
            return false;
    return true;
}

/* How many threads of each proxy refuse logins for a backend. */
static void write_breaker(struct buf *out, json_t *list, size_t at)
{
    struct proxy_line *lines = xcalloc(json_array_size(list), sizeof(*lines));
    const char *backend = ctl_text_of(json_array_get(list, at), "backend");
    size_t n = 0, i;
    json_t *o;

    json_array_foreach(list, i, o)
    {
        if (!strcmp(ctl_text_of(o, "backend"), backend))
            ctl_status_line_of(lines, &n, ctl_text_of(o, "proxy"))->alive++;
    }
    ctl_write_label(out, "");
    buf_printf(out, "%s " STYLE_RED "DOES NOT ANSWER" STYLE_OFF ", so its users can't sign in: ", backend);
    for (i = 0; i < n; i++) {
        buf_printf(out, "%s%s (%zu thread%s)", i ? ", " : "", lines[i].id, lines[i].alive,
                   lines[i].alive == 1 ? "" : "s");
        free(lines[i].id);
    }
    buf_add_str(out, "\n");
    free(lines);
}

static void write_breakers(struct buf *out, json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (ctl_status_is_first(list, i))
            write_breaker(out, list, i);
}

static void write_proxies(struct buf *out, json_t *list, const char *now)
{
    struct proxy_line *lines = xcalloc(json_array_size(list) + 1, sizeof(*lines));
    struct table t = {.n_columns = 4};
    size_t n = 0, i;
    json_t *proxy;

    json_array_foreach(list, i, proxy) take_proxy(lines, &n, proxy);
    if (n == 0)
        ctl_write_line(out, "proxies", "none");
    for (i = 0; i < n; i++)
        table_add(&t,
                  (char *[]){lines[i].id, xasprintf("version %s", ctl_text_of(lines[i].newest, "version")),
                             xstrdup(ctl_text_of(lines[i].newest, "address")), how_it_is(&lines[i], now)});
    table_sort(&t);
    table_write(&t, out, "proxies");
    free(lines);
}

/* Those that live and take nothing, a line each. */
static void write_resting(struct buf *out, json_t *list)
{
    json_t *m;
    size_t i;

    json_array_foreach(list, i, m)
    {
        if (json_is_true(json_object_get(m, "silent")) || !*ctl_text_of(m, "rests"))
            continue;
        ctl_write_label(out, "");
        buf_printf(out, "%s rests: %s\n", ctl_text_of(m, "migrator"), ctl_text_of(m, "rests"));
    }
}

static void write_migrators(struct buf *out, json_t *list, const char *now)
{
    struct table t = {.n_columns = 4};
    json_t *m;
    size_t i;

    size_t alive = 0;

    if (json_array_size(list) == 0)
        ctl_write_label(out, "migrators");
    json_array_foreach(list, i, m)
    {
        uint64_t jobs = ctl_number_of(m, "jobs");
        bool silent = json_is_true(json_object_get(m, "silent"));
        alive += !silent;
        table_add(&t, (char *[]){xstrdup(ctl_text_of(m, "migrator")),
                                 xasprintf("version %s",
                                           *ctl_text_of(m, "version") ? ctl_text_of(m, "version") : "?"),
                                 xasprintf("%" PRIu64 " job%s", jobs, jobs == 1 ? "" : "s"),
                                 silent ? say_silent(ctl_text_of(m, "told"), now) : xstrdup("")});
    }
    table_sort(&t);
    bool none = t.n == 0;
    table_write(&t, out, "migrators");
    write_resting(out, list);
    if (alive == 0) {
        if (!none)
            ctl_write_label(out, "");
        buf_add_str(out, "none is alive: nothing is copied or switched over until one is\n");
    }
}

/* ---- waves */

static char *ctl_status_wave_size(const json_t *o)
{
    struct buf out = {0};

    if (!json_is_true(json_object_get(o, "configured")))
        buf_add_str(&out, "not in the configuration");
    else if (json_is_integer(json_object_get(o, "listed")))
        ctl_write_number(&out, ctl_number_of(o, "listed"));
    else
        buf_add_str(&out, "by pattern");
    if (json_is_integer(json_object_get(o, "listed")))
        buf_add_str(&out, " listed");
    if (json_is_integer(json_object_get(o, "share")) && ctl_number_of(o, "share") < 100)
        buf_printf(&out, ", %" PRIu64 " %%", ctl_number_of(o, "share"));
    char *text = xstrdup(buf_str(&out));
    buf_free(&out);
    return text;
}

static char *ctl_status_wave_moved(const json_t *o)
{
    struct buf out = {0};

    ctl_write_number(&out, ctl_number_of(o, "moved"));
    buf_add_str(&out, " moved, ");
    ctl_write_number(&out, ctl_number_of(o, "under_way"));
    buf_add_str(&out, " under way, ");
    ctl_write_number(&out, ctl_number_of(o, "failing"));
    buf_add_str(&out, " failing");
    char *text = xstrdup(buf_str(&out));
    buf_free(&out);
    return text;
}

static char *ctl_status_wave_today(const json_t *o)
{
    if (json_is_integer(json_object_get(o, "per_day")))
        return xasprintf("%" PRIu64 " of %" PRIu64 " today", ctl_number_of(o, "today"),
                         ctl_number_of(o, "per_day"));
    return xasprintf("%" PRIu64 " today", ctl_number_of(o, "today"));
}

static char *ctl_status_wave_stands(const json_t *o)
{
    const char *reason = ctl_text_of(o, "paused_reason");

    if (json_is_true(json_object_get(o, "paused")))
        return xasprintf("PAUSED by %s%s%s", ctl_text_of(o, "paused_by"), *reason ? ": " : "", reason);
    if (!json_is_true(json_object_get(o, "begun")))
        return xasprintf("begins at %s", ctl_text_of(o, "after"));
    return xstrdup("");
}

static void write_waves(struct buf *out, json_t *list)
{
    struct table t = {.n_columns = 5};
    json_t *o;
    size_t i;

    json_array_foreach(list, i, o)
    {
        table_add(&t,
                  (char *[]){xstrdup(ctl_text_of(o, "wave")), ctl_status_wave_size(o),
                             ctl_status_wave_moved(o), ctl_status_wave_today(o), ctl_status_wave_stands(o)});
    }
    table_write(&t, out, "waves");
}

void ctl_write_status(struct buf *out, const json_t *o)
{
    const json_t *jobs = json_object_get(o, "jobs");
    const char *now = ctl_text_of(o, "time");

    if (json_is_true(json_object_get(o, "paused"))) {
        buf_printf(out, STYLE_YELLOW "%-*s" STYLE_OFF, CTL_LABEL_WIDTH, "PAUSED");
        const char *reason = ctl_text_of(o, "paused_reason");
        buf_printf(out, "by %s%s%s, ", ctl_text_of(o, "paused_by"), *reason ? ": " : "", reason);
        ctl_write_time(out, ctl_text_of(o, "paused_since"), now);
        buf_add_str(out, "\n");
    }
    write_stores(out, o);
    write_counts(out, "accounts", json_object_get(o, "accounts"), "none has a record yet");
    write_counts(out, "mail on", json_object_get(o, "backends"), "");
    if (*ctl_text_of(o, "backends_unknown")) {
        ctl_write_label(out, "");
        buf_printf(out,
                   STYLE_RED "NO SUCH BACKEND" STYLE_OFF
                             " in the configuration: %s; their users can't sign in\n",
                   ctl_text_of(o, "backends_unknown"));
    }
    if (!json_is_true(json_object_get(o, "counted")))
        ctl_write_line(out, "",
                       "not all accounts are counted yet: a migrator does it, or imapferryctl recount");
    ctl_write_label(out, "jobs");
    buf_printf(out, "%" PRIu64 " of logins, %" PRIu64 " bulk, %" PRIu64 " to be tried again later\n",
               ctl_number_of(jobs, "logins"), ctl_number_of(jobs, "bulk"), ctl_number_of(jobs, "later"));
    write_waves(out, json_object_get(o, "waves"));
    write_proxies(out, json_object_get(o, "proxies"), now);
    write_breakers(out, json_object_get(o, "breakers"));
    write_migrators(out, json_object_get(o, "migrators"), now);
}
