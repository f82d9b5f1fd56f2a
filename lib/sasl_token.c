/* Messages with the token of an identity provider: OAUTHBEARER (RFC 7628), and XOAUTH2, which Google and Microsoft
 * had before it. Both hold pairs of a key and a value, each with 0x01 behind it. */
#include "base64.h"
#include "buf_room.h"
#include "mutf7.h"
#include "sasl_priv.h"

enum { SEPARATOR = 0x01 };

/* Cuts *s at the first such byte, or takes all of it. False: there was none. */
static bool token_cut(struct span *s, uint8_t at, struct span *head)
{
    const uint8_t *end = s->len > 0 ? memchr(s->p, at, s->len) : NULL;
    *head = span_of(s->p, end ? (size_t)(end - s->p) : s->len);
    size_t eaten = head->len + (end ? 1 : 0);
    if (eaten > 0) /* else it may be NULL */
        *s = span_of(s->p + eaten, s->len - eaten);
    return end;
}

/* RFC 6749 A.12, without the blank: it would be a second word. */
static bool token_is_good(struct span token)
{
    for (size_t i = 0; i < token.len; i++)
        if (token.p[i] <= 0x20 || token.p[i] >= 0x7f)
            return false;
    return token.len > 0;
}

/* "Bearer TOKEN" */
static bool token_of(struct span value, struct span *token)
{
    struct span scheme;
    if (!token_cut(&value, ' ', &scheme) || !span_is_ci(scheme, "Bearer"))
        return false;
    while (value.len > 0 && *value.p == ' ')
        value = span_of(value.p + 1, value.len - 1);
    *token = value;
    return token_is_good(value);
}

/* The values of "user" and "auth"; other keys (host, port) are of no interest. Some clients leave out what ends the
 * last pair, or the whole, and servers do not mind. */
static bool token_read_pairs(struct span pairs, struct span *user, struct span *auth)
{
    *user = *auth = span_of(NULL, 0);
    while (pairs.len > 0) {
        struct span value, key;
        token_cut(&pairs, SEPARATOR, &value);
        if (value.len == 0)
            return pairs.len == 0;
        if (!token_cut(&value, '=', &key) || key.len == 0)
            return false;
        struct span *wanted = span_is(key, "user") ? user : span_is(key, "auth") ? auth : NULL;
        if (wanted && wanted->p)
            return false;
        if (wanted)
            *wanted = value;
    }
    return true;
}

static bool token_name_is_good(struct span name)
{
    return name.len > 0 && !memchr(name.p, '\0', name.len) && !memchr(name.p, SEPARATOR, name.len);
}

/* ---- XOAUTH2 ---- */

bool sasl_parse_xoauth2(struct buf *message, struct credential *_r)
{
    struct credential r = {0};
    struct span auth;
    if (!token_read_pairs(buf_span(message), &r.authcid, &auth) || !token_name_is_good(r.authcid) ||
        !token_of(auth, &r.secret))
        return false;
    *_r = r;
    return true;
}

static bool token_may_be_written(const struct credential *c)
{
    return c->authzid.len == 0 && token_name_is_good(c->authcid) && token_is_good(c->secret);
}

bool sasl_write_xoauth2(struct buf *out, const struct credential *c)
{
    if (!token_may_be_written(c))
        return false;
    buf_room(out, c->authcid.len + c->secret.len + 32);
    buf_add_str(out, "user=");
    buf_add_span(out, c->authcid);
    buf_add_str(out, "\1auth=Bearer ");
    buf_add_span(out, c->secret);
    buf_add_str(out, "\1\1");
    return true;
}

/* ---- OAUTHBEARER ---- */

/* "=2C" and "=3D" stand for a comma and an equals sign (RFC 5801 section 4). The name becomes shorter, in place. */
static bool token_unescape(uint8_t *name, size_t *len)
{
    size_t to = 0;
    for (size_t i = 0; i < *len; i++) {
        uint8_t c = name[i];
        if (c == '=') {
            struct span code = span_of(name + i, *len - i < 3 ? *len - i : 3);
            bool comma = span_is_ci(code, "=2C");
            if (!comma && !span_is_ci(code, "=3D"))
                return false;
            c = comma ? ',' : '=';
            i += 2;
        }
        name[to++] = c;
    }
    *len = to;
    return true;
}

static void token_add_escaped(struct buf *out, struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] == ',' || name.p[i] == '=')
            buf_add_str(out, name.p[i] == ',' ? "=2C" : "=3D");
        else
            buf_add(out, name.p + i, 1);
    }
}

/* "n,a=NAME,": no channel binding, or none that the client has seen offered. */
static bool token_read_head(struct span *rest, struct span *name)
{
    struct span flag;
    return token_cut(rest, ',', &flag) && (span_is(flag, "n") || span_is(flag, "y")) &&
           token_cut(rest, ',', name) && name->len > 2 && memcmp(name->p, "a=", 2) == 0;
}

bool sasl_parse_oauthbearer(struct buf *message, struct credential *_r)
{
    struct credential r = {0};
    struct span rest = buf_span(message), head, name, user, auth;
    if (!token_cut(&rest, SEPARATOR, &head) || !token_read_head(&head, &name) || head.len > 0 ||
        !token_read_pairs(rest, &user, &auth) || !token_of(auth, &r.secret))
        return false;
    size_t len = name.len - 2;
    uint8_t *own = message->mem + (name.p + 2 - message->mem);
    if (!token_unescape(own, &len))
        return false;
    r.authcid = span_of(own, len);
    if (!token_name_is_good(r.authcid))
        return false;
    *_r = r;
    return true;
}

bool sasl_write_oauthbearer(struct buf *out, const struct credential *c)
{
    if (!token_may_be_written(c))
        return false;
    buf_room(out, 3 * c->authcid.len + c->secret.len + 32);
    buf_add_str(out, "n,a=");
    token_add_escaped(out, c->authcid);
    buf_add_str(out, ",\1auth=Bearer ");
    buf_add_span(out, c->secret);
    buf_add_str(out, "\1\1");
    return true;
}

/* ---- why a server refuses ---- */

static bool token_is_json_object(struct span text)
{
    if (text.len < 2 || text.len > SASL_CHALLENGE_MAX || text.p[0] != '{' || text.p[text.len - 1] != '}')
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((text.p[i] < 0x20 && !memchr("\t\r\n", text.p[i], 3)) || text.p[i] == 0x7f)
            return false;
    return utf8_is_valid(text);
}

bool sasl_read_challenge(struct buf *out, struct span base64)
{
    struct buf text = {0};
    bool good = base64_decode(&text, base64) && token_is_json_object(buf_span(&text));
    if (good)
        buf_add_span(out, buf_span(&text));
    buf_free(&text);
    return good;
}
