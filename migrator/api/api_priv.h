/* For api.c and api_*.c alone: api_answer.c how answers look, api_gate.c who may ask, api_body.c what is asked for,
 * api_calls.c the table of calls, api_live.c events as they come, api_look.c looks that take long, api_report.c what one of them leaves for others to take, api_list.c
 * lists of accounts, api_survey.c many plans, api_page.c the page's files, api.c the start and the end. */
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
struct bulk_list;
struct api_look;
struct api_survey;
struct api_list;
struct api_route;
struct api_file;

struct api {
    struct loop *loop;
    const struct conf *conf; /* borrowed */
    struct http_server *server;
    struct tokens *tokens, *fresh; /* owned; fresh: NULL but within a reload */
    struct stores *stores;         /* borrowed; NULL: not started */
    struct migrator *m;            /* the same; for what signs in at servers */
    struct api_live *live;
    struct api_look *look;
    struct api_survey *survey;
    struct api_list *list; /* of `migrate`; NULL: none is under way */
    const char *many_by;   /* who changes many accounts at this moment; borrowed of that call; NULL: nobody */
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

/* May this request send a list of accounts, which may be large? Answers nothing; the gate is still to come. */
bool api_gate_list(const struct api *a, const struct http_request *r) MUST_CHECK;

/* ---- api_body.c */

enum { API_MANY_MS = 600 * 1000 /* for the answer of what changes many accounts */ };
enum { API_LIST_MAX = 8 << 20 /* bytes of a body with "names" */ };
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
    TAKES_WHAT = 1 << 11,
    TAKES_NO_REASON = 1 << 12, /* it changes nothing */
    TAKES_WHICH = 1 << 13,     /* which accounts: domain, rule, backend */
    TAKES_KINDS = 1 << 14,     /* keys, and yes */
    TAKES_ACCOUNT = 1 << 15,   /* user, which may be left out */
    TAKES_NAMES = 1 << 16,     /* names: a login name a line */
    TAKES_FORMAT = 1 << 17,
    TAKES_PAUSE = 1 << 18, /* pause_ms */
    TAKES_GROUP = 1 << 19, /* needed where it is taken */
    TAKES_USERS = 1 << 20, /* of a group */
};
struct api_body {
    struct action action;              /* its strings are borrowed of the request or of json */
    json_t *json;                      /* owned */
    const char *keys[API_KEYS_MAX];    /* of json */
    const char *what, *names, *format; /* as the strings of the action; "" where none is given */
    uint64_t pause_ms;
};
/* Fills in the action, from the query of a GET or from the JSON of a POST (which needs "reason"). False: it was answered. */
bool api_body_read(struct http_request *r, unsigned takes, struct api_body *b) MUST_CHECK;
void api_body_free(struct api_body *b);

/* ---- api_calls.c */

void api_calls_route(struct api *a);
/* Of HTTP. */
unsigned api_status(enum action_rc rc);
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

/* ---- api_report.c */

/* A report of many accounts: lines of CSV while it is made, and then the same as text, JSON or CSV to take away. */
struct api_report;
/* Where the lines go; borrowed. Beyond API_CSV_MAX bytes they are dropped, and there is no CSV of it. */
enum { API_CSV_MAX = 64 << 20 };
struct api_report *api_report_new(FILE **_out);
/* It was made; data: what the verb has answered. */
void api_report_finish(struct api_report *p, json_t *data);
/* "csv": how many bytes, null where there are too many; and the numbers themselves. To decref. */
json_t *api_report_json(const struct api_report *p);
/* Answers with it. format: "text", "json", "csv" */
void api_report_give(struct http_request *r, const struct api_report *p, const char *format);
/* Who takes it at this moment gets all of it. NULL is fine. */
void api_report_free(struct api_report **p);

/* ---- api_list.c */

/* names: a login name a line; "" is an empty list. False: a line is none, and it was answered. *l is to be freed in either case. */
bool api_list_read(struct http_request *r, const struct conf *c, const char *names,
                   struct bulk_list *l) MUST_CHECK;
/* This path takes lists of up to API_LIST_MAX bytes from operators. */
void api_list_allow(struct api *a, const char *path);
void api_list_route(struct api *a);
/* Gives up what is under way. NULL is fine. */
void api_list_free(struct api_list **l);

/* ---- api_survey.c */

struct api_survey *api_survey_new(struct api *a);
void api_survey_route(struct api_survey *s);
/* Gives up what is under way. NULL is fine. */
void api_survey_free(struct api_survey **s);

/* ---- api_page.c */

void api_page_route(struct api *a);

#endif
