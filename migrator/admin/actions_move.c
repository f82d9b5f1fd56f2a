/* `route move` and `route reopen`: the accounts of a site go to other stores, and the way back. */
#include <inttypes.h>
#include <stdlib.h>

#include "actions_priv.h"
#include "carry_out.h"

/* ---- move ---- */

static void action_move_on_written(void *owner, enum route_rc rc, const char *detail, uint64_t accounts)
{
    struct run *r = owner;

    r->carry = NULL;
    if (rc != ROUTE_OK) {
        run_end(r, rc == ROUTE_DOWN ? ACTION_UNREACHABLE : ACTION_FAILED,
                "%s. The store is closed: \"route reopen\", and do it again", detail);
        return;
    }
    json_object_set_new(r->data, "moved", json_integer((json_int_t)accounts));
    run_end(r, ACTION_DONE, "%" PRIu64 " accounts; the store is closed, and nobody is signed in by it",
            accounts);
}

/* A failover must not open it again. */
static void action_move_on_kept(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;

    (void)reply;
    if (rc != REDIS_OK)
        run_end(r, ACTION_UNREACHABLE, "the store is closed, %s", ACTION_NOT_KEPT);
    else
        r->carry = carry_out_start(r->store, r->action.carry, action_move_on_written, r);
}

static void action_move_on_closed(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;
    struct span word = reply_str(reply_at(reply, 0)), detail = reply_str(reply_at(reply, 1));

    if (rc == REDIS_OK && span_is(word, "ok"))
        store_wait(r->store, STORE_WAIT_MS, action_move_on_kept, r);
    else if (rc == REDIS_OK && span_is(word, "refused"))
        run_end(
            r, ACTION_REFUSED,
            "nothing is moved: %.*s. All proxies and migrators have to be stopped, once no account is being switched over",
            (int)detail.len, (const char *)detail.p);
    else
        run_end_failed(r, rc == REDIS_OK ? ROUTE_NO_STORE : ROUTE_DOWN, "");
}

void run_move(struct run *r)
{
    struct span args[] = {span_str(r->action.yes ? "1" : "")};

    store_script_for(r->store, r, "move", args, COUNTOF(args), action_move_on_closed, r, NULL);
}

/* ---- reopen ---- */

static void action_move_on_reopened(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;
    struct span word = reply_str(reply_at(reply, 0));

    if (rc == REDIS_OK && span_is(word, "ok"))
        run_end(r, ACTION_DONE,
                "the store is open, as it was; no account is copied or switched over during the quarantine");
    else if (rc == REDIS_OK && span_is(word, "refused"))
        run_end(r, ACTION_REFUSED, "no store was moved from here");
    else
        run_end_failed(r, ROUTE_DOWN, "");
}

void run_reopen(struct run *r)
{
    char ms[24];

    if (!r->action.yes) {
        run_end(
            r, ACTION_REFUSED,
            "who was switched over by the stores that the accounts were moved to would be signed in on the old server: only where "
            "these never worked, and with all proxies and migrators stopped, do it with --yes");
        return;
    }
    snprintf(ms, sizeof(ms), "%" PRIu64, store_quarantine_length_ms(r->store));
    struct span args[] = {span_str(ms)};
    store_script_for(r->store, r, "reopen", args, COUNTOF(args), action_move_on_reopened, r, NULL);
}
