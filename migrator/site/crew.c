#include <assert.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/store_caps.h"
#include "lib/xalloc.h"

#include "crew.h"
#include "one_server.h"

enum {
    HIGH_WATER = 256 * 1024,
    QUEUE_MAX = 64 * 1024 * 1024,
    LINGER_MS = 3000 /* lanes that are not wanted stay so long: the next pass may want them again */
};

enum half { SOURCE, TARGET };

enum slot_state { SLOT_EMPTY, SLOT_OPENING, SLOT_IDLE, SLOT_LENT, SLOT_SPENT /* broken, to be closed */ };

/* A place for a lane. */
struct crew_slot {
    struct lane lane;
    enum slot_state state;
    bool ready[2], broken;
    uint64_t began_ms;
    struct end {
        struct crew_slot *slot;
        enum half half;
    } ends[2]; /* what the connections call back with */
    struct crew *crew;
};

struct crew {
    struct migrator *m;
    char *user, *login;           /* owned */
    struct credential credential; /* the user's; owned. None where both sides have a master */
    const struct conf_backend *backend[2];
    const uint64_t *until_ms; /* borrowed */
    bool quiet, provisioned;
    crew_fn fn;
    void *owner;
    unsigned wanted, limit; /* limit: as many as the servers let us have */
    struct crew_slot slots[CREW_MAX];
    struct lane_wait wait; /* for the first lane */
    struct loop_task task; /* settles what changed, outside of any callback */
    struct timer *linger;  /* since when there are more lanes than wanted */
    bool lingered;
    uint64_t broke_ms, sign_in_ms;
    bool failed, tell_ready;
    enum why why;
    char *error; /* owned */
    struct oddities odd;
    bool garbled;
};

static unsigned crew_count(const struct crew *c, enum slot_state state)
{
    unsigned n = 0;

    for (size_t i = 0; i < CREW_MAX; i++)
        n += c->slots[i].state == state;
    return n;
}

static unsigned crew_alive(const struct crew *c)
{
    return crew_count(c, SLOT_OPENING) + crew_count(c, SLOT_IDLE) + crew_count(c, SLOT_LENT);
}

static struct crew_slot *crew_first_of(struct crew *c, enum slot_state state)
{
    for (size_t i = 0; i < CREW_MAX; i++)
        if (c->slots[i].state == state)
            return &c->slots[i];
    return NULL;
}

static void close_slot(struct crew_slot *s)
{
    struct crew *c = s->crew;

    imapc_free(&s->lane.source);
    imapc_free(&s->lane.target);
    s->state = SLOT_EMPTY;
    s->broken = s->ready[SOURCE] = s->ready[TARGET] = false;
    backends_give_lane(c->m->backends, c->backend[SOURCE], c->backend[TARGET], c->wait.late);
}

/* ---- opening */

static enum why why_of(const struct crew *c, enum login_rc rc)
{
    switch (rc) {
    case LOGIN_NO_MECHANISM:
        return WHY_CREDENTIALS;
    case LOGIN_REFUSED:
        return c->credential.mechanism ? WHY_CREDENTIALS : WHY_REFUSED;
    case LOGIN_INSECURE:
        return WHY_TLS;
    case LOGIN_UNAVAILABLE:
    case LOGIN_OK:
        break;
    }
    return WHY_UNREACHABLE;
}

static bool uses_master(const struct conf_backend *b)
{
    return b->master_user && *b->master_user;
}

static bool crew_token_is_refused(const struct crew *c, const struct imapc *conn)
{
    return imapc_login_rc(conn) == LOGIN_REFUSED && c->credential.mechanism &&
           c->credential.mechanism->kind == SASL_TOKEN;
}

/* Whatever made the account, the server does not know it, or not by this password. */
static bool crew_is_provisioned_in_vain(const struct crew *c, enum half half, const struct imapc *conn)
{
    bool token = !uses_master(c->backend[half]) && crew_token_is_refused(c, conn);

    return c->provisioned && half == TARGET && imapc_login_rc(conn) == LOGIN_REFUSED && !token;
}

static enum why crew_why_of(const struct crew *c, enum half half, const struct imapc *conn)
{
    enum why why = why_of(c, imapc_login_rc(conn));

    if (crew_is_provisioned_in_vain(c, half, conn))
        return WHY_PROVISION;
    return why == WHY_CREDENTIALS && uses_master(c->backend[half]) ? WHY_REFUSED : why;
}

static const char *crew_what_failed(const struct crew *c, enum half half, const struct imapc *conn)
{
    bool master = uses_master(c->backend[half]);

    if (c->why == WHY_PROVISION)
        return master
                   ? "provision said that all went well, and the sign-in as master for the user is refused: "
                   : "provision said that all went well, and the user's password is refused: ";
    if (c->why == WHY_REFUSED && master)
        return "the sign-in as master for the user: ";
    return !master && crew_token_is_refused(c, conn) ? "the user's token is refused, so it may have expired: "
                                                     : "";
}

static void crew_note_failure(struct crew_slot *s, enum half half)
{
    struct crew *c = s->crew;
    struct imapc *conn = half == SOURCE ? s->lane.source : s->lane.target;

    free(c->error);
    c->why = crew_why_of(c, half, conn);
    c->error =
        xasprintf("%s: %s%s", c->backend[half]->name, crew_what_failed(c, half, conn), imapc_error(conn));
    LOG(WARN, "lane_failed", LOG_S("user", c->user), LOG_S("why", why_word(c->why)),
        LOG_S("detail", c->error));
}

static void note_sign_in(const struct crew_slot *s, enum half half)
{
    const struct crew *c = s->crew;
    const struct imapc *conn = half == SOURCE ? s->lane.source : s->lane.target;

    if (c->quiet)
        return; /* it may go through a list of names that nobody has ever signed in as */
    backends_note_sign_in(c->m->backends, c->backend[half], imapc_login_rc(conn),
                          uses_master(c->backend[half]), c->user, imapc_error(conn));
}

/* Proxies show what both servers can do, and most of the new one's sign-ins begin here. They read it from whichever store of the
 * site is there, so each is told. */
static void crew_note_caps(const struct crew_slot *s, enum half half)
{
    const struct imapc *conn = half == SOURCE ? s->lane.source : s->lane.target;
    const struct stores *stores = s->crew->m->stores;

    if (s->crew->quiet || !stores)
        return;
    for (size_t i = 0; i < stores->n; i++)
        store_caps_saw(stores->all[i], s->crew->backend[half]->name, imapc_caps(conn), CAPS_BY_USER, NULL,
                       NULL);
}

/* False: both lead to one server, and the lane is of no use. */
static bool leads_to_two(struct crew_slot *s)
{
    struct crew *c = s->crew;
    const char *source = imapc_peer(s->lane.source), *target = imapc_peer(s->lane.target);
    bool same = one_server_reached(c->backend[SOURCE], source, c->backend[TARGET], target);
    const char *at = c->backend[SOURCE]->address.path ? c->backend[SOURCE]->address.path : source;

    backends_note_pair(c->m->backends, c->backend[SOURCE], c->backend[TARGET], same ? at : NULL);
    if (!same)
        return true;
    free(c->error);
    c->why = WHY_SAME_SERVER;
    c->error =
        xasprintf("%s and %s lead to one server, %s", c->backend[SOURCE]->name, c->backend[TARGET]->name, at);
    LOG(ERROR, "lane_failed", LOG_S("user", c->user), LOG_S("why", why_word(c->why)),
        LOG_S("detail", c->error));
    return false;
}

static void both_ready(struct crew_slot *s)
{
    struct crew *c = s->crew;

    if (!leads_to_two(s)) {
        s->broken = true;
        s->ready[SOURCE] = s->ready[TARGET] = false; /* as one that could not be opened */
        s->state = SLOT_SPENT;
        return;
    }
    s->state = SLOT_IDLE;
    c->sign_in_ms = clock_boot_ms() - s->began_ms;
    c->failed = false;
    c->tell_ready = true;
}

static void crew_on_event(void *owner, enum imapc_event ev)
{
    struct end *e = owner;
    struct crew_slot *s = e->slot;
    struct crew *c = s->crew;

    switch (ev) {
    case IMAPC_READY:
        s->ready[e->half] = true;
        note_sign_in(s, e->half);
        crew_note_caps(s, e->half);
        if (s->ready[SOURCE] && s->ready[TARGET] && s->state == SLOT_OPENING)
            both_ready(s);
        break;
    case IMAPC_FAILED:
        note_sign_in(s, e->half);
        /* fall through */
    case IMAPC_BROKEN:
        c->garbled = c->garbled || imapc_is_garbled(e->half == SOURCE ? s->lane.source : s->lane.target);
        if (s->state == SLOT_OPENING)
            crew_note_failure(s, e->half);
        s->broken = true;
        if (s->state == SLOT_LENT)
            c->broke_ms = clock_boot_ms();
        else
            s->state = SLOT_SPENT;
        break;
    case IMAPC_DRAINED: /* for the copy that has the lane */
        return;
    }
    loop_defer(c->m->loop, &c->task);
}

static void crew_on_odd(void *owner, const struct imapc_odd *odd)
{
    struct crew *c = owner;

    oddities_add(&c->odd, odd->mailbox, odd->text);
}

static struct imapc *crew_dial(struct crew_slot *s, enum half half)
{
    struct crew *c = s->crew;
    const struct conf *conf = c->m->conf;
    const struct conf_backend *b = c->backend[half];
    bool master = uses_master(b);
    struct login_request r = {
        .backend = b,
        .policy = backends_tls(c->m->backends, b),
        .outage = backends_outage(c->m->backends, b),
        .as = master ? LOGIN_AS_MASTER : LOGIN_AS_USER,
        .credential = c->credential,
        .user = c->login,
        .site = store_id(c->m->store),
        .session_id = c->m->id, /* some servers want to know who comes before the sign-in */
        .compress = b->compress,
        .pipelined = true,
        .limits = {.high_water = HIGH_WATER,
                   .queue_max = QUEUE_MAX,
                   .silence_ms = conf->migrator.job_lease_ms * SILENCE_TENTHS / 10,
                   .abortive = true},
        .connect_timeout_ms = conf->proxy.connect_timeout_ms,
        .step_timeout_ms = conf->proxy.backend_timeout_ms,
    };

    s->ends[half] = (struct end){.slot = s, .half = half};
    struct imapc *conn =
        imapc_new(c->m->loop, &r, conf->migrator.command_timeout_ms, crew_on_event, NULL, &s->ends[half]);
    imapc_set_fence(conn, c->until_ms);
    imapc_set_pace(conn, backends_pace(c->m->backends, b));
    imapc_on_odd(conn, crew_on_odd, c);
    return conn;
}

/* The pair of connections is reserved. */
static void open_slot(struct crew *c)
{
    struct crew_slot *s = crew_first_of(c, SLOT_EMPTY);

    assert(s);
    s->crew = c;
    s->state = SLOT_OPENING;
    s->began_ms = clock_boot_ms();
    s->lane.source = crew_dial(s, SOURCE);
    s->lane.target = crew_dial(s, TARGET);
}

static void on_pair(struct lane_wait *w)
{
    open_slot(CONTAINER_OF(w, struct crew, wait));
}

static void open_more(struct crew *c)
{
    if (c->failed || crew_alive(c) >= c->wanted || crew_alive(c) >= c->limit)
        return;
    if (crew_alive(c) == 0) {
        if (!c->wait.waiting)
            backends_wait_lane(c->m->backends, &c->wait);
        return;
    }
    /* The first alone: it tells whether the sign-in works. The others at once, since each takes several round
     * trips; those that a server refuses tell how many it lets us have. */
    if (crew_alive(c) == crew_count(c, SLOT_OPENING))
        return;
    while (crew_alive(c) < c->wanted && crew_alive(c) < c->limit &&
           backends_try_lane(c->m->backends, c->backend[SOURCE], c->backend[TARGET], c->wait.late))
        open_slot(c);
}

/* ---- settling */

static void close_spent(struct crew *c)
{
    struct crew_slot *s;

    while ((s = crew_first_of(c, SLOT_SPENT))) {
        bool was_opening = !(s->ready[SOURCE] && s->ready[TARGET]);
        close_slot(s);
        if (!was_opening)
            continue;
        if (crew_alive(c) == 0)
            c->failed = true;
        else
            c->limit = crew_alive(c);
    }
}

static void on_linger(void *owner)
{
    struct crew *c = owner;

    c->lingered = true;
    loop_defer(c->m->loop, &c->task);
}

static void close_superfluous(struct crew *c)
{
    struct crew_slot *s;
    bool at_once = c->wanted == 0 || c->lingered || backends_awaited(c->m->backends);

    if (c->wanted == 0)
        backends_unwait(c->m->backends, &c->wait);
    if (crew_alive(c) <= c->wanted)
        timer_stop(c->linger);
    else if (!at_once && !timer_is_set(c->linger))
        timer_start(c->linger, LINGER_MS);
    while (at_once && crew_alive(c) > c->wanted && (s = crew_first_of(c, SLOT_IDLE)))
        close_slot(s);
    c->lingered = false;
}

static void crew_settle(struct loop_task *task)
{
    struct crew *c = CONTAINER_OF(task, struct crew, task);
    bool failed_before = c->failed;

    close_spent(c);
    close_superfluous(c);
    open_more(c);
    bool tell = c->tell_ready;
    c->tell_ready = false;
    if (!c->fn)
        return;
    if (c->failed && !failed_before)
        c->fn(c->owner, CREW_FAILED);
    else if (tell)
        c->fn(c->owner, CREW_READY);
}

/* ---- for the owner */

void crew_want(struct crew *c, unsigned n)
{
    c->wanted = n < CREW_MAX ? n : CREW_MAX;
    c->failed = false;
    loop_defer(c->m->loop, &c->task);
}

void crew_want_at_least(struct crew *c, unsigned n)
{
    crew_want(c, c->wanted > n ? c->wanted : n);
}

struct lane *crew_take(struct crew *c)
{
    struct crew_slot *s = crew_first_of(c, SLOT_IDLE);

    loop_defer(c->m->loop, &c->task); /* perhaps there is room for one more */
    if (!s)
        return NULL;
    s->state = SLOT_LENT;
    return &s->lane;
}

void crew_give(struct crew *c, struct lane *lane)
{
    struct crew_slot *s = CONTAINER_OF(lane, struct crew_slot, lane);

    assert(s->state == SLOT_LENT);
    s->state = s->broken ? SLOT_SPENT : SLOT_IDLE;
    c->tell_ready = c->tell_ready || !s->broken;
    loop_defer(c->m->loop, &c->task);
}

void crew_drop(struct crew *c, struct lane *lane)
{
    CONTAINER_OF(lane, struct crew_slot, lane)->broken = true;
    c->broke_ms = clock_boot_ms();
    crew_give(c, lane);
}

void crew_set_owner(struct crew *c, crew_fn fn, void *owner)
{
    c->fn = fn;
    c->owner = owner;
    c->tell_ready = fn && crew_count(c, SLOT_IDLE) > 0;
    loop_defer(c->m->loop, &c->task);
}

uint64_t crew_broke_ms(const struct crew *c)
{
    return c->broke_ms;
}

uint64_t crew_sign_in_ms(const struct crew *c)
{
    return c->sign_in_ms;
}

unsigned crew_lent(const struct crew *c)
{
    return crew_count(c, SLOT_LENT);
}

bool crew_is_opening(const struct crew *c)
{
    return c->wanted > 0 && (crew_count(c, SLOT_OPENING) > 0 || crew_alive(c) == 0);
}

enum why crew_why(const struct crew *c)
{
    return c->why;
}

const char *crew_error(const struct crew *c)
{
    return c->error ? c->error : "";
}

bool crew_is_garbled(const struct crew *c)
{
    return c->garbled;
}

const struct oddities *crew_oddities(const struct crew *c)
{
    return &c->odd;
}

struct crew *crew_new(const struct crew_request *request)
{
    struct crew *c = xcalloc(1, sizeof(*c));

    c->m = request->m;
    c->user = xstrdup(request->user);
    c->login = xstrdup(request->login);
    if (request->credential)
        credential_copy(&c->credential, request->credential);
    c->backend[SOURCE] = request->source;
    c->backend[TARGET] = request->target;
    c->until_ms = request->until_ms;
    c->quiet = request->quiet;
    c->provisioned = request->provisioned;
    c->limit = CREW_MAX;
    c->linger = timer_new(c->m->loop, on_linger, c);
    c->task.fn = crew_settle;
    c->wait = (struct lane_wait){
        .source = request->source, .target = request->target, .late = request->late, .fn = on_pair};
    return c;
}

void crew_free(struct crew **cp)
{
    struct crew *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    loop_undefer(c->m->loop, &c->task);
    timer_free(&c->linger);
    backends_unwait(c->m->backends, &c->wait);
    for (size_t i = 0; i < CREW_MAX; i++)
        if (c->slots[i].state != SLOT_EMPTY)
            close_slot(&c->slots[i]);
    free(c->user);
    free(c->login);
    credential_wipe(&c->credential);
    free(c->error);
    oddities_free(&c->odd);
    free(c);
}
