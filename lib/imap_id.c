#include "imap_id.h"

/* One of a pair: a name, or a value, which may be NIL. */
static bool id_string(const struct imap_value *v, size_t max, struct span *_r)
{
    return v->kind != IMAP_LIST && imap_value_string(v, _r) && _r->len <= max;
}

static bool is_sayable(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] == '\0' || s.p[i] == '\r' || s.p[i] == '\n')
            return false;
    return true;
}

static bool is_of_proxies(struct span name)
{
    return name.len >= 2 && span_is_ci(span_of(name.p, 2), "x-");
}

static void keep_string(struct buf *pairs, struct span s)
{
    buf_add_span(pairs, s);
    buf_add(pairs, "", 1);
}

static bool id_read_pair(const struct imap_value *name, struct buf *pairs)
{
    struct span key, value;

    if (!name->next || !id_string(name, IMAP_ID_NAME, &key))
        return false;
    if (imap_value_is_nil(name->next))
        return true;
    if (!id_string(name->next, IMAP_ID_VALUE, &value))
        return false;
    if (key.len > 0 && !is_of_proxies(key) && is_sayable(key) && is_sayable(value)) {
        keep_string(pairs, key);
        keep_string(pairs, value);
    }
    return true;
}

bool imap_id_read(const struct imap_value *args, struct buf *pairs)
{
    size_t n = 0;

    if (!args || args->next)
        return false;
    if (imap_value_is_nil(args))
        return true;
    if (args->kind != IMAP_LIST)
        return false;
    for (const struct imap_value *v = args->first; v; v = v->next->next)
        if (++n > IMAP_ID_PAIRS || !id_read_pair(v, pairs))
            return false;
    return true;
}

/* The string at the beginning of *rest, which is stepped over. */
static struct span next_string(struct span *rest)
{
    struct span s = span_of(rest->p, strnlen((const char *)rest->p, rest->len));
    size_t used = s.len < rest->len ? s.len + 1 : s.len;

    *rest = span_of(rest->p + used, rest->len - used);
    return s;
}

void imap_id_write(struct imap_writer *w, struct span pairs)
{
    imap_write_raw(w, pairs.len > 0 ? "ID (" : "ID NIL");
    for (size_t n = 0; pairs.len > 0; n++) {
        if (n > 0)
            imap_write_raw(w, " ");
        imap_write_quoted(w, next_string(&pairs));
        if (pairs.len == 0)
            imap_write_raw(w, ")");
    }
}
