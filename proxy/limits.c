#include "limits.h"

const struct imap_line_limits limits_before_login = {
    .line = LIMIT_LINE, .parts = LIMIT_PARTS, .literal = LIMIT_LITERAL, .nonsync_max = LIMIT_NONSYNC};
const struct imap_line_limits limits_of_backend = {
    .line = LIMIT_RESPONSE, .parts = SIZE_MAX, .literal = UINT32_MAX, .nonsync_max = UINT64_MAX};
const struct stream_limits limits_of_stream = {.high_water = LIMIT_HIGH_WATER, .queue_max = LIMIT_UNSENT};
const struct stream_limits limits_of_stranger = {.high_water = LIMIT_EARLY_HIGH_WATER,
                                                 .queue_max = LIMIT_UNSENT};

struct imap_line_limits limits_after_login(uint64_t nonsync)
{
    return (struct imap_line_limits){.line = LIMIT_RELAY_LINE,
                                     .skip = LIMIT_SKIPPED,
                                     .parts = SIZE_MAX,
                                     .literal = UINT32_MAX,
                                     .nonsync_max = nonsync};
}
