#include <fcntl.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "unit.h"

/* Standard error goes into a pipe while fn logs; the lines, to free. */
static char *logged(void (*fn)(void))
{
    int ends[2], kept = dup(STDERR_FILENO);
    char *text = xcalloc(1, 8192);

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(stderr);
    dup2(ends[1], STDERR_FILENO);
    fn();
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t n = read(ends[0], text, 8191);
    assert_true(n > 0);
    close(ends[0]);
    return text;
}

static void one(void)
{
    LOG(INFO, "login", LOG_S("user", "ann"), LOG_U("port", 143), LOG_I("skew", -2), LOG_S("none", NULL),
        LOG_SET("left_out", ""), LOG_S("empty", ""));
}

static void hostile(void)
{
    LOG(WARN, "odd", LOG_S("user", "a\" \\\n\x01\x7f=b"),
        LOG_S("utf8", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xac"),
        LOG_S("broken", "\xff \xc3 \xed\xa0\x80 \xc0\xaf end"));
}

static void longer(void)
{
    char text[1000];
    memset(text, 'x', sizeof text);
    text[511] = '\xc3'; /* the cut goes through a character */
    text[512] = '\xbc';
    LOG(INFO, "long", LOG_SPAN("text", span_of(text, sizeof text)));
}

/* Behind the time, which is another at each run. */
static void expect(void (*fn)(void), const char *begins, const char *rest)
{
    char *line = logged(fn);
    size_t at = strlen(begins) + strlen("2026-01-31T10:00:00.123Z");
    assert_memory_equal(line, begins, strlen(begins));
    assert_string_equal(line + at, rest);
    free(line);
}

static void test_text(void **state)
{
    (void)state;
    log_set_format(LOG_FORMAT_TEXT);
    expect(one, "ts=", " level=info event=login user=ann port=143 skew=-2 none=- empty=\"\"\n");
    expect(
        hostile, "ts=",
        " level=warn event=odd user=\"a\\\" \\\\\\x0a\\x01\\x7f=b\" utf8=\"gr\\xc3\\xbc\\xc3\\x9f \\xf0\\x9f\\x93\\xac\" "
        "broken=\"\\xff \\xc3 \\xed\\xa0\\x80 \\xc0\\xaf end\"\n");
}

#define NOT_A_CHARACTER "\xef\xbf\xbd"

static void test_json(void **state)
{
    (void)state;
    log_set_format(LOG_FORMAT_JSON);
    expect(
        one, "{\"ts\":\"",
        "\",\"level\":\"info\",\"event\":\"login\",\"user\":\"ann\",\"port\":143,\"skew\":-2,\"none\":null,\"empty\":\"\"}\n");
    expect(
        hostile, "{\"ts\":\"",
        "\",\"level\":\"warn\",\"event\":\"odd\",\"user\":\"a\\\" \\\\\\u000a\\u0001\\u007f=b\",\"utf8\":\"gr\xc3\xbc\xc3\x9f "
        "\xf0\x9f\x93\xac\",\"broken\":\"" NOT_A_CHARACTER " " NOT_A_CHARACTER
        " " NOT_A_CHARACTER NOT_A_CHARACTER NOT_A_CHARACTER " " NOT_A_CHARACTER NOT_A_CHARACTER " end\"}\n");
    char *line = logged(longer);
    assert_non_null(strstr(line, "x" NOT_A_CHARACTER "\"}\n"));
    free(line);
    log_set_format(LOG_FORMAT_TEXT);
}

static void test_lines_are_counted(void **state)
{
    (void)state;
    uint64_t before = metric_sum(METRIC_LOG_LINES, "warn", NULL);
    free(logged(hostile));
    assert_int_equal(metric_sum(METRIC_LOG_LINES, "warn", NULL), before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_lines_are_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
