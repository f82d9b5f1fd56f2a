/* sharing: sorts accounts that share mailboxes into groups: two are in one group where one shares with the other, or with somebody who
 * does, and so on. Such accounts find each other's mailboxes only while they are on the same server. Pure.
 *
 * Of a group above a limit it tells what it would take to keep below it: the accounts with the most ties, without which (by themselves,
 * with what they share waived) the others fall into groups that are small enough. */
#ifndef IMAPFERRY_SHARING_H
#define IMAPFERRY_SHARING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARING_WITHOUT_MAX = 50 }; /* accounts that are told at most */

struct sharing; /* opaque */

struct sharing_member {
    const char *user; /* borrowed from the sharing */
    bool known;       /* it was surveyed itself, and has a size */
    uint64_t messages, bytes;
    size_t ties; /* accounts that it shares with */
};

struct sharing_group {
    struct sharing_member *members; /* owned; by name */
    size_t n;
    uint64_t messages, bytes; /* of those that are known */
    size_t known;
    /* Of a group above the limit; else none. */
    const char **without; /* owned; the names borrowed */
    size_t n_without;
    /* The largest group that is left without them; above the limit where SHARING_WITHOUT_MAX are not enough. */
    size_t rest;
};

struct sharing *sharing_new(void);
void sharing_free(struct sharing **s); /* NULL is fine */

/* An account that was surveyed. */
void sharing_add(struct sharing *s, const char *user, uint64_t messages, uint64_t bytes);
bool sharing_knows(const struct sharing *s, const char *user); /* was it? */
/* One shares with the other; said twice, or of both sides, it is one tie. */
void sharing_tie(struct sharing *s, const char *one, const char *other);

/* Groups of at least two, those with most members first. To free by sharing_groups_free(), before the sharing. */
struct sharing_group *sharing_groups(struct sharing *s, size_t limit, size_t *_n);
void sharing_groups_free(struct sharing_group *groups, size_t n);

#endif
