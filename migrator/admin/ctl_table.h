/* ctl_table: rows whose columns stand below each other. A column is as wide as its widest text; one that is longer than
 * most lines have room for pads nobody else's. On a terminal no line is longer than it: the last column goes on below
 * itself. */
#ifndef IMAPFERRY_CTL_TABLE_H
#define IMAPFERRY_CTL_TABLE_H

#include "ctl_screen.h"

enum { TABLE_COLUMNS_MAX = 16 };

/* {.n_columns = ...} is an empty one. */
struct table {
    size_t n_columns;
    bool right[TABLE_COLUMNS_MAX];    /* numbers: they end in one column */
    bool head;                        /* the first row names the columns */
    char *(*rows)[TABLE_COLUMNS_MAX]; /* owned, and so are the texts */
    size_t n;
};

/* Takes the texts, which may have styles. */
void table_add(struct table *t, char *const *texts);
/* By the first column. */
void table_sort(struct table *t);
/* Appends it, and empties it. label: stands in front of the first row, with as much room in front of the others
 * (ctl_write_label()); NULL: none. */
void table_write(struct table *t, struct buf *out, const char *label);

#endif
