/* journal: the flips, on the migrator's own disk besides Redis: one JSON object a line in journal_dir/flips,
 * appended and fsynced before the flip is published. From the journals of all hosts lost routes can be
 * rebuilt. A line that is there twice (a flip that was taken over) says the same twice; an empty one, of a
 * probe or where two wrote at once, says nothing.
 *
 *   {"time": "2026-01-31T10:00:00.123Z", "user": "ann", "source": "old", "target": "new", "epoch": 5,
 *    "generation": 1, "view": "1:9f86d081884c7d65", "proof": "9f86... 1.4 host"}
 *
 * A thread of uv's pool writes, one at a time: a disk that hangs costs one thread, and what comes meanwhile
 * waits, to be written at once. Nobody waits longer than JOURNAL_SLOW_MS: a line that is not on the disk by
 * then counts as not written, though it may get there later. */
#ifndef IMAPFERRY_JOURNAL_H
#define IMAPFERRY_JOURNAL_H

#include "lib/loop.h"
#include "lib/route.h"

enum { JOURNAL_SLOW_MS = 3000 };

struct journal;

/* Makes the folder where it is missing, and tries whether the file can be opened. NULL: *error is a text to
 * free. */
struct journal *journal_open(struct loop *l, const char *folder, char **error) MUST_CHECK;
/* What is being written ends first (loop_free() waits for it); what waits is not written. No callbacks. */
void journal_free(struct journal **j);

/* error: NULL when the line is on the disk; borrowed. */
typedef void (*journal_fn)(void *owner, const char *error);
/* Never calls back before it returned. */
void journal_write(struct journal *j, const char *user, const struct route *r, journal_fn fn, void *owner);
/* Could a line be written? Has the disk keep room for some, appends an empty one, and fsyncs. */
void journal_probe(struct journal *j, journal_fn fn, void *owner);
/* False from a line that could not be written until one could. Who can't write should take nothing that has
 * to be. */
bool journal_is_good(const struct journal *j);
/* No callback for owner any more; what of it is not being written yet is not. */
void journal_forget(struct journal *j, void *owner);

#endif
