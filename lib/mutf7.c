#include "mutf7.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* Reads one character of UTF-8 (RFC 3629) from s at *i. False: not one. */
static bool utf8_next(struct span s, size_t *i, uint32_t *_c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = s.p[*i];
    size_t n = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
    if (n == 0 || s.len - *i < n)
        return false;
    uint32_t c = n == 1 ? lead : lead & (0xffu >> (n + 1));
    for (size_t k = 1; k < n; k++) {
        if ((s.p[*i + k] & 0xc0) != 0x80)
            return false;
        c = c << 6 | (s.p[*i + k] & 0x3f);
    }
    if ((n > 1 && c < least[n]) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || c == 0)
        return false;
    *i += n;
    *_c = c;
    return true;
}

static void utf8_add(struct buf *out, uint32_t c)
{
    uint8_t b[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t k = n - 1; k > 0; k--) {
        b[k] = (uint8_t)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    b[0] = (uint8_t)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
    buf_add(out, b, n);
}

bool utf8_is_valid(struct span s)
{
    uint32_t c;
    for (size_t i = 0; i < s.len;)
        if (!utf8_next(s, &i, &c))
            return false;
    return true;
}

static bool is_direct(uint32_t c)
{
    return c >= 0x20 && c < 0x7f;
}

/* The bits of a shifted run, six at a time, and what they make: UTF-16 units, then characters. */
struct shift {
    uint32_t bits;
    unsigned n_bits;
    uint32_t high; /* the first half of a surrogate pair, or 0 */
    size_t units;
};

static bool shift_unit(struct shift *sh, uint32_t unit, struct buf *out)
{
    bool is_low = unit >= 0xdc00 && unit < 0xe000;
    sh->units++;
    if (is_low != (sh->high != 0))
        return false;
    if (unit >= 0xd800 && unit < 0xdc00) {
        sh->high = unit;
        return true;
    }
    if (is_low)
        utf8_add(out, 0x10000 + ((sh->high - 0xd800) << 10) + (unit - 0xdc00));
    else if (unit == 0 || is_direct(unit))
        return false; /* NUL, or what must stand for itself */
    else
        utf8_add(out, unit);
    sh->high = 0;
    return true;
}

/* Decodes the run behind name.p[*i] == '&', up to its "-". */
static bool read_shift(struct span name, size_t *i, struct buf *out)
{
    struct shift sh = {0};
    size_t k = *i + 1;
    for (; k < name.len && name.p[k] != '-'; k++) {
        const char *digit = name.p[k] ? strchr(alphabet, name.p[k]) : NULL;
        if (!digit)
            return false;
        sh.bits = sh.bits << 6 | (uint32_t)(digit - alphabet);
        sh.n_bits += 6;
        if (sh.n_bits >= 16) {
            sh.n_bits -= 16;
            if (!shift_unit(&sh, sh.bits >> sh.n_bits & 0xffff, out))
                return false;
        }
    }
    /* Ended by "-", no half pair, at least one unit, less than a digit of padding, all zero. */
    if (k == name.len || sh.high || sh.units == 0 || sh.n_bits >= 6 || (sh.bits & ((1u << sh.n_bits) - 1)))
        return false;
    /* "-&" ends and begins a run for nothing, unless it is "&-", the ampersand itself. */
    if (k + 2 < name.len && name.p[k + 1] == '&' && name.p[k + 2] != '-')
        return false;
    *i = k + 1;
    return true;
}

static bool read_name(struct span name, struct buf *out)
{
    for (size_t i = 0; i < name.len;) {
        if (!is_direct(name.p[i]))
            return false;
        if (name.p[i] != '&') {
            buf_add(out, &name.p[i++], 1);
        } else if (i + 1 < name.len && name.p[i + 1] == '-') {
            buf_add(out, "&", 1);
            i += 2;
        } else if (!read_shift(name, &i, out)) {
            return false;
        }
    }
    return true;
}

bool mutf7_to_utf8(struct buf *out, struct span name)
{
    size_t before = out->len;
    bool ok = read_name(name, out);
    if (!ok)
        out->len = before;
    return ok;
}

static void write_unit(struct shift *sh, uint32_t unit, struct buf *out)
{
    sh->bits = sh->bits << 16 | unit;
    sh->n_bits += 16;
    for (; sh->n_bits >= 6; sh->n_bits -= 6)
        buf_add(out, &alphabet[sh->bits >> (sh->n_bits - 6) & 63], 1);
}

static void write_shifted(struct shift *sh, uint32_t c, struct buf *out)
{
    if (sh->units++ == 0)
        buf_add(out, "&", 1);
    if (c >= 0x10000) {
        write_unit(sh, 0xd800 + ((c - 0x10000) >> 10), out);
        c = 0xdc00 + ((c - 0x10000) & 0x3ff);
    }
    write_unit(sh, c, out);
}

static void end_shift(struct shift *sh, struct buf *out)
{
    if (sh->n_bits > 0)
        buf_add(out, &alphabet[sh->bits << (6 - sh->n_bits) & 63], 1);
    if (sh->units > 0)
        buf_add(out, "-", 1);
    *sh = (struct shift){0};
}

bool mutf7_from_utf8(struct buf *out, struct span utf8)
{
    if (!utf8_is_valid(utf8))
        return false;
    struct shift sh = {0};
    uint32_t c;
    for (size_t i = 0; i < utf8.len && utf8_next(utf8, &i, &c);) {
        if (!is_direct(c)) {
            write_shifted(&sh, c, out);
            continue;
        }
        end_shift(&sh, out);
        buf_add_str(out, c == '&' ? "&-" : (char[]){(char)c, '\0'});
    }
    end_shift(&sh, out);
    return true;
}
