#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "migrator/found/finding.h"

#include "ctl_args.h"
#include "ctl_print.h"
#include "nearest.h"

enum { FORMS_MAX = 3, FORM_WIDTH = 35, FLAG_WIDTH = 18 };

/* What may stand behind a verb. */
enum {
    TAKES_NAME = 1 << 0,
    NEEDS_NAME = 1 << 1,
    TAKES_TO = 1 << 2,
    TAKES_REASON = 1 << 3,
    TAKES_FORCE = 1 << 4,
    TAKES_WAIT = 1 << 5,
    TAKES_NOW = 1 << 6,
    TAKES_OUT = 1 << 7,
    TAKES_ALL = 1 << 8,
    TAKES_REPORT = 1 << 9,
    TAKES_KEYS = 1 << 10,
    TAKES_REMOVE = 1 << 11,
    TAKES_JSON = 1 << 12,
    TAKES_STATE = 1 << 13,
    TAKES_WHY = 1 << 14, /* --reason WORD, to look for */
    TAKES_FILES = 1 << 16,
    TAKES_EVEN_SO = 1 << 17, /* --yes, of --force */
    TAKES_WHERE = 1 << 18,   /* --to that must be given */
    TAKES_PROXY = 1 << 20,   /* NAME of one */
    TAKES_YES = 1 << 21,
    TAKES_BACKEND = 1 << 22, /* NAME of one */
    TAKES_EACH = 1 << 15,    /* --all without a list */
};

struct ctl_verb {
    const char *name;
    int what;
    unsigned takes;
    struct {
        const char *args, *does; /* does: at most 43 letters */
    } forms[FORMS_MAX];
    const char *more; /* whole sentences, for its own help */
};

static const struct ctl_verb verbs[] = {
    {"init",
     ACTION_INIT,
     0,
     {{"", "make the store in Redis, once for a site"}},
     "An empty Redis is refused by all programs, since it would mean that everybody lives on the old server."},
    {"seal-key",
     CTL_SEAL_KEY,
     TAKES_OUT,
     {{"[--out DIR]", "make a pair of keys for sealed passwords"}},
     "The private key is for the migrators, the public one for all. Without --out they go where the section seal says. "
     "A file that is there is not replaced."},
    {"ticket-key",
     CTL_TICKET_KEY,
     0,
     {{"", "make a new key for tickets of TLS"}},
     "It goes in front of those in the first of tls_ticket_files; two older ones are kept, so that clients notice nothing. "
     "Bring the file to all proxies, and send them SIGHUP."},
    {"status",
     ACTION_STATUS,
     0,
     {{"", "the whole migration"}},
     "Accounts by state, proxies, migrators, Redis."},
    {"recount",
     ACTION_RECOUNT,
     0,
     {{"", "count the accounts for status anew"}},
     "Goes through all routes; the numbers of status are kept up to date by themselves."},
    {"user",
     ACTION_USER,
     NEEDS_NAME | TAKES_REPORT,
     {{"NAME", "where an account is, what happens to it"},
      {"NAME --report", "what its last pass compared and found"}},
     "Ends with status 3 where the account has no record: it lives on the server that the configuration says."},
    {"plan",
     CTL_PLAN,
     NEEDS_NAME,
     {{"NAME", "what a migration would do or stop at"}},
     "Signs in at both servers, and writes nothing. Needs what a migrator needs to sign in."},
    {"check",
     CTL_CHECK,
     TAKES_NAME,
     {{"", "try servers and Redis, say what to do"}, {"NAME", "is this user there on both servers?"}},
     "Connects to each backend, signs in there as its master_user (for check_user, where that is set), opens as many connections "
     "as a migrator would for a moment, and asks Redis what it keeps. What the servers can do is stored for the proxies. A line is "
     "ok, a warning or an error; ends with status 1 where one is an error. Run it where a migrator runs. With a NAME it signs in "
     "as master for that user; nothing of theirs is changed."},
    {"sessions", ACTION_SESSIONS, NEEDS_NAME, {{"NAME", "its sessions on all proxies"}}, ""},
    {"list",
     ACTION_LIST,
     TAKES_STATE | TAKES_WHY,
     {{"[--state STATE] [--reason WORD]", "accounts by state and reason"}},
     "WORD is what a reason begins with, such as \"unreachable\". Goes through all accounts with a record; the first 100,000 "
     "are listed."},
    {"audit", ACTION_AUDIT, TAKES_NAME, {{"[NAME]", "who did what, and why"}}, "The newest hundred entries."},
    {"migrate",
     ACTION_MIGRATE,
     NEEDS_NAME | TAKES_TO | TAKES_REASON | TAKES_WAIT | TAKES_NOW | TAKES_ALL,
     {{"NAME [--to BACKEND] [--now] [--wait]", "copy it, switch it over by the policy"},
      {"--all FILE [--to BACKEND]", "the same for all accounts of a list"}},
     "A list has one login name a line (\"-\": standard input); \"#\" begins a comment. Its accounts are copied behind those "
     "whose users log in. One that is sent back to where it came from takes along what is new, and is held there."},
    {"flip",
     ACTION_FLIP,
     NEEDS_NAME | TAKES_WHERE | TAKES_REASON | TAKES_FORCE | TAKES_EVEN_SO | TAKES_WAIT,
     {{"NAME --to BACKEND --reason TEXT [--wait]", "copy it, switch it over now"},
      {"NAME --to BACKEND --force --reason TEXT", "switch it over without a copy"}},
     "Sent back to where it came from, an account is held there until \"release\". With --force nothing is copied or compared "
     "before: what the other server has more is brought by the late watch afterwards, flags and deletions are not. A sign-in as "
     "master tells before whether the user is there on BACKEND; where they are not, or it can't be seen, nothing is done without "
     "--yes."},
    {"hold",
     ACTION_HOLD,
     NEEDS_NAME | TAKES_REASON,
     {{"NAME [--reason TEXT]", "pin it where it is"}},
     "Not in the seconds of its switch-over."},
    {"release",
     ACTION_RELEASE,
     NEEDS_NAME | TAKES_REASON,
     {{"NAME [--reason TEXT]", "undo hold"}},
     "What was under way is queued again."},
    {"retry",
     ACTION_RETRY,
     NEEDS_NAME | TAKES_REASON | TAKES_EACH | TAKES_STATE,
     {{"NAME [--reason TEXT]", "try again now what is backoff or blocked"},
      {"--all [--state STATE] [--reason TEXT]", "all that are, behind the logins"}},
     ""},
    {"forget",
     ACTION_FORGET,
     NEEDS_NAME | TAKES_REASON,
     {{"NAME [--reason TEXT]", "know nothing of it any more"}},
     "For names that are none, and users who were deleted. Not for an account that was ever switched over, is being copied, or "
     "is signed in; what was copied of it stays on the new server."},
    {"waive",
     ACTION_WAIVE,
     NEEDS_NAME | TAKES_REASON | TAKES_KEYS | TAKES_REMOVE,
     {{"NAME KEY... --reason TEXT", "accept what was found: it stops nothing"},
      {"NAME KEY... --remove [--reason TEXT]", "take that back"}},
     "\"user NAME --report\" shows the key of each finding: MAILBOX:UID for whatever is found of one message, MAILBOX:KIND for "
     "all of a kind in one mailbox, KIND for all of it in the account."},
    {"pause",
     ACTION_PAUSE,
     TAKES_REASON,
     {{"[--reason TEXT]", "stop all migrations"}},
     "What is being switched over at this moment is carried out; users go on working."},
    {"resume", ACTION_RESUME, TAKES_REASON, {{"[--reason TEXT]", "undo pause"}}, ""},
    {"route export",
     ACTION_EXPORT,
     TAKES_FILES,
     {{"FILE", "write where accounts live, for a backup"}},
     "A line for each account that was ever switched over, or is held (\"-\": standard output), and one that counts them. Journals have the flips, and no "
     "holds."},
    {"route restore",
     CTL_RESTORE,
     TAKES_FILES | TAKES_YES,
     {{"FILE... [--yes]", "make the store anew after a loss"}},
     "FILE is the journal of a migrator (migrator.journal_dir, or the file flips in it) or an export. Give those of all hosts "
     "(that of this one is read anyhow): an account of which none is told lives on the old server. Where lines can't be read, an "
     "export may be cut off, or an account is on no configured backend, nothing is made but with --yes. Stop all proxies and migrators before, and start them afterwards; "
     "the README has a chapter on it."},
    {"route source",
     ACTION_SOURCE,
     TAKES_BACKEND | TAKES_YES | TAKES_REASON,
     {{"BACKEND", "what another migration.source would mean"}, {"BACKEND --yes --reason TEXT", "allow it"}},
     "Accounts without a record live on migration.source. Redis remembers which one that is, and programs whose configuration says "
     "another refuse to work. For a site whose accounts without a record really are on another backend, or that has renamed it: "
     "stop all proxies and migrators, change the configuration of all hosts, say it here, start them."},
    {"proxy forget",
     ACTION_PROXY_FORGET,
     TAKES_PROXY | TAKES_YES | TAKES_REASON,
     {{"NAME", "what declaring a proxy dead would mean"}, {"NAME --yes --reason TEXT", "declare it dead"}},
     "Accounts wait for a silent proxy until its lease is over (lease_long), since it may still serve their users. NAME is its id, as "
     "status shows it. It is watched for the time of its lease first: one that lives is not forgotten. One that comes back drops its "
     "sessions."},
    {"help", CTL_HELP, TAKES_NAME, {{"[VERB]", "this; or more of one verb"}}, ""},
};

struct flag {
    const char *name, *value_name; /* value_name NULL: it takes none */
    unsigned takes;
    const char *text;
};

static const struct flag flags[] = {
    {"--to", "BACKEND", TAKES_TO, "where to; else where the configuration moves it"},
    {"--to", "BACKEND", TAKES_WHERE, "where to; must be given"},
    {"--reason", "TEXT", TAKES_REASON, "why, for the audit"},
    {"--state", "STATE", TAKES_STATE, "only those in this state"},
    {"--reason", "WORD", TAKES_WHY, "only those whose reason begins so"},
    {"--all", NULL, TAKES_EACH, "all that are backoff or blocked"},
    {"--now", NULL, TAKES_NOW, "switch it over as soon as it is copied"},
    {"--force", NULL, TAKES_FORCE, "without a copy"},
    {"--wait", NULL, TAKES_WAIT, "show its progress until it has ended"},
    {"--all", "FILE", TAKES_ALL, "the accounts of a list"},
    {"--report", NULL, TAKES_REPORT, "mailbox by mailbox, with what \"waive\" takes"},
    {"--remove", NULL, TAKES_REMOVE, "the other way round"},
    {"--out", "DIR", TAKES_OUT, "where the keys go"},
    {"--yes", NULL, TAKES_YES, "do it, whatever it means"},
    {"--yes", NULL, TAKES_EVEN_SO, "with --force: also if the user is not seen there"},
    {"--json", NULL, TAKES_JSON, "print one JSON object"},
};

const char *ctl_verb_name(const struct ctl_verb *v)
{
    return v->name;
}

/* ---- help */

static void write_form(struct buf *out, const char *name, const char *args, const char *does)
{
    char *form = xasprintf("%s%s%s", name, *args ? " " : "", args);

    if (strlen(form) < FORM_WIDTH)
        buf_printf(out, "  %-*s%s\n", FORM_WIDTH, form, does);
    else
        buf_printf(out, "  %s\n  %*s%s\n", form, FORM_WIDTH, "", does);
    free(form);
}

void ctl_args_usage(struct buf *out)
{
    buf_add_str(out, "usage: imapferryctl [-c FILE] [--json] VERB ...\n\n");
    for (size_t i = 0; i < COUNTOF(verbs); i++)
        for (size_t k = 0; k < FORMS_MAX && verbs[i].forms[k].args; k++)
            write_form(out, verbs[i].name, verbs[i].forms[k].args, verbs[i].forms[k].does);
    buf_add_str(out, "\nalso: VERB --help, --check-conf, --print-conf[=sample], --version\n"
                     "exit status: 0 done, 1 failed, 2 usage, 3 no record of the account, 4 its state\n"
                     "does not allow it, 5 Redis is out of reach, or its replicas have not confirmed\n"
                     "what was done: say it again\n");
}

static void ctl_args_write_kinds(struct buf *out)
{
    for (int one = 0; one < 2; one++) {
        buf_add_str(out, one ? "\nOnly as MAILBOX:KIND, or of one message:\n" : "\nKIND is one of\n");
        for (size_t i = 0; i < FINDING_KINDS; i++) {
            enum finding_kind k = (enum finding_kind)i;
            if (!finding_is_waivable_in_one(k) || finding_is_waivable(k) == one)
                continue;
            buf_printf(out, "  %-*s", FLAG_WIDTH, finding_word(k));
            ctl_write_wrapped(out, finding_text(k), FLAG_WIDTH + 2);
        }
    }
}

static void write_flags(struct buf *out, unsigned takes)
{
    for (size_t i = 0; i < COUNTOF(flags); i++) {
        if (!(takes & flags[i].takes))
            continue;
        char *flag = xasprintf("%s %s", flags[i].name, flags[i].value_name ? flags[i].value_name : "");
        buf_printf(out, "  %-*s%s\n", FLAG_WIDTH, flag, flags[i].text);
        free(flag);
    }
}

static void write_verb(struct buf *out, const struct ctl_verb *v)
{
    for (size_t k = 0; k < FORMS_MAX && v->forms[k].args; k++)
        buf_printf(out, "%s imapferryctl %s%s%s\n           %s\n", k ? "      " : "usage:", v->name,
                   *v->forms[k].args ? " " : "", v->forms[k].args, v->forms[k].does);
    buf_add_str(out, "\n");
    if (*v->more) {
        ctl_write_wrapped(out, v->more, 0);
        buf_add_str(out, "\n");
    }
    write_flags(out, v->takes | TAKES_JSON);
    if (v->takes & TAKES_KEYS)
        ctl_args_write_kinds(out);
}

static enum ctl_args_end ctl_args_help(const struct ctl_verb *v)
{
    struct buf out = {0};

    if (v)
        write_verb(&out, v);
    else
        ctl_args_usage(&out);
    fputs(buf_str(&out), stdout);
    buf_free(&out);
    return CTL_ARGS_HELPED;
}

/* ---- what is wrong */

void ctl_args_wrong(const struct ctl_args *a, const char *fmt, ...)
{
    struct buf text = {0};
    char *hint = a->verb ? xasprintf("see \"imapferryctl %s --help\"", a->verb->name)
                         : xstrdup("see \"imapferryctl help\" for all verbs");
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    ctl_print_error(a->json, buf_str(&text), hint);
    buf_free(&text);
    free(hint);
}

static enum ctl_args_end ctl_args_unknown(const struct ctl_args *a, const char *what, const char *word,
                                          const char *const *known, size_t n)
{
    const char *meant = nearest(word, known, n);

    if (meant)
        ctl_args_wrong(a, "there is no %s \"%s\": did you mean \"%s\"?", what, word, meant);
    else
        ctl_args_wrong(a, "there is no %s \"%s\"", what, word);
    return CTL_ARGS_BAD;
}

/* ---- reading */

static const struct ctl_verb *ctl_args_find_verb(const char *name)
{
    for (size_t i = 0; i < COUNTOF(verbs); i++)
        if (!strcmp(name, verbs[i].name))
            return &verbs[i];
    return NULL;
}

/* Those of two words that begin so, as a list; nothing where there is none. */
static void write_group(struct buf *out, const char *word, bool forms)
{
    size_t len = strlen(word);

    for (size_t i = 0; i < COUNTOF(verbs); i++) {
        if (strncmp(verbs[i].name, word, len) || verbs[i].name[len] != ' ')
            continue;
        if (!forms)
            buf_printf(out, "%s%s", out->len ? ", " : "", verbs[i].name + len + 1);
        for (size_t k = 0; forms && k < FORMS_MAX && verbs[i].forms[k].args; k++)
            write_form(out, verbs[i].name, verbs[i].forms[k].args, verbs[i].forms[k].does);
    }
}

/* "route" is half a verb. */
static bool is_half(const struct ctl_args *a, const char *word)
{
    struct buf all = {0};

    write_group(&all, word, false);
    bool half = all.len > 0;
    if (half)
        ctl_args_wrong(a, "%s needs one more word: %s", word, buf_str(&all));
    buf_free(&all);
    return half;
}

static enum ctl_args_end unknown_verb(const struct ctl_args *a, const char *word)
{
    const char *known[COUNTOF(verbs)];

    if (is_half(a, word))
        return CTL_ARGS_BAD;

    for (size_t i = 0; i < COUNTOF(verbs); i++)
        known[i] = verbs[i].name;
    return ctl_args_unknown(a, "verb", word, known, COUNTOF(verbs));
}

/* What begins with "-" where a verb is expected. */
static enum ctl_args_end unknown_first(const struct ctl_args *a, const char *word)
{
    static const char *const known[] = {"--json",    "--check-conf", "--print-conf", "--print-conf=sample",
                                        "--version", "--help"};

    return ctl_args_unknown(a, "option", word, known, COUNTOF(known));
}

/* Of those that the verb takes; another verb's is said to be one. */
static enum ctl_args_end unknown_flag(const struct ctl_args *a, const char *word)
{
    const char *known[COUNTOF(flags)];
    size_t n = 0;

    for (size_t i = 0; i < COUNTOF(flags); i++) {
        size_t len = strlen(flags[i].name);
        if (!strncmp(word, flags[i].name, len) && (word[len] == '\0' || word[len] == '=')) {
            ctl_args_wrong(a,
                           a->verb->takes & flags[i].takes ? "%s does not take %s with a value"
                                                           : "%s does not take %s",
                           a->verb->name, flags[i].name);
            return CTL_ARGS_BAD;
        }
        if ((a->verb->takes | TAKES_JSON) & flags[i].takes)
            known[n++] = flags[i].name;
    }
    if (!strncmp(word, "-c", 2)) {
        ctl_args_wrong(a, "-c FILE stands before the verb");
        return CTL_ARGS_BAD;
    }
    return ctl_args_unknown(a, "option", word, known, n);
}

static void set_flag(struct ctl_args *a, const struct flag *f, const char *value)
{
    switch (f->takes) {
    case TAKES_TO:
    case TAKES_WHERE:
        a->action.to = value;
        break;
    case TAKES_REASON:
        a->action.reason = value;
        break;
    case TAKES_WHY:
        a->action.reason = value;
        break;
    case TAKES_STATE:
        a->action.state = value;
        break;
    case TAKES_EACH:
        a->action.all = true;
        break;
    case TAKES_YES:
    case TAKES_EVEN_SO:
        a->action.yes = true;
        break;
    case TAKES_OUT:
        a->out = value;
        break;
    case TAKES_ALL:
        a->all = value;
        break;
    case TAKES_NOW:
        a->action.now = true;
        break;
    case TAKES_FORCE:
        a->action.force = true;
        break;
    case TAKES_WAIT:
        a->wait = true;
        break;
    case TAKES_REPORT:
        a->action.report = true;
        break;
    case TAKES_REMOVE:
        a->action.remove = true;
        break;
    default:
        a->json = true;
        break;
    }
}

/* Steps over a flag and its value. */
static enum ctl_args_end ctl_args_take_flag(struct ctl_args *a, int argc, char **argv, int *i)
{
    const char *word = argv[*i];

    for (size_t k = 0; k < COUNTOF(flags); k++) {
        const struct flag *f = &flags[k];
        size_t len = strlen(f->name);
        bool whole = !strcmp(word, f->name),
             joined = f->value_name && !strncmp(word, f->name, len) && word[len] == '=';
        if (!((a->verb->takes | TAKES_JSON) & f->takes) || (!whole && !joined))
            continue;
        if (whole && f->value_name && *i + 1 == argc) {
            ctl_args_wrong(a, "%s needs a value: %s %s", f->name, f->name, f->value_name);
            return CTL_ARGS_BAD;
        }
        set_flag(a, f, joined ? word + len + 1 : f->value_name ? argv[++*i] : NULL);
        return CTL_ARGS_GOOD;
    }
    return unknown_flag(a, word);
}

static enum ctl_args_end ctl_args_take_word(struct ctl_args *a, const char *word)
{
    bool one = a->what == ACTION_EXPORT && a->action.n_keys == 1;

    if ((a->verb->takes & TAKES_PROXY) && a->action.n_keys == 0) {
        a->keys[a->action.n_keys++] = word;
    } else if ((a->verb->takes & TAKES_BACKEND) && !a->action.to) {
        a->action.to = word;
    } else if ((a->verb->takes & TAKES_FILES) && a->action.n_keys < CTL_KEYS_MAX && !one) {
        a->keys[a->action.n_keys++] = word;
    } else if ((a->verb->takes & (NEEDS_NAME | TAKES_NAME)) && !a->action.login) {
        a->action.login = word;
    } else if (a->what == CTL_HELP && a->action.n_keys == 0) { /* of a verb of two words */
        a->keys[a->action.n_keys++] = word;
    } else if ((a->verb->takes & TAKES_KEYS) && a->action.n_keys < CTL_KEYS_MAX) {
        a->keys[a->action.n_keys++] = word;
    } else {
        ctl_args_wrong(a, "%s: there is one word too many: \"%s\"", a->verb->name, word);
        return CTL_ARGS_BAD;
    }
    return CTL_ARGS_GOOD;
}

/* Of no verb, of one, or of all that begin with a word. */
static enum ctl_args_end help_with(const struct ctl_args *a)
{
    const char *word = a->action.login;
    char *name = a->action.n_keys ? xasprintf("%s %s", word, a->keys[0]) : xstrdup(word ? word : "");
    const struct ctl_verb *of = word ? ctl_args_find_verb(name) : NULL;
    struct buf group = {0};
    enum ctl_args_end end = CTL_ARGS_HELPED;

    if (word && !of && !a->action.n_keys)
        write_group(&group, word, true);
    if (group.len)
        fputs(buf_str(&group), stdout);
    else
        end = word && !of ? unknown_verb(a, name) : ctl_args_help(of);
    buf_free(&group);
    free(name);
    return end;
}

static enum ctl_args_end check_whole(const struct ctl_args *a)
{
    if (a->what == CTL_HELP)
        return help_with(a);
    if ((a->verb->takes & TAKES_PROXY) && a->action.n_keys == 0) {
        ctl_args_wrong(a, "%s needs the NAME of a proxy", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if ((a->verb->takes & TAKES_BACKEND) && !a->action.to) {
        ctl_args_wrong(a, "%s needs the NAME of a backend", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if ((a->verb->takes & TAKES_FILES) && a->action.n_keys == 0) {
        ctl_args_wrong(a, "%s needs a FILE", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->all && (a->action.login || a->wait || a->action.now)) {
        ctl_args_wrong(a, "%s --all takes neither a NAME nor --now or --wait", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->what == ACTION_FLIP && a->action.yes && !a->action.force) {
        ctl_args_wrong(a, "%s takes --yes with --force alone", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->action.all && a->action.login) {
        ctl_args_wrong(a, "%s takes a NAME or --all", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->action.state && a->what == ACTION_RETRY && !a->action.all) {
        ctl_args_wrong(a, "%s takes --state with --all alone", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if ((a->verb->takes & NEEDS_NAME) && !a->action.login && !a->all && !a->action.all) {
        ctl_args_wrong(a, "%s needs the NAME of an account", a->verb->name);
        return CTL_ARGS_BAD;
    }
    return CTL_ARGS_GOOD;
}

static enum ctl_args_end take_all(struct ctl_args *a, int argc, char **argv, int i)
{
    bool only_words = false;

    for (; i < argc; i++) {
        enum ctl_args_end end = CTL_ARGS_GOOD;
        if (!only_words && !strcmp(argv[i], "--"))
            only_words = true;
        else if (!only_words && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")))
            end = ctl_args_help(a->what == CTL_HELP ? NULL : a->verb);
        else if (!only_words && argv[i][0] == '-' && argv[i][1])
            end = ctl_args_take_flag(a, argc, argv, &i);
        else
            end = ctl_args_take_word(a, argv[i]);
        if (end != CTL_ARGS_GOOD)
            return end;
    }
    return check_whole(a);
}

/* Wherever it stands, what is said of the arguments is said so. */
static bool wants_json(int argc, char **argv, int i)
{
    for (; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--json"))
            return true;
    return false;
}

enum ctl_args_end ctl_args_read(struct ctl_args *a, int argc, char **argv, int first)
{
    a->json = wants_json(argc, argv, first);
    while (first < argc && !strcmp(argv[first], "--json"))
        first++;
    if (first == argc) {
        ctl_args_wrong(a, "say what to do");
        return CTL_ARGS_BAD;
    }
    if (!strcmp(argv[first], "-c")) {
        ctl_args_wrong(a, "-c needs a FILE");
        return CTL_ARGS_BAD;
    }
    char *two = first + 1 < argc ? xasprintf("%s %s", argv[first], argv[first + 1]) : NULL;
    a->verb = two ? ctl_args_find_verb(two) : NULL;
    first += a->verb != NULL;
    free(two);
    if (!a->verb)
        a->verb = ctl_args_find_verb(argv[first]);
    if (!a->verb)
        return argv[first][0] == '-' ? unknown_first(a, argv[first]) : unknown_verb(a, argv[first]);
    a->what = a->verb->what;
    return take_all(a, argc, argv, first + 1);
}
