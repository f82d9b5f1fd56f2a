/* allowance: how often one token may ask, so that a program that has gone wild, or a page that was left open in a hundred tabs, takes
 * neither Redis nor a migrator from others: 600 calls at once, and 100 a second from then on. Pure. */
#ifndef IMAPFERRY_ALLOWANCE_H
#define IMAPFERRY_ALLOWANCE_H

#include "lib/base.h"

enum { ALLOWANCE_AT_ONCE = 600, ALLOWANCE_PER_SECOND = 100, ALLOWANCE_NAMES = 256 };

/* {0} is one that knows of none. */
struct allowance {
    struct allowance_name {
        char name[72];
        uint64_t since_ms, used; /* thousandths of calls that are not made good yet */
    } of[ALLOWANCE_NAMES];
};

/* name: of the token. False: it has to wait. Where there are more names than fit, the one that was silent for longest is forgotten. */
bool allowance_take(struct allowance *a, const char *name, uint64_t now_ms) MUST_CHECK;

#endif
