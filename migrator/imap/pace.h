/* pace: how fast one backend may be used, by all connections of this process together: a token bucket of
 * messages and one of bytes, and a pause where the server asks for one. Pure: the time, of clock_boot_ms(),
 * is an argument.
 *
 * What was read or stored is taken from the buckets afterwards, so they may fall below zero: then all
 * connections wait until they are above it again. A bucket holds a quarter of a second's worth at most, so
 * that nothing comes in a burst. */
#ifndef IMAPFERRY_PACE_H
#define IMAPFERRY_PACE_H

#include "lib/base.h"

struct pace {
    uint32_t messages_per_s, bytes_per_s; /* 0 = no limit */
    /* private */
    int64_t messages, bytes; /* in thousandths; below 0: owed */
    uint64_t at_ms;          /* they are of that moment */
    uint64_t throttled_until_ms, throttle_ms, asked_ms;
};

void pace_init(struct pace *p, uint32_t messages_per_s, uint32_t bytes_per_s, uint64_t now_ms);
/* Other numbers from now on; what is owed stays owed. */
void pace_set(struct pace *p, uint32_t messages_per_s, uint32_t bytes_per_s);
void pace_take(struct pace *p, uint32_t messages, uint64_t bytes, uint64_t now_ms);
/* Milliseconds until more may be read or stored; 0 = now. Never more than 15 s at once, so that no server
 * takes us for dead: what is owed beyond that is waited for later. */
uint64_t pace_wait_ms(struct pace *p, uint64_t now_ms);

/* The server asked to be used more slowly; ms: for how long, 0 = it did not say: half a second, doubled each
 * time up to 4 s (one account's limit must not hold up all others), from the beginning after 5 quiet seconds.
 * Returns how long it will be. */
uint64_t pace_throttle(struct pace *p, uint64_t ms, uint64_t now_ms);
/* Milliseconds until the next command may be sent. */
uint64_t pace_throttle_left_ms(const struct pace *p, uint64_t now_ms);
/* It asked a few seconds ago, or its time is not over: what fails now may be for that. */
bool pace_is_throttled(const struct pace *p, uint64_t now_ms);

/* Does what the server said ask for that? code: a response code, text: what stands behind it; refused: it
 * came with NO, BAD or BYE. *ms as for pace_throttle(). Known are [LIMIT], [UNAVAILABLE] and [THROTTLED] as
 * codes of refusals, and the texts "[THROTTLED]" (Gmail), "Rate limit hit" (Yahoo), "Suggested Backoff Time:
 * n" (Exchange), of answers of any kind. */
bool pace_hint(struct span code, struct span text, bool refused, uint64_t *ms);

#endif
