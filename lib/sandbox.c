#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "process.h"
#include "sandbox.h"
#include "xalloc.h"

/* Older headers than kernels: what they lack, by its number. */
enum {
    RIGHTS_1 = (1 << 13) - 1,
    RIGHT_REFER = 1 << 13,
    RIGHT_TRUNCATE = 1 << 14,
    RIGHT_IOCTL = 1 << 15,
    RIGHT_BIND_TCP = 1,
    RIGHTS_READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    RIGHTS_WRITE = RIGHTS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG,
    RIGHTS_FILE = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE,
};

struct ruleset_attr {
    uint64_t fs, net;
};

struct sandbox {
    enum sandbox_kind kind;
    int rules;        /* -1: the kernel has no Landlock */
    uint64_t handled; /* rights to files that the kernel knows */
    bool calls;
    int error_of_calls, error_of_rules;
};

/* ---- files */

/* Only what the kernel knows may be asked for. */
static int make_rules(uint64_t *_handled)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset_attr attr = {.fs = RIGHTS_1};

    if (version < 1)
        return -1;
    attr.fs |= version >= 2 ? RIGHT_REFER : 0;
    attr.fs |= version >= 3 ? RIGHT_TRUNCATE : 0;
    attr.fs |= version >= 5 ? RIGHT_IOCTL : 0;
    *_handled = attr.fs;
    attr.net = version >= 4 ? RIGHT_BIND_TCP : 0;
    return (int)syscall(SYS_landlock_create_ruleset, &attr, version >= 4 ? sizeof attr : sizeof attr.fs, 0);
}

static void allow(struct sandbox *s, const char *path, uint64_t rights)
{
    struct stat st;
    int fd = s->rules < 0 ? -1 : open(path, O_PATH | O_CLOEXEC);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rights &= RIGHTS_FILE;
    rights &= s->handled;
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, s->rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
        LOG(WARN, "sandbox_rule", LOG_S("path", path), LOG_S("why", strerror(errno)));
    close(fd);
}

/* What is renamed into its place is another file; only the root itself is not opened for that. */
static void allow_folder_of(struct sandbox *s, const char *file, uint64_t rights)
{
    char *folder = xstrdup(file), *slash = strrchr(folder, '/');

    if (slash && slash != folder) {
        *slash = '\0';
        allow(s, folder, rights);
    } else {
        allow(s, slash ? file : ".", rights);
    }
    free(folder);
}

/* And where it really is: certificates are often links that are changed to lead to another file of the same folder. */
void sandbox_read(struct sandbox *s, const char *file)
{
    char real[PATH_MAX];

    allow_folder_of(s, file, RIGHTS_READ);
    if (realpath(file, real) && strcmp(real, file) != 0)
        allow_folder_of(s, real, RIGHTS_READ);
}

void sandbox_write(struct sandbox *s, const char *folder)
{
    allow(s, folder, RIGHTS_WRITE);
}

void sandbox_own(struct sandbox *s, const char *folder)
{
    allow(s, folder, RIGHTS_WRITE | LANDLOCK_ACCESS_FS_REMOVE_FILE | RIGHT_TRUNCATE);
}

void sandbox_remove(struct sandbox *s, const char *file)
{
    allow_folder_of(s, file, LANDLOCK_ACCESS_FS_REMOVE_FILE);
}

/* glibc's resolver and what it loads, OpenSSL's authorities, other processes' names for the id (instance.h). */
static void allow_system(struct sandbox *s)
{
    static const char *const read[] = {"/etc",
                                       "/lib",
                                       "/lib64",
                                       "/usr/lib",
                                       "/usr/lib64",
                                       "/usr/share",
                                       "/usr/local/share",
                                       "/proc",
                                       "/run/systemd/resolve",
                                       "/run/resolvconf",
                                       "/run/NetworkManager",
                                       "/run/nscd",
                                       "/sys/devices/system/cpu",
                                       "/dev/urandom"};

    for (size_t i = 0; i < COUNTOF(read); i++)
        allow(s, read[i], RIGHTS_READ);
    sandbox_read(s, "/etc/resolv.conf");
    allow(s, "/dev/null", RIGHTS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
}

/* Where a sanitizer writes its report, and a test build its trace (fault.h); reports have names by another program. */
static void allow_for_tests(struct sandbox *s)
{
    const char *options = getenv("ASAN_OPTIONS"), *trace = getenv("IMAPFERRY_FAULT_TRACE");
    const char *at = options ? strstr(options, "log_path=") : NULL;

    if (process_is_sanitized()) {
        allow(s, "/usr", RIGHTS_READ | LANDLOCK_ACCESS_FS_EXECUTE);
        if (at) {
            at += strlen("log_path=");
            char *file = xspandup(span_of(at, strcspn(at, ":")));
            allow_folder_of(s, file, RIGHTS_WRITE);
            free(file);
        }
    }
#ifdef IMAPFERRY_FAULTS
    if (trace)
        allow_folder_of(s, trace, RIGHTS_WRITE);
#else
    (void)trace;
#endif
}

/* ---- both */

struct sandbox *sandbox_new(enum sandbox_kind kind)
{
    struct sandbox *s = xcalloc(1, sizeof *s);

    s->kind = kind;
    s->rules = -1;
    if (kind == SANDBOX_NONE)
        return s;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) /* or the kernel takes no filter */
        LOG(WARN, "no_new_privs", LOG_S("why", strerror(errno)));
    s->calls = sandbox_filter_calls(kind, true);
    s->error_of_calls = s->calls ? 0 : errno;
    if (kind == SANDBOX_TIGHT && (s->rules = make_rules(&s->handled)) < 0)
        s->error_of_rules = errno;
    allow_system(s);
    allow_for_tests(s);
    return s;
}

static const char *says_calls(const struct sandbox *s)
{
    static const char *const words[] = {
        [SANDBOX_NONE] = "all", [SANDBOX_TIGHT] = "listed", [SANDBOX_HOOKS] = "all_but_some"};

    return s->calls ? words[s->kind] : "all";
}

static const char *sandbox_why(const struct sandbox *s)
{
    if (s->kind == SANDBOX_NONE)
        return "sandbox = false";
    if (s->error_of_calls)
        return "the kernel takes no seccomp filter";
    if (s->kind == SANDBOX_HOOKS)
        return "hooks are programs, which inherit it";
    return s->error_of_rules ? "the kernel has no Landlock" : NULL;
}

void sandbox_lock(struct sandbox **sp)
{
    struct sandbox *s = *sp;

    *sp = NULL;
    bool files = s->rules >= 0 && syscall(SYS_landlock_restrict_self, s->rules, 0) == 0;
    if (s->rules >= 0 && !files)
        s->error_of_rules = errno;
    if (s->rules >= 0)
        close(s->rules);
    if (s->calls && !sandbox_filter_calls(s->kind, false))
        LOG(WARN, "sandbox_start_calls_stay", LOG_S("why", strerror(errno)));
    LOG(INFO, "sandbox", LOG_S("calls", says_calls(s)), LOG_S("files", files ? "listed" : "all"),
        LOG_U("uid", geteuid()),
        LOG_S("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? "yes" : "no"),
        LOG_S("build", process_is_sanitized() ? "sanitized" : NULL), LOG_S("why", sandbox_why(s)));
    free(s);
}
