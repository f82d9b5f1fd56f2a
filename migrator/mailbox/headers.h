/* headers: the HEADERS step of migration.verify = headers: the headers of copies that were not compared yet
 * are read on both sides, hashed, and compared. Those that are equal are noted in the ledger; of all others
 * VERIFY reads the bytes, which decides. In the other modes it does nothing. */
#ifndef IMAPFERRY_HEADERS_H
#define IMAPFERRY_HEADERS_H

#include "pair.h"

struct headers;

struct headers *headers_start(struct pair *p, step_fn fn, void *owner);
void headers_stop(struct headers **h);

#endif
