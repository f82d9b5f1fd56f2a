#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "privileges.h"
#include "seal.h"
#include "tls.h"
#include "tls_tickets.h"
#include "tokens.h"
#include "trial.h"
#include "xalloc.h"

/* ---- what is the same for all ---- */

static bool trial_is_used(const struct conf *c, const char *name)
{
    bool used = !strcmp(c->migration.source, name) || !strcmp(c->migration.target, name);

    for (size_t i = 0; i < c->n_rules && !used; i++)
        used = !strcmp(c->rules[i].source, name) || !strcmp(c->rules[i].target, name);
    return used;
}

static void trial_user(struct conf_source *src, const char *section, const char *user, const char *group)
{
    struct identity who;
    char *error = NULL;

    bool known = privileges_find(user, "", &who, &error);
    if (!known || !privileges_find(user, group, &who, &error))
        conf_object(src, section, NULL, known ? "group" : "user", 0, "%s", error);
    free(error);
}

/* sealed: users' own passwords reach the migrators. */
static void trial_ways_in(const struct conf *c, struct conf_source *src, bool sealed)
{
    for (size_t i = 0; i < c->n_backends && !sealed; i++) {
        const struct conf_backend *b = &c->backends[i];
        if (!*b->master_user && !b->retired && trial_is_used(c, b->name))
            conf_object(
                src, "backend", b->name, "master_user", 0,
                "the migrator has no way in: give a master_user, or let it use the users' own passwords (section seal, "
                "\"imapferryctl seal-key\")");
    }
}

static void trial_cas(const struct conf *c, struct conf_source *src)
{
    for (size_t i = 0; i < c->n_backends; i++) {
        const struct conf_backend *b = &c->backends[i];
        char *error = NULL;
        if (!backend_has_tls(b) || (*b->ca_file && access(b->ca_file, R_OK) != 0))
            continue;
        struct tls_policy *p = tls_policy_backend(b, &error);
        if (!p)
            conf_object(src, "backend", b->name, "ca_file", 0, "%s", error);
        tls_policy_free(&p);
        free(error);
    }
}

/* Of which option a text of tls_policy_redis() is. */
static const char *redis_option(const char *error)
{
    if (strncmp(error, "key ", 4) == 0)
        return "tls_key";
    return strncmp(error, "certificate ", 12) == 0 ? "tls_cert" : "ca_file";
}

/* All programs read these. */
static void trial_redis(const struct conf *c, struct conf_source *src)
{
    const char *const files[] = {c->redis.ca_file, c->redis.tls_cert, c->redis.tls_key};
    char *error = NULL;

    if (!conf_redis_has_tls(&c->redis))
        return;
    for (size_t i = 0; i < COUNTOF(files); i++)
        if (*files[i] && access(files[i], R_OK) != 0)
            return; /* told */
    struct tls_policy *p = tls_policy_redis(&c->redis, &error);
    if (!p)
        conf_object(src, "redis", NULL, redis_option(error), 0, "%s", error);
    tls_policy_free(&p);
    free(error);
}

void trial_ctl(const struct conf *c, struct conf_source *src, bool checking)
{
    if (!checking)
        return;
    trial_redis(c, src);
    trial_ways_in(c, src, *c->seal.public_key_file || c->seal.private_key_files.n > 0);
}

/* ---- the proxy ---- */

static bool trial_wants_certificate(const struct conf *c)
{
    return conf_has_tls_listener(&c->proxy) && *c->proxy.tls_cert && *c->proxy.tls_key;
}

/* One whose files can't be read was told. */
static bool trial_pair(struct conf_source *src, size_t nth, const char *cert, const char *key)
{
    char *error = NULL;
    size_t at;

    if (access(cert, R_OK) != 0 || access(key, R_OK) != 0)
        return false;
    bool ok = tls_pair_check(cert, key, &error);
    if (!ok) {
        const char *option = conf_certificate_option(nth, strncmp(error, "key ", 4) == 0, &at);
        conf_object(src, "proxy", NULL, option, at, "%s", error);
    }
    free(error);
    return ok;
}

static bool trial_pairs(const struct conf *c, struct conf_source *src)
{
    char *cert, *key;
    bool ok = true;

    for (size_t i = 0; conf_certificate(&c->proxy, i, &cert, &key); i++) {
        ok = trial_pair(src, i, cert, key) && ok;
        free(cert);
        free(key);
    }
    return ok;
}

static bool trial_tickets(const struct conf *c, struct conf_source *src)
{
    const struct conf_list *files = &c->proxy.tls_ticket_files;
    struct ticket_keys keys;
    char *error = NULL;

    for (size_t i = 0; i < files->n; i++)
        if (access(files->items[i], R_OK) != 0)
            return false;
    bool ok = ticket_keys_load(files->items, files->n, &keys, &error);
    if (!ok)
        conf_object(src, "proxy", NULL, "tls_ticket_files", 0, "%s", error);
    wipe(&keys, sizeof keys);
    free(error);
    return ok;
}

static void trial_terms(const struct tls_policy *p, struct conf_source *src)
{
    struct tls_term term;

    for (size_t i = 0, at; tls_policy_term(p, i, &term); i++) {
        const char *why = tls_term_fault(&term, (int64_t)time(NULL));
        const char *option = conf_certificate_option(i, false, &at);
        if (why)
            conf_object(src, "proxy", NULL, option, at, "%s: %s", term.file, why);
    }
}

static void trial_client_ca(const struct conf *c, struct conf_source *src)
{
    char *error = NULL;
    struct tls_policy *p = tls_policy_server_asking(&c->proxy, &error);

    if (!p)
        conf_object(src, "proxy", NULL, "tls_client_ca", 0, "%s", error);
    tls_policy_free(&p);
    free(error);
}

/* timely: one that nobody believes at this time is an error too. */
static void trial_certificates(const struct conf *c, struct conf_source *src, bool timely)
{
    char *error = NULL;
    struct tls_policy *p;

    if (!trial_pairs(c, src) || !trial_tickets(c, src))
        return;
    p = tls_policy_server(&c->proxy, NULL, &error);
    if (!p)
        conf_object(src, "proxy", NULL, c->proxy.tls_certs.n ? "tls_certs" : "tls_cert", 0, "%s", error);
    else if (timely)
        trial_terms(p, src);
    tls_policy_free(&p);
    free(error);
    if (*c->proxy.tls_client_ca && access(c->proxy.tls_client_ca, R_OK) == 0)
        trial_client_ca(c, src);
}

static void trial_proxy_files(const struct conf *c, struct conf_source *src, bool timely)
{
    char *error = NULL;

    if (trial_wants_certificate(c))
        trial_certificates(c, src, timely);
    trial_redis(c, src);
    trial_cas(c, src);
    if (*c->seal.public_key_file && access(c->seal.public_key_file, R_OK) == 0) {
        struct seal_public *k = seal_public_load(c->seal.public_key_file, &error);
        if (k)
            seal_public_free(&k);
        else
            conf_object(src, "seal", NULL, "public_key_file", 0, "%s", error);
        free(error);
    }
}

void trial_proxy(const struct conf *c, struct conf_source *src, bool checking)
{
    trial_user(src, "proxy", c->proxy.user, c->proxy.group);
    trial_proxy_files(c, src, checking);
    if (checking)
        trial_ways_in(c, src, *c->seal.public_key_file != '\0');
}

void trial_proxy_reload(const struct conf *c, struct conf_source *src, bool checking)
{
    (void)checking;
    trial_proxy_files(c, src, true);
}

/* ---- the migrator ---- */

/* A start makes the folder, where it may. */
static void trial_journal(const struct conf *c, struct conf_source *src)
{
    const char *dir = c->migrator.journal_dir;
    struct stat st;

    if (*dir != '/')
        return; /* told */
    if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode))
        conf_object(src, "migrator", NULL, "journal_dir", 0, "\"%s\" is not a folder", dir);
    else if (access(dir, W_OK | X_OK) != 0 && errno != ENOENT)
        conf_object(src, "migrator", NULL, "journal_dir", 0, "\"%s\": %s; it must be the migrator's to write",
                    dir, strerror(errno));
    else if (stat(dir, &st) != 0) {
        char *above = xstrdup(dir), *slash = strrchr(above, '/');
        *(slash == above ? slash + 1 : slash) = '\0';
        if (access(above, W_OK | X_OK) != 0)
            conf_object(src, "migrator", NULL, "journal_dir", 0,
                        "\"%s\" is not there, and can't be made: %s: %s", dir, above, strerror(errno));
        free(above);
    }
}

static void trial_private_keys(const struct conf *c, struct conf_source *src)
{
    const struct conf_list *l = &c->seal.private_key_files;

    for (size_t i = 0; i < l->n; i++) {
        char *error = NULL;
        if (access(l->items[i], R_OK) != 0)
            continue; /* told */
        struct seal_private *k = seal_private_load(&l->items[i], 1, &error);
        if (k)
            seal_private_free(&k);
        else
            conf_object(src, "seal", NULL, "private_key_files", i, "%s", error);
        free(error);
    }
}

static void trial_tokens(const struct conf *c, struct conf_source *src)
{
    char *error = NULL;

    if (!*c->admin.listen || access(c->admin.token_file, R_OK) != 0)
        return; /* told */
    struct tokens *t = tokens_load(c->admin.token_file, &error);
    if (!t)
        conf_object(src, "admin", NULL, "token_file", 0, "%s", error);
    tokens_free(&t);
    free(error);
}

void trial_migrator(const struct conf *c, struct conf_source *src, bool checking)
{
    trial_user(src, "migrator", c->migrator.user, c->migrator.group);
    trial_redis(c, src);
    trial_cas(c, src);
    trial_private_keys(c, src);
    trial_journal(c, src);
    trial_tokens(c, src);
    if (checking)
        trial_ways_in(c, src, c->seal.private_key_files.n > 0);
}
