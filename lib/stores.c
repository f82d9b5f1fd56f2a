#include <stdlib.h>
#include <string.h>

#include "fnv.h"
#include "stores.h"
#include "xalloc.h"

/* ---- which one ---- */

/* The last step of splitmix64, after which each bit depends on all: what FNV makes of names that differ in
 * their last letter alone is too much alike to be compared. */
static uint64_t stores_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Accounts with the same part are in the same store. */
static struct span stores_part(const struct conf_redis *r, struct span user)
{
    const uint8_t *at = r->spread == SPREAD_DOMAIN && user.len ? memrchr(user.p, '@', user.len) : NULL;

    return at ? (struct span){at + 1, (size_t)(user.p + user.len - at - 1)} : user;
}

size_t stores_place(const struct conf_redis *r, struct span user)
{
    uint64_t of_user = fnv(FNV_BEGIN, stores_part(r, user)), best = 0;
    size_t place = 0;

    for (size_t i = 0; i < r->n_stores; i++) {
        uint64_t weight = stores_mix(of_user + (i + 1) * 0x9e3779b97f4a7c15u);
        if (weight > best) {
            best = weight;
            place = i;
        }
    }
    return place;
}

bool stores_is_in(const struct store *s, const char *user)
{
    return stores_place(&store_conf(s)->redis, span_str(user)) == store_nth(s);
}

bool stores_are_up(const struct stores *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (store_state(s->all[i]) != STORE_UP)
            return false;
    return true;
}

struct store *stores_of(const struct stores *s, const char *user)
{
    return s->all[stores_place(&store_conf(s->all[0])->redis, span_str(user))];
}

/* ---- the connections ---- */

/* Whom a store tells. */
struct stores_ear {
    struct stores_all *of;
    size_t place;
};

struct stores_all {
    struct stores stores;
    stores_fn fn;
    void *owner; /* borrowed */
    struct stores_ear ears[];
};

static void stores_on_state(void *owner, enum store_state state, const char *detail)
{
    struct stores_ear *ear = owner;

    if (ear->of->fn)
        ear->of->fn(ear->of->owner, ear->place, state, detail);
}

struct stores *stores_new(struct loop *l, const struct conf *conf, uint64_t timeout_ms, stores_fn fn,
                          void *owner)
{
    size_t n = conf->redis.n_stores;
    struct stores_all *a = xcalloc(1, sizeof(*a) + n * sizeof(a->ears[0]));

    a->fn = fn;
    a->owner = owner;
    a->stores.n = n;
    a->stores.all = xcalloc(n, sizeof(struct store *));
    for (size_t i = 0; i < n; i++) {
        a->ears[i] = (struct stores_ear){a, i};
        a->stores.all[i] = store_new(l, conf, i, &a->stores.site, timeout_ms, stores_on_state, &a->ears[i]);
    }
    return &a->stores;
}

void stores_free(struct stores **sp)
{
    struct stores *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        store_free(&s->all[i]);
    free(s->all);
    free(CONTAINER_OF(s, struct stores_all, stores));
}
