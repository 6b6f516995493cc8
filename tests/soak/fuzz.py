"""`soak fuzz`: malformed requests against every handler, endpoint and route of the real app; checks the app and other people's runs."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playground.cli.flags import Typed, number
from playground.config.run import RunConfig
from playground.runs import access, store
from playground.runs.access import Visitor
from playground.runs.folder import RunFolder
from tests.soak.attack import AT_ONCE, Attacker
from tests.soak.client import Client, NoAnswer
from tests.soak.figures import refuse_what_is_wrong, say
from tests.soak.hostile import Hostile
from tests.soak.house import App, app
from tests.soak.judge import Findings, Judge, Surroundings, Untouched, complaints
from tests.soak.page import Page

WITHIN_S, REPORT_EVERY = 60.0, 1000
WARM_UP = 0.1
ROOM_FOR_MEMORY = 300 * 2**20
LIMITS = {"max_running": 2, "max_queued": 6, "max_params": 300_000, "max_steps": 200, "max_block_size": 64, "max_upload_bytes": 300_000}
VICTIM = {
    "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16}, "data": {"tokenizer": "char"},
    "train": {"batch_size": 4, "checkpoint_interval": 100_000, "eval_interval": 100_000, "log_interval": 20},
}  # fmt: skip


@dataclass
class Result:
    """`memory` of the server in bytes: after the first tenth of the requests, and at the end."""

    requests: int
    seed: int
    seconds: float
    memory: tuple[int, int]
    handlers: int
    findings: Findings = field(default_factory=Findings)

    def as_json(self) -> dict:
        counts = {kind: dict(found) for kind, found in self.findings.counts.items()}
        return {
            "requests": self.requests, "seed": self.seed, "seconds": round(self.seconds, 1), "memory_bytes": self.memory,
            "handlers": self.handlers, "answers": counts, "violations": self.findings.listed(),
        }  # fmt: skip

    def table(self) -> str:
        ways = sorted({how for found in self.findings.counts.values() for how in found})
        lines = [f"{'asked of':34}" + "".join(f"{how:>11}" for how in ways)]
        for kind, found in sorted(self.findings.counts.items()):
            lines.append(f"{kind:34}" + "".join(f"{found[how] or '':>11}" for how in ways))
        before, after = (size / 2**20 for size in self.memory)
        lines += ["", f"{self.requests:,} malformed requests (seed {self.seed}) in {self.seconds:.0f} s, {self.handlers} handlers"]
        lines += [f"memory of the server: {before:.0f} MiB after the first tenth, {after:.0f} MiB at the end"]
        return "\n".join([*lines, *(f"VIOLATION {each}" for each in self.findings.listed() or ["none"])])


def campaign(typed: Typed) -> int:
    """The command: attack, then print one table or one JSON object; returns 1 after any violation."""
    requests, seed = int(number(typed, "requests", 10_000, 1, 10_000_000)), int(number(typed, "seed", 0, 0, 2**31))
    refuse_what_is_wrong(typed)
    result = asyncio.run(fuzz(requests, seed))
    print(json.dumps(result.as_json()) if typed.as_json else result.table())
    return 1 if result.findings.violations else 0


async def fuzz(requests: int, seed: int, say: Callable[[str], None] = say) -> Result:
    """Start the app with two runs of another person, attack it, and check what has changed."""
    with app(**LIMITS) as house:
        client, key, findings = Client(house.port), access.new_key(), Findings()
        page = Page((await client.get("/config")).json())
        outside, canary = _canary(house.place)
        victims = await _victims(client, house, key)
        judge = Judge(house, findings, {"a file outside the root": canary, "a log": _marked(house, victims[0])} | _of_owner(key))
        before, around = [Untouched.of(house, run_id) for run_id in victims], Surroundings.of(house, outside)
        info = (await client.get(f"{page.prefix}/info")).json()["named_endpoints"]
        attacker = Attacker(client, page, judge, _hostile(seed, house, outside, victims, key), info)
        if requests >= REPORT_EVERY:  # loads torch, as the first guest does; a short attack says nothing of memory
            await client.post("/gradio_api/run/sample", {"data": [victims[0], "", None, 1, 1.0, None, None, 1]})
        began = time.monotonic()
        memory = await _attack(attacker, requests, house, say)
        result = Result(requests, seed, time.monotonic() - began, memory, len(page.handlers), findings)
        if requests >= REPORT_EVERY and memory[1] > memory[0] + ROOM_FOR_MEMORY:
            findings.blame(f"the server's memory grew by {(memory[1] - memory[0]) / 2**20:.0f} MiB")
        around.compare(house, outside, findings)
        await _look_back(house, before, findings)
        client.close()
    return result


async def _attack(attacker: Attacker, requests: int, house: App, say: Callable[[str], None]) -> tuple[int, int]:
    """Send the requests, some concurrently; returns the server's memory after the first tenth and at the end."""
    warm, done, memory = max(1, int(WARM_UP * requests)), 0, [0]

    async def work() -> None:
        nonlocal done
        while done < requests and house.alive():
            done += 1
            mine = done
            await attacker.shoot()
            if mine == warm:
                memory[0] = house.rss_bytes()
            if mine % REPORT_EVERY == 0:
                wrong = len(attacker.judge.findings.violations)
                say(f"{mine:,} of {requests:,} requests, {wrong} violations, {house.rss_bytes() >> 20} MiB")

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return memory[0], house.rss_bytes()


async def _look_back(house: App, before: list[Untouched], findings: Findings) -> None:
    """Check the other person's runs, the terminal and the app after the attack."""
    for victim in before:
        victim.compare(house, findings)
    for what, n in complaints(house.said()).items():
        findings.violations[f"on the app's terminal: {what}"] += n
    await _still_there(house, findings)


async def _still_there(house: App, findings: Findings) -> None:
    """Check that a new visitor can open the page and see all runs."""
    client = Client(house.port)
    for path in ("/", "/config", "/live/runs"):
        try:
            answer = await client.get(path)
            if answer.status != 200:
                findings.blame(f"after the attack GET {path} answers {answer.status}")
        except NoAnswer as error:
            findings.blame(f"after the attack GET {path} is not answered: {error}")
    client.close()


async def _victims(client: Client, house: App, key: str) -> tuple[str, str]:
    """A run that has ended and one that keeps training, both of an owner who is not the attacker."""
    still = await _started(client, key, {"max_steps": 20})
    training = await _started(client, key, {"max_steps": None, "max_seconds": 100_000})
    await _until(house, still, lambda run: run.ended_at is not None)
    await _until(house, training, lambda run: run.step > 0 and RunFolder(house.root, training).tokenizer.exists())
    return still, training


async def _started(client: Client, key: str, train: dict) -> str:
    config = VICTIM | {"train": VICTIM["train"] | train}
    answer = await client.post("/gradio_api/run/start_run", {"data": [config, "<i>mine</i>", "default", key, False]})
    return answer.json()["data"][0]["run_id"]


async def _until(house: App, run_id: str, true: Callable[[store.Run], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true(run := house.db.run(run_id)):
        if time.monotonic() > deadline:
            raise OSError(f"the run to be attacked is {run.state} at step {run.step}: {run.reason}")
        await asyncio.sleep(0.1)


def _canary(place: Path) -> tuple[Path, bytes]:
    """A folder beside the root with a file that nobody may read, and the file's secret content."""
    outside, secret = place / "outside", f"canary-{secrets.token_hex(16)}"
    outside.mkdir()
    (outside / "canary.txt").write_text(f"{secret}\n" * 200)
    return outside, secret.encode()


def _marked(house: App, run_id: str) -> bytes:
    """Write a unique line into a run's log; returns the line."""
    line = f"log-{secrets.token_hex(16)}"
    with open(RunFolder(house.root, run_id).log, "a") as log:
        log.write(f"{line}\n")
    return line.encode()


def _of_owner(key: str) -> dict[str, bytes]:
    return {"an owner's key": key.encode(), "who owns a run": Visitor.from_key(key).id.encode()}


def _hostile(seed: int, house: App, outside: Path, victims: tuple[str, str], key: str) -> Hostile:
    folder = RunFolder(house.root, victims[0])
    files = [
        outside / "canary.txt", house.root / "playground.db", folder.log, folder.config, folder.checkpoints, house.root,
        Path("/etc/passwd"), house.output, house.root / ".." / "outside" / "canary.txt",
    ]  # fmt: skip
    climbing = [f"{up}outside/canary.txt" for up in ("../", "../../", "../" * 6)] + [
        f"runs/{victims[0]}/worker.log",
        f"{victims[0]}/../{victims[1]}",
    ]
    knobs = [spec.path for spec in RunConfig.specs()]
    return Hostile(
        random.Random(seed),
        outside,
        [*map(str, files), *climbing],
        list(victims),
        [*knobs, Visitor.from_key(key).id, "host", "pause", "stop"],
    )
