#include <stdlib.h>

#include "lib/xalloc.h"

#include "glance.h"

/* A mailbox that was asked for; its address is the owner of its command. */
struct glance_one {
    struct glance *glance;
    struct glance_at *at;
};

struct glance {
    struct imapc *imap;
    glance_fn fn;
    void *owner;
    struct glance_one *ones; /* owned */
    size_t n, answered;
    bool down;
};

static void glance_free(struct glance *l)
{
    free(l->ones);
    free(l);
}

static void glance_take_code(struct stamp_side *now, struct span code)
{
    struct span args;

    if (imap_code_is(code, "UIDVALIDITY", &args))
        now->uidvalidity = span_u32(args, &now->uidvalidity) ? now->uidvalidity : 0;
    else if (imap_code_is(code, "UIDNEXT", &args))
        now->uidnext = span_u32(args, &now->uidnext) ? now->uidnext : 0;
    else if (imap_code_is(code, "HIGHESTMODSEQ", &args))
        now->modseq = span_u64(args, UINT64_MAX, &now->modseq) ? now->modseq : 0;
}

enum imapc_taken glance_take(struct stamp_side *now, const struct imap_resp *resp)
{
    if (resp->kind == RESP_STATUS && resp->status == STATUS_OK)
        glance_take_code(now, resp->code);
    else if (resp->kind == RESP_DATA && span_is_ci(resp->word, "EXISTS"))
        now->messages = resp->number;
    else if (resp->kind != RESP_DATA ||
             !(span_is_ci(resp->word, "FLAGS") || span_is_ci(resp->word, "RECENT")))
        return IMAPC_NOT_MINE;
    return IMAPC_TAKEN;
}

static enum imapc_taken glance_on_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    (void)data;
    return glance_take(&((struct glance_one *)owner)->at->now, resp);
}

static void glance_on_end(void *owner, const struct imapc_end *end)
{
    struct glance_one *one = owner;
    struct glance *l = one->glance;

    if (end->rc != IMAPC_OK)
        one->at->now = (struct stamp_side){0};
    l->down = l->down || end->rc == IMAPC_DOWN;
    if (++l->answered < l->n)
        return;
    glance_fn fn = l->fn;
    void *whose = l->owner;
    bool up = !l->down;
    glance_free(l);
    fn(whose, up);
}

static void glance_send_examine(struct glance *l, struct glance_one *one)
{
    const struct imapc_command cmd = {
        .data = glance_on_data, .end = glance_on_end, .owner = one, .mailbox = one->at->name};

    imapc_send_named(l->imap, &cmd, "EXAMINE", one->at->name, "");
}

struct glance *glance_start(struct imapc *c, struct glance_at *at, size_t n, glance_fn fn, void *owner)
{
    struct glance *l = xcalloc(1, sizeof(*l));

    l->imap = c;
    l->fn = fn;
    l->owner = owner;
    l->n = n;
    l->ones = xcalloc(n, sizeof(*l->ones));
    for (size_t i = 0; i < n; i++) {
        at[i].now = (struct stamp_side){0};
        l->ones[i] = (struct glance_one){.glance = l, .at = &at[i]};
        glance_send_examine(l, &l->ones[i]);
    }
    return l;
}

void glance_cancel(struct glance **lp)
{
    struct glance *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++)
        imapc_forget(l->imap, &l->ones[i]);
    glance_free(l);
}
