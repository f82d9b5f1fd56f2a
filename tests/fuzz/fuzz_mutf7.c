/* What can be read has one spelling, and is read back as it was written. */
#include "lib/mutf7.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    struct buf there = {0}, back = {0};
    buf_add_str(&there, "kept");
    buf_eat(&there, 4);
    if (mutf7_to_utf8(&there, in)) {
        MUST(utf8_is_valid(buf_span(&there)));
        MUST(mutf7_from_utf8(&back, buf_span(&there)));
        MUST(span_eq(buf_span(&back), in));
    } else {
        MUST(there.len == 0);
    }
    buf_clear(&there);
    buf_clear(&back);
    if (mutf7_from_utf8(&there, in)) {
        MUST(utf8_is_valid(in));
        MUST(mutf7_to_utf8(&back, buf_span(&there)));
        MUST(span_eq(buf_span(&back), in));
    } else {
        MUST(!utf8_is_valid(in) && there.len == 0);
    }
    buf_free(&there);
    buf_free(&back);
    return 0;
}
