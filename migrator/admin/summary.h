/* summary: adds accounts up, for a report: how many are where, in which state and why, what of them is copied and compared, how
 * clients see their mailboxes. It takes as much memory for 100,000 accounts as for ten. */
#ifndef IMAPFERRY_SUMMARY_H
#define IMAPFERRY_SUMMARY_H

#include <jansson.h>

#include "walk.h"

struct summary;
struct summary *summary_new(void);
void summary_add(struct summary *s, const struct walk_account *a);
/* An object: accounts, states, backends, reasons (a list of state, reason, advice, accounts, examples), mailboxes, messages, bytes
 * (each done and total; of messages also verified), tiers, waived (accounts, findings), moved (accounts, first, last), domains and
 * rules (by name: accounts, moved; those beyond SUMMARY_NAMES together as ""). Then it is empty. To decref. */
enum { SUMMARY_NAMES = 500, SUMMARY_EXAMPLES = 3 };
json_t *summary_json(struct summary *s);
/* NULL is fine. */
void summary_free(struct summary **s);

#endif
