/* imap_client: the migrator's IMAP connection to one backend as one user. It signs in by backend_login; after
 * that it sends commands in a pipeline, each with its own callbacks. Nothing here knows what a migration is.
 *
 * Responses are parsed into trees (imap_tok); the body of a FETCH BODY[] is not collected but passed on as it
 * comes. One place gives each untagged response to its readers, and each reader says whether he understood
 * all of it (enum imapc_taken). An answer to a question that was not understood, or that can't be parsed into
 * words, goes to whoever names such things (imapc_odd_fn), and everything else goes on. The connection breaks
 * only where bytes are no response at all, since then nobody knows where the next response begins:
 * imapc_is_garbled().
 *
 * Commands end in the order in which they were sent: an answer that comes before that of an earlier command
 * waits for it.
 *
 * A response with a body goes to the command that had the body, since servers may answer commands in any
 * order; other untagged data go to the oldest command in flight that wants them (fn_data), else to the
 * client's own `news` callback (EXISTS, EXPUNGE, FETCH of flags, BYE). There is one deadline: the connection
 * breaks when no byte moves for command_timeout while a command is in flight. A steady flow, in either
 * direction, never times out, and time does not run while we ourselves hold the connection up. A broken
 * connection ends every command with IMAPC_DOWN, and then tells IMAPC_BROKEN. [ALERT]s are logged.
 *
 * Limits to what a hostile server can make us keep: a line 1 MiB, a collected literal 64 KiB, a response 1
 * MiB and 50,000 words. login->limits: queue_max must be 512 KiB more than high_water. */
#ifndef IMAPFERRY_IMAP_CLIENT_H
#define IMAPFERRY_IMAP_CLIENT_H

#include "lib/backend_login.h"
#include "lib/imap_resp.h"
#include "lib/imap_tok.h"
#include "lib/imap_write.h"

#include "pace.h"

struct imapc;

enum imapc_rc { IMAPC_OK, IMAPC_NO, IMAPC_BAD, IMAPC_DOWN };

/* The end of a command. code: response code of the tagged answer; text: for people. All borrowed. */
struct imapc_end {
    enum imapc_rc rc;
    struct span code, text;
};
typedef void (*imapc_end_fn)(void *owner, const struct imapc_end *end);

/* NO or BAD that says to come back later (RFC 5530 UNAVAILABLE, INUSE, LIMIT, SERVERBUG; the THROTTLED of
 * Gmail and Yahoo's rate limit, which stand in the text): nothing is wrong with the command or a message. */
bool imapc_end_temporary(const struct imapc_end *end);
/* The code is LIMIT, and the text says nothing of a rate. In answer to an APPEND that may be about this
 * message (how large it is) or about all messages, so it counts as no hint to slow down until the caller
 * finds out and says imapc_throttled(). */
bool imapc_end_is_limit(const struct imapc_end *end);
/* What the server said, printable, with its code; to free. */
char *imapc_end_text(const struct imapc_end *end);

enum imapc_taken {
    /* somebody else may read it; where nobody does, it is something that servers may say unasked */
    IMAPC_NOT_MINE,
    IMAPC_TAKEN, /* understood whole */
    IMAPC_ODD,   /* an answer to what was asked, and not understood whole */
};
/* An untagged response. resp: head; data: its tree (NULL for status responses, and where the words could not
 * be told apart: then it is odd to whoever asked for such a response). */
typedef enum imapc_taken (*imapc_data_fn)(void *owner, const struct imap_resp *resp,
                                          const struct imap_value *data);

/* A response that its reader called odd, or that is none. All borrowed. */
struct imapc_odd {
    const char *mailbox; /* that of the command; NULL: none */
    uint32_t uid;        /* of a FETCH that tells one, else 0; what stands before the fault counts */
    uint32_t seq;        /* its message number, 0: it is no FETCH */
    const char *text;    /* for people: backend, command, and the line itself, escaped and cut off */
};
typedef void (*imapc_odd_fn)(void *owner, const struct imapc_odd *odd);
/* Appends bytes of a peer as people can read them: \xNN for what is no printable ASCII. At most max bytes of
 * line. */
void imapc_escape(struct buf *out, struct span line, size_t max);

/* The body of a message (BODY[]) in a FETCH answer, as it comes: begin, pieces, end; the response as a whole,
 * with all its items, follows at `data`. Between them imapc_pause() holds the whole connection. seq is the
 * number in front of FETCH; uid is 0 where the response has not told it yet (it may stand behind the body);
 * size is what the literal says of itself, so exactly so many bytes come or the connection breaks. A body
 * that is a quoted string comes in the same way; for NIL there is no begin, only `data`. */
struct imapc_body_fns {
    void (*begin)(void *owner, uint32_t seq, uint32_t uid, uint64_t size);
    void (*piece)(void *owner, struct span bytes);
    void (*end)(void *owner);
    bool header; /* it is BODY[HEADER] that was asked for, not BODY[] */
};

enum imapc_event {
    IMAPC_READY,   /* signed in */
    IMAPC_FAILED,  /* the sign-in failed; imapc_login_rc(), imapc_error() */
    IMAPC_BROKEN,  /* the connection is gone; imapc_error() */
    IMAPC_DRAINED, /* imapc_append_full() was true and isn't any more */
};
typedef void (*imapc_event_fn)(void *owner, enum imapc_event ev);

/* news: untagged responses that no command took; may be NULL. Never calls back before it returned. */
struct imapc *imapc_new(struct loop *l, const struct login_request *login, uint64_t command_timeout_ms,
                        imapc_event_fn fn, imapc_data_fn news, void *owner);
/* LOGOUT where nothing is under way, else it is given up: where login->limits.abortive is set, what the
 * kernel holds of it is not sent any more. No callback after it. */
void imapc_free(struct imapc **c);

uint64_t imapc_timeout_ms(const struct imapc *c);
/* From now on. */
void imapc_set_timeout(struct imapc *c, uint64_t command_timeout_ms);
const struct imap_caps *imapc_caps(const struct imapc *c);
enum imap_literals imapc_literals(const struct imapc *c);
/* A note about the server for whoever uses the connection next: EXAMINE is not enough, see selected.h. */
void imapc_note_needs_select(struct imapc *c);
bool imapc_needs_select(const struct imapc *c);
/* From *until_ms on, by clock_boot_ms(), the connection does nothing more, and is given up; nothing that was
 * sent waits in this process (stream_set_fence()). Until then it tells the kernel that it lives
 * (stream_still_mine()). To be called before IMAPC_READY; until_ms is borrowed. */
void imapc_set_fence(struct imapc *c, const uint64_t *until_ms);
/* Keeps to the pace of the backend, which many connections share: bodies are read, and those of APPENDs taken
 * (imapc_append_full()), no faster than it lets them; hints of the server to slow down are noted there, and
 * no connection sends a new command before that time is over. pace is borrowed. */
void imapc_set_pace(struct imapc *c, struct pace *pace);
/* Who is told of odd responses where neither the command nor who watches wants to be; else they are in the
 * log alone. */
void imapc_on_odd(struct imapc *c, imapc_odd_fn fn, void *owner);
/* Did it break because of bytes that are no response? Whoever is told of odd responses was told, and another
 * try would end the same way. */
bool imapc_is_garbled(const struct imapc *c);
/* Whom it reached, as stream_peer() says it; "" before IMAPC_READY. */
const char *imapc_peer(const struct imapc *c);
enum login_rc imapc_login_rc(const struct imapc *c);
const char *imapc_error(const struct imapc *c); /* for people: what broke, while doing what */

struct imapc_command {
    imapc_data_fn data; /* may be NULL */
    const struct imapc_body_fns
        *body;        /* may be NULL: then bodies are collected; over 64 KiB breaks the connection */
    imapc_end_fn end; /* must be set */
    void *owner;
    imapc_odd_fn odd; /* may be NULL */
    /* That it is about; NULL: none; borrowed until the end. An untagged STATUS of it is offered to this one first */
    const char *mailbox;
};

/* Sends "<tag> " and what is in w (a whole command without tag and without CRLF), waiting for "+" where w
 * says so. Takes w's bytes (w is wiped). Commands behind one that waits for "+" are queued, and so are all of
 * them before IMAPC_READY. What w could not write (NUL in a name) ends with IMAPC_BAD. */
void imapc_send(struct imapc *c, struct imap_writer *w, const struct imapc_command *cmd);
/* The same for "<verb> <mailbox><behind>": only the name may need quoting. */
void imapc_send_named(struct imapc *c, const struct imapc_command *cmd, const char *verb, const char *mailbox,
                      const char *behind);
/* The same for a command without strings that need quoting. */
void imapc_sendf(struct imapc *c, const struct imapc_command *cmd, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* APPEND with bodies that stream: imapc_append_begin() opens the command "APPEND mailbox" (one at a time; the
 * next may be opened while the one before waits for its answer), each imapc_append_message() writes ` (flags)
 * "date" {size}`, bodies follow by imapc_append_bytes() (exactly size bytes), imapc_append_end() ends the
 * command: until then nothing is stored. Several messages only with MULTIAPPEND (RFC 3502). Where the peer
 * needs "+" first, bytes are queued until it came; imapc_append_full() says when to stop (IMAPC_DRAINED: go
 * on). The peer may refuse before the end: cmd->end is called early and further bytes are swallowed until
 * imapc_append_end(), but for those of a literal that the peer still has to read past (RFC 7888 section 4). A
 * body that can't be completed: imapc_abort(). */
void imapc_append_begin(struct imapc *c, struct span mailbox, const struct imapc_command *cmd);
void imapc_append_message(struct imapc *c, struct span flags, struct span date, uint64_t size);
void imapc_append_bytes(struct imapc *c, struct span bytes);
void imapc_append_end(struct imapc *c);
bool imapc_append_full(const struct imapc *c);
/* The same for another command with one body: w (wiped) is all that stands in front of its bytes, of which size are to
 * come by imapc_append_bytes(); tail stands behind them, before the CRLF. Not for a literal that waits for "+". */
void imapc_stream_begin(struct imapc *c, struct imap_writer *w, uint64_t size,
                        const struct imapc_command *cmd);
void imapc_stream_end(struct imapc *c, const char *tail);

void imapc_pause(struct imapc *c);
void imapc_resume(struct imapc *c);
/* Breaks the connection at once: every command ends with IMAPC_DOWN, then IMAPC_BROKEN is told; from the
 * loop, not from inside. */
void imapc_abort(struct imapc *c, const char *why);

/* For who uses the connection for a while: events, untagged responses that no command took, and odd ones, go
 * there (an event then to the owner's fn as well). NULLs end it. */
void imapc_watch(struct imapc *c, imapc_event_fn fn, imapc_data_fn news, imapc_odd_fn odd, void *owner);
/* What the server refused is found to be a request to slow down: the backend gets a pause. text: for the
 * log. */
void imapc_throttled(struct imapc *c, const char *text);
/* Commands in flight or queued. */
size_t imapc_pending(const struct imapc *c);
/* No callback comes any more for the commands of this owner, or for its watch. If it has an APPEND open, the
 * connection breaks. */
void imapc_forget(struct imapc *c, void *owner);

#endif
