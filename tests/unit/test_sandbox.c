/* sandbox: what a process can no longer do, and what it still can; each case in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "lib/process.h"
#include "lib/sandbox.h"

static char folder[64]; /* with "listed/conf", "written/", "owned/", "other/secret" */

/* Fails by the number of its line. */
#define MUST(what)                                                                                           \
    do                                                                                                       \
        if (!(what))                                                                                         \
            return __LINE__;                                                                                 \
    while (0)
#define FAILS(call, why) MUST((errno = 0, (call) == -1) && errno == (why))

static void in_process(int (*fn)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        int line = fn();
        if (line)
            dprintf(2, "line %d: errno %d (%s)\n", line, errno, strerror(errno));
        _exit(line ? 1 : 0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static char *below(const char *name)
{
    static char path[4][128];
    static unsigned n;
    char *p = path[n++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void locked(enum sandbox_kind kind)
{
    struct sandbox *s = sandbox_new(kind);
    sandbox_read(s, below("listed/conf"));
    sandbox_write(s, below("written"));
    sandbox_own(s, below("owned"));
    sandbox_remove(s, below("listed/sock"));
    sandbox_lock(&s);
}

static int opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

/* ---- calls */

static int calls_are_refused(void)
{
    struct io_uring_params ring = {0};
    locked(SANDBOX_TIGHT);
    FAILS(syscall(__NR_io_uring_setup, 4, &ring), ENOSYS);
    FAILS(syscall(__NR_bpf, 0, NULL, 0), ENOSYS);
    FAILS(syscall(__NR_mount, "none", "/mnt", "tmpfs", 0, NULL), ENOSYS);
    FAILS(syscall(__NR_unshare, 0x10000000), ENOSYS);
    FAILS(socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT);
    FAILS(socket(38 /* AF_ALG */, SOCK_SEQPACKET, 0), EAFNOSUPPORT);
    FAILS(ioctl(0, TIOCSTI, "x"), ENOTTY);
    FAILS(mkdir(below("written/folder"), 0700), EPERM);
    FAILS(syscall(__NR_setresuid, 0, 0, 0), EPERM);
    FAILS(syscall(__NR_seccomp, 1, 0, NULL), EPERM);
    if (!process_is_sanitized()) {
        FAILS(syscall(__NR_ptrace, 0, 0, 0, 0), ENOSYS);
        FAILS(execl("/bin/true", "true", (char *)NULL), ENOSYS);
        FAILS(fork(), EPERM);
    }
    return 0;
}

static int io_uring_is_refused_from_the_start(void)
{
    struct io_uring_params ring = {0};
    struct sandbox *s = sandbox_new(SANDBOX_TIGHT);
    FAILS(syscall(__NR_io_uring_setup, 4, &ring), ENOSYS);
    MUST(mkdir(below("written/at-start"), 0700) == 0); /* what a start needs is there */
    MUST(rmdir(below("written/at-start")) == -1 && errno == ENOSYS);
    sandbox_lock(&s);
    return 0;
}

static void *thread(void *arg)
{
    *(int *)arg = socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EAFNOSUPPORT ? 1 : 2;
    return NULL;
}

static void on_connection(uv_stream_t *s, int status)
{
    (void)s, (void)status;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    *(int *)req->data = status;
    uv_freeaddrinfo(found);
}

static int resolves(uv_loop_t *loop, const char *name)
{
    int status = 1;
    uv_getaddrinfo_t req = {.data = &status};
    if (uv_getaddrinfo(loop, &req, on_resolved, name, "143", NULL) != 0)
        return 2;
    uv_run(loop, UV_RUN_DEFAULT);
    return status;
}

static int daily_work_goes_on(void)
{
    uv_loop_t loop;
    uv_tcp_t tcp;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pthread_t t;
    int saw = 0, bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    MUST(bind(bound, (struct sockaddr *)&any, sizeof any) == 0);
    locked(SANDBOX_TIGHT);
    MUST(uv_loop_init(&loop) == 0);
    MUST(pthread_create(&t, NULL, thread, &saw) == 0 && pthread_join(t, NULL) == 0 && saw == 1);
    MUST(uv_tcp_init(&loop, &tcp) == 0 && uv_tcp_open(&tcp, bound) == 0);
    MUST(uv_listen((uv_stream_t *)&tcp, 8, on_connection) == 0);
    uv_close((uv_handle_t *)&tcp, NULL);
    MUST(resolves(&loop, "localhost") == 0);
    MUST(resolves(&loop, "no-such-host.invalid") < 0);
    MUST(uv_loop_close(&loop) == 0);
    return 0;
}

/* ---- files */

static int files_are_shut(void)
{
    locked(SANDBOX_TIGHT);
    MUST(opens(below("listed/conf"), O_RDONLY) == 0);
    MUST(opens(below("listed/renewed"), O_RDONLY) == 0);
    FAILS(opens(below("listed/conf"), O_WRONLY), EACCES);
    FAILS(opens(below("listed/new"), O_WRONLY | O_CREAT), EACCES);
    FAILS(unlink(below("other/secret")), EACCES);
    FAILS(opens(below("other/secret"), O_RDONLY), EACCES);
    FAILS(opens("/root", O_RDONLY), EACCES);
    MUST(opens(below("written/flips"), O_WRONLY | O_CREAT) == 0);
    MUST(opens(below("owned/plans"), O_RDWR | O_CREAT) == 0);
    MUST(opens(below("owned/plans"), O_WRONLY | O_TRUNC) == 0);
    MUST(truncate(below("owned/plans"), 0) == 0 || errno == ENOSYS);
    MUST(unlink(below("owned/plans")) == 0);
    MUST(unlink(below("listed/sock")) == 0);
    MUST(opens("/etc/hosts", O_RDONLY) == 0);
    MUST(opens("/dev/null", O_WRONLY) == 0);
    return 0;
}

/* The file is a link to one that is a link to a file elsewhere, and is made to lead to the next one. */
static int links_are_followed(void)
{
    struct sandbox *s = sandbox_new(SANDBOX_TIGHT);
    sandbox_read(s, below("listed/link"));
    sandbox_lock(&s);
    MUST(opens(below("listed/link"), O_RDONLY) == 0);
    MUST(opens(below("archive/2.pem"), O_RDONLY) == 0);
    FAILS(opens(below("other/secret"), O_RDONLY), EACCES);
    return 0;
}

static int no_port_can_be_bound(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    locked(SANDBOX_TIGHT);
    FAILS(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&any, sizeof any), EACCES);
    return 0;
}

/* ---- other kinds */

static int programs_of_hooks_run(void)
{
    struct io_uring_params ring = {0};
    locked(SANDBOX_HOOKS);
    FAILS(syscall(__NR_io_uring_setup, 4, &ring), EPERM);
    FAILS(syscall(__NR_bpf, 0, NULL, 0), EPERM);
    MUST(opens(below("other/secret"), O_RDONLY) == 0);
    MUST(system("cat /etc/hosts > /dev/null && mkdir \"$FOLDER/by-hook\" && rmdir \"$FOLDER/by-hook\"") == 0);
    MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    return 0;
}

static int none_holds_nothing(void)
{
    locked(SANDBOX_NONE);
    MUST(opens(below("other/secret"), O_RDONLY) == 0);
    MUST(socket(AF_UNIX, SOCK_STREAM, 0) >= 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0);
    return 0;
}

#define IN_PROCESS(name)                                                                                     \
    static void test_##name(void **state)                                                                    \
    {                                                                                                        \
        (void)state;                                                                                         \
        in_process(name);                                                                                    \
    }
IN_PROCESS(calls_are_refused)
IN_PROCESS(io_uring_is_refused_from_the_start)
IN_PROCESS(daily_work_goes_on)
IN_PROCESS(files_are_shut)
IN_PROCESS(links_are_followed)
IN_PROCESS(no_port_can_be_bound)
IN_PROCESS(programs_of_hooks_run)
IN_PROCESS(none_holds_nothing)

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ferry-sandbox-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    setenv("FOLDER", folder, 1);
    return system(
        "cd \"$FOLDER\" && mkdir listed written owned other archive && touch listed/conf listed/renewed listed/sock "
        "other/secret archive/1.pem archive/2.pem && ln -s ../archive/1.pem listed/link");
}

static int tear_down(void **state)
{
    (void)state;
    return system("rm -rf \"$FOLDER\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_are_refused),
        cmocka_unit_test(test_io_uring_is_refused_from_the_start),
        cmocka_unit_test(test_daily_work_goes_on),
        cmocka_unit_test(test_files_are_shut),
        cmocka_unit_test(test_links_are_followed),
        cmocka_unit_test(test_no_port_can_be_bound),
        cmocka_unit_test(test_programs_of_hooks_run),
        cmocka_unit_test(test_none_holds_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
