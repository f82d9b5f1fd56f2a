/* hook_http: a hook that is a URL (hook.h): a POST by HTTP or HTTPS whose body has, as JSON, what a command
 * gets in its environment:
 *
 *   {"event": "freeze", "user": LOGIN NAME, "account": KEY, "source": BACKEND, "target": BACKEND}
 *
 * An answer of 200 to 299 is success. Everything else is a failure whose reason has the status and the first
 * line of the answer: another status (redirects are not followed), no connection, a certificate that is not
 * trusted, an answer of more than 64 KiB, no answer in time. The server's certificate and name are verified,
 * always, by the system's CAs or those of a file. Name and password in the URL are sent (Basic) and told to
 * nobody.
 *
 * This is the only file that includes libcurl. Its sockets and its timer are those of the loop; its resolver
 * has a thread of its own, for which nobody waits. */
#ifndef IMAPFERRY_HOOK_HTTP_H
#define IMAPFERRY_HOOK_HTTP_H

#include "hook.h"

struct hook_http;

/* call->command: the URL, and a file of CAs or nothing. The call is copied. Never calls back before it
 * returned; the hook is gone when it does. */
struct hook_http *hook_http_start(struct loop *l, const struct hook_call *call, hook_fn fn, void *owner);
/* Ends it where it is, without a callback; what was sent to the server stays sent. NULL is fine. */
void hook_http_cancel(struct hook_http **h);

#endif
