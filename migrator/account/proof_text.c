#include <inttypes.h>
#include <time.h>

#include "proof_text.h"

/* A JSON string of which each byte is a character, so that no name is spelled in two ways, or in none. */
static void proof_write_string(struct buf *out, const char *s)
{
    buf_add_str(out, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            buf_printf(out, "\\u%04x", c);
        else
            buf_add(out, &c, 1);
    }
    buf_add_str(out, "\"");
}

static void write_member(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    proof_write_string(out, value);
}

void proof_write_head(struct buf *out, const struct proof_head *h)
{
    time_t t = (time_t)(h->time_ms / 1000);
    struct tm tm;
    char time[32] = "";

    if (gmtime_r(&t, &tm))
        strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_add_str(out, "{\"imapferry_proof\":1");
    write_member(out, "user", h->user);
    write_member(out, "source", h->source);
    write_member(out, "target", h->target);
    buf_printf(out, ",\"generation\":%" PRIu64 ",\"epoch\":%" PRIu64, h->generation, h->epoch);
    write_member(out, "time", time);
    write_member(out, "verify", h->verify);
    buf_add_str(out, "}\n");
}

void proof_write_mailbox(struct buf *out, const struct proof_mailbox *m)
{
    buf_add_str(out, "{\"mailbox\":");
    proof_write_string(out, m->source_name);
    write_member(out, "target", m->target_name);
    buf_printf(out,
               ",\"source_uidvalidity\":%" PRIu32 ",\"target_uidvalidity\":%" PRIu32 ",\"on_source\":%" PRIu64
               ",\"proved\":%" PRIu64 "%s}\n",
               m->source_uidvalidity, m->target_uidvalidity, m->on_source, m->proved,
               m->compared ? "" : ",\"compared\":false");
}

static void write_hash(struct buf *out, const uint8_t hash[32])
{
    static const char digits[] = "0123456789abcdef";
    char text[66] = "\"";

    for (size_t i = 0; i < 32; i++) {
        text[1 + 2 * i] = digits[hash[i] >> 4];
        text[2 + 2 * i] = digits[hash[i] & 15];
    }
    text[65] = '"';
    buf_add(out, text, sizeof(text));
}

void proof_write_message(struct buf *out, const struct ledger_row *row, struct proof_sums *sums)
{
    buf_printf(out, "[%" PRIu32 ",%" PRIu32 ",", row->source_uid, row->target_uid);
    if (row->bare)
        buf_add_str(out, "null,");
    else
        buf_printf(out, "%" PRIu64 ",", (uint64_t)row->size);
    if (row->dated)
        buf_printf(out, "%" PRId64 ",", row->instant);
    else
        buf_add_str(out, "null,");
    if (row->bare)
        buf_add_str(out, "null");
    else
        write_hash(out, row->hash);
    buf_printf(out, ",\"%s\"]\n", row->verified ? "bytes" : row->header ? "headers" : "listing");
    sums->messages++;
    sums->bytes += row->bare ? 0 : row->size;
    sums->without_digest += row->bare;
}

void proof_write_end(struct buf *out, const struct proof_sums *sums)
{
    buf_printf(out,
               "{\"mailboxes\":%" PRIu64 ",\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64
               ",\"without_digest\":%" PRIu64 "}\n",
               sums->mailboxes, sums->messages, sums->bytes, sums->without_digest);
}
