#include <stdlib.h>

#include <uthash.h>

#include "lib/buf.h"
#include "lib/xalloc.h"

#include "flags.h"

struct flags_set {
    char *text;   /* words with blanks between, spelled as first seen; owned */
    char *folded; /* the same in lower case: the key; owned */
    uint32_t number;
    UT_hash_handle hh;
};

struct flags_pool {
    struct flags_set *by_text; /* uthash, owned */
    struct flags_set **sets;   /* by number */
    size_t n, cap;
    size_t bytes;
};

struct words {
    struct span *words;
    size_t n;
};

static struct flags_set *add_set(struct flags_pool *p, const char *text, const char *folded)
{
    struct flags_set *set = xcalloc(1, sizeof *set);
    set->text = xstrdup(text);
    set->folded = xstrdup(folded);
    set->number = (uint32_t)p->n;
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->sets = xreallocarray(p->sets, p->cap, sizeof(struct flags_set *));
    }
    p->sets[p->n++] = set;
    p->bytes += sizeof *set + 2 * strlen(text);
    HASH_ADD_KEYPTR(hh, p->by_text, set->folded, strlen(set->folded), set);
    return set;
}

struct flags_pool *flags_pool_new(void)
{
    struct flags_pool *p = xcalloc(1, sizeof *p);
    add_set(p, "", "");
    return p;
}

void flags_pool_free(struct flags_pool **p)
{
    if (!*p)
        return;
    HASH_CLEAR(hh, (*p)->by_text);
    for (size_t i = 0; i < (*p)->n; i++) {
        free((*p)->sets[i]->text);
        free((*p)->sets[i]->folded);
        free((*p)->sets[i]);
    }
    free((*p)->sets);
    free(*p);
    *p = NULL;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static int compare_words(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    for (size_t i = 0; i < x->len && i < y->len; i++)
        if (lower(x->p[i]) != lower(y->p[i]))
            return lower(x->p[i]) - lower(y->p[i]);
    return x->len < y->len ? -1 : x->len > y->len;
}

static bool same_word(struct span a, struct span b)
{
    return compare_words(&a, &b) == 0;
}

/* Sorts, drops doubles, and looks up or adds. */
static bool intern(struct flags_pool *p, struct words *w, uint32_t *_set, const char **why)
{
    struct buf text = {0}, folded = {0};
    struct flags_set *set = NULL;
    if (w->n > 1)
        qsort(w->words, w->n, sizeof *w->words, compare_words);
    for (size_t i = 0; i < w->n; i++) {
        if (i > 0 && same_word(w->words[i], w->words[i - 1]))
            continue;
        buf_printf(&text, "%s", text.len > 0 ? " " : "");
        buf_add_span(&text, w->words[i]);
    }
    for (size_t i = 0; i < text.len; i++)
        buf_add(&folded, &(uint8_t){lower(text.mem[text.off + i])}, 1);
    HASH_FIND_STR(p->by_text, buf_str(&folded), set);
    bool room = p->bytes <= FLAGS_BYTES_MAX;
    if (!set && room)
        set = add_set(p, buf_str(&text), buf_str(&folded));
    buf_free(&text);
    buf_free(&folded);
    if (!set) {
        *why = "too many different sets of flags";
        return false;
    }
    *_set = set->number;
    return true;
}

/* "\\Seen" in quotes is plain; without its backslash it might be "\Seen", whose backslash went with the
 * quotes. */
static bool is_quoted_flag(const struct imap_value *v)
{
    return v->kind == IMAP_QUOTED && v->text.len > 1 && v->text.p[0] == '\\' &&
           !memchr(v->text.p, ' ', v->text.len);
}

/* Bytes above 0x7f are for flags_split() to judge. */
static bool flags_is_word(const struct imap_value *v)
{
    if ((v->kind != IMAP_ATOM && !is_quoted_flag(v)) || v->glued)
        return false;
    for (size_t i = 0; i < v->text.len; i++)
        if (v->text.p[i] < ' ' || v->text.p[i] == 0x7f)
            return false;
    return v->text.len > 0;
}

bool flags_add(struct flags_pool *p, const struct imap_value *list, uint32_t *_set, const char **why)
{
    struct span words[FLAGS_PER_MESSAGE_MAX];
    struct words w = {.words = words};
    bool whole = true;
    *_set = FLAGS_NONE;
    *why = "flags that are not a list of words";
    if (!list || list->kind != IMAP_LIST)
        return false;
    for (const struct imap_value *v = list->first; v; v = v->next) {
        if (span_is_ci(v->text, "\\Recent"))
            continue;
        if (!flags_is_word(v) || w.n == FLAGS_PER_MESSAGE_MAX)
            whole = false;
        else
            words[w.n++] = v->text;
    }
    return intern(p, &w, _set, why) && whole;
}

/* Cuts a word off *s; false where none is left. */
static bool flags_next_word(struct span *s, struct span *_word)
{
    while (s->len > 0 && s->p[0] == ' ')
        *s = span_of(s->p + 1, s->len - 1);
    if (s->len == 0)
        return false;
    const uint8_t *blank = memchr(s->p, ' ', s->len);
    *_word = span_of(s->p, blank ? (size_t)(blank - s->p) : s->len);
    *s = span_of(s->p + _word->len, s->len - _word->len);
    return true;
}

bool flags_add_text(struct flags_pool *p, struct span text, uint32_t *_set, const char **why)
{
    struct span words[FLAGS_PER_MESSAGE_MAX], word;
    struct words w = {.words = words};
    while (flags_next_word(&text, &word)) {
        if (span_is_ci(word, "\\Recent"))
            continue;
        if (w.n == FLAGS_PER_MESSAGE_MAX) {
            *why = "too many flags";
            return false;
        }
        words[w.n++] = word;
    }
    return intern(p, &w, _set, why);
}

const char *flags_text(const struct flags_pool *p, uint32_t set)
{
    return set < p->n ? p->sets[set]->text : "";
}

uint32_t flags_count(const struct flags_pool *p)
{
    return (uint32_t)p->n;
}

static bool has_word(struct span text, struct span flag)
{
    struct span word;
    while (flags_next_word(&text, &word))
        if (same_word(word, flag))
            return true;
    return false;
}

bool flags_has(const struct flags_pool *p, uint32_t set, const char *flag)
{
    return has_word(span_str(flags_text(p, set)), span_str(flag));
}

bool flags_within(const struct flags_pool *p, uint32_t set, uint32_t other)
{
    struct span text = span_str(flags_text(p, set)), word;
    while (flags_next_word(&text, &word))
        if (!has_word(span_str(flags_text(p, other)), word))
            return false;
    return true;
}

static bool is_keyword(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("(){%*\"\\]", s.p[i]))
            return false;
    return s.len > 0;
}

static bool is_system_flag(struct span s)
{
    static const char *const names[] = {"\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"};
    for (size_t i = 0; i < COUNTOF(names); i++)
        if (span_is_ci(s, names[i]))
            return true;
    return false;
}

static bool is_kept(const struct flags_policy *policy, struct span listed, struct span flag)
{
    if (!policy->given)
        return is_system_flag(flag) || is_keyword(flag);
    return has_word(listed, flag) || (policy->any_keyword && is_keyword(flag));
}

void flags_split(struct flags_pool *p, const struct flags_policy *policy, uint32_t set, uint32_t *kept,
                 uint32_t *lost)
{
    struct buf keep = {0}, lose = {0};
    struct span listed = span_str(flags_text(p, policy->listed)), text = span_str(flags_text(p, set)), word;
    const char *why;
    while (flags_next_word(&text, &word)) {
        struct buf *to = is_kept(policy, listed, word) ? &keep : &lose;
        buf_add(to, " ", 1);
        buf_add_span(to, word);
    }
    *kept = set;
    *lost = FLAGS_NONE;
    if (lose.len > 0 &&
        (!flags_add_text(p, buf_span(&keep), kept, &why) || !flags_add_text(p, buf_span(&lose), lost, &why)))
        *lost = set; /* no room for one set more: then all of it counts as lost */
    buf_free(&keep);
    buf_free(&lose);
}
