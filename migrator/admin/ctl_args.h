/* ctl_args: reads the arguments of imapferryctl by the table of ctl_verbs.h, and writes `help`, `help VERB` and
 * `VERB --help`. */
#ifndef IMAPFERRY_CTL_ARGS_H
#define IMAPFERRY_CTL_ARGS_H

#include "ctl_verbs.h"

enum { CTL_KEYS_MAX = 1000 /* of one waive */ };

struct ctl_args {
    const struct ctl_verb *verb;
    int what;                       /* enum action_verb, or one of those above */
    struct action action;           /* its verb, who and keys are not set; strings are of argv */
    const char *keys[CTL_KEYS_MAX]; /* of waive; files of route export and route restore */
    const char *out;                /* seal-key: the folder; NULL: as configured */
    const char *all;                /* migrate: the file with the names; NULL: one account */
    const char *survey;             /* report: the file; NULL: none */
    uint64_t pause_ms;              /* survey */
    const char *columns;            /* list: names with commas between, all known; NULL: as usual */
    bool json, csv, wait;
    bool proof; /* report: of one account, as a file */
};

enum ctl_args_end { CTL_ARGS_GOOD, CTL_ARGS_HELPED /* it was printed */, CTL_ARGS_BAD /* it was said */ };

/* argv[first] on is what conf_arguments() leaves. */
enum ctl_args_end ctl_args_read(struct ctl_args *a, int argc, char **argv, int first);
/* All verbs, for --help. Appends. */
void ctl_args_usage(struct buf *out);
/* Says on standard error, or as JSON on standard output, what is wrong with the arguments, and, in a second
 * line, where the way to say it is found. */
void ctl_args_wrong(const struct ctl_args *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
