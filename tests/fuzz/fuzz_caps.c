/* Two servers' capabilities, a line each. */
#include "lib/imap_caps.h"

#include "fuzz.h"

static bool same(const struct imap_caps *a, const struct imap_caps *b)
{
    return a->bits[0] == b->bits[0] && a->bits[1] == b->bits[1] && a->appendlimit == b->appendlimit;
}

/* CONDSTORE comes with QRESYNC (RFC 7162 3.2.3). */
static bool has(const struct imap_caps *c, enum imap_cap cap)
{
    return imap_caps_has(c, cap) || (cap == CAP_CONDSTORE && imap_caps_has(c, CAP_QRESYNC));
}

static void check_spelling(const struct imap_caps *c)
{
    struct buf out = {0};
    struct imap_caps again;
    imap_caps_write(&out, c);
    imap_caps_parse(&again, buf_span(&out));
    MUST(same(c, &again));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    struct imap_caps a, b;
    imap_caps_parse(&a, fuzz_cut(&in, '\n'));
    imap_caps_parse(&b, fuzz_cut(&in, '\n'));
    check_spelling(&a);
    struct imap_caps ab = imap_caps_shown(&a, &b), ba = imap_caps_shown(&b, &a), aa = imap_caps_shown(&a, &a);
    check_spelling(&ab);
    MUST(same(&ab, &ba));
    struct imap_caps again = imap_caps_shown(&ab, &ab);
    MUST(same(&ab, &again));
    MUST(imap_caps_has(&ab, CAP_IMAP4REV1) && !imap_caps_has(&aa, CAP_NOTIFY) &&
         !imap_caps_has(&aa, CAP_STARTTLS));
    for (enum imap_cap cap = CAP_IMAP4REV1 + 1; cap < CAP_COUNT; cap++)
        MUST(!imap_caps_has(&ab, cap) || cap == CAP_LITERAL_MINUS || (has(&a, cap) && has(&b, cap)));
    return 0;
}
