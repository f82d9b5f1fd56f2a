#include "base64.h"
#include "buf_room.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 0 to 63, or -1. */
static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* How many "=" end the text, or 3 where the text can't be base64. */
static size_t check_base64(struct span text)
{
    if (text.len == 0)
        return 0;
    if (text.len % 4 != 0)
        return 3;
    size_t pad = text.p[text.len - 1] != '=' ? 0 : text.p[text.len - 2] != '=' ? 1 : 2;
    for (size_t i = 0; i < text.len - pad; i++)
        if (value_of(text.p[i]) < 0)
            return 3;
    /* Bits behind the end would make two spellings of one message. */
    unsigned spare = pad == 0 ? 0 : pad == 1 ? 0x3 : 0xf;
    return (unsigned)value_of(text.p[text.len - pad - 1]) & spare ? 3 : pad;
}

bool base64_decode(struct buf *out, struct span text)
{
    size_t pad = check_base64(text);
    if (pad > 2)
        return false;
    buf_room(out, text.len / 4 * 3);
    uint8_t three[3];
    for (size_t i = 0; i < text.len; i += 4) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++)
            bits = bits << 6 | (text.p[i + k] == '=' ? 0 : (uint32_t)value_of(text.p[i + k]));
        three[0] = (uint8_t)(bits >> 16);
        three[1] = (uint8_t)(bits >> 8);
        three[2] = (uint8_t)bits;
        buf_add(out, three, i + 4 < text.len ? 3 : 3 - pad);
    }
    wipe(three, sizeof three);
    return true;
}

void base64_encode(struct buf *out, struct span bytes)
{
    buf_room(out, bytes.len / 3 * 4 + 4);
    char four[4];
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t bits = (uint32_t)bytes.p[i] << 16;
        bits |= n > 1 ? (uint32_t)bytes.p[i + 1] << 8 : 0;
        bits |= n > 2 ? bytes.p[i + 2] : 0;
        for (size_t k = 0; k < 4; k++)
            four[k] = k <= n ? alphabet[bits >> (18 - 6 * k) & 63] : '=';
        buf_add(out, four, 4);
    }
    wipe(four, sizeof four);
}
