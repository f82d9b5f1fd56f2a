#include <inttypes.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "lib/loop.h"
#include "lib/xalloc.h"

#include "carry_out.h"
#include "json_value.h"
#include "name_scan.h"

enum {
    AT_ONCE = 50, /* accounts of one call */
    COLUMNS = 13, /* of an account */
};

/* ---- lines ---- */

struct carry_file {
    FILE *out;       /* borrowed */
    EVP_MD_CTX *sum; /* owned */
    struct buf line; /* owned; the one under way */
    uint64_t accounts, pieces;
};

static void carry_write_line(struct carry_file *f)
{
    buf_add_str(&f->line, "\n");

    struct span line = buf_span(&f->line);

    EVP_DigestUpdate(f->sum, line.p, line.len);
    fwrite(line.p, 1, line.len, f->out);
    buf_clear(&f->line);
}

/* A byte stands as the character of that number. */
static void carry_add_text(struct buf *out, struct span s)
{
    buf_add_str(out, "\"");
    for (size_t i = 0, from = 0; i <= s.len; i++) {
        uint8_t c = i < s.len ? s.p[i] : 0;
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            continue;
        buf_add(out, s.p + from, i - from);
        from = i + 1;
        if (i < s.len)
            buf_printf(out, "\\u%04x", c);
    }
    buf_add_str(out, "\"");
}

static void carry_add_time(struct buf *out)
{
    json_t *now = json_time(clock_wall_ms());

    buf_printf(out, "\"time\": \"%s\"", json_string_value(now));
    json_decref(now);
}

struct carry_file *carry_file_begin(FILE *out)
{
    struct carry_file *f = xcalloc(1, sizeof(*f));

    f->out = out;
    f->sum = EVP_MD_CTX_new();
    EVP_DigestInit_ex(f->sum, EVP_sha256(), NULL);
    buf_printf(&f->line, "{\"move\": %d, ", CARRY_VERSION);
    carry_add_time(&f->line);
    buf_add_str(&f->line, "}");
    carry_write_line(f);
    return f;
}

static void carry_write_end(struct carry_file *f)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    EVP_DigestFinal_ex(f->sum, sum, &len);
    buf_add_str(&f->line, "{");
    carry_add_time(&f->line);
    buf_printf(&f->line, ", \"end\": %" PRIu64 ", \"kept\": %" PRIu64 ", \"sha256\": \"", f->accounts,
               f->pieces);
    for (unsigned i = 0; i < len; i++)
        buf_printf(&f->line, "%02x", sum[i]);
    buf_add_str(&f->line, "\"}\n");
    fwrite(buf_span(&f->line).p, 1, f->line.len, f->out);
}

uint64_t carry_file_end(struct carry_file **fp, bool whole)
{
    struct carry_file *f = *fp;
    uint64_t accounts = f->accounts;

    *fp = NULL;
    if (whole)
        carry_write_end(f);
    EVP_MD_CTX_free(f->sum);
    buf_free(&f->line);
    free(f);
    return accounts;
}

/* Behind the columns, of those that were forgotten once. */
static void carry_add_forgotten(struct buf *out, const struct reply *columns)
{
    uint64_t ms = 0;

    if (span_u64(reply_str(reply_at(columns, COLUMNS)), INT64_MAX, &ms) && ms > 0)
        buf_printf(out, ", \"forgotten\": %" PRIu64, ms);
}

/* home: where it lives if it has no record. */
static void carry_write_account(struct carry_file *f, const struct reply *columns, const char *home)
{
    static const char *const names[COLUMNS] = {"user",      "backend", "state", "epoch", "generation",
                                               "source",    "target",  "home",  "left",  "flipped_at",
                                               "held_from", "reason",  "view"};
    uint64_t n;

    buf_add_str(&f->line, "{");
    carry_add_time(&f->line);
    for (size_t i = 0; i < COLUMNS; i++) {
        struct span value = reply_str(reply_at(columns, i));
        value = i == 1 && value.len == 0 ? span_str(home) : value;
        bool is_number = (i == 3 || i == 4) && span_u64(value, INT64_MAX, &n);
        buf_printf(&f->line, ", \"%s\": ", names[i]);
        if (is_number)
            buf_printf(&f->line, "%" PRIu64, n);
        else
            carry_add_text(&f->line, value);
    }
    carry_add_forgotten(&f->line, columns);
    buf_add_str(&f->line, "}");
    carry_write_line(f);
    f->accounts++;
}

/* A piece: items [from, to) of a list of items, of which the first is the one at that place. */
struct piece {
    struct span user, kind, name;
    const struct reply *items;
    size_t from, to;
    uint64_t at;
};

static void carry_add_item(struct buf *out, const struct reply *item)
{
    size_t n = reply_count(item);

    if (n == 0) {
        carry_add_text(out, reply_str(item));
        return;
    }
    carry_add_text(out, reply_str(reply_at(item, 0)));
    buf_printf(out, ", \"%zu\"", n - 1);
    for (size_t i = 1; i < n; i++) {
        buf_add_str(out, ", ");
        carry_add_text(out, reply_str(reply_at(item, i)));
    }
}

static void carry_write_piece(struct carry_file *f, const struct piece *p)
{
    buf_add_str(&f->line, "{\"keep\": ");
    carry_add_text(&f->line, p->user);
    buf_add_str(&f->line, ", \"kind\": ");
    carry_add_text(&f->line, p->kind);
    buf_add_str(&f->line, ", \"name\": ");
    carry_add_text(&f->line, p->name);
    buf_printf(&f->line, ", \"at\": %" PRIu64 ", \"items\": [", p->at);
    for (size_t i = p->from; i < p->to; i++) {
        buf_add_str(&f->line, i > p->from ? ", " : "");
        carry_add_item(&f->line, reply_at(p->items, i));
    }
    buf_add_str(&f->line, "]}");
    carry_write_line(f);
    f->pieces++;
}

/* Of an entry of a stream there are some ten texts. */
static size_t carry_step_of(struct span kind)
{
    return span_is(kind, "audit") || span_is(kind, "arrivals") ? CARRY_ITEMS / 20 : CARRY_ITEMS;
}

/* p: all items, from the first on. */
static void carry_write_pieces(struct carry_file *f, const struct piece *p)
{
    size_t step = carry_step_of(p->kind);

    for (size_t from = p->from; from < p->to; from += step) {
        struct piece one = *p;
        one.from = from;
        one.to = p->to - from > step ? from + step : p->to;
        one.at = p->at + (from - p->from);
        carry_write_piece(f, &one);
    }
}

/* ---- from the store ---- */

/* A ledger that was told in part. */
struct rest {
    TAILQ_ENTRY(rest) link;
    char *user, *name; /* owned */
    uint64_t at, n;
};

struct carry_out {
    struct store *store;
    struct carry_file *f;
    carry_out_fn fn;
    void *owner;
    struct loop_task task;
    struct name_scan *names; /* owned; NULL: it has not begun, or has ended */
    char **users;            /* owned; of the page under way */
    size_t n_users, next;    /* next: that was not asked for yet */
    size_t which;            /* of scans[]: which accounts are gone through */
    TAILQ_HEAD(, rest) rests;
    uint64_t accounts;
};

/* By which keys accounts are found, and what carry_read.lua calls them: those with a record; those of which something is waived; those of which
 * nothing is left but that they were forgotten, who are no accounts. */
static const struct {
    const char *kind, *meant;
    bool counts;
} scans[] = {{"route", "", true}, {"waivers", "1", true}, {"audit", "2", false}};

static void rest_free(struct rest *r)
{
    free(r->user);
    free(r->name);
    free(r);
}

static void carry_out_drop_users(struct carry_out *c)
{
    for (size_t i = 0; i < c->n_users; i++)
        free(c->users[i]);
    free(c->users);
    c->users = NULL;
    c->n_users = c->next = 0;
}

void carry_out_cancel(struct carry_out **cp)
{
    struct carry_out *c = *cp;
    struct rest *r;

    *cp = NULL;
    if (!c)
        return;
    store_forget(c->store, c);
    name_scan_cancel(&c->names);
    loop_undefer(store_loop(c->store), &c->task);
    carry_out_drop_users(c);
    while ((r = TAILQ_FIRST(&c->rests))) {
        TAILQ_REMOVE(&c->rests, r, link);
        rest_free(r);
    }
    free(c);
}

static void carry_out_finish(struct carry_out *c, enum route_rc rc, const char *detail)
{
    carry_out_fn fn = c->fn;
    void *owner = c->owner;
    uint64_t accounts = c->accounts;

    carry_out_cancel(&c);
    fn(owner, rc, detail, accounts);
}

static void carry_out_fail(struct carry_out *c, enum redis_rc rc)
{
    carry_out_finish(c, rc == REDIS_OK ? ROUTE_NO_STORE : ROUTE_DOWN, store_why(c->store));
}

static void carry_out_note_rest(struct carry_out *c, const struct piece *p, uint64_t total)
{
    struct rest *r;

    if (p->to - p->from >= total || !span_is(p->kind, "ledger"))
        return;
    r = xcalloc(1, sizeof(*r));
    *r = (struct rest){
        .user = xspandup(p->user), .name = xspandup(p->name), .at = p->to - p->from, .n = total};
    TAILQ_INSERT_TAIL(&c->rests, r, link);
}

/* all: kind, name, how many items there are, items. */
static void carry_out_take_kind(struct carry_out *c, struct span user, const struct reply *all)
{
    uint64_t total = 0;
    struct piece p = {.user = user,
                      .kind = reply_str(reply_at(all, 0)),
                      .name = reply_str(reply_at(all, 1)),
                      .items = all,
                      .from = 3,
                      .to = reply_count(all)};

    if (p.to <= p.from || !span_u64(reply_str(reply_at(all, 2)), UINT64_MAX, &total))
        return;
    carry_write_pieces(c->f, &p);
    carry_out_note_rest(c, &p, total);
}

static void carry_out_take(struct carry_out *c, const struct reply *account)
{
    const struct reply *columns = reply_at(account, 0);
    struct span user = reply_str(reply_at(columns, 0));

    if (user.len > 0) {
        char *name = xspandup(user);
        carry_write_account(c->f, columns, conf_pair_of(store_conf(c->store), name).source);
        c->accounts += scans[c->which].counts;
        free(name);
    }
    for (size_t i = 1; i < reply_count(account); i++)
        carry_out_take_kind(c, user, reply_at(account, i));
}

static void carry_out_on_accounts(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct carry_out *c = owner;

    if (rc != REDIS_OK || !span_is(reply_str(reply_at(r, 0)), "ok")) {
        carry_out_fail(c, rc);
        return;
    }
    for (size_t i = 1; i < reply_count(r); i++)
        carry_out_take(c, reply_at(r, i));
    loop_defer(store_loop(c->store), &c->task);
}

static void carry_out_on_rest(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct carry_out *c = owner;
    struct rest *rest = TAILQ_FIRST(&c->rests);
    size_t n = reply_count(r);

    if (rc != REDIS_OK || n == 0) {
        carry_out_fail(c, rc);
        return;
    }
    carry_write_pieces(c->f, &(struct piece){.user = span_str(rest->user),
                                             .kind = span_str("ledger"),
                                             .name = span_str(rest->name),
                                             .items = r,
                                             .to = n,
                                             .at = rest->at});
    rest->at += n;
    if (rest->at >= rest->n) {
        TAILQ_REMOVE(&c->rests, rest, link);
        rest_free(rest);
    }
    loop_defer(store_loop(c->store), &c->task);
}

static void carry_out_ask_rest(struct carry_out *c, const struct rest *rest)
{
    char *key = store_key(c->store, "ledger:%s:%s", rest->user, rest->name), from[24], to[24];

    snprintf(from, sizeof(from), "%" PRIu64, rest->at);
    snprintf(to, sizeof(to), "%" PRIu64, rest->at + CARRY_ITEMS - 1);
    struct span argv[] = {span_str("LRANGE"), span_str(key), span_str(from), span_str(to)};
    store_command_for(c->store, c, argv, COUNTOF(argv), carry_out_on_rest, c, NULL);
    free(key);
}

static void carry_out_ask(struct carry_out *c)
{
    struct span users[1 + AT_ONCE] = {span_str(scans[c->which].meant)};
    size_t n = 1;

    while (n < COUNTOF(users) && c->next < c->n_users)
        users[n++] = span_str(c->users[c->next++]);
    store_script_for(c->store, c, "carry_read", users, n, carry_out_on_accounts, c, NULL);
}

static void carry_out_step(struct loop_task *task)
{
    struct carry_out *c = CONTAINER_OF(task, struct carry_out, task);

    if (!TAILQ_EMPTY(&c->rests))
        carry_out_ask_rest(c, TAILQ_FIRST(&c->rests));
    else if (c->next < c->n_users)
        carry_out_ask(c);
    else
        name_scan_on(c->names);
}

static void carry_out_on_names(void *owner, const struct span *users, size_t n)
{
    struct carry_out *c = owner;

    carry_out_drop_users(c);
    c->users = xcalloc(n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        c->users[c->n_users++] = xspandup(users[i]);
    loop_defer(store_loop(c->store), &c->task);
}

static void carry_out_on_nobody(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct carry_out *c = owner;

    if (rc != REDIS_OK || !span_is(reply_str(reply_at(r, 0)), "ok")) {
        carry_out_fail(c, rc);
        return;
    }
    carry_out_take(c, reply_at(r, 1));
    carry_out_finish(c, ROUTE_OK, "");
}

static void carry_out_on_end(void *owner, bool good)
{
    struct carry_out *c = owner;

    c->names = NULL;
    carry_out_drop_users(c);
    if (!good) {
        carry_out_finish(c, ROUTE_DOWN, store_why(c->store));
        return;
    }
    if (++c->which == COUNTOF(scans)) { /* at last what is of no account */
        struct span none = span_str("");
        store_script_for(c->store, c, "carry_read", &none, 1, carry_out_on_nobody, c, NULL);
        return;
    }
    c->names = name_scan_start(c->store, scans[c->which].kind, "", carry_out_on_names, carry_out_on_end, c);
}

static void carry_out_begin(struct loop_task *task)
{
    struct carry_out *c = CONTAINER_OF(task, struct carry_out, task);

    c->task.fn = carry_out_step;
    c->names = name_scan_start(c->store, scans[0].kind, "", carry_out_on_names, carry_out_on_end, c);
}

struct carry_out *carry_out_start(struct store *s, struct carry_file *f, carry_out_fn fn, void *owner)
{
    struct carry_out *c = xcalloc(1, sizeof(*c));

    *c = (struct carry_out){.store = s, .f = f, .fn = fn, .owner = owner, .task.fn = carry_out_begin};
    TAILQ_INIT(&c->rests);
    loop_defer(store_loop(s), &c->task);
    return c;
}
