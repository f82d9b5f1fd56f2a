#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf.h"
#include "metrics.h"

static const char *const programs[] = {
    [CONF_PROXY] = "imapferry-proxy", [CONF_MIGRATOR] = "imapferry-migrator", [CONF_CTL] = "imapferryctl"};

enum verdict { GO_ON, STOP, USAGE };
enum wish { RUN, CHECK, PRINT, PRINT_SAMPLE, PRINT_METRICS, VERSION, HELP };

static const struct {
    const char *name, *value; /* value "": it takes none */
    enum wish wish;
    const char *text; /* for people */
} known_arguments[] = {
    {"-c", "FILE", RUN, "The configuration, where it is not " CONF_DEFAULT_FILE "."},
    {"--check-conf", "", CHECK,
     "Says what is wrong with the configuration for this program, each error with its file and line, and tries what a "
     "start would do with the files and folders that it names. Nothing is started."},
    {"--print-conf", "", PRINT, "Prints all settings as they are in force, without the passwords in URLs."},
    {"--print-conf=sample", "", PRINT_SAMPLE,
     "Prints the sample configuration, with the text of each option."},
    {"--print-metrics", "", PRINT_METRICS, "Prints what Prometheus is told, as a page in Markdown."},
    {"--version", "", VERSION, "Prints the version."},
    {"--help", "", HELP, "Prints what may be said."},
    {"-h", "", HELP, ""},
};

struct arguments {
    enum conf_role role;
    conf_trial_fn trial;
    const char *file;
    enum wish wish;
    bool json; /* CONF_CTL */
    int at;    /* the argument that is looked at */
};

static bool print_buf(struct buf *b)
{
    bool ok = fwrite(b->mem + b->off, 1, b->len, stdout) == b->len && fflush(stdout) == 0;
    buf_wipe(b);
    return ok;
}

void conf_print_errors(enum conf_role role, const char *errors)
{
    for (size_t n; *errors; errors += n + (errors[n] == '\n')) {
        n = strcspn(errors, "\n");
        fprintf(stderr, "%s: %.*s\n", programs[role], (int)n, errors);
    }
}

struct checked {
    struct buf *out;
    const char *file;
};

static void warn_old_tls(void *owner, const char *title, enum tls_version min)
{
    struct checked *k = owner;

    buf_printf(k->out, "%s: warning: %s%s%s: tls_min: versions below 1.2 are taken, from %s on\n", k->file,
               title ? "backend \"" : "proxy", title ? title : "", title ? "\"" : "", tls_version_word(min));
}

static void report_check(struct buf *out, const struct conf *c, const struct arguments *a)
{
    struct checked k = {out, a->file};

    conf_old_tls(c, a->role, warn_old_tls, &k);
    buf_printf(out, "%s: no errors for %s\n", a->file, programs[a->role]);
}

/* What needs the file: true where all went well. */
static bool check_or_print(const struct arguments *a)
{
    struct buf out = {0};
    char *error = NULL;
    struct conf *c = conf_load_tried(a->file, a->role, a->wish == CHECK ? a->trial : NULL, true, &error);

    if (!c) {
        conf_print_errors(a->role, error);
        free(error);
        return false;
    }
    if (a->wish == PRINT)
        conf_print(&out, c);
    else
        report_check(&out, c, a);
    conf_free(&c);
    return print_buf(&out);
}

static bool fulfil(const struct arguments *a, const char *usage)
{
    struct buf out = {0};

    switch (a->wish) {
    case CHECK:
    case PRINT:
        return check_or_print(a);
    case PRINT_SAMPLE:
        conf_print_sample(&out);
        break;
    case PRINT_METRICS:
        metrics_describe(&out);
        break;
    case VERSION:
        buf_add_str(&out, a->json ? "{\"version\": \"" IMAPFERRY_VERSION "\"}\n"
                                  : "imapferry " IMAPFERRY_VERSION "\n");
        break;
    case HELP:
    case RUN:
        buf_add_str(&out, usage);
        break;
    }
    return print_buf(&out);
}

/* The options without a value; RUN = none of these. */
static enum wish wish_of(const char *arg)
{
    for (size_t i = 0; i < COUNTOF(known_arguments); i++)
        if (!strcmp(arg, known_arguments[i].name))
            return known_arguments[i].wish;
    return RUN;
}

void conf_each_argument(conf_argument_fn fn, void *owner)
{
    for (size_t i = 0; i < COUNTOF(known_arguments); i++)
        if (*known_arguments[i].text)
            fn(owner, known_arguments[i].name, known_arguments[i].value, known_arguments[i].text);
}

/* Looks at one argument, and steps over what it knows. */
static enum verdict arguments_take(struct arguments *a, int argc, char **argv)
{
    const char *arg = argv[a->at];
    enum wish wish = wish_of(arg);

    if (wish != RUN) {
        a->wish = wish;
        a->at++;
    } else if (!strcmp(arg, "-c") && a->at + 1 < argc) {
        a->file = argv[a->at + 1];
        a->at += 2;
    } else if (!strncmp(arg, "-c", 2) && arg[2]) {
        a->file = arg + 2;
        a->at++;
    } else {
        return a->role == CONF_CTL ? STOP : USAGE;
    }
    return GO_ON;
}

/* Brings the arguments from..to before the one at first: "--json -c FILE" becomes "-c FILE --json". */
static void move_up(char **argv, int first, int from, int to)
{
    for (; from < to; from++, first++) {
        char *arg = argv[from];
        memmove(argv + first + 1, argv + first, (size_t)(from - first) * sizeof(*argv));
        argv[first] = arg;
    }
}

bool conf_arguments(int argc, char **argv, enum conf_role role, conf_trial_fn trial, const char *usage,
                    const char **file, int *status)
{
    struct arguments a = {.role = role, .trial = trial, .file = CONF_DEFAULT_FILE, .at = 1};
    enum verdict v = GO_ON;
    int json = 0; /* how many "--json" stand before argv[a.at] */

    while (v == GO_ON && a.at < argc) {
        int from = a.at;
        if (role == CONF_CTL && !strcmp(argv[a.at], "--json")) {
            json++;
            a.at++;
        } else {
            v = arguments_take(&a, argc, argv);
            move_up(argv, from - json, from, a.at);
        }
    }
    if (v == USAGE) {
        fprintf(stderr, "%s: what does \"%s\" mean?\n%s", programs[role], argv[a.at], usage);
        *status = 2;
        return false;
    }
    a.json = json > 0;
    if (a.wish != RUN) {
        *status = fulfil(&a, usage) ? 0 : 1;
        return false;
    }
    *file = a.file;
    optind = a.at - json;
    return true;
}
