"""What an experiment compares, of a run that has ended: a loss, a share, a number of steps, or any quantity that was probed.

Of a quantity, the values along the model (`inside/quantities.py`) become one number, by the measure's `place`. Those that are best
compared by their ratios (`scale` log) are taken as log₂: a difference of 1 is a doubling. One that is 0 has no logarithm, and no value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from models.graph import stream_nodes
from models.knobs import ConfigError, Problem
from playground.config.experiment import Measure
from playground.inside.history import is_number
from playground.inside.quantities import QUANTITIES
from playground.runs import store
from playground.runs.store import Run, Store

CHOOSE: dict[str, Callable[[Sequence[float]], float]] = {
    "first": lambda values: values[0], "last": lambda values: values[-1], "largest": max, "smallest": min, "mean": fmean,
}  # fmt: skip
UNITS = {
    "val_loss": "nats per token",
    "eval_loss": "nats per token",
    "accuracy": "of the tokens",
    "diverged": "of the runs",
    "steps_to": "steps",
}


def check(measure: Measure) -> None:
    """Raises ConfigError where there is no such quantity, or where it has no values to take one of."""
    if measure.quantity in UNITS:
        return
    quantity = QUANTITIES.get(measure.quantity)
    if quantity is not None and measure.place == "growth" and quantity.scale != "log":
        raise ConfigError([Problem("measure.place", f"{measure.quantity} is not compared by ratios; use another place than growth")])
    known = [name for name, each in QUANTITIES.items() if each.per != "quantile"]
    if measure.quantity not in known:
        raise ConfigError(
            [Problem("measure.quantity", f"{measure.quantity[:60]!r} is not measured; use one of {', '.join([*UNITS, *known])}")]
        )


def unit_of(measure: Measure) -> str:
    """The unit of what is compared."""
    if measure.quantity in UNITS:
        return UNITS[measure.quantity]
    quantity = QUANTITIES[measure.quantity]
    return f"doublings ({quantity.unit})" if quantity.scale == "log" else quantity.unit


def words_of(measure: Measure) -> str:
    """What is compared, in words."""
    if measure.quantity not in QUANTITIES:
        return {
            "val_loss": "the loss over the whole held-out split at the end",
            "eval_loss": "the least loss of the held-out sample",
            "accuracy": "the share of right tokens in the answers at the end",
            "diverged": "whether a run diverged",
            "steps_to": f"the steps until the held-out sample was at most {measure.reaches or 0.0:g} nats per token (all of them where it "
            "never was)",
        }[measure.quantity]
    quantity = QUANTITIES[measure.quantity]
    place = {
        "first": "at the first place", "last": "at the last place", "largest": "where it is largest", "smallest": "where it is smallest",
        "mean": "as the mean over all places", "growth": "at the last place over that at the first",
    }[measure.place]  # fmt: skip
    when = "at the end" if measure.step is None else f"at step {measure.step:,}"
    return f"{quantity.label} ({quantity.formula}), {place}, {when}"


def measured(db: Store, run: Run, measure: Measure) -> float | None:
    """The measure of a run that has ended; None where there is nothing to measure. Of losses and shares a run that diverged counts as
    chance: it knows nothing."""
    gone, chance = run.state == store.DIVERGED, math.log(run.config.model.vocab_size)
    match measure.quantity:
        case "diverged":
            return float(gone)
        case "accuracy":
            told = [row.body["token"] for row in db.events(run.id, kinds=["accuracy"]) if row.body["whole"]]
            return 1 / run.config.model.vocab_size if gone else told[-1] if told else None
        case "steps_to":
            reached = (row.step for row in db.events(run.id, kinds=["validation"]) if row.body["loss"] <= (measure.reaches or 0.0))
            return float(next(reached, run.config.train.max_steps or run.step))
        case "eval_loss" | "val_loss":
            value = run.best_eval_loss if measure.quantity == "eval_loss" else run.val_loss
            return chance if gone or value is None or not math.isfinite(value) else value
    return _probed(db, run, measure)


def _probed(db: Store, run: Run, measure: Measure) -> float | None:
    """The quantity in the newest probe that has it, up to the measure's step."""
    rows = [row for row in db.events(run.id, kinds=["probe"]) if measure.step is None or row.step <= measure.step]
    probes = (row.body["values"].get(measure.quantity) for row in reversed(rows))
    along = next((found for values in probes if (found := _along(values or {}, run))), [])
    if not along or QUANTITIES[measure.quantity].scale != "log":
        return CHOOSE[measure.place](along) if along else None
    if measure.place == "growth":
        return math.log2(along[-1] / along[0]) if along[0] > 0 and along[-1] > 0 else None
    if measure.place == "mean":
        return fmean(map(math.log2, along)) if min(along) > 0 else None
    chosen = CHOOSE[measure.place](along)
    return math.log2(chosen) if chosen > 0 else None


def _along(values: Mapping[str, Sequence], run: Run) -> list[float]:
    """All values, in the order in which the stream passes their places: layer by layer, and in a layer by its nodes and heads."""
    first, ends = stream_nodes(run.config.model)
    nodes = [first, *ends] if first in values else list(values)
    found: list[tuple[int, int, float]] = []
    for number, node in enumerate(nodes):
        for layer, value in enumerate(values.get(node) or ()):
            heads = value if isinstance(value, list) else [value]
            found += [(-1 if node == first else layer, number, head) for head in heads if is_number(head)]
    return [value for _, _, value in sorted(found, key=lambda each: each[:2])]
