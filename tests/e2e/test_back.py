"""Accounts with a pair of backends of their own, and the way back."""
from harness.scene import assert_equal, fill, new_user, small


def test_a_rule_gives_an_account_its_own_pair(make_ferry, backends, old, new):
    """The pair is the other way round for one domain: its accounts live on the new server and move to the old."""
    user, other = new_user("ruled").replace("example.org", "b.example"), new_user("plain")
    fill(new, user, small(messages=8))
    fill(old, other, small(messages=8))
    ferry = make_ferry(backends, {'rule "*@B.example"': {"source": "new", "target": "old"}})
    proxy = ferry.proxy()
    assert ferry.ctl("hold", user)[0] == 0
    assert ferry.route(user)["backend"] == "new"
    assert ferry.ctl("release", user)[0] == 0
    ferry.login(proxy, user, "secret").logout()
    assert (ferry.route(user)["source"], ferry.route(user)["target"]) == ("new", "old")
    ferry.login(proxy, other, "secret").logout()
    ferry.migrator()
    assert ferry.wait_state(user, "flipped")["backend"] == "old"
    assert ferry.wait_state(other, "flipped")["backend"] == "new"
    assert_equal(new, old, user, 8)
    assert_equal(old, new, other, 8)
    status, answer = ferry.ctl("migrate", user)
    assert status == 0 and "on old already" in answer["message"], answer
