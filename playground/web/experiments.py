"""Experiments as the page shows them: what one would be before it begins, and what one that has begun has found so far.

Functions of documents, the store and what is known of this machine. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from models.config import n_params
from models.graph import graph
from models.knobs import ConfigError
from playground.config import estimate
from playground.config.experiment import Experiment, Plan, arms_of
from playground.config.gallery import ready
from playground.config.run import CompleteRun, RunConfig
from playground.config.settings import Settings
from playground.runs import experiments, store
from playground.runs.access import Visitor
from playground.runs.experiments import Plans
from playground.runs.measuring import unit_of, words_of
from playground.runs.points import Points
from playground.runs.store import Run, Store

START_S = 1.0  # of a run, before its first step and after its last: it begins, judges the whole held-out split, and saves
SPECS = {spec.path: spec for spec in RunConfig.specs()}


class Experimenting:
    """`limits` returns the settings of now, `held` says by experiment why its next run can't be queued."""

    def __init__(self, db: Store, limits: Callable[[], Settings], plans: Plans, points: Points, held: Mapping[str, str]):
        self.db, self.limits, self.plans, self.points, self.held = db, limits, plans, points, held
        self._described: dict[str, dict[str, Any]] = {}  # of those that are kept, once the speed of this machine is known
        self._verdicts: dict[str, tuple[int, str]] = {}  # by experiment: after how many runs, and what it was
        self._gallery: tuple[object, list[dict[str, Any]]] | None = None  # with what it depends on

    def gallery(self) -> list[dict[str, Any]]:
        """The ready experiments, each as `described`, with its thorough form where it has one; what can't be trained here says why."""
        settings = self.limits()
        known = settings, estimate.load(settings.root)
        if self._gallery is None or self._gallery[0] != known:
            self._gallery = known, self._ready(settings)
        return self._gallery[1]

    def _ready(self, settings: Settings) -> list[dict[str, Any]]:
        found = []
        for name, each in ready().items():
            about = {"name": name, "title": each.quick.title, "question": each.quick.question}
            try:
                forms = {"quick": each.quick} | ({} if each.thorough is None else {"thorough": each.thorough})
                found.append(about | {form: described(document, settings) for form, document in forms.items()})
            except ConfigError as error:
                found.append(about | {"problem": str(error)})
        return found

    def here(self) -> list[dict[str, Any]]:
        """The experiments that are kept, newest first: how far each is, and its verdict once all of its runs have ended."""
        names, states = self.db.names(), {run.id: run.state for run in self.db.runs()}
        return [self._in_list(each, names.get(each.owner, ""), states) for each in self.db.experiments()]

    def _in_list(self, kept: store.Experiment, by: str, states: Mapping[str, str]) -> dict[str, Any]:
        ended = sum(states.get(run_id) in experiments.ENDED for run_id in self.db.members(kept.id))
        about = {"id": kept.id, "owner": kept.owner, "by": by, "wanted": kept.wanted, "created_at": kept.created_at, "ended": ended}
        try:
            plan = self.plans.of(kept.id)
        except (ConfigError, OSError) as error:
            return about | {"title": kept.id, "question": str(error), "n_runs": None, "verdict": ""}
        told = {"title": plan.experiment.title, "question": plan.experiment.question, "verdict": self._verdict(kept.id, plan, ended)}
        return about | told | {"n_runs": plan.n_runs}

    def _verdict(self, experiment_id: str, plan: Plan, ended: int) -> str:
        """Empty before all runs have ended, or enough of them."""
        if ended < plan.n_runs and not plan.experiment.stop_when_decided:
            return ""
        known = self._verdicts.get(experiment_id)
        if known is None or known[0] != ended:
            found = experiments.result(self.db, experiment_id, plan)
            known = self._verdicts[experiment_id] = ended, experiments.overall(found) if found.is_complete else ""
        return known[1]

    def one(self, experiment_id: str) -> dict[str, Any]:
        """What an experiment has found so far: as `described`, the result, and its runs with their held-out curves. Raises
        NoSuchExperiment, and ConfigError where it is not possible any more."""
        kept, plan = self.db.experiment(experiment_id), self.plans.of(experiment_id)
        result, members = experiments.result(self.db, experiment_id, plan), self.db.members(experiment_id)
        runs = [run for run in self.db.runs_of(experiment_id) if run.id in members and not run.private]
        told = [asdict(members[run.id]) | self._run(run, plan.experiment.measure.quantity) for run in runs]
        return (
            experiments.as_json(experiment_id, plan, result)
            | self._about(experiment_id, plan)
            | {"judged": [_judged(each) for each in result.judged], "found": _by_arm(result), "predicted": experiments.predicted(result)}
            | {"members": told, "wanted": kept.wanted, "held": self.held.get(experiment_id, ""), "is_complete": result.is_complete}
            | {"owner": kept.owner, "by": self.db.names().get(kept.owner, ""), "created_at": kept.created_at}
        )

    def _about(self, experiment_id: str, plan: Plan) -> dict[str, Any]:
        known = self._described.get(experiment_id) or of_plan(plan, self.limits())
        if known["seconds"] is not None:
            self._described[experiment_id] = known
        return known

    def _run(self, run: Run, measure: str) -> dict[str, Any]:
        """How far a run is, and its curve: of a task's accuracy where that is what is compared, else of the held-out sample's loss."""
        kind, value = ("accuracy", "token") if measure == "accuracy" else ("validation", "loss")
        rows = [row for row in self.points.of(run)[kind] if not row.body["whole"]]
        config = run.readable_config
        return {
            "id": run.id, "name": run.name, "state": run.state, "reason": run.reason, "step": run.step,
            "max_steps": config and config.train.max_steps, "rate": config and config.optim.lr,
            "curve": [[row.step for row in rows], [row.body[value] for row in rows]],
        }  # fmt: skip


def for_visitor(told: dict[str, Any], visitor: Visitor) -> dict[str, Any]:
    """Without the owner's id, which is nobody's business, and with whether the visitor is the owner."""
    mine = visitor.is_known and told["owner"] == visitor.id
    return {name: value for name, value in told.items() if name != "owner"} | {"mine": mine}


def described(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """What an experiment is: its arms with what differs, how many runs, and about how many seconds they take here if nothing else
    trains (None where the speed of this machine isn't known yet). Raises ConfigError."""
    return of_plan(experiments.planned(experiment, settings), settings)


def of_plan(plan: Plan, settings: Settings) -> dict[str, Any]:
    """As `described`, of an experiment that is planned already."""
    experiment, configs = plan.experiment, experiments.completed(plan, settings.root)
    machine, unit = estimate.load(settings.root), unit_of(plan.experiment.measure)
    runs = experiments.all_runs(plan, settings.root)
    seconds = None if machine is None else sum(n * (START_S + estimate.run_seconds(each, machine)) for n, each in runs)
    arms = [
        {
            "name": arm.name,
            "changes": [(SPECS[path].knob.label, SPECS[path].said(value)) for path, value in arm.changes.items()],
            "matched": experiments.matched(plan, arm.name) if plan.matched else "",
            "n_params": n_params(configs[arm.name].model),
            "steps": configs[arm.name].train.max_steps,
            "graph": asdict(graph(configs[arm.name].model)),
        }
        for arm in arms_of(experiment)
    ]
    return {
        "title": experiment.title, "question": experiment.question, "said": experiment.said, "prediction": experiment.prediction,
        "arms": arms, "seeds": list(experiment.compared_seeds), "n_runs": plan.n_runs, "seconds": seconds, "unit": unit,
        "measure": experiment.measure.quantity, "measured": words_of(experiment.measure), "rates": list(experiment.tuning),
        "stops_early": experiment.stop_when_decided, "common_steps": experiment.common_steps,
        "claims": [claim.model_dump() | {"words": experiments.claimed(claim, unit)} for claim in experiment.claims],
        "warnings": [said for each in configs.items() if experiment.measure.step is None and (said := _never_at_its_peak(*each))],
        "rule": experiments.RULE, "methods": experiments.methods(plan),
        "document": experiment.model_dump(mode="json", exclude_defaults=True),
    }  # fmt: skip


def _never_at_its_peak(arm: str, config: CompleteRun) -> str:
    warmup, steps = config.optim.warmup_steps, config.train.max_steps
    if steps is None or not config.warms_up_to_the_end:
        return ""
    return f"“{arm}”: a warm-up of {warmup:,} steps is longer than its {steps:,} steps, so its learning rate never reaches its peak."


def _by_arm(result: experiments.Result) -> dict[str, Any]:
    def about(arm: str, by_seed: Mapping[int, float]) -> dict[str, Any]:
        values = {str(seed): value for seed, value in by_seed.items()}
        return {"values": values, "diverged": result.diverged[arm], "rate": result.rates.get(arm)}

    return {arm: about(arm, by_seed) for arm, by_seed in result.values.items()}


def _judged(judged: experiments.Judged) -> dict[str, Any]:
    """A claim's verdict with its numbers, and the paired difference of each seed."""
    found, numbers = judged.difference, experiments.numbers(judged.difference)
    pairs = {} if found is None else dict(zip(map(str, found.seeds), found.pairs, strict=True))
    return {"verdict": judged.verdict, "seeds_needed": judged.seeds_needed, "pairs": pairs, **numbers}
