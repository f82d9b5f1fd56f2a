/* redis_scan: counts what Redis sends before hiredis may make room for it. hiredis' reader believes any
 * length and any count and, from version 1.0 on, any depth of arrays, which it frees by recursion. Pure. */
#ifndef IMAPFERRY_REDIS_SCAN_H
#define IMAPFERRY_REDIS_SCAN_H

#include "base.h"

enum { REDIS_DEPTH_MAX = 7 /* arrays in each other */ };

struct redis_limits {
    uint64_t element_max; /* bytes of one string */
    uint64_t count_max;   /* elements of one answer, those of arrays in it included */
    uint64_t bytes_max;   /* of one answer */
    size_t line_max;      /* bytes of a status, an error or a number */
};

/* How far the reading of an answer has come; {0} stands at the start of one. */
struct redis_scan {
    char head[24]; /* the line under way: its type and, where it is a length, the digits */
    size_t line;   /* bytes of this line so far */
    uint64_t skip; /* bytes of a string still to come, its line end included */
    /* elements still to come of each array, behind them the answer itself */
    uint64_t open[REDIS_DEPTH_MAX + 1];
    size_t depth;          /* how many of these there are; 0 between answers */
    uint64_t count, bytes; /* of the answer under way */
};

/* Takes the next bytes. False: they exceed a limit or are not RESP 2; *why is a fixed text. */
bool redis_scan_feed(struct redis_scan *s, const struct redis_limits *limits, struct span bytes,
                     const char **why) MUST_CHECK;

#endif
