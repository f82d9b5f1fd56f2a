#include "digits.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void digits_write_one(struct buf *out, unsigned digit)
{
    buf_add(out, &alphabet[digit % 64], 1);
}

void digits_write(struct buf *out, uint64_t n)
{
    do {
        unsigned digit = n % 32;
        n /= 32;
        digits_write_one(out, digit + (n ? 32 : 0));
    } while (n);
}

bool digits_read_one(struct span *in, unsigned *_r)
{
    const char *at = in->len && in->p[0] ? strchr(alphabet, in->p[0]) : NULL;

    if (!at)
        return false;
    *in = span_of(in->p + 1, in->len - 1);
    *_r = (unsigned)(at - alphabet);
    return true;
}

bool digits_read(struct span *in, uint64_t max, uint64_t *_r)
{
    uint64_t n = 0;
    unsigned digit;

    for (unsigned bits = 0; bits < 60 && digits_read_one(in, &digit); bits += 5) {
        n |= (uint64_t)(digit % 32) << bits;
        if (digit >= 32)
            continue;
        if (n > max || (digit == 0 && bits > 0))
            return false;
        *_r = n;
        return true;
    }
    return false;
}
