#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "tokens.h"
#include "xalloc.h"

enum {
    TOKENS_MAX = 256,
    TOKEN_MIN_LEN = 32,
    TOKEN_MAX_LEN = 256,
    TOKEN_NAME_MAX = 64,
    LINE_SIZE = 512,
    HASH_SIZE = 32
};

struct token {
    char name[TOKEN_NAME_MAX + 1];
    uint8_t hash[HASH_SIZE];
    enum token_role role;
};

struct tokens {
    struct token of[TOKENS_MAX];
    size_t n;
};

const char *token_role_word(enum token_role r)
{
    static const char *const words[] = {
        [TOKEN_NOBODY] = "nobody", [TOKEN_READ] = "read", [TOKEN_OPERATOR] = "operator"};

    return words[r];
}

static void token_hash(struct span s, uint8_t hash[HASH_SIZE])
{
    unsigned n = HASH_SIZE;

    if (EVP_Digest(s.p ? s.p : (const uint8_t *)"", s.len, hash, &n, EVP_sha256(), NULL) != 1)
        abort(); /* OpenSSL without SHA-256 */
}

#define TOKEN_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* What is wrong with a line; NULL: nothing. A fixed text. */
static const char *token_take(struct tokens *t, const char *role, const char *name, const char *token,
                              bool more)
{
    size_t n = strlen(token);
    struct token *new = &t->of[t->n];

    if (!*token || more)
        return "is not ROLE NAME TOKEN";
    new->role = !strcmp(role, "read")       ? TOKEN_READ
                : !strcmp(role, "operator") ? TOKEN_OPERATOR
                                            : TOKEN_NOBODY;
    if (new->role == TOKEN_NOBODY)
        return "begins with neither read nor operator";
    if (strlen(name) > TOKEN_NAME_MAX || strspn(name, TOKEN_LETTERS "@._-+") != strlen(name))
        return "has a name that is not 1 to 64 letters, digits and \"@._-+\"";
    if (n < TOKEN_MIN_LEN || n > TOKEN_MAX_LEN || strspn(token, TOKEN_LETTERS "-._~+/=") != n)
        return "has a token that is not 32 to 256 letters, digits and \"-._~+/=\"";
    snprintf(new->name, sizeof(new->name), "%s", name);
    token_hash(span_str(token), new->hash);
    for (size_t i = 0; i < t->n; i++) {
        if (!strcmp(t->of[i].name, name))
            return "has a name that stands in another line, too";
        if (!memcmp(t->of[i].hash, new->hash, HASH_SIZE))
            return "has a token that stands in another line, too";
    }
    if (++t->n == TOKENS_MAX)
        return "is one too many";
    return NULL;
}

static const char *token_line(struct tokens *t, char *line)
{
    char *save = NULL, *role = strtok_r(line, " \t\r\n", &save);

    if (!role || *role == '#')
        return NULL;
    char *name = strtok_r(NULL, " \t\r\n", &save), *token = name ? strtok_r(NULL, " \t\r\n", &save) : NULL;
    return token_take(t, role, name ? name : "", token ? token : "",
                      token && strtok_r(NULL, " \t\r\n", &save));
}

static bool tokens_read(struct tokens *t, FILE *f, const char *file, char **error)
{
    char line[LINE_SIZE];
    const char *why = NULL;
    unsigned nth = 0;

    while (!why && fgets(line, sizeof(line), f)) {
        nth++;
        why = strchr(line, '\n') || feof(f) ? token_line(t, line) : "is too long";
    }
    wipe(line, sizeof(line));
    if (why)
        *error = xasprintf("%s:%u %s", file, nth, why);
    else if (ferror(f))
        *error = xasprintf("%s cannot be read: %s", file, strerror(errno));
    else if (t->n == 0)
        *error = xasprintf("%s has no token", file);
    return !*error;
}

struct tokens *tokens_load(const char *file, char **error)
{
    FILE *f = fopen(file, "re");
    struct stat st;

    if (!f || fstat(fileno(f), &st) != 0) {
        *error = xasprintf("%s cannot be read: %s", file, strerror(errno));
        if (f)
            fclose(f);
        return NULL;
    }
    struct tokens *t = xcalloc(1, sizeof(*t));
    char block[LINE_SIZE]; /* stdio's own would keep the tokens */
    setvbuf(f, block, _IOFBF, sizeof(block));
    *error = NULL;
    if (st.st_mode & 07)
        *error = xasprintf("%s can be read by everybody: mode 640 at most", file);
    if (*error || !tokens_read(t, f, file, error))
        tokens_free(&t);
    fclose(f);
    wipe(block, sizeof(block));
    return t;
}

void tokens_free(struct tokens **t)
{
    free(*t);
    *t = NULL;
}

enum token_role tokens_find(const struct tokens *t, struct span given, const char **name)
{
    uint8_t hash[HASH_SIZE];
    enum token_role role = TOKEN_NOBODY;

    token_hash(given, hash);
    for (size_t i = 0; i < t->n; i++) {
        if (CRYPTO_memcmp(hash, t->of[i].hash, HASH_SIZE) == 0) {
            role = t->of[i].role;
            *name = t->of[i].name;
        }
    }
    wipe(hash, sizeof(hash));
    return role;
}
