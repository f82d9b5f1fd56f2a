/* The head of one response: imap_resp and imap_line have one opinion of what is text. */
#include "lib/imap_resp.h"

#include "fuzz.h"

static void check(struct span line, const struct imap_resp *r)
{
    struct span args;
    MUST(imap_resp_is_text(line) == (r->kind != RESP_DATA));
    MUST(fuzz_within(r->tag, line) && fuzz_within(r->code, line) && fuzz_within(r->text, line) &&
         fuzz_within(r->word, line));
    MUST((r->kind == RESP_TAGGED) == (r->tag.len > 0) && (r->kind == RESP_DATA) == (r->word.len > 0));
    MUST((r->kind == RESP_TAGGED || r->kind == RESP_STATUS) == (r->status != STATUS_NONE));
    MUST(r->rest <= line.len && (r->has_number || r->number == 0));
    if (imap_code_is(r->code, "CAPABILITY", &args))
        MUST(r->code.len >= 10 && fuzz_within(args, r->code));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct imap_resp r;
    const char *why = NULL;
    uint8_t *own = fuzz_copy(span_of(data, len));
    struct span line = span_of(own, len);
    bool ok = imap_resp_parse(line, &r, &why);
    MUST(ok == (why == NULL));
    if (ok)
        check(line, &r);
    free(own);
    return 0;
}
