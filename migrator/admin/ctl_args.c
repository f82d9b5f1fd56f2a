#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "migrator/found/finding.h"

#include "ctl_args.h"
#include "ctl_print.h"
#include "ctl_table.h"
#include "ctl_verbs.h"
#include "nearest.h"

enum { FORM_WIDTH = 35, FLAG_WIDTH = 18 };

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
    struct buf text = {0};

    buf_add_str(out, "usage: imapferryctl [-c FILE] [--json] VERB ...\n\n");
    for (size_t i = 0; i < n_ctl_verbs; i++)
        for (size_t k = 0; k < CTL_FORMS_MAX && ctl_verbs[i].forms[k].args; k++)
            write_form(out, ctl_verbs[i].name, ctl_verbs[i].forms[k].args, ctl_verbs[i].forms[k].does);
    buf_add_str(out, "\nalso: VERB --help, --check-conf, --print-conf[=sample], --version\n");
    buf_add_str(&text, "exit status:");
    for (size_t i = 0; i < n_ctl_statuses; i++)
        buf_printf(&text, "%s %d %s", i ? "," : "", ctl_statuses[i].rc, ctl_statuses[i].text);
    ctl_write_wrapped(out, buf_str(&text), 0);
    buf_free(&text);
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

static void write_flags(struct buf *out, const struct ctl_verb *v)
{
    for (size_t i = 0; i < n_ctl_flags; i++) {
        if (!ctl_verb_takes(v, &ctl_flags[i]))
            continue;
        char *flag =
            xasprintf("%s %s", ctl_flags[i].name, ctl_flags[i].value_name ? ctl_flags[i].value_name : "");
        buf_printf(out, "  %-*s%s\n", FLAG_WIDTH, flag, ctl_flags[i].text);
        free(flag);
    }
}

static void write_paragraph(struct buf *out, const char *before, const char *text, const char *behind)
{
    char *whole = xasprintf("%s%s%s", before, text, behind);

    ctl_write_wrapped(out, whole, 0);
    buf_add_str(out, "\n");
    free(whole);
}

static void write_about_verb(struct buf *out, const struct ctl_verb *v)
{
    if (*v->more)
        write_paragraph(out, "", v->more, "");
    if (v->changes)
        write_paragraph(out, "Changes: ", v->changes, "");
    if (v->refused)
        write_paragraph(out, "Refused (exit status 4) where ", v->refused, ".");
}

static void write_verb(struct buf *out, const struct ctl_verb *v)
{
    for (size_t k = 0; k < CTL_FORMS_MAX && v->forms[k].args; k++)
        buf_printf(out, "%s imapferryctl %s%s%s\n           %s\n", k ? "      " : "usage:", v->name,
                   *v->forms[k].args ? " " : "", v->forms[k].args, v->forms[k].does);
    buf_add_str(out, "\n");
    write_about_verb(out, v);
    write_flags(out, v);
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

/* Those of two words that begin so, as a list; nothing where there is none. */
static void write_group(struct buf *out, const char *word, bool forms)
{
    size_t len = strlen(word);

    for (size_t i = 0; i < n_ctl_verbs; i++) {
        if (strncmp(ctl_verbs[i].name, word, len) || ctl_verbs[i].name[len] != ' ')
            continue;
        if (!forms)
            buf_printf(out, "%s%s", out->len ? ", " : "", ctl_verbs[i].name + len + 1);
        for (size_t k = 0; forms && k < CTL_FORMS_MAX && ctl_verbs[i].forms[k].args; k++)
            write_form(out, ctl_verbs[i].name, ctl_verbs[i].forms[k].args, ctl_verbs[i].forms[k].does);
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
    const char *known[CTL_VERBS_MAX];

    if (is_half(a, word))
        return CTL_ARGS_BAD;

    for (size_t i = 0; i < n_ctl_verbs; i++)
        known[i] = ctl_verbs[i].name;
    return ctl_args_unknown(a, "verb", word, known, n_ctl_verbs);
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
    const char *known[CTL_FLAGS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < n_ctl_flags; i++) {
        size_t len = strlen(ctl_flags[i].name);
        if (!strncmp(word, ctl_flags[i].name, len) && (word[len] == '\0' || word[len] == '=')) {
            ctl_args_wrong(a,
                           ctl_verb_takes(a->verb, &ctl_flags[i]) ? "%s does not take %s with a value"
                                                                  : "%s does not take %s",
                           a->verb->name, ctl_flags[i].name);
            return CTL_ARGS_BAD;
        }
        if (ctl_verb_takes(a->verb, &ctl_flags[i]))
            known[n++] = ctl_flags[i].name;
    }
    if (!strncmp(word, "-c", 2)) {
        ctl_args_wrong(a, "-c FILE stands before the verb");
        return CTL_ARGS_BAD;
    }
    return ctl_args_unknown(a, "option", word, known, n);
}

/* False: it was said what is wrong. */
static bool take_time(const struct ctl_args *a, const char *value, uint64_t *_ms)
{
    if (conf_read_duration(value, _ms) && *_ms > 0)
        return true;
    ctl_args_wrong(a, "\"%s\" is no time; expected such as 30m, 24h, 7d", value);
    return false;
}

static bool take_columns(struct ctl_args *a, const char *value)
{
    const char *known[CTL_WORDS_MAX];
    size_t count = 0;

    ctl_words_of(VALUE_COLUMNS, known);
    for (const char *s = value; s; count++) {
        const char *comma = strchr(s, ',');
        size_t len = comma ? (size_t)(comma - s) : strlen(s);
        if (!ctl_column_find(span_of(s, len)) || count == TABLE_COLUMNS_MAX) {
            char *word = xasprintf("%.*s", (int)len, s);
            if (count == TABLE_COLUMNS_MAX)
                ctl_args_wrong(a, "there is room for %d columns", TABLE_COLUMNS_MAX);
            else
                ctl_args_unknown(a, "column", word, known, n_ctl_columns);
            free(word);
            return false;
        }
        s = comma ? comma + 1 : NULL;
    }
    a->columns = value;
    a->action.whole = true;
    return true;
}

static bool take_format(struct ctl_args *a, const char *value)
{
    const char *known[CTL_WORDS_MAX];
    size_t n = 0;

    ctl_words_of(VALUE_FORMAT, known);
    while (known[n] && strcmp(known[n], value) != 0)
        n++;
    if (!known[n])
        return ctl_args_unknown(a, "format", value, known, n) == CTL_ARGS_GOOD;
    a->json = a->json || !strcmp(value, "json");
    a->csv = !strcmp(value, "csv");
    return true;
}

/* Which accounts, and what of them. False: it was said what is wrong. */
static bool set_choice(struct ctl_args *a, enum ctl_option option, const char *value)
{
    switch (option) {
    case WITH_DOMAIN:
        a->action.domain = value;
        return true;
    case WITH_RULE:
        a->action.rule = value;
        return true;
    case WITH_BACKEND:
        a->action.backend = value;
        return true;
    case WITH_WORD:
        a->action.word = value;
        return true;
    case WITH_WITHIN:
        return take_time(a, value, &a->action.within_ms);
    case WITH_BEYOND:
        return take_time(a, value, &a->action.beyond_ms);
    case WITH_RESULT:
        a->out = value;
        return true;
    case WITH_SURVEY:
        a->survey = value;
        return true;
    case WITH_PAUSE:
        return take_time(a, value, &a->pause_ms);
    case WITH_GONE:
        a->action.gone = true;
        return true;
    case WITH_PROOF:
        a->proof = true;
        return true;
    case WITH_FORMAT:
        return take_format(a, value);
    default:
        return take_columns(a, value);
    }
}

/* False: it was said what is wrong. */
static bool set_flag(struct ctl_args *a, enum ctl_option option, const char *value)
{
    switch (option) {
    case WITH_TO:
    case WITH_WHERE:
        a->action.to = value;
        break;
    case WITH_REASON:
    case WITH_WHY:
        a->action.reason = value;
        break;
    case WITH_STATE:
        a->action.state = value;
        break;
    case WITH_NO_PROXY:
        a->what = ACTION_DIRECT;
        break;
    case WITH_WAVE:
        a->action.wave = value;
        break;
    case WITH_EACH:
        a->action.all = true;
        break;
    case WITH_YES:
    case WITH_EVEN_SO:
        a->action.yes = true;
        break;
    case WITH_OUT:
        a->out = value;
        break;
    case WITH_ALL:
        a->all = value;
        break;
    case WITH_NOW:
        a->action.now = true;
        break;
    case WITH_FORCE:
        a->action.force = true;
        break;
    case WITH_WAIT:
        a->wait = true;
        break;
    case WITH_REPORT:
        a->action.report = true;
        break;
    case WITH_REMOVE:
        a->action.remove = true;
        break;
    case WITH_JSON:
        a->json = true;
        break;
    default:
        return set_choice(a, option, value);
    }
    return true;
}

/* Steps over a flag and its value. */
static enum ctl_args_end ctl_args_take_flag(struct ctl_args *a, int argc, char **argv, int *i)
{
    const char *word = argv[*i];

    for (size_t k = 0; k < n_ctl_flags; k++) {
        const struct ctl_flag *f = &ctl_flags[k];
        size_t len = strlen(f->name);
        bool whole = !strcmp(word, f->name),
             joined = f->value_name && !strncmp(word, f->name, len) && word[len] == '=';
        if (!ctl_verb_takes(a->verb, f) || (!whole && !joined))
            continue;
        if (whole && f->value_name && *i + 1 == argc) {
            ctl_args_wrong(a, "%s needs a value: %s %s", f->name, f->name, f->value_name);
            return CTL_ARGS_BAD;
        }
        const char *value = joined ? word + len + 1 : f->value_name ? argv[++*i] : NULL;
        return set_flag(a, f->option, value) ? CTL_ARGS_GOOD : CTL_ARGS_BAD;
    }
    return unknown_flag(a, word);
}

/* How many words behind the verb are keys: files, or the one name of what is no account. */
static size_t ctl_args_most_keys(const struct ctl_args *a)
{
    unsigned takes = a->verb->takes;

    if (takes & (TAKES_PROXY | TAKES_SHELL | TAKES_PAGE))
        return 1;
    if (takes & TAKES_VERB)
        return 2;
    if (takes & (TAKES_FILES | TAKES_KEYS | TAKES_ACCOUNTS))
        return a->what == ACTION_EXPORT || a->what == ACTION_MOVE || a->what == CTL_SURVEY ? 1 : CTL_KEYS_MAX;
    return 0;
}

static enum ctl_args_end ctl_args_take_word(struct ctl_args *a, const char *word)
{
    if ((a->verb->takes & TAKES_BACKEND) && !a->action.to) {
        a->action.to = word;
    } else if ((a->verb->takes & TAKES_GROUP) && !a->action.group) {
        a->action.group = word;
    } else if ((a->verb->takes & (NEEDS_NAME | TAKES_NAME)) && !a->action.login &&
               !(a->action.all && (a->verb->takes & TAKES_KEYS))) {
        a->action.login = word;
    } else if (a->action.n_keys < ctl_args_most_keys(a)) {
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
    const char *word = a->keys[0];
    bool two = a->action.n_keys == 2;
    char *name = two ? xasprintf("%s %s", word, a->keys[1]) : xstrdup(word ? word : "");
    const struct ctl_verb *of = word ? ctl_verb_find(name) : NULL;
    struct buf group = {0};
    enum ctl_args_end end = CTL_ARGS_HELPED;

    if (word && !of && !two)
        write_group(&group, word, true);
    if (group.len)
        fputs(buf_str(&group), stdout);
    else
        end = word && !of ? unknown_verb(a, name) : ctl_args_help(of);
    buf_free(&group);
    free(name);
    return end;
}

/* The shell, or the page: a list of words. */
static enum ctl_args_end ctl_args_check_listed(const struct ctl_args *a, const char *what,
                                               const char *const *words)
{
    size_t n = 0;
    bool known = a->action.n_keys == 0 && a->what == CTL_MANUAL;

    for (; words[n]; n++)
        known = known || (a->action.n_keys && !strcmp(a->keys[0], words[n]));
    if (known)
        return CTL_ARGS_GOOD;
    if (a->action.n_keys)
        return ctl_args_unknown(a, what, a->keys[0], words, n);
    ctl_args_wrong(a, "%s needs a SHELL: bash, zsh or fish", a->verb->name);
    return CTL_ARGS_BAD;
}

/* "waive zone --all": what was taken for a name is a kind. */
static void ctl_args_name_is_key(struct ctl_args *a)
{
    if (!a->action.all || !(a->verb->takes & TAKES_KEYS) || !a->action.login ||
        a->action.n_keys == CTL_KEYS_MAX)
        return;
    memmove(a->keys + 1, a->keys, a->action.n_keys * sizeof(*a->keys));
    a->keys[0] = a->action.login;
    a->action.n_keys++;
    a->action.login = NULL;
}

/* What says which of all accounts are meant needs --all, but in list, which is about all. */
static bool ctl_args_chooses(const struct ctl_args *a)
{
    const struct action *c = &a->action;

    return c->state || c->domain || c->rule || c->backend || c->word || c->within_ms || c->beyond_ms;
}

static enum ctl_args_end check_whole(const struct ctl_args *a)
{
    if (a->what == CTL_HELP)
        return help_with(a);
    if (a->verb->takes & TAKES_SHELL)
        return ctl_args_check_listed(a, "shell", ctl_shells);
    if (a->verb->takes & TAKES_PAGE)
        return ctl_args_check_listed(a, "page", ctl_pages);
    if ((a->verb->takes & TAKES_PROXY) && a->action.n_keys == 0) {
        ctl_args_wrong(a, "%s needs the NAME of a proxy", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if ((a->verb->takes & TAKES_BACKEND) && !a->action.to) {
        ctl_args_wrong(a, "%s needs the NAME of a backend", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if ((a->verb->takes & TAKES_GROUP) && !a->action.group) {
        ctl_args_wrong(a, "%s needs the name of a GROUP", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if ((a->verb->takes & TAKES_ACCOUNTS) && a->action.n_keys == 0) {
        ctl_args_wrong(a, "%s needs the NAME of an account, or several", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if ((a->verb->takes & TAKES_FILES) && a->action.n_keys == 0) {
        ctl_args_wrong(a, "%s needs a FILE", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->what == CTL_SURVEY && !a->out) {
        ctl_args_wrong(a, "%s needs --out RESULT", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->what == CTL_GROUP && !a->survey) {
        ctl_args_wrong(a, "%s needs --survey RESULT", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->survey && a->what != CTL_GROUP && (a->action.login || ctl_args_chooses(a))) {
        ctl_args_wrong(a, "%s --survey takes nothing but --format", a->verb->name);
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
    if (ctl_args_chooses(a) && (a->verb->options & WITH_EACH) && !a->action.all) {
        ctl_args_wrong(a, "%s takes --state, --domain and the like with --all alone", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->what == ACTION_REPORT && a->action.login && (a->csv || ctl_args_chooses(a))) {
        ctl_args_wrong(a, "%s of one account takes no --format csv, --domain and the like", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->proof && !a->action.login) {
        ctl_args_wrong(a, "%s --proof needs the NAME of an account", a->verb->name);
        return CTL_ARGS_BAD;
    }
    if (a->what == ACTION_WAIVE && a->action.yes && !a->action.all) {
        ctl_args_wrong(a, "%s takes --yes with --all alone", a->verb->name);
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
    ctl_args_name_is_key(a);
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
    a->verb = two ? ctl_verb_find(two) : NULL;
    first += a->verb != NULL;
    free(two);
    if (!a->verb)
        a->verb = ctl_verb_find(argv[first]);
    if (!a->verb)
        return argv[first][0] == '-' ? unknown_first(a, argv[first]) : unknown_verb(a, argv[first]);
    a->what = a->verb->what;
    return take_all(a, argc, argv, first + 1);
}
