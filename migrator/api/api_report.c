/* What a report of many accounts leaves behind in memory until the next look: its numbers, and its lines of CSV. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "migrator/admin/ctl_screen.h"
#include "migrator/admin/ctl_summary.h"
#include "migrator/admin/ctl_text.h"

#include "api_priv.h"

struct api_report {
    FILE *out;      /* NULL: no more lines come */
    struct buf csv; /* empty once it is whole */
    bool too_large;
    struct http_blob *lines; /* owned; NULL: not whole yet, or too large */
    json_t *data;            /* owned; NULL: not made yet */
};

static ssize_t api_report_write(void *owner, const char *bytes, size_t n)
{
    struct api_report *p = owner;

    p->too_large = p->too_large || p->csv.len + n > API_CSV_MAX;
    if (p->too_large)
        buf_free(&p->csv);
    else
        buf_add(&p->csv, bytes, n);
    return (ssize_t)n;
}

struct api_report *api_report_new(FILE **_out)
{
    struct api_report *p = xcalloc(1, sizeof(*p));

    p->out = fopencookie(p, "w", (cookie_io_functions_t){.write = api_report_write});
    *_out = p->out;
    return p;
}

void api_report_finish(struct api_report *p, json_t *data)
{
    fclose(p->out);
    p->out = NULL;
    p->data = json_incref(data);
    p->lines = p->too_large ? NULL : http_blob_new(&p->csv);
}

json_t *api_report_json(const struct api_report *p)
{
    json_t *o = json_copy(p->data);

    json_object_set_new(o, "csv",
                        p->lines ? json_integer((json_int_t)http_blob_size(p->lines)) : json_null());
    return o;
}

void api_report_free(struct api_report **pp)
{
    struct api_report *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    if (p->out)
        fclose(p->out);
    buf_free(&p->csv);
    http_blob_drop(&p->lines);
    json_decref(p->data);
    free(p);
}

/* ---- taking it away */

/* As `report` prints it where no terminal is. */
static void api_report_write_text(struct buf *out, json_t *data)
{
    json_t *shown = ctl_one_line_each(data);
    struct buf styled = {0};

    ctl_write_summary(&styled, shown);
    screen_render(out, buf_span(&styled), false);
    buf_free(&styled);
    json_decref(shown);
}

static void api_report_name_file(struct http_request *r, const char *ending)
{
    char *value = xasprintf("attachment; filename=\"imapferry-report.%s\"", ending);

    http_add_header(r, "Content-Disposition", value);
    http_add_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    http_add_header(r, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    free(value);
}

static void api_report_give_text(struct http_request *r, json_t *data)
{
    struct buf out = {0};

    api_report_write_text(&out, data);
    api_report_name_file(r, "txt");
    http_answer(r, 200, "text/plain; charset=utf-8", buf_span(&out));
    buf_free(&out);
}

static void api_report_give_json(struct http_request *r, const json_t *data)
{
    char *text = json_dumps(data, JSON_INDENT(1) | JSON_PRESERVE_ORDER);

    api_report_name_file(r, "json");
    http_answer(r, 200, "application/json", span_str(text ? text : "{}"));
    free(text);
}

void api_report_give(struct http_request *r, const struct api_report *p, const char *format)
{
    if (!strcmp(format, "text")) {
        api_report_give_text(r, p->data);
    } else if (!strcmp(format, "json")) {
        api_report_give_json(r, p->data);
    } else if (p->lines) {
        api_report_name_file(r, "csv");
        http_answer_blob(r, 200, "text/csv; charset=utf-8", p->lines);
    } else {
        api_refuse(
            r, 409,
            "a line for each of these accounts is more than %d MiB: ask for a domain or a rule, or take them by "
            "\"imapferryctl report --format csv\"",
            API_CSV_MAX >> 20);
    }
}
