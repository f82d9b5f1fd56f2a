/* What the upgrade*.c files share: packets, and who has sent them. */
#ifndef IMAPFERRY_UPGRADE_PRIV_H
#define IMAPFERRY_UPGRADE_PRIV_H

#include <sys/types.h>

#include "lib/buf.h"

#include "upgrade.h"

enum { UPGRADE_TEXT_MAX = 1000, UPGRADE_FDS_MAX = 64 };

struct upgrade_packet {
    char text[UPGRADE_TEXT_MAX + 1];
    int fds[UPGRADE_FDS_MAX]; /* owned by who receives them */
    size_t n_fds;
};

enum upgrade_got { UPGRADE_GOT, UPGRADE_NONE, UPGRADE_ENDED };

/* False: the other side is gone, or takes nothing. */
bool upgrade_send(int fd, const char *text, const int *fds, size_t n) MUST_CHECK;
/* UPGRADE_NONE: nothing is there. A packet that is too large, or has too many descriptors, ends the connection, too. */
enum upgrade_got upgrade_receive(int fd, struct upgrade_packet *_r);
void upgrade_drop_fds(struct upgrade_packet *p);
/* Is its first word this one? *_rest: what follows; may be NULL. */
bool upgrade_says(const struct upgrade_packet *p, const char *word, const char **_rest);
/* A token: 32 hexadecimal digits. */
bool upgrade_is_token(const char *text);
/* "tickets MS HEX", and what stands behind the first word of it. */
void upgrade_write_tickets(struct buf *out, const struct ticket_keys *k);
bool upgrade_read_tickets(const char *text, struct ticket_keys *_r) MUST_CHECK;
bool upgrade_peer(int fd, uid_t *_uid, pid_t *_pid) MUST_CHECK;

#endif
