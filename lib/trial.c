#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "seal.h"
#include "tls.h"
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
        if (!address_has_tls(&b->address) || (*b->ca_file && access(b->ca_file, R_OK) != 0))
            continue;
        struct tls_policy *p = tls_policy_client(b->ca_file, b->tls_min, &error);
        if (!p)
            conf_object(src, "backend", b->name, "ca_file", 0, "%s", error);
        tls_policy_free(&p);
        free(error);
    }
}

void trial_ctl(const struct conf *c, struct conf_source *src, bool checking)
{
    if (checking)
        trial_ways_in(c, src, *c->seal.public_key_file || c->seal.private_key_files.n > 0);
}

/* ---- the proxy ---- */

static bool trial_wants_certificate(const struct conf *c)
{
    bool tls = false;

    for (size_t i = 0; i < c->proxy.listen.n; i++)
        tls = tls || !strncmp(c->proxy.listen.items[i], "imaps:", 6) ||
              !strncmp(c->proxy.listen.items[i], "imap+starttls:", 14);
    return tls && access(c->proxy.tls_cert, R_OK) == 0 && access(c->proxy.tls_key, R_OK) == 0;
}

/* timely: one that nobody believes at this time is an error too. */
static void trial_certificate(const struct conf *c, struct conf_source *src, bool timely)
{
    const char *why = NULL;
    char *error = NULL;
    struct tls_policy *p = tls_policy_server(c->proxy.tls_cert, c->proxy.tls_key, c->proxy.tls_min, &error);

    if (!p)
        conf_object(src, "proxy", NULL, strncmp(error, "key ", 4) ? "tls_cert" : "tls_key", 0, "%s", error);
    else if (timely && (why = tls_policy_untimely(p, (int64_t)time(NULL))))
        conf_object(src, "proxy", NULL, "tls_cert", 0, "%s: %s", c->proxy.tls_cert, why);
    tls_policy_free(&p);
    free(error);
}

static void trial_proxy_files(const struct conf *c, struct conf_source *src, bool timely)
{
    char *error = NULL;

    if (trial_wants_certificate(c))
        trial_certificate(c, src, timely);
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

void trial_migrator(const struct conf *c, struct conf_source *src, bool checking)
{
    trial_cas(c, src);
    trial_private_keys(c, src);
    trial_journal(c, src);
    if (checking)
        trial_ways_in(c, src, c->seal.private_key_files.n > 0);
}
