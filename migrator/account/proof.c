#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "proof.h"
#include "proof_file.h"
#include "proof_text.h"

enum {
    PIECE_BYTES = 256 * 1024,
    LINE_MAX_ROWS = 64, /* written between two looks at how long the piece is */
};

struct proof {
    struct move *move;
    proof_fn fn;
    void *owner;
    struct loop_task task;
    struct proof_file *file;
    struct buf text;
    const struct record **records; /* owned; by the name on the source of this move */
    size_t n, at;
    size_t row; /* of records[at]; 0: its line was not written either */
    bool begun; /* ... it was */
    struct proof_sums sums;
    uint64_t began_ms, bytes;
    char *number; /* owned */
    char *said;   /* owned; NULL: not yet */
};

/* ---- which mailboxes */

/* Those that the last pass has compared, and those of which a person has waived that they are not. */
static bool proof_concerns(const struct record *r)
{
    return r->seen_frozen != SEEN_NOT || (r->looked && r->findings && findings_total(r->findings) > 0);
}

static bool was_compared(const struct record *r)
{
    return r->seen_frozen != SEEN_NOT && r->ledger;
}

struct proof_name {
    const char *name;
    const struct record *record;
};

static int proof_compare_names(const void *a, const void *b)
{
    return strcmp(((const struct proof_name *)a)->name, ((const struct proof_name *)b)->name);
}

static void take_records(struct proof *p)
{
    struct records *all = p->move->records;
    size_t n = 0;

    for (struct record *r = records_first(all); r; r = r->hh.next)
        n += proof_concerns(r);
    struct proof_name *names = xcalloc(n + 1, sizeof(*names));
    for (struct record *r = records_first(all); r; r = r->hh.next)
        if (proof_concerns(r))
            names[p->n++] = (struct proof_name){.name = records_from_name(all, r), .record = r};
    qsort(names, p->n, sizeof(*names), proof_compare_names);
    p->records = xcalloc(n + 1, sizeof(const struct record *));
    for (size_t i = 0; i < p->n; i++)
        p->records[i] = names[i].record;
    free(names);
}

/* ---- piece by piece */

static void begin_mailbox(struct proof *p, const struct record *r, size_t rows)
{
    struct proof_mailbox m = {.source_name = records_from_name(p->move->records, r),
                              .target_name = records_to_name(p->move->records, r),
                              .on_source = r->counts.messages_total,
                              .proved = rows,
                              .compared = was_compared(r)};

    if (r->ledger)
        ledger_bound(r->ledger, &m.source_uidvalidity, &m.target_uidvalidity);
    proof_write_mailbox(&p->text, &m);
    p->sums.mailboxes++;
    p->begun = true;
}

/* True: all of the mailbox is written. */
static bool proof_add_rows(struct proof *p, const struct ledger_row *rows, size_t n)
{
    for (size_t i = 0; i < LINE_MAX_ROWS && p->row < n; i++)
        proof_write_message(&p->text, &rows[p->row++], &p->sums);
    return p->row == n;
}

static void proof_add_some(struct proof *p)
{
    const struct record *r = p->records[p->at];
    const struct ledger_row *rows = NULL;
    size_t n = 0;

    if (was_compared(r))
        rows = ledger_rows(r->ledger, &n);
    if (!p->begun)
        begin_mailbox(p, r, n);
    if (!proof_add_rows(p, rows, n))
        return;
    p->at++;
    p->row = 0;
    p->begun = false;
}

static void proof_end(struct proof *p)
{
    char hex[PROOF_HEX + 1];

    proof_file_hash(p->file, hex);
    p->said = xasprintf("%s %s %s", hex, p->number, p->move->m->id);
    LOG(INFO, "proof_written", LOG_S("user", p->move->user), LOG_S("digest", hex),
        LOG_U("mailboxes", p->sums.mailboxes), LOG_U("messages", p->sums.messages), LOG_U("bytes", p->bytes),
        LOG_U("took_ms", clock_boot_ms() - p->began_ms));
    p->fn(p->owner, NULL);
}

static void proof_on_written(void *owner, const char *error)
{
    struct proof *p = owner;

    if (error)
        p->fn(p->owner, error);
    else if (p->at > p->n)
        proof_end(p);
    else
        loop_defer(p->move->m->loop, &p->task);
}

/* at goes behind the last mailbox with the last line. */
static void proof_on_task(struct loop_task *task)
{
    struct proof *p = CONTAINER_OF(task, struct proof, task);

    while (p->at < p->n && p->text.len < PIECE_BYTES)
        proof_add_some(p);
    bool last = p->at == p->n && p->text.len < PIECE_BYTES;
    if (last) {
        proof_write_end(&p->text, &p->sums);
        p->at++;
    }
    p->bytes += buf_span(&p->text).len;
    proof_file_write(p->file, &p->text, last, proof_on_written, p);
}

/* ---- life */

struct proof *proof_start(struct move *m, proof_fn fn, void *owner)
{
    struct proof *p = xcalloc(1, sizeof(*p));
    const struct conf *conf = m->m->conf;

    p->move = m;
    p->fn = fn;
    p->owner = owner;
    p->task.fn = proof_on_task;
    p->began_ms = clock_boot_ms();
    p->number = xasprintf("%" PRIu64 ".%" PRIu64, m->generation, m->job.epoch);
    p->file = proof_file_new(m->m->loop, proof_path(conf->migrator.journal_dir, m->user, p->number));
    take_records(p);
    proof_write_head(&p->text, &(struct proof_head){.user = m->user,
                                                    .source = m->source_name,
                                                    .target = m->target_name,
                                                    .verify = verify_word(conf->migration.verify),
                                                    .generation = m->generation,
                                                    .epoch = m->job.epoch,
                                                    .time_ms = clock_wall_ms()});
    loop_defer(m->m->loop, &p->task);
    return p;
}

const char *proof_said(const struct proof *p)
{
    return p->said ? p->said : "";
}

void proof_free(struct proof **pp, bool keep)
{
    struct proof *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    loop_undefer(p->move->m->loop, &p->task);
    proof_file_free(&p->file, keep && p->said);
    buf_free(&p->text);
    free(p->records);
    free(p->number);
    free(p->said);
    free(p);
}
