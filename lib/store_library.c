#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "imap_write.h"
#include "log.h"
#include "store_library.h"
#include "xalloc.h"

struct function {
    const char *script, *name;
};
#include "route_scripts.h"

const char *library_name(void)
{
    return library_own_name;
}

const char *library_function(const char *script)
{
    for (size_t i = 0; i < COUNTOF(functions); i++) {
        if (strcmp(functions[i].script, script) == 0)
            return functions[i].name;
    }
    return NULL;
}

/* ---- errors ---- */

static bool library_begins(struct span text, const char *with)
{
    size_t n = strlen(with);
    return text.len >= n && strncasecmp((const char *)text.p, with, n) == 0;
}

static bool library_holds(struct span text, const char *what)
{
    return text.len > 0 && memmem(text.p, text.len, what, strlen(what)) != NULL;
}

/* Redis 7.0 to 8 and Valkey say "ERR Function not found". */
bool library_is_missing(struct span error)
{
    return library_begins(error, "ERR Function not found");
}

/* Before Redis 7.0 both commands are unknown; later they may be renamed. */
static bool library_is_unknown_here(struct span error)
{
    return library_begins(error, "ERR unknown command");
}

/* Of the user of the connection, or of what a function does: Redis 7.0 says the second, later ones the third. */
bool library_is_denied(struct span error)
{
    return library_begins(error, "NOPERM") || library_holds(error, "The user executing the script can't") ||
           library_holds(error, "ACL failure in script");
}

char *library_why(struct span error)
{
    struct buf text = {0};
    char *why;

    imap_write_text(&text, error);
    if (library_begins(error, "READONLY"))
        why = xstrdup("this Redis is a replica, not the master");
    else if (library_begins(error, "NOAUTH"))
        why = xasprintf("Redis asks for a password (redis: url or password_file): %s", buf_str(&text));
    else if (library_is_denied(error))
        why = xasprintf(
            "the ACL user of the section redis may not run imapferry's functions: it needs what conf/redis.acl says, "
            "+fcall, +function|load, +function|list and +function|delete among it (%s)",
            buf_str(&text));
    else if (library_begins(error, "OOM"))
        why = xasprintf("Redis is full (maxmemory) and takes nothing new, imapferry's functions neither: %s",
                        buf_str(&text));
    else if (library_is_unknown_here(error))
        why = xasprintf(
            "this server has no functions, or they are renamed: Redis 7.0 or Valkey 7.2 or later is asked for (%s)",
            buf_str(&text));
    else
        why = xstrdup(buf_str(&text));
    buf_free(&text);
    return why;
}

/* ---- which is older ---- */

enum { OLDER = -1, SAME = 0, NEWER = 1 };

/* "imapferry_0_1_0_5d2f09ab" without its hash; an empty span where it is none of ours. */
static struct span release_of(struct span library)
{
    static const char prefix[] = "imapferry_";
    size_t n = library.len;
    if (!library_begins(library, prefix))
        return span_of(NULL, 0);
    while (n > 0 && library.p[n - 1] != '_')
        n--;
    if (n <= sizeof(prefix))
        return span_of(NULL, 0);
    return span_of(library.p + sizeof(prefix) - 1, n - sizeof(prefix));
}

static uint64_t next_number(struct span *rest)
{
    const uint8_t *end = rest->len ? memchr(rest->p, '_', rest->len) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->len;
    uint64_t number = 0;
    bool good = span_u64(span_of(rest->p, n), UINT64_MAX, &number);
    *rest = end ? span_of(end + 1, rest->len - n - 1) : span_of(NULL, 0);
    return good ? number : 0;
}

/* By their numbers, "0_10" behind "0_9". What is no number counts as 0, so 1.0-rc1 and 1.0 are the same:
 * neither takes the other away. */
static int release_compare(struct span a, struct span b)
{
    while (a.len > 0 || b.len > 0) {
        uint64_t x = next_number(&a), y = next_number(&b);
        if (x != y)
            return x < y ? OLDER : NEWER;
    }
    return SAME;
}

/* ---- taking away what is older than the release before ---- */

static struct span listed_name(const struct reply *row)
{
    return reply_str(reply_get(row, "library_name"));
}

static void library_on_deleted(void *owner, enum redis_rc rc, const struct reply *r)
{
    (void)owner;
    if (rc == REDIS_ERROR_REPLY)
        LOG(INFO, "library_stays", LOG_SPAN("why", reply_str(r)));
}

static void library_delete(struct library *l, struct span name)
{
    struct span argv[] = {span_str("FUNCTION"), span_str("DELETE"), name};
    LOG(INFO, "library_removed", LOG_SPAN("name", name));
    redis_command(l->redis, argv, COUNTOF(argv), 0, library_on_deleted, l);
}

/* Only older releases are looked at, so that two programs never take away each other's. */
static void on_listed(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct library *l = owner;
    struct span own = release_of(span_str(library_own_name)), before = {0};

    for (size_t i = 0; rc == REDIS_OK && i < reply_count(r); i++) {
        struct span release = release_of(listed_name(reply_at(r, i)));
        if (release.len > 0 && release_compare(release, own) == OLDER &&
            (before.len == 0 || release_compare(before, release) == OLDER))
            before = release;
    }
    for (size_t i = 0; before.len > 0 && i < reply_count(r); i++) {
        struct span release = release_of(listed_name(reply_at(r, i)));
        if (release.len > 0 && release_compare(release, before) == OLDER)
            library_delete(l, listed_name(reply_at(r, i)));
    }
}

static void remove_old(struct library *l)
{
    struct span argv[] = {span_str("FUNCTION"), span_str("LIST"), span_str("LIBRARYNAME"),
                          span_str("imapferry_*")};
    redis_command(l->redis, argv, COUNTOF(argv), 0, on_listed, l);
}

/* ---- loading ---- */

static void on_loaded(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct library *l = owner;
    char *why = NULL;

    l->loading = false;
    if (rc == REDIS_DOWN)
        return;
    /* Another process was faster: the library of this name is the same one. A foreign library that has
     * functions of these names is another error. */
    bool there = rc == REDIS_OK || (library_begins(reply_str(r), "ERR Library '") &&
                                    library_holds(reply_str(r), "already exists"));
    if (rc == REDIS_OK) {
        LOG(INFO, "library_loaded", LOG_S("name", library_own_name));
        remove_old(l);
    }
    if (!there)
        why = library_why(reply_str(r));
    l->fn(l->owner, there, why ? why : "");
    free(why);
}

void library_load(struct library *l)
{
    struct span argv[] = {span_str("FUNCTION"), span_str("LOAD"), span_str(library_text)};
    if (l->loading)
        return;
    l->loading = true;
    redis_command(l->redis, argv, COUNTOF(argv), 0, on_loaded, l);
}
