/* refusal: does a backend refuse us, rather than one account? Pure: the time, of clock_boot_ms(), is an
 * argument.
 *
 * A certificate that is not trusted, or a master password that is wrong, is a fault of the configuration: it
 * stops every account alike, and no account is to blame. It is recognized so:
 *
 *   TLS     it fails, or is not offered, three times in a row. No user is named before it, so no account
 *           plays a part in it.
 *   MASTER  a sign-in as master is answered NO for three different users in a row, with none accepted in
 *           between. Servers give the same answer for a user whom they don't have, or for whom they let no
 *           master in; so one user counts once, however often the answer is NO, and nobody who owns just one
 *           account can bring this about.
 *   SAME    the two connections of a job have reached one server (one_server.h). Once is enough, and no
 *           sign-in ends it: only a pair that leads to two servers does.
 *
 * From then on the backend rests: accounts are begun with it only one at a time, as a trial: the first after
 * 1 s, then each after twice as long, up to a minute. Each trial is another account, the next one of the
 * queue. The first one that is accepted, or gets past TLS, ends the rest. So if three users in a row were
 * refused for reasons of their own, all others have lost only a second. */
#ifndef IMAPFERRY_REFUSAL_H
#define IMAPFERRY_REFUSAL_H

#include "lib/base.h"

enum refusal_kind { REFUSAL_NONE, REFUSAL_TLS, REFUSAL_MASTER, REFUSAL_SAME };
enum { REFUSAL_ROW = 3, REFUSAL_TRY_MIN_MS = 1000, REFUSAL_TRY_MAX_MS = 60000 };

struct refusal {
    enum refusal_kind kind; /* NONE: it does not rest */
    /* private */
    unsigned n_tls, n_users;
    uint64_t users[REFUSAL_ROW - 1]; /* hashes of those that were refused in a row */
    uint64_t delay_ms, next_ms;      /* of trials */
};

/* How a sign-in ended. NONE: the server took it. as_master false: a NO concerns the user's own password, and
 * is not told here, and a sign-in that was taken says nothing of the master. True: the backend begins to
 * rest, or ceases to. */
bool refusal_note(struct refusal *r, enum refusal_kind what, bool as_master, const char *user,
                  uint64_t now_ms);
/* A sign-in got as far as the user's own password, so TLS works. True: as above. */
bool refusal_past_tls(struct refusal *r);
/* Of a backend of a pair that is signed in at both sides: is it one server? True: as above. */
bool refusal_pair(struct refusal *r, bool same, uint64_t now_ms);
/* ms until the next trial; 0: now, or it does not rest. */
uint64_t refusal_wait_ms(const struct refusal *r, uint64_t now_ms);
/* The trial is begun. Nothing where it does not rest. */
void refusal_try(struct refusal *r, uint64_t now_ms);
/* Somebody has changed something: a trial may be made now. */
void refusal_again(struct refusal *r);

#endif
