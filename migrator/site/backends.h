/* backends: what this process may open to each backend: its TLS policy, how many connections at most for all
 * jobs together (max_connections), and how fast they may be used (pace.h).
 *
 * A job works with lanes, each a connection to the source and one to the target (crew.h). So connections are
 * reserved for whole lanes, and nobody ever holds one half and waits for the other. The first lane of a job
 * waits in line; further ones get what is left over. Late looks (schedule.h) wait in a line of their own: of
 * each backend's connections they take at most half, and only one while a job waits for some. Where a backend
 * allows only one connection, late looks may have it, but only every second time while a job waits. So
 * neither side starves. What a late look waits for and may have, no further lane of a job takes. */
#ifndef IMAPFERRY_BACKENDS_H
#define IMAPFERRY_BACKENDS_H

#include "lib/backend_login.h"
#include "lib/conf.h"
#include "lib/health.h"
#include "lib/loop.h"
#include "lib/reasons.h"

#include "migrator/imap/pace.h"

struct backends;

/* NULL: *error is a text to free (a ca_file that can't be read). conf must live as long. */
struct backends *backends_new(struct loop *l, const struct conf *conf, char **error) MUST_CHECK;
/* All reservations must have been given back. */
void backends_free(struct backends **b);
struct tls_policy *backends_tls(const struct backends *b, const struct conf_backend *backend);
/* What is known of its addresses, for a login_request. */
struct outage *backends_outage(const struct backends *b, const struct conf_backend *backend);

/* After a reload of the configuration: takes the policies (one a backend, NULL: as it is) of connections from
 * now on, and obeys its numbers anew; a backend that rests may be tried at once. */
void backends_renew(struct backends *b, struct tls_policy **fresh);

/* How fast it may be used, by all connections together. */
struct pace *backends_pace(const struct backends *b, const struct conf_backend *backend);

/* ---- does it refuse us, rather than one account? (refusal.h) */

/* What a sign-in came to; detail: for people, of a refusal. */
void backends_note_sign_in(struct backends *b, const struct conf_backend *backend, enum login_rc rc,
                           bool as_master, const char *user, const char *detail);
/* They are signed in at both: at, where the two connections lead to one server (one_server.h): its address,
 * else NULL. */
void backends_note_pair(struct backends *b, const struct conf_backend *source,
                        const struct conf_backend *target, const char *at);
/* May a job with these two begin? 0: yes (where one of them rests, the job is the trial). Else ms until one
 * may be tried. */
uint64_t backends_try(struct backends *b, const struct conf_backend *source,
                      const struct conf_backend *target);
/* Nothing can be begun: each pair of the configuration has a backend that rests. *ms: until the next
 * trial. */
bool backends_all_rest(const struct backends *b, uint64_t *ms);
bool backend_rests(const struct backends *b, const struct conf_backend *backend);
/* Of two backends of which one rests: why it does, and ms until the next trial. */
enum why backends_why(const struct backends *b, const struct conf_backend *source,
                      const struct conf_backend *target);
uint64_t backends_wait_ms(const struct backends *b, const struct conf_backend *source,
                          const struct conf_backend *target);
/* Which backends rest, and why, as one text for people; nothing where none does. */
void backends_write_rests(const struct backends *b, struct buf *out);

/* A place in the line; embedded in what waits. {0} is one that does not wait. */
struct lane_wait {
    const struct conf_backend *source, *target;
    bool late;                       /* for a late look */
    void (*fn)(struct lane_wait *w); /* the lane is reserved for you now; called from the loop */
    bool waiting;
    TAILQ_ENTRY(lane_wait) link;
};
void backends_wait_lane(struct backends *b, struct lane_wait *w);
/* Leaves the line; nothing when not in it. */
void backends_unwait(struct backends *b, struct lane_wait *w);
/* Is there somebody in the line? */
bool backends_awaited(const struct backends *b);
/* True: reserved. False: somebody waits who may have it, or one of the backends has no room. */
bool backends_try_lane(struct backends *b, const struct conf_backend *source,
                       const struct conf_backend *target, bool late) MUST_CHECK;
/* late: as it was reserved. */
void backends_give_lane(struct backends *b, const struct conf_backend *source,
                        const struct conf_backend *target, bool late);

#endif
