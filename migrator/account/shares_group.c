#include <stdlib.h>

#include "lib/route_sharing.h"
#include "lib/xalloc.h"

#include "move.h"
#include "shares.h"

void shares_group_free(struct shares_group *g)
{
    for (size_t i = 0; i < g->n; i++)
        free(g->users[i]);
    free(g->users);
    *g = (struct shares_group){0};
}

void shares_group_fill(struct shares_group *g, const struct span *rows, size_t n)
{
    shares_group_free(g);
    g->users = xcalloc(n + 1, sizeof(*g->users));
    for (size_t i = SHARING_HEAD; i + SHARING_MEMBER <= n; i += SHARING_MEMBER)
        g->users[g->n++] = xspandup(rows[i]);
}

bool shares_group_goes_along(const void *move, const char *who)
{
    const struct move *m = move;

    return shares_is_in(&m->members, m->m->conf, m->login, who);
}
