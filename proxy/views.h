/* views: what the migrator recorded of an account's mailboxes (lib/view_record.h), read once after a flip for
 * all sessions that go on at the target. */
#ifndef IMAPFERRY_VIEWS_H
#define IMAPFERRY_VIEWS_H

#include "lib/view_record.h"

#include "accounts.h"

struct views;

/* Reads the records as they are at this flip (the account's epoch), unless that was done or is under way.
 * Then handover_step() is called for each session of the account in HANDOVER. */
void views_want(struct account *a);
void views_free(struct views **v);

/* VIEWS_READ: what follows may be asked. */
enum views_state { VIEWS_READING, VIEWS_READ, VIEWS_FAILED };
enum views_state views_state(const struct account *a);
/* The record of a mailbox by the name that clients use, NULL where there is none; borrowed. */
const struct view_record *views_of(const struct account *a, struct span name);
/* Is each mailbox spelled alike on both servers? */
bool views_alike(const struct account *a);

#endif
