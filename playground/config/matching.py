"""Models of different architecture made equally large, or equally dear per token, by the closed forms of `models.config`.

The width is solved first, or the depth where the width is what is compared; the size of the MLP closes the rest. Imports no torch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.config import CompleteModel, flops_per_token, n_params
from models.knobs import ConfigError, changed

Count = Callable[[CompleteModel], int]
COUNTS: dict[str, Count] = {"parameters": n_params, "flops": flops_per_token}
MOST_WIDTH, MOST_LAYERS, MOST_RATIO = 4096, 64, 64
NEIGHBOURS = 4  # values tried on either side of the best width or depth
CLOSE = 0.001  # a mismatch that needs no other width or depth


@dataclass(frozen=True)
class Matched:
    """A model made to match another: the settings chosen (paths inside `model`, empty where none had to change), and what remains of
    the difference, relative to the other: 0.01 is one percent more."""

    model: CompleteModel
    chosen: dict[str, Any] = field(default_factory=dict)
    mismatch: float = 0.0


def match(model: CompleteModel, target: int, count: Count, fixed: Collection[str] = ()) -> Matched:
    """The model with another width (else depth) and MLP, so that `count` of it comes as near to `target` as can be.

    `fixed`: knobs that may not change, those that are compared. The smallest change counts: the first of the widths nearest to the
    target that the MLP closes to `CLOSE`, or else the closest of all that are possible.
    """
    found: Matched | None = None
    for changes in _shapes(model, target, count, fixed):
        resized = _resized(model, changes)
        if resized is None:
            continue
        if "mlp_ratio" not in fixed and model.has_mlp:
            resized = _closed(resized, target, count) or resized
        chosen = {name: getattr(resized, name) for name in ("n_embd", "n_layer", "mlp_ratio")}
        chosen = {name: value for name, value in chosen.items() if value != getattr(model, name)}
        matched = Matched(resized, chosen, count(resized) / target - 1)
        if abs(matched.mismatch) <= CLOSE:
            return matched
        if found is None or abs(matched.mismatch) < abs(found.mismatch):
            found = matched
    return found or Matched(model, {}, count(model) / target - 1)


def _shapes(model: CompleteModel, target: int, count: Count, fixed: Collection[str]) -> list[dict[str, int]]:
    """The widths to try, or depths where the width is fixed, nearest to the target first; one without changes where both are."""
    if "n_embd" not in fixed:
        step = 2 if model.head_dim is not None else 2 * model.n_head  # heads share the width evenly, and rotations need pairs
        values: Sequence[int] = range(step, MOST_WIDTH + 1, step)
        name = "n_embd"
    elif "n_layer" not in fixed:
        values, name = range(1, MOST_LAYERS + 1), "n_layer"
    else:
        return [{}]

    def distance(value: int) -> tuple[float, bool]:
        return abs(count(model.model_copy(update={name: value})) - target), value != getattr(model, name)

    at = bisect_left(values, target, key=lambda value: count(model.model_copy(update={name: value})))
    near = {*values[max(0, at - NEIGHBOURS) : at + NEIGHBOURS], getattr(model, name)}
    return [{name: value} for value in sorted(near, key=distance)]


def _closed(model: CompleteModel, target: int, count: Count) -> CompleteModel | None:
    """The model with as many hidden units in its MLP as reach the target: both counts are linear in them."""
    width = model.n_embd
    one, two = (count(model.model_copy(update={"mlp_ratio": units / width})) for units in (1, 2))
    units = 1 + round((target - one) / (two - one))
    if not 1 <= units <= MOST_RATIO * width:
        return None
    if units == model.d_ff:
        return model
    ratios = (round(units / width, digits) for digits in range(1, 17))
    return _resized(model, {"mlp_ratio": next(ratio for ratio in ratios if round(ratio * width) == units)})


def _resized(model: CompleteModel, changes: dict[str, Any]) -> CompleteModel | None:
    """The model with other values, None where no such model is possible."""
    try:
        return changed(model, **changes)
    except ConfigError:
        return None
