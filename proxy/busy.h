/* busy: tells the store that an account is in use, for migration.cutover = idle, while the account is to be
 * switched over (queued to freezing, backoff); at other times, and with another policy, nothing is sent.
 *
 * In use is an account while a session has a command under way that looks into its mail or changes something,
 * and for idle_time from the end of the last one on. What mail programs send by themselves, with nobody
 * before them, does not count: a phone that lies in IDLE, or a program that asks NOOP, STATUS or LIST each
 * minute, would never be idle. So a login does not count either, before its first command that does. One that
 * SELECTs and FETCHes on a timer is in use for us.
 *
 * Each thread tells the store once in a quarter of idle_time and account at most, and the mark holds that
 * much longer, so an account never counts as idle too soon. A mark is a policy: one that is lost (a proxy
 * that died, a failover) lets an account go sooner, and nothing else. */
#ifndef IMAPFERRY_BUSY_H
#define IMAPFERRY_BUSY_H

#include "lib/imap_cmd.h"

#include "accounts.h"

/* Does this command count? Pure. */
bool busy_counts(enum imap_verb verb);
/* The account is used at this moment. */
void busy_note(struct account *a);
/* Its state may be another: what was used just before it was queued counts too. */
void busy_heard(struct account *a);

#endif
