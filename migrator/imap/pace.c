#include "pace.h"

#include "lib/imap_resp.h"

enum {
    BURST_MS = 250,
    WAIT_MAX_MS = 15000,
    THROTTLE_FIRST_MS = 500,
    THROTTLE_DOUBLED_MAX_MS = 4000,
    THROTTLE_ASKED_MAX_MS = 600000,
    QUIET_MS = 5000
};

/* Thousandths that a bucket holds at most: one whole message too, or slow ones would never give any. */
static int64_t pace_room(uint32_t per_s)
{
    int64_t burst = (int64_t)per_s * BURST_MS;
    return burst > 1000 ? burst : 1000;
}

void pace_init(struct pace *p, uint32_t messages_per_s, uint32_t bytes_per_s, uint64_t now_ms)
{
    *p = (struct pace){.messages_per_s = messages_per_s, .bytes_per_s = bytes_per_s, .at_ms = now_ms};
    p->messages = pace_room(messages_per_s);
    p->bytes = pace_room(bytes_per_s);
}

static int64_t at_most(int64_t level, uint32_t per_s)
{
    return level < pace_room(per_s) ? level : pace_room(per_s);
}

void pace_set(struct pace *p, uint32_t messages_per_s, uint32_t bytes_per_s)
{
    p->messages_per_s = messages_per_s;
    p->bytes_per_s = bytes_per_s;
    p->messages = at_most(p->messages, messages_per_s);
    p->bytes = at_most(p->bytes, bytes_per_s);
}

static int64_t filled(int64_t level, uint32_t per_s, uint64_t ms)
{
    int64_t full = pace_room(per_s), more = ms < 100000000 ? (int64_t)ms * per_s : full - level;
    return level + more < full ? level + more : full;
}

static void pace_fill(struct pace *p, uint64_t now_ms)
{
    if (now_ms <= p->at_ms)
        return;
    p->messages = filled(p->messages, p->messages_per_s, now_ms - p->at_ms);
    p->bytes = filled(p->bytes, p->bytes_per_s, now_ms - p->at_ms);
    p->at_ms = now_ms;
}

void pace_take(struct pace *p, uint32_t messages, uint64_t bytes, uint64_t now_ms)
{
    pace_fill(p, now_ms);
    if (p->messages_per_s)
        p->messages -= (int64_t)messages * 1000;
    if (p->bytes_per_s)
        p->bytes -= (int64_t)(bytes < UINT32_MAX ? bytes : UINT32_MAX) * 1000;
}

static uint64_t until_paid(int64_t level, uint32_t per_s)
{
    return per_s && level < 0 ? ((uint64_t)-level + per_s - 1) / per_s : 0;
}

uint64_t pace_wait_ms(struct pace *p, uint64_t now_ms)
{
    pace_fill(p, now_ms);
    uint64_t messages = until_paid(p->messages, p->messages_per_s),
             bytes = until_paid(p->bytes, p->bytes_per_s);
    uint64_t ms = messages > bytes ? messages : bytes;
    return ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS;
}

/* --- what the server asks for --- */

uint64_t pace_throttle_left_ms(const struct pace *p, uint64_t now_ms)
{
    return p->throttled_until_ms > now_ms ? p->throttled_until_ms - now_ms : 0;
}

bool pace_is_throttled(const struct pace *p, uint64_t now_ms)
{
    return pace_throttle_left_ms(p, now_ms) > 0 || (p->throttle_ms > 0 && now_ms - p->asked_ms < QUIET_MS);
}

uint64_t pace_throttle(struct pace *p, uint64_t ms, uint64_t now_ms)
{
    bool throttled = pace_throttle_left_ms(p, now_ms) > 0; /* several connections were told the same */
    if (!pace_is_throttled(p, now_ms))
        p->throttle_ms = THROTTLE_FIRST_MS;
    else if (!throttled)
        p->throttle_ms =
            2 * p->throttle_ms < THROTTLE_DOUBLED_MAX_MS ? 2 * p->throttle_ms : THROTTLE_DOUBLED_MAX_MS;
    uint64_t rest = ms == 0 ? p->throttle_ms : ms < THROTTLE_ASKED_MAX_MS ? ms : THROTTLE_ASKED_MAX_MS;
    if (now_ms + rest > p->throttled_until_ms)
        p->throttled_until_ms = now_ms + rest;
    p->asked_ms = p->throttled_until_ms;
    return pace_throttle_left_ms(p, now_ms);
}

static const uint8_t *pace_find(struct span text, const char *what)
{
    return text.len > 0 ? memmem(text.p, text.len, what, strlen(what)) : NULL;
}

/* "Suggested Backoff Time: 299 milliseconds" */
static bool suggested(struct span text, uint64_t *ms)
{
    static const char words[] = "Suggested Backoff Time: ";
    const uint8_t *at = pace_find(text, words), *end = text.p + text.len;
    *ms = 0;
    if (!at)
        return false;
    for (at += sizeof words - 1; at < end && *at >= '0' && *at <= '9'; at++)
        if (*ms < THROTTLE_ASKED_MAX_MS)
            *ms = *ms * 10 + (uint64_t)(*at - '0');
    return true;
}

bool pace_hint(struct span code, struct span text, bool refused, uint64_t *ms)
{
    static const char *const codes[] = {"LIMIT", "UNAVAILABLE", "THROTTLED"};
    if (suggested(text, ms))
        return true;
    if (pace_find(text, "[THROTTLED]") || pace_find(text, "Rate limit hit"))
        return true;
    for (size_t i = 0; refused && i < COUNTOF(codes); i++)
        if (imap_code_is(code, codes[i], NULL))
            return true;
    return false;
}
