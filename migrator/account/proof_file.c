#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/mailbox/hasher.h"
#include "proof_file.h"

enum { ACCOUNT_BYTES = 16 /* of the hash of its key: two accounts in one file would be two in the audit */ };

struct proof_file {
    uv_work_t req;
    struct loop *loop;
    char *path; /* owned */
    int fd;     /* -1: not made yet */
    struct hasher *hasher;
    struct buf text; /* what the thread is to write */
    bool busy;       /* a thread has it */
    bool last;
    bool freed, keep;
    char *error; /* owned; set by the thread */
    proof_file_fn fn;
    void *owner;
};

static void write_hex(char *out, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- names */

char *proof_folder(const char *journal_dir)
{
    return xasprintf("%s/proofs", journal_dir);
}

void proof_folder_make(const char *journal_dir)
{
    char *folder = proof_folder(journal_dir);

    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        LOG(WARN, "proofs_folder", LOG_S("folder", folder), LOG_S("why", strerror(errno)));
    free(folder);
}

static void account_hex(char out[2 * ACCOUNT_BYTES + 1], const char *user)
{
    struct hasher *h = hasher_new();
    uint8_t hash[HASH_SIZE];

    hasher_begin(h);
    hasher_add(h, span_str(user));
    hasher_end(h, hash);
    hasher_free(&h);
    write_hex(out, hash, ACCOUNT_BYTES);
}

char *proof_path(const char *journal_dir, const char *user, const char *number)
{
    char account[2 * ACCOUNT_BYTES + 1];

    account_hex(account, user);
    return xasprintf("%s/proofs/%s-%s", journal_dir, account, number);
}

bool proof_number_good(const char *number)
{
    size_t n = strspn(number, "0123456789.");

    return n > 0 && n <= 48 && !number[n];
}

/* ---- in the thread */

static char *proof_failed(const char *what, const char *path)
{
    return xasprintf("%s: can't %s: %s", path, what, strerror(errno));
}

/* One of the same number would be of an attempt that told nobody of it. */
static char *proof_file_open(struct proof_file *f)
{
    unlink(f->path);
    f->fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return f->fd < 0 ? proof_failed("make", f->path) : NULL;
}

static char *proof_write_all(struct proof_file *f, struct span s)
{
    while (s.len > 0) {
        ssize_t did = write(f->fd, s.p, s.len);
        if (did < 0 && errno == EINTR)
            continue;
        if (did <= 0)
            return proof_failed("write", f->path);
        s = span_of(s.p + did, s.len - (size_t)did);
    }
    return NULL;
}

/* The name has to be on the disk as well. */
static char *proof_sync_folder(const char *path)
{
    char *folder = xspandup(span_of(path, (size_t)(strrchr(path, '/') - path))), *error = NULL;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        error = proof_failed("fsync", folder);
    if (fd >= 0)
        close(fd);
    free(folder);
    return error;
}

static char *proof_file_finish(struct proof_file *f)
{
    char *error = fsync(f->fd) < 0 ? proof_failed("fsync", f->path) : NULL;

    if (close(f->fd) < 0 && !error)
        error = proof_failed("close", f->path);
    f->fd = -1;
    return error ? error : proof_sync_folder(f->path);
}

static void write_in_thread(uv_work_t *req)
{
    struct proof_file *f = CONTAINER_OF(req, struct proof_file, req);

    if (f->last)
        FAULT_POINT("proof", NULL, "sent");
    f->error = f->fd < 0 ? proof_file_open(f) : NULL;
    if (!f->error)
        f->error = proof_write_all(f, buf_span(&f->text));
    hasher_add(f->hasher, buf_span(&f->text));
    buf_clear(&f->text);
    if (!f->error && f->last)
        f->error = proof_file_finish(f);
    if (f->last)
        FAULT_POINT("proof", NULL, "answered");
}

static void remove_in_thread(uv_work_t *req)
{
    struct proof_file *f = CONTAINER_OF(req, struct proof_file, req);

    if (f->fd >= 0)
        close(f->fd);
    if (!f->keep)
        unlink(f->path);
}

/* ---- in the loop */

static void proof_file_on_removed(uv_work_t *req, int status)
{
    struct proof_file *f = CONTAINER_OF(req, struct proof_file, req);

    (void)status;
    hasher_free(&f->hasher);
    buf_free(&f->text);
    free(f->error);
    free(f->path);
    free(f);
}

static void proof_file_end(struct proof_file *f)
{
    uv_queue_work(&f->loop->uv, &f->req, remove_in_thread, proof_file_on_removed);
}

static void proof_file_on_written(uv_work_t *req, int status)
{
    struct proof_file *f = CONTAINER_OF(req, struct proof_file, req);

    f->busy = false;
    if (f->freed)
        proof_file_end(f);
    else
        f->fn(f->owner, status < 0 ? uv_strerror(status) : f->error);
}

struct proof_file *proof_file_new(struct loop *l, char *path)
{
    struct proof_file *f = xcalloc(1, sizeof(*f));

    f->loop = l;
    f->path = path;
    f->fd = -1;
    f->hasher = hasher_new();
    hasher_begin(f->hasher);
    return f;
}

void proof_file_write(struct proof_file *f, struct buf *text, bool last, proof_file_fn fn, void *owner)
{
    assert(!f->busy && !f->error);
    f->busy = true;
    f->last = last;
    f->fn = fn;
    f->owner = owner;
    buf_clear(&f->text);
    buf_add_span(&f->text, buf_span(text));
    buf_clear(text);
    uv_queue_work(&f->loop->uv, &f->req, write_in_thread, proof_file_on_written);
}

void proof_file_hash(struct proof_file *f, char hex[PROOF_HEX + 1])
{
    uint8_t hash[HASH_SIZE];

    hasher_end(f->hasher, hash);
    write_hex(hex, hash, HASH_SIZE);
}

void proof_file_free(struct proof_file **fp, bool keep)
{
    struct proof_file *f = *fp;

    *fp = NULL;
    if (!f)
        return;
    f->freed = true;
    f->keep = keep;
    if (!f->busy)
        proof_file_end(f);
}

/* ---- an account is forgotten */

struct forgotten {
    uv_work_t req;
    char *folder; /* owned */
    char account[2 * ACCOUNT_BYTES + 2];
};

static void forget_in_thread(uv_work_t *req)
{
    struct forgotten *f = CONTAINER_OF(req, struct forgotten, req);
    DIR *dir = opendir(f->folder);
    struct dirent *e;

    while (dir && (e = readdir(dir)))
        if (!strncmp(e->d_name, f->account, strlen(f->account)))
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

static void on_forgotten(uv_work_t *req, int status)
{
    struct forgotten *f = CONTAINER_OF(req, struct forgotten, req);

    (void)status;
    free(f->folder);
    free(f);
}

void proof_files_forget(struct loop *l, const char *journal_dir, const char *user)
{
    struct forgotten *f = xcalloc(1, sizeof(*f));

    f->folder = proof_folder(journal_dir);
    account_hex(f->account, user);
    f->account[2 * ACCOUNT_BYTES] = '-';
    uv_queue_work(&l->uv, &f->req, forget_in_thread, on_forgotten);
}
