/* flips: finds out where accounts live from what was written outside of Redis: the journals of all migrators
 * (journal.h), and files that `imapferryctl route export` wrote. A line is one JSON object. A line of a
 * journal is a flip:
 *
 *   {"time": "2026-01-31T10:00:00.123Z", "user": "ann", "source": "old", "target": "new", "epoch": 5, "generation": 1,
 *    "view": "1=:m9f86d081884c7d65"}
 *
 * A line of an export, which has "state", is an account as it was at "time":
 *
 *   {"time": ..., "user": "ann", "state": "settled", "backend": "new", "epoch": 6, "generation": 1, "source": "old",
 *    "target": "new", "home": "old", "left": "old", "flipped_at": "1769853600123", "held_from": "", "reason": "",
 *    "view": "1=:m9f86d081884c7d65"}
 *
 * The last line of an export says how many accounts stand before it, so that a reader notices an export that
 * was cut off, and which groups there were (none: there is no "groups", as in a file of the release before):
 *
 *   {"time": ..., "end": 14, "groups": [{"group": "office", "members": ["ann", "bob"], "changed_by": "root", "changed": ..., "why": "x"}]}
 *
 * An export of a store that was moved to others (migrator/admin/carry_out.h) begins with {"move": 1, ...}, has all accounts that have a
 * record, and in lines with "keep" what else is known of them, which its last line counts ("kept") and proves ("sha256"). What is told of
 * an account by such a line is carried whole, if no other line is newer, and its end was not cut off there. "forgotten" is when staff had
 * an account forgotten (forget.lua), in ms: flips before that are of one that is no more. If it has no record since, its state is "forgotten".
 *
 * Which line of an account is newer is decided by its epoch, which rises at each flip and depends on no
 * host's clock. Where the clocks say that another server was the last one, the account is in doubt. A line
 * may be there many times. Pure. */
#ifndef IMAPFERRY_FLIPS_H
#define IMAPFERRY_FLIPS_H

#include <jansson.h>
#include <uthash.h>

#include "lib/buf.h"

struct flip {
    char *user;                                    /* owned, as all texts */
    char *backend, *source, *target, *home, *left; /* as in the route; "" = none */
    char *state, *held_from, *reason;              /* of an export; "" = of a journal */
    uint64_t epoch, generation, flipped_ms;
    char *view;          /* as in the route, when it was switched over last; "" = not known */
    uint64_t view_epoch; /* of the newest line, whether it tells that or not */
    char *last_backend;  /* by the clocks: where it was at the latest time */
    uint64_t last_ms, last_epoch;
    uint64_t first_epoch; /* of the flip or export that home is of */
    uint64_t
        forgotten_ms; /* by the export of a store that was moved: what was before is not told; 0: never */
    bool carried; /* the newest line is of a store that was moved: all that is known of it is in that file */
    UT_hash_handle hh;
};

enum { FLIPS_CLOCKS_MS = 5 * 60 * 1000 /* how far the clocks of Redis and of hosts may be apart */ };

/* Why a file may not be all that was written. */
struct flips_fault {
    char *file, *text; /* owned */
    size_t line;       /* the first is 1; 0: it is about the whole file */
};
enum { FLIPS_FAULTS_MAX = 10 /* that are kept; all are counted */ };

struct flips {
    struct flip *all; /* owned; by user */
    size_t lines, unreadable;
    size_t half; /* lines of which a crash has left the first half: nobody was told of that flip */
    struct flips_fault faults[FLIPS_FAULTS_MAX];
    size_t n_faults; /* may be more than are kept */
    json_t *groups;  /* owned; as the newest export has them that tells of groups; NULL: none does */
    uint64_t groups_ms,
        move_ms; /* when that was written, and the newest export of a store that was moved; 0: there is none */
    uint64_t
        digest; /* of all lines of all files: two that are the same tell the same; no proof (lib/fnv.h) */
};

/* A file that is read line by line, of any size: flips_begin(), flips_line() with each without its line feed, flips_end(). */
struct flips_reading {
    struct flips *f;
    char *file;             /* owned */
    size_t line;            /* the number of this one; the first is 1 */
    size_t pending;         /* accounts of an export since its begin */
    size_t pieces;          /* of a store that was moved */
    struct flip *last;      /* of the line read last */
    bool is_move, is_ended; /* it is the export of one; its end was read */
    void *sum;              /* owned; of its lines */
};
void flips_begin(struct flips_reading *r, struct flips *f, const char *file);
void flips_line(struct flips_reading *r, struct span text);
void flips_end(struct flips_reading *r);
/* Is it a piece of what is known of an account, in the export of a store that was moved? *user: of the line, "" of nobody. */
bool flips_is_piece(struct span line, struct span *user);

/* Adds the lines of a file. Empty lines say nothing. A line that can't be read is a fault, but for half a
 * line that a crash left in a journal; the migrator that comes next begins behind a line feed. An export
 * without its last line, or with one that counts otherwise, is a fault too. */
void flips_read(struct flips *f, const char *file, struct span text);
/* The account, NULL: no line tells of it. */
const struct flip *flips_find(const struct flips *f, struct span user);
/* How many are carried whole. */
size_t flips_carried(const struct flips *f);
/* Notes why a file may not be all that was written. line: 0 where the fault is about the whole file. */
void flips_blame(struct flips *f, const char *file, size_t line, const char *text);
void flips_free(struct flips *f);
/* Do the clocks say that it is somewhere else? */
bool flip_is_in_doubt(const struct flip *one);
/* ms of "2026-01-31T10:00:00.123Z"; 0: it is none. */
uint64_t flips_time_ms(const char *text);
/* The highest generation that any line is of, 0 = there are none. */
uint64_t flips_generation(const struct flips *f);

#endif
