/* Every step is a bijection, so that what they make together leads back:
 *
 *   unshield  "=49NBOX" -> "INBOX"  (a side without prefix, names of one level; inverse: shield)
 *   decode    "=2E" -> "."          (each level, by the bytes that its side cannot have; inverse: encode)
 *   encode    "." -> "=2E"          (by the bytes that the other side cannot have)
 *   fill      "" -> "=00"           (towards the target; inverse: drain, from the target)
 *   shield    "INBOX" -> "=49NBOX"
 *
 * An escape is "=", any number of "3D", and the digits of a byte that is escaped in this step. Taking a step
 * adds one "3D" to what looks like its escapes already; going back takes one away, and without any it is an
 * escape. */
#include <strings.h>

#include "percent.h"
#include "view_name.h"

/* The bytes that are escaped in a step. */
struct escapes {
    bool is[256];
};

static bool is_fit_for_escapes(uint8_t c)
{
    return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') &&
           !(c >= 'a' && c <= 'z') && !strchr("&+,-=", c);
}

const char *view_side_fault(const struct view_side *side)
{
    size_t n = strlen(side->prefix);

    if (side->separator && !is_fit_for_escapes((uint8_t)side->separator))
        return "the hierarchy separator is a character that names are encoded with";
    for (const char *s = side->avoid ? side->avoid : ""; *s; s++)
        if (!is_fit_for_escapes((uint8_t)*s))
            return "a character to avoid is one that names are encoded with";
    if (n > 0 && (!side->separator || side->prefix[n - 1] != side->separator))
        return "the prefix does not end with the hierarchy separator";
    if (n > VIEW_NAME_MAX / 2)
        return "the prefix is too long";
    return NULL;
}

bool view_name_is_inbox(struct span name)
{
    return span_is_ci(name, "INBOX");
}

static struct span name_span_from(struct span s, size_t at)
{
    return span_of(s.p + at, s.len - at);
}

/* --- escapes --- */

static bool starts_with_3d(struct span s)
{
    return s.len >= 2 && s.p[0] == '3' && s.p[1] == 'D';
}

/* What an escape, at the beginning of s, is made of. */
struct escape {
    size_t len;  /* 0: there is none */
    bool deeper; /* it has a "3D" to take away */
    uint8_t byte;
};

static struct escape read_escape(struct span s)
{
    struct escape none = {0};
    size_t at = 1;

    if (s.len == 0 || s.p[0] != '=')
        return none;
    while (starts_with_3d(name_span_from(s, at)))
        at += 2;
    int byte = hex_byte(name_span_from(s, at), HEX_CAPITALS);
    if (byte < 0)
        return none;
    return (struct escape){at + 2, at > 1, (uint8_t)byte};
}

/* "=..." with one "3D" more, or one less. */
static void add_deeper(struct buf *out, struct span escape)
{
    buf_add_str(out, "=3D");
    buf_add_span(out, name_span_from(escape, 1));
}

static void add_shallower(struct buf *out, struct span escape)
{
    buf_add_str(out, "=");
    buf_add_span(out, name_span_from(escape, 3));
}

static void encode(struct buf *out, struct span level, const struct escapes *set)
{
    while (level.len) {
        struct escape e = read_escape(level);
        size_t n = 1;
        if (set->is[level.p[0]]) {
            buf_printf(out, "=%02X", level.p[0]);
        } else if (e.len && set->is[e.byte]) {
            n = e.len;
            add_deeper(out, span_of(level.p, n));
        } else {
            buf_add(out, level.p, 1);
        }
        level = name_span_from(level, n);
    }
}

/* False where the level holds what its side is said not to have. */
static bool name_decode(struct buf *out, struct span level, const struct escapes *set)
{
    while (level.len) {
        struct escape e = read_escape(level);
        size_t n = 1;
        if (set->is[level.p[0]])
            return false;
        if (e.len && set->is[e.byte]) {
            n = e.len;
            if (e.deeper)
                add_shallower(out, span_of(level.p, n));
            else
                buf_add(out, &e.byte, 1);
        } else {
            buf_add(out, level.p, 1);
        }
        level = name_span_from(level, n);
    }
    return true;
}

/* --- whole levels: no bytes, and INBOX --- */

/* The level is "=", any "3D", "00". */
static bool is_filled(struct span level, struct escape *e)
{
    *e = read_escape(level);
    return e->len && e->len == level.len && e->byte == 0;
}

static void name_fill(struct buf *out, struct span level)
{
    struct escape e;

    if (level.len == 0)
        buf_add_str(out, "=00");
    else if (is_filled(level, &e))
        add_deeper(out, level);
    else
        buf_add_span(out, level);
}

/* The target has no empty levels: they could not be told from filled ones. */
static bool name_drain(struct buf *out, struct span level)
{
    struct escape e;

    if (level.len == 0)
        return false;
    if (!is_filled(level, &e))
        buf_add_span(out, level);
    else if (e.deeper)
        add_shallower(out, level);
    return true;
}

/* The level is "=", any "3D", the digits of "I" or "i", and "nbox" in any case. */
static bool is_shielded(struct span level, struct escape *e)
{
    *e = read_escape(level);
    return e->len && (e->byte == 'I' || e->byte == 'i') && span_is_ci(name_span_from(level, e->len), "NBOX");
}

static void shield(struct buf *out, struct span level)
{
    struct escape e;

    if (view_name_is_inbox(level)) {
        buf_printf(out, "=%02X", level.p[0]);
        buf_add_span(out, name_span_from(level, 1));
    } else if (is_shielded(level, &e)) {
        add_deeper(out, level);
    } else {
        buf_add_span(out, level);
    }
}

static void unshield(struct buf *out, struct span level)
{
    struct escape e;

    if (!is_shielded(level, &e)) {
        buf_add_span(out, level);
    } else if (e.deeper) {
        add_shallower(out, level);
    } else {
        buf_add(out, &e.byte, 1);
        buf_add_span(out, name_span_from(level, e.len));
    }
}

/* --- names --- */

/* One translation. The two bufs take turns as the result of a step and the input of the next. */
struct translation {
    const struct view_side *from, *to;
    struct escapes from_set, to_set;
    bool to_target;
    bool single; /* the name has one level */
    struct buf step, level;
};

static void take_escapes(struct escapes *set, const struct view_side *side)
{
    for (const char *s = side->avoid ? side->avoid : ""; *s; s++)
        set->is[(uint8_t)*s] = true;
    if (side->separator)
        set->is[(uint8_t)side->separator] = true;
}

/* Makes the input of the next step of what the last one wrote. */
static struct span name_turn(struct translation *t)
{
    struct buf was = t->level;

    t->level = t->step;
    t->step = was;
    buf_clear(&t->step);
    return buf_span(&t->level);
}

static bool translate_level(struct translation *t, struct span level, struct buf *out)
{
    buf_clear(&t->step);
    if (t->single && !*t->from->prefix)
        unshield(&t->step, level);
    else
        buf_add_span(&t->step, level);
    level = name_turn(t);
    if (!t->to_target) {
        if (!name_drain(&t->step, level))
            return false;
        level = name_turn(t);
    }
    if (!name_decode(&t->step, level, &t->from_set))
        return false;
    level = name_turn(t);
    encode(&t->step, level, &t->to_set);
    level = name_turn(t);
    if (t->to_target) {
        name_fill(&t->step, level);
        level = name_turn(t);
    }
    if (t->single && !*t->to->prefix)
        shield(out, level);
    else
        buf_add_span(out, level);
    return true;
}

static bool translate_levels(struct translation *t, struct span path, struct buf *out)
{
    for (;;) {
        const uint8_t *end =
            path.len && t->from->separator ? memchr(path.p, t->from->separator, path.len) : NULL;
        size_t n = end ? (size_t)(end - path.p) : path.len;
        if (!translate_level(t, span_of(path.p, n), out))
            return false;
        if (!end)
            return true;
        if (!t->to->separator)
            return false;
        buf_add(out, &t->to->separator, 1);
        path = name_span_from(path, n + 1);
    }
}

/* Takes the prefix away; "INBOX" at its beginning is written in any case. */
static bool strip_prefix(const struct view_side *side, struct span *name)
{
    size_t n = strlen(side->prefix), any_case = 0;

    if (n > 5 && !strncasecmp(side->prefix, "INBOX", 5) && side->prefix[5] == side->separator)
        any_case = 5;
    if (name->len <= n || strncasecmp((const char *)name->p, side->prefix, any_case) ||
        memcmp(name->p + any_case, side->prefix + any_case, n - any_case))
        return false;
    *name = name_span_from(*name, n);
    return true;
}

static bool name_is_possible(struct span name)
{
    return name.len > 0 && name.len <= VIEW_NAME_MAX && !memchr(name.p, '\0', name.len) &&
           !memchr(name.p, '\r', name.len) && !memchr(name.p, '\n', name.len);
}

static bool translate(struct translation *t, struct span name, struct buf *out)
{
    struct buf result = {0};

    if (!name_is_possible(name))
        return false;
    if (view_name_is_inbox(name)) {
        buf_add_str(out, "INBOX");
        return true;
    }
    if (!strip_prefix(t->from, &name))
        return false;
    take_escapes(&t->from_set, t->from);
    take_escapes(&t->to_set, t->to);
    t->single = !t->from->separator || !memchr(name.p, t->from->separator, name.len);
    buf_add_str(&result, t->to->prefix);
    /* One that gets too long could not be taken back. */
    bool ok = translate_levels(t, name, &result) && result.len > strlen(t->to->prefix) &&
              result.len <= VIEW_NAME_MAX;
    if (ok)
        buf_add_span(out, buf_span(&result));
    buf_free(&result);
    buf_free(&t->step);
    buf_free(&t->level);
    return ok;
}

static void rename_name(const struct view_names *v, struct span name, bool back, struct buf *out)
{
    struct view_place place = {.name = name, .separator = v->source.separator, .prefix = v->source.prefix};

    view_rename(v->renames, &place, back, out);
}

bool view_name_to_target(const struct view_names *v, struct span name, struct buf *out)
{
    struct translation t = {.from = &v->source, .to = &v->target, .to_target = true};
    struct buf renamed = {0};

    if (!name_is_possible(name))
        return false;
    rename_name(v, name, false, &renamed);
    bool ok = translate(&t, buf_span(&renamed), out);
    buf_free(&renamed);
    return ok;
}

bool view_name_to_source(const struct view_names *v, struct span name, struct buf *out)
{
    struct translation t = {.from = &v->target, .to = &v->source};
    struct buf plain = {0};
    bool ok = translate(&t, name, &plain);

    if (ok)
        rename_name(v, buf_span(&plain), true, out);
    buf_free(&plain);
    return ok;
}
