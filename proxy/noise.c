#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "crowd.h"
#include "noise.h"

struct noisy {
    uint8_t key[NETWORK_KEY_SIZE];
    uint64_t n;                  /* 0: the place is free */
    unsigned lines[NOISE_KINDS]; /* that were logged */
};

struct noise {
    unsigned thread;
    struct timer *period; /* owned; set from the first line of a period on */
    struct noisy networks[NOISE_NETWORKS];
    unsigned lines[NOISE_KINDS];
    uint64_t unlogged[NOISE_KINDS];
};

/* ---- the sum ---- */

static void noise_write_network(struct buf *out, const struct noisy *w)
{
    char text[INET6_ADDRSTRLEN] = "unix";
    uint8_t v6[16] = {0};
    memcpy(v6, w->key + 1, 8);
    if (w->key[0] == 4)
        inet_ntop(AF_INET, w->key + 1, text, sizeof text);
    else if (w->key[0] == 6)
        inet_ntop(AF_INET6, v6, text, sizeof text);
    buf_printf(out, "%s%s%s %llu", out->len > 0 ? ", " : "", text, w->key[0] == 6 ? "/64" : "",
               (unsigned long long)w->n);
}

static int noise_compare(const void *a, const void *b)
{
    const struct noisy *x = a, *y = b;
    return x->n < y->n ? 1 : x->n > y->n ? -1 : 0;
}

static void noise_log(struct noise *n)
{
    struct buf worst = {0};
    qsort(n->networks, NOISE_NETWORKS, sizeof n->networks[0], noise_compare);
    for (size_t i = 0; i < NOISE_TOLD && n->networks[i].n > 0; i++)
        noise_write_network(&worst, &n->networks[i]);
    LOG(WARN, "noise", LOG_U("thread", n->thread), LOG_U("ends", n->unlogged[NOISE_ENDS]),
        LOG_U("logins", n->unlogged[NOISE_LOGINS]), LOG_S("worst", buf_str(&worst)));
    buf_free(&worst);
}

static void on_period(void *owner)
{
    struct noise *n = owner;
    if (n->unlogged[NOISE_ENDS] + n->unlogged[NOISE_LOGINS] > 0)
        noise_log(n);
    memset(n->networks, 0, sizeof n->networks);
    memset(n->lines, 0, sizeof n->lines);
    memset(n->unlogged, 0, sizeof n->unlogged);
}

/* ---- what happens ---- */

/* One that is not known takes the place that has the least. */
static struct noisy *noise_network(struct noise *n, const char *ip)
{
    uint8_t key[NETWORK_KEY_SIZE];
    struct noisy *least = &n->networks[0];
    crowd_network_key(ip, key);
    for (size_t i = 0; i < NOISE_NETWORKS; i++) {
        struct noisy *w = &n->networks[i];
        if (w->n > 0 && memcmp(w->key, key, sizeof key) == 0)
            return w;
        if (w->n < least->n)
            least = w;
    }
    memcpy(least->key, key, sizeof key);
    memset(least->lines, 0, sizeof least->lines);
    return least;
}

bool noise_may_log(struct noise *n, enum noise_of kind, const char *ip)
{
    if (!timer_is_set(n->period))
        timer_start(n->period, NOISE_MS);
    struct noisy *w = noise_network(n, ip);
    w->n++;
    if (n->lines[kind] < NOISE_LINES && w->lines[kind] < NOISE_LINES / 2) {
        n->lines[kind]++;
        w->lines[kind]++;
        return true;
    }
    n->unlogged[kind]++;
    return false;
}

/* ---- life ---- */

struct noise *noise_new(struct loop *l, unsigned thread)
{
    struct noise *n = xcalloc(1, sizeof *n);
    n->thread = thread;
    n->period = timer_new(l, on_period, n);
    return n;
}

void noise_free(struct noise **n)
{
    if (!*n)
        return;
    on_period(*n);
    timer_free(&(*n)->period);
    free(*n);
    *n = NULL;
}
