#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/fault.h"
#include "lib/imap_write.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "journal.h"

enum { RESERVE_BYTES = 16 * 1024 }; /* what a probe has the disk keep free: some fifty lines */

/* One line that somebody waits for. */
struct note {
    char *line; /* with its line feed; owned */
    bool is_probe;
    journal_fn fn; /* NULL: nobody waits any more */
    void *owner;
    uint64_t until_ms; /* by clock_boot_ms() */
    TAILQ_ENTRY(note) link;
};
TAILQ_HEAD(notes, note);

/* What a thread writes in one go. It outlives the journal, so it has what it needs. */
struct journal_batch {
    uv_work_t req;
    struct journal *journal; /* NULL: freed */
    char *folder;            /* owned */
    struct buf text;
    bool probes, flips; /* there are such lines in it */
    char *error;        /* owned; set by the thread */
};

struct journal {
    struct loop *loop;
    char *folder;                  /* owned */
    struct journal_batch *batch;   /* under way; frees itself */
    struct notes written, waiting; /* written: in the batch */
    struct timer *slow;            /* when the first one has waited for too long */
    bool bad;
};

/* ---- in the thread */

static char *journal_failed(const char *what, const char *path)
{
    return xasprintf("%s: can't %s: %s", path, what, strerror(errno));
}

/* A crash may have left half a line: the next one begins a line of its own. */
static bool ends_in_half_a_line(int fd)
{
    struct stat st;
    char last;

    return fstat(fd, &st) == 0 && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
}

/* Several migrators of one host may write to one file. No lock keeps them apart, since one that is stopped
 * while it holds it would stop the flips of all: a single write with O_APPEND does (POSIX write()), and one
 * that falls short, on a full disk, is an error. */
static bool write_whole(int fd, const char *text)
{
    size_t n = strlen(text);
    ssize_t did;

    do {
        did = write(fd, text, n);
    } while (did < 0 && errno == EINTR);
    if (did >= 0 && (size_t)did < n)
        errno = ENOSPC;
    return did >= 0 && (size_t)did == n;
}

/* Room for lines to come, besides what is in the file: a disk with room for one byte has none for a flip.
 * File systems that can't are asked for no more than the byte. */
static bool journal_reserve(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, st.st_size, RESERVE_BYTES) == 0)
        return true;
    return errno != ENOSPC && errno != EDQUOT && errno != EIO && errno != EFBIG;
}

static char *journal_append(int fd, const char *path, const char *lines, bool probe)
{
    if (probe && !journal_reserve(fd))
        return journal_failed("keep room in", path);
    char *text = xasprintf("%s%s", ends_in_half_a_line(fd) ? "\n" : "", lines);
    bool written = write_whole(fd, text);

    free(text);
    if (!written)
        return journal_failed("write", path);
    if (fsync(fd) < 0)
        return journal_failed("fsync", path);
    return NULL;
}

/* The name of a new file has to be on the disk as well. */
static char *sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *error = fd < 0 || fsync(fd) < 0 ? journal_failed("fsync", folder) : NULL;

    if (fd >= 0)
        close(fd);
    return error;
}

static char *journal_write_lines(const char *folder, const char *lines, bool probe)
{
    char *path = xasprintf("%s/flips", folder), *error;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        error = journal_failed("open", path);
    } else {
        error = journal_append(fd, path, lines, probe);
        if (close(fd) < 0 && !error)
            error = journal_failed("close", path);
    }
    free(path);
    return error ? error : sync_folder(folder);
}

static void in_thread(uv_work_t *req)
{
    struct journal_batch *b = CONTAINER_OF(req, struct journal_batch, req);

    if (b->flips)
        FAULT_POINT("journal", NULL, "sent");
    b->error = journal_write_lines(b->folder, buf_str(&b->text), b->probes && !b->flips);
    if (b->flips)
        FAULT_POINT("journal", NULL, "answered");
}

/* ---- in the loop */

static void note_free(struct note *n)
{
    free(n->line);
    free(n);
}

static void free_notes(struct notes *list)
{
    struct note *n;

    while ((n = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, n, link);
        note_free(n);
    }
}

static void set_bad(struct journal *j, const char *error)
{
    if (error && !j->bad)
        LOG(ERROR, "journal_unwritable", LOG_S("error", error),
            LOG_S("effect", "this migrator takes no work until it can be written"));
    else if (!error && j->bad)
        LOG(INFO, "journal_writable");
    j->bad = error != NULL;
}

static void journal_tell(struct note *n, const char *error)
{
    journal_fn fn = n->fn;

    n->fn = NULL;
    if (fn)
        fn(n->owner, error);
}

static void journal_watch(struct journal *j)
{
    struct note *n = NULL, *list[] = {TAILQ_FIRST(&j->written), TAILQ_FIRST(&j->waiting)};

    for (size_t i = 0; i < COUNTOF(list) && !n; i++)
        for (n = list[i]; n && !n->fn;)
            n = TAILQ_NEXT(n, link);
    uint64_t now = clock_boot_ms();
    if (n)
        timer_start(j->slow, n->until_ms > now ? n->until_ms - now : 1);
    else
        timer_stop(j->slow);
}

static void journal_start(struct journal *j);

/* Who is told may ask for the next line, which begins when all of these have been told. */
static void journal_on_written(uv_work_t *req, int status)
{
    struct journal_batch *b = CONTAINER_OF(req, struct journal_batch, req);
    struct journal *j = b->journal;
    const char *error = status < 0 ? uv_strerror(status) : b->error;
    struct note *n;

    if (j) {
        set_bad(j, error);
        while ((n = TAILQ_FIRST(&j->written))) {
            TAILQ_REMOVE(&j->written, n, link);
            journal_tell(n, error);
            note_free(n);
        }
        j->batch = NULL;
        journal_start(j);
    }
    free(b->folder);
    buf_free(&b->text);
    free(b->error);
    free(b);
}

/* All that waits, as one text. */
static void journal_start(struct journal *j)
{
    struct note *n;

    journal_watch(j);
    if (j->batch || TAILQ_EMPTY(&j->waiting))
        return;
    struct journal_batch *b = j->batch = xcalloc(1, sizeof(*b));
    b->journal = j;
    b->folder = xstrdup(j->folder);
    while ((n = TAILQ_FIRST(&j->waiting))) {
        TAILQ_REMOVE(&j->waiting, n, link);
        TAILQ_INSERT_TAIL(&j->written, n, link);
        buf_add_str(&b->text,
                    n->fn ? n->line : ""); /* nobody waits: who gave it up has said that it is not there */
        b->probes |= n->is_probe;
        b->flips |= !n->is_probe;
    }
    uv_queue_work(&j->loop->uv, &b->req, in_thread, journal_on_written);
}

static struct note *first_late(struct notes *list)
{
    struct note *n;
    uint64_t now = clock_boot_ms();

    TAILQ_FOREACH(n, list, link)
    if (n->fn && n->until_ms <= now)
        return n;
    return NULL;
}

/* The disk may write all the same, once it goes on: what is in the batch. */
static void tell_late(struct notes *list, const char *error)
{
    struct note *n;

    while ((n = first_late(list)))
        journal_tell(n, error); /* which may change the list */
}

static void on_slow(void *owner)
{
    struct journal *j = owner;
    char *error = xasprintf("%s/flips: the disk has not written for %d s", j->folder, JOURNAL_SLOW_MS / 1000);

    set_bad(j, error);
    tell_late(&j->written, error);
    tell_late(&j->waiting, error);
    journal_watch(j);
    free(error);
}

static void now_text(char *out, size_t size)
{
    uint64_t ms = clock_wall_ms();
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char day[32];

    gmtime_r(&s, &tm);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, size, "%s.%03uZ", day, (unsigned)(ms % 1000));
}

/* Names are ASCII; should one not be, the line is written all the same. */
static json_t *journal_text_of(const char *s)
{
    json_t *text = json_string(s ? s : "");

    if (!text) {
        struct buf plain = {0};
        imap_write_text(&plain, span_str(s));
        text = json_string(buf_str(&plain));
        buf_free(&plain);
    }
    return text;
}

static char *journal_line_of(const char *user, const struct route *r)
{
    char now[48];
    json_t *o = json_object();

    now_text(now, sizeof(now));
    json_object_set_new(o, "time", json_string(now));
    json_object_set_new(o, "user", journal_text_of(user));
    json_object_set_new(o, "source", journal_text_of(r->source));
    json_object_set_new(o, "target", journal_text_of(r->target));
    json_object_set_new(o, "epoch", json_integer((json_int_t)r->epoch));
    json_object_set_new(o, "generation", json_integer((json_int_t)r->generation));
    json_object_set_new(o, "view", journal_text_of(r->view));
    if (r->proof && *r->proof)
        json_object_set_new(o, "proof", journal_text_of(r->proof));
    char *text = json_dumps(o, JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
    char *line = xasprintf("%s\n", text);
    json_decref(o);
    free(text);
    return line;
}

static void journal_add(struct journal *j, char *line, bool is_probe, journal_fn fn, void *owner)
{
    struct note *n = xcalloc(1, sizeof(*n));

    *n = (struct note){.line = line,
                       .is_probe = is_probe,
                       .fn = fn,
                       .owner = owner,
                       .until_ms = clock_boot_ms() + JOURNAL_SLOW_MS};
    TAILQ_INSERT_TAIL(&j->waiting, n, link);
    journal_start(j);
}

void journal_write(struct journal *j, const char *user, const struct route *r, journal_fn fn, void *owner)
{
    journal_add(j, journal_line_of(user, r), false, fn, owner);
}

void journal_probe(struct journal *j, journal_fn fn, void *owner)
{
    journal_add(j, xstrdup("\n"), true, fn, owner);
}

bool journal_is_good(const struct journal *j)
{
    return !j->bad;
}

void journal_forget(struct journal *j, void *owner)
{
    struct note *n, *next;

    TAILQ_FOREACH(n, &j->written, link)
    if (n->owner == owner)
        n->fn = NULL;
    for (n = TAILQ_FIRST(&j->waiting); n; n = next) {
        next = TAILQ_NEXT(n, link);
        if (n->owner != owner)
            continue;
        TAILQ_REMOVE(&j->waiting, n, link);
        note_free(n);
    }
}

struct journal *journal_open(struct loop *l, const char *folder, char **error)
{
    if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
        *error = journal_failed("make the folder", folder);
        return NULL;
    }
    char *path = xasprintf("%s/flips", folder);
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    *error = fd < 0 ? journal_failed("open", path) : NULL;
    if (fd >= 0)
        close(fd);
    free(path);
    if (*error)
        return NULL;
    struct journal *j = xcalloc(1, sizeof(*j));
    j->loop = l;
    j->folder = xstrdup(folder);
    TAILQ_INIT(&j->written);
    TAILQ_INIT(&j->waiting);
    j->slow = timer_new(l, on_slow, j);
    return j;
}

void journal_free(struct journal **jp)
{
    struct journal *j = *jp;

    *jp = NULL;
    if (!j)
        return;
    if (j->batch)
        j->batch->journal = NULL;
    free_notes(&j->written);
    free_notes(&j->waiting);
    timer_free(&j->slow);
    free(j->folder);
    free(j);
}
