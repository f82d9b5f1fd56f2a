/* conf_scan: reads the text of a configuration file before libconfuse does, and more strictly, because
 * libconfuse 3.3 takes in silence what must be an error (a file cut off inside a section, a doubled option,
 * "${HOME}") and does not know the line of most of its errors. What passes here is read by libconfuse in the
 * same way. Pure.
 *
 *   file    = *section
 *   section = name ["title"] "{" *(name "=" value) "}"
 *   value   = word / string / "{" [value *("," value)] [","] "}"      (words and strings alone in a list)
 *   string  = "..." with \" and \\, or '...' with \' and \\; on one line; no controls; no ${ in "..."
 *   word    = letters, digits and _.-
 *
 * Comments as in C, C++ and the shell, anywhere between these. */
#ifndef IMAPFERRY_CONF_SCAN_H
#define IMAPFERRY_CONF_SCAN_H

#include "base.h"

enum { CONF_SCAN_FILE_MAX = 16 * 1024 * 1024, CONF_SCAN_STRING_MAX = 8 * 1024 };

/* A part of the text: from its first byte to the one behind its last. */
struct scan_place {
    size_t from, to;
};

struct scan_value {
    char *text; /* owned */
    unsigned line;
};

struct scan_option {
    char *name; /* owned */
    unsigned line;
    struct scan_place place;   /* name and value */
    bool braces;               /* written as a list */
    bool unusable;             /* set by who reads the scan: its fault was reported, and it is blanked */
    struct scan_value *values; /* owned */
    size_t n, cap;
};

struct scan_section {
    char *name;  /* owned */
    char *title; /* owned; NULL = none */
    unsigned line;
    struct scan_place place;
    bool unusable;               /* as that of an option */
    struct scan_option *options; /* owned */
    size_t n, cap;
};

struct scan_fault {
    unsigned line;
    char *text; /* owned; does not name the file */
};

struct scan {
    struct scan_section *sections; /* owned */
    size_t n, cap;
    unsigned last_line;
    struct scan_fault *faults; /* owned; in the order of the file */
    size_t n_faults, cap_faults;
    bool cut; /* a part could not be read: what is not there may stand in it */
    /* owned: the text with its comments turned into blanks (libconfuse wants none inside a list) */
    char *plain;
};

/* Reads the text. False: there are faults; the rest is there all the same, to be looked at for more of them.
 * What is given twice is there once, as it stands first. A section in which something is not understood is
 * left out, up to the next line that begins with "}". Both are blanked in plain. *_r is to be freed in either
 * case. */
bool conf_scan(struct span text, struct scan *_r) MUST_CHECK;
/* Turns a part of plain into blanks. */
void conf_scan_blank(struct scan *s, struct scan_place p);
void conf_scan_free(struct scan *s);
/* NULL where the section has no such option. */
const struct scan_option *conf_scan_option(const struct scan_section *s, const char *name);

#endif
