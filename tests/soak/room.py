"""Everybody watches at the same time: measures the training speed that is left, the latency of updates, and the time to open a page."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from dataclasses import dataclass, field

from playground.runs import store
from tests.patience import still
from tests.soak.client import Client, NoAnswer
from tests.soak.figures import percentile
from tests.soak.house import App
from tests.soak.page import Page, Told
from tests.soak.people import Diary, Seen, Tab, update

SETTLE_S, READY_WITHIN_S, FEWEST_STEPS = 2.0, 90.0, 5


@dataclass
class Room:
    """Training speeds with and without watching pages: tokens per second of all runs together, turn by turn."""

    diary: Diary = field(default_factory=Diary)
    alone: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)

    @property
    def kept(self) -> float:
        """The share of the training speed that is left when all watch: the median over the pairs."""
        return statistics.median(b / a for a, b in zip(self.alone, self.watched, strict=True))

    def as_json(self) -> dict:
        return {
            "tokens_per_s_alone": [round(each) for each in self.alone], "tokens_per_s_watched": [round(each) for each in self.watched],
            "kept": round(self.kept, 3), "update_p95_ms": round(1000 * percentile(self.diary.updates, 0.95), 1),
            "updates": len(self.diary.updates), "open_s": [round(each, 2) for each in self.diary.openings],
        }  # fmt: skip


async def watch(house: App, page: Page, files: list[str], pages: int, workers: int, seconds: float, pairs: int) -> Room:
    """Train `workers` runs and measure `pairs` of turns of `seconds` each: one without and one with watching pages."""
    room, key = Room(), secrets.token_hex(24)
    teacher = Tab(Client(house.port), page, room.diary, key)
    runs = [await _train(teacher) for _ in range(workers)]
    await _until_training(house, runs)
    for i in range(pairs):
        turns = [False, True] if i % 2 == 0 else [True, False]
        for with_pages in turns:
            if with_pages:
                room.watched.append(await _watched(house, page, files, runs, pages, seconds, room.diary))
            else:
                await asyncio.sleep(SETTLE_S)
                room.alone.append(await _speed(house, runs, seconds))
    for run_id in runs:
        teacher.wire = {"run": run_id, "mine": True}
        await teacher.press("stop", {})
    while house.db.runs_in(store.IN_PROGRESS):
        await asyncio.sleep(0.2)
    return room


async def _train(teacher: Tab) -> str:
    """Start a run of the default design without an end."""
    opened, *_ = await teacher.press("train", {"train-max_steps": "", "train-max_seconds": "100000"})
    return opened["run"]


async def _until_training(house: App, runs: list[str]) -> None:
    began = time.monotonic()
    while not all(house.db.run(run_id).step >= 20 for run_id in runs):
        if not still(began, READY_WITHIN_S):
            raise OSError("the runs to be watched did not begin to train")
        await asyncio.sleep(0.2)
    await asyncio.sleep(5.0)  # the standby process imports torch first, which must not disturb the measurement


async def _speed(house: App, runs: list[str], seconds: float) -> float:
    """Tokens per second of all runs together, from at least `FEWEST_STEPS` steps: on a crowded machine that takes longer."""
    config = house.db.run(runs[0]).config
    tokens = config.tokens_per_step

    async def steps() -> int:
        return await asyncio.to_thread(lambda: sum(house.db.run(run_id).step for run_id in runs))

    began, before, taken = time.monotonic(), await steps(), 0
    while taken < FEWEST_STEPS:
        if time.monotonic() > began + READY_WITHIN_S:
            raise OSError(f"the runs that are watched took {taken} steps in {READY_WITHIN_S:g} s")
        await asyncio.sleep(seconds)
        taken = await steps() - before
    return tokens * taken / (time.monotonic() - began)


async def _watched(house: App, page: Page, files: list[str], runs: list[str], pages: int, seconds: float, diary: Diary) -> float:
    """Tokens per second while so many pages follow the runs and a new visitor opens one."""
    done = asyncio.Event()
    unseen = Diary()  # not counted: all pages open at the same moment

    async def follow(number: int) -> None:
        tab = Tab(Client(house.port), page, unseen, secrets.token_hex(24))
        seen = Seen(runs[number % len(runs)])
        try:
            await tab.open([], seen.run_id)
            while not done.is_set():
                await asyncio.sleep(await update(tab.client, seen, tab.session, diary if settled.is_set() else unseen))
        except (NoAnswer, Told) as error:
            diary.blame(f"watching: {error}")
        finally:
            await tab.close()
            tab.client.close()

    settled = asyncio.Event()
    following = [asyncio.create_task(follow(number)) for number in range(pages)]
    await asyncio.sleep(SETTLE_S + pages / 10)
    settled.set()
    late = asyncio.create_task(_late(house, page, files, runs[0], diary))
    speed = await _speed(house, runs, seconds)
    await late
    done.set()
    await asyncio.gather(*following)
    return speed


async def _late(house: App, page: Page, files: list[str], run_id: str, diary: Diary) -> None:
    """A visitor with an empty cache opens the page while all others watch."""
    await asyncio.sleep(1.0)
    tab = Tab(Client(house.port), page, diary, secrets.token_hex(24))
    await tab.open(files, run_id)
    await tab.close()
    tab.client.close()
