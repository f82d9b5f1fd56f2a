/* view_record: what is kept of one mailbox after its account was flipped: a field of the hash
 * imapferry:views:USER, under the name that the client sees (DESIGN.md 5 and 8). Pure.
 *
 * The record is bound to the target's real UIDVALIDITY: where that is another one, the map is void. */
#ifndef IMAPFERRY_VIEW_RECORD_H
#define IMAPFERRY_VIEW_RECORD_H

#include "view_uid.h"

enum {
    VIEW_ID_MAX = 32,
    VIEW_NAME_ID_BYTES = 9 /* of the id of a record that was made for a name alone, and has no ledger */
};
/* RFC 7162: MODSEQs have 63 bits. */
#define VIEW_MODSEQ_MAX ((uint64_t)INT64_MAX)

/* How the client goes on seeing its UIDs (DESIGN.md 8). T0, T1: the target has the same UIDs. T2: they are
 * mapped. T3: it does not, but resynchronises; a map is kept for the way back alone. */
enum view_tier { VIEW_T0, VIEW_T1, VIEW_T2, VIEW_T3 };

struct view_record {
    char id[VIEW_ID_MAX + 1];        /* 1 to 32 small hex digits, random; names the ledger too */
    char *source_name, *target_name; /* owned; as the servers spell them, not empty */
    uint32_t source_uidvalidity, target_uidvalidity; /* 0: the server has none */
    uint32_t source_uidnext, target_uidnext;         /* at the flip; 0: not known */
    uint32_t highest_uidvalidity;                    /* ever shown to a client under this name */
    /* ... as long as the account was not flipped by this record; 0: the same. Greater than that is what it will be
     * shown by behind a flip (T3). */
    uint32_t highest_unflipped;
    enum view_tier tier;
    struct view_uid map; /* owned */
    /* CONDSTORE and QRESYNC (RFC 7162) over the move, both of the server on which the account is now. Every
     * MODSEQ that a client has been shown before the flip is at most the floor, and all that it is shown since
     * are greater: the server's own and the shift. Where it is not told what they are (older releases, or
     * servers that have none), clients of the account are shown neither of the two extensions; T3 needs no
     * numbers, since clients start again. */
    bool modseqs;
    uint64_t modseq_floor, modseq_shift; /* at most VIEW_MODSEQ_MAX; the shift is not above the floor */
    /* UIDs that clients may have known were never given to a message here, so that the server's own log of
     * expunges does not know them. */
    bool modseq_jumped;
};

void view_record_free(struct view_record *r);
/* Is it of a mailbox of another user, and kept since that became another one (view_lend(), view_void())? There is nothing to be
 * moved for it, and no ledger. */
bool view_record_is_of_other(const struct view_record *r);

/* "T0" to "T3". */
const char *view_tier_text(enum view_tier tier);

/* One line of printable ASCII without blanks at its ends; one record has one spelling:
 *
 *   1 id=9f03 source=INBOX target=INBOX uidvalidity=7,1700000000 uidnext=20,6 highest=7 tier=T2 map=1UGBAAC
 *
 * Behind the number of `highest` stands ",UNFLIPPED" where that is another one. Then comes " modseq=FLOOR,SHIFT" where they are known, with ",j" where UIDs were jumped over.
 * In names, what is not printable ASCII, blanks, "%" and "=" are percent-encoded. */
void view_record_encode(struct buf *out, const struct view_record *r);
/* Reads such a line. False where the whole text is not what view_record_encode() writes, with names of up to
 * VIEW_RECORD_NAME_MAX bytes and a map of at most max_runs runs; T2 needs a map with a tail. *_r is written
 * on success alone. */
enum { VIEW_RECORD_NAME_MAX = 16 * 1024 };
bool view_record_decode(struct span text, size_t max_runs, struct view_record *_r) MUST_CHECK;

#endif
