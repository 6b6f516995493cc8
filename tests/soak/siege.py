"""`soak siege`: one visitor asks for everything that is expensive, many times at once; the page must go on answering the others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from playground.cli.flags import Typed, number
from playground.runs import access
from playground.training.events import Progress
from tests.soak.client import Client, NoAnswer
from tests.soak.figures import percentile, refuse_what_is_wrong, say
from tests.soak.house import App, app

SLOWEST_S, GROWTH_BYTES = 3.0, 700 * 2**20  # of an answer to somebody else; of the server, which loads torch meanwhile
STREAMS, ZIPS = 20, 8
WITHIN_S = 600.0
TRAIN = {"batch_size": 1, "max_steps": 2, "checkpoint_interval": 100_000, "eval_interval": 100_000}


@dataclass
class Attack:
    """One kind of request: what was answered, and how long others waited meanwhile, in seconds."""

    name: str
    answers: Counter = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    def as_json(self) -> dict:
        slowest, median = max(self.waits, default=0.0), percentile(self.waits, 0.5)
        return {
            "attack": self.name,
            "answers": dict(self.answers),
            "others_median_s": round(median, 3),
            "others_slowest_s": round(slowest, 3),
        }


def campaign(typed: Typed) -> int:
    """The command: attack, then print one line per attack or one JSON object; returns 1 after any violation."""
    crowd, width = int(number(typed, "crowd", 45, 1, 1000)), int(number(typed, "width", 576, 36, 576))
    rows = int(number(typed, "rows", 200_000, 1, 10**7))
    refuse_what_is_wrong(typed)
    found = asyncio.run(siege(crowd, width, rows))
    print(json.dumps(found) if typed.as_json else "\n".join([*map(str, found["attacks"]), *(found["violations"] or ["no violation"])]))
    return 1 if found["violations"] else 0


async def siege(crowd: int, width: int, rows: int) -> dict:
    """Start the app with one run of 12 layers, attack it, and measure what others notice."""
    with app() as house:
        client, attacks = Client(house.port, WITHIN_S), []
        run_id = await _trained(client, house, width)
        await client.get(f"/live/runs/{run_id}/probe?text=warm&step=0")  # loads torch
        before, violations = house.rss_bytes(), []
        for name, path, times in (
            ("worth of parts", f"/live/runs/{run_id}/ablate", crowd), ("folders", f"/live/runs/{run_id}/transformers.zip", ZIPS),
        ):  # fmt: skip
            async with _watched(Attack(name), house, attacks) as attack:
                await asyncio.gather(*(_ask(client, path, attack) for _ in range(times)))
        async with _watched(Attack("streams that nobody reads"), house, attacks) as attack:
            for _ in range(STREAMS):
                body = {"data": [run_id, "", None, 2000, 1.0, None, None, 1, access.new_key()]}
                attack.answers[(await client.post("/gradio_api/call/sample", body)).status] += 1
            if not await _writes(client, run_id):
                violations.append("streams that nobody reads: they still hold all places after half a minute")
        house.db.append(run_id, (Progress(3 + i, i, 0.1 * i, 3.0, 1.0, 1e-3, 1e4) for i in range(rows)), {})
        async with _watched(Attack(f"a run of {rows:,} rows"), house, attacks) as attack:
            paths = [f"/live/runs/{run_id}/findings", f"/live/overlay?runs={run_id}", f"/live/runs/{run_id}/metrics.csv"]
            await asyncio.gather(*(_ask(client, path, attack) for path in paths * 3))
        for attack in attacks:
            say(str(attack.as_json()))
            if max(attack.waits, default=WITHIN_S) > SLOWEST_S:
                violations.append(f"{attack.name}: others waited {max(attack.waits, default=WITHIN_S):.1f} s")
        if (grown := house.rss_bytes() - before) > GROWTH_BYTES:
            violations.append(f"the server's memory grew by {grown / 2**20:.0f} MiB")
        client.close()
        return {"attacks": [attack.as_json() for attack in attacks], "grown_bytes": grown, "violations": violations}


@contextlib.asynccontextmanager
async def _watched(attack: Attack, house: App, attacks: list[Attack]) -> AsyncIterator[Attack]:
    """Meanwhile somebody else looks at the list of runs, ten times a second."""
    other, going = Client(house.port), True

    async def look() -> None:
        while going:
            began = time.monotonic()
            with contextlib.suppress(NoAnswer):  # its wait counts
                await other.get("/live/runs")
            attack.waits.append(time.monotonic() - began)
            await asyncio.sleep(0.1)

    looking = asyncio.create_task(look())
    await asyncio.sleep(0.3)
    yield attack
    going = False
    await looking
    other.close()
    attacks.append(attack)


async def _ask(client: Client, path: str, attack: Attack) -> None:
    try:
        attack.answers[(await client.get(path)).status] += 1
    except NoAnswer:
        attack.answers["none"] += 1


async def _writes(client: Client, run_id: str) -> bool:
    """Whether a reader gets a text within half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        body = {"data": [run_id, "", None, 3, 1.0, None, None, 1, access.new_key()]}
        event = (await client.post("/gradio_api/call/sample", body)).json()["event_id"]
        async with client.events(f"/gradio_api/call/sample/{event}") as events:
            async for part in events:
                if part.startswith(b"event: complete"):
                    return True
                if part.startswith(b"event: error"):
                    break
        await asyncio.sleep(1)
    return False


async def _trained(client: Client, house: App, width: int) -> str:
    model = {"n_layer": 12, "n_head": 9, "n_embd": width, "block_size": 64}
    config = {"model": model, "data": {"tokenizer": "char"}, "train": TRAIN}
    answer = await client.post("/gradio_api/run/start_run", {"data": [config, "", "default", access.new_key(), False]})
    run_id = answer.json()["data"][0]["run_id"]
    deadline = time.monotonic() + WITHIN_S
    while house.db.run(run_id).ended_at is None:
        if time.monotonic() > deadline:
            raise OSError("the run to be asked about does not end")
        await asyncio.sleep(0.2)
    return run_id
