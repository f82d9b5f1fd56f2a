/* Whether both servers of a move make UIDLs of POP3 by one format (uidls.h): where not, mail programs that read by POP3 download
 * again, whatever becomes of the numbers of mailboxes. */
#include <stdlib.h>

#include "lib/xalloc.h"

#include "check_priv.h"
#include "uidls.h"

/* One move from a server to another. */
struct check_pop3 {
    struct check *c;
    struct uidls *look;
    struct check_pop3 *next; /* owned */
};

static void check_on_uidls(void *owner, const struct uidls_side sides[2])
{
    struct check_pop3 *p = owner;
    struct check *c = p->c;
    bool same;
    char *text = uidls_say(sides, true, &same);

    if (same)
        check_line(c, c->rest, "pop3", CHECK_OK, "",
                   "%s and %s: UIDLs are %s, so they stay where INBOX keeps its numbers (T0)",
                   sides[0].backend->name, sides[1].backend->name, text);
    else
        check_line(
            c, c->rest, "pop3", CHECK_WARNING,
            uidls_are_known(sides)
                ? "The handbook has a table of the formats (\"Users who read by POP3\"): set one before accounts move."
                : "Set check_user of both to a test account with a message in its INBOX: its UIDLs are looked at.",
            "%s and %s: UIDLs are %s", sides[0].backend->name, sides[1].backend->name, text);
    free(text);
    uidls_cancel(&p->look);
    check_ended(c);
}

static bool check_lists_uidls(const struct check *c, const struct side *s)
{
    bool by_master = *s->b->master_user && s->b->master_password;
    bool may_ask = !s->b->retired && (s->tls || !backend_has_tls(s->b));

    return backend_has_pop3(s->b) && by_master && may_ask && (c->login || *s->b->check_user);
}

static void check_uidls_of(struct check *c, const char *source, const char *target)
{
    const struct side *from = check_side_of(c, source), *to = check_side_of(c, target);

    if (!from || !to || !check_lists_uidls(c, from) || !check_lists_uidls(c, to))
        return;
    struct check_pop3 *p = xcalloc(1, sizeof *p);
    struct uidls_side sides[2] = {{.backend = from->b, .tls = from->tls}, {.backend = to->b, .tls = to->tls}};
    *p = (struct check_pop3){.c = c, .next = c->pop3};
    c->pop3 = p;
    c->pending++;
    p->look = uidls_start(c->loop, c->login, sides, check_on_uidls, p);
}

void check_pop3(struct check *c)
{
    check_each_pair(c, check_uidls_of);
}

bool check_pop3_pending(const struct check *c)
{
    for (const struct check_pop3 *p = c->pop3; p; p = p->next)
        if (p->look)
            return true;
    return false;
}

void check_pop3_drop(struct check *c)
{
    for (struct check_pop3 *p = c->pop3; p; p = p->next)
        uidls_cancel(&p->look);
}

void check_pop3_free(struct check *c)
{
    struct check_pop3 *p;

    check_pop3_drop(c);
    while ((p = c->pop3)) {
        c->pop3 = p->next;
        free(p);
    }
}
