/* ctl_verbs: the verbs of imapferryctl, each once: name, arguments, options, what it is for, what it changes, when
 * it is refused. From this table arguments are read and `help` is written (ctl_args.h), the completions of shells
 * (ctl_complete.h), and the manual page (ctl_manual.h). */
#ifndef IMAPFERRY_CTL_VERBS_H
#define IMAPFERRY_CTL_VERBS_H

#include "actions.h"

/* Verbs that are none of actions.h. */
enum {
    CTL_SEAL_KEY = -1,
    CTL_PLAN = -2,
    CTL_HELP = -3,
    CTL_RESTORE = -4,
    CTL_CHECK = -5,
    CTL_TICKET_KEY = -6,
    CTL_COMPLETION = -7,
    CTL_MANUAL = -8,
    CTL_TOP = -9,
    CTL_DOCTOR = -10,
    CTL_SURVEY = -11,
    CTL_GROUP = -12,
};

/* What may stand behind a verb, beside its options. */
enum {
    TAKES_NAME = 1 << 0, /* of an account */
    NEEDS_NAME = 1 << 1,
    TAKES_KEYS = 1 << 2, /* of waive */
    TAKES_FILES = 1 << 3,
    TAKES_PROXY = 1 << 4,   /* NAME of one */
    TAKES_BACKEND = 1 << 5, /* NAME of one */
    TAKES_VERB = 1 << 6,    /* of one or two words */
    TAKES_SHELL = 1 << 7,
    TAKES_PAGE = 1 << 8,
    TAKES_GROUP = 1 << 9,     /* NAME of one (lib/route_sharing.h) */
    TAKES_ACCOUNTS = 1 << 10, /* NAMEs of some */
};

/* An option's meaning, as a bit of struct ctl_verb: one name may mean another thing of another verb. */
enum ctl_option {
    WITH_TO = 1 << 0,
    WITH_WHERE = 1 << 1, /* --to that must be given */
    WITH_REASON = 1 << 2,
    WITH_WHY = 1 << 3, /* --reason WORD, to look for */
    WITH_STATE = 1 << 4,
    WITH_EACH = 1 << 5, /* --all without a list */
    WITH_NOW = 1 << 6,
    WITH_FORCE = 1 << 7,
    WITH_EVEN_SO = 1 << 8, /* --yes, of --force */
    WITH_WAIT = 1 << 9,
    WITH_ALL = 1 << 10, /* --all FILE */
    WITH_REPORT = 1 << 11,
    WITH_REMOVE = 1 << 12,
    WITH_OUT = 1 << 13,
    WITH_YES = 1 << 14,
    WITH_JSON = 1 << 15,
    WITH_DOMAIN = 1 << 16,
    WITH_RULE = 1 << 17,
    WITH_BACKEND = 1 << 18,
    WITH_WORD = 1 << 19, /* --why WORD, to look for */
    WITH_WITHIN = 1 << 20,
    WITH_BEYOND = 1 << 21,
    WITH_COLUMNS = 1 << 22,
    WITH_FORMAT = 1 << 23,
    WITH_WAVE = 1 << 24,
    WITH_NO_PROXY = 1 << 25,
    WITH_GONE = 1 << 26,
    WITH_RESULT = 1 << 27, /* --out FILE */
    WITH_PAUSE = 1 << 28,
    WITH_SURVEY = 1 << 29,
    WITH_PROOF = 1 << 30,
};

/* What the value of an option is, so that shells can complete it. */
enum ctl_value {
    VALUE_NONE, /* it takes none */
    VALUE_TEXT,
    VALUE_FILE,
    VALUE_FOLDER,
    VALUE_BACKEND,
    VALUE_STATE,
    VALUE_WHY,
    VALUE_COLUMNS,
    VALUE_FORMAT,
    VALUE_WAVE,
};

enum { CTL_FORMS_MAX = 4, CTL_VERBS_MAX = 64, CTL_FLAGS_MAX = 64 };

struct ctl_verb {
    const char *name; /* one word or two */
    int what;         /* enum action_verb, or one of those above */
    unsigned takes, options;
    struct {
        const char *args, *does; /* does: at most 43 letters */
    } forms[CTL_FORMS_MAX];
    const char *more;    /* whole sentences; "" = the form says it all */
    const char *changes; /* the same; NULL: it only looks */
    /* when it ends with status 4: the end of a sentence that begins with "Refused where"; NULL: never */
    const char *refused;
};
extern const struct ctl_verb ctl_verbs[];
extern const size_t n_ctl_verbs;

struct ctl_flag {
    const char *name;
    enum ctl_value value;
    const char *value_name; /* NULL: it takes none */
    enum ctl_option option;
    const char *text;
};
/* WITH_JSON is of every verb. */
extern const struct ctl_flag ctl_flags[];
extern const size_t n_ctl_flags;

struct ctl_status {
    enum action_rc rc;
    const char *text;
};
extern const struct ctl_status ctl_statuses[];
extern const size_t n_ctl_statuses;

const struct ctl_verb *ctl_verb_find(const char *name);
/* May this flag stand behind the verb? */
bool ctl_verb_takes(const struct ctl_verb *v, const struct ctl_flag *f);

/* The words that an option's value may be, NULL behind the last: words has room for CTL_WORDS_MAX. */
enum { CTL_WORDS_MAX = 64 };
void ctl_words_of(enum ctl_value v, const char **words);
/* What `list` can show of an account. */
struct ctl_column {
    const char *name, *head;
    const char *of; /* in its JSON */
};
extern const struct ctl_column ctl_columns[];
extern const size_t n_ctl_columns;
const struct ctl_column *ctl_column_find(struct span name);
extern const char *const ctl_shells[], *const ctl_pages[]; /* NULL behind the last */

#endif
