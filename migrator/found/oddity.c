#include <stdlib.h>

#include "lib/xalloc.h"

#include "oddity.h"

static bool oddity_has(const struct oddities *o, const char *mailbox, const char *text)
{
    for (size_t i = 0; i < o->n; i++)
        if (!strcmp(o->items[i].mailbox, mailbox) && !strcmp(o->items[i].text, text))
            return true;
    return false;
}

bool oddities_add(struct oddities *o, const char *mailbox, const char *text)
{
    if (!mailbox)
        mailbox = "";
    if (oddity_has(o, mailbox, text))
        return false;
    if (o->n == ODDITIES_MAX) {
        o->more++;
        return false;
    }
    o->items = xreallocarray(o->items, o->n + 1, sizeof(*o->items));
    o->items[o->n++] = (struct oddity){xstrdup(mailbox), xstrdup(text)};
    return true;
}

void oddities_free(struct oddities *o)
{
    for (size_t i = 0; i < o->n; i++) {
        free(o->items[i].mailbox);
        free(o->items[i].text);
    }
    free(o->items);
    *o = (struct oddities){0};
}

void oddities_name(const struct oddities *o, struct findings *f, enum finding_kind kind)
{
    for (size_t i = 0; i < o->n; i++)
        findings_add(f, kind, o->items[i].mailbox, 0, "%s", o->items[i].text);
    findings_count(f, kind, o->more);
}
