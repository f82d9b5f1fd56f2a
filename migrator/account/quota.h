/* quota: how much an account may have, and has (RFC 2087, RFC 9208). Pure.
 *
 * An account may lie below several quota roots; of each kind the tightest limit and the largest use count. */
#ifndef IMAPFERRY_QUOTA_H
#define IMAPFERRY_QUOTA_H

#include "lib/imap_resp.h"
#include "lib/imap_tok.h"

enum quota_kind { QUOTA_STORAGE /* KiB */, QUOTA_MESSAGE, QUOTA_MAILBOX, QUOTA_KINDS };

struct quota {
    struct {
        bool used_known, limited;
        uint64_t used, limit;
    } kinds[QUOTA_KINDS];
};

const char *quota_word(enum quota_kind k);
/* Takes a "* QUOTA root (KIND used limit ...)". False: it is none. */
bool quota_take(struct quota *q, const struct imap_resp *resp, const struct imap_value *data) MUST_CHECK;

#endif
