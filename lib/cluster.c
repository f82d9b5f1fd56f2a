#include "cluster.h"

/* ---- slots ---- */

/* CRC-16/XMODEM. */
static uint32_t cluster_crc(struct span bytes)
{
    uint32_t crc = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= (uint32_t)bytes.p[i] << 8;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc;
}

uint32_t cluster_slot(struct span key)
{
    const uint8_t *open = key.len ? memchr(key.p, '{', key.len) : NULL;
    size_t from = open ? (size_t)(open - key.p) + 1 : key.len;
    const uint8_t *close = from < key.len ? memchr(key.p + from, '}', key.len - from) : NULL;

    if (close && close > key.p + from)
        key = span_of(key.p + from, (size_t)(close - key.p) - from);
    return cluster_crc(key) & 0x3fff;
}

/* ---- words ---- */

/* Up to the next c, which is eaten too. */
static struct span cluster_cut(struct span *text, char c)
{
    const uint8_t *end = text->len ? memchr(text->p, c, text->len) : NULL;
    size_t n = end ? (size_t)(end - text->p) : text->len;
    struct span word = span_of(text->p, n);

    *text = end ? span_of(end + 1, text->len - n - 1) : span_of(text->p + n, 0);
    return word;
}

/* "host:port"; IPv6 has no brackets here, so it is the last colon. */
static bool cluster_take_port(struct span *place, uint16_t *_port)
{
    const uint8_t *colon = place->len ? memrchr(place->p, ':', place->len) : NULL;
    uint64_t port = 0;

    if (!colon)
        return false;
    size_t n = (size_t)(colon - place->p);
    if (!span_u64(span_of(colon + 1, place->len - n - 1), UINT16_MAX, &port) || port == 0)
        return false;
    *_port = (uint16_t)port;
    place->len = n;
    return true;
}

/* What a resolver and a log can be given. "?" is what a node says that was to be called by a name and has none. */
static bool cluster_is_host(struct span host)
{
    for (size_t i = 0; i < host.len; i++)
        if (host.p[i] <= ' ' || host.p[i] >= 0x7f || strchr("?/@,\"", host.p[i]))
            return false;
    return host.len <= 253;
}

enum cluster_word cluster_word(struct span error, struct cluster_place *_r)
{
    struct span rest = error, word = cluster_cut(&rest, ' ');
    bool moved = span_is(word, "MOVED");
    struct cluster_place p = {0};
    uint64_t slot = 0;

    if (span_is(word, "TRYAGAIN"))
        return CLUSTER_TRYAGAIN;
    if (span_is(word, "CLUSTERDOWN"))
        return CLUSTER_DOWN;
    if (!moved && !span_is(word, "ASK"))
        return CLUSTER_OTHER;
    if (!span_u64(cluster_cut(&rest, ' '), 0x3fff, &slot) || !cluster_take_port(&rest, &p.port) ||
        !cluster_is_host(rest))
        return CLUSTER_OTHER;
    p.slot = (uint32_t)slot;
    p.host = rest;
    *_r = p;
    return moved ? CLUSTER_MOVED : CLUSTER_ASK;
}

/* ---- nodes ---- */

static bool cluster_has_flag(struct span flags, const char *flag)
{
    while (flags.len > 0)
        if (span_is(cluster_cut(&flags, ','), flag))
            return true;
    return false;
}

/* "ip:port@cport,hostname,name=value": what stands behind the port is not in every release. */
static bool cluster_take_place(struct cluster_node *n, struct span place)
{
    struct span name = place, at = cluster_cut(&name, ',');

    name = cluster_cut(&name, ',');
    if (name.len && memchr(name.p, '=', name.len))
        name.len = 0;
    at = cluster_cut(&at, '@');
    if (!cluster_take_port(&at, &n->port) || !cluster_is_host(at) || !cluster_is_host(name))
        return false;
    n->address = at;
    n->name = name;
    return true;
}

/* Behind the id of the master: when it was asked and answered, epoch, link, then slots. */
static struct span cluster_slots(struct span line)
{
    for (unsigned i = 0; i < 4; i++)
        cluster_cut(&line, ' ');
    return line;
}

bool cluster_node_has(const struct cluster_node *n, uint32_t slot)
{
    struct span slots = n->slots;

    while (slots.len > 0) {
        struct span to = cluster_cut(&slots, ' '), from = cluster_cut(&to, '-');
        uint64_t first, last;
        if (span_u64(from, 0x3fff, &first) && span_u64(to.len ? to : from, 0x3fff, &last) && first <= slot &&
            slot <= last)
            return true;
    }
    return false;
}

bool cluster_node_is_followed(const struct cluster_node *n, struct span nodes)
{
    struct cluster_node other;

    while (cluster_next_node(&nodes, &other))
        if (!other.failed && other.of.len == n->id.len && memcmp(other.of.p, n->id.p, n->id.len) == 0)
            return true;
    return false;
}

struct span cluster_node_host(const struct cluster_node *n, struct span preferred, struct span asked)
{
    if (span_is(preferred, "unknown-endpoint"))
        return asked;
    return span_is(preferred, "ip") || n->name.len == 0 ? n->address : n->name;
}

bool cluster_next_node(struct span *text, struct cluster_node *_r)
{
    struct span line = cluster_cut(text, '\n');
    struct cluster_node n = {.id = cluster_cut(&line, ' ')};
    struct span place = cluster_cut(&line, ' '), flags = cluster_cut(&line, ' ');

    n.of = cluster_cut(&line, ' ');
    n.slots = cluster_slots(line);
    n.has_slots = n.slots.len > 0 && *n.slots.p != '['; /* what stands in brackets is on its way */
    n.myself = cluster_has_flag(flags, "myself");
    n.master = cluster_has_flag(flags, "master");
    n.failed = cluster_has_flag(flags, "fail") || cluster_has_flag(flags, "noaddr") ||
               cluster_has_flag(flags, "handshake");
    if (n.id.len == 0 || flags.len == 0)
        return false;
    if (!cluster_take_place(&n, place) && !n.failed) /* one without address has "":0 */
        return false;
    *_r = n;
    return true;
}
