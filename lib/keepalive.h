/* keepalive: has the kernel ask now and then whether a silent peer is still there (TCP keepalive, RFC 1122
 * section 4.2.3.6).
 *
 * That takes four system calls a connection, and most connections of mail programs are over within a second.
 * So a connection gets it once it is KEEPALIVE_AFTER old: the loop keeps those that wait in the order
 * of their opening. A peer that has vanished is noticed after five minutes without a byte.
 *
 * The kernel rounds long times: what is to be asked within seconds is asked in the same tick, and where that is more
 * than fits a queue on the way, questions are lost, and those of the next tries with them. (18,000 sessions that had come
 * within 16 s, as they do after a restart, lost 7,000 connections to living servers five minutes later.) So no more
 * than KEEPALIVE_AT_ONCE get it every KEEPALIVE_PAUSE, and the next tries spread. */
#ifndef IMAPFERRY_KEEPALIVE_H
#define IMAPFERRY_KEEPALIVE_H

#include <sys/queue.h>
#include <uv.h>

#include "base.h"

enum { KEEPALIVE_AFTER = 5 * 1000 /* ms */, KEEPALIVE_PAUSE = 250 /* ms */, KEEPALIVE_AT_ONCE = 8 };

/* A connection's, embedded in what has its descriptor; zeroed at first. */
struct keepalive {
    TAILQ_ENTRY(keepalive) link;
    uint64_t since_ms;
    int fd;
    bool waits, on;
};

/* A loop's. */
struct keepalives {
    TAILQ_HEAD(keepalive_list, keepalive) waiting; /* the oldest first */
    uv_timer_t timer;
    uint64_t after_ms; /* how old a connection has to be; KEEPALIVE_AFTER where no test says otherwise */
};

/* The timer does not keep a loop running. */
void keepalives_init(struct keepalives *ks, uv_loop_t *uv);
/* Nobody may wait any more. The loop closes the timer's handle in its own time. */
void keepalives_close(struct keepalives *ks);

/* fd: a connected TCP socket, valid until keepalive_off(). */
void keepalive_later(struct keepalives *ks, struct keepalive *k, int fd);
/* The socket is to have none, or is about to be closed: then nothing is said to the kernel. */
void keepalive_off(struct keepalives *ks, struct keepalive *k, bool closing);

#endif
