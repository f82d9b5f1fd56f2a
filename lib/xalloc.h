/* xalloc: memory that is there, or the process ends. So no other file has a branch for being out of memory;
 * every size that a peer can choose has a cap before it comes here. */
#ifndef IMAPFERRY_XALLOC_H
#define IMAPFERRY_XALLOC_H

#include "base.h"

void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
/* Grows an array of n elements; dies on overflow. */
void *xreallocarray(void *p, size_t n, size_t size);
/* NULL gives NULL. */
char *xstrdup(const char *s);
/* A terminated copy of all of s. A NUL in s becomes XSPANDUP_NUL, a byte that no name contains: so the C
 * string is as long as what the peer sent, and "old\0x" is never taken for "old". */
enum { XSPANDUP_NUL = 0x01 };
char *xspandup(struct span s);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Gives memory that was freed back to the system. To be called where something large has ended. */
void xtrim(void);

/* As xspandup(), for a password that is kept for long: in pages of its own, which no core file has and which are not
 * swapped out, as far as the limits of the process allow it. wipe_free() frees it. */
char *xsecret(struct span s);

/* Overwrites n bytes with zeros in a way that the compiler can't drop. */
void wipe(void *p, size_t n);
/* Wipes a C string, frees it and nulls the pointer. NULL is fine. */
void wipe_free(char **s);

#endif
