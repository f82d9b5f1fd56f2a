#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "ctl_list.h"
#include "ctl_table.h"
#include "ctl_text.h"
#include "ctl_verbs.h"

#define LIST_USUAL "user,state,on,reason"

/* "12/40", "30 % of 3.4 MiB": amounts are {"done": .., "total": ..}. */
static void ctl_list_write_amount(struct buf *out, const char *name, const json_t *amount)
{
    uint64_t done = ctl_number_of(amount, "done"), total = ctl_number_of(amount, "total");
    bool bytes = !strcmp(name, "bytes");

    if (total == 0) {
        buf_add_str(out, "-");
        return;
    }
    if (done < total && bytes)
        buf_printf(out, "%u %% of ", (unsigned)(100.0 * (double)done / (double)total));
    if (done < total && !bytes) {
        ctl_write_number(out, done);
        buf_add_str(out, "/");
    }
    (bytes ? ctl_write_bytes : ctl_write_number)(out, total);
}

/* To free. */
static char *ctl_list_cell(const struct ctl_column *c, const json_t *account)
{
    const json_t *value = json_object_get(account, c->of);
    struct buf text = {0};

    if (json_is_object(value))
        ctl_list_write_amount(&text, c->name, value);
    else if (json_is_integer(value))
        ctl_write_number(&text, ctl_number_of(account, c->of));
    else if (!strcmp(c->name, "state"))
        ctl_write_state(&text, ctl_text_of(account, c->of));
    else
        buf_add_str(&text, *ctl_text_of(account, c->of) ? ctl_text_of(account, c->of) : "-");
    char *cell = xstrdup(buf_str(&text));
    buf_free(&text);
    return cell;
}

/* Adds the columns; all names are known. */
static void ctl_list_choose(struct table *t, const struct ctl_column **chosen, const char *names)
{
    for (const char *s = names; s && t->n_columns < TABLE_COLUMNS_MAX;) {
        const char *comma = strchr(s, ',');
        const struct ctl_column *c = ctl_column_find(span_of(s, comma ? (size_t)(comma - s) : strlen(s)));
        t->right[t->n_columns] = !strcmp(c->name, "attempts") || !strcmp(c->name, "mailboxes") ||
                                 !strcmp(c->name, "messages") || !strcmp(c->name, "bytes") ||
                                 !strcmp(c->name, "waived");
        chosen[t->n_columns++] = c;
        s = comma ? comma + 1 : NULL;
    }
}

static void ctl_list_write_table(struct buf *out, json_t *list, const char *columns)
{
    struct table t = {.head = true};
    const struct ctl_column *chosen[TABLE_COLUMNS_MAX];
    char *texts[TABLE_COLUMNS_MAX];
    json_t *o;
    size_t i;

    ctl_list_choose(&t, chosen, columns);
    for (size_t k = 0; k < t.n_columns; k++)
        texts[k] = xstrdup(chosen[k]->head);
    table_add(&t, texts);
    json_array_foreach(list, i, o)
    {
        for (size_t k = 0; k < t.n_columns; k++)
            texts[k] = ctl_list_cell(chosen[k], o);
        table_add(&t, texts);
    }
    table_write(&t, out, NULL);
}

void ctl_write_list(struct buf *out, const json_t *data, const char *columns)
{
    json_t *list = json_object_get(data, "accounts");
    uint64_t n = json_array_size(list), total = ctl_number_of(data, "total");

    if (n == 0)
        buf_add_str(out, "no such accounts\n");
    else
        ctl_list_write_table(out, list, columns ? columns : LIST_USUAL);
    if (total > n) {
        buf_add_str(out, "and ");
        ctl_write_number(out, total - n);
        buf_add_str(out, " more\n");
    }
}
