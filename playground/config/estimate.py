"""What a run will cost before it starts: memory in closed form, time from the speed that this machine was measured to reach.

`workers/speed.py` measures that speed. Imports no torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from models.config import activation_floats_per_token, flops_per_token, n_params
from playground.config.optim import OPTIMIZERS
from playground.config.run import CompleteRun
from playground.system.files import publish

# Measured of workers of thirteen shapes on Linux with torch 2.13, as the most private memory that each had:
# what a worker takes before its model (buffers of torch, the loop, pages that a forked process no longer shares) …
PROCESS_BYTES = 130_000_000
# … and numbers per weight beside gradient and optimizer state: a copy of the weights in a step that is watched, casts to bfloat16,
# and what the allocator keeps of the model's initialization.
PASSING_FLOATS = 3
VALIDATION_TOKENS = 8192  # that are judged at once
WIDTHS = (32, 128, 384)
TOKENS = 768


@dataclass(frozen=True)
class Machine:
    """`speeds[i]` is the speed of training steps of a model of width `WIDTHS[i]`, in FLOP/s;
    `layer_s` the overhead of a layer and batch, in seconds, whatever its size."""

    threads: int
    layer_s: float
    speeds: tuple[float, ...]


def memory_bytes(config: CompleteRun) -> int:
    """The most that a worker takes while training in float32: the process, weights, gradients, optimizer state, and either the
    activations that one batch keeps for its backward pass or those of the layer that a validation is at, whichever are more."""
    model = config.model
    per_parameter = 4 * (2 + OPTIMIZERS[config.optim.name].state_floats + PASSING_FLOATS)
    batch = config.train.batch_size * config.width * activation_floats_per_token(model)
    widest = max(2 * model.n_embd + (1 + model.mlp_kind.kept) * model.d_ff, 2 * model.vocab_size)
    return PROCESS_BYTES + per_parameter * n_params(model) + 4 * max(batch, VALIDATION_TOKENS * widest)


def step_seconds(config: CompleteRun, machine: Machine) -> float:
    """Time of one step, interpolated between the widths that were measured."""
    compute = 3 * flops_per_token(config.model) * config.tokens_per_step / _speed(config.model.n_embd, machine)
    return compute + config.train.accumulation * config.model.n_layer * machine.layer_s


def run_seconds(config: CompleteRun, machine: Machine) -> float:
    """Time of the whole run, whichever limit ends it."""
    limits = [] if config.train.max_seconds is None else [config.train.max_seconds]
    if config.train.max_steps is not None:
        limits.append(config.train.max_steps * step_seconds(config, machine))
    return min(limits)


def scaled_seconds(config: CompleteRun, other: CompleteRun, tokens_per_s: float) -> float:
    """Time of the whole run at the FLOP/s that another run reached."""
    speed = tokens_per_s * flops_per_token(other.model) / flops_per_token(config.model)
    limits = [] if config.train.max_seconds is None else [config.train.max_seconds]
    if config.train.max_steps is not None:
        limits.append(config.train.max_steps * config.tokens_per_step / speed)
    return min(limits)


def load(root: Path) -> Machine | None:
    """What was measured on this machine, if it was."""
    try:
        data = json.loads((root / "machine.json").read_text())
        return Machine(data["threads"], data["layer_s"], tuple(data["speeds"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None


def save(root: Path, machine: Machine) -> None:
    publish(root / "machine.json", json.dumps(asdict(machine)).encode())


def _speed(width: int, machine: Machine) -> float:
    """FLOP/s at a width, on straight lines between the measured ones."""
    if width <= WIDTHS[0]:
        return machine.speeds[0]
    for (left, slow), (right, fast) in zip(
        zip(WIDTHS, machine.speeds, strict=True), zip(WIDTHS[1:], machine.speeds[1:], strict=False), strict=False
    ):
        if width <= right:
            return slow + (fast - slow) * (width - left) / (right - left)
    return machine.speeds[-1]
