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
from playground.config.settings import Settings
from playground.runs import access
from playground.runs.store import QUEUED
from playground.training.events import Progress
from tests.soak.client import Client, Headers, NoAnswer
from tests.soak.figures import percentile, refuse_what_is_wrong, say
from tests.soak.house import App, app

SLOWEST_S, GROWTH_BYTES = 3.0, 700 * 2**20  # of an answer to somebody else; of the server, which loads torch meanwhile
STREAMS, ZIPS = 20, 8
PEOPLE = 56  # invented by one visitor
LETTERS = "etaoinshrdlu"
UPLOADS, UPLOAD_CHARS, MAY_KEEP_BYTES = 12, 900_000, 5_000_000
GUESSES = 100
HELD_UP_S = 60.0  # how long somebody elsewhere may wait for data of their own, while others are prepared
WITHIN_S = 600.0
# The app believes a proxy, so that the one who attacks and all others come from two addresses.
ATTACKER, OTHERS = (("X-Forwarded-For", "203.0.113.7"),), (("X-Forwarded-For", "198.51.100.9"),)
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
    with app(proxies=1, max_disk_each=MAY_KEEP_BYTES) as house:
        client, attacks = Client(house.port, WITHIN_S), []
        run_id = await _trained(client, house, width)
        await client.get(f"/live/runs/{run_id}/probe?text=warm&step=0", OTHERS)  # loads torch
        before, violations = house.rss_bytes(), []
        base = f"/live/runs/{run_id}"
        for name, paths in (
            ("worth of parts", [f"{base}/ablate"] * crowd), ("folders", [f"{base}/transformers.zip"] * ZIPS),
            ("changed tokens", [f"{base}/patch?position={1 + i % 30}&token={LETTERS[i % len(LETTERS)]}" for i in range(crowd)]),
            ("parts one by one", [f"{base}/ablate?off=head:{1 + i % 12}.{1 + i // 12 % 9}" for i in range(crowd)]),
            ("texts of all kinds", [f"{base}/probe?maps=1&text={'so+' * (1 + i)}" for i in range(crowd)]),
        ):  # fmt: skip
            async with _watched(Attack(name), house, attacks) as attack:
                await asyncio.gather(*(_ask(client, path, attack) for path in paths))
        async with _watched(Attack("data of all kinds"), house, attacks) as attack:
            violations += await _prepares(client, attack, crowd)
        async with _watched(Attack("streams that nobody reads"), house, attacks) as attack:
            for _ in range(STREAMS):
                body = {"data": [run_id, "", None, 2000, 1.0, None, None, 1, access.new_key()]}
                attack.answers[(await client.post("/gradio_api/call/sample", body, ATTACKER)).status] += 1
            if not await _writes(client, run_id):
                violations.append("streams that nobody reads: nobody else was given a text within half a minute")
        house.db.append(run_id, (Progress(3 + i, i, 0.1 * i, 3.0, 1.0, 1e-3, 1e4) for i in range(rows)), {})
        async with _watched(Attack(f"a run of {rows:,} rows"), house, attacks) as attack:
            paths = [f"/live/runs/{run_id}/findings", f"/live/overlay?runs={run_id}", f"/live/runs/{run_id}/metrics.csv"]
            await asyncio.gather(*(_ask(client, path, attack) for path in paths * 3))
        async with _watched(Attack("texts without end"), house, attacks) as attack:
            violations += await _uploads(client, attack)
        async with _watched(Attack("guesses of the host's token"), house, attacks) as attack:
            violations += await _guesses(client, house, attack)
        async with _watched(Attack("invented people"), house, attacks) as attack:
            violations += await _crowd_in(client, house, attack)
        async with _watched(Attack("a run larger than the machine"), house, attacks) as attack:
            before_it = len(house.db.runs())
            large = {"model": {"n_layer": 48, "n_embd": 384, "block_size": 1024}, "train": {"batch_size": 2048}}
            await _start(client, large, access.new_key(), attack)
            if len(house.db.runs()) != before_it:
                violations.append("a run larger than the machine was accepted")
        async with _watched(Attack("another name for this server"), house, attacks) as attack:
            for path in ("/", "/live/runs", "/config", f"/live/runs/{run_id}"):
                attack.answers[(await client.get(path, [("Host", "rebound.example"), *ATTACKER])).status] += 1
            if set(attack.answers) & {200, 500}:
                violations.append("another name for this server was answered")
        for attack in attacks:
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
                await other.get("/live/runs", OTHERS)
            attack.waits.append(time.monotonic() - began)
            await asyncio.sleep(0.1)

    looking = asyncio.create_task(look())
    await asyncio.sleep(0.3)
    yield attack
    going = False
    await looking
    other.close()
    attacks.append(attack)
    say(str(attack.as_json()))


async def _ask(client: Client, path: str, attack: Attack) -> None:
    try:
        attack.answers[(await client.get(path, ATTACKER)).status] += 1
    except NoAnswer:
        attack.answers["none"] += 1


async def _prepares(client: Client, attack: Attack, crowd: int) -> list[str]:
    """Runs on data that have to be prepared, each other ones, and one that is too large for its data to be prepared at all. Meanwhile
    somebody elsewhere starts a run, and gets their data."""
    tiny = {"model": {"n_layer": 1, "n_embd": 16, "n_head": 1}, "train": {"max_steps": 2}}
    data = [{"data": {"source": "python-stdlib", "tokenizer": "bpe", "bpe_vocab": 2000 + i}} for i in range(crowd)]
    key = access.new_key()
    asking = [asyncio.create_task(_start(client, tiny | each, key, attack)) for each in data]
    began, other, found = time.monotonic(), Attack("somebody elsewhere"), []
    over = {"model": {"n_layer": 48, "n_embd": 576, "n_head": 9}} | {"data": {"source": "python-stdlib", "tokenizer": "bpe"}}
    await _start(client, over, access.new_key(), other, OTHERS)
    if other.answers["accepted"] or time.monotonic() - began > SLOWEST_S:
        found.append("data of all kinds: a run over the limits was not refused at once")
    other, mine = Attack("somebody elsewhere"), {"data": {"source": "task:copy", "length": 4, "seed": 77}}
    while not await _start(client, tiny | mine, access.new_key(), other, OTHERS):
        if time.monotonic() - began > HELD_UP_S:
            found.append(f"data of all kinds: somebody elsewhere waited over {HELD_UP_S:.0f} s for theirs")
            break
        await asyncio.sleep(0.5)
    await asyncio.gather(*asking)
    return found


async def _uploads(client: Client, attack: Attack) -> list[str]:
    """One person brings texts until there is no room left for more of theirs."""
    key = access.new_key()
    for i in range(UPLOADS):
        body = {"data": [f"{i} " + "a" * UPLOAD_CHARS, key]}
        answer = await client.post("/gradio_api/run/upload_text", body, ATTACKER)
        attack.answers["kept" if "data" in answer.json() else "refused"] += 1
    return [] if attack.answers["kept"] <= MAY_KEEP_BYTES / UPLOAD_CHARS else ["texts without end: more was kept than one person may"]


async def _guesses(client: Client, house: App, attack: Attack) -> list[str]:
    """Tokens as long as the right one; whoever knows it is let in from elsewhere, and from there after too many guesses as well, not
    at once."""
    token = house.said().partition("#host=")[2].split()[0]
    for i in range(GUESSES):
        guess = [("X-Playground-Host", f"{i:0{len(token)}}"), *ATTACKER]
        attack.answers[(await client.get("/live/host", guess)).status] += 1
    late = (await client.get("/live/host", [("X-Playground-Host", token), *ATTACKER])).status
    host = (await client.get("/live/host", [("X-Playground-Host", token), *OTHERS])).status
    found = [] if host == 200 else [f"guesses of the host's token: the host got {host}"]
    if late == 200 or set(attack.answers) != {403}:
        found.append("guesses of the host's token: they are not slowed down")
    return found


async def _writes(client: Client, run_id: str) -> bool:
    """Whether a reader gets a text within half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        body = {"data": [run_id, "", None, 3, 1.0, None, None, 1, access.new_key()]}
        event = (await client.post("/gradio_api/call/sample", body, OTHERS)).json()["event_id"]
        async with client.events(f"/gradio_api/call/sample/{event}") as events:
            async for part in events:
                if part.startswith(b"event: complete"):
                    return True
                if part.startswith(b"event: error"):
                    break
        await asyncio.sleep(1)
    return False


async def _start(client: Client, config: dict, key: str, attack: Attack, who: Headers = ATTACKER) -> bool:
    """Whether a run was accepted."""
    answer = await client.post("/gradio_api/run/start_run", {"data": [config, "", "default", key, False]}, who)
    accepted = "data" in answer.json()
    attack.answers["accepted" if accepted else "refused"] += 1
    return accepted


async def _crowd_in(client: Client, house: App, attack: Attack) -> list[str]:
    """One visitor as many people, each with a run; then all are paused and resumed. Half of the places are still there for others."""
    config, keys = (
        {"model": {"n_layer": 1, "n_embd": 16, "n_head": 1}, "train": {"max_steps": 10**6}},
        [access.new_key() for _ in range(PEOPLE)],
    )
    for key in keys:
        await _start(client, config, key, attack)
    for what in ("pause", "resume"):
        for run in house.db.runs():
            for key in keys:
                if access.Visitor.from_key(key).id == run.owner:
                    await client.post("/gradio_api/run/control_run", {"data": [run.id, what, key]}, ATTACKER)
    waiting, most, found = len(house.db.runs_in([QUEUED])), Settings(house.root).max_queued, []
    if waiting > most:
        found.append(f"invented people: {waiting} runs of one address wait")
    others = Attack("people elsewhere")
    for _ in range(most // 2):
        await _start(client, config, access.new_key(), others, OTHERS)
    if others.answers["refused"]:
        found.append(f"invented people: {others.answers['refused']} of {most // 2} people elsewhere can't start a run")
    return found


async def _trained(client: Client, house: App, width: int) -> str:
    model = {"n_layer": 12, "n_head": 9, "n_embd": width, "block_size": 64}
    config = {"model": model, "data": {"tokenizer": "char"}, "train": TRAIN}
    answer = await client.post("/gradio_api/run/start_run", {"data": [config, "", "default", access.new_key(), False]}, OTHERS)
    run_id = answer.json()["data"][0]["run_id"]
    deadline = time.monotonic() + WITHIN_S
    while house.db.run(run_id).ended_at is None:
        if time.monotonic() > deadline:
            raise OSError("the run to be asked about does not end")
        await asyncio.sleep(0.2)
    return run_id
