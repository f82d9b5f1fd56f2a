#include "nearest.h"

enum { LETTERS_MAX = 40 /* of a word; longer ones are near to none */ };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters differ; an exchange of two neighbours is one (Damerau). */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][LETTERS_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t k = 0; k <= m; k++)
        last[k] = k;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t k = 1; k <= m; k++) {
            now[k] = least(last[k] + 1, least(now[k - 1] + 1, last[k - 1] + (a[i - 1] != b[k - 1])));
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                now[k] = least(now[k], before[k - 2] + 1);
        }
        size_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[m];
}

const char *nearest(const char *word, const char *const *known, size_t n)
{
    size_t len = strlen(word), best = len / 3 > 1 ? len / 3 : 1;
    const char *found = NULL;

    if (len < 2 || len > LETTERS_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t m = strlen(known[i]);
        if (m > LETTERS_MAX)
            continue;
        size_t d = !strncmp(word, known[i], len) ? 1 : distance(word, len, known[i], m);
        if (d < best + !found) {
            best = d;
            found = known[i];
        }
    }
    return found;
}
