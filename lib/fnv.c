#include "fnv.h"

uint64_t fnv(uint64_t h, struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ text.p[i]) * UINT64_C(0x100000001b3);
    return h;
}
