/* plain: is a message such as every server takes by APPEND? Not where it has a NUL, an LF without a CR before it, or a line
 * in front of the first empty one that is no header field (RFC 5322 2.2) and does not go on with one. Pure, and fed as
 * the bytes come. */
#ifndef IMAPFERRY_PLAIN_H
#define IMAPFERRY_PLAIN_H

#include "lib/base.h"

enum plain_place {
    PLAIN_FIRST, /* the first line begins */
    PLAIN_LINE,  /* another line of the header begins */
    PLAIN_NAME,  /* of a field, before its colon */
    PLAIN_FIELD, /* behind it, or a line that goes on with one */
    PLAIN_BODY,
};
struct plain {
    enum plain_place place; /* all zeroes: a message begins */
    bool cr;                /* the byte before was one */
    bool odd;
};

void plain_add(struct plain *p, struct span bytes);
/* Of all that was added. */
bool plain_is(const struct plain *p);

#endif
