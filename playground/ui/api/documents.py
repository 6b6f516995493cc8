"""The types of an experiment as programs see it: its document, what a review says, and what it has found."""

from typing import Annotated, NotRequired, TypedDict

from playground.ui.api.part import Section, Wrong


class Arm(TypedDict, total=False):
    name: str
    changes: Annotated[Section, "knobs by dotted path, such as model.n_layer"]


class Budget(TypedDict, total=False):
    unit: Annotated[str, "steps, tokens, flops or seconds"]
    amount: float


class Measure(TypedDict, total=False):
    quantity: Annotated[str, "val_loss, eval_loss, accuracy, diverged, steps_to, or a quantity that is measured inside the model"]
    reaches: Annotated[float | None, "of steps_to: the loss"]
    place: str
    step: int | None


class Claim(TypedDict):
    kind: Annotated[str, "lower, higher or same"]
    arm: str
    than: Annotated[str | float, "another arm, or a number"]
    delta: Annotated[float, "differences up to this do not matter"]


class Document(TypedDict, total=False):
    """An experiment. What is left out has the default of `config/experiment.py`."""

    title: str
    question: str
    said: Annotated[str, "what textbooks say"]
    preset: Annotated[str, "what every arm begins with, one of /presets"]
    changes: Annotated[Section, "of every arm, by dotted path"]
    arms: list[Arm]
    factors: Annotated[dict[str, list[str | int | float | bool | None]], "instead of arms: values by dotted path, whose grid makes them"]
    seeds: Annotated[int, "how many runs of each arm"]
    seeds_of: Annotated[str, "both, initialisation or order"]
    first_seed: int
    stop_when_decided: bool
    common_steps: Annotated[int | None, "all arms start from the weights of so many steps"]
    budget: Annotated[Budget | None, "of each run"]
    match: Annotated[str, "off, parameters or flops: make all arms as large as the first"]
    tuning: Annotated[list[float], "learning rates, of which each arm gets its best"]
    measure: Annotated[Measure, "what is compared"]
    claims: list[Claim]
    prediction: Annotated[str | None, "lower, higher or same: what is expected of the first claim"]
    fit: str | None


class ArmReview(TypedDict):
    name: str
    changes: Annotated[list[tuple[str, str]], "knob and value, in words"]
    n_params: int
    steps: int | None
    matched: Annotated[str, "what was chosen to make it as large as the first"]


class ExperimentReview(TypedDict):
    possible: bool
    problems: Annotated[list[Wrong], "everything that is wrong; empty where it is possible"]
    warnings: list[str]
    n_runs: Annotated[int, "how many runs it takes"]
    seconds: Annotated[float | None, "of training here if nothing else trains; null: not measured yet"]
    arms: list[ArmReview]
    claims: Annotated[list[str], "in words"]
    rule: Annotated[str, "by which claims are judged"]
    methods: Annotated[str, "how it is done, as a paper would say it"]


class Begun(TypedDict):
    experiment_id: str
    owner_key: Annotated[str, "the key that steers it and its runs"]


class ArmFound(TypedDict):
    arm: str
    values: Annotated[dict[str, float | None], "of the measure, by seed"]
    diverged: Annotated[list[int], "the seeds that did"]
    rate: Annotated[float | None, "the learning rate that was chosen for it"]


class ClaimFound(Claim):
    verdict: Annotated[str, "supported, refuted or undecided"]
    seeds_needed: Annotated[int | None, "about how many would decide it"]
    difference: float | None
    interval: Annotated[list[float] | None, "95%"]
    p: NotRequired[float | None]
    detectable: NotRequired[Annotated[float | None, "the least difference that so many seeds would show"]]
    seeds: NotRequired[list[int]]


class Member(TypedDict):
    experiment: str
    arm: str
    seed: int
    role: Annotated[str, "compared, tuning or common"]


class Fit(TypedDict):
    x: Annotated[str, "the size over which it is fitted"]
    words: Annotated[str, "the same in words"]
    floor: Annotated[float, "E of the law E + A * x^-α"]
    factor: Annotated[float, "A"]
    exponent: Annotated[float, "α"]
    low: Annotated[float | None, "of its 95% interval"]
    high: float | None
    seeds: list[int]
    points: Annotated[list[tuple[float, float]], "size and mean of each arm"]


class Found(TypedDict):
    experiment_id: str
    title: str
    question: str
    wanted: Annotated[str, "run, stop, done, or command (a terminal trains it)"]
    held: Annotated[str, "why its next run waits"]
    runs: Annotated[int, "how many it takes"]
    runs_ended: int
    verdict: Annotated[str, "of all claims together: supported, refuted, undecided …"]
    sentences: Annotated[list[str], "what was found, in words"]
    difference: Annotated[float | None, "of the first claim"]
    interval: Annotated[list[float] | None, "its 95% interval"]
    unit: str
    arms: list[ArmFound]
    claims: list[ClaimFound]
    fit: Fit | None
    methods: str
    members: Annotated[dict[str, Member], "its runs"]


class Listed(TypedDict):
    experiment_id: str
    title: str
    question: str
    wanted: Annotated[str, "run, stop, done, or command (a terminal trains it)"]


class Steered(TypedDict):
    experiment_id: str
