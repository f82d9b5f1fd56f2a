/* proof: what the last pass in the freeze found to be equal on both servers, message by message (proof_text.h), in a file on this
 * migrator's disk (proof_file.h), before the flip. Its SHA-256 goes with the flip into the route, the audit and the journal.
 *
 * It is made of the ledgers as they are in memory then, the same that the flip rests on, a piece at a time: however large the
 * account is, no more than PIECE_BYTES of it is in memory as text. Where it can't be written, the account thaws like where the
 * journal can't. A file whose flip was not made is taken away again; one that a crash leaves behind belongs to no flip, since
 * nobody was told its SHA-256. */
#ifndef IMAPFERRY_PROOF_H
#define IMAPFERRY_PROOF_H

#include "move.h"

struct proof;
/* error: NULL, or why there is none; borrowed. */
typedef void (*proof_fn)(void *owner, const char *error);

/* move->records: folded by the last pass, and nobody changes them or their ledgers until proof_free(). Never calls back before it
 * returned. */
struct proof *proof_start(struct move *move, proof_fn fn, void *owner);
/* "SHA256 GENERATION.EPOCH MIGRATOR" once it has called back without an error; "" before. */
const char *proof_said(const struct proof *p);
/* keep: it was called for a flip that may be made. NULL is fine. */
void proof_free(struct proof **p, bool keep);

#endif
