"""A bare Debian of its own, with a file system, a systemd, a name and a network like a machine's. Needs root.

    network = Network()                                   # this process is in namespaces of its own (see own_namespaces)
    with Machine("old", "/tree/of/a/debootstrap", network.join("old", "10.143.0.2")) as old:
        old.run("systemctl restart dovecot")

Its tree is made before, by prepare(): there machines have this machine's way to Debian's packages; booted, they have none."""
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

from . import net

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENV = ("env", "--chdir=/root", "-i", "HOME=/root", f"PATH={PATH}", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive")
KEPT_S = 7 * 24 * 3600

# What a kernel gives to a system. Runs in namespaces of its own, in the tree.
MOUNTS = """
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 dev dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
"""
BOOT = MOUNTS + """
mount -t cgroup2 cgroup2 sys/fs/cgroup
hostname "$name"
pivot_root . mnt
umount -l mnt
exec env -i container=imapferry PATH="$PATH" LANG=C.UTF-8 /lib/systemd/systemd --unit=multi-user.target
"""


def _sh(script, *args, **more):
    return subprocess.run(["sh", "-euc", script, "sh", *args], check=True, **more)


# ---- trees

def base(suite, folder):
    """The tar file of a debootstrap, as fresh.sh makes and keeps it."""
    os.makedirs(folder, exist_ok=True)
    _sh(f'. {TESTS}/bare.sh; make_base "$1" "$2"', suite, folder)
    return os.path.join(folder, f"{suite}.tar")


def inside(root, script, log=None):
    """Runs as root in a tree with this machine's network; nothing that it begins outlives it."""
    command = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "sh", "-euc",
               f'root=$1\n{MOUNTS}\nexec chroot . {" ".join(ENV)} /bin/sh -euc "$2"', "sh", root, script]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False)
    if log:
        with open(log, "a", encoding="utf-8") as f:
            f.write(done.stdout)
    if done.returncode:
        raise RuntimeError(f"in {root}: {script}\n{done.stdout[-5000:]}")
    return done.stdout


def _unpack(tar, root):
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    subprocess.run(["tar", "-C", root, "-xf", tar], check=True)


def _reach_packages(suite, root):
    _sh(f'. {TESTS}/bare.sh; set_up_apt "$1" "$2"', suite, root)
    shutil.copy("/etc/resolv.conf", os.path.join(root, "etc/resolv.conf"))
    shutil.copy("/etc/hosts", os.path.join(root, "etc/hosts"))  # the mirror's, where it stands there


def prepare(suite, root, folder, packages, more=""):
    """A tree with these packages, nothing of which was started. more: a script behind it. What was installed is kept as a tar file in
    folder for a week."""
    key = hashlib.sha256(repr((suite, packages, more)).encode()).hexdigest()[:12]
    kept = os.path.join(folder, f"{suite}-{key}.tar")
    if os.path.exists(kept) and time.time() - os.stat(kept).st_mtime < KEPT_S:
        _unpack(kept, root)
        return
    _unpack(base(suite, folder), root)
    _reach_packages(suite, root)
    inside(root, "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d\n"
                 "echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/unsafe\n"
                 "apt-get -q update\n"
                 f"apt-get -q install -y --no-install-recommends systemd dbus iproute2 {packages}\n"
                 f"{more}\nrm /usr/sbin/policy-rc.d /etc/dpkg/dpkg.cfg.d/unsafe\n")
    subprocess.run(["tar", "-C", root, "-cf", kept + ".new", "."], check=True)
    os.rename(kept + ".new", kept)


# ---- networks

def own_namespaces(argv):
    """Runs a command where mounts, processes and networks are its own, and end with it; its exit status."""
    return subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *argv],
                          check=False).returncode


class Network:
    """One cable for all, at which this process has an address, too; made where own_namespaces() has brought it."""

    def __init__(self, address="10.143.0.254"):
        _sh("mount -t tmpfs tmpfs /run; ip link set lo up; ip link add cable type bridge; ip addr add $1/24 dev cable; ip link set cable up",
            address)

    @staticmethod
    def join(name, address):
        """The network of one machine."""
        _sh("ip netns add $1; ip link add to-$1 type veth peer name eth0 netns $1; ip link set to-$1 master cable up;"
            "ip -n $1 link set lo up; ip -n $1 addr add $2/24 dev eth0; ip -n $1 link set eth0 up", name, address)
        return f"/run/netns/{name}"


# ---- machines

class Groups:
    """A control group for each systemd; made outside of own_namespaces(), and removed there when all is over."""

    def __init__(self, folder):
        self.mount = os.path.join(folder, "cgroup")
        os.makedirs(self.mount, exist_ok=True)
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", self.mount], check=True)
        self.path = tempfile.mkdtemp(prefix="imapferry-walk.", dir=self.mount)

    def close(self):
        for path, _, _ in sorted(os.walk(self.path), reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        subprocess.run(["umount", self.mount], check=False)


class Machine:
    def __init__(self, name, root, network, groups):
        """groups: the path of Groups."""
        self.name, self.root = name, root
        group = tempfile.mkdtemp(prefix=f"{name}.", dir=groups)
        with open(os.path.join(root, "etc/hostname"), "w", encoding="ascii") as f:
            f.write(name + "\n")
        self._log = open(f"{root}.boot", "wb")  # pylint: disable=consider-using-with
        self._shell = subprocess.Popen(  # pylint: disable=consider-using-with
            ["sh", "-euc", 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', "sh", group,
             "nsenter", f"--net={network}", "unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child",
             "sh", "-euc", f"root=$1; name=$2\n{BOOT}", "sh", root, name],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT)
        self._first = None
        net.wait_until(f"{name} to come up", self._is_up, timeout=120, step=0.2)

    def _is_up(self):
        if self._shell.poll() is not None:
            with open(f"{self.root}.boot", encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"{self.name} ended: {f.read()}")
        if not self._first:
            with open(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children", encoding="ascii") as f:
                self._first = f.read().strip() or None
            return False
        state = self.try_to("systemctl is-system-running")[1].strip()
        return state in ("running", "degraded")

    def try_to(self, script, timeout=300):
        """(exit status, what it said)"""
        done = subprocess.run(["nsenter", "-t", self._first, "--all", *ENV, "sh", "-euc", script],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, text=True,
                              errors="replace", check=False)
        return done.returncode, done.stdout

    def run(self, script, status=0, timeout=300):
        """What it said; it has to end with this status."""
        got, said = self.try_to(script, timeout)
        if got != status:
            print(f"{self.name}: ended with {got} and not {status}: {script}\n{said}", file=sys.stderr)
            raise AssertionError(f"{self.name}: {script.strip().splitlines()[-1]}: {got}, not {status}: {said[-3000:]}")
        return said

    def path(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def read(self, path):
        with open(self.path(path), encoding="utf-8") as f:
            return f.read()

    def write(self, path, text, add=False):
        """Owner and mode of a file that is there stay."""
        with open(self.path(path), "a" if add else "w", encoding="utf-8") as f:
            f.write(text)

    def switch_off(self):
        if self._shell.poll() is None:
            self.try_to("systemctl poweroff --force --force || true", timeout=30)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._shell.wait(10)
            self._shell.kill()
            self._shell.wait()
        self._log.close()
