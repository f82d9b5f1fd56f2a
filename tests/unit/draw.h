/* draw: random numbers, always the same ones for a seed, which the test sets and which is not 0. */
#ifndef IMAPFERRY_TEST_DRAW_H
#define IMAPFERRY_TEST_DRAW_H

#include <stdint.h>

static uint32_t seed;

static inline uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % below;
}

#endif
