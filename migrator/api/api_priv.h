/* For api.c and api_*.c alone: api_answer.c how answers look, api_gate.c who may ask, api_body.c what is asked for,
 * api_calls.c the table of calls, api_live.c events as they come, api_look.c looks that take long, api_page.c the page's files, api.c the start and the end. */
#ifndef IMAPFERRY_API_PRIV_H
#define IMAPFERRY_API_PRIV_H

#include <jansson.h>

#include "lib/http_server.h"
#include "lib/tokens.h"

#include "migrator/admin/actions.h"

#include "allowance.h"
#include "api.h"
#include "refusals.h"

struct api_live;
struct api_look;
struct api_route;
struct api_file;

struct api {
    struct loop *loop;
    const struct conf *conf; /* borrowed */
    struct http_server *server;
    struct tokens *tokens, *fresh; /* owned; fresh: NULL but within a reload */
    struct store *store;           /* borrowed; NULL: not started */
    struct api_live *live;
    struct api_look *look;
    struct api_route *routes; /* owned; of the table of calls */
    struct api_file *files;   /* owned; of the page */
    struct refusals refusals;
    struct allowance allowance;
    size_t running;         /* actions */
    api_stopped_fn stopped; /* NULL: told */
    void *stopped_owner;
    struct loop_task task; /* tells that it has stopped */
};

/* Who asks, once the gate let them in. */
struct api_who {
    const char *name; /* of the token; borrowed of the tokens, so for as long as the call that found it */
    enum token_role role;
};

/* ---- api_answer.c */

/* As JSON, with headers that hold for all answers. Takes data. */
void api_answer(struct http_request *r, unsigned status, json_t *data);
/* {"error": text} */
void api_refuse(struct http_request *r, unsigned status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ---- api_gate.c */

/* For what everybody may have: is it asked for by a name of ours, and by nobody else's page (a link there may lead here)?
 * False: it was answered. */
bool api_gate_page(struct api *a, struct http_request *r) MUST_CHECK;
/* Is it asked for by a name of ours and by our page, or no browser, and is there a token of this role or more? False: it was
 * answered. */
bool api_gate(struct api *a, struct http_request *r, enum token_role role, struct api_who *_who) MUST_CHECK;

/* ---- api_body.c */

enum { API_KEYS_MAX = 1000, API_NAME_MAX = 2048, API_REASON_MAX = 500 };
/* What a call takes; the names of the JSON's fields, and of the parameters of a query. */
enum {
    TAKES_USER = 1 << 0, /* needed where it is taken */
    TAKES_TO = 1 << 1,
    TAKES_NOW = 1 << 2,
    TAKES_FORCE = 1 << 3, /* and yes */
    TAKES_KEYS = 1 << 4,  /* and remove */
    TAKES_STATE = 1 << 5,
    TAKES_WORD = 1 << 6, /* which accounts: the word that their reason begins with */
    TAKES_PAGE = 1 << 7, /* cursor */
    TAKES_COUNT = 1 << 8,
    TAKES_SINCE = 1 << 9,
    TAKES_WAVE = 1 << 10,
    TAKES_LOOK = 1 << 11, /* "what", as word of the action; it changes nothing, and needs no reason */
};
struct api_body {
    struct action action;           /* its strings are borrowed of the request or of json */
    json_t *json;                   /* owned */
    const char *keys[API_KEYS_MAX]; /* of json */
};
/* Fills in the action, from the query of a GET or from the JSON of a POST (which needs "reason"). False: it was answered. */
bool api_body_read(struct http_request *r, unsigned takes, struct api_body *b) MUST_CHECK;
void api_body_free(struct api_body *b);

/* ---- api_calls.c */

void api_calls_route(struct api *a);
/* Runs an action that api_stop() waits for; the store may be away: ACTION_UNREACHABLE. Calls back once, not before it
 * returned; fn may be told after what it belongs to has gone, so owner is for it to free. */
void api_run(struct api *a, const struct action *action, action_fn fn, void *owner);

/* ---- api_live.c */

struct api_live *api_live_new(struct api *a);
void api_live_route(struct api_live *l);
/* Ends all streams; answers that come late are dropped. NULL is fine. */
void api_live_free(struct api_live **l);

/* ---- api_look.c */

struct api_look *api_look_new(struct api *a);
void api_look_route(struct api_look *l);
/* Gives up what is under way, soon. NULL is fine. */
void api_look_free(struct api_look **l);

/* ---- api_page.c */

void api_page_route(struct api *a);

#endif
