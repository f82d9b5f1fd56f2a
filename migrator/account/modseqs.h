/* modseqs: how the MODSEQs of a mailbox go on over a move (RFC 7162, DESIGN.md 8), as two numbers of its view record:
 * the floor, above all that clients have been shown until now, and the shift, which is added to what the server says
 * from now on. Pure.
 *
 *   told      the target's mailbox was empty when its HIGHESTMODSEQ was above all of the source's, as T0 makes it:
 *             the floor is that number, and nothing is added. Proxies need not look where each UID below UIDNEXT was
 *             given to a message as well
 *   none      no client was shown any (NOMODSEQ): both are 0
 *   shifted   else: both are the highest that clients were shown, and MODSEQS_SLACK for those who have looked past
 *             the proxies
 *
 * What clients were shown is what the server that is left said in the freeze, with the shift that held until now. So
 * it composes, there and back. A move that is called off in the freeze may leave such a record behind: where one held
 * before, it is right on the server where the account stays, too, since its floor lies above all that was shown, and
 * by the slack above what sessions with the record before will show for a while. */
#ifndef IMAPFERRY_MODSEQS_H
#define IMAPFERRY_MODSEQS_H

#include "lib/view_record.h"

#define MODSEQS_SLACK ((uint64_t)1 << 20)
/* Where clients have been shown more than that, they are not shown MODSEQs any more: the next moves would leave 63
 * bits. */
#define MODSEQS_MAX ((uint64_t)1 << 62)

struct modseqs_facts {
    bool condstore;          /* of both servers */
    bool held;               /* by this record clients have seen the mailbox until now: */
    uint64_t floor, shift;   /* ... */
    uint64_t source, target; /* HIGHESTMODSEQ in the freeze; 0: none was told */
    uint64_t base;           /* of the target's mailbox, see stamp.h; 0: not known */
    bool given;              /* each UID that clients may know was given to a message of the target */
};
/* Writes the fields modseq* of the record, by the tier that it has. */
void modseqs_go_on(struct view_record *v, const struct modseqs_facts *f);
/* One word for people: "anew" (clients read the mailbox anew anyway), "none" (they are shown none any more, or never
 * were), "kept" (the server answers clients by itself), "jumped" (... but for what is gone since before the flip),
 * "shifted" (the proxies add to them). */
const char *modseqs_word(const struct view_record *v);

#endif
