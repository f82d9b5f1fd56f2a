#include <inttypes.h>
#include <stdlib.h>

#include "percent.h"
#include "view_record.h"
#include "xalloc.h"

static const char *const tiers[] = {[VIEW_T0] = "T0", [VIEW_T1] = "T1", [VIEW_T2] = "T2", [VIEW_T3] = "T3"};

void view_record_free(struct view_record *r)
{
    free(r->source_name);
    free(r->target_name);
    view_uid_free(&r->map);
    memset(r, 0, sizeof(*r));
}

/* Its id is as long as that of a name alone, which has no numbers of the source. */
bool view_record_is_of_other(const struct view_record *r)
{
    return strlen(r->id) == (size_t)2 * VIEW_NAME_ID_BYTES && r->source_uidvalidity;
}

const char *view_tier_text(enum view_tier tier)
{
    return tiers[tier];
}

/* --- writing --- */

static bool record_is_plain(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '%' && c != '=';
}

static void write_name(struct buf *out, const char *name)
{
    for (const uint8_t *p = (const uint8_t *)name; *p; p++) {
        if (record_is_plain(*p))
            buf_add(out, p, 1);
        else
            percent_write(out, *p);
    }
}

void view_record_encode(struct buf *out, const struct view_record *r)
{
    buf_printf(out, "1 id=%s source=", r->id);
    write_name(out, r->source_name);
    buf_add_str(out, " target=");
    write_name(out, r->target_name);
    buf_printf(out, " uidvalidity=%" PRIu32 ",%" PRIu32 " uidnext=%" PRIu32 ",%" PRIu32,
               r->source_uidvalidity, r->target_uidvalidity, r->source_uidnext, r->target_uidnext);
    buf_printf(out, " highest=%" PRIu32, r->highest_uidvalidity);
    if (r->highest_unflipped)
        buf_printf(out, ",%" PRIu32, r->highest_unflipped);
    if (r->modseqs)
        buf_printf(out, " modseq=%" PRIu64 ",%" PRIu64 "%s", r->modseq_floor, r->modseq_shift,
                   r->modseq_jumped ? ",j" : "");
    buf_printf(out, " tier=%s map=", tiers[r->tier]);
    view_uid_encode(out, &r->map);
}

/* --- reading --- */

static struct span record_span_from(struct span s, size_t at)
{
    return span_of(s.p + at, s.len - at);
}

/* Eats what must stand there. */
static bool record_take_text(struct span *in, const char *text)
{
    size_t n = strlen(text);

    if (in->len < n || memcmp(in->p, text, n))
        return false;
    *in = record_span_from(*in, n);
    return true;
}

/* Eats up to the next blank, or to the end. */
static struct span record_take_word(struct span *in)
{
    size_t n = 0;

    while (n < in->len && in->p[n] != ' ')
        n++;
    struct span word = span_of(in->p, n);
    *in = record_span_from(*in, n);
    return word;
}

/* A number as "%u" writes it. */
static bool record_read_number(struct span s, uint32_t *_r)
{
    return (s.len == 1 || (s.len > 1 && s.p[0] != '0')) && span_u32(s, _r);
}

static bool record_take_number(struct span *in, const char *before, uint32_t *_r)
{
    return record_take_text(in, before) && record_read_number(record_take_word(in), _r);
}

static bool take_pair(struct span *in, const char *before, uint32_t *first, uint32_t *second)
{
    if (!record_take_text(in, before))
        return false;
    struct span word = record_take_word(in);
    const uint8_t *comma = word.len ? memchr(word.p, ',', word.len) : NULL;
    if (!comma)
        return false;
    size_t n = (size_t)(comma - word.p);
    return record_read_number(span_of(word.p, n), first) &&
           record_read_number(record_span_from(word, n + 1), second);
}

static bool take_highest(struct span *in, struct view_record *r)
{
    struct span rest = *in;
    if (take_pair(in, " highest=", &r->highest_uidvalidity, &r->highest_unflipped))
        return r->highest_unflipped > 0 && r->highest_unflipped < r->highest_uidvalidity;
    *in = rest;
    r->highest_unflipped = 0;
    return record_take_number(in, " highest=", &r->highest_uidvalidity);
}

/* Eats up to the next comma, and that, or to the end. */
static struct span record_take_part(struct span *word)
{
    const uint8_t *comma = word->len ? memchr(word->p, ',', word->len) : NULL;
    size_t n = comma ? (size_t)(comma - word->p) : word->len;
    struct span part = span_of(word->p, n);

    *word = record_span_from(*word, comma ? n + 1 : n);
    return part;
}

static bool record_read_modseq(struct span s, uint64_t *_r)
{
    return (s.len == 1 || (s.len > 1 && s.p[0] != '0')) && span_u64(s, VIEW_MODSEQ_MAX, _r);
}

/* True also where there are none. */
static bool record_take_modseqs(struct span *in, struct view_record *r)
{
    if (!record_take_text(in, " modseq="))
        return true;
    struct span word = record_take_word(in), all = word;
    struct span before = record_take_part(&word), shift = record_take_part(&word);
    r->modseqs = true;
    r->modseq_jumped = span_is(word, "j");
    size_t n = before.len + 1 + shift.len + (r->modseq_jumped ? 2 : 0);
    return n == all.len && record_read_modseq(before, &r->modseq_floor) &&
           record_read_modseq(shift, &r->modseq_shift) && r->modseq_shift <= r->modseq_floor;
}

static bool record_take_id(struct span *in, char *id)
{
    if (!record_take_text(in, "1 id="))
        return false;
    struct span word = record_take_word(in);
    if (word.len == 0 || word.len > VIEW_ID_MAX)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.p[i] == '\0' || !strchr("0123456789abcdef", word.p[i]))
            return false;
        id[i] = (char)word.p[i];
    }
    id[word.len] = '\0';
    return true;
}

/* A byte of a name in its only spelling; 0 where it is none. */
static uint8_t record_take_byte(struct span *in)
{
    uint8_t c;
    bool escaped;

    if (!percent_take(in, HEX_CAPITALS, &c, &escaped) || record_is_plain(c) == escaped)
        return 0;
    return c;
}

static bool take_name(struct span *in, const char *before, char **_r)
{
    struct buf name = {0};
    uint8_t c = 1;

    if (!record_take_text(in, before))
        return false;
    struct span word = record_take_word(in);
    while (word.len && c && name.len <= VIEW_RECORD_NAME_MAX) {
        c = record_take_byte(&word);
        buf_add(&name, &c, 1);
    }
    bool ok = c && name.len && name.len <= VIEW_RECORD_NAME_MAX;
    if (ok)
        *_r = xspandup(buf_span(&name));
    buf_free(&name);
    return ok;
}

static bool take_tier(struct span *in, enum view_tier *_r)
{
    if (!record_take_text(in, " tier="))
        return false;
    struct span word = record_take_word(in);
    for (unsigned i = 0; i < COUNTOF(tiers); i++)
        if (span_is(word, tiers[i])) {
            *_r = (enum view_tier)i;
            return true;
        }
    return false;
}

bool view_record_decode(struct span text, size_t max_runs, struct view_record *_r)
{
    struct view_record r = {0};

    bool ok = record_take_id(&text, r.id) && take_name(&text, " source=", &r.source_name) &&
              take_name(&text, " target=", &r.target_name) &&
              take_pair(&text, " uidvalidity=", &r.source_uidvalidity, &r.target_uidvalidity) &&
              take_pair(&text, " uidnext=", &r.source_uidnext, &r.target_uidnext) &&
              take_highest(&text, &r) && record_take_modseqs(&text, &r) && take_tier(&text, &r.tier) &&
              record_take_text(&text, " map=") && view_uid_decode(text, max_runs, &r.map) &&
              (r.tier != VIEW_T2 || r.map.tail_client);
    if (!ok) {
        view_record_free(&r);
        return false;
    }
    *_r = r;
    return true;
}
