/* ctl_complete: completion in shells. The script that a shell is given knows no verb: it asks
 * `imapferryctl --complete WORD...`, with the words behind the program's name up to the one that is being completed
 * (which may be empty), so that all shells offer what the table of verbs has. Backends are those of the configuration
 * that the words name. Accounts are never offered. */
#ifndef IMAPFERRY_CTL_COMPLETE_H
#define IMAPFERRY_CTL_COMPLETE_H

#include "lib/conf.h"

/* The script for a shell, one of ctl_shells. Appends. */
void ctl_write_completion(struct buf *out, const char *shell);

/* Which file these words name as the configuration. Borrowed of them, or a fixed text. */
const char *ctl_complete_file(const char *const *words, size_t n);
/* Appends what may stand in place of the last word. The first line is "words", or "files" or "folders" where the shell
 * finds them itself; then a line for each word that may stand there, whether or not it begins as the last word does:
 * the word, a tab, what it means. conf may be NULL. */
void ctl_complete(struct buf *out, const struct conf *conf, const char *const *words, size_t n);

#endif
