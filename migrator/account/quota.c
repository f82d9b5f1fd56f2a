#include "quota.h"

static const char *const words[QUOTA_KINDS] = {"STORAGE", "MESSAGE", "MAILBOX"};

const char *quota_word(enum quota_kind k)
{
    return words[k];
}

static void quota_note_kind(struct quota *q, enum quota_kind k, uint64_t used, uint64_t limit)
{
    if (!q->kinds[k].used_known || used > q->kinds[k].used)
        q->kinds[k].used = used;
    if (!q->kinds[k].limited || limit < q->kinds[k].limit)
        q->kinds[k].limit = limit;
    q->kinds[k].used_known = q->kinds[k].limited = true;
}

bool quota_take(struct quota *q, const struct imap_resp *resp, const struct imap_value *data)
{
    const struct imap_value *list = imap_value_at(data, 1);
    uint64_t used, limit;

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "QUOTA") || !imap_value_at(data, 0))
        return false;
    if (!list) /* Courier leaves the list out where there are no limits */
        return true;
    if (list->kind != IMAP_LIST)
        return false;
    for (const struct imap_value *v = list->first; v; v = v->next->next->next) {
        if (!v->next || !imap_value_u64(v->next, &used) || !imap_value_u64(v->next->next, &limit))
            return false;
        for (enum quota_kind k = 0; k < QUOTA_KINDS; k++)
            if (imap_value_is(v, words[k]))
                quota_note_kind(q, k, used, limit);
    }
    return true;
}
