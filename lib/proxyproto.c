#include <stdio.h>

#include "proxyproto.h"

enum { V2_HEAD = 16, V2_IPV4 = 12, V2_IPV6 = 36, V2_UNIX = 216, TLV_HEAD = 3, TLV_CRC32C = 0x03 };
enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
/* Family and transport; that of a datagram can't be carried by a connection. */
enum { FAM_UNSPEC = 0x00, FAM_TCP4 = 0x11, FAM_TCP6 = 0x21, FAM_UNIX = 0x31 };

static const uint8_t v1_mark[6] = "PROXY ";
static const uint8_t v2_mark[12] = "\r\n\r\n\0\r\nQUIT\n";

static enum proxyproto_rc proxyproto_bad(const char **why, const char *text)
{
    *why = text;
    return PROXYPROTO_BAD;
}

static bool begins_as(struct span in, const uint8_t *mark, size_t len)
{
    return in.len > 0 && memcmp(in.p, mark, in.len < len ? in.len : len) == 0;
}

/* ---- addresses ---- */

static void end_from_v4(struct proxyproto_end *e, const uint8_t *address)
{
    inet_ntop(AF_INET, address, e->ip, sizeof e->ip);
}

static void end_from_v6(struct proxyproto_end *e, const uint8_t *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 2.5.5.2 */
    if (memcmp(address, mapped, sizeof mapped) == 0)
        end_from_v4(e, address + sizeof mapped);
    else
        inet_ntop(AF_INET6, address, e->ip, sizeof e->ip);
}

static uint16_t number_of(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* ---- version 1 (2.1) ---- */

/* Eats up to the next blank, or to the end. */
static struct span v1_word(struct span *line)
{
    const uint8_t *blank = line->len > 0 ? memchr(line->p, ' ', line->len) : NULL;
    struct span word = span_of(line->p, blank ? (size_t)(blank - line->p) : line->len);
    size_t eaten = word.len + (blank ? 1 : 0);
    *line = span_of(line->p + eaten, line->len - eaten);
    return word;
}

static bool v1_address(struct span *line, int family, struct proxyproto_end *e)
{
    struct span word = v1_word(line);
    char text[INET6_ADDRSTRLEN];
    uint8_t address[16];
    if (word.len == 0 || word.len >= sizeof text)
        return false;
    memcpy(text, word.p, word.len);
    text[word.len] = '\0';
    if (strlen(text) != word.len || inet_pton(family, text, address) != 1)
        return false;
    if (family == AF_INET)
        end_from_v4(e, address);
    else
        end_from_v6(e, address);
    return true;
}

static bool v1_port(struct span *line, struct proxyproto_end *e)
{
    struct span word = v1_word(line);
    uint64_t port;
    if (!span_u64(word, UINT16_MAX, &port) || (word.len > 1 && word.p[0] == '0'))
        return false;
    e->port = (uint16_t)port;
    return true;
}

/* line: without CRLF. */
static enum proxyproto_rc v1_line(struct span line, struct proxyproto *h, const char **why)
{
    v1_word(&line);
    struct span family = v1_word(&line);
    if (span_is(family, "UNKNOWN")) /* what stands behind it is to be ignored */
        return PROXYPROTO_DONE;
    int af = span_is(family, "TCP4") ? AF_INET : AF_INET6;
    if (af == AF_INET6 && !span_is(family, "TCP6"))
        return proxyproto_bad(why, "a header of version 1 with a protocol that is none");
    bool good = v1_address(&line, af, &h->ends.from) && v1_address(&line, af, &h->ends.to) &&
                v1_port(&line, &h->ends.from);
    if (!good || memchr(line.p, ' ', line.len) || !v1_port(&line, &h->ends.to))
        return proxyproto_bad(why, "a header of version 1 whose addresses or ports are none");
    h->tells = true;
    return PROXYPROTO_DONE;
}

static enum proxyproto_rc v1_read(struct span in, struct proxyproto *h, const char **why)
{
    struct span part = span_of(in.p, in.len < PROXYPROTO_V1_MAX ? in.len : PROXYPROTO_V1_MAX);
    const uint8_t *lf = memchr(part.p, '\n', part.len);
    if (!lf && part.len == PROXYPROTO_V1_MAX)
        return proxyproto_bad(why, "a header of version 1 that is too long");
    if (!lf)
        return PROXYPROTO_MORE;
    h->len = (size_t)(lf - part.p) + 1;
    if (h->len < 2 || lf[-1] != '\r')
        return proxyproto_bad(why, "a header of version 1 that does not end in CRLF");
    return v1_line(span_of(part.p, h->len - 2), h, why);
}

/* ---- version 2 (2.2) ---- */

static uint32_t crc32c_add(uint32_t crc, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return crc;
}

/* The header's sum, with zeros where it stands itself (2.2.3). */
static bool v2_sum_is_right(struct span header, const uint8_t *sum)
{
    static const uint8_t zeros[4];
    uint32_t said = (uint32_t)number_of(sum) << 16 | number_of(sum + 2);
    size_t before = (size_t)(sum - header.p);
    uint32_t crc = crc32c_add(UINT32_MAX, header.p, before);
    crc = crc32c_add(crc, zeros, sizeof zeros);
    crc = crc32c_add(crc, sum + sizeof zeros, header.len - before - sizeof zeros);
    return ~crc == said;
}

/* tlvs: to the end of the header. */
static enum proxyproto_rc v2_tlvs(struct span header, struct span tlvs, const char **why)
{
    while (tlvs.len > 0) {
        size_t len = tlvs.len < TLV_HEAD ? 0 : number_of(tlvs.p + 1);
        if (TLV_HEAD + len > tlvs.len)
            return proxyproto_bad(why, "a header of version 2 with a TLV that goes beyond it");
        if (tlvs.p[0] == TLV_CRC32C && (len != 4 || !v2_sum_is_right(header, tlvs.p + TLV_HEAD)))
            return proxyproto_bad(why, "a header of version 2 whose CRC32C is wrong");
        tlvs = span_of(tlvs.p + TLV_HEAD + len, tlvs.len - TLV_HEAD - len);
    }
    return PROXYPROTO_DONE;
}

/* p: of TCP4 or TCP6. */
static void v2_addresses(const uint8_t *p, uint8_t family, struct proxyproto *h)
{
    size_t size = family == FAM_TCP4 ? 4 : 16;
    void (*take)(struct proxyproto_end *, const uint8_t *) = family == FAM_TCP4 ? end_from_v4 : end_from_v6;
    take(&h->ends.from, p);
    take(&h->ends.to, p + size);
    h->ends.from.port = number_of(p + 2 * size);
    h->ends.to.port = number_of(p + 2 * size + 2);
    h->tells = true;
}

/* How long the addresses are; SIZE_MAX: there is no such family. */
static size_t v2_room(uint8_t family)
{
    switch (family) {
    case FAM_UNSPEC:
        return 0;
    case FAM_TCP4:
        return V2_IPV4;
    case FAM_TCP6:
        return V2_IPV6;
    case FAM_UNIX:
        return V2_UNIX;
    default:
        return SIZE_MAX;
    }
}

/* header: all of it, of the command PROXY. */
static enum proxyproto_rc v2_proxied(struct span header, struct proxyproto *h, const char **why)
{
    uint8_t family = header.p[13];
    size_t room = v2_room(family), rest = header.len - V2_HEAD;
    if (room > rest)
        return proxyproto_bad(why, room == SIZE_MAX
                                       ? "a header of version 2 of a family or transport that is none"
                                       : "a header of version 2 that is too short for its addresses");
    if (family == FAM_TCP4 || family == FAM_TCP6)
        v2_addresses(header.p + V2_HEAD, family, h);
    if (family == FAM_UNSPEC) /* whatever stands there is to be skipped */
        return PROXYPROTO_DONE;
    return v2_tlvs(header, span_of(header.p + V2_HEAD + room, rest - room), why);
}

static enum proxyproto_rc v2_read(struct span in, struct proxyproto *h, const char **why)
{
    if (in.len > 12 && in.p[12] != V2_LOCAL && in.p[12] != V2_PROXY)
        return proxyproto_bad(why, "a header of another version, or with a command that is none");
    if (in.len < V2_HEAD)
        return PROXYPROTO_MORE;
    h->len = V2_HEAD + (size_t)number_of(in.p + 14);
    if (h->len > PROXYPROTO_MAX)
        return proxyproto_bad(why, "a header of version 2 that is too long");
    if (in.len < h->len)
        return PROXYPROTO_MORE;
    return in.p[12] == V2_LOCAL ? PROXYPROTO_DONE : v2_proxied(span_of(in.p, h->len), h, why);
}

enum proxyproto_rc proxyproto_read(struct span in, struct proxyproto *_r, const char **why)
{
    struct proxyproto h = {0};
    enum proxyproto_rc rc = PROXYPROTO_MORE;
    if (begins_as(in, v1_mark, sizeof v1_mark))
        rc = in.len < sizeof v1_mark ? PROXYPROTO_MORE : v1_read(in, &h, why);
    else if (begins_as(in, v2_mark, sizeof v2_mark))
        rc = v2_read(in, &h, why);
    else if (in.len > 0)
        rc = proxyproto_bad(why, "no PROXY header");
    if (rc == PROXYPROTO_DONE)
        *_r = h;
    return rc;
}

/* ---- writing ---- */

static void v1_write(struct buf *out, const struct proxyproto_ends *e, bool is_v4)
{
    buf_printf(out, "PROXY %s %s %s %u %u\r\n", is_v4 ? "TCP4" : "TCP6", e->from.ip, e->to.ip, e->from.port,
               e->to.port);
}

static void v2_write_head(struct buf *out, uint8_t command, uint8_t family, size_t len)
{
    const uint8_t head[4] = {command, family, 0, (uint8_t)len};
    buf_add(out, v2_mark, sizeof v2_mark);
    buf_add(out, head, sizeof head);
}

static void v2_write(struct buf *out, const struct proxyproto_ends *e, bool is_v4)
{
    int af = is_v4 ? AF_INET : AF_INET6;
    size_t size = is_v4 ? 4 : 16;
    uint8_t p[V2_IPV6] = {0};
    if (inet_pton(af, e->from.ip, p) != 1 || inet_pton(af, e->to.ip, p + size) != 1)
        memset(p, 0, sizeof p); /* both were looked at */
    p[2 * size] = (uint8_t)(e->from.port >> 8);
    p[2 * size + 1] = (uint8_t)e->from.port;
    p[2 * size + 2] = (uint8_t)(e->to.port >> 8);
    p[2 * size + 3] = (uint8_t)e->to.port;
    v2_write_head(out, V2_PROXY, is_v4 ? FAM_TCP4 : FAM_TCP6, 2 * size + 4);
    buf_add(out, p, 2 * size + 4);
}

/* AF_UNSPEC: it is none. */
static int family_of(const char *ip)
{
    uint8_t address[16];
    if (inet_pton(AF_INET, ip, address) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, ip, address) == 1 ? AF_INET6 : AF_UNSPEC;
}

void proxyproto_write(struct buf *out, unsigned version, const struct proxyproto_ends *ends)
{
    struct proxyproto_ends e = ends ? *ends : (struct proxyproto_ends){0};
    int family = family_of(e.from.ip);
    if (family != AF_UNSPEC && family_of(e.to.ip) != family)
        snprintf(e.to.ip, sizeof e.to.ip, "%s", family == AF_INET ? "0.0.0.0" : "::");
    if (family == AF_UNSPEC && version == 1)
        buf_add_str(out, "PROXY UNKNOWN\r\n");
    else if (family == AF_UNSPEC)
        v2_write_head(out, V2_LOCAL, FAM_UNSPEC, 0);
    else if (version == 1)
        v1_write(out, &e, family == AF_INET);
    else
        v2_write(out, &e, family == AF_INET);
}
