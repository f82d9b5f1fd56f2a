#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "fingerprint.h"
#include "migrator/mailbox/hasher.h"

/* EXAMINE, or SELECT where that says no UIDNEXT: Courier keeps UIDs only of what was SELECTed (selected.h).
 * The FETCH goes out in the same breath, which saves a round trip: for as many messages as most INBOXes
 * have. */
struct fingerprint_read {
    struct imapc *c;
    fingerprint_fn fn;
    void *owner;
    bool selecting;
    uint32_t asked; /* messages of the FETCH */
    uint32_t uidvalidity, uidnext, exists;
    char *mailboxid;       /* owned; RFC 8474; NULL: the server has none */
    struct hasher *hasher; /* owned */
    struct fingerprint found;
};

static void fingerprint_read_free(struct fingerprint_read *r)
{
    hasher_free(&r->hasher);
    free(r->mailboxid);
    free(r);
}

void fingerprint_read_cancel(struct fingerprint_read **rp)
{
    struct fingerprint_read *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    imapc_forget(r->c, r);
    fingerprint_read_free(r);
}

static void fingerprint_finish(struct fingerprint_read *r, bool ok)
{
    if (r->found.n < 2 || r->uidvalidity == 0)
        r->found.n = 0;
    imapc_forget(r->c, r);
    r->fn(r->owner, ok, &r->found);
    fingerprint_read_free(r);
}

/* ---- FETCH */

static void add_mark(struct fingerprint_read *r, struct span uid, struct span date, struct span header)
{
    uint8_t hash[HASH_SIZE];
    char *head =
        xasprintf("%s%s%u %.*s %.*s\n", r->mailboxid ? r->mailboxid : "", r->mailboxid ? " " : "",
                  r->uidvalidity, (int)uid.len, (const char *)uid.p, (int)date.len, (const char *)date.p);
    char *mark = r->found.marks[r->found.n++];

    hasher_begin(r->hasher);
    hasher_add(r->hasher, span_str(head));
    hasher_add(r->hasher, header);
    hasher_end(r->hasher, hash);
    for (size_t i = 0; i < (FINGERPRINT_MARK_SIZE - 1) / 2; i++)
        snprintf(mark + 2 * i, 3, "%02x", hash[i]);
    free(head);
}

static enum imapc_taken fingerprint_on_fetch_data(void *owner, const struct imap_resp *resp,
                                                  const struct imap_value *data)
{
    struct fingerprint_read *r = owner;
    struct span uid, date, header;

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "FETCH"))
        return IMAPC_NOT_MINE;
    if (!data) /* one mark less; the copy asks for this message again, and names it */
        return IMAPC_TAKEN;
    if (data->kind != IMAP_LIST)
        return IMAPC_ODD;
    bool whole = imap_value_get(data, "UID") && imap_value_string(imap_value_get(data, "UID"), &uid) &&
                 imap_value_get(data, "INTERNALDATE") &&
                 imap_value_string(imap_value_get(data, "INTERNALDATE"), &date) &&
                 imap_value_get(data, "BODY[HEADER]<0>") &&
                 imap_value_string(imap_value_get(data, "BODY[HEADER]<0>"), &header);
    if (whole && r->found.n < FINGERPRINT_MARKS)
        add_mark(r, uid, date, header);
    return whole ? IMAPC_TAKEN : IMAPC_NOT_MINE;
}

static void read_inbox(struct fingerprint_read *r, uint32_t messages);

static void fingerprint_on_fetched(void *owner, const struct imapc_end *end)
{
    struct fingerprint_read *r = owner;
    bool usable = end->rc != IMAPC_DOWN && r->uidvalidity > 0 && r->exists > 1;

    if (usable && r->uidnext == 0 && !r->selecting) {
        r->selecting = true;
        read_inbox(r, FINGERPRINT_MARKS);
    } else if (usable && r->found.n < 2 && r->asked > r->exists) {
        read_inbox(r, r->exists); /* a server that gives nothing when it is asked for more than there is */
    } else {
        fingerprint_finish(r, end->rc != IMAPC_DOWN);
    }
}

/* ---- EXAMINE or SELECT */

static enum imapc_taken on_select_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct fingerprint_read *r = owner;
    struct span args;

    (void)data;
    if (resp->kind == RESP_DATA && span_is_ci(resp->word, "EXISTS") && resp->has_number)
        r->exists = resp->number;
    if (resp->kind != RESP_STATUS)
        return span_is_ci(resp->word, "EXISTS") || span_is_ci(resp->word, "RECENT") ||
                       span_is_ci(resp->word, "FLAGS")
                   ? IMAPC_TAKEN
                   : IMAPC_NOT_MINE;
    if (imap_code_is(resp->code, "MAILBOXID", &args)) {
        free(r->mailboxid);
        r->mailboxid = xspandup(args);
    }
    if (imap_code_is(resp->code, "UIDVALIDITY", &args) && !span_u32(args, &r->uidvalidity))
        r->uidvalidity = 0;
    if (imap_code_is(resp->code, "UIDNEXT", &args) && !span_u32(args, &r->uidnext))
        r->uidnext = 0;
    return resp->code.len > 0 ? IMAPC_TAKEN : IMAPC_NOT_MINE;
}

/* Whatever became of it, the FETCH behind it is answered too. */
static void on_selected(void *owner, const struct imapc_end *end)
{
    struct fingerprint_read *r = owner;

    if (end->rc != IMAPC_OK)
        r->uidvalidity = 0;
}

static void read_inbox(struct fingerprint_read *r, uint32_t messages)
{
    r->asked = messages;
    r->found.n = 0;
    imapc_sendf(
        r->c,
        &(struct imapc_command){.data = on_select_data, .end = on_selected, .owner = r, .mailbox = "INBOX"},
        "%s INBOX", r->selecting ? "SELECT" : "EXAMINE");
    imapc_sendf(
        r->c,
        &(struct imapc_command){
            .data = fingerprint_on_fetch_data, .end = fingerprint_on_fetched, .owner = r, .mailbox = "INBOX"},
        "FETCH 1:%u (UID INTERNALDATE BODY.PEEK[HEADER]<0.8192>)", messages);
}

struct fingerprint_read *fingerprint_read(struct imapc *source, fingerprint_fn fn, void *owner)
{
    struct fingerprint_read *r = xcalloc(1, sizeof(*r));

    r->c = source;
    r->fn = fn;
    r->owner = owner;
    r->hasher = hasher_new();
    read_inbox(r, FINGERPRINT_MARKS);
    return r;
}
