#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf_files.h"
#include "log.h"

static void files_tell(const char *file, conf_file_fn fn, void *owner)
{
    if (*file)
        fn(owner, file);
}

static void files_list(const struct conf_list *l, conf_file_fn fn, void *owner)
{
    for (size_t i = 0; i < l->n; i++)
        files_tell(l->items[i], fn, owner);
}

static void files_of_proxy(const struct conf *c, conf_file_fn fn, void *owner)
{
    char *cert, *key;

    files_tell(c->seal.public_key_file, fn, owner);
    if (!conf_has_tls_listener(&c->proxy))
        return;
    for (size_t i = 0; conf_certificate(&c->proxy, i, &cert, &key); i++) {
        files_tell(cert, fn, owner);
        files_tell(key, fn, owner);
        free(cert);
        free(key);
    }
    files_list(&c->proxy.tls_ticket_files, fn, owner);
    files_tell(c->proxy.tls_client_ca, fn, owner);
}

static void files_of_hook(const struct conf_list *hook, conf_file_fn fn, void *owner)
{
    if (conf_hook_is_url(hook) && hook->n > 1)
        files_tell(hook->items[1], fn, owner);
}

static void files_of_migrator(const struct conf *c, conf_file_fn fn, void *owner)
{
    const struct conf_migration *m = &c->migration;

    files_list(&c->seal.private_key_files, fn, owner);
    files_tell(c->admin.token_file, fn, owner);
    files_of_hook(&m->hook_freeze, fn, owner);
    files_of_hook(&m->hook_flip, fn, owner);
    files_of_hook(&m->hook_settle, fn, owner);
    files_of_hook(&m->hook_kick, fn, owner);
}

/* As conf_check() reads them. */
static void files_of_backend(const struct conf_backend *b, enum conf_role role, conf_file_fn fn, void *owner)
{
    bool by_master = b->sign_in != SIGN_IN_PASSTHROUGH || *b->auth_backend;

    files_tell(b->ca_file, fn, owner);
    if (role == CONF_MIGRATOR || by_master)
        files_tell(b->master_password_file, fn, owner);
    if (role == CONF_MIGRATOR) {
        files_tell(b->doveadm_key_file, fn, owner);
        files_of_hook(&b->provision, fn, owner);
    }
}

static void files_of_wave(const struct conf_wave *w, conf_file_fn fn, void *owner)
{
    for (size_t i = 0; i < w->accounts.n; i++)
        if (w->accounts.items[i][0] == '/')
            fn(owner, w->accounts.items[i]);
}

void conf_each_file(const struct conf *c, enum conf_role role, conf_file_fn fn, void *owner)
{
    files_tell(c->file, fn, owner);
    files_tell(c->redis.password_file, fn, owner);
    files_tell(c->redis.sentinel_password_file, fn, owner);
    files_tell(c->redis.ca_file, fn, owner);
    files_tell(c->redis.tls_cert, fn, owner);
    files_tell(c->redis.tls_key, fn, owner);
    for (size_t i = 0; i < c->n_backends; i++)
        files_of_backend(&c->backends[i], role, fn, owner);
    for (size_t i = 0; i < c->n_waves; i++)
        files_of_wave(&c->waves[i], fn, owner);
    if (role == CONF_PROXY)
        files_of_proxy(c, fn, owner);
    if (role == CONF_MIGRATOR)
        files_of_migrator(c, fn, owner);
}

static void log_if_unreadable(void *owner, const char *file)
{
    if (access(file, R_OK) != 0)
        LOG(WARN, "unreadable_after_start", LOG_S("file", file), LOG_S("user", owner),
            LOG_S("why", strerror(errno)),
            LOG_S("effect", "SIGHUP will be refused: let the user's group read it (root:GROUP, mode 640)"));
}

void conf_log_unreadable(const struct conf *c, enum conf_role role, const char *user)
{
    conf_each_file(c, role, log_if_unreadable, (void *)user);
}
