#include <stdlib.h>
#include <time.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "lib/fnv.h"
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

uint64_t flips_time_ms(const char *text)
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

/* As one of which no line was read. */
static void flips_blank(struct flip *one)
{
    char **const texts[] = {&one->backend, &one->source,    &one->target, &one->home,         &one->left,
                            &one->state,   &one->held_from, &one->reason, &one->last_backend, &one->view};

    for (size_t i = 0; i < COUNTOF(texts); i++)
        flips_set(texts[i], "");
    one->epoch = one->flipped_ms = one->view_epoch = one->last_ms = one->last_epoch = 0;
    one->first_epoch = UINT64_MAX;
    one->carried = false;
}

static struct flip *flip_of(struct flips *f, const char *user)
{
    struct flip *one;

    HASH_FIND_STR(f->all, user, one);
    if (one)
        return one;
    one = xcalloc(1, sizeof(*one));
    one->user = xstrdup(user);
    flips_blank(one);
    HASH_ADD_KEYPTR(hh, f->all, one->user, strlen(one->user), one);
    return one;
}

/* Of a line, whichever of the two it is. epoch: of an account behind the flip, as an export has it. */
struct line {
    const json_t *o;
    bool is_export, is_move;
    uint64_t epoch;
    const char *backend, *home;
};

static void take_state(struct flip *one, const struct line *l)
{
    const char *flipped = flips_text_of(l->o, "flipped_at");

    one->epoch = l->epoch;
    one->carried = l->is_move;
    flips_set(&one->backend, l->backend);
    flips_set(&one->source, flips_text_of(l->o, "source"));
    flips_set(&one->target, flips_text_of(l->o, "target"));
    flips_set(&one->left, l->is_export ? flips_text_of(l->o, "left") : flips_text_of(l->o, "source"));
    flips_set(&one->state, flips_text_of(l->o, "state"));
    flips_set(&one->held_from, flips_text_of(l->o, "held_from"));
    flips_set(&one->reason, flips_text_of(l->o, "reason"));
    one->flipped_ms = l->is_export ? strtoull(flipped, NULL, 10) : flips_time_ms(flips_text_of(l->o, "time"));
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

/* What was before that is of an account that staff had forgotten since. */
static void flips_forget(struct flip *one, uint64_t ms)
{
    if (ms <= one->forgotten_ms)
        return;
    one->forgotten_ms = ms;
    if (one->last_ms <= ms + FLIPS_CLOCKS_MS)
        flips_blank(one);
}

static bool flips_is_of_forgotten(const struct flip *one, const struct line *l)
{
    return !l->is_export && one->forgotten_ms > 0 &&
           flips_time_ms(flips_text_of(l->o, "time")) <= one->forgotten_ms + FLIPS_CLOCKS_MS;
}

static void flips_take(struct flip *one, const struct line *l)
{
    uint64_t ms = flips_time_ms(flips_text_of(l->o, "time"));

    if (l->is_move)
        flips_forget(one, number_of(l->o, "forgotten"));
    if (flips_is_of_forgotten(one, l))
        return;

    bool tells_more = l->is_move ? !one->carried : l->is_export && !*one->state;
    if (l->epoch > one->epoch || (l->epoch == one->epoch && tells_more) || !*one->backend)
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

static void flips_cut_off(struct flips_reading *r, size_t line, const char *detail)
{
    char *text = xasprintf("this export may be cut off, or was put together: %s", detail);

    flips_blame(r->f, r->file, line, text);
    free(text);
}

/* The last line of an export of a store that was moved says what stands before it. */
static bool flips_is_proved(struct flips_reading *r, const json_t *o)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf text = {0};

    EVP_DigestFinal_ex(r->sum, sum, &len);
    for (unsigned i = 0; i < len; i++)
        buf_printf(&text, "%02x", sum[i]);
    bool is =
        !strcmp(buf_str(&text), flips_text_of(o, "sha256")) && number_of(o, "kept") == (uint64_t)r->pieces;
    buf_free(&text);
    return is;
}

/* They are as they were at one time: those of an older export are of no interest. */
static void flips_take_groups(struct flips_reading *r, const json_t *o)
{
    struct flips *f = r->f;
    json_t *groups = json_object_get(o, "groups");
    uint64_t ms = flips_time_ms(flips_text_of(o, "time"));
    bool good = json_is_array(groups) && ms > 0;

    if (groups && !good)
        flips_blame(f, r->file, r->line, "its groups, or its time, can't be read");
    if (!good || ms < f->groups_ms)
        return;
    json_decref(f->groups);
    f->groups = json_incref(groups);
    f->groups_ms = ms;
}

static bool flips_read_end(struct flips_reading *r, const json_t *o)
{
    json_int_t said = json_integer_value(json_object_get(o, "end"));
    char *detail = xasprintf("by this line it has %" JSON_INTEGER_FORMAT " accounts, and there are %zu", said,
                             r->pending);

    if (said < 0 || (size_t)said != r->pending)
        flips_cut_off(r, r->line, detail);
    else if (r->is_move && !flips_is_proved(r, o))
        flips_cut_off(r, r->line, "its lines are not those that were written (sha256)");
    if (!r->is_move)
        flips_take_groups(r, o);
    r->pending = 0;
    r->is_ended = true;
    free(detail);
    return true;
}

static bool flips_read_flip(struct flips_reading *r, const json_t *o)
{
    struct line l = {.o = o, .is_export = json_object_get(o, "state") != NULL, .is_move = r->is_move};
    const char *user = flips_text_of(o, "user");

    l.backend = flips_text_of(o, l.is_export ? "backend" : "target");
    l.home = flips_text_of(o, l.is_export ? "home" : "source");
    l.epoch = number_of(o, "epoch") + !l.is_export;
    bool good = *user && *l.backend && flips_time_ms(flips_text_of(o, "time")) > 0 &&
                json_is_integer(json_object_get(o, "epoch"));
    if (good)
        flips_take(r->last = flip_of(r->f, user), &l);
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

enum { MOVE_VERSION = 1 };

static bool flips_read_head(struct flips_reading *r, const json_t *o)
{
    if (r->line != 1)
        flips_cut_off(r, r->line, "a head in the middle");
    else if (json_integer_value(json_object_get(o, "move")) != MOVE_VERSION)
        flips_blame(r->f, r->file, r->line, "is of another release, which this one can't read");
    uint64_t ms = flips_time_ms(flips_text_of(o, "time"));
    r->f->move_ms = ms > r->f->move_ms ? ms : r->f->move_ms;
    r->is_move = true;
    return true;
}

static bool flips_read_object(struct flips_reading *r, const json_t *o)
{
    if (r->is_ended && r->is_move)
        flips_cut_off(r, r->line, "there is more behind its last line");
    if (json_is_integer(json_object_get(o, "move")))
        return flips_read_head(r, o);
    if (json_is_integer(json_object_get(o, "end")))
        return flips_read_end(r, o);
    return flips_read_flip(r, o);
}

static void flips_read_line(struct flips_reading *r, struct span text)
{
    json_error_t error;

    while (text.len && text.p[text.len - 1] == '\0')
        text.len--;
    json_t *o = json_loadb((const char *)text.p, text.len, 0, &error);
    if (o && flips_read_object(r, o)) {
        r->f->lines++;
    } else if (!o && flips_is_half(text, &error)) {
        r->f->half++;
    } else {
        r->f->unreadable++;
        flips_blame(r->f, r->file, r->line, "can't be read");
    }
    json_decref(o);
}

/* Written by carry_out.c, so it begins just so. */
static const char piece_head[] = "{\"keep\": \"";

bool flips_is_piece(struct span line, struct span *user)
{
    size_t n = strlen(piece_head);
    const uint8_t *end =
        line.len > n && memcmp(line.p, piece_head, n) == 0 ? memchr(line.p + n, '"', line.len - n) : NULL;

    if (!end)
        return false;
    *user = span_of(line.p + n, (size_t)(end - line.p) - n);
    return true;
}

void flips_begin(struct flips_reading *r, struct flips *f, const char *file)
{
    *r = (struct flips_reading){.f = f, .file = xstrdup(file), .sum = EVP_MD_CTX_new()};
    EVP_DigestInit_ex(r->sum, EVP_sha256(), NULL);
}

static void flips_digest(struct flips *f, struct span text)
{
    f->digest = fnv(fnv(f->digest ? f->digest : FNV_BEGIN, text), span_str("\n"));
}

/* What an end proves stands before it: it is read before it is added. */
void flips_line(struct flips_reading *r, struct span text)
{
    struct span user;

    r->line++;
    flips_digest(r->f, text);
    if (r->is_move && !r->is_ended && flips_is_piece(text, &user))
        r->pieces++;
    else if (text.len)
        flips_read_line(r, text);
    if (r->is_ended || !r->is_move)
        return;
    EVP_DigestUpdate(r->sum, text.p, text.len);
    EVP_DigestUpdate(r->sum, "\n", 1);
}

/* What is known of an account stands behind its line, and may be among what is missing. */
static void flips_drop_last(struct flips_reading *r)
{
    if (r->is_move && !r->is_ended && r->last)
        r->last->carried = false;
}

void flips_end(struct flips_reading *r)
{
    flips_drop_last(r);
    if (r->pending || (r->is_move && !r->is_ended))
        flips_cut_off(r, 0, "the last line, which counts its accounts, is missing");
    EVP_MD_CTX_free(r->sum);
    free(r->file);
    *r = (struct flips_reading){0};
}

void flips_read(struct flips *f, const char *file, struct span text)
{
    struct flips_reading r;

    flips_begin(&r, f, file);
    while (text.len) {
        const uint8_t *feed = memchr(text.p, '\n', text.len);
        size_t len = feed ? (size_t)(feed - text.p) : text.len;
        flips_line(&r, span_of(text.p, len));
        len += feed != NULL;
        text = span_of(text.p + len, text.len - len);
    }
    flips_end(&r);
}

const struct flip *flips_find(const struct flips *f, struct span user)
{
    struct flip *one;

    HASH_FIND(hh, f->all, user.p, user.len, one);
    return one;
}

size_t flips_carried(const struct flips *f)
{
    size_t n = 0;

    for (const struct flip *one = f->all; one; one = one->hh.next)
        n += one->carried && !flip_is_in_doubt(one);
    return n;
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
    json_decref(f->groups);
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
