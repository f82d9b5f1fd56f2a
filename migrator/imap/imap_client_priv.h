/* What the files of a connection share: its state, and three parts that know no more than those above them.
 *
 *   imap_client_queue.c   commands: queued, sent, ended; how the connection breaks
 *   imap_client_append.c  APPEND
 *   imap_client_read.c    responses
 *   imap_client.c         begins and ends a connection, and what the loop calls */
#ifndef IMAPFERRY_IMAP_CLIENT_PRIV_H
#define IMAPFERRY_IMAP_CLIENT_PRIV_H

#include <sys/queue.h>

#include "lib/buf.h"
#include "lib/imap_line.h"

#include "imap_client.h"

enum { IMAPC_TICKS = 4 /* looks at the clock in one time-out */ };

enum imapc_phase { SIGNING_IN, READY, FAILED, BROKEN };

/* A tagged answer that waits for its turn. */
struct answer {
    enum imapc_rc rc;
    struct buf code, text;
};

struct imapc_queued {
    TAILQ_ENTRY(imapc_queued) link;
    struct imapc_command cb; /* end is NULL once its owner is gone */
    uint64_t tag;
    char what[24];
    struct buf out;  /* not sent yet; owned */
    uint64_t sent;   /* bytes that went to the stream */
    uint64_t *waits; /* counted in bytes from the beginning: wait for "+" there; owned */
    size_t n_waits, next_wait;
    bool unsendable;
    /* an APPEND */
    bool open;     /* gets more bytes */
    bool answered; /* refused before its end: what is left goes out only as far as the peer must read it */
    bool swallow;  /* what the owner gives goes nowhere any more */
    bool over;     /* for the peer it has ended: not even a CRLF is due */
    uint64_t literal_left; /* of the message that is under way */
    struct answer *early;  /* came while a command before it had none; owned */
};
TAILQ_HEAD(imapc_queue, imapc_queued);

/* A body that came as a quoted string is given in steps as well, since each may pause the connection. */
enum quoted_step { QUOTED_NONE, QUOTED_BEGIN, QUOTED_PIECE, QUOTED_END };

struct imapc {
    struct loop *loop;
    struct backend_login *login;
    struct stream *stream; /* owned; NULL before READY and once broken */
    enum imapc_phase phase;
    bool told; /* FAILED or BROKEN was reported */
    enum login_rc login_rc;
    struct imap_caps caps;
    const uint64_t *fence; /* borrowed; NULL: none */
    uint64_t silence_ms;
    struct timer *fence_timer;
    bool needs_select;
    char *error, *bye; /* owned */

    imapc_event_fn fn;
    imapc_data_fn news;
    void *owner;
    struct {
        imapc_event_fn fn;
        imapc_data_fn news;
        imapc_odd_fn odd;
        void *owner;
    } watch;
    imapc_odd_fn odd;
    void *odd_owner;
    char *name; /* of the backend; owned */
    bool garbled;
    int busy;   /* inside a callback of the loop: memory stays */
    bool freed; /* imapc_free() was called from inside */

    struct imapc_queue commands;  /* in the order of sending */
    struct imapc_queued *sending; /* the first one that is not sent whole */
    struct imapc_queued *append;  /* the one that is open */
    bool waiting;                 /* for "+" */
    bool told_full, corked, paused;
    struct pace *pace; /* borrowed; NULL: none */
    struct timer *pace_timer;
    bool slowed; /* nothing is read until the pace lets us */
    uint64_t last_tag;
    struct loop_task task;

    struct imap_line line;
    struct imap_tree *tree;
    struct imap_resp head; /* of the response under way; its word is in `word` */
    char word[32];
    struct buf raw; /* how it begins, with its literals' markers in place of them */
    bool malformed; /* its words can't be told apart: what is left of it is passed over */
    bool streaming; /* the literal under way is a body */
    uint64_t literal_size;
    struct imapc_queued *body_of;  /* whose body it is; NULL: nobody's any more */
    struct imapc_queued *whole_of; /* whose body the response under way had: the whole is for it first */
    struct buf collected;          /* another literal */
    enum quoted_step quoted;

    struct timer *timer;
    uint64_t timeout_ms, stamp_ms;
    uint64_t put, put_seen; /* bytes given to the stream; those that had left it at the last tick */
};

/* imap_client_queue.c */

void imapc_remove_command(struct imapc *c, struct imapc_queued *cmd);
/* phase: FAILED or BROKEN. All commands end, and the owner hears of it, from the loop: imapc_end_all(). */
void imapc_set_broken(struct imapc *c, enum imapc_phase phase, const char *why);
void imapc_broken(struct imapc *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void imapc_end_all(struct imapc *c);
/* Is the job not ours any more? Then the connection breaks. Looked at before anything is sent and after
 * anything was read: a process that stood still finds its sockets ready before any of its timers run. */
bool imapc_beyond_fence(struct imapc *c);
/* Tells who watches, and the owner. */
void imapc_emit(struct imapc *c, enum imapc_event ev);
void imapc_end_command(struct imapc *c, struct imapc_queued *cmd, const struct imapc_end *end);
/* Commands that can't be written, wherever they stand in the queue. */
void imapc_end_unsendable(struct imapc *c);

/* Comes back when the pace lets us go on. */
void imapc_wait_for_pace(struct imapc *c, uint64_t ms);
/* Did the server ask to be used more slowly? */
void imapc_note_hint(struct imapc *c, struct span code, const struct imap_resp *resp);
/* Counts what is sent; returns for how long to send nothing more. */
uint64_t imapc_take_pace(struct imapc *c, uint32_t messages, uint64_t bytes);
/* Counts what was read, and reads no faster than the pace lets us. */
void imapc_keep_pace(struct imapc *c, uint32_t messages, uint64_t bytes);

void imapc_put(struct imapc *c, struct span bytes);
void imapc_uncork(struct imapc *c);
/* Sends what may be sent. */
void imapc_pump(struct imapc *c);
void imapc_start_clock(struct imapc *c);
struct imapc_queued *imapc_add_command(struct imapc *c, struct imap_writer *w,
                                       const struct imapc_command *cb);
/* Takes w's bytes behind what the command has already, with its waits. */
void imapc_take_writer(struct imapc_queued *cmd, struct imap_writer *w);

/* The command that waits for the answer with this tag; NULL: none. */
struct imapc_queued *imapc_find_command(struct imapc *c, struct span tag);
/* The peer refused a command that isn't sent whole. */
void imapc_cut_short(struct imapc *c, struct imapc_queued *cmd);
/* Keeps an answer until those of earlier commands came; imapc_end_early() gives out what has its turn. */
void imapc_keep_early(struct imapc_queued *cmd, const struct imapc_end *end);
void imapc_end_early(struct imapc *c);

/* imap_client_append.c */

void imapc_tell_drained(struct imapc *c);

/* imap_client_read.c */

bool imapc_can_receive(const struct imapc *c);
/* Reads what there is, for as long as one server may have its turn. */
void imapc_receive(struct imapc *c);
/* The next step of a body that came as a quoted string. */
void imapc_step_quoted(struct imapc *c);
/* Nothing holds reading up any more, as far as it is so. */
void imapc_read_on(struct imapc *c);

#endif
