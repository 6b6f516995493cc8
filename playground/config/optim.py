"""The section `optim` of a run's config: which optimizer and schedule there are, and their knobs. Imports no torch.

An optimizer is one entry of `OPTIMIZERS` and one builder in `training.optim`; a schedule is one entry of `SCHEDULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from models.knobs import Entry, Knobs, Needs, OneOf, abouts, knob, papers

OPTIMISER = "Optimiser"


@dataclass(frozen=True, kw_only=True)
class Optimizer(Entry):
    """`state_floats` are kept of each weight, roughly."""

    state_floats: int

    @property
    def is_scheduled(self) -> bool:
        """Whether the learning rate follows a schedule after the warm-up."""
        return "schedule" in self.reads


SCHEDULED = ("schedule", "min_lr")
OPTIMIZERS: dict[str, Optimizer] = {
    "adamw": Optimizer(
        label="AdamW", state_floats=2, reads=(*SCHEDULED, "beta2"),
        about="AdamW scales each weight's step by its gradient's history", paper="Loshchilov and Hutter 2017, arXiv:1711.05101",
    ),
    "muon": Optimizer(
        label="Muon and AdamW", state_floats=1, reads=(*SCHEDULED, "beta2", "momentum", "rest_lr", "ns_steps"),
        about="Muon makes the step of each matrix orthogonal, and leaves the rest to AdamW", paper="Muon: Jordan et al. 2024",
    ),
    "sgd": Optimizer(label="SGD with momentum", state_floats=1, reads=SCHEDULED, about="SGD with momentum scales nothing"),
    "lion": Optimizer(
        label="Lion", state_floats=1, reads=(*SCHEDULED, "beta2"),
        about="Lion takes only signs, and wants a rate 3 to 10 times lower", paper="Lion: Chen et al. 2023, arXiv:2302.06675",
    ),
    "schedule_free": Optimizer(
        label="schedule-free AdamW", state_floats=3, reads=("beta2",),
        about="schedule-free AdamW averages its weights instead of lowering the rate",
        paper="schedule-free: Defazio et al. 2024, arXiv:2405.15682",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fall(Entry):
    """How the learning rate falls after the warm-up: `share(position, config)` of the way from the final rate to the largest one
    is left at `position` 0 … 1. None: it stays."""

    share: Callable[[float, OptimConfig], float] | None = None


SCHEDULES: dict[str, Fall] = {
    "constant": Fall(label="constant"),
    "linear": Fall(label="linear", share=lambda position, config: 1 - position, reads=("min_lr",)),
    "cosine": Fall(
        label="cosine", share=lambda position, config: 0.5 * (1 + math.cos(math.pi * position)), reads=("min_lr",),
        paper="Loshchilov and Hutter 2016, arXiv:1608.03983 (cosine)",
    ),
    "wsd": Fall(
        label="stable, then linear decay", share=lambda position, config: min(1.0, (1 - position) / config.decay_share),
        reads=("min_lr", "decay_share"), paper="Hu et al. 2024, arXiv:2404.06395 (warm-up, stable, decay)",
    ),
}  # fmt: skip


def floor_below_peak(min_lr: float | None, lr: float) -> str | None:
    if min_lr is not None and min_lr > lr:
        return f"min_lr={min_lr:g} is above lr={lr:g}; use at most {lr:g}, or leave it empty for a tenth of lr"
    return None


class OptimConfig(Knobs, frozen=True):
    """How a gradient becomes a change of the weights."""

    RULES = (floor_below_peak,)

    name: Annotated[str, OneOf(OPTIMIZERS)] = knob(
        "adamw", group=OPTIMISER, label="optimiser", help=f"{abouts(OPTIMIZERS)}.", paper=papers(OPTIMIZERS),
    )  # fmt: skip
    lr: float = knob(
        1e-3, gt=0, le=100, open=True, group=OPTIMISER, label="learning rate",
        help="Size of the steps at their largest. Too high and the loss jumps or diverges, too low and it crawls.",
    )  # fmt: skip
    warmup_steps: int = knob(
        100, ge=0, le=1_000_000, open=True, group=OPTIMISER, label="warm-up", unit="steps",
        help="Steps over which the learning rate rises from zero. Deep post-norm models need it.",
        paper="Xiong et al. 2020, arXiv:2002.04745",
    )  # fmt: skip
    schedule: Annotated[str, OneOf(SCHEDULES)] = knob(
        "cosine", group=OPTIMISER, label="schedule", needs=Needs("name"),
        help="How the learning rate falls after the warm-up, until the end of the run.", paper=papers(SCHEDULES),
    )  # fmt: skip
    decay_share: float = knob(
        0.2, gt=0, le=1, slider=(0.05, 1), step=0.05, group=OPTIMISER, label="decay", unit="share of the run, at its end",
        help="How much of the run after the warm-up the rate falls; before that it stays.", needs=Needs("schedule"),
    )  # fmt: skip
    min_lr: float | None = knob(
        None, ge=0, le=100, group=OPTIMISER, label="final learning rate", none_means="a tenth of the learning rate",
        needs=(Needs("name", refuses=False), Needs("schedule", refuses=False)),
        help="Where a falling schedule ends.",
    )  # fmt: skip
    weight_decay: float = knob(
        0.1, ge=0, le=10, slider=(0, 0.5), step=0.01, group=OPTIMISER, label="weight decay",
        help="Pull of matrices towards zero at each step, times the learning rate. Norms and biases are left alone.",
    )  # fmt: skip
    grad_clip: float | None = knob(
        1.0, gt=0, le=1e6, group=OPTIMISER, label="gradient clipping", none_means="off",
        help="The gradient is scaled down to at most this norm.", paper="Pascanu et al. 2012, arXiv:1211.5063",
    )  # fmt: skip
    beta1: float = knob(
        0.9, ge=0, lt=1, group=OPTIMISER, label="beta 1 or momentum",
        help="Share of the past kept in the running mean of gradients. Schedule-free: how near to the average gradients are taken.",
    )  # fmt: skip
    beta2: float = knob(
        0.99, ge=0, lt=1, group=OPTIMISER, label="beta 2", needs=Needs("name"),
        help="Share of the past kept in AdamW's running mean of squared gradients, and in Lion's of gradients.",
    )  # fmt: skip
    momentum: float = knob(
        0.95, ge=0, lt=1, group=OPTIMISER, label="Muon's momentum", needs=Needs("name"),
        help="Share of the past kept in the gradients of matrices. Short runs like less of it.",
    )  # fmt: skip
    rest_lr: float | None = knob(
        None, gt=0, le=100, group=OPTIMISER, label="rate of what Muon leaves", none_means="the learning rate", needs=Needs("name"),
        help="Learning rate of the embeddings, the head, norms and biases, which AdamW moves; scheduled alike.",
    )  # fmt: skip
    ns_steps: int = knob(
        5, ge=1, le=12, group=OPTIMISER, label="Newton-Schulz steps", needs=Needs("name"),
        help="How often Muon's iteration brings a matrix of updates nearer to an orthogonal one. Fewer are quicker and rougher.",
    )  # fmt: skip
