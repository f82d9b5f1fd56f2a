/* The system calls. Rows are by names of the kernel's headers, so one that an architecture does not have is left out.
 *
 * glibc falls back from clone3 (whose flags a filter can't see) to clone, as it does in containers. A kernel from 5.11 on
 * knows by a bitmap which calls are always let through: a filter costs them nothing. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process.h"
#include "sandbox.h"

#if defined(__x86_64__)
enum { SANDBOX_ARCH = (int)AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { SANDBOX_ARCH = (int)AUDIT_ARCH_AARCH64 };
#else
enum { SANDBOX_ARCH = 0 };
#endif

#define CALL(name) __NR_##name,

static const int calls[] = {
    /* memory */
    CALL(brk) CALL(mmap) CALL(munmap) CALL(mprotect) CALL(mremap) CALL(madvise) CALL(mlock) CALL(munlock)
        CALL(membarrier)
    /* threads and signals */
    CALL(futex) CALL(set_robust_list) CALL(set_tid_address) CALL(exit) CALL(exit_group) CALL(gettid)
        CALL(getpid) CALL(getppid) CALL(sched_yield) CALL(sched_getaffinity) CALL(prctl) CALL(sigaltstack)
            CALL(rt_sigaction) CALL(rt_sigprocmask) CALL(rt_sigreturn) CALL(rt_sigtimedwait) CALL(tgkill)
                CALL(kill) CALL(restart_syscall) CALL(getcpu) CALL(rt_sigpending) CALL(rt_sigsuspend)
                    CALL(sched_setaffinity)
#ifdef __NR_rseq
                        CALL(rseq)
#endif
#ifdef __NR_arch_prctl
                            CALL(arch_prctl)
#endif
    /* descriptors and files */
    CALL(openat) CALL(close) CALL(read) CALL(write) CALL(readv) CALL(writev) CALL(pread64) CALL(pwrite64)
        CALL(lseek) CALL(fstat) CALL(statx) CALL(fcntl) CALL(dup) CALL(dup3) CALL(faccessat) CALL(readlinkat)
            CALL(getdents64) CALL(getcwd) CALL(fsync) CALL(fdatasync) CALL(fallocate) CALL(unlinkat)
                CALL(statfs) CALL(fstatfs) CALL(pipe2) CALL(eventfd2) CALL(signalfd4) CALL(newfstatat)
                    CALL(ftruncate) CALL(flock)
#ifdef __NR_faccessat2
                        CALL(faccessat2)
#endif
#ifdef __NR_close_range
                            CALL(close_range)
#endif
#ifdef __NR_open
                                CALL(open) CALL(stat) CALL(lstat) CALL(access) CALL(readlink) CALL(unlink)
                                    CALL(dup2) CALL(pipe)
#endif
    /* waiting */
    CALL(epoll_create1) CALL(epoll_ctl) CALL(epoll_pwait) CALL(ppoll) CALL(pselect6)
#ifdef __NR_epoll_pwait2
        CALL(epoll_pwait2)
#endif
#ifdef __NR_epoll_wait
            CALL(epoll_wait) CALL(poll) CALL(select)
#endif
    /* the network */
    CALL(socketpair) CALL(connect) CALL(accept) CALL(accept4) CALL(bind) CALL(listen) CALL(getsockname)
        CALL(getpeername) CALL(getsockopt) CALL(setsockopt) CALL(sendto) CALL(recvfrom) CALL(sendmsg)
            CALL(recvmsg) CALL(sendmmsg) CALL(recvmmsg) CALL(shutdown)
    /* time, and who and where we are */
    CALL(clock_gettime) CALL(clock_getres) CALL(clock_nanosleep) CALL(nanosleep) CALL(gettimeofday)
        CALL(times) CALL(getrusage) CALL(uname) CALL(sysinfo) CALL(getuid) CALL(geteuid) CALL(getgid)
            CALL(getegid) CALL(getresuid) CALL(getresgid) CALL(getgroups) CALL(getrandom) CALL(prlimit64)
                CALL(getrlimit) CALL(umask) CALL(capget)
#ifdef __NR_time
                    CALL(time)
#endif
};

/* While the start lasts. */
static const int start_calls[] = {
    CALL(setresuid) CALL(setresgid) CALL(setgroups) CALL(setuid) CALL(setgid) CALL(setreuid) CALL(setregid)
        CALL(capset) CALL(fchownat) CALL(mkdirat) CALL(setrlimit) CALL(seccomp) CALL(fchmodat)
#ifdef __NR_lchown
            CALL(lchown) CALL(chown) CALL(mkdir)
#endif
#ifdef __NR_landlock_create_ruleset
                CALL(landlock_create_ruleset) CALL(landlock_add_rule) CALL(landlock_restrict_self)
#endif
};

/* The leak checker is a process of its own that traces us, and a report is made by another program. */
static const int sanitizer_calls[] = {CALL(ptrace) CALL(clone) CALL(wait4) CALL(execve) CALL(setsid)
                                          CALL(personality) CALL(mincore) CALL(getpgid)
#ifdef __NR_fork
                                              CALL(fork) CALL(vfork) CALL(getpgrp) CALL(getdents)
#endif
#ifdef __NR_clone3
                                                  CALL(clone3)
#endif
};

/* What neither we nor a hook has a use for: ways to other processes, and into the kernel. */
static const int refused_calls[] = {
    CALL(process_vm_readv) CALL(process_vm_writev) CALL(bpf) CALL(perf_event_open) CALL(userfaultfd)
        CALL(kexec_load) CALL(init_module) CALL(finit_module) CALL(delete_module) CALL(mount) CALL(umount2)
            CALL(pivot_root) CALL(swapon) CALL(swapoff) CALL(reboot) CALL(keyctl) CALL(add_key)
                CALL(request_key) CALL(setns) CALL(unshare) CALL(acct) CALL(quotactl) CALL(open_by_handle_at)
                    CALL(name_to_handle_at) CALL(fanotify_init) CALL(kcmp) CALL(syslog) CALL(settimeofday)
                        CALL(clock_settime) CALL(adjtimex)
#ifdef __NR_io_uring_setup
                            CALL(io_uring_setup) CALL(io_uring_enter) CALL(io_uring_register)
#endif
#ifdef __NR_pidfd_getfd
                                CALL(pidfd_getfd)
#endif
#ifdef __NR_iopl
                                    CALL(iopl) CALL(ioperm)
#endif
#ifdef __NR_open_tree
                                        CALL(open_tree) CALL(move_mount) CALL(fsopen) CALL(fsmount)
#endif
};

/* ---- the program */

enum {
    LET = (int)SECCOMP_RET_ALLOW,
    REFUSE_UNKNOWN = SECCOMP_RET_ERRNO | ENOSYS,
    REFUSE = SECCOMP_RET_ERRNO | EPERM,
    REFUSE_FAMILY = SECCOMP_RET_ERRNO | EAFNOSUPPORT,
    REFUSE_IOCTL = SECCOMP_RET_ERRNO | ENOTTY,
    CODE_MAX =
        2 * (COUNTOF(calls) + COUNTOF(start_calls) + COUNTOF(sanitizer_calls) + COUNTOF(refused_calls)) + 64
};

struct program_code {
    struct sock_filter at[CODE_MAX];
    unsigned short n;
};

static void emit(struct program_code *p, unsigned code, unsigned k, unsigned yes, unsigned no)
{
    p->at[p->n++] = (struct sock_filter){(unsigned short)code, (unsigned char)yes, (unsigned char)no, k};
}

static void emit_load(struct program_code *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, (unsigned)offset, 0, 0);
}

static void emit_return(struct program_code *p, int what)
{
    emit(p, BPF_RET | BPF_K, (unsigned)what, 0, 0);
}

static void emit_list(struct program_code *p, const int *list, size_t n, int what)
{
    for (size_t i = 0; i < n; i++) {
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)list[i], 0, 1);
        emit_return(p, what);
    }
}

/* A call of which the low half of one argument decides: one of these values, or otherwise. The number of the call is loaded. */
static void emit_argument(struct program_code *p, int call, unsigned argument, const unsigned *values,
                          size_t n, int otherwise)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, (unsigned)(2 + 2 * n));
    emit_load(
        p, offsetof(struct seccomp_data, args[argument])); /* the low half: both machines are little-endian */
    for (size_t i = 0; i < n; i++) {
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, values[i], 0, 1);
        emit_return(p, LET);
    }
    emit_return(p, otherwise);
}

/* A thread; nothing that is a process, or in namespaces of its own. */
static void emit_clone(struct program_code *p)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 4);
    emit_load(p, offsetof(struct seccomp_data, args[0]));
    emit(p, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1);
    emit_return(p, LET);
    emit_return(p, REFUSE);
}

static void emit_begin(struct program_code *p)
{
    emit_load(p, offsetof(struct seccomp_data, arch));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)SANDBOX_ARCH, 1, 0);
    emit_return(p, REFUSE_UNKNOWN); /* of 32 bits */
    emit_load(p, offsetof(struct seccomp_data, nr));
}

static void make_tight(struct program_code *p, bool starting)
{
    static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    static const unsigned requests[] = {FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TIOCOUTQ, TCGETS, TIOCGWINSZ};

    emit_list(p, calls, COUNTOF(calls), LET);
    if (starting)
        emit_list(p, start_calls, COUNTOF(start_calls), LET);
    if (process_is_sanitized())
        emit_list(p, sanitizer_calls, COUNTOF(sanitizer_calls), LET);
    emit_list(p, start_calls, COUNTOF(start_calls), REFUSE);
    emit_argument(p, __NR_socket, 0, families, COUNTOF(families), REFUSE_FAMILY);
    emit_argument(p, __NR_ioctl, 1, requests, COUNTOF(requests), REFUSE_IOCTL);
    emit_clone(p);
    emit_return(p, REFUSE_UNKNOWN);
}

static void make_for_hooks(struct program_code *p)
{
    emit_list(p, refused_calls, COUNTOF(refused_calls), REFUSE);
    emit_return(p, LET);
}

bool sandbox_filter_calls(enum sandbox_kind kind, bool starting)
{
    struct program_code code = {.n = 0};

    if (SANDBOX_ARCH == 0) {
        errno = ENOSYS;
        return false;
    }
    if (kind == SANDBOX_HOOKS && !starting)
        return true; /* nothing more than at the start */
    emit_begin(&code);
    if (kind == SANDBOX_TIGHT)
        make_tight(&code, starting);
    else
        make_for_hooks(&code);
    const struct sock_fprog program = {.len = code.n, .filter = code.at};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &program) == 0;
}
