/* SYNCGET and SYNCAPPLY of Cyrus (cyrus_sync.h), in a session of the administrator. The name of INBOX is learnt by SYNCGET
 * USER.
 *
 * A message (depot.h) goes in four commands:
 *
 *   SYNCGET              of the partition on which the mailbox lies
 *   SYNCAPPLY MESSAGE    its bytes, which the server keeps beside, for this session
 *   SYNCGET              of the numbers that the mailbox has by then
 *   SYNCAPPLY MAILBOX    with the RECORD of the message: that stores it. If a delivery came in between the two, it is
 *                        refused, and both are repeated
 *   SYNCRESTART          what is kept for this session may go
 *
 * Messages go one after the other. If one is given up in its bytes, the connection breaks, and is opened again. */
#include <inttypes.h>
#include <stdlib.h>

#include "lib/fault.h"
#include "lib/imap_write.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "channel_priv.h"
#include "cyrus_sync.h"

/* ---- what a mailbox is to have */

/* False: it can't be had, *why says why. */
static bool cyrus_decide(const struct channel_want *want, struct cyrus_numbers *n, const char **why)
{
    if (want->was && n->uidvalidity != want->was) {
        *why = "the mailbox of this name inside of the server is another one";
        return false;
    }
    bool anew = want->uidvalidity && want->uidvalidity < n->uidvalidity;
    if (anew && n->last_uid > 0) {
        *why = "UIDVALIDITY can't be lowered in a mailbox that has been used";
        return false;
    }
    if (anew)
        random_hex(n->anew, sizeof(n->anew) / 2);
    if (want->uidvalidity)
        n->uidvalidity = want->uidvalidity;
    if (want->uidnext > 0 && want->uidnext - 1 > n->last_uid)
        n->last_uid = want->uidnext - 1;
    if (want->modseq > n->modseq)
        n->modseq = want->modseq;
    return true;
}

/* ---- the dialog */

enum { STALE_MAX = 5 /* messages of others that come between two commands of ours, one after the other */ };

static void cyrus_get(struct channel_op *op);

/* A delivery was faster, and has the number: then it is another one, or none is left. */
static bool cyrus_is_stale(struct channel_op *op, const char *text)
{
    return op->giver && strstr(text, "IMAP_SYNC_CHECKSUM") && ++op->stale < STALE_MAX;
}

static void cyrus_ignore_end(void *owner, const struct imapc_end *end)
{
    (void)owner, (void)end; /* should it be down, the next command says so */
}

static void cyrus_stored(struct channel_op *op)
{
    if (op->giver)
        imapc_sendf(op->c->imap, &(struct imapc_command){.end = cyrus_ignore_end, .owner = op->c},
                    "SYNCRESTART");
    channel_op_ended(op, CHANNEL_OK, "done");
}

static void cyrus_on_applied(void *owner, const struct imapc_end *end)
{
    struct channel_op *op = owner;
    char *text = imapc_end_text(end);

    if (end->rc == IMAPC_DOWN)
        channel_op_ended(op, CHANNEL_LOST, "%s", imapc_error(op->c->imap));
    else if (end->rc == IMAPC_OK)
        cyrus_stored(op);
    else if (cyrus_is_stale(op, text))
        cyrus_get(op);
    else
        channel_op_ended(op, CHANNEL_REFUSED, "SYNCAPPLY: %s", text);
    free(text);
}

/* Is it a message whose bytes have not gone out yet? */
static bool cyrus_is_early(const struct channel_op *op)
{
    return op->giver && op->step != CHANNEL_STORING;
}

/* The partition goes as one word into the message's head. */
static void cyrus_note_partition(struct channel_op *op, const struct imap_value *list)
{
    struct span partition;

    if (!imap_value_string(imap_value_get(list, "PARTITION"), &partition) ||
        !imap_is_astring_atom(partition)) {
        op->clumsy = true;
        return;
    }
    free(op->partition);
    op->partition = xspandup(partition);
}

static bool cyrus_has_room(struct channel_op *op, struct cyrus_numbers *n)
{
    if (!cyrus_decide(&op->want, n, &op->refused) ||
        (op->giver && !cyrus_make_room(n, op->message.uid, &op->refused)))
        return false;
    op->uid = n->last_uid;
    return true;
}

/* The command is made while the answer is there, and sent when that has ended. */
static enum imapc_taken cyrus_on_mailbox(void *owner, const struct imap_resp *resp,
                                         const struct imap_value *data)
{
    struct channel_op *op = owner;
    const struct imap_value *list = cyrus_list(data);
    struct cyrus_numbers n = {0};
    struct span name;

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "MAILBOX"))
        return resp->kind == RESP_DATA ? IMAPC_TAKEN : IMAPC_NOT_MINE;
    if (!list || !imap_value_string(imap_value_get(list, "MBOXNAME"), &name) || !cyrus_read_numbers(list, &n))
        return IMAPC_ODD;
    if (op->found || !span_is(name, op->internal))
        return IMAPC_TAKEN;
    op->found = true;
    if (!cyrus_has_room(op, &n))
        return IMAPC_TAKEN;
    if (cyrus_is_early(op)) {
        cyrus_note_partition(op, list);
        return IMAPC_TAKEN;
    }
    struct imap_writer w;
    imap_writer_init(&w, imapc_literals(op->c->imap));
    cyrus_write_mailbox(&w, list, &n, op->giver ? &op->message : NULL, clock_wall_ms() / 1000);
    op->clumsy = w.bad || w.n_waits > 0;
    buf_clear(&op->apply);
    buf_add_span(&op->apply, buf_span(&w.out));
    imap_writer_wipe(&w);
    return IMAPC_TAKEN;
}

static void cyrus_apply(struct channel_op *op)
{
    struct imap_writer w;
    struct span text = buf_span(&op->apply);

    imap_writer_init(&w, imapc_literals(op->c->imap));
    buf_add_span(&w.out, text);
    buf_clear(&op->apply);
    imapc_send(op->c->imap, &w, &(struct imapc_command){.end = cyrus_on_applied, .owner = op});
}

/* The bytes are there, beside the mailbox. */
static void cyrus_on_given(void *owner, const struct imapc_end *end)
{
    struct channel_op *op = owner;
    char *text = imapc_end_text(end);

    op->step = CHANNEL_STORING;
    if (end->rc == IMAPC_DOWN)
        channel_op_ended(op, CHANNEL_LOST, "%s", imapc_error(op->c->imap));
    else if (end->rc != IMAPC_OK)
        channel_op_ended(op, CHANNEL_REFUSED, "SYNCAPPLY: %s", text);
    else
        cyrus_get(op);
    free(text);
}

/* From now on there is no second try: the bytes pass by once. */
static void cyrus_open_message(struct channel_op *op)
{
    struct imap_writer w;

    op->step = CHANNEL_GIVING;
    op->tries = CHANNEL_TRIES;
    imapc_set_timeout(op->c->imap, op->c->m->conf->migrator.command_timeout_ms);
    imap_writer_init(&w, imapc_literals(op->c->imap));
    cyrus_write_message(&w, span_str(op->partition), &op->message);
    imapc_stream_begin(op->c->imap, &w, op->message.size,
                       &(struct imapc_command){.end = cyrus_on_given, .owner = op});
    op->giver->go(op->owner);
}

static void cyrus_bytes(struct channel_op *op, struct span bytes)
{
    imapc_append_bytes(op->c->imap, bytes);
}

static bool cyrus_is_full(const struct channel_op *op)
{
    return imapc_append_full(op->c->imap);
}

static void cyrus_end(struct channel_op *op)
{
    imapc_stream_end(op->c->imap, CYRUS_BEHIND);
}

static void cyrus_on_got(void *owner, const struct imapc_end *end)
{
    struct channel_op *op = owner;
    char *text = imapc_end_text(end);

    if (end->rc == IMAPC_DOWN)
        channel_op_ended(op, op->giver && !cyrus_is_early(op) ? CHANNEL_LOST : CHANNEL_DOWN, "%s",
                         imapc_error(op->c->imap));
    else if (end->rc != IMAPC_OK)
        channel_op_ended(op, CHANNEL_REFUSED, "SYNCGET: %s", text);
    else if (!op->found)
        channel_op_ended(op, CHANNEL_REFUSED, "SYNCGET knows no mailbox \"%s\"", op->internal);
    else if (op->refused)
        channel_op_ended(op, CHANNEL_REFUSED, "%s", op->refused);
    else if (op->clumsy)
        channel_op_ended(op, CHANNEL_REFUSED, "what SYNCGET tells can't be sent back");
    else if (cyrus_is_early(op))
        cyrus_open_message(op);
    else
        cyrus_apply(op);
    free(text);
}

static void cyrus_get(struct channel_op *op)
{
    struct channel *c = op->c;
    struct buf name = {0};
    struct imap_writer w;

    cyrus_write_name(&name, c->root, c->prefix, c->separator, op->want.mailbox);
    free(op->internal);
    op->internal = xspandup(buf_span(&name));
    op->found = op->clumsy = false;
    op->refused = NULL;
    imap_writer_init(&w, imapc_literals(c->imap));
    imap_write_raw(&w, "SYNCGET MAILBOXES (");
    imap_write_astring(&w, buf_span(&name));
    imap_write_raw(&w, ")");
    imapc_send(c->imap, &w,
               &(struct imapc_command){.data = cyrus_on_mailbox, .end = cyrus_on_got, .owner = op});
    buf_free(&name);
}

/* ---- whose mailboxes */

static enum imapc_taken cyrus_on_user(void *owner, const struct imap_resp *resp,
                                      const struct imap_value *data)
{
    struct channel *c = owner;
    struct span name;

    if (resp->kind != RESP_DATA)
        return IMAPC_NOT_MINE;
    if (span_is_ci(resp->word, "MAILBOX") && !c->root && cyrus_list(data) &&
        imap_value_string(imap_value_get(cyrus_list(data), "MBOXNAME"), &name) && cyrus_is_root(name))
        c->root = xspandup(name);
    return IMAPC_TAKEN;
}

static void cyrus_on_root(void *owner, const struct imapc_end *end)
{
    struct channel *c = owner;
    struct channel_op *op;
    char *text = imapc_end_text(end);

    c->root_asked = false;
    c->barred = end->rc != IMAPC_DOWN && !c->root;
    TAILQ_FOREACH(op, &c->ops, link)
    {
        if (!op->started || op->ended)
            continue;
        op->started = false;
        if (end->rc == IMAPC_DOWN)
            channel_op_ended(op, CHANNEL_DOWN, "%s", imapc_error(c->imap));
        else if (end->rc != IMAPC_OK)
            channel_op_ended(op, CHANNEL_DOWN, "SYNCGET: %s (%s has to be one of the admins in imapd.conf)",
                             text, c->backend->master_user);
        else if (!c->root)
            channel_op_ended(op, CHANNEL_DOWN, "SYNCGET knows no user \"%s\"", c->login);
        else
            cyrus_get(op);
    }
    free(text);
}

static void cyrus_ask_root(struct channel *c)
{
    struct imap_writer w;

    if (c->root_asked)
        return;
    c->root_asked = true;
    imap_writer_init(&w, imapc_literals(c->imap));
    imap_write_raw(&w, "SYNCGET USER ");
    imap_write_astring(&w, span_str(c->login));
    imapc_send(c->imap, &w, &(struct imapc_command){.data = cyrus_on_user, .end = cyrus_on_root, .owner = c});
}

/* ---- the session */

static void cyrus_on_event(void *owner, enum imapc_event ev)
{
    struct channel *c = owner;

    if (ev == IMAPC_FAILED)
        c->barred = imapc_login_rc(c->imap) == LOGIN_REFUSED;
    if (ev == IMAPC_FAILED || ev == IMAPC_BROKEN)
        c->broken = true;
    else if (ev == IMAPC_DRAINED && c->putting && c->putting->step == CHANNEL_GIVING)
        c->putting->giver->drained(c->putting->owner);
}

static void cyrus_dial(struct channel *c)
{
    const struct conf *conf = c->m->conf;
    const struct login_request r = {
        .backend = c->backend,
        .policy = backends_tls(c->m->backends, c->backend),
        .outage = backends_outage(c->m->backends, c->backend),
        .as = LOGIN_AS_USER,
        .credential = credential_of_password(c->backend->master_user, c->backend->master_password),
        .user = c->backend->master_user,
        .site = store_id(c->m->store),
        .session_id = c->m->id,
        .limits = {.high_water = 64 * 1024,
                   .queue_max = 4 * 1024 * 1024,
                   .silence_ms = conf->migrator.job_lease_ms * SILENCE_TENTHS / 10,
                   .abortive = true},
        .connect_timeout_ms = channel_deadline_ms(c),
        .step_timeout_ms = channel_deadline_ms(c),
    };

    c->broken = c->root_asked = false;
    c->imap = imapc_new(c->m->loop, &r, channel_deadline_ms(c), cyrus_on_event, NULL, c);
    imapc_set_fence(c->imap, c->until_ms);
}

static void cyrus_start(struct channel_op *op)
{
    struct channel *c = op->c;

    if (c->broken)
        imapc_free(&c->imap);
    if (!c->imap)
        cyrus_dial(c);
    if (c->root) {
        cyrus_get(op);
    } else {
        op->started = true;
        cyrus_ask_root(c);
    }
}

static void cyrus_stop(struct channel_op *op)
{
    if (!op->c->imap)
        return;
    imapc_forget(op->c->imap, op);
    if (op->giver)
        imapc_set_timeout(op->c->imap, channel_deadline_ms(op->c));
}

static void cyrus_close(struct channel *c)
{
    if (c->imap) {
        imapc_forget(c->imap, c);
        imapc_free(&c->imap);
    }
}

const struct channel_kind channel_cyrus = {
    .word = "cyrus",
    .start = cyrus_start,
    .stop = cyrus_stop,
    .close = cyrus_close,
    .bytes = cyrus_bytes,
    .is_full = cyrus_is_full,
    .end = cyrus_end,
};
