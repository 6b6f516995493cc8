"""Whose run is next: round robin over people."""

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import given

from playground.workers.queueing import in_turn, startable, starts_in


@dataclass(frozen=True)
class Waiting:
    """What the queue reads of a run; the first letter of the id is its owner."""

    id: str
    place: int
    left: float | None = 10.0

    @property
    def owner(self) -> str:
        return self.id[0]


def runs(*ids: str) -> list[Waiting]:
    return [Waiting(run_id, place) for place, run_id in enumerate(ids, start=1)]


def names(found) -> str:
    return " ".join(run.id for run in found)


def test_people_take_turns_however_many_each_has_queued():
    assert names(in_turn(runs("a1", "a2", "a3", "b1", "c1", "b2"), [], {})) == "a1 b1 c1 a2 b2 a3"


def test_whoever_trains_already_waits_for_those_who_do_not():
    assert names(in_turn(runs("a2", "b1", "a3"), runs("a1"), {"a": 50.0})) == "b1 a2 a3"


def test_whoever_began_last_is_behind_those_who_wait_longer():
    assert names(in_turn(runs("a2", "b2", "c1"), [], {"a": 70.0, "b": 60.0})) == "c1 b2 a2"


def test_ones_own_runs_keep_their_order():
    assert names(in_turn(list(reversed(runs("a1", "a2", "a3"))), [], {})) == "a1 a2 a3"


owners = st.sampled_from("abcd")


@given(st.lists(owners, max_size=20), st.lists(owners, max_size=4), st.dictionaries(owners, st.floats(0, 100)))
def test_nobody_is_left_out_and_nobody_is_more_than_one_turn_ahead(queued, active, served):
    queue = [Waiting(f"{owner}{i}", i) for i, owner in enumerate(queued)]
    order = in_turn(queue, [Waiting(f"{owner}x{i}", 0) for i, owner in enumerate(active)], served)
    assert sorted(run.id for run in order) == sorted(run.id for run in queue)
    had = {owner: active.count(owner) for owner in "abcd"}
    for i, run in enumerate(order):
        waiting = {other.owner for other in order[i:]}
        assert had[run.owner] == min(had[owner] for owner in waiting), "always one of those who had least"
        had[run.owner] += 1


def test_a_person_holds_no_more_places_than_everybody_may():
    order = in_turn(runs("a2", "b1", "a3", "b2"), runs("a1"), {})
    assert names(startable(order, runs("a1"), places=4, per_person=2)) == "b1 a2 b2"
    assert names(startable(order, runs("a1"), places=2, per_person=2)) == "b1"
    assert names(startable(order, runs("a1"), places=4, per_person=1)) == "b1"
    assert startable(order, runs("a1", "b9"), places=2, per_person=9) == []


def starts(queued, active, places, per_person=9, served=None):
    return starts_in(queued, active, served or {}, places, per_person, lambda run: run.left)


def test_expected_starts_follow_from_what_each_takes():
    active, queued = (
        [Waiting("a1", 0, 30.0), Waiting("b1", 0, 5.0)],
        [Waiting("c1", 1, 10.0), Waiting("d1", 2, 40.0), Waiting("c2", 3, 1.0)],
    )
    assert starts(queued, active, 2) == {"c1": 5.0, "d1": 15.0, "c2": 30.0}
    assert starts(queued, active, 3) == {"c1": 0.0, "d1": 5.0, "c2": 10.0}
    assert starts([], [], 2) == {}


def test_expected_starts_know_that_people_take_turns_and_have_their_part_only():
    mine, other = Waiting("a2", 1, 10.0), Waiting("b1", 2, 10.0)
    assert starts([mine, other], [Waiting("a1", 0, 5.0)], 1, served={"a": 1.0}) == {"b1": 5.0, "a2": 15.0}
    assert starts([mine], [Waiting("a1", 0, 5.0)], places=2, per_person=1) == {"a2": 5.0}
    assert starts([mine, other], [Waiting("a1", 0, 5.0)], places=2, per_person=1) == {"b1": 0.0, "a2": 5.0}


def test_what_nobody_knows_is_not_promised():
    known, unknown = Waiting("b1", 0, 5.0), Waiting("a1", 0, None)
    queued = [Waiting("c1", 1, 10.0), Waiting("e1", 2, None), Waiting("f1", 3, 1.0)]
    assert starts(queued, [unknown], 1) == {"c1": None, "e1": None, "f1": None}
    assert starts(queued, [unknown, known], 2) == {"c1": 5.0, "e1": 15.0, "f1": None}


@given(st.lists(owners, max_size=8), st.lists(owners, max_size=3), st.integers(1, 3), st.integers(1, 2))
def test_an_expected_start_comes_true_where_everything_takes_as_long_as_expected(queued, active, places, each):
    """Against a simulation of the queue as the supervisor serves it, in ticks of a second."""
    waiting = [Waiting(f"{owner}{i}", i, float(3 + 2 * i)) for i, owner in enumerate(queued)]
    training = {Waiting(f"{owner}x{i}", 0, float(4 + i)): 0 for i, owner in enumerate(active)}
    expected, found, began = starts(waiting, list(training), places, each), {}, dict.fromkeys(active, 0.0)
    for now in range(200):
        training = {run: since for run, since in training.items() if now - since < run.left}
        for run in startable(in_turn(waiting, list(training), began), list(training), places, each):
            found[run.id], training[run], began[run.owner] = float(now), now, max(began.values(), default=0.0) + 1.0
            waiting.remove(run)
    assert found == expected
