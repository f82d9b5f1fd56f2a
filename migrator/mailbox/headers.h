/* headers: the HEADERS step, for migration.verify = headers: it reads the headers of copies that were not
 * compared yet on both sides, hashes and compares them. Equal ones are noted in the ledger; of all others
 * VERIFY reads the bytes, and these decide. In the other modes it does nothing. */
#ifndef IMAPFERRY_HEADERS_H
#define IMAPFERRY_HEADERS_H

#include "pair.h"

struct headers;

struct headers *headers_start(struct pair *p, step_fn fn, void *owner);
void headers_stop(struct headers **h);

#endif
