#include <inttypes.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "api_priv.h"

/* ---- a query */

static bool body_number(struct http_request *r, const char *name, uint64_t min, uint64_t max, uint64_t *_r)
{
    const char *text = http_request_query(r, name);

    if (!text || (span_u64(span_str(text), max, _r) && *_r >= min))
        return true;
    api_refuse(r, 400, "%s is not a number from %" PRIu64 " to %" PRIu64, name, min, max);
    return false;
}

/* Where it is not given: "". */
static bool body_query(struct http_request *r, const char *name, const char **_r)
{
    const char *text = http_request_query(r, name);

    if (text && strlen(text) > API_NAME_MAX) {
        api_refuse(r, 400, "%s is longer than %d bytes", name, API_NAME_MAX);
        return false;
    }
    *_r = text ? text : "";
    return true;
}

static bool body_read_query(struct http_request *r, unsigned takes, struct api_body *b)
{
    struct action *a = &b->action;
    uint64_t count = 0;

    if ((takes & TAKES_USER) && !body_query(r, "user", &a->login))
        return false;
    if ((takes & TAKES_GROUP) && !body_query(r, "group", &a->group))
        return false;
    if ((takes & TAKES_STATE) && !body_query(r, "state", &a->state))
        return false;
    if ((takes & TAKES_WORD) && !body_query(r, "reason", &a->reason))
        return false;
    if ((takes & TAKES_PAGE) && !body_query(r, "cursor", &a->cursor))
        return false;
    if ((takes & TAKES_FORMAT) && !body_query(r, "format", &b->format))
        return false;
    if ((takes & TAKES_COUNT) && !body_number(r, "count", 1, 500, &count))
        return false;
    if ((takes & TAKES_SINCE) && !body_number(r, "since", 0, INT64_MAX, &a->since_ms))
        return false;
    a->count = (unsigned)count;
    return true;
}

/* ---- a JSON object */

static bool body_has_controls(const char *s)
{
    while (*s && ((unsigned char)*s >= ' ' && *s != 0x7f))
        s++;
    return *s != '\0';
}

/* What is wrong with a text; NULL: nothing. A fixed text. */
static const char *body_text_fault(const json_t *value, size_t max)
{
    const char *text = json_string_value(value);

    if (!text)
        return "is not a string";
    if (strlen(text) > max)
        return "is too long";
    return body_has_controls(text) ? "holds control characters" : NULL;
}

static const char *body_keys_fault(struct api_body *b, const json_t *value)
{
    const char *why = !json_is_array(value)                   ? "is not a list"
                      : json_array_size(value) > API_KEYS_MAX ? "has more than 1000 entries"
                                                              : NULL;

    b->action.keys = b->keys;
    b->action.n_keys = why ? 0 : json_array_size(value);
    for (size_t i = 0; i < b->action.n_keys && !why; i++) {
        why = body_text_fault(json_array_get(value, i), API_NAME_MAX);
        b->keys[i] = json_string_value(json_array_get(value, i));
    }
    return why;
}

static const char *body_flag_fault(const json_t *value, bool *_r)
{
    *_r = json_is_true(value);
    return json_is_boolean(value) ? NULL : "is neither true nor false";
}

/* Where a text goes, and who takes it. NULL: it is no text of this call. */
static const char **body_text_of(struct api_body *b, unsigned takes, const char *name, size_t *_max)
{
    struct action *a = &b->action;
    const struct {
        const char *name, **to;
        bool taken;
        size_t max;
    } texts[] = {
        {"reason", &a->reason, !(takes & TAKES_NO_REASON), API_REASON_MAX},
        {"what", &b->what, takes & TAKES_WHAT, API_NAME_MAX},
        {"user", &a->login, takes & (TAKES_USER | TAKES_ACCOUNT), API_NAME_MAX},
        {"to", &a->to, takes & TAKES_TO, API_NAME_MAX},
        {"state", &a->state, takes & TAKES_STATE, API_NAME_MAX},
        {"word", &a->word, takes & TAKES_WORD, API_NAME_MAX},
        {"wave", &a->wave, takes & TAKES_WAVE, API_NAME_MAX},
        {"group", &a->group, takes & TAKES_GROUP, API_NAME_MAX},
        {"domain", &a->domain, takes & TAKES_WHICH, API_NAME_MAX},
        {"rule", &a->rule, takes & TAKES_WHICH, API_NAME_MAX},
        {"backend", &a->backend, takes & TAKES_WHICH, API_NAME_MAX},
    };

    for (size_t i = 0; i < COUNTOF(texts); i++) {
        if (texts[i].taken && !strcmp(texts[i].name, name)) {
            *_max = texts[i].max;
            return texts[i].to;
        }
    }
    return NULL;
}

/* A pause between two of many accounts. */
enum { BODY_PAUSE_MAX = 3600 * 1000 };

static const char *body_pause_fault(const json_t *value, uint64_t *_r)
{
    json_int_t ms = json_integer_value(value);

    if (!json_is_integer(value) || ms < 0 || ms > BODY_PAUSE_MAX)
        return "is no number of milliseconds up to an hour";
    *_r = (uint64_t)ms;
    return NULL;
}

static bool *body_flag_of(struct action *a, unsigned takes, const char *name)
{
    const struct {
        const char *name;
        bool *to, taken;
    } flags[] = {
        {"now", &a->now, takes & TAKES_NOW},
        {"force", &a->force, takes & TAKES_FORCE},
        {"yes", &a->yes, takes & (TAKES_FORCE | TAKES_KINDS)},
        {"remove", &a->remove, takes & TAKES_KEYS},
    };

    for (size_t i = 0; i < COUNTOF(flags); i++)
        if (flags[i].taken && !strcmp(flags[i].name, name))
            return flags[i].to;
    return NULL;
}

static const char *body_field_fault(struct api_body *b, unsigned takes, const char *name, const json_t *value)
{
    size_t max = 0;
    const char **text = body_text_of(b, takes, name, &max);
    bool *flag = body_flag_of(&b->action, takes, name);
    const char *why;

    if (flag)
        return body_flag_fault(value, flag);
    if ((takes & (TAKES_KEYS | TAKES_KINDS)) && !strcmp(name, "keys"))
        return body_keys_fault(b, value);
    if ((takes & TAKES_USERS) && !strcmp(name, "users"))
        return body_keys_fault(b, value);
    if ((takes & TAKES_NAMES) && !strcmp(name, "names")) {
        b->names = json_is_string(value) ? json_string_value(value) : "";
        return json_is_string(value) ? NULL : "is not a string";
    }
    if ((takes & TAKES_PAUSE) && !strcmp(name, "pause_ms"))
        return body_pause_fault(value, &b->pause_ms);
    if (!text)
        return "is no field of this call";
    why = body_text_fault(value, max);
    *text = why ? "" : json_string_value(value);
    return why;
}

static bool body_read_object(struct http_request *r, unsigned takes, struct api_body *b)
{
    const char *name, *why;
    json_t *value;

    json_object_foreach(b->json, name, value)
    {
        if ((why = body_field_fault(b, takes, name, value))) {
            api_refuse(r, 400, "\"%.64s\" %s", name, why);
            return false;
        }
    }
    if (!(takes & TAKES_NO_REASON) && strspn(b->action.reason, " ") == strlen(b->action.reason)) {
        api_refuse(r, 400, "a \"reason\" is needed: it stands in the audit");
        return false;
    }
    return true;
}

static bool body_is_json(struct http_request *r)
{
    static const char type[] = "application/json";
    const char *given = http_request_header(r, "Content-Type");
    size_t n = sizeof(type) - 1;

    return given && !strncasecmp(given, type, n) && (!given[n] || given[n] == ';' || given[n] == ' ');
}

static bool body_parse(struct http_request *r, struct api_body *b)
{
    struct span body = http_request_body(r);
    json_error_t error;

    if (!body_is_json(r)) {
        api_refuse(r, 415, "Content-Type is not application/json");
        return false;
    }
    b->json = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(b->json)) {
        api_refuse(r, 400, "the body is not a JSON object%s%s", b->json ? "" : ": ",
                   b->json ? "" : error.text);
        return false;
    }
    return true;
}

/* ---- either */

bool api_body_read(struct http_request *r, unsigned takes, struct api_body *b)
{
    struct action *a = &b->action;
    bool good;

    a->login = a->to = a->state = a->reason = a->cursor = a->word = a->wave = a->group = "";
    a->domain = a->rule = a->backend = b->what = b->names = b->format = "";
    if (!strcmp(http_request_method(r), "POST"))
        good = body_parse(r, b) && body_read_object(r, takes, b);
    else
        good = body_read_query(r, takes, b);
    if (good && (takes & TAKES_USER) && !*a->login) {
        api_refuse(r, 400, "\"user\" is needed");
        good = false;
    }
    if (good && (takes & TAKES_GROUP) && !*a->group) {
        api_refuse(r, 400, "\"group\" is needed");
        good = false;
    }
    return good;
}

void api_body_free(struct api_body *b)
{
    json_decref(b->json);
    b->json = NULL;
}
