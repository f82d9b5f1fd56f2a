/* flips: finds out where accounts live from what was written outside of Redis: the journals of all migrators (journal.h), and
 * files that `imapferryctl route export` wrote. A line is one JSON object. A line of a journal is a flip:
 *
 *   {"time": "2026-01-31T10:00:00.123Z", "user": "ann", "source": "old", "target": "new", "epoch": 5, "generation": 1, ...}
 *
 * A line of an export, which has "state", is an account as it was at "time":
 *
 *   {"time": ..., "user": "ann", "state": "settled", "backend": "new", "epoch": 6, "generation": 1, "source": "old",
 *    "target": "new", "home": "old", "left": "old", "flipped_at": "1769853600123", "held_from": "", "reason": ""}
 *
 * Which line of an account is newer is decided by its epoch, which rises at each flip and depends on no host's clock. Where
 * the clocks say that another server was the last one, the account is in doubt. A line may be there many times. Pure. */
#ifndef IMAPFERRY_FLIPS_H
#define IMAPFERRY_FLIPS_H

#include <uthash.h>

#include "lib/buf.h"

struct flip {
    char *user;                                        /* owned, as all texts */
    char *backend, *source, *target, *home, *left;     /* as in the route; "" = none */
    char *state, *held_from, *reason;                  /* of an export; "" = of a journal */
    uint64_t epoch, generation, flipped_ms;
    char *last_backend; /* by the clocks: where it was at the latest time */
    uint64_t last_ms, last_epoch;
    uint64_t first_epoch;           /* of the flip or export that home is of */
    UT_hash_handle hh;
};

struct flips {
    struct flip *all; /* owned; by user */
    size_t lines, unreadable;
};

/* Adds the lines of a file. Empty lines say nothing; lines that can't be read, such as one that a crash cut off, are counted. */
void flips_read(struct flips *f, struct span text);
void flips_free(struct flips *f);
/* Do the clocks say that it is somewhere else? */
bool flip_is_in_doubt(const struct flip *one);
/* The highest generation that any line is of, 0 = there are none. */
uint64_t flips_generation(const struct flips *f);

#endif
