/* bulk_list: reads a list of login names, one a line, as the accounts that they mean. Blank lines and lines
 * that begin with "#" are comments. A line is a problem if it can't be an account, if it is more than a name
 * (a line of a table, of a mail's header, of /etc/passwd), or if its account was there before (also under an
 * alias). Pure. */
#ifndef IMAPFERRY_BULK_LIST_H
#define IMAPFERRY_BULK_LIST_H

#include "lib/buf.h"
#include "lib/options.h"

struct bulk_line {
    size_t number; /* of the line, from 1 */
    char *text; /* owned: the account key; of a problem: the line, on one line and cut off where it is long */
    /* owned; of an account: what the line means if it is written as a key is (naming.h), else NULL */
    char *as_key;
    char *why;  /* owned; NULL: an account */
    bool twice; /* what is wrong is that it was there before */
};

struct bulk_list {
    struct bulk_line *accounts, *problems; /* owned; in the order of the lines */
    size_t n_accounts, n_problems;
    size_t n_bare; /* accounts without a domain */
};

void bulk_list_read(struct bulk_list *l, const struct conf *c, struct span text);
void bulk_list_free(struct bulk_list *l);

#endif
