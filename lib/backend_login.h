/* backend_login: the dialog from a dialled backend to an authenticated connection: greeting, CAPABILITY, STARTTLS
 * where the address says so (RFC 3501 6.2.1; refused when not offered: nothing secret is ever sent before TLS where
 * TLS was configured), ID, sign-in, CAPABILITY again unless it stands in the tagged OK.
 *
 *   GREETING -> CAPS -> [STARTTLS -> SECURING -> CAPS2] -> [ID] -> AUTH -> [PROXYAUTH] -> [CAPS_AFTER] -> done
 *
 * One deadline (connect_timeout) for the dial, one (backend_timeout) for each state. Nothing is pipelined behind a
 * sign-in command (some servers lose it). */
#ifndef IMAPFERRY_BACKEND_LOGIN_H
#define IMAPFERRY_BACKEND_LOGIN_H

#include "dial.h"
#include "imap_caps.h"
#include "options.h"

enum login_rc {
    LOGIN_OK,
    LOGIN_REFUSED,     /* the backend said NO to the credentials: its code is in code */
    LOGIN_UNAVAILABLE, /* unreachable, BYE, NO [UNAVAILABLE], timeout, protocol error: not the user's fault */
    LOGIN_INSECURE,    /* TLS failed or was not offered; no credentials were sent */
};

enum login_as {
    LOGIN_AS_USER,   /* user and secret as given: AUTHENTICATE PLAIN where offered (SASL-IR too), else LOGIN */
    LOGIN_AS_MASTER, /* sign_in of the backend, with its master account, on behalf of user */
};

struct login_request {
    const struct conf_backend *backend; /* must live until the callback */
    struct tls_policy *policy;          /* of the backend; may be NULL for plain schemes */
    enum login_as as;
    const char *user;
    const char *secret;      /* LOGIN_AS_USER: the password; copied, wiped when done */
    const char *client_ip;   /* for ID x-originating-ip, NULL = do not send */
    const char *session_id;  /* for ID x-session-id, NULL = none */
    struct stream_limits limits;
    uint64_t connect_timeout_ms, step_timeout_ms;
};

struct login_result {
    enum login_rc rc;
    struct stream *stream; /* LOGIN_OK: taken by the callee. Unread bytes that followed the tagged OK are still in it */
    struct imap_caps caps; /* LOGIN_OK: after sign-in */
    const char *code;      /* RFC 5530 code of a refusal, "" = none; borrowed */
    const char *detail;    /* for a log; borrowed, never a secret */
    const char *phase;     /* the state it ended in, for a log */
};

struct backend_login;
typedef void (*backend_login_fn)(void *owner, const struct login_result *result);

/* Copies what it needs of the request, but for backend and policy. Never calls back before it returned. */
struct backend_login *backend_login_start(struct loop *l, const struct login_request *request, backend_login_fn fn,
                                          void *owner);
void backend_login_cancel(struct backend_login **b);

#endif
