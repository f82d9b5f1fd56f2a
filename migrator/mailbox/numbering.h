/* numbering: what a copy has to know to give each message on the target the UID that it has on the source.
 *
 *   wanted    the UID that the next message has to get: that which it has on the source
 *   gap       UIDs below the wanted one, from the target's UIDNEXT on, which no message of the source has
 *   filler    a tiny message of ours, marked \Deleted, that takes a UID of a gap and is removed again; UIDNEXT
 *             stays above it then
 *   jump      the target's UIDNEXT is raised at once, over its control channel
 *   held      all copies have the UIDs of their messages; lost: not so any more
 *   later     nobody could be asked to jump for the moment: the copy ends as it does when a connection breaks, before
 *             anything has another UID than it is to have
 *
 * A short gap is filled and a long one is jumped, unless all of them are filled (fill_all); where nothing can jump, all of them are filled. Each
 * APPENDUID is compared with what was wanted. When the numbers are lost the copy goes on without them: all
 * copies are right and the ledger knows their UIDs, nothing is taken back, and the fillers are removed all the
 * same.
 *
 * The UIDNEXT of the source is reached at the end of each pass that has left out nothing by accident, so in
 * the freeze too, since it only rises: no UID that a client of the source has seen is given out again. */
#ifndef IMAPFERRY_NUMBERING_H
#define IMAPFERRY_NUMBERING_H

#include "lib/buf.h"

/* How a raise of UIDNEXT ended. */
enum numbering_jump_rc {
    JUMP_DONE,
    JUMP_CANNOT, /* the numbers are lost */
    JUMP_LATER   /* the copy ends with COPY_DOWN */
};

/* A raise of UIDNEXT that is under way; it belongs to the copy. */
struct numbering_jump {
    void (*fn)(void *owner, enum numbering_jump_rc rc, const char *why);
    void *owner;
};

/* Of one mailbox. It is borrowed by the copy until that ends; gaps_left counts down meanwhile. */
struct numbering {
    bool wanted; /* each copy is to get the UID of its message */
    /* A gap of more UIDs than that is jumped, where there is a jump. */
    uint32_t fill_max;
    /* If no more fillers than that are needed in this mailbox, all of its gaps are filled, long ones too: then the
     * server's log of expunges knows each UID, and can answer QRESYNC clients by itself. The copy counts it down. Not
     * where UIDs were jumped over before. */
    uint64_t fill_all;
    /* How many UIDs may still be filled in this mailbox; a jump counts as one. More: the numbers are lost,
     * before the first of them where the gaps are known then. */
    uint64_t gaps_left;
    /* Raises the UIDNEXT of this mailbox of the target to exactly uidnext, which is above what it is. NULL: it
     * can't be done. Ends with one numbering_jumped(), never before it returned. It may be executed late, or
     * twice, but may never lower anything. */
    void (*jump)(void *owner, uint32_t uidnext, struct numbering_jump *j);
    /* The copy is stopped: j is gone, and numbering_jumped() must not be called for it any more. */
    void (*forget)(void *owner, struct numbering_jump *j);
    void *owner;
};

/* why says, for people, why UIDNEXT is not what it was to become. The copy takes it from the loop later, so this may be
 * called from anywhere but from inside jump(). why is copied. */
void numbering_jumped(struct numbering_jump *j, enum numbering_jump_rc rc, const char *why);

enum numbers_state {
    NUMBERS_NONE, /* not wanted */
    /* Each message of the source that is on the target has its UID there, nothing else is there, and the
     * target's UIDNEXT is that of the source */
    NUMBERS_HELD,
    NUMBERS_LOST
};

/* What it takes to give UIDs, ascending, to messages from the target's UIDNEXT `next` on, and to raise that to
 * uidnext. Where it can jump, gaps of more than fill_max UIDs are. */
struct numbering_need {
    uint64_t fillers, jumps;
    uint32_t too_low; /* the first of uids, or uidnext, that is below what can be given; 0 = none */
};
struct numbering_need numbering_need(const uint32_t *uids, size_t n, uint32_t next, uint32_t uidnext,
                                     bool jumps, uint32_t fill_max);

/* A filler: so many bytes, the same whenever it is asked for. id: 32 hex digits. */
enum { FILLER_SIZE = 131 };
void filler_write(struct buf *out, const char *id, uint32_t number);

/* How it ended. */
struct numbers {
    enum numbers_state state;
    const char *reason; /* of LOST, for people; "" else; borrowed */
};

#endif
