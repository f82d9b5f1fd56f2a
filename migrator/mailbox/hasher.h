/* hasher: SHA-256 of bytes that pass by. */
#ifndef IMAPFERRY_HASHER_H
#define IMAPFERRY_HASHER_H

#include "lib/base.h"

enum { HASH_SIZE = 32 };

struct hasher; /* for one message after the other */

struct hasher *hasher_new(void);
void hasher_free(struct hasher **h);
void hasher_begin(struct hasher *h);
void hasher_add(struct hasher *h, struct span bytes);
void hasher_end(struct hasher *h, uint8_t hash[HASH_SIZE]);

#endif
