/* imap_line: cuts a byte stream of IMAP into lines and literal bodies (RFC 3501 section 4.3 and 9; RFC 7888
 * for {n+}, RFC 3516 for ~{n}). It is the only place that decides where a line ends, and what it finds is
 * what the other side gets, so two parsers can't come to two results.
 *
 * Pure: it owns a buffer for a line that arrives in pieces and knows nothing of streams. Feed it what came;
 * it says how much it ate and what it found. A literal's body is never copied: its pieces are spans into the
 * caller's data.
 *
 *   LINE_MORE     nothing whole yet; everything was eaten
 *   LINE_TEXT     a line part without its CRLF in item->text. Where item->literal is set, item->size bytes
 *                 follow as LINE_LITERAL pieces, and then a further LINE_TEXT part of the same command or
 *                 response (first is false for it). Otherwise the command or response ends here.
 *                 Where item->too_long is set (limits.skip), the part was longer than a line may be: it was
 *                 read over to its end, and item->text is its beginning, for the tag of the answer. All else
 *                 of the item is right, so that the stream goes on behind it.
 *   LINE_LITERAL  item->text holds the next piece of the body; item->left bytes are still to come after it
 *   LINE_BAD      item->why is a fixed text. The line is too long, has a LF that is no line end or, in a
 *                 command, a NUL or a bare CR, or its literal is malformed or over the cap. The stream can't
 *                 be trusted from here on: close it; every further call says the same. Where the line was
 *                 whole and only its literal marker is at fault, item->text holds it all the same, for the
 *                 tag of the answer; with item->refusable the stream can even go on, see imap_line_refuse().
 *
 * Servers send one thing that is no IMAP: a mail's header as it is, within a quoted string of ENVELOPE or
 * BODYSTRUCTURE. So in responses NUL and a bare CR are text, and so is a LF without CR in a quoted string; a
 * line ends by CRLF and nothing else, so that no mail can write a response. Outside of a quoted string a LF
 * without CR is LINE_BAD.
 *
 * What counts as a literal marker:
 *
 *   in commands   exactly "{" digits "}" or "{" digits "+}" at the end of the part, without a leading zero,
 *                 behind a blank, "(", or a "~" that stands behind one of these. What resembles one and is
 *                 none ("{05}", "{-1}", "{ 5}", "{}", "a{5}") is LINE_BAD, since the server behind us might
 *                 count otherwise. Behind a quote that the line does not close, it is text
 *                 (imap_cmd_allowed() refuses such a line).
 *   in responses  "{" digits "}" wherever it ends a line, with or without leading zeros and a "+", so that no
 *                 body can be taken for responses; whatever else resembles one is text. What stands behind
 *                 OK, NO, BAD, BYE, PREAUTH and "+" is human text: a "{5}" at the end of such a line is no
 *                 literal. */
#ifndef IMAPFERRY_IMAP_LINE_H
#define IMAPFERRY_IMAP_LINE_H

#include "buf.h"

enum imap_line_rc { LINE_MORE, LINE_TEXT, LINE_LITERAL, LINE_BAD };
enum imap_line_side { LINE_COMMANDS, LINE_RESPONSES };

struct imap_line_limits {
    size_t line; /* longest line part, bytes without CRLF */
    /* in commands: how many bytes more of a longer one are read over, to find its end; 0: it is LINE_BAD */
    size_t skip;
    size_t parts;     /* most literals in one command or response */
    uint64_t literal; /* largest literal body */
    /* largest {n+} in bytes: UINT64_MAX for LITERAL+, 4096 for LITERAL- (RFC 7888); 0: not even {0+} is
     * taken */
    uint64_t nonsync_max;
};

struct imap_line {
    enum imap_line_side side;
    struct imap_line_limits limits;
    struct buf part;       /* the line that is not whole yet, or the one last given out; owned */
    uint64_t literal_left; /* bytes of the body that is under way */
    size_t parts;
    /* Responses, where the part under way holds a LF: how many of its bytes were looked at for quotes, and
     * whether the end of these bytes is in a quoted string, and behind a backslash there. */
    size_t quotes_seen;
    bool quoted, escaped;
    size_t
        skipped; /* bytes of a line that is too long; part has its beginning and its end. 0: there is none */
    bool skipped_cr; /* the last of them was a CR, which is not in part */
    bool give_out;   /* part was given out: forget it on the next call */
    bool in_command; /* the first part of a command or response was given out, and it has not ended */
    bool in_literal; /* a body is under way, even if none of it is left */
    bool refusable;  /* bad only because of a literal that its sender holds back until we say "+" */
    const char *bad; /* why LINE_BAD was returned; NULL: it was not */
};

struct imap_line_item {
    struct span text; /* borrowed until the next call, or until the caller's data goes */
    bool first;       /* LINE_TEXT: the first part of its command or response */
    bool literal;     /* LINE_TEXT: a literal follows */
    bool sync;        /* literal: the sender waits for "+" before it sends it */
    bool binary;      /* literal: it is a literal8 */
    bool too_long;    /* LINE_TEXT: only the beginning of it is in text, and its marker is not */
    uint64_t size;    /* literal: bytes of its body */
    size_t marker;    /* literal: the offset in text at which its marker "{n}", "{n+}", "~{n}" begins */
    uint64_t left;    /* LINE_LITERAL: bytes of the body behind this piece */
    const char *why;  /* LINE_BAD */
    /* LINE_BAD: the fault is a literal whose body will not come without "+": a synchronizing one over
     * limits.literal, or one that is malformed and ends neither in "+" nor in "-" */
    bool refusable;
};

void imap_line_init(struct imap_line *l, enum imap_line_side side, const struct imap_line_limits *limits);
/* Eats from data[0..len). *used = bytes eaten, whatever is returned. A literal of size 0 gives one
 * LINE_LITERAL with an empty text and left 0 (so that each literal is seen to end), also on a call with len
 * 0. */
enum imap_line_rc imap_line_feed(struct imap_line *l, const uint8_t *data, size_t len, size_t *used,
                                 struct imap_line_item *item) MUST_CHECK;
/* To be called when the line that was given out last is done with: overwrites it where it lies in our own
 * buffer, which else the next call does. For callers that may wait long before that call, with a password in
 * the line. */
void imap_line_forget(struct imap_line *l);
/* True at a boundary: every command or response of which something has been seen has ended. */
bool imap_line_idle(const struct imap_line *l);
/* Drops a refused literal that will not come: a synchronizing one that was answered with a tagged NO or BAD,
 * also after a LINE_BAD with item->refusable. The next byte begins a new command. */
void imap_line_refuse(struct imap_line *l);
/* Overwrites and frees. */
void imap_line_wipe(struct imap_line *l);

#endif
