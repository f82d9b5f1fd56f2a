/* imapferryctl: what staff type. One verb a call; see `usage` for all of them, and actions.h for what they
 * do. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/account.h"
#include "lib/log.h"
#include "lib/seal.h"
#include "lib/xalloc.h"

#include "actions.h"
#include "bulk.h"
#include "ctl_plan.h"
#include "ctl_print.h"
#include "ctl_wait.h"

enum {
    STORE_TIMEOUT_MS = 5000, /* of one command */
    REACH_MS = 5000,         /* until the store must be there */
    LIST_MAX = 64 << 20,     /* bytes of a list of accounts */
    KEYS_MAX = 1000,         /* of one waive */
};

static const char usage[] =
    "usage: imapferryctl [-c FILE] [--json] VERB ...\n"
    "\n"
    "  init                               make the store in Redis, once\n"
    "  seal-key [--out DIR]               make a pair of keys for sealed passwords\n"
    "  status                             the whole migration\n"
    "  recount                            count the accounts for it anew\n"
    "  user NAME [--report]               one account: where it is, what happens to it, why (--report: what was\n"
    "                                     compared and found at its last pass)\n"
    "  plan NAME                          what a migration would do, and what would stop it; writes nothing\n"
    "  sessions NAME                      its sessions\n"
    "  audit [NAME]                       who did what, and why\n"
    "  migrate NAME [--to BACKEND] [--now] [--wait]\n"
    "                                     copy it, and switch it over as the policy says (--now: at once)\n"
    "  migrate --all FILE [--to BACKEND]  the same for all accounts of a list (-: standard input), one a "
    "line,\n"
    "                                     behind those whose users log in\n"
    "  flip NAME --to BACKEND --reason TEXT [--wait]\n"
    "                                     copy and switch it over now\n"
    "  flip NAME --to BACKEND --force --reason TEXT [--wait]\n"
    "                                     switch it over without a copy\n"
    "  hold NAME [--reason TEXT]          pin it where it is\n"
    "  release NAME                       undo hold\n"
    "  retry NAME                         try again now what is in backoff or blocked\n"
    "  waive NAME KIND|MAILBOX:UID|MAILBOX:KIND... --reason TEXT\n"
    "                                     accept what was found, so that it stops nothing\n"
    "  waive NAME KEY... --remove [--reason TEXT]\n"
    "                                     undo that\n"
    "  pause [--reason TEXT]              stop all migrations (what is being switched over is carried out)\n"
    "  resume                             undo pause\n"
    "\n"
    "also: --check-conf, --print-conf[=sample], --version, --help\n"
    "exit status: 0 done, 1 failed, 2 usage, 3 no record of the account, 4 its state does not allow it,\n"
    "             5 store out of reach, or its replicas have not confirmed it: say it again\n";

/* What may stand behind a verb. */
enum {
    TAKES_NAME = 1,
    NEEDS_NAME = 2,
    TAKES_TO = 4,
    TAKES_REASON = 8,
    TAKES_FORCE = 16,
    TAKES_WAIT = 32,
    TAKES_NOW = 64,
    TAKES_OUT = 128,
    TAKES_ALL = 256,
    TAKES_REPORT = 2048,
    TAKES_KEYS = 4096,
    TAKES_REMOVE = 8192
};
enum { SEAL_KEY = -1, PLAN = -2 };

static const struct verb {
    const char *name;
    int verb; /* enum action_verb, or SEAL_KEY */
    unsigned takes;
} verbs[] = {
    {"init", ACTION_INIT, 0},
    {"seal-key", SEAL_KEY, TAKES_OUT},
    {"status", ACTION_STATUS, 0},
    {"recount", ACTION_RECOUNT, 0},
    {"plan", PLAN, NEEDS_NAME},
    {"user", ACTION_USER, NEEDS_NAME | TAKES_REPORT},
    {"sessions", ACTION_SESSIONS, NEEDS_NAME},
    {"audit", ACTION_AUDIT, TAKES_NAME},
    {"migrate", ACTION_MIGRATE, NEEDS_NAME | TAKES_TO | TAKES_REASON | TAKES_WAIT | TAKES_NOW | TAKES_ALL},
    {"flip", ACTION_FLIP, NEEDS_NAME | TAKES_TO | TAKES_REASON | TAKES_FORCE | TAKES_WAIT},
    {"hold", ACTION_HOLD, NEEDS_NAME | TAKES_REASON},
    {"release", ACTION_RELEASE, NEEDS_NAME | TAKES_REASON},
    {"retry", ACTION_RETRY, NEEDS_NAME | TAKES_REASON},
    {"waive", ACTION_WAIVE, NEEDS_NAME | TAKES_REASON | TAKES_KEYS | TAKES_REMOVE},
    {"pause", ACTION_PAUSE, TAKES_REASON},
    {"resume", ACTION_RESUME, TAKES_REASON},
};

struct ctl {
    const struct verb *verb;
    struct action action;
    const char *out;       /* seal-key */
    const char *all;       /* migrate: the file with the names */
    struct bulk_list list; /* owned; of this file */
    struct bulk *bulk;     /* owned */
    const char *keys[KEYS_MAX]; /* of waive */
    bool json, wait;
    struct conf *conf; /* owned, as all below */
    struct loop *loop;
    struct store *store;
    struct timer *reach;
    struct waiting *waiting;
    char *key; /* of the account */
    bool started, ended;
    enum action_rc rc;
};

/* ---- arguments */

static bool usage_error(const char *what, const char *which)
{
    fprintf(stderr, "imapferryctl: %s%s\n%s", what, which, usage);
    return false;
}

struct flag {
    const char *name;
    unsigned takes;
    const char **value;
    bool *set;
};

/* Steps over a flag and its value. */
static bool take_flag(struct ctl *c, int argc, char **argv, int *i)
{
    const struct flag flags[] = {
        {"--to", TAKES_TO, &c->action.to, NULL},
        {"--reason", TAKES_REASON, &c->action.reason, NULL},
        {"--out", TAKES_OUT, &c->out, NULL},
        {"--all", TAKES_ALL, &c->all, NULL},
        {"--force", TAKES_FORCE, NULL, &c->action.force},
        {"--wait", TAKES_WAIT, NULL, &c->wait},
        {"--now", TAKES_NOW, NULL, &c->action.now},
        {"--report", TAKES_REPORT, NULL, &c->action.report},
        {"--remove", TAKES_REMOVE, NULL, &c->action.remove},
        {"--json", ~0u, NULL, &c->json},
    };

    for (size_t k = 0; k < COUNTOF(flags); k++) {
        const struct flag *f = &flags[k];
        size_t len = strlen(f->name);
        bool with_value = f->value && !strncmp(argv[*i], f->name, len) && argv[*i][len] == '=';
        if (!with_value && strcmp(argv[*i], f->name) != 0)
            continue;
        if (f->takes != ~0u && !(c->verb->takes & f->takes))
            return usage_error(c->verb->name, " does not take that option");
        if (f->set)
            *f->set = true;
        else if (with_value)
            *f->value = argv[*i] + len + 1;
        else if (*i + 1 < argc)
            *f->value = argv[++*i];
        else
            return usage_error(f->name, " needs a value");
        return true;
    }
    return usage_error("unknown option ", argv[*i]);
}

static bool take_arguments(struct ctl *c, int argc, char **argv, int i)
{
    bool only_names = false;

    while (i < argc && !strcmp(argv[i], "--json")) {
        c->json = true;
        i++;
    }
    if (i == argc)
        return usage_error("no verb", "");
    for (size_t k = 0; k < COUNTOF(verbs) && !c->verb; k++)
        if (!strcmp(argv[i], verbs[k].name))
            c->verb = &verbs[k];
    if (!c->verb)
        return usage_error("unknown verb ", argv[i]);
    for (i++; i < argc; i++) {
        if (!only_names && !strcmp(argv[i], "--")) {
            only_names = true;
        } else if (!only_names && argv[i][0] == '-' && argv[i][1]) {
            if (!take_flag(c, argc, argv, &i))
                return false;
        } else if ((c->verb->takes & (NEEDS_NAME | TAKES_NAME)) && !c->action.login) {
            c->action.login = argv[i];
        } else if ((c->verb->takes & TAKES_KEYS) && c->action.n_keys < KEYS_MAX) {
            c->keys[c->action.n_keys++] = argv[i];
        } else {
            return usage_error("too many arguments: ", argv[i]);
        }
    }
    if (c->all && (c->action.login || c->wait || c->action.now))
        return usage_error(c->verb->name, " --all takes neither a NAME nor --now or --wait");
    if ((c->verb->takes & NEEDS_NAME) && !c->action.login && !c->all)
        return usage_error(c->verb->name, " needs the NAME of an account");
    return true;
}

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
    bool in_conf = s->private_key_files.n > 0 && *s->public_key_file;
    char *error = NULL, *private, *public;

    if (!c->out && !in_conf) {
        fprintf(stderr, "imapferryctl: the configuration has no seal section with public_key_file and "
                        "private_key_files; say where the keys shall go with --out DIR\n");
        return ACTION_USAGE;
    }
    private = c->out ? xasprintf("%s/seal.key", c->out) : xstrdup(s->private_key_files.items[0]);
    public = c->out ? xasprintf("%s/seal.pub", c->out) : xstrdup(s->public_key_file);
    bool ok = seal_key_make(private, public, &error);
    json_t *o = json_object();
    if (ok) {
        json_object_set_new(o, "private_key_file", json_string(private));
        json_object_set_new(o, "public_key_file", json_string(public));
    } else {
        json_object_set_new(o, "error", json_string(error));
        fprintf(stderr, "imapferryctl: %s\n", error);
    }
    if (c->json)
        ctl_print_json(o);
    else if (ok)
        printf("private key (migrators)  %s\npublic key (proxies)     %s\n", private, public);
    json_decref(o);
    free(private);
    free(public);
    free(error);
    return ok ? ACTION_DONE : ACTION_FAILED;
}

/* ---- the verb */

static void end(struct ctl *c, const struct action_result *r)
{
    c->ended = true;
    c->rc = r->rc;
    if (c->json)
        ctl_print_json(r->data);
    else
        ctl_print_result(&c->action, r);
    loop_stop(c->loop);
}

static void on_waited(void *owner, const struct action_result *r)
{
    struct ctl *c = owner;

    c->waiting = NULL;
    end(c, r);
}

static void on_result(void *owner, const struct action_result *r)
{
    struct ctl *c = owner;
    const struct conf_migration *m = &c->conf->migration;
    const char *why;

    if (r->rc != ACTION_DONE || !c->wait) {
        end(c, r);
        return;
    }
    if (!c->json)
        printf("%s\n", r->text);
    c->key = account_key(c->conf, span_str(c->action.login), &why);
    c->waiting = wait_start(
        &(struct wait_request){
            .store = c->store,
            .user = c->key,
            .target = c->action.to ? c->action.to : conf_pair_of(c->conf, c->key).target,
            .manual = m->cutover != CUTOVER_IMMEDIATE && !c->action.now && c->verb->verb == ACTION_MIGRATE,
            .quiet = c->json,
        },
        on_waited, c);
}

/* ---- migrate --all */

static bool read_list(struct ctl *c)
{
    bool from_stdin = !strcmp(c->all, "-");
    FILE *f = from_stdin ? stdin : fopen(c->all, "rb");
    struct buf text = {0};
    char block[65536];
    size_t n;

    while (f && (n = fread(block, 1, sizeof(block), f)) > 0 && text.len <= LIST_MAX)
        buf_add(&text, block, n);
    bool good = f && !ferror(f) && text.len <= LIST_MAX;
    if (!good)
        fprintf(stderr, "imapferryctl: %s: %s\n", c->all,
                f && !ferror(f) ? "is larger than 64 MiB" : strerror(errno));
    else
        bulk_list_read(&c->list, c->conf, buf_span(&text));
    if (f && !from_stdin)
        fclose(f);
    buf_free(&text);
    return good;
}

static void on_bulk(void *owner, const struct action_result *r)
{
    struct ctl *c = owner;
    size_t i;
    json_t *p;

    c->bulk = NULL;
    json_array_foreach(json_object_get(r->data, "problems"), i, p)
    {
        if (!c->json)
            fprintf(stderr, "%s:%" JSON_INTEGER_FORMAT ": \"%s\" %s\n", c->all,
                    json_integer_value(json_object_get(p, "line")),
                    json_string_value(json_object_get(p, "name")),
                    json_string_value(json_object_get(p, "error")));
    }
    end(c, r);
}

static void start_bulk(struct ctl *c)
{
    c->bulk = bulk_start(
        &(struct bulk_request){
            .store = c->store, .to = c->action.to, .who = c->action.who, .reason = c->action.reason},
        &c->list, on_bulk, c);
}

static void unreachable(struct ctl *c, const char *why)
{
    char *address = address_text(&c->conf->redis.address);
    char *text = xasprintf("the store at %s is out of reach: %s", address, why);
    json_t *o = json_object();

    json_object_set_new(o, "error", json_string(text));
    end(c, &(struct action_result){.rc = ACTION_UNREACHABLE, .text = text, .data = o});
    json_decref(o);
    free(text);
    free(address);
}

static void on_reach(void *owner)
{
    struct ctl *c = owner;

    if (!c->started)
        unreachable(c, "no answer");
}

static void on_store(void *owner, enum store_state state, const char *detail)
{
    struct ctl *c = owner;
    bool good = state == STORE_UP || (state == STORE_FOREIGN && c->action.verb == ACTION_INIT);

    if (c->started || c->ended)
        return;
    if (good) {
        c->started = true;
        if (c->all)
            start_bulk(c);
        else
            action_run(c->store, &c->action, on_result, c);
    } else if (state != STORE_CONNECTING) {
        unreachable(c, detail);
    }
}

static int run_verb(struct ctl *c)
{
    char *who = who_am_i();

    c->action.verb = (enum action_verb)c->verb->verb;
    c->action.who = who;
    c->action.keys = c->keys;
    c->loop = loop_new();
    c->reach = timer_new(c->loop, on_reach, c);
    timer_start(c->reach, REACH_MS);
    c->store = store_new(c->loop, c->conf, STORE_TIMEOUT_MS, on_store, c);
    loop_run(c->loop);
    wait_cancel(&c->waiting);
    bulk_cancel(&c->bulk);
    store_free(&c->store);
    timer_free(&c->reach);
    loop_free(&c->loop);
    free(c->key);
    free(who);
    return c->rc;
}

int main(int argc, char **argv)
{
    struct ctl c = {.rc = ACTION_FAILED};
    const char *file;
    char *error = NULL;
    int status;

    if (!conf_arguments(argc, argv, CONF_CTL, usage, &file, &status))
        return status;
    if (!take_arguments(&c, argc, argv, optind))
        return ACTION_USAGE;
    log_set_level(LOG_LEVEL_ERROR);
    /* A plan signs in at the servers, as a migrator does. */
    c.conf = conf_load(file, c.verb->verb == PLAN ? CONF_MIGRATOR : CONF_CTL, &error);
    if (!c.conf) {
        fprintf(stderr, "imapferryctl: %s\n", error);
        free(error);
        return ACTION_FAILED;
    }
    if (c.all && c.action.to && !conf_backend(c.conf, c.action.to))
        status =
            usage_error("there is no such backend in the configuration: ", c.action.to) ? 0 : ACTION_USAGE;
    else if (c.all && !read_list(&c))
        status = ACTION_USAGE;
    else
        status = c.verb->verb == SEAL_KEY ? seal_key(&c)
                 : c.verb->verb == PLAN   ? ctl_plan(c.conf, c.action.login, c.json)
                                          : run_verb(&c);
    bulk_list_free(&c.list);
    conf_free(&c.conf);
    return status;
}
