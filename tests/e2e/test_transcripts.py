"""The transcripts of tests/transcripts, each against a proxy of the settings that it asks for.

One proxy, with a scripted backend of its own, plays all scenes of the same settings, one by one (a lane); lanes go on at the same time,
since a scene with a refused login or a deadline waits for most of its time."""
import concurrent.futures

import pytest

from harness import net, redisd, transcript
from harness.lane import PROFILES, Certificates, Lane

LANES = {"plain": 4, "impatient": 3, "header": 3}  # of a profile; else one
SCENES = [scene for name in transcript.files() for scene in transcript.read(name)]


@pytest.fixture(scope="module")
def make_lane(authority, cert):
    """make_lane(profile, number)"""
    store, certificates, made = redisd.Redis(port=net.free_port()), Certificates(authority), []

    def make(profile, number):
        made.append(Lane(profile, number, store, authority, cert, certificates))
        return made[-1]
    yield make
    failures = []
    for lane in made:
        try:
            lane.close()
        except AssertionError as e:
            failures.append(e)
    store.close()
    if failures:
        raise failures[0]


@pytest.fixture(scope="module")
def played(request, make_lane):
    """Name of each scene that was asked for -> what broke, or None."""
    asked = [x.callspec.params["scene"] for x in request.session.items if x.name.startswith("test_transcript[")]
    lanes = {}
    for profile in PROFILES:
        scenes = [s for s in asked if s.header("profile", "plain") == profile]
        count = LANES.get(profile, 1)
        lanes.update({(profile, n): scenes[n::count] for n in range(count) if scenes[n::count]})
    results = {}

    def play_all(key):
        lane = make_lane(*key)
        for scene in lanes[key]:
            results[scene.name] = lane.play(scene)
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(play_all, lanes))
    return results


@pytest.mark.parametrize("scene", SCENES, ids=[s.name for s in SCENES])
def test_transcript(played, scene):
    if played[scene.name]:
        raise played[scene.name]


WRONG = {
    "another answer": "C> a NOOP\nC< a OK other",
    "another tag": "C> a LOGOUT\nC~ a OK ...\nC< b OK",
    "not closed": "C> a NOOP\nC~ a OK ...\nC closed",
    "not closed at once": "C> a LOGOUT\nC closed",
    "heard all the same": "C> a LOGIN ann pa55word\nC~ a OK ...\nB never pa55word",
    "one sign-in": "C> a LOGIN ann pa55word\nC~ a OK ...\nB logins 2",
    "one connection": "C> a LOGIN ann pa55word\nC~ a OK ...\nB connections 0",
    "somebody else": "C> a LOGIN ann pa55word\nC~ a OK ...\nB login bob pa55word",
    "never heard": "C> a LOGIN ann pa55word\nC~ a OK ...\nB heard xyzzy",
    "another command": "C> a LOGIN ann pa55word\nC~ a OK ...\nC> b NOOP\nB< c NOOP",
    "logged all the same": "C> a LOGIN ann pa55word\nC~ a OK ...\nlog event=login\nlog never event=login",
    "never sent": "C takes 5",
}


def test_what_is_otherwise_is_seen(make_lane, tmp_path):
    """The player itself: each kind of step fails where it is not so."""
    lane = make_lane("plain", 99)
    lane.deadline = 0.3
    for name, text in WRONG.items():
        path = tmp_path / "wrong.t"
        path.write_text(text + "\n", encoding="ascii")
        assert lane.play(transcript.read(str(path))[0]), name


@pytest.mark.parametrize("text", ["X> a", "C frobs x", "with x", "rows 1", "scene a\nscene b\nC> a", "scene a\nC> a\nscene a\nC> a"])
def test_mistakes_in_transcripts(tmp_path, text):
    path = tmp_path / "wrong.t"
    path.write_text(text + "\n", encoding="ascii")
    with pytest.raises(transcript.Mistake):
        transcript.read(str(path))
