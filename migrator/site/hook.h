/* hook: a command or a URL of the site, which is run, or called, when an account is to be made at a server, is
 * frozen, was switched over, or is settled: to close the old server to what bypasses the proxy, for instance. A command is not
 * given to a shell: the option is the program and its arguments, in which %u is the login name, %k the
 * account, %s and %t the backends that it leaves and goes to, %e the event, and %% a percent sign. The
 * environment has the same as IMAPFERRY_USER, _ACCOUNT, _SOURCE, _TARGET and _EVENT.
 *
 * Exit status 0 is success. What the command says on standard error goes to the log and, with its exit
 * status, into the reason. When its time is over it is killed, with all that it started. Status 77 (EX_NOPERM)
 * says that it needs the user's password, or another one.
 *
 * Its standard input is empty, unless the call has a mechanism: then that is the first line, and the password, where
 * there is one, the second. So a password is in no list of processes and in no environment. A command that says the
 * password itself (sh -x) is not quoted.
 *
 * If the option is a URL, the same facts are sent there by POST: hook_http.h. */
#ifndef IMAPFERRY_HOOK_H
#define IMAPFERRY_HOOK_H

#include "lib/conf.h"
#include "lib/loop.h"

struct hook_call {
    const struct conf_list *command; /* not empty */
    const char *event;               /* "freeze", "flip", "settle", "kick", "provision" */
    const char *user, *login, *source, *target;
    /* By what the user has signed in: the name of a mechanism, "none" where that is not known; NULL: it is not told. */
    const char *mechanism;
    struct span
        password; /* empty: none. Nothing but what login_password_ok() takes. What is kept of it is wiped */
    uint64_t timeout_ms;
};

enum hook_rc {
    HOOK_DONE,
    HOOK_FAILED,
    HOOK_WANTS_LOGIN, /* failed for want of the user's password */
};

struct hook;
/* error: of HOOK_DONE NULL; borrowed. */
typedef void (*hook_fn)(void *owner, enum hook_rc rc, const char *error);

/* The call is copied. Never calls back before it returned; the hook is gone when it does. */
struct hook *hook_start(struct loop *l, const struct hook_call *call, hook_fn fn, void *owner);
/* Kills it, without a callback. NULL is fine. */
void hook_cancel(struct hook **h);

/* An argument with its % written out. Appends. Pure. */
void hook_expand(struct buf *out, const struct hook_call *call, const char *argument);

/* Hooks that no account waits for, and that are given no password. They are tried several times, with growing pauses, while the process
 * lives; one that fails each time is an error in the log. If the process dies, errand.h sees to it that they
 * are run. */
struct hooks;
struct hooks *hooks_new(struct loop *l);
/* NULL is fine. */
void hooks_free(struct hooks **h);
/* fn is called when it has succeeded, or has failed at the last try; not after hooks_free(), and never before
 * this returned. */
void hooks_run(struct hooks *h, const struct hook_call *call, hook_fn fn, void *owner);

#endif
