"""How long an experiment takes in the app: two arms, three seeds, the default preset, as a person would begin it; and, beside it, six runs
of nanoGPT's script of the same shape, one after the other."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from playground.bench.against import CONFIG, CPU, SCRIPT, prepared, run_process
from playground.bench.figures import machine, note, spread
from playground.bench.processes import STANDBY_SETTLED_S, app_server
from playground.config import experiment as documents
from playground.config.experiment import Plan
from playground.config.presets import PRESETS
from playground.config.settings import Settings
from playground.runs import experiments
from playground.runs.access import HOST
from playground.runs.store import Store
from playground.workers.director import RUN

STEPS, EVERY, SEEDS = 250, 25, 3
DOCUMENT = {
    "title": "The measured experiment", "question": "Is pre-norm better than post-norm?", "seeds": SEEDS,
    "changes": {"train.eval_interval": EVERY}, "factors": {"model.norm_placement": ["pre", "post"]},
    "budget": {"unit": "steps", "amount": STEPS}, "claims": [{"kind": "lower", "arm": "pre", "than": "post", "delta": 0.02}],
}  # fmt: skip
PATIENCE_S = 1800.0


@dataclass
class Figures:
    """Seconds, by repetition: until every arm has a first point, until all runs have ended; the latter also of nanoGPT's runs."""

    first_points_s: list[float] = field(default_factory=list)
    all_s: list[float] = field(default_factory=list)
    theirs_s: list[float] = field(default_factory=list)


def measure(settings: Settings, pairs: int, checkout: str | None, source: str) -> Figures:
    """In turns, each in an app of its own that has settled; without a `checkout` only the experiment. Raises OSError."""
    found = Figures()
    db = Store(settings.root)
    db.create()
    plan = experiments.planned(documents.read(DOCUMENT), settings)
    copy = None if checkout is None else prepared(Path(checkout), settings.root, source)
    for turn in range(pairs):
        note(f"{turn + 1} of {pairs}: the experiment")
        first_s, all_s = _timed(db, settings, plan)
        found.first_points_s.append(first_s)
        found.all_s.append(all_s)
        if copy is not None:
            note(f"{turn + 1} of {pairs}: nanoGPT's script")
            found.theirs_s.append(sum(run_process([sys.executable, *_flags()], copy)[1] for _ in range(plan.n_runs)))
    return found


def _timed(db: Store, settings: Settings, plan: Plan) -> tuple[float, float]:
    """Seconds from asking for the experiment until all arms have a first point, and until all runs have ended."""
    with app_server(settings):
        time.sleep(STANDBY_SETTLED_S)
        began = time.monotonic()
        experiment_id = experiments.add(db, plan.experiment, HOST, RUN)
        first = _until(lambda: len(_arms_with_points(db, experiment_id)) == len(plan.configs))
        last = _until(lambda: experiments.result(db, experiment_id, plan).is_complete)
    return first - began, last - began


def _until(condition: Callable[[], bool]) -> float:
    """When it became true; raises OSError where it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise OSError("the measured experiment did not end")
        time.sleep(0.05)
    return time.monotonic()


def _arms_with_points(db: Store, experiment_id: str) -> set[str]:
    return {member.arm for run_id, member in db.members(experiment_id).items() if db.events(run_id, kinds=["progress"], limit=1)}


def _flags() -> list[str]:
    """nanoGPT's recipe for a CPU, in the shape of our runs, judged as often."""
    config = PRESETS["default"].config
    model, train = config.model, config.train
    shape = {
        "n_layer": model.n_layer, "n_head": model.n_head, "n_embd": model.n_embd, "block_size": model.block_size,
        "batch_size": train.batch_size, "max_iters": STEPS, "lr_decay_iters": STEPS, "eval_interval": EVERY, "out_dir": "out",
    }  # fmt: skip
    return [SCRIPT, CONFIG, *CPU.flags, *(f"--{name}={value}" for name, value in shape.items())]


def runs_per_minute(seconds: float) -> float:
    return 60 * 2 * SEEDS / seconds


def as_json(found: Figures) -> str:
    return json.dumps({"machine": machine(), **asdict(found), "runs_per_minute": [runs_per_minute(each) for each in found.all_s]})


def table(found: Figures) -> str:
    rows = {
        "first points of both arms, s": spread(found.first_points_s, ".1f"),
        "all six runs, s": spread(found.all_s, ".1f"),
        "runs per minute": spread([runs_per_minute(each) for each in found.all_s], ".2f"),
    }
    if found.theirs_s:
        rows["six runs of nanoGPT's script, s"] = spread(found.theirs_s, ".1f")
        rows["… runs per minute"] = spread([runs_per_minute(each) for each in found.theirs_s], ".2f")
    return "\n".join(f"{name:36}{value}" for name, value in rows.items())
