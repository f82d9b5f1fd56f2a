/* Lines: "+" and a byte for the kind begin a certificate, "?" and a name ask, others are names of the certificate.
 * What is found is compared with a look at each certificate. */
#include "lib/cert_names.h"

#include "fuzz.h"

enum { MOST = 64 };

struct line {
    struct span name;
    unsigned cert;
};

static char small(uint8_t c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool same(struct span a, struct span b)
{
    bool equal = a.len == b.len;
    for (size_t i = 0; equal && i < a.len; i++)
        equal = small(a.p[i]) == small(b.p[i]);
    return equal;
}

static bool matches(struct span name, struct span asked, bool *by_star)
{
    const uint8_t *dot = memchr(asked.p, '.', asked.len);
    *by_star = name.len > 1 && name.p[0] == '*';
    if (!*by_star)
        return same(name, asked);
    return dot && same(span_of(name.p + 1, name.len - 1), span_of(dot, asked.len - (size_t)(dot - asked.p)));
}

static void ask(const struct cert_names *n, const struct line *lines, size_t n_lines, struct span asked)
{
    bool known, by_star, any = false;
    size_t at = cert_names_find(n, asked, &known);
    MUST(at < cert_names_count(n) && (known || at == 0));
    if (asked.len > 1 && asked.p[asked.len - 1] == '.')
        asked.len--;
    for (size_t i = 0; i < n_lines; i++)
        any |= matches(lines[i].name, asked, &by_star);
    MUST(!known || any);
    const struct cert_choice *c = cert_names_choice(n, at);
    MUST(c->n > 0);
    for (size_t k = 0; k < c->n && known && at > 0; k++) {
        bool has = false;
        for (size_t i = 0; i < n_lines; i++)
            has |= lines[i].cert == c->certs[k] && matches(lines[i].name, asked, &by_star);
        MUST(has);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len), asked[MOST];
    struct line lines[MOST];
    struct cert_names *n = cert_names_new();
    size_t n_lines = 0, n_asked = 0;
    unsigned cert = 0;
    cert_names_add(n, 0);
    while (in.len > 0) {
        struct span line = fuzz_cut(&in, '\n'), rest = line;
        uint8_t first = fuzz_byte(&rest);
        if (first == '+' && cert < MOST) {
            cert_names_add(n, fuzz_byte(&rest));
            cert++;
        } else if (first == '?') {
            asked[n_asked] = rest;
            n_asked += n_asked < MOST - 1;
        } else if (n_lines < MOST && cert_names_add_name(n, line)) {
            lines[n_lines++] = (struct line){line, cert};
        }
    }
    cert_names_settle(n);
    for (size_t i = 0; i < n_asked; i++)
        ask(n, lines, n_lines, asked[i]);
    for (size_t i = 0; i < n_lines; i++)
        ask(n, lines, n_lines, lines[i].name);
    cert_names_free(&n);
    return 0;
}
