"""Measures training speed beside a bare PyTorch loop, and the time until a run starts.

Every measurement is a fresh process. The rows take turns, so that a machine that slows down slows
them all alike. Speeds leave out the first quarter of each measurement.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from playground.bench.figures import machine, note, spread
from playground.bench.loops import BARE, LOOP, PRELOADED, speed
from playground.bench.processes import app_server, fetch, run_in_worker, warm_starts
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import sampler, store
from playground.runs.folder import RunFolder
from playground.runs.sampler import SampleConfig
from playground.runs.store import Run, Store
from playground.system.files import REPOSITORY
from playground.training import paths
from playground.training.outcome import Outcome
from playground.web.computing import Computing

RUN, WATCHED, SAMPLED = "run with recording and probes", "the same, watched at 2 Hz", "the same, sampled from all the time"
IN_PROCESS = (BARE, LOOP, PRELOADED)
ROWS = (*IN_PROCESS, RUN, WATCHED, SAMPLED)
PAGE_INTERVAL_S = 0.5


@dataclass
class Results:
    """The measurements: tokens per second by row, seconds to the first loss, shares of training time."""

    speeds: dict[str, list[float]] = field(default_factory=lambda: {row: [] for row in ROWS})
    cold_s: list[float] = field(default_factory=list)
    warm_s: list[float] = field(default_factory=list)
    shares: dict[str, list[float]] = field(default_factory=lambda: {"recording": [], "validation": [], "checkpoints": []})
    requests: list[int] = field(default_factory=list)
    sampled_per_s: list[float] = field(default_factory=list)
    probe_ms: list[float] = field(default_factory=list)
    probes_per_minute: list[float] = field(default_factory=list)
    probe_mb_per_1000_steps: list[float] = field(default_factory=list)


def measure(config: RunConfig, settings: Settings, pairs: int) -> Results:
    """Measure every row `pairs` times, in alternating order."""
    results = Results()
    for i in range(pairs):
        for row in ROWS if i % 2 == 0 else reversed(ROWS):
            note(f"{i + 1} of {pairs}: {row}")
            results.speeds[row].append(_measured(row, config, settings, results))
    note("start of a run by the standby")
    # Twice the measured cold start is enough for a standby to be ready.
    results.warm_s = warm_starts(config, settings, pairs, ready_after_s=2 * max(results.cold_s))
    return results


def _measured(row: str, config: RunConfig, settings: Settings, results: Results) -> float:
    """Tokens per second of one row, once."""
    if row in IN_PROCESS:
        return in_process(row, config, settings)
    if row == RUN:
        return _worker(config, settings, results)
    if row == SAMPLED:
        with contextlib.ExitStack() as stack:
            return _worker(config, settings, results, lambda run_id: stack.enter_context(somebody_who_samples(settings, run_id, results)))
    with app_server(settings) as address, contextlib.ExitStack() as stack:
        return _worker(config, settings, results, lambda run_id: stack.enter_context(page(address, run_id, results)))


# The bare loop and the training loop alone, each in a process of its own.


def in_process(row: str, config: RunConfig, settings: Settings, repeat: int = 1) -> float:
    argv = [sys.executable, "-m", "playground.bench.loops", row, config.model_dump_json(), str(settings.root), str(repeat)]
    done = subprocess.run(argv, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


# A real run in a worker of its own.


def _worker(config: RunConfig, settings: Settings, results: Results, beside: Callable[[str], object] | None = None) -> float:
    """Train to the end in a fresh worker process; returns tokens per second."""
    run, first_s = run_in_worker(config, settings, beside)
    if beside is None:
        results.cold_s.append(first_s)
        _note_shares(results, RunFolder(settings.root, run.id), run)
    points = [(row.body["seconds"], row.body["tokens"]) for row in Store(settings.root).events(run.id, kinds=["progress"])]
    return speed(points)


def _note_shares(results: Results, folder: RunFolder, run: Run) -> None:
    spent = Outcome.read(folder.outcome)
    for name, seconds in (("recording", spent.recording_s), ("validation", spent.validation_s), ("checkpoints", spent.checkpoint_s)):
        results.shares[name].append(seconds / run.seconds)
    results.probe_ms.append(1000 * spent.probing_s / spent.n_probes)
    results.probes_per_minute.append(60 * spent.n_probes / run.seconds)
    kept = sum(probe.path.stat().st_size for probe in paths.all_probes(folder.probes))
    results.probe_mb_per_1000_steps.append(kept / 1e6 * 1000 / run.step)


# A visitor who watches, or samples.


@contextlib.contextmanager
def page(address: str, run_id: str, results: Results) -> Iterator[None]:
    """Poll as an open page does, twice a second, until the end."""
    done, visits = threading.Event(), []

    def visit() -> None:
        cursor, generation = 0, -1
        while not done.wait(PAGE_INTERVAL_S):
            began = time.perf_counter()
            with contextlib.suppress(OSError):
                delta = json.loads(fetch(f"{address}/live/runs/{run_id}?cursor={cursor}&generation={generation}"))
                cursor, generation = delta["cursor"], delta["generation"]
                if "probe" in delta["events"]:
                    fetch(f"{address}/live/runs/{run_id}/probe?maps=1")
                visits.append(time.perf_counter() - began)

    with _beside(visit, done):
        yield
    if not visits:
        raise OSError("the page was never answered")
    results.requests.append(len(visits))


@contextlib.contextmanager
def _beside(do: Callable[[], None], done: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def somebody_who_samples(settings: Settings, run_id: str, results: Results) -> Iterator[None]:
    """Sample from the run's newest checkpoint without a pause, as the page would for a visitor, until the end."""
    done, tokens, db = threading.Event(), 0, Store(settings.root)
    computing = Computing(settings.nice, others=lambda: len(db.runs_in(store.ACTIVE)))

    def write() -> None:
        nonlocal tokens
        while not done.is_set():
            for _ in computing.stream(sampler.sample(settings.root, run_id, None, "", SampleConfig(max_new_tokens=500))):
                tokens += 1
                if done.is_set():
                    break

    began = time.monotonic()
    with _beside(write, done):
        yield
    results.sampled_per_s.append(tokens / (time.monotonic() - began))


# The report.


def ratios(results: Results, base: str = BARE) -> dict[str, list[float]]:
    """Each row over the bare loop, or another row, of the same turn."""
    return {row: [a / b for a, b in zip(speeds, results.speeds[base], strict=True)] for row, speeds in results.speeds.items()}


def as_json(results: Results) -> str:
    to_bare = ratios(results)
    rows = [{"row": row, "tokens_per_s": speeds, "to_bare": to_bare[row]} for row, speeds in results.speeds.items()]
    said = {
        "machine": machine(),
        "rows": rows,
        "cold_s": results.cold_s,
        "warm_s": results.warm_s,
        "data_to_memory": ratios(results, PRELOADED)[LOOP],
        "shares": results.shares,
        "requests": results.requests,
        "sampled_per_s": results.sampled_per_s,
        "probe_ms": results.probe_ms,
        "probes_per_minute": results.probes_per_minute,
        "probe_mb_per_1000_steps": results.probe_mb_per_1000_steps,
    }
    return json.dumps(said)


def table(results: Results, seconds: float) -> str:
    to_bare, facts = ratios(results), machine()
    lines = [
        f"{facts['cores']} cores, {facts['threads']} threads, torch {facts['torch']}, Python {facts['python']}, {facts['system']}",
        f"{len(results.warm_s)} turns of {seconds:g} s each; median (least – most)",
        "",
        f"{'':32} {'tokens/s':>28}   {'of the bare loop':>22}",
    ]
    for row, speeds in results.speeds.items():
        lines.append(f"{row:32} {spread(speeds, ',.0f'):>28}   {spread(to_bare[row], '.3f'):>22}")
    fed = spread(ratios(results, PRELOADED)[LOOP], ".3f")
    lines += ["", f"{'the loop with its data, of the same fed from memory':52} {fed}"]
    lines += [f"{'tokens per second of the continuous sampling':52} {spread(results.sampled_per_s, ',.0f')}"]
    lines += ["", "share of the run's training time, as its worker reports it"]
    names = {
        "recording": "probes, samples and recording",
        "validation": "validation, without that of the whole text   ",
        "checkpoints": "checkpoints",
    }
    lines += [f"{names[name]:32} {spread(shares, '.1%'):>28}" for name, shares in results.shares.items()]
    lines += ["", "probes"]
    lines += [
        f"{'one probe':32} {spread(results.probe_ms, '.0f'):>26} ms",
        f"{'probes per minute':32} {spread(results.probes_per_minute, '.0f'):>26}",
        f"{'probes on disk, 1,000 steps':32} {spread(results.probe_mb_per_1000_steps, '.1f'):>26} MB",
    ]
    lines += ["", "from the start command to the first recorded loss"]
    lines += [
        f"{'cold, a new process':32} {spread(results.cold_s, '.2f'):>26} s",
        f"{'warm, by the standby':32} {spread(results.warm_s, '.2f'):>26} s",
    ]
    return "\n".join(lines)
