/* sasl: the PLAIN mechanism (RFC 4616). Pure. */
#ifndef IMAPFERRY_SASL_H
#define IMAPFERRY_SASL_H

#include "buf.h"

struct sasl_plain {
    struct span authzid, authcid, password; /* into the decoded message */
};
/* message = [authzid] NUL authcid NUL password. authcid and password may not be empty, no further NUL. */
bool sasl_plain_parse(struct span message, struct sasl_plain *_r) MUST_CHECK;
/* Appends the message, not yet base64. False where a part holds NUL. */
bool sasl_plain_write(struct buf *out, struct span authzid, struct span authcid, struct span password) MUST_CHECK;

/* A login name or password that may be sent on: 1 to max bytes, no controls (0x00-0x1f, 0x7f); names must be valid
 * UTF-8 as well. */
bool login_name_ok(struct span name, size_t max);
bool login_password_ok(struct span password, size_t max);

#endif
