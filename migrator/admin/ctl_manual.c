#include <stdio.h>
#include <stdlib.h>

#include "lib/conf.h"
#include "lib/manual.h"
#include "lib/xalloc.h"

#include "migrator/found/finding.h"

#include "ctl_manual.h"
#include "ctl_verbs.h"

static void ctl_manual_forms(struct buf *out, const struct ctl_verb *v)
{
    for (size_t k = 0; k < CTL_FORMS_MAX && v->forms[k].args; k++) {
        struct buf text = {0};
        buf_printf(&text, "%c%s.", v->forms[k].does[0] - (v->forms[k].does[0] >= 'a' ? 'a' - 'A' : 0),
                   v->forms[k].does + 1);
        manual_item(out, v->name, v->forms[k].args, buf_str(&text));
        buf_free(&text);
    }
}

static void ctl_manual_options(struct buf *out, const struct ctl_verb *v)
{
    struct buf text = {0};

    for (size_t i = 0; i < n_ctl_flags; i++) {
        const struct ctl_flag *f = &ctl_flags[i];
        if (f->option != WITH_JSON && ctl_verb_takes(v, f))
            buf_printf(&text, "%s%s%s%s: %s", text.len ? "; " : "", f->name, f->value_name ? " " : "",
                       f->value_name ? f->value_name : "", f->text);
    }
    if (text.len) {
        buf_add_str(&text, ".");
        manual_item_more(out, buf_str(&text));
    }
    buf_free(&text);
}

static void ctl_manual_verb(struct buf *out, const struct ctl_verb *v)
{
    struct buf text = {0};

    ctl_manual_forms(out, v);
    if (*v->more)
        manual_item_more(out, v->more);
    ctl_manual_options(out, v);
    if (v->changes)
        buf_printf(&text, "Changes: %s", v->changes);
    if (v->refused)
        buf_printf(&text, "%sRefused (exit status 4) where %s.", text.len ? " " : "", v->refused);
    if (text.len)
        manual_item_more(out, buf_str(&text));
    buf_free(&text);
}

static void ctl_manual_kinds(struct buf *out)
{
    manual_section(out, "WHAT CAN BE WAIVED");
    manual_paragraph(
        out,
        "Each message that can't be copied, or is not the same on the new server, is a finding, and blocks "
        "the account. waive takes MAILBOX:UID for whatever is found of one message, MAILBOX:KIND for all of a "
        "kind in one mailbox, and KIND for all of it in the account. Of these, KIND is one of");
    for (size_t i = 0; i < FINDING_KINDS; i++) {
        enum finding_kind k = (enum finding_kind)i;
        if (!finding_is_waivable_in_one(k))
            continue;
        char *text = xasprintf("%s%s.", finding_text(k),
                               finding_is_waivable(k) ? "" : "; only in one mailbox, or of one message");
        manual_item(out, finding_word(k), "", text);
        free(text);
    }
}

static void ctl_manual_statuses(struct buf *out)
{
    manual_section(out, "EXIT STATUS");
    for (size_t i = 0; i < n_ctl_statuses; i++) {
        char *rc = xasprintf("%d", ctl_statuses[i].rc), *text = xasprintf("%s.", ctl_statuses[i].text);
        manual_item(out, rc, "", text);
        free(rc);
        free(text);
    }
}

static void ctl_manual_ctl(struct buf *out)
{
    manual_begin(out, "imapferryctl", 8, "shows a migration of mail accounts, and steps in");
    manual_section(out, "SYNOPSIS");
    manual_synopsis(out, "imapferryctl", "[-c FILE] [--json] VERB ...");
    manual_section(out, "DESCRIPTION");
    manual_paragraph(
        out, "What staff type: looks at accounts and at the whole migration, queues accounts, holds them, "
             "sends them back. It needs the configuration and Redis; plan, check and flip with force sign "
             "in at the servers by themselves. What it changes is done once the replicas of Redis have it, "
             "and who did it and why stands in the audit.");
    manual_paragraph(out, "NAME is an account, as its user types it at login or as it is shown here.");
    manual_section(out, "OPTIONS");
    conf_print_manual_arguments(out);
    manual_item(out, "--json", "", "Prints one JSON object, also of what went wrong. It may stand anywhere.");
    manual_section(out, "VERBS");
    for (size_t i = 0; i < n_ctl_verbs; i++)
        ctl_manual_verb(out, &ctl_verbs[i]);
    ctl_manual_kinds(out);
    manual_section(out, "ENVIRONMENT");
    manual_item(out, "SUDO_USER", "",
                "Who is named in the audit, where it is set; else the user who has logged in.");
    ctl_manual_statuses(out);
    manual_section(out, "FILES");
    manual_item(out, CONF_DEFAULT_FILE, "", "The configuration, where -c does not name another one.");
    manual_see_also(out, "imapferry.conf(5), imapferry-proxy(8), imapferry-migrator(8)");
}

void ctl_write_manual(struct buf *out, const char *page)
{
    if (!strcmp(page, "imapferry.conf"))
        conf_print_manual(out);
    else if (!strcmp(page, "imapferry-proxy"))
        conf_print_manual_of(out, CONF_PROXY);
    else if (!strcmp(page, "imapferry-migrator"))
        conf_print_manual_of(out, CONF_MIGRATOR);
    else
        ctl_manual_ctl(out);
}
