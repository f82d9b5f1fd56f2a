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

/* Of a set of UIDs as servers write it. */
static uint64_t uids_in(struct span set)
{
    uint64_t n = 0;
    while (set.len > 0) {
        const uint8_t *comma = memchr(set.p, ',', set.len);
        struct span part = span_of(set.p, comma ? (size_t)(comma - set.p) : set.len);
        const uint8_t *colon = part.len > 0 ? memchr(part.p, ':', part.len) : NULL;
        struct span from = span_of(part.p, colon ? (size_t)(colon - part.p) : part.len);
        struct span to = colon ? span_of(colon + 1, part.len - from.len - 1) : from;
        uint32_t first, last;
        if (span_u32(from, &first) && span_u32(to, &last))
            n += (first < last ? last - first : first - last) + UINT64_C(1);
        set = span_of(set.p + part.len + (comma != NULL), set.len - part.len - (comma != NULL));
    }
    return n;
}

bool opened_vanished(const struct imap_resp *r, struct span line, uint64_t *_n)
{
    if (r->kind != RESP_DATA || r->has_number || !span_is_ci(r->word, "VANISHED"))
        return false;
    struct span set = span_of(line.p + r->rest, line.len - r->rest);
    while (set.len > 0 && set.p[0] == ' ')
        set = span_of(set.p + 1, set.len - 1);
    if (set.len > 0 && set.p[0] == '(')
        return false;
    *_n = uids_in(set);
    return true;
}

/* "* ENABLED CONDSTORE QRESYNC" (RFC 5161 3.2) */
static void hear_enabled(struct opened *o, struct span words)
{
    while (words.len > 0) {
        const uint8_t *blank = memchr(words.p, ' ', words.len);
        struct span word = span_of(words.p, blank ? (size_t)(blank - words.p) : words.len);
        bool qresync = span_is_ci(word, "QRESYNC");
        o->qresync |= qresync;
        o->condstore |= qresync || span_is_ci(word, "CONDSTORE");
        words = span_of(words.p + word.len + (blank != NULL), words.len - word.len - (blank != NULL));
    }
}

void opened_heard(struct opened *o, const struct imap_resp *r, struct span line)
{
    struct span args;
    uint64_t n;
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
    } else if (opened_vanished(r, line, &n)) {
        o->expunges += n > 0;
        o->exists -= n < o->exists ? (uint32_t)n : o->exists;
    } else if (r->kind == RESP_DATA && span_is_ci(r->word, "ENABLED")) {
        hear_enabled(o, span_of(line.p + r->rest, line.len - r->rest));
    }
}

void opened_asked_modseqs(struct opened *o, enum imap_status status)
{
    o->condstore |= status == STATUS_OK || status == STATUS_NO;
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
