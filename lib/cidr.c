#include <arpa/inet.h>

#include "cidr.h"

enum { V4_IN_V6 = 96, ALL_BITS = 128 };

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 2.5.5.2 */

/* False: it is no address. */
static bool cidr_address(const char *ip, uint8_t address[16], bool *is_v4)
{
    *is_v4 = inet_pton(AF_INET, ip, address + sizeof mapped) == 1;
    if (*is_v4)
        memcpy(address, mapped, sizeof mapped);
    return *is_v4 || inet_pton(AF_INET6, ip, address) == 1;
}

bool cidr_read_ip(struct span text, char ip_r[CIDR_IP_SIZE])
{
    char ip[CIDR_IP_SIZE];
    uint8_t address[16];
    bool is_v4;
    if (text.len == 0 || text.len >= sizeof ip)
        return false;
    memcpy(ip, text.p, text.len);
    ip[text.len] = '\0';
    if (strlen(ip) != text.len || !cidr_address(ip, address, &is_v4))
        return false;
    if (memcmp(address, mapped, sizeof mapped) == 0)
        inet_ntop(AF_INET, address + sizeof mapped, ip_r, CIDR_IP_SIZE);
    else
        inet_ntop(AF_INET6, address, ip_r, CIDR_IP_SIZE);
    return true;
}

/* Are all bits behind these the same as in other? */
static bool same_from(const uint8_t *a, const uint8_t *b, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if ((a[i / 8] ^ b[i / 8]) & 0x80 >> i % 8)
            return false;
    return true;
}

bool cidr_parse(const char *text, struct cidr *_r, const char **why)
{
    static const uint8_t zeros[16];
    char ip[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    bool is_v4;
    uint64_t bits;
    *why = "is no network; expected such as 192.0.2.0/24 or 2001:db8::/32";
    if (len >= sizeof ip)
        return false;
    memcpy(ip, text, len);
    ip[len] = '\0';
    if (!cidr_address(ip, _r->address, &is_v4))
        return false;
    unsigned most = is_v4 ? ALL_BITS - V4_IN_V6 : ALL_BITS;
    if (!slash)
        bits = most;
    else if (!span_u64(span_str(slash + 1), most, &bits))
        return false;
    _r->bits = (unsigned)bits + (is_v4 ? V4_IN_V6 : 0);
    *why = "has bits behind its prefix: it is an address and no network";
    return same_from(_r->address, zeros, _r->bits, ALL_BITS);
}

bool cidr_has(const struct cidr *c, const char *ip)
{
    uint8_t address[16];
    bool is_v4;
    return cidr_address(ip, address, &is_v4) && same_from(c->address, address, 0, c->bits);
}

bool cidr_any(char *const *networks, size_t n, const char *ip)
{
    struct cidr c;
    const char *why;
    for (size_t i = 0; i < n; i++)
        if (cidr_parse(networks[i], &c, &why) && cidr_has(&c, ip))
            return true;
    return false;
}
