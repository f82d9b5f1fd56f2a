#include <assert.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "arrange.h"

/* One command after the other: what fails has to be named, and an account is created once.
 *
 *   CREATE each missing mailbox -> SUBSCRIBE each -> UNSUBSCRIBE each -> done
 *
 * Some servers take no subscription to a mailbox that is not there. Then it is made, subscribed and deleted
 * again: it is ours, empty, and a few milliseconds old, since CREATE said OK. Cyrus takes the subscription
 * away with the mailbox, which has to be looked for. */
enum step { CREATE, SUBSCRIBE, UNSUBSCRIBE };
enum detour { NONE, MAKE, AGAIN, REMOVE, LOOK }; /* of a SUBSCRIBE that was refused */

struct arrange {
    struct imapc *target;
    const struct plan *plan;
    arrange_fn fn;
    void *owner;
    enum step step;
    size_t at;     /* the item of the step that is under way */
    bool with_use; /* the CREATE under way asks for the special use */
    enum detour detour;
    bool listed; /* LSUB has the name */
    struct arrange_result result;
};

static void on_answer(void *owner, const struct imapc_end *end);

static void finish(struct arrange *a, enum arrange_rc rc)
{
    a->result.rc = rc;
    a->fn(a->owner, &a->result);
    free(a);
}

static bool on_data(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct arrange *a = owner;
    bool is_lsub = resp->kind == RESP_DATA && span_is_ci(resp->word, "LSUB");

    (void)data;
    a->listed = a->listed || is_lsub;
    return is_lsub;
}

static void send_name(struct arrange *a, const char *verb, const char *name, unsigned special_use)
{
    struct imap_writer w;

    imap_writer_init(&w, imapc_literals(a->target));
    imap_write_raw(&w, "%s ", verb);
    imap_write_astring(&w, span_str(name));
    if (special_use) {
        struct buf use = {0};
        special_use_write(&use, special_use);
        imap_write_raw(&w, " (USE (%s))", buf_str(&use));
        buf_free(&use);
    }
    imapc_send(a->target, &w, &(struct imapc_command){.data = on_data, .end = on_answer, .owner = a});
}

static void send_create(struct arrange *a, bool with_use)
{
    const struct plan_item *item = &a->plan->items[a->at];

    a->with_use =
        with_use && item->source->special_use && imap_caps_has(imapc_caps(a->target), CAP_CREATE_SPECIAL_USE);
    send_name(a, "CREATE", item->target_name, a->with_use ? item->source->special_use : 0);
}

/* Sends the next command, or ends. */
static void go_on(struct arrange *a)
{
    const struct plan *p = a->plan;

    while (a->step == CREATE && a->at < p->n && !p->items[a->at].create)
        a->at++;
    if (a->step == CREATE && a->at == p->n) {
        a->step = SUBSCRIBE;
        a->at = 0;
    }
    if (a->step == SUBSCRIBE && a->at == p->subscribe.n) {
        a->step = UNSUBSCRIBE;
        a->at = 0;
    }
    a->detour = NONE;
    if (a->step == CREATE)
        send_create(a, true);
    else if (a->step == SUBSCRIBE)
        send_name(a, "SUBSCRIBE", p->subscribe.items[a->at], 0);
    else if (a->at < p->unsubscribe.n)
        send_name(a, "UNSUBSCRIBE", p->unsubscribe.items[a->at], 0);
    else
        finish(a, ARRANGE_OK);
}

static void next(struct arrange *a)
{
    a->at++;
    go_on(a);
}

static bool is_temporary(struct span code)
{
    return imap_code_is(code, "UNAVAILABLE", NULL) || imap_code_is(code, "INUSE", NULL) ||
           imap_code_is(code, "LIMIT", NULL) || imap_code_is(code, "SERVERBUG", NULL);
}

static void created(struct arrange *a, const struct imapc_end *end)
{
    const struct plan_item *item = &a->plan->items[a->at];

    if (end->rc != IMAPC_OK && a->with_use) {
        send_create(a, false);
        return;
    }
    /* Another run of ours was faster, or the answer to an earlier CREATE was lost: what counts is that it is
     * there. */
    if (end->rc == IMAPC_OK || imap_code_is(end->code, "ALREADYEXISTS", NULL)) {
        a->result.created += end->rc == IMAPC_OK;
        a->result.plain += item->source->special_use && !a->with_use;
        next(a);
        return;
    }
    struct buf why = {0};
    buf_add_str(&why, "the target does not create ");
    plan_show_name(&why, item->target_name);
    buf_add_str(&why, ": ");
    imap_write_text(&why, end->text);
    a->result.why = is_temporary(end->code) ? WHY_REFUSED : WHY_CANNOT;
    a->result.detail = buf_str(&why);
    finish(a, ARRANGE_FAILED);
    buf_free(&why);
}

/* NONE -> (refused) MAKE -> AGAIN -> REMOVE -> LOOK */
static void subscribed(struct arrange *a, const struct imapc_end *end)
{
    const char *name = a->plan->subscribe.items[a->at];
    bool ok = end->rc == IMAPC_OK;

    switch (a->detour) {
    case NONE:
        if (!ok) {
            a->detour = MAKE;
            send_name(a, "CREATE", name, 0);
            return;
        }
        break;
    case MAKE:
        if (ok) {
            a->detour = AGAIN;
            send_name(a, "SUBSCRIBE", name, 0);
            return;
        }
        a->result.not_subscribed++;
        break;
    case AGAIN:
        a->detour = REMOVE;
        send_name(a, "DELETE", name, 0);
        return;
    case REMOVE:
        a->detour = LOOK;
        a->listed = false;
        send_name(a, "LSUB \"\"", name, 0);
        return;
    case LOOK:
        a->result.not_subscribed += !a->listed;
        break;
    }
    next(a);
}

static void on_answer(void *owner, const struct imapc_end *end)
{
    struct arrange *a = owner;

    if (end->rc == IMAPC_DOWN) {
        a->result.detail = imapc_error(a->target);
        finish(a, ARRANGE_DOWN);
        return;
    }
    switch (a->step) {
    case CREATE:
        created(a, end);
        break;
    case SUBSCRIBE:
        subscribed(a, end);
        break;
    case UNSUBSCRIBE:
        a->result.not_subscribed += end->rc != IMAPC_OK;
        next(a);
        break;
    }
}

bool arrange_is_needed(const struct plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->items[i].create)
            return true;
    return p->subscribe.n > 0 || p->unsubscribe.n > 0;
}

struct arrange *arrange_start(struct imapc *target, const struct plan *plan, arrange_fn fn, void *owner)
{
    struct arrange *a = xcalloc(1, sizeof(*a));

    assert(arrange_is_needed(plan));
    a->target = target;
    a->plan = plan;
    a->fn = fn;
    a->owner = owner;
    go_on(a);
    return a;
}

void arrange_cancel(struct arrange **ap)
{
    struct arrange *a = *ap;

    *ap = NULL;
    if (!a)
        return;
    imapc_forget(a->target, a);
    free(a);
}
