"""A run as one file of Python: the code of its model, and below it a loop that trains it on the run's prepared tokens.

It draws the same first weights and the same order of the data, and takes the same steps, so on a CPU in float32 it prints the points of
the run's loss curve. Knows nothing of the store; what it cannot write is refused by `NotWritten`. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.source import NotWritten, environment, part_of, tidy, words
from playground.config.optim import OPTIMIZERS, SCHEDULES
from playground.config.run import CompleteRun

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class OptimizerCode:
    """`template` makes the optimizers of these `names`. `rated`: whether their groups have a `rate`, a share of the learning rate."""

    template: str
    names: tuple[str, ...] = ("optimizer",)
    rated: Callable[[CompleteRun], bool] = lambda run: run.model.by_width("hidden_rate") != 1


OPTIMIZER_CODE = {  # one for each of `OPTIMIZERS`
    "adamw": OptimizerCode("adamw.jinja"),
    "muon": OptimizerCode("muon.jinja", names=("muon", "adamw"), rated=lambda run: run.optim.rest_lr is not None),
    "sgd": OptimizerCode("sgd.jinja"),
    "lion": OptimizerCode("lion.jinja"),
    "schedule_free": OptimizerCode("schedule_free.jinja"),
}

SCHEDULE_CODE = {  # one for each of `SCHEDULES`: the share of the way from the final rate to the peak; empty where the rate is constant
    "constant": "",
    "linear": "1 - position",
    "cosine": "0.5 * (1 + math.cos(math.pi * position))",
    "wsd": "min(1.0, (1 - position) / decay_share)",
}


def script(config: CompleteRun, prepared: str, title: str = "") -> str:
    """A file that trains a run's model; `prepared` is the folder of its data, from the playground's folder on, and `title` what it is the
    script of. Raises NotWritten."""
    if config.train.max_steps is None:
        raise NotWritten("train.max_steps", None, "a run that ends by the clock takes another number of steps each time")
    if config.data.is_task and config.data.share < 1:
        raise NotWritten("data.share", config.data.share, "which examples belong to it is decided by a hash of each, which a script lacks")
    return tidy(environment(TEMPLATES).get_template("train.jinja").render(words(config.model) | _words(config, prepared, title)))


def _words(config: CompleteRun, prepared: str, title: str) -> dict[str, Any]:
    optim, train = config.optim, config.train
    scheduled = OPTIMIZERS[optim.name].is_scheduled and SCHEDULES[optim.schedule].share is not None and not config.warms_up_to_the_end
    optimizer = part_of(OPTIMIZER_CODE, "optim.name", optim.name)
    return {
        "run": config, "optim": optim, "train": train, "prepared": prepared, "title": title,
        "optimizer": optimizer,
        "share": part_of(SCHEDULE_CODE, "optim.schedule", optim.schedule) if scheduled else "",
        "hidden_rate": config.model.by_width("hidden_rate"), "rated": optimizer.rated(config),
        "stride": None if config.data.task is None else config.data.task.stride,
    }  # fmt: skip
