/* imap_tok: the words of one IMAP command or response, as a tree of values (RFC 3501 section 4, RFC 9051
 * section 4).
 *
 * A response or command arrives as line parts and literals (imap_line). The tree is built part by part:
 * imap_tree_text() for a line part, imap_tree_literal() for a literal that the owner collected, or
 * imap_tree_stream() for one that it sends elsewhere. All memory is the tree's own, freed as a whole; values
 * stay valid until imap_tree_clear(). Pure; the limits are arguments.
 *
 * A lenient tree is for an owner that reads what a server says and passes nothing on. It takes what other
 * clients take where the meaning is plain: control characters in a word, the string "\" (a separator), no
 * blank between two values. Values that touch each other are marked (glued), so that an owner who needs
 * separate words sees that these are none. */
#ifndef IMAPFERRY_IMAP_TOK_H
#define IMAPFERRY_IMAP_TOK_H

#include "base.h"

enum imap_kind {
    /* also numbers, flags (\Seen) and "*"; a section such as BODY[HEADER.FIELDS (DATE)]<0> is one atom */
    IMAP_ATOM,
    IMAP_QUOTED,   /* the string without quotes and backslashes */
    IMAP_LITERAL,  /* a literal whose bytes were collected */
    IMAP_STREAMED, /* a literal whose bytes went elsewhere: only size is known */
    IMAP_LIST,     /* ( ... ) */
};

struct imap_value {
    enum imap_kind kind;
    struct span text;         /* of all kinds but IMAP_STREAMED and IMAP_LIST */
    uint64_t size;            /* IMAP_STREAMED */
    bool glued;               /* in a lenient tree: another value touches it */
    struct imap_value *first; /* IMAP_LIST: its elements */
    struct imap_value *next;
};

struct imap_tree_limits {
    size_t depth;  /* open parentheses, at most 1024 */
    size_t values; /* values in the whole tree */
    size_t bytes;  /* of all texts together */
    bool lenient;
};

struct imap_tree; /* opaque */

struct imap_tree *imap_tree_new(const struct imap_tree_limits *limits);
void imap_tree_free(struct imap_tree **t);
void imap_tree_clear(struct imap_tree *t);
/* Adds the words of a line part. The part's literal marker, if it ends in one, must be cut off before (see
 * imap_line_item.marker). Brackets are part of an atom; those of BODY[...] and its like keep the blanks and
 * parentheses in them (a literal inside of a section is an error). A backslash in a quoted string gives way
 * to the byte behind it, whatever that is. The human text of OK, NO and BAD is not for this function (see
 * imap_resp.h). False: *why says what is wrong; the tree then holds what came before that, and has to be
 * cleared before it gets more. */
bool imap_tree_text(struct imap_tree *t, struct span part, const char **why) MUST_CHECK;
bool imap_tree_literal(struct imap_tree *t, struct span body, const char **why) MUST_CHECK;
bool imap_tree_stream(struct imap_tree *t, uint64_t size, const char **why) MUST_CHECK;
/* The value that was added last, at whatever depth, or NULL: by it one learns what a literal that begins
 * belongs to. */
const struct imap_value *imap_tree_last(const struct imap_tree *t);
/* To be called when all parts are in. False: parentheses are still open. */
bool imap_tree_done(const struct imap_tree *t, const char **why) MUST_CHECK;
/* The first value on the outermost level, NULL when there is none. */
const struct imap_value *imap_tree_first(const struct imap_tree *t);

/* For a section that opens at part.p[at] == '[': the offset behind its ']', where quoted strings are skipped;
 * 0 where the section does not end in this part. */
size_t imap_section_end(struct span part, size_t at);

/* The i-th value behind v (0 is v itself), or NULL. */
const struct imap_value *imap_value_at(const struct imap_value *v, size_t i);
/* True where v is an atom equal to word, with ASCII letters folded. v may be NULL, which is equal to
 * nothing. */
bool imap_value_is(const struct imap_value *v, const char *word);
/* True where v is the atom NIL. */
bool imap_value_is_nil(const struct imap_value *v);
/* The bytes of an atom, a quoted string or a literal. False: v is none of these. */
bool imap_value_string(const struct imap_value *v, struct span *_r) MUST_CHECK;
bool imap_value_u32(const struct imap_value *v, uint32_t *_r) MUST_CHECK;
bool imap_value_u64(const struct imap_value *v, uint64_t *_r) MUST_CHECK;
/* In a list of pairs "name value name value", the value behind the atom name; NULL when absent. */
const struct imap_value *imap_value_get(const struct imap_value *list, const char *name);

#endif
