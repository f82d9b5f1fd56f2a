#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/base64.h"
#include "lib/buf_room.h"

#include "preauth_priv.h"
#include "proxy.h"
#include "routing.h"

/* Who has shown no certificate is not offered to sign in by it. */
static bool preauth_offers(const struct session *s, const struct sasl_mechanism *m)
{
    struct tls_peer peer;
    if (!conf_offers(&s->proxy->conf->proxy, m))
        return false;
    if (m->kind != SASL_CERTIFICATE)
        return true;
    if (!s->asks || !stream_peer_certificate(s->client, &peer))
        return false;
    tls_peer_free(&peer);
    return true;
}

void preauth_add_mechanisms(const struct session *s, struct imap_caps *c)
{
    const struct conf_proxy *conf = &s->proxy->conf->proxy;
    bool may = session_may_login(s);
    if (!may || !conf_takes_passwords(conf))
        imap_caps_add(c, CAP_LOGINDISABLED);
    for (const struct sasl_mechanism *m = sasl_mechanisms; may && m->name; m++)
        if (preauth_offers(s, m))
            imap_caps_add(c, m->cap);
}

/* ---- a login that may begin ---- */

static void preauth_go_on(struct session *s)
{
    session_enter(s, IN_PREAUTH);
    if (s->client_eof && stream_peek(s->client).len == 0)
        session_close(s, END_CLIENT_GONE, NULL);
    else
        stream_again(s->client);
}

void preauth_login_failed(struct session *s)
{
    if (++s->preauth->failed_logins >= s->proxy->conf->proxy.login_tries)
        session_close(s, END_LOGIN_TRIES, NULL);
    else
        preauth_go_on(s);
}

void preauth_challenge(struct session *s, const char *why, const char *code, const char *text)
{
    struct buf coded = {0};
    base64_encode(&coded, span_str(why));
    session_say(s, "+ %s", buf_str(&coded));
    buf_free(&coded);
    s->preauth->expects = SASL_END;
    s->preauth->refusal = code;
    s->preauth->refusal_text = text;
    preauth_go_on(s);
}

static void preauth_sign_in(struct session *s, const struct credential *c)
{
    bool named = login_name_ok(c->authcid, ACCOUNT_LOGIN_MAX) &&
                 (c->authzid.len == 0 || login_name_ok(c->authzid, ACCOUNT_LOGIN_MAX));
    if (!named) {
        preauth_say_refused(s, BAD,
                            "Expected a name of at most 512 bytes of UTF-8 without control characters");
    } else if (c->mechanism->kind == SASL_PASSWORD && !login_password_ok(c->secret, LIMIT_PASSWORD)) {
        preauth_say_refused(s, BAD, "Expected a password of at most 4096 bytes without control characters");
    } else {
        s->preauth->bad_in_row = 0;
        routing_begin(s, s->preauth->cmd.tag, c);
    }
}

void preauth_run_login(struct session *s, const struct imap_value *args)
{
    struct credential c = {.mechanism = SASL_PLAIN};
    const struct imap_value *second = imap_value_at(args, 1);
    if (!args || !second || second->next || !imap_value_string(args, &c.authcid) ||
        !imap_value_string(second, &c.secret))
        preauth_say_expected(s);
    else
        preauth_sign_in(s, &c);
}

static void authenticate_refuse_message(struct session *s)
{
    char text[128];
    snprintf(text, sizeof text, "Expected base64 of %s", s->preauth->mechanism->expected);
    preauth_say_refused(s, BAD, text);
}

/* ---- EXTERNAL ---- */

static bool certificate_means(const struct conf *c, const char *name, struct span authzid)
{
    const char *why;
    char *a = account_key(c, span_str(name), &why), *b = account_key(c, authzid, &why);
    bool same = a && b && strcmp(a, b) == 0;
    free(a);
    free(b);
    return same;
}

/* The login name: of several, the one that the client asks for, else the first; and it may ask for somebody else
 * (masters). False: the certificate has none. */
static bool certificate_name(const struct conf *c, const struct tls_peer *peer, struct credential *own)
{
    bool common = c->proxy.tls_client_name == CLIENT_NAME_COMMON;
    size_t n = common ? *peer->common_name != '\0' : peer->n_emails;
    for (size_t i = 0; i < n; i++) {
        const char *name = common ? peer->common_name : peer->emails[i];
        bool meant = own->authzid.len == 0 || certificate_means(c, name, own->authzid);
        if (meant || i == 0)
            own->authcid = span_str(name);
        if (meant) {
            own->authzid = span_of(NULL, 0);
            break;
        }
    }
    return n > 0;
}

static void sign_in_by_certificate(struct session *s, struct credential *c)
{
    struct tls_peer peer;
    if (!stream_peer_certificate(s->client, &peer)) {
        preauth_say_refused(s, "NO [CANNOT]", "This mechanism is not offered");
        return;
    }
    if (certificate_name(s->proxy->conf, &peer, c))
        preauth_sign_in(s, c);
    else
        preauth_say_refused(s, "NO [AUTHENTICATIONFAILED]", "The certificate has no login name");
    tls_peer_free(&peer);
}

/* ---- AUTHENTICATE ---- */

/* The message is whole. */
static void authenticate_take_message(struct session *s)
{
    struct credential c;
    if (!sasl_parse(s->preauth->mechanism, &s->preauth->message, &c))
        authenticate_refuse_message(s);
    else if (c.mechanism->kind == SASL_CERTIFICATE)
        sign_in_by_certificate(s, &c);
    else
        preauth_sign_in(s, &c);
}

static void authenticate_forget(struct session *s)
{
    if (s->preauth)
        buf_wipe(&s->preauth->message);
}

static void authenticate_ask(struct session *s)
{
    struct preauth *p = s->preauth;
    p->expects = SASL_RESPONSE;
    session_say(s, "+ %s", p->mechanism->prompts[p->answers]);
}

/* text: base64 of an answer. */
static void authenticate_take_answer(struct session *s, struct span text)
{
    struct preauth *p = s->preauth;
    bool is_last = !p->mechanism->prompts[p->answers + 1];
    buf_room(&p->message, text.len + 1); /* nothing moves, so nothing is left behind */
    if (!base64_decode(&p->message, text)) {
        authenticate_refuse_message(s);
    } else if (is_last) {
        authenticate_take_message(s);
    } else {
        buf_add(&p->message, "", 1);
        p->answers++;
        authenticate_ask(s);
        return;
    }
    authenticate_forget(s);
}

void preauth_run_authenticate(struct session *s, const struct imap_value *args)
{
    struct preauth *p = s->preauth;
    struct span initial;
    const struct imap_value *second = imap_value_at(args, 1);
    bool is_atom = args && args->kind == IMAP_ATOM;
    p->mechanism = is_atom ? sasl_find(args->text) : NULL;
    p->answers = 0;
    buf_wipe(&p->message);
    if (!is_atom)
        preauth_say_expected(s);
    else if (!p->mechanism || !preauth_offers(s, p->mechanism))
        preauth_say_refused(s, "NO [CANNOT]", "This mechanism is not offered");
    else if (!second)
        authenticate_ask(s);
    else if (second->next || second->kind != IMAP_ATOM || !imap_value_string(second, &initial))
        preauth_say_expected(s);
    else
        authenticate_take_answer(s, span_is(initial, "=") ? span_of(NULL, 0) : initial); /* RFC 4959 3 */
}

/* RFC 7628 3.2.3, RFC 3501 6.2.2 */
static void authenticate_end(struct session *s, bool cancelled)
{
    struct preauth *p = s->preauth;
    if (cancelled)
        session_say(s, "%s BAD Authentication was cancelled", p->cmd.tag);
    else
        session_say(s, "%s NO [%s] %s", p->cmd.tag, p->refusal, p->refusal_text);
    preauth_login_failed(s);
}

void preauth_take_response(struct session *s, const struct imap_line_item *item)
{
    bool is_end = s->preauth->expects == SASL_END;
    s->preauth->expects = COMMAND;
    if (item->literal) {
        session_close(s, END_BAD_LINE, "literal in a SASL response");
        return;
    }
    if (is_end) {
        authenticate_end(s, span_is(item->text, "*"));
        return;
    }
    if (!span_is(item->text, "*")) {
        authenticate_take_answer(s, item->text);
        return;
    }
    authenticate_forget(s);
    preauth_say_refused(s, BAD, "Authentication was cancelled");
}
