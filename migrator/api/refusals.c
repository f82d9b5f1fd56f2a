#include <arpa/inet.h>
#include <stdio.h>

#include "refusals.h"

static void refusals_name(const char *peer, char name[48])
{
    struct in6_addr a;

    snprintf(name, 48, "%s", peer);
    if (inet_pton(AF_INET6, peer, &a) == 1 && !IN6_IS_ADDR_V4MAPPED(&a)) {
        memset(a.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &a, name, 48);
    }
}

uint64_t refusals_wait_ms(const struct refusals *f, const char *peer, uint64_t now_ms)
{
    char name[48];

    refusals_name(peer, name);
    for (size_t i = 0; i < REFUSALS_NETWORKS; i++) {
        const struct refusals_network *n = &f->of[i];
        if (!strcmp(n->name, name) && n->n >= REFUSALS_HEARD && now_ms - n->since_ms < REFUSALS_MS)
            return REFUSALS_MS - (now_ms - n->since_ms);
    }
    return 0;
}

void refusals_add(struct refusals *f, const char *peer, uint64_t now_ms)
{
    struct refusals_network *at = &f->of[0];
    char name[48];

    refusals_name(peer, name);
    for (size_t i = 0; i < REFUSALS_NETWORKS; i++) {
        if (!strcmp(f->of[i].name, name)) {
            at = &f->of[i];
            break;
        }
        if (f->of[i].since_ms < at->since_ms)
            at = &f->of[i];
    }
    if (strcmp(at->name, name) != 0 || now_ms - at->since_ms >= REFUSALS_MS) {
        *at = (struct refusals_network){.since_ms = now_ms};
        snprintf(at->name, sizeof(at->name), "%s", name);
    }
    at->n++;
}
