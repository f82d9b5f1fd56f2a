/* stamp: how both sides of a mailbox looked when they were last compared equal, so that a later pass can tell
 * from STATUS alone that nothing has changed: UIDVALIDITY, UIDNEXT, the number of messages and HIGHESTMODSEQ
 * (RFC 7162), which rises with each new, changed or expunged message. Kept beside the view record, under its
 * id, in the hash imapferry:stamps:USER. Pure.
 *
 * The numbers are those that a server gave before it was listed for that comparison, never after: whatever
 * changes from then on makes them differ. A side without HIGHESTMODSEQ proves nothing about flags. */
#ifndef IMAPFERRY_STAMP_H
#define IMAPFERRY_STAMP_H

#include "lib/buf.h"
#include "lib/imap_tok.h"

struct stamp_side {
    uint32_t uidvalidity, uidnext, messages;
    uint64_t modseq; /* 0 = not known */
};

/* When the target's mailbox was empty, and nothing of ours had been there yet, its HIGHESTMODSEQ was this, as the
 * server told it: whatever is in it since, or is gone again, has a greater MODSEQ. */
struct stamp_base {
    uint32_t uidvalidity; /* of that mailbox */
    uint64_t modseq;      /* 0 = not known */
};

struct stamp {
    bool equal; /* the rest of the comparison holds */
    struct stamp_side source, target;
    uint64_t bytes; /* of the source, for people */
    struct stamp_base base;
    bool made;      /* this account's migration has made the mailbox on the target */
    uint64_t terms; /* stamp_terms(), under which all of this was so */
};

/* The terms of a comparison, as one number: a stamp that was made between other backends, or under other
 * rules, says nothing. */
uint64_t stamp_terms(const char *source, const char *target);
/* The same with one term more: a rule of what is left out. */
uint64_t stamp_terms_and(uint64_t terms, const char *more);

/* Is what follows STATUS a name, and a list of names with numbers behind each (NIL, or a list: of something
 * that was not asked for)? NULL is not. */
bool stamp_status_is_whole(const struct imap_value *data) MUST_CHECK;
/* UIDNEXT, UIDVALIDITY, HIGHESTMODSEQ of a STATUS response; what is missing becomes 0. */
void stamp_side_take(struct stamp_side *s, const struct imap_value *items);
/* False also where a number is not known. */
bool stamp_side_same(const struct stamp_side *a, const struct stamp_side *b);

/* Are they written alike? */
bool stamp_same(const struct stamp *a, const struct stamp *b);
/* "1 terms=17 made=0 base=9,44 equal=7,20,18,105;9,20,18,44 bytes=81000" or, never compared equal and without a
 * base, "1 terms=17 made=1". Appends. */
void stamp_encode(struct buf *out, const struct stamp *s);
/* The whole text must be what stamp_encode() writes; *_r is written on success alone. */
bool stamp_decode(struct span text, struct stamp *_r) MUST_CHECK;

#endif
