/* imap_client: the migrator's IMAP connection to one backend as one user: sign-in by backend_login, then commands,
 * pipelined, each with its own callbacks. Nothing here knows what a migration is.
 *
 * Responses are parsed into trees (imap_tok); the body of a FETCH BODY[] is not collected but given on as it comes.
 * Untagged data goes to the oldest command in flight that wants it (fn_data), else to the client's own `news` callback
 * (EXISTS, EXPUNGE, FETCH of flags, BYE). One deadline: command_timeout without any byte while a command is in
 * flight (a steady flow never times out). A broken connection ends every command with IMAPC_DOWN and tells `down`. */
#ifndef IMAPFERRY_IMAP_CLIENT_H
#define IMAPFERRY_IMAP_CLIENT_H

#include "lib/backend_login.h"
#include "lib/imap_resp.h"
#include "lib/imap_tok.h"
#include "lib/imap_write.h"

struct imapc;

enum imapc_rc { IMAPC_OK, IMAPC_NO, IMAPC_BAD, IMAPC_DOWN };

/* The end of a command. code: response code of the tagged answer; text: for people. All borrowed. */
struct imapc_end {
    enum imapc_rc rc;
    struct span code, text;
};
typedef void (*imapc_end_fn)(void *owner, const struct imapc_end *end);

/* An untagged response. resp: head; data: its tree (NULL for status responses). Return true when taken. */
typedef bool (*imapc_data_fn)(void *owner, const struct imap_resp *resp, const struct imap_value *data);

/* The body of a message in a FETCH answer, as it comes: begin (message number and size), pieces, end. Between
 * them imapc_pause() holds the whole connection. seq is the number in front of FETCH. */
struct imapc_body_fns {
    void (*begin)(void *owner, uint32_t seq, uint64_t size);
    void (*piece)(void *owner, struct span bytes);
    void (*end)(void *owner);
};

enum imapc_event {
    IMAPC_READY,   /* signed in */
    IMAPC_FAILED,  /* the sign-in failed; imapc_login_rc(), imapc_error() */
    IMAPC_BROKEN,  /* the connection is gone; imapc_error() */
    IMAPC_DRAINED, /* what was queued for sending has gone below the mark */
};
typedef void (*imapc_event_fn)(void *owner, enum imapc_event ev);

/* news: untagged responses that no command took; may be NULL. Never calls back before it returned. */
struct imapc *imapc_new(struct loop *l, const struct login_request *login, uint64_t command_timeout_ms,
                        imapc_event_fn fn, imapc_data_fn news, void *owner);
/* LOGOUT if it can still be sent, then closes; no callback after it. */
void imapc_free(struct imapc **c);

const struct imap_caps *imapc_caps(const struct imapc *c);
enum imap_literals imapc_literals(const struct imapc *c);
enum login_rc imapc_login_rc(const struct imapc *c);
const char *imapc_error(const struct imapc *c); /* for people: what broke, while doing what */

struct imapc_command {
    imapc_data_fn data;                /* may be NULL */
    const struct imapc_body_fns *body; /* may be NULL: then bodies are collected up to 64 KiB */
    imapc_end_fn end;                  /* must be set */
    void *owner;
};

/* Sends "<tag> " and what is in w (a whole command without tag and without CRLF), waiting for "+" where w says so.
 * Takes w's bytes (w is wiped). Commands behind one that waits for "+" are queued. */
void imapc_send(struct imapc *c, struct imap_writer *w, const struct imapc_command *cmd);
/* The same for a command without strings that need quoting. */
void imapc_sendf(struct imapc *c, const struct imapc_command *cmd, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* APPEND with bodies that stream: imapc_append_begin() opens the command "APPEND mailbox" (one at a time), each
 * imapc_append_message() writes ` (flags) "date" {size}`, bodies follow by imapc_append_bytes() (exactly size bytes),
 * imapc_append_end() ends the command. Several messages only with MULTIAPPEND (RFC 3502). Where the peer needs "+"
 * first, bytes are queued until it came; imapc_append_full() says when to stop (IMAPC_DRAINED: go on). The peer may
 * refuse before the end: cmd->end is called early and further bytes are swallowed until imapc_append_end(). */
void imapc_append_begin(struct imapc *c, struct span mailbox, const struct imapc_command *cmd);
void imapc_append_message(struct imapc *c, struct span flags, struct span date, uint64_t size);
void imapc_append_bytes(struct imapc *c, struct span bytes);
void imapc_append_end(struct imapc *c);
bool imapc_append_full(const struct imapc *c);

void imapc_pause(struct imapc *c);
void imapc_resume(struct imapc *c);
/* Commands in flight or queued. */
size_t imapc_pending(const struct imapc *c);
/* No callback for the owner's commands any more. */
void imapc_forget(struct imapc *c, void *owner);

#endif
