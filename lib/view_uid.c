#include <stdlib.h>

#include "digits.h"
#include "view_uid.h"
#include "xalloc.h"

void view_uid_free(struct view_uid *m)
{
    free(m->runs);
    *m = (struct view_uid){0};
}

/* The greatest UIDs of all runs; 0 without any. */
static uint32_t last_client(const struct view_uid *m)
{
    return m->n ? m->runs[m->n - 1].client + (m->runs[m->n - 1].length - 1) : 0;
}

static uint32_t last_backend(const struct view_uid *m)
{
    return m->n ? m->runs[m->n - 1].backend + (m->runs[m->n - 1].length - 1) : 0;
}

static void uid_push(struct view_uid *m, struct view_run run)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 8;
        m->runs = xreallocarray(m->runs, m->cap, sizeof(*m->runs));
    }
    m->runs[m->n++] = run;
}

bool view_uid_add(struct view_uid *m, uint32_t client, uint32_t backend)
{
    uint32_t c = last_client(m), b = last_backend(m);

    if (client <= c || backend <= b || m->tail_client)
        return false;
    if (m->n && client - c == 1 && backend - b == 1)
        m->runs[m->n - 1].length++;
    else
        uid_push(m, (struct view_run){client, backend, 1});
    return true;
}

bool view_uid_set_tail(struct view_uid *m, uint32_t client_uidnext, uint32_t backend_uidnext)
{
    if (client_uidnext <= last_client(m) || backend_uidnext <= last_backend(m))
        return false;
    m->tail_client = client_uidnext;
    m->tail_backend = backend_uidnext;
    return true;
}

uint64_t view_uid_count(const struct view_uid *m)
{
    uint64_t count = 0;

    for (size_t i = 0; i < m->n; i++)
        count += m->runs[i].length;
    return count;
}

/* --- looking up --- */

static uint32_t uid_first_of(const struct view_run *r, bool client)
{
    return client ? r->client : r->backend;
}

static uint32_t last_of(const struct view_run *r, bool client)
{
    return uid_first_of(r, client) + (r->length - 1);
}

/* The first run of which the last UID, on the side asked for, is not below uid; m->n where there is none. */
static size_t find_run(const struct view_uid *m, uint32_t uid, bool client)
{
    size_t lo = 0, hi = m->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (last_of(&m->runs[mid], client) < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool shift(uint32_t uid, uint32_t from, uint32_t to, uint32_t *_r)
{
    uint64_t shifted = (uint64_t)uid - from + to;

    if (shifted > UINT32_MAX)
        return false;
    *_r = (uint32_t)shifted;
    return true;
}

/* From the side that client names to the other. */
static bool map_uid(const struct view_uid *m, uint32_t uid, bool client, uint32_t *_r)
{
    uint32_t tail = client ? m->tail_client : m->tail_backend;

    if (uid == 0)
        return false;
    if (tail && uid >= tail)
        return shift(uid, tail, client ? m->tail_backend : m->tail_client, _r);
    size_t i = find_run(m, uid, client);
    if (i == m->n || uid_first_of(&m->runs[i], client) > uid)
        return false;
    *_r = uid_first_of(&m->runs[i], !client) + (uid - uid_first_of(&m->runs[i], client));
    return true;
}

bool view_uid_to_backend(const struct view_uid *m, uint32_t client, uint32_t *_r)
{
    return map_uid(m, client, true, _r);
}

bool view_uid_to_client(const struct view_uid *m, uint32_t backend, uint32_t *_r)
{
    return map_uid(m, backend, false, _r);
}

bool view_uid_to_client_near(const struct view_uid *m, uint32_t backend, size_t *near, uint32_t *_r)
{
    for (size_t i = *near; i < m->n && i < *near + 2; i++) {
        const struct view_run *r = &m->runs[i];
        if (backend < r->backend || backend - r->backend >= r->length)
            continue;
        *near = i;
        *_r = r->client + (backend - r->backend);
        return true;
    }
    *near = find_run(m, backend, false);
    return view_uid_to_client(m, backend, _r);
}

bool view_uid_is_full(const struct view_uid *m, uint32_t backend_uidnext)
{
    uint32_t shown;

    return m->tail_backend && backend_uidnext >= m->tail_backend &&
           !shift(backend_uidnext, m->tail_backend, m->tail_client, &shown);
}

/* The smallest backend UID whose client UID is at or above first. */
static bool ceiling(const struct view_uid *m, uint32_t first, uint32_t *_r)
{
    if (m->tail_client && first >= m->tail_client)
        return shift(first, m->tail_client, m->tail_backend, _r);
    size_t i = find_run(m, first, true);
    if (i < m->n) {
        const struct view_run *run = &m->runs[i];
        *_r = first > run->client ? run->backend + (first - run->client) : run->backend;
        return true;
    }
    *_r = m->tail_backend;
    return m->tail_backend != 0;
}

/* The greatest backend UID whose client UID is at or below last. */
static bool floor_of(const struct view_uid *m, uint32_t last, uint32_t *_r)
{
    if (m->tail_client && last >= m->tail_client) {
        if (!shift(last, m->tail_client, m->tail_backend, _r))
            *_r = UINT32_MAX;
        return true;
    }
    size_t i = find_run(m, last, true);
    if (i < m->n && m->runs[i].client <= last) {
        *_r = m->runs[i].backend + (last - m->runs[i].client);
        return true;
    }
    if (i == 0)
        return false;
    *_r = last_of(&m->runs[i - 1], false);
    return true;
}

bool view_uid_range_to_backend(const struct view_uid *m, uint32_t first, uint32_t last, struct imap_range *_r)
{
    struct imap_range r;

    if (last == 0 || first > last || !ceiling(m, first, &r.first) || !floor_of(m, last, &r.last) ||
        r.first > r.last)
        return false;
    *_r = r;
    return true;
}

void view_uid_set_to_backend(const struct view_uid *m, const struct imap_seq *client, struct imap_seq *out)
{
    struct imap_range r;

    for (size_t i = 0; i < client->n; i++)
        if (view_uid_range_to_backend(m, client->ranges[i].first, client->ranges[i].last, &r))
            imap_seq_add(out, r.first, r.last);
}

/* The part of a backend range that is in the tail. */
static void add_tail(const struct view_uid *m, struct imap_range r, struct imap_seq *out)
{
    uint32_t first, last;

    if (!m->tail_backend || r.last < m->tail_backend)
        return;
    if (r.first < m->tail_backend)
        r.first = m->tail_backend;
    if (!shift(r.first, m->tail_backend, m->tail_client, &first))
        return;
    if (!shift(r.last, m->tail_backend, m->tail_client, &last))
        last = UINT32_MAX;
    imap_seq_add(out, first, last);
}

bool view_uid_set_to_client(const struct view_uid *m, const struct imap_seq *backend, size_t max_ranges,
                            struct imap_seq *out)
{
    for (size_t k = 0; k < backend->n; k++) {
        struct imap_range r = backend->ranges[k];
        for (size_t i = find_run(m, r.first, false); i < m->n && m->runs[i].backend <= r.last; i++) {
            const struct view_run *run = &m->runs[i];
            uint32_t from = r.first > run->backend ? r.first - run->backend : 0;
            uint32_t to = r.last < last_of(run, false) ? r.last - run->backend : run->length - 1;
            imap_seq_add(out, run->client + from, run->client + to);
            if (out->n > max_ranges)
                return false;
        }
        add_tail(m, r, out);
        if (out->n > max_ranges)
            return false;
    }
    return true;
}

/* --- text ---
 *
 * "1", then numbers (digits.h): the tail's two UIDs, how many runs, and for each its gaps behind the run
 * before (in the client's and in the backend's UIDs) and its length less one. */

void view_uid_encode(struct buf *out, const struct view_uid *m)
{
    uint32_t client = 1, backend = 1; /* the smallest that could follow */

    buf_add_str(out, "1");
    digits_write(out, m->tail_client);
    digits_write(out, m->tail_backend);
    digits_write(out, m->n);
    for (size_t i = 0; i < m->n; i++) {
        const struct view_run *r = &m->runs[i];
        digits_write(out, r->client - client);
        digits_write(out, r->backend - backend);
        digits_write(out, r->length - 1);
        client = r->client + r->length;
        backend = r->backend + r->length;
    }
}

static bool uid_read_number(struct span *in, uint32_t *_r)
{
    uint64_t n;

    if (!digits_read(in, UINT32_MAX, &n))
        return false;
    *_r = (uint32_t)n;
    return true;
}

/* Reads a run that may follow what is in m, and could not have been part of the run before. */
static bool uid_read_run(struct span *in, struct view_uid *m)
{
    uint32_t client_gap, backend_gap, length;

    if (!uid_read_number(in, &client_gap) || !uid_read_number(in, &backend_gap) ||
        !uid_read_number(in, &length))
        return false;
    if (m->n && !client_gap && !backend_gap)
        return false;
    uint64_t client = (uint64_t)last_client(m) + 1 + client_gap,
             backend = (uint64_t)last_backend(m) + 1 + backend_gap;
    if (client + length > UINT32_MAX || backend + length > UINT32_MAX)
        return false;
    uid_push(m, (struct view_run){(uint32_t)client, (uint32_t)backend, length + 1});
    return true;
}

static bool uid_decode(struct span in, size_t max_runs, struct view_uid *m)
{
    uint32_t client, backend, n;

    if (in.len == 0 || in.p[0] != '1')
        return false;
    in.p++;
    in.len--;
    if (!uid_read_number(&in, &client) || !uid_read_number(&in, &backend) || !uid_read_number(&in, &n))
        return false;
    if (n > max_runs || n > in.len / 3)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!uid_read_run(&in, m))
            return false;
    return in.len == 0 && ((client == 0 && backend == 0) || view_uid_set_tail(m, client, backend));
}

bool view_uid_decode(struct span text, size_t max_runs, struct view_uid *_r)
{
    struct view_uid m = {0};

    if (!uid_decode(text, max_runs, &m)) {
        view_uid_free(&m);
        return false;
    }
    *_r = m;
    return true;
}
