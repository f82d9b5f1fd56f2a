/* What the route*.c files share: putting arguments together, running a script, and reading its answer. */
#ifndef IMAPFERRY_ROUTE_PRIV_H
#define IMAPFERRY_ROUTE_PRIV_H

#include "route.h"

/* Arguments of a script; {0} has none. Texts are borrowed until the script was sent, numbers are kept
 * here. */
struct args {
    struct span *v; /* owned */
    size_t n, cap;
    char numbers[12][24];
    size_t n_numbers;
};
void args_span(struct args *a, struct span s);
/* NULL is "". */
void args_text(struct args *a, const char *text);
void args_number(struct args *a, uint64_t n);
void args_bool(struct args *a, bool b);
/* Adds user, token and epoch. */
void args_job(struct args *a, const struct route_job *j);

/* The word that an answer begins with, as a result; "ok" is ROUTE_OK. */
enum route_rc route_status(struct store *s, enum redis_rc rc, const struct reply *r);
/* Runs a script that answers a status and a detail. Frees the arguments. */
void route_run(struct store *s, const char *name, struct args *a, route_done_fn fn, void *owner);
/* Runs a script that answers a route. Frees the arguments. */
void route_run_read(struct store *s, const char *name, struct args *a, const char *user, route_read_fn fn,
                    void *owner);
/* Runs a script that answers rows. Frees the arguments. */
void route_run_rows(struct store *s, const char *name, struct args *a, route_rows_fn fn, void *owner);
/* The backend on which this account lives while it has no record. */
const char *route_home(const struct store *s, const char *user);
/* The backends that are retired by the configuration, each with a blank before and behind it. Appends. */
void route_write_retired(const struct conf *c, struct buf *out);

#endif
