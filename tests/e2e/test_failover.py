"""A proxy with many sessions while Redis is slow, was away, or is another server."""
import threading
import time

from harness import net, scripts
from harness.relay import DOWN, UP, Relay
from harness.scene import connect, new_user

LEASE = 1.0
TELL = 3.0  # seconds between two words of a process about its id (lib/instance.h)
SETTINGS = {"proxy": {"lease": "1s", "lease_long": "5s", "threads": 1}, "migration": {"trigger": "login", "cutover": "manual"}}


def test_a_connection_on_which_calls_pile_up_costs_no_lease(make_ferry, backends, redis):
    """One call takes longer than the lease, on the connection that it is sent on; a session of an engaged account goes on."""
    slow, held = new_user("slow"), threading.Event()

    def edit(direction, data):
        if direction == UP and slow.encode() in data and not held.is_set():
            held.set()
            time.sleep(2.5 * LEASE)
        return data
    relay = Relay(redis.address, edit=edit)
    ferry = make_ferry(backends, SETTINGS)
    proxy = ferry.proxy(redis={"url": relay.redis_url})
    with connect(proxy) as live, connect(proxy) as waits:
        assert live.login(new_user("live")).startswith(b"l1 OK")
        waits.send(b"s LOGIN %s secret\r\n" % slow.encode())
        assert held.wait(10)
        until = time.monotonic() + 2.2 * LEASE
        while time.monotonic() < until:
            began = time.monotonic()
            assert live.command(b"n", b"NOOP")[-1].startswith(b"n OK")
            assert time.monotonic() - began < LEASE / 2
        assert waits.until(b"s ")[-1].startswith(b"s OK")
    assert not proxy.find("event=lease_lapsed")
    relay.close()


def script(ferry, name, *args):
    """Runs a script as a migrator would, but as EVAL: what the proxies run is counted as fcall."""
    client = ferry.redis.client()
    return client.eval(scripts.whole(name), 1, "imapferry", client.hget("imapferry:store", "id"), *args)


def calls(ferry, command):
    return int(ferry.redis.client().info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def test_threads_that_have_nothing_of_an_account_run_no_script_for_its_cut_over(make_ferry, backends):
    """Two proxies of four threads; one thread has a session of the account, and no registration is in doubt anywhere."""
    ferry = make_ferry(backends, {"proxy": {"lease": "300s", "lease_long": "600s", "threads": 4},
                                  "migration": {"trigger": "manual"}})
    proxies, user = [ferry.proxy(), ferry.proxy()], new_user("moves")

    def session():
        return [row.split(" ") for row in ferry.redis.client().hvals(f"imapferry:sessions:{user}")]
    with connect(proxies[0]) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        assert ferry.ctl("migrate", user)[0] == 0
        assert script(ferry, "claim", user, "token")[0] == "ok"
        epoch = ferry.route(user)["epoch"]
        assert script(ferry, "ready", user, "token", epoch)[0] == "ok"
        net.wait_until("session whose proxy has seen the epoch", lambda: [x[1] for x in session()] == [epoch])
        reads, ran, began = calls(ferry, "xread"), calls(ferry, "fcall"), time.monotonic()
        status, epoch = script(ferry, "prepare", user, "token", epoch, 60000)
        assert status == "ok"
        net.wait_until("session that is prepared", lambda: [x[1:3] for x in session()] == [[epoch, "prepared"]])
        net.wait_until("news that every thread has heard", lambda: calls(ferry, "xread") >= reads + 3 * 8)
        assert script(ferry, "abort", user, "token", epoch, "test") == ["ok"]
        net.wait_until("news that every thread has heard", lambda: calls(ferry, "xread") >= reads + 5 * 8)
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
        # seen, prepared, and a sign of life at preparing and at ready; and who tells that its id is taken
        told = calls(ferry, "fcall") - ran - len(proxies) * (1 + int((time.monotonic() - began) / TELL))
        assert told <= 4
    wire.close()
    net.wait_until("leave", lambda: not session())


def test_a_leave_that_is_lost_is_sent_again(make_ferry, backends, redis):
    """Without a switch-over, nothing else would ever take the registration away."""
    user, relay = new_user("left"), Relay(redis.address)
    ferry = make_ferry(backends, {**SETTINGS, "migration": {"trigger": "manual"}})
    proxy = ferry.proxy(redis={"url": relay.redis_url}, proxy={"lease": "10s", "lease_long": "60s", "store_timeout": "1s"})
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        relay.stall()
        wire.close()
        proxy.wait(f"event=session_end .*user={user}")
    proxy.wait("event=store_down")
    relay.reset()
    assert ferry.redis.client().exists(f"imapferry:sessions:{user}")
    relay.resume()
    net.wait_until("leave", lambda: not ferry.redis.client().exists(f"imapferry:sessions:{user}"))
    relay.close()


class Ways(Relay):
    """To Redis, of a proxy of one thread: knows which of its connections is the one by which it reads routes."""

    def __init__(self, upstream):
        self.reads, self._asked, self.loses = None, False, ""
        self.answered = threading.Event()  # a read, behind listen()
        super().__init__(upstream)

    def _edited(self, pair, direction, data):
        if direction == UP and b"_where" in data:
            self.reads, self._asked = pair, True
            if self.loses and self.loses.encode() in data:
                self.loses = ""
                raise ConnectionResetError
        elif direction == DOWN and pair == self.reads and self._asked:
            self.answered.set()
        return data

    def listen(self):
        self._asked = False
        self.answered.clear()

    def reset_reads(self):
        self._reset_pair(self.reads)


def announce(client, user, skipped=0, **fields):
    """A change of the route, as a migrator's script would make it; skipped: so many events before it were lost."""
    route = {"backend": "old", "source": "old", "target": "new", "owner": "token", **fields}
    client.hset(f"imapferry:route:{user}", mapping=route)
    client.xadd("imapferry:events", {
        "n": client.hincrby("imapferry:store", "events", 1 + skipped), "user": user, "kind": "state", "state": route["state"],
        "epoch": route["epoch"], "backend": "old", "target": "new", "left": route.get("left", 0), "generation": route["generation"]})


def preparing(client):
    now = client.time()[0] * 1000
    return {"state": "preparing", "epoch": 5, "prepared": now, "deadline": now + 60000, "left": 60000}


def mode(client, user):
    return [row.split(" ")[2] for row in client.hvals(f"imapferry:sessions:{user}")]


def test_a_read_whose_answer_is_lost_is_repeated(make_ferry, backends, redis):
    """Events were missed, so the route is read, and the connection of that breaks, but not the one that events come by."""
    user, ways = new_user("missed"), Ways(redis.address)
    ferry = make_ferry(backends, {"proxy": {"lease": "60s", "lease_long": "60s", "threads": 1},
                                  "migration": {"trigger": "manual"}})
    proxy, client = ferry.proxy(redis={"url": ways.redis_url}), ferry.redis.client()
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        generation = int(client.hget("imapferry:store", "generation"))
        announce(client, user, generation=generation, state="ready", epoch=4)
        net.wait_until("session that has heard", lambda: client.hvals(f"imapferry:sessions:{user}")[0].split(" ")[1] == "4")
        now = preparing(client)
        client.hset(f"imapferry:route:{user}", mapping=now)
        ways.loses = user
        announce(client, new_user("other"), skipped=1, generation=generation, state="queued", epoch=0)
        net.wait_until("session that is prepared", lambda: mode(client, user) == ["prepared"])
        assert not ways.loses and wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    ways.close()


def test_what_a_master_said_that_is_none_any_more_is_not_believed_for_ever(make_ferry, backends, redis):
    """Redis fails over twice. Events come from the last master already while routes are still read at the one in between,
    whose number is the greater one, as where its clock is ahead; then they are read at the last one too."""
    user, other, ways = new_user("between"), new_user("other"), Ways(redis.address)
    ferry = make_ferry(backends, {"proxy": {"lease": "6s", "lease_long": "60s", "threads": 1}, "migration": {"trigger": "manual"}})
    proxy, client = ferry.proxy(redis={"url": ways.redis_url}), ferry.redis.client()

    def is_heard(generation):
        """At both connections to the store, and by the lease."""
        return len(proxy.find(f"event=store_up .*generation={generation} ")) >= 2 and \
            [row.split(" ")[3] for row in client.hvals("imapferry:proxies")] == [str(generation)]
    with connect(proxy) as wire:
        assert wire.login(user).startswith(b"l1 OK")
        client.hset("imapferry:store", "generation", 9)
        net.wait_until("master in between", lambda: is_heard(9))
        announce(client, user, generation=9, state="ready", epoch=4)
        net.wait_until("session that has heard", lambda: client.hvals(f"imapferry:sessions:{user}")[0].split(" ")[1] == "4")
        assert wire.command(b"m", b"NOOP")[-1].startswith(b"m OK")  # it passes nothing before it is registered there
        ways.listen()
        announce(client, other, generation=2, state="queued", epoch=0)
        assert ways.answered.wait(10)
        client.hset("imapferry:store", "generation", 2)
        ways.reset_reads()
        net.wait_until("last master", lambda: is_heard(2))
        announce(client, user, generation=2, **preparing(client))
        net.wait_until("session that is prepared", lambda: mode(client, user) == ["prepared"])
        assert wire.command(b"n", b"NOOP")[-1].startswith(b"n OK")
    ways.close()
