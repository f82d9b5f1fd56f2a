/* hasher: SHA-256 of bytes that pass by, or SHA-1, by which Cyrus names messages. */
#ifndef IMAPFERRY_HASHER_H
#define IMAPFERRY_HASHER_H

#include "lib/base.h"

enum { HASH_SIZE = 32, HASH_SHA1_SIZE = 20 };

struct hasher; /* for one message after the other */

struct hasher *hasher_new(void);
struct hasher *hasher_new_sha1(void);
void hasher_free(struct hasher **h);
void hasher_begin(struct hasher *h);
void hasher_add(struct hasher *h, struct span bytes);
void hasher_end(struct hasher *h, uint8_t hash[HASH_SIZE]);
void hasher_end_sha1(struct hasher *h, uint8_t hash[HASH_SHA1_SIZE]);

#endif
