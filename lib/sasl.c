#include <stdlib.h>

#include "buf_room.h"
#include "mutf7.h"
#include "sasl_priv.h"
#include "xalloc.h"

static bool has_nul(struct span s)
{
    return s.len > 0 && memchr(s.p, '\0', s.len);
}

/* Cuts *s at its first NUL. */
static bool cut_at_nul(struct span *s, struct span *_head)
{
    const uint8_t *nul = s->len > 0 ? memchr(s->p, '\0', s->len) : NULL;
    if (!nul)
        return false;
    *_head = span_of(s->p, (size_t)(nul - s->p));
    *s = span_of(nul + 1, s->len - _head->len - 1);
    return true;
}

static bool plain_parse(struct buf *message, struct credential *_r)
{
    struct credential r = {0};
    struct span rest = buf_span(message);
    if (!cut_at_nul(&rest, &r.authzid) || !cut_at_nul(&rest, &r.authcid) || has_nul(rest))
        return false;
    if (r.authcid.len == 0 || rest.len == 0)
        return false;
    r.secret = rest;
    *_r = r;
    return true;
}

static bool plain_write(struct buf *out, const struct credential *c)
{
    if (has_nul(c->authzid) || has_nul(c->authcid) || has_nul(c->secret))
        return false;
    buf_room(out, c->authzid.len + c->authcid.len + c->secret.len + 2);
    buf_add_span(out, c->authzid);
    buf_add(out, "", 1);
    buf_add_span(out, c->authcid);
    buf_add(out, "", 1);
    buf_add_span(out, c->secret);
    return true;
}

static bool login_parse(struct buf *message, struct credential *_r)
{
    struct credential r = {0};
    struct span rest = buf_span(message);
    if (!cut_at_nul(&rest, &r.authcid) || has_nul(rest) || r.authcid.len == 0 || rest.len == 0)
        return false;
    r.secret = rest;
    *_r = r;
    return true;
}

static bool external_parse(struct buf *message, struct credential *_r)
{
    struct span authzid = buf_span(message);
    if (has_nul(authzid))
        return false;
    *_r = (struct credential){.authzid = authzid};
    return true;
}

/* ---- the mechanisms ---- */

static const char *const prompt_none[] = {"", NULL};
/* "Username:" and "Password:", which some clients compare. */
static const char *const prompts_login[] = {"VXNlcm5hbWU6", "UGFzc3dvcmQ6", NULL};

const struct sasl_mechanism sasl_mechanisms[] = {
    {.name = "PLAIN",
     .cap = CAP_AUTH_PLAIN,
     .kind = SASL_PASSWORD,
     .purpose = "login",
     .prompts = prompt_none,
     .expected = "[authorization identity] NUL name NUL password",
     .parse = plain_parse,
     .write = plain_write},
    {.name = "LOGIN",
     .cap = CAP_AUTH_LOGIN,
     .kind = SASL_PASSWORD,
     .prompts = prompts_login,
     .expected = "a name, then base64 of its password",
     .parse = login_parse},
    {.name = "OAUTHBEARER",
     .cap = CAP_AUTH_OAUTHBEARER,
     .kind = SASL_TOKEN,
     .prompts = prompt_none,
     .expected = "n,a=NAME, ^A auth=Bearer TOKEN ^A ^A",
     .acknowledge = "AQ==",
     .purpose = "oauthbearer",
     .parse = sasl_parse_oauthbearer,
     .write = sasl_write_oauthbearer},
    {.name = "XOAUTH2",
     .cap = CAP_AUTH_XOAUTH2,
     .kind = SASL_TOKEN,
     .prompts = prompt_none,
     .expected = "user=NAME ^A auth=Bearer TOKEN ^A ^A",
     .acknowledge = "",
     .purpose = "xoauth2",
     .parse = sasl_parse_xoauth2,
     .write = sasl_write_xoauth2},
    {.name = "EXTERNAL",
     .cap = CAP_AUTH_EXTERNAL,
     .kind = SASL_CERTIFICATE,
     .prompts = prompt_none,
     .expected = "a name, or of nothing",
     .parse = external_parse},
    {.name = NULL},
};

const struct sasl_mechanism *sasl_find(struct span name)
{
    for (const struct sasl_mechanism *m = sasl_mechanisms; m->name; m++)
        if (span_is_ci(name, m->name))
            return m;
    return NULL;
}

bool sasl_parse(const struct sasl_mechanism *m, struct buf *message, struct credential *_r)
{
    struct credential r;
    if (!m->parse(message, &r))
        return false;
    r.mechanism = m->kind == SASL_PASSWORD ? SASL_PLAIN : m;
    *_r = r;
    return true;
}

const struct sasl_mechanism *sasl_choose(const struct credential *c, const struct imap_caps *caps)
{
    if (c->mechanism->write && imap_caps_has(caps, c->mechanism->cap))
        return c->mechanism;
    for (const struct sasl_mechanism *m = sasl_mechanisms; m->name; m++)
        if (m->kind == c->mechanism->kind && m->write && imap_caps_has(caps, m->cap))
            return m;
    return NULL;
}

bool sasl_write(struct buf *out, const struct credential *c)
{
    return c->mechanism->write(out, c);
}

/* ---- credentials ---- */

struct credential credential_of_password(const char *name, const char *password)
{
    return (struct credential){
        .mechanism = SASL_PLAIN, .authcid = span_str(name), .secret = span_str(password)};
}

static struct span put_behind(uint8_t **at, struct span text)
{
    struct span copy = span_of(*at, text.len);
    if (text.len > 0)
        memcpy(*at, text.p, text.len);
    *at += text.len;
    return copy;
}

/* One piece of memory for all three, which begins with the first. */
void credential_copy(struct credential *to, const struct credential *from)
{
    uint8_t *at = xmalloc(from->authcid.len + from->authzid.len + from->secret.len + 1);
    to->mechanism = from->mechanism;
    to->authcid = put_behind(&at, from->authcid);
    to->authzid = put_behind(&at, from->authzid);
    to->secret = put_behind(&at, from->secret);
}

void credential_wipe(struct credential *c)
{
    void *memory = (void *)(uintptr_t)c->authcid.p;
    if (memory)
        wipe(memory, c->authcid.len + c->authzid.len + c->secret.len);
    free(memory);
    *c = (struct credential){0};
}

bool login_password_ok(struct span password, size_t max)
{
    for (size_t i = 0; i < password.len; i++)
        if (password.p[i] < 0x20 || password.p[i] == 0x7f)
            return false;
    return password.len > 0 && password.len <= max;
}

bool login_name_ok(struct span name, size_t max)
{
    return login_password_ok(name, max) && utf8_is_valid(name);
}
