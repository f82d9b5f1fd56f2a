/* What the registry*.c files share. */
#ifndef IMAPFERRY_REGISTRY_PRIV_H
#define IMAPFERRY_REGISTRY_PRIV_H

#include "registry.h"

/* One value of the sessions hash, "backend epoch mode address since"; its words are decoded in place, and the
 * spans of the result point into it. False: it is none of ours. */
bool registration_parse(struct span name, uint8_t *text, size_t len, struct registration *_r) MUST_CHECK;

#endif
