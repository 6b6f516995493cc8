"""Answers that are kept for a moment."""

import threading
import time

import pytest

from playground.web.cache import Cache
from playground.web.computing import Busy


def test_old_answers_are_not_kept():
    cache = Cache(fresh_s=0.05)
    for i in range(20):
        cache.get((i,), lambda: bytes(1000))
    time.sleep(0.1)
    cache.get(("new",), lambda: b"")
    assert list(cache._kept) == [("new",)]


def test_one_thread_computes_while_the_others_wait():
    cache, calls = Cache(fresh_s=5), []

    def compute() -> bytes:
        calls.append(1)
        time.sleep(0.2)
        return b"x"

    threads = [threading.Thread(target=lambda: cache.get(("k",), compute)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_failure_is_not_kept():
    cache = Cache(fresh_s=0.0)
    with pytest.raises(ZeroDivisionError):
        cache.get(("k",), lambda: 1 / 0)
    assert cache.get(("k",), lambda: b"fine") == b"fine"


def test_whoever_waits_too_long_for_another_is_told():
    cache, inside, release = Cache(fresh_s=5, patience_s=0.1), threading.Event(), threading.Event()

    def compute() -> bytes:
        inside.set()
        release.wait(20)
        return b"x"

    thread = threading.Thread(target=lambda: cache.get(("k",), compute))
    thread.start()
    assert inside.wait(20)
    with pytest.raises(Busy):
        cache.get(("k",), compute)
    release.set()
    thread.join(20)
    assert cache.get(("k",), compute) == b"x"
