/* store_library: the scripts of lib/route as Redis has them: a library of functions (FUNCTION LOAD, FCALL).
 *
 * The library's name consists of the release of imapferry and a hash of all that is in it:
 * "imapferry_0_1_0_5d2f09ab". So each program calls the very code that it was built with, and programs of two
 * releases work side by side on one Redis; none replaces a library of another.
 *
 * Redis keeps and replicates the library with the data. Whoever finds that it is not there loads it:
 * `imapferryctl init` on a new server, the first program of a new release, all programs after a FUNCTION
 * FLUSH. The one that loads it then takes away what is older than the release before: of all libraries of
 * older releases only those of the newest stay. A program that still calls one which was taken away finds it
 * gone and loads it again. lib/route/README.md says why. */
#ifndef IMAPFERRY_STORE_LIBRARY_H
#define IMAPFERRY_STORE_LIBRARY_H

#include "redis.h"

const char *library_name(void);
/* The name of the function that FCALL calls for a script of lib/route; NULL: there is no such script. */
const char *library_function(const char *script);
/* Is this the error of a Redis that does not have the library? Then nothing was executed. */
bool library_is_missing(struct span error);
/* Is this the error of a Redis whose ACL does not let us do that? */
bool library_is_denied(struct span error);
/* What an error of FCALL or FUNCTION means to staff, as a sentence without a capital; to free. */
char *library_why(struct span error);

/* there: the library can be called now. Else why says what is wrong, borrowed. Not called where the
 * connection broke. */
typedef void (*library_fn)(void *owner, bool there, const char *why);
struct library {
    struct redis *redis; /* borrowed */
    library_fn fn;
    void *owner;  /* borrowed */
    bool loading; /* the library was sent, and there is no answer yet */
};
/* Sends the library, and tells fn how that ended. Where it is under way already, nothing more is sent, and fn
 * is told of that one. No callback comes after redis_free(). */
void library_load(struct library *l);

#endif
