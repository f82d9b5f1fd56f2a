/* A FETCH in one line, without strings: what a listing of flags brings by the ten thousand. One look at each byte, and the
 * run of the last UID is at hand. Whatever is not quite like that is left to view_rewrite_data.c. */
#include "buf_room.h"
#include "view_rewrite_priv.h"

static const char FETCH[] = " FETCH (";

/* Behind the digits of a number without leading zeros; NULL: it is none. */
static const uint8_t *skip_number(const uint8_t *p, const uint8_t *end, uint32_t *_r)
{
    const uint8_t *begin = p;
    uint64_t n = 0;

    while (p < end && *p >= '0' && *p <= '9' && p - begin < 11)
        n = 10 * n + (uint64_t)(*p++ - '0');
    if (p == begin || *begin == '0' || n > UINT32_MAX)
        return NULL;
    *_r = (uint32_t)n;
    return p;
}

/* What words are made of here: of printable ASCII all but "(){}[ and blanks. */
static const bool word_bytes[256] = {
    ['!'] = 1, ['#' ... '\''] = 1, ['*' ... 'Z'] = 1, ['\\'] = 1, [']' ... 'z'] = 1, ['|'] = 1, ['~'] = 1,
};

static const uint8_t *skip_word(const uint8_t *p, const uint8_t *end)
{
    while (p < end && word_bytes[*p])
        p++;
    return p;
}

/* Behind a word, or a list of words; NULL: it is neither. */
static const uint8_t *skip_value(const uint8_t *p, const uint8_t *end)
{
    if (p == end || *p != '(')
        return skip_word(p, end);
    for (p++; p < end && (word_bytes[*p] || *p == ' ');)
        p++;
    return p < end && *p == ')' ? p + 1 : NULL;
}

static bool is_key(const uint8_t *key, const uint8_t *end, const char *name, size_t n)
{
    if ((size_t)(end - key) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((key[i] | 0x20) != (uint8_t)name[i])
            return false;
    return true;
}

/* Where digits stand; at NULL: nowhere. */
struct quick_number {
    const uint8_t *at, *end;
    uint64_t n;
};

/* Behind "(n)"; NULL: it is not that, or n is 0. */
static const uint8_t *skip_modseq(const uint8_t *p, const uint8_t *end, struct quick_number *_r)
{
    const uint8_t *begin = p + 1;
    uint64_t n = 0;

    if (p == end || *p != '(')
        return NULL;
    for (p++; p < end && *p >= '0' && *p <= '9' && p - begin < 19; p++)
        n = 10 * n + (uint64_t)(*p - '0');
    if (n == 0 || p == end || *p != ')')
        return NULL;
    *_r = (struct quick_number){begin, p, n};
    return p + 1;
}

/* Behind the UID; NULL: it is none, or the second one. */
static const uint8_t *skip_uid(const uint8_t *p, const uint8_t *end, struct quick_number *uid)
{
    const uint8_t *begin = p;
    uint32_t n;

    if (uid->at || !(p = skip_number(p, end, &n)))
        return NULL;
    *uid = (struct quick_number){begin, p, n};
    return p;
}

/* Finds the two numbers. False: the line is not as it has to be here. */
static bool find_numbers(struct span line, struct quick_number *uid, struct quick_number *modseq)
{
    const uint8_t *p = line.p + 2, *end = line.p + line.len;
    uint32_t number;

    if (line.len < 2 || line.p[0] != '*' || line.p[1] != ' ' || !(p = skip_number(p, end, &number)))
        return false;
    if ((size_t)(end - p) < sizeof FETCH - 1 || memcmp(p, FETCH, sizeof FETCH - 1) != 0)
        return false;
    for (p += sizeof FETCH - 1;; p++) {
        const uint8_t *key = p, *value;
        p = skip_word(p, end);
        if (p == key || p == end || *p != ' ')
            return false;
        value = p + 1;
        if (is_key(key, p, "uid", 3))
            p = skip_uid(value, end, uid);
        else if (!is_key(key, p, "modseq", 6))
            p = skip_value(value, end);
        else
            p = modseq->at ? NULL : skip_modseq(value, end, modseq);
        if (!p || p == value || p == end)
            return false;
        if (*p == ')')
            break;
        if (*p != ' ')
            return false;
    }
    return p + 1 == end;
}

/* There is room for it. */
static void quick_put(struct buf *out, const void *bytes, size_t n)
{
    memcpy(out->mem + out->off + out->len, bytes, n);
    out->len += n;
}

/* The line from `from` up to the number, and n in its place. Returns what is behind it. */
static const uint8_t *quick_number(struct buf *out, const uint8_t *from, const struct quick_number *number,
                                   uint64_t n)
{
    char digits[20];
    size_t i = sizeof digits;

    do
        digits[--i] = (char)('0' + n % 10);
    while (n /= 10);
    quick_put(out, from, (size_t)(number->at - from));
    quick_put(out, digits + i, sizeof digits - i);
    return number->end;
}

bool view_rewrite_quick(struct view_rewrite *w, struct span line, struct buf *out)
{
    struct quick_number uid = {0}, modseq = {0};
    uint32_t client = 0;
    bool shifts = view_modseq_shifts(w);

    if (!w->open.is || !(w->open.map || shifts) || view_opening(w) || view_resync_keeps(w) ||
        !find_numbers(line, &uid, &modseq))
        return false;
    if (uid.at && w->open.map &&
        !view_uid_to_client_near(w->open.map, (uint32_t)uid.n, &w->open.near, &client))
        return false;
    if (modseq.at && shifts && (!w->open.modseqs || modseq.n > VIEW_MODSEQ_MAX - w->open.shift))
        return false;
    w->rest = REST_SAME;
    buf_room(out, line.len + 2 * 20 + 2);
    const uint8_t *from = line.p;
    if (!w->open.map)
        uid.at = NULL;
    if (!shifts)
        modseq.at = NULL;
    bool modseq_first = modseq.at && uid.at && modseq.at < uid.at;
    if (modseq_first)
        from = quick_number(out, from, &modseq, modseq.n + w->open.shift);
    if (uid.at)
        from = quick_number(out, from, &uid, client);
    if (modseq.at && !modseq_first)
        from = quick_number(out, from, &modseq, modseq.n + w->open.shift);
    quick_put(out, from, (size_t)(line.p + line.len - from));
    quick_put(out, "\r\n", 2);
    return true;
}
