/* imap_tok: the words of one IMAP command or response, as a tree of values (RFC 3501 section 4, RFC 9051
 * section 4).
 *
 * A response or command arrives as line parts and literals (imap_line). The tree is built part by part:
 * imap_tree_text() for a line part, imap_tree_literal() for a literal that the owner collected, or
 * imap_tree_stream() for one that it sends elsewhere. All memory is the tree's own, freed as a whole; values
 * stay valid until imap_tree_clear(). Pure; the limits are arguments.
 *
 * A lenient tree is for one who reads what a server says and passes nothing on. It takes what other clients
 * take where the meaning is plain: control characters in a word, the string "\" (a separator), no blank
 * between two values. Those that touch are marked (glued), so that whoever needs words of their own sees that
 * they are none. */
#ifndef IMAPFERRY_IMAP_TOK_H
#define IMAPFERRY_IMAP_TOK_H

#include "base.h"

enum imap_kind {
    /* also numbers, flags (\Seen), "*", sections such as BODY[HEADER.FIELDS (DATE)]<0> as one atom */
    IMAP_ATOM,
    IMAP_QUOTED,   /* the string without quotes and backslashes */
    IMAP_LITERAL,  /* a literal whose bytes were collected */
    IMAP_STREAMED, /* a literal whose bytes went elsewhere: only size is known */
    IMAP_LIST,     /* ( ... ) */
};

struct imap_value {
    enum imap_kind kind;
    struct span text;         /* all but IMAP_STREAMED and IMAP_LIST */
    uint64_t size;            /* IMAP_STREAMED */
    bool glued;               /* lenient: another value touches it */
    struct imap_value *first; /* IMAP_LIST: its elements */
    struct imap_value *next;
};

struct imap_tree_limits {
    size_t depth;  /* open parentheses, at most 1024 */
    size_t values; /* in the whole tree */
    size_t bytes;  /* of all texts */
    bool lenient;
};

struct imap_tree; /* opaque */

struct imap_tree *imap_tree_new(const struct imap_tree_limits *limits);
void imap_tree_free(struct imap_tree **t);
void imap_tree_clear(struct imap_tree *t);
/* Adds the words of a line part; the part's literal marker, if it ends in one, must be cut off before (see
 * imap_line_item.marker). Brackets are part of an atom; those of BODY[...] and its like keep the blanks and
 * parentheses in them (a literal inside of a section is an error). A backslash in a quoted string gives way
 * to the byte behind it, whatever that is. A text of OK, NO, BAD is not for this function (imap_resp). False:
 * *why says what is wrong; the tree then holds what came before it, and has to be cleared before it gets
 * more. */
bool imap_tree_text(struct imap_tree *t, struct span part, const char **why) MUST_CHECK;
bool imap_tree_literal(struct imap_tree *t, struct span body, const char **why) MUST_CHECK;
bool imap_tree_stream(struct imap_tree *t, uint64_t size, const char **why) MUST_CHECK;
/* The last value added so far, at whatever depth (to learn what a literal that begins belongs to), or
 * NULL. */
const struct imap_value *imap_tree_last(const struct imap_tree *t);
/* All parts are in: false where parentheses are still open. */
bool imap_tree_done(const struct imap_tree *t, const char **why) MUST_CHECK;
/* The first value on the outermost level, NULL when there is none. */
const struct imap_value *imap_tree_first(const struct imap_tree *t);

/* Where the section that opens at part.p[at] == '[' ends: the offset behind its ']', quoted strings skipped;
 * 0 where it doesn't. */
size_t imap_section_end(struct span part, size_t at);

/* The i-th value behind v (0 is v itself), or NULL. */
const struct imap_value *imap_value_at(const struct imap_value *v, size_t i);
/* Atom equal to word, ASCII letters folded. NULL is nothing. */
bool imap_value_is(const struct imap_value *v, const char *word);
/* The atom NIL. */
bool imap_value_is_nil(const struct imap_value *v);
/* Atom, quoted or literal: its bytes. */
bool imap_value_string(const struct imap_value *v, struct span *_r) MUST_CHECK;
bool imap_value_u32(const struct imap_value *v, uint32_t *_r) MUST_CHECK;
bool imap_value_u64(const struct imap_value *v, uint64_t *_r) MUST_CHECK;
/* In a list of pairs "name value name value", the value behind the atom name; NULL when absent. */
const struct imap_value *imap_value_get(const struct imap_value *list, const char *name);

#endif
