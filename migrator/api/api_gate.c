#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "api_priv.h"

/* ---- by which name */

/* "example.org:8025", "[::1]:8025", "127.0.0.1": without the port, and without brackets. To free; NULL: it is none. */
static char *gate_host_of(const char *host)
{
    size_t n = strlen(host);
    const char *close = strchr(host, ']');

    if (*host == '[')
        return close && (!close[1] || close[1] == ':')
                   ? xspandup(span_of(host + 1, (size_t)(close - host) - 1))
                   : NULL;
    const char *colon = strchr(host, ':');
    return xspandup(span_of(host, colon ? (size_t)(colon - host) : n));
}

static bool gate_is_address(const char *host)
{
    uint8_t address[16];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static bool gate_is_ours(const struct conf *c, const char *host)
{
    bool ours = gate_is_address(host) || !strcasecmp(host, "localhost");

    for (size_t i = 0; i < c->admin.names.n; i++)
        ours = ours || !strcasecmp(host, c->admin.names.items[i]);
    return ours;
}

/* A browser says for whom it asks (W3C, Fetch Metadata); what it opens by itself has "none". followed: a link that somebody
 * followed is fine, too. */
static bool gate_is_of_our_page(struct http_request *r, bool followed)
{
    const char *site = http_request_header(r, "Sec-Fetch-Site"),
               *mode = http_request_header(r, "Sec-Fetch-Mode");

    return !site || !strcmp(site, "same-origin") || !strcmp(site, "none") ||
           (followed && mode && !strcmp(mode, "navigate"));
}

static bool gate_host(struct api *a, struct http_request *r, bool followed)
{
    const char *given = http_request_header(r, "Host");
    char *host = gate_host_of(given ? given : "");

    bool ours = host && gate_is_ours(a->conf, host);
    free(host);
    if (!ours)
        api_refuse(r, 421,
                   "this is not a name of this server; admin.names lists those by which it may be asked for");
    else if (!gate_is_of_our_page(r, followed))
        api_refuse(r, 403, "a browser asks for this on behalf of another site");
    else
        return true;
    return false;
}

bool api_gate_page(struct api *a, struct http_request *r)
{
    return gate_host(a, r, true);
}

/* ---- by whom */

static bool gate_wait(struct http_request *r, uint64_t ms)
{
    char seconds[24];

    if (ms == 0)
        return true;
    snprintf(seconds, sizeof(seconds), "%" PRIu64, ms / 1000 + 1);
    http_add_header(r, "Retry-After", seconds);
    api_refuse(r, 429, "too many wrong tokens came from there: try again in %s s", seconds);
    return false;
}

static void gate_refuse(struct api *a, struct http_request *r, bool shown)
{
    const char *peer = http_request_peer(r);

    if (shown) {
        refusals_add(&a->refusals, peer, clock_boot_ms());
        LOG(WARN, "api_refused", LOG_S("peer", peer), LOG_S("path", http_request_path(r)),
            LOG_S("why", "there is no such token"));
    }
    http_add_header(r, "WWW-Authenticate", "Bearer realm=\"imapferry\"");
    api_refuse(r, 401,
               shown ? "there is no such token" : "a token is needed: \"Authorization: Bearer TOKEN\"");
}

static void gate_slow_down(struct http_request *r, const char *name)
{
    http_add_header(r, "Retry-After", "1");
    api_refuse(r, 429, "the token of %s asks more than %d times a second", name, ALLOWANCE_PER_SECOND);
}

bool api_gate(struct api *a, struct http_request *r, enum token_role role, struct api_who *_who)
{
    struct span token = http_request_bearer(r);

    if (!gate_host(a, r, false))
        return false;
    struct api_who who = {.name = ""};
    who.role = token.len ? tokens_find(a->tokens, token, &who.name) : TOKEN_NOBODY;
    if (who.role == TOKEN_NOBODY) {
        if (gate_wait(r, refusals_wait_ms(&a->refusals, http_request_peer(r), clock_boot_ms())))
            gate_refuse(a, r, token.len > 0);
    } else if (who.role < role) {
        api_refuse(r, 403, "the token of %s may look, and change nothing", who.name);
    } else if (!allowance_take(&a->allowance, who.name, clock_boot_ms())) {
        gate_slow_down(r, who.name);
    } else {
        *_who = who;
        return true;
    }
    return false;
}

bool api_gate_list(const struct api *a, const struct http_request *r)
{
    struct span token = http_request_bearer(r);
    const char *name;

    return token.len && tokens_find(a->tokens, token, &name) >= TOKEN_OPERATOR;
}
