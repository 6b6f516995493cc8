"""The status of a run, for the page and for programs: its row in the store, its place in the queue, its remaining time.

What follows from a config alone is cached for good; the names of people and the queue, which all share, for a moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from models.config import flops_per_token
from models.knobs import differences, flat
from playground.config import estimate
from playground.config.estimate import Machine
from playground.config.looks import looks
from playground.config.presets import PRESETS
from playground.config.run import CompleteRun, RunConfig
from playground.config.settings import Settings
from playground.runs import export, store
from playground.runs.comparison import SETTINGS, distinct
from playground.runs.folder import RunFolder
from playground.runs.store import NoSuchRun, Run, Store
from playground.web.cache import Cache
from playground.workers import queueing
from playground.workers.supervisor import queue_of

TOLD = (
    "id", "name", "state", "wanted", "reason", "cause", "step", "seconds", "tokens_per_s", "train_loss", "eval_loss", "best_eval_loss",
    "val_loss", "n_params", "parent", "preset", "threads", "device", "probe_text", "created_at", "private",
)  # fmt: skip

QUEUE_FRESH_S, NAMES_FRESH_S = 0.5, 1.0
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
    if run.state in store.ACTIVE and run.readable_config is not None:
        status["next_look"] = looks(run.readable_config).next_probe(run.step)
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


class Statuses:
    """The statuses of runs, with the names of people and the queue of the last moment, so that many may ask often. `limits` returns
    the settings with the limits that the host has set meanwhile."""

    def __init__(self, db: Store, limits: Callable[[], Settings]):
        self.db, self.limits = db, limits
        self._names, self._queue = Cache(NAMES_FRESH_S), Cache(QUEUE_FRESH_S)
        self._parents = Cache(NAMES_FRESH_S)
        self._titles: dict[str, dict] = {}
        self._called: tuple[tuple, dict[str, str]] = (), {}

    def names(self) -> dict[str, str]:
        """The names of people, by owner."""
        return self._names.get((), self.db.names)

    def queue(self) -> Queue:
        return self._queue.get((), lambda: places(self.db, self.limits()))

    def of(self, run: Run) -> dict:
        return of_run(run, self.db.root, self.names(), self.queue) | {"began_from": self._began_from(run)}

    def called(self, runs: Sequence[Run]) -> dict[str, str]:
        """By run, the name that tells it apart in the list: found anew when a run comes, goes, is renamed or becomes private. No name tells
        of a private run."""
        key = tuple((run.id, run.name, run.private) for run in runs)
        known, names = self._called
        if known != key:
            names = distinct(runs) | distinct([run for run in runs if not run.private])
            self._called = key, names
        return names

    def experiments(self) -> dict[str, dict]:
        """By run, the experiment that it belongs to: its id and title."""
        for each in self.db.experiments():
            if each.id not in self._titles:  # a document does not change
                self._titles[each.id] = {"id": each.id, "title": str(json.loads(each.document).get("title", each.id))}
        return {run_id: self._titles[each.experiment] for run_id, each in self.db.members().items() if each.experiment in self._titles}

    def _began_from(self, run: Run) -> dict | None:
        """The run and the step (None for its last one) that a run started from; None for new weights, and for a run that is gone or that
        not everybody may see."""
        parent = run.parent and self._parents.get((run.parent,), lambda: self._public_name(run.parent))
        return {"id": run.parent, "name": parent, "step": run.parent_step} if parent else None

    def _public_name(self, run_id: str | None) -> str:
        try:
            run = self.db.run(run_id or "")
        except NoSuchRun:
            return ""
        return "" if run.private else run.name


def in_list(run: Run, status: dict, called: Mapping[str, str]) -> dict:
    """A run's status as the list of runs shows it: with its config in words, without its probe text. `called`: by run, the name that tells
    it apart there."""
    told = {name: value for name, value in status.items() if name != "probe_text"} | about_config(run.readable_config)
    if begun := status["began_from"]:
        told["began_from"] = begun | {"name": called.get(begun["id"], begun["name"])}
    return told | {"called": called[run.id]}


def places(db: Store, settings: Settings) -> Queue:
    """The place of each run that waits."""
    active, waiting, served = db.runs_in(store.ACTIVE), queue_of(db), db.last_starts()
    takes = partial(_seconds_to_come, settings=settings, machine=estimate.load(settings.root))
    starts = queueing.starts_in(waiting, active, served, settings.max_running, settings.running_each, takes)
    return {run.id: Place(i, starts[run.id]) for i, run in enumerate(waiting, start=1)}


def _seconds_to_come(run: Run, settings: Settings, machine: Machine | None) -> float | None:
    """Remaining training time: from the run's own pace once it has begun, before that from the measured speed of this machine."""
    left, config = seconds_left(run), run.readable_config
    if machine is None or config is None or (left is not None and run.step > 0):
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
    """The knobs in which a config differs from the default, by path, in words (None: unknown); and why no family of transformers could
    load its model.
    """
    if config is None:
        return {"knobs": None, "no_family": UNREADABLE}
    changed = differences(config, PRESETS["default"].config)
    knobs = {spec.path: spec.said(changed[spec.path]) for spec in RunConfig.specs() if spec.path in changed}
    return {"knobs": knobs, "no_family": export.why_not(config.model)}


def knobs_of_the_list() -> list[dict]:
    """The knobs that a list of runs may have a column for: path, label, unit, the default in words, and the words of each choice."""
    default = flat(PRESETS["default"].config)
    return [
        {"path": spec.path, "label": spec.knob.label, "unit": spec.knob.unit, "default": spec.said(default[spec.path])}
        | {"choices": {choice: spec.label_of(choice) for choice in spec.choices}}
        for spec in SETTINGS
    ]
