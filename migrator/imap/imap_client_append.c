/* APPEND, and other commands, whose bodies stream. */

#include <assert.h>

#include "lib/fault.h"

#include "imap_client_priv.h"

enum { HOLD_MAX = 256 * 1024 /* bytes of an APPEND kept while it waits for "+" */ };

static void append_open(struct imapc *c, struct imap_writer *w, const struct imapc_command *cb)
{
    assert(!c->append);
    c->append = imapc_add_command(c, w, cb);
    c->append->open = true;
    c->append->swallow = c->append->unsendable;
}

void imapc_append_begin(struct imapc *c, struct span mailbox, const struct imapc_command *cb)
{
    struct imap_writer w;
    imap_writer_init(&w, imap_literals_of(&c->caps));
    imap_write_raw(&w, "APPEND ");
    imap_write_astring(&w, mailbox);
    append_open(c, &w, cb);
    imapc_pump(c);
    imapc_start_clock(c);
}

void imapc_stream_begin(struct imapc *c, struct imap_writer *w, uint64_t size, const struct imapc_command *cb)
{
    append_open(c, w, cb);
    c->append->literal_left = size;
    imapc_pump(c);
    imapc_start_clock(c);
}

void imapc_append_message(struct imapc *c, struct span flags, struct span date, uint64_t size)
{
    struct imapc_queued *cmd = c->append;
    if (!cmd)
        return;
    assert(cmd->literal_left == 0);
    cmd->literal_left = size;
    cmd->swallow = cmd->swallow || cmd->answered;
    if (cmd->swallow)
        return;
    imapc_take_pace(c, 1, 0);
    struct imap_writer w;
    imap_writer_init(&w, imap_literals_of(&c->caps));
    imap_write_raw(&w, " (%.*s) \"%.*s\" ", (int)flags.len, (const char *)flags.p, (int)date.len,
                   (const char *)date.p);
    imap_write_literal_marker(&w, size);
    imapc_take_writer(cmd, &w);
    imapc_pump(c);
}

void imapc_append_bytes(struct imapc *c, struct span bytes)
{
    struct imapc_queued *cmd = c->append;
    if (!cmd)
        return;
    assert(bytes.len <= cmd->literal_left);
    cmd->literal_left -= bytes.len;
    if (cmd->swallow || c->phase != READY)
        return;
    imapc_take_pace(c, 0, bytes.len);
    if (cmd == c->sending && !c->waiting && cmd->out.len == 0 && cmd->sent > 0) {
        imapc_put(c, bytes);
        cmd->sent += bytes.len;
    } else {
        buf_add_span(&cmd->out, bytes);
    }
    FAULT_POINT("command", cmd->what, "body");
}

static void append_close(struct imapc *c, const char *tail)
{
    struct imapc_queued *cmd = c->append;
    assert(cmd->literal_left == 0);
    cmd->open = false;
    c->append = NULL;
    if (!cmd->over)
        buf_printf(&cmd->out, "%s\r\n", tail);
    if (cmd->unsendable)
        loop_defer(c->loop, &c->task);
    imapc_pump(c);
}

void imapc_append_end(struct imapc *c)
{
    if (!c->append)
        return;
    append_close(c, "");
    FAULT_POINT("command", "APPEND", "closed");
}

void imapc_stream_end(struct imapc *c, const char *tail)
{
    if (c->append)
        append_close(c, tail);
}

bool imapc_append_full(const struct imapc *c)
{
    struct imapc *mine = (struct imapc *)(uintptr_t)c; /* it only remembers that it was asked */
    uint64_t ms = c->pace ? pace_wait_ms(c->pace, clock_boot_ms()) : 0;
    bool full =
        ms > 0 || (c->append && c->append->out.len > HOLD_MAX) || (c->stream && stream_full(c->stream));
    if (ms > 0)
        imapc_wait_for_pace(mine, ms);
    if (full)
        mine->told_full = true;
    return full;
}

void imapc_tell_drained(struct imapc *c)
{
    if (!c->told_full || c->freed || c->phase != READY)
        return;
    c->told_full = false;
    if (!imapc_append_full(c))
        imapc_emit(c, IMAPC_DRAINED);
}
