"""Shared by the campaigns: refuse wrong flags, percentiles, progress notes."""

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
    """The value below which this share of the values lies; NaN if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def say(text: str) -> None:
    """Print a progress note to standard error; the result goes to standard output."""
    print(text, file=sys.stderr, flush=True)
