/* What sasl.c and sasl_token.c share. */
#ifndef IMAPFERRY_SASL_PRIV_H
#define IMAPFERRY_SASL_PRIV_H

#include "sasl.h"

bool sasl_parse_oauthbearer(struct buf *message, struct credential *_r) MUST_CHECK;
bool sasl_write_oauthbearer(struct buf *out, const struct credential *c) MUST_CHECK;
bool sasl_parse_xoauth2(struct buf *message, struct credential *_r) MUST_CHECK;
bool sasl_write_xoauth2(struct buf *out, const struct credential *c) MUST_CHECK;

#endif
