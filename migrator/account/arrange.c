#include <assert.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "arrange.h"

/* Each step has up to WINDOW commands under way, so that an account of thousands of mailboxes waits for few
 * round trips; a server executes them in the order in which they were sent, so parents come first.
 *
 *   CREATE each missing mailbox -> SUBSCRIBE each -> DETOUR each that was refused -> UNSUBSCRIBE each -> done
 *
 * Behind the CREATEs goes a LIST, so that what they made is seen without another round trip; it is asked
 * again where a CREATE was answered after it.
 *
 * Some servers take no subscription to a mailbox that is not there. On the detour it is made, subscribed and
 * deleted again, one after the other: it is ours, empty, and a few milliseconds old, since CREATE said OK.
 * Cyrus takes the subscription away with the mailbox, which has to be looked for. */
enum arrange_step { CREATE, SUBSCRIBE, DETOUR, UNSUBSCRIBE, DONE };
enum detour { MAKE, AGAIN, REMOVE, CHECK };

enum { WINDOW = 50 };

/* A command under way. */
struct arrange_op {
    struct arrange *a;
    size_t item;
    bool with_use; /* CREATE with a special use */
    bool sets_use; /* it was created, and SETMETADATA is under way */
};

struct arrange {
    struct imapc *target;
    struct plan *plan;
    enum arrange_what what;
    struct findings *findings; /* borrowed */
    arrange_fn fn;
    void *owner;
    enum arrange_step step;
    size_t next;                   /* item of the step that is to be sent next */
    size_t pending;                /* commands under way */
    struct arrange_op ops[WINDOW]; /* a == NULL: free */
    bool *exists;                  /* by item: CREATE said that it is there already; owned */
    bool *seen;                    /* by item: LIST has it; owned */
    bool looked;                   /* LIST was asked */
    bool listed_all;               /* ... and answered */
    bool stale;                    /* ... too early */
    struct arrange_wanted *wanted; /* the created ones, sorted by name; owned */
    size_t n_wanted;
    size_t *refused; /* subscriptions for the detour; owned */
    size_t n_refused;
    enum detour detour;
    bool subscribed; /* LSUB has the name */
    struct arrange_result result;
};

static void arrange_go_on(struct arrange *a);
static void arrange_on_answer(void *owner, const struct imapc_end *end);

static void arrange_release(struct arrange *a)
{
    free(a->exists);
    free(a->seen);
    free(a->refused);
    free(a->wanted);
    free(a);
}

static void arrange_forget_commands(struct arrange *a)
{
    for (size_t i = 0; i < WINDOW; i++)
        imapc_forget(a->target, &a->ops[i]);
    imapc_forget(a->target, a);
}

static void arrange_finish(struct arrange *a, enum arrange_rc rc)
{
    arrange_forget_commands(a);
    a->result.rc = rc;
    a->fn(a->owner, &a->result);
    arrange_release(a);
}

/* What the target said, behind what it said it to. */
static void add_refusal(struct arrange *a, enum finding_kind kind, const char *mailbox, const char *what,
                        const struct imapc_end *end)
{
    char *said = imapc_end_text(end);

    findings_add(a->findings, kind, mailbox, 0, "%s: %s", what, said);
    free(said);
}

/* ---- commands */

static struct arrange_op *arrange_free_op(struct arrange *a)
{
    for (size_t i = 0; i < WINDOW; i++)
        if (!a->ops[i].a)
            return &a->ops[i];
    return NULL;
}

static void arrange_send_name(struct arrange *a, const char *verb, const char *name, unsigned special_use,
                              const struct imapc_command *cmd)
{
    struct buf use = {0};

    if (special_use) {
        buf_add_str(&use, " (USE (");
        special_use_write(&use, special_use);
        buf_add_str(&use, "))");
    }
    imapc_send_named(a->target, cmd, verb, name, buf_str(&use));
    buf_free(&use);
    a->pending++;
}

static void send_op(struct arrange *a, struct arrange_op *op, const char *verb, const char *name,
                    unsigned special_use)
{
    arrange_send_name(a, verb, name, special_use,
                      &(struct imapc_command){.end = arrange_on_answer, .owner = op});
}

static void send_create(struct arrange_op *op, bool with_use)
{
    struct arrange *a = op->a;
    const struct plan_item *item = &a->plan->items[op->item];
    unsigned use = item->source->special_use;

    a->stale = a->stale || a->looked;
    op->with_use = with_use && use && imap_caps_has(imapc_caps(a->target), CAP_CREATE_SPECIAL_USE);
    send_op(a, op, "CREATE", item->target_name, op->with_use ? use : 0);
}

/* Where CREATE takes none: RFC 6154 section 5.4. */
static void send_use(struct arrange_op *op)
{
    struct arrange *a = op->a;
    const struct plan_item *item = &a->plan->items[op->item];
    struct buf use = {0};
    struct imap_writer w;

    op->sets_use = true;
    special_use_write(&use, item->source->special_use);
    imap_writer_init(&w, imapc_literals(a->target));
    imap_write_raw(&w, "SETMETADATA ");
    imap_write_astring(&w, span_str(item->target_name));
    imap_write_raw(&w, " (/private/specialuse ");
    imap_write_string(&w, buf_span(&use));
    imap_write_raw(&w, ")");
    imapc_send(a->target, &w, &(struct imapc_command){.end = arrange_on_answer, .owner = op});
    a->pending++;
    buf_free(&use);
}

/* ---- CREATE */

static void refuse_for_now(struct arrange *a, const char *name, const struct imapc_end *end)
{
    struct buf why = {0};
    char *said = imapc_end_text(end);

    buf_add_str(&why, "the target does not create ");
    plan_show_name(&why, name);
    buf_printf(&why, ": %s", said);
    free(said);
    a->result.detail = buf_str(&why);
    arrange_finish(a, ARRANGE_LATER);
    buf_free(&why);
}

/* True: the op is done with. False: it goes on, or all is over. */
static bool arrange_created(struct arrange_op *op, const struct imapc_end *end)
{
    struct arrange *a = op->a;
    struct plan_item *item = &a->plan->items[op->item];
    bool exists = imap_code_is(end->code, "ALREADYEXISTS", NULL);

    if (op->sets_use) {
        if (end->rc != IMAPC_OK)
            add_refusal(a, FINDING_SPECIAL_USE, item->source->name, "created without", end);
        return true;
    }
    if (end->rc != IMAPC_OK && op->with_use && !exists) {
        send_create(op, false);
        return false;
    }
    if (end->rc != IMAPC_OK && !exists && imapc_end_temporary(end)) {
        refuse_for_now(a, item->target_name, end);
        return false;
    }
    if (end->rc == IMAPC_OK || exists) {
        a->result.created += end->rc == IMAPC_OK;
        a->exists[op->item] = exists;
        if (!item->source->special_use || op->with_use)
            return true;
        if (!exists && imap_caps_has(imapc_caps(a->target), CAP_METADATA)) {
            send_use(op);
            return false;
        }
        findings_add(a->findings, FINDING_SPECIAL_USE, item->source->name, 0, "created without");
        return true;
    }
    item->refused = true;
    add_refusal(a, FINDING_NAME, item->source->name, "the target does not create it", end);
    return true;
}

/* ---- LIST */

/* A name that was created, for looking up. */
struct arrange_wanted {
    const char *name; /* borrowed */
    size_t item;
};

static int compare_wanted(const void *a, const void *b)
{
    return strcmp(((const struct arrange_wanted *)a)->name, ((const struct arrange_wanted *)b)->name);
}

static void make_wanted(struct arrange *a)
{
    const struct plan *p = a->plan;

    a->wanted = xcalloc(p->n + 1, sizeof(*a->wanted));
    for (size_t i = 0; i < p->n; i++)
        if (p->items[i].create)
            a->wanted[a->n_wanted++] = (struct arrange_wanted){p->items[i].target_name, i};
    qsort(a->wanted, a->n_wanted, sizeof(*a->wanted), compare_wanted);
}

static void arrange_note_seen(struct arrange *a, const char *name)
{
    struct arrange_wanted key = {.name = name};
    struct arrange_wanted *w = bsearch(&key, a->wanted, a->n_wanted, sizeof(key), compare_wanted);

    if (w)
        a->seen[w->item] = true;
}

static enum imapc_taken arrange_on_list_data(void *owner, const struct imap_resp *resp,
                                             const struct imap_value *data)
{
    struct arrange *a = owner;
    struct list_line line;

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "LIST"))
        return IMAPC_NOT_MINE;
    if (!list_line_read(data, &line))
        return IMAPC_ODD;
    char *key = xspandup(line.name);
    arrange_note_seen(a, key);
    free(key);
    return line.whole ? IMAPC_TAKEN : IMAPC_ODD;
}

/* A server that folds names says that it is there, or makes it under another name: nothing may be copied into
 * that. */
static void judge_created(struct arrange *a)
{
    for (size_t i = 0; i < a->plan->n; i++) {
        struct plan_item *item = &a->plan->items[i];
        if (!item->create || item->refused || a->seen[i])
            continue;
        item->refused = true;
        findings_add(a->findings, a->exists[i] ? FINDING_COLLISION : FINDING_NAME, item->source->name, 0,
                     "%s",
                     a->exists[i] ? "the target takes the name for that of another mailbox"
                                  : "the target makes another name of it");
    }
}

static void arrange_on_looked(void *owner, const struct imapc_end *end)
{
    struct arrange *a = owner;

    a->pending--;
    if (end->rc == IMAPC_DOWN) {
        a->result.detail = imapc_error(a->target);
        arrange_finish(a, ARRANGE_DOWN);
        return;
    }
    a->listed_all = end->rc == IMAPC_OK;
    a->stale = a->stale || a->pending > 0;
    arrange_go_on(a);
}

static void arrange_look(struct arrange *a)
{
    a->looked = true;
    a->stale = false;
    memset(a->seen, 0, a->plan->n * sizeof(*a->seen));
    imapc_sendf(a->target,
                &(struct imapc_command){.data = arrange_on_list_data, .end = arrange_on_looked, .owner = a},
                "LIST \"\" \"*\"");
    a->pending++;
}

/* ---- DETOUR */

static void on_detour(void *owner, const struct imapc_end *end);

static enum imapc_taken arrange_on_lsub_data(void *owner, const struct imap_resp *resp,
                                             const struct imap_value *data)
{
    struct arrange *a = owner;
    struct list_line line;

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "LSUB"))
        return IMAPC_NOT_MINE;
    a->subscribed = true;
    return list_line_read(data, &line) && line.whole ? IMAPC_TAKEN : IMAPC_ODD;
}

static const char *detour_name(const struct arrange *a)
{
    return a->plan->subscribe.items[a->refused[a->next]];
}

static void send_detour(struct arrange *a, enum detour detour)
{
    static const char *const verbs[] = {"CREATE", "SUBSCRIBE", "DELETE", "LSUB \"\""};

    a->detour = detour;
    a->subscribed = false;
    arrange_send_name(a, verbs[detour], detour_name(a), 0,
                      &(struct imapc_command){.data = arrange_on_lsub_data, .end = on_detour, .owner = a});
}

static void detour_ends(struct arrange *a, bool subscribed)
{
    if (!subscribed)
        findings_add(a->findings, FINDING_SUBSCRIPTION, detour_name(a), 0, "not taken for what is not there");
    a->next++;
    arrange_go_on(a);
}

static void on_detour(void *owner, const struct imapc_end *end)
{
    struct arrange *a = owner;

    a->pending--;
    if (end->rc == IMAPC_DOWN) {
        a->result.detail = imapc_error(a->target);
        arrange_finish(a, ARRANGE_DOWN);
    } else if (a->detour == CHECK) {
        detour_ends(a, a->subscribed);
    } else if (a->detour == MAKE && end->rc != IMAPC_OK) {
        detour_ends(a, false);
    } else {
        send_detour(a, a->detour + 1);
    }
}

/* ---- one step after the other */

static void arrange_on_answer(void *owner, const struct imapc_end *end)
{
    struct arrange_op *op = owner;
    struct arrange *a = op->a;

    a->pending--;
    if (end->rc == IMAPC_DOWN) {
        a->result.detail = imapc_error(a->target);
        arrange_finish(a, ARRANGE_DOWN);
        return;
    }
    if (a->step == CREATE && !arrange_created(op, end))
        return;
    if (a->step == SUBSCRIBE && end->rc != IMAPC_OK)
        a->refused[a->n_refused++] = op->item;
    if (a->step == UNSUBSCRIBE && end->rc != IMAPC_OK)
        add_refusal(a, FINDING_SUBSCRIPTION, a->plan->unsubscribe.items[op->item], "the target keeps it",
                    end);
    op->a = NULL;
    arrange_go_on(a);
}

static size_t items_of(const struct arrange *a)
{
    switch (a->step) {
    case CREATE:
        return a->what & ARRANGE_MAILBOXES ? a->plan->n : 0;
    case SUBSCRIBE:
        return a->what & ARRANGE_SUBSCRIPTIONS ? a->plan->subscribe.n : 0;
    case UNSUBSCRIBE:
        return a->what & ARRANGE_SUBSCRIPTIONS ? a->plan->unsubscribe.n : 0;
    case DETOUR:
        return a->n_refused;
    case DONE:
        break;
    }
    return 0;
}

static void send_item(struct arrange *a, size_t item)
{
    const struct plan *p = a->plan;

    if (a->step == CREATE && !p->items[item].create)
        return;
    struct arrange_op *op = arrange_free_op(a);
    *op = (struct arrange_op){.a = a, .item = item};
    if (a->step == CREATE)
        send_create(op, true);
    else if (a->step == SUBSCRIBE)
        send_op(a, op, "SUBSCRIBE", p->subscribe.items[item], 0);
    else
        send_op(a, op, "UNSUBSCRIBE", p->unsubscribe.items[item], 0);
}

static bool waits_for_list(const struct arrange *a)
{
    return a->step == CREATE && a->n_wanted > 0 && a->next == items_of(a) && (!a->looked || a->stale);
}

static void end_step(struct arrange *a)
{
    if (a->step == CREATE && a->listed_all)
        judge_created(a);
    a->step++;
    a->next = 0;
}

/* Sends what the window has room for; with nothing under way and nothing left, the next step. */
static void arrange_go_on(struct arrange *a)
{
    while (a->step != DONE) {
        if (a->step == DETOUR && a->next < a->n_refused) {
            send_detour(a, MAKE);
            return;
        }
        while (a->step != DETOUR && a->next < items_of(a) && a->pending < WINDOW)
            send_item(a, a->next++);
        if (waits_for_list(a) && (a->pending == 0 || (!a->looked && a->pending < WINDOW)))
            arrange_look(a);
        if (a->pending > 0)
            return;
        end_step(a);
    }
    arrange_finish(a, ARRANGE_OK);
}

bool arrange_is_needed(const struct plan *p, enum arrange_what what)
{
    for (size_t i = 0; (what & ARRANGE_MAILBOXES) && i < p->n; i++)
        if (p->items[i].create)
            return true;
    return (what & ARRANGE_SUBSCRIPTIONS) && p->subscribe.n + p->unsubscribe.n > 0;
}

struct arrange *arrange_start(struct imapc *target, struct plan *plan, enum arrange_what what,
                              struct findings *findings, arrange_fn fn, void *owner)
{
    struct arrange *a = xcalloc(1, sizeof(*a));

    assert(arrange_is_needed(plan, what));
    a->target = target;
    a->plan = plan;
    a->what = what;
    a->findings = findings;
    a->fn = fn;
    a->owner = owner;
    a->exists = xcalloc(plan->n + 1, sizeof(*a->exists));
    a->seen = xcalloc(plan->n + 1, sizeof(*a->seen));
    a->refused = xcalloc(plan->subscribe.n + 1, sizeof(*a->refused));
    if (what & ARRANGE_MAILBOXES)
        make_wanted(a);
    arrange_go_on(a);
    return a;
}

bool arrange_has_asked(const struct arrange *a)
{
    return a->step == CREATE && a->looked && a->next == items_of(a) && !(a->what & ARRANGE_SUBSCRIPTIONS);
}

void arrange_cancel(struct arrange **ap)
{
    struct arrange *a = *ap;

    *ap = NULL;
    if (!a)
        return;
    arrange_forget_commands(a);
    arrange_release(a);
}
