/* conf: reads the configuration file (libconfuse) by the table of options.h. An error names file, line,
 * section, option, what was found and what would be right. What libconfuse lets pass in silence is an error
 * here: a file cut off inside a section, NUL bytes, a section or option that stands twice, "${...}" that
 * would expand, unknown names.
 *
 * Durations are written "500ms", "10s", "10m", "24h", "7d"; numbers are plain. */
#ifndef IMAPFERRY_CONF_H
#define IMAPFERRY_CONF_H

#include "buf.h"
#include "options.h"
#include "sasl.h"

#define CONF_DEFAULT_FILE "/etc/imapferry/imapferry.conf"

/* Which program reads it: secrets of other roles are neither read nor asked for (a proxy needs no private
 * key). */
enum conf_role { CONF_PROXY, CONF_MIGRATOR, CONF_CTL };

/* Reads a file. NULL: *error is a text to free, with a line for each error and without a line feed at its
 * end. Where a part of the file can't be parsed, the other sections are still checked, each value by itself.
 * Whether something is missing, and whether the values fit together, is checked once that part is mended. */
struct conf *conf_load(const char *file, enum conf_role role, char **error) MUST_CHECK;

/* Tries what a start of the program would do with the files and folders that the configuration names: see
 * trial.h. It is called once the rest was looked at, also where that had errors: strings are there, but may
 * be wrong. checking: as for --check-conf, so what does not keep the program from starting is reported
 * too. */
struct conf_source;
typedef void (*conf_trial_fn)(const struct conf *c, struct conf_source *src, bool checking);
/* For a trial: adds one error. title may be NULL; nth says which value of a list it is about. */
void conf_object(struct conf_source *src, const char *section, const char *title, const char *option,
                 size_t nth, const char *fmt, ...) PRINTF_LIKE(6, 7);
/* The same as conf_load(), with a trial. */
struct conf *conf_load_tried(const char *file, enum conf_role role, conf_trial_fn trial, bool checking,
                             char **error) MUST_CHECK;
/* Prints errors on standard error, each line behind the name of the program. */
void conf_print_errors(enum conf_role role, const char *errors);
/* Frees it; secrets are overwritten before. */
void conf_free(struct conf **c);
/* Copies all of it, its secrets too: each thread has a copy of its own, since a reload changes it. */
struct conf *conf_copy(const struct conf *c);
/* Called for each option that is different in fresh, and with option NULL for each section that was added or
 * removed; borrowed for the call. taken: the new value is in use now, as options.h says (enum reload); else
 * the old one stays until a restart. */
typedef void (*conf_change_fn)(void *owner, const char *section, const char *title, const char *option,
                               bool taken);
/* Puts into c what may change while it is in use (enum reload), and secrets that were read anew. c and its
 * sections stay where they are in memory, so pointers to them hold; strings and lists that a reload may
 * change are borrowed by nobody for longer than a callback. What was exchanged is in fresh afterwards. fn may
 * be NULL. */
void conf_reload(struct conf *c, struct conf *fresh, conf_change_fn fn, void *owner);
/* A conf_change_fn that writes to the log: option_reloaded, or option_needs_restart. */
void conf_log_change(void *owner, const char *section, const char *title, const char *option, bool taken);
/* Called for each place where TLS below 1.2 is taken, as far as the program uses it: a backend (title is its
 * name), or the proxy's own listeners (title is NULL). Borrowed for the call. */
typedef void (*conf_old_tls_fn)(void *owner, const char *title, enum tls_version min);
void conf_old_tls(const struct conf *c, enum conf_role role, conf_old_tls_fn fn, void *owner);
/* Logs a warning for each of these places: at a start, and at a reload. */
void conf_log_old_tls(const struct conf *c, enum conf_role role);
/* Logs reload_refused, with one line for each error of conf_load(), or of what was made of the files that the
 * file names. */
void conf_log_refusal(const char *errors);
/* Does the option mechanisms name it? */
bool conf_offers(const struct conf_proxy *p, const struct sasl_mechanism *m);
/* ... or any by which passwords are shown, so that the command LOGIN is taken too? */
bool conf_takes_passwords(const struct conf_proxy *p);
/* May the account of this key sign in as others (masters)? */
bool conf_is_master(const struct conf *c, const char *key);
/* The prefix of all keys of the store at this address, without the ":"; to free: of a partition it has a hash tag,
 * "imapferry{07}", so that all are in one slot of the cluster. */
char *conf_store_prefix(const struct conf_redis *r, const struct address *a);
/* Is a store, or are its Sentinels, reached by TLS? */
bool conf_redis_has_tls(const struct conf_redis *r);
/* The files of the nth certificate for clients, and of its key: of tls_cert and tls_key, then of tls_certs; to
 * free. False: there are no more. */
bool conf_certificate(const struct conf_proxy *p, size_t nth, char **_cert, char **_key) MUST_CHECK;
/* Which option names it, and which value of a list. A fixed text. */
const char *conf_certificate_option(size_t nth, bool key, size_t *_nth);
/* Does a listener speak TLS? Else certificates are neither read nor asked for. */
bool conf_has_tls_listener(const struct conf_proxy *p) MUST_CHECK;
/* Are clients at this address of listen asked for a certificate? */
bool conf_asks_clients(const struct conf_proxy *p, const char *listen) MUST_CHECK;
enum { CONF_PIN_SIZE = 32 };
/* The bytes that a pin of a backend stands for. False: it is none. */
bool conf_pin(const char *text, uint8_t pin[CONF_PIN_SIZE]) MUST_CHECK;
/* The backend of this name; NULL where there is none. */
const struct conf_backend *conf_backend(const struct conf *c, const char *name);

/* Is the text of a pattern of accounts? "*": any characters; "?": one. */
bool conf_fits(const char *pattern, const char *text);
/* Between which backends an account moves: by the first rule whose pattern its key matches, else by the
 * section migration. It lives on the source while it has no record. Borrowed from c. */
struct conf_pair {
    const char *source, *target;
};
struct conf_pair conf_pair_of(const struct conf *c, const char *user);
/* That rule; NULL where it is the section migration. */
const struct conf_rule *conf_rule_of(const struct conf *c, const char *user);
/* Reads "500ms", "10s", "10m", "24h", "7d". */
bool conf_read_duration(const char *text, uint64_t *_ms) MUST_CHECK;

/* Appends the effective settings as a file that conf_load() takes; "***" stands for passwords in URLs. */
void conf_print(struct buf *out, const struct conf *c);
/* Appends the annotated sample. */
void conf_print_sample(struct buf *out);
/* Appends the manual page of the file, and that of a daemon (manual.h). */
void conf_print_manual(struct buf *out);
void conf_print_manual_of(struct buf *out, enum conf_role role);
/* Appends items of the arguments that all programs take, for a manual page. */
void conf_print_manual_arguments(struct buf *out);
/* Called for each of these arguments; value is "" for one that takes none. Fixed texts. */
typedef void (*conf_argument_fn)(void *owner, const char *name, const char *value, const char *text);
void conf_each_argument(conf_argument_fn fn, void *owner);

/* What main() of all three programs does with -c FILE, --check-conf, --print-conf[=sample], --print-metrics, --version,
 * --help. Returns true: go on, *file is set, and optind is the number of the first argument behind the
 * options. False: what had to be printed is printed; exit with *status: 0, or 1 for what is wrong with the
 * file, or 2 for what is wrong with the arguments.
 *
 * The daemons take no other arguments. For CONF_CTL it stops at the first argument that it does not know;
 * "--json" may stand among the options and is moved behind them, so that argv[optind] and what follows is
 * what imapferryctl reads by itself ("--json" as often as it was given, then a verb). usage ends with a line
 * feed. */
bool conf_arguments(int argc, char **argv, enum conf_role role, conf_trial_fn trial, const char *usage,
                    const char **file, int *status);

/* True for a hook that is a URL, not a program. */
bool conf_hook_is_url(const struct conf_list *hook);

/* What one store has of a number that is for all stores of the site together: an equal part, rounded up. */
static inline uint32_t conf_store_part(const struct conf *c, uint32_t all)
{
    size_t n = c->redis.n_stores > 0 ? c->redis.n_stores : 1;

    return (uint32_t)((all + n - 1) / n);
}

#endif
