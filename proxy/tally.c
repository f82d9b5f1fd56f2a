#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "tally.h"

enum { LOG_MS = 60 * 60 * 1000 };

struct sum {
    const char *why; /* borrowed */
    uint64_t count, logged;
};

struct tally {
    unsigned thread;
    struct timer *timer; /* owned */
    struct sum sums[TALLY_COUNT][TALLY_WORDS];
    size_t n[TALLY_COUNT];
};

static const char *const of_words[TALLY_COUNT] = {"ends", "handovers", "breakers", "refused_at_once"};

static void log_sums(struct tally *t, enum tally_of of)
{
    for (size_t i = 0; i < t->n[of]; i++) {
        struct sum *s = &t->sums[of][i];
        if (s->count == s->logged)
            continue;
        s->logged = s->count;
        LOG(INFO, "tally", LOG_U("thread", t->thread), LOG_S("of", of_words[of]), LOG_S("why", s->why),
            LOG_U("count", s->count));
    }
}

static void log_all(struct tally *t)
{
    for (size_t of = 0; of < TALLY_COUNT; of++)
        log_sums(t, (enum tally_of)of);
}

static void tally_on_timer(void *owner)
{
    struct tally *t = owner;
    log_all(t);
    timer_start(t->timer, LOG_MS);
}

struct tally *tally_new(struct loop *l, unsigned thread)
{
    struct tally *t = xcalloc(1, sizeof *t);
    t->thread = thread;
    t->timer = timer_new(l, tally_on_timer, t);
    timer_start(t->timer, LOG_MS);
    return t;
}

void tally_free(struct tally **tp)
{
    struct tally *t = *tp;
    *tp = NULL;
    if (!t)
        return;
    log_all(t);
    timer_free(&t->timer);
    free(t);
}

void tally_add(struct tally *t, enum tally_of of, const char *why)
{
    size_t i = 0;
    while (i < t->n[of] && strcmp(t->sums[of][i].why, why) != 0)
        i++;
    assert(i < TALLY_WORDS);
    if (i == t->n[of])
        t->sums[of][t->n[of]++].why = why;
    t->sums[of][i].count++;
}
