/* What the registry*.c files share. */
#ifndef IMAPFERRY_REGISTRY_PRIV_H
#define IMAPFERRY_REGISTRY_PRIV_H

#include "registry.h"

/* Reads one value of the hash of sessions, "backend epoch mode address since". Its words are decoded in
 * place, and the spans of the result point into text. False: the value is none of ours. */
bool registration_parse(struct span name, uint8_t *text, size_t len, struct registration *_r) MUST_CHECK;

#endif
