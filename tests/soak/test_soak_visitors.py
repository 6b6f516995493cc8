"""A short run of `soak visitors` against the real app; and tests that its checks detect each kind of error."""

import json

import pytest

from tests.patience import LONGEST_S
from tests.soak import people
from tests.soak.client import Answer
from tests.soak.page import Told
from tests.soak.people import Diary, Person, Seen, Tab, update
from tests.soak.room import Room
from tests.soak.visitors import LONG_ENOUGH_S, Result


def test_a_few_visitors_lose_nothing_and_see_only_their_own(run_python):
    process = run_python("-m", "tests.soak", "visitors", "--visitors", "5", "--seconds", "5", "--json")
    out, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, out + err
    found = json.loads(out)
    assert found["violations"] == []
    assert {"open", "design", "train", "live update", "reload", "sample", "meddle", "leave"} <= found["actions"].keys()
    assert found["runs"] >= 5 and found["room"]["updates"] > 5 and len(found["room"]["tokens_per_s_watched"]) == 1
    assert min(found["room"]["tokens_per_s_alone"]) > 0 and found["live_update_ms"]["p95"] > 0


@pytest.fixture
def person():
    """Visitor 3, whose run has 1,000 parameters."""
    person = Person(3, 0, None, [], Diary(), lambda other: "theirsruns")
    person.n_params = 1000
    person.run = Seen("aaaaaaaaaa", mine=True)
    return person


def delta(person, **changes):
    """An answer with two points of their run."""
    run = {"id": "aaaaaaaaaa", "n_params": 1000, "state": "running"} | changes.pop("run", {})
    progress = {"step": [1, 2], "lr": [person.lr, person.lr], "loss": [3.0, 2.0]} | changes.pop("progress", {})
    return {
        "run": run,
        "generation": 1,
        "cursor": 2,
        "reset": True,
        "more": False,
        "poll_ms": 0,
        "events": {"progress": progress},
    } | changes


class Answers:
    """A client whose server gives these answers, one after the other."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    async def ask(self, method, path, body=b"", headers=()):
        self.asked.append(path)
        return Answer(200, {}, json.dumps(self.answers.pop(0)).encode(), 0.01)

    get = ask


def followed(run_apart, person, *answers):
    """The errors noted after these answers."""
    client = Answers(*answers)

    async def follow():
        for _ in answers:
            await update(client, person.run, "page1", person.diary)
            person._check(person.run)

    run_apart(follow())
    return list(person.diary.errors)


def test_ones_own_values_are_fine(run_apart, person):
    more = delta(person, reset=False, cursor=4, progress={"step": [3, 4]})
    assert followed(run_apart, person, delta(person), more) == []
    assert person.run.series["progress"]["step"] == [1, 2, 3, 4] and person.diary.updates == [0.01, 0.01]


@pytest.mark.parametrize(
    "changes",
    [{"run": {"id": "bbbbbbbbbb"}}, {"run": {"n_params": 1002}}, {"progress": {"lr": [0.001, 0.00104]}}],
    ids=["another run", "another model", "another rate"],
)  # fmt: skip
def test_an_answer_of_somebody_else_is_noticed(run_apart, person, changes):
    (said,) = followed(run_apart, person, delta(person, **changes))
    assert said.startswith("cross-talk")


def test_a_point_that_comes_twice_is_noticed(run_apart, person):
    assert followed(run_apart, person, delta(person), delta(person, reset=False, progress={"step": [2, 3]})) == [
        "a curve goes back or shows a point twice"
    ]


def test_a_run_that_vanishes_and_an_answer_that_is_none_are_noticed(run_apart, person):
    assert followed(run_apart, person, {"gone": True}) == ["a run that nobody deleted is gone"]

    class Broken:
        async def ask(self, *_, **__):
            return Answer(503, {}, b"busy")

    run_apart(update(Broken(), person.run, "page1", person.diary))
    assert any("answers 503" in said for said in person.diary.errors)


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_reload_loses_is_noticed(run_apart, person, monkeypatch, kept):
    class Reopened:
        wire, session, client = {"run": "aaaaaaaaaa", "mine": True}, "s", None

        async def open(self, files, run_id=None):
            pass

        async def close(self):
            pass

    monkeypatch.setattr(people, "Tab", lambda *_: Reopened())
    person.run.merge(delta(person, progress={"step": [1, 2], "lr": [person.lr] * 2}))
    person.client = Answers(delta(person, progress={"step": [1, 2, 3] if kept else [1, 3], "lr": [person.lr] * 2}))
    run_apart(person._reload(Reopened()))
    assert list(person.diary.errors) == ([] if kept else ["lost by a reload: progress at steps [2]"])


@pytest.mark.parametrize(
    ("answer", "blamed"),
    [
        (Told("whatever the words", "not_allowed"), None),
        (Told("whatever the words", "no_such_run"), None),
        (Told("only the owner of 'x' may do this", "cannot_do"), "is refused as cannot_do"),
        (Told("an error"), "is refused as :"),
        ([{"mine": False}, {}], "is not refused"),
    ],
)
def test_steering_that_is_not_refused_is_noticed(run_apart, person, monkeypatch, answer, blamed):
    async def press(self, elem_id, chosen, event="click"):
        if isinstance(answer, Told):
            raise answer
        return answer

    monkeypatch.setattr(Tab, "press", press)
    run_apart(person._meddle(None))
    assert all(blamed is not None and blamed in said for said in person.diary.errors)
    assert len(person.diary.errors) == (0 if blamed is None else 5)


def test_a_page_asks_as_often_as_a_browser_and_as_the_server_says(person):
    run = person.run
    assert run.wait_s(delta(person)) == people.EAGER_POLL_S
    run.merge(delta(person))
    assert run.wait_s(delta(person)) == people.POLL_S
    assert run.wait_s(delta(person, poll_ms=1000)) == 1.0
    assert run.wait_s(delta(person, poll_ms=1000, run={"state": "finished"})) == people.IDLE_POLL_S
    assert run.wait_s(delta(person, poll_ms=1000, more=True)) == 0


def judged(seconds=LONG_ENOUGH_S, memory=(100, 100, 100), updates=0.01, opening=1.0, watched=95.0):
    diary, room = Diary(), Room(alone=[100.0] * 3, watched=[watched] * 3)
    for each in (diary, room.diary):
        each.updates, each.openings, each.reloads = [updates] * 100, [opening] * 100, [opening] * 100
    sizes = [size << 20 for size in memory for _ in range(20)]
    result = Result(50, seconds, diary, room, list(enumerate(sizes)))
    result.judge()
    return result.violations


def test_what_is_promised_of_a_long_campaign():
    assert judged() == []
    assert len(judged(updates=0.3)) == 2 and "300 ms" in judged(updates=0.3)[0]
    assert len(judged(opening=5.5)) == 3
    assert judged(watched=79.0) == ["with everybody watching, training keeps 79% of its speed"]
    assert judged(memory=(500, 1000, 1000, 1200)) == ["the server's memory grew from 1000 to 1200 MiB"]
    assert judged(memory=(200, 1000, 1000, 1050)) == [], "what is loaded at first stays"
    assert judged(seconds=5, updates=0.3, opening=9.0, watched=10.0, memory=(1, 2, 900)) == [], "a short one says nothing of speed"
