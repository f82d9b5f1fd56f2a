/* csv: a cell of a table for spreadsheets (RFC 4180). */
#ifndef IMAPFERRY_CSV_H
#define IMAPFERRY_CSV_H

#include <stdbool.h>
#include <stdio.h>

/* In quotes, with the comma behind it, or the end of the line. What a spreadsheet would take for a formula is made text, and what a
 * terminal would obey is not in it. */
void csv_cell(FILE *f, const char *text, bool last);

#endif
