/* api: the HTTP JSON API of a migrator, and the page that is made of it (../page/). What may be asked is a table in
 * api_calls.c, and openapi.json tells others of it; each of its rows is a verb of ../admin/actions.h, and nothing is done here that
 * imapferryctl could not do.
 *
 * Who may ask:
 *   - A token (tokens.h), in the header Authorization alone: no cookie, nothing that a browser sends by itself. So no other
 *     site can have a visitor's browser do anything (CSRF).
 *   - The Host of a request is an IP address, "localhost" or one of admin.names, so that no name of somebody else leads a
 *     visitor's browser here (DNS rebinding). Requests that a browser makes for another site are refused as well.
 *   - Wrong tokens are put off, by network, and keep nobody out who has a right one (refusals.h).
 *   - A right one may not ask without end either (allowance.h).
 *   - Each change needs a reason, and stands in the audit with it and the token's name.
 * The page, its files and openapi.json hold nothing of the site and are given to everybody who can connect. */
#ifndef IMAPFERRY_API_H
#define IMAPFERRY_API_H

#include "lib/stores.h"

struct api;
struct migrator;

/* Binds admin.listen, and reads certificate and tokens: before privileges are dropped. NULL, *error NULL: none is wanted.
 * NULL, *error a text to free: it can't be. conf is borrowed. */
struct api *api_new(struct loop *l, const struct conf *conf, char **error) MUST_CHECK;
/* Makes the folder in journal_dir where the plans of a survey stand, for the process to own (sandbox_own()); its path, to free. */
char *api_folder_make(const struct conf *conf);
/* Takes requests; m and the stores, which are there by now, are borrowed until api_stop() has called back. False: *error is a text to
 * free. */
bool api_start(struct api *a, struct migrator *m, struct stores *s, char **error) MUST_CHECK;
/* Reads the tokens that a fresh configuration names; api_renewed() has them taken, or dropped. False: *error is a text to free.
 */
bool api_renew(struct api *a, const struct conf *fresh, char **error) MUST_CHECK;
void api_renewed(struct api *a, bool take);
/* Takes no request any more, and ends all connections. Calls back once what was begun in Redis has ended; not before it
 * returned. */
typedef void (*api_stopped_fn)(void *owner);
void api_stop(struct api *a, api_stopped_fn fn, void *owner);
/* NULL is fine. */
void api_free(struct api **a);

#endif
