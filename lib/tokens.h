/* tokens: who may ask the API of a migrator for what. A file has one of them a line:
 *
 *     ROLE NAME TOKEN         ROLE: "read" (looks) or "operator" (changes, too)
 *
 * NAME stands in the audit; TOKEN is 32 to 256 of the characters of a bearer token (RFC 6750, 2.1), such as `openssl rand
 * -hex 32` makes. Empty lines, and those that begin with "#", are skipped. */
#ifndef IMAPFERRY_TOKENS_H
#define IMAPFERRY_TOKENS_H

#include "base.h"

enum token_role { TOKEN_NOBODY, TOKEN_READ, TOKEN_OPERATOR };
const char *token_role_word(enum token_role r);

struct tokens;
/* NULL: *error is a text to free. Refused are a file that others than its owner and group can read, one without a token, a
 * name or a token that stands twice, and what is none of these lines. Keeps hashes alone. */
struct tokens *tokens_load(const char *file, char **error) MUST_CHECK;
/* NULL is fine. */
void tokens_free(struct tokens **t);
/* TOKEN_NOBODY: there is no such token. *name: borrowed until tokens_free(). How long it takes does not depend on how near the
 * given one comes. */
enum token_role tokens_find(const struct tokens *t, struct span given, const char **name);

#endif
