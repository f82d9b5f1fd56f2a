#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/mutf7.h"
#include "lib/xalloc.h"

#include "migrator/account/baggage.h"
#include "migrator/account/both.h"
#include "migrator/account/signin.h"
#include "migrator/account/tier.h"
#include "migrator/site/channel.h"

#include "actions.h"
#include "ctl_plan.h"
#include "ctl_print.h"
#include "ctl_screen.h"
#include "ctl_table.h"
#include "json_value.h"
#include "naming.h"
#include "uidls.h"

enum {
    STORE_TIMEOUT_MS = 5000,
    KNOCK_MS = 10000,
    /* until the store must be there: an attempt to connect has told by then what is wrong */
    REACH_MS = STORE_TIMEOUT_MS + 1500,
};

enum { SOURCE, TARGET };

struct planner {
    const struct conf *conf;
    const char *text; /* the name, as given */
    bool json;
    json_t **into;     /* where the answer goes; NULL: it is printed */
    struct migrator m; /* its parts are owned */
    struct move move;
    struct timer *reach;
    char *as_key; /* owned; see naming.h */
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
    char *no_channel; /* owned; why the target can't be told numbers, NULL: it can, as far as is known */
    bool started, ended;
    int status;
};

/* ---- the end */

static void ctl_plan_end(struct planner *g, int status)
{
    g->ended = true;
    g->status = status;
    loop_stop(g->m.loop);
}

static void end_with(struct planner *g, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void end_with(struct planner *g, int status, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    if (g->ended)
        return;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (g->into)
        *g->into = json_pack("{s:o}", "error", json_text(buf_span(&text)));
    else
        ctl_print_error(g->json, buf_str(&text), NULL);
    buf_free(&text);
    ctl_plan_end(g, status);
}

/* ---- what is shown */

/* UTF-8 where the name is valid modified UTF-7, else its printable bytes. */
static char *ctl_plan_shown(const char *name)
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
    char *text = ctl_plan_shown(name);
    json_t *o = utf8_is_valid(span_str(text)) ? json_string(text) : json_string("?");

    free(text);
    return o;
}

/* What the migrator will aim at, as far as both servers can be seen to allow it. */
static struct tier_aim ctl_plan_tier(const struct planner *g, const struct plan_item *item)
{
    const struct mailbox *there = mailboxes_find(g->mailboxes[TARGET], item->target_name);
    const struct imap_caps *caps = imapc_caps(g->lane->target);
    struct tier_facts f = {.source = item->source->status,
                           .absent = item->create,
                           .uidplus = imap_caps_has(caps, CAP_UIDPLUS),
                           .t0_max_gaps = g->conf->migration.t0_max_gaps,
                           .t1_max_gaps = g->conf->migration.t1_max_gaps,
                           .foreign_max = g->conf->migration.foreign_max};
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

static json_t *json_mailboxes(const struct planner *g)
{
    const struct leave_out *rules = g->conf->migration.rules->leave_out;
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
        struct tier_aim aim = ctl_plan_tier(g, item);
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
        json_object_set_new(o, "detail", json_string(f[i].detail));
        json_object_set_new(o, "blocks", json_boolean(finding_class(f[i].kind) == FINDING_BLOCKS));
        json_array_append_new(list, o);
    }
    return list;
}

/* To free. */
static char *ctl_plan_size(uint64_t bytes)
{
    struct buf text = {0};

    ctl_write_bytes(&text, bytes);
    char *s = xstrdup(buf_str(&text));
    buf_free(&text);
    return s;
}

static void ctl_plan_add_row(struct table *t, const struct planner *g, const struct plan_item *item)
{
    char *from = ctl_plan_shown(item->source->name), *to = ctl_plan_shown(item->target_name);
    struct tier_aim aim = ctl_plan_tier(g, item);
    bool other = strcmp(from, to) != 0;

    table_add(t, (char *[]){xasprintf("  %s%s%s%s", from, other ? " -> " : "", other ? to : "",
                                      item->create ? " (new)" : ""),
                            xasprintf("%" PRIu32 " messages", item->source->status.messages),
                            ctl_plan_size(item->source->bytes),
                            xasprintf("%s%s%s%s%s", view_tier_text(aim.tier), *aim.why ? " (" : "", aim.why,
                                      *aim.why ? ")" : "",
                                      item->leave_out ? ", but for what leave_out says" : "")});
    free(from);
    free(to);
}

static void ctl_plan_write_mailboxes(struct buf *out, const struct planner *g)
{
    struct table t = {.n_columns = 4, .right = {false, true, true}};
    uint64_t bytes = 0, messages = 0;

    buf_printf(out, "%s moves from %s to %s\n\n", g->move.user, g->move.source->name, g->move.target->name);
    for (size_t i = 0; i < g->plan->n; i++) {
        ctl_plan_add_row(&t, g, &g->plan->items[i]);
        bytes += g->plan->items[i].source->bytes;
        messages += g->plan->items[i].source->status.messages;
    }
    table_write(&t, out, NULL);
    char *size = ctl_plan_size(bytes);
    buf_printf(out, "\n%zu mailboxes, %" PRIu64 " messages, %s\n", g->plan->n, messages, size);
    free(size);
}

static void ctl_plan_write_findings(struct buf *out, const struct findings *all, bool blocks)
{
    size_t n;
    const struct finding *f = findings_named(all, &n);
    bool first = true;

    for (size_t i = 0; i < n; i++) {
        if ((finding_class(f[i].kind) == FINDING_BLOCKS) != blocks)
            continue;
        if (first)
            buf_printf(out, "\n%s\n", blocks ? "what would stop it:" : "what stays behind or differs:");
        first = false;
        struct buf name = {0};
        if (*f[i].mailbox)
            finding_show_mailbox(&name, f[i].mailbox);
        buf_printf(out, "  %s%s%s: %s%s%s\n", blocks ? STYLE_RED : "", finding_word(f[i].kind),
                   blocks ? STYLE_OFF : "", buf_str(&name), name.len ? ": " : "", f[i].detail);
        buf_free(&name);
    }
}

/* Names and answers of servers are shown as text, whatever they hold. */
static void ctl_plan_print(const struct planner *g, const struct findings *all, bool blocked)
{
    struct buf out = {0};

    ctl_plan_write_mailboxes(&out, g);
    if (g->pop3)
        buf_printf(&out, "\nUIDLs of POP3: %s\n", g->pop3);
    ctl_plan_write_findings(&out, all, false);
    ctl_plan_write_findings(&out, all, true);
    buf_printf(&out, "\n%s\n",
               blocked ? "The account would be blocked until that is put right or waived."
                       : "Nothing that is known now would stop it.");
    screen_print(&out);
    buf_free(&out);
}

/* Takes it. */
static void ctl_plan_tell(struct planner *g, json_t *o)
{
    if (g->into) {
        *g->into = o;
        return;
    }
    ctl_print_json(o);
    json_decref(o);
}

static void show_plan(struct planner *g)
{
    struct findings *all = findings_new(NULL);
    struct buf reason = {0};

    findings_join(all, g->plan->findings);
    oddities_name(crew_oddities(g->move.crew), all, FINDING_NOT_UNDERSTOOD);
    findings_join(all, baggage_findings(g->move.baggage));
    if (findings_open(all) > 0)
        findings_describe(&reason, all);
    if (g->json || g->into) {
        json_t *o = json_object();
        json_object_set_new(o, "user", json_string(g->move.user));
        json_object_set_new(o, "source", json_string(g->move.source->name));
        json_object_set_new(o, "target", json_string(g->move.target->name));
        json_object_set_new(o, "mailboxes", json_mailboxes(g));
        json_object_set_new(o, "findings", json_findings(all));
        if (g->pop3)
            json_object_set_new(
                o, "uidls",
                json_pack("{s:b,s:o}", "same", g->pop3_same, "text", json_text(span_str(g->pop3))));
        json_object_set_new(o, "blocked", json_boolean(reason.len > 0));
        json_object_set_new(o, "reason", json_string(buf_str(&reason)));
        ctl_plan_tell(g, o);
    } else {
        ctl_plan_print(g, all, reason.len > 0);
    }
    buf_free(&reason);
    findings_free(&all);
    ctl_plan_end(g, ACTION_DONE);
}

/* ---- from the store to the plan */

static void ctl_plan_on_uidls(void *owner, const struct uidls_side sides[2])
{
    struct planner *g = owner;
    bool keeps = false;

    for (size_t i = 0; i < g->plan->n; i++)
        if (!strcmp(g->plan->items[i].source->name, "INBOX"))
            keeps = ctl_plan_tier(g, &g->plan->items[i]).tier == VIEW_T0;
    g->pop3 = uidls_say(sides, keeps, &g->pop3_same);
    show_plan(g);
}

static struct uidls_side ctl_plan_inbox(const struct planner *g, unsigned side, const struct conf_backend *b)
{
    const struct mailbox *inbox = mailboxes_find(g->mailboxes[side], "INBOX");
    struct uidls_side s = {.backend = b, .tls = backends_tls(g->m.backends, b)};

    if (inbox)
        s.numbers = (struct pop3_numbers){inbox->status.uidvalidity, inbox->status.uidnext};
    return s;
}

static void ctl_plan_look_at_uidls(struct planner *g)
{
    const struct conf_backend *source = g->move.source, *target = g->move.target;
    struct uidls_side sides[2] = {ctl_plan_inbox(g, SOURCE, source), ctl_plan_inbox(g, TARGET, target)};

    if (backend_has_pop3(source) && backend_has_pop3(target))
        g->uidls = uidls_start(g->m.loop, g->move.login, sides, ctl_plan_on_uidls, g);
    else
        show_plan(g);
}

static void ctl_plan_on_knocked(void *owner, const char *error, const char *hint, uint64_t date_s)
{
    struct planner *g = owner;

    (void)date_s;
    g->knock = NULL;
    if (error)
        g->no_channel = xasprintf("doveadm: %s%s%s", error, *hint ? "; " : "", hint);
    ctl_plan_look_at_uidls(g);
}

static void ctl_plan_knock(struct planner *g)
{
    const char *why, *word = channel_of(g->move.target, imapc_caps(g->lane->target), &why);

    if (word && !strcmp(word, "doveadm"))
        g->knock = channel_knock_start(g->m.loop, g->move.target, KNOCK_MS, ctl_plan_on_knocked, g);
    else
        ctl_plan_look_at_uidls(g);
}

static void ctl_plan_on_inspected(void *owner, enum baggage_rc rc, const char *why)
{
    struct planner *g = owner;

    if (rc == BAGGAGE_OK)
        ctl_plan_knock(g);
    else
        end_with(g, ACTION_FAILED, "%s", why);
}

static void ctl_plan_make_plan(struct planner *g)
{
    g->plan = plan_make(&(struct plan_request){
        .source = g->mailboxes[SOURCE], .target = g->mailboxes[TARGET], .rules = g->conf->migration.rules});
    if (g->plan->fault) {
        end_with(g, ACTION_FAILED, "the %s: %s", g->plan->fault_side, g->plan->fault);
        return;
    }
    g->move.baggage = baggage_new(&g->move, true);
    baggage_inspect(g->move.baggage, g->lane, g->plan, NULL, ctl_plan_on_inspected, g);
}

static void ctl_plan_on_lists(void *owner, const struct both_result *result)
{
    struct planner *g = owner;

    g->both = NULL;
    g->mailboxes[SOURCE] = result->source;
    g->mailboxes[TARGET] = result->target;
    if (result->rc != MAILBOXES_OK)
        end_with(g, ACTION_FAILED, "%s: %s",
                 result->failed == BOTH_SOURCE ? g->move.source->name : g->move.target->name, result->why);
    else if (!g->ended)
        ctl_plan_make_plan(g);
}

static void ctl_plan_on_crew(void *owner, enum crew_event ev)
{
    struct planner *g = owner;

    if (ev == CREW_FAILED) {
        end_with(g, ACTION_FAILED, "%s: %s", why_word(crew_why(g->move.crew)), crew_error(g->move.crew));
        return;
    }
    if (g->lane || !(g->lane = crew_take(g->move.crew)))
        return;
    g->both = both_read(g->lane, MAILBOXES_SIZES, MAILBOXES_NUMBERS, ctl_plan_on_lists, g);
}

static void ctl_plan_on_signin(void *owner, enum signin_rc rc, const struct credential *credential,
                               const char *why)
{
    struct planner *g = owner;

    g->signin = NULL;
    if (rc != SIGNIN_OK) {
        end_with(g, rc == SIGNIN_NONE ? ACTION_REFUSED : ACTION_UNREACHABLE, "no way to sign in for %s: %s",
                 g->move.user, why);
        return;
    }
    g->move.crew = crew_new(&(struct crew_request){.m = &g->m,
                                                   .user = g->move.user,
                                                   .login = g->move.login,
                                                   .credential = credential,
                                                   .source = g->move.source,
                                                   .target = g->move.target,
                                                   .quiet = true,
                                                   .until_ms = &g->move.until_ms});
    crew_set_owner(g->move.crew, ctl_plan_on_crew, g);
    crew_want(g->move.crew, 1);
}

static void ctl_plan_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct planner *g = owner;

    if (rc != ROUTE_OK) {
        end_with(g, ACTION_UNREACHABLE, "%s", store_why(g->m.store));
        return;
    }
    if (strcmp(r->backend, g->move.source->name) != 0) {
        end_with(g, ACTION_REFUSED, "%s lives on %s, not on %s", g->move.user, r->backend,
                 g->move.source->name);
        return;
    }
    g->signin = signin_start(&g->move, ctl_plan_on_signin, g);
}

static void ctl_plan_set_user(struct planner *g, char *key)
{
    struct conf_pair pair = conf_pair_of(g->conf, key);

    free(g->move.user);
    free(g->move.login);
    g->move.user = key;
    g->move.login = account_login(key);
    g->move.source = conf_backend(g->conf, pair.source);
    g->move.target = conf_backend(g->conf, pair.target);
    g->move.job = (struct route_job){.user = g->move.user, .token = g->move.token};
}

static void ctl_plan_on_named(void *owner, enum naming_rc n, enum route_rc rc)
{
    struct planner *g = owner;

    (void)rc;
    if (n == NAMING_FAILED) {
        end_with(g, ACTION_UNREACHABLE, "%s", store_why(g->m.store));
    } else if (n == NAMING_BOTH) {
        char *text = naming_say_both(g->text, g->move.user, g->as_key);
        end_with(g, ACTION_USAGE, "%s", text);
        free(text);
    } else {
        if (n == NAMING_KEY) {
            ctl_plan_set_user(g, g->as_key);
            g->as_key = NULL;
        }
        route_read(g->m.store, g->move.user, ctl_plan_on_route, g);
    }
}

static void ctl_plan_on_store(void *owner, enum store_state state, const char *detail)
{
    struct planner *g = owner;

    if (g->started || g->ended || state == STORE_CONNECTING)
        return;
    if (state != STORE_UP) {
        end_with(g, ACTION_UNREACHABLE, "the store is out of reach: %s", detail);
        return;
    }
    g->started = true;
    if (g->as_key)
        naming_ask(g->m.store, g->move.user, g->as_key, &g->naming, ctl_plan_on_named, g);
    else
        route_read(g->m.store, g->move.user, ctl_plan_on_route, g);
}

static void ctl_plan_on_reach(void *owner)
{
    struct planner *g = owner;

    if (!g->started)
        end_with(g, ACTION_UNREACHABLE, "the store is out of reach: no answer");
}

/* ---- start and end */

/* False: what is wrong was said. */
static bool ctl_plan_start(struct planner *g, const char *login)
{
    const struct conf *c = g->conf;
    struct migrator *m = &g->m;
    struct move *v = &g->move;
    const char *why = "";
    char *error = NULL;

    v->m = m;
    v->until_ms = UINT64_MAX;
    g->text = login;
    char *key = account_key(c, span_str(login), &why);
    if (key)
        ctl_plan_set_user(g, key);
    if (!v->login) {
        end_with(g, ACTION_USAGE, "%s: %s", login, why);
        return false;
    }
    g->as_key = naming_as_key(c, login);
    if (g->as_key && !strcmp(g->as_key, key)) {
        free(g->as_key);
        g->as_key = NULL;
    }
    m->backends = backends_new(m->loop, c, &error);
    if (m->backends && c->seal.private_key_files.n > 0)
        m->seal = seal_private_load(c->seal.private_key_files.items, c->seal.private_key_files.n, &error);
    if (error) {
        end_with(g, ACTION_FAILED, "%s", error);
        free(error);
        return false;
    }
    m->store = store_new(m->loop, c, STORE_TIMEOUT_MS, ctl_plan_on_store, g);
    timer_start(g->reach, REACH_MS);
    return true;
}

static void ctl_plan_release(struct planner *g)
{
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
    store_free(&g->m.store);
    backends_free(&g->m.backends);
    if (g->m.seal)
        seal_private_free(&g->m.seal);
    timer_free(&g->reach);
    loop_free(&g->m.loop);
    free(g->move.user);
    free(g->move.login);
}

static int ctl_plan_run(const struct conf *conf, const char *login, bool json, json_t **into)
{
    struct planner g = {.conf = conf, .json = json, .into = into, .status = ACTION_FAILED};

    g.m = (struct migrator){.loop = loop_new(), .conf = conf, .id = "plan"};
    g.reach = timer_new(g.m.loop, ctl_plan_on_reach, &g);
    if (ctl_plan_start(&g, login))
        loop_run(g.m.loop);
    ctl_plan_release(&g);
    return g.status;
}

int ctl_plan(const struct conf *conf, const char *login, bool json)
{
    return ctl_plan_run(conf, login, json, NULL);
}

int ctl_plan_of(const struct conf *conf, const char *login, json_t **_r)
{
    *_r = NULL;
    int status = ctl_plan_run(conf, login, true, _r);
    if (!*_r)
        *_r = json_pack("{s:s}", "error", "no answer");
    return status;
}
