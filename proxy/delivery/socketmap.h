/* socketmap: answers mail servers that ask where an account's mail goes, by the protocol of Postfix' socketmap_table(5), which
 * Sendmail has too. A question is a netstring "transport ADDRESS", and so is its answer:
 *
 *   OK lmtp:inet:new.example.org:24   what `delivery` of the account's backend says (recipient.h)
 *   NOTFOUND                          no account of ours; the mail server goes on as if it had not asked
 *   TEMP reason                       Redis does not answer, or the account is being switched over (frozen_answer): later
 *   PERM reason                       a question of another kind, which is a mistake in the mail server's configuration
 *
 * Postfix also asks for "*", once: what it hears it takes for all addresses for which nothing is found, so that is NOTFOUND. So
 * is what has no "@": a domain, or a name, is never somebody's mail.
 *
 * The questions of a connection are answered in their order, one at a time. One that asks nothing for SOCKETMAP_IDLE_MS,
 * or that does not take its answers, is closed; so is one that says something else than netstrings, and at once one from
 * outside of `trusted`. One thread has SOCKETMAP_CLIENTS of them at most. */
#ifndef IMAPFERRY_SOCKETMAP_H
#define IMAPFERRY_SOCKETMAP_H

#include "lib/stores.h"

enum {
    SOCKETMAP_QUESTION = 10000, /* bytes; Postfix asks nothing longer */
    SOCKETMAP_CLIENTS = 256,
    SOCKETMAP_IDLE_MS =
        60 * 1000, /* Postfix closes after 10 s without a question, and takes a new one after 100 s */
    SOCKETMAP_SLOW_MS = 10 * 1000,
};

struct socketmap;

/* Of one thread. stores: of this thread; they have to live longer. */
struct socketmap *socketmap_new(const struct stores *stores, unsigned thread);
/* Takes the next connection of a listening socket. */
void socketmap_accept(struct socketmap *m, uv_stream_t *listener);
/* Closes all connections, those with a question under way once it is answered. */
void socketmap_drain(struct socketmap *m);
/* Nulls *m, which may be NULL. */
void socketmap_free(struct socketmap **m);

#endif
