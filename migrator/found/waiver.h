/* waiver: what a person has said may be missing or differ. Waivers are kept with the account
 * (PREFIX:waivers:USER) as long as its view records, so that a later pass, a resumed job and a way back know
 * them too. Pure.
 *
 * A key is one of
 *   KIND                      a word of the table of findings: all of that kind in the account
 *   MAILBOX:UIDVALIDITY/UID   one message, whatever is found of it; where it has not been copied yet it is left out
 *   MAILBOX:KIND              all of that kind in one mailbox
 * MAILBOX is spelled as the source spells it on the wire; waiver_key() makes that of what a person typed.
 * When a mailbox gets a new UIDVALIDITY, other messages have the same UIDs, so what was waived of it is void.
 * People type MAILBOX:UID, which waives nothing until waiver_bind() has put the UIDVALIDITY into it. */
#ifndef IMAPFERRY_WAIVER_H
#define IMAPFERRY_WAIVER_H

#include "finding.h"

struct waivers;

struct waivers *waivers_new(void);
void waivers_free(struct waivers **w); /* NULL is fine */
/* A key that can't be read waives nothing. */
void waivers_add(struct waivers *w, struct span key);
size_t waivers_count(const struct waivers *w);
/* Is a finding waived, be it by its kind, by its kind in this mailbox, or by its message? uidvalidity 0: not
 * known. */
bool waivers_have(const struct waivers *w, enum finding_kind kind, const char *mailbox, uint32_t uidvalidity,
                  uint32_t uid);
/* Is this very message named? */
bool waivers_have_message(const struct waivers *w, const char *mailbox, uint32_t uidvalidity, uint32_t uid);

/* The key that a person means; to be freed by the caller. NULL: *why is a fixed text. MAILBOX is taken as
 * modified UTF-7 where it is that, else as UTF-8. */
char *waiver_key(struct span typed, const char **why) MUST_CHECK;
/* Is it MAILBOX:UID, without a UIDVALIDITY? */
bool waiver_is_unbound(const char *key);
/* The key with the UIDVALIDITY; to be freed by the caller. */
char *waiver_bind(const char *key, uint32_t uidvalidity) MUST_CHECK;
/* Does a key, bound or not, mean this one, which is kept? */
bool waiver_means(const char *key, struct span kept);
/* Are both in the same mailbox? */
bool waiver_same_mailbox(const char *key, const char *other);

#endif
