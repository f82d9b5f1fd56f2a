#include <stdio.h>
#include <stdlib.h>

#include <openssl/sha.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "name_scan.h"
#include "walk.h"

enum { WALK_MARK = 16 /* bytes of a hash, by which a name is known */ };

/* SCAN may tell a key twice. */
struct walk_seen {
    uint8_t (*marks)[WALK_MARK]; /* all zero: free */
    size_t room, n;              /* room is a power of two */
};

struct walk {
    struct store *store;
    struct walk_filter filter;
    walk_account_fn fn;
    walk_exported_fn exported; /* NULL: fn is told */
    walk_end_fn end;
    void *owner;
    struct loop_task task;   /* begins it */
    struct name_scan *names; /* owned; NULL: it has not begun, or has ended */
    struct walk_seen seen;
    bool given_up;
};

/* ---- each once */

/* Where the mark is, or would be. */
static uint8_t *walk_seen_place(const struct walk_seen *s, const uint8_t *mark)
{
    static const uint8_t none[WALK_MARK];
    size_t at;

    memcpy(&at, mark, sizeof(at));
    for (at &= s->room - 1; memcmp(s->marks[at], none, WALK_MARK) && memcmp(s->marks[at], mark, WALK_MARK);)
        at = (at + 1) & (s->room - 1);
    return s->marks[at];
}

static void walk_seen_grow(struct walk_seen *s)
{
    static const uint8_t none[WALK_MARK];
    struct walk_seen more = {.room = s->room ? 2 * s->room : 1024, .n = s->n};

    more.marks = xcalloc(more.room, sizeof(*more.marks));
    for (size_t i = 0; i < s->room; i++)
        if (memcmp(s->marks[i], none, WALK_MARK) != 0)
            memcpy(walk_seen_place(&more, s->marks[i]), s->marks[i], WALK_MARK);
    free(s->marks);
    *s = more;
}

/* True the first time. */
static bool walk_is_new(struct walk_seen *s, struct span user)
{
    uint8_t mark[SHA256_DIGEST_LENGTH];

    if (2 * s->n >= s->room)
        walk_seen_grow(s);
    SHA256(user.p, user.len, mark);
    uint8_t *place = walk_seen_place(s, mark);
    if (!memcmp(place, mark, WALK_MARK))
        return false;
    memcpy(place, mark, WALK_MARK);
    s->n++;
    return true;
}

/* ---- the end */

void walk_cancel(struct walk **wp)
{
    struct walk *w = *wp;

    *wp = NULL;
    if (!w)
        return;
    store_forget(w->store, w);
    name_scan_cancel(&w->names);
    loop_undefer(store_loop(w->store), &w->task);
    free(w->seen.marks);
    free(w);
}

static void walk_finish(struct walk *w, enum route_rc rc)
{
    walk_end_fn end = w->end;
    void *owner = w->owner;

    walk_cancel(&w);
    end(owner, rc);
}

void walk_give_up(struct walk *w)
{
    w->given_up = true;
}

/* ---- going through them */

static uint64_t walk_number(struct span text)
{
    uint64_t n;

    return span_u64(text, UINT64_MAX, &n) ? n : 0;
}

/* rows: as list.lua has them. texts: of those that are texts. */
static void walk_take(struct walk *w, const struct span *rows, uint64_t now_ms)
{
    const struct conf *c = store_conf(w->store);
    char *texts[7], *tiers = xspandup(rows[18]);
    uint64_t numbers[ROUTE_LIST_FIELDS];

    for (size_t i = 0; i < COUNTOF(texts); i++)
        texts[i] = xspandup(rows[i]);
    for (size_t i = 0; i < ROUTE_LIST_FIELDS; i++)
        numbers[i] = walk_number(rows[i]);
    const struct conf_rule *rule = conf_rule_of(c, texts[0]);
    const char *at = strrchr(texts[0], '@');
    struct walk_account a = {
        .user = texts[0],
        .state = texts[1],
        .backend = texts[2],
        .reason = texts[3],
        .failed = texts[4],
        .source = *texts[5] ? texts[5] : conf_pair_of(c, texts[0]).source,
        .target = *texts[6] ? texts[6] : conf_pair_of(c, texts[0]).target,
        .rule = rule ? rule->pattern : WALK_NO_RULE,
        .domain = at ? at + 1 : "",
        .next_try_ms = numbers[7],
        .flipped_ms = numbers[8],
        .login_ms = numbers[9],
        .now_ms = now_ms,
        .attempts = numbers[10],
        .waivers = numbers[19],
        .progress = {.mailboxes_done = numbers[11],
                     .mailboxes_total = numbers[12],
                     .messages_done = numbers[13],
                     .messages_total = numbers[14],
                     .messages_verified = numbers[15],
                     .bytes_done = numbers[16],
                     .bytes_total = numbers[17]},
    };
    snprintf(a.progress.tiers, sizeof(a.progress.tiers), "%s", tiers);
    if (!*w->filter.rule || !strcmp(w->filter.rule, a.rule))
        w->fn(w->owner, &a);
    for (size_t i = 0; i < COUNTOF(texts); i++)
        free(texts[i]);
    free(tiers);
}

static void walk_on_rows(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct walk *w = owner;

    if (rc != ROUTE_OK) {
        walk_finish(w, rc);
        return;
    }
    size_t each = w->exported ? WALK_EXPORTED : ROUTE_LIST_FIELDS;
    for (size_t i = 1; i + each <= n; i += each) {
        if (!walk_is_new(&w->seen, rows[i]))
            continue;
        if (w->exported)
            w->exported(w->owner, &rows[i]);
        else
            walk_take(w, &rows[i], walk_number(rows[0]));
    }
    if (w->given_up)
        walk_finish(w, ROUTE_DOWN);
    else
        name_scan_on(w->names);
}

static void walk_on_names(void *owner, const struct span *users, size_t n)
{
    struct walk *w = owner;

    if (n > 0 && w->exported)
        route_export(w->store, users, n, walk_on_rows, w);
    else if (n > 0)
        route_list(w->store, &w->filter.route, users, n, walk_on_rows, w);
    else
        name_scan_on(w->names);
}

static void walk_on_end(void *owner, bool good)
{
    struct walk *w = owner;

    w->names = NULL;
    walk_finish(w, good ? ROUTE_OK : ROUTE_DOWN);
}

static void walk_begin(struct loop_task *task)
{
    struct walk *w = CONTAINER_OF(task, struct walk, task);

    w->names = name_scan_start(w->store, "route", w->filter.domain, walk_on_names, walk_on_end, w);
}

struct walk *walk_start(struct store *s, const struct walk_filter *f, walk_account_fn fn, walk_end_fn end,
                        void *owner)
{
    struct walk *w = xcalloc(1, sizeof(*w));

    w->store = s;
    w->filter = *f;
    w->fn = fn;
    w->end = end;
    w->owner = owner;
    w->task.fn = walk_begin;
    loop_defer(store_loop(s), &w->task);
    return w;
}

struct walk *walk_export(struct store *s, walk_exported_fn fn, walk_end_fn end, void *owner)
{
    struct walk *w = walk_start(s, &(struct walk_filter){.domain = "", .rule = ""}, NULL, end, owner);

    w->exported = fn;
    return w;
}

char *walk_domain(const struct conf *c, const char *typed, const char **why)
{
    char *login = xasprintf("x@%s", typed + (*typed == '@')), *key = account_key(c, span_str(login), why);
    const char *at = key ? strrchr(key, '@') : NULL;
    char *domain = at ? xstrdup(at + 1) : NULL;

    free(key);
    free(login);
    return domain;
}
