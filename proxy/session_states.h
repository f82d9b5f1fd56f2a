/* session_states: what a session does in each of its states, as one table: a state is a row. What each state
 * waits for, and where it leads, is told at the head of session.h. */
#ifndef IMAPFERRY_SESSION_STATES_H
#define IMAPFERRY_SESSION_STATES_H

#include "session.h"

struct session_state_row {
    const char *name; /* for the log */
    /* How long the session may stay, ms from the moment it enters the state. NULL or 0: no deadline is set;
     * in THROTTLED, WAITING and REFUSED throttle.c and routing.c set one by themselves. */
    uint64_t (*deadline_ms)(const struct session *s);
    void (*on_deadline)(struct session *s);
    /* Events of the client's stream, and of the backend's. NULL: none can come, or none matters. */
    void (*on_client)(struct session *s, enum stream_event ev);
    void (*on_backend)(struct session *s, enum stream_event ev);
};

const char *session_state_name(enum session_state state);
/* n more, or fewer, are in that state: for who reads it from another thread (proxy.h, n_in). */
void session_count(struct proxy *p, enum session_state state, int n);
/* The row of the state that the session is in. */
const struct session_state_row *session_state_row(const struct session *s);

#endif
