#include <stdlib.h>
#include <strings.h>

#include "lib/account.h"
#include "lib/migration_rules.h"
#include "lib/xalloc.h"

#include "shares.h"

const char *share_word(enum share_kind k)
{
    static const char *const words[] = {[SHARE_ACCOUNT] = "account",
                                        [SHARE_EVERYBODY] = "everybody",
                                        [SHARE_GROUP] = "group",
                                        [SHARE_NOBODY] = "nobody"};

    return words[k];
}

static void share_release(struct share *s)
{
    free(s->who);
    free(s->other);
    free(s->such_as);
}

void shares_free(struct shares *s)
{
    for (size_t i = 0; i < s->n; i++)
        share_release(&s->items[i]);
    free(s->items);
    s->items = NULL;
    s->n = 0;
}

/* ---- who is meant */

/* Dovecot has "$sales" (and "!$sales"), Cyrus "group:sales", Courier "group=sales". */
static enum share_kind shares_kind_of(const char *who)
{
    static const char *const everybody[] = {"anyone", "anonymous", "authenticated"}, *const groups[] = {
                                                                                         "$", "!",
                                                                                         "group:", "group=",
                                                                                         "group-override="};

    for (size_t i = 0; i < COUNTOF(everybody); i++)
        if (!strcasecmp(who, everybody[i]))
            return SHARE_EVERYBODY;
    for (size_t i = 0; i < COUNTOF(groups); i++)
        if (!strncasecmp(who, groups[i], strlen(groups[i])))
            return SHARE_GROUP;
    return SHARE_ACCOUNT;
}

/* NULL: it can be no account. To free. */
static char *shares_key(const struct shares *s, const char *who)
{
    const char *domain = strchr(s->login, '@'), *why;
    char *full = xasprintf("%s%s", who, domain && !strchr(who, '@') ? domain : ""),
         *key = account_key(s->conf, span_str(full), &why);

    free(full);
    return key;
}

static char *shares_mapped_key(const struct shares *s, const char *who)
{
    const struct migration_rules *rules = s->conf->migration.rules;
    struct buf mapped = {0};
    char *key = NULL;

    if (rules && view_rename(rules->identities, &(struct view_place){.name = span_str(who), .prefix = ""},
                             false, &mapped) > 0)
        key = shares_key(s, buf_str(&mapped));
    buf_free(&mapped);
    return key;
}

/* Fills in who and other. False: it is the account itself, under another name. */
static bool shares_identify(const struct shares *s, const char *who, struct share *_share)
{
    if (!strncasecmp(who, "user=", 5)) /* Courier's way to say a user */
        who += 5;
    _share->kind = shares_kind_of(who);
    char *key = _share->kind == SHARE_ACCOUNT ? shares_key(s, who) : NULL,
         *mapped = key ? shares_mapped_key(s, who) : NULL, *own = key ? shares_key(s, s->login) : NULL;
    bool is_self = own && (!strcmp(own, key) || (mapped && !strcmp(own, mapped)));

    if (_share->kind == SHARE_ACCOUNT && !key)
        _share->kind = SHARE_GROUP;
    bool both = mapped && strcmp(mapped, key) != 0;
    _share->who = mapped ? xstrdup(mapped) : key ? xstrdup(key) : xstrdup(who);
    _share->other = both ? xstrdup(key) : NULL;
    free(key);
    free(mapped);
    free(own);
    return !is_self;
}

/* ---- adding */

static struct share *shares_find(struct shares *s, const struct share *like)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].kind == like->kind && s->items[i].gives == like->gives &&
            !strcmp(s->items[i].who, like->who))
            return &s->items[i];
    return NULL;
}

/* Takes what share owns. */
static void shares_add(struct shares *s, struct share *share, const char *letters)
{
    struct share *at = shares_find(s, share);

    if (at) {
        share_release(share);
    } else {
        s->items = xreallocarray(s->items, s->n + 1, sizeof(*s->items));
        at = &s->items[s->n++];
        *at = *share;
    }
    at->mailboxes++;
    rights_join(at->letters, letters);
}

void shares_add_rights(struct shares *s, const char *mailbox, const struct rights *r,
                       const struct rights_self *self)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct rights_entry *e = &r->entries[i];
        struct share share = {.gives = true};
        if (e->who[0] == '-' || !rights_is_grant(e, self))
            continue;
        bool other = shares_identify(s, e->who, &share);
        share.such_as = xstrdup(mailbox);
        if (other)
            shares_add(s, &share, e->letters);
        else
            share_release(&share);
    }
}

void shares_add_elsewhere(struct shares *s, const struct mailbox_elsewhere *m)
{
    struct share share = {.kind = SHARE_NOBODY};
    bool other = true;

    if (m->owner)
        other = shares_identify(s, m->owner, &share);
    else
        share.who = xstrdup(m->space);
    share.such_as = xstrdup(m->name);
    if (other)
        shares_add(s, &share, "");
    else
        share_release(&share);
}

/* ---- groups */

bool shares_is_in(const struct shares_group *g, const struct conf *conf, const char *login, const char *who)
{
    const struct shares s = {.conf = conf, .login = login};
    struct share share = {0};
    bool found = false;

    if (g->n == 0)
        return false;
    shares_identify(&s, who, &share);
    for (size_t i = 0; i < g->n && share.kind == SHARE_ACCOUNT; i++)
        found =
            found || !strcmp(g->users[i], share.who) || (share.other && !strcmp(g->users[i], share.other));
    share_release(&share);
    return found;
}
