/* sandbox: what a daemon can't do any more once it serves, even where somebody else has taken it over.
 *
 *   calls    a seccomp filter lets through the system calls that the program, glibc, OpenSSL, libuv and the resolver need
 *            (sandbox_calls.c has the list). All others fail with ENOSYS, those that a start alone needs with EPERM then; nothing is
 *            killed, so a library that tries something new goes on without it. The kernel's log tells of each (type=1326).
 *   files    Landlock leaves the folders of the files that a reload reads, what the resolver and OpenSSL read, and the folders
 *            that are written to. And nothing can be bound to a TCP port any more.
 *
 * Threads that are there already are not held back, so both come before any thread is started. Programs that hooks name inherit
 * all of it: where there are such, calls that nobody needs are refused alone, and files are left open (SANDBOX_HOOKS). A build
 * with sanitizers may do what these need, too. */
#ifndef IMAPFERRY_SANDBOX_H
#define IMAPFERRY_SANDBOX_H

#include "base.h"

enum sandbox_kind {
    SANDBOX_NONE,  /* the site wants none */
    SANDBOX_TIGHT, /* starts no programs */
    SANDBOX_HOOKS, /* starts programs that we know nothing of */
};

struct sandbox;

/* The filter of a start, from now on; also no_new_privs. Before the first loop: libuv asks for io_uring in uv_loop_init(). */
struct sandbox *sandbox_new(enum sandbox_kind kind);
/* Lets this file be read, and those that may take its place in its folder. One that is not there is fine. */
void sandbox_read(struct sandbox *s, const char *file);
/* Lets files of this folder be written and made. */
void sandbox_write(struct sandbox *s, const char *folder);
/* Lets files of this folder be written, made, cut short and taken away. */
void sandbox_own(struct sandbox *s, const char *folder);
/* Lets this file be taken away. */
void sandbox_remove(struct sandbox *s, const char *file);
/* All is bound and read, and the privileges are dropped: closes it for good. One line of the log says what holds. Frees s. */
void sandbox_lock(struct sandbox **s);

/* ---- for sandbox.c: sandbox_calls.c */

/* Adds a filter to this thread. starting: what a start needs, too. False: the kernel takes none, errno. */
bool sandbox_filter_calls(enum sandbox_kind kind, bool starting) MUST_CHECK;

#endif
