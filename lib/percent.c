#include "percent.h"

static int digit_of(uint8_t c, enum hex_letters letters)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f' && letters != HEX_CAPITALS)
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' && letters != HEX_SMALL ? c - 'A' + 10 : -1;
}

int hex_byte(struct span s, enum hex_letters letters)
{
    if (s.len < 2)
        return -1;
    int high = digit_of(s.p[0], letters), low = digit_of(s.p[1], letters);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void percent_write(struct buf *out, uint8_t byte)
{
    buf_printf(out, "%%%02X", byte);
}

bool percent_take(struct span *in, enum hex_letters letters, uint8_t *_byte, bool *_escaped)
{
    bool escaped = in->p[0] == '%';
    size_t n = escaped ? 3 : 1;
    int byte = escaped ? hex_byte(span_of(in->p + 1, in->len - 1), letters) : in->p[0];
    if (byte < 0)
        return false;
    *in = span_of(in->p + n, in->len - n);
    *_byte = (uint8_t)byte;
    *_escaped = escaped;
    return true;
}
