/* Packets between the two processes. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "upgrade_priv.h"

union fds_room {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(UPGRADE_FDS_MAX * sizeof(int))];
};

bool upgrade_send(int fd, const char *text, const int *fds, size_t n)
{
    union fds_room room = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

    if (n > 0) {
        m.msg_control = room.bytes;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&m);
        *head = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int))};
        memcpy(CMSG_DATA(head), fds, n * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)strlen(text);
}

static void upgrade_take_fds(struct msghdr *m, struct upgrade_packet *p)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n && p->n_fds < UPGRADE_FDS_MAX; i++)
            memcpy(&p->fds[p->n_fds++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
    }
}

void upgrade_drop_fds(struct upgrade_packet *p)
{
    for (size_t i = 0; i < p->n_fds; i++)
        close(p->fds[i]);
    p->n_fds = 0;
}

enum upgrade_got upgrade_receive(int fd, struct upgrade_packet *_r)
{
    union fds_room room;
    struct iovec part = {.iov_base = _r->text, .iov_len = UPGRADE_TEXT_MAX};
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof room.bytes};
    ssize_t n;

    _r->n_fds = 0;
    do /* that the other side closed without having read all comes before what it has sent */
        n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? UPGRADE_NONE : UPGRADE_ENDED;
    upgrade_take_fds(&m, _r);
    _r->text[n] = '\0';
    if (n > 0 && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && strlen(_r->text) == (size_t)n)
        return UPGRADE_GOT;
    upgrade_drop_fds(_r);
    return UPGRADE_ENDED;
}

bool upgrade_says(const struct upgrade_packet *p, const char *word, const char **_rest)
{
    size_t n = strlen(word);

    if (strncmp(p->text, word, n) != 0 || (p->text[n] != ' ' && p->text[n] != '\0'))
        return false;
    if (_rest)
        *_rest = p->text + n + (p->text[n] == ' ');
    return _rest || p->text[n] == '\0';
}

bool upgrade_is_token(const char *text)
{
    return strlen(text) == UPGRADE_TOKEN - 1 && strspn(text, "0123456789abcdef") == UPGRADE_TOKEN - 1;
}

bool upgrade_peer(int fd, uid_t *_uid, pid_t *_pid)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    *_uid = peer.uid;
    *_pid = peer.pid;
    return true;
}
