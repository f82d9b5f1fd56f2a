/* view_name: how a mailbox is spelled on the one server and on the other (DESIGN.md 8, "Names"). Pure.
 *
 * Servers differ in the hierarchy separator and in the prefix of the personal namespace: "INBOX.Work.Bills"
 * on one is "Work/Bills" on the other. A name is taken apart into levels without prefix and separators, and
 * put together again. Names are the bytes of the protocol: modified UTF-7 (or UTF-8) is kept as it is,
 * invalid names too.
 *
 * What a level holds that a server can't have in a level is spelled there by "=" and two capital hex digits:
 *
 *   its separator                      "v1.2" for a server that separates by "."  is "v1=2E2"
 *   a byte of avoid                    "50%" for a server that takes no "%"       is "50=25"
 *   a level of no bytes                "a//b"                                     is "a/=00/b"
 *   a mailbox INBOX below a prefix     "INBOX.INBOX" for a server without prefix  is "=49NBOX"
 *
 * A level that looks like such a spelling already gets "3D" put in behind its "=": "v1=2E2" becomes
 * "v1=3D2E2", and "v1=3D2E2" becomes "v1=3D3D2E2". So the way back always leads to the same name, and two
 * names never become one. Names that differ by case alone are reported by the plan; INBOX by itself, or at
 * the head of a prefix, is one name in any case (RFC 3501 5.1).
 *
 * Two kinds of names have none on the other side: those outside of the personal namespace, and those below
 * another mailbox where the other server has no separator. */
#ifndef IMAPFERRY_VIEW_NAME_H
#define IMAPFERRY_VIEW_NAME_H

#include "view_rename.h"

enum { VIEW_NAME_MAX = 4096 };

/* How one server spells names; the strings are borrowed. */
struct view_side {
    char separator;     /* '\0': NIL, the server has no hierarchy */
    const char *prefix; /* of the personal namespace, with its separator: "INBOX." or "" */
    const char *avoid;  /* further bytes that the server takes in no name; "" or NULL: none */
};

struct view_names {
    struct view_side source, target;
    const struct view_renames *renames; /* applied in the source's spelling; NULL: none; borrowed */
};

/* NULL where the names of this side can be mapped; else a fixed text that says why not. A separator, and each
 * byte of avoid, has to be printable ASCII other than what encodings are made of: letters, digits and
 * "&+,-=". A prefix has to end with the separator. */
const char *view_side_fault(const struct view_side *side);

/* Appends the target's name for a source's (for SELECT, CREATE, ... and the plan). False, and *out as it was,
 * where there is none (see above), and for an empty name, one longer than VIEW_NAME_MAX on either side, and
 * one with NUL, CR or LF. */
bool view_name_to_target(const struct view_names *v, struct span name, struct buf *out) MUST_CHECK;
/* Appends the source's name for a target's (for LIST, STATUS, ...). It is the inverse of the function above;
 * for names that a rename made this holds only where no other mailbox has that name, see view_rename.h. Names
 * that came into being on the target without us (by Sieve, by webmail) have a source's name too, except those
 * with empty levels. */
bool view_name_to_source(const struct view_names *v, struct span name, struct buf *out) MUST_CHECK;

/* True for INBOX in any case (RFC 3501 5.1). */
bool view_name_is_inbox(struct span name);

#endif
