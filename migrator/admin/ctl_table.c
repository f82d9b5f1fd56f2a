#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "ctl_table.h"
#include "ctl_text.h"

enum { TABLE_WIDEST = 40, TABLE_LAST_LEAST = 20 /* columns in which it is worth to break a text */ };

void table_add(struct table *t, char *const *texts)
{
    t->rows = xreallocarray(t->rows, t->n + 1, sizeof(*t->rows));
    memcpy(t->rows[t->n++], texts, t->n_columns * sizeof(*texts));
}

static size_t table_width(const struct table *t, size_t column)
{
    size_t width = 0;

    for (size_t i = 0; i < t->n; i++) {
        size_t n = screen_width(t->rows[i][column]);
        if (n > width && n <= TABLE_WIDEST)
            width = n;
    }
    return width;
}

static int table_compare_first(const void *a, const void *b)
{
    char *const *x = a, *const *y = b;

    return strcmp(x[0], y[0]);
}

void table_sort(struct table *t)
{
    if (t->n > 1)
        qsort(t->rows, t->n, sizeof(*t->rows), table_compare_first);
}

static void table_pad(struct buf *out, size_t width, const char *text)
{
    for (size_t n = screen_width(text); n < width; n++)
        buf_add_str(out, " ");
}

/* The columns behind this one have nothing. */
static bool table_is_last(const struct table *t, char *const *row, size_t column)
{
    for (size_t k = column + 1; k < t->n_columns; k++)
        if (*row[k])
            return false;
    return true;
}

static void table_write_last(struct buf *out, const char *text, size_t indent, size_t room)
{
    if (room >= indent + TABLE_LAST_LEAST) {
        ctl_write_wrapped(out, text, (int)indent);
        return;
    }
    buf_add_str(out, text);
    buf_add_str(out, "\n");
}

static void table_write_row(const struct table *t, struct buf *out, const size_t *widths, char *const *row,
                            size_t indent, size_t room)
{
    for (size_t k = 0; k < t->n_columns; k++) {
        bool last = table_is_last(t, row, k);
        if (t->right[k])
            table_pad(out, widths[k], row[k]);
        if (last) {
            table_write_last(out, row[k], indent, room);
            return;
        }
        buf_add_str(out, row[k]);
        size_t width = screen_width(row[k]);
        if (!t->right[k])
            table_pad(out, widths[k], row[k]);
        indent += (width > widths[k] ? width : widths[k]) + 2;
        buf_add_str(out, "  ");
    }
}

static void table_make_bold(struct table *t)
{
    for (size_t k = 0; t->n > 0 && k < t->n_columns; k++) {
        char *text = t->rows[0][k];
        t->rows[0][k] = xasprintf(STYLE_BOLD "%s" STYLE_OFF, text);
        free(text);
    }
}

void table_write(struct table *t, struct buf *out, const char *label)
{
    size_t widths[TABLE_COLUMNS_MAX], room = screen_look().terminal ? screen_text_width() : 0;

    if (t->head)
        table_make_bold(t);
    for (size_t k = 0; k < t->n_columns; k++)
        widths[k] = table_width(t, k);
    for (size_t i = 0; i < t->n; i++) {
        if (label)
            ctl_write_label(out, i == 0 ? label : "");
        table_write_row(t, out, widths, t->rows[i], label ? CTL_LABEL_WIDTH : 0, room);
        for (size_t k = 0; k < t->n_columns; k++)
            free(t->rows[i][k]);
    }
    free(t->rows);
    t->rows = NULL;
    t->n = 0;
}
