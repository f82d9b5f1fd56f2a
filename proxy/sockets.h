/* sockets: the sockets that clients come in by, of the whole process. They are there before there are threads,
 * so that a port in use ends the program at its start. For each URL of listen they are, whichever there is
 * first:
 *   those that the service manager has bound and holds (socket activation, sd_listen_fds(3)): clients wait in
 *   their queues while nobody runs;
 *   those that the proxy before us passes on (upgrade.h), with the clients that wait in their queues;
 *   bound here, for a TCP address one for each thread (SO_REUSEPORT: the kernel spreads the connections).
 *
 * Threads get copies of the descriptors. A UNIX socket is thread 0's alone. */
#ifndef IMAPFERRY_SOCKETS_H
#define IMAPFERRY_SOCKETS_H

#include "lib/options.h"

struct sockets_group {
    const char *url; /* as in listen; borrowed */
    char *text;      /* the address as it is now, for logs; owned, as all below; NULL while there are none */
    int *fds;
    size_t n;
    bool held; /* by the service manager, too */
};

struct sockets {
    struct sockets_group *groups; /* one a URL, in that order; owned */
    size_t n;
    uint16_t *others; /* TCP ports at which the process before us listens by itself, until it drains; owned */
    size_t n_others;
};

/* listen: has to live as long, as those that are added. */
struct sockets *sockets_new(const struct conf_list *listen);
/* More URLs, before there is a socket. */
void sockets_add(struct sockets *s, const struct conf_list *listen);
/* The path of a UNIX socket; NULL: the group has another kind. Borrowed. */
const char *sockets_path(const struct sockets_group *g);
/* Those of the service manager, by its environment, which is taken away. False: *error to free: it holds one that no
 * URL names, or that nobody can listen at. */
bool sockets_take_held(struct sockets *s, char **error) MUST_CHECK;
/* One of another process, where it stands for this URL: it is that of the same URL here, else of the one that means the
 * address that it is bound to, however it is spelled, and whatever it says now of how clients are spoken to. It is closed
 * where there is none. */
void sockets_take(struct sockets *s, const char *url, int fd);
/* Binds what is still missing, for so many threads. False: *error to free. */
bool sockets_bind(struct sockets *s, size_t n_threads, char **error) MUST_CHECK;

/* What a thread listens at. */
struct listen_socket {
    const char *url; /* borrowed */
    int fd;          /* owned by who gets it */
};
/* The copies of one thread of so many; to free. *_n: how many. */
struct listen_socket *sockets_of_thread(const struct sockets *s, size_t thread, size_t n_threads, size_t *_n);
/* Closes our own descriptors: who is behind them in a queue is gone, unless another process has them too. */
void sockets_close(struct sockets *s);
/* Closes them. ended: takes the files of UNIX sockets away, but of those that another process goes on with. */
void sockets_free(struct sockets **s, bool ended);

#endif
