"""How right the estimated times are: steps of runs of several shapes, taken in this process, beside what the page would have said."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass

from models.knobs import flat, nested, parse
from playground.bench.figures import machine, note, spread
from playground.config.estimate import Machine, step_seconds
from playground.config.presets import PRESETS
from playground.config.run import CompleteRun, RunConfig, complete
from playground.config.settings import Settings
from playground.data import dataset
from playground.workers import speed

SHAPES: dict[str, dict] = {
    "default": {},
    "2 layers, 64 wide": {"model.n_layer": 2, "model.n_embd": 64},
    "1 layer, 32 wide, 4 x 32 tokens": {"model.n_layer": 1, "model.n_embd": 32, "train.batch_size": 4, "model.block_size": 32},
    "12 layers, 96 wide": {"model.n_layer": 12, "model.n_embd": 96},
    "512 wide, 4 x 64 tokens": {"model.n_embd": 512, "train.batch_size": 4},
    "16 x 512 tokens": {"model.n_embd": 64, "model.block_size": 512, "train.batch_size": 16},
    "64 x 128 tokens": {"model.block_size": 128, "train.batch_size": 64},
    "6 layers, 256 wide, SwiGLU": {"model.n_layer": 6, "model.n_embd": 256, "model.activation": "swiglu", "model.norm_type": "rmsnorm"},
    "Muon, 192 wide": {"model.n_embd": 192, "optim.name": "muon"},
    "dropout": {"model.dropout": 0.2},
}
WARM_UP = 3  # steps that are not timed


@dataclass(frozen=True)
class Compared:
    """Milliseconds of a step, and the share of the measured time that the estimate is."""

    estimated_ms: float
    measured_ms: float

    @property
    def share(self) -> float:
        return self.estimated_ms / self.measured_ms


def measure(settings: Settings, seconds: float, pairs: int) -> dict[str, list[Compared]]:
    """By shape. The machine is measured anew before each, so that a machine that slows down slows both alike."""
    found: dict[str, list[Compared]] = {name: [] for name in SHAPES}
    for turn in range(pairs):
        for name in SHAPES:
            note(f"{turn + 1} of {pairs}: {name}")
            found[name].append(_compared(_config(name, settings), settings, seconds))
    return found


def _config(name: str, settings: Settings) -> CompleteRun:
    config = parse(RunConfig, nested(flat(PRESETS["default"].config) | SHAPES[name]))
    about = dataset.about(config.data, settings.root)
    return complete(config, about.vocab_size, about.fingerprint)


def _compared(config: CompleteRun, settings: Settings, seconds: float) -> Compared:
    import torch

    from playground.training.state import TrainState

    torch.set_num_threads(settings.n_cpus)
    known: Machine = speed.measure(settings.n_cpus)
    state = TrainState(config, dataset.load(config.data, settings.root), torch.device("cpu"))
    for _ in range(WARM_UP):
        state.step()
    n_steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        state.step()
        n_steps += 1
    return Compared(1000 * step_seconds(config, known), 1000 * (time.perf_counter() - began) / n_steps)


def as_json(found: dict[str, list[Compared]]) -> dict:
    return {"machine": machine(), "shapes": {name: [asdict(each) | {"share": each.share} for each in rows] for name, rows in found.items()}}


def table(found: dict[str, list[Compared]]) -> str:
    lines = [f"{'a training step of':34}{'measured, ms':>16}{'estimated, ms':>16}   estimate / measured"]
    for name, rows in found.items():
        measured, estimated = (statistics.median(getattr(row, key) for row in rows) for key in ("measured_ms", "estimated_ms"))
        lines.append(f"{name:34}{measured:16.2f}{estimated:16.2f}   {spread([row.share for row in rows], '.2f')}")
    return "\n".join(lines)
