/* What the files of check.h share: check.c begins and ends it, check_backend.c looks at servers, check_store.c at
 * Redis, check_clients.c at what clients meet, check_numbers.c at how servers are told numbers of mailboxes,
 * check_header.c at whether they expect a PROXY header, check_pop3.c at their UIDLs, check_say.c writes the lines. */
#ifndef IMAPFERRY_CHECK_PRIV_H
#define IMAPFERRY_CHECK_PRIV_H

#include "lib/backend_login.h"
#include "lib/store_caps.h"

#include "migrator/site/channel.h"
#include "migrator/site/recall.h"

#include "check.h"
#include "naming.h"

enum { HELD_MOST = 50 /* connections at once, whatever max_connections says */ };
enum level { CHECK_OK, CHECK_WARNING, CHECK_ERROR };

struct side;
struct check_header;

/* One connection that is asked for, and kept until all of its kind have ended. */
struct asking {
    struct side *side;
    struct backend_login *login;
    struct stream *stream; /* owned; signed in, or greeted */
    enum login_as as;
    uint64_t began_ms;
};

/* Connections to one backend that are there at the same time: how many the server takes. */
struct check_crowd {
    struct asking all[HELD_MOST];
    size_t n, ended, good;
    bool parting;
    char *refusal; /* owned; the first one */
};

struct side {
    struct check *c;
    const struct conf_backend *b;
    struct tls_policy *tls; /* owned */
    json_t *lines;          /* owned */
    json_t *exists;         /* owned; NULL: not asked */
    struct caps_record caps;
    struct asking first, master;
    struct asking *each; /* owned; one an address, where there are several; NULL: there is one */
    size_t n_each;
    struct asking replica; /* the administrator of a Cyrus; see check_numbers.c */
    struct buf replica_said;
    struct channel_knock *knock;
    uint64_t knocked_ms;   /* clock_boot_ms() then */
    char *peer;            /* owned; whom the first one reached; NULL: nobody */
    const char *master_as; /* for whom master signs in; borrowed */
    bool master_good;
    struct check_crowd plain, signed_in;
    struct check_header *header; /* owned; NULL: it is not looked at */
};

struct check {
    struct loop *loop;
    const struct conf *conf;
    char *user, *login; /* owned; of one account */
    char *as_key;       /* owned; see naming.h */
    struct naming *naming;
    check_fn fn;
    void *owner;
    struct side *sides;
    size_t n;
    json_t *redis, *rest; /* owned; lines */
    size_t nth;           /* which store, and whether it alone is looked at */
    bool store_alone;
    struct store_site site;
    struct store *store;
    struct timer *reach, *all;
    struct loop_task task; /* tells the end */
    unsigned pending;      /* what has not ended */
    bool store_ended, caps_read, doctor, serving;
    uint64_t asked_ms,
        redis_ms; /* doctor: when Redis was asked for its time (clock_boot_ms()), and that time */
    struct recall *recall;
    struct check_pop3 *pop3; /* owned; one a move whose servers are asked */
    size_t errors;
};

/* A line of the report. lines: of which part; advice: what to do, "" where there is nothing. */
void check_line(struct check *c, json_t *lines, const char *of, enum level level, const char *advice,
                const char *fmt, ...) PRINTF_LIKE(6, 7);
#define SIDE_LINE(s, level, ...)  check_line((s)->c, (s)->lines, (s)->b->name, level, __VA_ARGS__)
#define REDIS_LINE(c, level, ...) check_line(c, (c)->redis, "redis", level, __VA_ARGS__)
/* One of what is pending has ended. */
void check_ended(struct check *c);

/* Takes the key of the account; NULL: none. Nothing has been asked of a backend yet. */
void check_set_user(struct check *c, char *key);
void check_sides_start(struct check *c);
void check_side_drop(struct side *s);

/* One connection more, signed in as `as`: check_asking.c. */
void check_ask(struct asking *a, struct side *s, enum login_as as, const char *user, backend_login_fn fn);
/* The same of a backend that is not quite that of the side, and with another time for each answer. */
void check_ask_at(struct asking *a, struct side *s, const struct conf_backend *b, uint64_t answer_ms,
                  enum login_as as, const char *user, backend_login_fn fn);
/* ... and at one of its places alone (reach.h); NULL: any. */
void check_ask_place(struct asking *a, struct side *s, const struct conf_backend *b, const char *place,
                     uint64_t answer_ms, enum login_as as, const char *user, backend_login_fn fn);
void check_take(struct asking *a, const struct login_result *r, stream_fn fn);
/* Says LOGOUT, and does not wait for the end: for check_part() nobody does. */
void check_leave(struct asking *a);
void check_part(struct asking *a);
void check_drop_asking(struct asking *a);

/* The first connection failed: says so, with this advice, or that it was for want of a PROXY header, or for
 * one that was not expected. advice: of a fixed text. */
void check_header_after(struct side *s, const struct login_result *r, const char *advice);
/* It did not; but a server may take a header in silence that it does not expect. */
void check_header_confirm(struct side *s);
bool check_header_pending(const struct side *s);
void check_header_drop(struct side *s);

/* Can the numbers of mailboxes be told, where accounts go to this server? caps: of a sign-in; NULL: none. */
void check_numbers(struct side *s, const struct imap_caps *caps);
/* Do accounts go to it? */
bool check_is_target(const struct check *c, const struct conf_backend *b);
void check_numbers_drop(struct side *s);

/* Of store_new(). */
void check_on_store(void *owner, enum store_state state, const char *detail);
/* Redis was not reached in time. */
void check_on_reach(void *owner);

/* Asks what doctor asks besides: check_doctor.c. */
void check_doctor(struct check *c);
/* ... and what it looks at of a server: its clock, which was told to the second within took_ms; whether it tells quotas, which
 * matters where accounts go there. */
void check_server_clock(struct side *s, uint64_t date_s, uint64_t took_ms);
void check_quotas(struct side *s, const struct imap_caps *caps);

void check_certificates(struct check *c);
/* Do clients sign in by tokens that this server does not take? caps: of before a sign-in. */
void check_tokens(struct side *s, const struct imap_caps *caps);
/* Which capabilities clients are shown, and which they lose. */
void check_shown(struct check *c);
/* Do mail programs that read by POP3 download again? */
void check_pop3(struct check *c);
bool check_pop3_pending(const struct check *c);
void check_pop3_drop(struct check *c);
void check_pop3_free(struct check *c);
/* Where accounts move: of one account the servers that it leaves and goes to, else all that the configuration names. */
void check_each_pair(struct check *c, void (*fn)(struct check *c, const char *source, const char *target));
/* NULL: none has the name, or it does not concern the account. */
const struct side *check_side_of(const struct check *c, const char *name);
/* Do two names lead to one server? */
void check_pairs(struct check *c);

#endif
