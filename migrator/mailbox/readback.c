#include <stdlib.h>

#include "lib/xalloc.h"

#include "readback.h"

/* Of small messages the FETCHes in flight have to be many, or the server waits for the next one: 4,000 messages of
 * 2 KiB are what a way of 50 ms holds at 160 MB/s. */
enum { BATCH = 500 /* messages of one FETCH */, AHEAD = 8 /* FETCHes in flight */ };

struct readback {
    struct selected *s; /* borrowed */
    readback_fn got;
    step_fn end;
    void *owner;
    struct imap_seq uids;
    struct uidset_place at;
    bool asked_all;
    const char *section;
    unsigned in_flight;
    struct hasher *hasher;
    struct readback_item item;
    bool whole; /* item.hash and size are of a body whose UID comes with the response */
    char *refused;
    bool down;
};

void readback_stop(struct readback **rp)
{
    struct readback *r = *rp;
    if (!r)
        return;
    *rp = NULL;
    imapc_forget(r->s->imap, r);
    hasher_free(&r->hasher);
    imap_seq_free(&r->uids);
    free(r->refused);
    free(r);
}

static void readback_body_begin(void *owner, uint32_t seq, uint32_t uid, uint64_t size)
{
    struct readback *r = owner;
    (void)seq, (void)uid;
    r->item = (struct readback_item){.size = size};
    r->whole = false;
    hasher_begin(r->hasher);
}

static void readback_body_piece(void *owner, struct span bytes)
{
    struct readback *r = owner;
    hasher_add(r->hasher, bytes);
}

static void readback_body_end(void *owner)
{
    struct readback *r = owner;
    hasher_end(r->hasher, r->item.hash);
    r->whole = true;
}

static enum imapc_taken readback_on_data(void *owner, const struct imap_resp *resp,
                                         const struct imap_value *data)
{
    struct readback *r = owner;
    enum imapc_taken taken = selected_data(r->s, resp, data);
    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "FETCH") || !r->whole)
        return taken;
    r->whole = false;
    if (imap_value_u32(imap_value_get(data, "UID"), &r->item.uid))
        r->got(r->owner, &r->item);
    return taken;
}

static void readback_on_odd(void *owner, const struct imapc_odd *odd)
{
    const struct readback *r = owner;
    r->s->odd(r->s->odd_owner, odd);
}

static void readback_ask(struct readback *r);

static void readback_on_end(void *owner, const struct imapc_end *e)
{
    struct readback *r = owner;
    r->in_flight--;
    if (e->rc == IMAPC_DOWN || (e->rc != IMAPC_OK && imapc_end_temporary(e)))
        r->down = true;
    if (e->rc != IMAPC_OK && !r->refused)
        r->refused = e->rc == IMAPC_DOWN ? xasprintf("%s: %s", r->s->side, imapc_error(r->s->imap))
                                         : imapc_end_text(e);
    if (!r->down)
        readback_ask(r);
    if (r->in_flight > 0)
        return;
    step_fn end = r->end;
    void *end_owner = r->owner;
    enum copy_rc rc = r->down ? COPY_DOWN : COPY_EQUAL;
    char *why = r->refused ? r->refused : xstrdup("");
    r->refused = NULL;
    end(end_owner, rc, why); /* may stop r */
    free(why);
}

static void readback_ask(struct readback *r)
{
    static const struct imapc_body_fns bodies[] = {
        {readback_body_begin, readback_body_piece, readback_body_end, false},
        {readback_body_begin, readback_body_piece, readback_body_end, true}};
    const struct imapc_command cmd = {.data = readback_on_data,
                                      .body = &bodies[*r->section != '\0'],
                                      .end = readback_on_end,
                                      .owner = r,
                                      .odd = r->s->odd ? readback_on_odd : NULL};
    struct buf set = {0};
    while (!r->asked_all && r->in_flight < AHEAD) {
        r->asked_all = !uidset_next(&r->uids, &r->at, BATCH, &set);
        if (r->asked_all)
            break;
        r->in_flight++;
        imapc_sendf(selected_imap(r->s), &cmd, "UID FETCH %s (UID BODY.PEEK[%s])", buf_str(&set), r->section);
    }
    buf_free(&set);
}

/* Where nothing is to be read, a command that reads nothing brings the end from the loop. */
static void ask_nothing(struct readback *r)
{
    const struct imapc_command cmd = {.data = readback_on_data, .end = readback_on_end, .owner = r};
    r->asked_all = true;
    r->in_flight++;
    imapc_sendf(selected_imap(r->s), &cmd, "NOOP");
}

bool readback_has_asked(const struct readback *r)
{
    return r->asked_all;
}

static struct readback *readback_begin(struct selected *s, const struct imap_seq *uids, const char *section,
                                       readback_fn got, step_fn end, void *owner)
{
    struct readback *r = xcalloc(1, sizeof *r);
    r->s = s;
    r->section = section;
    r->got = got;
    r->end = end;
    r->owner = owner;
    r->hasher = hasher_new();
    imap_seq_join(&r->uids, uids);
    if (r->uids.n > 0)
        readback_ask(r);
    else
        ask_nothing(r);
    return r;
}

struct readback *readback_start(struct selected *s, const struct imap_seq *uids, readback_fn got, step_fn end,
                                void *owner)
{
    return readback_begin(s, uids, "", got, end, owner);
}

struct readback *readback_headers(struct selected *s, const struct imap_seq *uids, readback_fn got,
                                  step_fn end, void *owner)
{
    return readback_begin(s, uids, "HEADER", got, end, owner);
}
