#include <inttypes.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "ctl_plan.h"
#include "ctl_print.h"
#include "ctl_report.h"
#include "ctl_screen.h"
#include "ctl_site.h"
#include "ctl_table.h"
#include "planning.h"

struct ctl_planner {
    struct ctl_site site;
    const char *login;
    struct planning *planning;
    json_t *data; /* owned; NULL: there is no answer yet */
};

/* ---- for people */

/* To free. */
static char *ctl_plan_size(uint64_t bytes)
{
    struct buf text = {0};

    ctl_write_bytes(&text, bytes);
    char *s = xstrdup(buf_str(&text));
    buf_free(&text);
    return s;
}

static void ctl_plan_add_row(struct table *t, const json_t *box)
{
    const char *from = ctl_text_of(box, "mailbox"), *to = ctl_text_of(box, "target"),
               *why = ctl_text_of(box, "tier_why");
    bool other = strcmp(from, to) != 0, created = json_is_true(json_object_get(box, "create")),
         less = json_array_size(json_object_get(box, "leave_out")) > 0;

    table_add(t, (char *[]){xasprintf("  %s%s%s%s", from, other ? " -> " : "", other ? to : "",
                                      created ? " (new)" : ""),
                            xasprintf("%" PRIu64 " messages", ctl_number_of(box, "messages")),
                            ctl_plan_size(ctl_number_of(box, "bytes")),
                            xasprintf("%s%s%s%s%s", ctl_text_of(box, "tier"), *why ? " (" : "", why,
                                      *why ? ")" : "", less ? ", but for what leave_out says" : "")});
}

static void ctl_plan_write_mailboxes(struct buf *out, const json_t *data)
{
    struct table t = {.n_columns = 4, .right = {false, true, true}};
    json_t *boxes = json_object_get(data, "mailboxes"), *box;
    uint64_t bytes = 0, messages = 0;
    size_t i;

    buf_printf(out, "%s moves from %s to %s\n\n", ctl_text_of(data, "user"), ctl_text_of(data, "source"),
               ctl_text_of(data, "target"));
    json_array_foreach(boxes, i, box)
    {
        ctl_plan_add_row(&t, box);
        bytes += ctl_number_of(box, "bytes");
        messages += ctl_number_of(box, "messages");
    }
    table_write(&t, out, NULL);
    char *size = ctl_plan_size(bytes);
    buf_printf(out, "\n%zu mailboxes, %" PRIu64 " messages, %s\n", json_array_size(boxes), messages, size);
    free(size);
}

static void ctl_plan_write_findings(struct buf *out, json_t *findings, bool blocks)
{
    bool first = true;
    size_t i;
    json_t *f;

    json_array_foreach(findings, i, f)
    {
        const char *box = ctl_text_of(f, "mailbox");
        if (json_is_true(json_object_get(f, "blocks")) != blocks)
            continue;
        if (first)
            buf_printf(out, "\n%s\n", blocks ? "what would stop it:" : "what stays behind or differs:");
        first = false;
        buf_printf(out, "  %s%s%s: %s%s%s%s\n", blocks ? STYLE_RED : "", ctl_text_of(f, "kind"),
                   blocks ? STYLE_OFF : "", *box ? "\"" : "", box, *box ? "\": " : "",
                   ctl_text_of(f, "detail"));
    }
}

/* Names and answers of servers are shown as text, whatever they hold. */
static void ctl_plan_print(json_t *data)
{
    struct buf out = {0};
    json_t *shown = ctl_one_line_each(data), *findings = json_object_get(shown, "findings");
    const json_t *uidls = json_object_get(shown, "uidls");

    ctl_plan_write_mailboxes(&out, shown);
    if (uidls)
        buf_printf(&out, "\nUIDLs of POP3: %s\n", ctl_text_of(uidls, "text"));
    ctl_write_shares(&out, json_object_get(shown, "shares"));
    ctl_plan_write_findings(&out, findings, false);
    ctl_plan_write_findings(&out, findings, true);
    buf_printf(&out, "\n%s\n",
               json_is_true(json_object_get(data, "blocked"))
                   ? "The account would be blocked until that is put right or waived."
                   : "Nothing that is known now would stop it.");
    screen_print(&out);
    buf_free(&out);
    json_decref(shown);
}

/* ---- the look */

static void ctl_plan_on_planned(void *owner, enum action_rc rc, json_t *data)
{
    struct ctl_planner *p = owner;

    p->planning = NULL;
    p->site.rc = rc;
    p->data = json_incref(data);
    loop_stop(p->site.m.loop);
}

static void ctl_plan_begin(void *owner)
{
    struct ctl_planner *p = owner;

    p->planning = planning_start(&p->site.m, p->login, ctl_plan_on_planned, p);
}

static void ctl_plan_end(void *owner)
{
    struct ctl_planner *p = owner;

    planning_cancel(&p->planning);
}

/* Nobody has to be asked whether this is an account at all. NULL: it is; else why not, to free. */
static char *ctl_plan_fault(const struct conf *conf, const char *login)
{
    const char *why = "";
    char *key = account_key(conf, span_str(login), &why),
         *fault = key ? NULL : xasprintf("%s: %s", login, why);

    free(key);
    return fault;
}

int ctl_plan(const struct conf *conf, const char *login, bool json)
{
    struct ctl_planner p = {.login = login};
    char *fault = ctl_plan_fault(conf, login);

    p.site = (struct ctl_site){.conf = conf, .begin = ctl_plan_begin, .end = ctl_plan_end, .owner = &p};
    if (fault) {
        p.site.rc = ACTION_USAGE;
        p.site.error = fault;
    } else {
        ctl_site_run(&p.site);
    }
    const char *error = p.site.error ? p.site.error : ctl_text_of(p.data, "error");
    if (*error)
        ctl_print_error(json, error, NULL);
    else if (json)
        ctl_print_json(p.data);
    else
        ctl_plan_print(p.data);
    free(p.site.error);
    json_decref(p.data);
    return (int)p.site.rc;
}
