/* imap_cmd: what the proxy must know of a client's command: its tag, its verb, and whether it may pass (the
 * allow-list of capabilities, see imap_caps.h). One table of verbs says which are known. A verb that is not
 * in it is refused, since what an unknown command carries can't be kept right over a flip. Pure. */
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
    VERB_COMPRESS,
    VERB_COUNT
};

enum imap_verb_flags {
    /* the command changes nothing at the server, not even \Seen (for FETCH its items decide that) */
    VERB_READS = 1 << 0,
    VERB_PREAUTH = 1 << 1, /* allowed before login */
    VERB_HAS_UID = 1 << 2, /* the UID variant of another verb */
};

struct imap_verb_info {
    const char *name; /* "UID FETCH" */
    unsigned flags;
    enum imap_cap needs; /* without this capability being shown, it is refused; CAP_NONE for base commands */
};

struct imap_cmd {
    char tag[IMAP_TAG_MAX + 1]; /* "*" where the line had no usable tag */
    enum imap_verb verb;
    /* offset in the line of what follows the verb (behind the blank), or line length */
    size_t args;
    /* imap_cmd_allowed() keeps these between two parts: how many strings a SEARCH key still takes in the next
     * part */
    unsigned due;
    int depth, section; /* ... and how many parentheses are open, outside of a section and in it */
    /* ... and whether something was asked for by which a client says that it wants MODSEQs from then on (RFC
     * 7162 3.1): MODSEQ of FETCH and SEARCH, CHANGEDSINCE, UNCHANGEDSINCE, HIGHESTMODSEQ of STATUS, SELECT
     * (CONDSTORE) */
    bool condstore;
};

extern const struct imap_verb_info imap_verbs[VERB_COUNT];

/* Reads tag and verb from a command's first line part. False: *why is a fixed text for a tagged BAD; cmd->tag
 * is usable all the same. Tags are those of RFC 3501 9 "tag", at most IMAP_TAG_MAX bytes long. For a verb
 * that is not in the table it returns true, with VERB_UNKNOWN. */
bool imap_cmd_parse(struct span line, struct imap_cmd *cmd, const char **why) MUST_CHECK;

/* For commands after login: does this one stay within the shown capabilities? The verb must be in the table,
 * and its capability shown. Of the arguments, these must be known and shown: items of FETCH and STATUS;
 * modifiers of STORE, SELECT and CREATE; SEARCH keys and SORT criteria; options of LIST and RETURN; and what
 * APPEND takes beside flags and date. That is an allow-list, so that items of extensions that nobody here has
 * heard of (X-*, ...) are refused too. Quoted strings, literals, mailbox names, flags and the string
 * arguments of SEARCH keys are never looked into.
 *
 * Also refused is what a server might cut into words in another way than we do: an unclosed quote; a quote,
 * "{" or 8-bit inside of a word or a section; parentheses that don't balance over the parts of the command,
 * or have no blank beside them; a string among flags; arguments where there can't be any. A server that gives
 * up half way in such a command may take the body of a non-synchronizing literal behind it for commands, as
 * Dovecot 2.3 does. Dovecot does so after other errors too (an unknown flag in APPEND, one argument too
 * many), which nobody can foresee: who must be sure sends a body only after the server's "+".
 *
 * Called for each line part of a command, in order, with the command's cmd and with the literal marker at the
 * part's end. False: *why is the text of the BAD. */
bool imap_cmd_allowed(struct imap_cmd *cmd, struct span part, bool first, const struct imap_caps *shown,
                      const char **why) MUST_CHECK;
/* Appends, of the arguments of ENABLE, the names that may go to the server, with blanks between them. An
 * ENABLE is not refused for asking too much (RFC 5161 3.1); where no name stays, the owner answers it
 * itself. */
void imap_cmd_filter_enable(struct buf *out, struct span args, const struct imap_caps *shown);
/* How many arguments a SEARCH key takes (for CHARSET too, which stands in front of keys; of MODSEQ, whose
 * first may be an entry in quotes, with two more behind it, only one), and whether that is a set of UIDs.
 * False: it is no key, or a set of message numbers. */
bool imap_cmd_search_key(struct span word, unsigned *_args, bool *_set) MUST_CHECK;
/* True where the command, as far as this first part shows, changes nothing at the server: verbs with
 * VERB_READS, and FETCH whose items don't set \Seen. */
bool imap_cmd_reads(const struct imap_cmd *cmd, struct span line);
/* True where the first part names messages by their numbers (RFC 3501 2.3.1.2), which EXPUNGEs change. That
 * is so for FETCH, STORE, COPY, MOVE, SEARCH, SORT and THREAD; and of the UID variants, for searches with a
 * set of numbers other than 1:* among their keys. */
bool imap_cmd_uses_numbers(const struct imap_cmd *cmd, struct span line);

#endif
