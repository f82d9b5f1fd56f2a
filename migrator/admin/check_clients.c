#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/sasl.h"
#include "lib/xalloc.h"

#include "migrator/site/one_server.h"

#include "check_priv.h"

/* ---- the certificates that clients see ---- */

static void check_term(struct check *c, const struct tls_term *term)
{
    const char *advice = "Renew it, and send the proxies SIGHUP.";
    int64_t left = term->ends - (int64_t)time(NULL);

    if (left <= 0)
        check_line(c, c->rest, "certificate", CHECK_ERROR, advice,
                   "%s has ended: no client connects any more", term->file);
    else
        check_line(c, c->rest, "certificate", left < 14 * 86400 ? CHECK_WARNING : CHECK_OK,
                   left < 14 * 86400 ? advice : "", "%s ends in %lld days", term->file,
                   (long long)(left / 86400));
}

/* The proxies' files may be on other machines. */
static bool certificates_are_here(const struct conf_proxy *p)
{
    char *cert, *key;
    bool here = *p->tls_cert && *p->tls_key;

    for (size_t i = 0; here && conf_certificate(p, i, &cert, &key); i++) {
        here = access(cert, R_OK) == 0 && access(key, R_OK) == 0;
        free(cert);
        free(key);
    }
    return here;
}

void check_certificates(struct check *c)
{
    const struct conf_proxy *p = &c->conf->proxy;
    struct tls_term term;
    char *error = NULL;

    if (!certificates_are_here(p))
        return;
    struct tls_policy *policy = tls_policy_server(p, NULL, &error);
    if (!policy)
        check_line(c, c->rest, "certificate", CHECK_ERROR, "See tls_cert, tls_key and tls_certs.", "%s",
                   error);
    for (size_t i = 0; policy && tls_policy_term(policy, i, &term); i++)
        check_term(c, &term);
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

const struct side *check_side_of(const struct check *c, const char *name)
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

void check_shown(struct check *c)
{
    const struct side *from = check_side_of(c, c->conf->migration.source),
                      *to = check_side_of(c, c->conf->migration.target);

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

/* ---- how they may sign in ---- */

static const struct sasl_mechanism *token_of_clients(const struct conf_proxy *p)
{
    for (const struct sasl_mechanism *m = sasl_mechanisms; m->name; m++)
        if (m->kind == SASL_TOKEN && conf_offers(p, m))
            return m;
    return NULL;
}

/* A token goes by either of the mechanisms for one; a password finds its way to each server. */
void check_tokens(struct side *s, const struct imap_caps *caps)
{
    const struct sasl_mechanism *m = token_of_clients(&s->c->conf->proxy);

    if (!m || *s->b->auth_backend || sasl_choose(&(struct credential){.mechanism = m}, caps))
        return;
    SIDE_LINE(
        s, CHECK_WARNING,
        "Have the server take tokens (auth_mechanisms in Dovecot, with a passdb for them), or take their mechanisms out of "
        "the option: their users can't sign in here, and an open session of theirs is not handed over.",
        "takes no token (neither OAUTHBEARER nor XOAUTH2), and the proxy's mechanisms names %s", m->name);
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
                   from->b->name, from->b->urls.items[0], to->b->name, to->b->urls.items[0], common);
    else if (one_server_is_likely(from->peer, to->peer))
        check_line(c, c->rest, "addresses", CHECK_WARNING,
                   "See that these are two servers, and not two ports of one.",
                   "%s (%s) and %s (%s) are on one address", from->b->name, from->peer, to->b->name,
                   to->peer);
    free(common);
}

static void check_pair_of(struct check *c, const char *source, const char *target)
{
    const struct side *from = check_side_of(c, source), *to = check_side_of(c, target);

    if (from && to)
        check_pair_leads(c, from, to);
}

void check_each_pair(struct check *c, void (*fn)(struct check *c, const char *source, const char *target))
{
    const struct conf *conf = c->conf;
    struct conf_pair own = c->user ? conf_pair_of(conf, c->user)
                                   : (struct conf_pair){conf->migration.source, conf->migration.target};

    fn(c, own.source, own.target);
    for (size_t i = 0; i < conf->n_rules && !c->user; i++)
        if (strcmp(conf->rules[i].source, own.source) || strcmp(conf->rules[i].target, own.target))
            fn(c, conf->rules[i].source, conf->rules[i].target);
}

void check_pairs(struct check *c)
{
    check_each_pair(c, check_pair_of);
}
