/* fnv: FNV-1a, 64 bits (draft-eastlake-fnv): tells names apart where nobody who makes them gains anything by two that are alike. Where accounts
 * are goes by it (stores.h, waves.h), so what it says never changes. Pure. */
#ifndef IMAPFERRY_FNV_H
#define IMAPFERRY_FNV_H

#include "base.h"

#define FNV_BEGIN UINT64_C(0xcbf29ce484222325)

/* Of what h is of, FNV_BEGIN of nothing, and of the text behind it. */
uint64_t fnv(uint64_t h, struct span text);

#endif
