/* http_post: one POST by HTTP or HTTPS, on the loop. What is sent and received is JSON.
 *
 * An answer of 200 to 299 is success. Everything else is a failure whose text has the status and the first
 * line of the answer: another status (redirects are not followed), no connection, a certificate that is not
 * trusted, an answer of more than 64 KiB, no answer in time. The server's certificate and name are verified,
 * always, by the system's CAs or those of a file. Name and password in the URL are sent (Basic) and told to
 * nobody.
 *
 * This is the only file that includes libcurl. Its sockets and its timer are those of the loop; its resolver
 * has a thread of its own, for which nobody waits. */
#ifndef IMAPFERRY_HTTP_POST_H
#define IMAPFERRY_HTTP_POST_H

#include "lib/loop.h"

struct http_post_request {
    const char *url;
    const char *ca_file;       /* NULL: the system's CAs */
    const char *authorization; /* the whole header field; NULL: none. It is wiped at the end */
    const char *body;          /* its copy is wiped at the end */
    uint64_t
        timeout_ms; /* for all of it. Nothing is sent later, also by a process that was stopped meanwhile */
    /* NULL, or it ends before that too, from *until_ms on, by clock_boot_ms(), which may move while it goes on, as that of
     * a lease (imapc_set_fence()). Borrowed. */
    const uint64_t *until_ms;
};

struct http_post;
struct http_post_answer {
    const char *error; /* for people; NULL = it succeeded */
    struct span body;  /* also of some failures */
    uint64_t date_s;   /* what the server's clock said, in seconds since 1970; 0: not known */
    long status;       /* of HTTP; 0: there was no answer */
    bool lost; /* it was sent, or a part of it, and there is no answer: what came of it is not known */
};
/* answer is borrowed. */
typedef void (*http_post_fn)(void *owner, const struct http_post_answer *answer);

/* The request is copied. Never calls back before it returned; the POST is gone when it does. */
struct http_post *http_post_start(struct loop *l, const struct http_post_request *request, http_post_fn fn,
                                  void *owner);
/* Ends it where it is, without a callback; what was sent to the server stays sent. NULL is fine. */
void http_post_cancel(struct http_post **h);

#endif
