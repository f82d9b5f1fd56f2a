#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "lib/loop.h"
#include "lib/stores.h"
#include "lib/view_record.h"
#include "lib/xalloc.h"

#include "carry_in.h"
#include "carry_out.h"
#include "json_value.h"

enum {
    CALLS_MAX = 8,           /* that are under way */
    CALL_BYTES = 128 * 1024, /* a call with more than that goes */
    PIECES_MAX = 500,        /* of a call */
    LINES_AT_ONCE = 5000,    /* then others have their turn */
    RUNS_MAX = 1 << 24,      /* of a record's map */
};

struct carry_in {
    struct carry_in_request q;
    carry_in_fn fn;
    void *owner;
    struct loop_task task;
    FILE *f; /* owned; NULL: the next file has not begun */
    size_t file, number;
    char *line; /* owned; of getline() */
    size_t line_cap;
    bool is_move;
    struct buf texts;         /* of the pieces that were not sent yet, one behind the other */
    size_t *lengths;          /* owned; of each of them */
    size_t n, room, n_pieces; /* n: texts */
    unsigned calls;
};

static void carry_in_close(struct carry_in *c)
{
    if (c->f)
        fclose(c->f);
    c->f = NULL;
}

void carry_in_cancel(struct carry_in **cp)
{
    struct carry_in *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    store_forget(c->q.store, c);
    loop_undefer(store_loop(c->q.store), &c->task);
    carry_in_close(c);
    buf_free(&c->texts);
    free(c->lengths);
    free(c->line);
    free(c);
}

static void carry_in_finish(struct carry_in *c, enum route_rc rc, const char *detail)
{
    carry_in_fn fn = c->fn;
    void *owner = c->owner;

    carry_in_cancel(&c);
    fn(owner, rc, detail);
}

/* At the line under way. */
static void carry_in_blame(struct carry_in *c, const char *what)
{
    char *text = xasprintf("%s:%zu: %s", c->q.files[c->file], c->number, what);

    carry_in_finish(c, ROUTE_REFUSED, text);
    free(text);
}

/* ---- pieces, checked ---- */

static void carry_in_add(struct carry_in *c, struct span text)
{
    if (c->n == c->room) {
        c->room = c->room ? 2 * c->room : 1024;
        c->lengths = xrealloc(c->lengths, c->room * sizeof(*c->lengths));
    }
    buf_add_span(&c->texts, text);
    c->lengths[c->n++] = text.len;
}

/* As a character stands for the byte of its number: UTF-8 of two bytes at most. */
static bool carry_in_bytes(struct buf *out, const json_t *text)
{
    const char *p = json_string_value(text), *end = p ? p + json_string_length(text) : NULL;

    if (!p)
        return false;
    while (p < end) {
        uint8_t c = (uint8_t)*p++;
        if (c >= 0x80) {
            if ((c & 0xfc) != 0xc0 || p == end)
                return false;
            c = (uint8_t)(c << 6 | ((uint8_t)*p++ & 0x3f));
        }
        buf_add(out, &c, 1);
    }
    return true;
}

enum shape { PAIRS, LIST, ONE, TWO, ENTRIES };
static const struct {
    const char *kind;
    enum shape shape;
    bool of_nobody;
} carry_kinds[] = {
    {"route", PAIRS, false},   {"views", PAIRS, false},      {"waivers", PAIRS, false},
    {"stamps", PAIRS, false},  {"ledger", LIST, false},      {"folded", ONE, false},
    {"report", ONE, false},    {"secret", ONE, false},       {"packed", ONE, false},
    {"audit", ENTRIES, false}, {"arrivals", ENTRIES, false}, {"marks", LIST, false},
    {"late", TWO, false},      {"hooks", PAIRS, false},      {"backends", PAIRS, true},
    {"waves", PAIRS, true},    {"group", PAIRS, true},
};

static bool carry_in_is_number(const json_t *text)
{
    const char *p = json_string_value(text);

    return p && *p && strspn(p, "0123456789") == strlen(p) && strlen(p) <= 15;
}

/* Each is an id, the number of its texts, and these. */
static bool carry_in_are_entries(const json_t *items)
{
    size_t n = json_array_size(items), at = 0;

    while (at + 1 < n) {
        const json_t *count = json_array_get(items, at + 1);
        if (!carry_in_is_number(count))
            return false;
        unsigned long long texts = strtoull(json_string_value(count), NULL, 10);
        if (texts == 0 || texts % 2 != 0 || texts > n)
            return false;
        at += 2 + (size_t)texts;
    }
    return at == n;
}

static bool carry_in_has_shape(enum shape shape, const json_t *items)
{
    size_t n = json_array_size(items);

    switch (shape) {
    case PAIRS:
        return n % 2 == 0;
    case LIST:
        return true;
    case ONE:
        return n == 1;
    case TWO:
        return n == 2 && carry_in_is_number(json_array_get(items, 0));
    case ENTRIES:
        return carry_in_are_entries(items);
    }
    return false;
}

/* Proxies show clients what these say. How names are spelled stands under the name "". */
static bool carry_in_are_records(const json_t *items)
{
    struct view_record v;

    for (size_t i = 1; i < json_array_size(items); i += 2) {
        const char *text = json_string_value(json_array_get(items, i));
        if (text && json_string_length(json_array_get(items, i - 1)) == 0)
            continue;
        if (!text || !view_record_decode(span_str(text), RUNS_MAX, &v))
            return false;
        view_record_free(&v);
    }
    return true;
}

/* NULL: it is what carry_out.c writes. */
static const char *carry_in_fault(const json_t *o)
{
    const char *user = json_string_value(json_object_get(o, "keep"));
    const char *kind = json_string_value(json_object_get(o, "kind"));
    const char *name = json_string_value(json_object_get(o, "name"));
    const json_t *items = json_object_get(o, "items"), *at = json_object_get(o, "at");
    size_t row = 0, n = json_array_size(items);

    while (kind && row < COUNTOF(carry_kinds) && strcmp(carry_kinds[row].kind, kind) != 0)
        row++;
    if (!user || !kind || !name || row == COUNTOF(carry_kinds) || carry_kinds[row].of_nobody != !*user)
        return "is no piece of an account that this release knows";
    if (!json_is_integer(at) || json_integer_value(at) < 0 || n == 0 || n > 4 * CARRY_ITEMS)
        return "is no piece as they are written";
    if (strcmp(kind, "ledger") == 0 && (!*name || strspn(name, "0123456789abcdef") != strlen(name)))
        return "names no ledger";
    if (!carry_in_has_shape(carry_kinds[row].shape, items))
        return "has items that do not belong to what it is";
    if (!strcmp(kind, "views") && !carry_in_are_records(items))
        return "has a record of a mailbox that this release can't read";
    return NULL;
}

/* A list, to decref. */
static json_t *carry_in_members(const json_t *items)
{
    json_t *list = json_array();

    for (size_t i = 0; i + 1 < json_array_size(items); i += 2) {
        const char *field = json_string_value(json_array_get(items, i));
        const char *members = json_string_value(json_array_get(items, i + 1));
        if (!field || !members || strcmp(field, "members") != 0)
            continue;
        for (size_t len; *members; members += len + (members[len] == ' ')) {
            len = strcspn(members, " ");
            json_array_append_new(list, json_text(span_of(members, len)));
        }
    }
    return list;
}

/* Has this store all members of a group? Else there is none any more. */
static bool carry_in_has_members(const struct carry_in *c, const json_t *o, const json_t *items)
{
    json_t *members = carry_in_members(items);
    bool has =
        !regroup_has_export(c->q.flips) &&
        regroup_is_in(c->q.store, json_string_value(json_object_get(o, "name")), members, c->q.groups->apart);

    c->q.groups->made += has;
    json_decref(members);
    return has;
}

/* NULL: it was added. */
static const char *carry_in_take(struct carry_in *c, const json_t *o)
{
    static const char *const names[] = {"keep", "kind", "name"};
    const char *why = carry_in_fault(o);
    const json_t *items = json_object_get(o, "items"), *item;
    struct buf bytes = {0};
    char number[24];
    bool good = true;
    size_t i;

    bool is_group = !why && !strcmp(json_string_value(json_object_get(o, "kind")), "group");
    if (why || (is_group && !carry_in_has_members(c, o, items)))
        return why;
    for (i = 0; i < COUNTOF(names); i++)
        carry_in_add(c, span_str(json_string_value(json_object_get(o, names[i]))));
    snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(o, "at")));
    carry_in_add(c, span_str(number));
    snprintf(number, sizeof(number), "%zu", json_array_size(items));
    carry_in_add(c, span_str(number));
    json_array_foreach(items, i, item)
    {
        buf_clear(&bytes);
        good = good && carry_in_bytes(&bytes, item);
        carry_in_add(c, buf_span(&bytes));
    }
    buf_free(&bytes);
    c->n_pieces++;
    return good ? NULL : "has a text that is none of bytes";
}

/* ---- calls ---- */

static void carry_in_on_written(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct carry_in *c = owner;

    c->calls--;
    if (rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "ok")) {
        loop_defer(store_loop(c->q.store), &c->task);
        return;
    }
    char *detail = xspandup(reply_str(reply_at(r, 1)));
    carry_in_finish(c, rc != REDIS_OK ? ROUTE_DOWN : ROUTE_REFUSED, detail);
    free(detail);
}

static void carry_in_send(struct carry_in *c)
{
    struct span *args = xcalloc(2 + c->n, sizeof(*args)), texts = buf_span(&c->texts);
    char generation[24];

    snprintf(generation, sizeof(generation), "%" PRIu64, c->q.generation);
    args[0] = span_str(generation);
    args[1] = span_str(c->q.token);
    for (size_t i = 0, at = 0; i < c->n; at += c->lengths[i++])
        args[2 + i] = span_of(texts.p + at, c->lengths[i]);
    c->calls++;
    store_script_for(c->q.store, c, "carry", args, 2 + c->n, carry_in_on_written, c, NULL);
    free(args);
    buf_clear(&c->texts);
    c->n = c->n_pieces = 0;
}

/* ---- the files ---- */

/* Is it about an account that this store has, and of which nothing newer is known? A name with an escape is looked at as it reads. */
static bool carry_in_wants(const struct carry_in *c, struct span user)
{
    if (user.len == 0)
        return true;
    const struct flip *one = flips_find(c->q.flips, user);

    return one && one->carried && !flip_is_in_doubt(one) && stores_is_in(c->q.store, one->user);
}

/* False: that was the end of it, with that fault. */
static bool carry_in_read_piece(struct carry_in *c, struct span line)
{
    json_error_t error;
    json_t *o = json_loadb((const char *)line.p, line.len, JSON_ALLOW_NUL, &error);
    const char *user = json_string_value(json_object_get(o, "keep")), *why = "can't be read";

    if (o && user)
        why = carry_in_wants(c, span_str(user)) ? carry_in_take(c, o) : NULL;
    json_decref(o);
    if (why)
        carry_in_blame(c, why);
    return !why;
}

/* -1: the file has ended; 0: the whole thing has; 1: there may be more. */
static int carry_in_read_line(struct carry_in *c)
{
    ssize_t len = getline(&c->line, &c->line_cap, c->f);
    struct span line = span_of(c->line, len > 0 ? (size_t)len : 0), user;

    if (len < 0)
        return -1;
    c->number++;
    if (line.len && line.p[line.len - 1] == '\n')
        line.len--;
    if (c->number == 1)
        c->is_move = line.len > 8 && memcmp(line.p, "{\"move\":", 8) == 0;
    if (!c->is_move)
        return -1;
    if (!flips_is_piece(line, &user))
        return 1;
    bool is_spelled = user.len > 0 && memchr(user.p, '\\', user.len);
    if (!is_spelled && !carry_in_wants(c, user))
        return 1;
    return carry_in_read_piece(c, line);
}

/* False: the whole thing has ended. */
static bool carry_in_open(struct carry_in *c)
{
    c->f = fopen(c->q.files[c->file], "rb");
    c->number = 0;
    c->is_move = false;
    if (c->f || errno == EISDIR)
        return true;
    carry_in_blame(c, strerror(errno));
    return false;
}

/* Reads until there is enough for a call. False: the whole thing has ended. */
static bool carry_in_read(struct carry_in *c)
{
    int more = 1;

    if (!c->f && !carry_in_open(c))
        return false;
    for (size_t i = 0; more == 1 && i < LINES_AT_ONCE; i++) {
        if (c->n_pieces >= PIECES_MAX || c->texts.len >= CALL_BYTES)
            break;
        more = c->f ? carry_in_read_line(c) : -1;
    }
    if (more == 0)
        return false;
    if (more < 0) {
        carry_in_close(c);
        c->file++;
    }
    return true;
}

static void carry_in_step(struct loop_task *task)
{
    struct carry_in *c = CONTAINER_OF(task, struct carry_in, task);
    bool all_read = c->file == c->q.n_files;

    if (c->calls >= CALLS_MAX)
        return; /* an answer goes on */
    if (!all_read && c->n_pieces < PIECES_MAX && c->texts.len < CALL_BYTES) {
        if (carry_in_read(c))
            loop_defer(store_loop(c->q.store), &c->task);
        return;
    }
    if (c->n_pieces > 0) {
        carry_in_send(c);
        loop_defer(store_loop(c->q.store), &c->task);
    } else if (c->calls == 0) {
        carry_in_finish(c, ROUTE_OK, "");
    }
}

struct carry_in *carry_in_start(const struct carry_in_request *q, carry_in_fn fn, void *owner)
{
    struct carry_in *c = xcalloc(1, sizeof(*c));

    *c = (struct carry_in){.q = *q, .fn = fn, .owner = owner, .task.fn = carry_in_step};
    loop_defer(store_loop(q->store), &c->task);
    return c;
}
