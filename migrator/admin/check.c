#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/account.h"
#include "lib/backend_login.h"
#include "lib/route.h"
#include "lib/store_caps.h"
#include "lib/xalloc.h"

#include "migrator/site/crew.h"
#include "migrator/site/one_server.h"
#include "migrator/site/recall.h"

#include "actions.h"
#include "check.h"
#include "json_value.h"
#include "naming.h"

enum {
    HELD_MOST = 50,       /* connections at once, whatever max_connections says */
    CHECK_PART_MS = 3000, /* for a server to close them */
    CHECK_TELLS_MS = 1500 /* after which an attempt to connect has told what is wrong */
};
enum level { CHECK_OK, CHECK_WARNING, CHECK_ERROR };

struct side;

/* One connection that is asked for, and kept until all of its kind have ended. */
struct asking {
    struct side *side;
    struct backend_login *login;
    struct stream *stream; /* owned; signed in, or greeted */
    enum login_as as;
};

/* Connections to one backend that are there at the same time: how many the server takes. */
struct check_crowd {
    struct asking all[HELD_MOST];
    size_t n, ended, good;
    bool parting;
    char *refusal; /* owned; the first one */
};

struct side {
    struct check *c;
    const struct conf_backend *b;
    struct tls_policy *tls; /* owned */
    json_t *lines;          /* owned */
    json_t *exists;         /* owned; NULL: not asked */
    struct caps_record caps;
    struct asking first, master;
    char *peer;            /* owned; whom the first one reached; NULL: nobody */
    const char *master_as; /* for whom master signs in; borrowed */
    bool master_good;
    struct check_crowd plain, signed_in;
};

enum { MEMORY_WARN = 80, MEMORY_ERROR = 95 /* per cent of maxmemory */ };

struct check {
    struct loop *loop;
    const struct conf *conf;
    char *user, *login; /* owned; of one account */
    char *as_key;       /* owned; see naming.h */
    struct naming *naming;
    check_fn fn;
    void *owner;
    struct side *sides;
    size_t n;
    json_t *redis, *rest; /* owned; lines */
    struct store *store;
    struct timer *reach, *all;
    struct loop_task task; /* tells the end */
    unsigned pending;      /* what has not ended */
    bool store_ended, caps_read;
    struct recall *recall;
    size_t errors;
};

/* ---- lines ---- */

static void check_line(struct check *c, json_t *lines, const char *of, enum level level, const char *advice,
                       const char *fmt, ...) PRINTF_LIKE(6, 7);
static void check_line(struct check *c, json_t *lines, const char *of, enum level level, const char *advice,
                       const char *fmt, ...)
{
    static const char *const words[] = {"ok", "warning", "error"};
    struct buf text = {0};
    json_t *o = json_object();
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    json_object_set_new(o, "of", json_string(of));
    json_object_set_new(o, "level", json_string(words[level]));
    json_object_set_new(o, "text", json_text(buf_span(&text)));
    json_object_set_new(o, "advice", json_string(advice));
    json_array_append_new(lines, o);
    c->errors += level == CHECK_ERROR;
    buf_free(&text);
}

#define SIDE_LINE(s, level, ...) check_line((s)->c, (s)->lines, (s)->b->name, level, __VA_ARGS__)

static void check_ended(struct check *c)
{
    if (--c->pending == 0)
        loop_defer(c->loop, &c->task);
}

/* ---- connections ---- */

/* user: as LOGIN_AS_USER the master itself; NULL for LOGIN_AS_NOBODY. */
static void check_ask(struct asking *a, struct side *s, enum login_as as, const char *user,
                      backend_login_fn fn)
{
    *a = (struct asking){.side = s, .as = as};
    s->c->pending++;
    a->login = backend_login_start(
        s->c->loop,
        &(struct login_request){.backend = s->b,
                                .policy = s->tls,
                                .as = as,
                                .credential = credential_of_password(user, s->b->master_password),
                                .user = user,
                                .site = store_id(s->c->store),
                                .ttl = CHECK_HOPS,
                                .limits = {.high_water = 64 << 10, .queue_max = 1 << 20},
                                .connect_timeout_ms = CHECK_CONNECT_MS,
                                .step_timeout_ms = CHECK_ANSWER_MS},
        fn, a);
}

static void on_held(struct stream *stream, enum stream_event ev, void *owner);

static void check_take(struct asking *a, const struct login_result *r)
{
    a->login = NULL;
    a->stream = r->stream;
    if (a->stream)
        stream_set_owner(a->stream, on_held, a);
}

static void check_leave(struct asking *a)
{
    stream_send(a->stream, "z LOGOUT\r\n", 10);
    stream_deadline(a->stream, CHECK_PART_MS);
}

/* As a client leaves; nobody waits for it. */
static void check_part(struct asking *a)
{
    if (a->stream)
        check_leave(a);
    stream_close(&a->stream, true);
}

/* ---- how many at once ---- */

static struct check_crowd *crowd_of(struct asking *a)
{
    return a->as == LOGIN_AS_NOBODY ? &a->side->plain : &a->side->signed_in;
}

static void crowd_judge(struct side *s, const struct check_crowd *w)
{
    if (w->good == w->n)
        SIDE_LINE(s, CHECK_OK, "", "%zu connections%s at the same time were taken", w->n,
                  w == &s->plain ? "" : " as one user");
    else if (w == &s->plain)
        SIDE_LINE(
            s, CHECK_WARNING,
            "Each migrator opens as many as max_connections says: lower it, or raise the server's limit for one address "
            "(MAXPERIP in Courier, client_limit of imap-login in Dovecot). All users come from the proxies' addresses, too.",
            "of %zu connections at the same time (max_connections) it took %zu: %s", w->n, w->good,
            w->refusal);
    else
        SIDE_LINE(
            s, CHECK_WARNING,
            "A migrator copies an account over up to six at once, beside the user's own: raise the server's limit for one user "
            "and address (mail_max_userip_connections in Dovecot, maxlogins_per_user in Cyrus).",
            "of %zu connections as one user at the same time it took %zu: %s", w->n, w->good, w->refusal);
}

static void crowd_gone(struct side *s, const struct check_crowd *w);

/* The server's side of them is closed too before more are opened. */
static void crowd_part(struct side *s, struct check_crowd *w)
{
    crowd_judge(s, w);
    w->parting = true;
    for (size_t i = 0; i < w->n; i++)
        if (w->all[i].stream)
            check_leave(&w->all[i]);
    if (w->good == 0)
        crowd_gone(s, w);
}

static void on_held(struct stream *stream, enum stream_event ev, void *owner)
{
    struct asking *a = owner;
    struct check_crowd *w = crowd_of(a);

    if (ev == STREAM_DATA)
        stream_eat(stream, stream_peek(stream).len);
    if (ev == STREAM_DATA || ev == STREAM_DRAINED || !w->parting)
        return;
    stream_close(&a->stream, false);
    for (size_t i = 0; i < w->n; i++)
        if (w->all[i].stream)
            return;
    crowd_gone(a->side, w);
}

static void on_crowd(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct check_crowd *w = crowd_of(a);
    struct check *c = a->side->c;

    check_take(a, r);
    w->good += r->rc == LOGIN_OK;
    if (r->rc != LOGIN_OK && !w->refusal)
        w->refusal = xstrdup(r->detail);
    if (++w->ended == w->n)
        crowd_part(a->side, w);
    check_ended(c);
}

/* user NULL: nobody signs in. */
static void crowd_start(struct side *s, struct check_crowd *w, size_t n, enum login_as as, const char *user)
{
    s->c->pending++;
    w->n = n < HELD_MOST ? n : HELD_MOST;
    for (size_t i = 0; i < w->n; i++)
        check_ask(&w->all[i], s, as, user, on_crowd);
}

/* Six sign-ins could take a user's own programs their places: only for accounts that nobody uses. */
static void crowd_gone(struct side *s, const struct check_crowd *w)
{
    size_t most = s->b->max_connections < CREW_MAX ? s->b->max_connections : CREW_MAX;

    if (w == &s->plain && s->master_good)
        crowd_start(s, &s->signed_in, most, s->master.as, s->master_as);
    check_ended(s->c);
}

static void count_connections(struct side *s)
{
    crowd_start(s, &s->plain, s->b->max_connections, LOGIN_AS_NOBODY, NULL);
}

/* ---- sign-ins of masters ---- */

static void check_on_stored(void *owner, bool stored)
{
    struct side *s = owner;

    if (!stored)
        SIDE_LINE(s, CHECK_WARNING, "See what is said of redis.", "its capabilities could not be stored");
    check_ended(s->c);
}

/* What a user may be shown of it, and where it goes. */
static void check_learned(struct side *s, const struct imap_caps *caps, enum caps_by by)
{
    struct imap_caps shown = imap_caps_shown(caps, caps);
    struct buf words = {0};

    imap_caps_write(&words, &shown);
    SIDE_LINE(s, CHECK_OK, "", "can do: %s", buf_str(&words));
    buf_free(&words);
    caps_record_take(&s->caps, caps, by, clock_wall_ms());
    if (!s->c->store || store_state(s->c->store) != STORE_UP)
        return;
    s->c->pending++;
    store_caps_saw(s->c->store, s->b->name, caps, by, check_on_stored, s);
}

static bool check_for_itself(const struct side *s)
{
    return !s->c->login && !*s->b->check_user;
}

static void master_failed(struct side *s, const struct login_result *r)
{
    if (r->rc == LOGIN_REFUSED && check_for_itself(s))
        SIDE_LINE(
            s, CHECK_WARNING,
            "Some servers, Dovecot among them, let a master in for a user alone, so this does not tell whether its password is "
            "right: see with \"imapferryctl check NAME\", or name a test account in check_user.",
            "master_user %s can't sign in for itself: %s", s->b->master_user, r->detail);
    else if (r->rc == LOGIN_REFUSED)
        SIDE_LINE(
            s, CHECK_ERROR,
            "See master_user, its password file and master_login, whether the server knows it as a master, and whether that user "
            "exists there.",
            "the sign-in of master_user %s for %s was refused: %s", s->b->master_user, s->master_as,
            r->detail);
    else
        SIDE_LINE(s, CHECK_ERROR, "See the server's own log.",
                  "the sign-in of master_user %s did not end (%s): %s", s->b->master_user, r->phase,
                  r->detail);
}

static void check_on_master(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct side *s = a->side;

    check_take(a, r);
    check_part(a);
    s->master_good = r->rc == LOGIN_OK;
    if (r->rc != LOGIN_OK) {
        master_failed(s, r);
    } else {
        SIDE_LINE(s, CHECK_OK, "", "master_user %s signed in%s%s", s->b->master_user,
                  check_for_itself(s) ? "" : " for ", check_for_itself(s) ? "" : s->master_as);
        check_learned(s, &r->caps, check_for_itself(s) ? CAPS_BY_MASTER : CAPS_BY_USER);
    }
    count_connections(s);
    check_ended(s->c);
}

/* False: none is to be had here; said. */
static bool check_has_master(struct side *s)
{
    if (*s->b->master_user && s->b->master_password)
        return true;
    if (*s->b->master_user)
        SIDE_LINE(s, CHECK_WARNING, "Run this where a migrator runs.",
                  "the password of master_user can't be read here, so its sign-in was not tried");
    return false;
}

static void try_master(struct side *s)
{
    bool itself = check_for_itself(s);

    if (!check_has_master(s)) {
        count_connections(s);
        return;
    }
    s->master_as = itself ? s->b->master_user : s->b->check_user;
    check_ask(&s->master, s, itself ? LOGIN_AS_USER : LOGIN_AS_MASTER, s->master_as, check_on_master);
}

/* ---- one account ---- */

static void on_account(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct side *s = a->side;
    const char *login = s->c->login;

    check_take(a, r);
    check_part(a);
    json_decref(s->exists);
    s->exists = r->rc == LOGIN_OK ? json_true() : json_null();
    if (r->rc == LOGIN_OK) {
        SIDE_LINE(s, CHECK_OK, "", "%s exists: master_user %s signed in for them", login, s->b->master_user);
        check_learned(s, &r->caps, CAPS_BY_USER);
    } else if (r->rc == LOGIN_REFUSED || strcmp(r->phase, "sign_in") == 0 ||
               strcmp(r->phase, "proxyauth") == 0) {
        s->exists = json_false();
        SIDE_LINE(
            s, CHECK_ERROR,
            "The user is not there, or master_user is wrong: \"check\" with a name that is there for sure tells which. Create the "
            "account there before it is moved.",
            "%s can't be signed in for: %s", login, r->detail);
    } else {
        SIDE_LINE(s, CHECK_ERROR, "See the server, and what \"imapferryctl check\" says of it.",
                  "no sign-in (%s): %s", r->phase, r->detail);
    }
    check_ended(s->c);
}

static void try_account(struct side *s)
{
    s->exists = json_null();
    if (!*s->b->master_user)
        SIDE_LINE(s, CHECK_WARNING, "Ask the server's administrator, or set a master_user.",
                  "it can't be known whether %s exists: there is no master_user to sign in with",
                  s->c->login);
    else if (check_has_master(s))
        check_ask(&s->master, s, LOGIN_AS_MASTER, s->c->login, on_account);
}

/* ---- a backend ---- */

static bool check_is_local(const struct address *a)
{
    return a->scheme == ADDRESS_IMAP_UNIX || strcmp(a->host, "127.0.0.1") == 0 ||
           strcmp(a->host, "::1") == 0 || strcmp(a->host, "localhost") == 0;
}

/* By what is said of it (lib/tls.c). */
static const char *advice_of_tls(const char *detail)
{
    if (strstr(detail, "does not speak TLS"))
        return "This port does not begin with TLS: see whether it is one for imap+starttls:// (or imap://, in a network of your own), "
               "and imaps:// has another port.";
    if (strstr(detail, "tls_min"))
        return "Best is a newer version, or certificate, of that server. Else say tls_min = \"1.0\" (or \"1.1\") in its section: the "
               "sample says what is taken with it.";
    if (strstr(detail, "STARTTLS"))
        return "See whether the server is to offer STARTTLS on this port, and whether imaps:// is what it speaks.";
    return NULL;
}

static const char *advice_of(const struct side *s, const struct login_result *r)
{
    const char *tls = advice_of_tls(r->detail);

    if ((r->rc == LOGIN_INSECURE || strcmp(r->phase, "dialing") == 0) && tls)
        return tls;
    if (r->rc == LOGIN_INSECURE)
        return "The certificate has to be signed by one of ca_file (the system's CAs where that is empty), to be of this host name, and "
               "not to have ended.";
    if (strcmp(r->phase, "dialing") == 0)
        return "See the address, whether the server runs, and whether a firewall lets this host through.";
    return strcmp(r->phase, "greeting") == 0 && s->b->address.scheme == ADDRESS_IMAPS
               ? "See whether the server takes connections from this host, and whether this port is IMAP."
               : "See whether this port is the server's IMAP, with or without TLS as the address says.";
}

static void check_connected(struct side *s, const struct login_result *r)
{
    bool disabled = imap_caps_has(&r->caps, CAP_LOGINDISABLED),
         plain = imap_caps_has(&r->caps, CAP_AUTH_PLAIN);

    SIDE_LINE(s, CHECK_OK, "", "%s answers%s", s->b->url,
              address_has_tls(&s->b->address) ? ", its certificate is good" : "");
    if (!address_has_tls(&s->b->address) && !check_is_local(&s->b->address))
        SIDE_LINE(s, CHECK_WARNING, "Use imaps:// or imap+starttls:// where the server can.",
                  "passwords and mail go there unencrypted");
    if (disabled && !plain)
        SIDE_LINE(s, CHECK_ERROR,
                  "It may want TLS first (imap+starttls://), or an administrator to allow AUTH=PLAIN.",
                  "it takes no password here (LOGINDISABLED)");
}

static void on_first(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct side *s = a->side;

    check_take(a, r);
    if (a->stream)
        s->peer = xstrdup(stream_peer(a->stream));
    check_part(a);
    if (r->rc != LOGIN_OK) {
        SIDE_LINE(s, CHECK_ERROR, advice_of(s, r), "%s: %s (%s)", s->b->url, r->detail, r->phase);
    } else if (s->c->login) {
        try_account(s);
    } else {
        check_connected(s, r);
        try_master(s);
    }
    check_ended(s->c);
}

static void side_start(struct side *s)
{
    char *error = NULL;

    if (address_has_tls(&s->b->address) &&
        !(s->tls = tls_policy_client(s->b->ca_file, s->b->tls_min, &error)))
        SIDE_LINE(s, CHECK_ERROR, "See ca_file.", "%s", error);
    else
        check_ask(&s->first, s, LOGIN_AS_NOBODY, NULL, on_first);
    free(error);
}

/* ---- Redis ---- */

static void start_sides(struct check *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->sides[i].b)
            side_start(&c->sides[i]);
}

/* Whatever Redis is like, the servers are looked at; but once it is known, so that there is where to
 * store. */
static void store_end(struct check *c)
{
    if (c->store_ended)
        return;
    c->store_ended = true;
    timer_stop(c->reach);
    start_sides(c);
    check_ended(c);
}

#define REDIS_LINE(c, level, ...) check_line(c, (c)->redis, "redis", level, __VA_ARGS__)

static void check_on_durability(void *owner, enum durability d, const char *detail)
{
    static const char *const advice =
        "In redis.conf: appendonly yes, appendfsync always, maxmemory-policy noeviction; with Sentinels or replicas also "
        "min-replicas-to-write 1.";
    struct check *c = owner;

    if (d == DURABILITY_GOOD)
        REDIS_LINE(c, CHECK_OK, "", "it keeps what it is told");
    else if (d == DURABILITY_UNKNOWN)
        REDIS_LINE(c, CHECK_ERROR, "See its log, and the rights of the ACL user (INFO has to be allowed).",
                   "it does not tell what it keeps");
    else if (d == DURABILITY_WARN || c->conf->redis.store_override)
        REDIS_LINE(c, CHECK_WARNING, advice, "%s", detail);
    else
        REDIS_LINE(c, CHECK_ERROR, advice, "nothing is migrated on it: %s", detail);
    check_ended(c);
}

static void check_on_records(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;

    for (size_t i = 0; rc == REDIS_OK && i < c->n; i++)
        if (c->sides[i].b)
            caps_record_read(&c->sides[i].caps, r, c->sides[i].b->name);
    c->caps_read = rc == REDIS_OK;
    store_end(c);
    check_ended(c);
}

static void check_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct check *c = owner;

    if (rc == ROUTE_OK)
        check_line(c, c->rest, "account", CHECK_OK, "", "%s lives on %s (%s)", c->user, r->backend,
                   route_state_name(r->state));
    else
        check_line(c, c->rest, "account", CHECK_WARNING, "See what is said of redis.",
                   "it is not known where %s lives", c->user);
    check_ended(c);
}

static void check_on_recall(void *owner, const struct recall_result *result)
{
    struct check *c = owner;
    const char *folder = c->conf->migrator.journal_dir;
    char *text = recall_text(result, folder);

    c->recall = NULL;
    if (*result->error)
        check_line(c, c->rest, "journal", CHECK_WARNING,
                   "Run it as one who may read it: a migrator compares it with Redis.", "%s", result->error);
    else if (result->unknown > 0)
        check_line(c, c->rest, "journal", CHECK_ERROR,
                   "The README has a chapter on it: \"Backup, loss and restore\".", "%s", text);
    else if (result->answered && result->asked > 0)
        check_line(c, c->rest, "journal", CHECK_OK, "",
                   "Redis knows the switch-overs in %s (%zu of the last ones were asked for)", folder,
                   result->asked);
    free(text);
    check_ended(c);
}

static void check_on_try(void *owner, bool answered, const char *why)
{
    struct check *c = owner;

    (void)answered;
    if (why)
        REDIS_LINE(c, CHECK_ERROR, "No login is let in, and nothing is migrated: make it take writes again.",
                   "%s", why);
    check_ended(c);
}

static uint64_t check_number_in(const char *info, const char *name)
{
    const char *field = strstr(info, name);

    return field ? strtoull(field + strlen(name), NULL, 10) : 0;
}

static void check_on_memory(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    char *info = xspandup(reply_str(r));
    uint64_t used = check_number_in(info, "\nused_memory:"), most = check_number_in(info, "\nmaxmemory:");
    double share = most > 0 ? 100.0 * (double)used / (double)most : 0;

    if (rc == REDIS_OK && share >= MEMORY_WARN)
        REDIS_LINE(c, share >= MEMORY_ERROR ? CHECK_ERROR : CHECK_WARNING,
                   "Raise maxmemory (CONFIG SET, and redis.conf): a full Redis lets nobody sign in.",
                   "%.0f %% of its memory are used: %" PRIu64 " MiB of %" PRIu64 " MiB (maxmemory)", share,
                   used >> 20, most >> 20);
    free(info);
    check_ended(c);
}

static void ask_memory(struct check *c)
{
    struct span argv[] = {span_str("INFO"), span_str("memory")};

    c->pending += 2;
    store_command(c->store, argv, COUNTOF(argv), check_on_memory, c);
    store_try_write(c->store, check_on_try, c);
}

static void check_on_counts(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct check *c = owner;
    char *unknown = rc == ROUTE_OK ? route_counts_unknown(c->store, rows, n) : NULL;

    if (unknown)
        REDIS_LINE(
            c, CHECK_ERROR, "Give the backend its name back: it stands in the record of each account.",
            "accounts live on backends that the configuration does not name, and their users can't sign in: %s",
            unknown);
    free(unknown);
    check_ended(c);
}

static void ask_recall(struct check *c)
{
    c->pending++;
    c->recall = recall_start(c->store, c->conf->migrator.journal_dir, check_on_recall, c);
}

static void on_info(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    char *address = address_text(&c->conf->redis.address), *info = xspandup(reply_str(r));
    const char *field = strstr(info, "connected_slaves:");

    REDIS_LINE(c, CHECK_OK, "", "%s answers, and is the master; its replicas: %u", address,
               rc == REDIS_OK && field ? (unsigned)atoi(field + 17) : 0);
    free(address);
    free(info);
    check_ended(c);
}

/* Before the store answers it has looked whether this Redis is the master. */
static void ask_info(struct check *c)
{
    struct span argv[] = {span_str("INFO"), span_str("replication")};

    c->pending++;
    store_command(c->store, argv, COUNTOF(argv), on_info, c);
}

static void store_is_up(struct check *c)
{
    if (!c->login) {
        ask_info(c);
        ask_recall(c);
        ask_memory(c);
        c->pending++;
        route_counts_read(c->store, check_on_counts, c);
    }
    c->pending++;
    store_caps_all(c->store, check_on_records, c);
    c->pending++;
    if (c->login)
        route_read(c->store, c->user, check_on_route, c);
    else
        store_durability(c->store, check_on_durability, c);
}

/* By what Redis, or the way there, said. */
static const char *advice_of_redis(const char *detail)
{
    static const struct {
        const char *says, *advice;
    } rows[] = {
        {"NOREPLICAS",
         "It takes no writes: fewer replicas are there, and up to date, than min-replicas-to-write asks for. See whether they "
         "run."},
        {"LOADING", "It reads its data from the disk: check again in a while."},
        {"READONLY", "This is a replica: name the master, or the Sentinels (sentinel://)."},
        {"TLS",
         "See whether url in the section redis has to begin with redis:// or with rediss://, and the certificate of that Redis."},
        {"no Redis", "See host and port of url in the section redis."},
        {"password", "See url, or password_file, in the section redis."},
        {"AUTH", "See url, or password_file, in the section redis."},
        {"NOPERM", "See what the ACL user of url, in the section redis, may do."},
        {"WRONGPASS", "See url, or password_file, in the section redis."},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++)
        if (strstr(detail, rows[i].says))
            return rows[i].advice;
    return "See url in the section redis, whether Redis runs there, and whether it lets this host in.";
}

static void store_is_away(struct check *c, const char *detail)
{
    char *address = address_text(&c->conf->redis.address);

    REDIS_LINE(c, CHECK_ERROR, advice_of_redis(detail), "%s: %s", address, detail);
    free(address);
    store_end(c);
}

/* One account concerns the servers that it leaves and goes to. */
static bool check_concerns(const struct check *c, const struct conf_backend *b)
{
    struct conf_pair pair = c->user ? conf_pair_of(c->conf, c->user) : (struct conf_pair){0};

    return !c->user || strcmp(b->name, pair.source) == 0 || strcmp(b->name, pair.target) == 0;
}

/* Takes the key; NULL: none. Nothing has been asked of a backend yet. */
static void check_set_user(struct check *c, char *key)
{
    free(c->user);
    free(c->login);
    c->user = key;
    c->login = key ? account_login(key) : NULL;
    for (size_t i = 0; i < c->n; i++) {
        bool concerns = check_concerns(c, &c->conf->backends[i]);
        if (concerns && !c->sides[i].b)
            c->sides[i] = (struct side){.c = c, .b = &c->conf->backends[i], .lines = json_array()};
        else if (!concerns)
            c->sides[i].b = NULL;
    }
}

static void check_on_named(void *owner, enum naming_rc n, enum route_rc rc)
{
    struct check *c = owner;

    (void)rc;
    if (n == NAMING_KEY) {
        check_set_user(c, c->as_key);
        c->as_key = NULL;
    } else if (n == NAMING_BOTH) {
        check_line(c, c->rest, "account", CHECK_WARNING, "\"list\" shows both.",
                   "this is of the login name %s: %s has a record too", c->login, c->as_key);
    }
    store_is_up(c);
    check_ended(c);
}

static void check_on_store(void *owner, enum store_state state, const char *detail)
{
    struct check *c = owner;

    if (c->store_ended || c->caps_read || state == STORE_CONNECTING)
        return;
    if (state == STORE_UP) {
        c->caps_read = true;
        if (c->as_key) {
            c->pending++;
            naming_ask(c->store, c->user, c->as_key, &c->naming, check_on_named, c);
        } else {
            store_is_up(c);
        }
    } else if (state == STORE_FOREIGN && store_is_at_odds(c->store)) {
        REDIS_LINE(
            c, CHECK_ERROR,
            "All programs with this configuration refuse to work: whom it sends to another server misses their mail.",
            "%s", detail);
        store_end(c);
    } else if (state == STORE_FOREIGN) {
        REDIS_LINE(
            c, CHECK_ERROR,
            "For a new site: \"imapferryctl init\", once, and check again. For one that lost its data: \"route restore\".",
            "%s", detail);
        store_end(c);
    } else {
        store_is_away(c, detail);
    }
}

static void check_on_reach(void *owner)
{
    struct check *c = owner;

    store_is_away(c, "no answer in time");
}

/* ---- the certificate that clients see ---- */

static void check_certificate(struct check *c)
{
    const struct conf_proxy *p = &c->conf->proxy;
    const char *advice = "Renew it, and send the proxies SIGHUP.";
    char *error = NULL;

    if (!*p->tls_cert || !*p->tls_key || access(p->tls_cert, R_OK) != 0 || access(p->tls_key, R_OK) != 0)
        return;
    struct tls_policy *policy = tls_policy_server(p->tls_cert, p->tls_key, p->tls_min, &error);
    int64_t left = policy ? tls_policy_ends(policy) - (int64_t)time(NULL) : 0;
    if (!policy)
        check_line(c, c->rest, "certificate", CHECK_ERROR, "See tls_cert and tls_key.", "%s", error);
    else if (left <= 0)
        check_line(c, c->rest, "certificate", CHECK_ERROR, advice,
                   "%s has ended: no client connects any more", p->tls_cert);
    else
        check_line(c, c->rest, "certificate", left < 14 * 86400 ? CHECK_WARNING : CHECK_OK,
                   left < 14 * 86400 ? advice : "", "%s ends in %lld days", p->tls_cert,
                   (long long)(left / 86400));
    tls_policy_free(&policy);
    free(error);
}

/* ---- what clients are shown ---- */

static void write_names(struct buf *out, const struct imap_caps *has, const struct imap_caps *lacks)
{
    struct imap_caps some = imap_caps_shown(has, has);

    some = imap_caps_without(&some, lacks);
    imap_caps_write(out, &some);
}

static const struct side *side_of(const struct check *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->sides[i].b && strcmp(c->sides[i].b->name, name) == 0)
            return &c->sides[i];
    return NULL;
}

static void tell_shown(struct check *c, const struct side *from, const struct side *to)
{
    struct imap_caps shown = imap_caps_shown(&from->caps.caps, &to->caps.caps);
    struct buf words = {0}, lost = {0};

    imap_caps_write(&words, &shown);
    write_names(&lost, &from->caps.caps, &shown);
    check_line(c, c->rest, "clients", CHECK_OK, "", "are shown: %s%s%s", buf_str(&words),
               lost.len ? "; and no more, since " : "", lost.len ? to->b->name : "");
    if (lost.len)
        check_line(c, c->rest, "clients", CHECK_WARNING,
                   "Programs that use it notice. See whether it can be switched on there.",
                   "are not shown what %s can do and %s can't: %s", from->b->name, to->b->name,
                   buf_str(&lost));
    buf_free(&words);
    buf_free(&lost);
}

static void check_shown(struct check *c)
{
    const struct side *from = side_of(c, c->conf->migration.source),
                      *to = side_of(c, c->conf->migration.target);

    if (!from || !to)
        return;
    if (from->caps.known && to->caps.known) {
        tell_shown(c, from, to);
        return;
    }
    check_line(
        c, c->rest, "clients", CHECK_WARNING,
        "\"imapferryctl check NAME\" with a user who exists there, a check_user, or the first sign-in tells it.",
        "are shown what the server that they are on can do, since it is not known of %s%s%s",
        from->caps.known ? "" : from->b->name, from->caps.known || to->caps.known ? "" : " and ",
        to->caps.known ? "" : to->b->name);
}

/* ---- two names of one server ---- */

static void check_pair_leads(struct check *c, const struct side *from, const struct side *to)
{
    const char *advice =
        "Everything would be \"on the new server\" at once, and be lost with the old one: correct the addresses. "
        "Migrators move nothing before that.";
    const struct address *a = &from->b->address;

    if (!from->peer || !to->peer)
        return;
    bool reached = one_server_reached(from->b, from->peer, to->b, to->peer);
    char *common = reached ? xstrdup(a->path ? a->path : from->peer) : one_server_resolved(from->b, to->b);
    if (common)
        check_line(c, c->rest, "addresses", CHECK_ERROR, advice, "%s (%s) and %s (%s) lead to one server, %s",
                   from->b->name, from->b->url, to->b->name, to->b->url, common);
    else if (one_server_is_likely(from->peer, to->peer))
        check_line(c, c->rest, "addresses", CHECK_WARNING,
                   "See that these are two servers, and not two ports of one.",
                   "%s (%s) and %s (%s) are on one address", from->b->name, from->peer, to->b->name,
                   to->peer);
    free(common);
}

static void check_pair_of(struct check *c, const char *source, const char *target)
{
    const struct side *from = side_of(c, source), *to = side_of(c, target);

    if (from && to)
        check_pair_leads(c, from, to);
}

static void check_pairs(struct check *c)
{
    const struct conf *conf = c->conf;
    struct conf_pair own = c->user ? conf_pair_of(conf, c->user)
                                   : (struct conf_pair){conf->migration.source, conf->migration.target};

    check_pair_of(c, own.source, own.target);
    for (size_t i = 0; i < conf->n_rules && !c->user; i++)
        if (strcmp(conf->rules[i].source, own.source) || strcmp(conf->rules[i].target, own.target))
            check_pair_of(c, conf->rules[i].source, conf->rules[i].target);
}

/* ---- the end ---- */

static void check_join(json_t *all, json_t *lines)
{
    if (lines)
        json_array_extend(all, lines);
}

static void check_on_task(struct loop_task *task)
{
    struct check *c = CONTAINER_OF(task, struct check, task);
    json_t *data = json_object(), *lines = json_array(), *exists = json_object();

    timer_stop(c->all);
    check_pairs(c);
    if (!c->login)
        check_shown(c);
    check_join(lines, c->redis);
    for (size_t i = 0; i < c->n; i++) {
        check_join(lines, c->sides[i].lines);
        if (c->sides[i].exists)
            json_object_set(exists, c->sides[i].b->name, c->sides[i].exists);
    }
    check_join(lines, c->rest);
    json_object_set_new(data, "ok", json_boolean(c->errors == 0));
    if (c->user) {
        json_object_set_new(data, "user", json_text(span_str(c->user)));
        json_object_set(data, "exists", exists);
    }
    json_object_set_new(data, "checks", lines);
    json_decref(exists);
    c->fn(c->owner, c->errors == 0, data);
    json_decref(data);
}

static void drop_asking(struct asking *a)
{
    backend_login_cancel(&a->login);
    stream_close(&a->stream, false);
}

static void drop_side(struct side *s)
{
    drop_asking(&s->first);
    drop_asking(&s->master);
    for (size_t i = 0; i < HELD_MOST; i++) {
        drop_asking(&s->plain.all[i]);
        drop_asking(&s->signed_in.all[i]);
    }
}

/* What has not ended by now does not. */
static void on_all(void *owner)
{
    struct check *c = owner;

    for (size_t i = 0; i < c->n; i++) {
        struct side *s = &c->sides[i];
        if (s->b && (s->first.login || s->master.login || s->plain.ended < s->plain.n ||
                     s->signed_in.ended < s->signed_in.n))
            SIDE_LINE(s, CHECK_ERROR, "See whether the server is overloaded, and its log.",
                      "not all was answered within %d seconds", CHECK_ALL_MS / 1000);
        drop_side(s);
        store_forget(c->store, s);
    }
    naming_cancel(&c->naming);
    store_forget(c->store, c);
    loop_defer(c->loop, &c->task);
}

struct check *check_start(const struct check_request *r, check_fn fn, void *owner)
{
    struct check *c = xcalloc(1, sizeof(*c));
    const char *why;

    *c = (struct check){
        .loop = r->loop, .conf = r->conf, .fn = fn, .owner = owner, .n = r->conf->n_backends, .pending = 1};
    c->task.fn = check_on_task;
    c->redis = json_array();
    c->rest = json_array();
    c->sides = xcalloc(c->n, sizeof(*c->sides));
    c->as_key = r->login ? naming_as_key(r->conf, r->login) : NULL;
    check_set_user(c, r->login ? account_key(r->conf, span_str(r->login), &why) : NULL);
    if (c->as_key && c->user && !strcmp(c->as_key, c->user)) {
        free(c->as_key);
        c->as_key = NULL;
    }
    c->reach = timer_new(c->loop, check_on_reach, c);
    c->all = timer_new(c->loop, on_all, c);
    timer_start(c->reach, CHECK_STORE_MS + CHECK_TELLS_MS);
    timer_start(c->all, CHECK_ALL_MS);
    if (!c->login)
        check_certificate(c);
    c->store = store_new(c->loop, c->conf, CHECK_STORE_MS, check_on_store, c);
    return c;
}

void check_free(struct check **cp)
{
    struct check *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    loop_undefer(c->loop, &c->task);
    naming_cancel(&c->naming);
    free(c->as_key);
    for (size_t i = 0; i < c->n; i++) {
        struct side *s = &c->sides[i];
        drop_side(s);
        tls_policy_free(&s->tls);
        free(s->peer);
        free(s->plain.refusal);
        free(s->signed_in.refusal);
        json_decref(s->lines);
        json_decref(s->exists);
    }
    recall_cancel(&c->recall);
    store_free(&c->store);
    timer_free(&c->reach);
    timer_free(&c->all);
    json_decref(c->redis);
    json_decref(c->rest);
    free(c->sides);
    free(c->user);
    free(c->login);
    free(c);
}
