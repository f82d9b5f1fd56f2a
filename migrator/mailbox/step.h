/* step: how each step of a copy ends, and what the steps count. The steps and their order stand in copy.h;
 * what they work on is in pair.h. */
#ifndef IMAPFERRY_STEP_H
#define IMAPFERRY_STEP_H

#include "lib/base.h"

enum copy_rc {
    /* of a copy: verified equal, but for what is waived or only counted; of a step: it did what it is for */
    COPY_EQUAL,
    COPY_DIFFERS, /* findings that a later try may mend */
    COPY_CANNOT,  /* findings that need a person */
    COPY_DOWN,    /* a connection broke or the store is away: try again */
    COPY_LOST,    /* the job is not ours any more */
};

/* The end of a step, told once. why is for people, without the name of the mailbox, and borrowed: it may
 * belong to the step, which the callback may stop. No step calls back before its start function returned. */
typedef void (*step_fn)(void *owner, enum copy_rc rc, const char *why);

struct copy_counts {
    /* of the source; done = on the target */
    uint64_t messages_total, messages_done, messages_verified, bytes_total, bytes_done;
    uint64_t appended, stored, expunged;                         /* what this pass changed */
    uint64_t compared_bytes, compared_headers, compared_listing; /* messages found equal: by their bytes, by
                                                                   header and size, by size alone; flags and
                                                                   date always */
    /* messages of the target's own, which were left alone */
    uint64_t foreign;
    uint64_t zones_changed; /* INTERNALDATE: equal instant, other zone */
};

#endif
