#include <stdlib.h>

#include "lib/xalloc.h"

#include "match.h"

int match_by_uid(const void *a, const void *b)
{
    const struct readback_item *x = a, *y = b;
    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static int match_by_hash(const void *a, const void *b)
{
    const struct readback_item *x = a, *y = b;
    int by_hash = memcmp(x->hash, y->hash, HASH_SIZE);
    return by_hash ? by_hash : match_by_uid(a, b);
}

/* The first of the targets with this hash. */
static size_t match_first(const struct readback_item *targets, size_t n, const uint8_t *hash)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (memcmp(targets[mid].hash, hash, HASH_SIZE) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t match_items(struct readback_item *sources, size_t n_sources, struct readback_item *targets,
                   size_t n_targets, struct ledger_row *rows)
{
    size_t n = 0;
    size_t *used =
        xcalloc(n_targets ? n_targets : 1, sizeof *used); /* [first of a hash] how many are taken */
    if (n_sources > 1)
        qsort(sources, n_sources, sizeof *sources, match_by_uid);
    if (n_targets > 1)
        qsort(targets, n_targets, sizeof *targets, match_by_hash);
    for (size_t i = 0; i < n_sources; i++) {
        size_t first = match_first(targets, n_targets, sources[i].hash);
        size_t at = first < n_targets ? first + used[first] : n_targets;
        if (at >= n_targets || memcmp(targets[at].hash, sources[i].hash, HASH_SIZE) != 0)
            continue;
        used[first]++;
        struct ledger_row row = {
            .source_uid = sources[i].uid, .target_uid = targets[at].uid, .size = sources[i].size};
        row.verified = true;
        memcpy(row.hash, sources[i].hash, HASH_SIZE);
        rows[n++] = row;
    }
    free(used);
    return n;
}
