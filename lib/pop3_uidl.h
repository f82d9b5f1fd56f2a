/* pop3_uidl: by which format a server of POP3 makes the UIDLs of a mailbox (RFC 1939 section 7), told from a list of them. Pure.
 *
 * A client of POP3 downloads again what has another UIDL than before. Servers make them of UIDVALIDITY and UID, so they stay
 * the same over a move that keeps both (T0), where both servers are set to one format:
 *
 *   format             Dovecot (pop3_uidl_format)    Cyrus (uidl_format)
 *   %08xu%08xv         %08Xu%08Xv, its default       dovecot
 *   %08xv%08xu         %08Xv%08Xu
 *   %v.%u              %v.%u                         cyrus, the default of 3.6
 *   %v-%u              %v-%u                         courier
 *   UID%u-%v           UID%u-%v
 *   %u                 %u                            uidonly
 *
 * Courier's own look like UID%u-%v, but are of numbers that POP3 alone knows there: they fit no mailbox. */
#ifndef IMAPFERRY_POP3_UIDL_H
#define IMAPFERRY_POP3_UIDL_H

#include "base.h"

/* What is known of the mailbox. uidvalidity 0: nothing; then it is what stands in the first UIDL, and has to be greater than
 * the UIDs, as one that was made of the time is. */
struct pop3_numbers {
    uint32_t uidvalidity, uidnext;
};

/* The formats that fit all UIDLs so far; begin with all of them. */
#define POP3_UIDL_ALL UINT32_MAX
/* Takes the next UIDL of the list, in order; *last is the UID of the one before it in each format, zeros at first. What is left: 0 =
 * no known one. */
enum { POP3_UIDL_FORMATS = 6 };
struct pop3_uidls {
    uint32_t fits;
    uint32_t last[POP3_UIDL_FORMATS];
    uint32_t uidvalidity[POP3_UIDL_FORMATS]; /* where none was known */
    uint32_t n;
};
void pop3_uidl_take(struct pop3_uidls *u, const struct pop3_numbers *m, struct span uidl);
/* The first format that fits, for people; NULL: none, or the list was empty. */
const char *pop3_uidl_format(const struct pop3_uidls *u);

#endif
