#include "route_sharing.h"
#include "route_priv.h"

enum { NAME_MAX_LEN = 64 };

bool route_sharing_is_name(const char *name)
{
    size_t len = strlen(name),
           ok = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return len > 0 && len <= NAME_MAX_LEN && ok == len && name[0] != '-';
}

const char *route_sharing_word(enum route_sharing_edit what)
{
    static const char *const words[] = {"make", "add", "remove", "drop"};

    return words[what];
}

void route_sharing_edit(struct store *s, enum route_sharing_edit what, const struct route_sharing_change *c,
                        route_done_fn fn, void *owner)
{
    struct args a = {0};

    args_text(&a, route_sharing_word(what));
    args_text(&a, c->group);
    args_text(&a, c->who);
    args_text(&a, c->reason);
    args_number(&a, c->most);
    for (size_t i = 0; i < c->n; i++) {
        args_text(&a, c->users[i]);
        args_text(&a, route_home(s, c->users[i]));
    }
    route_run(s, "sharing_edit", &a, fn, owner);
}

void route_sharing_list(struct store *s, route_rows_fn fn, void *owner)
{
    struct args a = {0};

    route_run_rows(s, "sharing_list", &a, fn, owner);
}

void route_sharing_read(struct store *s, const char *group, const char *user, route_rows_fn fn, void *owner)
{
    struct args a = {0};

    args_text(&a, group);
    args_text(&a, user);
    route_run_rows(s, "sharing_read", &a, fn, owner);
}

void route_sharing_move(struct store *s, const struct route_sharing_move *m, route_done_fn fn, void *owner)
{
    struct args a = {0};
    struct buf retired = {0};

    route_write_retired(store_conf(s), &retired);
    args_text(&a, m->group);
    args_text(&a, m->who);
    args_text(&a, m->reason);
    args_text(&a, m->rev);
    args_text(&a, m->target);
    args_bool(&a, m->now);
    args_text(&a, buf_str(&retired));
    for (size_t i = 0; i < m->n; i++) {
        args_text(&a, m->users[i]);
        args_bool(&a, m->back[i]);
    }
    route_run(s, "sharing_move", &a, fn, owner);
    buf_free(&retired);
}
