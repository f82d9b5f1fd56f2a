/* SYNCGET and SYNCAPPLY of Cyrus, in a session of the administrator. What is told of a mailbox, and what is
 * applied to it, is a list of names and values, in which "%(" opens a list of the same kind:
 *
 *   SYNCGET MAILBOXES (user.ann.Sent)
 *   * MAILBOX %(UNIQUEID x MBOXNAME user.ann.Sent SYNC_CRC 0 ... ANNOTATIONS (%(ENTRY /comment ...)))
 *   SYNCAPPLY MAILBOX %(UNIQUEID x ... LAST_UID 19 ... RECORD ())
 *
 * The names are those inside of the server: "." between the levels, "^" for a dot, and a domain in front. Those
 * of the user's mailboxes all begin with that of INBOX, which is learnt by SYNCGET USER. */
#include <inttypes.h>
#include <stdlib.h>

#include "lib/imap_write.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "channel_priv.h"

enum { UNIQUEID_BYTES = 12 };

/* ---- names */

/* The name of an INBOX: nothing below "user.NAME", behind a domain or not. */
static bool cyrus_is_root(struct span name)
{
    const uint8_t *bang = name.len ? memchr(name.p, '!', name.len) : NULL;
    struct span local = bang ? span_of(bang + 1, name.len - (size_t)(bang + 1 - name.p)) : name;

    return local.len > 5 && !memcmp(local.p, "user.", 5) && !memchr(local.p + 5, '.', local.len - 5);
}

static void cyrus_write_name(struct buf *out, const struct channel *c, const char *mailbox)
{
    size_t prefix = strlen(c->prefix);

    buf_add_str(out, c->root);
    if (!strcasecmp(mailbox, "INBOX"))
        return;
    if (!strncasecmp(mailbox, c->prefix, prefix))
        mailbox += prefix;
    buf_add_str(out, ".");
    for (; *mailbox; mailbox++)
        buf_printf(out, "%c", *mailbox == c->separator ? '.' : *mailbox == '.' ? '^' : *mailbox);
}

/* ---- what SYNCGET tells */

static bool is_percent(const struct imap_value *v)
{
    return v && v->kind == IMAP_ATOM && span_is(v->text, "%");
}

/* The list behind "%". NULL: there is none. */
static const struct imap_value *cyrus_list(const struct imap_value *v)
{
    v = is_percent(v) ? v->next : v;
    return v && v->kind == IMAP_LIST ? v : NULL;
}

static void cyrus_write(struct imap_writer *w, const struct imap_value *v);

static void cyrus_write_all(struct imap_writer *w, const struct imap_value *v)
{
    for (; v; v = v->next) {
        cyrus_write(w, v);
        if (v->next && !is_percent(v))
            imap_write_raw(w, " ");
    }
}

static void cyrus_write(struct imap_writer *w, const struct imap_value *v)
{
    switch (v->kind) {
    case IMAP_ATOM:
        imap_write_raw(w, "%.*s", (int)v->text.len, (const char *)v->text.p);
        break;
    case IMAP_QUOTED:
    case IMAP_LITERAL:
        imap_write_string(w, v->text);
        break;
    case IMAP_STREAMED:
        w->bad = true;
        break;
    case IMAP_LIST:
        imap_write_raw(w, "(");
        cyrus_write_all(w, v->first);
        imap_write_raw(w, ")");
        break;
    }
}

/* What the mailbox has, and is to have. */
struct cyrus_numbers {
    uint32_t uidvalidity, last_uid;
    uint64_t modseq;
    bool anew;
};

/* False: it can't be had, *why says why. */
static bool cyrus_decide(const struct channel_want *want, struct cyrus_numbers *n, const char **why)
{
    if (want->was && n->uidvalidity != want->was) {
        *why = "the mailbox of this name inside of the server is another one";
        return false;
    }
    n->anew = want->uidvalidity && want->uidvalidity < n->uidvalidity;
    if (n->anew && n->last_uid > 0) {
        *why = "UIDVALIDITY can't be lowered in a mailbox that has been used";
        return false;
    }
    if (want->uidvalidity)
        n->uidvalidity = want->uidvalidity;
    if (want->uidnext > 0 && want->uidnext - 1 > n->last_uid)
        n->last_uid = want->uidnext - 1;
    if (want->modseq > n->modseq)
        n->modseq = want->modseq;
    return true;
}

static void cyrus_write_pair(struct imap_writer *w, const struct imap_value *name,
                             const struct imap_value *value, const struct cyrus_numbers *n)
{
    cyrus_write(w, name);
    imap_write_raw(w, " ");
    if (imap_value_is(name, "UNIQUEID") && n->anew) {
        char id[2 * UNIQUEID_BYTES + 1];
        random_hex(id, UNIQUEID_BYTES);
        imap_write_raw(w, "%s", id);
    } else if (imap_value_is(name, "SYNC_CRC") || imap_value_is(name, "SYNC_CRC_ANNOT")) {
        imap_write_raw(w, "0"); /* is not checked */
    } else if (imap_value_is(name, "LAST_UID")) {
        imap_write_raw(w, "%" PRIu32, n->last_uid);
    } else if (imap_value_is(name, "HIGHESTMODSEQ")) {
        imap_write_raw(w, "%" PRIu64, n->modseq);
    } else if (imap_value_is(name, "UIDVALIDITY")) {
        imap_write_raw(w, "%" PRIu32, n->uidvalidity);
    } else {
        if (is_percent(value)) {
            cyrus_write(w, value);
            value = value->next;
        }
        cyrus_write(w, value);
    }
}

/* All that was told goes back, but for what is to be another. */
static void cyrus_write_mailbox(struct imap_writer *w, const struct imap_value *list,
                                const struct cyrus_numbers *n)
{
    imap_write_raw(w, "SYNCAPPLY MAILBOX %%(");
    for (const struct imap_value *name = list->first; name && name->next;) {
        const struct imap_value *value = name->next;
        cyrus_write_pair(w, name, value, n);
        imap_write_raw(w, " ");
        name = is_percent(value) && value->next ? value->next->next : value->next;
    }
    imap_write_raw(w, "RECORD ())");
}

static bool cyrus_read_numbers(const struct imap_value *list, struct cyrus_numbers *n)
{
    return imap_value_u32(imap_value_get(list, "UIDVALIDITY"), &n->uidvalidity) &&
           imap_value_u32(imap_value_get(list, "LAST_UID"), &n->last_uid) &&
           imap_value_u64(imap_value_get(list, "HIGHESTMODSEQ"), &n->modseq);
}

/* ---- the dialog */

static void cyrus_on_applied(void *owner, const struct imapc_end *end)
{
    struct channel_op *op = owner;
    char *text = imapc_end_text(end);

    if (end->rc == IMAPC_DOWN)
        channel_op_ended(op, CHANNEL_LOST, "%s", imapc_error(op->c->imap));
    else if (end->rc != IMAPC_OK)
        channel_op_ended(op, CHANNEL_REFUSED, "SYNCAPPLY: %s", text);
    else
        channel_op_ended(op, CHANNEL_OK, "done");
    free(text);
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
    if (!cyrus_decide(&op->want, &n, &op->refused))
        return IMAPC_TAKEN;
    struct imap_writer w;
    imap_writer_init(&w, imapc_literals(op->c->imap));
    cyrus_write_mailbox(&w, list, &n);
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

static void cyrus_on_got(void *owner, const struct imapc_end *end)
{
    struct channel_op *op = owner;
    char *text = imapc_end_text(end);

    if (end->rc == IMAPC_DOWN)
        channel_op_ended(op, CHANNEL_DOWN, "%s", imapc_error(op->c->imap));
    else if (end->rc != IMAPC_OK)
        channel_op_ended(op, CHANNEL_REFUSED, "SYNCGET: %s", text);
    else if (!op->found)
        channel_op_ended(op, CHANNEL_REFUSED, "SYNCGET knows no mailbox \"%s\"", op->internal);
    else if (op->refused)
        channel_op_ended(op, CHANNEL_REFUSED, "%s", op->refused);
    else if (op->clumsy)
        channel_op_ended(op, CHANNEL_REFUSED, "what SYNCGET tells can't be sent back");
    else
        cyrus_apply(op);
    free(text);
}

static void cyrus_get(struct channel_op *op)
{
    struct channel *c = op->c;
    struct buf name = {0};
    struct imap_writer w;

    cyrus_write_name(&name, c, op->want.mailbox);
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

    if (ev == IMAPC_FAILED || ev == IMAPC_BROKEN)
        c->broken = true;
}

static void cyrus_dial(struct channel *c)
{
    const struct conf *conf = c->m->conf;
    const struct login_request r = {
        .backend = c->backend,
        .policy = backends_tls(c->m->backends, c->backend),
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
    if (op->c->imap)
        imapc_forget(op->c->imap, op);
}

static void cyrus_close(struct channel *c)
{
    if (c->imap) {
        imapc_forget(c->imap, c);
        imapc_free(&c->imap);
    }
}

const struct channel_kind channel_cyrus = {"cyrus", cyrus_start, cyrus_stop, cyrus_close};
