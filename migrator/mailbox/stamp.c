#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "stamp.h"

static bool stamp_is_asked(const struct imap_value *name)
{
    return imap_value_is(name, "MESSAGES") || imap_value_is(name, "UIDNEXT") ||
           imap_value_is(name, "UIDVALIDITY");
}

static bool is_number(const struct imap_value *name, const struct imap_value *v)
{
    uint32_t small;
    uint64_t any;

    if (stamp_is_asked(name))
        return imap_value_u32(v, &small);
    return imap_value_u64(v, &any) || imap_value_is_nil(v) || v->kind == IMAP_LIST;
}

bool stamp_status_is_whole(const struct imap_value *data)
{
    const struct imap_value *items = imap_value_at(data, 1);
    struct span name;

    if (!imap_value_string(data, &name) || !items || items->kind != IMAP_LIST || items->next)
        return false;
    for (const struct imap_value *v = items->first; v; v = v->next->next)
        if (v->kind != IMAP_ATOM || !v->next || !is_number(v, v->next))
            return false;
    return true;
}

void stamp_side_take(struct stamp_side *s, const struct imap_value *items)
{
    if (!imap_value_u32(imap_value_get(items, "UIDNEXT"), &s->uidnext))
        s->uidnext = 0;
    if (!imap_value_u32(imap_value_get(items, "UIDVALIDITY"), &s->uidvalidity))
        s->uidvalidity = 0;
    if (!imap_value_u64(imap_value_get(items, "HIGHESTMODSEQ"), &s->modseq))
        s->modseq = 0;
}

static bool alike(const struct stamp_side *a, const struct stamp_side *b)
{
    return a->uidvalidity == b->uidvalidity && a->uidnext == b->uidnext && a->messages == b->messages &&
           a->modseq == b->modseq;
}

bool stamp_side_same(const struct stamp_side *a, const struct stamp_side *b)
{
    return a->uidvalidity > 0 && a->uidnext > 0 && a->modseq > 0 && alike(a, b);
}

bool stamp_same(const struct stamp *a, const struct stamp *b)
{
    if (a->terms != b->terms || a->made != b->made || a->equal != b->equal ||
        a->base.modseq != b->base.modseq ||
        (a->base.modseq > 0 && a->base.uidvalidity != b->base.uidvalidity))
        return false;
    return !a->equal ||
           (alike(&a->source, &b->source) && alike(&a->target, &b->target) && a->bytes == b->bytes);
}

static uint64_t stamp_mix(uint64_t sum, const char *text)
{
    for (const uint8_t *p = (const uint8_t *)text;; p++) { /* FNV-1a, with the NUL */
        sum = (sum ^ *p) * UINT64_C(1099511628211);
        if (!*p)
            return sum;
    }
}

uint64_t stamp_terms(const char *source, const char *target)
{
    return stamp_mix(stamp_mix(UINT64_C(14695981039346656037), source), target);
}

uint64_t stamp_terms_and(uint64_t terms, const char *more)
{
    return stamp_mix(terms, more);
}

static void encode_side(struct buf *out, const struct stamp_side *s)
{
    buf_printf(out, "%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu64, s->uidvalidity, s->uidnext, s->messages,
               s->modseq);
}

void stamp_encode(struct buf *out, const struct stamp *s)
{
    buf_printf(out, "1 terms=%" PRIu64 " made=%d", s->terms, s->made);
    if (s->base.modseq > 0)
        buf_printf(out, " base=%" PRIu32 ",%" PRIu64, s->base.uidvalidity, s->base.modseq);
    if (!s->equal)
        return;
    buf_add_str(out, " equal=");
    encode_side(out, &s->source);
    buf_add_str(out, ";");
    encode_side(out, &s->target);
    buf_printf(out, " bytes=%" PRIu64, s->bytes);
}

/* Eats what must stand there. */
static bool stamp_take_text(struct span *in, const char *text)
{
    size_t n = strlen(text);

    if (in->len < n || memcmp(in->p, text, n))
        return false;
    *in = span_of(in->p + n, in->len - n);
    return true;
}

/* Eats the digits that stand there. */
static bool stamp_take_number(struct span *in, uint64_t max, uint64_t *_r)
{
    size_t n = 0;

    while (n < in->len && in->p[n] >= '0' && in->p[n] <= '9')
        n++;
    if (!span_u64(span_of(in->p, n), max, _r))
        return false;
    *in = span_of(in->p + n, in->len - n);
    return true;
}

static bool take_side(struct span *in, struct stamp_side *s)
{
    uint64_t uidvalidity, uidnext, messages;

    if (!stamp_take_number(in, UINT32_MAX, &uidvalidity) || !stamp_take_text(in, ",") ||
        !stamp_take_number(in, UINT32_MAX, &uidnext) || !stamp_take_text(in, ",") ||
        !stamp_take_number(in, UINT32_MAX, &messages) || !stamp_take_text(in, ",") ||
        !stamp_take_number(in, UINT64_MAX, &s->modseq))
        return false;
    s->uidvalidity = (uint32_t)uidvalidity;
    s->uidnext = (uint32_t)uidnext;
    s->messages = (uint32_t)messages;
    return true;
}

/* True also where there is none. */
static bool stamp_take_base(struct span *in, struct stamp_base *base)
{
    uint64_t uidvalidity;

    if (!stamp_take_text(in, " base="))
        return true;
    if (!stamp_take_number(in, UINT32_MAX, &uidvalidity) || !stamp_take_text(in, ",") ||
        !stamp_take_number(in, UINT64_MAX, &base->modseq) || base->modseq == 0)
        return false;
    base->uidvalidity = (uint32_t)uidvalidity;
    return true;
}

bool stamp_decode(struct span text, struct stamp *_r)
{
    struct stamp s = {0};

    if (!stamp_take_text(&text, "1 terms=") || !stamp_take_number(&text, UINT64_MAX, &s.terms))
        return false;
    if (stamp_take_text(&text, " made=1"))
        s.made = true;
    else if (!stamp_take_text(&text, " made=0"))
        return false;
    if (!stamp_take_base(&text, &s.base))
        return false;
    if (text.len > 0) {
        s.equal = true;
        if (!stamp_take_text(&text, " equal=") || !take_side(&text, &s.source) ||
            !stamp_take_text(&text, ";") || !take_side(&text, &s.target) ||
            !stamp_take_text(&text, " bytes=") || !stamp_take_number(&text, UINT64_MAX, &s.bytes) ||
            text.len > 0)
            return false;
    }
    *_r = s;
    return true;
}
