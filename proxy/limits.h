/* limits: what one client may send, and what is held for it, before login and after. How many clients may
 * come is a matter of crowd.h. */
#ifndef IMAPFERRY_LIMITS_H
#define IMAPFERRY_LIMITS_H

#include "lib/imap_line.h"
#include "lib/stream.h"

enum {
    /* before login */
    LIMIT_LINE = 8 * 1024,             /* a line before login, bytes; but for a few long IDs (crowd.h) */
    LIMIT_ID_LINE = 64 * 1024,         /* ... and an ID after login */
    LIMIT_LITERAL = 8 * 1024,          /* a literal before login */
    LIMIT_NONSYNC = 4096,              /* {n+} before login: LITERAL- (RFC 7888 section 5) */
    LIMIT_PARTS = 64,                  /* literals in one command; ID has at most 60 strings */
    LIMIT_PASSWORD = 4096,             /* bytes */
    LIMIT_BAD_LINES = 3,               /* invalid commands in a row before login */
    LIMIT_HOPS = 5,                    /* proxies between a client and its mail */
    LIMIT_COMMANDS = 100,              /* commands before login, but for those that try to log in */
    LIMIT_COMMANDS_A_TURN = 16,        /* ... then it is the turn of others */
    LIMIT_EARLY_HIGH_WATER = 4 * 1024, /* before login: answers that are not taken stop reading */

    /* after login */
    /* lines of commands of a session that are looked at in a round of the loop ... */
    LIMIT_LINES_A_ROUND = 64,
    /* ... and their bytes, of which a longer line takes those of the next rounds; what is in literals costs next to
     * nothing */
    LIMIT_LINE_BYTES_A_ROUND = 64 * 1024,
    LIMIT_PIPELINED = 1000, /* commands under way in a session */
    /* A line of a command after login: the UIDs that a client knows of a mailbox (QRESYNC), 100,000 messages with
     * gaps between them. Servers may take less (Dovecot 64 KiB, unless it is told otherwise), and say so. */
    LIMIT_RELAY_LINE = 1024 * 1024,
    LIMIT_SKIPPED = 15 * 1024 * 1024,  /* so much more of a longer one is read over, and it is answered BAD */
    LIMIT_RESPONSE = 16 * 1024 * 1024, /* a line of a response: SEARCH in a mailbox of two million messages */
    LIMIT_UNSENT = 24 * 1024 * 1024,   /* must hold one such line */
    LIMIT_HIGH_WATER = 64 * 1024,      /* where a reader counts as slow */
    LIMIT_OWN_WORDS = 16 * 1024,       /* answers of ours that wait for a response to end */
};

/* For imap_line: what a client may send before and after login. nonsync: the largest {n+}, as the
 * capabilities shown after login say. */
extern const struct imap_line_limits limits_before_login;
struct imap_line_limits limits_after_login(uint64_t nonsync);
extern const struct imap_line_limits limits_of_backend;
extern const struct stream_limits limits_of_stream;   /* flush_ms: of the configuration */
extern const struct stream_limits limits_of_stranger; /* ... of a client's before login */

#endif
