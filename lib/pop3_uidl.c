#include <inttypes.h>
#include <stdio.h>

#include "pop3_uidl.h"

enum { UIDL_MAX = 70 /* RFC 1939 section 7 */ };

static const char *const uidl_formats[POP3_UIDL_FORMATS] = {"%08xu%08xv", "%08xv%08xu", "%v.%u",
                                                            "%v-%u",      "UID%u-%v",   "%u"};

static void uidl_write(size_t format, uint32_t uidvalidity, uint32_t uid, char out[UIDL_MAX + 1])
{
    size_t n = UIDL_MAX + 1;
    switch (format) {
    case 0:
        snprintf(out, n, "%08" PRIx32 "%08" PRIx32, uid, uidvalidity);
        break;
    case 1:
        snprintf(out, n, "%08" PRIx32 "%08" PRIx32, uidvalidity, uid);
        break;
    case 2:
        snprintf(out, n, "%" PRIu32 ".%" PRIu32, uidvalidity, uid);
        break;
    case 3:
        snprintf(out, n, "%" PRIu32 "-%" PRIu32, uidvalidity, uid);
        break;
    case 4:
        snprintf(out, n, "UID%" PRIu32 "-%" PRIu32, uid, uidvalidity);
        break;
    default:
        snprintf(out, n, "%" PRIu32, uid);
    }
}

static uint32_t uidl_hex(const char *from)
{
    uint32_t value = 0;
    for (size_t i = 0; i < 8; i++) {
        char c = from[i];
        value = value << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    return value;
}

/* The decimal number that begins there; where there is none, what is written from it differs. */
static uint32_t uidl_decimal(const char *from)
{
    uint32_t value = 0;
    for (; *from >= '0' && *from <= '9'; from++)
        value = 10 * value + (uint32_t)(*from - '0');
    return value;
}

/* The UID that would stand in it: right only if it is written alike. */
static uint32_t uidl_uid(size_t format, const char *text)
{
    const char *mark = strpbrk(text, format == 2 ? "." : "-");
    size_t n = strlen(text);
    switch (format) {
    case 0:
        return n == 16 ? uidl_hex(text) : 0;
    case 1:
        return n == 16 ? uidl_hex(text + 8) : 0;
    case 2:
    case 3:
        return mark ? uidl_decimal(mark + 1) : 0;
    case 4:
        return n > 3 ? uidl_decimal(text + 3) : 0;
    default:
        return uidl_decimal(text);
    }
}

/* The UIDVALIDITY that would stand in it. */
static uint32_t uidl_validity(size_t format, const char *text)
{
    const char *mark = strchr(text, '-');
    size_t n = strlen(text);
    switch (format) {
    case 0:
        return n == 16 ? uidl_hex(text + 8) : 0;
    case 1:
        return n == 16 ? uidl_hex(text) : 0;
    case 4:
        return mark ? uidl_decimal(mark + 1) : 0;
    default:
        return uidl_decimal(text);
    }
}

static uint32_t uidl_guess(struct pop3_uidls *u, size_t format, const char *text)
{
    if (u->uidvalidity[format] == 0)
        u->uidvalidity[format] = uidl_validity(format, text);
    return u->uidvalidity[format];
}

/* UIDs rise. */
static bool uidl_fits(struct pop3_uidls *u, size_t format, const struct pop3_numbers *m, const char *text)
{
    char again[UIDL_MAX + 1];
    uint32_t uid = uidl_uid(format, text), v = m->uidvalidity ? m->uidvalidity : uidl_guess(u, format, text);
    bool has_v = strchr(uidl_formats[format], 'v') != NULL;
    uidl_write(format, v, uid, again);
    if (has_v && m->uidvalidity == 0 && v <= uid)
        return false;
    bool fits = strcmp(again, text) == 0 && uid > u->last[format] && (m->uidnext == 0 || uid < m->uidnext);
    u->last[format] = uid;
    return fits;
}

void pop3_uidl_take(struct pop3_uidls *u, const struct pop3_numbers *m, struct span uidl)
{
    char text[UIDL_MAX + 1] = "";
    u->n++;
    if (uidl.len > 0 && uidl.len <= UIDL_MAX && !memchr(uidl.p, '\0', uidl.len))
        memcpy(text, uidl.p, uidl.len);
    for (size_t i = 0; i < POP3_UIDL_FORMATS; i++)
        if (!uidl_fits(u, i, m, text))
            u->fits &= ~(1u << i);
}

const char *pop3_uidl_format(const struct pop3_uidls *u)
{
    for (size_t i = 0; i < POP3_UIDL_FORMATS && u->n > 0; i++)
        if (u->fits & 1u << i)
            return uidl_formats[i];
    return NULL;
}
