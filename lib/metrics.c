/* A thread's series of one metric are a list that only grows, at its head: who reads it from another thread sees a series only
 * once it is whole. Cells are written by one thread, so a load and a store are enough, and no bus is locked. */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "metrics.h"
#include "xalloc.h"

struct metric_series {
    struct metric_series *next;  /* set before it is seen */
    char *values[METRIC_LABELS]; /* owned; NULL: no such label */
    size_t n_cells;              /* one; of a histogram: one a bucket, the last for +Inf, then the sum */
    _Atomic uint64_t cells[];
};

struct metric_thread {
    struct metric_thread *next;
    _Atomic(struct metric_series *) series[METRIC_COUNT];
    size_t n[METRIC_COUNT];
};

static struct metric_thread *metric_threads; /* of the whole life of the process */
static pthread_mutex_t metric_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local struct metric_thread *metric_mine;
static time_t metric_began; /* when the first thread counted first, which a start does */

/* ---- counting ---- */

static struct metric_thread *metric_thread(void)
{
    struct metric_thread *t = metric_mine;

    if (t)
        return t;
    t = metric_mine = xcalloc(1, sizeof *t);
    pthread_mutex_lock(&metric_lock);
    if (!metric_threads)
        metric_began = time(NULL);
    t->next = metric_threads;
    metric_threads = t;
    pthread_mutex_unlock(&metric_lock);
    return t;
}

static size_t metric_cells(const struct metric_row *row)
{
    size_t n = 0;

    if (row->type != METRIC_HISTOGRAM)
        return 1;
    while (row->bounds[n])
        n++;
    return n + 2;
}

static struct metric_series *metric_series_new(enum metric m, const char *v1, const char *v2)
{
    const struct metric_row *row = &metric_rows[m];
    size_t n = metric_cells(row);
    struct metric_series *s = xcalloc(1, sizeof *s + n * sizeof s->cells[0]);

    assert(!v1 == !row->labels[0] && !v2 == !row->labels[1]);
    s->values[0] = xstrdup(v1);
    s->values[1] = xstrdup(v2);
    s->n_cells = n;
    return s;
}

static bool metric_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct metric_series *metric_find(struct metric_series *s, const char *v1, const char *v2)
{
    while (s && !(metric_same(s->values[0], v1) && metric_same(s->values[1], v2)))
        s = s->next;
    return s;
}

struct metric_series *metric_series(enum metric m, const char *v1, const char *v2)
{
    struct metric_thread *t = metric_thread();
    struct metric_series *first = atomic_load_explicit(&t->series[m], memory_order_relaxed);
    struct metric_series *s = metric_find(first, v1, v2);

    if (!s && t->n[m] >= METRIC_SERIES - 1) {
        v1 = v1 ? "other" : NULL;
        v2 = v2 ? "other" : NULL;
        s = metric_find(first, v1, v2);
    }
    if (s)
        return s;
    s = metric_series_new(m, v1, v2);
    s->next = first;
    t->n[m]++;
    atomic_store_explicit(&t->series[m], s, memory_order_release);
    return s;
}

static void metric_cell_set(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_store_explicit(cell, n, memory_order_relaxed);
}

static uint64_t metric_cell(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

void metric_series_add(struct metric_series *s, uint64_t n)
{
    metric_cell_set(&s->cells[0], metric_cell(&s->cells[0]) + n);
}

void metric_add(enum metric m, uint64_t n, const char *v1, const char *v2)
{
    metric_series_add(metric_series(m, v1, v2), n);
}

void metric_change(enum metric m, int64_t n, const char *v1, const char *v2)
{
    metric_series_add(metric_series(m, v1, v2),
                      (uint64_t)n); /* modulo 2^64: the sum of all threads is right */
}

void metric_set(enum metric m, uint64_t n, const char *v1, const char *v2)
{
    metric_cell_set(&metric_series(m, v1, v2)->cells[0], n);
}

void metric_observe(enum metric m, uint64_t us, const char *v1, const char *v2)
{
    struct metric_series *s = metric_series(m, v1, v2);
    const uint64_t *bounds = metric_rows[m].bounds;
    size_t i = 0;

    while (bounds[i] && us > bounds[i])
        i++;
    metric_cell_set(&s->cells[i], metric_cell(&s->cells[i]) + 1);
    metric_cell_set(&s->cells[s->n_cells - 1], metric_cell(&s->cells[s->n_cells - 1]) + us);
}

void metric_clear(enum metric m)
{
    struct metric_series *s = atomic_load_explicit(&metric_thread()->series[m], memory_order_relaxed);

    for (; s; s = s->next)
        metric_cell_set(&s->cells[0], 0);
}

/* ---- summing ---- */

/* Series of all threads by their values; of METRIC_SERIES for each thread at most, so a list will do. */
struct metric_total {
    const char *values[METRIC_LABELS]; /* borrowed */
    uint64_t *cells;                   /* owned */
};

struct metric_totals {
    struct metric_total *rows; /* owned */
    size_t n, n_cells;
};

static struct metric_total *metric_total(struct metric_totals *t, const char *v1, const char *v2)
{
    for (size_t i = 0; i < t->n; i++)
        if (metric_same(t->rows[i].values[0], v1) && metric_same(t->rows[i].values[1], v2))
            return &t->rows[i];
    t->rows = xreallocarray(t->rows, t->n + 1, sizeof *t->rows);
    t->rows[t->n] = (struct metric_total){{v1, v2}, xcalloc(t->n_cells, sizeof(uint64_t))};
    return &t->rows[t->n++];
}

static void metric_sum_thread(struct metric_totals *t, const struct metric_thread *thread, enum metric m)
{
    const struct metric_series *s = atomic_load_explicit(&thread->series[m], memory_order_acquire);

    for (; s; s = s->next) {
        struct metric_total *total = metric_total(t, s->values[0], s->values[1]);
        for (size_t i = 0; i < t->n_cells; i++)
            total->cells[i] += metric_cell(&s->cells[i]);
    }
}

static int metric_compare(const void *a, const void *b)
{
    const struct metric_total *x = a, *y = b;
    int order = strcmp(x->values[0] ? x->values[0] : "", y->values[0] ? y->values[0] : "");

    return order ? order : strcmp(x->values[1] ? x->values[1] : "", y->values[1] ? y->values[1] : "");
}

static struct metric_totals metric_totals(enum metric m)
{
    const struct metric_row *row = &metric_rows[m];
    struct metric_totals t = {.n_cells = metric_cells(row)};

    if (!row->labels[0])
        metric_total(&t, NULL, NULL);
    for (size_t i = 0; row->words && !row->labels[1] && row->words[i]; i++)
        metric_total(&t, row->words[i], NULL);
    pthread_mutex_lock(&metric_lock);
    const struct metric_thread *thread = metric_threads;
    pthread_mutex_unlock(&metric_lock);
    for (; thread; thread = thread->next)
        metric_sum_thread(&t, thread, m);
    if (t.n > 1)
        qsort(t.rows, t.n, sizeof *t.rows, metric_compare);
    return t;
}

static void metric_totals_free(struct metric_totals *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->rows[i].cells);
    free(t->rows);
}

uint64_t metric_sum(enum metric m, const char *v1, const char *v2)
{
    struct metric_totals t = metric_totals(m);
    uint64_t sum = 0;

    for (size_t i = 0; i < t.n; i++)
        for (size_t k = 0; metric_same(t.rows[i].values[0], v1) && metric_same(t.rows[i].values[1], v2) &&
                           k < (t.n_cells > 1 ? t.n_cells - 1 : 1);
             k++)
            sum += t.rows[i].cells[k];
    metric_totals_free(&t);
    return sum;
}

/* ---- the text ---- */

static const char *const metric_types[] = {"counter", "gauge", "histogram"};

static void metric_write_label(struct buf *out, const char *name, const char *value, bool first)
{
    buf_printf(out, "%s%s=\"", first ? "" : ",", name);
    for (; *value; value++)
        if (*value == '\n')
            buf_add_str(out, "\\n");
        else
            buf_printf(out, "%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
    buf_add_str(out, "\"");
}

/* le: of a bucket; NULL: none. */
static void metric_write_labels(struct buf *out, const struct metric_row *row, const struct metric_total *t,
                                const char *le)
{
    size_t n = 0;

    if (!row->labels[0] && !le)
        return;
    buf_add_str(out, "{");
    for (; n < METRIC_LABELS && row->labels[n]; n++)
        metric_write_label(out, row->labels[n], t->values[n], n == 0);
    if (le)
        metric_write_label(out, "le", le, n == 0);
    buf_add_str(out, "}");
}

/* Microseconds as seconds, without a zero at the end that says nothing. */
static void metric_write_seconds(struct buf *out, uint64_t us)
{
    unsigned part = (unsigned)(us % 1000000), digits = 6;

    buf_printf(out, "%" PRIu64, us / 1000000);
    if (part == 0)
        return;
    for (; part % 10 == 0; part /= 10)
        digits--;
    buf_printf(out, ".%0*u", (int)digits, part);
}

static void metric_write_value(struct buf *out, const struct metric_row *row, uint64_t n)
{
    if (row->unit == METRIC_SECONDS)
        metric_write_seconds(out, n);
    else if (row->type == METRIC_GAUGE)
        buf_printf(out, "%" PRId64, (int64_t)n);
    else
        buf_printf(out, "%" PRIu64, n);
    buf_add_str(out, "\n");
}

static void metric_write_buckets(struct buf *out, const struct metric_row *row, const struct metric_total *t)
{
    struct buf le = {0};
    uint64_t so_far = 0;
    size_t i = 0;

    for (bool last = false; !last; i++) {
        last = row->bounds[i] == 0;
        so_far += t->cells[i];
        buf_clear(&le);
        if (last)
            buf_add_str(&le, "+Inf");
        else
            metric_write_seconds(&le, row->bounds[i]);
        buf_printf(out, "%s_bucket", row->name);
        metric_write_labels(out, row, t, buf_str(&le));
        buf_printf(out, " %" PRIu64 "\n", so_far);
    }
    buf_printf(out, "%s_sum", row->name);
    metric_write_labels(out, row, t, NULL);
    buf_add_str(out, " ");
    metric_write_value(out, row, t->cells[i]);
    buf_printf(out, "%s_count", row->name);
    metric_write_labels(out, row, t, NULL);
    buf_printf(out, " %" PRIu64 "\n", so_far);
    buf_free(&le);
}

static void metric_write(struct buf *out, enum metric m)
{
    const struct metric_row *row = &metric_rows[m];
    struct metric_totals t = metric_totals(m);

    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, metric_types[row->type]);
    for (size_t i = 0; i < t.n; i++)
        if (row->type == METRIC_HISTOGRAM) {
            metric_write_buckets(out, row, &t.rows[i]);
        } else {
            buf_add_str(out, row->name);
            metric_write_labels(out, row, &t.rows[i], NULL);
            buf_add_str(out, " ");
            metric_write_value(out, row, t.rows[i].cells[0]);
        }
    metric_totals_free(&t);
}

/* What is not counted as it happens. */
static void metric_note_process(void)
{
    struct rusage r;

    if (getrusage(RUSAGE_SELF, &r) == 0)
        metric_set(METRIC_CPU,
                   (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 +
                       (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec),
                   NULL, NULL);
    metric_set(METRIC_START, (uint64_t)metric_began * 1000000, NULL, NULL);
    metric_set(METRIC_BUILD, 1, IMAPFERRY_VERSION, NULL);
}

void metrics_write(struct buf *out, unsigned program)
{
    metric_note_process();
    for (int m = 0; m < METRIC_COUNT; m++)
        if (metric_rows[m].programs & program)
            metric_write(out, (enum metric)m);
}

/* ---- the page ---- */

static void metric_describe(struct buf *out, const struct metric_row *row)
{
    buf_printf(out, "| `%s` | %s |", row->name, metric_types[row->type]);
    for (size_t i = 0; i < METRIC_LABELS && row->labels[i]; i++)
        buf_printf(out, "%s `%s`", i ? "," : "", row->labels[i]);
    for (size_t i = 0; row->words && row->words[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : ": ", row->words[i]);
    buf_printf(out, " | %s |\n", row->help);
}

void metrics_describe(struct buf *out)
{
    static const struct {
        unsigned programs;
        const char *title;
    } parts[] = {{METRIC_OF_BOTH, "Of both daemons"},
                 {METRIC_OF_PROXY, "Of imapferry-proxy"},
                 {METRIC_OF_MIGRATOR, "Of imapferry-migrator"}};

    buf_add_str(
        out,
        "# Metrics\n\nWritten by `imapferry-proxy --print-metrics`, from the table in lib/metrics_table.c.\n");
    for (size_t p = 0; p < COUNTOF(parts); p++) {
        buf_printf(out, "\n## %s\n\n| metric | type | labels | what it is |\n|---|---|---|---|\n",
                   parts[p].title);
        for (int m = 0; m < METRIC_COUNT; m++)
            if (metric_rows[m].programs == parts[p].programs)
                metric_describe(out, &metric_rows[m]);
    }
}
