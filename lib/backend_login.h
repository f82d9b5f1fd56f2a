/* backend_login: the dialog from a backend to an authenticated connection, by one of its addresses (reach.h): greeting, CAPABILITY,
 * STARTTLS where the address says so (RFC 3501 6.2.1; refused when not offered: nothing secret is ever sent
 * before TLS where TLS was configured), ID, sign-in, CAPABILITY again unless it stands in the tagged OK.
 *
 * | state      | sends              | waits for                                | leaves to                          |
 * |------------|--------------------|------------------------------------------|------------------------------------|
 * | DIALING    |                    | the end of the dial (connect_timeout)    | GREETING                           |
 * | GREETING   |                    | * OK                                     | CAPS; or as CAPS where it has them |
 * | CAPS       | CAPABILITY         | tagged OK                                | STARTTLS, ID, AUTH                 |
 * | STARTTLS   | STARTTLS           | tagged OK, and nothing behind it         | SECURING                           |
 * | SECURING   | a handshake        | STREAM_SECURE                            | CAPS2                              |
 * | CAPS2      | CAPABILITY         | tagged OK (what was known is forgotten)  | ID, AUTH                           |
 * | ID         | ID, where offered  | the tagged answer, whatever it is; not   | AUTH                               |
 * |            |                    | where the request pipelines              |                                    |
 * | AUTH       | AUTHENTICATE or    | "+" for each piece of it, tagged OK; of  | PROXYAUTH, CAPS_AFTER, or as that  |
 * |            | LOGIN              | a token, one more "+" that tells why it  |                                    |
 * |            |                    | is refused, and is acknowledged          |                                    |
 * | PROXYAUTH  | PROXYAUTH user     | tagged OK                                | CAPS_AFTER, or as that             |
 * | CAPS_AFTER | CAPABILITY         | tagged OK                                | ID_AFTER, COMPRESS, done           |
 * | ID_AFTER   | ID, where offered  | the tagged answer, whatever it is        | COMPRESS, done                     |
 * |            | and forward_id     |                                          |                                    |
 * |            | says so            |                                          |                                    |
 * | COMPRESS   | COMPRESS DEFLATE   | the tagged answer, whatever it is        | done                               |
 *
 * Where the connection fails in one of the states before ID, it begins anew with the next address of the backend, as long as the
 * two time-outs together are not over; while there is another that is not known to be dead, each of these states may last
 * 5 s, or a third of step_timeout. Behind that an address has answered, and what it says holds.
 *
 * Where the backend has proxy_protocol, the connection begins with a PROXY header, before TLS.
 *
 * Each state but DIALING has step_timeout, for all of it and not for each line, a cap on the length of a
 * line, and one on the number of untagged lines. Where no greeting has come for 5 s, or for a third of
 * step_timeout, the log says so, and what that may mean. In each state a BYE, the end of the connection, its
 * breaking, a wrong tag and what can't be parsed end the dialog as LOGIN_UNAVAILABLE (LOGIN_INSECURE where
 * TLS is at fault). A greeting of PREAUTH is refused: nobody can tell as whom it signs in. Nothing is
 * pipelined behind a sign-in command, since some servers lose it. Only ID is pipelined ahead of it, where the
 * request says so and the sign-in needs no "+" (SASL-IR, RFC 4959): one round trip less. Tags are random, so
 * that an answer that was sent before its command does not count.
 *
 * COMPRESS is asked for where the request wants it and the backend offers it (RFC 4978); a refusal costs
 * nothing.
 *
 * NO to a sign-in is LOGIN_REFUSED, unless its code says that the user is not at fault: UNAVAILABLE, INUSE,
 * LIMIT, SERVERBUG, CONTACTADMIN (RFC 5530), REFERRAL (RFC 2221). BAD is LOGIN_UNAVAILABLE.
 * "User is authenticated but not connected" in any of them is LOGIN_REFUSED: Exchange says so after wrong
 * credentials.
 *
 * A REFERRAL is followed, twice at most, to another address of the same backend, where the sign-in begins anew with the
 * same credentials. One to anywhere else, another backend among them, is LOGIN_UNAVAILABLE: which backend an account
 * lives on is what its route says, and nothing that a server says. */
#ifndef IMAPFERRY_BACKEND_LOGIN_H
#define IMAPFERRY_BACKEND_LOGIN_H

#include "imap_caps.h"
#include "options.h"
#include "proxyproto.h"
#include "reach.h"
#include "sasl.h"

enum login_rc {
    LOGIN_OK,
    LOGIN_REFUSED,     /* the backend said NO to the credentials: its code is in code */
    LOGIN_UNAVAILABLE, /* unreachable, BYE, NO [UNAVAILABLE], timeout, protocol error: not the user's fault */
    LOGIN_INSECURE,    /* TLS failed or was not offered; no credentials were sent */
    /* the backend offers no mechanism for a credential that is no password, which was not sent */
    LOGIN_NO_MECHANISM,
};

enum login_as {
    /* with the credential: AUTHENTICATE where its mechanism, or another for such a secret, is offered (SASL-IR too);
     * else, of a password, LOGIN */
    LOGIN_AS_USER,
    LOGIN_AS_MASTER, /* sign_in of the backend, with its master account, on behalf of user */
    /* not at all: LOGIN_OK where a sign-in would begin, with the capabilities from before it */
    LOGIN_AS_NOBODY,
};

struct login_request {
    const struct conf_backend *backend; /* must live until the callback */
    struct tls_policy *policy;          /* of the backend; may be NULL for plain schemes */
    struct outage *outage; /* what is known of its addresses (health.h); borrowed; NULL: nothing is */
    const char *place;     /* the only one of these to go to (reach.h), copied; NULL: all */
    enum login_as as;
    struct credential credential; /* LOGIN_AS_USER: copied, wiped when done, as the master's is */
    /* LOGIN_AS_MASTER: for whom; LOGIN_AS_USER: the same as the credential's authzid, where it has one. Both are told by
     * master_login of the backend, where that is set, else as authorization identity */
    const char *user;
    const char *client_ip; /* for ID x-originating-ip, NULL = do not send */
    uint16_t client_port;  /* for ID x-originating-port, 0 = do not send */
    /* for a PROXY header where the backend has proxy_protocol; copied; NULL: there is no client, and the
     * header says so */
    const struct proxyproto_ends *ends;
    const char *session_id; /* for ID x-session-id, NULL = none */
    /* for ID x-proxy-site: what all proxies of one store know each other by, NULL = none */
    const char *site;
    /* a client's session: forward_id of the backend may have its ID said behind the sign-in ... */
    bool for_client;
    bool said_id;          /* ... which it has said: */
    struct span client_id; /* pairs of imap_id.h; copied */
    unsigned ttl;          /* for ID x-proxy-ttl: how many proxies may still follow, 0 = not sent */
    bool compress;         /* COMPRESS=DEFLATE where it is offered */
    bool pipelined;        /* the sign-in goes out behind ID, and does not wait for the answer to that */
    struct stream_limits limits;
    uint64_t connect_timeout_ms, step_timeout_ms;
};

struct login_result {
    enum login_rc rc;
    /* LOGIN_OK: taken by the callee. Unread bytes that followed the tagged OK are still in it */
    struct stream *stream;
    struct imap_caps caps; /* LOGIN_OK: after sign-in */
    /* RFC 5530 code of a NO to the sign-in, any other is left out; "" = none; borrowed */
    const char *code;
    /* LOGIN_REFUSED: the JSON object by which the backend says why it takes no token (sasl_read_challenge()); "" =
     * none; borrowed */
    const char *challenge;
    /* for a log; borrowed, never a secret, also where the backend echoes one; where the end came without a
     * word, with what that mostly means */
    const char *detail;
    const char *phase; /* the state it ended in, for a log */
};

struct backend_login;
/* The login is gone when this is called: forget the pointer. The stream still passes through wiped buffers:
 * call stream_without_secrets() when mail is what follows. */
typedef void (*backend_login_fn)(void *owner, const struct login_result *result);

/* Copies what it needs of the request, but for backend and policy. Never calls back before it returned. */
struct backend_login *backend_login_start(struct loop *l, const struct login_request *request,
                                          backend_login_fn fn, void *owner);
void backend_login_cancel(struct backend_login **b);

#endif
