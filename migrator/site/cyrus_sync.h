/* cyrus_sync: what Cyrus tells and takes of a mailbox by SYNCGET and SYNCAPPLY, as text. Each mailbox, and each message,
 * is a list of names and values, in which "%(" opens a list of the same kind:
 *
 *   SYNCGET MAILBOXES (user.ann.Sent)
 *   * MAILBOX %(UNIQUEID x MBOXNAME user.ann.Sent SYNC_CRC 0 ... ANNOTATIONS (%(ENTRY /comment ...)))
 *   SYNCAPPLY MESSAGE (%{PARTITION SHA-1 SIZE}CRLF bytes)
 *   SYNCAPPLY MAILBOX %(UNIQUEID x ... LAST_UID 19 ... RECORD (%(UID 19 ... GUID SHA-1 ANNOTATIONS ())))
 *
 * All that SYNCGET told goes back, but for what is to be another. A message whose bytes came before, in the same
 * session, is stored by its RECORD: only with a UID above LAST_UID as it is then, else the server refuses all of it.
 *
 * The names are those inside of the server: "." between the levels, "^" for a dot, and a domain in front. Those of the
 * user's mailboxes all begin with that of INBOX. Pure. */
#ifndef IMAPFERRY_CYRUS_SYNC_H
#define IMAPFERRY_CYRUS_SYNC_H

#include "lib/imap_tok.h"
#include "lib/imap_write.h"

#include "migrator/imap/depot.h"

/* Is it the name of an INBOX: nothing below "user.NAME", behind a domain or not? */
bool cyrus_is_root(struct span name);
/* Appends the name of a mailbox, as on the wire, below the INBOX `root`. separator: 0, there is none. */
void cyrus_write_name(struct buf *out, const char *root, const char *prefix, char separator,
                      const char *mailbox);

/* What a mailbox has, and then, what it is to have. */
struct cyrus_numbers {
    uint32_t uidvalidity, last_uid;
    uint64_t modseq;
    char anew[25]; /* the UNIQUEID under which it is made anew; "": it stays what it is */
};
/* The list behind "%". NULL: there is none. */
const struct imap_value *cyrus_list(const struct imap_value *v);
bool cyrus_read_numbers(const struct imap_value *list, struct cyrus_numbers *n) MUST_CHECK;
/* Room for a message with the UID that is wanted, or, where that is passed, the next one; with the MODSEQ that is the
 * next one. False: there is none; *why is a fixed text. */
bool cyrus_make_room(struct cyrus_numbers *n, uint32_t wanted, const char **why) MUST_CHECK;

/* What stands in front of the bytes; behind them stands CYRUS_BEHIND. partition: one word. */
void cyrus_write_message(struct imap_writer *w, struct span partition, const struct depot_message *m);
#define CYRUS_BEHIND ")"
/* list: what SYNCGET told. m: NULL, no message; else one that has n->last_uid and n->modseq. now_s: since 1970. */
void cyrus_write_mailbox(struct imap_writer *w, const struct imap_value *list, const struct cyrus_numbers *n,
                         const struct depot_message *m, uint64_t now_s);

#endif
