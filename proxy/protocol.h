/* protocol: what a client speaks. A session goes by the rest of the proxy whatever it is; here stands what differs.
 * What none of them tells is that of the state (session_states.h). */
#ifndef IMAPFERRY_PROTOCOL_H
#define IMAPFERRY_PROTOCOL_H

#include "session.h"

struct protocol {
    bool is_pop3;

    /* ---- until RELAY (preauth.h) ---- */

    void (*greet)(struct session *s);   /* in NEW */
    void (*secured)(struct session *s); /* in SECURING: TLS is there */
    void (*data)(struct session *s);    /* STREAM_DATA in PREAUTH */
    void (*drained)(struct session *s); /* STREAM_DRAINED before RELAY */
    void (*flush)(struct session *s);   /* what was said goes out now */
    void (*forget)(struct session *s);  /* frees what it keeps for this part, where it does */
    /* A login has failed: tells so, by a code of RFC 5530 and a text of ours; then, by login_failed, goes back to
     * PREAUTH, or ends the session. */
    void (*say_no)(struct session *s, const char *tag, const char *code, const char *text);
    void (*login_failed)(struct session *s);
    void (*challenge)(struct session *s, const char *why, const char *code,
                      const char *text); /* preauth_challenge() */

    /* ---- in RELAY (relay.h) ---- */

    /* The login has succeeded: says so, and enters RELAY. NULL: relay_begin() does. */
    void (*begin)(struct session *s);

    void (*client_event)(struct session *s, enum stream_event ev);
    /* Is something under way that the session has to see the end of? NULL: never. Where it is, the session goes on, be the client's
     * connection broken, and nothing more reaches it. */
    bool (*has_to_finish)(const struct session *s);
    void (*backend_event)(struct session *s, enum stream_event ev);
    void (*timeout)(struct session *s);
    void (*flow)(struct session *s);
    void (*settle)(struct session *s);
    void (*rest)(struct session *s, enum session_end end);
    bool (*at_boundary)(const struct session *s); /* a line of ours may go out */
    void (*end)(struct session *s);               /* frees what it keeps for this part, where it does */

    /* At any time but before the greeting: the session ends, with this text, which may begin with a code of IMAP's. */
    void (*say_bye)(struct session *s, enum session_end end, const char *text);
};

extern const struct protocol protocol_imap, protocol_pop3;

#endif
