/* metrics: what Prometheus is told of a daemon. One table (metrics_table.c) is declaration, type, labels, help text and
 * documentation: `--print-metrics` writes conf/METRICS.md from it.
 *
 * Counting is for the hot path: each thread has cells of its own, which it alone writes, so nothing is locked and no system
 * call is made. metrics_write() sums the cells of all threads, those that have ended too: no counter goes down. A thread's cell
 * for one set of labels is made when it is first counted there.
 *
 * Values of labels come from closed sets of this program's words or from names in the configuration, never from a user, an
 * address, or anything else that a peer chooses. Where one metric gets more than METRIC_SERIES sets of values, which would be a
 * mistake of ours, the others are counted as "other".
 *
 *   metric_add(METRIC_LOGINS, 1, "ok", NULL);
 *   metric_observe(METRIC_LOGIN_DURATION, 1000 * ms, "ok", NULL); */
#ifndef IMAPFERRY_METRICS_H
#define IMAPFERRY_METRICS_H

#include "buf.h"

enum metric {
    /* both daemons */
    METRIC_BUILD,
    METRIC_CPU,
    METRIC_START,
    METRIC_LOG_LINES,
    METRIC_STORE_UP,
    METRIC_REDIS_CALLS,
    METRIC_REDIS_DURATION,
    METRIC_BACKEND_SIGNINS,
    METRIC_BACKEND_SIGNIN_DURATION,
    METRIC_BACKEND_DEAD_ADDRESSES,
    METRIC_THAWS,
    METRIC_READY,
    /* the proxy */
    METRIC_CONNECTIONS,
    METRIC_SESSIONS,
    METRIC_SESSION_ENDS,
    METRIC_SESSION_BYTES,
    METRIC_LOGINS,
    METRIC_LOGIN_DURATION,
    METRIC_BREAKERS_OPEN,
    METRIC_BREAKER_OPENINGS,
    METRIC_LOGINS_AT_ONCE,
    METRIC_SESSION_FREEZE,
    METRIC_HANDOVERS,
    METRIC_HANDOVER_DURATION,
    METRIC_LEASE_LAPSES,
    METRIC_DELIVERY_LOOKUPS,
    METRIC_DELIVERY_CLIENTS,
    METRIC_LMTP_CONNECTIONS,
    METRIC_LMTP_RECIPIENTS,
    METRIC_LMTP_HOLD,
    /* the migrator */
    METRIC_ACCOUNTS,
    METRIC_ACCOUNTS_AT,
    METRIC_PAUSED,
    METRIC_JOBS_RUNNING,
    METRIC_JOBS,
    METRIC_FREEZES,
    METRIC_FLIPS,
    METRIC_MESSAGES_COPIED,
    METRIC_BYTES_COPIED,
    METRIC_MESSAGES_VERIFIED,
    METRIC_BYTES_VERIFIED,
    METRIC_FINDINGS,
    METRIC_LATE_LOOKS,
    METRIC_LATE_ARRIVALS,
    METRIC_COUNT
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
/* Of a counter or histogram in seconds, what is counted is microseconds. */
enum metric_unit { METRIC_NUMBER, METRIC_SECONDS };
enum { METRIC_OF_PROXY = 1, METRIC_OF_MIGRATOR = 2, METRIC_OF_BOTH = 3 };

enum { METRIC_LABELS = 2, METRIC_SERIES = 128 };

struct metric_row {
    const char *name;
    enum metric_type type;
    enum metric_unit unit;
    unsigned programs;                 /* METRIC_OF_* */
    const char *labels[METRIC_LABELS]; /* NULL: there are no more */
    /* the values of the first label, NULL-terminated; each is there from the start, with 0. NULL: from elsewhere, which the
     * help text names */
    const char *const *words;
    const uint64_t *bounds; /* of a histogram: upper bounds in microseconds, ended by 0 */
    const char *help;       /* one line */
};
extern const struct metric_row metric_rows[METRIC_COUNT];

/* v1 and v2: values of the labels, in their order; NULL where there is none. Copied. From any thread. */
void metric_add(enum metric m, uint64_t n, const char *v1, const char *v2);
/* A gauge that goes up and down; each thread may add what another one has taken away. */
void metric_change(enum metric m, int64_t n, const char *v1, const char *v2);
/* A gauge whose value this thread alone tells. */
void metric_set(enum metric m, uint64_t n, const char *v1, const char *v2);
/* A histogram: one event that took so many microseconds. */
void metric_observe(enum metric m, uint64_t us, const char *v1, const char *v2);

/* What this thread counts often: found once. Never freed. */
struct metric_series;
struct metric_series *metric_series(enum metric m, const char *v1, const char *v2);
void metric_series_add(struct metric_series *s, uint64_t n);

/* A gauge that has other sets of values from now on (accounts by backend): what this thread had told is forgotten. */
void metric_clear(enum metric m);

/* Appends all metrics of a program, in Prometheus' text format 0.0.4. program: METRIC_OF_PROXY or _MIGRATOR. */
void metrics_write(struct buf *out, unsigned program);
/* Appends the table as a page for people, in Markdown. */
void metrics_describe(struct buf *out);

/* The sums of all threads of one set of values; 0 where nothing was counted. For tests. */
uint64_t metric_sum(enum metric m, const char *v1, const char *v2);

#endif
