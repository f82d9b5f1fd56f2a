/* shares_group: the accounts with which one is switched over (lib/route_sharing.h), itself among them: with them it may share. */
#ifndef IMAPFERRY_SHARES_GROUP_H
#define IMAPFERRY_SHARES_GROUP_H

#include <stddef.h>

struct shares_group {
    char **users; /* owned; keys */
    size_t n;
};
void shares_group_free(struct shares_group *g);

#endif
