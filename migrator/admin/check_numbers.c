/* Whether a server to which accounts go can be told the UIDVALIDITY and UIDs of mailboxes (channel.h): without it
 * everything works, as long as clients come through the proxies. */
#include <string.h>

#include "check_priv.h"

/* ---- doveadm ---- */

static void check_on_knocked(void *owner, const char *error, const char *hint, uint64_t date_s)
{
    struct side *s = owner;

    s->knock = NULL;
    if (s->c->doctor && date_s > 0)
        check_server_clock(s, date_s, clock_boot_ms() - s->knocked_ms);
    if (error)
        SIDE_LINE(s, CHECK_ERROR, *hint ? hint : "See doveadm_url, and the server's own log.",
                  "numbers of mailboxes can't be told to it: doveadm at %s %s", s->b->doveadm_url, error);
    else
        SIDE_LINE(
            s, CHECK_OK, "",
            "doveadm answers, and takes the key: mailboxes can have the UIDVALIDITY and UIDs of the source (T0)");
    check_ended(s->c);
}

static void check_doveadm(struct side *s)
{
    if (!s->b->doveadm_key) {
        SIDE_LINE(s, CHECK_WARNING, "Run this where a migrator runs.",
                  "doveadm_key_file can't be read here, so doveadm was not tried");
        return;
    }
    s->c->pending++;
    s->knocked_ms = clock_boot_ms();
    s->knock = channel_knock_start(s->c->loop, s->b, CHECK_ANSWER_MS, check_on_knocked, s);
}

/* ---- cyrus ---- */

#define SYNC_TAG "s"

/* Its own answer to the command, which begins a line; "" as long as there is none. */
static struct span check_sync_answer(const struct side *s)
{
    struct span said = buf_span(&s->replica_said);
    const uint8_t *line = said.p, *end = said.p + said.len, *feed;

    for (; line < end && (feed = memchr(line, '\r', (size_t)(end - line))); line = feed + 2)
        if (feed - line > 2 && !memcmp(line, SYNC_TAG " ", 2))
            return span_of(line + 2, (size_t)(feed - line - 2));
    return span_str("");
}

static void check_sync_ended(struct asking *a, struct span answer)
{
    struct side *s = a->side;
    struct buf text = {0};

    imap_write_text(&text, answer);
    if (answer.len > 2 && !strncasecmp((const char *)answer.p, "OK", 2))
        SIDE_LINE(
            s, CHECK_OK, "",
            "master_user %s is an administrator: mailboxes can have the UIDVALIDITY and UIDs of the source (T0)",
            s->b->master_user);
    else
        SIDE_LINE(
            s, CHECK_ERROR,
            "Add it to \"admins\" of its imapd.conf (conf/cyrus-numbers.conf), or say numbers = \"none\".",
            "numbers of mailboxes can't be told to it: master_user %s is no administrator there (SYNCGET: %s)",
            s->b->master_user, text.len ? buf_str(&text) : "no answer");
    buf_free(&text);
    stream_close(&a->stream, false);
    check_ended(s->c);
}

static void check_on_sync(struct stream *stream, enum stream_event ev, void *owner)
{
    struct asking *a = owner;
    struct span got = stream_peek(stream);

    if (ev == STREAM_DATA && a->side->replica_said.len < 1 << 20) {
        buf_add_span(&a->side->replica_said, got);
        stream_eat(stream, got.len);
        if (check_sync_answer(a->side).len > 0)
            check_sync_ended(a, check_sync_answer(a->side));
    } else if (ev != STREAM_DRAINED) {
        check_sync_ended(a, span_str(""));
    }
}

static void check_on_replica(void *owner, const struct login_result *r)
{
    struct asking *a = owner;
    struct side *s = a->side;
    struct imap_writer w;

    check_take(a, r, check_on_sync);
    if (r->rc != LOGIN_OK) {
        SIDE_LINE(
            s, CHECK_ERROR,
            "It has to sign in as itself, and be one of \"admins\" of its imapd.conf (conf/cyrus-numbers.conf).",
            "numbers of mailboxes can't be told to it: master_user %s can't sign in: %s", s->b->master_user,
            r->detail);
        check_ended(s->c);
        return;
    }
    imap_writer_init(&w, imap_literals_of(&r->caps));
    imap_write_raw(&w, SYNC_TAG " SYNCGET USER ");
    imap_write_string(&w, span_str(s->b->master_user));
    imap_write_raw(&w, "\r\n");
    stream_send(a->stream, w.out.mem + w.out.off, w.out.len);
    stream_deadline(a->stream, CHECK_ANSWER_MS);
    imap_writer_wipe(&w);
}

/* ---- which one ---- */

bool check_is_target(const struct check *c, const struct conf_backend *b)
{
    for (size_t i = 0; i < c->conf->n_rules; i++)
        if (!strcmp(c->conf->rules[i].target, b->name))
            return true;
    return !strcmp(c->conf->migration.target, b->name);
}

void check_numbers(struct side *s, const struct imap_caps *caps)
{
    static const struct imap_caps none;
    const char *why, *word;

    if (!check_is_target(s->c, s->b))
        return;
    word = channel_of(s->b, caps ? caps : &none, &why);
    if (word && !strcmp(word, "doveadm"))
        check_doveadm(s);
    else if (!word && s->b->numbers == TELL_CYRUS)
        SIDE_LINE(s, CHECK_ERROR, "For a Dovecot set doveadm_url, and say numbers = \"auto\".",
                  "numbers = \"cyrus\", but %s",
                  caps ? "it offers no X-REPLICATION, as a Cyrus does"
                       : "its master_user can't sign in for itself, as an administrator of a Cyrus can");
    else if (!caps)
        return; /* what lacks was said */
    else if (!word)
        SIDE_LINE(
            s, CHECK_OK, "",
            "is not told UIDVALIDITY and UIDs: %s; clients keep what they know as long as they come through the proxies",
            why);
    else
        check_ask(&s->replica, s, LOGIN_AS_USER, s->b->master_user, check_on_replica);
}

void check_numbers_drop(struct side *s)
{
    channel_knock_cancel(&s->knock);
    buf_free(&s->replica_said);
}
