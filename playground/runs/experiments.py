"""An experiment over runs: which of them are still to be trained, what was measured of those that have ended, and what it says.

Each is an ordinary run. What is known follows from the document and the runs alone, so that an experiment that was cut off goes on
where it was.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from models.knobs import ConfigError, Problem
from playground.config import experiment as documents
from playground.config import sizes
from playground.config.experiment import Claim, Experiment, Plan, Planned
from playground.config.looks import looks
from playground.config.run import CompleteRun, RunConfig, complete
from playground.config.settings import Settings
from playground.data import dataset
from playground.inside.history import is_number
from playground.runs import creation, store, verdict
from playground.runs.access import Visitor
from playground.runs.creation import create_run
from playground.runs.law import Law, law
from playground.runs.measuring import check, measured, unit_of, words_of
from playground.runs.store import Member, Run, Store
from playground.runs.verdict import Difference

IS_ID = re.compile("[a-z2-7]{10}")
ENDED = (store.FINISHED, store.DIVERGED)
RULE = (
    "That an arm is lower (higher) is supported where the whole 95% interval of the difference lies beyond δ on that side, and refuted "
    "where it lies beyond δ on the other; that two are the same is supported where it lies within δ on both sides, and refuted where it "
    f"lies outside; everything else, and fewer than {verdict.FEWEST_SEEDS} seeds, is undecided."
)


@dataclass(frozen=True)
class Judged:
    """A claim, the difference that it is about (None where no seed has ended in both arms), and the verdict by the stated rule."""

    claim: Claim
    difference: Difference | None
    verdict: str
    seeds_needed: int | None


@dataclass(frozen=True)
class Result:
    """What an experiment has found so far. By arm: `values` by seed in the measure's unit, the seeds that diverged, and those that have
    `ended`; `rates`: the learning rate chosen for each arm, where one was. `decided_after`: by how many seeds every claim was decided, of
    an experiment that then stops; only these are in it. `law`: the power law, of one that asks for it."""

    experiment: Experiment
    values: dict[str, dict[int, float]]
    diverged: dict[str, list[int]]
    ended: dict[str, list[int]]
    rates: dict[str, float]
    judged: list[Judged]
    n_ended: int
    n_runs: int
    decided_after: int | None
    law: Law | None = None

    @property
    def is_complete(self) -> bool:
        return self.n_ended == self.n_runs or self.decided_after is not None


def planned(experiment: Experiment, settings: Settings) -> Plan:
    """The experiment's arms as configs, each possible and within the limits. Fetches data where that is allowed. Raises ConfigError with
    the problems of all arms."""
    plan, problems = unchecked(experiment, settings), []
    for arm, config in plan.configs.items():
        if experiment.measure.quantity == "accuracy" and not config.data.is_task:
            problems.append(Problem(f"arm {arm!r}: data.source", "accuracy is that of a task's answers; a text has none"))
        try:
            creation.ready(config, settings)
        except ConfigError as error:
            problems += _of_arm(arm, error.problems)
    if not problems and plan.start is not None:
        problems = _do_not_start_alike(plan, settings)
    if problems:
        raise ConfigError(problems)
    return plan


def check_early(arms: Mapping[str, RunConfig], settings: Settings) -> None:
    """As that of `creation`, of all arms. Raises ConfigError."""
    problems = []
    for arm, config in arms.items():
        try:
            creation.check_early(config, settings)
        except ConfigError as error:
            problems += _of_arm(arm, error.problems)
    if problems:
        raise ConfigError(problems)


def _of_arm(arm: str, problems: Sequence[Problem]) -> list[Problem]:
    return [Problem(f"arm {arm!r}: {each.path}", each.message) for each in problems]


def _do_not_start_alike(plan: Plan, settings: Settings) -> list[Problem]:
    """Why the arms cannot all start from the weights of the base."""
    assert plan.start is not None
    try:
        start, root = creation.ready(plan.start, settings), settings.root
    except ConfigError as error:
        return [Problem(f"common_steps: {each.path}", each.message) for each in error.problems]
    tokenizer = dataset.tokenizer(start.data, root)
    arms = completed(plan, root).items()
    return [each for arm, config in arms for each in _of_arm(arm, creation.misfits("the base", start.model, tokenizer, config, root))]


def unchecked(experiment: Experiment, settings: Settings) -> Plan:
    """The same, of one that was checked before, whatever the limits are now."""

    def vocab_size(config: RunConfig) -> int:
        creation.fetch(config, settings)
        return dataset.about(config.data, settings.root).vocab_size

    check(experiment.measure)
    return _judged_alike(documents.plan(experiment, vocab_size), settings.root)


def _judged_alike(plan: Plan, root: Path) -> Plan:
    """The plan with one interval between points of the held-out curve: the largest to which any of its runs would stretch its own."""
    every = {arm: _judged_every(config, root) for arm, config in completed(plan, root).items()}
    if len(set(every.values())) == 1:
        return plan
    alike = {"train.eval_interval": max(every.values())}
    return replace(plan, configs={arm: documents.changed(config, alike) for arm, config in plan.configs.items()})


def _judged_every(config: CompleteRun, root: Path) -> int:
    n_validated = dataset.load(config.data, root).n_validated(config.width, config.model.block_size)
    return looks(config, n_validated).judged_every


def completed(plan: Plan, root: Path) -> dict[str, CompleteRun]:
    """Each arm's config, complete; its data are prepared."""
    return {arm: _completed(config, root) for arm, config in plan.configs.items()}


def _completed(config: RunConfig, root: Path) -> CompleteRun:
    about = dataset.about(config.data, root)
    return complete(config, about.vocab_size, about.fingerprint)


def all_runs(plan: Plan, root: Path) -> list[tuple[int, CompleteRun]]:
    """How many runs there are of each config."""
    experiment = plan.experiment
    arms = [(experiment.seeds + len(experiment.tuning), config) for config in completed(plan, root).values()]
    return arms if plan.start is None else [*arms, (experiment.seeds, _completed(plan.start, root))]


class Plans:
    """The plans of the experiments that are kept, each made once: a document does not change. `limits` returns the settings of now."""

    def __init__(self, db: Store, limits: Callable[[], Settings]):
        self.db, self.limits = db, limits
        self._made: dict[str, Plan] = {}

    def of(self, experiment_id: str) -> Plan:
        """Raises NoSuchExperiment, and ConfigError where the experiment is not possible, or not any more."""
        if experiment_id not in self._made:
            self._made[experiment_id] = unchecked(read(self.db, experiment_id), self.limits())
        return self._made[experiment_id]


def add(db: Store, experiment: Experiment, visitor: Visitor, wanted: str = "command") -> str:
    """Keep an experiment; returns its id. Trains nothing."""
    visitor.must_be_known()
    experiment_id = store.new_run_id()
    db.add_experiment(experiment_id, owner=visitor.id, document=experiment.model_dump_json(exclude_defaults=True), wanted=wanted)
    return experiment_id


def read(db: Store, experiment_id: str) -> Experiment:
    """Raises NoSuchExperiment, and ConfigError where this version cannot read it."""
    return documents.read(json.loads(db.experiment(experiment_id).document))


def next_run(db: Store, settings: Settings, experiment_id: str, plan: Plan, visitor: Visitor) -> tuple[str, Planned] | None:
    """The id of the run to be trained next, `starting`, and what it is; None where all have ended. One that was cut off goes on."""
    runs = _runs(db, experiment_id)
    for wanted in _wanted(db, plan, runs):
        found = runs.get(_key(wanted))
        if found is None:
            about = about_run(db, experiment_id, wanted, plan)
            return create_run(db, settings, wanted.config, visitor, state=store.STARTING, **about), wanted
        if found.state in store.RESUMABLE and db.change_state(found.id, store.STARTING, store.RESUMABLE, wanted="run", ended_at=None):
            return found.id, wanted
    return None


def missing(db: Store, experiment_id: str, plan: Plan) -> list[Planned]:
    """The runs that are to be trained and were never begun, the next first; none of the compared ones while rates are being chosen."""
    runs = _runs(db, experiment_id)
    return [wanted for wanted in _wanted(db, plan, runs) if _key(wanted) not in runs]


def is_decided(db: Store, experiment_id: str, plan: Plan) -> bool:
    """Whether an experiment that stops when it is decided is, before its last seed."""
    return bool(_early_looks(plan.experiment)) and result(db, experiment_id, plan).decided_after is not None


def about_run(db: Store, experiment_id: str, planned: Planned, plan: Plan) -> dict[str, Any]:
    """What a run of an experiment is created with beside its config."""
    member = Member(experiment_id, planned.arm, planned.seed, planned.role)
    about = {"name": f"{plan.experiment.title}: {planned.name}", "preset": plan.experiment.preset, "member": member}
    if plan.start is None or planned.role == "common":
        return about
    start = _runs(db, experiment_id)[_key(plan.common()[planned.seed])]
    return about | {"parent": start.id, "parent_step": plan.start.train.max_steps}


Key = tuple[str, int, str, float | None]  # arm, seed, role, and of a tuning run its rate


def _key(planned: Planned) -> Key:
    return planned.arm, planned.seed, planned.role, planned.config.optim.lr if planned.role == "tuning" else None


def _runs(db: Store, experiment_id: str) -> dict[Key, Run]:
    members = db.members(experiment_id)
    found: dict[Key, Run] = {}
    for run in db.runs_of(experiment_id):
        member, config = members.get(run.id), run.readable_config
        if member is not None and config is not None:
            found[member.arm, member.seed, member.role, config.optim.lr if member.role == "tuning" else None] = run
    return found


def _wanted(db: Store, plan: Plan, runs: dict[Key, Run]) -> list[Planned]:
    """Those that have not ended: first the tuning runs, and once they all have, the runs that are compared, unless those that have ended
    are enough."""
    tuning = [each for each in plan.tuning() if not _has_ended(runs.get(_key(each)))]
    if tuning:
        return tuning
    left = [each for each in plan.compared(chosen_rates(plan, runs)) if not _has_ended(runs.get(_key(each)))]
    starts = {seed: each for seed, each in plan.common().items() if not _has_ended(runs.get(_key(each)))}
    wanted: list[Planned] = []
    for each in left:
        first = starts.get(each.seed, each)  # instead of the arms of its seed, which can only start when it has ended
        if first not in wanted:
            wanted.append(first)
    return [] if wanted and _early_looks(plan.experiment) and _result(db, plan, runs).decided_after is not None else wanted


def _has_ended(run: Run | None) -> bool:
    return run is not None and run.state in ENDED


def chosen_rates(plan: Plan, runs: dict[Key, Run]) -> dict[str, float]:
    """The learning rate of each arm's best tuning run, by its loss over the held-out split; one that diverged is the worst. None before
    all of them have ended."""
    if not all(_has_ended(runs.get(_key(each))) for each in plan.tuning()):
        return {}
    best: dict[str, tuple[float, float]] = {}
    for each in plan.tuning():
        scored = _finite(runs[_key(each)].val_loss), each.config.optim.lr
        best[each.arm] = min(best.get(each.arm, scored), scored)
    return {arm: rate for arm, (_, rate) in best.items()}


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.inf


def result(db: Store, experiment_id: str, plan: Plan) -> Result:
    """What the runs that have ended say."""
    return _result(db, plan, _runs(db, experiment_id))


def _result(db: Store, plan: Plan, runs: dict[Key, Run]) -> Result:
    experiment = plan.experiment
    ended = {key: run for key, run in runs.items() if run.state in ENDED}
    values: dict[str, dict[int, float]] = {arm: {} for arm in plan.configs}
    diverged: dict[str, list[int]] = {arm: [] for arm in plan.configs}
    seeds: dict[str, list[int]] = {arm: [] for arm in plan.configs}
    for (arm, seed, role, _), run in ended.items():
        if role == "compared" and arm in values:
            seeds[arm].append(seed)
            value = measured(db, run, experiment.measure)
            if value is not None:
                values[arm][seed] = value
            if run.state == store.DIVERGED:
                diverged[arm].append(seed)
    rates = chosen_rates(plan, runs) if experiment.tuning else {}
    decided_after = _decided_after(experiment, values, seeds)
    seen = experiment.compared_seeds[:decided_after]
    ordered = {arm: {seed: by_seed[seed] for seed in seen if seed in by_seed} for arm, by_seed in values.items()}
    gone, known = ({arm: [seed for seed in seen if seed in of_arm] for arm, of_arm in by_arm.items()} for by_arm in (diverged, seeds))
    judged = _judge(experiment, ordered)
    return Result(experiment, ordered, gone, known, rates, judged, len(ended), plan.n_runs, decided_after, _law(plan, ordered))


def _law(plan: Plan, values: dict[str, dict[int, float]]) -> Law | None:
    """The power law of an experiment that asks for one, once enough arms have ended."""
    by = plan.experiment.fit
    return None if by is None else law({arm: sizes.size_of(config, by) for arm, config in plan.configs.items()}, values)


def _decided_after(experiment: Experiment, values: dict[str, dict[int, float]], ended: dict[str, list[int]]) -> int | None:
    """The first number of seeds, each of them ended in all arms, by which every claim of an experiment that may stop early is decided."""
    for n in _early_looks(experiment):
        seen = set(experiment.compared_seeds[:n])
        if all(seen <= set(seeds) for seeds in ended.values()):
            known = {arm: {seed: value for seed, value in by_seed.items() if seed in seen} for arm, by_seed in values.items()}
            if all(each.verdict != verdict.UNDECIDED for each in _judge(experiment, known)):
                return n
    return None


def _early_looks(experiment: Experiment) -> range:
    """After how many seeds an experiment that stops when it is decided may do so, before its last one."""
    return range(verdict.FEWEST_SEEDS, experiment.seeds) if experiment.stop_when_decided else range(0)


def _judge(experiment: Experiment, values: dict[str, dict[int, float]]) -> list[Judged]:
    """Each claim by its paired difference; a number is an arm that measures the same with each of the claimed arm's seeds."""
    pairs, numbers = [], {}
    for i, claim in enumerate(experiment.claims):
        other = claim.than if isinstance(claim.than, str) else f"\0{i}"  # which no arm is called
        pairs.append((claim.arm, other))
        if is_number(claim.than):
            numbers[other] = dict.fromkeys(values[claim.arm], claim.than)
    n_looks = 1 + len(_early_looks(experiment))
    found = {(each.arm, each.than): each for each in verdict.differences(values | numbers, pairs, n_looks=n_looks)}
    alpha = verdict.error_each(len(pairs), n_looks)
    return [_judged(claim, found.get(pair), alpha) for claim, pair in zip(experiment.claims, pairs, strict=True)]


def _judged(claim: Claim, found: Difference | None, alpha: float) -> Judged:
    if found is None:
        return Judged(claim, None, verdict.UNDECIDED, None)
    decided = verdict.verdict(claim.kind, claim.delta, found)
    needed = verdict.seeds_needed(claim.kind, claim.delta, found, alpha) if decided == verdict.UNDECIDED else None
    return Judged(claim, found, decided, needed)


def overall(found: Result) -> str:
    """Refuted where one claim is, supported where all are, else undecided, as before the last run has ended."""
    if not found.is_complete:
        return verdict.UNDECIDED
    verdicts = [each.verdict for each in found.judged]
    if verdict.REFUTED in verdicts:
        return verdict.REFUTED
    return verdict.SUPPORTED if all(each == verdict.SUPPORTED for each in verdicts) else verdict.UNDECIDED


def sentences(found: Result) -> list[str]:
    """The result in words: each claim with its numbers and verdict, what diverged, and whether the prediction was right."""
    so_far = "" if found.is_complete else "So far: "
    said = [so_far + _claimed(each, found.experiment) for each in found.judged]
    if found.decided_after is not None:
        said.append(f"It ended after {found.decided_after} of {found.experiment.seeds} seeds, because every claim was decided.")
    said += [f"“{arm}”: {len(seeds)} of {len(found.ended[arm])} runs diverged." for arm, seeds in found.diverged.items() if seeds]
    empty = {arm: len(seeds) - len(found.values[arm]) for arm, seeds in found.ended.items()}
    said += [f"“{arm}”: nothing was measured in {n} of {len(found.ended[arm])} runs." for arm, n in empty.items() if n]
    said += [f"“{arm}” was trained with a learning rate of {rate:g}, its best." for arm, rate in found.rates.items()]
    if found.law is not None:
        said.append(so_far + _fitted(found.law, found.experiment))
    return [*said, about_prediction] if (about_prediction := predicted(found)) else said


def _claimed(judged: Judged, experiment: Experiment) -> str:
    claim, found, unit = judged.claim, judged.difference, unit_of(experiment.measure)
    if found is None:
        both = "both arms" if isinstance(claim.than, str) else "this arm"
        return f"{claimed(claim, unit)}: undecided, because no seed has been measured in {both}."
    side = "lower" if found.mean < 0 else "higher"
    amount = f"“{claim.arm}” ends {_amount(found.mean)} {unit} {side} than {_other(claim)}"
    return f"{amount} ({_interval(found)}). Claim: {claimed(claim, unit)}: {judged.verdict}{_why_undecided(judged)}."


def _fitted(law: Law, experiment: Experiment) -> str:
    """The law in words. Its interval says how far the seeds agree, not whether it is a power law."""
    known = "its interval is not known" if law.low is None else f"95% interval {law.low:.3g} to {law.high:.3g}"
    curve = f"{law.floor:.3g} + {law.factor:.3g} · x^−{law.exponent:.3g}"
    n, x = len(law.seeds), sizes.words_of(experiment.fit or "")
    return (
        f"A power law through the arms: {curve} {unit_of(experiment.measure)}, where x is {x}. "
        f"Exponent {law.exponent:.3g} ({known}, {n} seed{'s' * (n > 1)})."
    )


def claimed(claim: Claim, unit: str) -> str:
    """A claim in words, with the difference that matters."""
    if claim.kind == "same":
        differ = f"differ by less than {claim.delta:g} {unit}" if claim.delta else "do not differ"
        return f"“{claim.arm}” and {_other(claim)} {differ}"
    more = f" by more than {claim.delta:g} {unit}" if claim.delta else ""
    return f"“{claim.arm}” is {claim.kind} than {_other(claim)}{more}"


def _other(claim: Claim) -> str:
    return f"“{claim.than}”" if isinstance(claim.than, str) else f"{claim.than:g}"


def _interval(found: Difference) -> str:
    seeds = f"{found.n} seed{'s' if found.n > 1 else ''}"
    if found.low is None or found.high is None:
        return seeds
    if found.low < 0 < found.high:
        return f"95% interval from {_amount(found.low)} lower to {_amount(found.high)} higher, {seeds}"
    low, high = sorted((abs(found.low), abs(found.high)))
    return f"95% interval {_amount(low)} to {_amount(high)}, {seeds}"


def _amount(value: float) -> str:
    """Three digits of a difference, without its sign."""
    return f"{abs(value):#.3g}".rstrip(".")


def _why_undecided(judged: Judged) -> str:
    if judged.verdict != verdict.UNDECIDED or judged.difference is None:
        return ""
    if judged.difference.n < verdict.FEWEST_SEEDS:
        return f", because fewer than {verdict.FEWEST_SEEDS} seeds decide nothing"
    if judged.claim.kind != "same" and _is_within(judged.difference, judged.claim.delta):
        return ": the difference is smaller than what matters, which more seeds would not change"
    if judged.seeds_needed is not None:
        return f"; about {judged.seeds_needed} seeds would decide it"
    return "" if judged.difference.sd is None else f"; {verdict.MOST_SEEDS:,} seeds would not be enough for so small a difference"


def _is_within(found: Difference, delta: float) -> bool:
    return found.low is not None and found.high is not None and -delta < found.low and found.high < delta


def predicted(found: Result) -> str:
    """Whether the prediction, which is about the first claim's arms, was right; empty where there is none."""
    prediction, judged = found.experiment.prediction, found.judged[0]
    if prediction is None:
        return ""
    if judged.difference is None or not found.is_complete:
        return "Your prediction is not decided yet."
    right = verdict.verdict(prediction, judged.claim.delta, judged.difference)
    return {verdict.SUPPORTED: "Your prediction was right.", verdict.REFUTED: "Your prediction was wrong."}.get(
        right, "Your prediction is not decided."
    )


def table(found: Result) -> str:
    """Arms by seeds, then the result in words."""
    seeds = list(found.experiment.compared_seeds)
    wide = max(len(arm) for arm in found.values)
    lines = [found.experiment.question, "", " " * wide + "".join(f"{f'seed {seed}':>12}" for seed in seeds) + f"{'mean':>12}"]
    for arm, by_seed in found.values.items():
        cells = [f"{by_seed[seed]:12.4f}" if seed in by_seed else f"{'–':>12}" for seed in seeds]
        mean = f"{sum(by_seed.values()) / len(by_seed):12.4f}" if by_seed else f"{'–':>12}"
        lines.append(f"{arm:{wide}}{''.join(cells)}{mean}")
    lines += [f"({unit_of(found.experiment.measure)})", "", *sentences(found), f"In all: {overall(found)}."]
    return "\n".join(lines)


def methods(plan: Plan) -> str:
    """How the experiment was made, as a paragraph that could stand in a paper."""
    experiment, n_claims = plan.experiment, len(plan.experiment.claims)
    steps = ", ".join(f"{arm}: {config.train.max_steps:,} steps" for arm, config in plan.configs.items() if config.train.max_steps)
    of = {
        "both": "",
        "initialisation": " of the first weights, in one order of the data",
        "order": " of the data's order, from the same weights",
    }[experiment.seeds_of]
    said = [f"{len(plan.configs)} arms ({steps or ', '.join(plan.configs)}) were trained with the same {experiment.seeds} seeds{of}."]
    if experiment.budget is not None:
        unit = {"flops": "FLOP of training", "seconds": "seconds of training"}.get(experiment.budget.unit, experiment.budget.unit)
        said.append(f"Each run had a budget of {experiment.budget.amount:,g} {unit}.")
    if experiment.match != "off":
        what = "parameters" if experiment.match == "parameters" else "FLOPs per token"
        chosen = "; ".join(f"{arm}: {matched(plan, arm)}" for arm in plan.matched)
        said.append(f"Models were matched in {what} by width or depth and by the size of the MLP: {chosen}.")
    if experiment.tuning:
        rates = ", ".join(f"{rate:g}" for rate in experiment.tuning)
        said.append(f"Each arm used the learning rate, out of {rates}, with the lowest held-out loss of one further seed.")
    else:
        said.append("Learning rates were not tuned for each arm.")
    diverging = "; runs that diverged count as chance" if experiment.measure.quantity in ("val_loss", "eval_loss", "accuracy") else ""
    said.append(f"Compared was {words_of(experiment.measure)}{diverging}.")
    several = f", simultaneous over {n_claims} comparisons (Bonferroni), p values by Holm's correction" if n_claims > 1 else ""
    said.append(f"Differences are paired by seed, with 95% intervals by Student's t (exact ones of shares){several}.")
    if experiment.common_steps is not None:
        said.append(f"The arms of a seed started from the weights of one run of the base after {experiment.common_steps:,} steps.")
    if looks := len(_early_looks(experiment)):
        said.append(
            f"After each seed from the {verdict.FEWEST_SEEDS}rd on it was to end if every claim was decided; intervals and p values are "
            f"corrected for {looks + 1} such looks (Bonferroni)."
        )
    if experiment.fit is not None:
        said.append(
            f"A power law E + A·x^−α was fitted by least squares to the arms' means, x being the {sizes.words_of(experiment.fit)}; the "
            "interval of α is Student's t over the logarithms of the exponents that each seed has by itself."
        )
    claims = "; ".join(
        f"{each.arm} {each.kind} {'as' if each.kind == 'same' else 'than'} {each.than}, δ = {each.delta:g}" for each in experiment.claims
    )
    said.append(f"Claims, stated beforehand: {claims}. {RULE}")
    return " ".join(said)


def matched(plan: Plan, arm: str) -> str:
    """What was chosen to make an arm as large as the first, and how far off it is."""
    found = plan.matched[arm]
    return f"{', '.join(f'{name} {value:g}' for name, value in found.chosen.items()) or 'as it is'} (off by {found.mismatch:+.1%})"


def as_json(experiment_id: str, plan: Plan, found: Result) -> dict:
    """All of it, for programs. `difference` and `interval` are those of the first claim."""
    first = found.judged[0].difference
    return {
        "experiment_id": experiment_id,
        "title": found.experiment.title,
        "question": found.experiment.question,
        "verdict": overall(found),
        "difference": None if first is None else first.mean,
        "interval": None if first is None or first.low is None else [first.low, first.high],
        "unit": unit_of(found.experiment.measure),
        "arms": [
            {"arm": arm, "values": {str(seed): value for seed, value in by_seed.items()}, "diverged": found.diverged[arm],
             "rate": found.rates.get(arm)}
            for arm, by_seed in found.values.items()
        ],
        "claims": [
            each.claim.model_dump() | {"verdict": each.verdict, "seeds_needed": each.seeds_needed, **numbers(each.difference)}
            for each in found.judged
        ],
        "fit": None if found.law is None else _law_as_json(found.law, found.experiment.fit or ""),
        "sentences": sentences(found),
        "methods": methods(plan),
        "runs_ended": found.n_ended,
        "runs": found.n_runs,
    }  # fmt: skip


def _law_as_json(law: Law, by: str) -> dict[str, Any]:
    return asdict(law) | {"x": by, "words": sizes.words_of(by)}


def numbers(found: Difference | None) -> dict[str, Any]:
    """A difference for programs; its parts are None where there is none yet."""
    if found is None:
        return {"difference": None, "interval": None}
    interval = None if found.low is None else [found.low, found.high]
    return {"difference": found.mean, "interval": interval, "p": found.p, "detectable": found.detectable, "seeds": list(found.seeds)}
