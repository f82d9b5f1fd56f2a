/* date: INTERNALDATE (RFC 3501 9 "date-time") as an instant and a zone. Two dates are the same if their
 * instants are; the zone is kept so that the target can keep it too. Pure.
 *
 * Reads what servers really send: " 1-Jan-2020", "01-Jan-2020" and "1-Jan-2020", zones +hhmm, UT, UTC, GMT,
 * Z, those of North America (RFC 822 5), or none (taken as +0000), years 0001 to 9999. What is no date
 * (31-Feb, NIL) is refused: a message never gets a made-up date. */
#ifndef IMAPFERRY_DATE_H
#define IMAPFERRY_DATE_H

#include "lib/buf.h"

struct mail_date {
    int64_t instant; /* seconds since 1970-01-01 00:00:00 UTC; negative before */
    int16_t zone;    /* minutes east of Greenwich */
};

bool date_parse(struct span text, struct mail_date *_r) MUST_CHECK;
/* As a date-time for APPEND, without quotes: the day padded with a blank. */
void date_format(struct buf *out, struct mail_date d);

#endif
