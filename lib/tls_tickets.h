/* tls_tickets: the keys of session tickets. A client that comes back shows the ticket that it was given, and
 * the handshake needs no certificate and no signature (RFC 5077; RFC 8446 section 4.6.1). All that belongs to
 * the session is in the ticket, by AES-256-CBC and HMAC-SHA-256 (RFC 5077 section 4); nothing is kept here.
 *
 * The newest key encrypts, the others still open what was encrypted before. Keys are in files that all
 * proxies of a site share, so that a ticket is good at each of them, and after a restart. Without files they
 * are random numbers of this process, which all of its threads have; then each eight hours the next key is
 * made out of the newest by a hash. So threads agree without a word, and who takes a key from the process
 * can't open what was encrypted before the oldest one that it has: each copy is aged each hour, also where no
 * handshake comes. */
#ifndef IMAPFERRY_TLS_TICKETS_H
#define IMAPFERRY_TLS_TICKETS_H

#include "base.h"

enum {
    TICKET_KEY_SIZE = 80, /* in a file, as nginx has it: name, HMAC, AES */
    TICKET_KEYS_MAX = 3,
    TICKET_AGE_MS = 60 * 60 * 1000, /* how often each copy of the keys is aged at least */
    /* how long a ticket is good, and a session is gone on with, from ticket to ticket, after the handshake in which the
     * client was shown a certificate (RFC 8446 section 4.6.1): so each program looks at it once a day, and who has
     * taken the secrets of a session has them for a day. A whole handshake a day costs nobody anything. */
    TICKET_LIFE_S = 24 * 60 * 60,
    TICKET_CLOCKS_S = 5 * 60, /* so much may the clocks of proxies with the same keys differ */
};

struct ticket_key {
    uint8_t name[16], hmac[32], aes[32]; /* name: stands in the ticket in clear */
};

struct ticket_keys {
    struct ticket_key keys[TICKET_KEYS_MAX]; /* the newest first */
    size_t n;
    uint64_t next_ms; /* by clock_boot_ms(): when the next one is made; 0: they are of files */
};

/* Random ones of this process. */
void ticket_keys_make(struct ticket_keys *_r, uint64_t now_ms);
/* Makes the next one, or the next few, where it is time. Copies of the same keys stay the same. */
void ticket_keys_age(struct ticket_keys *k, uint64_t now_ms);
/* Those of the files, one behind the other. A file holds one to three keys; together there are at most three.
 * Nobody but its owner may write it, and not everybody read it. False: *error is a text to free. */
bool ticket_keys_load(char *const *files, size_t n, struct ticket_keys *_r, char **error) MUST_CHECK;
/* May a session that began then be gone on with now? Both in seconds since 1970. */
bool ticket_goes_on(uint64_t began_s, uint64_t now_s);
/* NULL: none has the name. */
const struct ticket_key *ticket_keys_find(const struct ticket_keys *k, const uint8_t name[16]);

/* Puts a new key in front of those that the file has, of which two are kept, and makes the file where there
 * is none (mode 0600). It is replaced at once; owner and mode stay, as far as this process may. False: *error
 * is a text to free. */
bool ticket_keys_rotate(const char *file, char **error) MUST_CHECK;

#endif
