#include "sasl.h"
#include "buf_room.h"
#include "mutf7.h"

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

bool sasl_plain_parse(struct span message, struct sasl_plain *_r)
{
    struct sasl_plain r;
    struct span rest = message;
    if (!cut_at_nul(&rest, &r.authzid) || !cut_at_nul(&rest, &r.authcid) || has_nul(rest))
        return false;
    if (r.authcid.len == 0 || rest.len == 0)
        return false;
    r.password = rest;
    *_r = r;
    return true;
}

bool sasl_plain_write(struct buf *out, struct span authzid, struct span authcid, struct span password)
{
    if (has_nul(authzid) || has_nul(authcid) || has_nul(password))
        return false;
    buf_room(out, authzid.len + authcid.len + password.len + 2);
    buf_add_span(out, authzid);
    buf_add(out, "", 1);
    buf_add_span(out, authcid);
    buf_add(out, "", 1);
    buf_add_span(out, password);
    return true;
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
