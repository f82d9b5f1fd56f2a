/* The first byte: how the rest is cut. A message comes out the same however it is cut, and holds nothing that a reader who is
 * less strict could take for its end; lines of commands and answers are read without a step outside. */
#include "proxy/delivery/lmtp_command.h"
#include "proxy/delivery/lmtp_data.h"

#include "fuzz.h"

static void message(struct span data, size_t piece, struct buf *trace, bool *odd)
{
    struct lmtp_data d;
    bool ended = false;

    lmtp_data_init(&d);
    while (data.len > 0 && !ended) {
        struct span in = span_of(data.p, piece < data.len ? piece : data.len);
        uint8_t *own = fuzz_copy(in);
        struct lmtp_data_piece got;
        size_t used = lmtp_data_feed(&d, span_of(own, in.len), &got);
        MUST(used > 0 && used <= in.len && (got.end || used == in.len));
        MUST(fuzz_within(got.rest, span_of(own, in.len)) && got.first.len <= 2);
        if (!d.odd) {
            buf_add_span(trace, got.first);
            buf_add_span(trace, got.rest);
        }
        ended = got.end;
        free(own);
        data = span_of(data.p + used, data.len - used);
    }
    buf_printf(trace, "<%d %zu>", ended, ended ? data.len : 0);
    *odd = d.odd;
}

/* A dot with any kind of line end on both sides. */
static void has_no_end(struct span text)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        bool begins = i == 0 || text.p[i - 1] == '\n' || text.p[i - 1] == '\r' || text.p[i - 1] == '\0';
        uint8_t behind = text.p[i + 1];
        MUST(text.p[i] != '.' || !begins || (behind != '\n' && behind != '\r' && behind != '\0'));
    }
}

static void message_both_ways(struct span in, size_t piece)
{
    struct buf whole = {0}, cut = {0};
    bool odd = false, odd_cut = false;

    message(in, SIZE_MAX, &whole, &odd);
    message(in, piece, &cut, &odd_cut);
    MUST(odd == odd_cut);
    MUST(odd || span_eq(buf_span(&whole), buf_span(&cut)));
    if (!odd)
        has_no_end(buf_span(&whole));
    buf_free(&whole);
    buf_free(&cut);
}

static void commands(struct span in)
{
    uint8_t *own = fuzz_copy(in);
    struct span rest = span_of(own, in.len);
    struct buf out = {0};
    size_t len = 0;
    bool ended = true;

    while (ended && rest.len > 0) {
        enum lmtp_line_rc rc = lmtp_line(rest, &len, &ended);
        MUST(len <= rest.len && (rc != LMTP_LINE_DONE || len <= LMTP_LINE));
        if (rc == LMTP_LINE_DONE) {
            struct span line = span_of(rest.p, len - 2);
            struct lmtp_command c = lmtp_command_read(line, LMTP_PASSED);
            MUST(fuzz_within(c.path, line) && fuzz_within(c.address, line) && fuzz_within(c.params, line));
            MUST(c.path.len <= LMTP_PATH);
            if (c.fault == LMTP_GOOD)
                lmtp_params_write(&out, c.params, LMTP_PASSED);
        }
        rest = span_of(rest.p + len, rest.len - len);
    }
    MUST(out.len == 0 ||
         (!memchr(buf_span(&out).p, '\r', out.len) && !memchr(buf_span(&out).p, '\n', out.len)));
    buf_free(&out);
    free(own);
}

static void answers(struct span in, size_t piece)
{
    struct lmtp_reply r = {0};
    enum lmtp_reply_rc rc = LMTP_REPLY_MORE;

    while (in.len > 0 && rc != LMTP_REPLY_BAD) {
        struct span part = span_of(in.p, piece < in.len ? piece : in.len);
        uint8_t *own = fuzz_copy(part);
        size_t used;
        rc = lmtp_reply_feed(&r, span_of(own, part.len), &used);
        MUST(used <= part.len && r.lines <= LMTP_REPLY_LINES);
        if (rc == LMTP_REPLY_DONE) {
            struct buf out = {0};
            struct lmtp_caps caps = lmtp_caps_read(&r);
            lmtp_caps_meet(&caps, &caps);
            lmtp_reply_write(&out, &r, 451, "4.0.0");
            for (size_t i = 0; i < out.len; i++)
                MUST(buf_span(&out).p[i] <= '~');
            buf_free(&out);
        }
        free(own);
        in = span_of(in.p + used, in.len - used);
        MUST(used > 0 || rc == LMTP_REPLY_BAD);
    }
    lmtp_reply_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    uint8_t how = fuzz_byte(&in);

    message_both_ways(in, 1 + how % 8);
    commands(in);
    answers(in, 1 + how % 8);
    return 0;
}
