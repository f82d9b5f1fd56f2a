/* carry_out: all that the store of a site knows of its accounts, as lines, for other stores to which they go (carry_in.h). The store
 * was closed before (lib/route/move.lua), so nothing changes meanwhile. Nothing is kept in memory but some accounts at a time.
 *
 * The file is an export (migrator/site/flips.h) with a head, all accounts that have a record, pieces between them, and an end:
 *
 *   {"move": 1, "time": "2026-01-31T10:00:00Z"}
 *   {"time": ..., "user": "ann", "backend": "new", "state": "settled", ...}
 *   {"keep": "ann", "kind": "views", "name": "", "at": 0, "items": ["INBOX", "1 id=9f03 ..."]}
 *   {"time": ..., "end": 14, "kept": 120, "sha256": "..."}
 *
 * An account that was forgotten has in "forgotten" when that was, in ms; if nothing else is left of it, it has that line too, for its audit.
 * `move` is the version of this format, `end` how many accounts there are, `kept` how many pieces, `sha256` that of all lines before
 * it, line feeds included. In items a byte stands as the character of that number, so any text is one: what Redis has comes back byte by byte.
 * `kind` and `name` are as carry_read.lua has them; `at` is the place of the first item among all of that kind and name, of which one
 * piece has CARRY_ITEMS at most. Of a stream the items of an entry are its id, the number of its texts, and these. Pieces of nobody
 * ("keep": "") are for all stores. */
#ifndef IMAPFERRY_CARRY_OUT_H
#define IMAPFERRY_CARRY_OUT_H

#include <stdio.h>

#include "lib/route.h"

enum { CARRY_VERSION = 1, CARRY_ITEMS = 1000 };

/* What is being written, from all stores of the site, one after the other. */
struct carry_file;
/* Writes the head. out: borrowed; whoever has it looks for errors. */
struct carry_file *carry_file_begin(FILE *out);
/* Writes the end if whole, and frees it. How many accounts there are. */
uint64_t carry_file_end(struct carry_file **f, bool whole);

struct carry_out;
/* detail: why it did not succeed, for people; borrowed. */
typedef void (*carry_out_fn)(void *owner, enum route_rc rc, const char *detail, uint64_t accounts);
/* Never calls back before it returned; it is gone then. */
struct carry_out *carry_out_start(struct store *s, struct carry_file *f, carry_out_fn fn, void *owner);
/* NULL is fine. */
void carry_out_cancel(struct carry_out **c);

#endif
