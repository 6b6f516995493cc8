"""What a campaign says of what was typed, and of what it measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from models.knobs import ConfigError
from playground.cli.flags import Typed


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
