"""A simulated visitor: opens the page, does what people do, and checks every answer.

Each visitor has an owner key, run names and config values that no other visitor has, and checks that every answer about their
run has them. That detects cross-talk between visitors.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import string
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from playground.runs.access import NotAllowed
from playground.runs.store import NoSuchRun
from playground.training.errors import NoCheckpointYet
from playground.web.computing import Busy
from playground.workers.admission import QueueFull, WrongState
from tests.soak.browser import LIKE_A_BROWSER, load
from tests.soak.client import Client, NoAnswer
from tests.soak.page import Page, Told, call, stream

# As in assets/status.js and assets/runs.js.
EAGER_POLL_S, POLL_S, IDLE_POLL_S, TABLE_S = 0.12, 0.4, 2.0, 1.5
ACTIVE = ("queued", "starting", "running")
FULL = (QueueFull.code, Busy.code, NoCheckpointYet.code)  # the app is full, or the request came too early
QUEUE_PATIENCE_S = 240.0


@dataclass
class Diary:
    """The record of all visitors: actions, refusals, errors, and times in seconds."""

    actions: Counter = field(default_factory=Counter)
    turned_away: Counter = field(default_factory=Counter)
    errors: Counter = field(default_factory=Counter)
    updates: list[float] = field(default_factory=list)
    openings: list[float] = field(default_factory=list)
    reloads: list[float] = field(default_factory=list)

    def blame(self, what: str) -> None:
        self.errors[what] += 1


@dataclass
class Seen:
    """A run as the page knows it: the same state as in assets/series.js."""

    run_id: str
    mine: bool = False
    generation: int = -1
    cursor: int = 0
    status: dict = field(default_factory=dict)
    series: dict[str, dict[str, list]] = field(default_factory=dict)

    def merge(self, answer: dict) -> None:
        if answer["reset"]:
            self.series = {}
        for kind, columns in answer["events"].items():
            mine = self.series.setdefault(kind, {})
            for name, values in columns.items():
                mine[name] = mine.get(name, []) + values
        self.status, self.generation, self.cursor = answer["run"], answer["generation"], answer["cursor"]

    def wait_s(self, answer: dict) -> float:
        if answer["more"]:
            return 0.0
        state = answer["run"]["state"]
        pace = IDLE_POLL_S if state not in ACTIVE else POLL_S if "progress" in self.series or state == "queued" else EAGER_POLL_S
        return max(answer.get("poll_ms", 0) / 1000, pace)


class Tab:
    """An open page: a session, and the connection by which the server knows that it is still open."""

    def __init__(self, client: Client, page: Page, diary: Diary, key: str):
        self.client, self.page, self.diary, self.key = client, page, diary, key
        self.session = "".join(random.choices(string.ascii_lowercase + string.digits, k=11))
        self.wire: dict = {"run": None, "mine": False}
        self._alive: asyncio.Task | None = None

    async def open(self, files: list[str], run_id: str | None = None) -> dict:
        """Load the page until it can be used; returns the review of its form. `files`: those not yet in the browser's cache."""
        began = time.monotonic()
        query = f"run={run_id}" if run_id else ""
        answer = await self.client.ask("GET", f"/?{query}", headers=LIKE_A_BROWSER)
        bad = await load(self.client, files)
        if answer.status != 200 or bad:
            self.diary.blame(f"opening the page: {answer.status}, and {bad} files that did not come")
        self._alive = asyncio.create_task(self._stay())
        asked = {"design": "", "tab": ""}  # what the page's script reads in the address
        opened, *_ = await call(self.client, self.page, self.page.on_load(), [self.key, asked], self.session, query)
        if run_id:
            self.wire = opened
        shown = await self.review({})
        (self.diary.openings if files else self.diary.reloads).append(time.monotonic() - began)
        return shown

    async def review(self, chosen: dict) -> dict:
        """The review of the form; while data are being prepared it is repeated, as by the panel."""
        handler = self.page.handler("picture", "again")
        for _ in range(50):
            shown = (await call(self.client, self.page, handler, self.page.values(handler, chosen), self.session))[0]
            if "waiting" not in shown:
                return shown
            await asyncio.sleep(0.7)
        return shown

    async def press(self, elem_id: str, chosen: dict[str, Any], event: str = "click") -> list:
        """Press a button; returns its handler's answer. Raises Told."""
        handler = self.page.handler(elem_id, event)
        values = self.page.values(handler, {"wire": self.wire, **chosen})
        visitor = [self.page.components[each]["type"] == "browserstate" for each in handler.inputs]
        values = [self.key if is_key else value for is_key, value in zip(visitor, values, strict=True)]
        return await call(self.client, self.page, handler, values, self.session)

    async def _stay(self) -> None:
        with suppress(NoAnswer):
            async with self.client.events(f"{self.page.prefix}/heartbeat/{self.session}", 100_000) as events:
                async for _ in events:
                    pass

    async def close(self) -> None:
        if self._alive is not None:
            self._alive.cancel()
            with suppress(asyncio.CancelledError):
                await self._alive


async def update(client: Client, seen: Seen, name: str, diary: Diary) -> float:
    """Poll a run once; returns after how many seconds to poll again."""
    path = f"/live/runs/{seen.run_id}?generation={seen.generation}&cursor={seen.cursor}"
    answer = await client.ask("GET", path, headers=[*LIKE_A_BROWSER, ("X-Playground-Page", name)])
    diary.updates.append(answer.seconds)
    diary.actions["live update"] += 1
    if answer.status != 200:
        diary.blame(f"a live update answers {answer.status}: {answer.body[:80]!r}")
        return IDLE_POLL_S
    delta = answer.json()
    if delta.get("gone"):
        diary.blame("a run that nobody deleted is gone")
        return IDLE_POLL_S
    seen.merge(delta)
    return seen.wait_s(delta)


class Person:
    """Visitor number `index`. `others` gives a run of somebody else, where there is one."""

    def __init__(self, index: int, port: int, page: Page, files: list[str], diary: Diary, others: Callable[[Person], str | None]):
        self.index, self.page, self.files, self.diary, self.others = index, page, files, diary, others
        self.client, self.key, self.dice = Client(port), secrets.token_hex(24), random.Random(index)
        self.lr, self.width = round(1e-3 + index * 1e-5, 8), 16 + 2 * index
        self.word = "once " + string.ascii_lowercase[index % 26] * (1 + index // 26)
        self.n_params: int | None = None
        self.run: Seen | None = None
        self.own: list[str] = []

    @property
    def chosen(self) -> dict[str, Any]:
        """Their config, with a learning rate and a width that no other visitor has."""
        return {
            "model-n_layer": 1, "model-n_head": 2, "model-n_embd": self.width, "model-block_size": 32, "data-tokenizer": "char",
            "optim-lr": self.lr, "optim-warmup_steps": 0, "optim-schedule": "constant", "train-batch_size": 8, "train-max_steps": 200_000,
        }  # fmt: skip

    async def live(self, until: float) -> None:
        """Visit the page repeatedly until about `until`; first arrivals and last departures are spread out, as with people."""
        spread = min(60.0, (until - time.monotonic()) / 5)
        await asyncio.sleep(self.dice.random() * spread)
        until -= self.dice.random() * spread
        files = self.files
        while time.monotonic() < until:
            await self._guarded(self._visit(files, until))
            files = []  # kept by the browser
            await asyncio.sleep(self.dice.uniform(0.2, 2.0))
        self.client.close()

    async def _guarded(self, doing: Awaitable[None]) -> None:
        """Note errors in the diary; being turned away because the app is full is not one."""
        try:
            await doing
        except Told as error:
            (self.diary.turned_away if error.code in FULL else self.diary.errors)[f"told: {str(error)[:120]}"] += 1
        except NoAnswer as error:
            self.diary.blame(f"no answer: {error}")

    async def _visit(self, files: list[str], until: float) -> None:
        tab = Tab(self.client, self.page, self.diary, self.key)
        try:
            await tab.open(files)
            self.diary.actions["open"] += 1
            await self._design(tab)
            await self._train(tab)
            await self._watch(tab, until, self.dice.uniform(2, 5))
            tab = await self._reload(tab)
            await self._watch(tab, until, self.dice.uniform(2, 5))
            for act in self.dice.sample([self._look_inside, self._sample, self._meddle, self._see_all], 4):
                await act(tab)
            if self.dice.random() < 0.4:
                await self._pause_and_resume(tab, until)
            await self._stop(tab)
            await self._rename(tab)
            if self.dice.random() < 0.3:
                await self._delete(tab)
        finally:
            await tab.close()
            self.diary.actions["leave"] += 1

    async def _design(self, tab: Tab) -> None:
        """Try some settings, each reviewed; the last are their own."""
        for chosen in ({"model-n_layer": 2}, self.chosen | {"optim-lr": "much"}, self.chosen):
            shown = await tab.review(chosen)
            self.diary.actions["design"] += 1
            await asyncio.sleep(self.dice.uniform(0.2, 0.8))
        if shown.get("problems") or "n_params" not in shown:
            self.diary.blame(f"a proper form is refused: {str(shown)[:120]}")
            return
        if self.n_params not in (None, shown["n_params"]):
            self.diary.blame(f"the same form amounts to {shown['n_params']:,} parameters, and to {self.n_params:,} before")
        self.n_params = shown["n_params"]

    async def _train(self, tab: Tab) -> None:
        opened, *_ = await tab.press("train", self.chosen)
        self.diary.actions["train"] += 1
        self.own.append(opened["run"])
        tab.wire = opened
        if not opened["mine"]:
            self.diary.blame("a run that was just started is somebody else's")
        self.run = Seen(opened["run"], mine=True)

    async def _watch(self, tab: Tab, until: float, seconds: float) -> None:
        """Watch the run until it has trained for so many seconds, or the patience for the queue is over."""
        trained_until, patience = None, time.monotonic() + QUEUE_PATIENCE_S
        while time.monotonic() < min(until, patience, trained_until or until):
            pause = await update(self.client, self.run, tab.session, self.diary)
            self._check(self.run)
            if self.run.status.get("state") not in ACTIVE:
                return
            if trained_until is None and "progress" in self.run.series:
                trained_until = time.monotonic() + seconds
            await asyncio.sleep(pause)

    def _check(self, seen: Seen) -> None:
        """Check that every value is that of their own run, and that its curve never goes back or repeats a point."""
        status, progress = seen.status, seen.series.get("progress", {"step": [], "lr": []})
        if not status:
            return
        if status["id"] != seen.run_id or status["n_params"] != self.n_params:
            self.diary.blame(
                f"cross-talk: asked for {seen.run_id} of {self.n_params} parameters, got {status['id']} of {status['n_params']}"
            )
        if any(abs(rate - self.lr) > 1e-9 for rate in progress["lr"]):
            self.diary.blame(f"cross-talk: a run at the rate {self.lr} shows others: {sorted(set(progress['lr']))[:3]}")
        if any(b <= a for a, b in zip(progress["step"], progress["step"][1:], strict=False)):
            self.diary.blame("a curve goes back or shows a point twice")

    async def _reload(self, tab: Tab) -> Tab:
        """Reload the page at the run's address and check that the run is still theirs and no recorded point is lost."""
        await tab.close()
        before, self.run = self.run, Seen(self.run.run_id, mine=True)
        tab = Tab(self.client, self.page, self.diary, self.key)
        await tab.open([], before.run_id)
        self.diary.actions["reload"] += 1
        if tab.wire != {"run": before.run_id, "mine": True}:
            self.diary.blame(f"after a reload the page shows {tab.wire}")
        await update(self.client, self.run, tab.session, self.diary)
        self._check(self.run)
        if before.generation == self.run.generation:
            for kind in ("progress", "validation"):
                old, new = (seen.series.get(kind, {}).get("step", []) for seen in (before, self.run))
                if new[: len(old)] != old:
                    self.diary.blame(f"lost by a reload: {kind} at steps {sorted(set(old) - set(new))[:5]}")
        return tab

    async def _look_inside(self, tab: Tab) -> None:
        base = f"/live/runs/{self.run.run_id}"
        for path in ("graph", "probes", "probe?maps=1", "findings"):
            answer = await self.client.ask("GET", f"{base}/{path}", headers=LIKE_A_BROWSER)
            self.diary.actions["look inside"] += 1
            if answer.status == 503:
                self.diary.turned_away["look inside"] += 1
            elif answer.status != 200:
                self.diary.blame(f"{path} answers {answer.status}: {answer.body[:80]!r}")
            elif path == "probe?maps=1" and (found := answer.json()) and (found["n_layer"], found["n_head"]) != (1, 2):
                self.diary.blame("cross-talk: a look inside shows a model of another shape")

    async def _sample(self, tab: Tab) -> None:
        chosen = {"sample-run": self.run.run_id, "sample-step": "latest", "sample-prompt": self.word, "sample-max_new_tokens": 20}
        await tab.press("sample-run", chosen, "select")
        handler = self.page.handler("sample-go")
        first = None
        self.diary.actions["sample"] += 1
        async for answer in stream(self.client, self.page, handler, self.page.values(handler, chosen), tab.session):
            first = first or answer
        if not isinstance(first[0], dict) or first[0].get("prompt") != self.word:
            self.diary.blame(f"cross-talk: asked to go on from {self.word!r}, got {str(first)[:80]}")

    async def _meddle(self, tab: Tab) -> None:
        """Check that somebody else's run can be opened and watched, but not steered."""
        theirs = self.others(self)
        if theirs is None:
            return
        stranger = Tab(self.client, self.page, self.diary, self.key)
        stranger.wire = {"run": theirs, "mine": True}
        table = {"runs-table": {"run": theirs, "name": "x"}, "run-name": "mine now"}
        for elem_id in ("pause", "stop", "run-rename", "run-delete", "run-further"):
            self.diary.actions["meddle"] += 1
            try:
                await stranger.press(elem_id, table)
            except Told as error:
                if error.code == NoSuchRun.code:  # its owner has deleted it a moment ago
                    return
                if error.code != NotAllowed.code:
                    self.diary.blame(f"{elem_id} of somebody else's run is refused as {error.code}: {str(error)[:80]}")
            else:
                self.diary.blame(f"{elem_id} of somebody else's run is not refused")
        with suppress(Told):
            opened, *_ = await stranger.press("run-open", table)
            if opened.get("mine"):
                self.diary.blame("somebody else's run is shown as one's own")

    async def _see_all(self, tab: Tab) -> None:
        """Look at the Runs tab for a moment, with a comparison and a download."""
        for _ in range(2):
            answer = await self.client.ask("GET", "/live/runs", headers=LIKE_A_BROWSER)
            self.diary.actions["see all runs"] += 1
            own = [run for run in answer.json() if run["id"] == self.run.run_id]
            if len(own) != 1 or own[0]["n_params"] != self.n_params:
                self.diary.blame(f"the table of runs shows {len(own)} rows of one's own run, or other values")
            await asyncio.sleep(TABLE_S)
        await self.client.ask("GET", f"/live/overlay?runs={self.run.run_id}", headers=LIKE_A_BROWSER)
        config = (await self.client.get(f"/live/runs/{self.run.run_id}/config.json")).json()
        if (config["optim"]["lr"], config["model"]["n_embd"]) != (self.lr, self.width):
            self.diary.blame("cross-talk: a downloaded configuration has other values")

    async def _pause_and_resume(self, tab: Tab, until: float) -> None:
        await self._press_while_active(tab, "pause")
        await self._until_state(tab, until, lambda state: state not in ("running", "starting", "queued"))
        if self.run.status.get("state") == "paused":
            await tab.press("resume", {})
            self.diary.actions["resume"] += 1

    async def _stop(self, tab: Tab) -> None:
        await self._press_while_active(tab, "stop")

    async def _press_while_active(self, tab: Tab, elem_id: str) -> None:
        """A run may have ended by itself a moment ago, which is said."""
        try:
            await tab.press(elem_id, {})
            self.diary.actions[elem_id] += 1
        except Told as error:
            if error.code != WrongState.code:
                raise

    async def _until_state(self, tab: Tab, until: float, right: Callable[[str], bool]) -> None:
        deadline = min(until, time.monotonic() + 60)
        while time.monotonic() < deadline:
            pause = await update(self.client, self.run, tab.session, self.diary)
            self._check(self.run)
            if right(self.run.status.get("state", "")):
                return
            await asyncio.sleep(pause)

    async def _rename(self, tab: Tab) -> None:
        name = f"{self.word} <b>{len(self.own)}</b>"
        await tab.press("run-rename", {"runs-table": {"run": self.run.run_id}, "run-name": name})
        self.diary.actions["rename"] += 1
        await asyncio.sleep(0.3)  # answers are kept for a moment
        await update(self.client, self.run, tab.session, self.diary)
        if self.run.status.get("name") != name:
            self.diary.blame(f"renamed to {name!r}, and it is called {self.run.status.get('name')!r}")

    async def _delete(self, tab: Tab) -> None:
        await self._until_state(tab, time.monotonic() + 30, lambda state: state not in ACTIVE)
        if self.run.status.get("state") in ACTIVE:
            return
        try:
            await tab.press("run-delete", {"runs-table": {"run": self.run.run_id}})
        except Told:  # its worker may still hold it for a moment; a person would press again
            await asyncio.sleep(3.0)
            await tab.press("run-delete", {"runs-table": {"run": self.run.run_id}})
        self.diary.actions["delete"] += 1
