"""The status of a run, for the page and for programs: its row in the store, its place in the queue, its remaining time.

Functions of the store's contents; only what follows from a config alone is cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import orjson

from models.config import ModelConfig, flops_per_token
from models.knobs import differences, parse
from playground.config import estimate
from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data import tasks
from playground.runs import export, store
from playground.runs.folder import RunFolder
from playground.runs.store import Run, Store
from playground.workers import queueing
from playground.workers.supervisor import queue_of

TOLD = (
    "id", "name", "state", "wanted", "reason", "cause", "step", "seconds", "tokens_per_s", "train_loss", "val_loss", "best_val_loss",
    "final_val_loss", "n_params", "parent", "preset", "threads", "device", "probe_text", "created_at", "private",
)  # fmt: skip


class Place(NamedTuple):
    """A place in the queue: 1 for the next, and in how many seconds the run is expected to start, None if unknown."""

    number: int
    starts_in_s: float | None


Queue = Mapping[str, Place]  # by run id


def of_run(run: Run, root: Path, names: Mapping[str, str], queue: Callable[[], Queue]) -> dict:
    """The status of one run, without its events. It never contains the owner's id, only the name from `names` (by owner). `queue` is
    only called if the run waits."""
    train, source = run.config["train"], run.config["data"]["source"]
    status = {name: getattr(run, name) for name in TOLD} | {"by": names.get(run.owner, "")}
    status |= {"max_steps": train["max_steps"], "max_seconds": train["max_seconds"], "left_s": seconds_left(run)}
    status |= {name: run.config["model"][name] for name in ("n_layer", "n_head", "vocab_size")}
    status |= {"source": source, "is_task": tasks.named(source) is not None}
    status["flops_per_token"] = training_flops(orjson.dumps(run.config["model"]))
    if run.state == store.QUEUED:
        status["place"], status["starts_in_s"] = queue().get(run.id, (None, None))
    if run.state in (store.INTERRUPTED, store.FAILED):
        status["log"] = RunFolder(root, run.id).log_tail()
    return status


def of_runs(runs: Iterable[Run], db: Store, settings: Settings) -> list[dict]:
    """The status of several runs at one moment; `settings` with the limits of that moment."""
    names, queue = db.names(), cache(partial(places, db, settings))
    return [of_run(run, settings.root, names, queue) for run in runs]


def in_list(run: Run, status: dict) -> dict:
    """A run's status as the list of runs shows it, with its config in words."""
    return status | about_config(orjson.dumps(run.config))


def places(db: Store, settings: Settings) -> Queue:
    """The place of each run that waits."""
    active, waiting, served = db.runs_in(store.ACTIVE), queue_of(db), db.last_starts()
    takes = partial(_seconds_to_come, settings=settings)
    starts = queueing.starts_in(waiting, active, served, settings.max_running, settings.running_each, takes)
    return {run.id: Place(i, starts[run.id]) for i, run in enumerate(waiting, start=1)}


def _seconds_to_come(run: Run, settings: Settings) -> float | None:
    """Remaining training time: from the run's own pace once it has begun, before that from the measured speed of this machine."""
    left = seconds_left(run)
    machine = estimate.load(settings.root) if left is None or run.step == 0 else None
    if machine is None:
        return left
    shared = min(settings.max_running, max(1, machine.threads))  # runs at the same time share the cores
    return shared * estimated_seconds(orjson.dumps(run.config), machine)


def seconds_left(run: Run) -> float | None:
    """Remaining training time at the pace so far; None if unknown."""
    train = run.config["train"]
    guesses = []
    if train["max_steps"] is not None and run.step > 0:
        guesses.append(run.seconds / run.step * (train["max_steps"] - run.step))
    if train["max_seconds"] is not None:
        guesses.append(train["max_seconds"] - run.seconds)
    return max(0.0, min(guesses)) if guesses else None


@lru_cache(maxsize=2000)
def estimated_seconds(config: bytes, machine: estimate.Machine) -> float:
    """Training time of a whole run that has this machine to itself."""
    return estimate.run_seconds(parse(RunConfig, orjson.loads(config)), machine)


@lru_cache(maxsize=2000)
def training_flops(model: bytes) -> int:
    """What training on one token costs, in FLOP."""
    return 3 * flops_per_token(parse(ModelConfig, orjson.loads(model)))


@lru_cache(maxsize=2000)
def about_config(config: bytes) -> dict:
    """In words: the knobs in which a config differs from the default, and why no family of transformers could load its model."""
    config = parse(RunConfig, orjson.loads(config))
    changed = differences(config, PRESETS["default"].config)
    differs = [f"{spec.knob.label} {spec.said(changed[spec.path])}" for spec in RunConfig.specs() if spec.path in changed]
    return {"differs": differs, "no_family": export.why_not(config.model)}
