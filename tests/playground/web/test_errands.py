"""Errands: done once for all who ask, a few at a time, and what went wrong is told."""

import contextlib
import threading
import time

import pytest

from playground.web.errands import AT_ONCE, LISTENING, Errands, TooManyErrands, Underway


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
    """Several at once: one does it, all hear of its end."""
    work, heard = Work(), []

    def ask():
        heard.append(errands.go("key", work, patience_s=20))

    threads = [threading.Thread(target=ask) for _ in range(LISTENING)]
    for thread in threads:
        thread.start()
    until(lambda: work.begun == 1, "its beginning")
    errand = errands.go("key", work, patience_s=0.0)
    assert errand is errands.about("key") is not None
    until(lambda: waiting(errand) == LISTENING, "all of them")
    work.let_go.set()
    for thread in threads:
        thread.join(20)
    assert heard == [None] * LISTENING and work.begun == 1


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


def test_one_address_with_many_invented_names_leaves_places_for_others():
    errands, gate = Errands(at_most=8, each=2), threading.Event()
    ask = lambda key, who, near: errands.answer(key, lambda report: gate.wait(10), who, near, patience_s=0)  # noqa: E731
    try:
        for i in range(6):
            with pytest.raises(Underway):
                ask(i, f"invented {i}", "10.0.0.7")
        with pytest.raises(TooManyErrands, match="your network address"):
            ask(6, "invented 6", "10.0.0.7")
        for i in range(7, 9):
            with pytest.raises(Underway):
                ask(i, "somebody else", "10.0.0.8")
        with pytest.raises(TooManyErrands, match="8 data sets"):
            ask(9, "a third", "")
    finally:
        gate.set()


def test_turns_go_round_over_addresses_whoever_came_first(until):
    """Six of one address, then two of another and one of a third: whoever asks for little waits for little."""
    errands, gate, begun = Errands(at_once=1), threading.Event(), []

    def ask(key, near):
        def work(report):
            begun.append(key)
            gate.wait(20)

        with pytest.raises(Underway) as told:
            errands.answer(key, work, near=near, patience_s=0.0)
        return told.value.place

    try:
        ask("a0", "10.0.0.7")
        until(lambda: begun == ["a0"], "the first")
        assert [ask(f"a{i}", "10.0.0.7") for i in range(1, 6)] == [1, 2, 3, 4, 5]
        assert [ask(f"b{i}", "10.0.0.8") for i in range(2)] == [1, 3]
        assert ask("c0", "10.0.0.9") == 2
        assert ask("a5", "10.0.0.7") == 8
    finally:
        gate.set()
    until(lambda: len(begun) == 9, "all")
    assert begun == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4", "a5"]


def test_one_address_leaves_a_turn_to_others(until):
    errands, gate, begun = Errands(at_once=3), threading.Event(), []
    try:
        for key, near in [*((f"a{i}", "10.0.0.7") for i in range(4)), ("b", "10.0.0.8")]:
            with pytest.raises(Underway):
                errands.answer(key, lambda report, key=key: begun.append(key) or gate.wait(20), near=near, patience_s=0.0)
            until(lambda key=key: key in begun or len(begun) == 2, "its turn, or that of two before it")
        until(lambda: len(begun) == 3, "that of somebody else")
        time.sleep(0.1)
        assert sorted(begun) == ["a0", "a1", "b"]
    finally:
        gate.set()
    until(lambda: len(begun) == 5, "all")


def test_no_more_than_so_many_are_taken_on():
    errands, gate = Errands(at_most=3), threading.Event()
    try:
        for key in "abc":
            assert errands.go(key, lambda report: gate.wait(10), patience_s=0) is not None
        with pytest.raises(TooManyErrands, match="3 data sets"):
            errands.go("d", lambda report: None, patience_s=0)
        assert errands.go("a", lambda report: None, patience_s=0) is not None  # one that is there already is joined
    finally:
        gate.set()


def test_what_ended_a_while_ago_makes_room():
    errands, ran = Errands(at_most=1, kept_s=0.0), threading.Event()
    errands.go("never asked about again", lambda report: ran.set(), patience_s=0)
    assert ran.wait(10)
    time.sleep(0.1)
    assert errands.go("another", lambda report: None, patience_s=10) is None


def test_an_answer_is_computed_once_and_kept_for_those_who_come_later():
    errands, asked = Errands(kept_s=20), []
    for _ in range(3):
        assert errands.answer("key", lambda report: asked.append(1) or "found", patience_s=20) == "found"
    assert asked == [1]
    forgetful = Errands(kept_s=0.0)
    assert [forgetful.answer(key, lambda report, key=key: asked.append(key) or key, patience_s=20) for key in "aba"] == ["a", "b", "a"]
    assert asked == [1, "a", "b", "a"]


def test_whoever_comes_too_early_is_told_how_far_it_is_and_their_place_in_line(until):
    errands, work = Errands(at_once=1), Work()
    with pytest.raises(Underway):
        errands.answer("first", work, patience_s=0.0)
    until(lambda: work.begun == 1, "its beginning")
    for place, key in enumerate("ab", start=1):
        with pytest.raises(Underway, match=f"number {place} in line") as told:
            errands.answer(key, lambda report, key=key: key, patience_s=0.0)
        assert told.value.place == place
    with pytest.raises(Underway, match="begun 1") as told:
        errands.answer("first", work, patience_s=0.0)
    assert (told.value.share, told.value.place) == (0.25, 0)
    work.let_go.set()
    until(lambda: errands._running["b"].done.is_set(), "all")
    assert errands.answer("b", lambda report: None) == "b"


def test_one_person_begins_only_so_many_and_joins_as_many_as_there_are():
    errands, gate = Errands(each=2), threading.Event()
    try:
        for key in "ab":
            with pytest.raises(Underway):
                errands.answer(key, lambda report: gate.wait(10), who="ada", patience_s=0.0)
        with pytest.raises(TooManyErrands, match="2 of your questions"):
            errands.answer("c", lambda report: None, who="ada", patience_s=0.0)
        for key in "ac":  # somebody else joins, and begins another
            with pytest.raises(Underway):
                errands.answer(key, lambda report: gate.wait(10), who="ben", patience_s=0.0)
    finally:
        gate.set()


def test_what_nobody_asks_about_any_more_ends_at_its_next_word_and_what_waits_in_line_is_not_begun(until):
    errands, said, begun = Errands(at_once=1, unheard_s=0.2), [], []

    def work(report) -> None:
        while True:
            report(None, "going on")
            said.append(1)
            time.sleep(0.5)

    with pytest.raises(Underway):
        errands.answer("long", work, patience_s=0.0)
    with pytest.raises(Underway):
        errands.answer("in line", lambda report: begun.append(1), patience_s=0.0)
    until(lambda: errands._running == {}, "both are dropped")
    assert said and begun == []
    assert errands.answer("in line", lambda report: "anew", patience_s=20) == "anew"


def test_what_somebody_waits_for_or_asks_about_again_goes_on():
    errands = Errands(unheard_s=0.2)

    def work(report) -> str:
        for _ in range(30):
            time.sleep(0.02)
            report(None, "going on")
        return "done"

    assert errands.answer("waited for", work, patience_s=20) == "done"
    found = None
    while found is None:
        with contextlib.suppress(Underway):
            found = errands.answer("asked for", work, patience_s=0.0)
        time.sleep(0.02)
    assert found == "done"


def test_only_a_few_wait_and_the_others_are_told_at_once(until):
    """So that a long answer cannot occupy all threads of the server."""
    errands, work, told = Errands(), Work(), []

    def ask() -> None:
        try:
            errands.answer("key", work, patience_s=20)
        except Underway:
            told.append(1)

    threads = [threading.Thread(target=ask) for _ in range(45)]
    for thread in threads:
        thread.start()
    until(lambda: len(told) == 45 - LISTENING, "all others are told")
    assert waiting(errands._running["key"]) == LISTENING and work.begun == 1
    work.let_go.set()
    for thread in threads:
        thread.join(20)
    assert len(told) == 45 - LISTENING
