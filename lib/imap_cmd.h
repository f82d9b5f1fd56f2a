/* imap_cmd: what the proxy must know of a client's command: tag, verb, and whether it may pass (the
 * allow-list of capabilities, see imap_caps). One table of verbs rules what is known; a verb that is not in
 * it is refused, since what an unknown command carries can't be kept right over a flip. Pure. */
#ifndef IMAPFERRY_IMAP_CMD_H
#define IMAPFERRY_IMAP_CMD_H

#include "imap_caps.h"
#include "imap_tok.h"

enum { IMAP_TAG_MAX = 64 };

enum imap_verb {
    VERB_UNKNOWN,
    VERB_CAPABILITY,
    VERB_NOOP,
    VERB_LOGOUT,
    VERB_ID,
    VERB_STARTTLS,
    VERB_AUTHENTICATE,
    VERB_LOGIN,
    VERB_ENABLE,
    VERB_SELECT,
    VERB_EXAMINE,
    VERB_CREATE,
    VERB_DELETE,
    VERB_RENAME,
    VERB_SUBSCRIBE,
    VERB_UNSUBSCRIBE,
    VERB_LIST,
    VERB_LSUB,
    VERB_STATUS,
    VERB_APPEND,
    VERB_NAMESPACE,
    VERB_IDLE,
    VERB_CHECK,
    VERB_CLOSE,
    VERB_UNSELECT,
    VERB_EXPUNGE,
    VERB_SEARCH,
    VERB_FETCH,
    VERB_STORE,
    VERB_COPY,
    VERB_MOVE,
    VERB_SORT,
    VERB_THREAD,
    VERB_UID_EXPUNGE,
    VERB_UID_SEARCH,
    VERB_UID_FETCH,
    VERB_UID_STORE,
    VERB_UID_COPY,
    VERB_UID_MOVE,
    VERB_UID_SORT,
    VERB_UID_THREAD,
    VERB_GETQUOTA,
    VERB_GETQUOTAROOT,
    VERB_SETQUOTA,
    VERB_GETACL,
    VERB_SETACL,
    VERB_DELETEACL,
    VERB_LISTRIGHTS,
    VERB_MYRIGHTS,
    VERB_GETMETADATA,
    VERB_SETMETADATA,
    VERB_COUNT
};

enum imap_verb_flags {
    /* changes nothing at the server, not even \Seen (FETCH is told apart by its items) */
    VERB_READS = 1 << 0,
    VERB_PREAUTH = 1 << 1, /* allowed before login */
    VERB_HAS_UID = 1 << 2, /* UID variant */
};

struct imap_verb_info {
    const char *name; /* "UID FETCH" */
    unsigned flags;
    enum imap_cap needs; /* CAP_NONE for base commands; a command whose capability is not shown is refused */
};

struct imap_cmd {
    char tag[IMAP_TAG_MAX + 1]; /* "*" where the line had no usable tag */
    enum imap_verb verb;
    /* offset in the line of what follows the verb (behind the blank), or line length */
    size_t args;
    /* imap_cmd_allowed()'s own: strings that a SEARCH key takes in the next part, */
    unsigned due;
    /* and parentheses that are open at the end of this one, and those in its section */
    int depth, section;
};

extern const struct imap_verb_info imap_verbs[VERB_COUNT];

/* Reads tag and verb of a command's first line part. False: *why (a fixed text for a tagged BAD); cmd->tag is
 * usable all the same. Tags: RFC 3501 9 "tag", at most IMAP_TAG_MAX bytes. A verb that is not in the table is
 * VERB_UNKNOWN and true. */
bool imap_cmd_parse(struct span line, struct imap_cmd *cmd, const char **why) MUST_CHECK;

/* For commands after login: does this one stay within the shown capabilities? The verb must be in the table
 * and its capability shown; of the arguments, FETCH and STATUS items, STORE, SELECT and CREATE modifiers,
 * SEARCH keys and SORT criteria, LIST and RETURN options and what APPEND takes beside flags and date must be
 * known and shown: an allow-list, so that items of extensions nobody here has heard of (X-*, ...) are refused
 * too. Quoted strings, literals, mailbox names, flags and the string arguments of SEARCH keys are never
 * looked into.
 *
 * Also refused is what a server might cut into words in another way than we do (an unclosed quote, a quote,
 * "{" or 8-bit inside of a word or a section, parentheses that don't balance over the parts of the command or
 * have no blank beside them, a string among flags, arguments where there can't be any). Where it gives up
 * half way, Dovecot 2.3 for one takes the body of a non-synchronizing literal behind it for commands. It does
 * so after other errors too (an unknown flag in APPEND, one argument too many), which nobody can foresee: who
 * must be sure sends a body only after the server's "+".
 *
 * Called for each line part of a command, in order, with the command's cmd and the literal marker at the
 * part's end. False: *why is the text of the BAD. */
bool imap_cmd_allowed(struct imap_cmd *cmd, struct span part, bool first, const struct imap_caps *shown,
                      const char **why) MUST_CHECK;
/* Of the arguments of ENABLE, appends the names that may go to the server, blanks between. ENABLE is not
 * refused for asking too much (RFC 5161 3.1); where nothing stays, the owner answers it itself. */
void imap_cmd_filter_enable(struct buf *out, struct span args, const struct imap_caps *shown);
/* True where the command, as far as this first part shows, changes nothing at the server: verbs with
 * VERB_READS, and FETCH whose items don't set \Seen. */
bool imap_cmd_reads(const struct imap_cmd *cmd, struct span line);
/* True where the first part means messages by their numbers (RFC 3501 2.3.1.2), which EXPUNGEs change: FETCH,
 * STORE, COPY, MOVE, SEARCH, SORT, THREAD; of the UID variants, searches with a set of numbers other than 1:*
 * among their keys. */
bool imap_cmd_uses_numbers(const struct imap_cmd *cmd, struct span line);

#endif
