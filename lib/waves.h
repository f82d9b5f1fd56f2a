/* waves: whose login queues a migration. Accounts that a section wave names are moved by their next login once
 * it is their turn; all others go by the option trigger of their rule, or of the section migration. Nobody's
 * does whose target is retired. An account goes by the first wave that names it, and by no other.
 *
 * Its turn has come once the wave's time has (after), for accounts of its share, as long as it is not paused and
 * the day's number (per_day) is not full. Time and share are seen here; what counts is one script's (enter.lua)
 * for all proxies, so that no place of a day is given twice.
 *
 * The share is that of all names whose hash is below it: who is in it stays in it when it is raised. Days are
 * those of the local time of the program that asks. Pure but for the time zone. */
#ifndef IMAPFERRY_WAVES_H
#define IMAPFERRY_WAVES_H

#include <time.h>

#include "account_names.h"
#include "buf.h"
#include "conf.h"

enum { WAVE_DAY_MS = 24 * 3600 * 1000 };

/* The first wave that names the account; NULL: none does. Borrowed from c. */
const struct conf_wave *wave_of(const struct conf *c, const char *user);
bool wave_shares(const struct conf_wave *w, const char *user);
/* May the login of an account queue it? told: nothing for an account in no wave, else what route_enter() is to
 * say of its wave; now is of a clock on the wall, in seconds. */
bool wave_at_login(const struct conf *c, const char *user, time_t now, struct buf *told) MUST_CHECK;
/* What one store has of per_day: an equal part, rounded up; all of it where the patterns of the wave are of one domain whose accounts
 * lie in one store (the option spread of the section redis). 0: any number. */
uint32_t wave_store_part(const struct conf *c, const struct conf_wave *w);
/* So much is local time before UTC: behind it when below 0. */
int64_t wave_offset_ms(time_t now);
/* The time of the option after, in ms since 1970: "2026-12-01 20:00" in local time, or "2026-12-01"; 0 where text
 * is empty. False: it is none. */
bool wave_time(const char *text, uint64_t *_ms) MUST_CHECK;
/* What starts the migration of an account that is in no wave. */
enum trigger wave_trigger(const struct conf *c, const char *user);

#endif
