/* What channel.c and the two kinds of channels share. */
#ifndef IMAPFERRY_CHANNEL_PRIV_H
#define IMAPFERRY_CHANNEL_PRIV_H

#include <sys/queue.h>

#include "channel.h"
#include "http_post.h"

enum { CHANNEL_TRIES = 2, CHANNEL_MS = 10 * 1000 /* for one answer */ };

/* Of a message. */
enum channel_step {
    CHANNEL_WAITING, /* for the one before */
    CHANNEL_ASKING,  /* where its bytes are to go */
    CHANNEL_GIVING,  /* its bytes */
    CHANNEL_STORING
};

/* Something that was asked for. */
struct channel_op {
    TAILQ_ENTRY(channel_op) link;
    struct channel *c;
    struct channel_want want; /* mailbox is owned */
    channel_fn fn;            /* NULL: forgotten */
    void *owner;
    unsigned tries;
    /* a message; giver NULL: it is none */
    const struct depot_giver *giver; /* borrowed; fn is NULL then, and owner its */
    struct depot_message message;    /* mailbox is that of `want`; flags are owned */
    enum channel_step step;
    bool lost;  /* one of these */
    bool ended; /* is told from the loop */
    enum channel_rc rc;
    char *why; /* owned */
    /* of doveadm */
    struct http_post *post;
    /* of cyrus */
    bool started;
    char *internal;      /* its name; owned */
    struct buf apply;    /* what SYNCAPPLY is to be sent */
    bool found, clumsy;  /* SYNCGET told of it; it told what can't be used */
    const char *refused; /* what of it can't be done; a fixed text */
    char *partition;     /* on which the mailbox lies; owned */
    uint32_t uid;        /* which the message gets */
    unsigned stale;      /* how often others were faster */
};

struct channel_kind {
    const char *word;
    void (*start)(struct channel_op *op);
    /* It ends without a callback. */
    void (*stop)(struct channel_op *op);
    void (*close)(struct channel *c); /* all ops are stopped */
    /* Of a message that was told to go; NULL: this kind takes none. */
    void (*bytes)(struct channel_op *op, struct span bytes);
    bool (*is_full)(const struct channel_op *op);
    void (*end)(struct channel_op *op);
};
extern const struct channel_kind channel_doveadm, channel_cyrus;

struct channel {
    const struct channel_kind *kind;
    struct migrator *m;
    const struct conf_backend *backend;
    char *user, *login, *prefix; /* owned */
    char separator;
    const uint64_t *until_ms; /* borrowed */
    TAILQ_HEAD(, channel_op) ops;
    struct loop_task task; /* tells what has ended */
    char *down;            /* why it is of no use any more; owned; NULL: it is */
    bool barred;           /* the server does not let us: another job would find the same */
    struct depot depot;
    struct channel_op *putting; /* the message whose turn it is; NULL: none */
    unsigned losses;            /* messages whose connection broke */
    /* of cyrus */
    struct imapc *imap; /* NULL: not opened */
    bool broken, root_asked;
    char *root; /* of the user's mailboxes, as the server calls them inside; owned; NULL: not known */
};

/* Of one answer. That nothing goes on when the job is not ours any more, until_ms sees to. */
uint64_t channel_deadline_ms(const struct channel *c);
/* From anywhere. With CHANNEL_DOWN and CHANNEL_LOST it may be started once more. */
void channel_op_ended(struct channel_op *op, enum channel_rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
