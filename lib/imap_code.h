/* imap_code: the response codes of servers that say why a command was not done (RFC 5530, and two older
 * ones), in one table: who is at fault, and what may be passed on to a client. Pure. */
#ifndef IMAPFERRY_IMAP_CODE_H
#define IMAPFERRY_IMAP_CODE_H

#include "base.h"

struct imap_code {
    const char *name;
    bool not_the_user; /* in a NO to a sign-in it means that name and password may be right all the same */
    bool temporary;    /* the same command may be done later, without anybody changing anything */
    /* what we tell a client with this code, in our own words; NULL: the code is not for clients */
    const char *text;
};

/* The row of the code that stands in a response's brackets, whatever follows its name; NULL: the table has no
 * such code. */
const struct imap_code *imap_code_find(struct span code);

#endif
