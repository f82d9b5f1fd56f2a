/* imap_caps: capability sets (RFC 3501 7.2.1, RFC 9051 7.2.2), and the one list of those that a client may be
 * shown. Pure. The table in imap_caps.c has a row for each capability: its name, and whether it is shown
 * (since it carries no identifiers, or only ones that are translated: see the head of that file), hidden, the
 * proxy's own, or only means something before login. Names that are not in the table are hidden. */
#ifndef IMAPFERRY_IMAP_CAPS_H
#define IMAPFERRY_IMAP_CAPS_H

#include "buf.h"

/* The capabilities that code asks for by name; the table has more. */
enum imap_cap {
    CAP_NONE,
    CAP_IMAP4REV1,
    CAP_STARTTLS,
    CAP_LOGINDISABLED,
    CAP_AUTH_PLAIN,
    CAP_AUTH_LOGIN,
    CAP_AUTH_XOAUTH2,
    CAP_AUTH_OAUTHBEARER,
    CAP_AUTH_EXTERNAL,
    CAP_SASL_IR,
    CAP_PROXYAUTH,
    CAP_UIDPLUS,
    CAP_MOVE,
    CAP_ESEARCH,
    CAP_SORT,
    CAP_THREAD_REFERENCES,
    CAP_THREAD_ORDEREDSUBJECT,
    CAP_THREAD_REFS,
    CAP_LIST_STATUS,
    CAP_MULTIAPPEND,
    CAP_IDLE,
    CAP_NAMESPACE,
    CAP_ID,
    CAP_ENABLE,
    CAP_UNSELECT,
    CAP_CHILDREN,
    CAP_LIST_EXTENDED,
    CAP_SPECIAL_USE,
    CAP_CREATE_SPECIAL_USE,
    CAP_LITERAL_PLUS,
    CAP_LITERAL_MINUS,
    CAP_BINARY,
    CAP_QUOTA,
    CAP_QUOTASET,
    CAP_ACL,
    CAP_METADATA,
    CAP_METADATA_SERVER,
    CAP_WITHIN,
    CAP_STATUS_SIZE,
    CAP_SAVEDATE,
    CAP_PREVIEW,
    CAP_APPENDLIMIT,
    CAP_I18NLEVEL_1,
    CAP_SNIPPET,
    CAP_INPROGRESS,
    CAP_SORT_DISPLAY,
    CAP_SEARCH_FUZZY,
    CAP_RIGHTS,
    CAP_QUOTA_STORAGE,
    CAP_QUOTA_MESSAGE,
    CAP_QUOTA_MAILBOX,
    CAP_QUOTA_ANNOTATION,
    CAP_CONDSTORE,
    CAP_QRESYNC,
    CAP_SEARCHRES,
    CAP_NOTIFY,
    CAP_COMPRESS_DEFLATE,
    CAP_UTF8_ACCEPT,
    CAP_OBJECTID,
    CAP_REPLACE,
    CAP_CATENATE,
    CAP_ESORT,
    CAP_CONTEXT_SEARCH,
    CAP_URLAUTH,
    CAP_MULTISEARCH,
    CAP_PARTIAL,
    CAP_UNAUTHENTICATE,
    CAP_IMAP4REV2,
    CAP_XLIST,
    CAP_ANNOTATEMORE,
    CAP_X_REPLICATION, /* SYNCGET and SYNCAPPLY of Cyrus */
    CAP_IMAPSIEVE,     /* Sieve scripts are run for what comes by IMAP (RFC 6785) */
    CAP_COUNT
};

struct imap_caps {
    uint64_t bits[2];     /* by enum imap_cap */
    uint64_t appendlimit; /* n of APPENDLIMIT=n (RFC 7889), in bytes; 0 = no limit was told */
};

void imap_caps_add(struct imap_caps *c, enum imap_cap cap);
bool imap_caps_has(const struct imap_caps *c, enum imap_cap cap);
/* Reads the words of a CAPABILITY response or code, separated by blanks: "IMAP4rev1 IDLE ...". Replaces *c.
 * Names that no row of the table has a cap for are forgotten. */
void imap_caps_parse(struct imap_caps *c, struct span words);
/* Changes *c as a configuration says: "-UIDPLUS" takes a capability away (QRESYNC goes with CONDSTORE),
 * "APPENDLIMIT=1000" adds or replaces one. Returns NULL, or the first word that names no capability which
 * code here asks for. */
const char *imap_caps_override(struct imap_caps *c, char *const *words, size_t n);
/* The set of what both have. Of two APPENDLIMITs it has the smaller one. It has LITERAL+ where both have
 * that, else LITERAL- where each has one of the two. */
struct imap_caps imap_caps_common(const struct imap_caps *a, const struct imap_caps *b);
/* The set of what a has and b has not, or has with another APPENDLIMIT. */
struct imap_caps imap_caps_without(const struct imap_caps *a, const struct imap_caps *b);
bool imap_caps_equal(const struct imap_caps *a, const struct imap_caps *b);
/* What a client of these two backends is shown after login: what they have in common, as far as the
 * allow-list shows it, and always IMAP4rev1; QRESYNC only with CONDSTORE and ENABLE, without which it can't
 * be used. Pass the same set twice where only one side is known. */
struct imap_caps imap_caps_shown(const struct imap_caps *a, const struct imap_caps *b);
/* Takes CONDSTORE and QRESYNC out of what a client is shown. */
void imap_caps_hide_modseqs(struct imap_caps *c);
/* Appends "IMAP4rev1 IDLE ..." in the order of the table, with blanks between: all of *c, shown or not. */
void imap_caps_write(struct buf *out, const struct imap_caps *c);

#endif
