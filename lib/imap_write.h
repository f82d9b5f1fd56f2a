/* imap_write: writes commands as bytes; it is the only place that quotes. Pure.
 *
 * A command consists of pieces. Where a piece ends in the marker of a synchronizing literal, the sender has
 * to wait for "+" (RFC 3501 7.5) before it sends the next piece. A string is written as an atom where it may
 * be one, else quoted, else as a literal (where it holds 8-bit, CR or LF, or is over 512 bytes long); NUL is
 * refused. */
#ifndef IMAPFERRY_IMAP_WRITE_H
#define IMAPFERRY_IMAP_WRITE_H

#include "buf.h"

struct imap_caps;
enum imap_literals { LITERALS_SYNC, LITERALS_MINUS, LITERALS_PLUS }; /* what the peer takes (RFC 7888) */
enum imap_literals imap_literals_of(const struct imap_caps *caps);

struct imap_writer {
    enum imap_literals literals;
    struct buf out; /* all pieces, one behind the other */
    size_t *waits;  /* offsets in out after which to wait for "+", ascending; owned */
    size_t n_waits;
    bool bad; /* a string could not be written (NUL) */
};

void imap_writer_init(struct imap_writer *w, enum imap_literals literals);
void imap_writer_wipe(struct imap_writer *w);
/* Writes bytes as they are: the caller knows that they are syntax (verbs, blanks, parentheses, UID sets). */
void imap_write_raw(struct imap_writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Writes an astring: an atom, quoted or a literal. */
void imap_write_astring(struct imap_writer *w, struct span s);
/* Writes a string: quoted or a literal; imap_write_secret() always writes a literal. */
void imap_write_string(struct imap_writer *w, struct span s);
/* Writes a quoted string, however long it is, with 8-bit as it is. NUL, CR and LF are refused. */
void imap_write_quoted(struct imap_writer *w, struct span s);
void imap_write_secret(struct imap_writer *w, struct span s);
/* Writes only the marker of a literal of n bytes, "{n}" CRLF or "{n+}" CRLF; the body follows from
 * elsewhere. */
void imap_write_literal_marker(struct imap_writer *w, uint64_t n);

/* Appends a human-readable text on one line: control characters and 8-bit become "?", and it is cut at 200
 * bytes. */
void imap_write_text(struct buf *out, struct span text);
/* True where s can stand as an atom of an astring (RFC 3501 9 ASTRING-CHAR). */
bool imap_is_astring_atom(struct span s);

#endif
