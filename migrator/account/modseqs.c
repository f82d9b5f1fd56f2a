#include "modseqs.h"

/* All that clients were shown, at most; more than MODSEQS_MAX: too much. */
static uint64_t modseqs_shown(const struct modseqs_facts *f)
{
    if (f->source > MODSEQS_MAX || f->shift > MODSEQS_MAX)
        return UINT64_MAX;
    uint64_t shown = f->source + f->shift;
    return shown > f->floor ? shown : f->floor;
}

static bool modseqs_are_told(const struct view_record *v, const struct modseqs_facts *f, uint64_t shown)
{
    return v->tier == VIEW_T0 && !f->held && f->base >= shown + MODSEQS_SLACK && f->base <= MODSEQS_MAX &&
           f->target >= f->base;
}

const char *modseqs_word(const struct view_record *v)
{
    if (v->tier == VIEW_T3)
        return "anew";
    if (!v->modseqs)
        return "none";
    return v->modseq_shift > 0 ? "shifted" : v->modseq_jumped ? "jumped" : "kept";
}

void modseqs_go_on(struct view_record *v, const struct modseqs_facts *f)
{
    uint64_t shown = modseqs_shown(f);

    v->modseqs = v->tier != VIEW_T3 && (f->condstore || f->held) && shown <= MODSEQS_MAX;
    v->modseq_floor = v->modseq_shift = 0;
    v->modseq_jumped = false;
    if (!v->modseqs)
        return;
    if (modseqs_are_told(v, f, shown)) {
        v->modseq_floor = f->base;
        v->modseq_jumped = !f->given;
    } else if (shown > 0) {
        v->modseq_floor = v->modseq_shift = shown + MODSEQS_SLACK;
    }
}
