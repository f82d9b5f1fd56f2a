#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jobs.h"
#include "log.h"
#include "redis.h"
#include "xalloc.h"

enum {
    REDIS_TIMEOUT_MS = 10000,
    BLOCK_MS = 1000, /* one read waits for so long at most */
};

enum stream_name { LOGINS, BULK, N_STREAMS };

struct jobs {
    struct store *store;  /* borrowed */
    const char *consumer; /* borrowed */
    jobs_event_fn event;
    jobs_entry_fn entry;
    void *owner;
    struct redis *redis;   /* for reading that blocks; owned */
    char *keys[N_STREAMS]; /* owned */
    bool groups_made, reading, stopped;
    size_t asked;     /* entries that the read under way may bring */
    uint64_t sent_ms; /* when it was sent */
};

/* --- reading --- */

/* A list of (stream, list of entries), or nil. */
static void jobs_take_streams(struct jobs *j, const struct reply *r)
{
    for (size_t i = 0; i < reply_count(r); i++) {
        const struct reply *stream = reply_at(r, i), *entries = reply_at(stream, 1);
        bool bulk = span_is(reply_str(reply_at(stream, 0)), j->keys[BULK]);
        for (size_t k = 0; k < reply_count(entries); k++) {
            const struct reply *entry = reply_at(entries, k); /* id, (name, value, name, value ...) */
            j->entry(j->owner, &(struct jobs_entry){.bulk = bulk,
                                                    .id = reply_str(reply_at(entry, 0)),
                                                    .user = reply_str(reply_get(reply_at(entry, 1), "user")),
                                                    .sent_ms = j->sent_ms});
        }
    }
}

static void jobs_end_read(struct jobs *j)
{
    j->reading = false;
    j->asked = 0;
    j->event(j->owner, JOBS_ENDED);
}

static void jobs_on_read(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct jobs *j = owner;

    jobs_end_read(j);
    if (rc == REDIS_OK) {
        jobs_take_streams(j, r);
    } else if (rc == REDIS_ERROR_REPLY) { /* most likely NOGROUP: the streams are gone or new */
        LOG(WARN, "jobs_unreadable", LOG_SPAN("error", reply_str(r)));
        j->groups_made = false;
    }
}

static uint64_t jobs_block_ms(const struct jobs *j)
{
    uint64_t quarter = store_conf(j->store)->migrator.job_lease_ms / 4;

    return quarter < BLOCK_MS ? quarter : BLOCK_MS;
}

/* Both streams, and waits. */
static void jobs_read_waiting(struct jobs *j)
{
    uint64_t block_ms = jobs_block_ms(j);
    char block[24];

    j->asked = 1;
    j->sent_ms = clock_boot_ms();
    snprintf(block, sizeof(block), "%" PRIu64, block_ms);
    const char *words[] = {"XREADGROUP", "GROUP",   JOBS_GROUP,      j->consumer,   "COUNT", "1", "BLOCK",
                           block,        "STREAMS", j->keys[LOGINS], j->keys[BULK], ">",     ">"};
    struct span argv[COUNTOF(words)];
    for (size_t i = 0; i < COUNTOF(words); i++)
        argv[i] = span_str(words[i]);
    redis_command(j->redis, argv, COUNTOF(words), block_ms + REDIS_TIMEOUT_MS, jobs_on_read, j);
}

static void jobs_on_logins(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct jobs *j = owner;

    if (rc != REDIS_OK || reply_count(r) > 0 || j->stopped || store_state(j->store) != STORE_UP)
        jobs_on_read(owner, rc, r);
    else
        jobs_read_waiting(j);
}

/* Logins alone, without waiting. */
void jobs_read(struct jobs *j, size_t places)
{
    char count[24];

    if (j->reading || !redis_is_up(j->redis) || places == 0)
        return;
    j->reading = true;
    j->asked = places;
    j->sent_ms = clock_boot_ms();
    snprintf(count, sizeof(count), "%zu", places);
    const char *words[] = {"XREADGROUP", "GROUP",   JOBS_GROUP,      j->consumer, "COUNT",
                           count,        "STREAMS", j->keys[LOGINS], ">"};
    struct span argv[COUNTOF(words)];
    for (size_t i = 0; i < COUNTOF(words); i++)
        argv[i] = span_str(words[i]);
    redis_command(j->redis, argv, COUNTOF(words), 0, jobs_on_logins, j);
}

size_t jobs_asked(const struct jobs *j)
{
    return j->asked;
}

void jobs_stop(struct jobs *j)
{
    j->stopped = true;
}

/* --- the group --- */

static void jobs_on_group(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct jobs *j = owner;
    struct span text = reply_str(r);
    bool there = rc == REDIS_ERROR_REPLY && text.len >= 9 && !memcmp(text.p, "BUSYGROUP", 9);

    if (rc == REDIS_OK || there) {
        j->groups_made = true;
        j->event(j->owner, JOBS_READY);
    } else if (rc == REDIS_ERROR_REPLY) {
        LOG(ERROR, "jobs_unreadable", LOG_SPAN("error", text));
    }
}

void jobs_make_groups(struct jobs *j)
{
    for (size_t i = 0; i < N_STREAMS; i++) {
        struct span argv[] = {span_str("XGROUP"),   span_str("CREATE"), span_str(j->keys[i]),
                              span_str(JOBS_GROUP), span_str("0"),      span_str("MKSTREAM")};
        store_command(j->store, argv, COUNTOF(argv), i + 1 < N_STREAMS ? NULL : jobs_on_group, j);
    }
}

bool jobs_have_groups(const struct jobs *j)
{
    return j->groups_made;
}

void jobs_miss_groups(struct jobs *j)
{
    j->groups_made = false;
}

/* --- life --- */

static void jobs_on_redis(void *owner, bool up, const char *detail)
{
    struct jobs *j = owner;

    (void)detail; /* the store's connection tells the log */
    if (up)
        j->event(j->owner, JOBS_READY);
    else
        jobs_end_read(j);
}

struct jobs *jobs_new(struct store *s, const char *consumer, uint64_t silence_ms, jobs_event_fn event,
                      jobs_entry_fn entry, void *owner)
{
    struct jobs *j = xcalloc(1, sizeof(*j));

    j->store = s;
    j->consumer = consumer;
    j->event = event;
    j->entry = entry;
    j->owner = owner;
    j->keys[LOGINS] = store_key(s, "jobs");
    j->keys[BULK] = store_key(s, "jobs:bulk");
    j->redis =
        redis_new(store_loop(s), &store_conf(s)->redis, store_address(s), REDIS_TIMEOUT_MS, jobs_on_redis, j);
    redis_set_silence(j->redis, silence_ms);
    return j;
}

void jobs_free(struct jobs **jp)
{
    struct jobs *j = *jp;

    *jp = NULL;
    if (!j)
        return;
    store_forget(j->store, j);
    redis_free(&j->redis);
    for (size_t i = 0; i < N_STREAMS; i++)
        free(j->keys[i]);
    free(j);
}
