#include "protocol.h"
#include "preauth.h"
#include "relay.h"

static void imap_say_no(struct session *s, const char *tag, const char *code, const char *text)
{
    session_say(s, "%s NO [%s] %s", tag, code, text);
}

static void imap_say_bye(struct session *s, enum session_end end, const char *text)
{
    (void)end;
    session_say(s, "* BYE %s", text);
}

static void imap_flush(struct session *s)
{
    if (s->preauth)
        preauth_flush(s);
}

static void imap_drained(struct session *s)
{
    if (s->preauth)
        preauth_drained(s);
}

static void imap_end(struct session *s)
{
    relay_free(&s->relay);
}

const struct protocol protocol_imap = {
    .greet = preauth_greet,
    .secured = preauth_secured,
    .data = preauth_data,
    .drained = imap_drained,
    .flush = imap_flush,
    .forget = preauth_free,
    .say_no = imap_say_no,
    .login_failed = preauth_login_failed,
    .challenge = preauth_challenge,
    .client_event = relay_client_event,
    .backend_event = relay_backend_event,
    .timeout = relay_timeout,
    .flow = relay_flow,
    .settle = relay_settle,
    .rest = relay_rest,
    .at_boundary = relay_at_boundary,
    .end = imap_end,
    .say_bye = imap_say_bye,
};
