#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/mutf7.h"
#include "lib/route_sharing.h"
#include "lib/xalloc.h"

#include "migrator/account/baggage.h"
#include "migrator/account/both.h"
#include "migrator/account/signin.h"
#include "migrator/account/tier.h"
#include "migrator/site/channel.h"

#include "json_value.h"
#include "naming.h"
#include "planning.h"
#include "uidls.h"

enum { KNOCK_MS = 10000 };

enum { SOURCE, TARGET };

struct planning {
    struct migrator own, *m; /* the one that was given, at the store of the account; and that */
    char *text;              /* the name, as given; owned */
    planning_fn fn;
    void *owner;
    struct move move;
    struct timer *patience; /* for a lane */
    char *as_key;           /* owned; see naming.h */
    struct naming *naming;
    struct signin *signin;
    struct lane *lane;
    struct both *both;
    struct mailboxes *mailboxes[2]; /* owned */
    struct plan *plan;              /* owned */
    struct channel_knock *knock;
    struct uidls *uidls;
    char *pop3; /* owned; what comes of the UIDLs of POP3; NULL: nobody has POP3 */
    bool pop3_same;
    char *no_channel;      /* owned; why the target can't be told numbers, NULL: it can, as far as is known */
    struct loop_task task; /* tells the end */
    enum action_rc rc;
    json_t *data; /* owned; NULL: it goes on */
};

/* ---- the end */

/* Takes data. What comes of a second way to end is dropped. */
static void planning_end(struct planning *g, enum action_rc rc, json_t *data)
{
    if (g->data) {
        json_decref(data);
        return;
    }
    timer_stop(g->patience);
    g->rc = rc;
    g->data = data;
    loop_defer(g->m->loop, &g->task);
}

static void planning_fail(struct planning *g, enum action_rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void planning_fail(struct planning *g, enum action_rc rc, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    planning_end(g, rc, json_pack("{s:o}", "error", json_text(buf_span(&text))));
    buf_free(&text);
}

/* ---- what is shown */

/* UTF-8 where the name is valid modified UTF-7, else its printable bytes. */
static char *planning_shown(const char *name)
{
    struct buf quoted = {0};

    finding_show_mailbox(&quoted, name);
    struct span s = buf_span(&quoted);
    char *text = xspandup(span_of(s.p + 1, s.len - 2));
    buf_free(&quoted);
    return text;
}

static json_t *json_name(const char *name)
{
    char *text = planning_shown(name);
    json_t *o = utf8_is_valid(span_str(text)) ? json_string(text) : json_string("?");

    free(text);
    return o;
}

/* What the migrator will aim at, as far as both servers can be seen to allow it. */
static struct tier_aim planning_tier(const struct planning *g, const struct plan_item *item)
{
    const struct mailbox *there = mailboxes_find(g->mailboxes[TARGET], item->target_name);
    const struct imap_caps *caps = imapc_caps(g->lane->target);
    struct tier_facts f = {.source = item->source->status,
                           .absent = item->create,
                           .uidplus = imap_caps_has(caps, CAP_UIDPLUS),
                           .t0_max_gaps = g->m->conf->migration.t0_max_gaps,
                           .t1_max_gaps = g->m->conf->migration.t1_max_gaps,
                           .foreign_max = g->m->conf->migration.foreign_max};
    struct tier_aim aim;

    if (there)
        f.target = there->status;
    f.channel = channel_of(g->move.target, caps, &f.no_channel);
    if (g->no_channel) {
        f.channel = NULL;
        f.no_channel = g->no_channel;
    }
    tier_choose(&f, &aim);
    return aim;
}

static json_t *json_mailboxes(const struct planning *g)
{
    const struct leave_out *rules = g->m->conf->migration.rules->leave_out;
    json_t *list = json_array();

    for (size_t i = 0; i < g->plan->n; i++) {
        const struct plan_item *item = &g->plan->items[i];
        json_t *o = json_object(), *names = json_array();
        json_object_set_new(o, "mailbox", json_name(item->source->name));
        json_object_set_new(o, "target", json_name(item->target_name));
        json_object_set_new(o, "create", json_boolean(item->create));
        json_object_set_new(o, "messages", json_integer(item->source->status.messages));
        json_object_set_new(o, "bytes", json_integer((json_int_t)item->source->bytes));
        for (unsigned k = 0; k < LEAVE_OUT_MAX; k++)
            if (item->leave_out & 1u << k)
                json_array_append_new(names, json_string(leave_out_rule(rules, k + 1)));
        json_object_set_new(o, "leave_out", names);
        struct tier_aim aim = planning_tier(g, item);
        json_object_set_new(o, "tier", json_string(view_tier_text(aim.tier)));
        if (*aim.why)
            json_object_set_new(o, "tier_why", json_string(aim.why));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *json_findings(const struct findings *all)
{
    json_t *list = json_array();
    size_t n;
    const struct finding *f = findings_named(all, &n);

    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "kind", json_string(finding_word(f[i].kind)));
        json_object_set_new(o, "mailbox", json_name(f[i].mailbox));
        json_object_set_new(o, "detail", json_text(span_str(f[i].detail)));
        json_object_set_new(o, "blocks", json_boolean(finding_class(f[i].kind) == FINDING_BLOCKS));
        json_array_append_new(list, o);
    }
    return list;
}

/* Those who share nothing but what is excluded have none. */
static json_t *json_shares(const struct shares *all)
{
    json_t *list = json_array();

    for (size_t i = 0; i < all->n; i++) {
        const struct share *s = &all->items[i];
        json_t *o = json_object();
        json_object_set_new(o, "with", json_string(share_word(s->kind)));
        json_object_set_new(o, "who", json_text(span_str(s->who)));
        if (s->other)
            json_object_set_new(o, "or", json_string(s->other));
        json_object_set_new(o, "gives", json_boolean(s->gives));
        json_object_set_new(o, "mailboxes", json_integer((json_int_t)s->mailboxes));
        json_object_set_new(o, "such_as", json_name(s->such_as));
        json_object_set_new(o, "rights", json_string(s->letters));
        json_array_append_new(list, o);
    }
    return list;
}

static void planning_tell(struct planning *g)
{
    struct findings *all = findings_new(NULL);
    struct buf reason = {0};
    json_t *o = json_object();

    findings_join(all, g->plan->findings);
    oddities_name(crew_oddities(g->move.crew), all, FINDING_NOT_UNDERSTOOD);
    findings_join(all, baggage_findings(g->move.baggage));
    if (findings_open(all) > 0)
        findings_describe(&reason, all);
    json_object_set_new(o, "user", json_string(g->move.user));
    json_object_set_new(o, "source", json_string(g->move.source->name));
    json_object_set_new(o, "target", json_string(g->move.target->name));
    json_object_set_new(o, "mailboxes", json_mailboxes(g));
    json_object_set_new(o, "findings", json_findings(all));
    json_object_set_new(o, "shares", json_shares(baggage_shares(g->move.baggage)));
    if (g->pop3)
        json_object_set_new(
            o, "uidls", json_pack("{s:b,s:o}", "same", g->pop3_same, "text", json_text(span_str(g->pop3))));
    json_object_set_new(o, "blocked", json_boolean(reason.len > 0));
    json_object_set_new(o, "reason", json_text(buf_span(&reason)));
    buf_free(&reason);
    findings_free(&all);
    planning_end(g, ACTION_DONE, o);
}

/* ---- from the store to the plan */

static void planning_on_uidls(void *owner, const struct uidls_side sides[2])
{
    struct planning *g = owner;
    bool keeps = false;

    for (size_t i = 0; i < g->plan->n; i++)
        if (!strcmp(g->plan->items[i].source->name, "INBOX"))
            keeps = planning_tier(g, &g->plan->items[i]).tier == VIEW_T0;
    g->pop3 = uidls_say(sides, keeps, &g->pop3_same);
    planning_tell(g);
}

static struct uidls_side planning_inbox(const struct planning *g, unsigned side, const struct conf_backend *b)
{
    const struct mailbox *inbox = mailboxes_find(g->mailboxes[side], "INBOX");
    struct uidls_side s = {.backend = b, .tls = backends_tls(g->m->backends, b)};

    if (inbox)
        s.numbers = (struct pop3_numbers){inbox->status.uidvalidity, inbox->status.uidnext};
    return s;
}

static void planning_look_at_uidls(struct planning *g)
{
    const struct conf_backend *source = g->move.source, *target = g->move.target;
    struct uidls_side sides[2] = {planning_inbox(g, SOURCE, source), planning_inbox(g, TARGET, target)};

    if (backend_has_pop3(source) && backend_has_pop3(target))
        g->uidls = uidls_start(g->m->loop, g->move.login, sides, planning_on_uidls, g);
    else
        planning_tell(g);
}

static void planning_on_knocked(void *owner, const char *error, const char *hint, uint64_t date_s)
{
    struct planning *g = owner;

    (void)date_s;
    g->knock = NULL;
    if (error)
        g->no_channel = xasprintf("doveadm: %s%s%s", error, *hint ? "; " : "", hint);
    planning_look_at_uidls(g);
}

static void planning_knock(struct planning *g)
{
    const char *why, *word = channel_of(g->move.target, imapc_caps(g->lane->target), &why);

    if (word && !strcmp(word, "doveadm"))
        g->knock = channel_knock_start(g->m->loop, g->move.target, KNOCK_MS, planning_on_knocked, g);
    else
        planning_look_at_uidls(g);
}

static void planning_on_inspected(void *owner, enum baggage_rc rc, const char *why)
{
    struct planning *g = owner;

    if (rc == BAGGAGE_OK)
        planning_knock(g);
    else
        planning_fail(g, ACTION_FAILED, "%s", why);
}

static void planning_make_plan(struct planning *g)
{
    g->plan = plan_make(&(struct plan_request){.source = g->mailboxes[SOURCE],
                                               .target = g->mailboxes[TARGET],
                                               .rules = g->m->conf->migration.rules,
                                               .goes_along = shares_group_goes_along,
                                               .move = &g->move});
    if (g->plan->fault) {
        planning_fail(g, ACTION_FAILED, "the %s: %s", g->plan->fault_side, g->plan->fault);
        return;
    }
    g->move.baggage = baggage_new(&g->move, true);
    baggage_inspect(g->move.baggage, g->lane, g->plan, NULL, planning_on_inspected, g);
}

static void planning_on_lists(void *owner, const struct both_result *result)
{
    struct planning *g = owner;

    g->both = NULL;
    g->mailboxes[SOURCE] = result->source;
    g->mailboxes[TARGET] = result->target;
    if (result->rc != MAILBOXES_OK)
        planning_fail(g, ACTION_FAILED, "%s: %s",
                      result->failed == BOTH_SOURCE ? g->move.source->name : g->move.target->name,
                      result->why);
    else if (!g->data)
        planning_make_plan(g);
}

static void planning_on_crew(void *owner, enum crew_event ev)
{
    struct planning *g = owner;

    if (ev == CREW_FAILED) {
        planning_fail(g, ACTION_FAILED, "%s: %s", why_word(crew_why(g->move.crew)), crew_error(g->move.crew));
        return;
    }
    if (g->lane || g->data || !(g->lane = crew_take(g->move.crew)))
        return;
    timer_stop(g->patience);
    g->both = both_read(g->lane, MAILBOXES_SIZES, MAILBOXES_NUMBERS, planning_on_lists, g);
}

static void planning_on_signin(void *owner, enum signin_rc rc, const struct credential *credential,
                               const char *why)
{
    struct planning *g = owner;

    g->signin = NULL;
    if (rc != SIGNIN_OK) {
        planning_fail(g, rc == SIGNIN_NONE ? ACTION_REFUSED : ACTION_UNREACHABLE,
                      "no way to sign in for %s: %s", g->move.user, why);
        return;
    }
    g->move.crew = crew_new(&(struct crew_request){.m = g->m,
                                                   .user = g->move.user,
                                                   .login = g->move.login,
                                                   .credential = credential,
                                                   .source = g->move.source,
                                                   .target = g->move.target,
                                                   .quiet = true,
                                                   .until_ms = &g->move.until_ms});
    crew_set_owner(g->move.crew, planning_on_crew, g);
    crew_want(g->move.crew, 1);
    timer_start(g->patience, PLANNING_LANE_MS);
}

/* A lane that is being signed in has deadlines of its own. */
static void planning_on_patience(void *owner)
{
    struct planning *g = owner;

    if (crew_is_opening(g->move.crew))
        timer_start(g->patience, PLANNING_LANE_MS);
    else
        planning_fail(g, ACTION_UNREACHABLE,
                      "all connections that max_connections allows to %s and %s were in use for %d s",
                      g->move.source->name, g->move.target->name, PLANNING_LANE_MS / 1000);
}

/* With whom it may share. */
static void planning_on_group(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct planning *g = owner;

    if (rc != ROUTE_OK) {
        planning_fail(g, ACTION_UNREACHABLE, "%s", store_why(g->m->store));
        return;
    }
    shares_group_fill(&g->move.members, rows, n);
    g->signin = signin_start(&g->move, planning_on_signin, g);
}

static void planning_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct planning *g = owner;

    if (rc != ROUTE_OK) {
        planning_fail(g, ACTION_UNREACHABLE, "%s", store_why(g->m->store));
        return;
    }
    if (strcmp(r->backend, g->move.source->name) != 0) {
        planning_fail(g, ACTION_REFUSED, "%s lives on %s, not on %s", g->move.user, r->backend,
                      g->move.source->name);
        return;
    }
    g->move.group = xstrdup(r->group);
    if (*r->group)
        route_sharing_read(g->m->store, r->group, "", planning_on_group, g);
    else
        g->signin = signin_start(&g->move, planning_on_signin, g);
}

static void planning_set_user(struct planning *g, char *key)
{
    struct conf_pair pair = conf_pair_of(g->m->conf, key);

    free(g->move.user);
    free(g->move.login);
    g->move.user = key;
    g->move.login = account_login(key);
    g->move.source = conf_backend(g->m->conf, pair.source);
    g->move.target = conf_backend(g->m->conf, pair.target);
    g->move.job = (struct route_job){.user = g->move.user, .token = g->move.token};
}

static void planning_on_named(void *owner, enum naming_rc n, enum route_rc rc)
{
    struct planning *g = owner;

    (void)rc;
    if (n == NAMING_FAILED) {
        planning_fail(g, ACTION_UNREACHABLE, "%s", store_why(g->m->store));
    } else if (n == NAMING_BOTH) {
        char *text = naming_say_both(g->text, g->move.user, g->as_key);
        planning_fail(g, ACTION_USAGE, "%s", text);
        free(text);
    } else {
        if (n == NAMING_KEY) {
            planning_set_user(g, g->as_key);
            g->as_key = NULL;
        }
        route_read(g->m->store, g->move.user, planning_on_route, g);
    }
}

/* ---- start and end */

static void planning_release(struct planning *g)
{
    store_forget(g->m->store, g);
    naming_cancel(&g->naming);
    free(g->as_key);
    channel_knock_cancel(&g->knock);
    free(g->no_channel);
    uidls_cancel(&g->uidls);
    free(g->pop3);
    signin_cancel(&g->signin);
    both_cancel(&g->both);
    baggage_free(&g->move.baggage);
    if (g->lane)
        crew_drop(g->move.crew, g->lane);
    crew_free(&g->move.crew);
    plan_free(&g->plan);
    mailboxes_free(&g->mailboxes[SOURCE]);
    mailboxes_free(&g->mailboxes[TARGET]);
    timer_free(&g->patience);
    loop_undefer(g->m->loop, &g->task);
    shares_group_free(&g->move.members);
    free(g->move.group);
    free(g->move.user);
    free(g->move.login);
    free(g->text);
}

void planning_cancel(struct planning **gp)
{
    struct planning *g = *gp;

    *gp = NULL;
    if (!g)
        return;
    planning_release(g);
    json_decref(g->data);
    free(g);
}

static void planning_on_end(struct loop_task *task)
{
    struct planning *g = CONTAINER_OF(task, struct planning, task);
    json_t *data = g->data;
    planning_fn fn = g->fn;
    void *owner = g->owner;
    enum action_rc rc = g->rc;

    g->data = NULL;
    planning_cancel(&g);
    fn(owner, rc, data);
    json_decref(data);
}

static void planning_begin(struct planning *g)
{
    const struct conf *c = g->m->conf;
    const char *why = "";
    char *key = account_key(c, span_str(g->text), &why);

    if (key)
        g->m->store = stores_of(g->m->stores, key);
    if (key)
        planning_set_user(g, key);
    if (!g->move.login) {
        planning_fail(g, ACTION_USAGE, "%s: %s", g->text, why);
        return;
    }
    g->as_key = naming_as_key(c, g->text);
    if (g->as_key && !strcmp(g->as_key, key)) {
        free(g->as_key);
        g->as_key = NULL;
    }
    if (store_state(g->m->store) != STORE_UP)
        planning_fail(g, ACTION_UNREACHABLE, "the store is out of reach: %s", store_why(g->m->store));
    else if (g->as_key)
        naming_ask(g->m->store, g->move.user, g->as_key, &g->naming, planning_on_named, g);
    else
        route_read(g->m->store, g->move.user, planning_on_route, g);
}

struct planning *planning_start(struct migrator *m, const char *login, planning_fn fn, void *owner)
{
    struct planning *g = xcalloc(1, sizeof(*g));

    *g = (struct planning){.own = *m, .text = xstrdup(login), .fn = fn, .owner = owner};
    g->m = &g->own;
    g->task.fn = planning_on_end;
    g->patience = timer_new(m->loop, planning_on_patience, g);
    g->move.m = g->m;
    g->move.until_ms = UINT64_MAX;
    planning_begin(g);
    return g;
}
