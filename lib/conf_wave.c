/* The sections wave: their patterns and times, and the files that list accounts. */
#include <errno.h>
#include <stdio.h>

#include "conf_priv.h"
#include "waves.h"
#include "xalloc.h"

enum {
    WAVE_FILE_MAX = 64 << 20,
    WAVE_FAULTS_SHOWN = 3 /* of one file */
};

/* Of the lines of a file; the first ones are named. */
struct wave_faults {
    struct buf text;
    size_t n;
};

static void conf_wave_line(void *owner, size_t line, const char *text)
{
    struct wave_faults *f = owner;

    if (++f->n <= WAVE_FAULTS_SHOWN)
        buf_printf(&f->text, "%sline %zu %s", f->text.len ? "; " : "", line, text);
}

/* False: errno says why. */
static bool conf_wave_read(const char *file, struct buf *text)
{
    FILE *f = fopen(file, "rbe");
    char block[65536];
    size_t n;

    while (f && (n = fread(block, 1, sizeof(block), f)) > 0 && text->len <= WAVE_FILE_MAX)
        buf_add(text, block, n);
    bool good = f && !ferror(f);
    int error = errno;
    if (f)
        fclose(f);
    errno = error;
    return good;
}

static bool conf_wave_file(struct conf *c, struct conf_wave *w, const struct conf_source *src,
                           struct conf_place at, const char *file)
{
    struct wave_faults faults = {0};
    struct buf text = {0};
    bool ok = false;

    if (!conf_wave_read(file, &text))
        conf_fail(src, at, "\"%s\" cannot be read: %s", file, strerror(errno));
    else if (text.len > WAVE_FILE_MAX)
        conf_fail(src, at, "\"%s\" is larger than 64 MiB", file);
    else
        ok = (w->listed = account_names_read(c, buf_span(&text), conf_wave_line, &faults)) != NULL;
    if (faults.n > WAVE_FAULTS_SHOWN)
        buf_printf(&faults.text, "; and %zu more", faults.n - WAVE_FAULTS_SHOWN);
    if (faults.n > 0)
        conf_fail(src, at, "\"%s\": %s", file, buf_str(&faults.text));
    buf_free(&faults.text);
    buf_free(&text);
    return ok;
}

static bool conf_wave_accounts(struct conf *c, struct conf_wave *w, const struct conf_source *src)
{
    struct conf_place at = {"wave", w->name, "accounts", 0};
    bool ok = true;

    if (w->accounts.n == 0)
        return conf_fail(src, at, "names nobody; {\"*\"} are all that no wave before it names");
    for (at.nth = 0; at.nth < w->accounts.n; at.nth++) {
        char *item = w->accounts.items[at.nth];
        if (item[0] != '/')
            ok = conf_check_pattern(src, at, item) && ok;
        else if (w->listed)
            ok = conf_fail(src, at, "is the second file of this wave; it may have one, besides patterns");
        else
            ok = conf_wave_file(c, w, src, at, item) && ok;
    }
    return ok;
}

bool conf_check_waves(struct conf *c, const struct conf_source *src)
{
    bool ok = true;

    for (size_t i = 0; i < c->n_waves; i++) {
        struct conf_wave *w = &c->waves[i];
        struct conf_place at = {"wave", w->name, NULL, 0};
        if (!conf_check_is_name(w->name))
            ok = conf_fail(src, at, "its name is not 1 to 64 letters, digits and \"._-\"");
        at.option = "after";
        if (!wave_time(w->after, &w->after_ms))
            ok = conf_fail(src, at, "\"%s\" is no time; expected such as \"2026-12-01 20:00\"", w->after);
        ok = conf_wave_accounts(c, w, src) && ok;
    }
    return ok;
}
