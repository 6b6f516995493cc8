"""Numbers in and out of a campaign: what was typed, and what was measured."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from models.knobs import ConfigError, Problem
from playground.flags import Typed


def number(typed: Typed, name: str, default: float, low: float, high: float) -> float:
    """A flag's value; what is wrong with it is noted in `typed.problems`."""
    text = typed.text(name)
    if text is None:
        return default
    with contextlib.suppress(ValueError):
        if low <= float(text) <= high:
            return float(text)
    typed.problems.append(Problem(f"--{name}", f"{text[:60]!r} is not possible here; use a number from {low:g} up to {high:,.0f}"))
    return default


def refuse_what_is_wrong(typed: Typed) -> None:
    """Raises ConfigError with every problem of the command line."""
    if typed.problems:
        raise ConfigError(typed.problems)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def say(text: str) -> None:
    """What a person who waits may want to know; the answer itself goes to standard output."""
    print(text, file=sys.stderr, flush=True)
