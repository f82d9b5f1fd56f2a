#include <stdlib.h>
#include <strings.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "recipient.h"

/* ---- the address ---- */

static uint8_t recipient_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

static struct span recipient_from(struct span s, size_t at)
{
    return span_of(s.p + at, s.len - at);
}

/* A quoted local part (RFC 5321 4.1.2) and the "@" behind it, taken from the front of *s. False: it is none. */
static bool recipient_take_quoted(struct span *s, struct buf *local)
{
    size_t i = 1;
    if (s->len < 2 || s->p[0] != '"')
        return false;
    while (i < s->len && s->p[i] != '"') {
        i += s->p[i] == '\\' && i + 1 < s->len;
        buf_add(local, &s->p[i++], 1);
    }
    if (i + 1 < s->len && s->p[i + 1] == '@') {
        *s = recipient_from(*s, i + 2);
        return true;
    }
    buf_clear(local);
    return false;
}

/* What names a mailbox of a domain: its bytes without quotes, and the domain in small letters, without a dot behind it. */
static void recipient_split(const struct conf *c, struct span s, struct buf *local, struct buf *domain)
{
    struct span rest = s;
    if (!recipient_take_quoted(&rest, local)) {
        const uint8_t *at = s.len ? memrchr(s.p, '@', s.len) : NULL;
        size_t n = at ? (size_t)(at - s.p) : s.len;
        buf_add(local, s.p, n);
        rest = at ? recipient_from(s, n + 1) : span_str(c->migration.default_domain);
    }
    if (rest.len > 1 && rest.p[rest.len - 1] == '.')
        rest.len--;
    for (size_t i = 0; i < rest.len; i++) {
        uint8_t small = recipient_lower(rest.p[i]);
        buf_add(domain, &small, 1);
    }
}

static bool recipient_has_domain(const struct conf *c, struct buf *domain)
{
    const struct conf_list *ours = &c->delivery.domains;
    struct span s = buf_span(domain);

    if (s.len == 0 || memchr(s.p, '\0', s.len))
        return false;
    if (ours->n == 0)
        return strcasecmp(buf_str(domain), c->migration.default_domain) == 0;
    for (size_t i = 0; i < ours->n; i++)
        if (conf_fits(ours->items[i], buf_str(domain)))
            return true;
    return false;
}

/* Where the extension begins; the length of the local part where it has none. */
static size_t recipient_extension(const struct conf *c, struct span local)
{
    const char *bytes = c->delivery.recipient_delimiter;

    for (size_t i = 1; i < local.len; i++)
        if (local.p[i] && strchr(bytes, local.p[i]))
            return i;
    return local.len;
}

/* The login name that a local part stands for. */
static void recipient_name(const struct conf *c, struct span local, struct buf *domain, struct buf *name)
{
    buf_clear(name);
    buf_add(name, local.p, local.len);
    if (c->delivery.account == DELIVERY_ADDRESS) {
        buf_add_str(name, "@");
        buf_add(name, buf_span(domain).p, domain->len);
    }
}

/* The keys of the address as it stands, and without its extension. */
static size_t recipient_both_keys(const struct conf *c, struct span local, struct buf *domain,
                                  char *keys[RECIPIENT_KEYS], const char **why)
{
    struct buf name = {0};
    size_t ends = recipient_extension(c, local), n = 0;

    recipient_name(c, local, domain, &name);
    bool alias = account_is_alias(c, buf_span(&name));
    if ((keys[0] = account_key(c, buf_span(&name), why)))
        n++;
    if (ends < local.len && !alias) {
        recipient_name(c, span_of(local.p, ends), domain, &name);
        if ((keys[n] = account_key(c, buf_span(&name), why)))
            n++;
    }
    buf_free(&name);
    return n;
}

size_t recipient_keys(const struct conf *c, struct span address, char *keys[RECIPIENT_KEYS], const char **why)
{
    struct buf local = {0}, domain = {0};
    size_t n = 0;

    if (address.len == 0 || address.len > RECIPIENT_MAX) {
        *why = address.len ? "the address is too long" : "the address is empty";
        return 0;
    }
    recipient_split(c, address, &local, &domain);
    if (local.len == 0)
        *why = "the address names nobody";
    else if (!recipient_has_domain(c, &domain))
        *why = "mail for its domain is not delivered here";
    else
        n = recipient_both_keys(c, buf_span(&local), &domain, keys, why);
    buf_free(&local);
    buf_free(&domain);
    return n;
}

/* ---- the question ---- */

struct recipient {
    const struct stores *stores; /* borrowed */
    struct store *store;         /* the one that has the account by which it is looked for; NULL: none yet */
    recipient_fn fn;
    void *owner;                /* borrowed */
    char *keys[RECIPIENT_KEYS]; /* owned */
    size_t n, at;               /* how many; the one that is asked for */
    struct timer *deadline;     /* owned */
    struct loop_task soon;      /* gives an answer that was there at once */
    const char *why;            /* that one's */
};

static void recipient_free(struct recipient *r)
{
    for (size_t i = 0; i < r->stores->n; i++)
        store_forget(r->stores->all[i], r);
    loop_undefer(store_loop(r->stores->all[0]), &r->soon);
    timer_free(&r->deadline);
    for (size_t i = 0; i < r->n; i++)
        free(r->keys[i]);
    free(r);
}

static void recipient_end(struct recipient *r, enum recipient_rc rc, const struct recipient_answer *a)
{
    r->fn(r->owner, rc, a);
    recipient_free(r);
}

static void recipient_fail(struct recipient *r, enum recipient_rc rc, const char *why)
{
    recipient_end(r, rc, &(struct recipient_answer){.key = "", .why = why});
}

static void recipient_on_soon(struct loop_task *task)
{
    struct recipient *r = CONTAINER_OF(task, struct recipient, soon);
    recipient_fail(r, RECIPIENT_NOT_OURS, r->why);
}

static void recipient_on_deadline(void *owner)
{
    recipient_fail(owner, RECIPIENT_DOWN, "Redis did not answer in time");
}

static void recipient_found(struct recipient *r, const struct route *route)
{
    const struct conf *c = store_conf(r->stores->all[0]);
    const struct conf_backend *b = conf_backend(c, route->backend);
    const struct recipient_answer a = {
        .key = r->keys[r->at],
        .backend = b,
        .nth = b ? (size_t)(b - c->backends) : 0,
        .recorded = route->exists,
        .state = route->state,
        .epoch = route->epoch,
        .generation = route->generation,
        .frozen = route->state == ROUTE_FREEZING || route->state == ROUTE_FLIPPING,
        .left_ms = route->state == ROUTE_FREEZING ? route_left_ms(route) : 0,
        .why = b ? "" : "its route names a backend that is not in the configuration",
    };
    recipient_end(r, b ? RECIPIENT_FOUND : RECIPIENT_LOST, &a);
}

static void recipient_ask(struct recipient *r);

static void recipient_on_route(void *owner, enum route_rc rc, const struct route *route)
{
    struct recipient *r = owner;
    if (rc != ROUTE_OK) {
        recipient_fail(r, RECIPIENT_DOWN,
                       rc == ROUTE_NO_STORE ? "Redis does not hold the store of this site"
                                            : store_why(r->store));
    } else if (!route->exists && r->at + 1 < r->n) {
        r->at++;
        recipient_ask(r);
    } else {
        recipient_found(r, route);
    }
}

static void recipient_ask(struct recipient *r)
{
    r->store = stores_of(r->stores, r->keys[r->at]);
    route_where(r->store, r->keys[r->at], NULL, recipient_on_route, r);
}

struct recipient *recipient_find(const struct stores *stores, struct span address, uint64_t deadline_ms,
                                 recipient_fn fn, void *owner)
{
    struct recipient *r = xcalloc(1, sizeof *r);
    *r = (struct recipient){.stores = stores, .fn = fn, .owner = owner, .soon.fn = recipient_on_soon};
    r->deadline = timer_new(store_loop(stores->all[0]), recipient_on_deadline, r);
    r->n = recipient_keys(store_conf(stores->all[0]), address, r->keys, &r->why);
    if (r->n == 0) {
        loop_defer(store_loop(stores->all[0]), &r->soon);
    } else {
        timer_start(r->deadline, deadline_ms);
        recipient_ask(r);
    }
    return r;
}

void recipient_cancel(struct recipient **rp)
{
    struct recipient *r = *rp;
    *rp = NULL;
    if (r)
        recipient_free(r);
}
