/* manual: writes manual pages in the language of man(7), which groff and mandoc read. All text is given as it is to be
 * read: what means something to them is escaped here. All functions append. */
#ifndef IMAPFERRY_MANUAL_H
#define IMAPFERRY_MANUAL_H

#include "buf.h"

/* The head of a page, and its section NAME. section: 5, 8 ...; purpose: what comes behind the name, without a full
 * stop. */
void manual_begin(struct buf *out, const char *name, unsigned section, const char *purpose);
/* In capital letters. */
void manual_section(struct buf *out, const char *title);
void manual_subsection(struct buf *out, const char *title);
void manual_paragraph(struct buf *out, const char *text);
/* A bold tag, and behind it in italics what follows ("" = nothing); below them a text that is indented. */
void manual_item(struct buf *out, const char *tag, const char *follows, const char *text);
/* Another paragraph of the same item. */
void manual_item_more(struct buf *out, const char *text);
/* A command, as it is typed: the first word bold. In SYNOPSIS. */
void manual_synopsis(struct buf *out, const char *command, const char *follows);
/* Lines as they are. */
void manual_verbatim(struct buf *out, const char *text);
/* "name(5), other(8)"; text is that list. */
void manual_see_also(struct buf *out, const char *text);

#endif
