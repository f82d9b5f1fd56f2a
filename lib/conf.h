/* conf: reads the configuration file (libconfuse) by the table of options.h. An error names file, line,
 * section, option, what was found and what would be right. What libconfuse lets pass in silence is an error
 * here: a file cut off inside a section, NUL bytes, a doubled section or option, "${...}" that would expand,
 * unknown names.
 *
 * Durations are written "500ms", "10s", "10m", "24h", "7d"; numbers plain. */
#ifndef IMAPFERRY_CONF_H
#define IMAPFERRY_CONF_H

#include "buf.h"
#include "options.h"

#define CONF_DEFAULT_FILE "/etc/imapferry/imapferry.conf"

/* Which program reads it: secrets of other roles are neither read nor asked for (a proxy needs no private
 * key). */
enum conf_role { CONF_PROXY, CONF_MIGRATOR, CONF_CTL };

/* NULL: *error is a text to free: a line for each error, without a line feed at its end. Where a part of the
 * file can't be parsed, the values of the other sections are looked at alone: what lacks, and what does not
 * fit together, is told once that is mended. */
struct conf *conf_load(const char *file, enum conf_role role, char **error) MUST_CHECK;

/* Tries what a start of the program would do with the files and folders that are named: trial.h. Called once
 * the rest was looked at, also where that had errors: strings are there, but may be wrong. checking: as for
 * --check-conf, so what does not keep the program from starting is told too. */
struct conf_source;
typedef void (*conf_trial_fn)(const struct conf *c, struct conf_source *src, bool checking);
/* For a trial: one error more. title may be NULL; nth of a list's values. */
void conf_object(struct conf_source *src, const char *section, const char *title, const char *option,
                 size_t nth, const char *fmt, ...) PRINTF_LIKE(6, 7);
/* As conf_load(). */
struct conf *conf_load_tried(const char *file, enum conf_role role, conf_trial_fn trial, bool checking,
                             char **error) MUST_CHECK;
/* On standard error, each line behind the name of the program. */
void conf_print_errors(enum conf_role role, const char *errors);
/* Wipes secrets. */
void conf_free(struct conf **c);
/* All of it, its secrets too: each thread has one of its own, since a reload changes it. */
struct conf *conf_copy(const struct conf *c);
/* Told of each option (of each section that is there more or less: option NULL) that fresh has otherwise;
 * borrowed for the call. taken: as options.h says, else it stays as it was until a restart. */
typedef void (*conf_change_fn)(void *owner, const char *section, const char *title, const char *option,
                               bool taken);
/* Puts into c what may change while it is in use (enum reload), secrets read anew among it. c keeps its
 * place, its sections and theirs, so pointers to them hold; strings and lists that a reload may change are
 * borrowed by nobody for longer than a callback. fresh is left with what was exchanged. fn may be NULL. */
void conf_reload(struct conf *c, struct conf *fresh, conf_change_fn fn, void *owner);
/* A conf_change_fn that writes to the log: option_reloaded, or option_needs_restart. */
void conf_log_change(void *owner, const char *section, const char *title, const char *option, bool taken);
/* Where TLS below 1.2 is taken, of what the program uses: a backend (title), or the proxy's own listeners
 * (NULL). Borrowed for the call. */
typedef void (*conf_old_tls_fn)(void *owner, const char *title, enum tls_version min);
void conf_old_tls(const struct conf *c, enum conf_role role, conf_old_tls_fn fn, void *owner);
/* A warning for each: for a start, and for a reload. */
void conf_log_old_tls(const struct conf *c, enum conf_role role);
/* reload_refused, a line for each error of conf_load() or of what was made of the file's files. */
void conf_log_refusal(const char *errors);
/* NULL where there is none of that name. */
const struct conf_backend *conf_backend(const struct conf *c, const char *name);

/* Between which backends an account moves, and that it lives on the source while it has no record: by the
 * first rule that its key fits, else by the section migration. Borrowed from c. */
struct conf_pair {
    const char *source, *target;
};
struct conf_pair conf_pair_of(const struct conf *c, const char *user);

/* The effective settings as a file that conf_load() takes; "***" stands for passwords in URLs. */
void conf_print(struct buf *out, const struct conf *c);
/* The annotated sample. */
void conf_print_sample(struct buf *out);

/* What all three programs' main() do with -c FILE, --check-conf, --print-conf[=sample], --version, --help.
 * Returns true: go on, *file is set, and optind points behind the options. False: print done, exit with
 * *status: 0, 1 for what is wrong with the file, 2 for what is wrong with the arguments.
 *
 * The daemons take no other arguments. For CONF_CTL it ends at the first argument that it does not know;
 * "--json" may stand among the options and is moved behind them, so that argv[optind] on is what imapferryctl
 * reads by itself ("--json" as often as given, then a verb). usage ends with a line feed. */
bool conf_arguments(int argc, char **argv, enum conf_role role, conf_trial_fn trial, const char *usage,
                    const char **file, int *status);

/* A hook that is a URL, not a program. */
bool conf_hook_is_url(const struct conf_list *hook);

#endif
