/* imapferryctl: what staff type. One verb a call; see ctl_args.c for all of them, and actions.h for what they
 * do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/account.h"
#include "lib/log.h"
#include "lib/process.h"
#include "lib/seal.h"
#include "lib/tls_tickets.h"
#include "lib/trial.h"
#include "lib/xalloc.h"

#include "actions.h"
#include "apart.h"
#include "bulk.h"
#include "carry_out.h"
#include "ctl_args.h"
#include "ctl_check.h"
#include "ctl_complete.h"
#include "ctl_export.h"
#include "ctl_group.h"
#include "ctl_manual.h"
#include "ctl_plan.h"
#include "ctl_print.h"
#include "ctl_proof.h"
#include "ctl_restore.h"
#include "ctl_screen.h"
#include "ctl_summary.h"
#include "ctl_survey.h"
#include "ctl_top.h"
#include "ctl_tty.h"
#include "ctl_wait.h"
#include "json_value.h"
#include "restore.h"
#include "survey_sum.h"

enum {
    STORE_TIMEOUT_MS = 5000, /* of one command */
    /* until the store must be there: an attempt to connect has told by then what is wrong */
    REACH_MS = STORE_TIMEOUT_MS + 1500,
    LIST_MAX = 64 << 20, /* bytes of a list of accounts */
};

struct ctl {
    struct ctl_args args;
    struct bulk_list list;   /* owned; of the file with the names */
    const char **listed;     /* owned; its accounts, for retire */
    struct bulk *bulk;       /* owned */
    struct flips flips;      /* owned; of the files of a restore; of the journal here, for init */
    size_t by_journal;       /* accounts that only the journal here knows */
    struct apart *apart;     /* owned */
    struct restore *restore; /* owned */
    json_t *restored;        /* owned; of several stores: what was told of those before, added up */
    char *fault;             /* owned; of check: why not all of the configuration could be read */
    struct conf *conf;       /* owned, as all below */
    struct loop *loop;
    struct stores *stores;
    size_t place;     /* of the store that has the account; n: all are meant */
    size_t restoring; /* which store */
    struct timer *reach;
    struct waiting *waiting;
    char *exported;        /* what is said once the file is whole; owned */
    json_t *exported_data; /* the same; owned */
    bool started, ended;
    json_t *survey; /* owned; of report and group: what the file says */
    json_t *group;  /* owned; of the account */
    char **named;   /* owned, and each; accounts that a survey adds to a group */
    size_t n_named;
    struct ctl_group *grouping;
    int signal; /* that ended top; 0: none */
    enum action_rc rc;
};

/* Who is at the keyboard, also behind sudo. */
static char *who_am_i(void)
{
    const char *sudo = getenv("SUDO_USER"), *login = sudo && *sudo ? sudo : getlogin();
    struct passwd *pw = login ? NULL : getpwuid(getuid());

    if (login)
        return xstrdup(login);
    return pw ? xstrdup(pw->pw_name) : xasprintf("uid %u", (unsigned)getuid());
}

/* ---- seal-key */

static int seal_key(const struct ctl *c)
{
    const struct conf_seal *s = &c->conf->seal;
    const char *out = c->args.out;
    char *error = NULL, *private, *public;

    if (!out && (s->private_key_files.n == 0 || !*s->public_key_file)) {
        ctl_args_wrong(
            &c->args, "the configuration has no section seal with public_key_file and private_key_files: say "
                      "where the keys shall go with --out DIR");
        return ACTION_USAGE;
    }
    private = out ? xasprintf("%s/seal.key", out) : xstrdup(s->private_key_files.items[0]);
    public = out ? xasprintf("%s/seal.pub", out) : xstrdup(s->public_key_file);
    bool ok = seal_key_make(private, public, &error);
    if (!ok) {
        ctl_print_error(c->args.json, error, NULL);
    } else if (c->args.json) {
        json_t *o = json_pack("{s:s, s:s}", "private_key_file", private, "public_key_file", public);
        ctl_print_json(o);
        json_decref(o);
    } else {
        printf("private key (migrators)  %s\npublic key (proxies)     %s\n", private, public);
    }
    free(private);
    free(public);
    free(error);
    return ok ? ACTION_DONE : ACTION_FAILED;
}

/* ---- ticket-key */

static int ticket_key(const struct ctl *c)
{
    const struct conf_list *files = &c->conf->proxy.tls_ticket_files;
    const char *file = files->n > 0 ? files->items[0] : NULL;
    char *error = NULL;

    if (!file) {
        ctl_print_error(c->args.json, "the configuration names no tls_ticket_files", NULL);
        return ACTION_FAILED;
    }
    bool ok = ticket_keys_rotate(file, &error);
    if (!ok) {
        ctl_print_error(c->args.json, error, NULL);
    } else if (c->args.json) {
        json_t *o = json_pack("{s:s}", "ticket_key_file", file);
        ctl_print_json(o);
        json_decref(o);
    } else {
        printf("%s begins with a new key: bring it to all proxies, and send them SIGHUP\n", file);
    }
    free(error);
    return ok ? ACTION_DONE : ACTION_FAILED;
}

/* ---- the verb */

/* Of several stores one is out of reach: what the others told is shown all the same. */
static void ctl_print_all(const struct ctl *c, const struct action_result *r)
{
    struct action_result told = {.rc = ACTION_DONE, .text = "", .data = r->data};
    bool shows = c->args.what == ACTION_STATUS || c->args.what == ACTION_LIST;

    if (shows && r->rc == ACTION_UNREACHABLE && json_object_get(r->data, "stores"))
        ctl_print_result(&c->args.action, c->args.columns, &told);
    ctl_print_result(&c->args.action, c->args.columns, r);
}

static void ctl_say(struct ctl *c, const struct action_result *r)
{
    if (c->args.proof && r->rc == ACTION_DONE)
        c->rc = ctl_proof(c->conf, r->data, c->args.json);
    else if (c->args.csv && r->rc == ACTION_DONE)
        return; /* the lines are what was asked for */
    else if (c->args.json)
        ctl_print_json(r->data);
    else if (r->rc == ACTION_USAGE)
        ctl_args_wrong(&c->args, "%s", r->text);
    else
        ctl_print_all(c, r);
}

static void ctl_end(struct ctl *c, const struct action_result *r)
{
    c->ended = true;
    c->rc = r->rc;
    if (c->args.action.out && !c->args.csv && r->rc == ACTION_DONE) { /* route export, route move */
        c->exported = xstrdup(r->text);
        c->exported_data = json_incref(r->data);
    } else {
        ctl_say(c, r);
    }
    loop_stop(c->loop);
}

static void ctl_on_waited(void *owner, const struct action_result *r)
{
    struct ctl *c = owner;

    c->waiting = NULL;
    ctl_end(c, r);
}

/* of: what the verb has told, an account or a group. */
static void ctl_wait(struct ctl *c, const json_t *of)
{
    const struct conf_migration *m = &c->conf->migration;
    const json_t *members = json_object_get(of, "members"), *user;
    size_t n = members ? json_array_size(members) : 1, i;
    const char **users = xcalloc(n, sizeof(*users));

    users[0] = ctl_text_of(of, "user");
    json_array_foreach(members, i, user) users[i] = json_string_value(user);
    const char *target = members             ? ctl_text_of(of, "to")
                         : c->args.action.to ? c->args.action.to
                                             : conf_pair_of(c->conf, users[0]).target;
    c->waiting = wait_start(
        &(struct wait_request){
            .store = stores_of(c->stores, users[0]),
            .users = users,
            .n = n,
            .group = members ? ctl_text_of(of, "group") : NULL,
            .target = target,
            .manual = m->cutover != CUTOVER_IMMEDIATE && !c->args.action.now && c->args.what != ACTION_FLIP,
            .quiet = c->args.json,
        },
        ctl_on_waited, c);
    free(users);
}

static void on_result(void *owner, const struct action_result *r)
{
    struct ctl *c = owner;

    if (r->rc != ACTION_DONE || !c->args.wait) {
        ctl_end(c, r);
        return;
    }
    if (!c->args.json)
        ctl_print_text(r->text);
    ctl_wait(c, r->data);
}

/* ---- migrate --all */

static bool ctl_read_list(struct ctl *c, const char *path)
{
    bool from_stdin = !strcmp(path, "-");
    FILE *f = from_stdin ? stdin : fopen(path, "rb");
    struct buf text = {0};
    char block[65536];
    size_t n;

    while (f && (n = fread(block, 1, sizeof(block), f)) > 0 && text.len <= LIST_MAX)
        buf_add(&text, block, n);
    bool good = f && !ferror(f) && text.len <= LIST_MAX;
    if (!good)
        ctl_args_wrong(&c->args, "%s: %s", path, f && !ferror(f) ? "is larger than 64 MiB" : strerror(errno));
    else
        bulk_list_read(&c->list, c->conf, buf_span(&text));
    if (f && !from_stdin)
        fclose(f);
    buf_free(&text);
    return good;
}

/* The accounts of the list are what the action is about. False: a line is none. */
static bool ctl_take_list(struct ctl *c)
{
    for (size_t i = 0; i < c->list.n_problems; i++)
        if (!c->list.problems[i].twice) {
            ctl_args_wrong(&c->args, "%s:%zu: \"%s\" %s", c->args.all, c->list.problems[i].number,
                           c->list.problems[i].text, c->list.problems[i].why);
            return false;
        }
    c->listed = xcalloc(c->list.n_accounts + 1, sizeof(*c->listed));
    for (size_t i = 0; i < c->list.n_accounts; i++)
        c->listed[i] = c->list.accounts[i].text;
    c->args.action.n_keys = c->list.n_accounts;
    c->args.action.all = true;
    return true;
}

static void ctl_on_bulk(void *owner, const struct action_result *r)
{
    struct ctl *c = owner;
    size_t i;
    json_t *p;

    c->bulk = NULL;
    json_array_foreach(json_object_get(r->data, "problems"), i, p)
    {
        if (!c->args.json)
            ctl_print_note("%s:%" JSON_INTEGER_FORMAT ": \"%s\" %s", c->args.all,
                           json_integer_value(json_object_get(p, "line")),
                           json_string_value(json_object_get(p, "name")),
                           json_string_value(json_object_get(p, "error")));
    }
    ctl_end(c, r);
}

static void start_bulk(struct ctl *c)
{
    c->bulk = bulk_start(&(struct bulk_request){.stores = c->stores,
                                                .to = c->args.action.to,
                                                .who = c->args.action.who,
                                                .reason = c->args.action.reason},
                         &c->list, ctl_on_bulk, c);
}

static void ctl_unreachable(struct ctl *c, size_t place, const char *why)
{
    char *address = address_text(store_address(c->stores->all[place]));
    bool there = strstr(why, "NOREPLICAS") || strstr(why, "READONLY");
    char *text =
        xasprintf("the store at %s %s: %s", address, there ? "takes no writes" : "is out of reach", why);
    json_t *o = json_object();

    json_object_set_new(o, "error", json_string(text));
    ctl_end(c, &(struct action_result){.rc = ACTION_UNREACHABLE, .text = text, .data = o});
    json_decref(o);
    free(text);
    free(address);
}

/* ---- route restore, and init after a loss */

/* A file, or the journal in a folder. False: errno says why. */
static bool read_flips(struct ctl *c, const char *path)
{
    struct stat st;
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    char *name = folder ? xasprintf("%s/flips", path) : xstrdup(path);
    FILE *f = fopen(name, "rb");
    struct flips_reading r;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;

    flips_begin(&r, &c->flips, name);
    while (f && (len = getline(&line, &cap, f)) > 0)
        flips_line(&r, span_of(line, (size_t)len - (line[len - 1] == '\n')));
    bool good = f && !ferror(f);
    int error = errno;
    flips_end(&r);
    if (f)
        fclose(f);
    free(line);
    free(name);
    errno = error;
    return good;
}

/* The journal of this host. One that there is none of knows nothing; one that can't be read may know that
 * users were moved. */
static void read_own_journal(struct ctl *c)
{
    const char *folder = c->conf->migrator.journal_dir;

    if (read_flips(c, folder) || errno == ENOENT)
        return;
    char *text = xasprintf("the journal of this host can't be read: %s", strerror(errno));
    flips_blame(&c->flips, folder, 0, text);
    free(text);
}

static void start_restore(struct ctl *c);

/* Of several stores, those that are there have lost nothing. */
static bool ctl_next_to_restore(struct ctl *c)
{
    size_t i = c->restoring;

    while (i < c->stores->n && c->stores->n > 1 && store_state(c->stores->all[i]) == STORE_UP)
        i++;
    if (i >= c->stores->n)
        return false;
    c->restoring = i + 1;
    return true;
}

static void on_restored(void *owner, const struct action_result *r)
{
    struct ctl *c = owner;
    size_t done = c->restoring;

    c->restore = NULL;
    bool made = json_is_true(json_object_get(r->data, "made"));
    if (c->stores->n > 1)
        ctl_restore_add(&c->restored, r->data, c->restoring ? c->restoring : 1);
    if (made && ctl_next_to_restore(c)) {
        if (!c->args.json)
            ctl_print_note("store %zu of %zu: %s", done, c->stores->n, r->text);
        start_restore(c);
        return;
    }
    if (!c->args.json)
        ctl_restore_print(r->data);
    struct action_result of_all = *r;
    if (of_all.rc == ACTION_DONE && json_array_size(json_object_get(r->data, "in_doubt")) > 0)
        of_all.rc = ACTION_FAILED; /* of a store before */
    ctl_end(c, &of_all);
}

static void start_restore(struct ctl *c)
{
    c->restore =
        restore_start(&(struct restore_request){.store = c->stores->all[c->restoring ? c->restoring - 1 : 0],
                                                .flips = &c->flips,
                                                .files = c->args.keys,
                                                .n_files = c->args.action.n_keys,
                                                .by_journal = c->by_journal,
                                                .yes = c->args.action.yes},
                      on_restored, c);
}

static void ctl_fail(struct ctl *c, enum action_rc rc, const char *why)
{
    json_t *o = json_object();

    json_object_set_new(o, "error", json_text(span_str(why)));
    ctl_end(c, &(struct action_result){.rc = rc, .text = why, .data = o});
    json_decref(o);
}

static void ctl_refuse(struct ctl *c, const char *why)
{
    ctl_fail(c, ACTION_REFUSED, why);
}

/* A store is made for a site that has none, not for one that has lost it. */
static bool journal_forbids(struct ctl *c)
{
    const char *folder = c->conf->migrator.journal_dir;

    read_own_journal(c);
    if (!c->flips.all && !c->flips.n_faults)
        return false;
    char *text =
        c->flips.all
            ? xasprintf(
                  "the journal in %s has %u accounts that were switched over, and an empty store would send their "
                  "users to the old server: \"route restore\" brings them back. For another site, move the journal "
                  "away",
                  folder, HASH_COUNT(c->flips.all))
            : xasprintf(
                  "the journal in %s may know of accounts that were switched over, whose users an empty store would "
                  "send to the old server: %s. For another site, move the journal away",
                  folder, c->flips.faults[0].text);
    ctl_refuse(c, text);
    free(text);
    return true;
}

/* ---- survey, and its report */

static bool ctl_read_survey(struct ctl *c)
{
    const char *path = c->args.survey;
    FILE *f = fopen(path, "rb");
    size_t line = 0;

    c->survey = f ? survey_sum(f, c->conf->migration.group_max, &line) : NULL;
    if (!f)
        ctl_args_wrong(&c->args, "%s: %s", path, strerror(errno));
    else if (!c->survey)
        ctl_args_wrong(&c->args, "%s:%zu: is no line of a survey", path, line);
    if (f)
        fclose(f);
    return c->survey;
}

/* Where Redis does not answer, or nothing was ever copied, there is no rate to tell hours by. */
static void ctl_on_history(void *owner, const struct action_result *r)
{
    struct ctl *c = owner;
    struct buf out = {0};

    if (r->rc == ACTION_DONE)
        survey_add_hours(c->survey, json_object_get(r->data, "points"));
    json_t *shown = ctl_one_line_each(c->survey);
    if (c->args.json)
        ctl_print_json(c->survey);
    else if (c->args.csv)
        survey_write_csv(stdout, c->survey);
    else
        ctl_write_survey(&out, shown);
    screen_print(&out);
    json_decref(shown);
    buf_free(&out);
    c->ended = true;
    c->rc = ACTION_DONE;
    loop_stop(c->loop);
}

static int run_survey(struct ctl *c)
{
    if (!ctl_read_list(c, c->args.keys[0]))
        return ACTION_USAGE;
    for (size_t i = 0; i < c->list.n_problems; i++)
        ctl_print_note("%s:%zu: \"%s\" %s", c->args.keys[0], c->list.problems[i].number,
                       c->list.problems[i].text, c->list.problems[i].why);
    return ctl_survey(&(struct ctl_survey_request){.conf = c->conf,
                                                   .list = &c->list,
                                                   .out = c->args.out,
                                                   .pause_ms = c->args.pause_ms,
                                                   .json = c->args.json});
}

/* ---- group */

static void ctl_on_group(void *owner, const char *error)
{
    struct ctl *c = owner;
    struct buf out = {0};

    c->grouping = NULL;
    c->ended = true;
    c->rc = error ? ACTION_UNREACHABLE : ACTION_DONE;
    json_t *shown = ctl_one_line_each(c->group);
    if (error)
        ctl_print_error(c->args.json, error, NULL);
    else if (c->args.json)
        ctl_print_json(c->group);
    else
        ctl_write_group(&out, shown);
    screen_print(&out);
    json_decref(shown);
    buf_free(&out);
    loop_stop(c->loop);
}

/* Are these accounts named? By their keys, since login names may be written in several ways. */
static bool ctl_is_named(const struct ctl *c, const char *key)
{
    bool found = false;
    const char *why;

    for (size_t i = 0; i < c->args.action.n_keys && !found; i++) {
        char *known = account_key(c->conf, span_str(c->args.keys[i]), &why);
        found = known && !strcmp(known, key);
        free(known);
    }
    return found;
}

static void ctl_add_sharers(struct ctl *c, json_t *group)
{
    json_t *m;
    size_t i;

    json_array_foreach(json_object_get(group, "members"), i, m)
    {
        const char *key = ctl_text_of(m, "user");
        char *login =
            ctl_is_named(c, key) || c->args.action.n_keys == CTL_KEYS_MAX ? NULL : account_login(key);
        if (!login)
            continue;
        c->named = xreallocarray(c->named, c->n_named + 1, sizeof(*c->named));
        c->args.keys[c->args.action.n_keys++] = c->named[c->n_named++] = login;
    }
}

/* With what it would take. */
static void ctl_say_large(struct ctl *c, const json_t *group)
{
    struct buf text = {0};

    ctl_write_large(&text, group, c->conf->migration.group_max);
    ctl_print_error(c->args.json, buf_str(&text), NULL);
    buf_free(&text);
    c->rc = ACTION_REFUSED;
}

/* All who share with those that are named. False: it was said what is wrong. */
static bool ctl_find_sharers(struct ctl *c)
{
    size_t n = c->args.action.n_keys;

    for (size_t i = 0; i < n; i++) {
        const char *why = "";
        char *key = account_key(c->conf, span_str(c->args.keys[i]), &why);
        json_t *group = key ? ctl_group_find(c->survey, key) : NULL;
        if (group && json_is_true(json_object_get(group, "too_large")))
            ctl_say_large(c, group);
        else if (group)
            ctl_add_sharers(c, group);
        else
            ctl_args_wrong(&c->args, key ? "%s: by this survey it shares mailboxes with nobody%s" : "%s: %s",
                           c->args.keys[i], why);
        free(key);
        bool good = group && c->rc == ACTION_FAILED;
        json_decref(group);
        if (!good)
            return false;
    }
    return true;
}

/* False: it was said what is wrong. */
static bool ctl_find_group(struct ctl *c)
{
    const char *login = c->args.action.login, *why = "";
    char *key = account_key(c->conf, span_str(login), &why);

    c->group = key ? ctl_group_find(c->survey, key) : NULL;
    if (!key) {
        ctl_args_wrong(&c->args, "%s: %s", login, why);
    } else if (!c->group) {
        char *text = xasprintf("by this survey %s shares mailboxes with nobody", key);
        ctl_print_error(c->args.json, text, NULL);
        free(text);
    }
    c->rc = key ? ACTION_FAILED : ACTION_USAGE;
    free(key);
    return c->group;
}

/* ---- top */

static void ctl_on_top_end(void *owner, int number)
{
    struct ctl *c = owner;

    c->ended = true;
    c->rc = ACTION_DONE;
    c->signal = number;
    loop_stop(c->loop);
}

static void start_top(struct ctl *c)
{
    json_t *o = json_object();

    if (c->args.json || !top_start(c->stores, ctl_on_top_end, c)) {
        const char *why = c->args.json ? "top is for people: \"status\" and \"list\" have a --json"
                                       : "top needs a terminal";
        json_object_set_new(o, "error", json_string(why));
        ctl_end(c, &(struct action_result){.rc = ACTION_USAGE, .text = why, .data = o});
    }
    json_decref(o);
}

/* A restore that was killed has made it, and then the stores before were opened again, and moved once more. True: it was said. */
static bool ctl_is_one_behind(struct ctl *c)
{
    for (size_t i = 0; c->stores->n > 1 && i < c->stores->n; i++) {
        const struct store *s = c->stores->all[i];
        if (store_state(s) != STORE_UP || !restore_is_behind(s, &c->flips))
            continue;
        char *text = xasprintf(
            "store %zu of %zu was made by a restore before, and these files tell what came since, which it "
            "would never know: take away all keys that begin with the prefix, in all stores, and do it again",
            i + 1, c->stores->n);
        ctl_refuse(c, text);
        free(text);
        return true;
    }
    return false;
}

static void ctl_on_apart(void *owner, enum action_rc rc, const char *text)
{
    struct ctl *c = owner;

    c->apart = NULL;
    if (rc != ACTION_DONE) {
        ctl_fail(c, rc, text);
        return;
    }
    if (ctl_is_one_behind(c))
        return;
    ctl_next_to_restore(c); /* where all are there, the first one says so */
    start_restore(c);
}

static void ctl_start_restore(struct ctl *c)
{
    if (c->stores->n > 1)
        c->apart = apart_look(c->stores, &c->flips, ctl_on_apart, c);
    else
        ctl_on_apart(c, ACTION_DONE, "");
}

static void start_verb(struct ctl *c, enum store_state state)
{
    if (c->args.what == ACTION_INIT && state == STORE_FOREIGN && journal_forbids(c))
        return;
    if (c->args.all && c->args.what != ACTION_RETIRE)
        start_bulk(c);
    else if (c->args.what == CTL_RESTORE)
        ctl_start_restore(c);
    else if (c->args.what == CTL_TOP)
        start_top(c);
    else if (c->args.what == CTL_GROUP && c->stores->n > 1)
        ctl_refuse(c, "this can't be done yet where a site has several stores");
    else if (c->args.what == CTL_GROUP)
        c->grouping = ctl_group_start(c->stores->all[0], c->conf, c->group, ctl_on_group, c);
    else if (c->survey && !c->args.action.group)
        action_run(c->stores, &(struct action){.verb = ACTION_HISTORY, .login = "", .count = 2000},
                   ctl_on_history, c);
    else
        action_run(c->stores, &c->args.action, on_result, c);
}

static bool ctl_makes_stores(const struct ctl *c)
{
    return c->args.what == ACTION_INIT || c->args.what == CTL_RESTORE;
}

/* Where a site has several stores, none is restored beside one of another site or at another place: it would get another id
 * than those that the site has. */
static bool ctl_can_work_on(const struct ctl *c, const struct store *s)
{
    enum store_state state = store_state(s);
    bool at_odds = state == STORE_FOREIGN && store_is_at_odds(s);
    bool other = c->stores->n > 1 && c->args.what == CTL_RESTORE && !store_is_empty(s);

    bool closed = state == STORE_FOREIGN && c->args.what == ACTION_REOPEN && store_is_empty(s);

    return state == STORE_UP || closed || (state == STORE_FOREIGN && ctl_makes_stores(c) && !other) ||
           (at_odds && c->args.what == ACTION_SOURCE);
}

/* Of several stores, all are meant. With those that are there it is done, but stores are made together, and lists are of
 * accounts of all. late: those that have told nothing by now are silent. */
static void ctl_start_on_all(struct ctl *c, bool late)
{
    size_t n = c->stores->n, good = 0, bad = n;
    enum store_state state = STORE_UP;

    for (size_t i = 0; i < n; i++) {
        const struct store *s = c->stores->all[i];
        if (store_state(s) == STORE_CONNECTING && !late)
            return;
        good += ctl_can_work_on(c, s);
        bad = ctl_can_work_on(c, s) || bad < n ? bad : i;
        state = store_state(s) == STORE_FOREIGN ? STORE_FOREIGN : state;
    }
    if (good < n && (good == 0 || ctl_makes_stores(c) || c->args.all)) {
        ctl_unreachable(c, bad, store_detail(c->stores->all[bad]));
        return;
    }
    c->started = true;
    start_verb(c, state);
}

static void ctl_on_reach(void *owner)
{
    struct ctl *c = owner;

    if (!c->started && c->place == c->stores->n)
        ctl_start_on_all(c, true);
    else if (!c->started)
        ctl_unreachable(c, c->place, "no answer");
}

static void ctl_on_store(void *owner, size_t place, enum store_state state, const char *detail)
{
    struct ctl *c = owner;

    if (c->started || c->ended)
        return;
    if (c->place == c->stores->n) {
        ctl_start_on_all(c, false);
    } else if (place != c->place) {
        return;
    } else if (ctl_can_work_on(c, c->stores->all[place])) {
        c->started = true;
        start_verb(c, state);
    } else if (state == STORE_FOREIGN && store_is_at_odds(c->stores->all[place])) {
        ctl_refuse(c, detail);
    } else if (state != STORE_CONNECTING) {
        ctl_unreachable(c, place, detail);
    }
}

/* The store that the verb is about; their number: all. What is no name of an account is told by the verb. */
static size_t ctl_place(const struct ctl *c)
{
    const char *login = c->args.action.login, *why;
    size_t n = c->conf->redis.n_stores;

    if (n == 1)
        return 0;
    char *user = login && *login ? account_key(c->conf, span_str(login), &why) : NULL;
    size_t place = user ? stores_place(&c->conf->redis, span_str(user)) : n;
    free(user);
    return place;
}

/* Who only sums all stores up does that also while a node is away, which can't be asked then. */
static bool ctl_only_sums(const struct ctl *c)
{
    static const int verbs[] = {ACTION_STATUS, ACTION_LIST,         ACTION_REPORT, ACTION_HISTORY,
                                ACTION_AUDIT,  ACTION_SHARING_LIST, CTL_TOP};

    for (size_t i = 0; i < COUNTOF(verbs); i++)
        if (c->args.what == verbs[i])
            return c->place == c->stores->n;
    return false;
}

/* No account is taken for one without a record, and no partition for one without a store, whose record is at another node. */
static void ctl_begin_with_a_look(struct ctl *c)
{
    for (size_t i = 0; i < c->stores->n; i++)
        if (c->place == i || (c->place == c->stores->n && !ctl_only_sums(c)))
            store_begin_with_a_look(c->stores->all[i]);
}

static int run_verb(struct ctl *c)
{
    char *who = who_am_i();

    c->args.action.verb = (enum action_verb)c->args.what;
    c->args.action.who = who;
    c->args.action.keys = c->listed ? c->listed : c->args.keys;
    if (c->args.csv)
        c->args.action.out = stdout;
    c->loop = loop_new();
    c->reach = timer_new(c->loop, ctl_on_reach, c);
    timer_start(c->reach, REACH_MS);
    c->place = ctl_place(c);
    c->stores = stores_new(c->loop, c->conf, STORE_TIMEOUT_MS, ctl_on_store, c);
    ctl_begin_with_a_look(c);
    loop_run(c->loop);
    wait_cancel(&c->waiting);
    bulk_cancel(&c->bulk);
    apart_cancel(&c->apart);
    restore_cancel(&c->restore);
    ctl_group_cancel(&c->grouping);
    stores_free(&c->stores);
    timer_free(&c->reach);
    loop_free(&c->loop);
    free(who);
    if (c->signal)
        tty_die(c->signal);
    return c->rc;
}

static int run_export_to(struct ctl *c, const char *path)
{
    struct ctl_export e;
    int status = ACTION_FAILED;

    ctl_export_open(&e, path);
    c->args.action.out = e.f;
    c->args.action.carry = e.f && c->args.what == ACTION_MOVE ? carry_file_begin(e.f) : NULL;
    if (e.f)
        status = run_verb(c);
    if (c->args.action.carry)
        carry_file_end(&c->args.action.carry, status == ACTION_DONE);
    if (!ctl_export_finish(&e, status == ACTION_DONE)) {
        bool closed = c->args.what == ACTION_MOVE && status == ACTION_DONE;
        char *text = xasprintf("%s: %s%s", path, strerror(errno),
                               closed ? ". The store is closed: \"route reopen\", and do it again" : "");
        ctl_print_error(c->args.json && !e.to_stdout, text, NULL);
        free(text);
        clearerr(stdout); /* it is said */
        status = ACTION_FAILED;
    } else if (status == ACTION_DONE && !e.to_stdout) { /* else the lines are what was asked for */
        ctl_say(c, &(struct action_result){.rc = status, .text = c->exported, .data = c->exported_data});
    }
    free(c->exported);
    json_decref(c->exported_data);
    return status;
}

static int run_restore(struct ctl *c)
{
    for (size_t i = 0; i < c->args.action.n_keys; i++) {
        if (!read_flips(c, c->args.keys[i])) {
            ctl_args_wrong(&c->args, "%s: %s", c->args.keys[i], strerror(errno));
            return ACTION_USAGE;
        }
    }
    size_t known = HASH_COUNT(c->flips.all);
    read_own_journal(c);
    c->by_journal = HASH_COUNT(c->flips.all) - known;
    return run_verb(c);
}

static int run_check(struct ctl *c)
{
    const char *login = c->args.action.login, *why = "";
    char *key = login ? account_key(c->conf, span_str(login), &why) : NULL;

    if (login && !key) {
        ctl_args_wrong(&c->args, "%s: %s", login, why);
        return ACTION_USAGE;
    }
    free(key);
    return ctl_check(c->conf, login, c->args.what == CTL_DOCTOR, c->fault, c->args.json);
}

/* ---- what needs no configuration */

static int ctl_write_page(const struct ctl_args *a)
{
    struct buf out = {0};

    if (a->what == CTL_MANUAL)
        ctl_write_manual(&out, a->action.n_keys ? a->keys[0] : "imapferryctl");
    else
        ctl_write_completion(&out, a->keys[0]);
    fputs(buf_str(&out), stdout);
    buf_free(&out);
    return fflush(stdout) == 0 ? ACTION_DONE : ACTION_FAILED;
}

/* For a shell: says nothing but what may stand there. */
static int ctl_complete_words(const char *const *words, size_t n)
{
    struct buf out = {0};
    char *error = NULL;
    struct conf *c = conf_load(ctl_complete_file(words, n), CONF_CTL, &error);

    ctl_complete(&out, c, words, n);
    fputs(buf_str(&out), stdout);
    buf_free(&out);
    free(error);
    conf_free(&c);
    return ACTION_DONE;
}

static int ctl_run(struct ctl *c)
{
    const struct ctl_args *a = &c->args;

    if (a->all && a->action.to && !conf_backend(c->conf, a->action.to)) {
        char *text = action_no_backend(c->conf, a->action.to);
        ctl_args_wrong(a, "%s", text);
        free(text);
        return ACTION_USAGE;
    }
    if (a->all && !ctl_read_list(c, a->all))
        return ACTION_USAGE;
    if (a->all && a->what == ACTION_RETIRE && !ctl_take_list(c))
        return ACTION_USAGE;
    if (a->what == CTL_SEAL_KEY)
        return seal_key(c);
    if (a->what == CTL_TICKET_KEY)
        return ticket_key(c);
    if (a->what == CTL_PLAN)
        return ctl_plan(c->conf, a->action.login, a->json);
    if (a->what == CTL_SURVEY)
        return run_survey(c);
    if (a->survey && !ctl_read_survey(c))
        return ACTION_USAGE;
    if (a->what == CTL_GROUP && !ctl_find_group(c))
        return c->rc;
    if (a->survey && a->action.group && !ctl_find_sharers(c))
        return c->rc == ACTION_REFUSED ? ACTION_REFUSED : ACTION_USAGE;
    if (a->what == CTL_CHECK || a->what == CTL_DOCTOR)
        return run_check(c);
    if (a->what == CTL_RESTORE)
        return run_restore(c);
    if (a->what == ACTION_EXPORT || a->what == ACTION_MOVE)
        return run_export_to(c, a->keys[0]);
    return run_verb(c);
}

/* A plan, a check and a flip by force sign in at the servers as a migrator does; the last two see the rest
 * without its secrets. */
static struct conf *ctl_load(struct ctl *c, const char *file, char **error)
{
    bool checks = c->args.what == CTL_CHECK || c->args.what == CTL_DOCTOR || c->args.action.force;
    bool plans = c->args.what == CTL_PLAN || c->args.what == CTL_SURVEY;
    struct conf *conf = conf_load(file, plans || checks ? CONF_MIGRATOR : CONF_CTL, error);

    if (conf || !checks)
        return conf;
    c->fault = *error;
    *error = NULL;
    conf = conf_load(file, CONF_CTL, error);
    if (!conf) {
        free(c->fault);
        c->fault = NULL;
    }
    return conf;
}

static int ctl_main(int argc, char **argv)
{
    struct ctl c = {.rc = ACTION_FAILED};
    struct buf usage = {0};
    const char *file;
    char *error = NULL;
    int status;

    screen_init();
    if (argc > 1 && !strcmp(argv[1], "--complete"))
        return ctl_complete_words((const char *const *)argv + 2, (size_t)argc - 2);
    ctl_args_usage(&usage);
    bool go_on = conf_arguments(argc, argv, CONF_CTL, trial_ctl, buf_str(&usage), &file, &status);
    buf_free(&usage);
    if (!go_on)
        return status;
    enum ctl_args_end end = ctl_args_read(&c.args, argc, argv, optind);
    if (end != CTL_ARGS_GOOD)
        return end == CTL_ARGS_HELPED ? ACTION_DONE : ACTION_USAGE;
    if (c.args.what == CTL_MANUAL || c.args.what == CTL_COMPLETION)
        return ctl_write_page(&c.args);
    log_set_level(LOG_LEVEL_ERROR);
    process_keep_secrets();
    c.conf = ctl_load(&c, file, &error);
    if (!c.conf) {
        ctl_print_error(c.args.json, error, NULL);
        free(error);
        return ACTION_FAILED;
    }
    status = ctl_run(&c);
    free(c.fault);
    free(c.listed);
    bulk_list_free(&c.list);
    flips_free(&c.flips);
    json_decref(c.survey);
    json_decref(c.restored);
    json_decref(c.group);
    for (size_t i = 0; i < c.n_named; i++)
        free(c.named[i]);
    free(c.named);
    conf_free(&c.conf);
    return status;
}

/* What was done has been done; but who asked has not been told, or not all of it. */
static int ctl_flush(int status)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    bool written = !ferror(stdout);

    errno = 0;
    written = fflush(stdout) == 0 && written;
    if (written)
        return status;
    status = status == ACTION_DONE ? ACTION_FAILED : status;
    if (poll(&out, 1, 0) == 1 && (out.revents & POLLERR))
        return status; /* a reader that has seen enough, such as head */
    char *text = xasprintf("not all that is said could be written: %s",
                           errno ? strerror(errno) : "an error of standard output");
    ctl_print_error(false, text, NULL);
    free(text);
    return status;
}

int main(int argc, char **argv)
{
    process_hold_standard();
    return ctl_flush(ctl_main(argc, argv));
}
