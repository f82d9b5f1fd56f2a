/* The text, of digits and numbers as in lib/digits.h:
 *
 *   what    a digit: 1 bound, 2 turned, 4 rows are proved in more than one way; 16 times how the first one is
 *   bound   the two UIDVALIDITYs, six digits each; where it is bound
 *   looked  a number
 *   runs    how many, then for each: the gap behind the run before in the source's UIDs; that in the target's, which may
 *           be negative, as twice the number, less one where it is; the length less one
 *   proofs  where it is in more than one way: for rows in their order, digit and how many, until all have one
 *
 * How a row is proved: 1 its bytes, 2 its header, 3 both, 0 neither. */
#include "lib/digits.h"

#include "folded.h"

enum { BOUND = 1, TURNED = 2, MIXED = 4, PROOF_SHIFT = 4, UID_DIGITS = 6 };

struct folded_run {
    uint32_t source, target, length;
};

static unsigned proof_of(const struct ledger_row *row)
{
    return (unsigned)row->verified + 2 * (unsigned)row->header;
}

/* The first row from at on that is not left out; n: none. */
static size_t folded_next(const struct ledger_row *rows, size_t n, size_t at, const struct imap_seq *but)
{
    while (at < n && but->n > 0 && imap_seq_has(but, rows[at].source_uid))
        at++;
    return at;
}

/* The run that begins at *at, behind which *at is then. */
static struct folded_run take_run(const struct ledger_row *rows, size_t n, size_t *at,
                                  const struct imap_seq *but)
{
    struct folded_run r = {rows[*at].source_uid, rows[*at].target_uid, 0};

    do {
        r.length++;
        *at = folded_next(rows, n, *at + 1, but);
    } while (*at < n && rows[*at].source_uid - r.source == r.length &&
             rows[*at].target_uid - r.target == r.length);
    return r;
}

static void write_gap(struct buf *out, int64_t gap)
{
    digits_write(out, gap < 0 ? 2 * (uint64_t)-gap - 1 : 2 * (uint64_t)gap);
}

static void write_runs(struct buf *out, const struct ledger_row *rows, size_t n, const struct imap_seq *but)
{
    size_t n_runs = 0, at = folded_next(rows, n, 0, but);
    int64_t source = 1, target = 1;

    while (at < n) {
        take_run(rows, n, &at, but);
        n_runs++;
    }
    digits_write(out, n_runs);
    at = folded_next(rows, n, 0, but);
    while (at < n) {
        struct folded_run r = take_run(rows, n, &at, but);
        digits_write(out, (uint64_t)(r.source - source));
        write_gap(out, r.target - target);
        digits_write(out, r.length - 1);
        source = (int64_t)r.source + r.length;
        target = (int64_t)r.target + r.length;
    }
}

/* How many from *at on are proved alike, behind which *at is then. */
static size_t take_alike(const struct ledger_row *rows, size_t n, size_t *at, const struct imap_seq *but)
{
    unsigned proof = proof_of(&rows[*at]);
    size_t alike = 0;

    for (; *at < n && proof_of(&rows[*at]) == proof; *at = folded_next(rows, n, *at + 1, but))
        alike++;
    return alike;
}

static void write_proofs(struct buf *out, const struct ledger_row *rows, size_t n, const struct imap_seq *but)
{
    size_t at = folded_next(rows, n, 0, but);

    while (at < n) {
        digits_write_one(out, proof_of(&rows[at]));
        digits_write(out, take_alike(rows, n, &at, but));
    }
}

static void write_u32(struct buf *out, uint32_t n)
{
    for (unsigned i = 0; i < UID_DIGITS; i++, n /= 64)
        digits_write_one(out, n % 64);
}

void folded_write(struct buf *out, const struct folded *f, const struct ledger_row *rows, size_t n,
                  const struct imap_seq *but)
{
    size_t first = folded_next(rows, n, 0, but), at = first;
    unsigned what = (f->bound ? BOUND : 0) + (f->turned ? TURNED : 0);

    if (first < n) {
        take_alike(rows, n, &at, but);
        what += (at < n ? MIXED : 0) + (proof_of(&rows[first]) << PROOF_SHIFT);
    }
    digits_write_one(out, what);
    if (f->bound) {
        write_u32(out, f->source_uidvalidity);
        write_u32(out, f->target_uidvalidity);
    }
    digits_write(out, f->looked);
    write_runs(out, rows, n, but);
    if (what & MIXED)
        write_proofs(out, rows, n, but);
}

/* ---- reading */

struct folded_reading {
    struct span in;
    struct folded f;
    unsigned what;
    struct span proofs; /* of what is still to be read */
    unsigned proof;
    uint64_t alike; /* rows that come and are proved so */
    int64_t source, target;
    uint64_t rows;
    folded_fn fn;
    void *owner;
};

static bool read_u32(struct span *in, uint32_t *_r)
{
    uint64_t n = 0;
    unsigned digit;

    for (unsigned i = 0; i < UID_DIGITS; i++) {
        if (!digits_read_one(in, &digit))
            return false;
        n |= (uint64_t)digit << (6 * i);
    }
    *_r = (uint32_t)n;
    return n <= UINT32_MAX;
}

static bool read_small(struct span *in, uint32_t *_r)
{
    uint64_t n;

    if (!digits_read(in, UINT32_MAX, &n))
        return false;
    *_r = (uint32_t)n;
    return true;
}

static bool read_head(struct folded_reading *r)
{
    if (!digits_read_one(&r->in, &r->what) || (r->what & 8))
        return false;
    r->proof = r->what >> PROOF_SHIFT;
    r->f = (struct folded){.bound = r->what & BOUND, .turned = r->what & TURNED};
    if (r->f.bound &&
        (!read_u32(&r->in, &r->f.source_uidvalidity) || !read_u32(&r->in, &r->f.target_uidvalidity)))
        return false;
    return read_small(&r->in, &r->f.looked);
}

static bool read_gap(struct span *in, int64_t *_r)
{
    uint64_t n;

    if (!digits_read(in, (uint64_t)4 * UINT32_MAX, &n))
        return false;
    *_r = n % 2 ? -(int64_t)(n / 2) - 1 : (int64_t)(n / 2);
    return true;
}

static bool folded_read_run(struct folded_reading *r, struct folded_run *_run)
{
    uint32_t gap, more;
    int64_t target_gap;

    if (!read_small(&r->in, &gap) || !read_gap(&r->in, &target_gap) || !read_small(&r->in, &more))
        return false;
    int64_t source = r->source + gap, target = r->target + target_gap, length = (int64_t)more + 1;
    if (target < 1 || source + more > UINT32_MAX || target + more > UINT32_MAX)
        return false;
    *_run = (struct folded_run){(uint32_t)source, (uint32_t)target, (uint32_t)length};
    r->source = source + length;
    r->target = target + length;
    r->rows += (uint64_t)length;
    return r->rows <= FOLDED_ROWS_MAX;
}

/* Where the proofs begin, all runs are looked at once before. */
static bool skip_runs(struct folded_reading *r, uint32_t n)
{
    struct folded_run run;

    r->source = r->target = 1;
    for (uint32_t i = 0; i < n; i++)
        if (!folded_read_run(r, &run))
            return false;
    r->proofs = r->in;
    return true;
}

static bool next_proof(struct folded_reading *r)
{
    if (!(r->what & MIXED))
        return true;
    if (r->alike == 0 && (!digits_read_one(&r->proofs, &r->proof) || r->proof > 3 ||
                          !digits_read(&r->proofs, FOLDED_ROWS_MAX, &r->alike) || r->alike == 0))
        return false;
    r->alike--;
    return true;
}

static bool tell_run(struct folded_reading *r, const struct folded_run *run)
{
    for (uint32_t i = 0; i < run->length; i++) {
        if (!next_proof(r))
            return false;
        struct ledger_row row = {.source_uid = run->source + i, .target_uid = run->target + i};
        row.bare = true;
        row.verified = r->proof & 1;
        row.header = r->proof & 2;
        r->fn(r->owner, &row);
    }
    return true;
}

bool folded_read(struct span text, struct folded *_r, folded_fn fn, void *owner)
{
    struct folded_reading r = {.in = text, .fn = fn, .owner = owner};
    struct folded_run run;
    uint32_t n;

    if (!read_head(&r) || !read_small(&r.in, &n) || n > r.in.len / 3)
        return false;
    struct span runs = r.in;
    if (!skip_runs(&r, n))
        return false;
    r.in = runs;
    r.source = r.target = 1;
    r.rows = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!folded_read_run(&r, &run) || !tell_run(&r, &run))
            return false;
    *_r = r.f;
    return r.alike == 0 && r.proofs.len == 0;
}
