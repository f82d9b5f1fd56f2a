/* Base64 of a PLAIN message, or the message itself. */
#include "lib/base64.h"
#include "lib/mutf7.h"
#include "lib/sasl.h"

#include "fuzz.h"

static void check_plain(struct span message)
{
    struct credential p;
    struct buf again = {0};
    if (!sasl_parse(SASL_PLAIN, message, &p))
        return;
    MUST(p.authcid.len > 0 && p.secret.len > 0);
    MUST(fuzz_within(p.authzid, message) && fuzz_within(p.authcid, message) &&
         fuzz_within(p.secret, message));
    MUST(sasl_write(&again, &p));
    MUST(span_eq(buf_span(&again), message));
    if (login_name_ok(p.authcid, 20))
        MUST(utf8_is_valid(p.authcid) && p.authcid.len <= 20);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    struct buf bytes = {0}, text = {0};
    if (base64_decode(&bytes, in)) {
        base64_encode(&text, buf_span(&bytes));
        MUST(span_eq(buf_span(&text), in));
        check_plain(buf_span(&bytes));
    } else {
        MUST(bytes.len == 0);
    }
    buf_clear(&bytes);
    buf_clear(&text);
    base64_encode(&text, in);
    MUST(base64_decode(&bytes, buf_span(&text)));
    MUST(span_eq(buf_span(&bytes), in));
    check_plain(in);
    buf_free(&bytes);
    buf_free(&text);
    return 0;
}
