#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "instance.h"
#include "log.h"
#include "loop.h"
#include "xalloc.h"

enum { AGAIN_MS = 500 /* while it is not known whether the other one lives */ };

struct instance {
    struct store *store;
    char *name, *place; /* owned; place: "HOST/BOOT/PROC/PID/STARTED" */
    char token[INSTANCE_TOKEN], gone[INSTANCE_TOKEN];
    instance_fn fn;
    void *owner;
    struct timer *timer;
    bool asking, ours, over;
    uint64_t left_ms; /* of the other one, as of the last answer; 0: none was seen */
};

/* ---- where a process runs */

static void instance_read_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;

    if (f)
        fclose(f);
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

/* When a process began, in ticks since the boot; 0: there is none, or only what whoever started it has not asked for yet. The
 * 22nd word of its stat (proc(5)); the second one ends in the last parenthesis, and the third says what it does. */
static uint64_t started(long pid)
{
    char path[40], text[1024];
    unsigned long long ticks = 0;
    char does = 0;

    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    instance_read_line(path, text, sizeof(text));
    const char *behind = strrchr(text, ')');
    if (!behind ||
        sscanf(behind + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &does, &ticks) != 2 ||
        does == 'Z' || does == 'X')
        return 0;
    return ticks;
}

/* Each PID namespace has a /proc of its own, and so a device number; /proc/self/ns is shut to who forbids
 * core dumps. */
static char *here(void)
{
    char host[256] = "", boot[64];
    struct stat proc = {0};

    gethostname(host, sizeof(host) - 1);
    instance_read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
    stat("/proc", &proc);
    char *place = xasprintf("%s/%s/%lx/%ld/%" PRIu64, host, boot, (unsigned long)proc.st_dev, (long)getpid(),
                            started(getpid()));
    for (char *c = place; *c; c++)
        if (*c <= ' ' || *c >= 0x7f)
            *c = '_';
    return place;
}

/* The part of a place that both have where they can see each other: all but process and start. */
static size_t shared_part(const char *place)
{
    size_t n = strlen(place);

    for (int slashes = 0; n > 0 && slashes < 2;)
        slashes += place[--n] == '/';
    return n;
}

enum life { LIVES, GONE, UNKNOWN };

static enum life life_of(const struct instance *i, const char *place)
{
    size_t n = shared_part(place);
    long pid = 0;
    unsigned long long began = 0;

    if (n == 0 || n != shared_part(i->place) || strncmp(place, i->place, n) != 0 || started(getpid()) == 0 ||
        sscanf(place + n, "/%ld/%llu", &pid, &began) != 2)
        return UNKNOWN;
    return began > 0 && started(pid) == began ? LIVES : GONE;
}

/* ---- telling */

static void instance_end(struct instance *i, const char *place)
{
    const char *host = place, *pid = place + shared_part(place) + 1;
    char *where =
        xasprintf("host %.*s, process %.*s", (int)strcspn(host, "/"), host, (int)strcspn(pid, "/"), pid);

    i->over = true;
    timer_stop(i->timer);
    i->fn(i->owner, i->ours ? INSTANCE_LOST : INSTANCE_REFUSED, where);
    free(where);
}

static void found_other(struct instance *i, const struct reply *r)
{
    char *place = xspandup(reply_str(reply_at(r, 2)));
    struct span token = reply_str(reply_at(r, 1));
    uint64_t left = 0;
    enum life life = life_of(i, place);

    if (!span_u64(reply_str(reply_at(r, 3)), UINT64_MAX, &left))
        left = 1;
    bool told_again = i->left_ms > 0 && left > i->left_ms;
    i->left_ms = left;
    if (life == GONE && token.len < sizeof(i->gone)) {
        memcpy(i->gone, token.p, token.len);
        i->gone[token.len] = '\0';
        timer_start(i->timer, 1);
    } else if (life == LIVES || told_again || i->ours) {
        instance_end(i, place);
    } else {
        timer_start(i->timer, AGAIN_MS);
    }
    free(place);
}

static void instance_on_told(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct instance *i = owner;

    i->asking = false;
    timer_start(i->timer, i->ours ? INSTANCE_TELL_MS : AGAIN_MS);
    if (rc != REDIS_OK)
        return;
    if (span_is(reply_str(reply_at(r, 0)), "taken")) {
        found_other(i, r);
    } else if (span_is(reply_str(reply_at(r, 0)), "ok")) {
        timer_start(i->timer, INSTANCE_TELL_MS);
        if (!i->ours) {
            i->ours = true;
            i->fn(i->owner, INSTANCE_OURS, "");
        }
    }
}

static void instance_tell(struct instance *i, bool bye, redis_fn fn)
{
    char ms[16];

    snprintf(ms, sizeof(ms), "%d", INSTANCE_GONE_MS);
    struct span args[] = {span_str(i->name), span_str(i->token), span_str(i->place),
                          span_str(ms),      span_str(i->gone),  span_str(bye ? "1" : "")};
    store_script(i->store, "instance", args, COUNTOF(args), fn, i);
}

static void instance_on_timer(void *owner)
{
    struct instance *i = owner;

    if (i->over || i->asking)
        return;
    if (store_state(i->store) == STORE_UP) {
        i->asking = true;
        instance_tell(i, false, instance_on_told);
    } else {
        timer_start(i->timer, AGAIN_MS);
    }
}

void instance_token(char token[INSTANCE_TOKEN])
{
    random_hex(token, (INSTANCE_TOKEN - 1) / 2);
}

struct instance *instance_new(struct store *s, const char *kind, const char *id, const char *token,
                              const char *instead, instance_fn fn, void *owner)
{
    struct instance *i = xcalloc(1, sizeof(*i));

    i->store = s;
    i->name = xasprintf("%s/%s", kind, id);
    i->place = here();
    snprintf(i->token, sizeof(i->token), "%s", token);
    snprintf(i->gone, sizeof(i->gone), "%s", instead);
    i->fn = fn;
    i->owner = owner;
    i->timer = timer_new(store_loop(s), instance_on_timer, i);
    timer_start(i->timer, 1);
    return i;
}

void instance_free(struct instance **ip)
{
    struct instance *i = *ip;

    *ip = NULL;
    if (!i)
        return;
    store_forget(i->store, i);
    if (i->ours && !i->over && store_state(i->store) == STORE_UP)
        instance_tell(i, true, NULL);
    timer_free(&i->timer);
    free(i->name);
    free(i->place);
    free(i);
}
