/* limit: what NO [LIMIT] in answer to an APPEND means. RFC 5530 has the one code for a limit of how large a message may be, and
 * servers use it for one of how much there may be in an hour. Pure.
 *
 *   - a message that is no larger than one that was taken, or so small that no server has such a limit, was refused for the
 *     hour: the target wants less
 *   - larger than one that was taken: for its size, and it is found of it
 *   - nothing was taken yet: after a few such answers the smallest message that is left is tried next, and only where it is
 *     smaller than all that were refused. If it is taken, what was said above decides. If there is none, the others are
 *     larger than what the target refuses, and need not be sent. */
#ifndef IMAPFERRY_LIMIT_H
#define IMAPFERRY_LIMIT_H

#include "lib/base.h"

/* A message that was refused by LIMIT. */
struct limited {
    uint32_t uid, size;
    char *text; /* what the target said; owned */
};

struct limits {
    struct limited *items; /* owned */
    size_t n;
    struct limited smallest; /* of all that were ever added; text NULL: none was; owned */
};

/* Copies text. size: bytes. */
void limits_add(struct limits *l, uint32_t uid, uint32_t size, const char *text);
/* Forgets the items, not the smallest one. */
void limits_clear(struct limits *l);
void limits_free(struct limits *l);
/* One that was refused for how much there was, not for its size; NULL: none. largest: bytes of the largest message that was
 * taken, 0 = none was. Borrowed. */
const struct limited *limits_throttled(const struct limits *l, uint64_t largest);
/* Is the smallest message to be tried next? */
bool limits_want_smallest(const struct limits *l, uint64_t largest);

#endif
