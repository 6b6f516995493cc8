"""The section `optim` of a run's config: which optimizer and schedule there are, and their knobs. Imports no torch.

An optimizer is one entry of `OPTIMIZERS` and one builder in `training.optim`; a schedule is one entry of `SCHEDULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from models.knobs import Entry, Knobs, Needs, OneOf, abouts, knob, papers

OPTIMIZER = "Optimizer"


@dataclass(frozen=True, kw_only=True)
class Optimizer(Entry):
    """`state_floats`: about how many numbers of state it keeps per weight; `passes`: about how many numbers per weight its update reads
    or writes, as timed against AdamW's; `entrywise`: how far a weight moves depends on its own gradients' ratios alone, as with Adam,
    for which muP's rates are derived (Yang and Littwin 2023, arXiv:2308.01814)."""

    state_floats: int
    passes: int = 4
    entrywise: bool = False

    @property
    def is_scheduled(self) -> bool:
        """Whether the learning rate follows a schedule after the warm-up."""
        return "schedule" in self.reads


SCHEDULED = ("schedule", "min_lr")
OPTIMIZERS: dict[str, Optimizer] = {
    "adamw": Optimizer(
        label="AdamW", state_floats=2, entrywise=True, reads=(*SCHEDULED, "beta1", "beta2"),
        about="AdamW scales each weight's step by its gradient's history", paper="Loshchilov and Hutter 2017, arXiv:1711.05101",
    ),
    "muon": Optimizer(
        label="Muon and AdamW", state_floats=1, reads=(*SCHEDULED, "beta1", "beta2", "momentum", "rest_lr", "ns_steps"),
        about="Muon orthogonalises the update of each matrix inside blocks, and AdamW updates the rest", paper="Muon: Jordan et al. 2024",
    ),
    "sgd": Optimizer(
        label="SGD with momentum", state_floats=1, passes=3, reads=(*SCHEDULED, "beta1"),
        about="SGD with momentum has one rate for all weights",
    ),
    "lion": Optimizer(
        label="Lion", state_floats=1, passes=7, entrywise=True, reads=(*SCHEDULED, "beta1", "beta2"),
        about="Lion uses only the signs of its update, and wants a rate 3 to 10 times lower",
        paper="Lion: Chen et al. 2023, arXiv:2302.06675",
    ),
    "schedule_free": Optimizer(
        label="schedule-free AdamW", state_floats=3, passes=7, entrywise=True, reads=("beta1", "beta2"),
        about="schedule-free AdamW averages its weights instead of lowering the rate",
        paper="schedule-free: Defazio et al. 2024, arXiv:2405.15682",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Schedule(Entry):
    """A schedule after the warm-up: at `position` 0 … 1 of it the learning rate is the final rate plus `share(position, config)`
    of the difference to the peak. None: the rate is constant."""

    share: Callable[[float, OptimConfig], float] | None = None


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(label="constant"),
    "linear": Schedule(label="linear", share=lambda position, config: 1 - position, reads=("min_lr",)),
    "cosine": Schedule(
        label="cosine", share=lambda position, config: 0.5 * (1 + math.cos(math.pi * position)), reads=("min_lr",),
        paper="Loshchilov and Hutter 2016, arXiv:1608.03983 (cosine)",
    ),
    "wsd": Schedule(
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
        "adamw", group=OPTIMIZER, label="optimizer", help=f"{abouts(OPTIMIZERS)}.", paper=papers(OPTIMIZERS),
    )  # fmt: skip
    lr: float = knob(
        1e-3, gt=0, le=100, open=True, group=OPTIMIZER, label="learning rate",
        help="The learning rate at its peak. Too high, and the loss jumps or diverges; too low, and it falls slowly.",
    )  # fmt: skip
    warmup_steps: int = knob(
        100, ge=0, le=1_000_000, open=True, group=OPTIMIZER, label="warm-up", unit="steps",
        help="Steps over which the learning rate rises from zero. Deep post-norm models need it.",
        paper="Xiong et al. 2020, arXiv:2002.04745",
    )  # fmt: skip
    schedule: Annotated[str, OneOf(SCHEDULES)] = knob(
        "cosine", group=OPTIMIZER, label="schedule", needs=Needs("name"),
        help="How the learning rate falls after the warm-up, until the end of the run.", paper=papers(SCHEDULES),
    )  # fmt: skip
    decay_share: float = knob(
        0.2, gt=0, le=1, slider=(0.05, 1), step=0.05, group=OPTIMIZER, label="decay", unit="share of the run, at its end",
        help="Share of the run after the warm-up in which the rate decays; before that it is constant.", needs=Needs("schedule"),
    )  # fmt: skip
    min_lr: float | None = knob(
        None, ge=0, le=100, group=OPTIMIZER, label="final learning rate", none_means="a tenth of the learning rate",
        needs=(Needs("name", refuses=False), Needs("schedule", refuses=False)),
        help="The learning rate at the end of a decaying schedule.",
    )  # fmt: skip
    weight_decay: float = knob(
        0.1, ge=0, le=10, slider=(0, 0.5), step=0.01, group=OPTIMIZER, label="weight decay",
        help="Pulls matrices towards zero at each step, in proportion to the learning rate. Norms and biases do not decay.",
    )  # fmt: skip
    grad_clip: float | None = knob(
        1.0, gt=0, le=1e6, group=OPTIMIZER, label="gradient clipping", none_means="off",
        help="The gradient is scaled down to at most this norm.", paper="Pascanu et al. 2012, arXiv:1211.5063",
    )  # fmt: skip
    beta1: float = knob(
        0.9, ge=0, lt=1, group=OPTIMIZER, label="beta 1 or momentum", needs=Needs("name"),
        help="Decay rate of the running mean of gradients. Schedule-free: weight of the average in the point where gradients are taken.",
    )  # fmt: skip
    beta2: float = knob(
        0.99, ge=0, lt=1, group=OPTIMIZER, label="beta 2", needs=Needs("name"),
        help="Decay rate of AdamW's running mean of squared gradients, and of Lion's running mean of gradients.",
    )  # fmt: skip
    momentum: float = knob(
        0.95, ge=0, lt=1, group=OPTIMIZER, label="Muon's momentum", needs=Needs("name"),
        help="Momentum of the gradients of the matrices that Muon updates. Short runs do better with less.",
    )  # fmt: skip
    rest_lr: float | None = knob(
        None, gt=0, le=100, group=OPTIMIZER, label="AdamW's rate beside Muon", none_means="the learning rate", needs=Needs("name"),
        help="Learning rate of what AdamW updates: embeddings, head, norms and biases. It follows the same schedule.",
    )  # fmt: skip
    ns_steps: int = knob(
        5, ge=1, le=12, group=OPTIMIZER, label="Newton-Schulz steps", needs=Needs("name"),
        help="Iterations in which Muon brings an update close to an orthogonal matrix. Fewer are faster and less exact.",
    )  # fmt: skip
