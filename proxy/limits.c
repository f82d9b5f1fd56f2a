#include <arpa/inet.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "limits.h"

const struct imap_line_limits limits_before_login = {
    .line = LIMIT_LINE, .parts = LIMIT_PARTS, .literal = LIMIT_LITERAL, .nonsync_max = LIMIT_NONSYNC};
const struct imap_line_limits limits_of_backend = {
    .line = LIMIT_RESPONSE, .parts = SIZE_MAX, .literal = UINT32_MAX, .nonsync_max = UINT64_MAX};
const struct stream_limits limits_of_stream = {.high_water = LIMIT_HIGH_WATER, .queue_max = LIMIT_UNSENT};

struct imap_line_limits limits_after_login(uint64_t nonsync)
{
    return (struct imap_line_limits){
        .line = LIMIT_RELAY_LINE, .parts = SIZE_MAX, .literal = UINT32_MAX, .nonsync_max = nonsync};
}

static bool key_of(const char *ip, uint8_t key[9])
{
    uint8_t v6[16];
    memset(key, 0, 9);
    if (inet_pton(AF_INET, ip, key + 1) == 1) {
        key[0] = 4;
        return true;
    }
    if (inet_pton(AF_INET6, ip, v6) != 1)
        return false;
    key[0] = 6;
    memcpy(key + 1, v6, 8);
    return true;
}

bool crowd_enter(struct crowd *c, const char *ip, struct crowd_address **_r)
{
    uint8_t key[9];
    struct crowd_address *a = NULL;
    if (c->total >= LIMIT_CROWD)
        return false;
    if (key_of(ip, key)) {
        HASH_FIND(hh, c->addresses, key, sizeof key, a);
        if (a && a->n >= LIMIT_CROWD_OF_ADDRESS)
            return false;
        if (!a) {
            a = xcalloc(1, sizeof *a);
            memcpy(a->key, key, sizeof key);
            HASH_ADD(hh, c->addresses, key, sizeof a->key, a);
        }
        a->n++;
    }
    c->total++;
    *_r = a;
    return true;
}

void crowd_leave(struct crowd *c, struct crowd_address **ap)
{
    struct crowd_address *a = *ap;
    *ap = NULL;
    c->total--;
    if (!a || --a->n > 0)
        return;
    HASH_DEL(c->addresses, a);
    free(a);
}

void crowd_free(struct crowd *c)
{
    struct crowd_address *a, *next;
    HASH_ITER(hh, c->addresses, a, next)
    {
        HASH_DEL(c->addresses, a);
        free(a);
    }
}
