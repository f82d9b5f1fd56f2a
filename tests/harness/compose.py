"""docker/compose.yaml by podman, without Docker: each service in the container that the file asks for, with a network namespace of its
own on one bridge, where the others and the test know it by its name. Published ports are looked at, and not opened.

    site = Compose("docker/compose.yaml", Podman("build/docker/storage"))
    site.build(); site.make_network(); site.up()
"""
import json
import os
import re
import resource
import shlex
import subprocess

import yaml

from . import net

PREFIX = "10.89.7."
SECONDS = {"s": 1, "m": 60}
LIMITS = {"nproc": 32768, "nofile": 65536}  # in the place of podman's, which not each machine may set
# What a service may say; a word that is not here would be passed over.
KNOWN = {"image", "build", "command", "environment", "volumes", "ports", "hostname", "read_only", "cap_drop", "security_opt", "ulimits",
         "tmpfs", "depends_on", "healthcheck", "stop_grace_period", "restart"}


class Podman:
    """podman and buildah on a storage of our own. Timers of systemd, which there may be none of, are not asked to look at healths."""

    def __init__(self, storage):
        self.storage = storage
        self._env = {**os.environ, "DISABLE_HC_SYSTEMD": "true"}

    def run(self, *args, check=True, timeout=120, data=None):
        """The finished process, standard output and error in one."""
        return self._run(["podman", "--root", self.storage, "--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "none",
                          *args], check, timeout, data)

    def build(self, image, context, *args, data=None):
        """By the layers of the last time, as far as nothing is new; only from what is there."""
        return self._run(["buildah", "--root", self.storage, "bud", "--isolation", "chroot", "--layers", "--format", "docker",
                          "--pull=never", "--tag", image, *args, context], True, 1800, data)

    def _run(self, command, check, timeout, data):
        done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._env,
                              timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-6000:]}")
        return done

    def has(self, image):
        return self.run("image", "exists", image, check=False).returncode == 0


class Compose:
    def __init__(self, path, podman):
        self.folder = os.path.dirname(os.path.abspath(path))
        self.podman = podman
        with open(path, encoding="utf-8") as f:
            self.services = yaml.safe_load(f)["services"]
        for name, service in self.services.items():
            assert set(service) <= KNOWN, f"{name}: {set(service) - KNOWN}"
        self.address = {name: PREFIX + str(2 + n) for n, name in enumerate(self.services)}
        self.started = []

    def build(self):
        for service in self.services.values():
            if "build" in service:
                context = os.path.normpath(os.path.join(self.folder, service["build"]["context"]))
                self.podman.build(service["image"], context, "--file", os.path.join(context, service["build"]["dockerfile"]))

    # ---- network

    def make_network(self):
        """In the network namespace of this process, which has to be its own; /etc/hosts has to be, too."""
        ip("link", "set", "lo", "up")
        ip("link", "add", "bridge", "type", "bridge")
        ip("address", "add", PREFIX + "1/24", "dev", "bridge")
        ip("link", "set", "bridge", "up")
        for name in self.services:
            self._join(name, self.address[name])

    @staticmethod
    def _join(name, address):
        ip("netns", "add", name)
        ip("link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"v-{name}", "master", "bridge", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "address", "add", address + "/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")

    # ---- containers

    def up(self, names=None):
        """These services, or all, each once what it depends on is as far as it asks for."""
        for name in names or self.services:
            if name not in self.started:
                self._wait_for(self.services[name].get("depends_on", {}))
                self.podman.run("run", "--detach", "--name", name, *self._options(name), *self._command(name))
                self.started.append(name)

    def once(self, name, *command):
        """As `docker compose run --rm NAME COMMAND`."""
        self._wait_for(self.services[name].get("depends_on", {}))
        return self.podman.run("run", "--rm", *self._options(name), self.services[name]["image"], *command)

    def exec(self, name, *command, check=True):
        return self.podman.run("exec", name, *command, check=check)

    def _wait_for(self, needed):
        for name, how in needed.items():
            self.up([name])
            if how["condition"] == "service_healthy":
                self.wait_healthy(name)
            elif how["condition"] == "service_completed_successfully":
                assert self.podman.run("wait", name).stdout.split()[-1] == "0", self.log(name)

    def is_healthy(self, name):
        return self.podman.run("healthcheck", "run", name, check=False).returncode == 0

    def wait_healthy(self, name, healthy=True, timeout=90):
        net.wait_until(f"{'health' if healthy else 'illness'} of {name}", lambda: self.is_healthy(name) == healthy, timeout=timeout, step=0.3)

    def log(self, name):
        return self.podman.run("logs", name, check=False).stdout

    def stop(self, name):
        """As its image asks for. Its exit status, 137 where it had to be killed."""
        self.podman.run("stop", name)
        return self.inspect(name)["State"]["ExitCode"]

    def start(self, name):
        self.podman.run("start", name)

    def inspect(self, name):
        return json.loads(self.podman.run("inspect", name).stdout)[0]

    def volume(self, name):
        return self.podman.run("volume", "inspect", "--format", "{{.Mountpoint}}", name).stdout.strip()

    def clear(self):
        """Containers and volumes, also those of a run that was killed."""
        self.podman.run("rm", "--all", "--force", "--time", "0")
        self.podman.run("volume", "rm", "--all", "--force")
        self.started.clear()

    def _command(self, name):
        return [self.services[name]["image"], *self.services[name].get("command", [])]

    def _options(self, name):
        service = self.services[name]
        return [*self._plain(name, service), *self._health(service),
                *(x for other, address in self.address.items() for x in ("--add-host", f"{other}:{address}")),
                *(x for v in service.get("volumes", []) for x in ("--volume", self._volume(v))),
                *(x for k, v in service.get("environment", {}).items() for x in ("--env", f"{k}={v}"))]

    @staticmethod
    def _plain(name, service):
        options = ["--pull", "never", "--log-driver", "k8s-file", "--network", f"ns:/run/netns/{name}", "--hostname", service.get("hostname", name)]
        options += ["--read-only", "--read-only-tmpfs=false"] if service.get("read_only") else []
        options += [f"--cap-drop={x}" for x in service.get("cap_drop", [])]
        options += [f"--security-opt={x.removesuffix(':true')}" for x in service.get("security_opt", [])]
        options += [f"--ulimit={k}={limit(k, v)}" for k, v in {**LIMITS, **service.get("ulimits", {})}.items()]
        options += [f"--tmpfs={x}" for x in service.get("tmpfs", [])]
        if "stop_grace_period" in service:
            options.append(f"--stop-timeout={seconds(service['stop_grace_period'])}")
        return options

    @staticmethod
    def _health(service):
        health = service.get("healthcheck")
        if not health:
            return []
        kind, *words = health["test"]
        assert kind in ("CMD", "CMD-SHELL"), kind
        return ["--health-cmd", shlex.join(words) if kind == "CMD" else words[0], "--health-interval", health["interval"]]

    def _volume(self, text):
        source, rest = text.split(":", 1)
        return f"{os.path.normpath(os.path.join(self.folder, source))}:{rest}" if source.startswith(".") else text


def limit(name, number):
    """No more than this machine has, where nobody may raise it."""
    most = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
    number = number if most == resource.RLIM_INFINITY else min(number, most)
    return f"{number}:{number}"


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)([sm])", text).groups()
    return int(number) * SECONDS[unit]


def ip(*args):
    subprocess.run(["ip", *args], check=True, timeout=20)
