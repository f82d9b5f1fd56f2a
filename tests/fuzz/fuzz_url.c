/* A URL of IMAP in a referral: what is taken names a server, and nothing that could break a line. */
#include "lib/imap_url.h"

#include "fuzz.h"

static void check_text(const char *text, size_t size)
{
    size_t n = strnlen(text, size);
    MUST(n < size);
    for (size_t i = 0; i < n; i++)
        MUST((uint8_t)text[i] >= ' ' && text[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct imap_url url, again;
    uint8_t *own = fuzz_copy(span_of(data, len));
    if (imap_url_parse(span_of(own, len), &url)) {
        MUST(*url.host);
        check_text(url.host, sizeof url.host);
        check_text(url.user, sizeof url.user);
        bool plain = strcspn(url.host, "%/:@[];") == strlen(url.host);
        char *text = xasprintf("imap://%s", url.host);
        MUST(!plain || (imap_url_parse(span_str(text), &again) && strcmp(again.host, url.host) == 0));
        free(text);
    }
    free(own);
    return 0;
}
