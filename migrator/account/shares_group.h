/* shares_group: the accounts with which one is switched over (lib/route_sharing.h), itself among them: with them it may share. */
#ifndef IMAPFERRY_SHARES_GROUP_H
#define IMAPFERRY_SHARES_GROUP_H

#include "lib/base.h"

struct shares_group {
    char **users; /* owned; keys */
    size_t n;
};
void shares_group_free(struct shares_group *g);
/* From what route_sharing_read() tells. */
void shares_group_fill(struct shares_group *g, const struct span *rows, size_t n);
/* Is somebody switched over together with the account of a struct move? For plan.h. */
bool shares_group_goes_along(const void *move, const char *who);

#endif
