/* loop: one context per event loop: the uv loop, its shared buffers, its clock and timers. A thread has one
 * of these and shares nothing with another thread, so the number of threads is a number. */
#ifndef IMAPFERRY_LOOP_H
#define IMAPFERRY_LOOP_H

#include <sys/queue.h>

#include <uv.h>

#include "buf.h"
#include "turns.h"

enum {
    LOOP_READ_SIZE = 64 * 1024,
    LOOP_BEGINS_MAX = 256, /* TLS handshakes of strangers under way, see turns.h */
};

/* Something to do soon: called once from the loop itself, never from inside the call that asked for it.
 * Embedded in the struct that it is for; {.fn = ...} is one that is not queued. */
struct loop_task {
    void (*fn)(struct loop_task *task);
    TAILQ_ENTRY(loop_task) link;
    bool queued;
};

struct loop {
    uv_loop_t uv;
    uint8_t *read_buf;     /* LOOP_READ_SIZE bytes that each read of this loop lands in; owned */
    uint8_t *plain_buf;    /* LOOP_READ_SIZE bytes for what TLS decrypts; owned */
    uint8_t *unpack_buf;   /* LOOP_READ_SIZE bytes for what was compressed; owned */
    struct buf cipher_buf; /* what TLS wants sent, until the kernel has it; owned */
    bool buf_busy;         /* an assert of ours: the buffers are lent to one callback at a time */
    uv_idle_t idle;        /* active while there are tasks or turns */
    uv_prepare_t prepare;
    TAILQ_HEAD(loop_tasks, loop_task) tasks;
    size_t n_tasks;
    size_t n_closing;   /* streams that nobody owns any more and that still send */
    size_t n_sockets;   /* of streams, those included: what they take of the descriptors */
    uint64_t round;     /* counts the rounds of the loop: what may be done once in each */
    struct turns turns; /* of those who wait; some milliseconds of each round are theirs */
    uint64_t rested_ns; /* when their time ended last */
};

/* Also has the process ignore SIGPIPE and SIGXFSZ: a peer that went away, or a file that may not grow, is an
 * error of a write. */
struct loop *loop_new(void);
/* Runs until nothing is left to wait for, or loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Runs what is still closing, then frees; a handle that nobody closed is a bug of ours and ends the
 * process. */
void loop_free(struct loop **l);

/* Queued already: stays where it is. */
void loop_defer(struct loop *l, struct loop_task *task);
/* Not queued: nothing. */
void loop_undefer(struct loop *l, struct loop_task *task);

/* Waits for a turn (turns.h): it is called from the loop itself, once all that does not wait has had its
 * chance in this round. Of each round these have 4 ms, or half of what the rest took where that is more, 10
 * ms at most: so neither a flood of strangers holds up who has signed in, nor the other way round. */
void loop_wait(struct loop *l, struct turn *t, enum turn_kind kind);
/* turns_ended() and turns_leave(). */
void loop_turn_ended(struct loop *l, struct turn *t);
void loop_turn_leave(struct loop *l, struct turn *t);

/* Milliseconds of CLOCK_BOOTTIME, read now: goes on while the machine sleeps; never the loop's cached
 * time. */
uint64_t clock_boot_ms(void);
/* Milliseconds since 1970, read now: for texts, never for a lease. */
uint64_t clock_wall_ms(void);

/* A one-shot timer; start again to move it. The callback may free it. */
struct timer;
typedef void (*timer_fn)(void *owner);
struct timer *timer_new(struct loop *l, timer_fn fn, void *owner);
void timer_start(struct timer *t, uint64_t ms);
void timer_stop(struct timer *t);
bool timer_is_set(const struct timer *t);
void timer_free(struct timer **t);

/* Numbers from the kernel's generator; dies where it can't. */
void random_bytes(void *out, size_t n);
uint64_t random_u64(void);
/* n random bytes as 2n hex digits and a NUL. */
void random_hex(char *out, size_t n);

#endif
