"""A small one of what `make check-account` moves: an account with every oddity in it, between real servers."""
import contextlib

import pytest

from harness import whole


@pytest.mark.parametrize("pair", whole.PAIRS, ids=lambda p: f"{p[0]}-{p[1]}")
def test_account_with_every_oddity_arrives_but_for_what_is_named(make_ferry, cert, pair):
    with contextlib.ExitStack() as stack:
        source, target = (stack.enter_context(whole.SERVERS[s](name, cert)) for s, name in zip(pair, ("old", "new")))
        ferry = make_ferry(whole.backends(source, target))
        result = whole.move(source, target, ferry, 250)
        assert not result.faults(), f"{result}\n" + "\n".join(result.faults())
        ferry.stop_all()
