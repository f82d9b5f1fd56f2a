#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

#include "deposit.h"
#include "hasher.h"

enum deposit_step { READ, NOTE, GIVE, STORE };

#define UNGIVEN "the source does not give it"

struct deposit {
    struct pair *p; /* borrowed */
    deposit_fn fn;
    void *owner;
    enum deposit_step step;
    struct mbox_msg m;
    uint32_t target_uidnext;
    struct ledger_row row;
    struct hasher *sha256, *sha1;
    uint8_t guid[HASH_SHA1_SIZE];
    unsigned writing; /* entries of the ledger */
    bool full;        /* the depot is; the source is paused */
    /* of the reading that is under way */
    uint64_t size;
    uint8_t hash[HASH_SIZE];
    bool whole; /* its bytes are there, and its UID is to come */
    bool read;  /* that has come too */
    bool other; /* it is not what was read first */
};

/* The owner stops d. */
static void deposit_end(struct deposit *d, enum deposit_rc rc, const char *why)
{
    d->fn(d->owner, rc, why);
}

static const struct depot *deposit_depot(const struct deposit *d)
{
    return d->p->depot;
}

static void deposit_pause(struct deposit *d, bool full)
{
    if (d->full == full)
        return;
    d->full = full;
    if (full)
        imapc_pause(d->p->source.imap);
    else
        imapc_resume(d->p->source.imap);
}

/* ---- both readings */

static void deposit_body_begin(void *owner, uint32_t seq, uint32_t uid, uint64_t size)
{
    struct deposit *d = owner;
    (void)seq, (void)uid; /* that comes with the response */
    d->other = d->other || d->whole || d->read || (d->step == GIVE && size != d->row.size);
    d->size = size;
    hasher_begin(d->sha256);
    if (d->step == READ)
        hasher_begin(d->sha1);
}

static void deposit_give(struct deposit *d, struct span bytes)
{
    deposit_depot(d)->bytes(deposit_depot(d)->owner, bytes);
    if (deposit_depot(d)->full(deposit_depot(d)->owner))
        deposit_pause(d, true);
}

static void deposit_body_piece(void *owner, struct span bytes)
{
    struct deposit *d = owner;
    hasher_add(d->sha256, bytes);
    if (d->step == READ)
        hasher_add(d->sha1, bytes);
    else if (!d->other)
        deposit_give(d, bytes);
}

static void deposit_body_end(void *owner)
{
    struct deposit *d = owner;
    hasher_end(d->sha256, d->hash);
    if (d->step == READ)
        hasher_end_sha1(d->sha1, d->guid);
    d->whole = true;
}

/* What went out is whole, and what was read first: else it is not ended, and nothing is stored. */
static void deposit_given(struct deposit *d)
{
    d->other = d->other || memcmp(d->hash, d->row.hash, HASH_SIZE) != 0;
    if (d->other)
        return;
    d->step = STORE;
    deposit_depot(d)->end(deposit_depot(d)->owner);
}

static enum imapc_taken deposit_on_data(void *owner, const struct imap_resp *resp,
                                        const struct imap_value *data)
{
    struct deposit *d = owner;
    uint32_t uid = 0;
    enum imapc_taken taken = selected_data(&d->p->source, resp, data);
    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "FETCH") || !d->whole)
        return taken;
    d->whole = false;
    d->read = imap_value_u32(imap_value_get(data, "UID"), &uid) && uid == d->m.uid && taken != IMAPC_ODD;
    if (d->read && d->step == GIVE)
        deposit_given(d);
    return taken;
}

static void deposit_on_fetched(void *owner, const struct imapc_end *e);

static void deposit_fetch(struct deposit *d)
{
    static const struct imapc_body_fns body = {
        .begin = deposit_body_begin, .piece = deposit_body_piece, .end = deposit_body_end};
    const struct imapc_command cmd = {
        .data = deposit_on_data, .body = &body, .end = deposit_on_fetched, .owner = d};
    d->whole = d->read = d->other = false;
    imapc_sendf(selected_imap(&d->p->source), &cmd, "UID FETCH %u (UID BODY.PEEK[])", d->m.uid);
}

/* ---- GIVE, STORE */

static void deposit_on_go(void *owner)
{
    struct deposit *d = owner;
    d->step = GIVE;
    deposit_fetch(d);
}

static void deposit_on_drained(void *owner)
{
    deposit_pause(owner, false);
}

static void deposit_on_ended(void *owner, enum depot_rc rc, uint32_t uid, const char *why)
{
    struct deposit *d = owner;
    char *text = NULL;
    switch (rc) {
    case DEPOT_STORED:
        d->row.target_uid = uid;
        deposit_end(d, DEPOSIT_STORED, "");
        return;
    case DEPOT_REFUSED:
        deposit_end(d, DEPOSIT_REFUSED, why);
        return;
    case DEPOT_CLOSED:
    case DEPOT_LOST:
        text = xasprintf("target: %s", why);
        deposit_end(d, DEPOSIT_DOWN, text);
        free(text);
    }
}

static void deposit_ask_depot(struct deposit *d)
{
    static const struct depot_giver giver = {deposit_on_go, deposit_on_drained, deposit_on_ended};
    struct pair *p = d->p;
    uint32_t kept, lost;
    flags_split(p->flags, &p->target.permanent, d->m.flags, &kept, &lost);
    struct depot_message message = {.mailbox = p->target.name,
                                    .uidvalidity = p->target.uidvalidity,
                                    .uid = pair_keeps_numbers(p) ? d->m.uid : 0,
                                    .flags = flags_text(p->flags, kept),
                                    .instant = d->m.instant,
                                    .size = d->row.size};
    memcpy(message.sha1, d->guid, DEPOT_SHA1);
    deposit_depot(d)->begin(deposit_depot(d)->owner, &message, &giver, d);
}

/* ---- NOTE */

static void deposit_on_noted(void *owner, enum route_rc rc)
{
    struct deposit *d = owner;
    if (rc != ROUTE_OK)
        deposit_end(d, rc == ROUTE_LOST ? DEPOSIT_NOT_OURS : DEPOSIT_DOWN, ledger_error(d->p->ledger));
    else if (--d->writing == 0)
        deposit_ask_depot(d);
}

static void deposit_note(struct deposit *d)
{
    d->step = NOTE;
    d->row = (struct ledger_row){.source_uid = d->m.uid, .size = d->size};
    memcpy(d->row.hash, d->hash, HASH_SIZE);
    d->writing = 2;
    ledger_intent(d->p->ledger, d->target_uidnext, &d->m.uid, 1, deposit_on_noted, d);
    ledger_sent(d->p->ledger, &d->row, 1, deposit_on_noted, d);
}

/* ---- the end of a reading */

static void deposit_on_fetched(void *owner, const struct imapc_end *e)
{
    struct deposit *d = owner;
    char *text = e->rc == IMAPC_OK     ? xstrdup(UNGIVEN)
                 : e->rc == IMAPC_DOWN ? xasprintf("source: %s", imapc_error(d->p->source.imap))
                                       : imapc_end_text(e);
    if (d->step == STORE)
        ; /* it is for the depot to say what becomes of it */
    else if (e->rc == IMAPC_DOWN || (e->rc != IMAPC_OK && imapc_end_temporary(e)))
        deposit_end(d, DEPOSIT_DOWN, text);
    else if (d->other)
        deposit_end(d, DEPOSIT_MUTABLE, "the source gives other bytes at each reading");
    else if (!d->read || d->size == 0)
        deposit_end(d, DEPOSIT_MISSED, text);
    else
        deposit_note(d);
    free(text);
}

/* ---- for the owner */

struct deposit *deposit_start(struct pair *p, const struct mbox_msg *m, uint32_t target_uidnext,
                              deposit_fn fn, void *owner)
{
    struct deposit *d = xcalloc(1, sizeof *d);
    d->p = p;
    d->m = *m;
    d->target_uidnext = target_uidnext;
    d->fn = fn;
    d->owner = owner;
    d->sha256 = hasher_new();
    d->sha1 = hasher_new_sha1();
    deposit_fetch(d);
    return d;
}

const struct ledger_row *deposit_row(const struct deposit *d)
{
    return &d->row;
}

void deposit_stop(struct deposit **dp)
{
    struct deposit *d = *dp;
    if (!d)
        return;
    *dp = NULL;
    deposit_depot(d)->forget(deposit_depot(d)->owner, d);
    ledger_forget(d->p->ledger, d);
    imapc_forget(d->p->source.imap, d);
    deposit_pause(d, false);
    hasher_free(&d->sha256);
    hasher_free(&d->sha1);
    free(d);
}
