"""A store as `imapferryctl init` leaves it. Thousands of tests begin with one, and to make it takes as long as all else that Redis does
for a test: so the first of its kind in this process is made by init, and what that wrote is written again for the others, with an
id of their own. For a Redis as the fixture starts it; where something is in it already, and in tests of init, init itself runs."""
import uuid

_made = {}  # (the program of Redis, what init reads) -> (functions, key -> what DUMP said)


def init(ferry):
    """Makes the store of a site that nobody has used yet."""
    kind = (ferry.redis.program, repr((sorted(ferry.backends), ferry.settings)))
    client = ferry.redis.client(decode=False)
    empty = not client.dbsize() and not client.execute_command("FUNCTION", "LIST")
    if empty and kind in _made:
        _write(ferry, client, *_made[kind])
        return
    ferry.init()
    if empty:
        _made[kind] = _read(client)


def _read(client):
    return client.execute_command("FUNCTION", "DUMP"), {key: client.dump(key) for key in client.keys()}


def _write(ferry, client, functions, keys):
    client.execute_command("FUNCTION", "RESTORE", functions)
    for key, value in keys.items():
        client.restore(key, 0, value)
    store = f"{ferry.settings['redis'].get('prefix', 'imapferry')}:store"
    client.hset(store, mapping={"id": uuid.uuid4().hex, "run_id": client.info("server")["run_id"]})
