#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <openssl/evp.h>
#include <uthash.h>

#include "lib/conf.h"
#include "lib/loop.h"
#include "lib/xalloc.h"

#include "penalty.h"

/* What is counted: an account from a network, an account, a network. Longer names are one account here. */
enum counted_kind { OF_PAIR = 'p', OF_ACCOUNT = 'a', OF_NETWORK = 'n' };

struct counted_key {
    char kind;
    uint8_t network[NETWORK_KEY_SIZE];
    char name[PENALTY_NAME];
};

struct counted {
    struct counted_key key;
    uint64_t n;
    uint64_t from_ms, ends_ms; /* the next try; when it is forgotten */
    bool good;                 /* of a pair: it has signed in */
    bool has_wrong;
    uint16_t wrong; /* of a pair: the last wrong password, as far as needed to know it again */
    TAILQ_ENTRY(counted) link;
    UT_hash_handle hh;
};

struct penalty {
    struct store *store;        /* borrowed */
    const struct conf *conf;    /* borrowed */
    struct counted *table;      /* owned */
    TAILQ_HEAD(, counted) used; /* the one that was used last is the last */
    uint8_t salt[16];           /* of this thread alone */
};

/* ---- what the thread knows ---- */

struct penalty *penalty_new(struct store *s, const struct conf *conf)
{
    struct penalty *p = xcalloc(1, sizeof *p);
    p->store = s;
    p->conf = conf;
    TAILQ_INIT(&p->used);
    random_bytes(p->salt, sizeof p->salt);
    return p;
}

static void penalty_drop(struct penalty *p, struct counted *c)
{
    HASH_DEL(p->table, c);
    TAILQ_REMOVE(&p->used, c, link);
    free(c);
}

void penalty_free(struct penalty **p)
{
    if (!*p)
        return;
    store_forget((*p)->store, *p);
    while (!TAILQ_EMPTY(&(*p)->used))
        penalty_drop(*p, TAILQ_FIRST(&(*p)->used));
    free(*p);
    *p = NULL;
}

static struct counted_key penalty_key(enum counted_kind kind, const struct penalty_who *w)
{
    struct counted_key k;
    memset(&k, 0, sizeof k); /* it is compared by its bytes */
    k.kind = (char)kind;
    if (kind != OF_ACCOUNT)
        memcpy(k.network, w->network, sizeof k.network);
    if (kind != OF_NETWORK)
        memcpy(k.name, w->user, strnlen(w->user, sizeof k.name));
    return k;
}

/* NULL: there is nothing, or it is forgotten. */
static struct counted *penalty_find(struct penalty *p, enum counted_kind kind, const struct penalty_who *w)
{
    struct counted_key k = penalty_key(kind, w);
    struct counted *c;
    HASH_FIND(hh, p->table, &k, sizeof k, c);
    if (c && c->ends_ms <= clock_boot_ms()) {
        penalty_drop(p, c);
        c = NULL;
    }
    return c;
}

static struct counted *penalty_get(struct penalty *p, enum counted_kind kind, const struct penalty_who *w)
{
    struct counted *c = penalty_find(p, kind, w);
    if (c) {
        TAILQ_REMOVE(&p->used, c, link);
    } else {
        if (HASH_COUNT(p->table) >= PENALTY_MAX)
            penalty_drop(p, TAILQ_FIRST(&p->used));
        c = xcalloc(1, sizeof *c);
        c->key = penalty_key(kind, w);
        HASH_ADD(hh, p->table, key, sizeof c->key, c);
    }
    TAILQ_INSERT_TAIL(&p->used, c, link);
    return c;
}

static uint64_t count_of(const struct counted *c)
{
    return c ? c->n : 0;
}

static bool network_has_to_wait(const struct counted *pair, const struct counted *net)
{
    return count_of(net) > PENALTY_FREE && !(pair && pair->good);
}

bool penalty_knows(struct penalty *p, const struct penalty_who *w)
{
    if (p->conf->proxy.login_delay_ms == 0 || !p->table)
        return false;
    const struct counted *pair = penalty_find(p, OF_PAIR, w);
    return count_of(pair) > 0 || (!w->many && network_has_to_wait(pair, penalty_find(p, OF_NETWORK, w)));
}

/* ---- the same as in Redis, by the thread's own numbers ---- */

static uint64_t gap_of(const struct penalty *p, uint64_t failures)
{
    const struct conf_proxy *c = &p->conf->proxy;
    uint64_t doublings = failures > 20 ? 20 : failures - 1;
    uint64_t gap = failures == 0 ? 0 : c->login_delay_ms << doublings;
    return gap < c->login_delay_max_ms ? gap : c->login_delay_max_ms;
}

static uint64_t gap_of_pair(struct penalty *p, const struct penalty_who *w, const struct counted *pair)
{
    uint64_t here = count_of(pair), all = here > 0 ? count_of(penalty_find(p, OF_ACCOUNT, w)) : 0;
    return gap_of(p, here > all ? here : all);
}

static uint64_t gap_of_network(struct penalty *p, const struct counted *net)
{
    uint64_t n = count_of(net);
    return n > PENALTY_FREE ? gap_of(p, n - PENALTY_FREE) : 0;
}

uint64_t penalty_turn_here(struct penalty *p, const struct penalty_who *w, uint64_t ahead_ms)
{
    uint64_t now = clock_boot_ms(), start = now, apart = p->conf->proxy.login_delay_ms;
    struct counted *pair = penalty_find(p, OF_PAIR, w),
                   *net = w->many ? NULL : penalty_find(p, OF_NETWORK, w);
    uint64_t of_pair = gap_of_pair(p, w, pair),
             of_net = network_has_to_wait(pair, net) ? gap_of_network(p, net) : 0;
    if (of_pair > 0 && pair->from_ms > start)
        start = pair->from_ms;
    if (of_net > 0 && net->from_ms > start)
        start = net->from_ms;
    if (start - now > ahead_ms)
        return PENALTY_LATE;
    if (of_pair > 0)
        pair->from_ms = start + of_pair;
    if (of_net > 0)
        net->from_ms = start + (of_net < apart ? of_net : apart);
    return start - now;
}

static void penalty_count(struct penalty *p, enum counted_kind kind, const struct penalty_who *w)
{
    struct counted *c = penalty_get(p, kind, w);
    c->n++;
    c->good = false;
    c->ends_ms = clock_boot_ms() + p->conf->proxy.login_delay_memory_ms;
}

static void put_off(struct counted *c, uint64_t gap)
{
    uint64_t from = clock_boot_ms() + gap;
    if (c && c->from_ms < from)
        c->from_ms = from;
}

static void penalty_count_here(struct penalty *p, const struct penalty_who *w)
{
    penalty_count(p, OF_ACCOUNT, w);
    if (!w->many)
        penalty_count(p, OF_NETWORK, w);
    penalty_count(p, OF_PAIR, w);
    struct counted *pair = penalty_find(p, OF_PAIR, w), *net = penalty_find(p, OF_NETWORK, w);
    put_off(pair, gap_of_pair(p, w, pair));
    if (!w->many)
        put_off(net, gap_of_network(p, net));
}

/* ---- Redis ---- */

void penalty_network(const struct penalty_who *w, char text[PENALTY_NETWORK])
{
    for (size_t i = 0; i < NETWORK_KEY_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", w->network[i]);
}

static void penalty_ask(struct penalty *p, enum penalty_what what, const struct penalty_who *w,
                        uint64_t ahead_ms, route_penalty_fn fn, const void *who, void *owner,
                        store_drop_fn drop)
{
    const struct conf_proxy *c = &p->conf->proxy;
    char network[PENALTY_NETWORK];
    penalty_network(w, network);
    struct route_penalty_ask ask = {.user = w->user,
                                    .network = network,
                                    .many = w->many,
                                    .memory_ms = c->login_delay_memory_ms,
                                    .first_ms = c->login_delay_ms,
                                    .longest_ms = c->login_delay_max_ms,
                                    .ahead_ms = ahead_ms,
                                    .free = PENALTY_FREE};
    route_penalty(p->store, what, &ask, fn, who, owner, drop);
}

/* What all proxies have counted is what counts. */
static void penalty_learn_one(struct penalty *p, enum counted_kind kind, const struct penalty_who *w,
                              uint64_t n)
{
    struct counted *c = penalty_find(p, kind, w);
    if (!c && n == 0)
        return;
    if (!c) {
        c = penalty_get(p, kind, w);
        c->ends_ms = clock_boot_ms() + p->conf->proxy.login_delay_memory_ms;
    }
    c->n = n;
}

static void penalty_learn(struct penalty *p, const struct penalty_who *w, const struct route_penalty *told)
{
    penalty_learn_one(p, OF_PAIR, w, told->of_account);
    if (!w->many)
        penalty_learn_one(p, OF_NETWORK, w, told->of_network);
}

/* It may have been asked before what has failed here since. */
static void penalty_raise(struct penalty *p, enum counted_kind kind, const struct penalty_who *w, uint64_t n)
{
    if (n > count_of(penalty_find(p, kind, w)))
        penalty_learn_one(p, kind, w, n);
}

void penalty_heard(struct penalty *p, const struct penalty_who *w, const struct route_failures *f)
{
    if (p->conf->proxy.login_delay_ms == 0)
        return;
    penalty_raise(p, OF_PAIR, w, f->here);
    if (w->many || f->of_network <= PENALTY_FREE)
        return;
    penalty_raise(p, OF_NETWORK, w, f->of_network);
    if (f->good && f->here == 0 && !penalty_find(p, OF_PAIR, w)) {
        struct counted *pair = penalty_get(p, OF_PAIR, w);
        pair->good = true;
        pair->ends_ms = clock_boot_ms() + p->conf->proxy.login_delay_memory_ms;
    }
}

void penalty_turn(struct penalty *p, const struct penalty_who *w, uint64_t ahead_ms, route_penalty_fn fn,
                  void *owner)
{
    penalty_ask(p, PENALTY_TURN, w, ahead_ms, fn, owner, owner, NULL);
}

uint64_t penalty_told(struct penalty *p, const struct penalty_who *w, uint64_t ahead_ms, enum route_rc rc,
                      const struct route_penalty *told)
{
    if (rc != ROUTE_OK && rc != ROUTE_LATE)
        return penalty_turn_here(p, w, ahead_ms);
    penalty_learn(p, w, told);
    return rc == ROUTE_OK ? told->wait_ms : PENALTY_LATE;
}

/* A failure that was told to Redis: for whom. */
struct penalty_call {
    struct penalty *p;
    struct counted_key key; /* of the pair */
    bool many;
};

static void penalty_on_counted(void *owner, enum route_rc rc, const struct route_penalty *told)
{
    struct penalty_call *call = owner;
    char user[PENALTY_NAME + 1] = {0};
    memcpy(user, call->key.name, PENALTY_NAME);
    struct penalty_who w = {.user = user, .network = call->key.network, .many = call->many};
    if (rc == ROUTE_OK)
        penalty_learn(call->p, &w, told);
    free(call);
}

static void penalty_tell(struct penalty *p, enum penalty_what what, const struct penalty_who *w)
{
    struct penalty_call *call = xcalloc(1, sizeof *call);
    *call = (struct penalty_call){.p = p, .key = penalty_key(OF_PAIR, w), .many = w->many};
    penalty_ask(p, what, w, 0, penalty_on_counted, p, call, free);
}

/* ---- what has happened ---- */

/* So much of a digest, by a salt that nobody else has, tells two passwords apart, and nothing of either. */
static uint16_t penalty_print(const struct penalty *p, struct span password)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    struct buf salted = {0};
    buf_add(&salted, p->salt, sizeof p->salt);
    buf_add_span(&salted, password);
    if (EVP_Digest(salted.mem + salted.off, salted.len, digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
    buf_wipe(&salted);
    return (uint16_t)(digest[0] << 8 | digest[1]);
}

void penalty_failed(struct penalty *p, const struct penalty_who *w, struct span password)
{
    if (p->conf->proxy.login_delay_ms == 0)
        return;
    uint16_t print = penalty_print(p, password);
    struct counted *pair = penalty_find(p, OF_PAIR, w);
    if (pair && pair->has_wrong && pair->wrong == print)
        return;
    penalty_count_here(p, w);
    pair = penalty_find(p, OF_PAIR, w);
    pair->has_wrong = true;
    pair->wrong = print;
    penalty_tell(p, PENALTY_FAILED, w);
}

void penalty_passed(struct penalty *p, const struct penalty_who *w)
{
    if (p->conf->proxy.login_delay_ms == 0 || !p->table)
        return;
    uint64_t lasts = PENALTY_GOOD * p->conf->proxy.login_delay_memory_ms, now = clock_boot_ms();
    struct counted *pair = penalty_find(p, OF_PAIR, w),
                   *net = w->many ? NULL : penalty_find(p, OF_NETWORK, w);
    bool known = pair && pair->good && pair->ends_ms > now + lasts / 2;
    if (known || (count_of(pair) == 0 && count_of(net) <= PENALTY_FREE))
        return;
    pair = penalty_get(p, OF_PAIR, w);
    pair->n = 0;
    pair->good = true;
    pair->has_wrong = false;
    pair->ends_ms = now + lasts;
    penalty_tell(p, PENALTY_PASSED, w);
}
