/* Base64 of a message of any mechanism, or the message itself. */
#include "lib/base64.h"
#include "lib/mutf7.h"
#include "lib/sasl.h"

#include "fuzz.h"

/* A credential that was read is written as a message that reads the same. */
static void check_written(const struct credential *p)
{
    struct buf again = {0};
    struct credential q;
    MUST(sasl_write(&again, p));
    MUST(sasl_parse(p->mechanism, &again, &q));
    MUST(span_eq(q.authcid, p->authcid) && span_eq(q.authzid, p->authzid) && span_eq(q.secret, p->secret));
    buf_free(&again);
}

static void check_one(const struct sasl_mechanism *m, struct span text)
{
    struct buf own = {0};
    struct credential p;
    buf_add_span(&own, text);
    struct span message = buf_span(&own);
    if (sasl_parse(m, &own, &p)) {
        MUST((p.authcid.len > 0 && p.secret.len > 0) == (m->kind != SASL_CERTIFICATE));
        MUST(fuzz_within(p.authzid, message) && fuzz_within(p.authcid, message) &&
             fuzz_within(p.secret, message));
        if (login_name_ok(p.authcid, 20))
            MUST(utf8_is_valid(p.authcid) && p.authcid.len <= 20);
        if (p.mechanism->write)
            check_written(&p);
    }
    buf_free(&own);
}

static void check_message(struct span message)
{
    for (const struct sasl_mechanism *m = sasl_mechanisms; m->name; m++)
        check_one(m, message);
}

static void check_challenge(struct span base64)
{
    struct buf text = {0};
    if (sasl_read_challenge(&text, base64))
        MUST(text.len >= 2 && text.len <= SASL_CHALLENGE_MAX && !memchr(buf_span(&text).p, 0x1b, text.len));
    else
        MUST(text.len == 0);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    struct buf bytes = {0}, text = {0};
    check_challenge(in);
    if (base64_decode(&bytes, in)) {
        base64_encode(&text, buf_span(&bytes));
        MUST(span_eq(buf_span(&text), in));
        check_message(buf_span(&bytes));
    } else {
        MUST(bytes.len == 0);
    }
    buf_clear(&bytes);
    buf_clear(&text);
    base64_encode(&text, in);
    MUST(base64_decode(&bytes, buf_span(&text)));
    MUST(span_eq(buf_span(&bytes), in));
    check_message(in);
    buf_free(&bytes);
    buf_free(&text);
    return 0;
}
