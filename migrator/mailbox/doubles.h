/* doubles: the DOUBLES step, for copies of ours that arrived late. A batch in doubt that was not found on the
 * target was sent again. If the first one arrived after all, the target has a message without a row whose
 * bytes are those of one that was sent twice. Such messages are removed; anything else that is not ours stays
 * where it is. */
#ifndef IMAPFERRY_DOUBLES_H
#define IMAPFERRY_DOUBLES_H

#include "pair.h"

struct doubles;

struct doubles *doubles_start(struct pair *p, step_fn fn, void *owner);
void doubles_stop(struct doubles **d);

#endif
