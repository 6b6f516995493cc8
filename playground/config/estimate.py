"""What a run will cost before it starts: memory in closed form, time from the speed that this machine was measured to reach.

`workers/speed.py` measures that speed. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from models.config import CompleteModel, activation_floats_per_token, flops_per_token, n_params
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
WIDTHS = (32, 128, 512)
MATMUL = tuple(f"matmul {width}" for width in WIDTHS)
KINDS = (*MATMUL, "orthogonalize", "activations", "maps", "dropout", "weights", "layers", "step")  # of work; see `work`
BESIDE = 1.05  # of a run's time to that of its steps: what is recorded, probed, validated and saved meanwhile


@dataclass(frozen=True)
class Machine:
    """`costs`: seconds for a unit of each kind of `work`."""

    threads: int
    costs: Mapping[str, float]


def memory_bytes(config: CompleteRun) -> int:
    """The most that a worker takes while training in float32: the process, weights, gradients, optimizer state, and either the
    activations that one batch keeps for its backward pass or those of the layer that a validation is at, whichever are more."""
    model = config.model
    per_parameter = 4 * (2 + OPTIMIZERS[config.optim.name].state_floats + PASSING_FLOATS)
    batch = config.train.batch_size * config.width * activation_floats_per_token(model)
    widest = max(2 * model.n_embd + (1 + model.mlp_kind.kept) * model.d_ff, 2 * model.vocab_size)
    return PROCESS_BYTES + per_parameter * n_params(model) + 4 * max(batch, VALIDATION_TOKENS * widest)


def work(config: CompleteRun) -> dict[str, float]:
    """What a training step is made of, in closed form, by the kinds of work that take time of their own: `KINDS`.

    `matmul W`: FLOPs of matrix products, shared out between the widths W next to the model's, since small ones run slower;
    `orthogonalize`: those of Muon's Newton-Schulz iterations; `activations`: numbers kept for the backward pass; `maps`: numbers in the
    attention maps; `dropout`: random numbers drawn; `weights`: numbers that the optimizer reads or writes; `layers`: layers passed
    through, each with its kernels to launch; `step`: 1.
    """
    model, tokens, batches = config.model, config.tokens_per_step, config.train.accumulation
    flops = 3 * flops_per_token(model) * tokens
    shares = _shares(model.n_embd)
    return {
        **{kind: share * flops for kind, share in zip(MATMUL, shares, strict=True)},
        "orthogonalize": _orthogonalizing_flops(config),
        "activations": tokens * activation_floats_per_token(model),
        "maps": tokens * model.has_attention * model.n_layer * model.n_head * model.block_size,
        "dropout": tokens * dropout_draws_per_token(model),
        "weights": n_params(model) * OPTIMIZERS[config.optim.name].passes,
        "layers": model.n_layer * batches,
        "step": 1,
    }


def step_seconds(config: CompleteRun, machine: Machine) -> float:
    """Time of one training step."""
    return sum(amount * machine.costs[kind] for kind, amount in work(config).items())


def dropout_draws_per_token(model: CompleteModel) -> int:
    """How many random numbers dropout draws for a token."""
    n_sublayers = model.has_attention + model.has_mlp
    in_layer = (model.p_resid_dropout > 0) * n_sublayers * model.n_embd
    in_layer += (model.p_attn_dropout > 0) * model.has_attention * model.n_head * model.block_size
    return (model.p_embd_dropout > 0) * model.n_embd + model.n_layer * in_layer


def run_seconds(config: CompleteRun, machine: Machine) -> float:
    """Time of the whole run, whichever limit ends it."""
    return _shorter(config, BESIDE * step_seconds(config, machine))


def scaled_seconds(config: CompleteRun, other: CompleteRun, tokens_per_s: float) -> float:
    """Time of the whole run at the FLOP/s that another run reached."""
    speed = tokens_per_s * flops_per_token(other.model) / flops_per_token(config.model)
    return _shorter(config, config.tokens_per_step / speed)


def load(root: Path) -> Machine | None:
    """What was measured on this machine, if it was."""
    try:
        data = json.loads((root / "machine.json").read_text())
        known = Machine(data["threads"], data["costs"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return known if set(known.costs) == set(KINDS) else None


def save(root: Path, machine: Machine) -> None:
    publish(root / "machine.json", json.dumps(asdict(machine)).encode())


def _shorter(config: CompleteRun, step_s: float) -> float:
    limits = [] if config.train.max_seconds is None else [config.train.max_seconds]
    if config.train.max_steps is not None:
        limits.append(config.train.max_steps * step_s)
    return min(limits)


@lru_cache(maxsize=1000)
def _shares(width: int) -> tuple[float, ...]:
    """How much of a model of this width counts as one of each of `WIDTHS`, on straight lines between their logarithms."""
    return tuple(float(np.interp(np.log(width), np.log(WIDTHS), line)) for line in np.eye(len(WIDTHS)))


def _orthogonalizing_flops(config: CompleteRun) -> int:
    """Of Muon's Newton-Schulz iterations, over the matrices of all blocks, as `training.optimizers.orthogonal` computes them on a CPU."""
    model, steps = config.model, config.optim.ns_steps
    if "ns_steps" not in OPTIMIZERS[config.optim.name].reads:
        return 0
    width, size = model.n_embd, model.head_size
    rows = model.has_attention * [model.n_head * size, model.kv_heads * size, model.kv_heads * size, model.n_head * size]
    rows += model.has_mlp * model.mlp_kind.matrices * [model.d_ff]
    n_blocks = 1 if model.share_layers else model.n_layer
    return n_blocks * sum(_newton_schulz_flops(min(width, each), max(width, each), steps) for each in rows)


def _newton_schulz_flops(small: int, large: int, steps: int) -> int:
    outer, inner = 2 * small * small * large, 2 * small**3
    if large < 2 * small:
        return steps * (2 * outer + inner)
    return 2 * outer + inner * (steps + 3 * (steps - 1))
