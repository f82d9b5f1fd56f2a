/* naming: which account does a name mean that staff give? Everywhere accounts are shown as their keys
 * (lib/account.h), with "%20" for a blank; and what is shown may be given back. So a text that is written as
 * a key is may mean two accounts: the one of that key, or the one whose login name really holds the "%". The
 * one that has a record is meant, and where neither has one the login name is: nothing that was shown is
 * without a record. Where both have one, nobody guesses. */
#ifndef IMAPFERRY_NAMING_H
#define IMAPFERRY_NAMING_H

#include "lib/route.h"

/* The account of the key that text is; to free. NULL: text is none, or none that another login name could be
 * meant by. */
char *naming_as_key(const struct conf *c, const char *text) MUST_CHECK;

enum naming_rc {
    NAMING_LOGIN,   /* the login name */
    NAMING_KEY,     /* the key */
    NAMING_NEITHER, /* the login name: neither has a record */
    NAMING_BOTH,    /* nobody knows */
    NAMING_FAILED,  /* the store does not answer: rc */
};
typedef void (*naming_fn)(void *owner, enum naming_rc n, enum route_rc rc);

struct naming;
/* login, key: two account keys. Calls back once, not before it returned unless the store is away, and is gone
 * then. */
void naming_ask(struct store *s, const char *login, const char *key, struct naming **n, naming_fn fn,
                void *owner);
/* NULL is fine. */
void naming_cancel(struct naming **n);
/* What to say of NAMING_BOTH; to free. */
char *naming_say_both(const char *text, const char *login, const char *key);

#endif
