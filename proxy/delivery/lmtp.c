#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "lmtp_priv.h"

/* ---- what servers offer */

static bool lmtp_is_next(const struct lmtp *l, size_t nth)
{
    struct address a;
    const struct conf_backend *b = &l->conf->backends[nth];
    bool is = !b->retired && lmtp_next_address(b->delivery, &a);

    if (is)
        address_free(&a);
    return is;
}

void lmtp_note_caps(struct lmtp *l, size_t backend, const struct lmtp_caps *caps)
{
    struct lmtp_known *k = &l->known[backend];
    struct buf names = {0};

    lmtp_caps_names(&names, caps);
    if (!k->told || k->caps.has != caps->has || k->caps.size != caps->size)
        LOG(INFO, "lmtp_offers", LOG_S("backend", l->conf->backends[backend].name),
            LOG_S("extensions", buf_str(&names)), LOG_U("thread", l->thread));
    buf_free(&names);
    k->told = true;
    k->caps = *caps;
    k->told_ms = clock_boot_ms();
}

/* One that does not answer is waited for once. */
static bool lmtp_is_probing(const struct lmtp *l)
{
    uint64_t now = clock_boot_ms();

    for (size_t i = 0; i < l->conf->n_backends; i++)
        if (l->known[i].probe && !l->known[i].told && now - l->known[i].asked_ms < LMTP_PROBE_MS)
            return true;
    return false;
}

static void lmtp_probed(struct lmtp *l)
{
    struct lmtp_session *s, *next;

    timer_stop(l->probe_timer);
    for (s = LIST_FIRST(&l->sessions); s; s = next) {
        next = LIST_NEXT(s, link);
        if (s->state == LMTP_PROBE)
            lmtp_session_probed(s);
    }
}

static void lmtp_on_probe(void *owner, struct lmtp_next *n, const struct lmtp_news *news)
{
    struct lmtp_known *k = owner;

    if (news->event == LMTP_NEXT_READY)
        lmtp_note_caps(k->lmtp, k->nth, lmtp_next_caps(n));
    else if (news->event == LMTP_NEXT_GONE)
        lmtp_complain(k->lmtp, k->nth, NULL, lmtp_next_why(n));
    else
        return;
    lmtp_next_close(&k->probe, true);
    if (!lmtp_is_probing(k->lmtp))
        lmtp_probed(k->lmtp);
}

static void lmtp_on_probe_timer(void *owner)
{
    lmtp_probed(owner);
}

/* One whose answer is old is asked beside, and nobody waits for it. */
static bool lmtp_wants_probe(const struct lmtp *l, const struct lmtp_known *k)
{
    uint64_t now = clock_boot_ms();

    if (k->probe || !lmtp_is_next(l, k->nth))
        return false;
    if (k->told)
        return now - k->told_ms >= LMTP_KNOWN_MS && now - k->asked_ms >= LMTP_KNOWN_MS;
    return k->asked_ms == 0 || now - k->asked_ms >= LMTP_PROBE_AGAIN_MS;
}

bool lmtp_probe(struct lmtp *l)
{
    for (size_t i = 0; i < l->conf->n_backends; i++) {
        struct lmtp_known *k = &l->known[i];
        if (!lmtp_wants_probe(l, k))
            continue;
        k->asked_ms = clock_boot_ms();
        k->probe = lmtp_next_new(l->loop, l->conf, i, l->name, lmtp_on_probe, k);
    }
    if (!lmtp_is_probing(l))
        return true;
    if (!timer_is_set(l->probe_timer))
        timer_start(l->probe_timer, LMTP_PROBE_MS);
    return false;
}

struct lmtp_caps lmtp_common_caps(const struct lmtp *l)
{
    struct lmtp_caps all = {.has = LMTP_PASSED};
    bool any = false;

    for (size_t i = 0; i < l->conf->n_backends; i++) {
        if (!l->known[i].told || !lmtp_is_next(l, i))
            continue;
        lmtp_caps_meet(&all, &l->known[i].caps);
        any = true;
    }
    return any ? all : (struct lmtp_caps){0};
}

bool lmtp_may_log(struct lmtp_lines *lines, uint64_t now_ms, uint64_t *_others)
{
    if (now_ms - lines->since_ms >= LMTP_LINES_MS) {
        lines->since_ms = now_ms;
        lines->n = 0;
    }
    if (++lines->n > LMTP_LINES) {
        lines->others++;
        return false;
    }
    *_others = lines->others;
    lines->others = 0;
    return true;
}

void lmtp_complain(struct lmtp *l, size_t backend, const char *session, const char *detail)
{
    uint64_t others;

    if (!lmtp_may_log(&l->failed, clock_boot_ms(), &others))
        return;
    LOG(WARN, "lmtp_server_failed", LOG_S("backend", l->conf->backends[backend].name),
        LOG_S("detail", detail), LOG_S(session ? "session" : NULL, session),
        LOG_U(others ? "others" : NULL, others),
        LOG_S("effect", "recipients there get 451, and mail servers try again"));
}

/* ---- clients */

void lmtp_accept(struct lmtp *l, uv_stream_t *listener)
{
    lmtp_session_begin(l, listener);
}

void lmtp_session_ended(struct lmtp *l)
{
    l->n_sessions--;
    if (l->n_sessions == 0)
        l->fn(l->owner);
}

void lmtp_heard(struct lmtp *l, struct span user)
{
    struct lmtp_session *s, *next;

    for (s = LIST_FIRST(&l->sessions); s; s = next) {
        next = LIST_NEXT(s, link);
        if (s->state == LMTP_IN_RCPT && s->asking.waits && span_is(user, s->asking.key))
            lmtp_mail_look_again(s);
    }
}

void lmtp_drain(struct lmtp *l)
{
    struct lmtp_session *s, *next;

    l->draining = true;
    for (s = LIST_FIRST(&l->sessions); s; s = next) {
        next = LIST_NEXT(s, link);
        if (s->state == LMTP_COMMAND && !s->mail)
            lmtp_session_end(s, "shutdown", "421 4.3.2 This server is being stopped");
    }
}

void lmtp_end(struct lmtp *l)
{
    l->draining = true;
    while (!LIST_EMPTY(&l->sessions))
        lmtp_session_end(LIST_FIRST(&l->sessions), "shutdown", "421 4.3.2 This server is being stopped");
}

size_t lmtp_count(const struct lmtp *l)
{
    return l->n_sessions;
}

/* ---- life */

struct lmtp *lmtp_new(const struct stores *stores, unsigned thread, lmtp_idle_fn fn, void *owner)
{
    struct lmtp *l = xcalloc(1, sizeof *l);

    *l = (struct lmtp){.loop = store_loop(stores->all[0]),
                       .stores = stores,
                       .conf = store_conf(stores->all[0]),
                       .thread = thread,
                       .fn = fn,
                       .owner = owner};
    if (gethostname(l->name, sizeof l->name - 1) != 0 || !*l->name)
        memcpy(l->name, "localhost", sizeof "localhost");
    LIST_INIT(&l->sessions);
    l->known = xcalloc(l->conf->n_backends, sizeof *l->known);
    for (size_t i = 0; i < l->conf->n_backends; i++) {
        l->known[i].lmtp = l;
        l->known[i].nth = i;
    }
    l->probe_timer = timer_new(l->loop, lmtp_on_probe_timer, l);
    return l;
}

void lmtp_free(struct lmtp **lp)
{
    struct lmtp *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    assert(l->n_sessions == 0); /* lmtp_end(), and then a turn of the loop */
    for (size_t i = 0; i < l->conf->n_backends; i++)
        lmtp_next_close(&l->known[i].probe, false);
    timer_free(&l->probe_timer);
    free(l->known);
    free(l);
}
