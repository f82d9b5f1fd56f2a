/* shares: with whom an account shares mailboxes: those that its access control lists name, and those whose mailboxes it is shown
 * (mailboxes.h). Pure.
 *
 * A name in a list of the old server becomes an account as a login name does (lib/account.h). A name without a domain has that of the
 * account whose list it stands in, since servers leave it out there; where acl_map means a name, the account is the one of the new name,
 * or of the old, since only the site knows which of the two people sign in with. */
#ifndef IMAPFERRY_SHARES_H
#define IMAPFERRY_SHARES_H

#include "lib/options.h"

#include "mailboxes.h"
#include "rights.h"
#include "shares_group.h"

enum share_kind {
    SHARE_ACCOUNT,
    SHARE_EVERYBODY, /* anyone, anonymous, authenticated */
    SHARE_GROUP,     /* a group of people, of which the server does not say who they are */
    SHARE_NOBODY     /* a shared namespace that belongs to nobody */
};
const char *share_word(enum share_kind k); /* "account", "everybody", "group", "nobody" */

struct share {
    enum share_kind kind;
    bool gives;    /* our mailboxes to them; else theirs are shown to us */
    char *who;     /* owned; the key of the account; else the name in the list, or the namespace */
    char *other;   /* owned; the key that it is too, see above; NULL: none */
    char *such_as; /* owned; one of the mailboxes, as on the wire */
    size_t mailboxes;
    char letters
        [RIGHTS_LETTERS_MAX]; /* all that they have on any of these; "": not known, as of what we are shown */
};

struct shares {
    const struct conf *conf; /* borrowed */
    const char *login;       /* of the account; borrowed */
    struct share
        *items; /* owned; one for each of the others and each way, in the order in which they were added */
    size_t n;
};

void shares_free(struct shares *s);
/* What an entry against somebody ("-bob") takes away is no share. */
void shares_add_rights(struct shares *s, const char *mailbox, const struct rights *r,
                       const struct rights_self *self);
void shares_add_elsewhere(struct shares *s, const struct mailbox_elsewhere *m);

/* Is somebody whom a list or a namespace of this account names one of them? g may be empty. */
bool shares_is_in(const struct shares_group *g, const struct conf *conf, const char *login, const char *who);

#endif
