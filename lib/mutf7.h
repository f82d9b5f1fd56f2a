/* mutf7: modified UTF-7 of mailbox names (RFC 3501 5.1.3). Pure. */
#ifndef IMAPFERRY_MUTF7_H
#define IMAPFERRY_MUTF7_H

#include "buf.h"

/* Appends the UTF-8 of a mailbox name. False, and *out as it was, where the name is not valid modified UTF-7:
 * it has 8-bit, unfinished or superfluous shifts, lone surrogates, or encoded printable ASCII. */
bool mutf7_to_utf8(struct buf *out, struct span name) MUST_CHECK;
/* Appends the modified UTF-7 of valid UTF-8; false on invalid UTF-8. */
bool mutf7_from_utf8(struct buf *out, struct span utf8) MUST_CHECK;
/* True for valid UTF-8 (RFC 3629: no overlong forms, no surrogates) that holds no NUL. */
bool utf8_is_valid(struct span s);

#endif
