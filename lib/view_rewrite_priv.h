/* What the files of view_rewrite share. view_rewrite_table.c says what there is to rewrite. view_rewrite.c is
 * about commands, view_rewrite_set.c about UIDs in them; view_rewrite_answer.c about status responses,
 * view_rewrite_data.c about untagged data (view_rewrite_quick.c about the most usual of it),
 * view_rewrite_number.c about the numbers in both; view_rewrite_list.c about LIST; view_rewrite_modseq.c about
 * MODSEQs, and view_rewrite_resync.c about a client that asks what has vanished. */
#ifndef IMAPFERRY_VIEW_REWRITE_PRIV_H
#define IMAPFERRY_VIEW_REWRITE_PRIV_H

#include <sys/queue.h>

#include "view_rewrite.h"

/* ---- the table ---- */

enum view_verb_flags {
    TAKES_UIDS = 1 << 0, /* its first argument is a set of UIDs */
    TAKES_KEYS = 1 << 1, /* SEARCH keys are among its arguments */
    OPENS = 1 << 2,      /* a mailbox is open behind it, or none */
    LEAVES = 1 << 3,     /* ... none */
    NEEDS_OPEN = 1 << 4, /* it is about the mailbox that is open */
    ALONE = 1 << 5,      /* no other command may be under way */
    LISTS = 1 << 6,      /* its answers are told from those of others by their kind alone */
    FINDS = 1 << 7,      /* the same: numbers of messages, or UIDs */
    MOVES = 1 << 8,      /* the same: an untagged COPYUID */
};

struct view_verb {
    enum view_takes takes;
    unsigned flags;
    unsigned
        names; /* bit i: the i-th argument is a mailbox's name. Lists before the first name don't count */
};
extern const struct view_verb view_verbs[VERB_COUNT];

/* What an untagged response is. */
enum view_data {
    DATA_SAME,    /* it has no number but those of messages, and no name */
    DATA_MAILBOX, /* the same, of the mailbox that is open */
    DATA_FETCH,
    DATA_FOUND, /* SEARCH, SORT, THREAD: numbers of messages, or UIDs */
    DATA_ESEARCH,
    DATA_VANISHED,
    DATA_STATUS,
    DATA_LIST,
    DATA_NAMESPACE,
    DATA_NAMED,   /* a name comes first, and nothing behind it has to change */
    DATA_UNKNOWN, /* not for the client, which has asked for nothing of the kind */
};
enum view_data view_data_of(const struct imap_resp *resp);

enum view_code {
    CODE_SAME,
    CODE_UIDVALIDITY,
    CODE_UIDNEXT,
    CODE_APPENDUID,
    CODE_COPYUID,
    CODE_CLOSED,
    CODE_HIGHESTMODSEQ,
    CODE_NOMODSEQ,
    CODE_MODIFIED,
    CODE_INPROGRESS, /* it has a tag */
    CODE_UNKNOWN,    /* left out: who knows what is in it */
};
enum view_code view_code_of(struct span code);
/* An item of STATUS that passes as it is. */
bool view_status_passes(struct span item);

/* ---- state ---- */

struct view_listing; /* a LIST or LSUB under way, of which the answers are filtered */
struct view_resync;  /* a client asks what has vanished (view_rewrite_resync.c) */

struct view_command {
    TAILQ_ENTRY(view_command) link;
    enum imap_verb verb;
    bool noop; /* a NOOP went in its place */
    /* OPENS: `SELECT ""` went in its place, and the client is told this; NULL: it is what the client asked for */
    const char *nowhere;
    bool adds;     /* UIDVALIDITY was asked for, which the client did not ask for */
    bool alone;    /* as the flag ALONE says of a verb */
    unsigned due;  /* TAKES_KEYS: how many strings the key before still takes in the next part */
    char *name;    /* of the mailbox it is about, as the client spells it; owned, NULL: none */
    char *backend; /* ... as the backend does; owned */
    struct view_listing *list;
    struct view_changes begun;     /* of a RENAME or DELETE */
    unsigned stores;               /* how often VIEW_STORE was given for it */
    uint32_t uidvalidity, uidnext; /* OPENS: what was said; 0: nothing */
    uint64_t highest;              /* ... HIGHESTMODSEQ */
    bool nomodseq;                 /* ... that there is none */
    struct view_changes voids;     /* STATUS: mailboxes that are others now */
    struct buf kept;               /* ... and their lines, until the store has that */
    struct view_resync *resync;    /* owned */
};

enum fetch_at { FETCH_KEY, FETCH_VALUE, FETCH_SECTION, FETCH_DONE };
enum fetch_item { ITEM_OTHER, ITEM_UID, ITEM_MODSEQ };

struct view_rewrite {
    struct view *view;
    bool qresync, esearch; /* at the backend */
    struct view_unknown unknown;
    uint32_t
        unrecorded; /* the greatest UIDVALIDITY that the client was shown of a mailbox without a record */
    /* The mailbox that the client has open. */
    struct {
        bool is;
        bool barred;       /* the backend has one open, which can't be shown */
        struct view *view; /* by which it was opened; owned */
        const struct view_uid *map;
        size_t near;                /* view_uid_to_client_near() */
        uint32_t uidvalidity, real; /* what the client was shown, what the backend says; 0: not known */
        uint32_t uidnext;           /* what the client was shown; 0: nothing */
        uint64_t floor, shift;      /* of MODSEQs, as in struct view_sight */
        bool modseqs;               /* false: to the client it has none */
        uint64_t highest;           /* the greatest HIGHESTMODSEQ that the client was shown; 0: none */
    } open;
    TAILQ_HEAD(, view_command) commands; /* under way, those that anything is to be known of */
    /* The untagged response under way. */
    enum { REST_SAME, REST_NOTHING, REST_FETCH } rest;
    struct {
        enum fetch_at at;
        enum fetch_item item; /* FETCH_VALUE: of which */
        unsigned depth;
    } fetch;
};

/* The first command under way that has one of these flags; NULL: none. */
struct view_command *view_command_with(const struct view_rewrite *w, unsigned flags);
/* The one that opens a mailbox, as long as the backend has not said that it did; NULL: none. */
struct view_command *view_opening(const struct view_rewrite *w);

/* ---- writing ---- */

void view_write_value(struct imap_writer *out, const struct imap_value *v);
/* A line, with its CRLF. */
void view_write_line(struct buf *out, struct span line);
/* A client's name, for a response. */
void view_write_name(struct buf *out, struct span name);
/* Numbers in the order in which they come, ranges where they rise by one. */
struct view_set_writer {
    struct buf *out;
    size_t begin;         /* of the set in out */
    uint32_t first, last; /* not written yet; 0: none */
};
void view_set_write(struct view_set_writer *s, uint32_t first, uint32_t last);
/* False: the set is empty. */
bool view_set_end(struct view_set_writer *s) MUST_CHECK;

/* ---- sets and keys in commands ---- */

enum view_set { SET_GOOD, SET_EMPTY, SET_BAD };
/* Appends a client's set in the backend's UIDs. */
enum view_set view_set_to_backend(const struct view_uid *map, struct span set, struct buf *out) MUST_CHECK;
/* Where the marker of the literal begins that stands at the end of a part; else its length. */
size_t view_text_end(struct span part);
/* Appends a part with SEARCH keys. False: *bad is the text of a BAD. Of a part behind a literal, the backend is given what
 * it answers so. */
bool view_keys_to_backend(const struct view_rewrite *w, struct view_command *c, const struct imap_cmd *cmd,
                          struct span part, bool first, struct buf *out, const char **bad) MUST_CHECK;

/* ---- MODSEQs (view_rewrite_modseq.c) ---- */

#define VIEW_MODSEQ_MAX ((uint64_t)INT64_MAX) /* RFC 7162 7: 63 bits */

/* The backend's MODSEQs are other numbers to the client, or none. */
bool view_modseq_shifts(const struct view_rewrite *w);
/* A condition does not mean to the backend what it means to the client. */
bool view_conditions_matter(const struct view_rewrite *w);
enum view_modseq {
    MODSEQ_BAD,
    MODSEQ_OLD, /* of before the flip; 0 too, as which all messages have changed since */
    MODSEQ_NEW,
};
/* A MODSEQ of the client; MODSEQ_NEW: *_r is the backend's. */
enum view_modseq view_modseq_of(const struct view_rewrite *w, uint64_t n, uint64_t *_r) MUST_CHECK;
enum view_modseq view_modseq_to_backend(const struct view_rewrite *w, struct span text,
                                        uint64_t *_r) MUST_CHECK;
/* One of the backend. False: it can't be said. */
bool view_modseq_to_client(const struct view_rewrite *w, struct span text, uint64_t *_r) MUST_CHECK;
/* The HIGHESTMODSEQ that clients are shown. False: they are shown none. */
bool view_modseq_highest(const struct view_sight *sight, uint64_t n, uint64_t *_r) MUST_CHECK;
/* The conditions that are in a part of FETCH or STORE: the part with others. Its set is still the client's,
 * but of a command that begins to ask what has vanished. */
enum view_becomes view_conditions(struct view_rewrite *w, const struct imap_cmd *cmd, struct span part,
                                  bool first, struct buf *out, struct buf *answer,
                                  struct view_command **_c) MUST_CHECK;
/* A FETCH with a literal in a section of its items, behind which there may be a condition: it is given as one line. */
bool view_is_joined(const struct view_rewrite *w, const struct imap_cmd *cmd, struct span part);
/* Will it become one that asks what has vanished? A joined one may. */
bool view_is_resync(const struct view_rewrite *w, const struct imap_cmd *cmd, struct span part);

/* ---- what has vanished (view_rewrite_resync.c) ---- */

void view_resync_free(struct view_resync **r);
/* Reads the parameters of SELECT. NULL: they are good, and *_r is set where QRESYNC is among them; else the
 * text of a BAD. */
const char *view_resync_select(const struct view_rewrite *w, const struct imap_value *args,
                               struct view_resync **_r) MUST_CHECK;
/* The mailbox is open, and *out has what the client is told of it but for the tagged line. */
enum view_gives view_resync_begin(struct view_rewrite *w, struct view_command *c,
                                  const struct imap_resp *resp, struct buf *tagged,
                                  struct buf *out) MUST_CHECK;
/* A UID FETCH by an old MODSEQ. items: and what follows them. */
enum view_becomes view_resync_fetch(struct view_rewrite *w, const struct imap_cmd *cmd, struct span set,
                                    struct span items, struct buf *out, struct buf *answer,
                                    struct view_command **_c) MUST_CHECK;
/* Is a command of ours under way for it, or to be asked? */
bool view_resync_asks(const struct view_command *c);
/* The tagged answer to it. */
enum view_gives view_resync_answered(struct view_rewrite *w, struct view_command *c,
                                     const struct imap_resp *resp, struct span line,
                                     struct buf *out) MUST_CHECK;
/* A NOOP went in its place: what has vanished. */
void view_resync_noop(struct view_rewrite *w, struct view_command *c, struct buf *out);
/* Data that only we have asked for are VIEW_NOTHING; VIEW_SAME: any other. */
enum view_gives view_resync_data(struct view_rewrite *w, enum view_data data, const struct imap_resp *resp,
                                 struct span part, bool literal, const char **wrong) MUST_CHECK;
/* What the server tells of the mailbox while it is asked what is there: out and the result of what part has
 * become. A FETCH is kept for behind VANISHED (VIEW_NOTHING). */
enum view_gives view_resync_later(struct view_rewrite *w, enum view_data data, struct span part, bool literal,
                                  enum view_gives gives, struct buf *out) MUST_CHECK;
/* Would a FETCH be kept so? */
bool view_resync_keeps(const struct view_rewrite *w);
/* Writes VANISHED, a long one as several lines. */
struct view_vanished {
    struct buf *out;
    size_t begin, line; /* where the line under way began, and how many ranges it has */
    bool earlier, any;
};
void view_vanished_begin(struct view_vanished *v, bool earlier, struct buf *out);
void view_vanished_add(struct view_vanished *v, uint32_t first, uint32_t last);
/* False: there is none. */
bool view_vanished_end(struct view_vanished *v) MUST_CHECK;

/* ---- numbers in responses ---- */

/* The UIDNEXT that clients are shown. False: it can't be said. */
bool view_uidnext(const struct view_uid *map, uint32_t uidnext, uint32_t *_r) MUST_CHECK;
/* Appends the set of MODIFIED. */
enum view_set view_modified(const struct view_uid *map, struct span set, struct buf *out) MUST_CHECK;
/* Appends the arguments of APPENDUID, COPYUID. False: they can't be said, and *out has a part of them. */
bool view_appenduid(const struct view_sight *at, struct span args, struct buf *out) MUST_CHECK;
bool view_copyuid(const struct view_uid *from, const struct view_sight *to, struct span args,
                  struct buf *out) MUST_CHECK;
/* Cuts the word at the front off, and blanks before and behind it. */
struct span view_cut_word(struct span *rest);

enum view_gives view_fetch(struct view_rewrite *w, struct span part, size_t at, bool first, bool literal,
                           struct buf *out, const char **wrong);
/* uids: they are UIDs. */
enum view_gives view_found(struct view_rewrite *w, struct span part, size_t at, bool uids, struct buf *out,
                           const char **wrong);
/* To behind "(TAG "a1")" and UID. False: there is no UID, so the numbers are those of messages. */
bool view_esearch_head(struct span part, size_t at, struct span *rest);
/* finds_uids: the searches under way are for UIDs. */
enum view_gives view_esearch(struct view_rewrite *w, struct span part, size_t at, bool finds_uids,
                             struct buf *out, const char **wrong);
enum view_gives view_vanished(struct view_rewrite *w, struct span part, size_t at, struct buf *out,
                              const char **wrong);

/* ---- LIST ---- */

/* A LIST or LSUB as it goes on. */
enum view_becomes view_listing_command(struct view_rewrite *w, const struct imap_cmd *cmd,
                                       const struct imap_value *args, struct imap_writer *out,
                                       struct buf *answer, struct view_command **_c);
void view_listing_free(struct view_listing **l);
/* A line of LIST or LSUB. */
enum view_gives view_listing_line(struct view_rewrite *w, const struct imap_resp *resp,
                                  const struct imap_value *data, struct buf *out, const char **wrong);
/* Where the lines of STATUS that belong to a LIST are kept; NULL: this one is not for the client. */
struct buf *view_listing_status(struct view_listing *l, struct span client_name);
/* All lines of it. */
void view_listing_end(struct view_listing *l, struct buf *out);
/* Behind the backend's answer: is a STATUS to be asked for before the client is told, with this line at the end? */
bool view_listing_asks(struct view_listing *l, struct buf *tagged) MUST_CHECK;
void view_listing_ask(const struct view_listing *l, struct buf *out);
/* All of what the client is told then. */
void view_listing_answered(struct view_listing *l, struct buf *out);

/* ---- commands (view_rewrite.c) ---- */

struct view_command *view_command_new(struct view_rewrite *w, enum imap_verb verb);
void view_rewrite_open(struct view_rewrite *w, const struct view_sight *sight, uint32_t real);
void view_rewrite_close(struct view_rewrite *w);
/* The client is shown this UIDVALIDITY of the mailbox. */
void view_rewrite_shown(struct view_rewrite *w, struct span client, uint32_t uidvalidity);
/* A tagged answer to c (NULL: nothing is known of it): its code. VIEW_WRONG: of a UID STORE alone. */
enum view_gives view_rewrite_code(struct view_rewrite *w, const struct view_command *c,
                                  const struct imap_resp *resp, struct span line, struct buf *out);
enum view_becomes view_answer(struct buf *answer, const struct imap_cmd *cmd, const char *text);
enum view_gives view_untagged_status(struct view_rewrite *w, const struct imap_resp *resp, struct span line,
                                     struct buf *out, const char **wrong);
/* What is answered to a name for which the backend has none. */
#define VIEW_NO_NAME "NO [CANNOT] No mailbox can have this name"
/* STATUS items, with UIDVALIDITY where UIDNEXT or HIGHESTMODSEQ is asked for without it. True: it was added. */
bool view_write_status_items(struct imap_writer *out, const struct imap_value *list);

#endif
