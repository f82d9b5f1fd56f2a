/* answers: what a server answers to commands of ours, on a connection that no client uses at the moment: one
 * response after another, as far as they have arrived. A line that can't be read, and a BYE, end it. */
#ifndef IMAPFERRY_ANSWERS_H
#define IMAPFERRY_ANSWERS_H

#include "lib/imap_line.h"
#include "lib/imap_resp.h"
#include "lib/stream.h"

enum answers_rc {
    ANSWERS_MORE,  /* something is still to come */
    ANSWERS_DONE,  /* all that was asked for is there; what follows stays unread */
    ANSWERS_WRONG, /* the connection is of no use: *wrong says why, for the log */
    ANSWERS_GONE,  /* the owner, and the stream with it */
};

/* One response by its first line (what stands behind a literal is left out, and so is a line that ends in
 * one). Does not answer ANSWERS_WRONG without *wrong, which is borrowed until the stream is read again or
 * goes. */
typedef enum answers_rc (*answers_fn)(void *owner, const struct imap_resp *r, struct span line,
                                      const char **wrong);

/* Reads until fn says something other than ANSWERS_MORE, or nothing whole is left: ANSWERS_MORE. */
enum answers_rc answers_read(struct imap_line *lines, struct stream *stream, answers_fn fn, void *owner,
                             const char **wrong) MUST_CHECK;

#endif
