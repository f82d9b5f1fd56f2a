/* oddity: lines of a server that were not understood whole, or that contradict each other, as text for
 * people, kept until they become findings. Pure.
 *
 * Each is kept once; the first ODDITIES_MAX have their text, the rest are counted. */
#ifndef IMAPFERRY_ODDITY_H
#define IMAPFERRY_ODDITY_H

#include "finding.h"

enum { ODDITIES_MAX = 50 };

struct oddity {
    char *mailbox; /* as on the wire; "": the account; owned */
    char *text;    /* owned */
};

struct oddities {
    struct oddity *items; /* owned */
    size_t n;
    uint64_t more;
};

/* Copies both. mailbox NULL is "". True: it was not there yet, and there was room. */
bool oddities_add(struct oddities *o, const char *mailbox, const char *text);
void oddities_free(struct oddities *o);
/* Adds a finding of this kind for each. */
void oddities_name(const struct oddities *o, struct findings *f, enum finding_kind kind);

#endif
