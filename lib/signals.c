#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "log.h"
#include "signals.h"
#include "xalloc.h"

struct signals {
    uv_poll_t poll;
    int fd;
    unsigned count;
    signals_fn fn;
    signals_reload_fn reload;
    void *owner; /* borrowed */
};

static void signals_on_signal(uv_poll_t *poll, int status, int events)
{
    struct signals *s = CONTAINER_OF(poll, struct signals, poll);
    struct signalfd_siginfo info;
    (void)status, (void)events;
    if (read(s->fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGHUP) {
        LOG(INFO, "signal", LOG_I("number", (int)info.ssi_signo));
        s->reload(s->owner);
        return;
    }
    s->count++;
    LOG(INFO, "signal", LOG_I("number", (int)info.ssi_signo), LOG_U("count", s->count));
    s->fn(s->owner, s->count);
}

struct signals *signals_new(struct loop *l, signals_fn fn, signals_reload_fn reload, void *owner)
{
    struct signals *s = xcalloc(1, sizeof *s);
    sigset_t set;
    s->fn = fn;
    s->reload = reload;
    s->owner = owner;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->fd < 0) {
        perror("signalfd");
        exit(1);
    }
    uv_poll_init(&l->uv, &s->poll, s->fd);
    uv_poll_start(&s->poll, UV_READABLE, signals_on_signal);
    return s;
}

static void signals_on_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF((uv_poll_t *)handle, struct signals, poll));
}

void signals_free(struct signals **sp)
{
    struct signals *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    uv_poll_stop(&s->poll);
    close(s->fd);
    uv_close((uv_handle_t *)&s->poll, signals_on_closed);
}
