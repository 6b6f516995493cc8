"""The status of a run, for the page and for programs: its row in the store, its place in the queue, its remaining time.

Functions of the store's contents; only what follows from a config alone is cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from models.config import flops_per_token
from models.knobs import differences
from playground.config import estimate
from playground.config.presets import PRESETS
from playground.config.run import CompleteRun, RunConfig
from playground.config.settings import Settings
from playground.runs import export, store
from playground.runs.folder import RunFolder
from playground.runs.store import Run, Store
from playground.workers import queueing
from playground.workers.supervisor import queue_of

TOLD = (
    "id", "name", "state", "wanted", "reason", "cause", "step", "seconds", "tokens_per_s", "train_loss", "val_loss", "best_val_loss",
    "final_val_loss", "n_params", "parent", "preset", "threads", "device", "probe_text", "created_at", "private",
)  # fmt: skip


UNREADABLE = "this version of the playground cannot read its config"
UNKNOWN = {  # of a run whose config cannot be read
    "max_steps": None, "max_seconds": None, "n_layer": None, "n_head": None, "vocab_size": None, "source": "", "is_task": False,
    "flops_per_token": None,
}  # fmt: skip


class Place(NamedTuple):
    """A place in the queue: 1 for the next, and in how many seconds the run is expected to start, None if unknown."""

    number: int
    starts_in_s: float | None


Queue = Mapping[str, Place]  # by run id


def of_run(run: Run, root: Path, names: Mapping[str, str], queue: Callable[[], Queue]) -> dict:
    """The status of one run, without its events. It never contains the owner's id, only the name from `names` (by owner). `queue` is
    only called if the run waits."""
    status = {name: getattr(run, name) for name in TOLD} | {"by": names.get(run.owner, "")}
    status |= _of_config(run.readable_config) | {"left_s": seconds_left(run)}
    if run.state == store.QUEUED:
        status["place"], status["starts_in_s"] = queue().get(run.id, (None, None))
    if run.state in (store.INTERRUPTED, store.FAILED):
        status["log"] = RunFolder(root, run.id).log_tail()
    return status


def _of_config(config: CompleteRun | None) -> dict:
    if config is None:
        return UNKNOWN
    model, train = config.model, config.train
    return {
        "max_steps": train.max_steps, "max_seconds": train.max_seconds, "n_layer": model.n_layer, "n_head": model.n_head,
        "vocab_size": model.vocab_size, "source": config.data.source, "is_task": config.data.is_task,
        "flops_per_token": training_flops(config),
    }  # fmt: skip


def of_runs(runs: Iterable[Run], db: Store, settings: Settings) -> list[dict]:
    """The status of several runs at one moment; `settings` with the limits of that moment."""
    names, queue = db.names(), cache(partial(places, db, settings))
    return [of_run(run, settings.root, names, queue) for run in runs]


def in_list(run: Run, status: dict) -> dict:
    """A run's status as the list of runs shows it, with its config in words."""
    return status | about_config(run.readable_config)


def places(db: Store, settings: Settings) -> Queue:
    """The place of each run that waits."""
    active, waiting, served = db.runs_in(store.ACTIVE), queue_of(db), db.last_starts()
    takes = partial(_seconds_to_come, settings=settings)
    starts = queueing.starts_in(waiting, active, served, settings.max_running, settings.running_each, takes)
    return {run.id: Place(i, starts[run.id]) for i, run in enumerate(waiting, start=1)}


def _seconds_to_come(run: Run, settings: Settings) -> float | None:
    """Remaining training time: from the run's own pace once it has begun, before that from the measured speed of this machine."""
    left, config = seconds_left(run), run.readable_config
    machine = estimate.load(settings.root) if left is None or run.step == 0 else None
    if machine is None or config is None:
        return left
    shared = min(settings.max_running, max(1, machine.threads))  # runs at the same time share the cores
    return shared * estimate.run_seconds(config, machine)


def seconds_left(run: Run) -> float | None:
    """Remaining training time at the pace so far; None if unknown."""
    config, guesses = run.readable_config, []
    if config is None:
        return None
    if config.train.max_steps is not None and run.step > 0:
        guesses.append(run.seconds / run.step * (config.train.max_steps - run.step))
    if config.train.max_seconds is not None:
        guesses.append(config.train.max_seconds - run.seconds)
    return max(0.0, min(guesses)) if guesses else None


def training_flops(config: CompleteRun) -> int:
    """What training on one token costs, in FLOP."""
    return 3 * flops_per_token(config.model)


@lru_cache(maxsize=2000)
def about_config(config: CompleteRun | None) -> dict:
    """In words: the knobs in which a config differs from the default, and why no family of transformers could load its model."""
    if config is None:
        return {"differs": [UNREADABLE], "no_family": UNREADABLE}
    changed = differences(config, PRESETS["default"].config)
    differs = [f"{spec.knob.label} {spec.said(changed[spec.path])}" for spec in RunConfig.specs() if spec.path in changed]
    return {"differs": differs, "no_family": export.why_not(config.model)}
