"""An experiment: a question, arms that differ in some knobs, the same seeds for each, and a claim with the rule that judges it.

One JSON document. `runs/experiments.py` trains it and `runs/verdict.py` judges it. Imports no torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.config import CompleteModel, complete, flops_per_token
from models.knobs import ConfigError, Problem, flat, nested, parse
from playground.config.looks import TRAINING_PASSES
from playground.config.matching import COUNTS, Matched, match
from playground.config.presets import PRESETS, with_source
from playground.config.run import RunConfig
from playground.config.sizes import FEWEST_SIZES, NUMBERS, SIZES, size_of

MOST_ARMS, MOST_RUNS, MOST_SEEDS, MOST_FACTORS, MOST_CLAIMS, MOST_CHANGES = 16, 64, 20, 4, 32, 100
NO_ARM = ""  # of a run that belongs to all
SEED, DATA_SEED = "train.seed", "train.data_seed"
OF_THE_EXPERIMENT = {
    SEED: "the seeds of an experiment are its own: set seeds and first_seed",
    DATA_SEED: "the seeds of an experiment are its own: set seeds_of",
    "train.max_steps": "every arm has the same budget: set budget",
    "train.max_seconds": "every arm has the same budget: set budget",
}
NOT_COMPARED = {*OF_THE_EXPERIMENT, "probe.text"}  # settings that are no factor: of the experiment, or of looking alone
VocabSize = Callable[[RunConfig], int]
Prediction = Literal["lower", "higher", "same"]


class Part(BaseModel):
    """Base of the document's parts: closed to unknown keys, finite numbers only, frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Arm(Part):
    """A name and the knobs, by dotted path, in which it differs from the base."""

    name: str = Field(min_length=1, max_length=60)
    changes: dict[str, Any] = Field(default={}, max_length=MOST_CHANGES)


class Budget(Part):
    """What each run may spend: `amount` steps, tokens, FLOP of training (in closed form), or seconds of training."""

    unit: Literal["steps", "tokens", "flops", "seconds"] = "steps"
    amount: float = Field(gt=0)


class Measure(Part):
    """What is compared. `val_loss` is the loss over the whole held-out split at the end, in nats per token; `eval_loss` the least that
    the held-out sample had; `accuracy` the share of right tokens in the answers of a task at the end; `diverged` the share of runs that
    did; `steps_to` the steps until the held-out sample was at most `reaches` nats per token. Any other is a quantity that is probed
    inside the model (see `playground/inside/quantities.py`): at the last probe up to `step` (the end, where it is left out), and of the
    places along the model the one that `place` says; `growth` is the last over the first."""

    quantity: str = Field(default="val_loss", max_length=60)
    reaches: float | None = None
    place: Literal["first", "last", "largest", "smallest", "mean", "growth"] = "last"
    step: int | None = Field(default=None, ge=0)


class Claim(Part):
    """That the measure of `arm` is lower or higher than that of `than`, another arm or a number in the measure's unit, or the same;
    differences up to `delta` don't matter."""

    kind: Prediction
    arm: str
    than: str | float
    delta: float = Field(ge=0)


class Experiment(Part):
    """The whole document. Either `arms`, or `factors` whose full grid makes them; `match` makes all arms as large as the first (or as
    dear per token); `seeds_of` says what the seeds change: the first weights and the order of the data, or one of the two; `tuning` are
    learning rates of which each arm gets its best, by the loss of a seed that is not compared. With `stop_when_decided` it ends after the
    first seed from the third on by which every claim is decided, with intervals that are corrected for so many looks. With
    `common_steps` the base is trained for so many steps once for each seed, and each arm starts from its weights. `fit`: the size of the
    arms over which a power law of the measure is fitted: `parameters` (without embeddings), `tokens`, `flops`, or a setting's path."""

    title: str = Field(min_length=1, max_length=80)
    question: str = Field(min_length=1, max_length=300)
    said: str = Field("", max_length=600)
    preset: str = "default"
    changes: dict[str, Any] = Field(default={}, max_length=MOST_CHANGES)
    factors: dict[str, Annotated[list[Any], Field(min_length=1, max_length=MOST_ARMS)]] = Field(default={}, max_length=MOST_FACTORS)
    arms: tuple[Arm, ...] = Field(default=(), max_length=MOST_ARMS)
    seeds: int = Field(3, ge=1, le=MOST_SEEDS)
    seeds_of: Literal["both", "initialisation", "order"] = "both"
    stop_when_decided: bool = False
    common_steps: int | None = Field(None, ge=1, le=1_000_000)
    first_seed: int = Field(1, ge=0, le=2**31 - 1 - MOST_SEEDS)
    budget: Budget | None = None
    match: Literal["off", "parameters", "flops"] = "off"
    tuning: tuple[float, ...] = ()
    measure: Measure = Measure()
    claims: tuple[Claim, ...] = Field(min_length=1, max_length=MOST_CLAIMS)
    prediction: Prediction | None = None
    fit: str | None = Field(None, max_length=60)

    def with_seed(self, seed: int) -> dict[str, int]:
        """The settings of a run with this seed."""
        of = {
            "both": {SEED: seed},
            "initialisation": {SEED: seed, DATA_SEED: self.first_seed},
            "order": {SEED: self.first_seed, DATA_SEED: seed},
        }
        return of[self.seeds_of]

    @property
    def n_runs(self) -> int:
        """Those of all arms and seeds, those by which rates are chosen, and the first steps that the arms of a seed have in common."""
        return len(arms_of(self)) * (self.seeds + len(self.tuning)) + (self.seeds if self.common_steps else 0)

    @property
    def compared_seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def tuning_seed(self) -> int:
        return self.first_seed + self.seeds


@dataclass(frozen=True)
class Planned:
    """A run of an experiment before it starts. `role` is compared, tuning, or common: the first steps of all arms, which has no arm."""

    arm: str
    seed: int
    role: Literal["compared", "tuning", "common"]
    config: RunConfig

    @property
    def name(self) -> str:
        if self.role == "common":
            return f"the first {self.config.train.max_steps:,} steps, seed {self.seed}"
        rate = f", rate {self.config.optim.lr:g}" if self.role == "tuning" else ""
        return f"{self.arm}{rate}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """Configs by arm, with the first seed; `matched`: what was chosen to make each as large as the first; `start`: of the steps that all
    arms have in common, None where they have none."""

    experiment: Experiment
    configs: dict[str, RunConfig]
    matched: dict[str, Matched]
    start: RunConfig | None = None

    def common(self) -> dict[int, Planned]:
        """By seed, the runs from which all arms start."""
        if self.start is None:
            return {}
        return {
            seed: Planned(NO_ARM, seed, "common", changed(self.start, self.experiment.with_seed(seed)))
            for seed in self.experiment.compared_seeds
        }

    def tuning(self) -> list[Planned]:
        """The runs from which each arm's learning rate is chosen."""
        at = self.experiment.tuning_seed
        rates = [(arm, config, rate) for rate in self.experiment.tuning for arm, config in self.configs.items()]
        return [
            Planned(arm, at, "tuning", changed(config, self.experiment.with_seed(at) | {"optim.lr": rate})) for arm, config, rate in rates
        ]

    def compared(self, rates: dict[str, float] | None = None) -> list[Planned]:
        """The runs that are compared, seed by seed with the arms taking turns; `rates`: the learning rate that was chosen for each arm."""
        chosen = {arm: {} if not rates else {"optim.lr": rates[arm]} for arm in self.configs}
        return [
            Planned(arm, seed, "compared", changed(config, self.experiment.with_seed(seed) | chosen[arm]))
            for seed in self.experiment.compared_seeds
            for arm, config in self.configs.items()
        ]

    @property
    def n_runs(self) -> int:
        return self.experiment.n_runs


def read(data: Any) -> Experiment:
    """The document from loose data. Raises ConfigError with every problem of its form."""
    if not isinstance(data, dict):
        raise ConfigError([Problem("", f"an experiment is a JSON object, not {type(data).__name__}")])
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_problem(each["loc"], each["type"], each["msg"]) for each in error.errors(include_url=False)) from None
    try:
        problems = list(_wrong(experiment))
    except ValueError:  # no arm can be named after such a value, as a number of thousands of digits
        problems = [Problem("factors", "these values cannot be used; give numbers, words, on or off")]
    if problems:
        raise ConfigError(problems)
    return experiment


def plan(experiment: Experiment, vocab_size: VocabSize) -> Plan:
    """Every arm as a config, made equally large where that is asked for. `vocab_size` says how many kinds of tokens a config's data
    have. Raises ConfigError with the problems of all arms, each with its arm's name."""
    base, configs = _base(experiment), configs_of(experiment)
    problems: list[Problem] = []
    sizes = {name: vocab_size(config) for name, config in configs.items()}
    matched: dict[str, Matched] = {}
    if experiment.match != "off":
        matched = _matched(experiment, configs, sizes)
        configs = {name: _with_model(config, matched[name]) for name, config in configs.items()}
    ready = {name: _spending(config, experiment.budget, complete(config.model, sizes[name])) for name, config in configs.items()}
    for one, other in itertools.combinations(ready, 2):
        if ready[one] == ready[other]:
            problems.append(Problem(f"arm {other!r}", f"is the same run as {one!r}; give each arm a setting of its own"))
    sizes_of_arms = [] if experiment.fit is None else [size_of(config, experiment.fit) for config in ready.values()]
    if experiment.fit is not None and (len(set(sizes_of_arms)) < FEWEST_SIZES or min(sizes_of_arms) <= 0):
        problems.append(Problem("fit", f"a law is fitted through at least {FEWEST_SIZES} arms of different {experiment.fit} above 0"))
    if problems:
        raise ConfigError(problems)
    return Plan(experiment, ready, matched, _start(base, experiment.common_steps))


def configs_of(experiment: Experiment) -> dict[str, RunConfig]:
    """By arm, its config as it is written, before sizes are matched and the budget is set. Raises ConfigError as `plan`."""
    base = _base(experiment)
    configs: dict[str, RunConfig] = {}
    problems: list[Problem] = []
    for arm in arms_of(experiment):
        try:
            configs[arm.name] = changed(base, arm.changes)
        except ConfigError as error:
            problems += [Problem(f"arm {arm.name!r}: {problem.path}", problem.message) for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return configs


def arms_of(experiment: Experiment) -> list[Arm]:
    """The arms as they are given, or one for each combination of the factors' values, named after these."""
    return grid(experiment.factors) if experiment.factors else list(experiment.arms)


def grid(factors: dict[str, list[Any]]) -> list[Arm]:
    """An arm for each combination of the factors' values, named after these."""
    labels, names = {spec.path: spec for spec in RunConfig.specs()}, list(factors)
    return [
        Arm(name=", ".join(map(_said, names, values, map(labels.get, names)))[:60], changes=dict(zip(names, values, strict=True)))
        for values in itertools.product(*factors.values())
    ]


def against_the_first(arms: list[Arm], kind: str, delta: float) -> list[dict[str, Any]]:
    """The claims that each other arm is lower (higher, the same) than the first, as loose data."""
    return [{"kind": kind, "arm": arm.name, "than": arms[0].name, "delta": delta} for arm in arms[1:]]


def _said(path: str, value: Any, spec: Any) -> str:
    label = path.rpartition(".")[2] if spec is None else spec.knob.label
    if isinstance(value, str):
        return value or f"{label} empty"
    return f"{label} {str(value).lower() if isinstance(value, bool) else value}"


def _wrong(experiment: Experiment) -> Iterator[Problem]:
    """What the form of the document does not show."""
    if experiment.preset not in PRESETS:
        yield Problem("preset", f"{experiment.preset[:60]!r} is not a preset; use one of {', '.join(PRESETS)}")
    if bool(experiment.arms) == bool(experiment.factors):
        yield Problem("arms", "an experiment has either arms or factors; give one of the two")
    n_arms = len(experiment.arms) if experiment.arms else math.prod(map(len, experiment.factors.values()))
    if not 2 <= n_arms <= MOST_ARMS:
        yield Problem("arms", f"{n_arms} arms cannot be compared; use 2 to {MOST_ARMS}")
        return
    runs = experiment.n_runs
    if runs > MOST_RUNS:
        yield Problem(
            "seeds",
            f"{n_arms} arms with {experiment.seeds} seeds and {len(experiment.tuning)} rates are {runs} runs; keep it to {MOST_RUNS}",
        )
    names = [arm.name for arm in arms_of(experiment)]
    for name in {name for name in names if names.count(name) > 1}:
        yield Problem("arms", f"{name!r} is there twice; give each arm a name of its own")
    known = {spec.path for spec in RunConfig.specs()}
    for where, changes in [("changes", experiment.changes), *((f"arm {arm.name!r}", arm.changes) for arm in arms_of(experiment))]:
        for path in changes:
            if path in OF_THE_EXPERIMENT:
                yield Problem(f"{where}: {path}", OF_THE_EXPERIMENT[path])
            elif path not in known:
                yield Problem(
                    f"{where}: {path}", "there is no such setting; see the list of settings with python -m playground train --help"
                )
    for i, claim in enumerate(experiment.claims):
        for end in ("arm", "than"):
            name = getattr(claim, end)
            if isinstance(name, str) and name not in names:
                yield Problem(f"claims.{i}.{end}", f"{name!r} is no arm; use one of {', '.join(map(repr, names))}")
        if isinstance(claim.than, float) and experiment.measure.quantity == "diverged":
            yield Problem(f"claims.{i}.than", "shares of runs that diverged are compared between arms, not with a number")
        if claim.arm == claim.than:
            yield Problem(f"claims.{i}", "an arm is compared with another one, not with itself")
    if experiment.fit is not None and experiment.fit not in (*SIZES, *NUMBERS):
        yield Problem("fit", f"{experiment.fit!r} is no size; use one of {', '.join(SIZES)}, or the path of a setting that is a number")
    rated = [arm.name for arm in arms_of(experiment) if "optim.lr" in arm.changes]
    if experiment.tuning and rated:
        yield Problem("tuning", f"every arm gets its own learning rate, but {rated[0]!r} sets one; leave out one of the two")
    if experiment.common_steps and (experiment.tuning or experiment.match != "off"):
        yield Problem("common_steps", "arms that start from the same weights cannot have rates or sizes of their own chosen; leave out one")
    if (experiment.measure.reaches is None) != (experiment.measure.quantity != "steps_to"):
        yield Problem("measure.reaches", "is the loss for `steps_to` to reach, in nats per token, and belongs to no other quantity")
    if any(rate <= 0 for rate in experiment.tuning) or len(set(experiment.tuning)) != len(experiment.tuning) or len(experiment.tuning) == 1:
        yield Problem("tuning", "needs at least two different learning rates above 0, or none")


def _base(experiment: Experiment) -> RunConfig:
    tree, changes = PRESETS[experiment.preset].config.model_dump(), nested(dict(experiment.changes))
    base = with_source(tree, changes)
    return parse(RunConfig, nested(flat(base) | dict(experiment.changes)))


def changed(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """A config with other values by dotted path. Raises ConfigError."""
    return parse(RunConfig, nested(flat(config) | changes))


def _start(base: RunConfig, steps: int | None) -> RunConfig | None:
    return None if steps is None else changed(base, {"train.max_steps": steps, "train.max_seconds": None})


def _matched(experiment: Experiment, configs: dict[str, RunConfig], sizes: dict[str, int]) -> dict[str, Matched]:
    """Each arm with a model as large, or as dear, as the first arm's; the knobs that differ between arms stay."""
    count = COUNTS[experiment.match]
    models = {name: complete(config.model, sizes[name]) for name, config in configs.items()}
    fixed = {path.removeprefix("model.") for arm in arms_of(experiment) for path in arm.changes if path.startswith("model.")}
    target = count(next(iter(models.values())))
    return {name: match(model, target, count, fixed) for name, model in models.items()}


def _with_model(config: RunConfig, matched: Matched) -> RunConfig:
    return changed(config, {f"model.{name}": value for name, value in matched.chosen.items()})


def _spending(config: RunConfig, budget: Budget | None, model: CompleteModel) -> RunConfig:
    if budget is None:
        return config
    if budget.unit == "seconds":
        return changed(config, {"train.max_steps": None, "train.max_seconds": budget.amount})
    per_step = {
        "steps": 1,
        "tokens": config.tokens_per_step,
        "flops": TRAINING_PASSES * flops_per_token(model) * config.tokens_per_step,
    }[budget.unit]
    return changed(config, {"train.max_steps": max(1, round(budget.amount / per_step)), "train.max_seconds": None})


def _problem(loc: tuple, kind: str, message: str) -> Problem:
    path = ".".join(map(str, loc))
    said = {"extra_forbidden": "there is no such part of an experiment", "missing": "this is missing"}.get(kind)
    return Problem(path, said or message[0].lower() + message[1:])
