#include <pthread.h>

#include "lib/metrics.h"
#include "unit.h"

static const char *text(struct buf *b, unsigned program)
{
    buf_clear(b);
    metrics_write(b, program);
    return buf_str(b);
}

static void has(const char *all, const char *line)
{
    size_t n = strlen(line);
    for (const char *at = all; (at = strstr(at, line)); at += n)
        if ((at == all || at[-1] == '\n') && (at[n] == '\n' || at[n] == '\0'))
            return;
    fail_msg("no line \"%s\" in:\n%s", line, all);
}

static void hasnot(const char *all, const char *part)
{
    if (strstr(all, part))
        fail_msg("\"%s\" in:\n%s", part, all);
}

static void test_counter(void **state)
{
    struct buf b = {0};
    (void)state;
    has(text(&b, METRIC_OF_PROXY), "imapferry_logins_total{result=\"ok\"} 0");
    metric_add(METRIC_LOGINS, 2, "ok", NULL);
    metric_add(METRIC_LOGINS, 1, "ok", NULL);
    has(text(&b, METRIC_OF_PROXY), "imapferry_logins_total{result=\"ok\"} 3");
    has(buf_str(&b), "# TYPE imapferry_logins_total counter");
    has(buf_str(&b), "imapferry_connections_total 0");
    hasnot(text(&b, METRIC_OF_MIGRATOR), "imapferry_logins_total");
    has(buf_str(&b), "imapferry_messages_copied_total 0");
    buf_free(&b);
}

static void *count_in_thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        metric_add(METRIC_CONNECTIONS, 1, NULL, NULL);
        metric_change(METRIC_JOBS_RUNNING, i % 2 ? 1 : -1, "copy", NULL);
    }
    metric_change(METRIC_JOBS_RUNNING, -3, "copy", NULL);
    return NULL;
}

/* What threads counted stays when they have ended; a gauge may go down in another thread than where it went up. */
static void test_threads(void **state)
{
    pthread_t threads[4];
    struct buf b = {0};
    (void)state;
    metric_change(METRIC_JOBS_RUNNING, 13, "copy", NULL);
    for (size_t i = 0; i < COUNTOF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_in_thread, NULL), 0);
    text(&b, METRIC_OF_BOTH); /* beside them */
    for (size_t i = 0; i < COUNTOF(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_sum(METRIC_CONNECTIONS, NULL, NULL), 4000);
    has(text(&b, METRIC_OF_MIGRATOR), "imapferry_jobs_running{state=\"copy\"} 1");
    metric_change(METRIC_JOBS_RUNNING, -2, "copy", NULL);
    has(text(&b, METRIC_OF_MIGRATOR), "imapferry_jobs_running{state=\"copy\"} -1");
    buf_free(&b);
}

static void test_histogram(void **state)
{
    struct buf b = {0};
    (void)state;
    metric_observe(METRIC_REDIS_DURATION, 250, NULL, NULL); /* a bound is in its bucket */
    metric_observe(METRIC_REDIS_DURATION, 251, NULL, NULL);
    metric_observe(METRIC_REDIS_DURATION, 99 * 1000 * 1000, NULL, NULL);
    text(&b, METRIC_OF_PROXY);
    has(buf_str(&b), "imapferry_redis_call_duration_seconds_bucket{le=\"0.00025\"} 1");
    has(buf_str(&b), "imapferry_redis_call_duration_seconds_bucket{le=\"0.0005\"} 2");
    has(buf_str(&b), "imapferry_redis_call_duration_seconds_bucket{le=\"5\"} 2");
    has(buf_str(&b), "imapferry_redis_call_duration_seconds_bucket{le=\"+Inf\"} 3");
    has(buf_str(&b), "imapferry_redis_call_duration_seconds_sum 99.000501");
    has(buf_str(&b), "imapferry_redis_call_duration_seconds_count 3");
    assert_int_equal(metric_sum(METRIC_REDIS_DURATION, NULL, NULL), 3);
    metric_observe(METRIC_LOGIN_DURATION, 5000, "ok", NULL);
    has(text(&b, METRIC_OF_PROXY), "imapferry_login_duration_seconds_bucket{result=\"ok\",le=\"0.005\"} 1");
    buf_free(&b);
}

static void test_values_are_escaped(void **state)
{
    struct buf b = {0};
    (void)state;
    metric_add(METRIC_FLIPS, 1, "a\"b\\c\nd", "new");
    has(text(&b, METRIC_OF_MIGRATOR), "imapferry_flips_total{source=\"a\\\"b\\\\c\\nd\",target=\"new\"} 1");
    buf_free(&b);
}

/* A mistake of ours must not fill the memory of Prometheus. */
static void test_too_many_values(void **state)
{
    struct buf b = {0};
    char value[16];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(value, sizeof value, "v%d", i);
        metric_add(METRIC_SESSION_ENDS, 1, value, NULL);
    }
    has(text(&b, METRIC_OF_PROXY), "imapferry_sessions_ended_total{why=\"v126\"} 1");
    hasnot(buf_str(&b), "why=\"v127\"");
    has(buf_str(&b), "imapferry_sessions_ended_total{why=\"other\"} 873");
    buf_free(&b);
}

static void test_cleared(void **state)
{
    (void)state;
    metric_set(METRIC_ACCOUNTS_AT, 7, "old", NULL);
    assert_int_equal(metric_sum(METRIC_ACCOUNTS_AT, "old", NULL), 7);
    metric_clear(METRIC_ACCOUNTS_AT);
    assert_int_equal(metric_sum(METRIC_ACCOUNTS_AT, "old", NULL), 0);
}

/* Each row is whole, and each name is there once. */
static void test_table(void **state)
{
    (void)state;
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = &metric_rows[m];
        assert_non_null(row->name);
        assert_true(row->programs > 0 && row->help && *row->help && !strchr(row->help, '\n') &&
                    !strchr(row->help, '|'));
        assert_int_equal(row->type == METRIC_HISTOGRAM, row->bounds != NULL);
        for (size_t i = 0; row->bounds && row->bounds[i] && row->bounds[i + 1]; i++)
            assert_true(row->bounds[i] < row->bounds[i + 1]);
        for (size_t k = 0; k < m; k++)
            assert_string_not_equal(row->name, metric_rows[k].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter),         cmocka_unit_test(test_threads),
        cmocka_unit_test(test_histogram),       cmocka_unit_test(test_values_are_escaped),
        cmocka_unit_test(test_too_many_values), cmocka_unit_test(test_cleared),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
