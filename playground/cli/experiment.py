"""The command `experiment`: trains what is missing of an experiment, in this terminal, and says what the runs show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.knobs import ConfigError, Problem
from playground.cli.common import database_of, existing, say, settings_of
from playground.cli.flags import Flag, Typed
from playground.cli.foreground import to_the_end
from playground.config import experiment as documents
from playground.config.experiment import Experiment, Plan
from playground.config.gallery import ready
from playground.config.settings import Settings
from playground.runs import experiments
from playground.runs.access import HOST, Visitor
from playground.runs.store import NoSuchExperiment, Store

FLAGS = (
    Flag("predict", "KIND", "What you expect of the first claim: lower, higher or same. Shown beside the result."),
    Flag("seeds", "N", "How many seeds each arm gets. (default: as many as the experiment says)"),
    Flag("thorough", "", "Of a ready experiment, the form with more seeds and steps."),
    Flag("show", "", "Only print the experiment as JSON, to be changed and given as a file."),
)


def command(typed: Typed) -> int:
    """Train the runs of an experiment that have not ended yet, then print what they say."""
    settings, named = settings_of(typed), typed.positionals[0]
    asked = _asked_for(named, typed)
    if asked is None and existing(settings, lambda db: db.experiment(named)) is None:
        raise NoSuchExperiment(named)
    if "show" in typed.values and asked is not None:
        print(asked.model_dump_json(indent=2, exclude_defaults=True))
        return 0
    db = Store(settings.root)
    found = experiments.read(db, named) if asked is None else asked
    plan = experiments.planned(found, settings)
    experiment_id = named if asked is None else experiments.add(database_of(settings), found, HOST)
    say(f"experiment {experiment_id}: {found.question} {plan.n_runs} runs; Ctrl-C stops it, and `experiment {experiment_id}` goes on")
    _train(settings, db, experiment_id, plan, shown=not typed.as_json)
    result = experiments.result(db, experiment_id, plan)
    print(json.dumps(experiments.as_json(experiment_id, plan, result)) if typed.as_json else experiments.table(result))
    return 0 if result.is_complete else 1


def _train(settings: Settings, db: Store, experiment_id: str, plan: Plan, shown: bool) -> None:
    """One run after the other, until all have ended or one is stopped or fails."""
    owner = Visitor(db.experiment(experiment_id).owner)
    while (following := experiments.next_run(db, settings, experiment_id, plan, owner)) is not None:
        run_id, planned = following
        number = experiments.result(db, experiment_id, plan).n_ended + 1
        say(f"{number} of {plan.n_runs}: {planned.name} (run {run_id})")
        to_the_end(settings, db, [run_id], shown=shown)
        run = db.run(run_id)
        if run.state not in experiments.ENDED:
            say(f"run {run_id} is {run.state}: {run.reason}")
            return


def _asked_for(named: str, typed: Typed) -> Experiment | None:
    """The experiment of a file, or a ready one; None where it is neither. Raises ConfigError."""
    if named in (known := ready()):
        document = known[named].thorough if "thorough" in typed.values else known[named].quick
        if document is None:
            raise ConfigError([Problem("--thorough", f"{named!r} has no other form: its quick one decides")])
        data = document.model_dump()
    elif named.endswith(".json") or Path(named).is_file():
        try:
            data = json.loads(Path(named).expanduser().read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError([Problem("FILE", f"{named}: {error.strerror or error}; name a readable JSON file")]) from None
        except (ValueError, RecursionError) as error:
            raise ConfigError([Problem("FILE", f"{named} is not JSON ({error})")]) from None
    elif experiments.IS_ID.fullmatch(named):
        return None
    else:
        raise ConfigError([Problem("FILE|NAME|ID", f"{named[:60]!r} is no file and no ready experiment; use one of {', '.join(known)}")])
    given: dict[str, Any] = {"prediction": typed.text("predict"), "seeds": typed.text("seeds")}
    given = {name: value for name, value in given.items() if value is not None}
    return documents.read(data | given if isinstance(data, dict) else data)
