"""`soak visitors`: many simulated visitors use the real app: no data lost, no cross-talk, no access to other people's runs.

First all of them only watch, in turns with nobody watching; then everybody uses the page for the time that was asked for.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from playground.cli.flags import Typed, number
from playground.system.cores import n_cpus
from tests.soak.browser import cold_files
from tests.soak.client import Client
from tests.soak.figures import percentile, refuse_what_is_wrong, say
from tests.soak.house import App, app
from tests.soak.judge import complaints
from tests.soak.page import Page
from tests.soak.people import Diary, Person
from tests.soak.room import Room, watch

# The promised limits. Short campaigns are too noisy for speed and memory, and are judged by the rest alone.
MOST_UPDATE_S, MOST_OPEN_S, LEAST_KEPT = 0.25, 5.0, 0.8
MOST_GROWTH, GROWTH_OF_NO_MATTER = 0.1, 32 * 2**20
LONG_ENOUGH_S, SHORTEST_TURN_S, TURNS, PAIRS = 120.0, 1.5, 40, 3
LOOK_EVERY_S = 2.0


@dataclass
class Result:
    """`memory`: (seconds, bytes) of the server over time. `cores`: shares of a core used by the server and by all visitors together."""

    visitors: int
    seconds: float
    diary: Diary = field(default_factory=Diary)
    room: Room | None = None
    memory: list[tuple[float, int]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    runs: int = 0
    cores: tuple[float, float] = (0.0, 0.0)

    def at(self, share: float) -> int:
        """The server's memory at this share of the time, in bytes: the median of the measurements around it."""
        sizes = [size for _, size in self.memory]
        middle = min(len(sizes) - 1, int(share * len(sizes)))
        around = sorted(sizes[max(0, middle - 5) : middle + 6])
        return around[len(around) // 2]

    def judge(self) -> None:
        """Fill `violations`."""
        said = self.violations
        said += [f"{what} (seen {n} times)" if n > 1 else what for what, n in self.diary.errors.most_common(20)]
        said += [f"{what} (seen {n} times)" for what, n in self.room.diary.errors.most_common(5)]
        if self.seconds < LONG_ENOUGH_S:
            return
        for where, diary in (("while all watch", self.room.diary), ("while all are busy", self.diary)):
            if not percentile(diary.updates, 0.95) <= MOST_UPDATE_S:
                said.append(f"a live update {where} takes {1000 * percentile(diary.updates, 0.95):.0f} ms at p95")
            if not percentile(diary.openings, 0.95) <= MOST_OPEN_S:
                said.append(f"opening the page {where} takes {percentile(diary.openings, 0.95):.1f} s at p95")
        if not percentile(self.diary.reloads, 0.95) <= MOST_OPEN_S:
            said.append(f"opening the page again takes {percentile(self.diary.reloads, 0.95):.1f} s at p95")
        if self.room.kept < LEAST_KEPT:
            said.append(f"with everybody watching, training keeps {self.room.kept:.0%} of its speed")
        if self.at(1.0) > self.at(1 / 3) * (1 + MOST_GROWTH) + GROWTH_OF_NO_MATTER:
            said.append(f"the server's memory grew from {self.at(1 / 3) / 2**20:.0f} to {self.at(1.0) / 2**20:.0f} MiB")

    def as_json(self) -> dict:
        return {
            "visitors": self.visitors, "seconds": self.seconds, "runs": self.runs, "actions": dict(self.diary.actions),
            "turned_away": dict(self.diary.turned_away), "room": self.room.as_json(),
            **{f"{name}_ms": _percentiles(times) for name, times in self._times().items()},
            "memory_mib": {name: round(self.at(share) / 2**20) for name, share in (("start", 0.0), ("third", 1 / 3), ("end", 1.0))},
            "cores": {"server": round(self.cores[0], 2), "visitors": round(self.cores[1], 2)}, "violations": self.violations,
        }  # fmt: skip

    def _times(self) -> dict[str, list[float]]:
        return {"live_update": self.diary.updates, "open_cold": self.diary.openings, "reload": self.diary.reloads}

    def table(self) -> str:
        room = self.room
        lines = [f"{self.visitors} visitors for {self.seconds:g} s, {self.runs} runs", ""]
        lines += [f"{what:34}{n:>10,}" for what, n in sorted(self.diary.actions.items())]
        lines += [f"{'turned away: ' + what[:90]:110}{n:>6,}" for what, n in self.diary.turned_away.items()]
        lines += ["", f"{'milliseconds':34}{'p50':>10}{'p95':>10}{'p99':>10}{'most':>10}"]
        for name, times in (
            *self._times().items(),
            ("live update while all watch", room.diary.updates),
            ("open then", room.diary.openings),
        ):
            lines.append(f"{name:34}" + "".join(f"{each:>10,.0f}" for each in _percentiles(times).values()))
        lines += ["", f"training, all runs together, alone       {_speeds(room.alone)} tokens/s"]
        lines += [f"training, all runs together, watched     {_speeds(room.watched)} tokens/s, {room.kept:.1%} kept"]
        places = (("start", 0.0), ("a third", 1 / 3), ("two thirds", 2 / 3), ("end", 1.0))
        lines += ["memory of the server, MiB: " + ", ".join(f"{name} {self.at(share) / 2**20:.0f}" for name, share in places)]
        lines += [f"of a core, while all are busy: {self.cores[0]:.0%} the server, {self.cores[1]:.0%} the simulation of the visitors"]
        return "\n".join([*lines, *(f"VIOLATION {each}" for each in self.violations or ["none"])])


def _percentiles(times: list[float]) -> dict[str, float]:
    return {name: round(1000 * percentile(times, share), 1) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("most", 1.0))}


def _speeds(found: list[float]) -> str:
    return " ".join(f"{each:>9,.0f}" for each in found)


def campaign(typed: Typed) -> int:
    """The command: simulate the visitors, then print one table or one JSON object; returns 1 after any violation."""
    visitors, seconds = int(number(typed, "visitors", 50, 1, 500)), number(typed, "seconds", 600, 1, 100_000)
    refuse_what_is_wrong(typed)
    result = asyncio.run(crowd(visitors, seconds))
    print(json.dumps(result.as_json()) if typed.as_json else result.table())
    return 1 if result.violations else 0


async def crowd(visitors: int, seconds: float, say: Callable[[str], None] = say) -> Result:
    """Start the app, measure it while everybody watches, then while everybody uses it."""
    result, workers = Result(visitors, seconds), max(2, n_cpus() // 2)
    with app(max_running=workers, max_queued=max(50, visitors)) as house:
        client = Client(house.port)
        page = Page((await client.get("/config")).json())
        files = await cold_files(client, page)
        say(f"a room in which {visitors} watch {workers} runs; {len(files)} files to open the page")
        pairs = PAIRS if seconds >= LONG_ENOUGH_S else 1
        result.room = await watch(house, page, files, visitors, workers, max(SHORTEST_TURN_S, seconds / TURNS), pairs)
        people = [Person(i, house.port, page, files, result.diary, _other(house)) for i in range(visitors)]
        await _busy(house, people, result, say)
        result.runs = len(house.db.runs())
        result.judge()
        result.violations += [f"on the app's terminal: {what}" for what in complaints(house.said())]
        if not house.alive():
            result.violations.append("the app has ended")
        client.close()
    return result


async def _busy(house: App, people: list[Person], result: Result, say: Callable[[str], None]) -> None:
    began, server_s, own_s = time.monotonic(), house.processor_s(), time.process_time()
    living = [asyncio.create_task(person.live(began + result.seconds)) for person in people]
    everybody = asyncio.gather(*living)
    while not everybody.done():
        result.memory.append((time.monotonic() - began, await asyncio.to_thread(house.rss_bytes)))
        if len(result.memory) % 30 == 0:
            updates = result.diary.updates
            say(
                f"{time.monotonic() - began:4.0f} s: {len(updates):,} updates, p95 {1000 * percentile(updates[-5000:], 0.95):.0f} ms, "
                f"{result.memory[-1][1] >> 20} MiB, {sum(result.diary.errors.values())} errors"
            )
        await asyncio.wait([everybody], timeout=LOOK_EVERY_S)
    await everybody
    took = time.monotonic() - began
    result.cores = (house.processor_s() - server_s) / took, (time.process_time() - own_s) / took


def _other(house: App) -> Callable[[Person], str | None]:
    """A function that chooses a run that is not the given person's."""

    def choose(person: Person) -> str | None:
        theirs = [run.id for run in house.db.runs()[:60] if run.id not in person.own]
        return random.choice(theirs) if theirs else None

    return choose
