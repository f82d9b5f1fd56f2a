/* limit: what NO [LIMIT] in answer to an APPEND means. RFC 5530 has this code for a limit on the size of a
 * message, and servers use it also for a limit on how much may come in an hour. Pure. Which of the two it is,
 * is judged so:
 *
 *   - A message that is no larger than one that was taken, or so small that no server has such a limit, was
 *     refused because of the rate: the target wants to be used more slowly.
 *   - A message that is larger than any that was taken was refused for its size, which is a finding of that
 *     message.
 *   - While none was taken yet: after a few such answers the smallest message that is left is tried next,
 *     if it is smaller than all that were refused. If it is taken, the rules above decide. If there is no
 *     smaller one, all others are at least as large as what the target refuses, and need not be sent. */
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
/* A message that was refused because of the rate, not for its size; NULL: none. largest: bytes of the largest
 * message that was taken, 0 = none was. Borrowed. */
const struct limited *limits_throttled(const struct limits *l, uint64_t largest);
/* Is the smallest message to be tried next? */
bool limits_want_smallest(const struct limits *l, uint64_t largest);

#endif
