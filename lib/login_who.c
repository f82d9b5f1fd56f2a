#include "login_who.h"
#include "xalloc.h"

/* NULL: the user's name holds a character that divides it from the master's. */
static char *expand_master_login(const char *pattern, const char *user, struct span master)
{
    const char *u = strstr(pattern, "%u");
    if (u && u > pattern && strchr(user, u[-1]))
        return NULL;
    if (u && u[2] && strchr(user, u[2]))
        return NULL;
    struct buf name = {0};
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '%' && (p[1] == 'u' || p[1] == 'm'))
            buf_add_span(&name, *++p == 'u' ? span_str(user) : master);
        else
            buf_add(&name, p, 1);
    }
    char *login = xstrdup(buf_str(&name));
    buf_free(&name);
    return login;
}

static bool login_is_set(const char *s)
{
    return s && *s;
}

/* The master that c names signs in for user: by an authorization identity, or by both names in one. */
static enum login_rc name_both(const struct conf_backend *b, const char *user, struct credential *c,
                               char **login, const char **why)
{
    if (!login_is_set(b->master_login)) {
        c->authzid = span_str(user);
        return LOGIN_OK;
    }
    *login = expand_master_login(b->master_login, user, c->authcid);
    c->authcid = span_str(*login);
    c->authzid = span_of(NULL, 0);
    *why = "the user name holds a character that master_login sets apart";
    return *login ? LOGIN_OK : LOGIN_REFUSED;
}

enum login_rc login_who(const struct conf_backend *b, enum login_as as, const char *user,
                        struct credential *c, char **_login, const char **why)
{
    *_login = NULL;
    if (as == LOGIN_AS_USER)
        return c->authzid.len == 0 ? LOGIN_OK : name_both(b, user, c, _login, why);
    if (!login_is_set(b->master_user) || c->secret.len == 0) {
        *why = "the backend has no master_user with a password";
        return LOGIN_UNAVAILABLE;
    }
    c->authcid = span_str(b->master_user);
    return b->sign_in == SIGN_IN_PROXYAUTH ? LOGIN_OK : name_both(b, user, c, _login, why);
}
