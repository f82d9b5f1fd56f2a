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

static bool is_uid(const uint8_t *key, const uint8_t *end)
{
    return end - key == 3 && (key[0] | 0x20) == 'u' && (key[1] | 0x20) == 'i' && (key[2] | 0x20) == 'd';
}

/* Where the UID stands; at NULL: there is none. False: it is not as it has to be here. */
struct quick_uid {
    const uint8_t *at, *end;
    uint32_t uid;
};
static bool find_uid(struct span line, struct quick_uid *_r)
{
    const uint8_t *p = line.p + 2, *end = line.p + line.len;
    struct quick_uid found = {0};
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
        if (!is_uid(key, p))
            p = skip_value(value, end);
        else if (found.at)
            return false;
        else if ((p = skip_number(value, end, &found.uid)))
            found.at = value, found.end = p;
        if (!p || p == value || p == end)
            return false;
        if (*p == ')')
            break;
        if (*p != ' ')
            return false;
    }
    *_r = found;
    return p + 1 == end;
}

/* There is room for it. */
static void quick_put(struct buf *out, const void *bytes, size_t n)
{
    memcpy(out->mem + out->off + out->len, bytes, n);
    out->len += n;
}

bool view_rewrite_quick(struct view_rewrite *w, struct span line, struct buf *out)
{
    struct quick_uid found;
    uint32_t client = 0;
    char digits[10];
    size_t n = sizeof digits;

    if (!w->open.is || !w->open.map || view_command_with(w, OPENS) || !find_uid(line, &found))
        return false;
    if (found.at && !view_uid_to_client_near(w->open.map, found.uid, &w->open.near, &client))
        return false;
    w->rest = REST_SAME;
    buf_room(out, line.len + sizeof digits + 2);
    const uint8_t *from = line.p;
    if (found.at) {
        for (; client > 0; client /= 10)
            digits[--n] = (char)('0' + client % 10);
        quick_put(out, line.p, (size_t)(found.at - line.p));
        quick_put(out, digits + n, sizeof digits - n);
        from = found.end;
    }
    quick_put(out, from, (size_t)(line.p + line.len - from));
    quick_put(out, "\r\n", 2);
    return true;
}
