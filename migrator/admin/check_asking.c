/* One connection to a server, or several, of which check.h asks something. */
#include "check_priv.h"

enum { CHECK_PART_MS = 3000 /* for a server to close connections */ };

/* user: as LOGIN_AS_USER the master itself; NULL for LOGIN_AS_NOBODY. */
void check_ask(struct asking *a, struct side *s, enum login_as as, const char *user, backend_login_fn fn)
{
    check_ask_at(a, s, s->b, CHECK_ANSWER_MS, as, user, fn);
}

void check_ask_at(struct asking *a, struct side *s, const struct conf_backend *b, uint64_t answer_ms,
                  enum login_as as, const char *user, backend_login_fn fn)
{
    check_ask_place(a, s, b, NULL, answer_ms, as, user, fn);
}

void check_ask_place(struct asking *a, struct side *s, const struct conf_backend *b, const char *place,
                     uint64_t answer_ms, enum login_as as, const char *user, backend_login_fn fn)
{
    *a = (struct asking){.side = s, .as = as, .began_ms = clock_boot_ms()};
    s->c->pending++;
    a->login = backend_login_start(
        s->c->loop,
        &(struct login_request){.backend = b,
                                .policy = s->tls,
                                .place = place,
                                .as = as,
                                .credential = credential_of_password(user, b->master_password),
                                .user = user,
                                .site = store_id(s->c->store),
                                .ttl = CHECK_HOPS,
                                .limits = {.high_water = 64 << 10, .queue_max = 1 << 20},
                                .connect_timeout_ms = CHECK_CONNECT_MS,
                                .step_timeout_ms = answer_ms},
        fn, a);
}

void check_take(struct asking *a, const struct login_result *r, stream_fn fn)
{
    a->login = NULL;
    a->stream = r->stream;
    if (a->stream)
        stream_set_owner(a->stream, fn, a);
}

void check_leave(struct asking *a)
{
    stream_send(a->stream, "z LOGOUT\r\n", 10);
    stream_deadline(a->stream, CHECK_PART_MS);
}

/* As a client leaves; nobody waits for it. */
void check_part(struct asking *a)
{
    if (a->stream)
        check_leave(a);
    stream_close(&a->stream, true);
}

void check_drop_asking(struct asking *a)
{
    backend_login_cancel(&a->login);
    stream_close(&a->stream, false);
}
