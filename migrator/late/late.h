/* late: one look at the server that an account has left. It only adds: what came there since the flip, above
 * what the ledger knows, is copied to where the account is, read back, and named in the account's history.
 * Nothing is removed or re-flagged on either side, but for doubles of our own copies (recheck.h).
 *
 * | phase   | does                                                    | leaves to                 |
 * |---------|---------------------------------------------------------|---------------------------|
 * | SIGN_IN | master, or the sealed password while it lasts           | LISTS; end                |
 * | LISTS   | reads the mailboxes of both sides                       | RECORDS                   |
 * | RECORDS | reads the view records: UIDNEXT at the flip; which      | RECHECK, ARRANGE, SIFT;   |
 * |         | mailboxes have news?                                    | NOTE: none has; LISTS     |
 * |         |                                                         | once: one is not there    |
 * | RECHECK | if the account was in doubt (route_calm()): what came   | ARRANGE, SIFT; NOTE       |
 * |         | of it at the target, mailbox by mailbox (recheck.h)     |                           |
 * | SIFT    | if looks go from the first UID on: reads the ledgers;   | ARRANGE                   |
 * |         | for what was looked at before no mailbox has to be made |                           |
 * | ARRANGE | makes these mailboxes where they are not there any more | WRITE                     |
 * | WRITE   | writes the records of mailboxes that are new            | COPY                      |
 * | COPY    | for each: ledger, copy (late_from), how far it looked   | NOTE                      |
 * | NOTE    | the account's history                                   | end                       |
 *
 * After a flip by force, or when another move was begun and given up (a way back that failed, so that the
 * account is blocked or held), the UIDNEXT of the flip is not known, or not true any more. Then each mailbox
 * is looked at from its first UID on, once, and each message without a row in the ledger is news. So mail
 * that was missing at a forced flip comes in the background; changed flags, and what was deleted since the
 * last pass, do not. If nothing at all had been copied before the flip by force (route: forced = bare), the
 * first look copies nothing either, since that is what was asked for: it names how many messages of each
 * mailbox stay behind, and messages that come after these are brought from then on.
 *
 * What a look finds in a mailbox is written into the account's history first; only then does the ledger say
 * that it was told or looked at, and only then is anything removed. So whoever dies in between tells it once
 * more.
 *
 * A mailbox whose UIDVALIDITY is another than at the flip is named, and left alone: its UIDs say nothing. */
#ifndef IMAPFERRY_LATE_H
#define IMAPFERRY_LATE_H

#include "migrator/account/move.h"

enum late_rc {
    LATE_DONE,  /* all was looked at */
    LATE_BLIND, /* something could not be looked at, or brought: detail; another look may */
    LATE_LOST,  /* the account is not ours any more */
};
struct late_result {
    enum late_rc rc;
    const char *detail; /* for people; borrowed */
    uint64_t found;     /* messages that were brought */
};
typedef void (*late_fn)(void *owner, const struct late_result *result);

struct late;
/* Makes move->crew and move->records. Never calls back before it returned; is gone when it does. */
struct late *late_start(struct move *move, late_fn fn, void *owner);
/* NULL is fine. */
void late_cancel(struct late **l);

#endif
