#include <string.h>

#include "percent.h"
#include "view_name.h"
#include "view_word.h"
#include "xalloc.h"

static bool view_word_is_plain(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '%' && c != '=' && c != ',';
}

void view_word_write(struct buf *out, const char *before, struct span text)
{
    buf_add_str(out, before);
    for (size_t i = 0; i < text.len; i++) {
        if (view_word_is_plain(text.p[i]))
            buf_add(out, &text.p[i], 1);
        else
            percent_write(out, text.p[i]);
    }
}

bool view_word_begins(struct span *in, const char *with)
{
    size_t n = strlen(with);
    bool does = in->len >= n && memcmp(in->p, with, n) == 0;

    if (does)
        *in = span_of(in->p + n, in->len - n);
    return does;
}

char *view_word_take(struct span *in, const char *before)
{
    struct buf text = {0};
    uint8_t c;
    bool escaped, ok = view_word_begins(in, before);

    while (ok && in->len && in->p[0] != ',' && in->p[0] != ' ') {
        ok = percent_take(in, HEX_CAPITALS, &c, &escaped) && c && view_word_is_plain(c) != escaped &&
             text.len < VIEW_NAME_MAX;
        if (ok)
            buf_add(&text, &c, 1);
    }
    char *owned = ok ? xspandup(buf_span(&text)) : NULL;
    buf_free(&text);
    return owned;
}
