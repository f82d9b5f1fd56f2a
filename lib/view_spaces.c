#include <stdlib.h>
#include <strings.h>

#include "view_spaces.h"
#include "view_word.h"
#include "xalloc.h"

static const char side_letters[VIEW_SIDES + 1] = "cb";

void view_spaces_free(struct view_spaces *s)
{
    for (int side = 0; side < VIEW_SIDES; side++) {
        free(s->users[side]);
        free(s->shared[side]);
    }
    free(s->domain);
    for (size_t i = 0; i < s->n_owners; i++)
        free(s->owners[i]);
    free(s->owners);
    *s = (struct view_spaces){.inbox_by_user = VIEW_SIDES};
}

struct view_spaces view_spaces_copy(const struct view_spaces *s)
{
    struct view_spaces copy = *s;

    for (int side = 0; side < VIEW_SIDES; side++) {
        copy.users[side] = xstrdup(s->users[side]);
        copy.shared[side] = xstrdup(s->shared[side]);
    }
    copy.domain = xstrdup(s->domain);
    copy.owners = xcalloc(s->n_owners + 1, sizeof *copy.owners);
    for (size_t i = 0; i < s->n_owners; i++)
        copy.owners[i] = xstrdup(s->owners[i]);
    return copy;
}

bool view_spaces_add_owner(struct view_spaces *s, struct span owner)
{
    bool fits = owner.len > 0 && s->n_owners < VIEW_OWNERS_MAX && !memchr(owner.p, '\0', owner.len);

    for (size_t i = 0; fits && i < s->n_owners; i++)
        fits = !span_is(owner, s->owners[i]);
    if (!fits)
        return false;
    s->owners = xreallocarray(s->owners, s->n_owners + 1, sizeof *s->owners);
    s->owners[s->n_owners++] = xspandup(owner);
    return true;
}

bool view_spaces_are_there(const struct view_spaces *s)
{
    return s->users[VIEW_CLIENT] || s->shared[VIEW_CLIENT];
}

static bool spaces_same(char *const prefixes[VIEW_SIDES])
{
    return !prefixes[VIEW_CLIENT] || !strcmp(prefixes[VIEW_CLIENT], prefixes[VIEW_BACKEND]);
}

bool view_spaces_alike(const struct view_spaces *s)
{
    bool users = !s->users[VIEW_CLIENT] || (!s->domain && s->inbox_by_user == VIEW_SIDES);

    return users && spaces_same(s->users) && spaces_same(s->shared);
}

/* ---- as text ---- */

void view_spaces_encode(struct buf *out, const struct view_spaces *s)
{
    if (s->users[VIEW_CLIENT]) {
        view_word_write(out, " users=", span_str(s->users[VIEW_CLIENT]));
        view_word_write(out, ",", span_str(s->users[VIEW_BACKEND]));
        buf_add_str(out, ",");
        if (s->domain) {
            buf_add(out, &side_letters[s->without_domain], 1);
            view_word_write(out, "", span_str(s->domain));
        }
        buf_add_str(out, ",");
        buf_add(out, &side_letters[s->inbox_by_user], s->inbox_by_user < VIEW_SIDES);
        for (size_t i = 0; i < s->n_owners; i++)
            view_word_write(out, ",", span_str(s->owners[i]));
    }
    if (s->shared[VIEW_CLIENT]) {
        view_word_write(out, " shared=", span_str(s->shared[VIEW_CLIENT]));
        view_word_write(out, ",", span_str(s->shared[VIEW_BACKEND]));
    }
}

static bool spaces_take_prefixes(struct span *in, const char *before, char *prefixes[VIEW_SIDES])
{
    prefixes[VIEW_CLIENT] = view_word_take(in, before);
    prefixes[VIEW_BACKEND] = prefixes[VIEW_CLIENT] ? view_word_take(in, ",") : NULL;
    return prefixes[VIEW_BACKEND] && *prefixes[VIEW_CLIENT] && *prefixes[VIEW_BACKEND];
}

/* VIEW_SIDES: it is none. */
static int spaces_take_side(struct span *in)
{
    int side = 0;

    while (side < VIEW_SIDES && !(in->len && in->p[0] == (uint8_t)side_letters[side]))
        side++;
    if (side < VIEW_SIDES)
        *in = span_of(in->p + 1, in->len - 1);
    return side;
}

static bool spaces_take_users(struct span *in, struct view_spaces *s)
{
    if (!spaces_take_prefixes(in, " users=", s->users) || !view_word_begins(in, ","))
        return false;
    int side = spaces_take_side(in);
    if (side < VIEW_SIDES) {
        s->without_domain = side;
        s->domain = view_word_take(in, "");
    }
    if ((side < VIEW_SIDES && !(s->domain && *s->domain)) || !view_word_begins(in, ","))
        return false;
    s->inbox_by_user = spaces_take_side(in);
    for (bool ok = true; ok && in->len && in->p[0] == ',';) {
        char *owner = view_word_take(in, ",");
        ok = owner && view_spaces_add_owner(s, span_str(owner));
        free(owner);
        if (!ok)
            return false;
    }
    return true;
}

bool view_spaces_decode(struct span text, struct view_spaces *_r)
{
    static const char USERS[] = " users=";
    struct view_spaces s = {.inbox_by_user = VIEW_SIDES};
    bool has_users = text.len >= sizeof USERS - 1 && memcmp(text.p, USERS, sizeof USERS - 1) == 0;
    bool ok = !has_users || spaces_take_users(&text, &s);

    ok = ok && (text.len == 0 || spaces_take_prefixes(&text, " shared=", s.shared)) && text.len == 0;
    if (ok)
        *_r = s;
    else
        view_spaces_free(&s);
    return ok;
}

/* ---- names ---- */

/* The name of the namespace by itself has no separator at its end. */
static bool spaces_is_root(const char *prefix, char separator, struct span name)
{
    size_t n = strlen(prefix);

    return separator && n > 1 && prefix[n - 1] == separator && name.len == n - 1 &&
           memcmp(name.p, prefix, n - 1) == 0;
}

static bool spaces_strip(const char *prefix, struct span *name)
{
    size_t n = strlen(prefix);
    bool does = name->len > n && memcmp(name->p, prefix, n) == 0;

    if (does)
        *name = span_of(name->p + n, name->len - n);
    return does;
}

/* The user, as the other side spells it. False: it can't. */
static bool spaces_user(const struct view_spaces *s, const struct view_side sides[VIEW_SIDES], int from,
                        struct span level, struct buf *out)
{
    const struct view_side *to = &sides[!from];
    bool differ = s->domain != NULL, drops = differ && s->without_domain != from;
    const uint8_t *at = memchr(level.p, '@', level.len);
    size_t local = at ? (size_t)(at - level.p) : level.len, len = level.len;

    if (drops && at && span_is_ci(span_of(at + 1, level.len - local - 1), s->domain))
        len = local;
    for (size_t i = 0; i < len; i++) {
        char c = (char)level.p[i];
        if (sides[from].separator == '.' && c == '^')
            c = '.';
        if (to->separator == '.' && c == '.')
            c = '^';
        if (c == to->separator)
            return false;
        buf_add(out, &c, 1);
    }
    if (differ && !drops && !at) {
        buf_add_str(out, "@");
        for (const char *c = s->domain; *c; c++)
            buf_add(out, to->separator == '.' && *c == '.' ? "^" : c, 1);
    }
    return out->len > 0;
}

bool view_spaces_before(const struct view_spaces *s, const struct view_side sides[VIEW_SIDES], int side,
                        const char *owner, struct buf *out)
{
    struct buf user = {0};
    bool ok = s->users[side] && sides[side].separator;

    if (side == VIEW_CLIENT)
        buf_add_str(&user, owner);
    else
        ok = ok && spaces_user(s, sides, VIEW_CLIENT, span_str(owner), &user);
    if (ok) {
        buf_add_str(out, s->users[side]);
        buf_add_span(out, buf_span(&user));
        buf_add(out, &sides[side].separator, 1);
    }
    buf_free(&user);
    return ok;
}

/* What is behind the user, or a shared prefix. */
static bool spaces_path(const struct view_side sides[VIEW_SIDES], int from, struct buf *before,
                        struct span name, struct buf *out)
{
    struct view_names names = {.source = sides[VIEW_CLIENT], .target = sides[VIEW_BACKEND]};

    names.source.prefix = buf_str(&before[VIEW_CLIENT]);
    names.target.prefix = buf_str(&before[VIEW_BACKEND]);
    return from == VIEW_CLIENT ? view_name_to_target(&names, name, out)
                               : view_name_to_source(&names, name, out);
}

/* behind: the user's level, and all below. */
static bool spaces_users_name(const struct view_spaces *s, const struct view_side sides[VIEW_SIDES], int from,
                              struct span behind, struct span name, struct buf *out)
{
    const uint8_t *end = memchr(behind.p, sides[from].separator, behind.len);
    struct span user = span_of(behind.p, end ? (size_t)(end - behind.p) : behind.len);
    struct span path = end ? span_of(end + 1, behind.len - user.len - 1) : span_of(NULL, 0);
    struct buf before[VIEW_SIDES] = {{0}}, other = {0};
    bool ok = user.len > 0 && spaces_user(s, sides, from, user, &other) && !(end && path.len == 0);

    buf_add_str(&before[from], s->users[from]);
    buf_add_span(&before[from], user);
    buf_add_str(&before[!from], s->users[!from]);
    buf_add_span(&before[!from], buf_span(&other));
    if (ok && (!end || (s->inbox_by_user == !from && view_name_is_inbox(path)))) {
        buf_add_span(out, buf_span(&before[!from]));
        if (!end && s->inbox_by_user == from)
            buf_printf(out, "%cINBOX", sides[!from].separator);
    } else if (ok) {
        for (int side = 0; side < VIEW_SIDES; side++)
            buf_add(&before[side], &sides[side].separator, 1);
        /* Which INBOX is meant below a user who is the INBOX nobody knows. */
        ok = !(s->inbox_by_user == from && view_name_is_inbox(path)) &&
             spaces_path(sides, from, before, name, out);
    }
    for (int side = 0; side < VIEW_SIDES; side++)
        buf_free(&before[side]);
    buf_free(&other);
    return ok;
}

static bool spaces_shared_name(const struct view_spaces *s, const struct view_side sides[VIEW_SIDES],
                               int from, struct span name, struct buf *out)
{
    struct buf before[VIEW_SIDES] = {{0}};

    for (int side = 0; side < VIEW_SIDES; side++)
        buf_add_str(&before[side], s->shared[side]);
    bool ok = spaces_path(sides, from, before, name, out);
    for (int side = 0; side < VIEW_SIDES; side++)
        buf_free(&before[side]);
    return ok;
}

static bool spaces_root(char *const prefixes[VIEW_SIDES], const struct view_side sides[VIEW_SIDES], int from,
                        struct span name, struct buf *out)
{
    const char *other = prefixes[!from];

    if (!spaces_is_root(prefixes[from], sides[from].separator, name))
        return false;
    buf_add(out, other, strlen(other) - (other[strlen(other) - 1] == sides[!from].separator));
    return true;
}

enum view_space_name view_spaces_name(const struct view_spaces *s, const struct view_side sides[VIEW_SIDES],
                                      int from, struct span name, struct buf *out)
{
    char *const *const all[] = {s->users, s->shared};

    for (size_t i = 0; i < COUNTOF(all); i++) {
        struct span behind = name;
        if (!all[i][from] || !sides[from].separator || !sides[!from].separator)
            continue;
        if (spaces_root(all[i], sides, from, name, out))
            return VIEW_SPACE_NAMED;
        if (!spaces_strip(all[i][from], &behind))
            continue;
        bool ok = all[i] == s->users ? spaces_users_name(s, sides, from, behind, name, out)
                                     : spaces_shared_name(s, sides, from, name, out);
        return ok ? VIEW_SPACE_NAMED : VIEW_SPACE_NONE;
    }
    return VIEW_SPACE_OWN;
}
