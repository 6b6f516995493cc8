"""Errands: done once for all who ask, a few at a time, and what went wrong is told."""

import threading
import time

import pytest

from playground.web.errands import AT_ONCE, Errands, TooManyErrands


class Work:
    """Something that goes on until it is let go, and counts how often it was begun."""

    def __init__(self, error: Exception | None = None):
        self.error, self.begun, self.at_once, self.most = error, 0, 0, 0
        self.let_go, self.lock = threading.Event(), threading.Lock()

    def __call__(self, report):
        with self.lock:
            self.begun += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        report(0.25, f"begun {self.begun}")
        assert self.let_go.wait(20)
        with self.lock:
            self.at_once -= 1
        if self.error is not None:
            raise self.error


def waiting(errand) -> int:
    """How many wait for its end."""
    return len(errand.done._cond._waiters)


@pytest.fixture
def errands():
    return Errands()


def test_what_is_quick_is_done_when_it_returns(errands):
    done = []
    assert errands.go("key", lambda report: done.append(1)) is None
    assert done == [1]
    assert errands.about("key") is None


def test_what_takes_longer_is_told_about_until_it_is_done(errands, until):
    work = Work()
    began = time.monotonic()
    errand = errands.go("key", work, patience_s=0.05)
    assert 0.05 <= time.monotonic() - began < 15
    until(lambda: errand.share == 0.25, "its report")
    assert errands.about("key") is errand and errand.words == "begun 1"
    work.let_go.set()
    until(lambda: errands.about("key") is None, "its end")
    assert work.begun == 1


def test_patience_is_no_longer_than_the_work(errands):
    began = time.monotonic()
    assert errands.go("key", lambda report: time.sleep(0.05), patience_s=30) is None
    assert time.monotonic() - began < 25


def test_whoever_asks_for_the_same_joins(errands, until):
    """Ten at once: one does it, all hear of its end."""
    work, heard = Work(), []

    def ask():
        heard.append(errands.go("key", work, patience_s=20))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    until(lambda: work.begun == 1, "its beginning")
    errand = errands.go("key", work, patience_s=0.0)
    assert errand is errands.about("key") is not None
    until(lambda: waiting(errand) == 10, "all ten")
    work.let_go.set()
    for thread in threads:
        thread.join(20)
    assert heard == [None] * 10 and work.begun == 1


def test_another_key_is_another_errand(errands):
    done = []
    for key in ("a", "b", ("a", 1)):
        errands.go(key, lambda report, key=key: done.append(key))
    assert done == ["a", "b", ("a", 1)]


def test_what_is_done_is_done_again_when_it_is_asked_for_again(errands):
    done = []
    for _ in range(3):
        assert errands.go("key", lambda report: done.append(1)) is None
    assert done == [1, 1, 1]


def test_what_ended_unasked_can_be_forgotten_and_what_runs_cannot(errands, until):
    done, release = [], threading.Event()
    errands.go("a", lambda report: (time.sleep(0.1), done.append(1)), patience_s=0.0)
    until(lambda: done and errands._running["a"].done.is_set(), "its end")
    errands.forget("a")
    errands.go("a", lambda report: (release.wait(), done.append(2)), patience_s=0.0)
    errands.forget("a")
    assert errands.about("a") is not None, "it goes on"
    release.set()
    until(lambda: len(done) == 2, "the second")


def test_an_error_is_told_once_and_asking_again_begins_anew(errands):
    def fail(report):
        raise ValueError("no such text")

    with pytest.raises(ValueError, match="no such text"):
        errands.go("key", fail)
    assert errands.about("key") is None
    done = []
    assert errands.go("key", lambda report: done.append(1)) is None
    assert done == [1]


def test_an_error_reaches_all_who_wait_and_whoever_looks_later(errands, until):
    work, heard = Work(OSError("no room")), []

    def ask():
        try:
            errands.go("key", work, patience_s=20)
        except OSError as error:
            heard.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: work.begun == 1, "its beginning")
    until(lambda: waiting(errands.about("key")) == 3, "all three")
    work.let_go.set()
    for thread in threads:
        thread.join(20)
    assert heard == ["no room"] * 3 and work.begun == 1
    late = Work(OSError("no room either"))
    errand = errands.go("late", late, patience_s=0.0)
    late.let_go.set()
    assert errand.done.wait(20)
    with pytest.raises(OSError, match="either"):
        errands.about("late")
    assert errands.about("late") is None


def test_whoever_was_slow_to_hear_of_the_end_does_not_end_what_began_anew(errands):
    """Two wait for the same; one hears of its end and another begins it anew before the second does."""
    first, second = Work(), Work()
    old = errands.go("key", first, patience_s=0.0)
    first.let_go.set()
    assert old.done.wait(20)
    assert errands.about("key") is None
    new = errands.go("key", second, patience_s=0.0)
    assert errands._settled("key", old, 0.0) is None
    assert errands.about("key") is new is errands.go("key", second, patience_s=0.0)
    second.let_go.set()
    assert new.done.wait(20) and second.begun == 1


def test_only_a_few_are_at_work_at_once_and_the_others_wait_for_their_turn(errands, until):
    work = Work()
    asked = [errands.go(i, work, patience_s=0.0) for i in range(AT_ONCE + 3)]
    until(lambda: work.begun == AT_ONCE, "the first few")
    time.sleep(0.1)
    assert work.begun == AT_ONCE
    assert [errand.words for errand in asked].count("waiting for its turn") == 3
    work.let_go.set()
    for errand in asked:
        assert errand.done.wait(20)
    assert (work.begun, work.most) == (AT_ONCE + 3, AT_ONCE)


def test_an_error_gives_its_turn_back(errands):
    def fail(report):
        raise ValueError

    for i in range(3 * AT_ONCE):
        with pytest.raises(ValueError):
            errands.go(i, fail)
    assert errands.go("key", lambda report: None) is None


def test_no_more_than_so_many_are_taken_on(monkeypatch):
    monkeypatch.setattr("playground.web.errands.AT_MOST", 3)
    errands, gate = Errands(), threading.Event()
    try:
        for key in "abc":
            assert errands.go(key, lambda report: gate.wait(10), patience_s=0) is not None
        with pytest.raises(TooManyErrands, match="3 data sets"):
            errands.go("d", lambda report: None, patience_s=0)
        assert errands.go("a", lambda report: None, patience_s=0) is not None  # one that is there already is joined
    finally:
        gate.set()


def test_what_ended_a_while_ago_makes_room(monkeypatch):
    monkeypatch.setattr("playground.web.errands.AT_MOST", 1)
    monkeypatch.setattr("playground.web.errands.KEPT_S", 0.0)
    errands, ran = Errands(), threading.Event()
    errands.go("never asked about again", lambda report: ran.set(), patience_s=0)
    assert ran.wait(10)
    time.sleep(0.1)
    assert errands.go("another", lambda report: None, patience_s=10) is None
