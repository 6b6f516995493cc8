"""Who looks at what: pages that come and go, and what follows from how many there are."""

import pytest

from playground.workers import audience
from playground.workers.audience import Audience


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def seen(clock):
    return Audience(clock)


def test_a_page_counts_once_and_while_it_asks(seen, clock):
    for name in ("a", "b", "a", ""):
        seen.here(name)
    assert seen.n_pages() == 2
    clock.now += audience.PAGE_GONE_S / 2
    seen.here("b")
    clock.now += audience.PAGE_GONE_S / 2 + 0.1
    assert seen.n_pages() == 1


def test_names_are_not_kept_for_ever(seen, clock, monkeypatch):
    monkeypatch.setattr(audience, "MOST_PAGES", 5)
    for i in range(100):
        seen.here(str(i))
    assert seen.n_pages() == 5


def test_a_crowd_is_asked_to_ask_less(seen):
    for i in range(audience.CROWD):
        seen.here(str(i))
    assert seen.poll_ms() == 0
    seen.here("one more")
    assert seen.poll_ms() == 1000


def test_how_long_nobody_has_looked(seen, clock):
    clock.now += 7
    assert seen.unseen_s("run") == 7, "never: since the app began"
    seen.looked("run")
    clock.now += 3
    assert seen.unseen_s("run") == 3
    seen.forget({"another"})
    assert seen.unseen_s("run") == 10
