/* preauth: what a client may say before it has signed in (DESIGN.md section 7). One table of verbs rules what
 * is allowed when, and dispatches. Nothing that a client says here reaches a backend but a name and a
 * password, which are written anew.
 *
 * A proxy in front of us says so by ID: x-proxy-ttl is how many proxies may still follow (LIMIT_HOPS where
 * nobody says, one less at each), and x-proxy-site the id of the store that it works with. Where that is our
 * own, a backend's address leads back to the site: logins on such a connection are [UNAVAILABLE], and the log
 * says `proxy_loop`. */
#ifndef IMAPFERRY_PREAUTH_H
#define IMAPFERRY_PREAUTH_H

#include "session.h"

/* What ID is answered with, before and after login: a client learns nothing of the server behind. */
#define PREAUTH_ID "* ID (\"name\" \"imapferry\")"

#define PREAUTH_ID_EXPECTED "Expected ID NIL or ID with a list of at most 30 pairs of strings"

struct preauth;
void preauth_free(struct session *s);

/* Greets; the session is in NEW. */
void preauth_greet(struct session *s);
/* TLS is there after STARTTLS: all that was said before is forgotten (RFC 3501 6.2.1). */
void preauth_secured(struct session *s);
/* STREAM_DATA in PREAUTH. */
void preauth_data(struct session *s);
/* STREAM_DRAINED before RELAY: the client has taken its answers, and is read again. */
void preauth_drained(struct session *s);
/* What was said goes out now, before anything else is sent. */
void preauth_flush(struct session *s);
/* A token was refused, and nobody was told: in REFUSED, the client is told why by a last challenge with this text
 * (RFC 7628 3.2.2), and once it has answered that, NO with this code and text, which are never freed. Then as
 * preauth_login_failed(). */
void preauth_challenge(struct session *s, const char *why, const char *code, const char *text);
/* A login failed and the client was told: back to PREAUTH, or the end where it was one too many. */
void preauth_login_failed(struct session *s);

#endif
