/* journal: the flips, on the migrator's own disk besides Redis: one JSON object a line in journal_dir/flips,
 * appended and fsynced before the flip is published. From the journals of all hosts lost routes can be
 * rebuilt. A line that is there twice (a flip that was taken over) says the same twice; an empty one, where two
 * wrote at once, says nothing.
 *
 *   {"time": "2026-01-31T10:00:00.123Z", "user": "ann", "source": "old", "target": "new", "epoch": 5,
 *    "generation": 1, "view": "1:9f86d081884c7d65"} */
#ifndef IMAPFERRY_JOURNAL_H
#define IMAPFERRY_JOURNAL_H

#include "lib/loop.h"
#include "lib/route.h"

struct journal;

/* Makes the folder where it is missing, and tries whether it can be written to. NULL: *error is a text to
 * free. */
struct journal *journal_open(struct loop *l, const char *folder, char **error) MUST_CHECK;
/* Writes under way end first (loop_free() waits for them); their callbacks are dropped. */
void journal_free(struct journal **j);

/* error: NULL when the line is on the disk; borrowed. */
typedef void (*journal_fn)(void *owner, const char *error);
/* By a thread of uv's pool; never calls back before it returned. */
void journal_write(struct journal *j, const char *user, const struct route *r, journal_fn fn, void *owner);
/* No callback for owner any more. */
void journal_forget(struct journal *j, void *owner);

#endif
