/* readback: reads messages of a selected mailbox and hashes them; the FETCH of the next batch is sent before
 * the one ahead has ended. It serves to verify copies, to find out what arrived, and to read a message a
 * second time. */
#ifndef IMAPFERRY_READBACK_H
#define IMAPFERRY_READBACK_H

#include "hasher.h"
#include "selected.h"

struct readback_item {
    uint32_t uid;
    uint64_t size;
    uint8_t hash[HASH_SIZE];
};

struct readback;
typedef void (*readback_fn)(void *owner, const struct readback_item *item);

/* got: once for each message that came, in the order of the server; one that does not come is for the caller
 * to miss. end: COPY_EQUAL (why: what the server said to refuse some of it, or ""), COPY_DOWN. A range of
 * uids that ends in 2^32-1 means "from here on". uids is copied. */
struct readback *readback_start(struct selected *s, const struct imap_seq *uids, readback_fn got, step_fn end,
                                void *owner);
/* The same of their headers (BODY[HEADER]) alone. */
struct readback *readback_headers(struct selected *s, const struct imap_seq *uids, readback_fn got,
                                  step_fn end, void *owner);
/* Has all been asked for that there is to ask? */
bool readback_has_asked(const struct readback *r);
void readback_stop(struct readback **r);

#endif
