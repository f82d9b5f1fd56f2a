/* loop: one context for each event loop: the uv loop, its shared buffers, its clock and timers. Each thread
 * has one and shares nothing with another thread, so there may be any number of threads. */
#ifndef IMAPFERRY_LOOP_H
#define IMAPFERRY_LOOP_H

#include <sys/queue.h>

#include <uv.h>

#include "buf.h"
#include "deflate.h"
#include "keepalive.h"
#include "turns.h"

enum {
    LOOP_READ_SIZE = 64 * 1024,
    LOOP_BEGINS_MAX = 256, /* TLS handshakes of strangers under way, see turns.h */
};

/* Something to do soon. fn is called once from the loop itself, never from inside the call that asked for it.
 * It is embedded in the struct that it is for; {.fn = ...} is one that is not queued. */
struct loop_task {
    void (*fn)(struct loop_task *task);
    TAILQ_ENTRY(loop_task) link;
    bool queued;
};

struct loop {
    uv_loop_t uv;
    uint8_t *read_buf;             /* LOOP_READ_SIZE bytes that each read of this loop lands in; owned */
    uint8_t *plain_buf;            /* LOOP_READ_SIZE bytes for what TLS decrypts; owned */
    uint8_t *unpack_buf;           /* LOOP_READ_SIZE bytes for what was compressed; owned */
    struct deflate_works *deflate; /* of all streams that compress; NULL until there was one; owned */
    struct buf cipher_buf;         /* what TLS wants sent, until the kernel has it; owned */
    bool buf_busy;                 /* for an assert: the buffers are lent to one callback at a time */
    uv_idle_t idle;                /* active while there are tasks or turns */
    uv_prepare_t prepare;
    TAILQ_HEAD(loop_tasks, loop_task) tasks;
    size_t n_tasks;
    size_t n_closing; /* what nobody owns any more: streams that still send, programs that were killed */
    size_t n_sockets; /* sockets of all streams, those included: how many descriptors they take */
    uint64_t round;   /* counts the rounds of the loop, for what may be done once in each */
    uint64_t strangers_round;
    unsigned strangers; /* streams read without a turn, in that round */
    struct turns turns; /* strangers who wait; some milliseconds of each round are theirs */
    struct keepalives keepalives;
    uint64_t rested_ns; /* when the time for turns ended last */
};

/* Makes a loop. Also has the process ignore SIGPIPE and SIGXFSZ: that a peer went away, or that a file may
 * not grow, is then an error of the write. */
struct loop *loop_new(void);
/* Runs until nothing is left to wait for, or until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Runs the loop until what is still closing has closed, then frees it. A handle that nobody closed is a bug
 * of ours and ends the process. */
void loop_free(struct loop **l);

/* Queues a task; one that is queued already stays where it is. */
void loop_defer(struct loop *l, struct loop_task *task);
/* Takes a task out of the queue; one that is not queued is left as it is. */
void loop_undefer(struct loop *l, struct loop_task *task);

/* Has t wait for a turn (turns.h): it is called from the loop itself, once everything that does not wait has
 * had its chance in this round. Turns get 4 ms of each round or, where that is more, half of what the rest of
 * the round took, but 10 ms at most: so neither a flood of strangers holds up those who have signed in, nor
 * the other way round. */
void loop_wait(struct loop *l, struct turn *t, enum turn_kind kind);
/* The same as turns_ended() and turns_leave(), for the turns of this loop. */
void loop_turn_ended(struct loop *l, struct turn *t);
void loop_turn_leave(struct loop *l, struct turn *t);

/* Milliseconds of CLOCK_BOOTTIME, which goes on while the machine sleeps. Read at this moment, never the
 * loop's cached time. */
uint64_t clock_boot_ms(void);
/* Milliseconds since 1970, read at this moment: for texts, never for a lease. */
uint64_t clock_wall_ms(void);

/* A one-shot timer. To move it, start it again. Its callback may free it. */
struct timer;
typedef void (*timer_fn)(void *owner);
struct timer *timer_new(struct loop *l, timer_fn fn, void *owner);
void timer_start(struct timer *t, uint64_t ms);
void timer_stop(struct timer *t);
bool timer_is_set(const struct timer *t);
uint64_t timer_left_ms(const struct timer *t);
void timer_free(struct timer **t);

/* Random numbers from the kernel's generator; where it gives none, these functions end the process. */
void random_bytes(void *out, size_t n);
uint64_t random_u64(void);
/* n random bytes as 2n hex digits and a NUL. */
void random_hex(char *out, size_t n);

#endif
