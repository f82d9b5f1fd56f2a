/* hook_http: a hook that is a URL (hook.h): a POST by HTTP or HTTPS whose body has, as JSON, what a command
 * gets in its environment:
 *
 *   {"event": "freeze", "user": LOGIN NAME, "account": KEY, "source": BACKEND, "target": BACKEND}
 *
 * and, where the call has a mechanism, "mechanism" and "password" (null: none, or it is no UTF-8). An answer of 401 is
 * HOOK_WANTS_LOGIN. What counts as success, and what as a failure with which reason, says http_post.h. */
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
