"""A pulse is a sign of work, silence is counted by the watcher, and only the one process that is meant is ended."""

import json
import os
import time
from pathlib import Path

import pytest

from playground.system import locks
from playground.workers import pulse
from playground.workers.pulse import Silence
from tests.patience import LONGEST_S

HOLD = """
import sys, threading
from pathlib import Path
from playground.system import locks
from playground.workers import pulse
pulse.BEAT_S = 0.05
lock = locks.acquire(Path(sys.argv[1]))
pulse.Pulse(lock).start()
print("held", flush=True)
while not Path(sys.argv[1] + ".enough").exists():
    sum(range(1000))
print("worked", flush=True)
threading.Lock().acquire() and threading.Event().wait()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def holder(path, run_python):
    process = run_python("-c", HOLD, str(path))
    assert process.stdout.readline() == "held\n"
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_who_works_beats_and_who_only_waits_does_not(path, holder, until):
    seen = set()
    until(lambda: seen.add(path.stat().st_mtime_ns) or len(seen) > 3, "a few beats")
    Path(f"{path}.enough").touch()
    assert holder.stdout.readline() == "worked\n"

    def silent() -> bool:
        before = path.stat().st_mtime_ns
        time.sleep(0.5)  # ten beats
        return path.stat().st_mtime_ns == before

    until(silent, "silence")
    assert locks.is_locked(path)


def test_the_holder_is_ended_and_nobody_else(path, holder):
    assert pulse.holder(path) == pulse.Holder(holder.pid, pulse.born(holder.pid))
    assert pulse.end(path)
    assert holder.wait(LONGEST_S) == -9
    assert not locks.is_locked(path)
    assert pulse.holder(path) is None
    assert not pulse.end(path)


@pytest.mark.parametrize(
    "signed", ["", "{", "[]", json.dumps({"pid": os.getpid(), "born": "1"}), json.dumps({"pid": 2**22, "born": ""})], ids=range(5)
)
def test_a_process_that_may_be_another_is_left_alone(path, signed):
    """A number that was used again: this process has it, but was born at another time."""
    lock = locks.acquire(path)
    lock.sign(signed)
    assert pulse.holder(path) is None
    assert not pulse.end(path)
    lock.release()


def test_a_lock_that_is_taken_anew_is_not_signed_by_its_last_holder(path):
    lock = locks.acquire(path)
    pulse.sign(lock)
    assert pulse.holder(path).pid == os.getpid()
    lock.release()
    assert pulse.holder(path) is None
    lock = locks.acquire(path)
    assert pulse.holder(path) is None
    lock.release()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_silence_is_counted_by_the_watcher_whatever_the_time_of_the_file(path):
    clock = Clock()
    silence = Silence(clock)
    path.touch()
    for beat, expected in ((1e9, 0.0), (1e9, 1.0), (1e9, 2.0), (1e9 - 3600, 0.0), (1e9 - 3600, 1.0), (2e9, 0.0)):
        os.utime(path, (beat, beat))
        assert silence.of(path) == expected
        clock.now += 1.0


def test_a_watcher_that_was_stopped_itself_does_not_count_that_time(path):
    clock = Clock()
    silence = Silence(clock)
    path.touch()
    silence.of(path)
    clock.now += 10_000
    assert silence.of(path) == pulse.LONGEST_TICK_S


def test_a_lock_that_is_not_there_is_not_silent(path):
    assert Silence().of(path) == 0.0
