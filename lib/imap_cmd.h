/* imap_cmd: what the proxy must know of a client's command: tag, verb, and whether it may pass (the allow-list of
 * capabilities, see imap_caps). One table of verbs rules what is known; a verb that is not in it is refused, since
 * what an unknown command carries can't be kept right over a flip. Pure. */
#ifndef IMAPFERRY_IMAP_CMD_H
#define IMAPFERRY_IMAP_CMD_H

#include "imap_caps.h"
#include "imap_tok.h"

enum { IMAP_TAG_MAX = 64 };

enum imap_verb {
    VERB_UNKNOWN,
    VERB_CAPABILITY, VERB_NOOP, VERB_LOGOUT, VERB_ID, VERB_STARTTLS, VERB_AUTHENTICATE, VERB_LOGIN, VERB_ENABLE,
    VERB_SELECT, VERB_EXAMINE, VERB_CREATE, VERB_DELETE, VERB_RENAME, VERB_SUBSCRIBE, VERB_UNSUBSCRIBE, VERB_LIST,
    VERB_LSUB, VERB_STATUS, VERB_APPEND, VERB_NAMESPACE, VERB_IDLE, VERB_CHECK, VERB_CLOSE, VERB_UNSELECT,
    VERB_EXPUNGE, VERB_SEARCH, VERB_FETCH, VERB_STORE, VERB_COPY, VERB_MOVE, VERB_SORT, VERB_THREAD,
    VERB_UID_EXPUNGE, VERB_UID_SEARCH, VERB_UID_FETCH, VERB_UID_STORE, VERB_UID_COPY, VERB_UID_MOVE, VERB_UID_SORT,
    VERB_UID_THREAD,
    VERB_GETQUOTA, VERB_GETQUOTAROOT, VERB_SETQUOTA, VERB_GETACL, VERB_SETACL, VERB_DELETEACL, VERB_LISTRIGHTS,
    VERB_MYRIGHTS, VERB_GETMETADATA, VERB_SETMETADATA,
    VERB_COUNT
};

enum imap_verb_flags {
    VERB_READS = 1 << 0,    /* changes nothing at the server, not even \Seen (FETCH is told apart by its items) */
    VERB_PREAUTH = 1 << 1,  /* allowed before login */
    VERB_HAS_UID = 1 << 2,  /* UID variant */
};

struct imap_verb_info {
    const char *name; /* "UID FETCH" */
    unsigned flags;
    enum imap_cap needs; /* CAP_NONE for base commands; a command whose capability is not shown is refused */
};

struct imap_cmd {
    char tag[IMAP_TAG_MAX + 1]; /* "*" where the line had no usable tag */
    enum imap_verb verb;
    size_t args;                /* offset in the line of what follows the verb (behind the blank), or line length */
};

extern const struct imap_verb_info imap_verbs[VERB_COUNT];

/* Reads tag and verb of a command's first line part. False: *why (a fixed text for a tagged BAD); cmd->tag is usable
 * all the same. Tags: RFC 3501 9 "tag", at most IMAP_TAG_MAX bytes. */
bool imap_cmd_parse(struct span line, struct imap_cmd *cmd, const char **why) MUST_CHECK;

/* Does this command stay within the shown capabilities? Looks at the verb, and in the arguments of one line part
 * (quoted strings skipped) at FETCH items, STATUS items, STORE, SEARCH, SORT and SELECT modifiers, LIST return
 * options of what is hidden (MODSEQ, CHANGEDSINCE, UNCHANGEDSINCE, CONDSTORE, QRESYNC, HIGHESTMODSEQ, EMAILID,
 * THREADID, MAILBOXID, SAVE of SEARCHRES, PARTIAL, CONTEXT, X-*, ...). Called for each line part of a command with
 * the command's cmd. False: *why is the text of the BAD. */
bool imap_cmd_allowed(const struct imap_cmd *cmd, struct span part, bool first, const struct imap_caps *shown,
                      const char **why) MUST_CHECK;
/* True where the command, as far as this first part shows, changes nothing at the server: verbs with VERB_READS, and
 * FETCH whose items don't set \Seen. */
bool imap_cmd_reads(const struct imap_cmd *cmd, struct span line);

#endif
