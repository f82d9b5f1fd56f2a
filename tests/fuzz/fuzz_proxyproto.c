/* What is read of a header does not depend on how many bytes were there before, nor on what stands behind it;
 * and what we write of it says the same again. */
#include "lib/proxyproto.h"

#include "fuzz.h"

static enum proxyproto_rc read_part(struct span in, size_t len, struct proxyproto *h)
{
    const char *why = NULL;
    uint8_t *own = fuzz_copy(span_of(in.p, len));
    enum proxyproto_rc rc = proxyproto_read(span_of(own, len), h, &why);
    MUST((rc == PROXYPROTO_BAD) == (why != NULL));
    MUST(rc != PROXYPROTO_MORE || len < PROXYPROTO_MAX);
    MUST(rc != PROXYPROTO_DONE || (h->len <= len && h->len >= 8 && h->len <= PROXYPROTO_MAX));
    free(own);
    return rc;
}

static bool same_end(const struct proxyproto_end *a, const struct proxyproto_end *b)
{
    return strcmp(a->ip, b->ip) == 0 && a->port == b->port;
}

static bool is_v6(const struct proxyproto_end *e)
{
    return strchr(e->ip, ':') != NULL;
}

static void write_again(const struct proxyproto *h)
{
    for (unsigned version = 1; version <= 2; version++) {
        struct buf out = {0};
        struct proxyproto again = {0};
        proxyproto_write(&out, version, h->tells ? &h->ends : NULL);
        MUST(read_part(buf_span(&out), out.len, &again) == PROXYPROTO_DONE);
        MUST(again.len == out.len && again.tells == h->tells && out.len <= PROXYPROTO_V1_MAX);
        MUST(same_end(&again.ends.from, &h->ends.from));
        MUST(is_v6(&h->ends.from) != is_v6(&h->ends.to) || same_end(&again.ends.to, &h->ends.to));
        buf_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    struct proxyproto whole = {0}, part = {0};
    enum proxyproto_rc rc = read_part(in, len, &whole), before = PROXYPROTO_MORE;
    for (size_t n = 0; n < len && before == PROXYPROTO_MORE; n++)
        before = read_part(in, n, &part);
    MUST(before == PROXYPROTO_MORE || before == rc);
    if (rc != PROXYPROTO_DONE)
        return 0;
    MUST(before == PROXYPROTO_MORE || part.len == whole.len);
    MUST(read_part(in, whole.len, &part) == PROXYPROTO_DONE);
    MUST(same_end(&part.ends.from, &whole.ends.from) && same_end(&part.ends.to, &whole.ends.to));
    write_again(&whole);
    return 0;
}
