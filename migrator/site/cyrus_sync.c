#include <inttypes.h>

#include "cyrus_sync.h"

/* ---- names */

bool cyrus_is_root(struct span name)
{
    const uint8_t *bang = name.len ? memchr(name.p, '!', name.len) : NULL;
    struct span local = bang ? span_of(bang + 1, name.len - (size_t)(bang + 1 - name.p)) : name;

    return local.len > 5 && !memcmp(local.p, "user.", 5) && !memchr(local.p + 5, '.', local.len - 5);
}

void cyrus_write_name(struct buf *out, const char *root, const char *prefix, char separator,
                      const char *mailbox)
{
    size_t n = strlen(prefix);

    buf_add_str(out, root);
    if (!strcasecmp(mailbox, "INBOX"))
        return;
    if (!strncasecmp(mailbox, prefix, n))
        mailbox += n;
    buf_add_str(out, ".");
    for (; *mailbox; mailbox++)
        buf_printf(out, "%c", *mailbox == separator ? '.' : *mailbox == '.' ? '^' : *mailbox);
}

/* ---- what SYNCGET tells */

static bool is_percent(const struct imap_value *v)
{
    return v && v->kind == IMAP_ATOM && span_is(v->text, "%");
}

const struct imap_value *cyrus_list(const struct imap_value *v)
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

static void cyrus_write_pair(struct imap_writer *w, const struct imap_value *name,
                             const struct imap_value *value, const struct cyrus_numbers *n)
{
    cyrus_write(w, name);
    imap_write_raw(w, " ");
    if (imap_value_is(name, "UNIQUEID") && *n->anew) {
        imap_write_raw(w, "%s", n->anew);
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

static void cyrus_write_sha1(struct imap_writer *w, const uint8_t sha1[DEPOT_SHA1])
{
    for (size_t i = 0; i < DEPOT_SHA1; i++)
        imap_write_raw(w, "%02x", sha1[i]);
}

void cyrus_write_message(struct imap_writer *w, struct span partition, const struct depot_message *m)
{
    imap_write_raw(w, "SYNCAPPLY MESSAGE (%%{%.*s ", (int)partition.len, (const char *)partition.p);
    cyrus_write_sha1(w, m->sha1);
    imap_write_raw(w, " %" PRIu64 "}\r\n", m->size);
}

static void cyrus_write_record(struct imap_writer *w, const struct depot_message *m,
                               const struct cyrus_numbers *n, uint64_t now_s)
{
    imap_write_raw(w, "%%(UID %" PRIu32 " MODSEQ %" PRIu64 " LAST_UPDATED %" PRIu64 " FLAGS (", n->last_uid,
                   n->modseq, now_s);
    imap_write_raw(w, "%s) INTERNALDATE %" PRId64 " SIZE %" PRIu64 " GUID ", m->flags, m->instant, m->size);
    cyrus_write_sha1(w, m->sha1);
    imap_write_raw(w, " ANNOTATIONS ())");
}

void cyrus_write_mailbox(struct imap_writer *w, const struct imap_value *list, const struct cyrus_numbers *n,
                         const struct depot_message *m, uint64_t now_s)
{
    imap_write_raw(w, "SYNCAPPLY MAILBOX %%(");
    for (const struct imap_value *name = list->first; name && name->next;) {
        const struct imap_value *value = name->next;
        cyrus_write_pair(w, name, value, n);
        imap_write_raw(w, " ");
        name = is_percent(value) && value->next ? value->next->next : value->next;
    }
    imap_write_raw(w, "RECORD (");
    if (m)
        cyrus_write_record(w, m, n, now_s);
    imap_write_raw(w, "))");
}

bool cyrus_read_numbers(const struct imap_value *list, struct cyrus_numbers *n)
{
    return imap_value_u32(imap_value_get(list, "UIDVALIDITY"), &n->uidvalidity) &&
           imap_value_u32(imap_value_get(list, "LAST_UID"), &n->last_uid) &&
           imap_value_u64(imap_value_get(list, "HIGHESTMODSEQ"), &n->modseq);
}

bool cyrus_make_room(struct cyrus_numbers *n, uint32_t wanted, const char **why)
{
    if (n->last_uid >= UINT32_MAX - 1 || wanted == UINT32_MAX || n->modseq == UINT64_MAX) {
        *why = "there is no UID left";
        return false;
    }
    n->last_uid = wanted > n->last_uid ? wanted : n->last_uid + 1;
    n->modseq++;
    return true;
}
