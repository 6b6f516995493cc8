"""Locks between real processes."""

import time

import pytest

from playground.system import locks
from tests.patience import LONGEST_S

HOLD = """
import sys
from pathlib import Path
from playground.system import locks
lock = locks.acquire(Path(sys.argv[1]))
print(bool(lock), flush=True)
input()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "not" / "there" / "lock"


@pytest.fixture
def holder(path, run_python):
    process = run_python("-c", HOLD, str(path))
    assert process.stdout.readline() == "True\n"
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_one_holder_at_a_time(path, holder):
    assert locks.is_locked(path)
    began = time.monotonic()
    assert locks.acquire(path) is None
    assert time.monotonic() - began < 2
    began = time.monotonic()
    assert locks.acquire(path, patience_s=0.3) is None
    assert time.monotonic() - began >= 0.3


def test_a_killed_holder_lets_go(path, holder):
    holder.kill()
    holder.wait(LONGEST_S)
    assert not locks.is_locked(path)
    lock = locks.acquire(path)
    assert lock is not None
    assert locks.is_locked(path)
    lock.release()
    assert not locks.is_locked(path)


def test_patience_is_rewarded(path, holder):
    holder.stdin.write("end\n")
    holder.stdin.flush()
    lock = locks.acquire(path, patience_s=LONGEST_S)
    assert lock is not None
    lock.release()


def test_a_lock_that_was_never_taken(path):
    assert not locks.is_locked(path)
    assert not path.exists()


def test_children_do_not_inherit_it(path, run_python):
    lock = locks.acquire(path)
    child = run_python("-c", "input()", close_fds=False)
    lock.release()
    assert not locks.is_locked(path)
    child.communicate("end\n", timeout=LONGEST_S)
