/* sasl: credentials, and the mechanisms (RFC 4422) by which they are shown: one table, so that another
 * mechanism is another row. Pure. */
#ifndef IMAPFERRY_SASL_H
#define IMAPFERRY_SASL_H

#include "buf.h"
#include "imap_caps.h"

struct sasl_mechanism;

/* What somebody signs in with. */
struct credential {
    const struct sasl_mechanism *mechanism; /* NULL: this is no credential */
    struct span authcid;                    /* whose secret it is: the login name */
    struct span authzid;                    /* as whom an administrator signs in; empty: as themselves */
    struct span secret;                     /* the password, or the token */
};

/* What shows that somebody is who they say. */
enum sasl_kind {
    SASL_PASSWORD,    /* the command LOGIN takes it too */
    SASL_TOKEN,       /* of an identity provider, for some hours (RFC 6750) */
    SASL_CERTIFICATE, /* in the TLS handshake; there is no secret to be shown to anybody else */
};

struct sasl_mechanism {
    const char *name;
    enum imap_cap cap; /* the capability by which a server offers it */
    enum sasl_kind kind;
    /* What the server says before each answer of the client's, in base64; it ends with NULL. Several answers
     * make one message, with NUL between them. */
    const char *const *prompts;
    const char *expected; /* what a message has to be: the text of the BAD that answers another one */
    /* What the client answers, in base64, where the server says by one more challenge why it refuses; NULL:
     * such a challenge is no part of this mechanism */
    const char *acknowledge;
    /* What its secret is sealed for (seal.h), so that it is opened as nothing else. NULL: it is not kept */
    const char *purpose;
    bool (*parse)(struct buf *message, struct credential *_r);
    bool (*write)(struct buf *out, const struct credential *c); /* NULL: it is never shown by this one */
};

/* The table; it ends with a row that has no name. PLAIN is the first. */
extern const struct sasl_mechanism sasl_mechanisms[];
#define SASL_PLAIN (&sasl_mechanisms[0])
/* The mechanism of this name, in capitals or not; NULL where there is none. */
const struct sasl_mechanism *sasl_find(struct span name);

/* Reads a client's message, with its base64 decoded, into *_r, whose spans point into the message, which may
 * be changed. False where it is no message of this mechanism:
 *
 *   PLAIN        [authzid] NUL authcid NUL password (RFC 4616); neither of the last two is empty
 *   LOGIN        name NUL password, each of which came by itself (draft-murchison-sasl-login)
 *
 * and nowhere is a further NUL. The credential's mechanism is PLAIN for all passwords.
 *
 *   OAUTHBEARER  n,a=NAME, 0x01 auth=Bearer TOKEN 0x01 0x01 (RFC 7628); the name, which is optional there, tells here
 *                to which server a login goes
 *   EXTERNAL     [authzid] (RFC 4422 appendix A); who it is, the certificate tells: authcid and secret are empty
 *   XOAUTH2      user=NAME 0x01 auth=Bearer TOKEN 0x01 0x01
 *
 * with any further pairs. A token is printable ASCII without blanks. */
bool sasl_parse(const struct sasl_mechanism *m, struct buf *message, struct credential *_r) MUST_CHECK;
/* Appends the message, not yet in base64. False where a part can't be written, such as one that holds NUL. */
bool sasl_write(struct buf *out, const struct credential *c) MUST_CHECK;

/* By which mechanism a server that offers these is shown it: by its own, else by another of the same kind. NULL: by
 * none; a password may still go by the command LOGIN. */
const struct sasl_mechanism *sasl_choose(const struct credential *c, const struct imap_caps *caps);
/* Why a server refuses a token, as it says by a last challenge (RFC 7628 3.2.2): appends the JSON object that this is
 * base64 of. False, and *out as it was: anything else, control characters in it, or more than that many bytes. */
enum { SASL_CHALLENGE_MAX = 2048 };
bool sasl_read_challenge(struct buf *out, struct span base64) MUST_CHECK;

/* The credential of a name and its password, which are borrowed. */
struct credential credential_of_password(const char *name, const char *password);
/* *to becomes a copy in memory of its own. */
void credential_copy(struct credential *to, const struct credential *from);
/* Overwrites and frees what credential_copy() made; *c is no credential then. *c may be none already. */
void credential_wipe(struct credential *c);

/* True for a login name or password that may be sent on: 1 to max bytes without controls (0x00-0x1f, 0x7f);
 * names must be valid UTF-8 as well. */
bool login_name_ok(struct span name, size_t max);
bool login_password_ok(struct span password, size_t max);

#endif
