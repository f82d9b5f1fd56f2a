/* view_word: texts of any bytes as words of a line, as the view is kept in the store: what would end a word, or begins an escape, is written
 * as "%41" (percent.h), and nothing else is, so that one text has one spelling. Pure. */
#ifndef IMAPFERRY_VIEW_WORD_H
#define IMAPFERRY_VIEW_WORD_H

#include "buf.h"

/* Appends before, as it is, and the text as a word. */
void view_word_write(struct buf *out, const char *before, struct span text);
/* Eats what begins the line. False: it begins otherwise; nothing is eaten. */
bool view_word_begins(struct span *in, const char *with) MUST_CHECK;
/* Eats before, and the word behind it up to a "," or a blank; owned. NULL: before does not stand there, or the word is not in its one
 * spelling, or longer than VIEW_NAME_MAX. */
char *view_word_take(struct span *in, const char *before) MUST_CHECK;

#endif
