#include <stdlib.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "migrator/site/crew.h"
#include "migrator/site/one_server.h"

#include "check_priv.h"

enum { CHECK_SLOW_MS = 2000 /* for a sign-in */ };

static void on_held(struct stream *stream, enum stream_event ev, void *owner);

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

    check_take(a, r, on_held);
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
    if (!s->c->serving)
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

/* What a copy sets off there. */
static void check_events(struct side *s, const struct imap_caps *caps)
{
    if (check_is_target(s->c, s->b) && imap_caps_has(caps, CAP_IMAPSIEVE))
        SIDE_LINE(
            s, CHECK_WARNING,
            "Let no script there act on APPEND while accounts are moved, or only in mailboxes that are excluded: it could forward, "
            "answer or move mail of years ago.",
            "it may run Sieve scripts on messages that come by IMAP (IMAPSIEVE), as copies do");
}

/* What a user may be shown of it, and where it goes. */
static void check_learned(struct side *s, const struct imap_caps *caps, enum caps_by by)
{
    struct imap_caps shown = imap_caps_shown(caps, caps);
    struct buf words = {0};

    imap_caps_write(&words, &shown);
    SIDE_LINE(s, CHECK_OK, "", "can do: %s", buf_str(&words));
    buf_free(&words);
    if (s->c->doctor && check_is_target(s->c, s->b))
        check_quotas(s, caps);
    check_events(s, caps);
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

/* Dovecot makes an address wait from which wrong passwords came: 2 s, then twice as long, up to 15 s. */
static void check_slow(struct side *s, const struct asking *a)
{
    uint64_t ms = clock_boot_ms() - a->began_ms;

    if (ms >= CHECK_SLOW_MS)
        SIDE_LINE(
            s, CHECK_WARNING,
            "A Dovecot answers late where wrong passwords have come from the same address, and all users come from the proxies': "
            "list the proxies in its login_trusted_networks (conf/dovecot-proxied.conf), so that it knows users apart.",
            "a sign-in that was right took %llu.%llu s", (unsigned long long)ms / 1000,
            (unsigned long long)ms / 100 % 10);
}

static void check_on_master(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct side *s = a->side;

    check_take(a, r, on_held);
    check_part(a);
    s->master_good = r->rc == LOGIN_OK;
    if (r->rc != LOGIN_OK) {
        master_failed(s, r);
    } else {
        SIDE_LINE(s, CHECK_OK, "", "master_user %s signed in%s%s", s->b->master_user,
                  check_for_itself(s) ? "" : " for ", check_for_itself(s) ? "" : s->master_as);
        check_learned(s, &r->caps, check_for_itself(s) ? CAPS_BY_MASTER : CAPS_BY_USER);
        check_slow(s, a);
    }
    check_numbers(s, r->rc == LOGIN_OK ? &r->caps : NULL);
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
        check_numbers(s, NULL);
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

    check_take(a, r, on_held);
    check_part(a);
    json_decref(s->exists);
    s->exists = r->rc == LOGIN_OK ? json_true() : json_null();
    if (r->rc == LOGIN_OK) {
        SIDE_LINE(s, CHECK_OK, "", "%s exists: master_user %s signed in for them", login, s->b->master_user);
        check_learned(s, &r->caps, CAPS_BY_USER);
        check_slow(s, a);
    } else if (r->rc == LOGIN_REFUSED || strcmp(r->phase, "sign_in") == 0 ||
               strcmp(r->phase, "proxyauth") == 0) {
        s->exists = json_false();
        if (s->b->provision.n > 0 && check_is_target(s->c, s->b))
            SIDE_LINE(s, CHECK_WARNING,
                      "provision is run before anything is copied, and has to make the account.",
                      "%s can't be signed in for yet: %s", login, r->detail);
        else
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

    if (!s->each)
        SIDE_LINE(s, CHECK_OK, "", "%s answers%s", s->b->urls.items[0],
                  address_has_tls(&s->b->address) ? ", its certificate is good" : "");
    if (!address_has_tls(&s->b->address) && !check_is_local(&s->b->address))
        SIDE_LINE(s, CHECK_WARNING, "Use imaps:// or imap+starttls:// where the server can.",
                  "passwords and mail go there unencrypted");
    if (disabled && !plain)
        SIDE_LINE(s, CHECK_ERROR,
                  "It may want TLS first (imap+starttls://), or an administrator to allow AUTH=PLAIN.",
                  "it takes no password here (LOGINDISABLED)");
    check_tokens(s, &r->caps);
}

/* ---- each of several addresses ---- */

static const char *check_each_url(const struct asking *a)
{
    return a->side->b->urls.items[a - a->side->each];
}

/* The first one that answers is what the rest is asked of. */
static void check_on_each(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct side *s = a->side;

    check_take(a, r, on_held);
    check_part(a);
    if (r->rc == LOGIN_OK)
        SIDE_LINE(s, CHECK_OK, "", "%s answers%s", check_each_url(a),
                  address_has_tls(&s->b->address) ? ", its certificate is good" : "");
    else
        SIDE_LINE(s, CHECK_ERROR, advice_of(s, r), "%s: %s (%s)", check_each_url(a), r->detail, r->phase);
    check_ended(s->c);
}

static void check_each(struct side *s)
{
    const struct address *a;

    if (s->b->n_others == 0)
        return;
    s->n_each = s->b->urls.n;
    s->each = xcalloc(s->n_each, sizeof *s->each);
    for (size_t i = 0; (a = backend_address(s->b, i)); i++) {
        char *place = a->path ? xstrdup(a->path)
                              : xasprintf(strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host, a->port);
        check_ask_place(&s->each[i], s, s->b, place, CHECK_ANSWER_MS, LOGIN_AS_NOBODY, NULL, check_on_each);
        free(place);
    }
}

static void on_first(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct side *s = a->side;

    check_take(a, r, on_held);
    if (a->stream)
        s->peer = xstrdup(stream_peer(a->stream));
    check_part(a);
    if (r->rc != LOGIN_OK) {
        check_header_after(s, r, advice_of(s, r));
    } else if (s->c->login) {
        try_account(s);
    } else {
        check_connected(s, r);
        check_header_confirm(s);
        try_master(s);
    }
    check_ended(s->c);
}

static void side_start(struct side *s)
{
    char *error = NULL;

    if (s->b->retired) { /* and so it may be off */
        SIDE_LINE(s, CHECK_OK, "", "is retired, and is not looked at");
        return;
    }
    if (backend_has_tls(s->b) && !(s->tls = tls_policy_backend(s->b, &error)))
        SIDE_LINE(s, CHECK_ERROR, "See ca_file.", "%s", error);
    else
        check_ask(&s->first, s, LOGIN_AS_NOBODY, NULL, on_first);
    if (!error && !s->c->login)
        check_each(s);
    free(error);
}

void check_sides_start(struct check *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->sides[i].b)
            side_start(&c->sides[i]);
    check_pop3(c);
}

/* ---- which servers, and the end ---- */

/* One account concerns the servers that it leaves and goes to. */
static bool check_concerns(const struct check *c, const struct conf_backend *b)
{
    struct conf_pair pair = c->user ? conf_pair_of(c->conf, c->user) : (struct conf_pair){0};

    return !c->user || strcmp(b->name, pair.source) == 0 || strcmp(b->name, pair.target) == 0;
}

void check_set_user(struct check *c, char *key)
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

void check_side_drop(struct side *s)
{
    check_drop_asking(&s->first);
    check_drop_asking(&s->master);
    check_drop_asking(&s->replica);
    check_numbers_drop(s);
    check_header_drop(s);
    for (size_t i = 0; i < s->n_each; i++)
        check_drop_asking(&s->each[i]);
    free(s->each);
    s->each = NULL;
    s->n_each = 0;
    for (size_t i = 0; i < HELD_MOST; i++) {
        check_drop_asking(&s->plain.all[i]);
        check_drop_asking(&s->signed_in.all[i]);
    }
}
