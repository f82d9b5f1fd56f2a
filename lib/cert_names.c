#include <stdlib.h>

#include "cert_names.h"
#include "xalloc.h"

enum { NAME_MOST = 253, LABEL_MOST = 63 }; /* bytes (RFC 1035 section 2.3.4) */

/* A name of a certificate. */
struct cert_row {
    char *name; /* small letters; owned. Of a wildcard what stands behind "*." */
    bool wild;
    unsigned cert;
};

/* A name, once. */
struct cert_group {
    const char *name; /* of its first row */
    bool wild;
    size_t choice;
};

struct cert_names {
    int *kinds; /* one a certificate; owned */
    size_t n_certs;
    struct cert_row *rows; /* owned; sorted once settled */
    size_t n_rows, room;
    struct cert_group *groups; /* owned; sorted as rows are */
    size_t n_groups;
    struct cert_choice *choices; /* owned */
    size_t n_choices;
};

/* ---- names ---- */

static char cert_small(uint8_t c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool cert_name_byte(uint8_t c)
{
    char s = cert_small(c);

    return (s >= 'a' && s <= 'z') || (s >= '0' && s <= '9') || s == '-' || s == '_';
}

/* A host name, not an address: the last label of those is of digits alone. */
static bool cert_is_host(struct span name)
{
    size_t label = 0, digits = 0;

    if (name.len == 0 || name.len > NAME_MOST)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] == '.') {
            if (label == 0)
                return false;
            label = digits = 0;
            continue;
        }
        if (!cert_name_byte(name.p[i]) || ++label > LABEL_MOST)
            return false;
        digits += name.p[i] >= '0' && name.p[i] <= '9';
    }
    return label > 0 && digits < label;
}

static char *cert_small_copy(struct span name)
{
    char *text = xspandup(name);

    for (char *c = text; *c; c++)
        *c = cert_small((uint8_t)*c);
    return text;
}

static int cert_compare_names(const char *a, bool a_wild, const char *b, bool b_wild)
{
    return a_wild != b_wild ? (a_wild ? 1 : -1) : strcmp(a, b);
}

static int cert_compare_rows(const void *va, const void *vb)
{
    const struct cert_row *a = va, *b = vb;
    int c = cert_compare_names(a->name, a->wild, b->name, b->wild);

    return c ? c : (a->cert > b->cert) - (a->cert < b->cert);
}

static int cert_compare_groups(const void *va, const void *vb)
{
    const struct cert_group *a = va, *b = vb;

    return cert_compare_names(a->name, a->wild, b->name, b->wild);
}

/* ---- filling ---- */

struct cert_names *cert_names_new(void)
{
    return xcalloc(1, sizeof(struct cert_names));
}

void cert_names_free(struct cert_names **np)
{
    struct cert_names *n = *np;

    if (!n)
        return;
    *np = NULL;
    for (size_t i = 0; i < n->n_rows; i++)
        free(n->rows[i].name);
    free(n->kinds);
    free(n->rows);
    free(n->groups);
    free(n->choices);
    free(n);
}

void cert_names_add(struct cert_names *n, int kind)
{
    n->kinds = xrealloc(n->kinds, (n->n_certs + 1) * sizeof *n->kinds);
    n->kinds[n->n_certs++] = kind;
}

bool cert_names_add_name(struct cert_names *n, struct span name)
{
    bool wild = name.len > 2 && name.p[0] == '*' && name.p[1] == '.';

    if (wild)
        name = span_of(name.p + 2, name.len - 2);
    if (n->n_certs == 0 || !cert_is_host(name))
        return false;
    if (n->n_rows == n->room) {
        n->room = n->room ? 2 * n->room : 16;
        n->rows = xrealloc(n->rows, n->room * sizeof *n->rows);
    }
    n->rows[n->n_rows++] = (struct cert_row){cert_small_copy(name), wild, (unsigned)(n->n_certs - 1)};
    return true;
}

/* ---- choices ---- */

/* A certificate of a kind that is there already is not needed. */
static void choice_add(const struct cert_names *n, struct cert_choice *c, unsigned cert)
{
    for (size_t i = 0; i < c->n; i++)
        if (n->kinds[c->certs[i]] == n->kinds[cert])
            return;
    if (c->n < CERT_KINDS_MAX)
        c->certs[c->n++] = cert;
}

static bool choices_equal(const struct cert_choice *a, const struct cert_choice *b)
{
    return a->n == b->n && memcmp(a->certs, b->certs, a->n * sizeof a->certs[0]) == 0;
}

/* Its number. */
static size_t keep_choice(struct cert_names *n, const struct cert_choice *c)
{
    for (size_t i = 0; i < n->n_choices; i++)
        if (choices_equal(&n->choices[i], c))
            return i;
    n->choices = xrealloc(n->choices, (n->n_choices + 1) * sizeof *n->choices);
    n->choices[n->n_choices] = *c;
    return n->n_choices++;
}

/* Those that have the name as it is given, behind what *c has. */
static void choice_of_rows(const struct cert_names *n, const char *name, bool wild, struct cert_choice *c)
{
    size_t from = 0, to = n->n_rows;

    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (cert_compare_names(n->rows[mid].name, n->rows[mid].wild, name, wild) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    for (; from < n->n_rows && cert_compare_names(n->rows[from].name, n->rows[from].wild, name, wild) == 0;
         from++)
        choice_add(n, c, n->rows[from].cert);
}

static void group_choose(struct cert_names *n, struct cert_group *g)
{
    struct cert_choice c = {.n = 0};
    const char *dot = strchr(g->name, '.');

    choice_of_rows(n, g->name, g->wild, &c);
    if (!g->wild && dot)
        choice_of_rows(n, dot + 1, true, &c);
    g->choice = keep_choice(n, &c);
}

static bool has_all_names_of(const struct cert_names *n, unsigned cert, unsigned of)
{
    for (size_t i = 0; i < n->n_rows; i++) {
        struct cert_row wanted = n->rows[i];
        if (wanted.cert != of)
            continue;
        wanted.cert = cert;
        if (!bsearch(&wanted, n->rows, n->n_rows, sizeof wanted, cert_compare_rows))
            return false;
    }
    return true;
}

static void choose_default(struct cert_names *n)
{
    struct cert_choice c = {.certs = {0}, .n = 1};
    bool named = false;

    for (size_t i = 0; i < n->n_rows && !named; i++)
        named = n->rows[i].cert == 0;
    for (unsigned i = 1; i < n->n_certs && named; i++)
        if (has_all_names_of(n, i, 0))
            choice_add(n, &c, i);
    keep_choice(n, &c);
}

void cert_names_settle(struct cert_names *n)
{
    if (n->n_rows > 0)
        qsort(n->rows, n->n_rows, sizeof *n->rows, cert_compare_rows);
    choose_default(n);
    n->groups = xcalloc(n->n_rows + 1, sizeof *n->groups);
    for (size_t i = 0; i < n->n_rows; i++) {
        struct cert_group g = {n->rows[i].name, n->rows[i].wild, 0};
        if (n->n_groups > 0 && cert_compare_groups(&n->groups[n->n_groups - 1], &g) == 0)
            continue;
        group_choose(n, &g);
        n->groups[n->n_groups++] = g;
    }
}

size_t cert_names_count(const struct cert_names *n)
{
    return n->n_choices;
}

const struct cert_choice *cert_names_choice(const struct cert_names *n, size_t i)
{
    return &n->choices[i];
}

/* ---- asking ---- */

static const struct cert_group *find_group(const struct cert_names *n, const char *name, bool wild)
{
    struct cert_group wanted = {name, wild, 0};

    return n->n_groups ? bsearch(&wanted, n->groups, n->n_groups, sizeof wanted, cert_compare_groups) : NULL;
}

size_t cert_names_find(const struct cert_names *n, struct span asked, bool *known)
{
    char name[NAME_MOST + 1];

    *known = false;
    if (asked.len > 1 && asked.p[asked.len - 1] == '.')
        asked.len--;
    if (!cert_is_host(asked))
        return 0;
    for (size_t i = 0; i < asked.len; i++)
        name[i] = cert_small(asked.p[i]);
    name[asked.len] = '\0';
    const struct cert_group *g = find_group(n, name, false);
    const char *dot = strchr(name, '.');
    if (!g && dot)
        g = find_group(n, dot + 1, true);
    *known = g != NULL;
    return g ? g->choice : 0;
}
