#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/xalloc.h"

#include "ctl_export.h"

/* It is written by one at a time: two that wrote into one file would each call it whole. The lock goes with its process. -1: errno says
 * why. */
static int ctl_export_open_part(const char *part)
{
    struct stat own, there;
    int fd = open(part, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return -1;
    bool mine = flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &own) == 0 && stat(part, &there) == 0 &&
                own.st_ino == there.st_ino && own.st_dev == there.st_dev; /* else it was renamed meanwhile */
    if (mine && ftruncate(fd, 0) == 0)
        return fd;
    close(fd);
    errno = EBUSY;
    return -1;
}

static void ctl_export_open_file(struct ctl_export *e)
{
    struct stat st;
    char *real = realpath(e->path, NULL);
    bool there = real && stat(real, &st) == 0;

    if (!real && (errno != ENOENT || lstat(e->path, &st) == 0))
        return; /* such as a link to nothing */
    if (real) {
        free(e->path);
        e->path = real;
    }
    if (!there || S_ISREG(st.st_mode))
        e->part = xasprintf("%s.part", e->path);
    int fd = e->part ? ctl_export_open_part(e->part) : open(e->path, O_WRONLY | O_CLOEXEC);
    e->f = fd >= 0 ? fdopen(fd, "w") : NULL;
}

void ctl_export_open(struct ctl_export *e, const char *path)
{
    *e = (struct ctl_export){.path = xstrdup(path), .to_stdout = !strcmp(path, "-")};
    if (e->to_stdout)
        e->f = stdout;
    else
        ctl_export_open_file(e);
}

/* Of a file it is not known that the disk has it before it was synced. The lock is held until the name is another one, or gone: who got it
 * before would have the next one's file renamed. */
bool ctl_export_finish(struct ctl_export *e, bool whole)
{
    bool good = e->f && fflush(e->f) == 0 && !ferror(e->f);

    if (good && e->part && whole)
        good = fsync(fileno(e->f)) == 0 && rename(e->part, e->path) == 0;
    int error = errno;
    if (e->part && !(good && whole) && e->f)
        unlink(e->part);
    if (e->f && !e->to_stdout)
        fclose(e->f);
    free(e->part);
    free(e->path);
    errno = error;
    return good;
}
