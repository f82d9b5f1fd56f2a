/* depot: where a message goes that its server refuses by APPEND: over another connection, in whose session a server
 * stores what it is given, with a UID of our choice. Here is only how the two sides speak: who copies mailboxes gives
 * messages, who has such a connection takes them (site/channel.h).
 *
 *   begin → go → bytes ... → end → ended
 *
 * Nothing is stored before depot.end(). A message is never held: its bytes pass through. */
#ifndef IMAPFERRY_DEPOT_H
#define IMAPFERRY_DEPOT_H

#include "lib/base.h"

enum { DEPOT_SHA1 = 20 /* bytes */ };

/* All is borrowed until begin() returns. */
struct depot_message {
    const char *mailbox;  /* as on the wire */
    uint32_t uidvalidity; /* of the mailbox: another one gets nothing */
    uint32_t uid; /* wanted: if the mailbox is above it by then, the next one is taken; 0: the next one */
    const char *flags; /* of IMAP, with blanks between */
    int64_t instant;   /* INTERNALDATE, in s since 1970; depot_takes_instant() */
    uint64_t size;     /* bytes, at least one */
    uint8_t sha1[DEPOT_SHA1];
};

static inline bool depot_takes_instant(int64_t instant)
{
    return instant >= 0 && instant <= UINT32_MAX;
}

enum depot_rc {
    DEPOT_STORED,
    DEPOT_REFUSED, /* the server does not take it, or does not let us give it anything: nothing is stored */
    DEPOT_CLOSED,  /* it can't be reached now, and won't for the rest of the job: nothing is stored */
    DEPOT_LOST,    /* the connection broke: nobody knows whether it is stored, or will be */
};

/* Who gives the message. None of these is called from inside a function of struct depot. */
struct depot_giver {
    void (*go)(void *owner);      /* the bytes are waited for */
    void (*drained)(void *owner); /* full() was true and is not any more */
    /* The end, whatever came before. uid: which it has got, of DEPOT_STORED. why: for people; borrowed. */
    void (*ended)(void *owner, enum depot_rc rc, uint32_t uid, const char *why);
};

struct depot {
    void *owner;
    /* Several may be begun; they go one after the other. giver is borrowed. */
    void (*begin)(void *owner, const struct depot_message *m, const struct depot_giver *giver, void *whose);
    /* Of the one that was told to go: exactly as many bytes as were announced. */
    void (*bytes)(void *owner, struct span bytes);
    bool (*full)(const void *owner);
    void (*end)(void *owner);
    /* It is given up: nothing is called any more. Before end() nothing of it is stored, ever. */
    void (*forget)(void *owner, void *whose);
};

#endif
