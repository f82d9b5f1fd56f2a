"""A Redis Cluster on loopback, all real, as `redis` for a Ferry.

    with Cluster() as cluster:            # three masters, a replica for each
        ferry = make_ferry(backends, store=cluster)
        cluster.node_of(7).kill()         # the master that has partition 7
        cluster.move(7, to=cluster.other(7))
"""
import itertools
import subprocess

import redis

from . import net, redisd, stores

PASSWORD = "p@ss/word"
LAG = 1
OPTIONS = ["cluster-enabled", "yes", "cluster-config-file", "nodes.conf", "cluster-require-full-coverage", "no",
           "cluster-allow-replica-migration", "no", "cluster-replica-validity-factor", "0", "repl-diskless-sync-delay", "0",
           "min-replicas-max-lag", str(LAG)]
SLOTS = 16384


class Keys:
    """Redis of a Ferry, as a test of one store looks at it: the key of an account, at the node that has it."""

    def __init__(self, cluster, decode):
        self._cluster, self._decode = cluster, decode

    def __getattr__(self, command):
        def call(key, *args, **options):
            head, kind, user = key.split(":", 2)
            nth = stores.place(user, self._cluster.partitions) + 1
            return self._cluster.call(nth, command, f"{head}{{{nth:02}}}:{kind}:{user}", *args, decode=self._decode, **options)
        return call


class Cluster:
    def __init__(self, masters=3, replicas=1, partitions=8, node_timeout=1500, options=(), program="redis-server", papers=None, spare=0,
                 host=net.HOST):
        """replicas: of each master. node_timeout: ms until a node that is silent has failed. spare: masters without slots. host: the
        address that nodes have."""
        self.host = host
        self.partitions = partitions
        self.papers = papers
        self._masters, self._replicas, self._spare = masters, replicas, spare
        self._options = [*OPTIONS, "cluster-node-timeout", str(node_timeout), "bind", host, *options]
        if replicas:
            self._options += ["min-replicas-to-write", "1"]
        if papers:
            self._options += ["tls-cluster", "yes"]
        self._program = program
        self.nodes = []
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self):
        for _ in range(self._masters * (1 + self._replicas) + self._spare):
            bus = ["cluster-port", str(net.free_port())]
            self.nodes.append(redisd.Redis(port=net.free_port(), options=[*self._options, *bus], password=PASSWORD, papers=self.papers,
                                           program=self._program))
        masters, others = self.nodes[:self._masters], self.nodes[self._masters:]
        for i, node in enumerate(self.nodes):
            node.bus = int(node.client().config_get("cluster-port")["cluster-port"])
            self.say(node, "SET-CONFIG-EPOCH", i + 1)
        for i, node in enumerate(masters):
            self.say(node, "ADDSLOTSRANGE", SLOTS * i // len(masters), SLOTS * (i + 1) // len(masters) - 1)
        for a, b in itertools.combinations(self.nodes, 2):
            self.say(a, "MEET", self.host, b.port, b.bus)
        net.wait_until("nodes", lambda: all(len(self._known(n)) == len(self.nodes) for n in self.nodes))
        for i, node in enumerate(others[:len(others) - self._spare]):
            of = self.id(masters[i % len(masters)])
            net.wait_until("master", lambda o=of, n=node: o in self._known(n))
            self.say(node, "REPLICATE", of)
        net.wait_until("cluster", self.is_whole)

    @staticmethod
    def say(node, *words):
        return node.client().execute_command("CLUSTER", *words)

    @staticmethod
    def id(node):
        return Cluster.say(node, "MYID")

    @staticmethod
    def rows(node):
        """What it knows of: (id, port, flags, id of the master)."""
        for line in Cluster.say(node, "NODES").splitlines():
            own, at, flags, of = line.split()[:4]
            yield own, int(at.split("@")[0].rsplit(":", 1)[1]), flags.split(","), of

    @staticmethod
    def _known(node):
        return {own for own, _, flags, _ in Cluster.rows(node) if "handshake" not in flags}

    def _links(self, node):
        info = node.client().info("replication")
        return info["role"] == "slave" and info["master_link_status"] == "up"

    def is_whole(self):
        """All slots are served, and each master that has a replica says that it is up to date."""
        live = [n for n in self.nodes if n.is_running()]
        if any("cluster_state:ok" not in self.say(n, "INFO") for n in live):
            return False
        linked = sum(self._links(n) for n in live)
        return linked >= sum(n.client().info("replication")["role"] == "slave" for n in live) and \
            (linked >= self._masters * self._replicas or len(live) < len(self.nodes)) and \
            all(n.client().info("replication").get("min_slaves_good_slaves", 1) for n in live
                if n.client().info("replication")["role"] == "master" and n not in self.nodes[len(self.nodes) - self._spare:])

    # ---- for a Ferry

    def url_of(self, nodes, partitions=None, host=None):
        host = host or (f"[{self.host}]" if ":" in self.host else self.host)
        hosts = ",".join(f"{host}:{n.port}" for n in nodes)
        return f"cluster{'s' if self.papers else ''}://:p%40ss%2Fword@{hosts}?partitions={partitions or self.partitions}"

    @property
    def url(self):
        return self.url_of(self.nodes[:3])

    def client(self, decode=True):
        return Keys(self, decode)

    def prefix(self, nth):
        return f"imapferry{{{nth:02}}}"

    def slot(self, nth):
        return self.say(next(n for n in self.nodes if n.is_running()), "KEYSLOT", self.prefix(nth))

    def call(self, nth, command, *args, decode=True, **options):
        return getattr(self.node_of(nth).client(decode), command)(*args, **options)

    # ---- who has what

    def is_here(self, node, nth):
        """Whether it says that it has the partition, or gives it away at this moment."""
        try:
            node.client().exists(self.prefix(nth))
        except redis.ResponseError as e:
            return str(e).startswith("ASK") or "ASK" in type(e).__name__.upper()
        except redis.RedisError:
            return False
        return True

    def node_of(self, nth, timeout=20):
        """The master that has the partition."""
        def find():
            return next((n for n in self.nodes if n.is_running() and n.client().info("replication")["role"] == "master" and
                         self.is_here(n, nth)), None)
        return net.wait_until(f"node of partition {nth}", find, timeout)

    def replica_of(self, node):
        own = self.id(node)
        ports = [port for _, port, flags, of in self.rows(node) if of == own and "fail" not in flags]
        return next(n for n in self.nodes if n.port in ports)

    def masters(self):
        return [n for n in self.nodes if n.is_running() and n.client().info("replication")["role"] == "master"]

    def other(self, nth):
        """A master that has not the partition."""
        here = self.node_of(nth)
        return next(n for n in self.masters() if n is not here)

    def partitions_of(self, node):
        return [n for n in range(1, self.partitions + 1) if self.node_of(n) is node]

    # ---- a slot is moved, as redis-cli --cluster reshard does

    def begin_move(self, nth, to):
        slot, here = self.slot(nth), self.node_of(nth)
        self.say(to, "SETSLOT", slot, "IMPORTING", self.id(here))
        self.say(here, "SETSLOT", slot, "MIGRATING", self.id(to))
        return slot, here

    def move_keys(self, slot, here, to, most=None):
        """most: so many, and not the rest. How many were moved."""
        moved = 0
        while most is None or moved < most:
            keys = here.client(False).execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10 if most is None else min(10, most - moved))
            if not keys:
                break
            here.client(False).execute_command("MIGRATE", self.host, to.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys)
            moved += len(keys)
        return moved

    def end_move(self, slot, here, to):
        for node in (to, here, *(n for n in self.masters() if n not in (to, here))):
            self.say(node, "SETSLOT", slot, "NODE", self.id(to))

    def move(self, nth, to):
        slot, here = self.begin_move(nth, to)
        moved = self.move_keys(slot, here, to)
        self.end_move(slot, here, to)
        return moved

    def fix(self):
        """What an administrator does where a move was broken off, once the nodes agree who has which slots."""
        words = ["redis-cli", "-a", PASSWORD, "--no-auth-warning", "--cluster", "fix", f"{self.host}:{self.masters()[0].port}"]
        net.wait_until("fix", lambda: subprocess.run(words, input="yes\nyes\n", text=True, check=False, stdout=subprocess.DEVNULL,
                                                     timeout=60).returncode == 0, 60)

    def fail_over(self, node, *how):
        """Its replica becomes the master; how: nothing, FORCE or TAKEOVER."""
        replica = self.replica_of(node)
        self.say(replica, "FAILOVER", *how)
        net.wait_until("failover", lambda: replica.client().info("replication")["role"] == "master")
        return replica

    def close(self):
        for node in self.nodes:
            node.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
