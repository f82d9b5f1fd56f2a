/* imap_resp: the head of a response: which command it answers, and what it is (RFC 3501 section 7). Pure.
 *
 *   "a1 OK [APPENDUID 1 2] done"   RESP_TAGGED    status OK, code "APPENDUID 1 2", text "done"
 *   "* OK [UIDNEXT 7] next"        RESP_STATUS    untagged, the same fields
 *   "* 3 FETCH (UID 4 ...)"        RESP_DATA      number 3, word FETCH, rest at the parenthesis
 *   "* LIST (\Noselect) ..."       RESP_DATA      no number, word LIST
 *   "+ go on"                      RESP_CONTINUE  text */
#ifndef IMAPFERRY_IMAP_RESP_H
#define IMAPFERRY_IMAP_RESP_H

#include "base.h"

enum imap_resp_kind { RESP_TAGGED, RESP_STATUS, RESP_DATA, RESP_CONTINUE };
enum imap_status { STATUS_NONE, STATUS_OK, STATUS_NO, STATUS_BAD, STATUS_BYE, STATUS_PREAUTH };

struct imap_resp {
    enum imap_resp_kind kind;
    enum imap_status status;
    struct span tag;  /* RESP_TAGGED */
    struct span code; /* inside the brackets, without them; empty = none */
    struct span text; /* human text */
    struct span word; /* RESP_DATA */
    bool has_number;
    uint32_t number; /* RESP_DATA */
    size_t rest;     /* RESP_DATA: offset in the line of what follows the word */
};

/* Reads the first line part of a response. The spans of *r point into it. False: *why says what is wrong. */
bool imap_resp_parse(struct span line, struct imap_resp *r, const char **why) MUST_CHECK;
/* True for "+" and for status responses, tagged or not: such a line ends in human text, never in a
 * literal. */
bool imap_resp_is_text(struct span line);
/* True where the first word of a code equals name ("APPENDUID"); *args is what follows it. args may be
 * NULL. */
bool imap_code_is(struct span code, const char *name, struct span *args);
/* The personal namespaces as they stand in the data of NAMESPACE (RFC 2342), where they are the first of
 * three lists: a text to compare with that of another server. To free; NULL where this line does not hold the
 * whole list. */
char *imap_personal_namespaces(struct span line, const struct imap_resp *r);

#endif
