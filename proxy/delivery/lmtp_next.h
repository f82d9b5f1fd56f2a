/* lmtp_next: our session with the LMTP server of a backend, as a client of it. Commands go out at once, many behind each
 * other where it offers PIPELINING, and their answers come back in that order. What it says without being asked ends it:
 * a server that answers a message before its last dot has seen an end that is none. */
#ifndef IMAPFERRY_LMTP_NEXT_H
#define IMAPFERRY_LMTP_NEXT_H

#include "lib/conf.h"
#include "lib/loop.h"

#include "lmtp_command.h"

struct lmtp_next;

/* What was asked, so that its answer is known. */
enum lmtp_asked {
    LMTP_ASKED_GREETING,
    LMTP_ASKED_LHLO,
    LMTP_ASKED_MAIL,
    LMTP_ASKED_RCPT,
    LMTP_ASKED_DATA,
    LMTP_ASKED_END, /* one answer for each recipient */
    LMTP_ASKED_RSET,
    LMTP_ASKED_QUIT,
};

enum lmtp_next_event {
    LMTP_NEXT_READY,   /* it has answered LHLO */
    LMTP_NEXT_ANSWER,  /* to the oldest of what was asked; not to greeting and LHLO */
    LMTP_NEXT_DRAINED, /* lmtp_next_full() is false again */
    LMTP_NEXT_GONE,    /* it could not be reached, or has ended: lmtp_next_why() */
};

struct lmtp_news {
    enum lmtp_next_event event;
    enum lmtp_asked asked;          /* of an answer: to what, and ... */
    size_t nth;                     /* ... which recipient */
    const struct lmtp_reply *reply; /* borrowed until the callback returns; NULL where there is none */
};

/* Never called from inside of a lmtp_next_ function. It may close n. */
typedef void (*lmtp_next_fn)(void *owner, struct lmtp_next *n, const struct lmtp_news *news);

/* Where the option delivery of a backend leads, for dial_start(): "lmtp:inet:HOST:PORT" or "lmtp:unix:/PATH". False: mail
 * does not get there by LMTP that we speak. */
bool lmtp_next_address(const char *delivery, struct address *_r) MUST_CHECK;

/* Begins to connect. name: ours, for LHLO; borrowed for as long as n lives, as conf is. */
struct lmtp_next *lmtp_next_new(struct loop *l, const struct conf *conf, size_t backend, const char *name,
                                lmtp_next_fn fn, void *owner);
/* Nulls *n; NULL is fine. politely: says QUIT, which is only right between two commands. Else the connection goes at once,
 * and a message whose last dot was not sent is none. */
void lmtp_next_close(struct lmtp_next **n, bool politely);

bool lmtp_next_is_ready(const struct lmtp_next *n);
/* What it offers, once it is ready. */
const struct lmtp_caps *lmtp_next_caps(const struct lmtp_next *n);
/* Why it is gone; "" while it is not. Borrowed. */
const char *lmtp_next_why(const struct lmtp_next *n);

/* Sends a line, CRLF included, that will be answered. nth comes back with the answer. Once it is ready. */
void lmtp_next_ask(struct lmtp_next *n, enum lmtp_asked asked, size_t nth, struct span line);
/* What is given to it in between goes out as one. Neither does anything where it is gone. */
void lmtp_next_cork(struct lmtp_next *n);
void lmtp_next_uncork(struct lmtp_next *n);
/* Bytes of a message, behind the answer 354 to DATA. */
void lmtp_next_body(struct lmtp_next *n, struct span bytes);
/* More bytes wait for it than should: no more of them until LMTP_NEXT_DRAINED. */
bool lmtp_next_full(const struct lmtp_next *n);
/* The last dot: the message is theirs. An answer comes for each of these recipients, in this order. */
void lmtp_next_end(struct lmtp_next *n, const size_t *recipients, size_t n_recipients);

#endif
