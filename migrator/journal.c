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
#include "lib/xalloc.h"

#include "journal.h"

struct journal {
    struct loop *loop;
    char *folder; /* owned */
    LIST_HEAD(, work) works;
};

/* One line on its way. It outlives the journal, so it has what it needs. */
struct work {
    uv_work_t req;
    char *folder, *line; /* owned; the line with its line feed */
    char *error;         /* owned; set by the thread */
    journal_fn fn;       /* NULL: forgotten */
    void *owner;
    LIST_ENTRY(work) link;
    bool linked;
};

/* ---- in the thread */

static char *failed(const char *what, const char *path)
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

/* Several migrators of one host may write to one file. No lock keeps them apart, since one that is stopped while it
 * holds it would stop the flips of all: a single write with O_APPEND does (POSIX write()), and one that falls short, on
 * a full disk, is an error. */
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

static char *append_line(int fd, const char *path, const char *line)
{
    char *text = xasprintf("%s%s", ends_in_half_a_line(fd) ? "\n" : "", line);
    bool written = write_whole(fd, text);

    free(text);
    if (!written)
        return failed("write", path);
    if (fsync(fd) < 0)
        return failed("fsync", path);
    return NULL;
}

/* The name of a new file has to be on the disk as well. */
static char *sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *error = fd < 0 || fsync(fd) < 0 ? failed("fsync", folder) : NULL;

    if (fd >= 0)
        close(fd);
    return error;
}

static char *write_line(const char *folder, const char *line)
{
    char *path = xasprintf("%s/flips", folder), *error;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        error = failed("open", path);
    } else {
        error = append_line(fd, path, line);
        if (close(fd) < 0 && !error)
            error = failed("close", path);
    }
    free(path);
    return error ? error : sync_folder(folder);
}

static void in_thread(uv_work_t *req)
{
    struct work *w = CONTAINER_OF(req, struct work, req);

    FAULT_POINT("journal", NULL, "sent");
    w->error = write_line(w->folder, w->line);
    FAULT_POINT("journal", NULL, "answered");
}

/* ---- in the loop */

static void on_written(uv_work_t *req, int status)
{
    struct work *w = CONTAINER_OF(req, struct work, req);

    if (w->linked)
        LIST_REMOVE(w, link);
    if (w->fn)
        w->fn(w->owner, status < 0 ? uv_strerror(status) : w->error);
    free(w->folder);
    free(w->line);
    free(w->error);
    free(w);
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
static json_t *text_of(const char *s)
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

static char *line_of(const char *user, const struct route *r)
{
    char now[48];
    json_t *o = json_object();

    now_text(now, sizeof(now));
    json_object_set_new(o, "time", json_string(now));
    json_object_set_new(o, "user", text_of(user));
    json_object_set_new(o, "source", text_of(r->source));
    json_object_set_new(o, "target", text_of(r->target));
    json_object_set_new(o, "epoch", json_integer((json_int_t)r->epoch));
    json_object_set_new(o, "generation", json_integer((json_int_t)r->generation));
    json_object_set_new(o, "view", text_of(r->view));
    char *text = json_dumps(o, JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
    char *line = xasprintf("%s\n", text);
    json_decref(o);
    free(text);
    return line;
}

void journal_write(struct journal *j, const char *user, const struct route *r, journal_fn fn, void *owner)
{
    struct work *w = xcalloc(1, sizeof(*w));

    w->folder = xstrdup(j->folder);
    w->line = line_of(user, r);
    w->fn = fn;
    w->owner = owner;
    w->linked = true;
    LIST_INSERT_HEAD(&j->works, w, link);
    uv_queue_work(&j->loop->uv, &w->req, in_thread, on_written);
}

void journal_forget(struct journal *j, void *owner)
{
    struct work *w;

    LIST_FOREACH(w, &j->works, link)
    if (w->owner == owner)
        w->fn = NULL;
}

struct journal *journal_open(struct loop *l, const char *folder, char **error)
{
    if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
        *error = failed("make the folder", folder);
        return NULL;
    }
    char *path = xasprintf("%s/flips", folder);
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    *error = fd < 0 ? failed("open", path) : NULL;
    if (fd >= 0)
        close(fd);
    free(path);
    if (*error)
        return NULL;
    struct journal *j = xcalloc(1, sizeof(*j));
    j->loop = l;
    j->folder = xstrdup(folder);
    return j;
}

void journal_free(struct journal **jp)
{
    struct journal *j = *jp;
    struct work *w;

    *jp = NULL;
    if (!j)
        return;
    LIST_FOREACH(w, &j->works, link)
    {
        w->fn = NULL;
        w->linked = false;
    }
    free(j->folder);
    free(j);
}
