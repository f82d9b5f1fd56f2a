/* Packets between the two processes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/percent.h"
#include "lib/xalloc.h"

#include "upgrade_priv.h"

union fds_room {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(UPGRADE_FDS_MAX * sizeof(int))];
};

/* For tests: the process may be stopped or killed here. */
static void upgrade_pass(const char *text)
{
    char word[16];

    snprintf(word, sizeof word, "%.*s", (int)strcspn(text, " "), text);
    FAULT_POINT("upgrade", word, "sent");
    (void)word;
}

bool upgrade_send(int fd, const char *text, const int *fds, size_t n)
{
    union fds_room room = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

    upgrade_pass(text);
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

void upgrade_write_tickets(struct buf *out, const struct ticket_keys *k)
{
    const uint8_t *bytes = (const uint8_t *)k->keys;

    buf_printf(out, "tickets %" PRIu64 " ", k->next_ms);
    for (size_t i = 0; i < k->n * TICKET_KEY_SIZE; i++)
        buf_printf(out, "%02x", bytes[i]);
}

bool upgrade_read_tickets(const char *text, struct ticket_keys *_r)
{
    size_t digits = strcspn(text, " ");
    struct span hex = span_str(text[digits] ? text + digits + 1 : "");
    struct ticket_keys k = {.n = hex.len / (2 * TICKET_KEY_SIZE)};
    uint8_t *bytes = (uint8_t *)k.keys;
    bool ok = span_u64(span_of(text, digits), UINT64_MAX, &k.next_ms) && k.next_ms > 0 && k.n > 0 &&
              k.n <= TICKET_KEYS_MAX && hex.len % (2 * TICKET_KEY_SIZE) == 0;

    for (size_t i = 0; ok && i < hex.len / 2; i++) {
        int byte = hex_byte(span_of(hex.p + 2 * i, 2), HEX_SMALL);
        ok = byte >= 0;
        bytes[i] = (uint8_t)byte;
    }
    if (ok)
        *_r = k;
    wipe(&k, sizeof k);
    return ok;
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
