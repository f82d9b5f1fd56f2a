#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "lib/xalloc.h"

#include "flips.h"

static const char *flips_text_of(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));

    return text ? text : "";
}

static uint64_t number_of(const json_t *o, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(o, name));

    return n > 0 ? (uint64_t)n : 0;
}

static void flips_set(char **to, const char *text)
{
    char *old = *to;

    *to = xstrdup(text);
    free(old);
}

/* ms of "2026-01-31T10:00:00.123Z"; 0: it is none. */
static uint64_t flips_ms_of(const char *text)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    unsigned ms = 0;

    if (!rest)
        return 0;
    if (rest[0] == '.')
        ms = (unsigned)atoi(rest + 1);
    return (uint64_t)timegm(&tm) * 1000 + (ms < 1000 ? ms : 0);
}

static struct flip *flip_of(struct flips *f, const char *user)
{
    struct flip *one;

    HASH_FIND_STR(f->all, user, one);
    if (one)
        return one;
    one = xcalloc(1, sizeof(*one));
    one->user = xstrdup(user);
    char **const texts[] = {&one->backend, &one->source,    &one->target, &one->home,         &one->left,
                            &one->state,   &one->held_from, &one->reason, &one->last_backend, &one->view};
    for (size_t i = 0; i < COUNTOF(texts); i++)
        *texts[i] = xstrdup("");
    one->first_epoch = UINT64_MAX;
    HASH_ADD_KEYPTR(hh, f->all, one->user, strlen(one->user), one);
    return one;
}

/* Of a line, whichever of the two it is. epoch: of an account behind the flip, as an export has it. */
struct line {
    const json_t *o;
    bool is_export;
    uint64_t epoch;
    const char *backend, *home;
};

static void take_state(struct flip *one, const struct line *l)
{
    const char *flipped = flips_text_of(l->o, "flipped_at");

    one->epoch = l->epoch;
    flips_set(&one->backend, l->backend);
    flips_set(&one->source, flips_text_of(l->o, "source"));
    flips_set(&one->target, flips_text_of(l->o, "target"));
    flips_set(&one->left, l->is_export ? flips_text_of(l->o, "left") : flips_text_of(l->o, "source"));
    flips_set(&one->state, flips_text_of(l->o, "state"));
    flips_set(&one->held_from, flips_text_of(l->o, "held_from"));
    flips_set(&one->reason, flips_text_of(l->o, "reason"));
    one->flipped_ms = l->is_export ? strtoull(flipped, NULL, 10) : flips_ms_of(flips_text_of(l->o, "time"));
}

/* An export of an older release has none; a journal may have it of the same flip. */
static void take_view(struct flip *one, const struct line *l)
{
    const char *view = flips_text_of(l->o, "view");

    if (l->epoch < one->view_epoch || (l->epoch == one->view_epoch && !*view))
        return;
    flips_set(&one->view, view);
    one->view_epoch = l->epoch;
}

static void flips_take(struct flip *one, const struct line *l)
{
    uint64_t ms = flips_ms_of(flips_text_of(l->o, "time"));

    if (l->epoch > one->epoch || (l->epoch == one->epoch && l->is_export && !*one->state) || !*one->backend)
        take_state(one, l);
    take_view(one, l);
    if (number_of(l->o, "generation") > one->generation)
        one->generation = number_of(l->o, "generation");
    if (*l->home && l->epoch < one->first_epoch) {
        one->first_epoch = l->epoch;
        flips_set(&one->home, l->home);
    }
    if (ms > one->last_ms || (ms == one->last_ms && l->epoch >= one->last_epoch)) {
        one->last_ms = ms;
        one->last_epoch = l->epoch;
        flips_set(&one->last_backend, l->backend);
    }
}

void flips_blame(struct flips *f, const char *file, size_t line, const char *text)
{
    if (f->n_faults < FLIPS_FAULTS_MAX)
        f->faults[f->n_faults] =
            (struct flips_fault){.file = xstrdup(file), .line = line, .text = xstrdup(text)};
    f->n_faults++;
}

/* A file that is being read. */
struct reading {
    struct flips *f;
    const char *file;
    size_t line;    /* the number of this one */
    size_t pending; /* accounts of an export since its begin */
};

static void flips_cut_off(struct reading *r, size_t line, const char *detail)
{
    char *text = xasprintf("this export may be cut off, or was put together: %s", detail);

    flips_blame(r->f, r->file, line, text);
    free(text);
}

static bool flips_read_end(struct reading *r, const json_t *o)
{
    json_int_t said = json_integer_value(json_object_get(o, "end"));
    char *detail = xasprintf("by this line it has %" JSON_INTEGER_FORMAT " accounts, and there are %zu", said,
                             r->pending);

    if (said < 0 || (size_t)said != r->pending)
        flips_cut_off(r, r->line, detail);
    r->pending = 0;
    free(detail);
    return true;
}

static bool flips_read_flip(struct reading *r, const json_t *o)
{
    struct line l = {.o = o, .is_export = json_object_get(o, "state") != NULL};
    const char *user = flips_text_of(o, "user");

    l.backend = flips_text_of(o, l.is_export ? "backend" : "target");
    l.home = flips_text_of(o, l.is_export ? "home" : "source");
    l.epoch = number_of(o, "epoch") + !l.is_export;
    bool good = *user && *l.backend && flips_ms_of(flips_text_of(o, "time")) > 0 &&
                json_is_integer(json_object_get(o, "epoch"));
    if (good)
        flips_take(flip_of(r->f, user), &l);
    r->pending += good && l.is_export;
    return good;
}

/* Of a line of a journal the first half, or room that the file system had kept for it: its flip was not on
 * the disk, so nobody was told of it. */
static bool flips_is_half(struct span text, const json_error_t *error)
{
    static const char begin[] = "{\"time\":";
    size_t n = text.len < strlen(begin) ? text.len : strlen(begin);

    return text.len == 0 ||
           (memcmp(text.p, begin, n) == 0 && json_error_code(error) == json_error_premature_end_of_input);
}

static void flips_read_line(struct reading *r, struct span text)
{
    json_error_t error;

    while (text.len && text.p[text.len - 1] == '\0')
        text.len--;
    json_t *o = json_loadb((const char *)text.p, text.len, 0, &error);
    if (json_is_integer(json_object_get(o, "end")) ? flips_read_end(r, o) : flips_read_flip(r, o)) {
        r->f->lines++;
    } else if (!o && flips_is_half(text, &error)) {
        r->f->half++;
    } else {
        r->f->unreadable++;
        flips_blame(r->f, r->file, r->line, "can't be read");
    }
    json_decref(o);
}

void flips_read(struct flips *f, const char *file, struct span text)
{
    struct reading r = {.f = f, .file = file};

    while (text.len) {
        const uint8_t *feed = memchr(text.p, '\n', text.len);
        size_t len = feed ? (size_t)(feed - text.p) : text.len;
        r.line++;
        if (len)
            flips_read_line(&r, span_of(text.p, len));
        len += feed != NULL;
        text = span_of(text.p + len, text.len - len);
    }
    if (r.pending)
        flips_cut_off(&r, 0, "the last line, which counts its accounts, is missing");
}

void flips_free(struct flips *f)
{
    struct flip *one, *next;

    HASH_ITER(hh, f->all, one, next)
    {
        HASH_DEL(f->all, one);
        char *const texts[] = {one->user,   one->backend,      one->source, one->target,
                               one->home,   one->left,         one->state,  one->held_from,
                               one->reason, one->last_backend, one->view};
        for (size_t i = 0; i < COUNTOF(texts); i++)
            free(texts[i]);
        free(one);
    }
    for (size_t i = 0; i < f->n_faults && i < FLIPS_FAULTS_MAX; i++) {
        free(f->faults[i].file);
        free(f->faults[i].text);
    }
    *f = (struct flips){0};
}

bool flip_is_in_doubt(const struct flip *one)
{
    return strcmp(one->last_backend, one->backend) != 0;
}

uint64_t flips_generation(const struct flips *f)
{
    uint64_t highest = 0;

    for (const struct flip *one = f->all; one; one = one->hh.next)
        if (one->generation > highest)
            highest = one->generation;
    return highest;
}
