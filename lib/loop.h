/* loop: one context per event loop: the uv loop, its shared buffers, its clock and timers. A thread has one of these
 * and shares nothing with another thread, so the number of threads is a number. */
#ifndef IMAPFERRY_LOOP_H
#define IMAPFERRY_LOOP_H

#include <uv.h>

#include "base.h"

enum { LOOP_READ_SIZE = 64 * 1024 };

struct loop {
    uv_loop_t uv;
    uint8_t *read_buf;  /* LOOP_READ_SIZE bytes that each read of this loop lands in; owned */
    uint8_t *plain_buf; /* LOOP_READ_SIZE bytes for what TLS decrypts; owned */
    bool buf_busy;      /* an assert of ours: the buffers are lent to one callback at a time */
};

struct loop *loop_new(void);
/* Runs until nothing is left to wait for, or loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Runs what is still closing, then frees; a handle that nobody closed is a bug of ours and ends the process. */
void loop_free(struct loop **l);

/* Milliseconds of CLOCK_BOOTTIME, read now: goes on while the machine sleeps; never the loop's cached time. */
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
