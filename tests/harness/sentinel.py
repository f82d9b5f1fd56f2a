"""A Redis master, two replicas and a Sentinel, all real, with passwords; as `redis` for a Ferry.

    with Group() as group:
        group.kill_master(); group.wait_failover()
        group.client()                   # of the master as it is now
"""
import os
import signal
import subprocess

import redis

from . import net, redisd

NAME = "ferry"
PASSWORD, SENTINEL_PASSWORD = "p@ss/word", "other?"
# min-replicas-max-lag is the whole seconds that a master that was cut off goes on writing.
LAG = 1
OPTIONS = ["min-replicas-to-write", "1", "min-replicas-max-lag", str(LAG), "replica-read-only", "no",
           "repl-diskless-sync-delay", "0"]


class Group:
    def __init__(self, failover_timeout=3000, papers=None, sentinel_papers=None, users="", by_name=False,
                 program="redis-server"):
        """failover_timeout: ms; another failover of the same group is not begun within twice of it. papers: all is TLS;
        sentinel_papers: those of the Sentinel, where it has others. users: lines of its ACL. by_name: it calls the servers localhost."""
        self.folder = net.temp_folder("sentinel")
        self.port = net.free_port()
        self._failover_timeout = failover_timeout
        self._papers, self._sentinel_papers = papers, sentinel_papers or papers
        self._users, self._program = users, program
        self._host = "localhost" if by_name else net.HOST
        self._bind = f"{net.HOST} -::1" if by_name else net.HOST  # which of both the name leads to first is said by /etc/hosts
        self.servers, self._process = [], None
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self):
        options = [*OPTIONS, "bind", self._bind, "replica-announce-ip", self._host]
        for _ in range(3):
            self.servers.append(redisd.Redis(port=net.free_port(), options=options, password=PASSWORD,
                                             papers=self._papers, program=self._program))
        self.master = self.servers[0]
        for replica in self.servers[1:]:
            replica.client().replicaof(net.HOST, self.master.port)
        net.wait_until("replicas", lambda: self._good_replicas(self.master) == 2)
        self._start()
        net.wait_until("Sentinel", self._sees_all)

    @staticmethod
    def _good_replicas(server):
        return server.client().info("replication").get("min_slaves_good_slaves")

    def _start(self):
        path = os.path.join(self.folder, "sentinel.conf")
        with open(path, "w", encoding="ascii") as f:
            if self._sentinel_papers:
                words = self._sentinel_papers.options()
                f.write(f"port 0\ntls-port {self.port}\n" + "".join(f"{k} {v}\n" for k, v in zip(words[::2], words[1::2])))
            else:
                f.write(f"port {self.port}\n")
            f.write(self._users)
            f.write(f"bind {self._bind}\ndir {self.folder}\nlogfile {self.folder}/sentinel.log\n"
                    f"requirepass {SENTINEL_PASSWORD}\n"
                    "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
                    f"sentinel monitor {NAME} {self._host} {self.master.port} 1\n"
                    f"sentinel auth-pass {NAME} {PASSWORD}\n"
                    f"sentinel down-after-milliseconds {NAME} 1000\n"
                    f"sentinel failover-timeout {NAME} {self._failover_timeout}\n")
        self._process = subprocess.Popen([self._program, path, "--sentinel"], start_new_session=True,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def ask(self, *words):
        papers = self._sentinel_papers
        by_tls = {"ssl": True, "ssl_ca_certs": papers.ca, "ssl_certfile": papers.cert, "ssl_keyfile": papers.key,
                  "ssl_check_hostname": False} if papers else {}
        with redis.Redis(host=net.HOST, port=self.port, password=SENTINEL_PASSWORD, decode_responses=True, **by_tls) as client:
            return client.execute_command("SENTINEL", *words)

    def _sees_all(self):
        try:
            replicas = [dict(zip(r[::2], r[1::2])) for r in self.ask("REPLICAS", NAME)]
        except redis.RedisError:
            return False
        return len(replicas) == 2 and all(r["flags"] == "slave" and r["master-link-status"] == "ok" for r in replicas)

    # ---- for a Ferry

    @property
    def url(self):
        """The first Sentinel is not there: the next one is asked."""
        return self.url_of([net.free_port(), self.port], "sentinels" if self._papers else "sentinel")

    @staticmethod
    def url_of(ports, scheme="sentinel"):
        """Of Sentinels that are asked at these ports."""
        hosts = ",".join(f"{net.HOST}:{port}" for port in ports)
        return f"{scheme}://:p%40ss%2Fword@{hosts}/{NAME}/0?sentinel_auth=:{SENTINEL_PASSWORD}"

    def client(self, decode=True):
        return self.master.client(decode)

    # ---- what happens

    def wait_replicas(self):
        """Both have everything so far. WAIT looks at what its own connection wrote, so that has to be last."""
        client = self.client()
        with client.pipeline(transaction=False) as one_connection:
            one_connection.set("harness:last", "1").wait(2, 5000)
            assert one_connection.execute()[-1] == 2

    def kill_master(self):
        self.wait_replicas()
        self.master.kill()

    def named(self):
        """The one that Sentinel calls the master now."""
        port = int(self.ask("GET-MASTER-ADDR-BY-NAME", NAME)[1])
        return next(s for s in self.servers if s.port == port)

    def wait_failover(self, old=None, timeout=20):
        """The new master, once it is one and writes; old: what was master before, where it may have been noticed already."""
        old = old or self.master

        def find():
            server = self.named()
            if server is old or server.client().role()[0] != "master" or not self._good_replicas(server):
                return None
            return server
        self.master = net.wait_until("failover", find, timeout)

    def stop_sentinel(self):
        """It does nothing any more until close()."""
        self._process.send_signal(signal.SIGSTOP)

    def restore(self, timeout=60):
        """What was master before is a replica of the one that is: started again where it was killed."""
        for server in self.replicas():
            server.signal(signal.SIGCONT)
            if not server.is_running():
                server.start(["replicaof", f"{net.HOST} {self.master.port}"])
            elif server.client().role()[0] == "master":
                server.client().replicaof(net.HOST, self.master.port)
        net.wait_until("replicas", lambda: self._good_replicas(self.master) == 2, timeout)

    def replicas(self):
        return [s for s in self.servers if s is not self.master]

    def close(self):
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            net.stop_process(self._process)
        for server in self.servers:
            server.close()
        net.remove_folder(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
