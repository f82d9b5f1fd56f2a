/* pop3: lines, commands and answers of POP3 (RFC 1939, RFC 2449, RFC 5034), for both sides of it. Pure.
 *
 * A line ends with CRLF. One with a bare CR or LF, or with NUL, is no line: two programs could see different
 * lines in it. */
#ifndef IMAPFERRY_POP3_H
#define IMAPFERRY_POP3_H

#include "buf.h"

enum {
    POP3_LINE = 253,         /* bytes of a command without CRLF (RFC 2449 section 4) */
    POP3_SASL_LINE = 12286,  /* of an answer to a SASL challenge (RFC 5034 section 4) */
    POP3_STATUS_LINE = 8192, /* of an answer's first line: RFC 2449 says 510, and servers say more */
};

/* ---- lines ---- */

/* Zero it, and set max. */
struct pop3_line {
    size_t max;      /* bytes without CRLF */
    struct buf part; /* what has come of the line; owned */
    bool given;      /* ... which was given out */
};

enum pop3_line_rc { POP3_MORE, POP3_WHOLE, POP3_BAD };
/* Eats from data. *used = bytes eaten, also with MORE. WHOLE: *line, without its CRLF, points into data or into l, and
 * holds until the next call. BAD: *why is a fixed text, and nothing more can be read. */
enum pop3_line_rc pop3_line_feed(struct pop3_line *l, struct span data, size_t *used, struct span *line,
                                 const char **why);
/* A password may be in what was kept: overwrites it. */
void pop3_line_wipe(struct pop3_line *l);

/* ---- commands ---- */

enum pop3_verb {
    POP3_UNKNOWN,
    /* before the sign-in */
    POP3_USER,
    POP3_PASS,
    POP3_APOP,
    POP3_AUTH,
    POP3_STLS,
    /* at any time */
    POP3_CAPA,
    POP3_QUIT,
    /* behind it */
    POP3_STAT,
    POP3_LIST,
    POP3_RETR,
    POP3_DELE,
    POP3_NOOP,
    POP3_RSET,
    POP3_TOP,
    POP3_UIDL,
};

struct pop3_cmd {
    enum pop3_verb verb;
    struct span args; /* all behind the verb and one blank; into the line */
};

struct pop3_cmd pop3_parse(struct span line);
const char *pop3_verb_name(enum pop3_verb verb);
/* Is it a command for behind the sign-in, with as many numbers as it takes? Where not, *expected is a text. */
bool pop3_is_for_mail(const struct pop3_cmd *c, const char **expected) MUST_CHECK;
/* Does more than one line follow its +OK? */
bool pop3_is_long(const struct pop3_cmd *c);

/* ---- answers ---- */

struct pop3_status {
    bool ok; /* +OK */
    struct span
        code; /* what stands in brackets at the beginning of its text (RFC 2449 section 8); empty: nothing */
    struct span text;
};
/* False: it is none. */
bool pop3_parse_status(struct span line, struct pop3_status *_r) MUST_CHECK;

/* Where an answer of several lines ends: behind a line with "." alone. */
struct pop3_body {
    unsigned seen; /* bytes of CR LF "." CR LF */
};
/* It begins, at the beginning of a line. */
void pop3_body_begin(struct pop3_body *b);
/* How many bytes of data belong to it; *ended: with these it is whole. */
size_t pop3_body_feed(struct pop3_body *b, struct span data, bool *ended);

/* ---- codes ---- */

/* The code of RFC 5530 (imap_code.h) for one of POP3 (RFC 2449, RFC 3206) in an answer to a sign-in; "": none. */
const char *pop3_code_to_imap(struct span code);
/* The other way: with what brackets and a blank; "" where clients need not know more. */
const char *pop3_code_of_imap(const char *code);

#endif
