#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "migrator/found/finding.h"

#include "ctl_complete.h"
#include "ctl_verbs.h"

/* ---- what may stand there */

/* How far the words before the last one lead. */
struct complete_at {
    const struct ctl_verb *verb; /* NULL: there is none yet */
    const char *half;            /* the first word of a verb of two; NULL */
    const struct ctl_flag *flag; /* whose value comes next; NULL */
    bool file;                   /* the FILE of -c comes next */
    size_t given;                /* words behind the verb that are no options */
};

static void complete_offer(struct buf *out, const char *word, const char *means)
{
    buf_printf(out, "%s\t%s\n", word, means);
}

static void complete_offer_list(struct buf *out, const char *const *words, const char *means)
{
    for (size_t i = 0; words[i]; i++)
        complete_offer(out, words[i], means);
}

/* Is it the first word of verbs that have two? */
static bool complete_is_half(const char *word)
{
    size_t len = strlen(word);

    for (size_t i = 0; i < n_ctl_verbs; i++)
        if (!strncmp(ctl_verbs[i].name, word, len) && ctl_verbs[i].name[len] == ' ')
            return true;
    return false;
}

static const struct ctl_flag *complete_flag_of(const struct ctl_verb *v, const char *word, size_t len)
{
    for (size_t i = 0; i < n_ctl_flags; i++)
        if (ctl_verb_takes(v, &ctl_flags[i]) && strlen(ctl_flags[i].name) == len &&
            !strncmp(ctl_flags[i].name, word, len))
            return &ctl_flags[i];
    return NULL;
}

static void complete_take_first(struct complete_at *at, const char *word)
{
    char *name = at->half ? xasprintf("%s %s", at->half, word) : xstrdup(word);

    if (at->file) {
        at->file = false;
    } else if (!strcmp(word, "-c")) {
        at->file = true;
    } else if (*word != '-') {
        at->verb = ctl_verb_find(name);
        at->half = !at->verb && complete_is_half(word) ? word : NULL;
    }
    free(name);
}

static void complete_take(struct complete_at *at, const char *word)
{
    if (!at->verb) {
        complete_take_first(at, word);
    } else if (at->flag && !strcmp(word, "=")) { /* bash cuts "--to=new" into three words */
    } else if (at->flag) {
        at->flag = NULL;
    } else if (*word == '-') {
        const struct ctl_flag *f = complete_flag_of(at->verb, word, strlen(word));
        at->flag = f && f->value_name ? f : NULL;
    } else {
        at->given++;
    }
}

/* Verbs, or the second words of those that begin so. */
static void complete_verbs(struct buf *out, const char *half)
{
    size_t len = half ? strlen(half) : 0;
    const char *last = "";

    for (size_t i = 0; i < n_ctl_verbs; i++) {
        const struct ctl_verb *v = &ctl_verbs[i];
        size_t first = strcspn(v->name, " ");
        if (half && !strncmp(v->name, half, len) && v->name[len] == ' ')
            complete_offer(out, v->name + len + 1, v->forms[0].does);
        if (half || (!strncmp(v->name, last, first) && last[first] == ' '))
            continue;
        char *word = xasprintf("%.*s", (int)first, v->name);
        complete_offer(out, word, v->name[first] ? "needs one more word" : v->forms[0].does);
        free(word);
        last = v->name;
    }
}

static void complete_offer_argument(void *owner, const char *name, const char *value, const char *text)
{
    (void)value;
    complete_offer(owner, name, text);
}

static void complete_flags(struct buf *out, const struct ctl_verb *v)
{
    for (size_t i = 0; i < n_ctl_flags; i++)
        if (ctl_verb_takes(v, &ctl_flags[i]))
            complete_offer(out, ctl_flags[i].name, ctl_flags[i].text);
    complete_offer(out, "--help", "more of this verb");
}

static void complete_backends(struct buf *out, const struct conf *c)
{
    for (size_t i = 0; c && i < c->n_backends; i++)
        complete_offer(out, c->backends[i].name, "backend");
}

static void complete_waves(struct buf *out, const struct conf *c)
{
    for (size_t i = 0; c && i < c->n_waves; i++)
        complete_offer(out, c->waves[i].name, "wave");
}

static void complete_kinds(struct buf *out)
{
    for (int i = 0; i < FINDING_KINDS; i++)
        if (finding_is_waivable((enum finding_kind)i))
            complete_offer(out, finding_word((enum finding_kind)i), finding_text((enum finding_kind)i));
}

/* Words behind the verb. given: how many there are. */
static void complete_words(struct buf *out, const struct conf *c, const struct ctl_verb *v, size_t given)
{
    if ((v->takes & TAKES_SHELL) && given == 0)
        complete_offer_list(out, ctl_shells, "shell");
    if ((v->takes & TAKES_PAGE) && given == 0)
        complete_offer_list(out, ctl_pages, "manual page");
    if ((v->takes & TAKES_VERB) && given == 0)
        complete_verbs(out, NULL);
    if ((v->takes & TAKES_BACKEND) && given == 0)
        complete_backends(out, c);
    if ((v->takes & TAKES_KEYS) && given > 0)
        complete_kinds(out);
}

static const char *complete_mode(const struct complete_at *at)
{
    if (at->file || (at->flag && at->flag->value == VALUE_FILE) ||
        (!at->flag && at->verb && (at->verb->takes & TAKES_FILES)))
        return "files";
    return at->flag && at->flag->value == VALUE_FOLDER ? "folders" : "words";
}

static void complete_value(struct buf *out, const struct conf *c, enum ctl_value value)
{
    const char *words[CTL_WORDS_MAX];

    ctl_words_of(value, words);
    complete_offer_list(out, words, value == VALUE_STATE ? "state" : value == VALUE_WHY ? "reason" : "");
    if (value == VALUE_BACKEND)
        complete_backends(out, c);
    if (value == VALUE_WAVE)
        complete_waves(out, c);
}

/* "--to=ne": what is offered has all of it. */
static bool complete_joined(struct buf *out, const struct conf *c, const struct complete_at *at,
                            const char *last)
{
    size_t len = strcspn(last, "=");
    const struct ctl_flag *f =
        at->verb && !at->flag && last[len] ? complete_flag_of(at->verb, last, len) : NULL;
    struct buf values = {0};

    if (!f || !f->value_name)
        return false;
    complete_value(&values, c, f->value);
    for (const char *s = buf_str(&values), *end; (end = strchr(s, '\n')); s = end + 1)
        buf_printf(out, "%s=%.*s\n", f->name, (int)(end - s), s);
    buf_free(&values);
    return true;
}

void ctl_complete(struct buf *out, const struct conf *conf, const char *const *words, size_t n)
{
    struct complete_at at = {0};
    const char *last = n ? words[n - 1] : "";

    for (size_t i = 0; i + 1 < n; i++)
        complete_take(&at, words[i]);
    const char *mode = *last == '-' && !at.flag && !at.file ? "words" : complete_mode(&at);
    buf_printf(out, "%s\n", mode);
    if (strcmp(mode, "words") != 0 || complete_joined(out, conf, &at, last))
        return;
    if (at.flag) {
        complete_value(out, conf, at.flag->value);
    } else if (*last == '-' && at.verb) {
        complete_flags(out, at.verb);
    } else if (*last == '-' && !at.half) {
        conf_each_argument(complete_offer_argument, out);
        complete_offer(out, "--json", "print one JSON object");
    } else if (at.verb) {
        complete_words(out, conf, at.verb, at.given);
    } else {
        complete_verbs(out, at.half);
    }
}

const char *ctl_complete_file(const char *const *words, size_t n)
{
    const char *file = CONF_DEFAULT_FILE;

    for (size_t i = 0; i < n && *words[i] == '-'; i++) {
        if (!strcmp(words[i], "-c") && i + 1 < n)
            file = words[++i];
        else if (!strncmp(words[i], "-c", 2) && words[i][2])
            file = words[i] + 2;
    }
    return file;
}

/* ---- scripts; ARGUMENTS stands for those of the daemons */

static const char placeholder[] = "ARGUMENTS";

static const char script_of_bash[] =
    "# bash completion for imapferryctl and the daemons; \"imapferryctl completion bash\" prints it\n"
    "_imapferryctl()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} ctl=${COMP_WORDS[0]/#\\~/$HOME} mode word means\n"
    "    COMPREPLY=()\n"
    "    [[ $cur == = ]] && cur=\n"
    "    {\n"
    "        read -r mode\n"
    "        while IFS=$'\\t' read -r word means; do\n"
    "            [[ $word == \"$cur\"* ]] && COMPREPLY+=(\"$(printf %q \"$word\")\")\n"
    "        done\n"
    "    } < <(\"$ctl\" --complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "    case $mode in\n"
    "    files) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
    "    folders) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
    "    *) return ;;\n"
    "    esac\n"
    "    compopt -o filenames 2>/dev/null\n"
    "}\n"
    "complete -F _imapferryctl imapferryctl\n"
    "complete -o default -W 'ARGUMENTS' imapferry-proxy imapferry-migrator\n";

static const char script_of_zsh[] =
    "#compdef imapferryctl imapferry-proxy imapferry-migrator\n"
    "# \"imapferryctl completion zsh\" prints it\n"
    "_imapferryctl()\n"
    "{\n"
    "    local line mode\n"
    "    local -a lines offers\n"
    "    if [[ ${words[1]:t} != imapferryctl ]]; then\n"
    "        offers=(ARGUMENTS)\n"
    "        [[ ${words[CURRENT]} == -* ]] && compadd -a offers || _files\n"
    "        return\n"
    "    fi\n"
    "    lines=(\"${(@f)$(${~words[1]} --complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "    mode=$lines[1]\n"
    "    case $mode in\n"
    "    files) _files; return ;;\n"
    "    folders) _files -/; return ;;\n"
    "    esac\n"
    "    shift lines\n"
    "    for line in $lines; do\n"
    "        offers+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
    "    done\n"
    "    _describe imapferryctl offers\n"
    "}\n"
    "if [[ $funcstack[1] == _imapferryctl ]]; then\n"
    "    _imapferryctl \"$@\"\n"
    "else\n"
    "    compdef _imapferryctl imapferryctl imapferry-proxy imapferry-migrator\n"
    "fi\n";

static const char script_of_fish[] =
    "# fish completion for imapferryctl and the daemons; \"imapferryctl completion fish\" prints it\n"
    "function __imapferryctl_complete\n"
    "    set -l before (commandline -opc)\n"
    "    set -l token (commandline -ct)\n"
    "    set -q token[1]; or set token ''\n"
    "    set -l lines ($before[1] --complete $before[2..-1] \"$token\" 2>/dev/null)\n"
    "    switch \"$lines[1]\"\n"
    "        case files\n"
    "            __fish_complete_path $token\n"
    "        case folders\n"
    "            __fish_complete_directories $token\n"
    "        case '*'\n"
    "            set -q lines[2]; and printf '%s\\n' $lines[2..-1]\n"
    "    end\n"
    "end\n"
    "complete -c imapferryctl -f -a '(__imapferryctl_complete)'\n"
    "complete -c imapferry-proxy -a 'ARGUMENTS'\n"
    "complete -c imapferry-migrator -a 'ARGUMENTS'\n";

static void complete_add_argument(void *owner, const char *name, const char *value, const char *text)
{
    struct buf *out = owner;

    (void)value;
    (void)text;
    buf_printf(out, "%s%s", out->len ? " " : "", name);
}

void ctl_write_completion(struct buf *out, const char *shell)
{
    const char *script = !strcmp(shell, "bash")  ? script_of_bash
                         : !strcmp(shell, "zsh") ? script_of_zsh
                                                 : script_of_fish;
    struct buf arguments = {0};

    conf_each_argument(complete_add_argument, &arguments);
    for (const char *at; (at = strstr(script, placeholder)); script = at + strlen(placeholder)) {
        buf_add(out, script, (size_t)(at - script));
        buf_add_str(out, buf_str(&arguments));
    }
    buf_add_str(out, script);
    buf_free(&arguments);
}
