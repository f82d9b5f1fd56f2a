#include "opened.h"

void opened_free(struct opened *o)
{
    buf_free(&o->mailbox);
    *o = (struct opened){0};
}

bool opened_is_inbox(struct span name)
{
    return span_is_ci(name, "INBOX");
}

/* ---- the client ---- */

/* The first argument as bytes; false where it is a literal, or there is none. */
static bool first_string(const struct imap_cmd *cmd, struct span part, struct buf *out)
{
    size_t i = cmd->args;
    while (i < part.len && part.p[i] == ' ')
        i++;
    if (i >= part.len || part.p[i] == '{' || part.p[i] == '(')
        return false;
    if (part.p[i] != '"') {
        size_t end = i;
        while (end < part.len && part.p[end] != ' ')
            end++;
        buf_add(out, part.p + i, end - i);
        return true;
    }
    for (i++; i < part.len && part.p[i] != '"'; i++) {
        i += part.p[i] == '\\' && i + 1 < part.len;
        buf_add(out, part.p + i, 1);
    }
    return true;
}

/* Commands without names; those whose only name is the first argument are told apart from those that have, or
 * bring, more of them. */
static bool brings_names(enum imap_verb verb)
{
    switch (verb) {
    case VERB_LIST:
    case VERB_LSUB:
    case VERB_NAMESPACE:
    case VERB_CREATE:
    case VERB_DELETE:
    case VERB_RENAME:
    case VERB_COPY:
    case VERB_MOVE:
    case VERB_UID_COPY:
    case VERB_UID_MOVE:
    case VERB_GETQUOTA:
    case VERB_GETQUOTAROOT:
    case VERB_SETQUOTA:
        return true;
    default:
        return false;
    }
}

static bool has_one_name(enum imap_verb verb)
{
    switch (verb) {
    case VERB_SELECT:
    case VERB_EXAMINE:
    case VERB_SUBSCRIBE:
    case VERB_UNSUBSCRIBE:
    case VERB_STATUS:
    case VERB_APPEND:
    case VERB_GETACL:
    case VERB_SETACL:
    case VERB_DELETEACL:
    case VERB_LISTRIGHTS:
    case VERB_MYRIGHTS:
    case VERB_GETMETADATA:
    case VERB_SETMETADATA:
        return true;
    default:
        return false;
    }
}

void opened_said(struct opened *o, const struct imap_cmd *cmd, struct span part, struct buf *name)
{
    struct buf first = {0};
    bool selects = cmd->verb == VERB_SELECT || cmd->verb == VERB_EXAMINE;
    if (brings_names(cmd->verb)) {
        o->names = true;
    } else if (has_one_name(cmd->verb)) {
        bool there = first_string(cmd, part, &first);
        if (!selects)
            o->names |= !there || !opened_is_inbox(buf_span(&first));
        else if (there && first.len <= OPENED_NAME_MAX)
            buf_add_span(name, buf_span(&first));
    }
    buf_free(&first);
}

/* ---- the server ---- */

void opened_heard(struct opened *o, const struct imap_resp *r)
{
    struct span args;
    if (r->kind == RESP_STATUS && imap_code_is(r->code, "UIDVALIDITY", &args)) {
        if (!span_u32(args, &o->uidvalidity))
            o->uidvalidity = 0;
    } else if (r->kind == RESP_DATA && r->has_number) {
        if (span_is_ci(r->word, "EXISTS"))
            o->exists = r->number;
        else if (span_is_ci(r->word, "EXPUNGE"))
            o->expunges++;
        if (span_is_ci(r->word, "EXPUNGE") && o->exists > 0)
            o->exists--;
    }
}

void opened_answered(struct opened *o, enum imap_verb verb, struct span name, enum imap_status status)
{
    bool selects = verb == VERB_SELECT || verb == VERB_EXAMINE;
    bool closes = verb == VERB_CLOSE || verb == VERB_UNSELECT;
    if (selects && status == STATUS_OK) {
        o->selected = true;
        o->examined = verb == VERB_EXAMINE;
        buf_clear(&o->mailbox);
        buf_add_span(&o->mailbox, name);
        o->names |= !opened_is_inbox(name);
    } else if ((selects && status == STATUS_NO) || (closes && status == STATUS_OK)) {
        o->selected = false;
        buf_free(&o->mailbox);
    }
}
