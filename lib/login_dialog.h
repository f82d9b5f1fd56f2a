/* login_dialog: what sign-ins at a backend have in common, whatever the protocol: the way there, what may be told of it, and
 * how it ends.
 *
 * It is embedded in the sign-in, which reads and writes what stands here as its own. Nothing is told while an event is dealt
 * with: who finds the end says so by login_dialog_finish(), and goes back; behind the event login_dialog_ended() is asked whether
 * that was it. */
#ifndef IMAPFERRY_LOGIN_DIALOG_H
#define IMAPFERRY_LOGIN_DIALOG_H

#include "backend_login.h"

enum { LOGIN_CODE_MAX = 32 };

struct login_dialog {
    const struct conf_backend *backend; /* borrowed */
    struct tls_policy *policy;          /* borrowed */
    enum login_as as;
    struct credential credential; /* the user's, or the master's password; owned */
    char *user, *session_id;      /* owned */
    uint64_t step_timeout_ms;
    backend_login_fn fn;
    void *owner; /* borrowed */
    uint64_t began_ns;

    struct reach *reach; /* owned */
    struct stream *s;    /* owned; NULL: it is dialling */
    bool
        answered; /* the server at this address does what it should, as far as can be seen before a sign-in */

    struct buf sasl;         /* the base64 message of AUTHENTICATE or AUTH */
    const char *acknowledge; /* of a token: what answers the "+" that says why it is refused */
    bool refused;            /* ... which has come */
    struct buf challenge;    /* ... with this JSON object; empty: with none */

    bool ended; /* with this: */
    enum login_rc rc;
    char code[LOGIN_CODE_MAX];
    char *detail; /* owned */
};

/* Begins to dial, to the addresses of the backend, or to this one alone where only is not NULL. fn and owner: whom reach.h tells;
 * told: who is told the end. */
void login_dialog_begin(struct login_dialog *d, struct loop *l, const struct login_request *r,
                        const struct address *only, reach_fn fn, void *owner, backend_login_fn told,
                        void *told_owner);
/* Frees what it owns. */
void login_dialog_free(struct login_dialog *d);
/* Wipes the message, and what waits for an answer to it. */
void login_dialog_wipe(struct login_dialog *d);

/* The server answers as one should: from here on no other address is tried. */
void login_dialog_answered(struct login_dialog *d);
/* Takes detail. A second end does not count. */
void login_dialog_finish(struct login_dialog *d, enum login_rc rc, char *detail);
void login_dialog_protocol_error(struct login_dialog *d, const char *what);
/* The end where no connection is to be had: as reach.h tells it. */
void login_dialog_unreachable(struct login_dialog *d, enum dial_rc rc, const char *detail);
/* How long the server may take in a state: not for long where another address may be better. */
uint64_t login_dialog_step_ms(const struct login_dialog *d);
/* Where no greeting has come for so long, that is told, or the next address tried. 0: never. */
uint64_t login_dialog_patience_ms(const struct login_dialog *d);
/* It ended before anything secret was sent: true: another address is dialled, and all is as before the first greeting. */
bool login_dialog_goes_on(struct login_dialog *d) MUST_CHECK;
/* What is kept of the address is dropped: the next one is on its way. */
void login_dialog_begin_anew(struct login_dialog *d);

/* The end is told. free_all: frees the sign-in that d is a part of. phase and caps as in struct login_result. */
void login_dialog_conclude(struct login_dialog *d, const char *phase, const struct imap_caps *caps,
                           void (*free_all)(void *sign_in), void *sign_in);

/* ---- what a backend says, as a text for a log; to free ---- */

/* Some servers repeat a command in their error: a text with the secret in it is left out. */
char *login_dialog_quote(const struct login_dialog *d, const char *what, struct span text);
/* The server says why it does not take the token, and waits for an answer before it refuses. */
void login_dialog_take_challenge(struct login_dialog *d, struct span text);
/* With why a token is refused. Takes detail. */
char *login_dialog_quote_challenge(const struct login_dialog *d, char *detail);

#endif
