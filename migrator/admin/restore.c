#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/loop.h"
#include "lib/route.h"
#include "lib/xalloc.h"

#include "carry_in.h"
#include "ctl_text.h"
#include "json_value.h"
#include "regroup.h"
#include "restore.h"

enum { AT_ONCE = 100 /* accounts of one call */, COLUMNS = 12 /* of an account */ };

struct restore {
    struct store *store;
    const struct flips *flips; /* borrowed */
    action_fn fn;
    void *owner;
    struct loop_task task;
    const struct flip *next;
    uint64_t generation;
    size_t restored, held, skipped, by_journal;
    bool yes, made;           /* made: the store is there */
    const char *const *files; /* borrowed */
    size_t n_files;
    struct carry_in *carrying;            /* owned */
    struct regroup *regrouping;           /* owned */
    struct regrouped groups;              /* its lists are owned */
    char *token;                          /* owned; of this restore: random, and behind a dot restore_of() */
    size_t sent, kept;                    /* accounts of the call under way; left as Redis has them */
    size_t problems;                      /* for which nothing is made without yes */
    json_t *in_doubt, *backends, *faults; /* owned */
};

void restore_cancel(struct restore **rp)
{
    struct restore *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    store_forget(r->store, r);
    carry_in_cancel(&r->carrying);
    regroup_cancel(&r->regrouping);
    json_decref(r->groups.apart);
    json_decref(r->groups.unmade);
    loop_undefer(store_loop(r->store), &r->task);
    json_decref(r->in_doubt);
    json_decref(r->backends);
    json_decref(r->faults);
    free(r->token);
    free(r);
}

/* ---- the end */

static void restore_finish(struct restore *r, enum action_rc rc, const char *text)
{
    action_fn fn = r->fn;
    void *owner = r->owner;
    json_t *data = json_object();

    json_object_set_new(data, "made", json_boolean(r->made));
    json_object_set_new(data, "restored", json_integer((json_int_t)r->restored));
    json_object_set_new(data, "held", json_integer((json_int_t)r->held));
    json_object_set_new(data, "skipped", json_integer((json_int_t)r->skipped));
    json_object_set_new(data, "unreadable", json_integer((json_int_t)r->flips->unreadable));
    json_object_set_new(data, "half", json_integer((json_int_t)r->flips->half));
    json_object_set_new(data, "kept", json_integer((json_int_t)r->kept));
    json_object_set_new(data, "by_journal", json_integer((json_int_t)r->by_journal));
    json_object_set_new(data, "groups", json_integer((json_int_t)r->groups.made));
    json_object_set(data, "groups_apart", r->groups.apart);
    json_object_set(data, "groups_unmade", r->groups.unmade);
    json_object_set(data, "in_doubt", r->in_doubt);
    json_object_set(data, "backends", r->backends);
    json_object_set(data, "faults", r->faults);
    json_object_set_new(data, "problems", json_integer((json_int_t)r->problems));
    json_object_set_new(data, rc == ACTION_DONE ? "message" : "error", json_string(text));
    restore_cancel(&r);
    fn(owner, &(struct action_result){.rc = rc, .text = text, .data = data});
    json_decref(data);
}

const char *restore_refused(const char *detail)
{
    if (!strcmp(detail, "another"))
        return "another \"route restore\" is at work: one at a time; one that was ended early counts for a minute more";
    if (!strcmp(detail, "leftover"))
        return "Redis holds records of a store that was made after the loss. Who signed in meanwhile was served by the "
               "old server, also where the mail is on the new one: look at what came to the old server since. Stop all "
               "proxies and migrators, take away all keys that begin with the prefix, and do it again (--yes goes on with "
               "these records, and keeps what was switched over later)";
    if (!strcmp(detail, "half"))
        return "Redis holds half of another \"route restore\", from other files or by other urls, of which something would stay: do that "
               "one again, or take away all keys that begin with the prefix, and then do this one again";
    if (!strcmp(detail, "moved"))
        return "the store that was here was moved to others: name these in the section redis, and give another prefix; \"route "
               "reopen\" takes the move back";
    if (!strcmp(detail, "restoring"))
        return "another \"route restore\" has begun since: do this one again";
    return "Redis holds a store: \"route restore\" is for one that has lost it. Was it made by mistake? Then stop all "
           "proxies and migrators, and take away all keys that begin with the prefix";
}

static void restore_fail(struct restore *r, enum route_rc rc, const char *detail)
{
    char *text;

    if (rc == ROUTE_REFUSED) {
        restore_finish(r, ACTION_REFUSED, restore_refused(detail));
    } else if (rc == ROUTE_DOWN) {
        text = xasprintf("%s: do it again, which changes nothing of what was restored", store_why(r->store));
        restore_finish(r, ACTION_UNREACHABLE, text);
        free(text);
    } else {
        restore_finish(r, ACTION_FAILED, "the store refuses it");
    }
}

/* "9 on new, 5 on old" */
static void restore_write_backends(struct buf *out, json_t *backends)
{
    const char *name, *comma = "";
    json_t *n;

    json_object_foreach(backends, name, n)
    {
        buf_printf(out, "%s%" JSON_INTEGER_FORMAT " on %s", comma, json_integer_value(n), name);
        comma = ", ";
    }
}

static void on_made(void *owner, enum route_rc rc, const char *detail)
{
    struct restore *r = owner;
    size_t doubts = json_array_size(r->in_doubt);
    struct buf text = {0};

    if (rc != ROUTE_OK) {
        restore_fail(r, rc, detail);
        return;
    }
    r->made = true;
    buf_printf(&text, "%zu accounts are restored", r->restored);
    buf_add_str(&text, r->restored ? " (" : "");
    restore_write_backends(&text, r->backends);
    buf_printf(&text, "%s, %zu of them held", r->restored ? ")" : "", r->held);
    if (doubts)
        buf_printf(&text, ", %zu since the clocks of two hosts contradict the order of their flips", doubts);
    if (r->by_journal)
        buf_printf(&text, "; %zu are known by the journal of this host alone", r->by_journal);
    if (r->kept)
        buf_printf(&text, "; %zu of them are left as Redis has them, by a later switch-over", r->kept);
    if (r->groups.made)
        buf_printf(&text, "; %zu group%s of accounts that share %s there again", r->groups.made,
                   r->groups.made == 1 ? "" : "s", r->groups.made == 1 ? "is" : "are");
    if (r->problems)
        buf_printf(&text, "; %zu thing%s may be missing", r->problems, r->problems == 1 ? "" : "s");
    buf_add_str(&text,
                "; all others live on the old server; no account is copied or switched over for the next ");
    ctl_write_duration(&text, store_quarantine_length_ms(r->store));
    restore_finish(r, doubts ? ACTION_FAILED : ACTION_DONE, buf_str(&text));
    buf_free(&text);
}

/* ---- the routes */

struct row {
    const char *state, *held_from, *reason;
};

static bool restore_is_carried(const struct flip *one)
{
    return one->carried && !flip_is_in_doubt(one);
}

/* What it is found in; state NULL: there is nothing to restore. */
static struct row restore_row_of(const struct flip *one)
{
    bool moved = one->flipped_ms > 0, back = !strcmp(one->backend, *one->home ? one->home : one->source);

    if (restore_is_carried(one)) /* by carry_in.c; this is for those who count */
        return (struct row){strcmp(one->state, "forgotten") ? one->state : NULL, "", ""};
    if (flip_is_in_doubt(one))
        return (struct row){"held", "resting",
                            "held: restored, and two hosts contradict each other about where it is"};
    if (*one->state && !moved && strcmp(one->state, "held") != 0)
        return (struct row){0};
    if (!strcmp(one->state, "held"))
        return (struct row){"held", moved && !back ? "settled" : "resting",
                            *one->reason ? one->reason : "held: restored"};
    if (back && !*one->state)
        return (struct row){"held", "resting", "held: restored, it was sent back"};
    return (struct row){back ? "resting" : !strcmp(one->state, "settled") ? "settled" : "flipped", "", ""};
}

/* Records are lost, so clients see the backend as it is. Where it was to go on from what they had been shown before,
 * that holds still; else their MODSEQs may lie above those of the backend, and they are shown none. */
static const char *restore_view_of(const struct flip *one)
{
    if (one->flipped_ms == 0)
        return "";
    return *one->view && !flip_is_in_doubt(one) && route_view_has_modseqs(one->view) ? one->view : "1=:";
}

static void restore_add_row(json_t *texts, const struct flip *one, const struct row *row)
{
    char epoch[24], at[24];

    snprintf(epoch, sizeof(epoch), "%" PRIu64, one->epoch + 1);
    snprintf(at, sizeof(at), "%" PRIu64, one->flipped_ms);
    const char *const words[] = {one->user,   one->backend,   row->state,  epoch,
                                 one->source, one->target,    one->home,   one->left,
                                 at,          row->held_from, row->reason, restore_view_of(one)};
    for (size_t i = 0; i < COUNTOF(words); i++)
        json_array_append_new(texts, json_text(span_str(words[i])));
}

static void restore_on_written(void *owner, enum route_rc rc, const char *detail)
{
    struct restore *r = owner;

    uint64_t written = 0;

    if (rc != ROUTE_OK) {
        restore_fail(r, rc, detail);
        return;
    }
    if (span_u64(span_str(detail), r->sent, &written))
        r->kept += r->sent - (size_t)written;
    loop_defer(store_loop(r->store), &r->task);
}

static void restore_count_on(json_t *backends, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(backends, name));

    json_object_set_new(backends, name, json_integer(n + 1));
}

static void restore_count(struct restore *r, const struct flip *one, const struct row *row)
{
    r->restored++;
    r->held += !strcmp(row->state, "held");
    restore_count_on(r->backends, one->backend);
    if (flip_is_in_doubt(one))
        json_array_append_new(r->in_doubt, json_text(span_str(one->user)));
}

static void restore_send(struct restore *r, json_t *texts)
{
    size_t n = json_array_size(texts);
    struct span *spans = xcalloc(n + 1, sizeof(*spans));

    for (size_t i = 0; i < n; i++)
        spans[i] = span_str(json_string_value(json_array_get(texts, i)));
    r->sent = n / COLUMNS;
    route_restore(r->store, r->generation, r->token, r->yes, spans, n, restore_on_written, r);
    free(spans);
}

static void restore_carry(struct restore *r);

static void restore_go_on(struct restore *r)
{
    json_t *texts = json_array();

    for (size_t n = 0; r->next && n < AT_ONCE; r->next = r->next->hh.next) {
        struct row row = restore_row_of(r->next);
        if (!stores_is_in(r->store, r->next->user))
            continue;
        r->skipped += !row.state;
        if (!row.state)
            continue;
        restore_count(r, r->next, &row);
        if (restore_is_carried(r->next))
            continue;
        restore_add_row(texts, r->next, &row);
        n++;
    }
    if (json_array_size(texts) > 0)
        restore_send(r, texts);
    else
        restore_carry(r);
    json_decref(texts);
}

static void restore_on_regrouped(void *owner, enum route_rc rc, const char *detail)
{
    struct restore *r = owner;

    r->regrouping = NULL;
    if (rc == ROUTE_OK)
        route_init(r->store, r->generation, r->token, on_made, r);
    else
        restore_fail(r, rc, detail);
}

static void restore_on_carried(void *owner, enum route_rc rc, const char *detail)
{
    struct restore *r = owner;

    r->carrying = NULL;
    if (rc == ROUTE_OK)
        r->regrouping = regroup_start(&(struct regroup_request){.store = r->store,
                                                                .flips = r->flips,
                                                                .generation = r->generation,
                                                                .token = r->token,
                                                                .groups = &r->groups},
                                      restore_on_regrouped, r);
    else if (rc == ROUTE_REFUSED && strchr(detail, ':'))
        restore_finish(r, ACTION_REFUSED, detail);
    else
        restore_fail(r, rc, detail);
}

static void restore_carry(struct restore *r)
{
    r->carrying = carry_in_start(&(struct carry_in_request){.store = r->store,
                                                            .flips = r->flips,
                                                            .files = r->files,
                                                            .n_files = r->n_files,
                                                            .generation = r->generation,
                                                            .token = r->token,
                                                            .groups = &r->groups},
                                 restore_on_carried, r);
}

/* ---- what may be missing */

static void restore_blame(struct restore *r, const char *file, size_t line, const char *text)
{
    json_t *o = json_object();

    if (*file)
        json_object_set_new(o, "file", json_text(span_str(file)));
    if (line)
        json_object_set_new(o, "line", json_integer((json_int_t)line));
    json_object_set_new(o, "error", json_text(span_str(text)));
    json_array_append_new(r->faults, o);
}

static void restore_blame_files(struct restore *r)
{
    const struct flips *f = r->flips;

    for (size_t i = 0; i < f->n_faults && i < FLIPS_FAULTS_MAX; i++)
        restore_blame(r, f->faults[i].file, f->faults[i].line, f->faults[i].text);
    r->problems = f->n_faults;
}

/* Users of a backend that there is none of could not sign in. */
static void restore_blame_backends(struct restore *r, json_t *on)
{
    const struct conf *conf = store_conf(r->store);
    struct buf known = {0};
    const char *name;
    json_t *n;

    for (size_t i = 0; i < conf->n_backends; i++)
        buf_printf(&known, "%s\"%s\"", i ? ", " : "", conf->backends[i].name);
    json_object_foreach(on, name, n)
    {
        if (conf_backend(conf, name))
            continue;
        char *text = xasprintf("%" JSON_INTEGER_FORMAT
                               " accounts are on \"%s\", which is no backend of the configuration (%s)",
                               json_integer_value(n), name, buf_str(&known));
        restore_blame(r, "", 0, text);
        r->problems++;
        free(text);
    }
    buf_free(&known);
}

/* Nobody could sign in under a record whose name no login leads to. */
static void restore_blame_names(struct restore *r)
{
    for (const struct flip *one = r->flips->all; one; one = one->hh.next) {
        const char *why = "";
        char *login = account_login(one->user);
        char *key = login ? account_key(store_conf(r->store), span_str(login), &why) : NULL;
        if (!key || strcmp(key, one->user) != 0) {
            char *text = xasprintf("\"%s\" is no name of an account as imapferry writes it", one->user);
            if (json_array_size(r->faults) < FLIPS_FAULTS_MAX)
                restore_blame(r, "", 0, text);
            r->problems++;
            free(text);
        }
        free(key);
        free(login);
    }
}

/* A group that is mangled is not made. */
static void restore_blame_groups(struct restore *r)
{
    const json_t *group;
    json_t *seen = regroup_seen();
    size_t i;

    json_array_foreach(r->flips->groups, i, group)
    {
        char *fault = regroup_fault(store_conf(r->store), group, seen);
        if (fault && json_array_size(r->faults) < FLIPS_FAULTS_MAX)
            restore_blame(r, "", 0, fault);
        r->problems += fault != NULL;
        free(fault);
    }
    json_decref(seen);
}

static void restore_judge(struct restore *r)
{
    json_t *on = json_object();

    restore_blame_files(r);
    restore_blame_names(r);
    restore_blame_groups(r);
    for (const struct flip *one = r->flips->all; one; one = one->hh.next)
        if (restore_row_of(one).state)
            restore_count_on(on, one->backend);
    restore_blame_backends(r, on);
    if (json_object_size(on) == 0) {
        restore_blame(r, "", 0, "no account is told of: all users would be on the old server");
        r->problems++;
    }
    json_decref(on);
}

static void restore_refuse(struct restore *r)
{
    const json_t *first = json_array_get(r->faults, 0);
    const char *file = json_string_value(json_object_get(first, "file"));
    json_int_t line = json_integer_value(json_object_get(first, "line"));
    struct buf text = {0};

    buf_add_str(&text, "nothing is made: ");
    if (file)
        buf_printf(&text, "%s:", file);
    if (line)
        buf_printf(&text, "%" JSON_INTEGER_FORMAT ":", line);
    buf_printf(&text, "%s%s", file ? " " : "", json_string_value(json_object_get(first, "error")));
    if (r->problems > 1)
        buf_printf(&text, "; and %zu more", r->problems - 1);
    buf_add_str(
        &text,
        ". An account that is missing in the files would be on the old server. --yes makes the store all the same");
    restore_finish(r, ACTION_REFUSED, buf_str(&text));
    buf_free(&text);
}

static void restore_step(struct loop_task *task)
{
    restore_go_on(CONTAINER_OF(task, struct restore, task));
}

static void restore_begin(struct loop_task *task)
{
    struct restore *r = CONTAINER_OF(task, struct restore, task);

    r->task.fn = restore_step;
    restore_judge(r);
    if (store_state(r->store) == STORE_UP)
        restore_fail(r, ROUTE_REFUSED, "there");
    else if (r->problems && !r->yes)
        restore_refuse(r);
    else /* tells everybody that it has begun */
        route_restore(r->store, r->generation, r->token, r->yes, NULL, 0, restore_on_written, r);
}

/* Journals may be more at the next try, since what they tell of is known by epochs; what is carried has to be the same. */
char *restore_of(const struct store *s, const struct flips *flips)
{
    size_t nth = store_nth(s) + 1;

    if (flips_carried(flips) == 0)
        return xasprintf("%zu/%s-flips", nth, store_of_how_many(s));
    return xasprintf("%zu/%s-%016" PRIx64, nth, store_of_how_many(s), flips->digest);
}

/* A store takes a higher generation than all that its accounts came with, and what is opened again a higher one than these. */
bool restore_is_behind(const struct store *s, const struct flips *flips)
{
    for (const struct flip *one = flips->all; one; one = one->hh.next)
        if (one->carried && stores_is_in(s, one->user) && one->generation > store_generation(s))
            return true;
    return false;
}

static char *restore_token(const struct store *s, const struct flips *flips)
{
    char random[33], *of = restore_of(s, flips), *token;

    random_hex(random, 16);
    token = xasprintf("%s.%s", random, of);
    free(of);
    return token;
}

struct restore *restore_start(const struct restore_request *q, action_fn fn, void *owner)
{
    struct restore *r = xcalloc(1, sizeof(*r));

    r->store = q->store;
    r->flips = q->flips;
    r->by_journal = q->by_journal;
    r->yes = q->yes;
    r->files = q->files;
    r->n_files = q->n_files;
    r->fn = fn;
    r->owner = owner;
    r->next = q->flips->all;
    r->generation = flips_generation(q->flips) + 1;
    r->token = restore_token(q->store, q->flips);
    r->groups.apart = json_array();
    r->groups.unmade = json_array();
    r->in_doubt = json_array();
    r->backends = json_object();
    r->faults = json_array();
    r->task.fn = restore_begin;
    loop_defer(store_loop(q->store), &r->task);
    return r;
}
