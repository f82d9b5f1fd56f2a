#include "imap_url.h"
#include "percent.h"

static bool imap_url_take(struct span *s, const char *prefix)
{
    size_t n = strlen(prefix);
    if (s->len < n || !span_is_ci(span_of(s->p, n), prefix))
        return false;
    *s = span_of(s->p + n, s->len - n);
    return true;
}

/* What stands in front of the first c, which is eaten too; all of it where there is none. */
static struct span imap_url_until(struct span *s, char c)
{
    const uint8_t *at = s->len > 0 ? memchr(s->p, c, s->len) : NULL;
    struct span part = at ? span_of(s->p, (size_t)(at - s->p)) : *s;
    size_t eaten = part.len + (at != NULL);
    *s = span_of(s->p + eaten, s->len - eaten);
    return part;
}

static bool imap_url_decode(struct span s, char *out, size_t size)
{
    size_t n = 0;
    while (s.len > 0) {
        uint8_t c = 0;
        bool escaped;
        if (n + 1 >= size || !percent_take(&s, HEX_BOTH, &c, &escaped) || c < ' ' || c == 0x7f)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

/* "ann;AUTH=*": how to sign in there is ours to say. */
static bool imap_url_user(struct span *s, struct imap_url *u)
{
    if (s->len == 0 || !memchr(s->p, '@', s->len))
        return true;
    struct span info = imap_url_until(s, '@'), user = imap_url_until(&info, ';');
    return (info.len == 0 || imap_url_take(&info, "AUTH=")) && imap_url_decode(user, u->user, sizeof u->user);
}

static bool imap_url_host(struct span *s, struct imap_url *u)
{
    bool brackets = imap_url_take(s, "[");
    if (brackets && (s->len == 0 || !memchr(s->p, ']', s->len)))
        return false;
    struct span host = *s;
    size_t n = 0;
    while (n < s->len && s->p[n] != (brackets ? ']' : ':'))
        n++;
    host.len = n;
    *s = span_of(s->p + n + brackets, s->len - n - brackets);
    return host.len > 0 && imap_url_decode(host, u->host, sizeof u->host);
}

static bool imap_url_port(struct span s, struct imap_url *u)
{
    uint64_t port = 0;
    if (s.len == 0)
        return true;
    if (!imap_url_take(&s, ":") || !span_u64(s, UINT16_MAX, &port))
        return false;
    u->port = (uint16_t)port;
    return port > 0;
}

bool imap_url_parse(struct span text, struct imap_url *_r)
{
    struct imap_url u = {0};
    if (!imap_url_take(&text, "imap://") && !imap_url_take(&text, "imaps://"))
        return false;
    struct span server = imap_url_until(&text, '/');
    if (text.len > 0 || !imap_url_user(&server, &u) || !imap_url_host(&server, &u) ||
        !imap_url_port(server, &u))
        return false;
    *_r = u;
    return true;
}
