/* relay_unit: a relay under test on the bench of session_unit.h. What it asks others for (rest, busy, client_id) is written down
 * here, or is as the test sets it. */
#ifndef IMAPFERRY_TEST_RELAY_UNIT_H
#define IMAPFERRY_TEST_RELAY_UNIT_H

#include "proxy/busy.h"
#include "session_unit.h"

static unsigned n_steps; /* of a session that is to rest */

void rest_step(struct session *s)
{
    (void)s;
    n_steps++;
}

bool rest_takes(struct session *s, const struct imap_resp *r, struct span line)
{
    (void)s, (void)line;
    return span_is_ci(r->word, "NAMESPACE");
}

static enum relay_own answered;
static enum imap_status answered_with;

void rest_answered(struct session *s, enum relay_own own, enum imap_status status)
{
    (void)s;
    answered = own;
    answered_with = status;
}

bool rest_withholds(struct session *s, const struct imap_resp *r)
{
    (void)s, (void)r;
    return false;
}

static uint32_t withheld;

uint32_t rest_withheld(const struct session *s)
{
    (void)s;
    return withheld;
}

void rest_backend_event(struct session *s, enum stream_event ev)
{
    (void)s, (void)ev;
}

bool busy_counts(enum imap_verb verb)
{
    return verb != VERB_NOOP;
}

static unsigned n_used;

void busy_note(struct account *a)
{
    (void)a;
    n_used++;
}

static bool id_is_heard;

bool client_id_is_heard(const struct session *s, const struct conf_backend *at)
{
    (void)s, (void)at;
    return id_is_heard;
}

void client_id_said(struct session *s, struct buf *pairs)
{
    buf_free(&s->client_id);
    s->client_id = *pairs;
    s->said_id = true;
    *pairs = (struct buf){0};
}

#endif
