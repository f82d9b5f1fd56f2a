#include <pthread.h>
#include <stdlib.h>

#include <uthash.h>

#include "lib/xalloc.h"

#include "peer.h"
#include "proxy.h"
#include "share.h"

struct share {
    uint8_t key[NETWORK_KEY_SIZE];
    uint32_t n;
    UT_hash_handle hh;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct share *shares; /* those with n > 0; guarded by lock */

static struct share *share_of(const uint8_t *key)
{
    struct share *w;
    HASH_FIND(hh, shares, key, NETWORK_KEY_SIZE, w);
    if (w)
        return w;
    w = xcalloc(1, sizeof *w);
    memcpy(w->key, key, sizeof w->key);
    HASH_ADD(hh, shares, key, sizeof w->key, w);
    return w;
}

bool share_take(struct session *s)
{
    uint32_t max = s->proxy->conf->proxy.max_connections_per_network;
    if (s->has_share || max == 0 || peer_is_many(s))
        return true;
    pthread_mutex_lock(&lock);
    struct share *w = share_of(s->network->key);
    s->has_share = w->n < max;
    w->n += s->has_share;
    pthread_mutex_unlock(&lock);
    return s->has_share;
}

void share_give(struct session *s)
{
    uint8_t key[NETWORK_KEY_SIZE];
    if (!s->has_share)
        return;
    s->has_share = false;
    crowd_network_key(s->peer_ip, key);
    pthread_mutex_lock(&lock);
    struct share *w = share_of(key);
    if (--w->n == 0) {
        HASH_DEL(shares, w);
        free(w);
    }
    pthread_mutex_unlock(&lock);
}
