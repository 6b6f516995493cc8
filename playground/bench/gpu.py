"""What a GPU makes of the playground: steps alone, whole runs, several runs at once, and a run that is killed and resumed.

`python -m playground.bench.gpu ROW CONFIG ROOT N` measures one row in a process of its own and prints its figure.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.knobs import ConfigError, Problem, flat, nested, parse
from playground.bench.figures import machine, note
from playground.bench.processes import run_in_worker, start_worker
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.runs import store
from playground.runs.access import HOST
from playground.runs.creation import complete, create_run
from playground.runs.folder import RunFolder
from playground.runs.store import Store
from playground.system.files import REPOSITORY
from playground.workers.leftovers import mark_dead

RECORDED, EAGER, TOGETHER = "recorded", "eager", "together"
WHOLE = {"nanogpt-gpu": 1000, "nanogpt-cpu": 3000, "fast-gpu": 600}  # preset: steps
SEVERAL = (1, 4, 16, 64)
RESUMED, RESUMED_STEPS, SAVED_EVERY = "nanogpt-gpu", 400, 100
PATIENCE_S = 120.0


@dataclass
class Figures:
    """By preset: milliseconds of a step alone, recorded and kernel by kernel; a whole run with everything on: its seconds, the share of
    them that its steps alone would take, its held-out loss. By number of runs trained as one program: tokens per second."""

    device: str = ""
    recorded_ms: dict[str, float] = field(default_factory=dict)
    eager_ms: dict[str, float] = field(default_factory=dict)
    run_s: dict[str, float] = field(default_factory=dict)
    steps_share: dict[str, float] = field(default_factory=dict)
    val_loss: dict[str, float | None] = field(default_factory=dict)
    together_per_s: dict[int, float] = field(default_factory=dict)
    resumed_from: int = 0
    resumed_apart: float = float("nan")  # the largest difference between a weight of the resumed run and of the undisturbed one


def measure(settings: Settings, source: str) -> Figures:
    """Raises ConfigError without a GPU, OSError where a run fails."""
    found = Figures(device=_in_process("device", RunConfig(), settings))
    if not found.device:
        raise ConfigError([Problem("--gpu", "this machine has no CUDA device")])
    for preset, steps in WHOLE.items():
        config = _of(preset, source, **{"train.max_steps": steps, "train.max_seconds": None})
        found.recorded_ms[preset] = float(_in_process(RECORDED, config, settings))
        found.eager_ms[preset] = float(_in_process(EAGER, config, settings))
        note(f"{preset}: {found.recorded_ms[preset]:.2f} ms a step, {found.eager_ms[preset]:.2f} ms kernel by kernel")
        run, _ = run_in_worker(config, settings)
        note(f"{preset}: {steps:,} steps in {run.seconds:.2f} s")
        found.run_s[preset], found.val_loss[preset] = run.seconds, run.val_loss
        found.steps_share[preset] = steps * found.recorded_ms[preset] / 1000 / run.seconds
    small = _of("nanogpt-cpu", source, **{"model.dropout": 0.0})
    for n in SEVERAL:
        found.together_per_s[n] = n * small.tokens_per_step / float(_in_process(TOGETHER, small, settings, n)) * 1000
        note(f"{n} runs as one program: {found.together_per_s[n]:,.0f} tokens/s")
    note("a run that is killed and resumed")
    resumed = {"train.max_steps": RESUMED_STEPS, "train.checkpoint_interval": SAVED_EVERY, "train.max_seconds": None}
    found.resumed_from, found.resumed_apart = killed_and_resumed(_of(RESUMED, source, **resumed), settings)
    return found


def _of(preset: str, source: str, **changes) -> RunConfig:
    return parse(RunConfig, nested(flat(PRESETS[preset].config) | {"data.source": source} | changes))


def killed_and_resumed(config: RunConfig, settings: Settings) -> tuple[int, float]:
    """Kill a run when half of it is saved, resume it, train the same undisturbed: the step it went on from, and the largest difference
    between two weights at the end."""
    from playground.training.checkpoints import Checkpoints

    db, half = Store(settings.root), (config.train.max_steps or 0) // 2
    undisturbed, _ = run_in_worker(config, settings)
    run_id = create_run(db, settings, config, HOST, state=store.STARTING)
    folder, process, deadline = RunFolder(settings.root, run_id), start_worker(settings, run_id), time.monotonic() + PATIENCE_S
    while max(folder.checkpoint_steps(), default=0) < half and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    saved = max(folder.checkpoint_steps(), default=0)
    if not mark_dead(db, settings.root, db.run(run_id)) or not db.change_state(run_id, store.STARTING, store.RESUMABLE):
        raise OSError(f"the run to be resumed is {db.run(run_id).state}")
    start_worker(settings, run_id).wait()
    if (run := db.run(run_id)).state != store.FINISHED:
        raise OSError(f"the resumed run is {run.state}: {run.reason}")
    one, other = (Checkpoints(RunFolder(settings.root, each).checkpoints).weights(run.step) for each in (undisturbed.id, run_id))
    return saved, max(float((one[name] - other[name]).abs().max()) for name in one)


def _in_process(row: str, config: RunConfig, settings: Settings, n: int = 1) -> str:
    argv = [sys.executable, "-m", "playground.bench.gpu", row, config.model_dump_json(), str(settings.root), str(n)]
    return subprocess.run(argv, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def as_json(found: Figures) -> str:
    return json.dumps({"machine": machine(), **asdict(found)})


def table(found: Figures) -> str:
    lines = [f"{found.device}, torch {machine()['torch']}"]
    for preset in found.recorded_ms:
        lines.append(
            f"{preset:12} step {found.recorded_ms[preset]:.2f} ms as a CUDA graph, {found.eager_ms[preset]:.2f} ms kernel by kernel; "
            f"run of {WHOLE[preset]:,} steps {found.run_s[preset]:.2f} s, of which the steps alone {found.steps_share[preset]:.0%}; "
            f"held-out loss {found.val_loss[preset]:.4f}"
        )
    for n, speed in found.together_per_s.items():
        lines.append(f"{n:3} runs as one program  {speed:11,.0f} tokens/s, {speed / found.together_per_s[1]:.2f} times one")
    lines.append(f"killed and resumed at step {found.resumed_from}: weights at the end differ by {found.resumed_apart:g} at most")
    return "\n".join(lines)


# Measured in separate processes.


def step_ms(config: RunConfig, root: Path, *, recorded: bool, n: int = 1) -> float:
    """Milliseconds of a step of `n` runs as one program (one run: by itself), the median of five spans of half a second or so."""
    import torch

    from playground.data import dataset
    from playground.training.devices import choose_device
    from playground.training.stacked import Group
    from playground.training.state import TrainState

    def state(seed: int) -> TrainState:
        one = complete(config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})}), root)
        return TrainState(one, dataset.load(one.data, root), choose_device(one.train.device))

    states = [state(seed) for seed in range(n)]
    for each in states:
        each.runner.not_captured = "" if recorded else "to be measured kernel by kernel"
    take: Callable[[], object] = states[0].step if n == 1 else Group(states).step
    gc.collect()

    def span(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            take()
        if states[0].device.type == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - began) / steps

    span(10)  # also records
    steps = max(3, int(500 / span(5)))
    return statistics.median(span(steps) for _ in range(5))


if __name__ == "__main__":
    asked, shape, folder, count = sys.argv[1], parse(RunConfig, json.loads(sys.argv[2])), Path(sys.argv[3]), int(sys.argv[4])
    if asked == "device":
        import torch

        print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")
    else:
        print(step_ms(shape, folder, recorded=asked != EAGER, n=count))
