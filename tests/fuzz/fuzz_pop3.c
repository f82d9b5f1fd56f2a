/* What comes by POP3 (lib/pop3.h), from either side: the same lines at once and byte by byte; what passes as a command for mail is
 * one line of letters, digits and blanks; an answer of several lines ends where it ends, however it is cut. The first byte says
 * how long a line may be. */
#include "lib/pop3.h"

#include "fuzz.h"

/* Each line and a mark behind it; how the reading ended. */
static enum pop3_line_rc read_all(struct span in, size_t step, size_t max, struct buf *out)
{
    struct pop3_line l = {.max = max};
    enum pop3_line_rc rc = POP3_MORE;
    size_t end = 0;
    while (rc != POP3_BAD && in.len > 0) {
        if (end == 0)
            end = step < in.len ? step : in.len;
        struct span line = {0};
        const char *why = NULL;
        size_t used;
        rc = pop3_line_feed(&l, span_of(in.p, end), &used, &line, &why);
        MUST(used <= end && (rc == POP3_MORE ? used == end : used > 0 || rc == POP3_BAD));
        MUST((rc == POP3_BAD) == (why != NULL) || rc == POP3_WHOLE);
        if (rc == POP3_WHOLE) {
            MUST(line.len <= max && (line.len == 0 || !memchr(line.p, '\r', line.len)));
            buf_add_span(out, line);
            buf_add_str(out, "\n");
        }
        in = span_of(in.p + used, in.len - used);
        end -= used;
    }
    pop3_line_wipe(&l);
    return rc;
}

static void check_command(struct span line)
{
    struct pop3_cmd c = pop3_parse(line);
    const char *expected = NULL;
    MUST(fuzz_within(c.args, line));
    bool passes = pop3_is_for_mail(&c, &expected);
    MUST(expected);
    for (size_t i = 0; passes && i < c.args.len; i++)
        MUST(c.args.p[i] == ' ' || (c.args.p[i] >= '0' && c.args.p[i] <= '9'));
    MUST(!passes || (c.verb >= POP3_QUIT && *pop3_verb_name(c.verb)));
    (void)pop3_is_long(&c);
}

static void check_status(struct span line)
{
    struct pop3_status st;
    if (!pop3_parse_status(line, &st))
        return;
    MUST(fuzz_within(st.text, line) && fuzz_within(st.code, st.text));
    const char *imap = pop3_code_to_imap(st.code);
    MUST(!*imap || *pop3_code_of_imap(imap) == '[');
}

static size_t body_length(struct span in, size_t step, bool *ended)
{
    struct pop3_body b;
    size_t at = 0;
    pop3_body_begin(&b);
    *ended = false;
    while (at < in.len && !*ended) {
        size_t n = step < in.len - at ? step : in.len - at, used;
        used = pop3_body_feed(&b, span_of(in.p + at, n), ended);
        MUST(used <= n && (*ended || used == n));
        at += used;
    }
    return at;
}

static void check_body(struct span in)
{
    bool ended, again;
    size_t n = body_length(in, in.len + 1, &ended);
    MUST(body_length(in, 1, &again) == n && again == ended);
    bool empty = in.len >= 3 && memcmp(in.p, ".\r\n", 3) == 0;
    const uint8_t *at = in.len > 0 ? memmem(in.p, in.len, "\r\n.\r\n", 5) : NULL;
    MUST(ended == (empty || at));
    MUST(!ended || n == (empty ? 3 : (size_t)(at - in.p) + 5));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len), rest;
    struct buf whole = {0}, pieces = {0};
    size_t max = 1 + fuzz_byte(&in);
    uint8_t *own = fuzz_copy(in);
    rest = in = span_of(own, in.len);
    enum pop3_line_rc rc = read_all(in, in.len, max, &whole);
    MUST(read_all(in, 1, max, &pieces) == rc);
    MUST(span_eq(buf_span(&whole), buf_span(&pieces)));
    check_body(in);
    while (rest.len > 0) {
        struct span line = fuzz_cut(&rest, '\n');
        line.len -= line.len > 0 && line.p[line.len - 1] == '\r';
        check_command(line);
        check_status(line);
    }
    buf_free(&whole);
    buf_free(&pieces);
    free(own);
    return 0;
}
