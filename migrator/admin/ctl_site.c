#include <stdlib.h>

#include "lib/xalloc.h"

#include "ctl_site.h"

enum {
    STORE_TIMEOUT_MS = 5000,
    /* until the store must be there: an attempt to connect has told by then what is wrong */
    REACH_MS = STORE_TIMEOUT_MS + 1500,
};

static void ctl_site_fail(struct ctl_site *s, enum action_rc rc, char *error)
{
    if (s->started || s->error) {
        free(error);
        return;
    }
    s->rc = rc;
    s->error = error;
    loop_stop(s->m.loop);
}

/* Of several, one that is out of reach is told of with the accounts that it has. */
static void ctl_site_on_store(void *owner, size_t place, enum store_state state, const char *detail)
{
    struct ctl_site *s = owner;
    const struct stores *all = s->m.stores;

    (void)place;
    for (size_t i = 0; i < all->n; i++)
        if (s->started || s->error || store_state(all->all[i]) == STORE_CONNECTING)
            return;
    if (state != STORE_UP && all->n == 1) {
        ctl_site_fail(s, ACTION_UNREACHABLE, xasprintf("the store is out of reach: %s", detail));
        return;
    }
    s->started = true;
    s->begin(s->owner);
}

static void ctl_site_on_reach(void *owner)
{
    ctl_site_fail(owner, ACTION_UNREACHABLE, xstrdup("the store is out of reach: no answer"));
}

/* NULL: it is made; else why not, to free. */
static char *ctl_site_make(struct ctl_site *s)
{
    const struct conf *c = s->conf;
    struct migrator *m = &s->m;
    char *error = NULL;

    m->backends = backends_new(m->loop, c, &error);
    if (m->backends && c->seal.private_key_files.n > 0)
        m->seal = seal_private_load(c->seal.private_key_files.items, c->seal.private_key_files.n, &error);
    if (!error)
        m->stores = stores_new(m->loop, c, STORE_TIMEOUT_MS, ctl_site_on_store, s);
    for (size_t i = 0; m->stores && i < m->stores->n; i++)
        store_begin_with_a_look(m->stores->all[i]);
    if (m->stores)
        m->store = m->stores->all[0];
    return error;
}

void ctl_site_run(struct ctl_site *s)
{
    struct migrator *m = &s->m;

    *m = (struct migrator){.loop = loop_new(), .conf = s->conf, .id = "plan"};
    s->reach = timer_new(m->loop, ctl_site_on_reach, s);
    s->rc = ACTION_DONE;
    s->error = ctl_site_make(s);
    if (s->error) {
        s->rc = ACTION_FAILED;
    } else {
        timer_start(s->reach, REACH_MS);
        loop_run(m->loop);
    }
    s->end(s->owner);
    stores_free(&m->stores);
    backends_free(&m->backends);
    if (m->seal)
        seal_private_free(&m->seal);
    timer_free(&s->reach);
    loop_free(&m->loop);
}
