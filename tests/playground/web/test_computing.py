"""What the page computes: in one patient thread, each in its turn."""

import itertools
import os
import sys
import threading
import time

import pytest
import torch

from playground.web.computing import A_LITTLE_S, MAX_STREAMS, Busy, Computing, Superseded
from tests.patience import still


def test_it_computes_in_one_thread_of_low_priority_and_with_one_core():
    computing = Computing(nice=7)
    names = {computing.run(lambda: threading.current_thread().name) for _ in range(3)}
    assert len(names) == 1 and names != {threading.current_thread().name}
    assert computing.run(torch.get_num_threads) == 1
    if sys.platform == "linux":
        before = os.getpriority(os.PRIO_PROCESS, 0)
        assert computing.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())) == max(7, before)
        assert os.getpriority(os.PRIO_PROCESS, 0) == before, "the page's own threads stay as they are"


def test_what_goes_wrong_reaches_whoever_asked():
    computing = Computing()
    for ask in (computing.run, computing.run_soon):
        with pytest.raises(ZeroDivisionError):
            ask(lambda: 1 / 0)
    assert computing.run(lambda: "goes on") == "goes on"


def test_a_thread_of_the_server_waits_no_longer_than_it_may():
    computing, inside, release, done = Computing(patience_s=0.2), threading.Event(), threading.Event(), []

    def work() -> None:
        inside.set()
        release.wait(20)
        done.append("work")

    def ask() -> None:
        with pytest.raises(Busy):
            computing.run_soon(work)
        done.append("told")

    asker = threading.Thread(target=ask)
    asker.start()
    assert inside.wait(20)
    asker.join(20)
    assert done == ["told"], "its own work takes too long"
    with pytest.raises(Busy):
        computing.run_soon(lambda: done.append("never"))
    release.set()
    computing.run(lambda: None)
    assert done == ["told", "work"], "what nobody waits for any more is not begun"
    assert computing.run_soon(lambda: "free again") == "free again"


def test_those_who_wait_for_long_answers_have_their_turns_in_between():
    computing, order = Computing(), []

    def slowly(name: str):
        for i in range(4):
            time.sleep(A_LITTLE_S * 1.2)
            order.append(name)
            yield i

    found: dict[str, list[int]] = {}
    threads = [threading.Thread(target=lambda n=name: found.update({n: list(computing.stream(slowly(n)))})) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]}
    assert sum(one != other for one, other in itertools.pairwise(order)) >= 5, f"they alternate: {order}"


def test_quick_items_come_in_one_turn():
    computing, turns = Computing(), []
    run = computing.run_soon
    computing.run_soon = lambda do: (turns.append(1), run(do))[1]
    assert list(computing.stream(iter(range(100)))) == list(range(100))
    assert len(turns) == 1


def test_what_came_before_an_error_is_given_first():
    def items():
        yield 1
        yield 2
        raise ValueError("the third is lost")

    found = []
    with pytest.raises(ValueError, match="the third"):
        for item in Computing().stream(items()):
            found.append(item)
    assert found == [1, 2]


def test_streams_are_limited_and_a_place_is_free_again_after_one_that_was_left():
    computing = Computing()

    def endless():
        while True:
            yield time.sleep(0.001)

    streams = [computing.stream(endless()) for _ in range(MAX_STREAMS)]
    for stream in streams:
        next(stream)
    with pytest.raises(Busy, match="16 models are writing"):
        next(computing.stream(iter([1])))
    streams[0].close()
    assert list(computing.stream(iter([1, 2]))) == [1, 2]


def test_one_address_with_many_invented_names_leaves_places_for_others():
    computing = Computing()
    streams = [computing.stream(itertools.count(), f"invented {i}", "10.0.0.7") for i in range(12)]
    assert [next(stream) for stream in streams] == [0] * 12
    with pytest.raises(Busy):
        next(computing.stream(itertools.count(), "invented 12", "10.0.0.7"))
    assert next(computing.stream(itertools.count(), "invented 3", "10.0.0.7")) == 0, "a reader's newer stream takes its own place"
    others = [computing.stream(itertools.count(), f"other {i}", "10.0.0.8") for i in range(4)]
    assert [next(stream) for stream in others] == [0] * 4


def test_the_newest_stream_of_a_reader_ends_the_one_before():
    computing = Computing()
    old, other = computing.stream(itertools.count(), "ada"), computing.stream(itertools.count(), "ben")
    assert (next(old), next(other)) == (0, 0)
    new = computing.stream(itertools.count(), "ada")
    assert next(new) == 0
    with pytest.raises(Superseded, match="one is written at a time"):
        next(old)
    assert (next(new), next(other)) == (1, 1)


def test_streams_that_nobody_asks_for_more_of_cannot_close_the_door():
    """A reader who is gone may leave a generator behind that is neither pulled nor closed."""
    computing = Computing(left_s=0.5)
    left = [computing.stream(iter(range(3))) for _ in range(MAX_STREAMS)]
    assert [next(stream) for stream in left] == [0] * MAX_STREAMS
    with pytest.raises(Busy, match="16 models are writing"):
        next(computing.stream(iter([1])))
    time.sleep(0.6)
    assert list(computing.stream(iter([1, 2]))) == [1, 2]
    with pytest.raises(Superseded):
        next(left[0])


def test_closing_forgets_what_waits():
    computing, begun, release, done = Computing(), threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        release.wait()
        done.append("first")

    holder = threading.Thread(target=lambda: computing.run(first))
    holder.start()
    begun.wait()
    waiting = computing._thread.submit(done.append, "second")
    computing.close()
    release.set()
    holder.join()
    assert waiting.cancelled() and done == ["first"]


def test_beside_runs_that_train_it_rests_as_long_for_each_as_it_has_computed():
    def work() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass

    computing = Computing(others=lambda: 2)
    computing.run(lambda: None)
    began = time.monotonic()
    for _ in range(6):
        computing.run(work)
    assert time.monotonic() - began >= 6 * 0.05 + 5 * 2 * 0.05  # six turns, and five rests of two turns each


def test_no_rest_is_long_enough_to_keep_a_person_waiting():
    computing = Computing(others=lambda: 10**6)
    computing.run(lambda: sum(range(100_000)))
    began = time.monotonic()
    computing.run(lambda: None)
    assert still(began)
