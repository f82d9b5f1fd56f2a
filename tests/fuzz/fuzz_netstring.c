/* What is read of a netstring does not depend on how many bytes were there before, nor on what stands behind it; and what
 * we write says the same again. */
#include "lib/netstring.h"

#include "fuzz.h"

enum { LONGEST = 300 };

static enum netstring_rc read_part(struct span in, size_t len, struct buf *text, size_t *used)
{
    struct span got = {0};
    uint8_t *own = fuzz_copy(span_of(in.p, len));
    enum netstring_rc rc = netstring_take(span_of(own, len), LONGEST, &got, used);
    MUST(rc != NETSTRING_MORE || len < LONGEST + sizeof "300:,");
    if (rc == NETSTRING_DONE) {
        MUST(*used <= len && got.len <= LONGEST && fuzz_within(got, span_of(own, len)));
        buf_clear(text);
        buf_add_span(text, got);
    }
    free(own);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    struct buf whole = {0}, part = {0}, out = {0};
    size_t used = 0, used_part = 0;
    enum netstring_rc rc = read_part(in, len, &whole, &used), before = NETSTRING_MORE;
    size_t n = 0;
    for (; n < len && before == NETSTRING_MORE; n++)
        before = read_part(in, n, &part, &used_part);
    MUST(before == NETSTRING_MORE || before == rc);
    if (rc == NETSTRING_DONE) {
        MUST(before == NETSTRING_MORE || (used_part == used && n == used + 1));
        netstring_write(&out, buf_span(&whole));
        MUST(span_eq(buf_span(&out), span_of(data, used)));
    }
    buf_free(&whole);
    buf_free(&part);
    buf_free(&out);
    return 0;
}
