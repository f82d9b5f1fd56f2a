/* remove: takes named messages of ours away from the target by UID STORE +FLAGS (\Deleted) and UID EXPUNGE of
 * just these UIDs (RFC 4315), and makes sure that they are gone. touch.h tells what goes before and behind
 * these commands. EXPUNGE and CLOSE are never used, since they would take other messages along: without
 * UIDPLUS it ends with COPY_CANNOT before anything was done. */
#ifndef IMAPFERRY_REMOVE_H
#define IMAPFERRY_REMOVE_H

#include "pair.h"

struct remove;

/* uids: of the target, not empty; copied. */
struct remove *remove_start(struct pair *p, const struct imap_seq *uids, step_fn fn, void *owner);
/* may: asked right before the commands go out; where the target has CONDSTORE the list has the messages' flags of just
 * then, and whoever changes them later keeps his message. False: nothing is removed, and it ends as where something is
 * still there (COPY_DIFFERS). */
struct remove *remove_start_if(struct pair *p, const struct imap_seq *uids, bool (*may)(void *owner),
                               step_fn fn, void *owner);
void remove_stop(struct remove **r);

#endif
