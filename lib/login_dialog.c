#include <stdio.h>
#include <stdlib.h>

#include "imap_write.h"
#include "log.h"
#include "login_dialog.h"
#include "metrics.h"
#include "xalloc.h"

enum {
    SILENT_MS = 5000 /* without a word: the next address is tried, or it is said while it is waited for */
};

/* ---- the way there ---- */

static void login_dialog_reach(struct login_dialog *d, struct loop *l, const struct login_request *r,
                               const struct address *only, reach_fn fn, void *owner)
{
    struct buf header = {0};
    if (r->backend->proxy_protocol != PROXY_PROTOCOL_NONE)
        proxyproto_write(&header, r->backend->proxy_protocol == PROXY_PROTOCOL_V1 ? 1 : 2, r->ends);
    d->reach = reach_start(l,
                           &(struct reach_request){.backend = r->backend,
                                                   .address = only,
                                                   .policy = r->policy,
                                                   .outage = r->outage,
                                                   .user = r->user,
                                                   .place = r->place,
                                                   .first = buf_span(&header),
                                                   .names_client = header.len > 0 && r->ends,
                                                   .limits = r->limits,
                                                   .connect_timeout_ms = r->connect_timeout_ms,
                                                   .all_ms = r->connect_timeout_ms + r->step_timeout_ms},
                           fn, owner);
    buf_free(&header);
}

/* Credentials are copied, since the configuration may change meanwhile; who shows them is chosen when they are sent. */
void login_dialog_begin(struct login_dialog *d, struct loop *l, const struct login_request *r,
                        const struct address *only, reach_fn fn, void *owner, backend_login_fn told,
                        void *told_owner)
{
    struct credential master = credential_of_password("", r->backend->master_password);
    *d = (struct login_dialog){.backend = r->backend,
                               .policy = r->policy,
                               .as = r->as,
                               .user = xstrdup(r->user),
                               .session_id = xstrdup(r->session_id),
                               .step_timeout_ms = r->step_timeout_ms,
                               .fn = told,
                               .owner = told_owner,
                               .began_ns = uv_hrtime()};
    if (r->as != LOGIN_AS_NOBODY)
        credential_copy(&d->credential, r->as == LOGIN_AS_USER ? &r->credential : &master);
    login_dialog_reach(d, l, r, only, fn, owner);
}

void login_dialog_wipe(struct login_dialog *d)
{
    buf_wipe(&d->sasl);
    d->refused = false;
    d->acknowledge = NULL;
}

void login_dialog_free(struct login_dialog *d)
{
    reach_free(&d->reach);
    stream_close(&d->s, d->ended && d->rc == LOGIN_REFUSED);
    login_dialog_wipe(d);
    credential_wipe(&d->credential);
    buf_free(&d->challenge);
    free(d->user);
    free(d->session_id);
    free(d->detail);
}

/* ---- how long it may take ---- */

uint64_t login_dialog_patience_ms(const struct login_dialog *d)
{
    uint64_t third = d->step_timeout_ms / 3;
    return third < SILENT_MS ? third : SILENT_MS;
}

uint64_t login_dialog_step_ms(const struct login_dialog *d)
{
    uint64_t ms = login_dialog_patience_ms(d);
    return ms == 0 || d->answered || !reach_has_more(d->reach) ? d->step_timeout_ms : ms;
}

/* ---- the end ---- */

void login_dialog_answered(struct login_dialog *d)
{
    d->answered = true;
    reach_answered(d->reach);
}

void login_dialog_finish(struct login_dialog *d, enum login_rc rc, char *detail)
{
    if (d->ended) {
        free(detail);
        return;
    }
    d->ended = true;
    d->rc = rc;
    d->detail = detail;
}

void login_dialog_protocol_error(struct login_dialog *d, const char *what)
{
    login_dialog_finish(d, LOGIN_UNAVAILABLE, xasprintf("protocol error: %s", what));
}

void login_dialog_unreachable(struct login_dialog *d, enum dial_rc rc, const char *detail)
{
    login_dialog_finish(d, rc == DIAL_TLS_FAILED ? LOGIN_INSECURE : LOGIN_UNAVAILABLE, xstrdup(detail));
}

bool login_dialog_goes_on(struct login_dialog *d)
{
    char *all;
    if (d->answered || !d->s || (d->rc != LOGIN_UNAVAILABLE && d->rc != LOGIN_INSECURE))
        return false;
    if (reach_next(d->reach, d->rc == LOGIN_INSECURE ? DIAL_TLS_FAILED : DIAL_UNREACHABLE, d->detail, &all))
        return true;
    free(d->detail);
    d->detail = all;
    if (reach_rc(d->reach) == DIAL_TLS_FAILED)
        d->rc = LOGIN_INSECURE;
    return false;
}

void login_dialog_begin_anew(struct login_dialog *d)
{
    login_dialog_wipe(d);
    stream_close(&d->s, false);
    d->ended = d->answered = false;
    *d->code = '\0';
    free(d->detail);
    d->detail = NULL;
}

/* Those for nobody only look. */
static void login_dialog_count(const struct login_dialog *d)
{
    static const char *const words[] = {[LOGIN_OK] = "ok",
                                        [LOGIN_REFUSED] = "refused",
                                        [LOGIN_UNAVAILABLE] = "unavailable",
                                        [LOGIN_INSECURE] = "insecure",
                                        [LOGIN_NO_MECHANISM] = "no_mechanism"};
    if (d->as == LOGIN_AS_NOBODY)
        return;
    metric_add(METRIC_BACKEND_SIGNINS, 1, d->backend->name, words[d->rc]);
    if (d->rc == LOGIN_OK)
        metric_observe(METRIC_BACKEND_SIGNIN_DURATION, (uv_hrtime() - d->began_ns) / 1000, d->backend->name,
                       NULL);
}

void login_dialog_conclude(struct login_dialog *d, const char *phase, const struct imap_caps *caps,
                           void (*free_all)(void *sign_in), void *sign_in)
{
    struct login_result r = {.rc = d->rc, .phase = phase};
    char code[LOGIN_CODE_MAX], *detail = d->detail, *challenge = xspandup(buf_span(&d->challenge));
    backend_login_fn fn = d->fn;
    void *owner = d->owner;
    memcpy(code, d->code, sizeof code);
    d->detail = NULL;
    r.code = code;
    r.detail = detail;
    r.challenge = r.rc == LOGIN_REFUSED ? challenge : "";
    if (r.rc == LOGIN_OK) {
        stream_deadline(d->s, 0);
        r.caps = *caps;
        r.stream = d->s;
        d->s = NULL;
    }
    login_dialog_count(d);
    free_all(sign_in);
    fn(owner, &r);
    free(detail);
    free(challenge);
}

/* ---- what a backend says ---- */

static bool login_dialog_holds(struct span text, struct span part)
{
    return part.len > 0 && text.len > 0 && memmem(text.p, text.len, part.p, part.len) != NULL;
}

static bool login_dialog_echoes(const struct login_dialog *d, struct span text)
{
    return login_dialog_holds(text, d->credential.secret) || login_dialog_holds(text, buf_span(&d->sasl));
}

char *login_dialog_quote(const struct login_dialog *d, const char *what, struct span text)
{
    if (login_dialog_echoes(d, text))
        return xasprintf("%s (its text repeats the password and is left out)", what);
    struct buf clean = {0};
    imap_write_text(&clean, text);
    char *detail = xasprintf("%s: %s", what, buf_str(&clean));
    buf_free(&clean);
    return detail;
}

void login_dialog_take_challenge(struct login_dialog *d, struct span text)
{
    const char *answer = d->acknowledge;
    d->acknowledge = NULL;
    d->refused = true;
    if (!sasl_read_challenge(&d->challenge, text))
        LOG(DEBUG, "odd_challenge", LOG_S("backend", d->backend->name), LOG_U("bytes", text.len));
    stream_cork(d->s);
    stream_send(d->s, answer, strlen(answer));
    stream_send(d->s, "\r\n", 2);
    stream_uncork(d->s);
}

char *login_dialog_quote_challenge(const struct login_dialog *d, char *detail)
{
    struct span text = buf_span(&d->challenge);
    if (text.len == 0 || login_dialog_echoes(d, text))
        return detail;
    struct buf clean = {0};
    imap_write_text(&clean, text);
    char *both = xasprintf("%s %s", detail, buf_str(&clean));
    buf_free(&clean);
    free(detail);
    return both;
}
