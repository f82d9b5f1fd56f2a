/* uidls: what a client of POP3 would be told of an account by its two servers: lists the UIDLs of both as master, and says by which
 * format (lib/pop3_uidl.h) each makes them, so that it is known before a move whether clients would download again. Writes
 * nothing: UIDL changes no maildrop, and the connection ends without QUIT. */
#ifndef IMAPFERRY_UIDLS_H
#define IMAPFERRY_UIDLS_H

#include "lib/loop.h"
#include "lib/options.h"
#include "lib/pop3_uidl.h"
#include "lib/tls.h"

struct uidls;

struct uidls_side {
    const struct conf_backend *backend;
    struct tls_policy *tls;      /* of it; borrowed; NULL without TLS */
    struct pop3_numbers numbers; /* of the INBOX, by IMAP; zeros: not known */
    const char *format;          /* for people; NULL: not known ... */
    uint32_t n; /* ... of so many UIDLs; where the account has none there, those of check_user */
    char *why;  /* they could not be listed; owned by the look */
};

/* sides: as they were given, with what was found; borrowed. */
typedef void (*uidls_fn)(void *owner, const struct uidls_side sides[2]);
/* sides: backend, tls and numbers, of source and target, which have POP3 (backend_has_pop3()). login is copied; NULL: those of
 * check_user, which both have, are listed. */
struct uidls *uidls_start(struct loop *l, const char *login, const struct uidls_side sides[2], uidls_fn fn,
                          void *owner);
void uidls_cancel(struct uidls **u);

/* Whether clients go on without downloading again, as one line for people, to free. keeps: UIDVALIDITY and UIDs stay (T0). *same: they
 * do. */
char *uidls_say(const struct uidls_side sides[2], bool keeps, bool *same);
/* Are both formats known? */
bool uidls_are_known(const struct uidls_side sides[2]);

#endif
