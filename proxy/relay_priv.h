/* What the relay's files share: the one state of both directions. relay_up.c is from the client to the
 * backend, relay_down.c from the backend to the client, relay_view_up.c and relay_view.c what is different in both where
 * names or numbers are rewritten, relay_pass.c how bytes go on, relay.c the rest. */
#ifndef IMAPFERRY_RELAY_PRIV_H
#define IMAPFERRY_RELAY_PRIV_H

#include <sys/queue.h>

#include "lib/imap_cmd.h"
#include "lib/imap_line.h"
#include "lib/imap_tok.h"
#include "lib/view_rewrite.h"

#include "opened.h"
#include "relay.h"

/* What the client's next bytes are. */
enum up_mode {
    UP_COMMANDS,  /* commands, or the rest of the one under way */
    UP_PLUS,      /* not looked at: the backend has to take a synchronizing literal first */
    UP_IDLE_PLUS, /* not looked at: the backend has to take IDLE first */
    UP_IDLE,      /* DONE */
    UP_COMPRESS,  /* not looked at: from the answer to COMPRESS on they are compressed */
};

/* What becomes of the command under way. */
enum fate {
    FATE_PASSES,
    FATE_REFUSED,  /* swallowed and answered with r->answer; a synchronizing literal is refused */
    FATE_ANSWERED, /* the same, but its literals are taken */
    FATE_COLLECTS, /* an ID: kept until it is whole, its literals are taken; then it passes, or is answered */
    FATE_VIEW,     /* the same for a command that is to be written anew (relay_view_up.c) */
    FATE_WAITS,    /* a COMPRESS: answered with r->answer once nothing is under way */
    FATE_OVER,     /* the backend answered it before its non-synchronizing literal: the rest is swallowed */
};

enum compression {
    COMPRESS_NEVER, /* not offered */
    COMPRESS_OFFERED,
    COMPRESS_ACTIVE,
};

struct command {
    TAILQ_ENTRY(command) link;
    enum imap_verb verb;
    enum relay_own own; /* a command of ours; OWN_NONE: the client's */
    bool reads;         /* changes nothing at the server */
    bool condstore;     /* asks for MODSEQs (imap_cmd.h) */
    bool answered;      /* by the backend, but commands of ours have to be before the client hears of it */
    bool ends_idle;     /* we have sent the DONE: its answer is for us */
    bool takes_name;    /* the literal under way is the name of a mailbox ... */
    struct buf name;    /* ... or it stood in the line: of SELECT and EXAMINE; owned */
    struct view_command *view; /* what it became, where something is rewritten; freed with relay->view */
    char tag[];                /* with its NUL */
};

struct relay {
    struct imap_line up, down;
    struct imap_caps shown;

    TAILQ_HEAD(command_list, command) commands; /* passed on and not answered yet, the oldest first */
    size_t n_commands;
    struct command *current; /* which of them the client is sending; NULL when it was answered already */
    struct command *waits;   /* which of them "+" is waited for, or is in IDLE; NULL when answered */
    enum up_mode mode;
    bool own_plus;       /* UP_PLUS, UP_IDLE_PLUS: the client does not wait for the "+", we do */
    struct imap_cmd cmd; /* of the command that the client is sending */
    enum fate fate;
    struct buf answer;     /* to the command that is swallowed */
    struct imap_tree *id;  /* FATE_COLLECTS: the arguments so far; owned ... */
    struct buf id_literal; /* ... the literal that is coming ... */
    bool id_bad;           /* ... it can't be read */
    struct buf own;        /* lines of ours that wait for the end of a response */
    enum compression compression;
    struct relay_view *view; /* NULL: nothing is rewritten; owned */
    /* The first line of a command that waits until those under way were answered: it was not decided on. */
    bool holds;
    struct buf held; /* owned */
    struct imap_line_item held_item;

    bool stray_done;       /* the backend ended an IDLE by itself: the client's DONE may be on its way */
    bool logout;           /* passed on: nothing else may follow */
    bool finished;         /* LOGOUT was answered */
    bool bye;              /* the backend said BYE */
    bool hides;            /* the response under way is not for the client, nor are the literals in it */
    enum session_end rest; /* END_NONE, or what comes once no command is under way: a freeze, or the end */
    struct opened opened;
    size_t n_own;     /* commands of ours that are under way, but for OWN_VIEW: what they bring is for us */
    char *idled;      /* tag of the client's IDLE that we have ended; it is to be begun again; owned */
    char *owes_flags; /* the command of relay_owe_flags(), until it is sent; owned */
    struct timer
        *patience; /* a command of ours that the client waits for is under way; owned, NULL where none was */
    struct relay_gone gone;         /* what the client has to be told of as expunged, when it may be */
    uint64_t round;                 /* of the loop, in which ... */
    size_t lines, line_bytes;       /* ... so much of commands was looked at */
    bool client_shut, backend_shut; /* not read at the moment */
    uint64_t moved_ms;              /* the loop's clock at the last byte */
    uint64_t heard_ms;              /* ... that the backend sent, or since when it is read again */
};

/* ---- passing bytes on ----
 *
 * Bytes that lie one behind the other go out in one stream_send(), however many lines and literals they are,
 * and uncopied. What is rewritten, or came in pieces, is gathered, and with it what is small in between. */
struct outlet {
    struct stream *to;
    uint64_t *count;
    const char *direction;     /* of METRIC_SESSION_BYTES */
    struct buf texts;          /* not sent yet; owned until outlet_end() */
    const uint8_t *from, *end; /* ... and behind it */
};
void outlet_range(struct outlet *o, const uint8_t *from, size_t len);
void outlet_text(struct outlet *o, struct span text);
/* Where to add text, until anything else is passed. */
struct buf *outlet_room(struct outlet *o);
void outlet_line(struct outlet *o, struct span line);
void outlet_end(struct outlet *o);

/* A piece of input: what it is, and where its bytes are. */
struct piece {
    enum imap_line_rc rc;
    struct imap_line_item item;
    bool held; /* it came in pieces: its bytes are in the buffer of imap_line, without CRLF */
    const uint8_t *at;
    size_t len;
};
/* False: nothing whole is left. */
bool piece_next(struct imap_line *lines, struct stream *from, struct piece *p);
void outlet_piece(struct outlet *o, const struct piece *p);

/* Lines for the client, CRLF and all: at once, or when the response that is being sent has ended. */
void relay_say(struct session *s, struct span lines);
/* Those that waited. Only at a boundary. */
void relay_say_own(struct session *s);
void relay_sayf(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct command *relay_command_add(struct relay *r, const char *tag, enum imap_verb verb);
void relay_command_remove(struct relay *r, struct command *c);
/* Sends a command of ours; *line is without tag and CRLF. One that the client waits for (OWN_FLAGS, OWN_VIEW), of which
 * there is one at most, has to be answered: where the backend is silent for backend_timeout, the session ends. What the
 * client sends meanwhile changes nothing, and the time in which it does not take what came does not count. */
struct command *relay_command_own(struct session *s, enum relay_own own, struct span line);

/* A command is passed on, or written anew, whose first part this is. It becomes r->current. */
void relay_command_begins(struct session *s, struct span part, bool literal);
/* The answer to a command was passed, with this status. */
void relay_command_ended(struct relay *r, struct command *c, enum imap_status status);

/* The client is in the middle of a command that is, or will be, the backend's. */
bool relay_is_sending(const struct relay *r);

/* LOGOUT was passed on: the answer is waited for, and then given here. */
void relay_expect_end(struct session *s);

/* ---- client to backend ---- */

/* Answers a COMPRESS that waits, if nothing is under way any more. May end the session. */
void relay_compress(struct session *s);
/* May the client's next piece be looked at? */
bool relay_up_open(const struct session *s);
/* Is there a command that waited, and may go on? Then relay_pump_up() begins with it. */
bool relay_held_may_go(const struct session *s);
void relay_pump_up(struct session *s);
/* The command that is being sent is answered here, with what was added to r->answer: a literal that waits for
 * "+" is refused by that, and what comes without it leads nowhere. */
void relay_up_answered(struct session *s, const struct imap_line_item *item);
/* The line without CRLF, in which "{n+}" is "{n}": the body is sent only when the backend has said "+". */
void relay_ask_for_literal(const struct imap_line_item *item, struct buf *out);
/* Messages that are gone, the last one first, so that no number changes before it was told (RFC 3501
 * 7.4.1). */
void relay_tell_gone(struct session *s);

/* ---- a view that is not plain (relay_view_up.c, relay_view.c); r->view is set ---- */

struct view_command;

/* Has this command, of which it is the first part, to wait? */
bool relay_view_waits(const struct session *s, struct span part);
enum relay_view_part { PART_PASSES, PART_COLLECTS, PART_ANSWERED };
/* A part of a command that passes. PART_PASSES: with *line in its place, where that is not empty; *_c is set
 * with the first part. PART_COLLECTS: for relay_view_text(). PART_ANSWERED: relay_up_answered(). */
enum relay_view_part relay_view_part(struct session *s, const struct imap_line_item *item, struct buf *line,
                                     struct view_command **_c);
/* FATE_VIEW: a line part, a piece of a literal's body. */
void relay_view_text(struct session *s, const struct imap_line_item *item, struct outlet *o);
void relay_view_literal(struct session *s, const struct imap_line_item *item);
/* The backend has said "+" to the literal of a command that was written anew: what follows is sent. False:
 * nothing is left, so the "+" is for the client's own literal. */
bool relay_view_plus(struct session *s) MUST_CHECK;
/* ... it has answered the command instead. */
void relay_view_unsent(struct relay *r);
/* The store is asked before something can go on: no command may begin, ... */
bool relay_view_asks(const struct relay *r);
/* ... a command is to be sent when it has answered, ... */
bool relay_view_sends(const struct relay *r);
/* ... no response may be looked at. */
bool relay_view_stops(const struct relay *r);
/* Something may pass: goes on with what waited for that. */
void relay_view_go_on(struct session *s);

/* Responses; resp: of the first part of an untagged one. What is wrong is END_VIEW, with *wrong. */
enum session_end relay_view_untagged(struct session *s, const struct piece *p, const struct imap_resp *resp,
                                     struct span line, struct outlet *o, const char **wrong);
/* A line of FETCH of the most usual kind, which went out; false: it is another one. */
bool relay_view_quick(struct session *s, const struct piece *p, struct outlet *o) MUST_CHECK;
enum session_end relay_view_more(struct session *s, const struct piece *p, struct outlet *o,
                                 const char **wrong);
/* A response is collected: all of its further pieces are for relay_view_more(). */
bool relay_view_collects(const struct relay *r);
enum session_end relay_view_tagged(struct session *s, struct command *c, const struct imap_resp *resp,
                                   struct span line, struct outlet *o, const char **wrong);
/* The tagged answer to a command of ours (OWN_VIEW), which is one of relay->commands still. */
void relay_view_asked(struct session *s, struct command *own, const struct imap_resp *resp, struct span line,
                      struct outlet *o);
/* What the session has enabled at the backend has become more. */
void relay_view_enabled(struct session *s);
void relay_view_free(struct relay_view **v);

/* ---- backend to client ---- */

/* False: the session was ended. */
bool relay_pump_down(struct session *s);

#endif
